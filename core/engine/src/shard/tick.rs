//! What a shard does once a second: clocks of the swarms, timeouts, new connections, syncs, and
//! telling the control side what is new.

use super::{
    Shard,
    conn::{Conn, Stage},
    messages::{Report, Update},
    torrent::{Told, Torrent},
};
use crate::{limits, status::Traffic};
use metainfo::PieceIndex;
use ring::ConnId;
use std::{sync::atomic::Ordering, time::Duration};
use swarm::{Reason, Source};

/// The order of [`Traffic::peers_from`].
const SOURCES: [Source; 7] = [
    Source::Tracker,
    Source::Incoming,
    Source::Pex,
    Source::Dht,
    Source::Lpd,
    Source::Cache,
    Source::Manual,
];

impl Shard {
    pub(super) fn tick(&mut self) {
        let is_behind = !self.outbox.is_empty();
        self.take_commands();
        self.drop_stuck_senders();
        self.drop_late_handshakes();
        self.store.tick(&mut self.ring);
        self.ring.trim();
        self.budget.park(self.store.stalled_bytes());
        let now = self.now;
        let mut updates = Vec::new();
        let slots: Vec<usize> = self.torrents.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if self.torrents[slot].stopping {
                self.go_on_stopping(slot);
            }
            let Some(torrent) = self.torrents.get_mut(slot) else { continue };
            let is_stalled = self.store.is_stalled(torrent.store);
            if std::mem::replace(&mut torrent.is_stalled, is_stalled) != is_stalled {
                torrent.swarm.set_held_up(is_stalled);
                let (id, run) = (torrent.id, torrent.run);
                self.report(Report::Stalled { id, run, is_stalled });
                self.mark_ready(slot);
            }
            let torrent = &mut self.torrents[slot];
            if torrent.is_at_rest(now) {
                continue;
            }
            self.in_hand = Some(torrent.id);
            self.drop_idle_pieces(slot);
            let torrent = &mut self.torrents[slot];
            if torrent.swarm.next_tick() <= now {
                torrent.swarm.tick(now);
                self.mark_ready(slot);
                self.take_actions(slot);
            }
            self.connect_more(slot);
            let Some(torrent) = self.torrents.get_mut(slot) else { continue };
            // While the control side is behind, it is spared what it can do without.
            if !is_behind {
                torrent.stirred = false;
                updates.extend(news(torrent));
            }
            if torrent.dirty && !torrent.syncing && !torrent.stopping && torrent.next_sync <= now {
                self.begin_sync(slot);
            }
        }
        self.in_hand = None;
        if !updates.is_empty() {
            self.report(Report::Updates(updates));
        }
    }

    /// Lets go of pieces in flight that nobody wants any more, and, while the memory for pieces is
    /// used up, of those that have got nothing for long: other torrents need the room.
    fn drop_idle_pieces(&mut self, slot: usize) {
        let (now, torrent) = (self.now, &mut self.torrents[slot]);
        let is_tight = self.budget.used() >= self.budget.limit();
        let idle: Vec<PieceIndex> = torrent
            .swarm
            .partial_pieces()
            .filter(|partial| partial.phase == swarm::Phase::Downloading && !partial.busy)
            .filter(|partial| {
                let rest = now.saturating_sub(partial.last_activity);
                !partial.wanted || (is_tight && rest > limits::IDLE_PIECE)
            })
            .map(|partial| partial.piece)
            .collect();
        for piece in idle {
            torrent.pieces.take(piece);
            torrent.swarm.piece_dropped(now, piece);
        }
    }

    fn drop_late_handshakes(&mut self) {
        let now = self.now;
        let is_late = |conn: &&Conn| {
            let patience = match conn.stage {
                Stage::Connecting { .. } => limits::CONNECT_TIMEOUT,
                Stage::Greeting { .. } | Stage::Leaving { .. } => limits::HANDSHAKE_TIMEOUT,
                Stage::Peer(_) => Duration::MAX,
            };
            now.saturating_sub(conn.since) > patience
        };
        let late: Vec<ConnId> = self.conns.iter().filter(is_late).map(|conn| conn.id).collect();
        late.into_iter().for_each(|id| self.close(id, Reason::Closed));
    }

    /// Starts connections for the torrent as long as there is room and somebody to connect to.
    pub(super) fn connect_more(&mut self, slot: usize) {
        for _ in 0..limits::CONNECTS_PER_TICK {
            let room = self.connecting < self.settings.connecting_limit
                && self.directory.connections() < self.settings.connection_limit;
            let Some(torrent) = self.torrents.get_mut(slot).filter(|found| !found.stopping) else {
                return;
            };
            if !room {
                return;
            }
            let Some((addr, source)) = torrent.swarm.connect_candidate(self.now) else {
                if torrent.swarm.wanted_left() > 0 && torrent.next_want <= self.now {
                    torrent.next_want = self.now + Duration::from_secs(30);
                    let id = torrent.id;
                    self.report(Report::WantsPeers(id));
                }
                return;
            };
            self.connect(slot, addr, source);
        }
    }

    /// The last figures of a torrent that leaves.
    pub(super) fn publish_last(&mut self, torrent: &Torrent) {
        let mut update = update(torrent, &torrent.told);
        update.traffic = Traffic::default();
        self.report(Report::Updates(vec![update]));
    }
}

/// What is new of a torrent since it was told last, if anything is.
fn news(torrent: &mut Torrent) -> Option<Update> {
    let stats = torrent.swarm.stats();
    let pieces = torrent.swarm.have().count();
    let left = torrent.swarm.wanted_left();
    let told = &torrent.told;
    if told.ever && told.stats == stats && told.pieces == pieces && told.left == left {
        return None;
    }
    let update = update(torrent, told);
    publish_progress(torrent);
    torrent.told = Told { stats, left, pieces, ever: true };
    Some(update)
}

/// What trackers are told, as of now.
pub(super) fn publish_progress(torrent: &Torrent) {
    let (stats, progress) = (torrent.swarm.stats(), &torrent.progress);
    progress.uploaded.store(stats.uploaded, Ordering::Relaxed);
    progress.downloaded.store(stats.downloaded, Ordering::Relaxed);
    progress.left.store(torrent.swarm.wanted_left(), Ordering::Relaxed);
}

fn update(torrent: &Torrent, told: &Told) -> Update {
    let stats = torrent.swarm.stats();
    let mut traffic = Traffic {
        download_rate: stats.download_rate,
        upload_rate: stats.upload_rate,
        peers: stats.peers,
        seeds: stats.seeds,
        ..Traffic::default()
    };
    for peer in torrent.swarm.peers() {
        traffic.peers_sending += u32::from(peer.download_rate > 0);
        traffic.peers_getting += u32::from(peer.upload_rate > 0);
        if let Some(place) = SOURCES.iter().position(|&source| source == peer.source) {
            traffic.peers_from[place] += 1;
        }
    }
    for partial in torrent.swarm.partial_pieces() {
        traffic.unchecked += u64::from(partial.blocks_received) * u64::from(metainfo::BLOCK_LENGTH);
    }
    let geometry = torrent.swarm.geometry();
    if stats.seeds > 0 {
        traffic.desired_available = torrent.swarm.wanted_left();
    } else if stats.peers > 0 {
        let have = torrent.swarm.have();
        let reachable =
            |piece: &PieceIndex| !have.has(*piece) && torrent.swarm.availability(*piece) > 0;
        traffic.desired_available = geometry
            .pieces()
            .filter(reachable)
            .map(|piece| u64::from(geometry.length_of(piece)))
            .sum();
    }
    let pieces = torrent.swarm.have().count();
    let changed = !told.ever || told.pieces != pieces;
    Update {
        id: torrent.id,
        traffic,
        left: torrent.swarm.wanted_left(),
        have: changed.then(|| torrent.swarm.have().clone()),
        downloaded: stats.downloaded - told.stats.downloaded,
        uploaded: stats.uploaded - told.stats.uploaded,
        corrupt: stats.corrupt - told.stats.corrupt,
    }
}
