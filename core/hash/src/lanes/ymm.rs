//! What the two 8-lane modules share: AVX2 instructions that AVX-512 does not improve on.

use super::WIDE;
use std::arch::x86_64::*;

/// One word of each of 8 lanes.
pub(super) type V = __m256i;

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(word: u32) -> V {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(x: V, y: V) -> V {
    _mm256_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn xor(x: V, y: V) -> V {
    _mm256_xor_si256(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn shift_right<const BITS: i32>(x: V) -> V {
    _mm256_srli_epi32::<BITS>(x)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_words(words: &[u32; WIDE]) -> V {
    // SAFETY: the array is twice as long as the vector.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_words(words: &mut [u32; WIDE], vector: V) {
    // SAFETY: the array is twice as long as the vector.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}

/// The 16 big-endian words of the first 8 lanes' blocks, word by word.
///
/// # Safety
/// Each of the first 8 inputs holds 64 bytes at `offset`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn load_block(inputs: &[&[u8]; WIDE], offset: usize) -> [V; 16] {
    let big_endian = _mm256_broadcastsi128_si256(_mm_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    ));
    let mut words = [splat(0); 16];
    for quarter in [0, 4, 8, 12] {
        // Four words of lane `i` below, of lane `i + 4` above: the halves never have to cross.
        let mut rows = [splat(0); 4];
        for (lane, row) in rows.iter_mut().enumerate() {
            let at = offset + 4 * quarter;
            // SAFETY: the caller gives inputs that hold 64 bytes at `offset`, and the 16 bytes at
            // `at` are among them.
            let (low, high) = unsafe {
                (
                    _mm_loadu_si128(inputs[lane].as_ptr().add(at).cast()),
                    _mm_loadu_si128(inputs[lane + 4].as_ptr().add(at).cast()),
                )
            };
            *row = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), big_endian);
        }
        let low01 = _mm256_unpacklo_epi32(rows[0], rows[1]);
        let high01 = _mm256_unpackhi_epi32(rows[0], rows[1]);
        let low23 = _mm256_unpacklo_epi32(rows[2], rows[3]);
        let high23 = _mm256_unpackhi_epi32(rows[2], rows[3]);
        words[quarter] = _mm256_unpacklo_epi64(low01, low23);
        words[quarter + 1] = _mm256_unpackhi_epi64(low01, low23);
        words[quarter + 2] = _mm256_unpacklo_epi64(high01, high23);
        words[quarter + 3] = _mm256_unpackhi_epi64(high01, high23);
    }
    words
}
