//! Whatever the files of a torrent are, and whichever are wanted.

use crate::common::{Entry, Sample, Shard, drivers, sample, written};
use crate::{all_blocks_are_served, files_are_as_in, limits};
use metainfo::Bitfield;
use proptest::prelude::*;
use ringseed_storage::{Allocation, FileStamp, StoreEvent, TorrentFiles, part_file};
use std::fs;

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
