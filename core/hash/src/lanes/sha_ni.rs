//! SHA-1 by the CPU's own SHA instructions, a few inputs side by side.
//!
//! The instruction that computes four rounds needs the result of the four before and takes several
//! cycles, but the CPU can begin another in most of them. One input leaves those cycles empty; the
//! rounds of others, which do not depend on it, fill them.

use super::{LaneWords, WIDE};
use crate::state::BLOCK;
use std::arch::x86_64::*;

/// SHA-1 in the first `LANES` lanes.
///
/// # Safety
/// The CPU has the features, and the input of each of these lanes holds `blocks` blocks of 64
/// bytes.
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) unsafe fn sha1<const LANES: usize>(
    words: &mut LaneWords<5>,
    inputs: &[&[u8]; WIDE],
    blocks: usize,
) {
    let zero = _mm_setzero_si128();
    let mut lanes = [Lane { abcd: zero, e: zero, w: [zero; 4] }; LANES];
    for (number, lane) in lanes.iter_mut().enumerate() {
        lane.load_words(words, number);
    }
    for block in 0..blocks {
        let before = lanes;
        for (lane, input) in lanes.iter_mut().zip(inputs) {
            // SAFETY: the caller gives inputs of `blocks` blocks, and `block` is less.
            lane.w = unsafe { load_block(input, block * BLOCK) };
        }
        // Each step is done in all lanes before the next: that is the order that fills the cycles.
        macro_rules! rounds {
            ($function:literal: $($step:literal)*) => {
                $(for lane in &mut lanes {
                    lane.four_rounds::<$step, $function>();
                })*
            };
        }
        rounds!(0: 0 1 2 3 4);
        rounds!(1: 5 6 7 8 9);
        rounds!(2: 10 11 12 13 14);
        rounds!(3: 15 16 17 18 19);
        for (lane, before) in lanes.iter_mut().zip(before) {
            lane.e = _mm_sha1nexte_epu32(lane.e, before.e);
            lane.abcd = _mm_add_epi32(lane.abcd, before.abcd);
        }
    }
    for (number, lane) in lanes.iter().enumerate() {
        lane.store_words(words, number);
    }
}

/// One input's registers.
#[derive(Clone, Copy)]
struct Lane {
    /// The words a to d, a on top.
    abcd: __m128i,
    /// Before the first rounds of a block, the word e on top. Between rounds, `abcd` as it was
    /// before the last four: its a becomes their e.
    e: __m128i,
    /// The last 16 words of the message schedule, the earlier of four on top.
    w: [__m128i; 4],
}

impl Lane {
    /// Rounds `4 * STEP` to `4 * STEP + 3`, with the function and constant of that number.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn four_rounds<const STEP: usize, const FUNCTION: i32>(&mut self) {
        let now = STEP % 4;
        if STEP >= 4 {
            let [next, after, last] = [(STEP + 1) % 4, (STEP + 2) % 4, (STEP + 3) % 4];
            let mix = _mm_xor_si128(_mm_sha1msg1_epu32(self.w[now], self.w[next]), self.w[after]);
            self.w[now] = _mm_sha1msg2_epu32(mix, self.w[last]);
        }
        let sum = if STEP == 0 {
            _mm_add_epi32(self.e, self.w[now])
        } else {
            _mm_sha1nexte_epu32(self.e, self.w[now])
        };
        self.e = self.abcd;
        self.abcd = _mm_sha1rnds4_epu32::<FUNCTION>(self.abcd, sum);
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn load_words(&mut self, words: &LaneWords<5>, lane: usize) {
        let [a, b, c, d, e] = words.map(|word| word[lane].cast_signed());
        self.abcd = _mm_set_epi32(a, b, c, d);
        self.e = _mm_set_epi32(e, 0, 0, 0);
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn store_words(&self, words: &mut LaneWords<5>, lane: usize) {
        let all = [
            _mm_extract_epi32::<3>(self.abcd),
            _mm_extract_epi32::<2>(self.abcd),
            _mm_extract_epi32::<1>(self.abcd),
            _mm_extract_epi32::<0>(self.abcd),
            _mm_extract_epi32::<3>(self.e),
        ];
        for (words, word) in words.iter_mut().zip(all) {
            words[lane] = word.cast_unsigned();
        }
    }
}

/// The 16 big-endian words of a block, the first of each four on top.
///
/// # Safety
/// The input holds 64 bytes at `offset`.
#[inline]
#[target_feature(enable = "ssse3")]
unsafe fn load_block(input: &[u8], offset: usize) -> [__m128i; 4] {
    let big_endian = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut words = [_mm_setzero_si128(); 4];
    for (quarter, words) in words.iter_mut().enumerate() {
        // SAFETY: the caller gives an input that holds 64 bytes at `offset`, and the 16 bytes of
        // each quarter are among them.
        let bytes = unsafe { _mm_loadu_si128(input.as_ptr().add(offset + 16 * quarter).cast()) };
        *words = _mm_shuffle_epi8(bytes, big_endian);
    }
    words
}
