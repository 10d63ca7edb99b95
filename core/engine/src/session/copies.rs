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
    time::{Duration, Instant},
};
use storage::{remove_file, write_file};
use tokio::sync::Notify;

/// The folder of the copies. What is to be done there is done in order, on one thread while there is
/// something to do, which everybody else goes before: nobody waits for a copy, and to make a file can
/// take longer than to add its torrent. While torrents come in quick succession, it rests. Only where
/// the disk falls far behind, further torrents wait, so that what is to be written stays bounded.
pub(super) struct Copies {
    folder: PathBuf,
    line: Mutex<Line>,
    /// Nobody need wait any longer for more to come.
    hurry: Condvar,
    /// Nothing is left to do.
    at_rest: Condvar,
    /// One more is done.
    progress: Notify,
}

#[derive(Default)]
struct Line {
    orders: VecDeque<(InfoHash, Order)>,
    is_worked_at: bool,
    /// Bytes of the copies to be written.
    bytes: usize,
    /// When the first order came since there was none, and the last.
    came: Option<(Instant, Instant)>,
    is_hurried: bool,
}

impl Line {
    fn push(&mut self, info_hash: InfoHash, order: Order) {
        let now = Instant::now();
        let first = self.came.map_or(now, |(first, _)| first);
        self.came = Some((first, now));
        self.bytes += order.bytes();
        self.orders.push_back((info_hash, order));
    }

    fn pop(&mut self) -> Option<(InfoHash, Order)> {
        let next = self.orders.pop_front();
        match &next {
            Some((_, order)) => self.bytes -= order.bytes(),
            None => self.came = None,
        }
        next
    }

    fn is_full(&self) -> bool {
        self.is_worked_at && self.bytes >= limits::COPIES_MOST_BYTES
    }

    /// How long to wait for more to come before anything is done.
    fn rest(&self) -> Option<Duration> {
        let (first, last) = self.came?;
        let is_due = self.is_hurried
            || self.bytes > limits::COPIES_BYTES
            || first.elapsed() >= limits::COPIES_DELAY;
        let left = limits::COPIES_PAUSE.saturating_sub(last.elapsed());
        (!is_due && !left.is_zero()).then_some(left)
    }
}

enum Order {
    Save(Vec<u8>),
    Remove,
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Order::Save(metainfo) => metainfo.len(),
            Order::Remove => 0,
        }
    }
}

impl Copies {
    /// Those in `torrents` in the session's folder.
    pub(super) fn new(config_dir: &Path) -> Arc<Copies> {
        Arc::new(Copies {
            folder: config_dir.join("torrents"),
            line: Mutex::default(),
            hurry: Condvar::new(),
            at_rest: Condvar::new(),
            progress: Notify::new(),
        })
    }

    /// Waits until what is to be written leaves memory for more.
    pub(super) async fn room(&self) {
        loop {
            let progress = self.progress.notified();
            if !self.lock().is_full() {
                return;
            }
            progress.await;
        }
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
        line.push(info_hash, order);
        if line.is_worked_at {
            return;
        }
        let copies = Arc::clone(self);
        if work::is_by_hand() {
            (line.is_worked_at, line.is_hurried) = (true, true);
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
        let mut line = self.lock();
        line.is_hurried = true;
        self.hurry.notify_all();
        // One that a disk holds is left.
        drop(self.at_rest.wait_timeout_while(line, patience, is_busy));
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
        while let Some(rest) = line.rest() {
            let woken = self.hurry.wait_timeout(line, rest);
            line = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let next = line.pop();
        line.is_worked_at = next.is_some();
        self.progress.notify_waiters();
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
    fn copies_wait_for_more_to_come_but_not_for_ever() {
        let mut line = Line::default();
        assert_eq!(line.rest(), None);
        line.push(InfoHash([1; 20]), Order::Save(vec![0; 10]));
        assert!(line.rest().is_some_and(|rest| rest <= limits::COPIES_PAUSE));
        let (first, last) = line.came.unwrap();
        line.came = Some((first, last - limits::COPIES_PAUSE));
        assert_eq!(line.rest(), None, "nothing more has come");
        line.came = Some((first - limits::COPIES_DELAY, Instant::now()));
        assert_eq!(line.rest(), None, "more comes all the time");
        line.came = Some((first, Instant::now()));
        line.push(InfoHash([2; 20]), Order::Save(vec![0; limits::COPIES_BYTES]));
        assert_eq!(line.rest(), None, "they take much memory");
        assert!(line.pop().is_some() && line.pop().is_some() && line.pop().is_none());
        assert_eq!((line.bytes, line.rest()), (0, None));
        line.push(InfoHash([3; 20]), Order::Remove);
        line.is_hurried = true;
        assert_eq!(line.rest(), None);
    }

    #[tokio::test]
    async fn torrents_wait_while_the_disk_is_far_behind_with_their_copies() {
        let copies = Copies::new(Path::new("/nowhere"));
        let metainfo = vec![0; limits::COPIES_MOST_BYTES / 2];
        for number in 0..3 {
            copies.lock().push(InfoHash([number; 20]), Order::Save(metainfo.clone()));
        }
        copies.room().await;
        copies.lock().is_worked_at = true;
        let room = tokio::spawn({
            let copies = Arc::clone(&copies);
            async move { copies.room().await }
        });
        tokio::task::yield_now().await;
        assert!(copies.next().is_some());
        tokio::task::yield_now().await;
        assert!(!room.is_finished(), "the other two are as much as there may be");
        assert!(copies.next().is_some());
        room.await.unwrap();
    }

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
