//! For a while the process gets no new descriptors. A program of its own: the limit
//! is the whole process's, and the tests take turns.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Sample, Shard, drivers, sample, written};
use ringseed_storage::{
    CheckEvent, CheckRequest, Checker, Place, Relocation, RelocationProgress, StorageError,
    StoreEvent, StoreLimits,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// Longer than a try, shorter than the patience.
const A_WHILE: Duration = Duration::from_millis(250);

/// No new descriptors, until it is dropped.
struct Shortage {
    before: Rlimit,
}

impl Shortage {
    /// The three that the limit allows are taken from the start.
    fn begin() -> Shortage {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        Shortage { before }
    }

    fn end_later(self) {
        thread::spawn(move || {
            thread::sleep(A_WHILE);
            drop(self);
        });
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn two_files() -> Sample {
    sample(&[(40_000, false), (30_000, false)], 16_384, 5)
}

/// Ticks so often, with time for what they begin.
fn tick(shard: &mut Shard, times: usize) -> Vec<StoreEvent> {
    for _ in 0..times {
        shard.store.tick(&mut shard.ring);
        let mut happened = Vec::new();
        shard.ring.wait(Some(Duration::from_millis(20)), &mut happened).unwrap();
        for event in happened {
            if let ring::Event::File(done) = event {
                shard.store.on_file_done(&mut shard.ring, done);
            }
        }
        while let Some(event) = shard.store.poll_event() {
            shard.events.push(event);
        }
    }
    std::mem::take(&mut shard.events)
}

/// Ticks until so many events have come.
fn await_events(shard: &mut Shard, count: usize) -> Vec<StoreEvent> {
    let mut events = Vec::new();
    for _ in 0..500 {
        events.extend(tick(shard, 1));
        if events.len() >= count {
            return events;
        }
    }
    panic!("only {events:?}");
}

#[test]
fn files_and_folders_are_opened_when_there_are_descriptors_again() {
    let _turn = alone();
    let sample = two_files();
    let pieces: Vec<u32> = (0..sample.layout.geometry().piece_count()).collect();
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        let shortage = Shortage::begin();
        for &piece in &pieces {
            shard.write(key, &sample, piece);
        }
        let events = tick(&mut shard, 5);
        assert!(events.is_empty(), "{events:?}");
        drop(shortage);
        assert_eq!(written(&await_events(&mut shard, pieces.len())), pieces);
        let shortage = Shortage::begin();
        shard.store.sync(&mut shard.ring, key);
        let events = tick(&mut shard, 5);
        assert!(events.is_empty(), "{events:?}");
        drop(shortage);
        let events = await_events(&mut shard, 1);
        let [StoreEvent::Synced { durable, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(durable.is_all());
    }
}

#[test]
fn a_shortage_that_lasts_is_told() {
    let _turn = alone();
    let sample = two_files();
    let is_told = |error: &StorageError| matches!(error, StorageError::TooManyFiles { .. });
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        shard.write(key, &sample, 0);
        assert_eq!(written(&await_events(&mut shard, 1)), [0]);
        let shortage = Shortage::begin();
        shard.store.sync(&mut shard.ring, key);
        let events = await_events(&mut shard, 1);
        let [StoreEvent::SyncFailed { suspect, error, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(suspect.count() == 1 && is_told(error), "{error}");
        let last = sample.layout.geometry().piece_count() - 1;
        shard.write(key, &sample, last);
        let events = await_events(&mut shard, 1);
        let [StoreEvent::WriteFailed { error, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(is_told(error), "{error}");
        drop(shortage);
        shard.write(key, &sample, last);
        assert_eq!(written(&await_events(&mut shard, 1)), [last]);
    }
}

#[test]
fn a_check_waits_for_descriptors() {
    let _turn = alone();
    let sample = two_files();
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    let checker = Checker::new(2).unwrap();
    let (ended, outcome) = mpsc::channel();
    let shortage = Shortage::begin();
    let _handle = checker.submit(CheckRequest {
        info_hash: sample.info_hash,
        layout: Arc::clone(&sample.layout),
        root: folder.path().into(),
        hashes: Arc::clone(&sample.hashes),
        pieces: sample.all_pieces(),
        past_cache: false,
        report: Box::new(move |event| {
            if let CheckEvent::Ended(outcome) = event {
                ended.send(outcome).unwrap();
            }
        }),
    });
    shortage.end_later();
    let outcome = outcome.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(outcome.have.is_all() && outcome.error.is_none(), "{:?}", outcome.error);
}

#[test]
fn a_move_waits_for_descriptors() {
    let _turn = alone();
    let sample = two_files();
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    sample.lay_down(from.path());
    let place = |root: &tempfile::TempDir| Place {
        root: root.path().into(),
        layout: Arc::clone(&sample.layout),
    };
    let relocation = Relocation {
        info_hash: sample.info_hash,
        from: place(&from),
        to: place(&to),
        resumed: false,
        progress: Arc::new(RelocationProgress::default()),
    };
    Shortage::begin().end_later();
    relocation.prepare().unwrap();
    for (index, file) in sample.layout.files() {
        let moved = std::fs::read(sample.path(to.path(), index.get())).unwrap();
        assert!(moved == sample.bytes[file.offset() as usize..file.end() as usize]);
    }
}
