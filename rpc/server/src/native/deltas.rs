//! What has changed of which torrent since when, for subscribers.
//!
//! One ledger serves all subscribers: for each torrent it holds, field by field, a digest of the last
//! value seen and the change counter at which it was first seen. A subscriber holds nothing but the
//! counter up to which it has been told. So a subscriber costs the same however slow it is, and a
//! message costs in proportion to the torrents that have changed.

use super::view::Told;
use api::native::Field;
use engine::status::{Catalog, Torrent, TorrentId};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// What is known of the fields of all torrents.
#[derive(Default)]
pub(crate) struct Ledger {
    torrents: HashMap<TorrentId, Box<[Entry]>>,
    /// The change counter up to which it is complete.
    counter: u64,
    /// Subscribers that it is kept for; with none it is empty.
    readers: usize,
    digests: RandomState,
}

/// A field of a torrent.
#[derive(Clone, Copy)]
struct Entry {
    digest: u64,
    /// The change counter at which this value was there at the latest.
    change: u64,
}

impl Ledger {
    /// One subscriber more.
    pub(super) fn open(&mut self) {
        self.readers += 1;
    }

    /// One subscriber less; with the last one, what is known is let go of.
    pub(super) fn close(&mut self) {
        self.readers = self.readers.saturating_sub(1);
        if self.readers == 0 {
            self.torrents = HashMap::new();
            self.counter = 0;
        }
    }

    /// Looks at what has changed since the last time.
    pub(super) fn advance(&mut self, catalog: &Catalog) {
        let now = catalog.change_counter();
        let mut buffer = Vec::new();
        match catalog.removed_since(self.counter) {
            Some(removed) => removed.iter().for_each(|id| {
                self.torrents.remove(id);
            }),
            None => self.torrents.retain(|id, _| catalog.get(*id).is_some()),
        }
        for torrent in catalog.changed_since(self.counter) {
            let told = Told(torrent);
            let entries = self.torrents.entry(torrent.id).or_default();
            let is_new = entries.is_empty();
            if is_new {
                *entries = vec![Entry { digest: 0, change: now }; Field::ALL.len()].into();
            }
            for (entry, field) in entries.iter_mut().zip(Field::ALL) {
                buffer.clear();
                field.write(&told, &mut buffer);
                let digest = self.digests.hash_one(&buffer);
                if is_new || entry.digest != digest {
                    *entry = Entry { digest, change: now };
                }
            }
        }
        self.counter = now;
    }

    /// Whether the torrent was added after this counter.
    pub(super) fn is_new(&self, torrent: &Torrent, since: u64) -> bool {
        // An info-hash is never changed.
        self.changed(torrent, since)(Field::info_hash)
    }

    /// The fields of a torrent that have changed after this counter.
    pub(super) fn changed(&self, torrent: &Torrent, since: u64) -> impl Fn(Field) -> bool {
        let entries = self.torrents.get(&torrent.id);
        move |field: Field| {
            let entry = entries.and_then(|entries| entries.get(field as usize));
            entry.is_none_or(|entry| entry.change > since)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_as_they_are_listed() {
        for (at, field) in Field::ALL.iter().enumerate() {
            assert_eq!(*field as usize, at);
        }
    }
}
