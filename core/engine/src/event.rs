//! What happens in a session, told once to whoever listens.

use crate::status::{Torrent, TorrentId};
use metainfo::InfoHash;
use std::{net::IpAddr, path::PathBuf};

/// An event and its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Seconds since 1970.
    pub at: u64,
    /// The torrent that it is about, if it is about one.
    pub torrent: Option<Subject>,
    /// What happened.
    pub event: Event,
}

/// A torrent as an event names it: it may be gone when the event is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The session's number.
    pub id: TorrentId,
    /// Its name on the wire.
    pub info_hash: InfoHash,
    /// Its name.
    pub name: String,
}

impl From<&Torrent> for Subject {
    fn from(torrent: &Torrent) -> Subject {
        Subject {
            id: torrent.id,
            info_hash: torrent.info_hash,
            name: torrent.meta.layout.name().to_owned(),
        }
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The torrent was added.
    Added,
    /// Everything wanted of the torrent is on the disk.
    Completed,
    /// Its ratio or idle goal is reached, and it stops seeding.
    SeedingGoal,
    /// The torrent is gone.
    Removed,
    /// A check of its files has ended.
    Verified,
    /// A local error stopped the torrent.
    Error(String),
    /// Its trackers refuse or cannot be reached.
    TrackerError(String),
    /// A tracker works, with a warning.
    TrackerWarning(String),
    /// Its trackers work again.
    TrackerRecovered,
    /// A host that sent bad data is no longer talked to.
    PeerBanned(IpAddr),
    /// The room in the download folder has become short, or is no longer.
    Room {
        /// The folder.
        path: PathBuf,
        /// Bytes that can be written there.
        free: u64,
        /// Whether that is little.
        is_short: bool,
    },
}
