//! What one torrent consists of and whom it talks to.

use super::Priority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Its number, by which edits name it. Padding is not listed, so numbers may be left out.
    pub file: u32,
    /// Its path below the download folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Bytes in verified pieces.
    pub have: u64,
    /// How much it is wanted.
    pub priority: Priority,
}

/// What a tracker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackerState {
    /// Nothing: the torrent does not run.
    Idle,
    /// Waiting for the next announce.
    Waiting,
    /// In line to be announced.
    Queued,
    /// Being announced.
    Announcing,
}

/// A tracker of a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tracker {
    /// Its announce URL.
    pub announce: String,
    /// Its tier, from 0.
    pub tier: u32,
    /// What it is doing.
    pub state: TrackerState,
    /// Whether the last announce worked; null before the first.
    pub succeeded: Option<bool>,
    /// What it said, or what went wrong.
    pub message: String,
    /// Seconds since 1970 of the last announce; null before the first.
    pub announced_at: Option<u64>,
    /// Seconds since 1970 of the next announce; null if none is due.
    pub next_at: Option<u64>,
    /// Peers that the last announce gave.
    pub peers: u32,
    /// Seeds it knows of; null if it does not say.
    pub seeds: Option<u32>,
    /// Leeches it knows of; null if it does not say.
    pub leeches: Option<u32>,
    /// Downloads it has counted; null if it does not say.
    pub downloads: Option<u32>,
}

/// Who waits for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools, reason = "they are the protocol's flags")]
pub struct FlagSet {
    /// It connected to us.
    pub incoming: bool,
    /// We want something it has.
    pub we_are_interested: bool,
    /// It does not serve us.
    pub chokes_us: bool,
    /// It wants something we have.
    pub is_interested: bool,
    /// We do not serve it.
    pub choked: bool,
    /// It is served to see how fast it is.
    pub optimistic: bool,
}

/// A connected peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// Address and port of the connection.
    pub address: String,
    /// Its own name and version, or what its id says.
    pub client: String,
    /// Its id in hexadecimal digits.
    pub peer_id: String,
    /// Where its address came from: `tracker`, `incoming`, `pex`, `dht`, `lpd`, `cache`, `manual`.
    pub source: String,
    /// Share of the pieces it has, 0 to 1.
    pub progress: f64,
    /// Bytes per second from it.
    pub download_rate: u64,
    /// Bytes per second to it.
    pub upload_rate: u64,
    /// Bytes received from it.
    pub downloaded: u64,
    /// Bytes sent to it.
    pub uploaded: u64,
    /// Who waits for whom.
    pub flags: FlagSet,
}

/// The pieces of a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pieces {
    /// How many there are.
    pub count: u32,
    /// Bytes in each but the last.
    pub length: u32,
    /// Which are here: a bit for each from the highest of the first byte, in base64.
    pub have: String,
    /// For each piece -1 if it is here, else how many connected peers have it; empty if the torrent
    /// does not run.
    pub availability: Vec<i32>,
}
