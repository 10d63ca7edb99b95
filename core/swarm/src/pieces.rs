//! Which pieces a peer has, small for the two cases that most peers are in.

use metainfo::{Bitfield, PieceIndex};

/// The pieces of one peer. A full field is always `All` and an empty one `None`, so a connection to
/// a seed costs no bitfield.
#[derive(Debug, Default)]
pub(crate) enum Pieces {
    #[default]
    None,
    All,
    Some {
        field: Bitfield,
        count: u32,
    },
}

impl Pieces {
    pub(crate) fn from_field(field: Bitfield) -> Pieces {
        match field.count() {
            0 => Pieces::None,
            count if count == field.piece_count() => Pieces::All,
            count => Pieces::Some { field, count },
        }
    }

    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        match self {
            Pieces::None => false,
            Pieces::All => true,
            Pieces::Some { field, .. } => field.has(piece),
        }
    }

    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Pieces::All)
    }

    pub(crate) fn count(&self, piece_count: u32) -> u32 {
        match self {
            Pieces::None => 0,
            Pieces::All => piece_count,
            Pieces::Some { count, .. } => *count,
        }
    }

    /// Puts the piece in; tells whether it was out before.
    pub(crate) fn set(&mut self, piece: PieceIndex, piece_count: u32) -> bool {
        let (field, count) = match self {
            Pieces::All => return false,
            Pieces::None => (Bitfield::none(piece_count), 0),
            Pieces::Some { field, count } if *count + 1 < piece_count => {
                let new = field.set(piece);
                *count += u32::from(new);
                return new;
            }
            Pieces::Some { field, count } => (std::mem::replace(field, Bitfield::none(0)), *count),
        };
        let mut field = field;
        let new = field.set(piece);
        let count = count + u32::from(new);
        *self = if count == piece_count { Pieces::All } else { Pieces::Some { field, count } };
        new
    }

    /// The numbers of the pieces that are in it and not in the other one.
    pub(crate) fn beyond(&self, other: &Pieces, piece_count: u32) -> Vec<u32> {
        match (self, other) {
            (Pieces::None, _) | (_, Pieces::All) => Vec::new(),
            (Pieces::Some { field, .. }, Pieces::Some { field: known, .. }) => {
                field.beyond(known).collect()
            }
            (Pieces::Some { field, .. }, Pieces::None) => field.iter().collect(),
            (Pieces::All, Pieces::Some { field: known, .. }) => {
                Bitfield::all(piece_count).beyond(known).collect()
            }
            (Pieces::All, Pieces::None) => (0..piece_count).collect(),
        }
    }

    /// Takes the piece out; tells whether it was in before.
    pub(crate) fn clear(&mut self, piece: PieceIndex, piece_count: u32) -> bool {
        if !self.has(piece) {
            return false;
        }
        let mut field = match std::mem::take(self) {
            Pieces::Some { field, .. } => field,
            _ => Bitfield::all(piece_count),
        };
        field.clear(piece);
        *self = Pieces::from_field(field);
        true
    }

    /// The numbers of the pieces of a partial set; nothing for `None` and `All`.
    pub(crate) fn partial(&self) -> Option<&Bitfield> {
        match self {
            Pieces::Some { field, .. } => Some(field),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metainfo::Geometry;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_behaves_as_a_bitfield(
            count in 1u32..20, ops in prop::collection::vec((0u32..20, any::<bool>()), 0..100),
        ) {
            let geometry = Geometry::new(u64::from(count), 1).unwrap();
            let mut model = Bitfield::none(count);
            let mut pieces = Pieces::None;
            for (index, insert) in ops {
                let Some(piece) = geometry.piece(index) else { continue };
                if insert {
                    prop_assert_eq!(pieces.set(piece, count), model.set(piece));
                } else {
                    prop_assert_eq!(pieces.clear(piece, count), model.clear(piece));
                }
                prop_assert_eq!(pieces.count(count), model.count());
                prop_assert_eq!(pieces.is_all(), model.is_all());
                prop_assert_eq!(matches!(pieces, Pieces::None), model.is_none());
                for piece in geometry.pieces() {
                    prop_assert_eq!(pieces.has(piece), model.has(piece));
                }
            }
        }
    }
}
