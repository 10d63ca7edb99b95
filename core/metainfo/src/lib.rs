//! What a torrent is: its identity, its shape and its files.
//!
//! Everything here is pure: bytes in, checked values out. The value types that the rest of the
//! engine computes with ([`PieceIndex`], [`BlockRange`], [`FileIndex`], [`InfoHash`]) can only be
//! made by checking against a [`Geometry`] or a parsed torrent, so that arithmetic on a number that
//! a peer supplied cannot happen by accident.

pub mod bencode;
mod bitfield;
pub mod create;
mod file_list;
mod geometry;
mod id;
mod layout;
pub mod limits;
mod magnet;
pub mod merkle;
mod metainfo;
mod path;
mod rename;
mod write;

pub use bitfield::{Bitfield, BitfieldError};
pub use geometry::{BLOCK_LENGTH, BlockRange, Geometry, PieceIndex};
pub use id::{InfoHash, InfoHashV2, NotHex};
pub use layout::{Attributes, File, FileIndex, Layout, Span, Spans};
pub use magnet::{Magnet, MagnetError};
pub use metainfo::{Description, Metainfo, MetainfoError, PieceHashes};
pub use path::TorrentPath;
pub use rename::{RenameError, Renames};
