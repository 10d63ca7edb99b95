//! Hashing what has come, many pieces at a time.
//!
//! The lanes pay only when several pieces are hashed together, so a turn that has few waits a few
//! milliseconds for more, unless so much is waiting that it would leave the cache.

use super::{Shard, download::OpenPiece};
use crate::limits::{HASH_BACKLOG, HASH_PATIENCE};
use hash::Job;
use metainfo::PieceIndex;
use std::{rc::Rc, time::Duration};

/// Pieces with bytes that are not hashed yet.
#[derive(Default)]
pub(super) struct HashQueue {
    waiting: Vec<(usize, PieceIndex)>,
    since: Duration,
    /// Blocks that have come since the last round.
    blocks: u32,
}

impl HashQueue {
    /// A block of the piece has come.
    pub(super) fn push(
        &mut self,
        now: Duration,
        torrent: usize,
        piece: PieceIndex,
        open: &mut OpenPiece,
    ) {
        self.blocks += 1;
        if open.queued || open.contiguous == open.hashed {
            return;
        }
        open.queued = true;
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.waiting.push((torrent, piece));
    }

    /// When hashing is due at the latest.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(self.since + HASH_PATIENCE)
    }

    fn is_due(&self, now: Duration) -> bool {
        self.blocks >= HASH_BACKLOG || self.due().is_some_and(|due| due <= now)
    }
}

impl Shard {
    pub(super) fn hash_what_is_due(&mut self) {
        if self.hashing.is_due(self.now) {
            let waiting = std::mem::take(&mut self.hashing.waiting);
            self.hashing.blocks = 0;
            self.hash(waiting);
        }
    }

    fn hash(&mut self, mut waiting: Vec<(usize, PieceIndex)>) {
        let mut opened = Vec::with_capacity(waiting.len());
        for (torrent, piece) in waiting.drain(..) {
            let found = self.torrents.get_mut(torrent).and_then(|found| found.pieces.take(piece));
            if let Some(open) = found {
                opened.push((torrent, piece, open));
            }
        }
        // The longest first: a lane that gets a long one late keeps the others waiting.
        opened.sort_by_key(|(_, _, open)| std::cmp::Reverse(open.contiguous - open.hashed));
        let mut jobs: Vec<Job<'_>> = opened
            .iter_mut()
            .map(|(_, _, open)| {
                let OpenPiece { buf, hash, contiguous, hashed, .. } = &mut **open;
                Job { state: hash, data: &buf[*hashed as usize..*contiguous as usize] }
            })
            .collect();
        self.hasher.update(&mut jobs);
        for (torrent, piece, mut open) in opened {
            open.hashed = open.contiguous;
            open.queued = false;
            let Some(found) = self.torrents.get_mut(torrent) else { continue };
            if open.hashed == found.swarm.geometry().length_of(piece) {
                self.judge(torrent, piece, *open);
            } else {
                found.pieces.put_back(piece, open);
            }
        }
    }

    /// A whole piece is hashed: it is written, or its senders are blamed.
    fn judge(&mut self, torrent: usize, piece: PieceIndex, open: OpenPiece) {
        let Some(found) = self.torrents.get_mut(torrent) else { return };
        self.in_hand = Some(found.id);
        let OpenPiece { buf, hash, .. } = open;
        if *found.expected(piece) == hash.finish() {
            let digests =
                found.swarm.wants_digests(piece).then(|| found.pieces.digests(piece, &buf));
            found.swarm.piece_passed(self.now, piece, digests.as_deref());
            found.writing += 1;
            self.store.write_piece(&mut self.ring, found.store, piece, Rc::new(buf));
        } else {
            let digests = found.pieces.digests(piece, &buf);
            tracing::info!(torrent = %found.info_hash, piece = piece.get(), "hash check failed");
            found.swarm.piece_failed(self.now, piece, &digests);
        }
        self.mark_ready(torrent);
    }
}
