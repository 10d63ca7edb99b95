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
