//! The compression functions: one input at a time, a few side by side, or one in each lane of a
//! vector.
//!
//! Everything that must be trusted about the instructions is in this folder. [`Kernels`] exists
//! only for what the CPU has, and looks at every length before a kernel reads through a pointer.
#![allow(unsafe_code)]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "other architectures have no kernels yet")
)]

#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rounds;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vl;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
#[cfg(target_arch = "x86_64")]
mod ymm;

use crate::{
    backend::{Backend, has_sha_ni},
    state::BLOCK,
};
use sha1::digest::generic_array::{GenericArray, typenum::U64};

/// Lanes of the widest kernel.
pub(crate) const WIDE: usize = 16;
/// Lanes of the narrower vectors.
#[cfg(target_arch = "x86_64")]
const NARROW: usize = 8;
/// The most inputs that go side by side through the SHA instructions. Two more would gain 6 % on
/// Zen 4, but need registers and cache that are scarce with four.
pub(crate) const SIDE_BY_SIDE: usize = 4;

/// The words of all lanes: `words[i][lane]`.
pub(crate) type LaneWords<const WORDS: usize> = [[u32; WIDE]; WORDS];

/// Adds a number of blocks of each input to the words of its lane. A narrower kernel reads and
/// writes the first lanes only, as many as it has.
///
/// # Safety
/// The CPU has the kernel's instructions, and each input it reads holds as many blocks.
type Compress<const WORDS: usize> = unsafe fn(&mut LaneWords<WORDS>, &[&[u8]; WIDE], usize);

/// One way to work on several inputs together.
#[derive(Clone, Copy)]
struct Kernel<const WORDS: usize> {
    compress: Compress<WORDS>,
    lanes: usize,
    /// The least number of busy lanes at which this is the fastest way on.
    pays_from: usize,
}

const fn kernel<const WORDS: usize>(
    compress: Compress<WORDS>,
    lanes: usize,
    pays_from: usize,
) -> Kernel<WORDS> {
    Kernel { compress, lanes, pays_from }
}

/// What a backend computes one hash with.
#[derive(Clone, Copy)]
pub(crate) struct Kernels<const WORDS: usize> {
    /// Adds the whole blocks of one input; what is left over is ignored.
    pub alone: fn(&mut [u32; WORDS], &[u8]),
    /// The widest first.
    vectors: &'static [Kernel<WORDS>],
    /// For fewer inputs than pay in a vector. The widest first.
    side_by_side: &'static [Kernel<WORDS>],
}

impl<const WORDS: usize> Kernels<WORDS> {
    /// The most inputs that are worked on at the same time.
    pub fn lanes(&self) -> usize {
        self.together().map(|kernel| kernel.lanes).max().unwrap_or(1)
    }

    /// How many of `busy` lanes to work on together; 0 if one after the other is faster.
    pub fn worthwhile(&self, busy: usize) -> usize {
        self.kernel_for(busy).map_or(0, |kernel| kernel.lanes.min(busy))
    }

    fn together(&self) -> impl Iterator<Item = &Kernel<WORDS>> {
        self.vectors.iter().chain(self.side_by_side)
    }

    fn kernel_for(&self, busy: usize) -> Option<&Kernel<WORDS>> {
        self.together().find(|kernel| busy >= kernel.pays_from)
    }

    /// Adds `blocks` blocks of each of the first `count` inputs to the words of their lanes; the
    /// words of the other lanes become meaningless. `count` is what [`Self::worthwhile`] gave.
    ///
    /// # Panics
    /// If there is no kernel for `count` inputs, or one of them has fewer blocks.
    pub fn compress(
        &self,
        words: &mut LaneWords<WORDS>,
        mut inputs: [&[u8]; WIDE],
        count: usize,
        blocks: usize,
    ) {
        let kernel = self.kernel_for(count).expect("`count` lanes are worthwhile");
        // Idle lanes cost nothing more; they read along with the first.
        let first = inputs[0];
        inputs[count..].fill(first);
        assert!(inputs.iter().all(|input| input.len() / BLOCK >= blocks));
        // SAFETY: kernels are put here only by `sha1` and `sha256` below, after the CPU was asked
        // for their instructions; all inputs have just been measured.
        unsafe { (kernel.compress)(words, &inputs, blocks) }
    }
}

/// SHA-1 by this backend. One that the CPU lacks gives the same as [`Backend::Single`].
///
/// From how many busy lanes a kernel pays was measured on Zen 4, where one core does, in GB/s: with
/// SHA-NI 1.95 for one input, 3.3, 3.9 and 4.9 for two, three and four side by side; 0.8 for each
/// lane of 8 and 0.44 for each of 16 with AVX-512; 0.53 for each of 8 with AVX2. From 9 to
/// 12 lanes, 8 and then the others by SHA-NI are faster than 16 that are not full. On Zen 4, which
/// has AVX-512, even a full vector of AVX2 is slower than SHA-NI; it keeps full vectors for CPUs
/// whose SHA instructions may overlap less.
pub(crate) fn sha1(backend: Backend) -> Kernels<5> {
    let vectors: &[_] = match (backend, has_sha_ni()) {
        _ if !backend.is_available() => &[],
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx512, true) => {
            const { &[kernel(avx512::sha1_16, WIDE, 13), kernel(avx512vl::sha1_8, NARROW, 5)] }
        }
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx512, false) => {
            const { &[kernel(avx512::sha1_16, WIDE, 9), kernel(avx512vl::sha1_8, NARROW, 2)] }
        }
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx2, true) => const { &[kernel(avx2::sha1_8, NARROW, NARROW)] },
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx2, false) => const { &[kernel(avx2::sha1_8, NARROW, 2)] },
        _ => &[],
    };
    let side_by_side: &[_] = match has_sha_ni() {
        #[cfg(target_arch = "x86_64")]
        true => {
            const {
                &[
                    kernel(sha_ni::sha1::<SIDE_BY_SIDE>, SIDE_BY_SIDE, SIDE_BY_SIDE),
                    kernel(sha_ni::sha1::<3>, 3, 3),
                    kernel(sha_ni::sha1::<2>, 2, 2),
                ]
            }
        }
        _ => &[],
    };
    Kernels { alone: sha1_alone, vectors, side_by_side }
}

/// SHA-256 by this backend. One that the CPU lacks gives the same as [`Backend::Single`].
pub(crate) fn sha256(backend: Backend) -> Kernels<8> {
    let vectors: &[_] = match (backend, has_sha_ni()) {
        _ if !backend.is_available() => &[],
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx512, true) => {
            const { &[kernel(avx512::sha256_16, WIDE, 12), kernel(avx512vl::sha256_8, NARROW, 6)] }
        }
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx512, false) => {
            const { &[kernel(avx512::sha256_16, WIDE, 9), kernel(avx512vl::sha256_8, NARROW, 2)] }
        }
        #[cfg(target_arch = "x86_64")]
        (Backend::Avx2, false) => const { &[kernel(avx2::sha256_8, NARROW, 2)] },
        _ => &[],
    };
    Kernels { alone: sha256_alone, vectors, side_by_side: &[] }
}

/// Adds the whole blocks of `data`; bytes after the last whole block are ignored.
pub(crate) fn sha1_alone(words: &mut [u32; 5], data: &[u8]) {
    sha1::compress(words, whole_blocks(data));
}

/// Adds the whole blocks of `data`; bytes after the last whole block are ignored.
pub(crate) fn sha256_alone(words: &mut [u32; 8], data: &[u8]) {
    sha2::compress256(words, whole_blocks(data));
}

fn whole_blocks(data: &[u8]) -> &[GenericArray<u8, U64>] {
    let (blocks, _) = data.as_chunks::<BLOCK>();
    // SAFETY: `GenericArray<u8, U64>` is 64 bytes in a row, as `[u8; 64]` is; pointer and count
    // come from a slice that lives as long.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len()) }
}
