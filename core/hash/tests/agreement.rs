//! Every backend gives what the `sha1` and `sha2` crates give, however the input comes.

use proptest::{collection::vec, prelude::*};
use ringseed_hash::{Backend, Hasher, Job, Sha1State};
use sha1::{Digest, Sha1};
use sha2::Sha256;

fn hashers() -> impl Iterator<Item = Hasher> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available()).map(Hasher::new)
}

/// Bytes that differ from input to input and from place to place.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (x >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn sha1_of(data: &[u8]) -> [u8; 20] {
    Sha1::digest(data).into()
}

fn sha256_of(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Lengths about the ends of blocks and of the padding, and lengths of several KiB.
fn length() -> impl Strategy<Value = usize> {
    let (blocks, most) = if cfg!(miri) { (3usize, 200) } else { (64, 6000) };
    prop_oneof![0usize..200, (0..blocks, 0usize..3).prop_map(|(n, d)| 64 * n + d), 0usize..most]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 200 }))]

    /// Each step adds a portion to some of the states, so that they differ in progress.
    #[test]
    fn states_that_grow_by_portions_have_the_digest_of_the_whole(
        steps in vec(vec(proptest::option::weighted(0.7, length()), 0..40), 1..5),
        seed: u64,
    ) {
        let count = steps.iter().map(Vec::len).max().unwrap_or(0);
        for hasher in hashers() {
            let mut states = vec![Sha1State::new(); count];
            let mut whole = vec![Vec::new(); count];
            for (number, step) in steps.iter().enumerate() {
                let portions: Vec<Option<Vec<u8>>> = step
                    .iter()
                    .enumerate()
                    .map(|(i, n)| n.map(|n| bytes(seed ^ ((number * 64 + i) as u64) << 8, n)))
                    .collect();
                for (whole, portion) in whole.iter_mut().zip(&portions) {
                    whole.extend(portion.iter().flatten());
                }
                let mut jobs: Vec<Job<'_>> = states
                    .iter_mut()
                    .zip(&portions)
                    .filter_map(|(state, data)| Some(Job { state, data: data.as_deref()? }))
                    .collect();
                hasher.update(&mut jobs);
            }
            let expected: Vec<[u8; 20]> = whole.iter().map(|data| sha1_of(data)).collect();
            let mut together = vec![[0; 20]; count];
            hasher.finish_many(&states, &mut together);
            prop_assert_eq!(&together, &expected, "{} together", hasher.backend());
            for (state, whole) in states.iter().zip(&whole) {
                prop_assert_eq!(state.bytes_hashed(), whole.len() as u64);
            }
            let alone: Vec<[u8; 20]> = states.into_iter().map(Sha1State::finish).collect();
            prop_assert_eq!(&alone, &expected, "{} alone", hasher.backend());
        }
    }

    #[test]
    fn digests_of_many_are_those_of_each(lengths in vec(length(), 0..40), seed: u64) {
        let data: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(i, &n)| bytes(seed ^ (i as u64) << 8, n)).collect();
        let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        for hasher in hashers() {
            let mut out = vec![[0; 20]; inputs.len()];
            hasher.digest_many(&inputs, &mut out);
            for (digest, input) in out.iter().zip(&inputs) {
                prop_assert_eq!(*digest, sha1_of(input), "sha1 {}", hasher.backend());
            }
            let mut out = vec![[0; 32]; inputs.len()];
            hasher.sha256_many(&inputs, &mut out);
            for (digest, input) in out.iter().zip(&inputs) {
                prop_assert_eq!(*digest, sha256_of(input), "sha256 {}", hasher.backend());
            }
        }
    }
}

/// Every number of equal inputs, so that every kernel runs with every number of busy lanes.
#[test]
fn every_number_of_lanes_agrees() {
    // Miri takes seconds for what a CPU does in microseconds.
    let (step, length) = if cfg!(miri) { (13, 150) } else { (1, 16 << 10) };
    for count in (0..=40).step_by(step) {
        let data: Vec<Vec<u8>> = (0..count).map(|i| bytes(i, length)).collect();
        let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        for hasher in hashers() {
            let mut out = vec![[0; 20]; inputs.len()];
            hasher.digest_many(&inputs, &mut out);
            let expected: Vec<[u8; 20]> = inputs.iter().map(|data| sha1_of(data)).collect();
            assert_eq!(out, expected, "sha1, {count} inputs on {}", hasher.backend());

            let mut out = vec![[0; 32]; inputs.len()];
            hasher.sha256_many(&inputs, &mut out);
            let expected: Vec<[u8; 32]> = inputs.iter().map(|data| sha256_of(data)).collect();
            assert_eq!(out, expected, "sha256, {count} inputs on {}", hasher.backend());
        }
    }
}

/// The longest paddings: at 55 bytes the length still fits behind the end mark, at 56 it does not.
#[test]
fn all_lengths_about_the_padding_agree_in_one_batch() {
    let longest = if cfg!(miri) { 66 } else { 260 };
    let data: Vec<Vec<u8>> = (0..longest).map(|n| bytes(n, n as usize)).collect();
    let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    for hasher in hashers() {
        let mut out = vec![[0; 20]; inputs.len()];
        hasher.digest_many(&inputs, &mut out);
        for (digest, input) in out.iter().zip(&inputs) {
            assert_eq!(*digest, sha1_of(input), "{} bytes on {}", input.len(), hasher.backend());
        }
    }
}

#[test]
fn a_state_is_small() {
    assert!(size_of::<Sha1State>() <= 128);
}

#[test]
#[should_panic(expected = "a place for each digest")]
fn too_few_places_for_digests_are_a_mistake_of_the_caller() {
    Hasher::detect().digest_many(&[b"one", b"two"], &mut [[0; 20]]);
}
