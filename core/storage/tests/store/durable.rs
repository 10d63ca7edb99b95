//! What is on the disk, and what is said to be.

use crate::common::{Shard, drivers, sample, written};
use crate::{files_are_as_in, limits};
use metainfo::Bitfield;
use ringseed_storage::{
    Allocation, FileStamp, ResumeData, StoreEvent, StoreLimits, TorrentFiles, check_stamps,
    part_file,
};
use std::{fs, os::unix::fs::MetadataExt, time::Duration};

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
