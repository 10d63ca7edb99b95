//! What becomes of whole pieces: bad, good, on disk, gone, wanted or not.

use super::{OpenPiece, Phase, Picker, UNLISTED};
use crate::Priority;
use metainfo::{BlockRange, PieceIndex};

impl Picker {
    pub(crate) fn open_piece(&self, piece: PieceIndex) -> Option<&OpenPiece> {
        self.queue.open_slot(piece).map(|slot| &self.open[slot])
    }

    /// The hash is good.
    pub(crate) fn passed(&mut self, piece: PieceIndex) {
        self.suspects.remove(&piece);
        self.with_open(piece, |open| open.phase = Phase::Writing);
    }

    /// The hash is bad: all of it is wanted again, from one peer.
    pub(crate) fn failed(&mut self, piece: PieceIndex) {
        self.suspects.insert(piece);
        self.reopen(piece);
    }

    /// The piece is on disk. Tells whether it is new.
    pub(crate) fn written(&mut self, piece: PieceIndex) -> bool {
        self.close(piece);
        if self.have.has(piece) {
            return false;
        }
        self.unqueue(piece);
        if self.priority(piece) != Priority::Skip {
            self.wanted_missing -= 1;
            self.wanted_left -= u64::from(self.geometry.length_of(piece));
        }
        self.have_count += 1;
        self.have.set(piece);
        if self.wanted_missing == 0 && self.open.is_empty() {
            self.queue.rest();
        }
        true
    }

    /// The data of an open piece is gone: it is wanted again.
    pub(crate) fn reopen(&mut self, piece: PieceIndex) {
        self.close(piece);
        if self.is_wanted(piece) {
            self.enqueue(piece);
        }
    }

    /// A piece of ours is gone from the disk. Tells whether it was ours.
    pub(crate) fn lost(&mut self, piece: PieceIndex) -> bool {
        if !self.have.clear(piece) {
            return false;
        }
        self.have_count -= 1;
        if self.is_wanted(piece) {
            self.wanted_missing += 1;
            self.wanted_left += u64::from(self.geometry.length_of(piece));
            self.enqueue(piece);
        }
        true
    }

    /// Sets what is wanted; one priority for each piece, missing ones count as normal.
    pub(crate) fn set_priorities(&mut self, per_piece: &[Priority]) {
        for piece in self.geometry.pieces() {
            self.unqueue(piece);
        }
        let all_normal = per_piece.iter().all(|&priority| priority == Priority::Normal);
        self.priorities = if all_normal { Vec::new() } else { per_piece.to_vec() };
        self.requeue_all();
        let slots: Vec<usize> = self.open.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.relist(slot));
    }

    pub(super) fn requeue_all(&mut self) {
        (self.wanted_missing, self.wanted_left) = (0, 0);
        for piece in self.geometry.pieces().filter(|&piece| !self.have.has(piece)) {
            if self.priority(piece) == Priority::Skip {
                continue;
            }
            self.wanted_missing += 1;
            self.wanted_left += u64::from(self.geometry.length_of(piece));
            if self.queue.open_slot(piece).is_none() {
                self.queue.queue(piece, self.priority(piece), &mut self.rng);
            }
        }
        self.first_queued = 0;
    }

    fn enqueue(&mut self, piece: PieceIndex) {
        let priority = self.priority(piece);
        self.queue.queue(piece, priority, &mut self.rng);
        self.first_queued = self.first_queued.min(self.place_of(piece));
    }

    fn unqueue(&mut self, piece: PieceIndex) {
        if self.queue.is_queued(piece) {
            let priority = self.priority(piece);
            self.queue.unqueue(piece, priority);
        }
    }

    fn close(&mut self, piece: PieceIndex) {
        let Some(slot) = self.queue.open_slot(piece) else { return };
        let listed_at = self.open[slot].listed_at;
        if listed_at != UNLISTED {
            self.workable.swap_remove(listed_at as usize);
            if let Some(&moved) = self.workable.get(listed_at as usize) {
                self.open[moved as usize].listed_at = listed_at;
            }
        }
        self.open.remove(slot);
        self.queue.clear_open(piece);
        self.budget.give_back(self.geometry.length_of(piece));
    }

    /// Panics where an invariant does not hold; `live` counts the live requests for a block.
    pub(crate) fn check(&self, mut live: impl FnMut(BlockRange) -> u32) {
        self.queue.check(|piece| self.priority(piece));
        assert_eq!(self.have_count, self.have.count());
        let mut left = (0, 0);
        for piece in self.geometry.pieces() {
            let is_open = self.queue.open_slot(piece).is_some();
            let wanted = self.is_wanted(piece);
            assert_eq!(self.queue.is_queued(piece), wanted && !is_open, "{piece:?}");
            assert!(!(is_open && self.have.has(piece)), "{piece:?} is ours and in flight");
            left.0 += u32::from(wanted);
            left.1 += if wanted { u64::from(self.geometry.length_of(piece)) } else { 0 };
        }
        assert_eq!(left, (self.wanted_missing, self.wanted_left));
        for (slot, open) in &self.open {
            assert_eq!(self.queue.open_slot(open.piece), Some(slot));
            let workable = open.free() > 0 && self.is_wanted(open.piece);
            let listed = self.workable.get(open.listed_at as usize) == Some(&(slot as u32));
            assert_eq!(workable, listed, "{:?} is listed wrongly", open.piece);
            open.check(|number| live(self.geometry.block(open.piece, number)));
        }
    }
}
