//! Copies of the .torrent files, for people and programs that look for them. The database is what
//! counts: what fails here is only logged.

use crate::{limits, work};
use metainfo::InfoHash;
use std::{
    collections::VecDeque,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use storage::{remove_file, write_file};

/// The folder of the copies. What is to be done there is done in order, on one thread while there is
/// something to do, which everybody else goes before: nobody waits for a copy, and to make a file can
/// take longer than to add its torrent.
pub(super) struct Copies {
    folder: PathBuf,
    line: Mutex<Line>,
    /// Nothing is left to do.
    at_rest: Condvar,
}

#[derive(Default)]
struct Line {
    orders: VecDeque<(InfoHash, Order)>,
    is_worked_at: bool,
}

enum Order {
    Save(Vec<u8>),
    Remove,
}

impl Copies {
    /// Those in `torrents` in the session's folder.
    pub(super) fn new(config_dir: &Path) -> Arc<Copies> {
        Arc::new(Copies {
            folder: config_dir.join("torrents"),
            line: Mutex::default(),
            at_rest: Condvar::new(),
        })
    }

    /// Writes one soon.
    pub(super) fn save(self: &Arc<Self>, info_hash: InfoHash, metainfo: Vec<u8>) {
        self.put(info_hash, Order::Save(metainfo));
    }

    /// Removes one soon.
    pub(super) fn remove(self: &Arc<Self>, info_hash: InfoHash) {
        self.put(info_hash, Order::Remove);
    }

    fn put(self: &Arc<Self>, info_hash: InfoHash, order: Order) {
        let mut line = self.lock();
        line.orders.push_back((info_hash, order));
        if line.is_worked_at {
            return;
        }
        let copies = Arc::clone(self);
        if work::is_by_hand() {
            line.is_worked_at = true;
            work::spawn(move || copies.work());
            return;
        }
        let work = move || {
            ring::process::step_back(limits::COPIES_NICE);
            copies.work();
        };
        // Without a thread it waits for the next order.
        match thread::Builder::new().name("copies".into()).spawn(work) {
            Ok(_) => line.is_worked_at = true,
            Err(error) => tracing::warn!(%error, "no thread for the copies of .torrent files"),
        }
    }

    /// Waits until all is done, but not longer than this. Blocks.
    pub(super) fn settle(&self, patience: Duration) {
        let is_busy = |line: &mut Line| line.is_worked_at;
        // One that a disk holds is left.
        drop(self.at_rest.wait_timeout_while(self.lock(), patience, is_busy));
    }

    fn work(&self) {
        while let Some((info_hash, order)) = self.next() {
            let path = self.folder.join(format!("{info_hash}.torrent"));
            let done = match order {
                Order::Save(metainfo) => write_file(&path, &metainfo),
                Order::Remove => remove_file(&path),
            };
            match done {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot keep a copy");
                }
                _ => {}
            }
        }
    }

    fn next(&self) -> Option<(InfoHash, Order)> {
        let mut line = self.lock();
        let next = line.orders.pop_front();
        line.is_worked_at = next.is_some();
        if next.is_none() {
            self.at_rest.notify_all();
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_last_word_about_a_copy_is_what_is_done() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("torrents")).unwrap();
        let copies = Copies::new(folder.path());
        let hashes = [InfoHash([1; 20]), InfoHash([2; 20])];
        for round in 0..50u8 {
            for hash in hashes {
                copies.remove(hash);
                copies.save(hash, vec![round]);
            }
        }
        copies.remove(hashes[1]);
        copies.settle(Duration::from_secs(60));
        let path = |hash| folder.path().join(format!("torrents/{hash}.torrent"));
        assert_eq!(fs::read(path(hashes[0])).unwrap(), [49]);
        assert!(!path(hashes[1]).exists());
    }
}
