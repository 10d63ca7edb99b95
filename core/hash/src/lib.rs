//! Many pieces at once: SHA-1 and SHA-256 in vector lanes.
//!
//! A piece's hash is a chain that no CPU can shorten, but pieces do not depend on each other: with
//! one piece in each lane of a vector, one core hashes several times as fast as with its SHA
//! instructions. A [`Hasher`] takes runs of bytes for any number of pieces, of any length and
//! progress, and adds them to their [`Sha1State`]s together.
//!
//! ```
//! use ringseed_hash::{Hasher, Job, Sha1State};
//!
//! let hasher = Hasher::detect();
//! let (mut first, mut second) = (Sha1State::new(), Sha1State::new());
//! hasher.update(&mut [
//!     Job { state: &mut first, data: b"The quick brown fox " },
//!     Job { state: &mut second, data: b"abc" },
//! ]);
//! hasher.update(&mut [Job { state: &mut first, data: b"jumps over the lazy dog" }]);
//!
//! assert_eq!(first.bytes_hashed(), 43);
//! assert_eq!(first.finish()[..4], [0x2f, 0xd4, 0xe1, 0xc6]);
//! assert_eq!(second.finish()[..4], [0xa9, 0x99, 0x3e, 0x36]);
//! ```

mod backend;
mod hasher;
mod lanes;
mod schedule;
mod state;

pub use backend::{Backend, UnknownBackend};
pub use hasher::{Hasher, Job};
pub use state::Sha1State;
