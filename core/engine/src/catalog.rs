//! All torrents as callers read them, and which of them have changed since when.
//!
//! Every change counts the change counter up and puts its torrent at the end of an index by change:
//! what changed since a moment is found at a cost of what changed, however many torrents there are.

use crate::{
    clock::unix_now,
    limits,
    status::{Torrent, TorrentId},
};
use metainfo::InfoHash;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// All torrents at one moment; see [`crate::Session::read`].
#[derive(Debug, Default)]
pub struct Catalog {
    /// Boxed: a tree filled in ascending order leaves half of its places empty.
    pub(crate) torrents: BTreeMap<TorrentId, Box<Torrent>>,
    by_hash: HashMap<InfoHash, TorrentId>,
    /// Torrents that were removed, while the session is not done with them: nobody else sees them.
    leaving: HashSet<TorrentId>,
    /// Every torrent by its last change: an entry for each [`Torrent::changed`].
    by_change: BTreeMap<u64, TorrentId>,
    /// Removed ones, oldest first.
    removed: VecDeque<Removal>,
    /// The change counter at the last removal that is no longer in `removed`.
    forgotten: u64,
    change_counter: u64,
}

#[derive(Clone, Copy, Debug)]
struct Removal {
    change: u64,
    /// Seconds since 1970.
    at: u64,
    id: TorrentId,
}

impl Catalog {
    /// All torrents, by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Torrent> {
        let all = self.torrents.values().map(|torrent| &**torrent);
        all.filter(|torrent| !self.is_leaving(torrent.id))
    }

    /// One torrent.
    pub fn get(&self, id: TorrentId) -> Option<&Torrent> {
        self.even_leaving(id).filter(|_| !self.is_leaving(id))
    }

    /// The same, even if it was removed and the session is not done with it.
    pub(crate) fn even_leaving(&self, id: TorrentId) -> Option<&Torrent> {
        self.torrents.get(&id).map(|torrent| &**torrent)
    }

    /// Whether the torrent was removed, and the session is not done with it.
    pub(crate) fn is_leaving(&self, id: TorrentId) -> bool {
        !self.leaving.is_empty() && self.leaving.contains(&id)
    }

    /// Whether the torrent with this info-hash was removed, and the session is not done with it.
    pub(crate) fn is_hash_leaving(&self, hash: InfoHash) -> bool {
        self.by_hash.get(&hash).is_some_and(|&id| self.is_leaving(id))
    }

    /// The torrent with this info-hash.
    pub fn by_hash(&self, hash: InfoHash) -> Option<&Torrent> {
        self.by_hash.get(&hash).and_then(|&id| self.get(id))
    }

    /// Number of torrents.
    pub fn len(&self) -> usize {
        self.torrents.len() - self.leaving.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts up with every change of any torrent.
    pub fn change_counter(&self) -> u64 {
        self.change_counter
    }

    /// Torrents added or changed after the change counter stood at `counter`, the first changed
    /// first.
    pub fn changed_since(&self, counter: u64) -> impl Iterator<Item = &Torrent> {
        let changes = self.by_change.range(counter.saturating_add(1)..);
        changes.filter_map(|(_, &id)| self.even_leaving(id))
    }

    /// Ids of torrents added or changed at or after this time (seconds since 1970), ascending.
    pub fn changed_at_or_after(&self, time: u64) -> Vec<TorrentId> {
        let latest_first = self.by_change.values().rev().filter_map(|&id| self.even_leaving(id));
        let recent = latest_first.take_while(|torrent| torrent.changed_at >= time);
        let mut ids: Vec<_> = recent.map(|torrent| torrent.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Ids removed after the change counter stood at `counter`; `None` if that is so long ago that
    /// they are not known any more.
    pub fn removed_since(&self, counter: u64) -> Option<Vec<TorrentId>> {
        if counter < self.forgotten {
            return None;
        }
        let first = self.removed.partition_point(|removal| removal.change <= counter);
        Some(self.removed.range(first..).map(|removal| removal.id).collect())
    }

    /// Ids removed at or after this time (seconds since 1970), ascending.
    pub fn removed_at_or_after(&self, time: u64) -> Vec<TorrentId> {
        let recent = self.removed.iter().filter(|removal| removal.at >= time);
        let mut ids: Vec<_> = recent.map(|removal| removal.id).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn insert(&mut self, torrent: Torrent) {
        let id = torrent.id;
        self.by_hash.insert(torrent.info_hash, id);
        self.torrents.insert(id, Box::new(torrent));
        self.touch(id);
    }

    /// The torrent is gone for everybody but the session, which forgets it when it is done with it.
    pub(crate) fn hide(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if !self.leaving.insert(id) {
            return;
        }
        self.by_change.remove(&torrent.changed);
        self.change_counter += 1;
        let now = unix_now();
        self.removed.push_back(Removal { change: self.change_counter, at: now, id });
        while let Some(oldest) = self.removed.front()
            && (oldest.at + limits::REMOVED_FOR < now || self.removed.len() > limits::REMOVED)
        {
            self.forgotten = oldest.change;
            self.removed.pop_front();
        }
    }

    /// Forgets a torrent altogether.
    pub(crate) fn forget(&mut self, id: TorrentId) {
        self.hide(id);
        self.leaving.remove(&id);
        if let Some(torrent) = self.torrents.remove(&id) {
            self.by_hash.remove(&torrent.info_hash);
        }
    }

    /// The torrent, to be changed: it counts as changed now, unless nobody sees it any more.
    pub(crate) fn change(&mut self, id: TorrentId) -> Option<&mut Torrent> {
        self.touch(id);
        self.torrents.get_mut(&id).map(|torrent| &mut **torrent)
    }

    fn touch(&mut self, id: TorrentId) {
        if self.is_leaving(id) {
            return;
        }
        if let Some(torrent) = self.torrents.get_mut(&id) {
            self.by_change.remove(&torrent.changed);
            self.change_counter += 1;
            self.by_change.insert(self.change_counter, id);
            torrent.changed = self.change_counter;
            torrent.changed_at = unix_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Activity, Meta, Totals, Traffic};
    use metainfo::{Bitfield, Metainfo};
    use std::sync::Arc;

    fn torrent(number: u32) -> Torrent {
        let name = format!("{number:08}");
        let torrent = format!(
            "d4:infod6:lengthi1e4:name8:{name}12:piece lengthi16384e6:pieces20:{}ee",
            "x".repeat(20)
        );
        let parsed = Metainfo::parse(torrent.as_bytes()).unwrap();
        let info_hash = parsed.info_hash();
        let (meta, trackers) = Meta::new(parsed).unwrap();
        Torrent {
            id: TorrentId(number),
            info_hash,
            have: Arc::new(Bitfield::none(meta.layout.geometry().piece_count())),
            meta: Arc::new(meta),
            download_dir: "/".into(),
            running: false,
            activity: Activity::Stopped,
            trouble: None,
            verify_progress: 0.0,
            incomplete_dir: None,
            relocation: None,
            have_bytes: 0,
            left: 1,
            file_priorities: Vec::new(),
            labels: Vec::new(),
            trackers,
            sequential: false,
            sequential_from: 0,
            rules: Default::default(),
            queue_position: 0,
            finished: false,
            peer_limit: 1,
            added_date: 0,
            start_date: 0,
            edit_date: 0,
            traffic: Traffic::default(),
            totals: Totals::default(),
            changed: 0,
            changed_at: 0,
        }
    }

    fn changed(catalog: &Catalog, since: u64) -> Vec<u32> {
        catalog.changed_since(since).map(|torrent| torrent.id.0).collect()
    }

    #[test]
    fn what_changed_since_a_moment_is_named_once_and_what_went_is_named_as_gone() {
        let mut catalog = Catalog::default();
        (1..=5).for_each(|number| catalog.insert(torrent(number)));
        assert_eq!(changed(&catalog, 0), [1, 2, 3, 4, 5]);
        let before = catalog.change_counter();
        assert_eq!(changed(&catalog, before), [] as [u32; 0]);
        for number in [4, 2, 4] {
            catalog.change(TorrentId(number)).unwrap();
        }
        assert_eq!(changed(&catalog, before), [2, 4]);
        catalog.hide(TorrentId(2));
        assert!(catalog.change(TorrentId(2)).is_some(), "the session is not done with it");
        assert!(catalog.get(TorrentId(2)).is_none() && catalog.iter().count() == catalog.len());
        assert_eq!(changed(&catalog, before), [4]);
        let hidden = catalog.change_counter();
        catalog.forget(TorrentId(2));
        assert!(catalog.change(TorrentId(2)).is_none());
        assert_eq!(catalog.change_counter(), hidden, "that is nobody's news");
        assert_eq!(catalog.removed_since(before), Some(vec![TorrentId(2)]));
        assert_eq!(catalog.removed_since(catalog.change_counter()), Some(Vec::new()));
        assert_eq!(catalog.changed_at_or_after(0).len(), 4);
        assert_eq!(catalog.removed_at_or_after(0), [TorrentId(2)]);
        assert_eq!(catalog.changed_at_or_after(u64::MAX), []);
        assert_eq!(catalog.by_change.len(), catalog.len());
    }

    #[test]
    fn removals_are_remembered_in_a_bounded_number() {
        let mut catalog = Catalog::default();
        let start = catalog.change_counter();
        let original = torrent(1);
        for number in 0..limits::REMOVED as u32 + 2 {
            catalog.insert(Torrent { id: TorrentId(number), ..original.clone() });
            catalog.forget(TorrentId(number));
        }
        assert_eq!(catalog.removed.len(), limits::REMOVED);
        assert_eq!(catalog.removed_since(start), None);
        let last = catalog.change_counter();
        assert_eq!(catalog.removed_since(last - 1).map(|ids| ids.len()), Some(1));
    }
}
