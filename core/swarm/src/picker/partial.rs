//! A piece in flight: which of its blocks have been asked for, are arriving or are here.
//!
//! ```text
//! free ──asked──▶ asked ──start──▶ arriving ──end──▶ received
//!   ▲               │                  │
//!   └───released────┴─────aborted──────┘
//! ```
//!
//! A block may be asked of several peers (end game, or after a timeout) but arrives from one at a
//! time, because all write to the same place.

use crate::PeerKey;
use crate::limits::{LET_DOWN_PAUSE, LET_DOWN_PEERS, MAX_ASKED};
use metainfo::{Geometry, PieceIndex};
use std::{net::IpAddr, time::Duration};

/// What a piece in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Blocks are missing.
    Downloading,
    /// All blocks are here; the hash is being checked.
    Hashing,
    /// The hash is good; the data is on its way to the disk.
    Writing,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Peers that have a live request for it.
    asked: u8,
    state: State,
    /// Who sent it, as an index into `contributors`; meaningful once received.
    from: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Arriving,
    Received,
}

/// A piece that has been opened and is not on disk yet.
#[derive(Debug)]
pub(crate) struct OpenPiece {
    pub(crate) piece: PieceIndex,
    pub(crate) phase: Phase,
    /// The peer that works through it block by block; others keep off if it is fast.
    pub(crate) owner: Option<PeerKey>,
    /// Whether the owner is fast enough to be left alone with it while there is other work.
    pub(crate) exclusive: bool,
    /// Whether the piece failed its hash before: the owner alone works on it, so that the next
    /// failure has one culprit.
    pub(crate) suspect: bool,
    /// Owners that were asked for blocks of it and did not send them. They leave it to others first.
    let_down: Vec<PeerKey>,
    /// When the last of them did.
    free_since: Duration,
    pub(crate) last_activity: Duration,
    /// Where it stands in the picker's list of pieces with free blocks; `u32::MAX` if it does not.
    pub(crate) listed_at: u32,
    blocks: Box<[Block]>,
    contributors: Vec<IpAddr>,
    free: u32,
    received: u32,
    /// No block before this one is free.
    first_free: u32,
}

impl OpenPiece {
    pub(crate) fn new(geometry: &Geometry, piece: PieceIndex, now: Duration) -> OpenPiece {
        let count = geometry.block_count(piece);
        OpenPiece {
            piece,
            phase: Phase::Downloading,
            owner: None,
            exclusive: false,
            suspect: false,
            let_down: Vec::new(),
            free_since: now,
            last_activity: now,
            listed_at: u32::MAX,
            blocks: vec![Block::default(); count as usize].into_boxed_slice(),
            contributors: Vec::new(),
            free: count,
            received: 0,
            first_free: 0,
        }
    }

    /// Nobody works through it now.
    pub(crate) fn disown(&mut self) {
        self.owner = None;
        self.exclusive = false;
    }

    /// The peer did not send what it was asked for.
    pub(crate) fn remember_let_down(&mut self, peer: PeerKey, now: Duration) {
        // Those of so long ago do not wait for others any more.
        if now >= self.pause_end() {
            self.let_down.clear();
        }
        self.free_since = now;
        if !self.let_down.contains(&peer) {
            if self.let_down.len() == LET_DOWN_PEERS {
                self.let_down.remove(0);
            }
            self.let_down.push(peer);
        }
    }

    /// Whether the peer let it down a moment ago.
    pub(crate) fn leaves_it_to_others(&self, peer: PeerKey, now: Duration) -> bool {
        now < self.pause_end() && self.let_down.contains(&peer)
    }

    /// When who let it down may try again.
    pub(crate) fn pause_end(&self) -> Duration {
        self.free_since + LET_DOWN_PAUSE
    }

    /// Blocks that nobody has been asked for.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Blocks that are here.
    pub(crate) fn received(&self) -> u32 {
        self.received
    }

    pub(crate) fn block_count(&self) -> u32 {
        self.blocks.len() as u32
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.received == self.block_count()
    }

    /// Whether anybody is asked for or is sending a block.
    pub(crate) fn is_busy(&self) -> bool {
        self.free + self.received < self.block_count()
    }

    /// Takes the first free block.
    pub(crate) fn ask_free(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let start = self.first_free as usize;
        let at = start + self.blocks[start..].iter().position(Block::is_free)?;
        self.blocks[at].asked = 1;
        self.free -= 1;
        self.first_free = at as u32 + 1;
        Some(at as u32)
    }

    /// Blocks that are asked for, not arriving, and may be asked of one more peer.
    pub(crate) fn doubtful(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.iter().enumerate().filter_map(|(number, block)| {
            let may = block.state == State::Waiting && (1..MAX_ASKED).contains(&block.asked);
            may.then_some(number as u32)
        })
    }

    /// Asks one more peer for a block of [`Self::doubtful`].
    pub(crate) fn ask_again(&mut self, block: u32) {
        let block = &mut self.blocks[block as usize];
        debug_assert!(block.state == State::Waiting && block.asked > 0);
        block.asked += 1;
    }

    /// A request for the block is no longer live.
    pub(crate) fn release(&mut self, number: u32) {
        let block = &mut self.blocks[number as usize];
        debug_assert!(block.asked > 0, "released more often than asked");
        block.asked = block.asked.saturating_sub(1);
        self.freed_if_idle(number);
    }

    /// The block's bytes begin to arrive, and its request, live or not, is answered. False if it is
    /// here or arriving from another peer.
    pub(crate) fn start(&mut self, number: u32, live: bool) -> bool {
        let block = &mut self.blocks[number as usize];
        let was_free = block.is_free();
        if live {
            debug_assert!(block.asked > 0);
            block.asked -= 1;
        }
        if block.state != State::Waiting {
            return false;
        }
        block.state = State::Arriving;
        self.free -= u32::from(was_free);
        true
    }

    /// The block's bytes stopped arriving before the last.
    pub(crate) fn abort(&mut self, number: u32) {
        let block = &mut self.blocks[number as usize];
        debug_assert_eq!(block.state, State::Arriving);
        block.state = State::Waiting;
        self.freed_if_idle(number);
    }

    /// The block is here. Tells how many other peers are still asked for it.
    pub(crate) fn finish(&mut self, number: u32, from: IpAddr, now: Duration) -> u8 {
        let contributor = self.contributor(from);
        let block = &mut self.blocks[number as usize];
        debug_assert_eq!(block.state, State::Arriving);
        block.state = State::Received;
        block.from = contributor;
        self.received += 1;
        self.last_activity = now;
        block.asked
    }

    fn contributor(&mut self, ip: IpAddr) -> u16 {
        // The last one first: blocks of one peer come in runs.
        let known = self.contributors.iter().rposition(|&known| known == ip);
        known.unwrap_or_else(|| {
            self.contributors.push(ip);
            self.contributors.len() - 1
        }) as u16
    }

    fn freed_if_idle(&mut self, number: u32) {
        if self.blocks[number as usize].is_free() {
            self.free += 1;
            self.first_free = self.first_free.min(number);
        }
    }

    /// Who sent something of it.
    pub(crate) fn contributors(&self) -> &[IpAddr] {
        &self.contributors
    }

    /// Who sent each block, in order. Only for a complete piece.
    pub(crate) fn senders(&self) -> impl Iterator<Item = IpAddr> + '_ {
        debug_assert!(self.is_complete());
        self.blocks.iter().map(|block| self.contributors[usize::from(block.from)])
    }

    pub(crate) fn is_block_received(&self, number: u32) -> bool {
        self.blocks[number as usize].state == State::Received
    }

    /// Bytes that are here.
    pub(crate) fn bytes_received(&self, geometry: &Geometry) -> u64 {
        let received = |number: &u32| self.is_block_received(*number);
        let length = |number| u64::from(geometry.block(self.piece, number).length());
        (0..self.block_count()).filter(received).map(length).sum()
    }

    /// Requests counted over all blocks; for tests of the invariant.
    pub(crate) fn check(&self, mut live_requests: impl FnMut(u32) -> u32) {
        let free = self.blocks.iter().filter(|block| block.is_free()).count() as u32;
        let received = self.blocks.iter().filter(|b| b.state == State::Received).count() as u32;
        assert_eq!((free, received), (self.free, self.received), "{:?}", self.piece);
        assert!(self.blocks[..self.first_free as usize].iter().all(|block| !block.is_free()));
        for (number, block) in self.blocks.iter().enumerate() {
            assert_eq!(live_requests(number as u32), u32::from(block.asked), "{:?}", self.piece);
        }
    }
}

impl Block {
    fn is_free(&self) -> bool {
        self.state == State::Waiting && self.asked == 0
    }
}
