//! GB/s of every backend that this CPU has, by number and length of inputs.
//!
//! `cargo bench -p ringseed-hash`; pin it to a core (`taskset -c 1`) when others use the machine.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringseed_hash::{Backend, Hasher, Job, Sha1State};
use std::time::Duration;

const COUNTS: [usize; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 16, 32];
const LENGTHS: [usize; 2] = [16 << 10, 1 << 20];

fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available())
}

fn data(count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| (0..length).map(|at| (at * 31 + i) as u8).collect()).collect()
}

fn sha1_update(criterion: &mut Criterion) {
    for length in LENGTHS {
        let mut group = criterion.benchmark_group(format!("sha1 update {} KiB", length >> 10));
        for count in COUNTS {
            let data = data(count, length);
            group.throughput(Throughput::Bytes((count * length) as u64));
            for backend in backends() {
                let hasher = Hasher::new(backend);
                let mut states = vec![Sha1State::new(); count];
                group.bench_function(BenchmarkId::new(backend.to_string(), count), |bencher| {
                    bencher.iter(|| {
                        let pairs = states.iter_mut().zip(&data);
                        let mut jobs: Vec<_> =
                            pairs.map(|(state, data)| Job { state, data }).collect();
                        hasher.update(&mut jobs);
                    });
                });
            }
        }
    }
}

fn digests(criterion: &mut Criterion) {
    let data = data(32, 16 << 10);
    let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut group = criterion.benchmark_group("digests of 32 blocks of 16 KiB");
    group.throughput(Throughput::Bytes(32 * (16 << 10)));
    for backend in backends() {
        let hasher = Hasher::new(backend);
        group.bench_function(BenchmarkId::new("sha1", backend), |bencher| {
            let mut out = [[0; 20]; 32];
            bencher.iter(|| hasher.digest_many(&inputs, &mut out));
        });
        group.bench_function(BenchmarkId::new("sha256", backend), |bencher| {
            let mut out = [[0; 32]; 32];
            bencher.iter(|| hasher.sha256_many(&inputs, &mut out));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = sha1_update, digests
}
criterion_main!(benches);
