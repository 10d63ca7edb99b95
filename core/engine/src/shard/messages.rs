//! What the control side and the shards say to each other.

use crate::{
    limiter::TorrentLimits,
    status::{Detail, TorrentId, Traffic},
};
use discovery::Progress;
use metainfo::{Bitfield, InfoHash, Layout, PieceHashes};
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};
use storage::{Allocation, FileStamp};
use swarm::{Priority, Source};
use tokio::sync::oneshot;
use wire::PeerId;

/// A torrent as its shard needs it.
#[derive(Debug)]
pub(crate) struct StartTorrent {
    pub(crate) id: TorrentId,
    /// Tells this start from earlier ones, whose reports may still be under way.
    pub(crate) run: u32,
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    pub(crate) layout: Arc<Layout>,
    pub(crate) hashes: Arc<PieceHashes>,
    pub(crate) root: Arc<Path>,
    /// Which device that is on (`st_dev`); 0 if not known.
    pub(crate) device: u64,
    /// The pieces that are on the disk.
    pub(crate) have: Bitfield,
    pub(crate) stamps: Vec<FileStamp>,
    pub(crate) suspects_cache: bool,
    /// One for each file; empty if all are normal.
    pub(crate) priorities: Vec<Priority>,
    pub(crate) allocation: Allocation,
    pub(crate) swarm: swarm::Settings,
    pub(crate) progress: Arc<Progress>,
    pub(crate) limits: TorrentLimits,
}

/// What a panic says that was asked for.
#[cfg(any(debug_assertions, feature = "sim"))]
pub(crate) const ORDERED_PANIC: &str = "as ordered";

/// From the control side, or from another shard, to a shard.
pub(crate) enum Command {
    Start(Box<StartTorrent>),
    /// Closes everything of the torrent; [`Report::Stopped`] follows.
    Stop {
        id: TorrentId,
        run: u32,
    },
    Peers {
        id: TorrentId,
        peers: Vec<SocketAddr>,
        source: Source,
    },
    Priorities {
        id: TorrentId,
        priorities: Vec<Priority>,
    },
    Swarm {
        id: TorrentId,
        settings: swarm::Settings,
    },
    /// Speed limits of a torrent.
    Limits {
        id: TorrentId,
        limits: TorrentLimits,
    },
    /// The rates of pools have changed.
    Rates,
    /// A connection that another shard accepted, with what its peer has said so far.
    Adopt {
        socket: OwnedFd,
        said: Vec<u8>,
    },
    Detail {
        id: TorrentId,
        reply: oneshot::Sender<Detail>,
    },
    Settings(ShardSettings),
    /// The directory has another blocklist.
    Blocklist,
    /// Panics, for tests of what follows.
    #[cfg(any(debug_assertions, feature = "sim"))]
    Panic {
        /// While it deals with this one.
        torrent: Option<TorrentId>,
    },
    /// Ends the shard after its torrents have stopped.
    Shutdown,
}

/// What all torrents of a shard have in common and can change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct ShardSettings {
    pub(crate) connecting_limit: usize,
    pub(crate) connection_limit: usize,
    pub(crate) sync_interval: std::time::Duration,
    /// Where outgoing connections leave from, for each family.
    pub(crate) source_v4: Option<SocketAddr>,
    pub(crate) source_v6: Option<SocketAddr>,
}

/// Figures of one torrent since its last update.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) id: TorrentId,
    pub(crate) traffic: Traffic,
    /// Bytes wanted and missing.
    pub(crate) left: u64,
    /// The pieces, if they have changed.
    pub(crate) have: Option<Bitfield>,
    /// Payload since the last update.
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) corrupt: u64,
}

/// From a shard to the control side.
#[derive(Debug)]
pub(crate) enum Report {
    Updates(Vec<Update>),
    /// Everything wanted is on the disk.
    Completed(TorrentId),
    /// After completion, every file has its exact length.
    Settled(TorrentId),
    /// These pieces survive a loss of power.
    Durable {
        id: TorrentId,
        have: Bitfield,
        stamps: Vec<FileStamp>,
        is_final: bool,
    },
    /// A local error; the torrent has been stopped by it, [`Report::Stopped`] follows.
    Trouble {
        id: TorrentId,
        run: u32,
        message: String,
    },
    /// A file was cut or changed while it was sent; the torrent has been stopped by it, to be looked
    /// at anew.
    Disturbed {
        id: TorrentId,
        run: u32,
    },
    /// Its disk gives no answer, or does again.
    Stalled {
        id: TorrentId,
        run: u32,
        is_stalled: bool,
    },
    /// A sync has failed: what was written since the last [`Report::Durable`] may be lost, whatever
    /// the page cache says.
    Suspect {
        id: TorrentId,
    },
    /// A host sent bad data and is no longer talked to.
    Banned {
        id: TorrentId,
        addr: IpAddr,
    },
    /// More addresses are wanted.
    WantsPeers(TorrentId),
    /// Nothing of the torrent is left on the shard; `have` is `None` if it did not know it.
    Stopped {
        id: TorrentId,
        run: u32,
        have: Option<Bitfield>,
    },
    Ended {
        shard: usize,
        end: End,
        /// The torrent that it was dealing with when it panicked.
        culprit: Option<TorrentId>,
    },
}

/// How a shard ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was told to.
    Ordered,
    /// It panicked; a fresh one has taken its place and its line of commands.
    Replaced,
    /// It panicked, and no other could be started in its place.
    Dead,
}
