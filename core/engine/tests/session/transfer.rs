//! What one has, the other gets.

use crate::support::{Client, Sample, logs};
use engine::status::{Activity, Trouble};
use ringseed_engine as engine;
use std::time::{Duration, Instant};

/// Longer than anything that is waited for here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_one_session_seeds_another_downloads_and_seeds_on() {
    logs();
    let sample = Sample::new("sample", &[3_000_000, 0, 1, 16_384, 70_000, 5_000_000], 65_536);
    let (seed, first, second) =
        (Client::start(1).await, Client::start(1).await, Client::start(2).await);
    sample.write_to(&seed.data());
    let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
    seed.wait_seeding(id).await;

    let id = first.session.add(sample.new_torrent()).await.unwrap().id;
    first.session.add_peers(id, seed.session.peer_addr());
    first.wait_seeding(id).await;
    sample.assert_in(&first.data());

    let id = second.session.add(sample.new_torrent()).await.unwrap().id;
    second.session.add_peers(id, first.session.peer_addr());
    second.wait_seeding(id).await;
    sample.assert_in(&second.data());
    for client in [seed, first, second] {
        let start = Instant::now();
        client.session.stop().await;
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn many_torrents_share_one_port_and_two_shards() {
    logs();
    let samples: Vec<Sample> = (0..12)
        .map(|number| Sample::new(&format!("sample {number}"), &[200_000, 30_000], 16_384))
        .collect();
    let (seed, leech) = (Client::start(2).await, Client::start(2).await);
    let mut ids = Vec::new();
    for sample in &samples {
        sample.write_to(&seed.data());
        let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
        seed.wait_seeding(id).await;
        let id = leech.session.add(sample.new_torrent()).await.unwrap().id;
        leech.session.add_peers(id, seed.session.peer_addr());
        ids.push(id);
    }
    for (sample, id) in samples.iter().zip(ids) {
        leech.wait_seeding(id).await;
        sample.assert_in(&leech.data());
    }
    seed.session.stop().await;
    leech.session.stop().await;
}

#[tokio::test]
async fn a_restart_resumes_without_a_check_and_without_fetching_again() {
    logs();
    let sample = Sample::new("sample", &[4_000_000], 65_536);
    let (seed, mut leech) = (Client::start(1).await, Client::start(1).await);
    sample.write_to(&seed.data());
    let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
    seed.wait_seeding(id).await;
    let id = leech.session.add(sample.new_torrent()).await.unwrap().id;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    leech.restart(1).await;
    let id = leech.session.read(|catalog| catalog.iter().next().unwrap().id);
    let torrent = leech.torrent(id);
    assert!(torrent.have.is_all(), "known before anything was looked at");
    assert_eq!(torrent.totals.downloaded, 4_000_000);
    leech.wait_seeding(id).await;
    assert_ne!(leech.torrent(id).activity, Activity::Verifying);
    seed.session.stop().await;
    leech.session.stop().await;
}

#[tokio::test]
async fn a_missing_file_is_an_error_and_its_return_the_end_of_it() {
    logs();
    let sample = Sample::new("sample", &[400_000, 300_000], 65_536);
    let mut seed = Client::start(1).await;
    sample.write_to(&seed.data());
    let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
    seed.wait_seeding(id).await;
    let file = seed.data().join(&sample.files[0].0);
    let aside = seed.data().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    seed.restart(1).await;
    let id = seed.session.read(|catalog| catalog.iter().next().unwrap().id);
    seed.wait(id, "trouble", |torrent| {
        matches!(&torrent.trouble, Some(Trouble::Local(text)) if text.contains("missing"))
    })
    .await;
    std::fs::rename(&aside, &file).unwrap();
    seed.session.start_torrents(&[id]);
    seed.wait_seeding(id).await;
    assert_eq!(seed.torrent(id).trouble, None);
    seed.session.stop().await;
}

#[tokio::test]
async fn removal_deletes_what_it_is_told_to() {
    logs();
    let sample = Sample::new("sample", &[400_000], 65_536);
    let seed = Client::start(1).await;
    sample.write_to(&seed.data());
    for delete in [false, true] {
        let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
        seed.wait_seeding(id).await;
        let again = seed.session.add(sample.new_torrent()).await.unwrap();
        assert!(again.duplicate && again.id == id);
        seed.session.remove(&[id], delete);
        let deadline = Instant::now() + PATIENCE;
        while !seed.session.read(|catalog| catalog.is_empty())
            || seed.data().join(&sample.files[0].0).exists() == delete
        {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    seed.session.stop().await;
}

#[tokio::test]
async fn files_get_their_room_at_once_if_that_is_wished() {
    logs();
    const LENGTH: u64 = 8_000_000;
    let sample = Sample::new("sample", &[LENGTH as usize], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    for wished in [true, false] {
        let leech = Client::with(|settings| {
            settings.preallocate = wished;
            settings.speed_limit_down = 500;
            settings.speed_limit_down_enabled = true;
        })
        .await;
        let id = leech.add(&sample).await;
        leech.session.add_peers(id, seed.session.peer_addr());
        leech.wait(id, "a piece", |torrent| torrent.have_bytes > 0).await;
        let file = std::fs::metadata(leech.data().join(&sample.files[0].0)).unwrap();
        let room = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
        assert_eq!(room >= LENGTH, wished, "{room} bytes have their place");
        leech.session.stop().await;
    }
    seed.session.stop().await;
}
