//! The compression functions: one input at a time, or one in each lane of a vector.
//!
//! Everything that must be trusted about the instructions is in this folder. [`Kernels`] exists
//! only for what the CPU has, and looks at every length before a kernel reads through a pointer.
#![allow(unsafe_code)]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_mut, reason = "other architectures have no kernels yet")
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
mod ymm;

use crate::{backend::Backend, state::BLOCK};
use sha1::digest::generic_array::{GenericArray, typenum::U64};

/// Lanes of the widest kernel.
pub(crate) const WIDE: usize = 16;
/// Lanes of the narrower kernels.
#[cfg(target_arch = "x86_64")]
const NARROW: usize = 8;

/// The words of all lanes: `words[i][lane]`.
pub(crate) type LaneWords<const WORDS: usize> = [[u32; WIDE]; WORDS];

/// Adds a number of blocks of each input to the words of its lane. A narrow kernel reads and
/// writes the first 8 lanes only.
///
/// # Safety
/// The CPU has the kernel's instructions, and each input it reads holds as many blocks.
type Compress<const WORDS: usize> = unsafe fn(&mut LaneWords<WORDS>, &[&[u8]; WIDE], usize);

/// One way to work on several inputs together.
#[derive(Clone, Copy)]
struct Kernel<const WORDS: usize> {
    compress: Compress<WORDS>,
    lanes: usize,
    /// The least number of busy lanes at which this is the fastest way on: measured on Zen 4, where
    /// SHA-NI does 1.93 GB/s, a lane of AVX-512 0.8 (of 8) or 0.43 (of 16), one of AVX2 0.52.
    pays_from: usize,
}

/// What a backend computes one hash with.
#[derive(Clone, Copy)]
pub(crate) struct Kernels<const WORDS: usize> {
    /// Adds the whole blocks of one input; what is left over is ignored.
    pub alone: fn(&mut [u32; WORDS], &[u8]),
    /// The widest first.
    together: [Option<Kernel<WORDS>>; 2],
}

impl<const WORDS: usize> Kernels<WORDS> {
    /// The most inputs that are worked on at the same time.
    pub fn lanes(&self) -> usize {
        self.together.iter().flatten().map(|kernel| kernel.lanes).max().unwrap_or(1)
    }

    /// How many of `busy` lanes to work on together; 0 if one after the other is faster.
    pub fn worthwhile(&self, busy: usize) -> usize {
        self.kernel_for(busy).map_or(0, |kernel| kernel.lanes.min(busy))
    }

    fn kernel_for(&self, busy: usize) -> Option<&Kernel<WORDS>> {
        self.together.iter().flatten().find(|kernel| busy >= kernel.pays_from)
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
pub(crate) fn sha1(backend: Backend) -> Kernels<5> {
    let mut kernels = Kernels { alone: sha1_alone, together: [None; 2] };
    if !backend.is_available() {
        return kernels;
    }
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => {
            let pays_from = if has_sha_ni() { [11, 3] } else { [9, 2] };
            kernels.together = [
                Some(Kernel { compress: avx512::sha1_16, lanes: WIDE, pays_from: pays_from[0] }),
                Some(Kernel { compress: avx512vl::sha1_8, lanes: NARROW, pays_from: pays_from[1] }),
            ];
        }
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => {
            let pays_from = if has_sha_ni() { 4 } else { 2 };
            kernels.together[0] = Some(Kernel { compress: avx2::sha1_8, lanes: NARROW, pays_from });
        }
        _ => {}
    }
    kernels
}

/// SHA-256 by this backend. One that the CPU lacks gives the same as [`Backend::Single`].
pub(crate) fn sha256(backend: Backend) -> Kernels<8> {
    let mut kernels = Kernels { alone: sha256_alone, together: [None; 2] };
    if !backend.is_available() {
        return kernels;
    }
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => {
            let pays_from = if has_sha_ni() { [12, 6] } else { [9, 2] };
            kernels.together = [
                Some(Kernel { compress: avx512::sha256_16, lanes: WIDE, pays_from: pays_from[0] }),
                Some(Kernel {
                    compress: avx512vl::sha256_8,
                    lanes: NARROW,
                    pays_from: pays_from[1],
                }),
            ];
        }
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 if !has_sha_ni() => {
            kernels.together[0] =
                Some(Kernel { compress: avx2::sha256_8, lanes: NARROW, pays_from: 2 });
        }
        _ => {}
    }
    kernels
}

/// Whether the single path runs on the CPU's own SHA instructions, which few lanes cannot beat.
#[cfg(target_arch = "x86_64")]
fn has_sha_ni() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
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
