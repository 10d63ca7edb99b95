//! Files, trackers, peers and pieces of one torrent.

use super::{Control, Outcome, find};
use crate::{trackers as known_trackers, view::visible_files};
use api::native::{
    Code, Failure, File, FlagSet, One, Peer, Pieces, Priority, Tracker, TrackerState, call,
};
use data_encoding::{BASE64, HEXLOWER};
use engine::status::{
    Activity, PeerInfo, Priority as EnginePriority, Source, Torrent, TrackerStatus,
};
use std::sync::Arc;

/// Reads one torrent.
fn read<R>(control: &Control, one: &One, f: impl FnOnce(&Torrent) -> R) -> Result<R, Failure> {
    control.session.read(|catalog| {
        let id = find(catalog, &one.torrent)?;
        let torrent = catalog.get(id);
        torrent.map(f).ok_or_else(|| Failure::new(Code::Internal, "the torrent has just gone"))
    })
}

pub(super) async fn files(control: Arc<Control>, one: One) -> Outcome<call::TorrentFiles> {
    read(&control, &one, |torrent| {
        let have = torrent.file_progress();
        let file = |(index, file): (metainfo::FileIndex, &metainfo::File)| File {
            file: index.get(),
            path: file.path().as_str().to_owned(),
            size: file.length(),
            have: have.get(index.as_usize()).copied().unwrap_or(0),
            priority: told(
                torrent.file_priorities.get(index.as_usize()).copied().unwrap_or_default(),
            ),
        };
        visible_files(torrent).map(file).collect()
    })
}

fn told(priority: EnginePriority) -> Priority {
    match priority {
        EnginePriority::Skip => Priority::Skip,
        EnginePriority::Low => Priority::Low,
        EnginePriority::Normal => Priority::Normal,
        EnginePriority::High => Priority::High,
    }
}

pub(super) async fn trackers(control: Arc<Control>, one: One) -> Outcome<call::TorrentTrackers> {
    let id = control.session.read(|catalog| find(catalog, &one.torrent))?;
    let known = control.session.trackers(id);
    read(&control, &one, |torrent| {
        let idle = torrent.activity == Activity::Stopped;
        known_trackers::of(torrent, &known).iter().map(|status| tracker(status, idle)).collect()
    })
}

fn tracker(status: &TrackerStatus, idle: bool) -> Tracker {
    let last = &status.last_announce;
    let time = |seconds: u64| (seconds != 0).then_some(seconds);
    let state = match last.state as i32 {
        _ if idle => TrackerState::Idle,
        1 => TrackerState::Waiting,
        2 => TrackerState::Queued,
        3 => TrackerState::Announcing,
        _ => TrackerState::Idle,
    };
    Tracker {
        announce: status.announce.to_string(),
        tier: status.tier,
        state,
        succeeded: last.happened.then_some(last.succeeded),
        message: last.result.to_string(),
        announced_at: time(last.time),
        next_at: time(last.next_time),
        peers: status.last_announce_peer_count,
        seeds: status.counts.seeders,
        leeches: status.counts.leechers,
        downloads: status.counts.downloads,
    }
}

pub(super) async fn peers(control: Arc<Control>, one: One) -> Outcome<call::TorrentPeers> {
    let id = control.session.read(|catalog| find(catalog, &one.torrent))?;
    let detail = control.session.detail(id).await.unwrap_or_default();
    Ok(detail.peers.iter().map(peer).collect())
}

fn peer(info: &PeerInfo) -> Peer {
    let addr = std::net::SocketAddr::new(info.addr.ip().to_canonical(), info.addr.port());
    Peer {
        address: addr.to_string(),
        client: info.client.clone(),
        peer_id: HEXLOWER.encode(&info.id),
        source: source(info.source).to_owned(),
        progress: f64::from(info.progress).clamp(0.0, 1.0),
        download_rate: info.download_rate,
        upload_rate: info.upload_rate,
        downloaded: info.downloaded,
        uploaded: info.uploaded,
        flags: FlagSet {
            incoming: info.incoming,
            we_are_interested: info.we_are_interested,
            chokes_us: info.chokes_us,
            is_interested: info.is_interested,
            choked: info.choked,
            optimistic: info.optimistic,
        },
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Tracker => "tracker",
        Source::Incoming => "incoming",
        Source::Pex => "pex",
        Source::Dht => "dht",
        Source::Lpd => "lpd",
        Source::Cache => "cache",
        Source::Manual => "manual",
    }
}

pub(super) async fn pieces(control: Arc<Control>, one: One) -> Outcome<call::TorrentPieces> {
    let id = control.session.read(|catalog| find(catalog, &one.torrent))?;
    let detail = control.session.detail(id).await.unwrap_or_default();
    read(&control, &one, |torrent| Pieces {
        count: torrent.meta.layout.geometry().piece_count(),
        length: torrent.meta.layout.geometry().piece_length(),
        have: BASE64.encode(torrent.have.as_bytes()),
        availability: detail.availability,
    })
}
