//! What leaves: at the end of a turn, one batch for each peer that has something due.
//!
//! Peers that ask for what is only on the disk wait for the disk anyway, and what comes from it is in
//! no cache of the core: it costs several times what warm data does. So they are served behind the
//! others and in small portions ([`Slice`]), and cannot hold up a peer whose data is in memory.

use super::{
    Shard,
    conn::{Conn, Data, Fetched, Stage},
    messages::Report,
};
use crate::limits;
use metainfo::BlockRange;
use ring::{ConnId, SendBatch};
use std::{collections::VecDeque, time::Duration};
use storage::{Pushed, Store};
use swarm::Reason;
use wire::{Message, RawBlock};

/// How the turns are shared between peers that are served from memory, who are warm, and those that
/// wait for the disk, who are cold.
#[derive(Default)]
pub(super) struct Slice {
    /// Blocks of this turn to warm peers,
    warm: usize,
    /// and blocks read for or sent to cold ones.
    cold: usize,
    /// So long warm peers are taken to come again at any moment.
    warm_until: Duration,
    /// Cold peers whose turn it is, in its order.
    line: VecDeque<ConnId>,
}

impl Slice {
    /// A new turn begins.
    pub(super) fn begin(&mut self) {
        (self.warm, self.cold) = (0, 0);
    }

    /// Whether somebody waits for the next turn.
    pub(super) fn is_short(&self) -> bool {
        !self.line.is_empty()
    }

    /// Blocks for a cold peer at a time.
    fn cold_batch(&self, now: Duration) -> usize {
        if now < self.warm_until { 1 } else { limits::BLOCKS_PER_SEND }
    }

    /// Counts blocks for one peer.
    fn count(&mut self, now: Duration, blocks: usize, is_cold: bool) {
        if is_cold {
            self.cold += blocks;
        } else if blocks > 0 {
            self.warm += blocks;
            self.warm_until = now + limits::WARM_FOR;
        }
    }

    /// The cold peer that may be served now.
    fn next(&mut self, now: Duration) -> Option<ConnId> {
        let most = self.cold_batch(now).max(self.warm / limits::WARM_PER_COLD);
        (self.cold < most).then(|| self.line.pop_front()).flatten()
    }
}

impl Shard {
    pub(super) fn send_what_is_due(&mut self) {
        for conn in std::mem::take(&mut self.unblocked) {
            self.serve(conn);
        }
        while let Some(slot) = self.ready.pop() {
            let Some(torrent) = self.torrents.get_mut(slot) else { continue };
            torrent.is_ready = false;
            self.in_hand = Some(torrent.id);
            while let Some(torrent) = self.torrents.get_mut(slot)
                && let Some(key) = torrent.swarm.next_ready()
            {
                if let Some(conn) = torrent.conn(key) {
                    self.serve(conn);
                }
            }
            self.take_actions(slot);
        }
        while let Some(conn) = self.slice.next(self.now) {
            self.send_to(conn);
        }
    }

    /// Sends to a peer whose data is in memory; others get in line.
    fn serve(&mut self, id: ConnId) {
        let now = self.now;
        match self.conns.get(id) {
            Some(Conn { stage: Stage::Peer(peer), .. }) if peer.is_cold(now) => {
                self.slice.line.push_back(id);
            }
            _ => self.send_to(id),
        }
    }

    pub(super) fn on_sent(&mut self, id: ConnId, bytes: u64) {
        let Some(conn) = self.conns.get(id) else { return };
        conn.sending = None;
        let payload = conn.payload.take();
        if std::mem::take(&mut conn.wants_send) {
            // Its swarm was told that it is its turn, and does not say so twice.
            self.unblocked.push(id);
        }
        let Stage::Peer(peer) = &mut conn.stage else { return };
        let slot = peer.torrent;
        let Some(torrent) = self.torrents.get_mut(slot) else { return };
        if let Some(payload) = payload {
            torrent.swarm.on_sent(self.now, peer.key, payload, bytes);
            if std::mem::take(&mut peer.sends_fetched) {
                // The swarm knows nothing of these blocks, nor that there is room for others now.
                torrent.swarm.wake(peer.key);
            }
            self.mark_ready(slot);
        }
    }

    /// Fills and hands in a batch for a peer that is ready.
    fn send_to(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        if conn.sending.is_some() {
            conn.wants_send = true;
            return;
        }
        let mut batch = self.ring.batch();
        let payload = self.fill(id, &mut batch);
        let Some(conn) = self.conns.get(id) else { return };
        if batch.is_empty() {
            if let (Some(payload), Stage::Peer(peer)) = (payload, &conn.stage)
                && let Some(torrent) = self.torrents.get_mut(peer.torrent)
            {
                // Everything it asked for is being read first.
                torrent.swarm.on_sent(self.now, peer.key, payload, 0);
                let slot = peer.torrent;
                self.mark_ready(slot);
            }
            return;
        }
        conn.sending = Some(self.now);
        conn.payload = Some(payload.unwrap_or(0));
        self.ring.send(id, batch);
    }

    /// Puts into the batch what the peer is due. The payload bytes in it, if the swarm must be told
    /// that they have left.
    fn fill(&mut self, id: ConnId, batch: &mut SendBatch) -> Option<u64> {
        let Some(Conn { stage: Stage::Peer(peer), .. }) = self.conns.get(id) else { return None };
        let torrent = self.torrents.get_mut(peer.torrent)?;
        if let Some(hello) = peer.hello.take() {
            batch.push_bytes(&*hello);
        }
        let transmit = &mut self.transmit;
        transmit.clear();
        let is_cold = peer.is_cold(self.now);
        let most = if is_cold { self.slice.cold_batch(self.now) } else { limits::BLOCKS_PER_SEND };
        let fetched = peer.fetched.len().min(most);
        peer.sends_fetched = fetched > 0;
        let held = peer.fetching as usize + peer.fetched.len();
        let room = limits::BLOCKS_PER_SEND.saturating_sub(held).min(most - fetched);
        torrent.swarm.poll_transmit(self.now, peer.key, room, transmit);
        if torrent.swarm.is_limited() && !std::mem::replace(&mut torrent.is_metered, true) {
            self.metering.join(self.now, peer.torrent);
        }
        self.slice.count(self.now, fetched + transmit.blocks.len(), is_cold);
        batch.push_bytes(&transmit.control);
        let mut payload = 0;
        let new = transmit.blocks.len();
        for Fetched { block, data } in peer.fetched.drain(..fetched) {
            match data {
                Data::Read(data, range) => {
                    payload += u64::from(block.length());
                    batch.push_bytes(&header(block));
                    batch.push_buf(data, range);
                }
                Data::Arrived => transmit.blocks.push(block),
                Data::Failed => batch.push_bytes(&rejection(block)),
            }
        }
        // Those that were asked for first.
        transmit.blocks.rotate_left(new);
        let arrived = transmit.blocks.len() - new;
        for (at, &block) in transmit.blocks.iter().enumerate() {
            let mark = batch.mark();
            batch.push_bytes(&header(block));
            match self.store.push_block(self.now, torrent.store, block, batch) {
                Ok(Pushed::Done) => payload += u64::from(block.length()),
                Ok(Pushed::Cold) => {
                    batch.rewind(mark);
                    peer.fetching += 1;
                    peer.cold_until = self.now + limits::COLD_FOR;
                    let fetch = if at < arrived { Store::fetch_alone } else { Store::fetch };
                    fetch(&mut self.store, &mut self.ring, torrent.store, block, id.to_bits());
                }
                // Only a torrent that is not in the store any more, whose connections end with it.
                Err(_) => batch.rewind(mark),
            }
        }
        Some(payload)
    }

    /// Carries out what the torrent's swarm has decided.
    pub(super) fn take_actions(&mut self, slot: usize) {
        while let Some(torrent) = self.torrents.get_mut(slot)
            && let Some(action) = torrent.swarm.poll_action()
        {
            match action {
                swarm::Action::Disconnect { peer, reason } => match torrent.conn(peer) {
                    Some(conn) => self.close(conn, reason),
                    None => torrent.swarm.remove_peer(self.now, peer, reason),
                },
                swarm::Action::Ban { addr } => {
                    tracing::warn!(torrent = %torrent.info_hash, %addr, "banned for bad data");
                    let id = torrent.id;
                    self.report(Report::Banned { id, addr });
                }
                swarm::Action::Completed => self.on_completed(slot),
            }
        }
    }

    /// Closes peers whose socket has taken nothing for too long.
    pub(super) fn drop_stuck_senders(&mut self) {
        let now = self.now;
        let is_stuck = |conn: &&Conn| {
            conn.sending.is_some_and(|since| now.saturating_sub(since) > limits::SEND_TIMEOUT)
        };
        let stuck: Vec<ConnId> = self.conns.iter().filter(is_stuck).map(|conn| conn.id).collect();
        for id in stuck {
            tracing::debug!(?id, "closing: it does not read");
            self.close(id, Reason::Idle);
        }
    }
}

/// Tells the peer that a block it asked for does not come (BEP 6).
fn rejection(block: BlockRange) -> Vec<u8> {
    let (index, begin, length) = (block.piece().get(), block.begin(), block.length());
    let mut message = Vec::with_capacity(17);
    Message::RejectRequest(RawBlock { index, begin, length }).encode_into(&mut message);
    message
}

fn header(block: BlockRange) -> [u8; 13] {
    wire::block_header(block.piece().get(), block.begin(), block.length())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    fn line_of(cold_peers: u64) -> Slice {
        Slice { line: (0..cold_peers).map(ConnId::from_bits).collect(), ..Slice::default() }
    }

    /// Cold blocks of one turn in which warm peers get so many.
    fn turn(slice: &mut Slice, warm: usize) -> usize {
        slice.begin();
        slice.count(NOW, warm, false);
        while slice.next(NOW).is_some() {
            let batch = slice.cold_batch(NOW);
            slice.count(NOW, batch, true);
        }
        slice.cold
    }

    #[test]
    fn cold_peers_get_a_small_share_beside_warm_ones_and_everything_alone() {
        let mut slice = line_of(100);
        assert_eq!(turn(&mut slice, 0), limits::BLOCKS_PER_SEND);
        assert_eq!(turn(&mut slice, 16), 1);
        assert_eq!(turn(&mut slice, 640), 640 / limits::WARM_PER_COLD);
        assert_eq!(turn(&mut slice, 0), 1, "warm peers come again at any moment");
        assert!(slice.is_short());
        assert_eq!(slice.cold_batch(NOW + limits::WARM_FOR), limits::BLOCKS_PER_SEND);
    }

    #[test]
    fn every_cold_peer_gets_its_turn() {
        let mut slice = line_of(3);
        let turns = std::iter::repeat_with(|| turn(&mut slice, 16)).take(4);
        assert_eq!(turns.collect::<Vec<_>>(), [1, 1, 1, 0]);
        assert!(!slice.is_short());
    }
}
