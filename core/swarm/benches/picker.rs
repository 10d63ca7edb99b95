//! What a request, a block and a `have` cost the swarm, in a torrent of 100,000 pieces.

#![allow(missing_docs)] // the macro's own items have none
#![allow(clippy::unwrap_used)] // nothing here comes from outside

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use metainfo::{BLOCK_LENGTH, Bitfield, Geometry};
use ringseed_swarm::{
    BlockFate, MemoryBudget, NewPeer, PeerKey, Settings, Source, Swarm, Transmit,
};
use std::{hint::black_box, net::SocketAddr, time::Duration};
use wire::{Decoder, Item, Message, PeerId, RawBlock};

const PIECES: u32 = 100_000;
const PIECE_LENGTH: u32 = 1 << 20;
const NOW: Duration = Duration::from_secs(1);

fn swarm(seed: bool) -> Swarm {
    let geometry =
        Geometry::new(u64::from(PIECES) * u64::from(PIECE_LENGTH), PIECE_LENGTH).unwrap();
    let have = if seed { Bitfield::all(PIECES) } else { Bitfield::none(PIECES) };
    let settings = Settings {
        max_peers: 10_000,
        upload_slots: 0,
        peer_idle_timeout: Duration::from_secs(u64::from(u32::MAX)),
        ..Settings::default()
    };
    Swarm::new(geometry, have, settings, MemoryBudget::new(1 << 30), 1)
}

fn add(swarm: &mut Swarm, number: u32) -> PeerKey {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let [_, a, b, c] = number.to_be_bytes();
    let peer = NewPeer {
        addr: SocketAddr::from(([10, a, b, c], 6881)),
        id: PeerId(id),
        fast: true,
        extended: true,
        incoming: true,
        source: Source::Incoming,
    };
    swarm.add_peer(NOW, peer).unwrap()
}

/// 32 requests in, 32 blocks out: what a seeding connection does all day.
fn serve(c: &mut Criterion) {
    let mut swarm = swarm(true);
    let key = add(&mut swarm, 1);
    swarm.on_message(NOW, key, Message::Interested).unwrap();
    let mut out = Transmit::default();
    let mut index = 0;
    let mut group = c.benchmark_group("serve");
    group.throughput(Throughput::Elements(32));
    group.bench_function("request to transmit", |b| {
        b.iter(|| {
            index = (index + 7919) % PIECES;
            for n in 0..32 {
                let raw = RawBlock { index, begin: n * BLOCK_LENGTH, length: BLOCK_LENGTH };
                swarm.on_message(NOW, key, Message::Request(black_box(raw))).unwrap();
            }
            let key = swarm.next_ready().unwrap();
            out.clear();
            swarm.poll_transmit(NOW, key, 32, &mut out);
            swarm.on_sent(NOW, key, 32 * u64::from(BLOCK_LENGTH), 0);
            black_box(&out);
        })
    });
}

/// The whole way of a block from a seed: asked for, started, ended, its piece written.
fn fetch(c: &mut Criterion) {
    let mut group = c.benchmark_group("fetch");
    group.throughput(Throughput::Elements(4096));
    group.bench_function("block from request to disk", |b| {
        b.iter_batched_ref(
            || {
                let mut swarm = swarm(false);
                let key = add(&mut swarm, 1);
                swarm.on_message(NOW, key, Message::HaveAll).unwrap();
                swarm.on_message(NOW, key, Message::Unchoke).unwrap();
                (swarm, Transmit::default(), Decoder::new(Default::default()))
            },
            |(swarm, out, decoder)| {
                let mut blocks = 0;
                while blocks < 4096 {
                    let key = swarm.next_ready().unwrap();
                    out.clear();
                    swarm.poll_transmit(NOW, key, 32, out);
                    swarm.on_sent(NOW, key, 0, 0);
                    let mut input = &out.control[..];
                    while let Some(item) = decoder.next(&mut input).unwrap() {
                        let Item::Message(Message::Request(raw)) = item else { continue };
                        let fate = swarm.on_block_start(NOW, key, raw).unwrap();
                        let BlockFate::Take(block) = fate else { unreachable!() };
                        if swarm.on_block_end(NOW, key, block).piece_complete {
                            swarm.piece_passed(NOW, block.piece(), None);
                            swarm.piece_written(NOW, block.piece());
                        }
                        blocks += 1;
                    }
                }
            },
            BatchSize::LargeInput,
        )
    });
    group.finish();
}

/// One `have` in a swarm with a hundred leechers.
fn availability(c: &mut Criterion) {
    let mut swarm = swarm(false);
    let mut some = Bitfield::none(PIECES);
    for index in (0..PIECES).step_by(3) {
        some.set(swarm.geometry().piece(index).unwrap());
    }
    let keys: Vec<_> = (0..100).map(|n| add(&mut swarm, n)).collect();
    for &key in &keys {
        swarm.on_message(NOW, key, Message::Bitfield(some.as_bytes())).unwrap();
    }
    let mut at = 0u32;
    c.bench_function("have", |b| {
        b.iter(|| {
            at = at.wrapping_add(1);
            let key = keys[at as usize % keys.len()];
            let piece = at.wrapping_mul(7919) % PIECES;
            swarm.on_message(NOW, key, Message::Have { piece: black_box(piece) }).unwrap();
        })
    });
    let mut number = 1000;
    c.bench_function("a seed comes and goes", |b| {
        b.iter(|| {
            number += 1;
            let key = add(&mut swarm, number);
            swarm.on_message(NOW, key, Message::HaveAll).unwrap();
            swarm.remove_peer(NOW, key, ringseed_swarm::Reason::Closed);
        })
    });
    c.bench_function("a leecher with a third of the pieces comes and goes", |b| {
        b.iter(|| {
            number += 1;
            let key = add(&mut swarm, number);
            swarm.on_message(NOW, key, Message::Bitfield(some.as_bytes())).unwrap();
            swarm.remove_peer(NOW, key, ringseed_swarm::Reason::Closed);
        })
    });
}

/// A second of 3,000 idle connections.
fn idle(c: &mut Criterion) {
    let mut swarm = swarm(true);
    for number in 0..3000 {
        add(&mut swarm, number);
    }
    let mut out = Transmit::default();
    while let Some(key) = swarm.next_ready() {
        out.clear();
        swarm.poll_transmit(NOW, key, 32, &mut out);
        swarm.on_sent(NOW, key, 0, 0);
    }
    let mut now = NOW;
    c.bench_function("tick of 3000 idle peers", |b| {
        b.iter(|| {
            now += Duration::from_secs(1);
            swarm.tick(now);
        })
    });
}

criterion_group!(benches, serve, fetch, availability, idle);
criterion_main!(benches);
