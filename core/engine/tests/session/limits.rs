//! How fast payload goes, measured at the other end of real sockets.

use crate::support::{Client, Meter, Sample, greedy_leech, logs, metered_seed};
use engine::{
    Change, TorrentId,
    rules::{Group, Rules, SpeedLimit},
    settings::Settings,
};
use ringseed_engine as engine;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn samples(count: usize, length: usize) -> Vec<Sample> {
    (0..count).map(|n| Sample::new(&format!("sample {n}"), &[length], 65_536)).collect()
}

/// Waits for five seconds in a row whose rate is at least 95 % of what it should be: a machine that
/// is busy with other things may not come to it at once. It must never be more than 105 %, nor more
/// than twice that in any second.
async fn assert_rate(meters: &[&Meter], kilobytes: u32) {
    let rate = f64::from(kilobytes) * 1000.0;
    let start = Instant::now();
    tokio::time::sleep(SECOND).await;
    loop {
        let from = Instant::now();
        tokio::time::sleep(5 * SECOND).await;
        let to = Instant::now();
        let bytes: u64 = meters.iter().map(|meter| meter.between(from, to)).sum();
        let measured = bytes as f64 / to.duration_since(from).as_secs_f64();
        assert!(measured <= rate * 1.05, "{measured} B/s with a limit of {rate} B/s");
        let second = Meter::most_within(meters, from, SECOND);
        assert!(second as f64 <= rate * 2.0, "{second} bytes in a second of {rate} B/s");
        if measured >= rate * 0.95 {
            return;
        }
        assert!(start.elapsed() < 40 * SECOND, "{measured} B/s with a limit of {rate} B/s");
    }
}

/// A session that seeds all samples under limits, with one leech for each that takes what it gets.
struct Seeding {
    client: Client,
    ids: Vec<TorrentId>,
    leeches: Vec<Meter>,
}

impl Seeding {
    async fn start(samples: &[Sample], cores: u16, change: impl FnOnce(&mut Settings)) -> Seeding {
        let client = Client::with(|settings| {
            settings.cores = cores;
            change(settings);
        })
        .await;
        let mut ids = Vec::new();
        for sample in samples {
            sample.write_to(&client.data());
            let id = client.add(sample).await;
            client.wait_seeding(id).await;
            ids.push(id);
        }
        let addr = client.session.peer_addr()[0];
        let leeches = samples.iter().map(|sample| greedy_leech(sample, addr)).collect();
        Seeding { client, ids, leeches }
    }

    fn set(&self, torrent: usize, change: impl FnOnce(&mut Rules)) {
        let id = self.ids[torrent];
        let mut rules = self.client.torrent(id).rules;
        change(&mut rules);
        let change = Change { rules: Some(rules), ..Change::default() };
        self.client.session.edit(id, change).unwrap();
    }

    fn settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.client.session.settings();
        change(&mut settings);
        self.client.session.set_settings(settings).unwrap();
    }
}

fn limit(kilobytes: u32) -> SpeedLimit {
    SpeedLimit { kilobytes, enabled: true }
}

#[tokio::test]
async fn one_torrent_is_sent_as_fast_as_the_session_allows_and_faster_without_a_limit() {
    logs();
    let seeding = Seeding::start(&samples(1, 4_000_000), 1, |settings| {
        settings.speed_limit_up = 800;
        settings.speed_limit_up_enabled = true;
    })
    .await;
    let leech = &seeding.leeches[0];
    assert_rate(&[leech], 800).await;
    seeding.settings(|settings| settings.alt_speed_enabled = true);
    assert_rate(&[leech], 50).await;
    seeding.settings(|settings| {
        settings.alt_speed_enabled = false;
        settings.speed_limit_up_enabled = false;
    });
    let (before, deadline) = (leech.total(), Instant::now() + 30 * SECOND);
    while leech.total() - before < 20_000_000 {
        assert!(Instant::now() < deadline, "{} bytes", leech.total() - before);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seeding.client.session.stop().await;
}

#[tokio::test]
async fn torrents_of_two_shards_share_the_limit_of_the_session() {
    logs();
    let seeding = Seeding::start(&samples(5, 1_000_000), 2, |settings| {
        settings.speed_limit_up = 1000;
        settings.speed_limit_up_enabled = true;
    })
    .await;
    let all: Vec<&Meter> = seeding.leeches.iter().collect();
    assert_rate(&all, 1000).await;
    // When those of one shard are done, the others have all of it.
    for id in &seeding.ids[..4] {
        seeding.client.session.stop_torrents(&[*id]);
    }
    assert_rate(&[all[4]], 1000).await;
    seeding.client.session.stop().await;
}

#[tokio::test]
async fn a_torrent_has_a_limit_of_its_own_and_others_get_what_it_leaves() {
    logs();
    let seeding = Seeding::start(&samples(2, 1_000_000), 1, |settings| {
        settings.speed_limit_up = 1000;
        settings.speed_limit_up_enabled = true;
    })
    .await;
    seeding.set(0, |rules| rules.upload = limit(200));
    let (own, other) = ([&seeding.leeches[0]], [&seeding.leeches[1]]);
    tokio::join!(assert_rate(&own, 200), assert_rate(&other, 800));
    // Who does not honour the session's limit has only its own.
    seeding.set(1, |rules| {
        rules.honors_session_limits = false;
        rules.upload = limit(1500);
    });
    tokio::join!(assert_rate(&own, 200), assert_rate(&other, 1500));
    seeding.client.session.stop().await;
}

#[tokio::test]
async fn priorities_weigh_torrents_where_a_limit_binds() {
    logs();
    let seeding = Seeding::start(&samples(3, 1_000_000), 1, |settings| {
        settings.speed_limit_up = 1300;
        settings.speed_limit_up_enabled = true;
    })
    .await;
    seeding.set(0, |rules| rules.priority = 1);
    seeding.set(2, |rules| rules.priority = -1);
    let all: Vec<&Meter> = seeding.leeches.iter().collect();
    assert_rate(&all, 1300).await;
    // What one of them does not take for a moment, because its machine is busy, the others get: so
    // shares are those of a while in which all took theirs.
    let start = Instant::now();
    loop {
        let from = Instant::now();
        tokio::time::sleep(5 * SECOND).await;
        let bytes: Vec<f64> =
            all.iter().map(|meter| meter.between(from, Instant::now()) as f64).collect();
        let is_near = |of: f64, times: f64| (of / times - bytes[2]).abs() < bytes[2] * 0.15;
        if is_near(bytes[0], 9.0) && is_near(bytes[1], 3.0) {
            break;
        }
        assert!(start.elapsed() < 60 * SECOND, "{bytes:?}");
    }
    seeding.client.session.stop().await;
}

#[tokio::test]
async fn a_group_shares_a_limit_and_is_there_after_a_restart() {
    logs();
    let mut seeding = Seeding::start(&samples(3, 1_000_000), 2, |settings| {
        settings.speed_limit_up = 100;
        settings.speed_limit_up_enabled = true;
    })
    .await;
    let group = Group {
        name: " slow ".into(),
        upload: limit(600),
        honors_session_limits: false,
        ..Group::default()
    };
    seeding.client.session.set_group(group).unwrap();
    seeding.set(0, |rules| rules.group = "slow".into());
    seeding.set(1, |rules| rules.group = "slow".into());
    let all: Vec<&Meter> = seeding.leeches.iter().collect();
    tokio::join!(assert_rate(&all[..2], 600), assert_rate(&all[2..], 100));
    let mut group = seeding.client.session.groups().remove(0);
    group.upload = limit(300);
    seeding.client.session.set_group(group.clone()).unwrap();
    assert_rate(&all[..2], 300).await;
    seeding.client.restart(1).await;
    assert_eq!(seeding.client.session.groups(), [group]);
    let in_it = seeding
        .client
        .session
        .read(|catalog| catalog.iter().filter(|torrent| torrent.rules.group == "slow").count());
    assert_eq!(in_it, 2);
    let nameless = Group { name: "  ".into(), ..Group::default() };
    assert!(seeding.client.session.set_group(nameless).is_err());
    seeding.client.session.stop().await;
}

#[tokio::test]
async fn downloads_of_two_shards_come_as_fast_as_is_allowed() {
    logs();
    let samples = samples(3, 60_000_000);
    let leech = Client::with(|settings| {
        settings.cores = 2;
        settings.speed_limit_down = 1000;
        settings.speed_limit_down_enabled = true;
    })
    .await;
    let seeds: Vec<_> = samples.iter().map(metered_seed).collect();
    let mut ids = Vec::new();
    for (sample, (addr, _)) in samples.iter().zip(&seeds) {
        let id = leech.add(sample).await;
        leech.session.add_peers(id, vec![*addr]);
        ids.push(id);
    }
    let meters: Vec<&Meter> = seeds.iter().map(|(_, meter)| meter).collect();
    assert_rate(&meters, 1000).await;
    let rules = Rules { download: limit(150), ..Rules::default() };
    leech.session.edit(ids[0], Change { rules: Some(rules), ..Change::default() }).unwrap();
    tokio::join!(assert_rate(&meters[..1], 150), assert_rate(&meters[1..], 850));
    // Without limits the rest comes at once.
    let rules = Rules { honors_session_limits: false, ..Rules::default() };
    leech.session.edit(ids[1], Change { rules: Some(rules), ..Change::default() }).unwrap();
    leech.wait(ids[1], "completion", |torrent| torrent.have.is_all()).await;
    leech.session.stop().await;
}
