//! The shape of a torrent's data: how many pieces, how long each, which blocks they are asked in.
//!
//! A [`PieceIndex`] or [`BlockRange`] exists only after a [`Geometry`] has checked it, so it can be
//! used for arithmetic and indexing without another look. They belong to the geometry that made
//! them; one of another torrent is a logic error that shows as a panic at the next index, never as
//! a wrong offset into a file.

use std::fmt;

/// What clients ask each other for at a time: 16 KiB (BEP 3). Longer requests are refused by most.
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// The number of a piece that exists in its torrent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The number as it stands on the wire.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number as an index into per-piece tables.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "piece {}", self.0)
    }
}

/// A run of bytes within one piece, not empty, wholly inside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRange {
    piece: PieceIndex,
    begin: u32,
    length: u32,
}

impl BlockRange {
    /// The piece it lies in.
    pub fn piece(self) -> PieceIndex {
        self.piece
    }

    /// Bytes from the start of the piece to its first byte.
    pub fn begin(self) -> u32 {
        self.begin
    }

    /// Bytes in it; at least 1.
    pub fn length(self) -> u32 {
        self.length
    }

    /// Bytes from the start of the piece to the byte after its last.
    pub fn end(self) -> u32 {
        self.begin + self.length
    }

    /// Which of its piece's 16 KiB blocks it starts in.
    pub fn block_number(self) -> u32 {
        self.begin / BLOCK_LENGTH
    }
}

impl fmt::Debug for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}..{}]", self.piece, self.begin, self.end())
    }
}

/// The lengths of a torrent: total, piece, and so each piece's and block's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    total_length: u64,
    piece_length: u32,
    piece_count: u32,
}

impl Geometry {
    /// The geometry of `total_length` bytes cut into pieces of `piece_length`.
    ///
    /// `None` if either is zero or the pieces are more than 2³¹ − 1 (the limit of clients that keep
    /// the index in a signed number).
    pub fn new(total_length: u64, piece_length: u32) -> Option<Geometry> {
        if total_length == 0 || piece_length == 0 {
            return None;
        }
        let pieces = total_length.div_ceil(u64::from(piece_length));
        let piece_count = u32::try_from(pieces).ok().filter(|&n| n <= i32::MAX as u32)?;
        Some(Geometry { total_length, piece_length, piece_count })
    }

    /// Bytes in the whole torrent, pad files included.
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// Bytes in each piece but the last.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of pieces; at least 1.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// The piece with this number, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }

    /// All pieces in order.
    pub fn pieces(
        &self,
    ) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// The piece that holds the byte at `offset` of the torrent, if it has one.
    pub fn piece_at(&self, offset: u64) -> Option<PieceIndex> {
        (offset < self.total_length)
            .then(|| PieceIndex((offset / u64::from(self.piece_length)) as u32))
    }

    /// Bytes from the start of the torrent to the piece's first byte.
    pub fn offset_of(&self, piece: PieceIndex) -> u64 {
        debug_assert!(piece.0 < self.piece_count);
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Bytes in this piece; shorter than [`Self::piece_length`] for the last one at most.
    pub fn length_of(&self, piece: PieceIndex) -> u32 {
        debug_assert!(piece.0 < self.piece_count);
        let left = self.total_length - self.offset_of(piece);
        left.min(u64::from(self.piece_length)) as u32
    }

    /// Bytes from the start of the torrent to the range's first byte.
    pub fn offset_of_range(&self, range: BlockRange) -> u64 {
        self.offset_of(range.piece) + u64::from(range.begin)
    }

    /// Checks a range as it came from a peer: `None` unless it lies in an existing piece and is not
    /// empty.
    pub fn range(&self, index: u32, begin: u32, length: u32) -> Option<BlockRange> {
        let piece = self.piece(index)?;
        let end = begin.checked_add(length)?;
        (length > 0 && end <= self.length_of(piece)).then_some(BlockRange { piece, begin, length })
    }

    /// Number of 16 KiB blocks in the piece, a last short one counted; at least 1.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.length_of(piece).div_ceil(BLOCK_LENGTH)
    }

    /// The piece's block with this number.
    ///
    /// # Panics
    /// If the piece has no such block: the number comes from [`Self::block_count`] or
    /// [`BlockRange::block_number`], never from a peer.
    pub fn block(&self, piece: PieceIndex, number: u32) -> BlockRange {
        assert!(number < self.block_count(piece), "block {number} of {piece:?} does not exist");
        let begin = number * BLOCK_LENGTH;
        BlockRange { piece, begin, length: (self.length_of(piece) - begin).min(BLOCK_LENGTH) }
    }

    /// All blocks of the piece in order.
    pub fn blocks(&self, piece: PieceIndex) -> impl Iterator<Item = BlockRange> + use<> {
        let geometry = *self;
        (0..self.block_count(piece)).map(move |number| geometry.block(piece, number))
    }

    /// Whether the range is exactly one of the blocks that [`Self::blocks`] gives.
    pub fn is_block(&self, range: BlockRange) -> bool {
        range.begin.is_multiple_of(BLOCK_LENGTH)
            && self.block(range.piece, range.block_number()) == range
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_oversized_torrents_have_no_geometry() {
        assert_eq!(Geometry::new(0, 16384), None);
        assert_eq!(Geometry::new(1, 0), None);
        assert_eq!(Geometry::new(u64::MAX, 1), None);
        assert!(Geometry::new(i32::MAX as u64, 1).is_some());
        assert_eq!(Geometry::new(i32::MAX as u64 + 1, 1), None);
    }

    #[test]
    fn the_piece_after_the_last_does_not_exist() {
        let geometry = Geometry::new(100_000, 32_768).unwrap();
        assert_eq!(geometry.piece_count(), 4);
        assert!(geometry.piece(3).is_some());
        assert!(geometry.piece(4).is_none());
        assert_eq!(geometry.length_of(geometry.piece(3).unwrap()), 100_000 - 3 * 32_768);
    }

    proptest! {
        #[test]
        fn pieces_and_blocks_tile_the_torrent(total in 1u64..10_000_000, piece in 1u32..3_000_000) {
            let geometry = Geometry::new(total, piece).unwrap();
            prop_assume!(geometry.piece_count() < 5_000);
            let mut at = 0;
            for piece in geometry.pieces() {
                prop_assert_eq!(geometry.offset_of(piece), at);
                for block in geometry.blocks(piece) {
                    prop_assert_eq!(geometry.offset_of_range(block), at);
                    prop_assert!(geometry.is_block(block));
                    at += u64::from(block.length());
                }
            }
            prop_assert_eq!(at, total);
        }

        #[test]
        fn a_range_is_accepted_only_inside_its_piece(
            total in 1u64..1 << 40, piece_length: u32, index: u32, begin: u32, length: u32,
        ) {
            let Some(geometry) = Geometry::new(total, piece_length) else { return Ok(()) };
            if let Some(range) = geometry.range(index, begin, length) {
                prop_assert!(range.length() > 0);
                let end = geometry.offset_of_range(range) + u64::from(range.length());
                prop_assert!(end <= total);
                prop_assert!(range.end() <= geometry.length_of(range.piece()));
            }
        }
    }
}
