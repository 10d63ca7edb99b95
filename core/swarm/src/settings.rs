//! What an operator decides about one torrent's swarm.

use crate::limits;
use std::time::Duration;

/// How much a piece is wanted; what a torrent's files are set to, given for each piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Not wanted: neither asked for nor counted as missing.
    Skip,
    /// Wanted when nothing else is.
    Low,
    /// Wanted.
    #[default]
    Normal,
    /// Wanted before everything else.
    High,
}

/// The settings of one torrent's swarm. Out-of-range values are clamped when they are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Peers served at a time; 0 for no limit. Default 50.
    pub upload_slots: u32,
    /// Peers connected at a time, 1..=60000. Default 500.
    pub max_peers: u32,
    /// Requests that one peer may queue with us, announced as `reqq` (BEP 10), 1..=2000.
    /// Default 512.
    pub max_upload_queue: u32,
    /// A request unanswered for this long may be given to another peer, and the peer counts as
    /// snubbing us. Peers whose typical answer takes longer get three times that. Default 60 s.
    pub request_timeout: Duration,
    /// A connection without any message from the peer for this long is closed; at least two minutes,
    /// because that is how often a keep-alive is due (BEP 3). Default 150 s.
    pub peer_idle_timeout: Duration,
    /// Whether pieces are fetched in order rather than rarest first. Default false.
    pub sequential: bool,
    /// The piece that they begin with then; those before it come last. Default 0.
    pub sequential_from: u32,
    /// Whether connections on which neither side wants anything are closed. Default true.
    pub close_redundant: bool,
    /// Our listening port as told to peers in the extension handshake (BEP 10 `p`); 0 for none.
    pub listen_port: u16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            upload_slots: 50,
            max_peers: 500,
            max_upload_queue: 512,
            request_timeout: Duration::from_secs(60),
            peer_idle_timeout: Duration::from_secs(150),
            sequential: false,
            sequential_from: 0,
            close_redundant: true,
            listen_port: 0,
        }
    }
}

impl Settings {
    pub(crate) fn clamped(mut self) -> Settings {
        self.max_peers = self.max_peers.clamp(1, 60_000);
        self.max_upload_queue = self.max_upload_queue.clamp(1, limits::MAX_REQQ);
        self.request_timeout = self.request_timeout.max(Duration::from_secs(1));
        self.peer_idle_timeout = self.peer_idle_timeout.max(Duration::from_secs(120));
        self
    }

    /// Upload slots as a number to compare with; `usize::MAX` for no limit.
    pub(crate) fn slots(&self) -> usize {
        if self.upload_slots == 0 { usize::MAX } else { self.upload_slots as usize }
    }
}
