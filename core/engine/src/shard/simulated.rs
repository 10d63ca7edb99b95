//! A shard as the scheduler of a simulated world sees it: when its turn is, what it claims to have,
//! and whether everything in it is within its bounds.

use super::{Shard, conn::Stage};
use crate::{limits, status::TorrentId};
use metainfo::Bitfield;
use std::time::Duration;

/// Why a shard breaks its word.
pub(crate) type Broken = String;

fn ensure(holds: bool, what: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Shard {
    /// When its next turn is due if nothing happens.
    pub(crate) fn deadline(&self) -> Duration {
        self.now + self.timeout()
    }

    /// The pieces of torrents to which something has happened since the last tick.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (TorrentId, &Bitfield)> {
        let torrents = self.torrents.iter().map(|(_, torrent)| torrent);
        let stirred = torrents.filter(|torrent| torrent.stirred);
        stirred.map(|torrent| (torrent.id, torrent.swarm.have()))
    }

    /// Connections that it knows of, but for those that are on their way to another shard.
    pub(crate) fn connections(&self) -> usize {
        let conns = self.conns.iter();
        conns.filter(|conn| !matches!(conn.stage, Stage::Leaving { .. })).count()
    }

    /// Looks at everything that must agree or has a bound; panics where a swarm is at odds with
    /// itself.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        self.check_memory()?;
        self.check_counts()?;
        self.check_queues()?;
        for (_, torrent) in &self.torrents {
            torrent.swarm.check_invariants();
        }
        Ok(())
    }

    /// The budget holds what the pieces in flight take, and no buffer belongs to none.
    fn check_memory(&self) -> Result<(), Broken> {
        let (mut held, mut longest) = (0, 0);
        for (_, torrent) in &self.torrents {
            let geometry = torrent.swarm.geometry();
            let open = torrent.swarm.partial_pieces().map(|partial| partial.piece);
            held += open.map(|piece| u64::from(geometry.length_of(piece))).sum::<u64>();
            longest += u64::from(geometry.piece_length());
            for piece in torrent.pieces.indices() {
                let known = torrent.swarm.partial_pieces().any(|open| open.piece.get() == piece);
                ensure(known, || format!("piece {piece} has a buffer and is not in flight"))?;
            }
        }
        let (used, limit) = (self.budget.used(), self.budget.limit());
        ensure(used == held, || format!("{used} bytes of budget for {held} of pieces"))?;
        ensure(used <= limit + longest, || format!("{used} bytes where {limit} are allowed"))
    }

    /// What is counted is what is there.
    fn check_counts(&self) -> Result<(), Broken> {
        let (mut connecting, mut greeting) = (0, 0);
        for conn in self.conns.iter() {
            match &conn.stage {
                Stage::Connecting { .. } => connecting += 1,
                Stage::Greeting { torrent: None, .. } => greeting += 1,
                Stage::Peer(peer) => {
                    let known = self.torrents.get(peer.torrent);
                    let known = known.and_then(|torrent| torrent.conn(peer.key));
                    ensure(known == Some(conn.id), || format!("{:?} is of no peer", conn.id))?;
                }
                _ => {}
            }
        }
        let counted = (self.connecting, self.greeting);
        ensure(counted == (connecting, greeting), || {
            format!("{counted:?} where {connecting} connect and {greeting} greet")
        })?;
        for (_, torrent) in &self.torrents {
            for conn in torrent.all_conns() {
                let is_there = self.conns.iter().any(|other| other.id == conn);
                ensure(is_there, || format!("{conn:?} is a peer's and is not there"))?;
            }
        }
        Ok(())
    }

    fn check_queues(&self) -> Result<(), Broken> {
        ensure(self.greeting <= limits::GREETING_PEERS, || "too many greet".into())?;
        ensure(self.outbox.len() <= limits::REPORTS, || "too many reports wait".into())?;
        ensure(self.connecting <= self.settings.connecting_limit, || "too many connect".into())?;
        let (under_way, in_line) = self.store.load();
        let bounds = self.store.limits();
        ensure(under_way <= bounds.under_way, || format!("{under_way} operations at a time"))?;
        ensure(in_line <= bounds.in_line, || format!("{in_line} operations in line"))?;
        let open = self.store.open_files();
        ensure(open <= bounds.open_files + bounds.under_way, || format!("{open} open files"))?;
        let has_work = !self.torrents.is_empty() || !self.store.is_idle();
        ensure(has_work || open == 0, || format!("{open} files of no torrent are open"))?;
        // Looked at once a tick.
        let longest = limits::SEND_TIMEOUT + 2 * limits::TICK;
        for conn in self.conns.iter() {
            let under_way = conn.sending.map_or(Duration::ZERO, |since| self.now - since);
            ensure(under_way <= longest, || format!("{under_way:?} for one batch"))?;
            let Stage::Peer(peer) = &conn.stage else { continue };
            let held = peer.fetching as usize + peer.fetched.len();
            ensure(held <= limits::BLOCKS_PER_SEND, || format!("{held} blocks for one peer"))?;
        }
        for (_, torrent) in &self.torrents {
            let bounds = swarm::Settings::default();
            ensure(torrent.swarm.peer_count() <= bounds.max_peers as usize, || {
                "too many peers".into()
            })?;
            for peer in torrent.swarm.peers() {
                let (waiting, asked) = (peer.requests_in, peer.requests_out);
                ensure(waiting <= bounds.max_upload_queue, || format!("{waiting} requests wait"))?;
                ensure(asked <= swarm::limits::MAX_REQQ, || format!("{asked} requests are out"))?;
            }
        }
        Ok(())
    }

    /// After its end: nothing is held any more. What the disk was too slow for does not count.
    pub(crate) fn check_end(&self) -> Result<(), Broken> {
        let was_cut = !self.torrents.is_empty();
        let (pieces, buffers) = (self.budget.used(), self.ring.buffers().used_bytes());
        ensure(was_cut || pieces == 0, || format!("{pieces} bytes of pieces are left"))?;
        let reads = !self.store.is_idle();
        ensure(was_cut || reads || buffers == 0, || format!("{buffers} bytes of buffers are left"))
    }
}
