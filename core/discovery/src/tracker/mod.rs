//! Trackers: the vocabulary that the HTTP and UDP protocols share.

pub mod driver;
pub mod http;
pub mod pacer;
mod resolver;
#[cfg(feature = "sim")]
pub mod simulated;
pub mod status;
pub mod torrent;
mod transport;
pub mod udp;
pub mod url;

use crate::limits;
use metainfo::InfoHash;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The engine's name of a torrent; of no meaning to a tracker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TorrentKey(pub u64);

/// What the announcer needs to know of a torrent.
#[derive(Clone, Debug)]
pub struct TorrentAnnounce {
    /// How events and calls name it.
    pub key: TorrentKey,
    /// How trackers name it.
    pub info_hash: InfoHash,
    /// Our peer id in its swarm.
    pub peer_id: [u8; 20],
    /// Announce URLs by tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Whether its peers may come from its trackers only (BEP 27).
    pub private: bool,
    /// Its counters, read when an announce is sent.
    pub progress: Arc<Progress>,
}

/// Bytes moved since the torrent was started, written by its owner and read at announce time.
#[derive(Default, Debug)]
pub struct Progress {
    /// Payload bytes sent.
    pub uploaded: AtomicU64,
    /// Payload bytes received.
    pub downloaded: AtomicU64,
    /// Bytes still missing; 0 makes us a seed in the tracker's count.
    pub left: AtomicU64,
}

impl Progress {
    /// Uploaded, downloaded, left. The three may be of slightly different moments.
    pub fn read(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.uploaded), load(&self.downloaded), load(&self.left))
    }
}

/// News from the announcer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrackerEvent {
    /// Peers of the torrent, without duplicates within the event; our own address may be among them.
    Peers {
        /// The torrent.
        key: TorrentKey,
        /// Addresses to connect to; never empty.
        peers: Vec<SocketAddr>,
    },
    /// The torrent's tracker status is not what it was.
    Status {
        /// The torrent.
        key: TorrentKey,
    },
}

/// A point in time as the state machines see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Monotonic time since some fixed start.
    pub at: Duration,
    /// The same moment in seconds since 1970, for status only.
    pub unix: u64,
}

/// The `event` of an announce (BEP 3, BEP 15).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// None: sent at intervals.
    Regular,
    /// The first announce.
    Started,
    /// The last announce.
    Stopped,
    /// The download has become complete; never sent by those who began as a seed.
    Completed,
}

/// What one announce says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Our peer id in its swarm.
    pub peer_id: [u8; 20],
    /// The TCP port on which we accept peers.
    pub port: u16,
    /// Bytes sent.
    pub uploaded: u64,
    /// Bytes received.
    pub downloaded: u64,
    /// Bytes missing.
    pub left: u64,
    /// Why we announce.
    pub event: Event,
    /// Peers we ask for.
    pub numwant: u32,
    /// Tells the tracker that we are who we were, should our address change.
    pub key: u32,
    /// What this tracker gave us as `tracker id`.
    pub tracker_id: Option<Arc<[u8]>>,
}

/// A tracker's answer to an announce. Counts are `None` where it gave none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AnnounceReply {
    /// Time until the next regular announce.
    pub interval: Option<Duration>,
    /// Time before which we must not announce again.
    pub min_interval: Option<Duration>,
    /// To be sent back with the next announce.
    pub tracker_id: Option<Arc<[u8]>>,
    /// Text for people; the announce succeeded.
    pub warning: Option<String>,
    /// What the torrent's swarm counts.
    pub counts: Counts,
    /// Peers, checked by [`clean_peers`].
    pub peers: Vec<SocketAddr>,
}

/// How large a swarm is, as far as the tracker said.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Peers that have everything.
    pub seeders: Option<u32>,
    /// Peers that do not.
    pub leechers: Option<u32>,
    /// Downloads completed, ever.
    pub downloads: Option<u32>,
    /// Leechers that do want more (BEP 21).
    pub downloaders: Option<u32>,
}

/// Why an announce or scrape failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrackerError {
    /// The tracker answered, and said no.
    #[error("{reason}")]
    Refused {
        /// In the tracker's words, made printable.
        reason: String,
        /// Whether and when it wants to be asked again.
        retry: Retry,
    },
    /// The server that it runs on answered with an error of HTTP.
    #[error("HTTP {status}")]
    Status {
        /// Which.
        status: reqwest::StatusCode,
        /// Whether and when it wants to be asked again.
        retry: Retry,
    },
    /// It did not answer in time.
    #[error("the tracker did not answer in time")]
    TimedOut,
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The answer is not what a tracker says.
    #[error("the answer is not a tracker's: {0}")]
    Malformed(&'static str),
}

impl TrackerError {
    /// Whether it may have to do with what was asked: the tracker was there, and not overloaded.
    pub fn is_about_the_question(&self) -> bool {
        match self {
            TrackerError::Refused { .. } | TrackerError::Malformed(_) => true,
            TrackerError::Status { status, .. } => {
                status.is_client_error() && *status != reqwest::StatusCode::TOO_MANY_REQUESTS
            }
            TrackerError::TimedOut | TrackerError::Unreachable(_) => false,
        }
    }
}

/// When a refused announce may be tried again (BEP 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// It did not say: our own backoff.
    Unsaid,
    /// Not before this time has passed.
    After(Duration),
    /// Not unless a person asks for it.
    Never,
}

/// Addresses that can be connected to, once each, at most [`limits::PEERS_PER_REPLY`]; IPv4 ones
/// that came mapped into IPv6 are unwrapped.
pub fn clean_peers(peers: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut clean: Vec<SocketAddr> = peers
        .into_iter()
        .map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()))
        .filter(is_connectable)
        .take(limits::PEERS_PER_REPLY)
        .collect();
    clean.sort_unstable();
    clean.dedup();
    clean
}

fn is_connectable(peer: &SocketAddr) -> bool {
    let ip = peer.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    peer.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Peers of 6 bytes each, IPv4 and port (BEP 23); a cut-off last one is left out.
pub(crate) fn compact_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<6>().0.iter().map(|&[a, b, c, d, high, low]| {
        SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
    })
}

/// Peers of 18 bytes each, IPv6 and port (BEP 7); a cut-off last one is left out.
pub(crate) fn compact_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<18>().0.iter().map(|chunk| {
        let mut ip = [0; 16];
        ip.copy_from_slice(&chunk[..16]);
        SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_be_bytes([chunk[16], chunk[17]]))
    })
}

/// A tracker's text in a form that is safe to show and to log: one line, printable, of bounded
/// length.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(limits::TEXT)];
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn peers_that_nobody_can_connect_to_are_left_out() {
        let peers = ["1.2.3.4:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1"];
        assert_eq!(clean_peers(peers.iter().map(|p| p.parse().unwrap())), []);
    }

    #[test]
    fn peers_are_unwrapped_and_told_once() {
        let peers = ["1.2.3.4:5", "[::ffff:1.2.3.4]:5", "[2001:db8::1]:5"];
        let expected: Vec<SocketAddr> =
            ["1.2.3.4:5", "[2001:db8::1]:5"].iter().map(|p| p.parse().unwrap()).collect();
        assert_eq!(clean_peers(peers.iter().map(|p| p.parse().unwrap())), expected);
    }

    proptest! {
        #[test]
        fn a_trackers_text_is_one_short_line(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let text = printable(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert!(text.chars().count() <= limits::TEXT);
        }

        #[test]
        fn compact_peers_of_any_length_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(compact_v4(&bytes).count(), bytes.len() / 6);
            prop_assert_eq!(compact_v6(&bytes).count(), bytes.len() / 18);
        }
    }
}
