//! Keeping the catalog that callers read.

use super::unix_now;
use crate::{
    limits,
    status::{Catalog, Torrent, TorrentId},
};

impl Catalog {
    pub(super) fn insert(&mut self, torrent: Torrent) {
        let id = torrent.id;
        self.by_hash.insert(torrent.info_hash, id);
        self.torrents.insert(id, torrent);
        self.touch(id);
    }

    pub(super) fn remove(&mut self, id: TorrentId) -> Option<Torrent> {
        let torrent = self.torrents.remove(&id)?;
        self.by_hash.remove(&torrent.info_hash);
        let now = unix_now();
        self.removed.push_back((now, id));
        while self.removed.front().is_some_and(|(at, _)| at + limits::REMOVED_FOR < now) {
            self.removed.pop_front();
        }
        self.change_counter += 1;
        Some(torrent)
    }

    /// The torrent, to be changed: it counts as changed now.
    pub(super) fn change(&mut self, id: TorrentId) -> Option<&mut Torrent> {
        self.touch(id);
        self.torrents.get_mut(&id)
    }

    fn touch(&mut self, id: TorrentId) {
        if let Some(torrent) = self.torrents.get_mut(&id) {
            self.change_counter += 1;
            torrent.changed = self.change_counter;
            torrent.changed_at = unix_now();
        }
    }
}
