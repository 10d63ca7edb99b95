//! Who decides which piece next, and which of its blocks.
//!
//! A piece is *queued* (missing, wanted, untouched), *open* (in flight, see [`partial`]), ours, or
//! none of these (skipped). Blocks are given out in this order:
//!
//! 1. the piece the peer is working on, so that requests come in contiguous runs;
//! 2. another open piece with free blocks, unless a fast peer is working through it;
//! 3. a new piece: the first four at random, then the rarest first (or in order, if sequential), and
//!    rather one that the peer suggests (see [`Picker::suggestion`]);
//! 4. an open piece of a fast peer after all;
//! 5. in end game, blocks that others have been asked for already.
//!
//! High priority comes before normal before low in each step.

mod availability;
mod lifecycle;
mod partial;

pub(crate) use partial::OpenPiece;
pub use partial::Phase;

use crate::{
    MemoryBudget, PeerKey, Priority,
    limits::{END_GAME_BLOCKS, EXCLUSIVE_PIECE_TIME, RANDOM_FIRST_PIECES, RANDOM_TRIES},
    pieces::Pieces,
    pipeline::Pipeline,
};
use availability::RarestFirst;
use metainfo::{Bitfield, BlockRange, Geometry, PieceIndex};
use slab::Slab;
use std::{cmp::Reverse, net::IpAddr, time::Duration};

/// `listed_at` of a piece without free blocks.
const UNLISTED: u32 = u32::MAX;

/// All pieces of a torrent in their various states.
#[derive(Debug)]
pub(crate) struct Picker {
    geometry: Geometry,
    have: Bitfield,
    have_count: u32,
    /// Empty stands for all normal.
    priorities: Vec<Priority>,
    /// Wanted pieces that are not on disk, and their bytes.
    wanted_missing: u32,
    wanted_left: u64,
    seeds: u32,
    queue: RarestFirst,
    open: Slab<OpenPiece>,
    /// Slots of open pieces with free blocks that are wanted.
    workable: Vec<u32>,
    /// The piece that the sequential search begins with.
    sequential_from: u32,
    /// No queued piece comes before this one in that search; its place, as in
    /// [`Self::place_of`].
    first_queued: u32,
    /// Pieces that failed their hash since they were last ours.
    suspects: std::collections::BTreeSet<PieceIndex>,
    pub(crate) sequential: bool,
    /// The disk does not answer: no further piece is begun.
    pub(crate) is_held_up: bool,
    budget: MemoryBudget,
    rng: fastrand::Rng,
}

/// The peer that blocks are picked for.
pub(crate) struct Asker<'a> {
    pub(crate) key: PeerKey,
    pub(crate) pieces: &'a Pieces,
    /// Pieces it has that are wanted and not on disk.
    pub(crate) wanted: u32,
    /// While it chokes us, the pieces it lets us have all the same (BEP 6).
    pub(crate) only: Option<&'a [PieceIndex]>,
    /// Pieces that it suggests (BEP 6), the latest last.
    pub(crate) suggested: &'a [PieceIndex],
    /// Bytes per second that it sends.
    pub(crate) rate: f32,
    pub(crate) pipeline: &'a Pipeline,
}

impl Asker<'_> {
    fn may_have(&self, piece: PieceIndex) -> bool {
        self.pieces.has(piece) && self.only.is_none_or(|only| only.contains(&piece))
    }
}

/// What became of a finished block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) piece_complete: bool,
    /// Peers still asked for it, who should be told to leave it.
    pub(crate) asked_elsewhere: u8,
}

impl Picker {
    pub(crate) fn new(
        geometry: Geometry,
        have: Bitfield,
        sequential: bool,
        budget: MemoryBudget,
        rng: fastrand::Rng,
    ) -> Picker {
        debug_assert_eq!(have.piece_count(), geometry.piece_count());
        let mut picker = Picker {
            geometry,
            have_count: have.count(),
            have,
            priorities: Vec::new(),
            wanted_missing: 0,
            wanted_left: 0,
            seeds: 0,
            queue: RarestFirst::new(geometry.piece_count()),
            open: Slab::new(),
            workable: Vec::new(),
            sequential_from: 0,
            first_queued: 0,
            suspects: Default::default(),
            sequential,
            is_held_up: false,
            budget,
            rng,
        };
        picker.requeue_all();
        picker
    }

    pub(crate) fn have(&self) -> &Bitfield {
        &self.have
    }

    pub(crate) fn have_count(&self) -> u32 {
        self.have_count
    }

    /// Bytes of wanted pieces that are not on disk.
    pub(crate) fn wanted_left(&self) -> u64 {
        self.wanted_left
    }

    pub(crate) fn wanted_missing(&self) -> u32 {
        self.wanted_missing
    }

    pub(crate) fn is_wanted(&self, piece: PieceIndex) -> bool {
        !self.have.has(piece) && self.priority(piece) != Priority::Skip
    }

    pub(crate) fn priority(&self, piece: PieceIndex) -> Priority {
        self.priorities.get(piece.as_usize()).copied().unwrap_or_default()
    }

    /// Peers that have the piece.
    pub(crate) fn availability(&self, piece: PieceIndex) -> u32 {
        self.seeds + u32::from(self.queue.count(piece))
    }

    pub(crate) fn open_pieces(&self) -> impl Iterator<Item = &OpenPiece> + '_ {
        self.open.iter().map(|(_, open)| open)
    }

    /// Whether somebody who left a piece to others may try again, now and not at a moment before.
    pub(crate) fn has_paused_until(&self, before: Duration, now: Duration) -> bool {
        self.open_pieces().any(|open| before < open.pause_end() && open.pause_end() <= now)
    }

    /// How many of the peer's pieces are wanted and not on disk.
    pub(crate) fn count_wanted(&self, pieces: &Pieces) -> u32 {
        match pieces {
            Pieces::None => 0,
            Pieces::All => self.wanted_missing,
            Pieces::Some { field, .. } if self.wanted_missing > 0 => {
                let pieces = field.iter().filter_map(|index| self.geometry.piece(index));
                pieces.filter(|&piece| self.is_wanted(piece)).count() as u32
            }
            Pieces::Some { .. } => 0,
        }
    }
}

/// What peers have.
impl Picker {
    pub(crate) fn add_pieces(&mut self, pieces: &Pieces) {
        self.seeds += u32::from(pieces.is_all());
        if let Some(field) = pieces.partial() {
            let geometry = self.geometry;
            for piece in field.iter().filter_map(|index| geometry.piece(index)) {
                self.raise(piece);
            }
        }
    }

    pub(crate) fn remove_pieces(&mut self, pieces: &Pieces) {
        self.seeds -= u32::from(pieces.is_all());
        if let Some(field) = pieces.partial() {
            let geometry = self.geometry;
            for piece in field.iter().filter_map(|index| geometry.piece(index)) {
                self.lower(piece);
            }
        }
    }

    /// A peer that is not a seed has got one more piece.
    pub(crate) fn raise(&mut self, piece: PieceIndex) {
        let priority = self.priority(piece);
        self.queue.raise(piece, priority);
    }

    /// A peer that is not a seed has lost a piece.
    pub(crate) fn lower(&mut self, piece: PieceIndex) {
        let priority = self.priority(piece);
        self.queue.lower(piece, priority);
    }

    /// A peer that had all pieces but one has got that one: from now on it is counted as a seed.
    pub(crate) fn became_seed(&mut self, last: PieceIndex) {
        for piece in self.geometry.pieces().filter(|&piece| piece != last) {
            self.lower(piece);
        }
        self.seeds += 1;
    }

    /// A seed has lost a piece.
    pub(crate) fn was_seed(&mut self, lost: PieceIndex) {
        self.seeds -= 1;
        for piece in self.geometry.pieces().filter(|&piece| piece != lost) {
            self.raise(piece);
        }
    }
}

/// Giving out blocks.
impl Picker {
    /// Appends up to `limit` blocks to ask this peer for. Fewer mean that there is no more work for
    /// it until something changes.
    pub(crate) fn pick(
        &mut self,
        now: Duration,
        asker: &Asker<'_>,
        limit: usize,
        out: &mut Vec<BlockRange>,
    ) {
        if asker.wanted == 0 {
            return;
        }
        let enough = out.len() + limit;
        while out.len() < enough {
            let slot = self
                .own_piece(asker)
                .or_else(|| self.shared_piece(now, asker, false))
                .or_else(|| self.new_piece(now, asker))
                .or_else(|| self.shared_piece(now, asker, true));
            let Some(slot) = slot else { break };
            self.take_blocks(slot, asker, enough - out.len(), out);
        }
        // A peer that still has requests of its own may get those blocks before anybody else does.
        if out.is_empty() && asker.pipeline.live() == 0 && self.is_end_game() {
            self.take_doubtful(asker, limit.min(END_GAME_BLOCKS), out);
        }
    }

    /// Whether [`Picker::pick`] would give out something; for tests, it looks at everything. If only memory
    /// was missing, the queue does not count.
    pub(crate) fn has_work(&self, now: Duration, asker: &Asker<'_>, lacked_memory: bool) -> bool {
        let is_open = || self.own_piece(asker).or_else(|| self.shared_piece(now, asker, true));
        let is_queued = || self.queue.iter(true).any(|piece| asker.may_have(piece));
        let may_open = !lacked_memory && self.has_memory();
        asker.wanted > 0 && (is_open().is_some() || (may_open && is_queued()))
    }

    /// Whether every wanted block is here or has been asked for.
    pub(crate) fn is_end_game(&self) -> bool {
        self.queue.is_empty() && self.workable.is_empty()
    }

    /// Whether a new piece may be opened as far as memory and the disk go.
    pub(crate) fn has_memory(&self) -> bool {
        if self.is_held_up {
            return false;
        }
        self.open.is_empty() || self.budget.fits(self.geometry.piece_length())
    }

    /// The piece of the peer's latest request, if it is at work there and blocks are left.
    fn own_piece(&self, asker: &Asker<'_>) -> Option<usize> {
        let slot = self.queue.open_slot(asker.pipeline.latest_piece()?)?;
        let open = &self.open[slot];
        let usable = open.owner == Some(asker.key) && open.listed_at != UNLISTED;
        (usable && asker.may_have(open.piece)).then_some(slot)
    }

    /// The best open piece with free blocks; those of fast peers only if `any`.
    fn shared_piece(&self, now: Duration, asker: &Asker<'_>, any: bool) -> Option<usize> {
        let mut best = None;
        for &slot in &self.workable {
            let open = &self.open[slot as usize];
            let mine = open.owner.is_none_or(|owner| owner == asker.key);
            if !mine && (open.suspect || (open.exclusive && !any)) || !asker.may_have(open.piece) {
                continue;
            }
            if open.leaves_it_to_others(asker.key, now) {
                continue;
            }
            let order = if self.sequential { self.place_of(open.piece) } else { open.free() };
            let rank = (self.priority(open.piece), mine, Reverse(order));
            if best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, slot as usize));
            }
        }
        best.map(|(_, slot)| slot)
    }

    fn new_piece(&mut self, now: Duration, asker: &Asker<'_>) -> Option<usize> {
        if !self.has_memory() || !self.has_queued(asker) {
            return None;
        }
        let piece = match asker.only {
            Some(only) => {
                let usable =
                    |&&piece: &&PieceIndex| self.queue.is_queued(piece) && asker.pieces.has(piece);
                *only.iter().find(usable)?
            }
            None if self.sequential => self.next_in_order(asker)?,
            None => {
                let best = self.random_first(asker).or_else(|| {
                    self.queue.iter(asker.pieces.is_all()).find(|&piece| asker.pieces.has(piece))
                })?;
                self.suggestion(asker, best).unwrap_or(best)
            }
        };
        let priority = self.priority(piece);
        self.queue.unqueue(piece, priority);
        self.budget.take(self.geometry.length_of(piece));
        let mut open = OpenPiece::new(&self.geometry, piece, now);
        open.suspect = self.suspects.contains(&piece);
        let slot = self.open.insert(open);
        self.queue.set_open(piece, slot);
        self.relist(slot);
        Some(slot)
    }

    /// Whether the peer has a queued piece at all, told from the counts: looking through the queue of
    /// a large torrent in vain would cost far more.
    fn has_queued(&self, asker: &Asker<'_>) -> bool {
        let here = |open: &&OpenPiece| asker.pieces.has(open.piece) && self.is_wanted(open.piece);
        !self.queue.is_empty() && self.open_pieces().filter(here).count() < asker.wanted as usize
    }

    /// The latest piece that the peer suggests and that may take the place of `best`. It knows what it
    /// can send cheaply, and what others get from it: that counts more than a difference in rarity,
    /// but not more than priority, nor than a piece that nobody else has.
    fn suggestion(&self, asker: &Asker<'_>, best: PieceIndex) -> Option<PieceIndex> {
        let last_copy = |piece| self.availability(piece) <= 1;
        asker.suggested.iter().rev().copied().find(|&piece| {
            self.queue.is_queued(piece)
                && asker.pieces.has(piece)
                && self.priority(piece) == self.priority(best)
                && (last_copy(piece) || !last_copy(best))
        })
    }

    fn random_first(&mut self, asker: &Asker<'_>) -> Option<PieceIndex> {
        if self.have_count >= RANDOM_FIRST_PIECES {
            return None;
        }
        (0..RANDOM_TRIES)
            .filter_map(|_| self.queue.random(&mut self.rng))
            .find(|&piece| asker.pieces.has(piece))
    }

    fn next_in_order(&mut self, asker: &Asker<'_>) -> Option<PieceIndex> {
        let count = self.geometry.piece_count();
        self.first_queued = (self.first_queued..count)
            .find(|&place| self.at_place(place).is_some_and(|piece| self.queue.is_queued(piece)))
            .unwrap_or(count);
        self.queue.priorities().find_map(|priority| {
            (self.first_queued..count).filter_map(|place| self.at_place(place)).find(|&piece| {
                self.queue.is_queued(piece)
                    && self.priority(piece) == priority
                    && asker.pieces.has(piece)
            })
        })
    }

    /// The sequential search begins with this piece, or with the first if it does not exist; those
    /// before it come last.
    pub(crate) fn begin_with(&mut self, piece: u32) {
        let piece = if piece < self.geometry.piece_count() { piece } else { 0 };
        if piece != self.sequential_from {
            self.sequential_from = piece;
            self.first_queued = 0;
        }
    }

    /// Where the piece stands in the sequential search, from 0.
    fn place_of(&self, piece: PieceIndex) -> u32 {
        match piece.get().checked_sub(self.sequential_from) {
            Some(place) => place,
            None => self.geometry.piece_count() - self.sequential_from + piece.get(),
        }
    }

    fn at_place(&self, place: u32) -> Option<PieceIndex> {
        let behind = self.geometry.piece_count() - self.sequential_from;
        let piece = if place < behind { self.sequential_from + place } else { place - behind };
        self.geometry.piece(piece)
    }

    fn take_blocks(
        &mut self,
        slot: usize,
        asker: &Asker<'_>,
        limit: usize,
        out: &mut Vec<BlockRange>,
    ) {
        let open = &mut self.open[slot];
        let length = self.geometry.length_of(open.piece) as f32;
        let is_fast = length <= asker.rate * EXCLUSIVE_PIECE_TIME.as_secs_f32();
        let mine = open.owner == Some(asker.key);
        if mine || open.owner.is_none() || (is_fast && !open.exclusive && !open.suspect) {
            open.owner = Some(asker.key);
            open.exclusive = is_fast;
        }
        let (geometry, piece) = (self.geometry, open.piece);
        let blocks = std::iter::from_fn(|| open.ask_free()).take(limit);
        out.extend(blocks.map(|number| geometry.block(piece, number)));
        self.relist(slot);
    }

    /// Blocks asked of others but not of this peer, from a random piece on, so that peers do not all
    /// choose the same.
    fn take_doubtful(&mut self, asker: &Asker<'_>, limit: usize, out: &mut Vec<BlockRange>) {
        let enough = out.len() + limit;
        let start = self.rng.usize(..self.open.capacity().max(1));
        for step in 0..self.open.capacity() {
            let slot = (start + step) % self.open.capacity();
            let Some(open) = self.open.get(slot) else { continue };
            let may = open.phase == Phase::Downloading && !open.suspect;
            if !may || !self.is_wanted(open.piece) || !asker.may_have(open.piece) {
                continue;
            }
            let open = &mut self.open[slot];
            let first = out.len();
            let candidates = open.doubtful().map(|number| self.geometry.block(open.piece, number));
            out.extend(candidates.filter(|&b| !asker.pipeline.contains(b)).take(enough - first));
            out[first..].iter().for_each(|block| open.ask_again(block.block_number()));
            if out.len() >= enough {
                return;
            }
        }
    }

    /// Keeps `workable` in step with the piece's free blocks.
    fn relist(&mut self, slot: usize) {
        let open = &self.open[slot];
        let workable = open.free() > 0 && self.is_wanted(open.piece);
        let listed_at = open.listed_at;
        if workable && listed_at == UNLISTED {
            self.open[slot].listed_at = self.workable.len() as u32;
            self.workable.push(slot as u32);
        } else if !workable && listed_at != UNLISTED {
            self.open[slot].listed_at = UNLISTED;
            self.workable.swap_remove(listed_at as usize);
            if let Some(&moved) = self.workable.get(listed_at as usize) {
                self.open[moved as usize].listed_at = listed_at;
            }
        }
    }
}

/// What becomes of blocks that were given out. All accept blocks of pieces that are open no longer.
impl Picker {
    /// A live request for the block has gone.
    pub(crate) fn release(&mut self, block: BlockRange) {
        self.with_open(block.piece(), |open| open.release(block.block_number()));
    }

    /// The peer was asked for the block and does not send it, which is free for others. A piece that has
    /// failed before is theirs as well, or a peer that keeps silent could keep it for ever.
    pub(crate) fn let_down(&mut self, block: BlockRange, peer: PeerKey, now: Duration) {
        self.with_open(block.piece(), |open| {
            open.release(block.block_number());
            if open.suspect && open.owner == Some(peer) {
                open.disown();
                open.remember_let_down(peer, now);
            }
        });
    }

    /// The block begins to arrive from a peer that was asked for it. False if it is not wanted.
    pub(crate) fn start(&mut self, block: BlockRange, live: bool) -> bool {
        self.with_open(block.piece(), |open| open.start(block.block_number(), live))
            .unwrap_or(false)
    }

    /// The block stopped arriving.
    pub(crate) fn abort(&mut self, block: BlockRange) {
        self.with_open(block.piece(), |open| open.abort(block.block_number()));
    }

    /// The block is here.
    pub(crate) fn finish(
        &mut self,
        block: BlockRange,
        from: IpAddr,
        now: Duration,
    ) -> Option<Finished> {
        self.with_open(block.piece(), |open| {
            let asked_elsewhere = open.finish(block.block_number(), from, now);
            let piece_complete = open.is_complete();
            if piece_complete {
                open.phase = Phase::Hashing;
            }
            Finished { piece_complete, asked_elsewhere }
        })
    }

    /// The peer left, stalled or chokes: its pieces are free for others to work on.
    pub(crate) fn disown(&mut self, peer: PeerKey) {
        let of_peer = self.open.iter_mut().filter(|(_, open)| open.owner == Some(peer));
        of_peer.for_each(|(_, open)| open.disown());
    }

    /// The peer has not got the piece any more: if it worked on it, others may.
    pub(crate) fn disown_piece(&mut self, piece: PieceIndex, peer: PeerKey) {
        self.with_open(piece, |open| {
            if open.owner == Some(peer) {
                open.disown();
            }
        });
    }

    fn with_open<T>(
        &mut self,
        piece: PieceIndex,
        change: impl FnOnce(&mut OpenPiece) -> T,
    ) -> Option<T> {
        let slot = self.queue.open_slot(piece)?;
        let result = change(&mut self.open[slot]);
        self.relist(slot);
        Some(result)
    }
}

impl Drop for Picker {
    fn drop(&mut self) {
        for (_, open) in &self.open {
            self.budget.give_back(self.geometry.length_of(open.piece));
        }
    }
}

#[cfg(test)]
mod tests;
