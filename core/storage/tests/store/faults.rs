//! Files that are gone, cut or in the way, and a disk that is full.

use crate::common::{Shard, drivers, sample, written};
use machine::Mount;
use ringseed_storage::{Allocation, StorageError, StoreEvent, StoreLimits, TorrentFiles};
use std::{fs, time::Duration};

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
fn a_full_disk_is_named_and_the_write_succeeds_once_there_is_room() {
    let sample = sample(&[(4 << 20, false)], 1 << 18, 1);
    for driver in drivers() {
        let Some(disk) = Mount::small("2m") else { return };
        let root = disk.folder();
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
