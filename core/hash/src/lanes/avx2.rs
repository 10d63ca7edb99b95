//! 8 lanes in 256-bit vectors of AVX2, which has neither rotations nor functions of three words.

use super::ymm::*;
use std::arch::x86_64::*;

kernel!(sha1_8, 5, sha1_rounds, "avx2", "SHA-1 in 8 lanes.");
kernel!(sha256_8, 8, sha256_rounds, "avx2", "SHA-256 in 8 lanes.");

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const BITS: i32>(x: V) -> V {
    let right = _mm_cvtsi32_si128(32 - BITS);
    _mm256_or_si256(_mm256_slli_epi32::<BITS>(x), _mm256_srl_epi32(x, right))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_right<const BITS: i32>(x: V) -> V {
    let left = _mm_cvtsi32_si128(32 - BITS);
    _mm256_or_si256(_mm256_srli_epi32::<BITS>(x), _mm256_sll_epi32(x, left))
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(x: V, y: V, z: V) -> V {
    xor(xor(x, y), z)
}

/// `y` where `x` has a one, `z` where it has a zero.
#[inline]
#[target_feature(enable = "avx2")]
fn choose(x: V, y: V, z: V) -> V {
    xor(z, _mm256_and_si256(x, xor(y, z)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(x: V, y: V, z: V) -> V {
    _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
}
