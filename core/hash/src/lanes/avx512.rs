//! 16 lanes in 512-bit vectors.
//!
//! AVX-512 rotates in one instruction and computes any function of three words in one; that, not
//! the width alone, is what makes it fast.

use super::WIDE;
use std::arch::x86_64::*;

type V = __m512i;

kernel!(sha1_16, 5, sha1_rounds, "avx512f,avx512bw", "SHA-1 in 16 lanes.");
kernel!(sha256_16, 8, sha256_rounds, "avx512f,avx512bw", "SHA-256 in 16 lanes.");

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> V {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: V, y: V) -> V {
    _mm512_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(x: V, y: V) -> V {
    _mm512_xor_si512(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_left<const BITS: i32>(x: V) -> V {
    _mm512_rol_epi32::<BITS>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_right<const BITS: i32>(x: V) -> V {
    _mm512_ror_epi32::<BITS>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shift_right<const BITS: u32>(x: V) -> V {
    _mm512_srli_epi32::<BITS>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: V, y: V, z: V) -> V {
    _mm512_ternarylogic_epi32::<0x96>(x, y, z)
}

/// `y` where `x` has a one, `z` where it has a zero.
#[inline]
#[target_feature(enable = "avx512f")]
fn choose(x: V, y: V, z: V) -> V {
    _mm512_ternarylogic_epi32::<0xca>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(x: V, y: V, z: V) -> V {
    _mm512_ternarylogic_epi32::<0xe8>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u32; WIDE]) -> V {
    // SAFETY: the array is as long as the vector.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_words(words: &mut [u32; WIDE], vector: V) {
    // SAFETY: the array is as long as the vector.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
}

/// The 16 big-endian words of each lane's block, word by word.
///
/// # Safety
/// Each input holds 64 bytes at `offset`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_block(inputs: &[&[u8]; WIDE], offset: usize) -> [V; 16] {
    let big_endian =
        _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    let mut rows = [splat(0); 16];
    for (row, input) in rows.iter_mut().zip(inputs) {
        // SAFETY: the caller gives inputs that hold the block.
        *row = unsafe { _mm512_loadu_si512(input.as_ptr().add(offset).cast()) };
        *row = _mm512_shuffle_epi8(*row, big_endian);
    }
    transpose(rows)
}

/// Turns one vector per lane into one vector per word.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [V; 16]) -> [V; 16] {
    // Within each quarter of the vectors: `quads[4 * g + c]` has word `c` of the quarter for the
    // four lanes from `4 * g`.
    let mut quads = [splat(0); 16];
    for g in [0, 4, 8, 12] {
        let low01 = _mm512_unpacklo_epi32(rows[g], rows[g + 1]);
        let high01 = _mm512_unpackhi_epi32(rows[g], rows[g + 1]);
        let low23 = _mm512_unpacklo_epi32(rows[g + 2], rows[g + 3]);
        let high23 = _mm512_unpackhi_epi32(rows[g + 2], rows[g + 3]);
        quads[g] = _mm512_unpacklo_epi64(low01, low23);
        quads[g + 1] = _mm512_unpackhi_epi64(low01, low23);
        quads[g + 2] = _mm512_unpacklo_epi64(high01, high23);
        quads[g + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
    // Then the quarters change places: those of one word come together.
    let mut words = [splat(0); 16];
    for c in [0, 1, 2, 3] {
        let even_low = _mm512_shuffle_i32x4::<0x88>(quads[c], quads[4 + c]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(quads[c], quads[4 + c]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(quads[8 + c], quads[12 + c]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(quads[8 + c], quads[12 + c]);
        words[c] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        words[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        words[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        words[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    words
}
