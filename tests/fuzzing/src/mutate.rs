//! Bytes made from other bytes, as libFuzzer does it without knowing the code.

use fastrand::Rng;

/// Inputs do not grow beyond this.
const LONGEST: usize = 64 << 10;

/// Numbers at which arithmetic goes wrong.
const EDGES: &[&str] =
    &["0", "-1", "255", "65536", "2147483648", "4294967295", "18446744073709551616"];

/// Changes some of the bytes; `others` are inputs that parts may be taken from.
pub fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..rng.usize(1..=4) {
        once(bytes, others, rng);
    }
    bytes.truncate(LONGEST);
}

fn once(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut Rng) {
    if bytes.is_empty() {
        return bytes.push(rng.u8(..));
    }
    let at = rng.usize(..bytes.len());
    let end = (at + rng.usize(1..=16)).min(bytes.len());
    match rng.u8(..9) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = rng.u8(..),
        2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.usize(..5)],
        3 => bytes.insert(at, rng.u8(..)),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        6 => bytes.truncate(at),
        7 => splice_number(bytes, at, rng),
        _ => {
            let Some(other) = rng.choice(others).filter(|other| !other.is_empty()) else { return };
            let from = rng.usize(..other.len());
            let to = (from + rng.usize(1..=64)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}

/// Replaces the digits that follow `at` by another number, as text.
fn splice_number(bytes: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|far| at + far) else {
        return;
    };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = EDGES[rng.usize(..EDGES.len())];
    bytes.splice(start..start + digits, number.bytes());
}
