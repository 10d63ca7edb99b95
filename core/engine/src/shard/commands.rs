//! What the control side asks for.

use super::{
    Shard,
    messages::{Command, Report, StartTorrent},
    tick::publish_progress,
    torrent::{Torrent, piece_priorities, wanted_files},
};
use crate::status::{Detail, PeerInfo, TorrentId};
use storage::{FileStamp, TorrentFiles};
use swarm::Reason;
use wire::PeerId;

impl Shard {
    pub(super) fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(start) => self.start_torrent(*start),
            Command::Stop { id, run } => match self.by_id.get(&id) {
                Some(&slot) if self.torrents[slot].run == run => self.stop_torrent(slot),
                // It went down with this shard's predecessor, or has stopped by itself.
                _ => self.report(Report::Stopped { id, run, have: None }),
            },
            Command::Peers { id, mut peers, source } => {
                peers.retain(|peer| !self.blocklist.blocks(peer.ip()));
                if let Some(slot) = self.slot(id) {
                    let now = self.now;
                    self.torrents[slot].swarm.add_candidates(now, peers, source);
                    self.connect_more(slot);
                }
            }
            Command::Priorities { id, priorities } => {
                if let Some(slot) = self.slot(id) {
                    let torrent = &mut self.torrents[slot];
                    let pieces = piece_priorities(&torrent.layout, &priorities);
                    torrent.swarm.set_priorities(self.now, &pieces);
                    let store = torrent.store;
                    let wanted = wanted_files(&torrent.layout, &priorities);
                    self.store.set_wanted(&mut self.ring, store, &wanted);
                    self.mark_ready(slot);
                }
            }
            Command::Swarm { id, settings } => {
                if let Some(slot) = self.slot(id) {
                    self.torrents[slot].swarm.set_settings(self.now, settings);
                    self.mark_ready(slot);
                }
            }
            Command::Limits { id, limits } => {
                if let Some(slot) = self.slot(id) {
                    self.set_limits(slot, limits);
                }
            }
            Command::Rates => {
                let slots: Vec<usize> = self.torrents.iter().map(|(slot, _)| slot).collect();
                slots.into_iter().for_each(|slot| self.renew_limits(slot));
            }
            Command::Adopt { socket, said } => self.adopt(socket, &said),
            Command::Detail { id, reply } => {
                if let Some(slot) = self.slot(id) {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(detail(&self.torrents[slot]));
                }
            }
            Command::Settings(settings) => self.settings = settings,
            Command::Blocklist => {
                self.blocklist = self.directory.blocklist();
                self.close_blocked();
            }
            #[cfg(any(debug_assertions, feature = "sim"))]
            Command::Panic { torrent } => {
                self.in_hand = torrent;
                std::panic::panic_any(super::ORDERED_PANIC);
            }
            Command::Shutdown => self.shut_down(),
        }
    }

    fn slot(&self, id: TorrentId) -> Option<usize> {
        self.by_id.get(&id).copied().filter(|&slot| !self.torrents[slot].stopping)
    }

    fn start_torrent(&mut self, start: StartTorrent) {
        if self.by_id.contains_key(&start.id) {
            return;
        }
        self.in_hand = Some(start.id);
        let wanted = wanted_files(&start.layout, &start.priorities);
        let placed = files_in_place(&start, &wanted);
        let is_adopting = placed != wanted;
        let store = self.store.add(TorrentFiles {
            info_hash: start.info_hash,
            layout: std::sync::Arc::clone(&start.layout),
            root: std::sync::Arc::clone(&start.root),
            wanted: placed.contains(&false).then_some(placed),
            allocation: start.allocation,
            device: start.device,
            suspects_cache: start.suspects_cache,
        });
        self.store.set_durable(store, &start.have, &start.stamps);
        if is_adopting {
            self.store.set_wanted(&mut self.ring, store, &wanted);
        }
        let lacks_empty = lacks_empty_files(&start, &wanted);
        let torrent = Torrent::new(start, store, self.budget.clone(), self.now);
        let (id, info_hash) = (torrent.id, torrent.info_hash);
        let slot = self.torrents.insert(Box::new(torrent));
        if self.by_store.len() <= store.slot() {
            self.by_store.resize(store.slot() + 1, None);
        }
        self.by_store[store.slot()] = Some(slot);
        self.by_id.insert(id, slot);
        self.by_hash.insert(info_hash, slot);
        self.directory.insert(info_hash, self.number);
        if lacks_empty && self.torrents[slot].swarm.is_complete() {
            self.store.make_empty_files(&mut self.ring, store);
        }
        self.renew_limits(slot);
    }

    /// Ends the torrent's connections, makes durable what is written, and lets it go.
    pub(super) fn stop_torrent(&mut self, slot: usize) {
        let Some(torrent) = self.torrents.get_mut(slot) else { return };
        if torrent.stopping {
            return;
        }
        torrent.stopping = true;
        publish_progress(torrent);
        let info_hash = torrent.info_hash;
        for conn in torrent.all_conns() {
            self.close(conn, Reason::Stopped);
        }
        self.by_hash.remove(&info_hash);
        self.directory.remove(info_hash);
        self.go_on_stopping(slot);
    }

    /// Writes that are under way end before the last sync, so that it covers them and takes the
    /// files' stamps when nothing changes them any more.
    pub(super) fn go_on_stopping(&mut self, slot: usize) {
        let Some(torrent) = self.torrents.get(slot) else { return };
        if !torrent.stopping {
            return;
        }
        // What a disk that does not answer still has to write and sync is not claimed.
        if self.store.is_stalled(torrent.store) {
            return self.end_torrent(slot);
        }
        if torrent.writing > 0 || torrent.syncing || torrent.settling {
            return;
        }
        if (torrent.dirty || torrent.unsettled) && !torrent.sync_failed {
            self.begin_sync(slot);
        } else {
            self.end_torrent(slot);
        }
    }

    fn end_torrent(&mut self, slot: usize) {
        let Some(torrent) = self.torrents.try_remove(slot) else { return };
        self.by_id.remove(&torrent.id);
        self.metering.forget(self.number, slot);
        self.by_store[torrent.store.slot()] = None;
        self.store.remove(torrent.store);
        self.publish_last(&torrent);
        let (id, run) = (torrent.id, torrent.run);
        self.report(Report::Stopped { id, run, have: Some(torrent.swarm.have().clone()) });
    }

    fn shut_down(&mut self) {
        if self.stopping_since.is_none() {
            self.stopping_since = Some(self.now);
            for (listener, _) in std::mem::take(&mut self.listeners) {
                self.ring.stop_listening(listener);
            }
            let slots: Vec<usize> = self.torrents.iter().map(|(slot, _)| slot).collect();
            slots.into_iter().for_each(|slot| self.stop_torrent(slot));
        }
    }
}

/// Whether wanted files without bytes are not there: they are made after everything else, and what
/// ended the last run may have come before.
fn lacks_empty_files(start: &StartTorrent, wanted: &[bool]) -> bool {
    start.layout.files().any(|(index, file)| {
        let is_real = !file.is_pad() && !file.attributes().symlink;
        let is_empty = is_real && file.length() == 0 && wanted[index.as_usize()];
        is_empty && start.stamps.get(index.as_usize()) == Some(&FileStamp::ABSENT)
    })
}

/// Which wanted files can be used as they are. While there is a part file, one that is not in its
/// place may have bytes in there, from when it was not wanted.
fn files_in_place(start: &StartTorrent, wanted: &[bool]) -> Box<[bool]> {
    let is_absent = |stamp: Option<&FileStamp>| stamp.is_none_or(|&at| at == FileStamp::ABSENT);
    let files = start.layout.file_count() as usize;
    if is_absent(start.stamps.get(files)) {
        return wanted.into();
    }
    let is_placed = |file: usize| wanted[file] && !is_absent(start.stamps.get(file));
    start
        .layout
        .files()
        .map(|(index, file)| match file.is_pad() {
            true => wanted[index.as_usize()],
            false => is_placed(index.as_usize()),
        })
        .collect()
}

fn detail(torrent: &Torrent) -> Detail {
    let peers = torrent.swarm.peers().map(|peer| PeerInfo {
        addr: peer.addr,
        id: peer.id.0,
        client: peer.client.map_or_else(|| PeerId(peer.id.0).client_name(), str::to_owned),
        source: peer.source,
        incoming: peer.incoming,
        progress: peer.progress,
        we_are_interested: peer.we_are_interested,
        chokes_us: peer.chokes_us,
        is_interested: peer.is_interested,
        choked: peer.choked,
        optimistic: peer.optimistic,
        downloaded: peer.downloaded,
        uploaded: peer.uploaded,
        download_rate: peer.download_rate,
        upload_rate: peer.upload_rate,
    });
    let swarm = &torrent.swarm;
    let availability = swarm.geometry().pieces().map(|piece| match swarm.have().has(piece) {
        true => -1,
        false => swarm.availability(piece) as i32,
    });
    Detail { peers: peers.collect(), availability: availability.collect() }
}
