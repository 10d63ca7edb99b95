//! Scanning and parsing .torrent files: one large file, and many small ones.
//!
//! `cargo bench -p ringseed-metainfo`; pin it to a core (`taskset -c 1`) when others use the machine.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringseed_metainfo::{
    Metainfo,
    bencode::{Document, Limits},
};
use std::hint::black_box;

const PIECE_LENGTH: u64 = 1 << 20;

/// A torrent of so many files of so many bytes each.
fn torrent(files: u64, length: u64) -> Vec<u8> {
    let mut bytes = b"d8:announce31:http://tracker.example/announce4:infod5:filesl".to_vec();
    for file in 0..files {
        let (folder, name) = (format!("folder{}", file % 100), format!("file{file:07}.bin"));
        bytes.extend_from_slice(
            format!("d6:lengthi{length}e4:pathl{}:{folder}{}:{name}ee", folder.len(), name.len())
                .as_bytes(),
        );
    }
    let hashes = (files * length).div_ceil(PIECE_LENGTH) as usize * 20;
    bytes.extend_from_slice(
        format!("e4:name4:data12:piece lengthi{PIECE_LENGTH}e6:pieces{hashes}:").as_bytes(),
    );
    bytes.extend((0..hashes).map(|at| at as u8));
    bytes.extend_from_slice(b"ee");
    bytes
}

fn parse(criterion: &mut Criterion) {
    for (name, files, length) in
        [("1 file, 100,000 pieces", 1, 100_000 << 20), ("10,000 files", 10_000, 1 << 20)]
    {
        let bytes = torrent(files, length);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("scan", |bencher| {
            bencher.iter(|| {
                let document =
                    Document::scan(black_box(&bytes), &Limits::TORRENT).expect("well-formed");
                document.root().is_dict()
            });
        });
        group.bench_function("parse", |bencher| {
            bencher.iter(|| Metainfo::parse(black_box(&bytes)).expect("a sound torrent"));
        });
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
