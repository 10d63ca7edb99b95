//! The store on real files and real rings, with both drivers.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Entry, Sample, Shard, drivers, sample, written};
use metainfo::{BLOCK_LENGTH, Bitfield};
use proptest::prelude::*;
use ringseed_storage::{
    Allocation, FileStamp, Pushed, ResumeData, StorageError, StoreEvent, StoreLimits, TorrentFiles,
    check_stamps, part_file,
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

fn limits() -> StoreLimits {
    StoreLimits { open_files: 3, mappings: 2, under_way: 4, ..StoreLimits::default() }
}

fn all_blocks_are_served(shard: &mut Shard, key: ringseed_storage::StoreKey, sample: &Sample) {
    let geometry = sample.layout.geometry();
    for piece in geometry.pieces() {
        for block in geometry.blocks(piece) {
            let (bytes, _) = shard.serve(key, block).expect("a good block");
            assert!(bytes == sample.content(block), "{block:?} has other bytes");
        }
    }
}

fn files_are_as_in(sample: &Sample, root: &std::path::Path) {
    for (index, file) in sample.layout.files() {
        let path = root.join(file.path().as_path());
        if file.is_pad() {
            assert!(!path.exists(), "pad files are never made");
            continue;
        }
        let found = fs::read(&path).unwrap();
        let range = file.offset() as usize..file.end() as usize;
        assert!(found == sample.bytes[range], "{index:?} has other bytes");
    }
}

/// Lays down some of the files, a few of them damaged, and gives stamps by which all were whole.
fn some_are_there(
    sample: &Sample,
    root: &std::path::Path,
    random: &mut fastrand::Rng,
) -> Vec<FileStamp> {
    sample.lay_down(root);
    let mut stamps = Vec::new();
    for (index, file) in sample.layout.files() {
        let path = sample.path(root, index.get());
        stamps.push(FileStamp::read(&path).unwrap());
        match random.u8(..3) {
            _ if file.is_pad() => {}
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, vec![0; file.length() as usize]).unwrap(),
            _ => {}
        }
    }
    stamps.push(FileStamp::ABSENT);
    stamps
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let length = prop_oneof![
        2 => Just(0u64),
        5 => 1u64..2_000,
        2 => 1u64..100_000,
    ];
    prop::collection::vec((length, prop::bool::weighted(0.2)), 1..25)
        .prop_filter("a real file with bytes", |e| e.iter().any(|&(len, pad)| len > 0 && !pad))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_served(
        entries in entries(), piece_length in prop::sample::select(vec![1024u32, 16384, 32768]),
        seed: u64, full: bool,
    ) {
        let sample = sample(&entries, piece_length, seed);
        for driver in drivers() {
            let folder = tempfile::tempdir().unwrap();
            let mut shard = Shard::new(driver, limits());
            let allocation = if full { Allocation::Full } else { Allocation::Sparse };
            let key = shard.store.add(TorrentFiles { allocation, ..sample.files(folder.path()) });
            let mut order: Vec<u32> = (0..sample.layout.geometry().piece_count()).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            for &piece in &order {
                shard.write(key, &sample, piece);
            }
            prop_assert_eq!(written(&shard.settle()).len(), order.len());
            shard.store.finish_files(&mut shard.ring, key);
            let finished = shard.settle();
            prop_assert!(matches!(finished[..], [StoreEvent::FilesFinished { .. }]), "{:?}", finished);
            files_are_as_in(&sample, folder.path());
            all_blocks_are_served(&mut shard, key, &sample);
            prop_assert!(shard.store.open_files() <= 3 + 4);
        }
    }

    #[test]
    fn unwanted_files_stay_out_of_the_folder_until_they_are_wanted(
        entries in entries(), seed: u64,
    ) {
        let sample = sample(&entries, 16384, seed);
        let mut random = fastrand::Rng::with_seed(seed);
        for driver in drivers() {
            let folder = tempfile::tempdir().unwrap();
            let mut shard = Shard::new(driver, limits());
            let wanted: Box<[bool]> = entries.iter().map(|_| random.bool()).collect();
            let key = shard.store.add(TorrentFiles {
                wanted: Some(wanted.clone()),
                ..sample.files(folder.path())
            });
            let geometry = sample.layout.geometry();
            let mut needed = Bitfield::none(geometry.piece_count());
            for (index, _) in sample.layout.files().filter(|(i, _)| wanted[i.as_usize()]) {
                for piece in sample.layout.pieces_of(index).filter_map(|p| geometry.piece(p)) {
                    needed.set(piece);
                }
            }
            for piece in needed.iter() {
                shard.write(key, &sample, piece);
            }
            prop_assert_eq!(written(&shard.settle()).len() as u32, needed.count());
            for (index, file) in sample.layout.files() {
                let is_there = folder.path().join(file.path().as_path()).exists();
                prop_assert!(!is_there || (wanted[index.as_usize()] && !file.is_pad()));
            }
            let serve = |shard: &mut Shard| {
                for piece in needed.iter().filter_map(|piece| geometry.piece(piece)) {
                    let block = geometry.block(piece, 0);
                    let (bytes, _) = shard.serve(key, block).expect("a good block");
                    assert!(bytes == sample.content(block));
                }
            };
            serve(&mut shard);
            // All become wanted while the rest is being written.
            for piece in (0..geometry.piece_count()).filter(|&p| !needed.has(geometry.piece(p).unwrap())) {
                shard.write(key, &sample, piece);
            }
            shard.store.set_wanted(&mut shard.ring, key, &vec![true; entries.len()]);
            serve(&mut shard);
            shard.settle();
            shard.store.finish_files(&mut shard.ring, key);
            let finished = shard.settle();
            prop_assert!(matches!(finished[..], [StoreEvent::FilesFinished { .. }]), "{:?}", finished);
            files_are_as_in(&sample, folder.path());
            all_blocks_are_served(&mut shard, key, &sample);
            prop_assert!(!part_file(folder.path(), sample.info_hash).exists());
        }
    }

    #[test]
    fn files_may_become_wanted_and_unwanted_at_any_moment(entries in entries(), seed: u64) {
        let sample = sample(&entries, 16384, seed);
        let mut random = fastrand::Rng::with_seed(seed);
        for driver in drivers() {
            let folder = tempfile::tempdir().unwrap();
            let mut shard = Shard::new(driver, limits());
            let key = shard.store.add(sample.files(folder.path()));
            let stamps = some_are_there(&sample, folder.path(), &mut random);
            shard.store.set_durable(key, &Bitfield::none(sample.all_pieces().piece_count()), &stamps);
            let mut order: Vec<u32> = (0..sample.layout.geometry().piece_count()).collect();
            random.shuffle(&mut order);
            for &piece in &order {
                shard.write(key, &sample, piece);
                if random.u8(..) < 100 {
                    let wanted: Vec<bool> = entries.iter().map(|_| random.bool()).collect();
                    shard.store.set_wanted(&mut shard.ring, key, &wanted);
                }
                if random.u8(..) < 30 {
                    shard.store.sync(&mut shard.ring, key);
                }
                for _ in 0..random.usize(..4) {
                    if !shard.store.is_idle() {
                        shard.turn();
                    }
                }
            }
            shard.store.set_wanted(&mut shard.ring, key, &vec![true; entries.len()]);
            let events = shard.settle();
            let bad: Vec<_> = events
                .iter()
                .filter(|event| matches!(event, StoreEvent::FileTrouble { .. }
                    | StoreEvent::WriteFailed { .. } | StoreEvent::SyncFailed { .. }))
                .collect();
            prop_assert!(bad.is_empty(), "{bad:?}");
            shard.store.set_wanted(&mut shard.ring, key, &vec![true; entries.len()]);
            shard.store.finish_files(&mut shard.ring, key);
            shard.settle();
            files_are_as_in(&sample, folder.path());
            all_blocks_are_served(&mut shard, key, &sample);
        }
    }
}

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
            eprintln!("skipped: the page cache does not let go of this file system's pages");
            return;
        }
        assert!(bytes == sample.content(block(1, 0)));
        shard.now += Duration::from_secs(5);
        std::thread::sleep(Duration::from_millis(200));
        let last = geometry.block_count(geometry.piece(1).unwrap()) - 1;
        assert!(shard.serve(key, block(1, last)).unwrap().1, "the rest of the piece came along");
    }
}

#[test]
fn a_truncated_file_is_an_error_until_it_is_whole_again() {
    let sample = sample(&[(1 << 20, false), (100, false)], 1 << 18, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        let geometry = sample.layout.geometry();
        let block = geometry.block(geometry.piece(2).unwrap(), 0);
        shard.serve(key, block).unwrap();
        assert!(shard.serve(key, block).unwrap().1);
        let path = sample.path(folder.path(), 0);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
        shard.now += Duration::from_secs(5);
        let failure = shard.serve(key, block).unwrap_err();
        let truncated = matches!(&failure, StoreEvent::FetchFailed {
            error: StorageError::Truncated { file }, ..
        } if *file == path);
        assert!(truncated, "{failure:?}");
        sample.lay_down(folder.path());
        assert!(shard.serve(key, block).unwrap().0 == sample.content(block));
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
    let stuck = common::sample(&[(1000, false)], 1 << 16, 2);
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
            return eprintln!("SKIPPED: the file system does not know RWF_NOWAIT");
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
fn a_file_whose_name_is_gone_is_reported() {
    let sample = sample(&[(1 << 16, false)], 1 << 15, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        let geometry = sample.layout.geometry();
        let block = geometry.block(geometry.piece(0).unwrap(), 0);
        shard.serve(key, block).unwrap();
        shard.store.tick(&mut shard.ring);
        assert!(shard.settle().is_empty());
        fs::remove_file(sample.path(folder.path(), 0)).unwrap();
        shard.store.tick(&mut shard.ring);
        let events = shard.settle();
        let [StoreEvent::FileTrouble { error, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(matches!(error, StorageError::Missing { .. }) && !error.is_retryable());
        let failure = shard.serve(key, block).unwrap_err();
        let missing =
            matches!(&failure, StoreEvent::FetchFailed { error: StorageError::Missing { .. }, .. });
        assert!(missing, "{failure:?}");
        sample.lay_down(folder.path());
        assert!(shard.serve(key, block).is_ok());
    }
}

#[test]
fn a_file_that_is_gone_is_not_made_anew_after_its_sync_has_failed() {
    let sample = sample(&[(1 << 16, false)], 1 << 15, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        shard.write(key, &sample, 0);
        assert_eq!(written(&shard.settle()), [0]);
        let path = sample.path(folder.path(), 0);
        fs::remove_file(&path).unwrap();
        shard.store.tick(&mut shard.ring);
        let events = shard.settle();
        assert!(matches!(&events[..], [StoreEvent::FileTrouble { .. }]), "{events:?}");
        shard.store.sync(&mut shard.ring, key);
        let events = shard.settle();
        assert!(matches!(&events[..], [StoreEvent::SyncFailed { .. }]), "{events:?}");
        // Its piece does not count any more; a write that was in line comes all the same.
        shard.write(key, &sample, 1);
        let events = shard.settle();
        let missing = |error: &StorageError| matches!(error, StorageError::Missing { .. });
        let [StoreEvent::WriteFailed { error, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(missing(error) && !path.exists(), "{error}");
    }
}

#[test]
fn a_file_where_a_folder_should_be_fails_every_piece_that_needs_it() {
    let sample = sample(&[(1000, false), (1000, false)], 1024, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/folder1"), b"in the way").unwrap();
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        shard.write(key, &sample, 0);
        shard.write(key, &sample, 1);
        let events = shard.settle();
        assert_eq!(events.len(), 2);
        for event in &events {
            let StoreEvent::WriteFailed { error, .. } = event else { panic!("{event:?}") };
            assert!(matches!(error, StorageError::InTheWay { .. }), "{error}");
            assert!(error.is_retryable());
        }
        fs::remove_file(folder.path().join("data/folder1")).unwrap();
        shard.write(key, &sample, 0);
        assert_eq!(written(&shard.settle()), [0]);
    }
}

#[test]
fn what_is_durable_never_includes_a_piece_whose_write_ended_after_the_sync_began() {
    let sample = sample(&[(300_000, false), (300_000, false), (300_000, false)], 65536, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = Shard::new(driver, limits());
        let key = shard.store.add(sample.files(folder.path()));
        let mut written_when_begun = Vec::new();
        let mut written_so_far = Vec::new();
        let mut syncs = 0;
        let take = |events: Vec<StoreEvent>, so_far: &mut Vec<u32>, begun: &Vec<u32>| {
            let mut syncs = 0;
            for event in events {
                match event {
                    StoreEvent::PieceWritten { piece, .. } => so_far.push(piece.get()),
                    StoreEvent::Synced { durable, .. } => {
                        let mut begun = begun.clone();
                        begun.sort_unstable();
                        assert_eq!(durable.iter().collect::<Vec<_>>(), begun);
                        syncs += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            syncs
        };
        for piece in 0..sample.layout.geometry().piece_count() {
            shard.write(key, &sample, piece);
            if piece % 4 == 3 {
                // Writes of this moment are under way while the sync begins.
                written_when_begun = written_so_far.clone();
                shard.store.sync(&mut shard.ring, key);
                let events = shard.settle();
                syncs += take(events, &mut written_so_far, &written_when_begun);
            }
        }
        assert_eq!(syncs, 3);
        let events = shard.settle();
        take(events, &mut written_so_far, &written_when_begun);
        shard.store.sync(&mut shard.ring, key);
        let events = shard.settle();
        let [StoreEvent::Synced { durable, stamps, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(durable.is_all());
        assert_eq!(stamps.len(), 4);
        for (file, stamp) in stamps[..3].iter().enumerate() {
            let path = sample.path(folder.path(), file as u32);
            assert_eq!(FileStamp::read(&path).unwrap(), *stamp);
        }
        assert_eq!(stamps[3], FileStamp::ABSENT);
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
fn resume_data_of_a_synced_torrent_holds_after_a_restart() {
    let sample = sample(&[(50_000, false), (50_000, false), (50_000, false)], 16384, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = Shard::new(driver, limits());
        let wanted = TorrentFiles {
            wanted: Some([true, true, false].into()),
            ..sample.files(folder.path())
        };
        let key = shard.store.add(wanted.clone());
        let parts = part_file(folder.path(), sample.info_hash);
        for piece in 0..7 {
            shard.write(key, &sample, piece);
        }
        assert_eq!(written(&shard.settle()).len(), 7);
        for _ in 0..2 {
            shard.store.sync(&mut shard.ring, key);
            let events = shard.settle();
            let [StoreEvent::Synced { durable, stamps, .. }] = &events[..] else {
                panic!("{events:?}")
            };
            let resume = ResumeData {
                have: durable.clone(),
                stamps: stamps.clone(),
                is_final: true,
                suspects_cache: false,
            };
            let report = check_stamps(folder.path(), &parts, &sample.layout, &resume).unwrap();
            assert_eq!(report.trusted.iter().collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
            assert!(report.changed.is_empty());
        }
        // The same without any memory of how the files looked.
        shard.store.remove(key);
        let key = shard.store.add(wanted);
        let mut have = Bitfield::none(10);
        for piece in (0..7).filter_map(|piece| sample.layout.geometry().piece(piece)) {
            have.set(piece);
        }
        shard.store.set_durable(key, &have, &[]);
        shard.store.sync(&mut shard.ring, key);
        let events = shard.settle();
        let [StoreEvent::Synced { durable, stamps, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(*durable, have);
        let resume =
            ResumeData { have, stamps: stamps.clone(), is_final: true, suspects_cache: false };
        let report = check_stamps(folder.path(), &parts, &sample.layout, &resume).unwrap();
        assert!(report.changed.is_empty(), "{report:?}");
        fs::remove_file(&parts).unwrap();
        let report = check_stamps(folder.path(), &parts, &sample.layout, &resume).unwrap();
        assert_eq!(report.doubtful.iter().collect::<Vec<_>>(), [6]);
    }
}

#[test]
fn a_complete_file_is_not_written_though_a_piece_that_it_shares_is() {
    // The first shares piece 3 and the second, which lies in it whole, too; the third is missing.
    let sample = sample(&[(100_000, false), (5_000, false), (50_000, false)], 1 << 15, 1);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for driver in drivers() {
        for (is_good, is_wanted) in [(true, true), (false, true), (true, false)] {
            let folder = tempfile::tempdir().unwrap();
            sample.lay_down(folder.path());
            let paths = [0, 1].map(|file| sample.path(folder.path(), file));
            fs::remove_file(sample.path(folder.path(), 2)).unwrap();
            for path in &paths {
                let mut bytes = fs::read(path).unwrap();
                if !is_good {
                    *bytes.last_mut().unwrap() ^= 1;
                    fs::write(path, &bytes).unwrap();
                }
                fs::hard_link(path, path.with_extension("elsewhere")).unwrap();
                fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
            }
            let mut stamps = paths.each_ref().map(|path| FileStamp::read(path).unwrap()).to_vec();
            stamps.extend([FileStamp::ABSENT; 2]);

            let mut shard = Shard::new(driver, StoreLimits::default());
            let key = shard.store.add(TorrentFiles {
                wanted: Some([is_wanted, is_wanted, true].into()),
                ..sample.files(folder.path())
            });
            let mut have = Bitfield::none(5);
            for piece in (0..3).filter_map(|piece| sample.layout.geometry().piece(piece)) {
                have.set(piece);
            }
            shard.store.set_durable(key, &have, &stamps);
            for piece in [3, 4] {
                shard.write(key, &sample, piece);
                assert_eq!(written(&shard.settle()), [piece]);
            }
            for path in &paths {
                let is_old = fs::metadata(path).unwrap().modified().unwrap() == long_ago;
                assert_eq!(is_old, is_good, "{path:?}");
            }
            files_are_as_in(&sample, folder.path());
            shard.store.sync(&mut shard.ring, key);
            let events = shard.settle();
            let [StoreEvent::Synced { durable, .. }] = &events[..] else { panic!("{events:?}") };
            assert!(durable.is_all());
        }
    }
}

#[test]
fn full_allocation_takes_the_space_at_the_first_write() {
    let sample = sample(&[(1 << 20, false)], 1 << 16, 1);
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let allocated = |allocation| {
            let root = folder.path().join(format!("{allocation:?}"));
            let mut shard = Shard::new(driver, StoreLimits::default());
            let key = shard.store.add(TorrentFiles { allocation, ..sample.files(&root) });
            shard.write(key, &sample, 3);
            assert_eq!(written(&shard.settle()), [3]);
            let meta = fs::metadata(sample.path(&root, 0)).unwrap();
            assert_eq!(meta.len(), 1 << 20);
            meta.blocks() * 512
        };
        assert!(allocated(Allocation::Full) >= 1 << 20);
        assert!(allocated(Allocation::Sparse) <= 1 << 18);
    }
}

#[test]
fn a_torrent_can_be_removed_at_any_moment() {
    let sample = sample(&[(1 << 20, false), (5000, false)], 1 << 16, 1);
    for driver in drivers() {
        for turns in 0..12 {
            let folder = tempfile::tempdir().unwrap();
            let mut shard = Shard::new(driver, limits());
            let key = shard.store.add(sample.files(folder.path()));
            for piece in 0..sample.layout.geometry().piece_count() {
                shard.write(key, &sample, piece);
            }
            shard.store.sync(&mut shard.ring, key);
            let wanted = [false, true];
            shard.store.set_wanted(&mut shard.ring, key, &wanted);
            for _ in 0..turns {
                if !shard.store.is_idle() {
                    shard.turn();
                }
            }
            shard.store.remove(key);
            shard.events.clear();
            let other = shard.store.add(sample.files(&folder.path().join("other")));
            assert!(shard.settle().is_empty());
            assert_ne!(key, other);
            assert_eq!(shard.store.open_files(), 0);
        }
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

/// A small file system, if this user may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Descriptors are closed by a thread that may be at it still.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_the_write_succeeds_once_there_is_room() {
    let sample = sample(&[(4 << 20, false)], 1 << 18, 1);
    for driver in drivers() {
        let Some(disk) = SmallDisk::new("2m") else {
            eprintln!("skipped: this user may not mount a file system");
            return;
        };
        let root = disk.0.path();
        let mut shard = Shard::new(driver, StoreLimits::default());
        let key = shard.store.add(sample.files(root));
        fs::write(root.join("ballast"), vec![1; 1 << 20]).unwrap();
        for piece in 0..16 {
            shard.write(key, &sample, piece);
        }
        let events = shard.settle();
        let failed: Vec<u32> = events
            .iter()
            .filter_map(|event| match event {
                StoreEvent::WriteFailed { piece, error, .. } => {
                    assert!(matches!(error, StorageError::NoSpace { .. }), "{error}");
                    assert!(error.is_retryable());
                    Some(piece.get())
                }
                _ => None,
            })
            .collect();
        assert!(failed.len() >= 12, "{failed:?}");
        assert_eq!(failed.len() + written(&events).len(), 16);
        fs::remove_file(root.join("ballast")).unwrap();
        shard.write(key, &sample, failed[0]);
        assert_eq!(written(&shard.settle()), [failed[0]]);
        let full = shard.store.add(TorrentFiles {
            allocation: Allocation::Full,
            ..sample.files(&root.join("other"))
        });
        shard.write(full, &sample, 0);
        let events = shard.settle();
        let no_space = matches!(
            &events[..],
            [StoreEvent::WriteFailed { error: StorageError::NoSpace { .. }, .. }]
        );
        assert!(no_space, "{events:?}");
    }
}
