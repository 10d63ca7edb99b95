//! What the control side knows of each torrent, kept up to date by the shards' reports: reading it
//! never touches a shard.

use crate::{rules::Rules, settings::Settings};
use metainfo::{Bitfield, Description, InfoHash, InfoHashV2, Layout, Metainfo, PieceHashes};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

pub use crate::catalog::Catalog;
pub use discovery::TrackerStatus;
pub use swarm::{Priority, Source};

/// The session's own number of a torrent: from 1, never used twice in a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TorrentId(pub u32);

/// What a torrent is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Activity {
    /// Nothing, by wish or because of an error.
    #[default]
    Stopped,
    /// Waiting for its turn to be checked.
    QueuedToVerify,
    /// Its files are being checked.
    Verifying,
    /// Its files are being taken to another place, or wait for that.
    Moving,
    /// Meant to download, and waiting for its turn in the queue.
    QueuedToDownload,
    /// Fetching what is wanted.
    Downloading,
    /// Meant to seed, and waiting for its turn in the queue.
    QueuedToSeed,
    /// Everything wanted is there.
    Seeding,
}

/// What is wrong with a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// A tracker answered with a warning.
    TrackerWarning(String),
    /// A tracker refused or cannot be reached.
    TrackerError(String),
    /// A local cause: files, disk. The torrent is stopped by it and tried again from time to time, or
    /// waits for a disk that does not answer.
    Local(String),
}

/// Payload and connection figures of a torrent, as its shard last published them.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Traffic {
    /// Bytes per second of payload coming in, smoothed.
    pub download_rate: u64,
    /// Bytes per second of payload going out, smoothed.
    pub upload_rate: u64,
    /// Peers connected.
    pub peers: u32,
    /// Peers that send us payload now.
    pub peers_sending: u32,
    /// Peers that get payload from us now.
    pub peers_getting: u32,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Connected peers by origin: tracker, incoming, PEX, DHT, local discovery, cache, manual.
    pub peers_from: [u32; 7],
    /// Bytes wanted, missing, and held by some connected peer.
    pub desired_available: u64,
    /// Bytes in pieces that are not complete yet.
    pub unchecked: u64,
}

/// Lifetime figures of a torrent; kept in the session database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Payload bytes received and kept.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Bytes thrown away after a failed hash.
    pub corrupt: u64,
    /// Seconds spent downloading.
    pub seconds_downloading: u64,
    /// Seconds spent seeding.
    pub seconds_seeding: u64,
    /// Seconds since 1970 of the last payload in either direction; 0 for never.
    pub activity_date: u64,
    /// Seconds since 1970 of completion; 0 if not complete.
    pub done_date: u64,
}

/// What is kept in memory of a .torrent: everything but its raw bytes, which the database has.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The version-2 info-hash of a hybrid torrent.
    pub info_hash_v2: Option<InfoHashV2>,
    /// Name, files and pieces.
    pub layout: Arc<Layout>,
    /// The SHA-1 of every piece.
    pub hashes: Arc<PieceHashes>,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// Web servers that have the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// What its maker says of it.
    pub description: Description,
}

impl Meta {
    /// Keeps of the .torrent what a session needs, and its trackers; `None` if it has no version-1
    /// hashes.
    pub(crate) fn new(metainfo: Metainfo) -> Option<(Meta, Vec<Vec<String>>)> {
        let meta = Meta {
            info_hash_v2: metainfo.info_hash_v2,
            layout: Arc::new(metainfo.layout),
            hashes: Arc::new(metainfo.piece_hashes?),
            private: metainfo.private,
            web_seeds: metainfo.web_seeds,
            description: metainfo.description,
        };
        Some((meta, metainfo.trackers))
    }
}

/// One torrent of the session.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// The session's number.
    pub id: TorrentId,
    /// Its name on the wire.
    pub info_hash: InfoHash,
    /// What the .torrent says.
    pub meta: Arc<Meta>,
    /// The folder that its name lies in.
    pub download_dir: PathBuf,
    /// The folder that its files are in until it is complete, if that is another one.
    pub incomplete_dir: Option<PathBuf>,
    /// The move under way, if there is one.
    pub relocation: Option<Relocation>,
    /// Whether it is meant to run.
    pub running: bool,
    /// What it is doing.
    pub activity: Activity,
    /// What is wrong, if anything.
    pub trouble: Option<Trouble>,
    /// Share of the files that has been checked, 0 to 1; 0 when not verifying.
    pub verify_progress: f64,
    /// The pieces that are verified and on the disk.
    pub have: Arc<Bitfield>,
    /// Bytes in those pieces.
    pub have_bytes: u64,
    /// Bytes wanted and missing.
    pub left: u64,
    /// Priority of each file; empty if all are normal.
    pub file_priorities: Vec<Priority>,
    /// Labels in their order.
    pub labels: Vec<String>,
    /// Trackers by tier, as edited.
    pub trackers: Vec<Vec<String>>,
    /// Pieces in order rather than rarest first.
    pub sequential: bool,
    /// The piece that they begin with then; those before it come last.
    pub sequential_from: u32,
    /// Peers at most.
    pub peer_limit: u32,
    /// Speed and the end of seeding.
    pub rules: Rules,
    /// Its place in the queue of all torrents, from 0; see [`crate::Session::settle_queue`].
    pub queue_position: usize,
    /// Whether its ratio or idle goal stopped it, and nobody has started it since.
    pub finished: bool,
    /// Seconds since 1970 when it was added.
    pub added_date: u64,
    /// Seconds since 1970 when it was last started; 0 for never.
    pub start_date: u64,
    /// Seconds since 1970 of the last edit in this run; 0 for never.
    pub edit_date: u64,
    /// Figures of now.
    pub traffic: Traffic,
    /// Figures of its life.
    pub totals: Totals,
    /// The session's change counter when anything above last changed.
    pub changed: u64,
    /// Seconds since 1970 of that.
    pub changed_at: u64,
}

/// A move of a torrent's files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Relocation {
    /// The folder that they are taken to.
    pub to: PathBuf,
    /// Bytes that are there.
    pub bytes_done: u64,
    /// Bytes in all; 0 while nobody has looked.
    pub bytes_total: u64,
}

impl Torrent {
    /// The folder that its files are in now.
    pub fn data_dir(&self) -> &std::path::Path {
        self.incomplete_dir.as_deref().unwrap_or(&self.download_dir)
    }

    /// Bytes wanted, plus those already there of files that are not wanted.
    pub fn size_when_done(&self) -> u64 {
        self.have_bytes + self.left
    }

    /// Whether everything wanted is there.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Bytes uploaded for each byte of [`Self::size_when_done`]; `None` if there is none of those.
    pub fn ratio(&self) -> Option<f64> {
        let size = self.size_when_done();
        (size > 0).then(|| self.totals.uploaded as f64 / size as f64)
    }

    /// Seconds for which it has run without payload, at this time (seconds since 1970); 0 if it does
    /// not run.
    pub fn idle_seconds(&self, now: u64) -> u64 {
        match self.activity {
            Activity::Downloading | Activity::Seeding => {
                now.saturating_sub(self.totals.activity_date.max(self.start_date))
            }
            _ => 0,
        }
    }

    /// Whether it has run without payload for so long that it makes room in the queue.
    pub fn is_stalled(&self, settings: &Settings, now: u64) -> bool {
        settings.queue_stalled_enabled
            && self.idle_seconds(now) >= u64::from(settings.queue_stalled_minutes) * 60
            && matches!(self.activity, Activity::Downloading | Activity::Seeding)
    }

    /// Bytes present of each file, in verified pieces.
    pub fn file_progress(&self) -> Vec<u64> {
        let layout = &self.meta.layout;
        let geometry = layout.geometry();
        let whole = self.have.is_all();
        let of_file = |file: &metainfo::File| {
            if whole || file.length() == 0 {
                return file.length();
            }
            let last = geometry.piece_at(file.end() - 1).map_or(0, |piece| piece.get());
            let first = geometry.piece_at(file.offset()).map_or(0, |piece| piece.get());
            let pieces = (first..=last).filter_map(|index| geometry.piece(index));
            pieces
                .filter(|&piece| self.have.has(piece))
                .map(|piece| {
                    let start = geometry.offset_of(piece);
                    let end = start + u64::from(geometry.length_of(piece));
                    end.min(file.end()) - start.max(file.offset())
                })
                .sum()
        };
        layout.files().map(|(_, file)| of_file(file)).collect()
    }
}

/// Counters of a session or of all sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionCounters {
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Torrents added.
    pub files_added: u64,
    /// Times the program was started.
    pub sessions: u64,
    /// Seconds it has run.
    pub seconds_active: u64,
}

/// One shard, as the session sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardStatus {
    /// Whether it runs; one whose reactor cannot be made again does not.
    pub running: bool,
    /// Torrents that run on it.
    pub torrents: usize,
    /// How often a fresh one took its place after a panic.
    pub restarts: u64,
}

/// What a shard tells about one torrent's peers and pieces when asked.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Connected peers.
    pub peers: Vec<PeerInfo>,
    /// For each piece how many connected peers have it; -1 for those we have.
    pub availability: Vec<i32>,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The other end of the connection.
    pub addr: SocketAddr,
    /// Its id.
    pub id: [u8; 20],
    /// Its own name and version, or what its id says.
    pub client: String,
    /// Where its address came from.
    pub source: Source,
    /// Whether it connected to us.
    pub incoming: bool,
    /// Pieces it has, in 0..=1 of all.
    pub progress: f32,
    /// Whether we are interested in it.
    pub we_are_interested: bool,
    /// Whether it chokes us.
    pub chokes_us: bool,
    /// Whether it is interested in us.
    pub is_interested: bool,
    /// Whether we choke it.
    pub choked: bool,
    /// Whether it holds an optimistic slot.
    pub optimistic: bool,
    /// Bytes received from it.
    pub downloaded: u64,
    /// Bytes sent to it.
    pub uploaded: u64,
    /// Bytes per second from it.
    pub download_rate: u64,
    /// Bytes per second to it.
    pub upload_rate: u64,
}
