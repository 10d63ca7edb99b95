//! Blocks that are asked for: from mappings, from the disk, and while it is silent.

use crate::common::{Sample, Shard, drivers, sample, written};
use crate::{all_blocks_are_served, files_are_as_in};
use metainfo::BLOCK_LENGTH;
use ring::DriverChoice;
use ringseed_storage::{
    Pushed, StorageError, StoreEvent, StoreKey, StoreLimits, TorrentFiles, part_file,
};
use std::{
    fs,
    path::Path,
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

/// How many mappings this process has of files in the folder.
fn mappings_of(folder: &Path) -> usize {
    let (maps, folder) = (fs::read_to_string("/proc/self/maps").unwrap(), folder.to_str().unwrap());
    maps.lines().filter(|line| line.contains(folder)).count()
}

#[test]
fn so_many_files_and_bytes_are_mapped_at_most() {
    let sample = sample(&[(100_000, false); 6], 1 << 16, 1);
    let unbounded = StoreLimits::default();
    for (limits, most) in [
        (StoreLimits { mappings: 2, ..unbounded.clone() }, 2),
        (StoreLimits { mapped_bytes: 399_999, ..unbounded.clone() }, 3),
        (unbounded, 6),
    ] {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(drivers()[0], limits);
        let key = shard.store.add(sample.files(folder.path()));
        for _ in 0..3 {
            all_blocks_are_served(&mut shard, key, &sample);
            assert!(mappings_of(folder.path()) <= most);
        }
        assert_eq!(mappings_of(folder.path()), most);
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
        let last = block(1, geometry.block_count(geometry.piece(1).unwrap()) - 1);
        // Nobody has asked for it.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut batch = ring::SendBatch::default();
        while shard.store.push_block(shard.now, key, last, &mut batch).unwrap() == Pushed::Cold {
            assert!(std::time::Instant::now() < deadline, "the rest of the piece came along");
            std::thread::sleep(Duration::from_millis(10));
            shard.now += Duration::from_secs(5);
        }
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

/// A shard that has the sample's only file open and mapped, and nothing of it in memory.
fn cold(
    driver: DriverChoice,
    limits: StoreLimits,
    sample: &Sample,
    to: &Path,
) -> (Shard, StoreKey) {
    sample.lay_down(to);
    let mut shard = Shard::new(driver, limits);
    let key = shard.store.add(sample.files(to));
    let first = sample.layout.geometry().range(0, 0, BLOCK_LENGTH).unwrap();
    // Nothing is sent from the mapping: pages that a mapping has touched stay.
    shard.serve(key, first).unwrap();
    let mut batch = ring::SendBatch::default();
    shard.store.push_block(shard.now, key, first, &mut batch).unwrap();
    let file = fs::File::open(sample.path(to, 0)).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    shard.now += Duration::from_secs(5);
    (shard, key)
}

/// Every block is asked for at once, and none is in memory; else the test is skipped.
fn fetch_all(shard: &mut Shard, key: StoreKey, sample: &Sample) -> Option<()> {
    let geometry = sample.layout.geometry();
    let blocks = || geometry.pieces().flat_map(|piece| geometry.blocks(piece));
    // Before the first is read: with it the others come.
    for block in blocks() {
        let mut batch = ring::SendBatch::default();
        if shard.store.push_block(shard.now, key, block, &mut batch).unwrap() == Pushed::Done {
            machine::skip("the page cache does not let go of this file system's pages");
            return None;
        }
    }
    for (number, block) in blocks().enumerate() {
        shard.store.fetch(&mut shard.ring, key, block, number as u64);
    }
    Some(())
}

#[test]
fn neighbours_of_a_block_that_is_read_wait_for_it() {
    let sample = sample(&[(1 << 20, false)], 1 << 20, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let (mut shard, key) = cold(driver, StoreLimits::default(), &sample, folder.path());
        if fetch_all(&mut shard, key, &sample).is_none() {
            return;
        }
        let (mut read, mut arrived) = (Vec::new(), Vec::new());
        for event in shard.settle() {
            match event {
                StoreEvent::Fetched { cookie, .. } => read.push(cookie),
                StoreEvent::Arrived { cookie, block, .. } => arrived.push((cookie, block)),
                other => panic!("{other:?}"),
            }
        }
        read.sort_unstable();
        assert_eq!(read, [0, 16, 32, 48], "one of each 256 KiB");
        assert_eq!(arrived.len(), 64 - 4);
        assert_eq!(shard.store.load(), (0, 0));
        for &(_, block) in &arrived {
            assert!(shard.serve(key, block).unwrap().0 == sample.content(block));
        }
        // One that has waited does not wait again.
        shard.store.fetch(&mut shard.ring, key, arrived[0].1, 0);
        shard.store.fetch_alone(&mut shard.ring, key, arrived[1].1, 1);
        let events = shard.settle();
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| matches!(event, StoreEvent::Fetched { .. })));
    }
}

#[test]
fn those_who_wait_for_a_neighbour_are_told_when_it_cannot_be_read_and_not_after_removal() {
    let sample = sample(&[(1 << 20, false)], 1 << 20, 1);
    for (driver, removes) in drivers().into_iter().flat_map(|d| [(d, true), (d, false)]) {
        let folder = tempfile::tempdir().unwrap();
        let (mut shard, key) = cold(driver, StoreLimits::default(), &sample, folder.path());
        if !removes {
            let file = fs::File::options().write(true).open(sample.path(folder.path(), 0));
            file.unwrap().set_len(0).unwrap();
        }
        if fetch_all(&mut shard, key, &sample).is_none() {
            return;
        }
        if removes {
            shard.store.remove(key);
        }
        let events = shard.settle();
        let failed = events.iter().filter(|e| matches!(e, StoreEvent::FetchFailed { .. })).count();
        let arrived = events.iter().filter(|e| matches!(e, StoreEvent::Arrived { .. })).count();
        assert_eq!((failed, arrived), if removes { (0, 0) } else { (4, 60) });
        assert_eq!(shard.store.load(), (0, 0));
    }
}

#[test]
fn so_many_wait_for_a_neighbour_at_most() {
    let sample = sample(&[(1 << 20, false)], 1 << 20, 1);
    let folder = tempfile::tempdir().unwrap();
    let few = StoreLimits { in_line: 5, ..StoreLimits::default() };
    let (mut shard, key) = cold(drivers()[0], few, &sample, folder.path());
    if fetch_all(&mut shard, key, &sample).is_none() {
        return;
    }
    assert_eq!(shard.store.load(), (1, 5));
    let events = shard.settle();
    let busy =
        |e: &&StoreEvent| matches!(e, StoreEvent::FetchFailed { error: StorageError::Busy, .. });
    assert_eq!(events.iter().filter(busy).count(), 64 - 1 - 5);
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
