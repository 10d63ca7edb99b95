//! How connections come and go: accepting, connecting, handshakes, handing over.

use super::{
    Shard,
    conn::{Conn, Greeting, Peer, Stage},
    messages::{Command, Report},
    torrent::RESERVED,
};
use crate::limits;
use ring::ConnId;
use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};
use swarm::{NewPeer, Reason, Source};
use wire::{DecodeLimits, Decoder, Handshake};

impl Shard {
    pub(super) fn on_accepted(&mut self, id: ConnId, addr: SocketAddr) {
        let full = self.directory.connections() >= self.settings.connection_limit
            || self.greeting >= limits::GREETING_PEERS
            || self.stopping_since.is_some();
        if full || self.blocklist.blocks(addr.ip()) {
            self.ring.close(id);
            return;
        }
        let stage = Stage::Greeting { torrent: None, said: Greeting::new() };
        self.insert(Conn::new(id, addr, self.now, stage));
    }

    /// Closes connections with addresses that a new blocklist has.
    pub(super) fn close_blocked(&mut self) {
        let is_blocked = |conn: &&Conn| self.blocklist.blocks(conn.addr.ip());
        let blocked: Vec<ConnId> = self.conns.iter().filter(is_blocked).map(|c| c.id).collect();
        blocked.into_iter().for_each(|id| self.close(id, Reason::Closed));
    }

    /// Connects to a peer of the torrent.
    pub(super) fn connect(&mut self, torrent: usize, addr: SocketAddr, source: Source) {
        if self.blocklist.blocks(addr.ip()) {
            if let Some(found) = self.torrents.get_mut(torrent) {
                found.swarm.connect_failed(self.now, addr);
            }
            return;
        }
        let from = match addr {
            SocketAddr::V4(_) => self.settings.source_v4,
            SocketAddr::V6(_) => self.settings.source_v6,
        };
        match self.ring.connect(addr, from) {
            Ok(id) => {
                let stage = Stage::Connecting { torrent, source };
                self.insert(Conn::new(id, addr, self.now, stage));
                if let Some(found) = self.torrents.get_mut(torrent) {
                    found.approaching.push(id);
                }
            }
            Err(error) => {
                tracing::debug!(%addr, %error, "cannot connect");
                if let Some(found) = self.torrents.get_mut(torrent) {
                    found.swarm.connect_failed(self.now, addr);
                }
            }
        }
    }

    fn insert(&mut self, conn: Conn) {
        self.directory.connection_opened();
        self.count_stage(&conn.stage, 1);
        self.conns.insert(conn);
    }

    fn count_stage(&mut self, stage: &Stage, by: isize) {
        let counter = match stage {
            Stage::Connecting { .. } => &mut self.connecting,
            Stage::Greeting { torrent: None, .. } => &mut self.greeting,
            _ => return,
        };
        *counter = counter.saturating_add_signed(by);
    }

    fn set_stage(&mut self, id: ConnId, stage: Stage) {
        self.count_stage(&stage, 1);
        let now = self.now;
        let Some(conn) = self.conns.get(id) else { return };
        conn.since = now;
        let old = std::mem::replace(&mut conn.stage, stage);
        self.count_stage(&old, -1);
    }

    pub(super) fn on_connected(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let Stage::Connecting { torrent, source } = conn.stage else { return };
        let Some(found) = self.torrents.get(torrent) else {
            self.close(id, Reason::Stopped);
            return;
        };
        conn.sending = Some(self.now);
        let hello = found.handshake().encode();
        let said = Greeting::new();
        self.set_stage(id, Stage::Greeting { torrent: Some((torrent, source)), said });
        let mut batch = self.ring.batch();
        batch.push_bytes(&hello);
        self.ring.send(id, batch);
    }

    /// Takes over a connection that came in at another shard.
    pub(super) fn adopt(&mut self, socket: OwnedFd, said: &[u8]) {
        let adopted = self.ring.adopt(socket);
        if let Ok(id) = adopted
            && let Some(addr) = self.ring.peer_addr(id)
        {
            let stage = Stage::Greeting { torrent: None, said: Greeting::new() };
            self.insert(Conn::new(id, addr, self.now, stage));
            self.on_received(id, said);
        }
    }

    pub(super) fn on_detached(&mut self, id: ConnId, socket: OwnedFd) {
        let Some(conn) = self.conns.remove(id) else { return };
        self.directory.connections_closed(1);
        if let Stage::Leaving { shard, said } = conn.stage
            && let Some(other) = self.others.get(shard)
            && other.try_send(Command::Adopt { socket, said }).is_err()
        {
            tracing::warn!(shard, "a shard's line is full: a connection for it is dropped");
        }
    }

    /// The peer's handshake goes on. The rest of the input is its first messages.
    pub(super) fn on_greeting(&mut self, id: ConnId, mut input: &[u8]) {
        let Some(conn) = self.conns.get(id) else { return };
        let Stage::Greeting { torrent, said } = &mut conn.stage else { return };
        match said.take(&mut input) {
            None => {}
            Some(Err(error)) => {
                tracing::debug!(addr = %conn.addr, %error, "closing");
                self.close(id, Reason::Fault);
            }
            Some(Ok(handshake)) => {
                let is_ours = match *torrent {
                    Some((torrent, source)) => self.greet(id, torrent, &handshake, Some(source)),
                    None => self.on_stranger(id, &handshake, input),
                };
                if is_ours && !input.is_empty() {
                    self.on_received(id, input);
                }
            }
        }
    }

    /// An incoming connection has said which torrent it wants. Whether its messages are for us.
    fn on_stranger(&mut self, id: ConnId, handshake: &Handshake, rest: &[u8]) -> bool {
        if let Some(&torrent) = self.by_hash.get(&handshake.info_hash) {
            return self.greet(id, torrent, handshake, None);
        }
        let elsewhere =
            self.directory.shard_of(handshake.info_hash).filter(|&shard| shard != self.number);
        let Some(shard) = elsewhere else {
            self.close(id, Reason::Closed);
            return false;
        };
        if let Some(conn) = self.conns.get(id)
            && let Stage::Greeting { said, .. } = &conn.stage
        {
            let mut said = said.bytes().to_vec();
            said.extend_from_slice(rest);
            self.set_stage(id, Stage::Leaving { shard, said });
            self.ring.detach(id);
        }
        false
    }

    /// Makes the connection a peer of the torrent; whether it became one.
    fn greet(
        &mut self,
        id: ConnId,
        torrent: usize,
        handshake: &Handshake,
        ours: Option<Source>,
    ) -> bool {
        let (Some(conn), Some(found)) = (self.conns.get(id), self.torrents.get_mut(torrent)) else {
            self.close(id, Reason::Stopped);
            return false;
        };
        if found.stopping || handshake.info_hash != found.info_hash {
            self.close(id, Reason::Fault);
            return false;
        }
        let peer_is_fast = handshake.reserved.fast() && RESERVED.fast();
        let peer = NewPeer {
            addr: conn.addr,
            id: handshake.peer_id,
            fast: peer_is_fast,
            extended: handshake.reserved.extension_protocol(),
            incoming: ours.is_none(),
            source: ours.unwrap_or(Source::Incoming),
        };
        let key = match found.swarm.add_peer(self.now, peer) {
            Ok(key) => key,
            Err(refusal) => {
                tracing::debug!(addr = %conn.addr, %refusal, "closing");
                self.close(id, Reason::Closed);
                return false;
            }
        };
        found.set_conn(key, Some(id));
        found.approaching.retain(|&conn| conn != id);
        let bitfield = found.swarm.geometry().piece_count().div_ceil(8);
        let limits = DecodeLimits { max_bitfield: bitfield, ..DecodeLimits::default() };
        let hello = ours.is_none().then(|| Box::new(found.handshake().encode()));
        let peer = Peer {
            torrent,
            key,
            decoder: Decoder::new(limits),
            incoming: None,
            hello,
            fetching: 0,
            fetched: Vec::new(),
            sends_fetched: false,
            cold_until: Duration::ZERO,
            fast: peer_is_fast,
        };
        self.set_stage(id, Stage::Peer(peer));
        self.mark_ready(torrent);
        true
    }

    pub(super) fn on_closed(&mut self, id: ConnId, result: io::Result<()>) {
        if let Err(error) = &result
            && error.raw_os_error() == Some(libc::EFAULT)
            && let Some(conn) = self.conns.get(id)
            && let Stage::Peer(peer) = &conn.stage
        {
            let slot = peer.torrent;
            self.forget(id, Reason::Closed);
            self.on_disturbed(slot);
        } else {
            self.forget(id, Reason::Closed);
        }
    }

    /// A mapped file was cut under a send. Which one the torrent's next start tells.
    fn on_disturbed(&mut self, slot: usize) {
        let Some(torrent) = self.torrents.get(slot).filter(|found| !found.stopping) else { return };
        tracing::warn!(torrent = %torrent.info_hash, "a file was cut while it was being sent");
        let (id, run) = (torrent.id, torrent.run);
        self.report(Report::Disturbed { id, run });
        self.stop_torrent(slot);
    }

    /// Forgets a connection that the ring has closed or is closing.
    pub(super) fn forget(&mut self, id: ConnId, reason: Reason) {
        let Some(conn) = self.conns.remove(id) else { return };
        self.directory.connections_closed(1);
        self.count_stage(&conn.stage, -1);
        let now = self.now;
        match conn.stage {
            Stage::Connecting { torrent, .. }
            | Stage::Greeting { torrent: Some((torrent, _)), .. } => {
                if let Some(found) = self.torrents.get_mut(torrent) {
                    found.approaching.retain(|&conn| conn != id);
                    found.swarm.connect_failed(now, conn.addr);
                }
            }
            Stage::Peer(peer) => {
                let Some(found) = self.torrents.get_mut(peer.torrent) else { return };
                if let Some(incoming) = &peer.incoming
                    && let Some(block) = found.pieces.abort(incoming)
                {
                    found.swarm.on_block_aborted(now, peer.key, block);
                }
                found.set_conn(peer.key, None);
                found.swarm.remove_peer(now, peer.key, reason);
                self.mark_ready(peer.torrent);
            }
            Stage::Greeting { torrent: None, .. } | Stage::Leaving { .. } => {}
        }
    }
}
