//! Figures for Prometheus, from what is published anyway: asking costs the data path nothing.
//!
//! Names follow Prometheus' conventions: base units, `_total` for what only grows. Labels have a
//! fixed number of values; nothing is told of single torrents, peers or trackers.

mod process;
mod text;

use super::meter::{BUCKETS, Figures};
use crate::{disk, limits};
use engine::{
    Session,
    status::{Activity, ShardStatus, Torrent, Trouble},
};
use std::collections::BTreeMap;
use text::{Kind, Text};

/// Everything, in Prometheus' text format 0.0.4.
pub(super) async fn exposition(session: &Session, figures: &Figures) -> String {
    let mut text = Text::default();
    text.family("ringseed_build_info", Kind::Gauge, "The version that runs; always 1.");
    text.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    torrents(&mut text, session);
    trackers(&mut text, session);
    shards(&mut text, &session.shards());
    disk(&mut text, session).await;
    calls(&mut text, figures);
    // The kernel takes its time to list tens of thousands of descriptors.
    let process = tokio::task::spawn_blocking(process::exposition).await;
    text.finish() + &process.unwrap_or_default()
}

/// Sums over all torrents.
#[derive(Default)]
struct Sums {
    /// Torrents by what [`activity`] calls it.
    activities: BTreeMap<&'static str, u64>,
    local_errors: u64,
    tracker_errors: u64,
    tracker_warnings: u64,
    peers: u64,
    seeds: u64,
    sending: u64,
    getting: u64,
    sources: [u64; 7],
    have: u64,
    left: u64,
    received_rate: u64,
    sent_rate: u64,
}

const SOURCES: [&str; 7] = ["tracker", "incoming", "pex", "dht", "lpd", "cache", "manual"];

/// The label of what a torrent is doing.
fn activity(activity: Activity) -> &'static str {
    match activity {
        Activity::Stopped => "stopped",
        Activity::QueuedToVerify => "check_waiting",
        Activity::Verifying => "checking",
        Activity::Downloading => "downloading",
        Activity::Seeding => "seeding",
        Activity::Moving => "moving",
        Activity::QueuedToDownload => "download_waiting",
        Activity::QueuedToSeed => "seed_waiting",
    }
}

impl Sums {
    fn add(&mut self, torrent: &Torrent) {
        *self.activities.entry(activity(torrent.activity)).or_default() += 1;
        match torrent.trouble {
            Some(Trouble::Local(_)) => self.local_errors += 1,
            Some(Trouble::TrackerError(_)) => self.tracker_errors += 1,
            Some(Trouble::TrackerWarning(_)) => self.tracker_warnings += 1,
            None => {}
        }
        let traffic = &torrent.traffic;
        self.peers += u64::from(traffic.peers);
        self.seeds += u64::from(traffic.seeds);
        self.sending += u64::from(traffic.peers_sending);
        self.getting += u64::from(traffic.peers_getting);
        for (sum, of_torrent) in self.sources.iter_mut().zip(traffic.peers_from) {
            *sum += u64::from(of_torrent);
        }
        self.have += torrent.have_bytes;
        self.left += torrent.left;
        self.received_rate += traffic.download_rate;
        self.sent_rate += traffic.upload_rate;
    }
}

fn torrents(text: &mut Text, session: &Session) {
    let sums = session.read(|catalog| {
        let mut sums = Sums::default();
        catalog.iter().for_each(|torrent| sums.add(torrent));
        sums
    });
    text.family("ringseed_torrents", Kind::Gauge, "Torrents by what they are doing.");
    for (activity, number) in &sums.activities {
        text.sample("", &[("activity", activity)], *number as f64);
    }
    text.family(
        "ringseed_torrents_in_trouble",
        Kind::Gauge,
        "Torrents by what is wrong with them.",
    );
    let kinds = [
        ("local_error", sums.local_errors),
        ("tracker_error", sums.tracker_errors),
        ("tracker_warning", sums.tracker_warnings),
    ];
    for (kind, number) in kinds {
        text.sample("", &[("kind", kind)], number as f64);
    }
    text.gauge("ringseed_verified_bytes", "Bytes that are here and verified.", sums.have as f64);
    text.gauge("ringseed_missing_bytes", "Bytes that are wanted and missing.", sums.left as f64);
    text.family("ringseed_peers", Kind::Gauge, "Connected peers by where we know them from.");
    for (source, number) in SOURCES.into_iter().zip(sums.sources) {
        text.sample("", &[("source", source)], number as f64);
    }
    text.gauge("ringseed_peers_seeds", "Connected peers that have everything.", sums.seeds as f64);
    text.gauge("ringseed_peers_sending", "Peers that send us payload.", sums.sending as f64);
    text.gauge("ringseed_peers_receiving", "Peers that get payload from us.", sums.getting as f64);
    text.gauge(
        "ringseed_payload_received_bytes_per_second",
        "Payload coming in now, smoothed.",
        sums.received_rate as f64,
    );
    text.gauge(
        "ringseed_payload_sent_bytes_per_second",
        "Payload going out now, smoothed.",
        sums.sent_rate as f64,
    );
    let (current, _) = session.counters();
    text.counter(
        "ringseed_payload_received_bytes_total",
        "Payload received.",
        current.downloaded as f64,
    );
    text.counter("ringseed_payload_sent_bytes_total", "Payload sent.", current.uploaded as f64);
    text.counter("ringseed_torrents_added_total", "Torrents added.", current.files_added as f64);
}

fn trackers(text: &mut Text, session: &Session) {
    let ids: Vec<_> = session.read(|catalog| catalog.iter().map(|torrent| torrent.id).collect());
    let (mut good, mut bad, mut untried) = (0u64, 0u64, 0u64);
    for id in ids {
        for tracker in session.trackers(id).iter() {
            let last = &tracker.last_announce;
            match (last.happened, last.succeeded) {
                (false, _) => untried += 1,
                (true, true) => good += 1,
                (true, false) => bad += 1,
            }
        }
    }
    text.family(
        "ringseed_trackers",
        Kind::Gauge,
        "Trackers of running torrents by how the last announce ended.",
    );
    for (outcome, number) in [("answered", good), ("failed", bad), ("untried", untried)] {
        text.sample("", &[("last_announce", outcome)], number as f64);
    }
}

fn shards(text: &mut Text, shards: &[ShardStatus]) {
    type Figure = fn(&ShardStatus) -> f64;
    let families: [(&str, Kind, &str, Figure); 3] = [
        ("ringseed_shard_up", Kind::Gauge, "Whether a shard runs.", |shard| {
            f64::from(u8::from(shard.running))
        }),
        ("ringseed_shard_torrents", Kind::Gauge, "Torrents that run on a shard.", |shard| {
            shard.torrents as f64
        }),
        ("ringseed_shard_restarts_total", Kind::Counter, "Restarts of a shard.", |shard| {
            shard.restarts as f64
        }),
    ];
    for (name, kind, help, figure) in families {
        text.family(name, kind, help);
        for (number, shard) in shards.iter().enumerate() {
            text.sample("", &[("shard", &number.to_string())], figure(shard));
        }
    }
}

/// The room in the folder of new torrents, unless its disk does not answer.
async fn disk(text: &mut Text, session: &Session) {
    let folder = session.settings().download_dir;
    if let Ok(room) = disk::ask(limits::DISK_PATIENCE, move || storage::free_space(&folder)).await {
        let (free, total) = (room.free as f64, room.total as f64);
        text.gauge("ringseed_download_dir_free_bytes", "Room in the download folder.", free);
        text.gauge("ringseed_download_dir_size_bytes", "Size of its file system.", total);
    }
}

fn calls(text: &mut Text, figures: &Figures) {
    text.family("ringseed_http_requests_total", Kind::Counter, "Requests answered, by status.");
    for (status, number) in &figures.statuses {
        text.sample("", &[("code", &status.to_string())], *number as f64);
    }
    text.gauge(
        "ringseed_http_connections",
        "Connections to the control interface.",
        figures.connections as f64,
    );
    text.counter(
        "ringseed_http_connections_refused_total",
        "Connections closed because there were too many.",
        figures.connections_refused as f64,
    );
    text.family("ringseed_rpc_failures_total", Kind::Counter, "Calls that failed, by cause.");
    for (method, of) in &figures.methods {
        text.sample("", &[("method", method), ("cause", "error")], of.failed as f64);
        text.sample("", &[("method", method), ("cause", "forbidden")], of.forbidden as f64);
    }
    text.family("ringseed_rpc_duration_seconds", Kind::Histogram, "Time that calls took.");
    for (method, of) in &figures.methods {
        let mut below = 0;
        for (end, number) in BUCKETS.iter().zip(of.buckets) {
            below += number;
            let labels = [("method", *method), ("le", &end.to_string())];
            text.sample("_bucket", &labels, below as f64);
        }
        text.sample("_bucket", &[("method", method), ("le", "+Inf")], of.count as f64);
        text.sample("_sum", &[("method", method)], of.time.as_secs_f64());
        text.sample("_count", &[("method", method)], of.count as f64);
    }
}
