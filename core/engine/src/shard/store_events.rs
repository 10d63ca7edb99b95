//! What the disk has done.

use super::{
    Shard,
    conn::{Conn, Data, Fetched, Stage},
    messages::Report,
    tick::publish_progress,
};
use metainfo::PieceIndex;
use ring::ConnId;
use storage::{StorageError, StoreEvent, StoreKey};
use swarm::Reason;

impl Shard {
    pub(super) fn torrent_of(&self, key: StoreKey) -> Option<usize> {
        self.by_store.get(key.slot()).copied().flatten()
    }

    pub(super) fn on_store_event(&mut self, event: StoreEvent) {
        self.in_hand = None;
        if let Some(slot) = self.torrent_of(event.key()) {
            self.take_in_hand(slot);
        }
        match event {
            StoreEvent::Fetched { cookie, block, data, range_in_buf, .. } => {
                let data = Data::Read(data, range_in_buf);
                self.on_fetched(ConnId::from_bits(cookie), Fetched { block, data });
            }
            StoreEvent::Arrived { cookie, block, .. } => {
                let data = Data::Arrived;
                self.on_fetched(ConnId::from_bits(cookie), Fetched { block, data });
            }
            StoreEvent::FetchFailed { key, cookie, block, error } => {
                let data = Data::Failed;
                self.on_fetched(ConnId::from_bits(cookie), Fetched { block, data });
                if !matches!(error, StorageError::Busy) {
                    self.trouble(key, &error);
                }
            }
            StoreEvent::PieceWritten { key, piece } => self.on_written(key, piece),
            StoreEvent::WriteFailed { key, piece, error } => {
                if let Some(slot) = self.torrent_of(key) {
                    let torrent = &mut self.torrents[slot];
                    torrent.writing = torrent.writing.saturating_sub(1);
                    torrent.swarm.piece_dropped(self.now, piece);
                }
                self.trouble(key, &error);
            }
            StoreEvent::Synced { key, durable, stamps } => {
                if let Some(slot) = self.torrent_of(key) {
                    let torrent = &mut self.torrents[slot];
                    torrent.syncing = false;
                    let is_final = torrent.stopping && torrent.writing == 0 && !torrent.dirty;
                    torrent.unsettled &= !is_final;
                    let id = torrent.id;
                    self.report(Report::Durable { id, have: durable, stamps, is_final });
                    self.go_on_stopping(slot);
                }
            }
            StoreEvent::SyncFailed { key, error, .. } => {
                if let Some(slot) = self.torrent_of(key) {
                    let torrent = &mut self.torrents[slot];
                    torrent.syncing = false;
                    torrent.sync_failed = true;
                    let id = torrent.id;
                    self.report(Report::Suspect { id });
                }
                self.trouble(key, &error);
            }
            StoreEvent::FileTrouble { key, error } => {
                if let Some(slot) = self.torrent_of(key) {
                    self.torrents[slot].settling = false;
                }
                self.trouble(key, &error);
            }
            StoreEvent::FilesFinished { key } => {
                if let Some(slot) = self.torrent_of(key) {
                    self.torrents[slot].settling = false;
                    self.report(Report::Settled(self.torrents[slot].id));
                    self.begin_sync(slot);
                    self.go_on_stopping(slot);
                }
            }
            StoreEvent::FileAdopted { .. } => {}
        }
    }

    /// A cold block has been read for a peer, or could not be.
    fn on_fetched(&mut self, id: ConnId, fetched: Fetched) {
        let Some(Conn { stage: Stage::Peer(peer), .. }) = self.conns.get(id) else { return };
        peer.fetching = peer.fetching.saturating_sub(1);
        if matches!(fetched.data, Data::Failed) && !peer.fast {
            // It has no way to be told, and must not wait for ever.
            self.close(id, Reason::Closed);
            return;
        }
        peer.fetched.push(fetched);
        let slot = peer.torrent;
        if let Some(torrent) = self.torrents.get_mut(slot) {
            torrent.swarm.wake(peer.key);
            self.mark_ready(slot);
        }
    }

    fn on_written(&mut self, key: StoreKey, piece: PieceIndex) {
        let Some(slot) = self.torrent_of(key) else { return };
        let torrent = &mut self.torrents[slot];
        torrent.swarm.piece_written(self.now, piece);
        torrent.writing = torrent.writing.saturating_sub(1);
        torrent.unsettled = true;
        if !torrent.dirty {
            torrent.dirty = true;
            torrent.next_sync = self.now + self.settings.sync_interval;
        }
        self.mark_ready(slot);
        self.go_on_stopping(slot);
    }

    /// Everything that is wanted has been written: files get their exact shape, and what was written
    /// is made durable.
    pub(super) fn on_completed(&mut self, slot: usize) {
        let Some(torrent) = self.torrents.get_mut(slot) else { return };
        torrent.settling = true;
        let (id, store) = (torrent.id, torrent.store);
        tracing::info!(torrent = %torrent.info_hash, "completed");
        publish_progress(torrent);
        self.store.finish_files(&mut self.ring, store);
        self.report(Report::Completed(id));
    }

    pub(super) fn begin_sync(&mut self, slot: usize) {
        if let Some(torrent) = self.torrents.get_mut(slot) {
            if torrent.syncing {
                // What was written since it began needs one of its own.
                torrent.dirty = true;
                torrent.next_sync = self.now;
                return;
            }
            if torrent.sync_failed {
                return;
            }
            torrent.dirty = false;
            torrent.syncing = true;
            self.store.sync(&mut self.ring, torrent.store);
        }
    }

    /// A local error: the torrent is stopped by it, and the control side told why.
    fn trouble(&mut self, key: StoreKey, error: &StorageError) {
        let Some(slot) = self.torrent_of(key) else { return };
        let torrent = &self.torrents[slot];
        if torrent.stopping {
            // What could not be written or synced is not claimed; the stop goes on without it.
            self.go_on_stopping(slot);
            return;
        }
        tracing::error!(torrent = %torrent.info_hash, %error, "stopped by a local error");
        let (id, run) = (torrent.id, torrent.run);
        self.report(Report::Trouble { id, run, message: error.to_string() });
        self.stop_torrent(slot);
    }
}
