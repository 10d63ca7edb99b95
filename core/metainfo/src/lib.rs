//! What a torrent is: its identity, its shape and its files.
//!
//! Everything here is pure: bytes in, checked values out. The value types that the rest of the
//! engine computes with ([`PieceIndex`], [`BlockRange`], [`FileIndex`], [`InfoHash`]) can only be
//! made by checking against a [`Geometry`] or a parsed torrent, so that arithmetic on a number that
//! a peer supplied cannot happen by accident.

mod bitfield;
mod geometry;
mod id;

pub use bitfield::{Bitfield, BitfieldError};
pub use geometry::{BLOCK_LENGTH, BlockRange, Geometry, PieceIndex};
pub use id::{InfoHash, InfoHashV2};
