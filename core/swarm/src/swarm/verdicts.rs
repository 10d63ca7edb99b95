//! What becomes of whole pieces: good, bad, on disk, gone.

use super::{Action, Swarm, raw};
use crate::{PeerKey, Reason};
use metainfo::PieceIndex;
use std::{net::IpAddr, time::Duration};
use wire::{Message, extension};

impl Swarm {
    /// Whether the digests of the piece's blocks can convict somebody: it failed before, with
    /// several contributors.
    pub fn wants_digests(&self, piece: PieceIndex) -> bool {
        self.smart_ban.remembers(piece)
    }

    /// The hash is good, and the data is being written. `digests`, one for each block, of the same
    /// function as those of [`Self::piece_failed`], are needed only if [`Self::wants_digests`].
    pub fn piece_passed(&mut self, _now: Duration, piece: PieceIndex, digests: Option<&[u64]>) {
        self.picker.passed(piece);
        let Some(digests) = digests.filter(|_| self.smart_ban.remembers(piece)) else { return };
        for culprit in self.smart_ban.passed(piece, digests) {
            self.convict(culprit);
        }
    }

    /// The hash is bad. `digests` has a cheap digest of each block; it need not resist forgery
    /// beyond what a peer could find by chance.
    pub fn piece_failed(&mut self, _now: Duration, piece: PieceIndex, digests: &[u64]) {
        let Some(open) = self.picker.open_piece(piece).filter(|open| open.is_complete()) else {
            return;
        };
        self.corrupt += u64::from(self.geometry.length_of(piece));
        let culprit = match open.contributors() {
            [only] => Some(*only),
            _ => {
                let senders: Vec<_> = open.senders().zip(digests.iter().copied()).collect();
                self.smart_ban.failed(piece, senders.into_iter())
            }
        };
        self.picker.failed(piece);
        if let Some(culprit) = culprit {
            self.convict(culprit);
        }
        self.wake_starved();
    }

    fn convict(&mut self, ip: IpAddr) {
        if !self.is_banned(ip) {
            self.ban(ip);
            self.actions.push_back(Action::Ban { addr: ip });
        }
    }

    /// The piece is on disk: it is ours, may be served, and is announced to all who lack it.
    pub fn piece_written(&mut self, _now: Duration, piece: PieceIndex) {
        let was_wanted = self.picker.is_wanted(piece);
        if !self.picker.written(piece) {
            return;
        }
        let is_last = self.picker.wanted_missing() == 0;
        let mut bored = Vec::new();
        for (key, peer) in &mut self.peers {
            let key = PeerKey(key as u32);
            if !peer.pieces.has(piece) {
                peer.say(key, &mut self.ready, Message::Have { piece: piece.get() });
            } else if was_wanted {
                peer.wanted -= u32::from(!peer.pieces.is_all());
                if is_last || (peer.wanted == 0 && !peer.pieces.is_all()) {
                    bored.push(key);
                }
            }
        }
        bored.into_iter().for_each(|key| self.update_interest(key));
        if self.starved_for_memory && self.picker.has_memory() {
            self.wake_starved();
        }
        self.check_complete();
    }

    /// The data of a piece in flight is gone, because its write failed or the caller dropped it: it
    /// is wanted again, and requests for it are cancelled.
    pub fn piece_dropped(&mut self, _now: Duration, piece: PieceIndex) {
        let Some(open) = self.picker.open_piece(piece) else { return };
        self.wasted += open.bytes_received(&self.geometry);
        for (key, peer) in &mut self.peers {
            if peer.arriving.is_some_and(|block| block.piece() == piece) {
                peer.arriving = None;
            }
            let mut cancelled = Vec::new();
            peer.pipeline.remove_where(|request| {
                let gone = request.block.piece() == piece;
                if gone {
                    cancelled.push(request.block);
                }
                gone
            });
            for block in cancelled {
                peer.say(PeerKey(key as u32), &mut self.ready, Message::Cancel(raw(block)));
            }
        }
        self.picker.reopen(piece);
        self.wake_starved();
    }

    /// A piece of ours turned out missing or bad on the disk: it is wanted again, and peers that
    /// understand it are told (BEP 54).
    pub fn piece_lost(&mut self, _now: Duration, piece: PieceIndex) {
        if !self.picker.lost(piece) {
            return;
        }
        let payload = extension::encode_dont_have(piece.get());
        for (key, peer) in &mut self.peers {
            let key = PeerKey(key as u32);
            if let Some(id) = peer.ids.lt_donthave {
                peer.say(key, &mut self.ready, Message::Extended { id, payload: &payload });
            }
            let fast = peer.fast;
            let mut refused = Vec::new();
            peer.uploads.retain(|&block| {
                let keep = block.piece() != piece;
                if !keep && fast {
                    refused.push(block);
                }
                keep
            });
            for block in refused {
                peer.say(key, &mut self.ready, Message::RejectRequest(raw(block)));
            }
        }
        self.recount_wanted();
    }

    /// Disconnects everybody, because the torrent stops; the actions follow.
    pub fn disconnect_all(&mut self) {
        let all: Vec<_> = self.keys().collect();
        all.into_iter().for_each(|key| self.doom(key, Reason::Stopped));
    }
}
