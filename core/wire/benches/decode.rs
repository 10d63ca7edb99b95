//! Messages per second out of full receive buffers.
//!
//! `cargo bench -p ringseed-wire`; pin it to a core (`taskset -c 1`) when others use the machine.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringseed_wire::{DecodeLimits, Decoder, Item, Message, RawBlock, block_header};
use std::hint::black_box;

const MESSAGES: u32 = 10_000;

fn drain(decoder: &mut Decoder, mut input: &[u8]) -> u64 {
    let mut sum = 0;
    while let Some(item) = decoder.next(&mut input).expect("the bench's own bytes are well-formed")
    {
        sum += match item {
            Item::Message(Message::Request(block)) => u64::from(block.begin),
            Item::Message(Message::Have { piece }) => u64::from(piece),
            Item::BlockData(data) => data.len() as u64,
            _ => 1,
        };
    }
    sum
}

fn run(criterion: &mut Criterion, name: &str, bytes: &[u8], count: u32, part: usize) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(count)));
    let mut decoder = Decoder::new(DecodeLimits::default());
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            bytes.chunks(part).map(|part| drain(&mut decoder, black_box(part))).sum::<u64>()
        });
    });
}

fn decode(criterion: &mut Criterion) {
    let request = |n| Message::Request(RawBlock { index: n, begin: n << 14, length: 1 << 14 });
    let mut requests = Vec::new();
    (0..MESSAGES).for_each(|n| request(n).encode_into(&mut requests));
    run(criterion, "requests", &requests, MESSAGES, usize::MAX);
    run(criterion, "requests in parts of 1448 bytes", &requests, MESSAGES, 1448);

    let mut haves = Vec::new();
    (0..MESSAGES).for_each(|piece| Message::Have { piece }.encode_into(&mut haves));
    run(criterion, "haves", &haves, MESSAGES, usize::MAX);

    let mut mixed = Vec::new();
    for n in 0..MESSAGES {
        match n % 3 {
            0 => request(n).encode_into(&mut mixed),
            1 => Message::Have { piece: n }.encode_into(&mut mixed),
            _ => Message::Unchoke.encode_into(&mut mixed),
        }
    }
    run(criterion, "requests, haves and unchokes by turns", &mixed, MESSAGES, usize::MAX);

    let mut blocks = Vec::new();
    for n in 0..256 {
        blocks.extend(block_header(n, 0, 1 << 14));
        blocks.resize(blocks.len() + (1 << 14), 0);
    }
    run(criterion, "16 KiB blocks in parts of 64 KiB", &blocks, 256, 64 << 10);
}

criterion_group!(benches, decode);
criterion_main!(benches);
