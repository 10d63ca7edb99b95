//! Pieces on their way in: blocks are copied once, out of the receive buffer into their piece's
//! buffer, hashed in order while they are hot, and handed on when the hash is good.

use hash::Sha1State;
use metainfo::{BLOCK_LENGTH, BlockRange, Geometry, PieceIndex};
use ring::{Buf, BufPool};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// A piece of which some blocks have come.
pub(super) struct OpenPiece {
    pub(super) buf: Buf,
    pub(super) hash: Sha1State,
    /// Bytes from the start that have come without a gap.
    pub(super) contiguous: u32,
    /// Bytes from the start that are hashed; at most `contiguous`.
    pub(super) hashed: u32,
    /// One bit for each block that has come whole.
    received: Vec<u64>,
    /// One bit for each block that is being copied in now.
    coming: Vec<u64>,
    /// In the hash queue.
    pub(super) queued: bool,
    /// Tells this opening of the piece from later ones.
    serial: u64,
}

/// The block that a connection is receiving.
pub(super) struct Incoming(Option<Taking>);

/// A block that is wanted, if the connection's last word is not that it is not.
struct Taking {
    block: BlockRange,
    /// The opening of the piece that it began in.
    serial: u64,
    at: usize,
    /// Where the bytes go while another peer is sending the same block into the piece; `None` if
    /// they go straight into it.
    apart: Option<Buf>,
}

/// The open pieces of one torrent.
pub(super) struct OpenPieces {
    geometry: Geometry,
    open: HashMap<u32, Box<OpenPiece>>,
    opened: u64,
    digester: RandomState,
}

/// How a received block ended.
pub(super) enum Arrived {
    /// It is in its piece.
    Whole(BlockRange),
    /// It was to be taken, but its piece is gone or has it from elsewhere.
    Late(BlockRange),
    /// It was never to be taken.
    Nowhere,
}

impl OpenPieces {
    pub(super) fn new(geometry: Geometry) -> OpenPieces {
        OpenPieces { geometry, open: HashMap::new(), opened: 0, digester: RandomState::new() }
    }

    /// A wanted block begins to come in.
    pub(super) fn begin(&mut self, block: BlockRange, pool: &BufPool) -> Incoming {
        let piece = block.piece();
        let geometry = self.geometry;
        let opened = &mut self.opened;
        let open = self.open.entry(piece.get()).or_insert_with(|| {
            let words = geometry.block_count(piece).div_ceil(64) as usize;
            *opened += 1;
            Box::new(OpenPiece {
                buf: pool.get(geometry.length_of(piece) as usize),
                hash: Sha1State::new(),
                contiguous: 0,
                hashed: 0,
                received: vec![0; words],
                coming: vec![0; words],
                queued: false,
                serial: *opened,
            })
        });
        let number = block.block_number();
        let apart = bit(&open.coming, number).then(|| pool.get(block.length() as usize));
        if apart.is_none() {
            set(&mut open.coming, number);
        }
        Incoming(Some(Taking { block, serial: open.serial, at: 0, apart }))
    }

    /// The block's piece, if it is still the opening that the block began in.
    fn of(
        open: &mut HashMap<u32, Box<OpenPiece>>,
        block: BlockRange,
        serial: u64,
    ) -> Option<&mut OpenPiece> {
        let open = open.get_mut(&block.piece().get())?;
        (open.serial == serial).then_some(&mut **open)
    }

    /// A block that nobody wants begins to come in.
    pub(super) fn discard() -> Incoming {
        Incoming(None)
    }

    /// The next bytes of the block.
    pub(super) fn data(&mut self, incoming: &mut Incoming, bytes: &[u8]) {
        let Some(taking) = &mut incoming.0 else { return };
        let start = taking.at;
        taking.at += bytes.len();
        if let Some(apart) = &mut taking.apart {
            apart[start..start + bytes.len()].copy_from_slice(bytes);
        } else if let Some(open) = Self::of(&mut self.open, taking.block, taking.serial) {
            // Once the block is there from elsewhere, its bytes may be hashed and must stay.
            if !bit(&open.received, taking.block.block_number()) {
                let start = taking.block.begin() as usize + start;
                open.buf[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// The last byte of the block has come.
    pub(super) fn end(&mut self, incoming: Incoming) -> Arrived {
        let Some(Taking { block, serial, apart, .. }) = incoming.0 else {
            return Arrived::Nowhere;
        };
        let number = block.block_number();
        let Some(open) = Self::of(&mut self.open, block, serial) else {
            return Arrived::Late(block);
        };
        if apart.is_none() {
            unset(&mut open.coming, number);
        }
        if bit(&open.received, number) {
            return Arrived::Late(block);
        }
        if let Some(apart) = apart {
            open.buf[block.begin() as usize..block.end() as usize].copy_from_slice(&apart);
        }
        set(&mut open.received, number);
        let length = self.geometry.length_of(block.piece());
        while open.contiguous < length && bit(&open.received, open.contiguous / BLOCK_LENGTH) {
            open.contiguous = (open.contiguous + BLOCK_LENGTH).min(length);
        }
        Arrived::Whole(block)
    }

    /// The connection ended within the block; which, if it was to be taken.
    pub(super) fn abort(&mut self, incoming: &Incoming) -> Option<BlockRange> {
        let taking = incoming.0.as_ref()?;
        if taking.apart.is_none()
            && let Some(open) = Self::of(&mut self.open, taking.block, taking.serial)
        {
            unset(&mut open.coming, taking.block.block_number());
        }
        Some(taking.block)
    }

    pub(super) fn get(&mut self, piece: PieceIndex) -> Option<&mut OpenPiece> {
        self.open.get_mut(&piece.get()).map(|open| &mut **open)
    }

    /// The numbers of the open pieces.
    #[cfg(feature = "sim")]
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        self.open.keys().copied()
    }

    pub(super) fn take(&mut self, piece: PieceIndex) -> Option<Box<OpenPiece>> {
        self.open.remove(&piece.get())
    }

    pub(super) fn put_back(&mut self, piece: PieceIndex, open: Box<OpenPiece>) {
        self.open.insert(piece.get(), open);
    }

    /// One digest for each block, by which a later copy is compared (smart ban). Keyed with random
    /// numbers, so that nobody can make two blocks meet.
    pub(super) fn digests(&self, piece: PieceIndex, bytes: &[u8]) -> Vec<u64> {
        let blocks = self.geometry.blocks(piece);
        blocks
            .map(|block| {
                self.digester.hash_one(&bytes[block.begin() as usize..block.end() as usize])
            })
            .collect()
    }
}

fn bit(words: &[u64], number: u32) -> bool {
    words[number as usize / 64] >> (number % 64) & 1 == 1
}

fn set(words: &mut [u64], number: u32) {
    words[number as usize / 64] |= 1 << (number % 64);
}

fn unset(words: &mut [u64], number: u32) {
    words[number as usize / 64] &= !(1 << (number % 64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry() -> Geometry {
        Geometry::new(3 * u64::from(BLOCK_LENGTH) + 100, 1 << 20).unwrap()
    }

    fn block(number: u32) -> BlockRange {
        let geometry = geometry();
        geometry.block(geometry.piece(0).unwrap(), number)
    }

    fn fill(length: u32, with: u8) -> Vec<u8> {
        vec![with; length as usize]
    }

    #[test]
    fn the_first_whole_copy_of_a_block_stays() {
        let (pool, mut pieces) = (BufPool::new(0), OpenPieces::new(geometry()));
        let (mut first, mut second) =
            (pieces.begin(block(0), &pool), pieces.begin(block(0), &pool));
        pieces.data(&mut first, &fill(100, 1));
        pieces.data(&mut second, &fill(BLOCK_LENGTH, 2));
        assert!(matches!(pieces.end(second), Arrived::Whole(_)));
        pieces.data(&mut first, &fill(BLOCK_LENGTH - 100, 1));
        assert!(matches!(pieces.end(first), Arrived::Late(_)));
        let open = pieces.get(block(0).piece()).unwrap();
        assert_eq!(open.contiguous, BLOCK_LENGTH);
        assert!(open.buf[..BLOCK_LENGTH as usize].iter().all(|&byte| byte == 2));
    }

    #[test]
    fn a_block_of_a_dropped_piece_never_reaches_its_next_opening() {
        let (pool, mut pieces) = (BufPool::new(0), OpenPieces::new(geometry()));
        let mut old = pieces.begin(block(1), &pool);
        pieces.data(&mut old, &fill(10, 1));
        pieces.take(block(1).piece());
        let mut new = pieces.begin(block(1), &pool);
        pieces.data(&mut new, &fill(BLOCK_LENGTH, 2));
        pieces.data(&mut old, &fill(BLOCK_LENGTH - 10, 1));
        assert!(matches!(pieces.end(old), Arrived::Late(_)));
        assert!(matches!(pieces.end(new), Arrived::Whole(_)));
        let at = block(1).begin() as usize;
        let open = pieces.get(block(1).piece()).unwrap();
        assert!(open.buf[at..at + BLOCK_LENGTH as usize].iter().all(|&byte| byte == 2));
        assert_eq!(open.contiguous, 0);
    }

    /// What one of four connections does next.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin(u32),
        Data,
        End,
        Abort,
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u32..4).prop_map(Step::Begin),
            4 => Just(Step::Data),
            4 => Just(Step::End),
            1 => Just(Step::Abort),
            1 => Just(Step::Reopen),
        ]
    }

    proptest! {
        /// Against a model that keeps each connection's bytes apart and takes whole blocks only.
        #[test]
        fn a_piece_holds_the_first_whole_copy_of_each_block(
            steps in prop::collection::vec((0usize..4, step()), 1..200),
        ) {
            let (pool, mut pieces) = (BufPool::new(1 << 20), OpenPieces::new(geometry()));
            let piece = block(0).piece();
            let mut conns: [Option<(Incoming, u32, u32, u32)>; 4] = Default::default();
            let mut model: [Option<u8>; 4] = [None; 4];
            let mut opening = 0;
            for (conn, step) in steps {
                let with = conn as u8 + 1;
                match (step, conns[conn].take()) {
                    (Step::Begin(number), None) => {
                        let incoming = pieces.begin(block(number), &pool);
                        conns[conn] = Some((incoming, number, 0, opening));
                    }
                    (Step::Data, Some((mut incoming, number, at, began))) => {
                        let count = (block(number).length() - at).min(5000);
                        pieces.data(&mut incoming, &fill(count, with));
                        conns[conn] = Some((incoming, number, at + count, began));
                    }
                    (Step::End, Some((mut incoming, number, at, began))) => {
                        pieces.data(&mut incoming, &fill(block(number).length() - at, with));
                        let is_new = began == opening && model[number as usize].is_none();
                        let arrived = pieces.end(incoming);
                        prop_assert_eq!(matches!(arrived, Arrived::Whole(_)), is_new);
                        if is_new {
                            model[number as usize] = Some(with);
                        }
                    }
                    (Step::Abort, Some((incoming, number, ..))) => {
                        prop_assert_eq!(pieces.abort(&incoming), Some(block(number)));
                    }
                    (Step::Reopen, held) => {
                        conns[conn] = held;
                        if pieces.take(piece).is_some() {
                            opening += 1;
                            model = [None; 4];
                        }
                    }
                    (_, held) => conns[conn] = held,
                }
                let Some(open) = pieces.get(piece) else { continue };
                let whole = model.iter().take_while(|block| block.is_some()).count() as u32;
                let contiguous = (whole * BLOCK_LENGTH).min(geometry().length_of(piece));
                prop_assert_eq!(open.contiguous, contiguous);
                for (number, with) in (0..).zip(model) {
                    let (block, Some(with)) = (block(number), with) else { continue };
                    let bytes = &open.buf[block.begin() as usize..block.end() as usize];
                    prop_assert!(bytes.iter().all(|&byte| byte == with));
                }
            }
        }
    }
}
