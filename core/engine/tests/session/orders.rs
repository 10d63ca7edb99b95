//! What people ask for, in any order.

use crate::support::{Client, Sample, logs};
use engine::{Change, NewTorrent, Priority, status::Activity};
use metainfo::{
    create::{self, Hashes, NewFile, Plan, Version},
    merkle::FileHash,
};
use ringseed_engine as engine;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn a_torrent_of_version_2_only_is_refused_and_nothing_changes() {
    let file = NewFile { path: vec!["file".into()], length: 1000, attributes: Default::default() };
    let plan = Plan::new("sample", &[file], Some(16_384), Version::V2).unwrap();
    let hash = FileHash { root: [7; 32], layer: Vec::new() };
    let hashes = Hashes { pieces: Vec::new(), files: vec![Some(hash)] };
    let metainfo = plan.finish(&hashes, &Default::default()).unwrap();
    let client = Client::start(1).await;
    let refused = client.session.add(NewTorrent { metainfo, ..NewTorrent::default() }).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("version 2 only"), "{error}");
    assert_eq!(client.session.read(|catalog| catalog.iter().count()), 0);
    client.session.stop().await;
}

/// Announces that come to this port, until a second after the first.
async fn announces(listener: &TcpListener) -> Vec<String> {
    let mut heard: Vec<String> = Vec::new();
    let mut end = Instant::now() + Duration::from_secs(30);
    while let Ok(Ok((mut stream, _))) = tokio::time::timeout_at(end.into(), listener.accept()).await
    {
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let body = "d8:intervali1800e5:peers0:e";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        if !request.starts_with("GET /announce") {
            continue;
        }
        if heard.is_empty() {
            end = Instant::now() + Duration::from_secs(1);
        }
        heard.push(request);
    }
    heard
}

#[tokio::test]
async fn private_torrents_are_announced_to_their_own_trackers_only() {
    logs();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let client = Client::with(|settings| settings.default_trackers = url.clone()).await;
    let only = create::Options { private: true, ..create::Options::default() };
    let private = Sample::with("private", &[50_000], 16_384, &only);
    let public = Sample::new("public", &[50_000], 16_384);
    let private = client.add(&private).await;
    let public = client.add(&public).await;
    let heard = announces(&listener).await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(client.session.trackers(public).len(), 1);
    assert_eq!(client.session.trackers(private).len(), 0);
    client.session.stop_torrents(&[private, public]);
    client.session.stop().await;
}

#[tokio::test]
async fn a_skipped_file_appears_when_it_becomes_wanted() {
    logs();
    let sample = Sample::new("sample", &[300_000, 500_000, 200_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let leech = Client::start(1).await;
    let new = NewTorrent { file_priorities: vec![(1, Priority::Skip)], ..sample.new_torrent() };
    let id = leech.session.add(new).await.unwrap().id;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    let skipped = leech.data().join(&sample.files[1].0);
    assert!(!skipped.exists());
    assert!(leech.data().join(&sample.files[0].0).exists());
    // Nobody is there who could send the rest at once.
    seed.session.stop().await;
    // Back to normal for all files.
    let change = Change { file_priorities: vec![(1, Priority::Normal)], ..Change::default() };
    leech.session.edit(id, change).unwrap();
    assert!(leech.torrent(id).left > 0);
    assert_eq!(leech.torrent(id).activity, Activity::Downloading);
    let other = Client::seeding(std::slice::from_ref(&sample), 1).await;
    leech.session.add_peers(id, other.session.peer_addr());
    leech.wait(id, "the rest", |torrent| torrent.have.is_all()).await;
    leech.wait_seeding(id).await;
    leech.session.stop().await;
    sample.assert_in(&leech.data());
    other.session.stop().await;
}

#[tokio::test]
async fn bytes_of_a_skipped_file_are_found_when_it_becomes_wanted_while_stopped() {
    logs();
    let sample = Sample::new("sample", &[100_000, 500_000, 200_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let leech = Client::start(1).await;
    let new = NewTorrent { file_priorities: vec![(1, Priority::Skip)], ..sample.new_torrent() };
    let id = leech.session.add(new).await.unwrap().id;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    leech.session.stop_torrents(&[id]);
    leech.wait(id, "stop", |torrent| torrent.activity == Activity::Stopped).await;
    let change = Change { file_priorities: vec![(1, Priority::Normal)], ..Change::default() };
    leech.session.edit(id, change).unwrap();
    leech.session.start_torrents(&[id]);
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait(id, "the rest", |torrent| torrent.have.is_all()).await;
    leech.session.stop().await;
    sample.assert_in(&leech.data());
    seed.session.stop().await;
}

#[tokio::test]
async fn a_removal_that_an_end_cuts_short_is_done_at_the_next_start() {
    logs();
    let mut client = Client::start(1).await;
    // Of the one that is deleted, the session before may still be at it, as no other process would.
    for (name, delete) in [("deleted", true), ("left", false)] {
        let sample = Sample::new(name, &[700_000, 10_000], 65_536);
        sample.write_to(&client.data());
        let id = client.add(&sample).await;
        client.wait_seeding(id).await;
        client.session.remove(&[id], delete);
        client.restart(1).await;
        assert_eq!(client.session.read(|catalog| catalog.iter().count()), 0);
        let deadline = Instant::now() + Duration::from_secs(30);
        while delete && sample.files.iter().any(|(path, _)| client.data().join(path).exists()) {
            assert!(Instant::now() < deadline, "its data is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !delete {
            sample.assert_in(&client.data());
        }
    }
    client.session.stop().await;
}

#[tokio::test]
async fn a_torrent_can_be_added_again_while_it_is_being_removed() {
    logs();
    let sample = Sample::new("sample", &[2_000_000, 10_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let leech = Client::start(1).await;
    for delete in [true, false, true, true] {
        let added = leech.session.add(sample.new_torrent()).await.unwrap();
        assert!(!added.duplicate);
        leech.session.add_peers(added.id, seed.session.peer_addr());
        leech.session.verify(&[added.id]);
        tokio::time::sleep(Duration::from_millis(30)).await;
        leech.session.remove(&[added.id], delete);
        // Whatever else is asked of it, it goes.
        leech.session.verify(&[added.id]);
        leech.session.start_torrents(&[added.id]);
    }
    let id = leech.add(&sample).await;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn what_was_written_before_a_stop_is_there_after_it() {
    logs();
    let sample = Sample::new("sample", &[30_000_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let mut leech = Client::start(1).await;
    let mut id = leech.add(&sample).await;
    let mut had = 0;
    for _ in 0..4 {
        leech.session.add_peers(id, seed.session.peer_addr());
        leech.wait(id, "more", |torrent| torrent.have_bytes > had || torrent.left == 0).await;
        had = leech.torrent(id).have_bytes;
        let start = Instant::now();
        leech.restart(1).await;
        assert!(start.elapsed() < Duration::from_secs(3));
        id = leech.session.read(|catalog| catalog.iter().next().unwrap().id);
        let torrent = leech.torrent(id);
        assert!(torrent.have_bytes >= had, "{} of {had} bytes", torrent.have_bytes);
        had = torrent.have_bytes;
        leech
            .wait(id, "start", |torrent| {
                assert_ne!(torrent.activity, Activity::Verifying, "it left its files settled");
                matches!(torrent.activity, Activity::Downloading | Activity::Seeding)
            })
            .await;
        assert!(leech.torrent(id).have_bytes >= had);
    }
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    leech.session.stop().await;
    seed.session.stop().await;
}

/// Stops, starts, checks and removals without order, while data flows.
#[tokio::test]
async fn the_last_word_counts_whatever_came_before() {
    logs();
    let samples: Vec<Sample> = (0..20)
        .map(|n| Sample::new(&format!("sample {n}"), &[1_200_000, 1, 340_000], 32_768))
        .collect();
    let (seed, leech) = (Client::start(2).await, Client::start(2).await);
    for (number, sample) in samples.iter().enumerate() {
        let folder = seed.data().join(number.to_string());
        sample.write_to(&folder);
        let new = NewTorrent { download_dir: Some(folder), ..sample.new_torrent() };
        let id = seed.session.add(new).await.unwrap().id;
        seed.wait_seeding(id).await;
    }
    let folder = |number: usize| leech.data().join(number.to_string());
    let new_torrent = |number: usize| NewTorrent {
        download_dir: Some(folder(number)),
        ..samples[number].new_torrent()
    };
    let mut ids = Vec::new();
    for number in 0..samples.len() {
        ids.push(leech.session.add(new_torrent(number)).await.unwrap().id);
    }
    let mut random = fastrand::Rng::with_seed(7);
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let number = random.usize(..ids.len());
        let id = [ids[number]];
        match random.u8(..20) {
            0..=5 => leech.session.start_torrents(&id),
            6..=9 => leech.session.stop_torrents(&id),
            10 => leech.session.verify(&id),
            11 => {
                leech.session.remove(&id, random.bool());
                ids[number] = leech.session.add(new_torrent(number)).await.unwrap().id;
            }
            12 => {
                let priority = *random.choice(&[Priority::Skip, Priority::Normal]).unwrap();
                let change = Change { file_priorities: vec![(2, priority)], ..Change::default() };
                leech.session.edit(id[0], change).unwrap();
            }
            _ => leech.session.add_peers(id[0], seed.session.peer_addr()),
        }
        if random.u8(..4) == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..8))).await;
        }
    }
    for &id in &ids {
        let change = Change { file_priorities: vec![(2, Priority::Normal)], ..Change::default() };
        leech.session.edit(id, change).unwrap();
    }
    let (stopped, running) = ids.split_at(5);
    // The seed is not tried again by a torrent that had all it wanted; a fresh start forgets that.
    leech.session.stop_torrents(running);
    for &id in running {
        leech.wait(id, "stop", |torrent| torrent.activity == Activity::Stopped).await;
    }
    leech.session.start_torrents(running);
    leech.session.stop_torrents(stopped);
    for (number, &id) in ids.iter().enumerate().skip(5) {
        leech
            .wait(id, "start", |torrent| {
                matches!(torrent.activity, Activity::Downloading | Activity::Seeding)
            })
            .await;
        leech.session.add_peers(id, seed.session.peer_addr());
        leech.wait(id, "completion", |torrent| torrent.have.is_all()).await;
        leech.wait_seeding(id).await;
        samples[number].assert_in(&folder(number));
        assert_eq!(leech.torrent(id).trouble, None);
    }
    for &id in stopped {
        leech.wait(id, "stop", |torrent| torrent.activity == Activity::Stopped).await;
        assert!(!leech.torrent(id).running);
    }
    leech.session.start_torrents(stopped);
    for (number, &id) in stopped.iter().enumerate() {
        leech
            .wait(id, "start", |torrent| {
                matches!(torrent.activity, Activity::Downloading | Activity::Seeding)
            })
            .await;
        leech.session.add_peers(id, seed.session.peer_addr());
        leech.wait(id, "completion", |torrent| torrent.have.is_all()).await;
        leech.wait_seeding(id).await;
        samples[number].assert_in(&folder(number));
    }
    let start = Instant::now();
    leech.session.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3));
    seed.session.stop().await;
}
