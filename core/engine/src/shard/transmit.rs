//! What leaves: at the end of a turn, one batch for each peer that has something due.

use super::{
    Shard,
    conn::{Conn, Fetched, Stage},
};
use crate::limits;
use metainfo::BlockRange;
use ring::{ConnId, SendBatch};
use storage::Pushed;
use swarm::Reason;
use wire::{Message, RawBlock};

impl Shard {
    pub(super) fn send_what_is_due(&mut self) {
        for conn in std::mem::take(&mut self.unblocked) {
            self.send_to(conn);
        }
        while let Some(slot) = self.ready.pop() {
            let Some(torrent) = self.torrents.get_mut(slot) else { continue };
            torrent.is_ready = false;
            while let Some(torrent) = self.torrents.get_mut(slot)
                && let Some(key) = torrent.swarm.next_ready()
            {
                if let Some(conn) = torrent.conn(key) {
                    self.send_to(conn);
                }
            }
            self.take_actions(slot);
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
        let Stage::Peer(peer) = &conn.stage else { return };
        let slot = peer.torrent;
        let Some(torrent) = self.torrents.get_mut(slot) else { return };
        if let Some(payload) = payload {
            torrent.swarm.on_sent(self.now, peer.key, payload, bytes);
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
        let room =
            limits::BLOCKS_PER_SEND.saturating_sub(peer.fetching as usize + peer.fetched.len());
        torrent.swarm.poll_transmit(self.now, peer.key, room, transmit);
        batch.push_bytes(&transmit.control);
        let mut payload = 0;
        for Fetched { block, data } in peer.fetched.drain(..) {
            match data {
                Some((data, range)) => {
                    payload += u64::from(block.length());
                    batch.push_bytes(&header(block));
                    batch.push_buf(data, range);
                }
                None => batch.push_bytes(&rejection(block)),
            }
        }
        for &block in &transmit.blocks {
            let mark = batch.mark();
            batch.push_bytes(&header(block));
            match self.store.push_block(self.now, torrent.store, block, batch) {
                Ok(Pushed::Done) => payload += u64::from(block.length()),
                Ok(Pushed::Cold) => {
                    batch.rewind(mark);
                    peer.fetching += 1;
                    self.store.fetch(&mut self.ring, torrent.store, block, id.to_bits());
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
