//! The order in which torrents get their turn: all of them, whether they wait or not.
//!
//! Taking one out is only noted, so that removing many costs no more than one look at all of them;
//! [`Queue::settle`] makes up for it.

use crate::status::TorrentId;
use std::collections::HashSet;

/// Where torrents go in the queue, together and in their order among themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueMove {
    /// Before all others.
    Top,
    /// One place forward.
    Up,
    /// One place back.
    Down,
    /// Behind all others.
    Bottom,
}

/// A torrent with its rank, a number that grows from the front of the queue to its end, with gaps.
/// Ranks are what is stored: a move changes those of the torrents that it passes, and no others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) id: TorrentId,
    pub(super) rank: i64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    places: Vec<Place>,
    /// Some have gone, or their order is new: positions are to be told anew.
    stale: bool,
}

impl Queue {
    /// Puts a torrent at the end; its position and rank.
    pub(super) fn push(&mut self, id: TorrentId) -> (usize, i64) {
        let rank = self.places.last().map_or(0, |last| last.rank + 1);
        self.places.push(Place { id, rank });
        (self.places.len() - 1, rank)
    }

    /// Takes in what was stored, in any order.
    pub(super) fn restore(&mut self, places: Vec<Place>) {
        self.places = places;
        self.places.sort_by_key(|place| place.rank);
        self.stale = true;
    }

    /// A torrent has gone; nobody may be told positions before the queue is settled.
    pub(super) fn forget(&mut self) {
        self.stale = true;
    }

    /// Brings the queue up to date if need be; `place` is told every torrent's position and says
    /// whether it is still there. Costs nothing if nothing has changed.
    pub(super) fn settle(&mut self, mut place: impl FnMut(TorrentId, usize) -> bool) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut position = 0;
        self.places.retain(|found| {
            let stays = place(found.id, position);
            position += usize::from(stays);
            stays
        });
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = TorrentId> + '_ {
        self.places.iter().map(|place| place.id)
    }

    /// Moves torrents; gives those whose rank is new. One look at all, however many are moved.
    pub(super) fn shift(&mut self, ids: &[TorrentId], to: QueueMove) -> Vec<Place> {
        let ids: HashSet<TorrentId> = ids.iter().copied().collect();
        let is_moved = |place: &Place| ids.contains(&place.id);
        let mut places = self.places.clone();
        let count = places.len();
        match to {
            QueueMove::Top => places.sort_by_key(|place| !is_moved(place)),
            QueueMove::Bottom => places.sort_by_key(is_moved),
            QueueMove::Up => (1..count).for_each(|at| {
                if is_moved(&places[at]) && !is_moved(&places[at - 1]) {
                    places.swap(at - 1, at);
                }
            }),
            QueueMove::Down => (1..count).rev().for_each(|at| {
                if is_moved(&places[at - 1]) && !is_moved(&places[at]) {
                    places.swap(at - 1, at);
                }
            }),
        }
        self.rearrange(places)
    }

    /// Puts torrents at a position, one after the other, or at the end if that is beyond it; they
    /// keep their order among themselves.
    pub(super) fn put(&mut self, ids: &[TorrentId], position: usize) -> Vec<Place> {
        let ids: HashSet<TorrentId> = ids.iter().copied().collect();
        let (moved, mut places): (Vec<Place>, Vec<Place>) =
            self.places.iter().partition(|place| ids.contains(&place.id));
        let position = position.min(places.len());
        places.splice(position..position, moved);
        self.rearrange(places)
    }

    /// Takes over a new order. The ranks stay where they were, and the torrents get those of their
    /// new places.
    fn rearrange(&mut self, mut places: Vec<Place>) -> Vec<Place> {
        let mut changed = Vec::new();
        for (new, old) in places.iter_mut().zip(&self.places) {
            if new.id != old.id {
                new.rank = old.rank;
                changed.push(*new);
            }
        }
        self.places = places;
        self.stale |= !changed.is_empty();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(count: u32) -> Queue {
        let mut queue = Queue::default();
        (0..count).for_each(|id| _ = queue.push(TorrentId(id)));
        queue
    }

    fn order(queue: &Queue) -> Vec<u32> {
        queue.ids().map(|id| id.0).collect()
    }

    #[test]
    fn moved_torrents_keep_their_order_among_themselves() {
        let moved = |to| {
            let mut queue = queue(6);
            queue.shift(&[TorrentId(4), TorrentId(1), TorrentId(2)], to);
            order(&queue)
        };
        assert_eq!(moved(QueueMove::Top), [1, 2, 4, 0, 3, 5]);
        assert_eq!(moved(QueueMove::Up), [1, 2, 0, 4, 3, 5]);
        assert_eq!(moved(QueueMove::Down), [0, 3, 1, 2, 5, 4]);
        assert_eq!(moved(QueueMove::Bottom), [0, 3, 5, 1, 2, 4]);
    }

    #[test]
    fn those_at_the_edge_stay_and_others_close_up() {
        let mut queue = queue(4);
        queue.shift(&[TorrentId(0), TorrentId(2)], QueueMove::Up);
        assert_eq!(order(&queue), [0, 2, 1, 3]);
        assert!(queue.shift(&[TorrentId(0), TorrentId(2)], QueueMove::Up).is_empty());
    }

    #[test]
    fn a_position_beyond_the_end_is_the_end_and_only_what_was_passed_has_a_new_rank() {
        let mut queue = queue(5);
        assert_eq!(queue.put(&[TorrentId(1)], 3).len(), 3);
        assert_eq!(order(&queue), [0, 2, 3, 1, 4]);
        queue.put(&[TorrentId(0)], 99);
        assert_eq!(order(&queue), [2, 3, 1, 4, 0]);
        queue.put(&[TorrentId(0), TorrentId(2)], 1);
        assert_eq!(order(&queue), [3, 2, 0, 1, 4]);
        assert!(queue.put(&[TorrentId(9)], 0).is_empty());
    }

    #[test]
    fn those_that_have_gone_leave_no_gap() {
        let mut queue = queue(5);
        queue.forget();
        let mut told = Vec::new();
        queue.settle(|id, position| {
            let stays = id.0 % 2 == 0;
            told.extend(stays.then_some((id.0, position)));
            stays
        });
        assert_eq!(told, [(0, 0), (2, 1), (4, 2)]);
        queue.settle(|_, _| panic!("nothing has changed"));
        assert_eq!(queue.push(TorrentId(7)), (3, 5));
    }

    proptest! {
        /// What is stored of any moves gives the same order again.
        #[test]
        fn stored_ranks_restore_the_order(
            moves in prop::collection::vec((prop::collection::vec(0u32..12, 0..6), 0u8..5, 0usize..14), 0..20)
        ) {
            let mut queue = queue(12);
            let mut stored: Vec<i64> = (0..12).collect();
            for (ids, kind, position) in moves {
                let ids: Vec<TorrentId> = ids.into_iter().map(TorrentId).collect();
                let to = [QueueMove::Top, QueueMove::Up, QueueMove::Down, QueueMove::Bottom];
                let changed = match to.get(usize::from(kind)) {
                    Some(&to) => queue.shift(&ids, to),
                    None => queue.put(&ids, position),
                };
                for place in changed {
                    stored[place.id.0 as usize] = place.rank;
                }
                let mut all = order(&queue);
                all.sort_unstable();
                prop_assert_eq!(all, (0..12).collect::<Vec<_>>());
            }
            let mut again = Queue::default();
            let place = |(id, &rank): (usize, &i64)| Place { id: TorrentId(id as u32), rank };
            again.restore(stored.iter().enumerate().map(place).collect());
            prop_assert_eq!(order(&again), order(&queue));
        }
    }
}
