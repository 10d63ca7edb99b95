//! What telling of 10,000 torrents costs: a snapshot of all, the change of ten, and finding those
//! that have changed.

#![allow(clippy::unwrap_used, reason = "a bench ends at what it did not expect")]

use api::native::Field;
use criterion::{Criterion, criterion_group, criterion_main};
use engine::{Change, NewTorrent, Options, Session, settings::Settings, status::TorrentId};
use server::Feed;
use std::hint::black_box;

const TORRENTS: u32 = 10_000;

/// As many as change between two messages.
const CHANGED: u32 = 10;

/// What a list shows: eighteen common fields.
const FIELDS: [Field; 18] = [
    Field::name,
    Field::info_hash,
    Field::state,
    Field::error,
    Field::progress,
    Field::size,
    Field::wanted_size,
    Field::left,
    Field::download_rate,
    Field::upload_rate,
    Field::downloaded,
    Field::uploaded,
    Field::ratio,
    Field::eta,
    Field::peers,
    Field::labels,
    Field::download_dir,
    Field::added_at,
];

/// A .torrent of one byte.
fn torrent(number: u32) -> Vec<u8> {
    let pieces = "x".repeat(20);
    let text = format!(
        "d4:infod6:lengthi1e4:name20:A torrent named {number:04}12:piece lengthi16384e6:pieces20:{pieces}ee"
    );
    text.into_bytes()
}

async fn session(folder: &std::path::Path) -> Session {
    let settings = Settings {
        download_dir: folder.join("downloads"),
        peer_port: 0,
        peer_bind: "127.0.0.1".into(),
        cores: 1,
        ..Settings::default()
    };
    let options = Options { config_dir: folder.join("config"), settings };
    let session = Session::start(options).await.unwrap();
    // Many at a time, so that they share the syncs of the database.
    for first in (0..TORRENTS).step_by(500) {
        let adding: Vec<_> = (first..first + 500)
            .map(|number| {
                let session = session.clone();
                let metainfo = torrent(number);
                let new = NewTorrent { metainfo, paused: Some(true), ..NewTorrent::default() };
                tokio::spawn(async move { session.add(new).await.unwrap() })
            })
            .collect();
        for added in adding {
            added.await.unwrap();
        }
    }
    session
}

fn change_some(session: &Session, round: &mut u32) {
    *round += 1;
    for id in 1..=CHANGED {
        let change = Change { peer_limit: Some(1 + *round % 1000), ..Change::default() };
        session.edit(TorrentId(id * 997), change).unwrap();
    }
}

fn deltas(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = runtime.block_on(session(folder.path()));
    let mut group = criterion.benchmark_group("10,000 torrents");
    let mut feed = Feed::new(session.clone(), FIELDS.to_vec());
    group.bench_function("snapshot, 18 fields", |bencher| {
        bencher.iter(|| {
            feed.begin_anew();
            black_box(feed.next_message())
        });
    });
    let mut feed = Feed::new(session.clone(), Field::ALL.to_vec());
    feed.next_message();
    let mut round = 0;
    group.bench_function("delta of 10 changed", |bencher| {
        bencher.iter_batched(
            || change_some(&session, &mut round),
            |()| black_box(feed.next_message()),
            criterion::BatchSize::PerIteration,
        );
    });
    group.bench_function("find 10 changed", |bencher| {
        let counter = session.read(|catalog| catalog.change_counter());
        change_some(&session, &mut round);
        bencher.iter(|| session.read(|catalog| catalog.changed_since(black_box(counter)).count()));
    });
    group.finish();
    runtime.block_on(session.stop());
}

criterion_group!(benches, deltas);
criterion_main!(benches);
