//! Disks, files and shards that fail.

use crate::support::{Client, Sample, logs, until};
use engine::status::{Activity, Trouble};
use machine::Mount;
use ringseed_engine as engine;
use std::{path::Path, time::Duration};

#[tokio::test]
async fn what_is_not_in_memory_is_read_and_served() {
    logs();
    let sample = Sample::new("sample", &[24_000_000, 8_000_001], 1 << 20);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    for _ in 0..3 {
        for (path, _) in &sample.files {
            forget(&seed.data().join(path));
        }
        let leech = Client::start(1).await;
        let id = leech.add(&sample).await;
        leech.session.add_peers(id, seed.session.peer_addr());
        leech.wait_seeding(id).await;
        sample.assert_in(&leech.data());
        leech.session.stop().await;
    }
    seed.session.stop().await;
}

/// Drops the file out of the page cache.
fn forget(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[tokio::test]
async fn a_truncated_file_stops_its_torrent_and_no_other() {
    logs();
    let samples = [
        Sample::new("cut", &[900_000, 2_000_000], 65_536),
        Sample::new("whole", &[3_000_000], 65_536),
    ];
    let (seed, leech) = (Client::start(1).await, Client::start(1).await);
    let mut ids = Vec::new();
    for (sample, folder) in samples.iter().zip(["a", "b"]) {
        let folder = seed.data().join(folder);
        sample.write_to(&folder);
        let new = engine::NewTorrent { download_dir: Some(folder), ..sample.new_torrent() };
        let id = seed.session.add(new).await.unwrap().id;
        seed.wait_seeding(id).await;
        ids.push(id);
    }
    // Once served, it is open and mapped.
    let first = Client::start(1).await;
    let id = first.add(&samples[0]).await;
    first.session.add_peers(id, seed.session.peer_addr());
    first.wait_seeding(id).await;
    first.session.stop().await;

    let cut = seed.data().join("a").join(&samples[0].files[1].0);
    std::fs::File::options().write(true).open(&cut).unwrap().set_len(100_000).unwrap();
    let mut asked = Vec::new();
    for (sample, folder) in samples.iter().zip(["a", "b"]) {
        let folder = Some(leech.data().join(folder));
        let new = engine::NewTorrent { download_dir: folder, ..sample.new_torrent() };
        let id = leech.session.add(new).await.unwrap().id;
        leech.session.add_peers(id, seed.session.peer_addr());
        asked.push(id);
    }
    seed.wait(ids[0], "trouble", |torrent| {
        matches!(&torrent.trouble, Some(Trouble::Local(text)) if text.contains("file 1: the file is shorter"))
    })
    .await;
    leech.wait_seeding(asked[1]).await;
    samples[1].assert_in(&leech.data().join("b"));
    assert_eq!(seed.torrent(ids[1]).activity, Activity::Seeding);
    assert_eq!(seed.torrent(ids[1]).trouble, None);
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn a_full_disk_stops_a_download_and_room_lets_it_go_on() {
    logs();
    let Some(disk) = Mount::small("12m") else { return };
    let sample = Sample::new("sample", &[6_000_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let leech = Client::with(|settings| settings.download_dir = disk.folder().into()).await;
    let id = leech.add(&sample).await;
    leech.wait(id, "start", |torrent| torrent.activity == Activity::Downloading).await;
    let filler = disk.folder().join("filler");
    std::fs::write(&filler, vec![1; 9_000_000]).unwrap();
    leech.session.add_peers(id, seed.session.peer_addr());
    let is_full = |torrent: &engine::Torrent| {
        torrent.activity == Activity::Stopped
            && matches!(&torrent.trouble, Some(Trouble::Local(text)) if text.contains("space"))
    };
    leech.wait(id, "full disk", is_full).await;
    // Tried again, it is refused before anything is fetched.
    leech.session.start_torrents(&[id]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    leech.wait(id, "full disk", is_full).await;
    std::fs::remove_file(&filler).unwrap();
    leech.session.start_torrents(&[id]);
    leech.wait(id, "start", |torrent| torrent.activity == Activity::Downloading).await;
    assert_eq!(leech.torrent(id).trouble, None);
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    sample.assert_in(disk.folder());
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn a_panic_in_a_shard_costs_its_torrents_a_moment() {
    logs();
    let samples: Vec<Sample> =
        (0..6).map(|n| Sample::new(&format!("sample {n}"), &[3_000_000], 65_536)).collect();
    let seed = Client::seeding(&samples, 2).await;
    let leech = Client::start(2).await;
    let mut ids = Vec::new();
    for sample in &samples {
        let folder = Some(leech.data().join(format!("{}", ids.len())));
        let new = engine::NewTorrent { download_dir: folder, ..sample.new_torrent() };
        let id = leech.session.add(new).await.unwrap().id;
        leech.session.add_peers(id, seed.session.peer_addr());
        ids.push(id);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    leech.session.panic_shard(0);
    seed.session.panic_shard(1);
    // What is asked for while nobody is there to do it is done too.
    leech.session.stop_torrents(&ids);
    leech.session.verify(&ids[..1]);
    leech.session.start_torrents(&ids);
    // A peer that is not back yet would be tried again only after half a minute.
    let is_back = |client: &Client| client.session.shards().iter().any(|shard| shard.restarts > 0);
    until("both are back", || is_back(&seed) && is_back(&leech)).await;
    let seeds: Vec<_> =
        seed.session.read(|catalog| catalog.iter().map(|torrent| torrent.id).collect());
    for id in seeds {
        seed.wait_seeding(id).await;
    }
    for (number, (sample, &id)) in samples.iter().zip(&ids).enumerate() {
        leech.session.add_peers(id, seed.session.peer_addr());
        leech.wait_seeding(id).await;
        sample.assert_in(&leech.data().join(number.to_string()));
    }
    leech.session.panic_shard(1);
    let start = std::time::Instant::now();
    leech.session.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4));
    seed.session.stop().await;
}

#[tokio::test]
async fn a_torrent_that_ends_its_shard_again_and_again_rests_while_the_others_go_on() {
    logs();
    let samples: Vec<Sample> =
        (0..2).map(|n| Sample::new(&format!("sample {n}"), &[100_000], 16_384)).collect();
    let seed = Client::seeding(&samples, 1).await;
    let ids: Vec<_> =
        seed.session.read(|catalog| catalog.iter().map(|torrent| torrent.id).collect());
    let (bad, good) = (ids[0], ids[1]);
    assert!(seed.session.panic_torrent(bad));
    let restarts = || seed.session.shards()[0].restarts;
    while restarts() == 0 || !seed.session.panic_torrent(bad) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seed.wait(bad, "at rest", |torrent| {
        torrent.activity == Activity::Stopped && matches!(torrent.trouble, Some(Trouble::Local(_)))
    })
    .await;
    seed.wait_seeding(good).await;
    // Whoever starts it wants to see what happens.
    seed.session.start_torrents(&[bad]);
    seed.wait_seeding(bad).await;
    seed.session.stop().await;
}
