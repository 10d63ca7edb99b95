//! What goes out: who has something to send, and what.

use super::{Swarm, raw, wanted};
use crate::{
    PeerKey, Way,
    limits::{MAX_BURST, QUICK_TRANSMIT, SLOW_TRANSMIT},
    peer::Peer,
    picker::{Asker, Picker},
};
use metainfo::BlockRange;
use std::time::Duration;
use wire::Message;

/// What is to be sent to one peer, in this order. Reuse it: then no call allocates.
#[derive(Debug, Default)]
pub struct Transmit {
    /// Encoded messages.
    pub control: Vec<u8>,
    /// Blocks to be sent, each behind its [`wire::block_header`].
    pub blocks: Vec<BlockRange>,
}

impl Transmit {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.blocks.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.control.clear();
        self.blocks.clear();
    }
}

impl Swarm {
    /// A peer with something to send, in the order in which they got it. It must be polled with
    /// [`Self::poll_transmit`]; it does not come again before that transmit has left.
    pub fn next_ready(&mut self) -> Option<PeerKey> {
        self.ready.pop_front()
    }

    /// Takes what is to be sent to the peer now, at most `max_blocks` blocks, and appends it to
    /// `out`. If that is anything, [`Self::on_sent`] must follow when it has left.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn poll_transmit(
        &mut self,
        now: Duration,
        key: PeerKey,
        max_blocks: usize,
        out: &mut Transmit,
    ) {
        let before = (out.control.len(), out.blocks.len());
        let peer = &mut self.peers[key.index()];
        debug_assert!(!peer.sending, "the last transmit has not left yet");
        peer.ready = false;
        out.control.append(&mut peer.control);
        let due = peer.uploads.len().min(max_blocks).min(usize::from(peer.burst));
        let lengths = peer.uploads.iter().take(due).map(|block| block.length());
        let blocks = self.meters[Way::Up as usize].admit(lengths);
        out.blocks.extend(peer.uploads.drain(..blocks));
        self.request_more(now, key, &mut out.control);
        let peer = &mut self.peers[key.index()];
        if before != (out.control.len(), out.blocks.len()) {
            peer.sending = true;
            peer.last_sent = now;
        } else if blocks < due {
            self.hold(key, Way::Up);
        }
    }

    /// A transmit of `total` bytes, `payload` of them of blocks, has left. The peer is ready again
    /// if more waits for it.
    pub fn on_sent(&mut self, now: Duration, key: PeerKey, payload: u64, _total: u64) {
        let Some(peer) = self.peers.get_mut(key.index()) else { return };
        peer.up.add(payload);
        self.up.add(payload);
        let took = now.saturating_sub(std::mem::replace(&mut peer.last_sent, now));
        if !std::mem::take(&mut peer.sending) {
            return;
        }
        if payload > 0 && took <= QUICK_TRANSMIT {
            peer.burst = (peer.burst * 2).min(MAX_BURST);
        } else if took >= SLOW_TRANSMIT {
            peer.burst = (peer.burst / 2).max(1);
        }
        if std::mem::take(&mut peer.ready) || !peer.uploads.is_empty() {
            peer.wake(key, &mut self.ready);
        }
    }

    /// Puts the peer in line for sending, if it is not there.
    pub fn wake(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key.index()) {
            peer.wake(key, &mut self.ready);
        }
    }

    /// Fills the peer's pipeline with requests.
    fn request_more(&mut self, now: Duration, key: PeerKey, control: &mut Vec<u8>) {
        let peer = &mut self.peers[key.index()];
        let room = peer.pipeline.room(now);
        let blocked = peer.chokes_us && peer.allowed.is_empty();
        if room == 0 || blocked || !peer.we_are_interested || peer.doomed {
            return;
        }
        // Work for a starved peer is announced by a wake, but for the blocks of others in end game.
        let may_double = peer.pipeline.live() == 0 && self.picker.is_end_game();
        if peer.starved && !may_double {
            return;
        }
        let allowed = room.min(self.meters[Way::Down as usize].room());
        if allowed < room {
            self.hold(key, Way::Down);
        }
        if allowed == 0 {
            return;
        }
        let peer = &mut self.peers[key.index()];
        let asker = asker(&self.picker, key, peer);
        self.picked.clear();
        self.picker.pick(now, &asker, allowed, &mut self.picked);
        self.meters[Way::Down as usize].admit(self.picked.iter().map(|block| block.length()));
        let has_expired = peer.pipeline.requests().len() > peer.pipeline.live() as usize;
        for &block in &self.picked {
            if has_expired {
                // Asked anew, what had timed out counts no longer.
                peer.pipeline.take(block);
            }
            peer.pipeline.push(now, block);
            Message::Request(raw(block)).encode_into(control);
        }
        if self.picked.len() < allowed && !peer.starved {
            peer.starved = true;
            self.starved.push(key);
            self.starved_for_memory |= !self.picker.has_memory();
        }
    }
}

/// The peer as the picker sees it.
pub(super) fn asker<'a>(picker: &Picker, key: PeerKey, peer: &'a Peer) -> Asker<'a> {
    Asker {
        key,
        pieces: &peer.pieces,
        wanted: wanted(picker, peer),
        only: peer.chokes_us.then_some(&peer.allowed[..]),
        suggested: &peer.suggested,
        rate: peer.down.per_second(),
        pipeline: &peer.pipeline,
    }
}
