//! Which pieces somebody has, in the layout of the `bitfield` message (BEP 3).
//!
//! Bit 7 of byte 0 is piece 0. The bits after the last piece are always zero, whatever is done to
//! the field, so counting and comparing never need to mask.

use crate::PieceIndex;
use std::fmt;

/// One bit for each piece of one torrent.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    bits: u32,
}

/// Why bytes are not a bitfield of the torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitfieldError {
    /// The number of bytes is not what the number of pieces needs.
    WrongLength,
    /// A bit after the last piece is set.
    SpareBitSet,
}

impl fmt::Display for BitfieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BitfieldError::WrongLength => "bitfield of the wrong length",
            BitfieldError::SpareBitSet => "bitfield with a bit set after the last piece",
        })
    }
}

impl std::error::Error for BitfieldError {}

impl Bitfield {
    /// No piece of `piece_count`.
    pub fn none(piece_count: u32) -> Bitfield {
        let bytes = vec![0; piece_count.div_ceil(8) as usize].into_boxed_slice();
        Bitfield { bytes, bits: piece_count }
    }

    /// Every piece of `piece_count`.
    pub fn all(piece_count: u32) -> Bitfield {
        let bytes = vec![0xff; piece_count.div_ceil(8) as usize].into_boxed_slice();
        let mut field = Bitfield { bytes, bits: piece_count };
        field.clear_spare_bits();
        field
    }

    /// Checks the payload of a `bitfield` message.
    pub fn from_bytes(bytes: &[u8], piece_count: u32) -> Result<Bitfield, BitfieldError> {
        if bytes.len() != piece_count.div_ceil(8) as usize {
            return Err(BitfieldError::WrongLength);
        }
        let field = Bitfield { bytes: bytes.into(), bits: piece_count };
        let mut cleared = field.clone();
        cleared.clear_spare_bits();
        if cleared != field {
            return Err(BitfieldError::SpareBitSet);
        }
        Ok(field)
    }

    fn clear_spare_bits(&mut self) {
        let used = self.bits % 8;
        if used != 0
            && let Some(last) = self.bytes.last_mut()
        {
            *last &= 0xffu8 << (8 - used);
        }
    }

    /// The payload of a `bitfield` message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pieces it speaks of.
    pub fn piece_count(&self) -> u32 {
        self.bits
    }

    /// Whether the piece is in.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bytes[piece.as_usize() / 8] & mask(piece) != 0
    }

    /// Puts the piece in; tells whether it was out before.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        let byte = &mut self.bytes[piece.as_usize() / 8];
        let new = *byte & mask(piece) == 0;
        *byte |= mask(piece);
        new
    }

    /// Takes the piece out; tells whether it was in before.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        let byte = &mut self.bytes[piece.as_usize() / 8];
        let old = *byte & mask(piece) != 0;
        *byte &= !mask(piece);
        old
    }

    /// Puts in every piece of another field of the same torrent.
    pub fn add_all(&mut self, other: &Bitfield) {
        for (byte, more) in self.bytes.iter_mut().zip(&other.bytes) {
            *byte |= more;
        }
    }

    /// Number of pieces in it.
    pub fn count(&self) -> u32 {
        self.bytes.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether every piece is in.
    pub fn is_all(&self) -> bool {
        self.count() == self.bits
    }

    /// Whether no piece is in.
    pub fn is_none(&self) -> bool {
        self.bytes.iter().all(|&byte| byte == 0)
    }

    /// The numbers of the pieces in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        numbers(self.bytes.iter().copied())
    }

    /// The numbers of the pieces that are in it and not in another field of the same torrent, ascending.
    pub fn beyond<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = u32> + 'a {
        let new = self.bytes.iter().zip(&other.bytes).map(|(mine, theirs)| mine & !theirs);
        numbers(new)
    }

    /// Whether any piece is in both.
    pub fn intersects(&self, other: &Bitfield) -> bool {
        self.bytes.iter().zip(&other.bytes).any(|(a, b)| a & b != 0)
    }
}

/// The places of the bits that are set.
fn numbers(bytes: impl Iterator<Item = u8>) -> impl Iterator<Item = u32> {
    bytes.enumerate().filter(|&(_, byte)| byte != 0).flat_map(|(at, byte)| {
        (0..8).filter(move |bit| byte & (0x80 >> bit) != 0).map(move |bit| at as u32 * 8 + bit)
    })
}

fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.get() % 8)
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.count(), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;
    use proptest::prelude::*;

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        assert_eq!(Bitfield::from_bytes(&[0xff], 9), Err(BitfieldError::WrongLength));
        assert_eq!(Bitfield::from_bytes(&[0xff, 0x80, 0], 9), Err(BitfieldError::WrongLength));
        assert_eq!(Bitfield::from_bytes(&[0xff, 0xc0], 9), Err(BitfieldError::SpareBitSet));
        assert!(Bitfield::from_bytes(&[0xff, 0x80], 9).unwrap().is_all());
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_set(count in 1u32..200, ops in prop::collection::vec((0u32..200, any::<bool>()), 0..100)) {
            let geometry = Geometry::new(u64::from(count), 1).unwrap();
            let mut model = std::collections::BTreeSet::new();
            let mut field = Bitfield::none(count);
            for (index, insert) in ops {
                let Some(piece) = geometry.piece(index) else { continue };
                if insert {
                    prop_assert_eq!(field.set(piece), model.insert(index));
                } else {
                    prop_assert_eq!(field.clear(piece), model.remove(&index));
                }
            }
            prop_assert_eq!(field.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(field.count() as usize, model.len());
            prop_assert_eq!(field.beyond(&field).count(), 0);
            let missing: Vec<u32> = Bitfield::all(count).beyond(&field).collect();
            prop_assert_eq!(missing, (0..count).filter(|index| !model.contains(index)).collect::<Vec<_>>());
            prop_assert_eq!(Bitfield::from_bytes(field.as_bytes(), count).unwrap(), field);
        }
    }
}
