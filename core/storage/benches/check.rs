//! Recheck of cached data, in bytes per second, for one thread and for all; and the cost of pushing
//! a block that is in memory.
//!
//! `CHECK_MIB` sets the size of the torrent (256 by default).

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Sample, Shard, drivers, sample};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hash::{Backend, Hasher};
use ringseed_storage::{CheckEvent, CheckRequest, Checker, Pushed, StoreLimits};
use std::{hint::black_box, path::Path, sync::Arc, sync::mpsc, time::Duration};

fn check(checker: &Checker, sample: &Sample, root: &Path) {
    let (ended, outcome) = mpsc::channel();
    checker.submit(CheckRequest {
        info_hash: sample.info_hash,
        layout: Arc::clone(&sample.layout),
        root: root.into(),
        hashes: Arc::clone(&sample.hashes),
        pieces: sample.all_pieces(),
        past_cache: false,
        report: Box::new(move |event| {
            if let CheckEvent::Ended(outcome) = event {
                ended.send(outcome).expect("somebody waits");
            }
        }),
    });
    assert!(outcome.recv().expect("it ends").have.is_all());
}

fn recheck(criterion: &mut Criterion) {
    let mib = std::env::var("CHECK_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(256u64);
    let mut group = criterion.benchmark_group("recheck");
    group.throughput(Throughput::Bytes(mib << 20)).sample_size(10);
    for (name, files, piece_length) in [("one file", 1, 1 << 20), ("many files", 1000, 1 << 18)] {
        let entries = vec![((mib << 20) / files, false); files as usize];
        let sample = sample(&entries, piece_length, 1);
        let folder = tempfile::tempdir().expect("a folder");
        sample.lay_down(folder.path());
        for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
            for threads in [1, 0] {
                let checker = Checker::with_hasher(threads, Hasher::new(backend)).expect("threads");
                let crew = if threads == 1 { "one core" } else { "all cores" };
                group.bench_function(format!("{name}, {backend}, {crew}"), |bencher| {
                    bencher.iter(|| check(&checker, &sample, folder.path()));
                });
            }
        }
    }
}

fn push(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push_block");
    for (name, files) in [("one file", 1u64), ("1000 files", 1000)] {
        let entries = vec![((64 << 20) / files, false); files as usize];
        let sample = sample(&entries, 1 << 20, 1);
        let folder = tempfile::tempdir().expect("a folder");
        sample.lay_down(folder.path());
        let mut shard = Shard::new(drivers()[0], StoreLimits::default());
        let key = shard.store.add(sample.files(folder.path()));
        let geometry = sample.layout.geometry();
        let mut blocks: Vec<_> =
            geometry.pieces().flat_map(|piece| geometry.blocks(piece)).collect();
        for &block in &blocks {
            shard.store.fetch(&mut shard.ring, key, block, 0);
            shard.settle();
        }
        fastrand::Rng::with_seed(1).shuffle(&mut blocks);
        let mut batch = shard.ring.batch();
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next = (next + 1) % blocks.len();
                if next % 32 == 0 {
                    batch = Default::default();
                }
                let now = Duration::from_secs(3);
                let pushed = shard.store.push_block(now, key, blocks[next], &mut batch);
                assert_eq!(black_box(pushed).expect("it is there"), Pushed::Done);
            });
        });
    }
}

criterion_group!(benches, recheck, push);
criterion_main!(benches);
