//! What happens because time passes.

use super::{Reason, Swarm};
use crate::{
    PeerKey,
    choker::Contender,
    limits::{CHOKE_ROUND, KEEP_ALIVE, SEED_TURN_PIECES, TICK},
};
use std::time::Duration;
use wire::Message;

impl Swarm {
    /// When [`Self::tick`] is due next; [`Duration::MAX`] while there is nobody to look after.
    pub fn next_tick(&self) -> Duration {
        if self.peers.is_empty() { Duration::MAX } else { self.last_tick + TICK }
    }

    /// Looks after everything that depends on time: rates, timeouts, keep-alives, the choker. Call it
    /// at [`Self::next_tick`]; earlier calls do no harm.
    pub fn tick(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.last_tick);
        if elapsed < TICK / 2 {
            return;
        }
        let before = std::mem::replace(&mut self.last_tick, now);
        self.down.roll(elapsed);
        self.up.roll(elapsed);
        let mut expired = false;
        for at in 0..self.peers.capacity() {
            if self.peers.contains(at) {
                expired |= self.tick_peer(now, elapsed, PeerKey(at as u32));
            }
        }
        let has_memory = self.starved_for_memory && self.picker.has_memory();
        if expired || has_memory || self.picker.has_paused_until(before, now) {
            self.wake_starved();
        }
        if now >= self.next_choke {
            self.next_choke = now + CHOKE_ROUND;
            self.choke_round(now);
        }
    }

    /// Tells whether requests timed out, so that there is work for others.
    fn tick_peer(&mut self, now: Duration, elapsed: Duration, key: PeerKey) -> bool {
        let peer = &mut self.peers[key.index()];
        peer.down.roll(elapsed);
        peer.up.roll(elapsed);
        peer.pipeline.adapt(peer.down.per_second());
        peer.shrink();
        let patience = self.settings.peer_idle_timeout;
        let silent = now.saturating_sub(peer.last_received) >= patience;
        let unread = peer.sending && now.saturating_sub(peer.last_sent) >= patience;
        if silent || unread || peer.is_deaf() {
            self.doom(key, Reason::Idle);
            return false;
        }
        if !peer.sending && now.saturating_sub(peer.last_sent) >= KEEP_ALIVE {
            peer.last_sent = now;
            peer.say(key, &mut self.ready, Message::KeepAlive);
        }
        self.expire_requests(now, key)
    }

    fn expire_requests(&mut self, now: Duration, key: PeerKey) -> bool {
        let peer = &mut self.peers[key.index()];
        let mut expired = false;
        let picker = &mut self.picker;
        let snubs = peer.pipeline.expire(now, self.settings.request_timeout, |block| {
            expired = true;
            picker.let_down(block, key, now);
        });
        // A block that stopped in the middle keeps others from fetching it: the connection must go.
        let stuck =
            peer.arriving.is_some() && peer.pipeline.is_stalled(now, self.settings.request_timeout);
        if snubs {
            self.picker.disown(key);
        }
        if stuck {
            self.doom(key, Reason::Idle);
        } else if !peer.starved && peer.pipeline.is_worth_refilling(now) && peer.we_are_interested {
            peer.wake(key, &mut self.ready);
        }
        expired
    }

    fn choke_round(&mut self, now: Duration) {
        if !self.uploading {
            return;
        }
        self.contenders.clear();
        let interested = self.peers.iter().filter(|(_, peer)| peer.is_interested && !peer.doomed);
        self.contenders.extend(interested.map(|(key, peer)| Contender {
            key: PeerKey(key as u32),
            unchoked: !peer.choked,
            optimistic: peer.optimistic,
            snubbed: peer.pipeline.is_snubbed(),
            stuck: peer.sending && now.saturating_sub(peer.last_sent) >= CHOKE_ROUND,
            down: peer.down.per_second(),
            up: peer.up.per_second(),
            since: peer.choke_changed,
            served: peer.served(),
        }));
        let turn = SEED_TURN_PIECES * u64::from(self.geometry.piece_length());
        let (mut contenders, mut chosen) =
            (std::mem::take(&mut self.contenders), std::mem::take(&mut self.chosen));
        let slots = self.settings.slots();
        self.choker.round(now, self.completed, slots, turn, &mut contenders, &mut chosen);
        chosen.sort_unstable_by_key(|chosen| chosen.key);
        for contender in &contenders {
            if chosen.binary_search_by_key(&contender.key, |chosen| chosen.key).is_err() {
                self.choke(now, contender.key);
            }
        }
        for chosen in &chosen {
            self.unchoke(now, chosen.key, chosen.optimistic);
        }
        (self.contenders, self.chosen) = (contenders, chosen);
    }
}
