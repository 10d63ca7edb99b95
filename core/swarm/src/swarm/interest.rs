//! Who wants something from whom, who is choked, and when both sides are done.

use super::{Action, Reason, Swarm, raw, wanted};
use crate::{PeerKey, limits::ALLOWED_FAST_SET};
use std::time::Duration;
use wire::Message;

impl Swarm {
    pub(super) fn keys(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.peers.iter().map(|(key, _)| PeerKey(key as u32))
    }

    pub(super) fn recount_wanted(&mut self) {
        for (_, peer) in &mut self.peers {
            peer.wanted = self.picker.count_wanted(&peer.pieces);
        }
        self.update_all_interest();
        self.wake_starved();
        self.check_complete();
    }

    pub(super) fn update_all_interest(&mut self) {
        let keys: Vec<_> = self.keys().collect();
        keys.into_iter().for_each(|key| self.update_interest(key));
    }

    /// Tells the peer whether we are interested, if that has changed.
    pub(super) fn update_interest(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        let interested = self.downloading && wanted(&self.picker, peer) > 0;
        if interested != peer.we_are_interested {
            peer.we_are_interested = interested;
            let message = if interested { Message::Interested } else { Message::NotInterested };
            peer.say(key, &mut self.ready, message);
        }
    }

    /// Gives free upload slots to those that wait, the longest waiting first.
    pub(super) fn fill_slots(&mut self, now: Duration) {
        while self.uploading && self.unchoked < self.settings.slots() {
            let waiting = self.peers.iter().filter(|(_, peer)| peer.choked && peer.is_interested);
            let longest = waiting.min_by_key(|(key, peer)| (peer.choke_changed, *key));
            let Some((key, _)) = longest else { return };
            self.unchoke(now, PeerKey(key as u32), false);
        }
    }

    pub(super) fn unchoke(&mut self, now: Duration, key: PeerKey, optimistic: bool) {
        let peer = &mut self.peers[key.index()];
        peer.optimistic = optimistic;
        if std::mem::take(&mut peer.choked) {
            self.unchoked += 1;
            peer.choke_changed = now;
            peer.sent_before_unchoke = peer.up.total();
            peer.say(key, &mut self.ready, Message::Unchoke);
        }
    }

    /// Chokes the peer and refuses what it has queued.
    pub(super) fn choke(&mut self, now: Duration, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        if std::mem::replace(&mut peer.choked, true) {
            return;
        }
        self.unchoked -= 1;
        peer.optimistic = false;
        peer.choke_changed = now;
        peer.say(key, &mut self.ready, Message::Choke);
        for block in std::mem::take(&mut peer.uploads) {
            if peer.fast {
                peer.say(key, &mut self.ready, Message::RejectRequest(raw(block)));
            }
        }
    }

    /// Lets a newcomer have a few pieces while choked, so that it soon has something to trade.
    pub(super) fn grant_fast_set(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        let Some((info_hash, _)) = self.identity else { return };
        let count = self.geometry.piece_count();
        let is_newcomer = peer.pieces.count(count) < ALLOWED_FAST_SET.min(count as usize) as u32;
        let has_slot = self.unchoked < self.settings.slots();
        if !peer.fast || !is_newcomer || has_slot || !self.uploading {
            return;
        }
        let set = wire::allowed_fast_set(info_hash, peer.addr.ip(), ALLOWED_FAST_SET, count);
        let ours = set.into_iter().filter_map(|index| self.geometry.piece(index));
        let ours: Vec<_> = ours.filter(|&piece| self.picker.have().has(piece)).collect();
        peer.grant(&ours, self.geometry.piece_length());
        for piece in ours {
            peer.say(key, &mut self.ready, Message::AllowedFast { piece: piece.get() });
        }
    }

    /// Closes the connection if neither side wants anything from the other.
    pub(super) fn close_if_redundant(&mut self, key: PeerKey) {
        let peer = &self.peers[key.index()];
        let redundant = self.completed && peer.wants_nothing() && self.settings.close_redundant;
        if redundant && !peer.doomed {
            self.doom(key, Reason::Redundant);
        }
    }

    /// Notices the change between leech and seed.
    pub(super) fn check_complete(&mut self) {
        let completed = self.picker.wanted_missing() == 0;
        if completed == std::mem::replace(&mut self.completed, completed) {
            return;
        }
        let payload = wire::extension::encode_upload_only(completed);
        for (key, peer) in &mut self.peers {
            if let Some(id) = peer.ids.upload_only {
                let message = Message::Extended { id, payload: &payload };
                peer.say(PeerKey(key as u32), &mut self.ready, message);
            }
        }
        if completed {
            self.actions.push_back(Action::Completed);
            let all: Vec<_> = self.keys().collect();
            all.into_iter().for_each(|key| self.close_if_redundant(key));
        }
    }

    /// Work may have appeared for peers that found none.
    pub(super) fn wake_starved(&mut self) {
        self.starved_for_memory = false;
        for key in self.starved.drain(..) {
            if let Some(peer) = self.peers.get_mut(key.index()) {
                peer.starved = false;
                peer.wake(key, &mut self.ready);
            }
        }
    }
}
