//! A request's way through the engine without its sockets: decoded, admitted by the swarm, found in
//! the page cache and laid into the batch that the kernel sends.
//!
//! `cargo bench -p ringseed-bench`; pin it to a core (`taskset -c 1`) when others use the machine.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "nothing here comes from outside")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metainfo::{BLOCK_LENGTH, Bitfield, Geometry, Metainfo};
use ring::{Event, Ring, RingConfig, SendBatch};
use std::{hint::black_box, io::Write, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use storage::{Allocation, Pushed, Store, StoreKey, StoreLimits, TorrentFiles};
use swarm::{MemoryBudget, NewPeer, PeerKey, Settings, Source, Swarm, Transmit};
use wire::{DecodeLimits, Decoder, Item, Message, PeerId, RawBlock, block_header};

const PIECES: u32 = 64;
const PIECE_LENGTH: u32 = 1 << 20;
/// Requests in one receive, and blocks in one batch.
const BATCH: u32 = 32;
const NOW: Duration = Duration::from_secs(3);

fn metainfo() -> Metainfo {
    let length = u64::from(PIECES) * u64::from(PIECE_LENGTH);
    let mut torrent = format!(
        "d4:infod6:lengthi{length}e4:name4:data12:piece lengthi{PIECE_LENGTH}e6:pieces{}:",
        PIECES * 20
    )
    .into_bytes();
    torrent.resize(torrent.len() + PIECES as usize * 20, 0);
    torrent.extend_from_slice(b"ee");
    Metainfo::parse(&torrent).unwrap()
}

/// A store that has the whole torrent open and in memory.
fn store(metainfo: &Metainfo, root: &Path) -> (Store, StoreKey) {
    let mut file = std::fs::File::create(root.join("data")).unwrap();
    (0..PIECES).for_each(|_| file.write_all(&vec![7; PIECE_LENGTH as usize]).unwrap());
    let mut ring = Ring::new(RingConfig::default()).unwrap();
    let mut store = Store::new(StoreLimits::default());
    let key = store.add(TorrentFiles {
        info_hash: metainfo.info_hash(),
        layout: Arc::new(metainfo.layout.clone()),
        root: root.into(),
        wanted: None,
        allocation: Allocation::Sparse,
        device: 0,
        suspects_cache: false,
    });
    let geometry = metainfo.geometry();
    let first = geometry.blocks(geometry.piece(0).unwrap()).next().unwrap();
    store.fetch(&mut ring, key, first, 0);
    let mut events = Vec::new();
    while !store.is_idle() {
        ring.wait(Some(Duration::from_secs(5)), &mut events).unwrap();
        for event in events.drain(..) {
            if let Event::File(done) = event {
                store.on_file_done(&mut ring, done);
            }
        }
        while store.poll_event().is_some() {}
    }
    (store, key)
}

fn seed(geometry: Geometry) -> (Swarm, PeerKey) {
    let settings = Settings { upload_slots: 0, ..Settings::default() };
    let have = Bitfield::all(PIECES);
    let mut swarm = Swarm::new(geometry, have, settings, MemoryBudget::new(1 << 30), 1);
    let peer = NewPeer {
        addr: SocketAddr::from(([10, 0, 0, 1], 6881)),
        id: PeerId([1; 20]),
        fast: true,
        extended: false,
        incoming: true,
        source: Source::Incoming,
    };
    let key = swarm.add_peer(NOW, peer).unwrap();
    swarm.on_message(NOW, key, Message::Interested).unwrap();
    (swarm, key)
}

fn block_path(criterion: &mut Criterion) {
    let metainfo = metainfo();
    let folder = tempfile::tempdir().unwrap();
    let (mut store, files) = store(&metainfo, folder.path());
    let (mut swarm, peer) = seed(metainfo.geometry());
    let mut decoder = Decoder::new(DecodeLimits::default());
    let received: Vec<Vec<u8>> = (0..PIECES * 2).map(requests).collect();
    let (mut transmit, mut batch) = (Transmit::default(), SendBatch::default());
    let empty = batch.mark();
    let mut turn = 0;
    let mut group = criterion.benchmark_group("block path");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    group.bench_function("32 requests in, one batch out", |bencher| {
        bencher.iter(|| {
            turn = (turn + 37) % received.len();
            let mut input = black_box(&received[turn][..]);
            while let Some(item) = decoder.next(&mut input).unwrap() {
                if let Item::Message(message) = item {
                    swarm.on_message(NOW, peer, message).unwrap();
                }
            }
            while let Some(ready) = swarm.next_ready() {
                transmit.clear();
                swarm.poll_transmit(NOW, ready, BATCH as usize, &mut transmit);
                batch.rewind(empty);
                batch.push_bytes(&transmit.control);
                for &block in &transmit.blocks {
                    let (piece, begin, length) =
                        (block.piece().get(), block.begin(), block.length());
                    batch.push_bytes(&block_header(piece, begin, length));
                    let pushed = store.push_block(NOW, files, block, &mut batch).unwrap();
                    assert_eq!(pushed, Pushed::Done);
                }
                swarm.on_sent(NOW, ready, transmit.blocks.len() as u64 * 16_384, batch.len());
            }
            black_box(batch.len())
        });
    });
}

/// What a peer sends that asks for half a piece.
fn requests(half: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in 0..BATCH {
        let begin = (half % 2 * BATCH + block) * BLOCK_LENGTH;
        let raw = RawBlock { index: half / 2, begin, length: BLOCK_LENGTH };
        Message::Request(raw).encode_into(&mut bytes);
    }
    bytes
}

criterion_group!(benches, block_path);
criterion_main!(benches);
