//! Whose turn it is, and when seeding ends.

use crate::support::{Client, Sample, logs};
use engine::{
    Change, Event, NewTorrent, QueueMove, TorrentId,
    rules::{GoalMode, Rules},
    status::Activity,
};
use ringseed_engine as engine;
use std::time::Duration;

fn samples(count: usize) -> Vec<Sample> {
    (0..count).map(|n| Sample::new(&format!("sample {n}"), &[400_000], 32_768)).collect()
}

impl Client {
    async fn is(&self, id: TorrentId, activity: Activity) {
        self.wait(id, &format!("{activity:?}"), |torrent| torrent.activity == activity).await;
    }

    /// Ids in the order of the queue.
    fn queue(&self) -> Vec<TorrentId> {
        self.session.settle_queue();
        self.session.read(|catalog| {
            let mut all: Vec<_> = catalog.iter().map(|t| (t.queue_position, t.id)).collect();
            all.sort_unstable();
            assert!(all.iter().enumerate().all(|(at, (position, _))| at == *position));
            all.into_iter().map(|(_, id)| id).collect()
        })
    }
}

#[tokio::test]
async fn downloads_wait_for_a_place_and_get_it_in_the_order_of_the_queue() {
    logs();
    let samples = samples(4);
    let client = Client::with(|settings| {
        settings.download_queue_enabled = true;
        settings.download_queue_size = 1;
    })
    .await;
    let mut ids = Vec::new();
    for sample in &samples {
        ids.push(client.add(sample).await);
    }
    client.is(ids[0], Activity::Downloading).await;
    for &id in &ids[1..] {
        client.is(id, Activity::QueuedToDownload).await;
    }
    client.session.move_in_queue(&[ids[2]], QueueMove::Top);
    assert_eq!(client.queue(), [ids[2], ids[0], ids[1], ids[3]]);
    // Who runs keeps its place.
    assert_eq!(client.torrent(ids[0]).activity, Activity::Downloading);
    client.session.stop_torrents(&[ids[0]]);
    assert_eq!(client.torrent(ids[0]).activity, Activity::Stopped, "at once");
    client.is(ids[2], Activity::Downloading).await;
    assert_eq!(client.torrent(ids[1]).activity, Activity::QueuedToDownload);
    // Asked to start now, one does not wait, and takes up a place as others do.
    client.session.start_torrents_now(&[ids[3]]);
    client.is(ids[3], Activity::Downloading).await;
    client.session.stop_torrents(&[ids[2]]);
    client.session.start_torrents(&[ids[0]]);
    client.is(ids[0], Activity::QueuedToDownload).await;
    client.session.remove(&[ids[3]], false);
    client.is(ids[0], Activity::Downloading).await;
    client.is(ids[1], Activity::QueuedToDownload).await;
    let settings = client.session.settings();
    client
        .session
        .set_settings(engine::settings::Settings { download_queue_enabled: false, ..settings })
        .unwrap();
    client.is(ids[1], Activity::Downloading).await;
    client.session.stop().await;
}

#[tokio::test]
async fn the_order_of_the_queue_survives_a_restart() {
    logs();
    let mut client = Client::start(1).await;
    let mut hashes = Vec::new();
    for sample in &samples(6) {
        let new = NewTorrent { paused: Some(true), ..sample.new_torrent() };
        hashes.push(client.session.add(new).await.unwrap().info_hash);
    }
    let ids = client.queue();
    client.session.put_in_queue(&ids[..1], 3);
    client.session.remove(&[ids[1]], false);
    client.session.move_in_queue(&[ids[5], ids[2]], QueueMove::Up);
    client.session.put_in_queue(&ids[4..5], 99);
    while client.session.read(|catalog| catalog.len() > 5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let names = |client: &Client| -> Vec<usize> {
        let queue = client.queue();
        let hash = |id: TorrentId| client.torrent(id).info_hash;
        let number = |id| hashes.iter().position(|other| *other == hash(id)).unwrap();
        queue.into_iter().map(number).collect()
    };
    let before = names(&client);
    assert_eq!(before, [2, 3, 0, 5, 4]);
    client.restart(1).await;
    assert_eq!(names(&client), before);
    client.session.stop().await;
}

#[tokio::test]
async fn a_download_that_is_complete_makes_room_and_waits_for_a_place_among_the_seeds() {
    logs();
    let samples = samples(3);
    let seed = Client::seeding(&samples, 1).await;
    let leech = Client::with(|settings| {
        settings.download_queue_enabled = true;
        settings.download_queue_size = 1;
        settings.seed_queue_enabled = true;
        settings.seed_queue_size = 1;
    })
    .await;
    let mut ids = Vec::new();
    for sample in &samples {
        let id = leech.add(sample).await;
        leech.session.add_peers(id, seed.session.peer_addr());
        ids.push(id);
    }
    for &id in &ids {
        leech.wait(id, "completion", |torrent| torrent.have.is_all()).await;
    }
    leech.is(ids[0], Activity::Seeding).await;
    leech.is(ids[1], Activity::QueuedToSeed).await;
    leech.is(ids[2], Activity::QueuedToSeed).await;
    leech.session.move_in_queue(&[ids[1]], QueueMove::Bottom);
    leech.session.stop_torrents(&[ids[0]]);
    leech.is(ids[2], Activity::Seeding).await;
    assert_eq!(leech.torrent(ids[1]).activity, Activity::QueuedToSeed);
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn seeding_ends_at_the_ratio_and_a_new_start_goes_beyond_it() {
    logs();
    let sample = Sample::new("sample", &[3_000_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = seed.session.read(|catalog| catalog.iter().next().unwrap().id);
    assert!(seed.torrent(id).totals.done_date > 0, "found complete by its first check");
    let mut events = seed.session.events();
    let rules = Rules { ratio_mode: GoalMode::Own, ratio_limit: 0.5, ..Rules::default() };
    seed.session.edit(id, Change { rules: Some(rules), ..Change::default() }).unwrap();
    let leech = Client::start(1).await;
    let there = leech.add(&sample).await;
    leech.session.add_peers(there, seed.session.peer_addr());
    seed.wait(id, "the goal", |torrent| torrent.finished).await;
    let goal = async {
        loop {
            let notice = events.recv().await.unwrap();
            if notice.event == Event::SeedingGoal {
                return notice.torrent.unwrap().id;
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), goal).await.unwrap(), id);
    let torrent = seed.torrent(id);
    assert!(!torrent.running && torrent.activity == Activity::Stopped);
    assert!(torrent.ratio().unwrap() >= 0.5);
    seed.session.start_torrents(&[id]);
    seed.wait_seeding(id).await;
    let torrent = seed.torrent(id);
    assert_eq!((torrent.finished, torrent.rules.ratio_mode), (false, GoalMode::Unlimited));
    // Longer than the second after which goals are looked at.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(seed.torrent(id).activity, Activity::Seeding);
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn sequential_download_begins_where_it_is_told_to() {
    logs();
    let sample = Sample::new("sample", &[4_000_000], 65_536);
    let leech = Client::start(1).await;
    let new = NewTorrent { sequential_from: 62, ..sample.new_torrent() };
    assert!(leech.session.add(new).await.is_err(), "it has 62 pieces");
    let new = NewTorrent { sequential: Some(true), sequential_from: 40, ..sample.new_torrent() };
    let id = leech.session.add(new).await.unwrap().id;
    let change = Change { sequential_from: Some(62), ..Change::default() };
    assert!(leech.session.edit(id, change).is_err());
    let (addr, asked) = crate::support::recording_seed(&sample);
    leech.session.add_peers(id, vec![addr]);
    leech.wait(id, "completion", |torrent| torrent.have.is_all()).await;
    let mut pieces = asked.lock().unwrap().clone();
    pieces.dedup();
    let expected: Vec<u32> = (40..62).chain(0..40).collect();
    assert_eq!(pieces, expected);
    leech.session.stop().await;
}
