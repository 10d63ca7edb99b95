//! Blocks that are asked for: from mappings, from the disk, and while it is silent.

use crate::common::{Shard, drivers, sample, written};
use crate::{all_blocks_are_served, files_are_as_in};
use metainfo::BLOCK_LENGTH;
use ringseed_storage::{Pushed, StorageError, StoreEvent, StoreLimits, TorrentFiles, part_file};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

#[test]
fn a_block_in_memory_is_sent_from_the_mapping() {
    let sample = sample(&[(3 << 20, false)], 1 << 20, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        let geometry = sample.layout.geometry();
        let block = |n| geometry.block(geometry.piece(0).unwrap(), n);
        assert!(!shard.serve(key, block(0)).unwrap().1, "nothing is open at first");
        for number in 0..64 {
            let (bytes, hot) = shard.serve(key, block(number)).unwrap();
            assert!(hot && bytes == sample.content(block(number)));
        }
    }
}

#[test]
fn a_block_that_left_memory_is_read_and_its_piece_with_it() {
    let sample = sample(&[(8 << 20, false)], 4 << 20, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        let geometry = sample.layout.geometry();
        let block = |piece, n| geometry.block(geometry.piece(piece).unwrap(), n);
        shard.serve(key, block(0, 0)).unwrap();
        // Nothing has been sent from the mapping: pages that a mapping has touched stay.
        let file = fs::File::open(sample.path(folder.path(), 0)).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        shard.now += Duration::from_secs(5);
        let (bytes, hot) = shard.serve(key, block(1, 0)).unwrap();
        if hot {
            return machine::skip("the page cache does not let go of this file system's pages");
        }
        assert!(bytes == sample.content(block(1, 0)));
        shard.now += Duration::from_secs(5);
        std::thread::sleep(Duration::from_millis(200));
        let last = geometry.block_count(geometry.piece(1).unwrap()) - 1;
        assert!(shard.serve(key, block(1, last)).unwrap().1, "the rest of the piece came along");
    }
}

/// Whether the file system knows of reading what is in memory without waiting.
fn reads_at_once(path: &std::path::Path) -> bool {
    let (file, mut byte) = (fs::File::open(path).unwrap(), [0]);
    let parts = &mut [std::io::IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(&file, parts, 0, rustix::io::ReadWriteFlags::NOWAIT).is_ok()
}

#[test]
fn while_the_disk_is_silent_what_is_in_memory_is_copied_and_nothing_is_sent_from_mappings() {
    let sample = sample(&[(100_000, false), (1000, true), (100_000, false)], 1 << 16, 1);
    let stuck = crate::common::sample(&[(1000, false)], 1 << 16, 2);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        all_blocks_are_served(&mut shard, key, &sample);
        let geometry = sample.layout.geometry();
        let block = geometry.block(geometry.piece(1).unwrap(), 2);
        assert!(shard.serve(key, block).unwrap().1, "from the mapping");
        if !reads_at_once(&sample.path(folder.path(), 0)) {
            return machine::skip("the file system does not know RWF_NOWAIT");
        }

        // Opening a pipe takes until somebody opens its other end.
        let elsewhere = folder.path().join("elsewhere");
        let pipe = stuck.path(&elsewhere, 0);
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let hung = shard.store.add(stuck.files(&elsewhere));
        let first = stuck.layout.geometry().blocks(geometry.piece(0).unwrap()).next().unwrap();
        shard.store.fetch(&mut shard.ring, hung, first, 1);
        (0..2).for_each(|_| shard.store.tick(&mut shard.ring));

        for piece in geometry.pieces() {
            for block in geometry.blocks(piece) {
                let mut batch = ring::SendBatch::default();
                let pushed = shard.store.push_block(shard.now, key, block, &mut batch).unwrap();
                assert_eq!((pushed, batch.is_empty()), (Pushed::Cold, true));
                shard.store.fetch(&mut shard.ring, key, block, 7);
                let event =
                    std::iter::from_fn(|| shard.store.poll_event()).find(|e| e.key() == key);
                let Some(StoreEvent::Fetched { data, range_in_buf, cookie: 7, .. }) = event else {
                    panic!("{event:?}")
                };
                assert!(data[range_in_buf] == *sample.content(block));
            }
        }
        // For an instant, which does not wait for anybody, until nobody waits for it any more.
        let hangs = Arc::new(AtomicBool::new(true));
        let other_end = std::thread::spawn({
            let hangs = Arc::clone(&hangs);
            move || {
                while hangs.load(Relaxed) {
                    drop(fs::File::options().read(true).write(true).open(&pipe).unwrap());
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        shard.settle();
        hangs.store(false, Relaxed);
        other_end.join().unwrap();
        shard.serve(key, block).unwrap();
        assert!(shard.serve(key, block).unwrap().1, "from the mapping again");
    }
}

#[test]
fn a_file_that_is_not_wanted_any_more_is_kept_and_served() {
    let sample = sample(&[(50_000, false), (50_000, false)], 16384, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(TorrentFiles {
            wanted: Some([false, true].into()),
            ..sample.files(folder.path())
        });
        all_blocks_are_served(&mut shard, key, &sample);
        shard.write(key, &sample, 3);
        assert_eq!(written(&shard.settle()), [3]);
        assert!(!part_file(folder.path(), sample.info_hash).exists());
        files_are_as_in(&sample, folder.path());
    }
}

#[test]
fn reads_beyond_the_line_are_refused() {
    let sample = sample(&[(1 << 20, false)], 1 << 20, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    let few = StoreLimits { under_way: 2, in_line: 5, ..StoreLimits::default() };
    let mut shard = Shard::new(drivers()[0], few);
    let key = shard.store.add(sample.files(folder.path()));
    let geometry = sample.layout.geometry();
    for block in geometry.blocks(geometry.piece(0).unwrap()).take(20) {
        shard.store.fetch(&mut shard.ring, key, block, u64::from(block.begin() / BLOCK_LENGTH));
    }
    let events = shard.settle();
    let fetched = events.iter().filter(|e| matches!(e, StoreEvent::Fetched { .. })).count();
    let busy =
        |e: &&StoreEvent| matches!(e, StoreEvent::FetchFailed { error: StorageError::Busy, .. });
    assert_eq!(events.len(), 20);
    assert!(fetched >= 5);
    assert_eq!(events.iter().filter(busy).count(), 20 - fetched);
}
