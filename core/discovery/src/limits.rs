//! Every bound of this crate, with the reason for the number.

use std::time::Duration;

/// Bytes of an HTTP tracker's answer that are read. The largest honest ones (a few thousand peers
/// as dictionaries) are some 200 KiB.
pub const HTTP_BODY: usize = 1024 * 1024;

/// Nesting of an HTTP tracker's answer; honest ones need 4 (scrape: answer, files, torrent, flags).
pub const BENCODE_DEPTH: usize = 16;

/// Peers taken from one answer. Trackers send 200 at most; more is an attempt to make us connect.
pub const PEERS_PER_REPLY: usize = 2_000;

/// Peers kept for one torrent while the receiver of events is busy.
pub const PEERS_WAITING: usize = 2_000;

/// Bytes kept of a tracker's text (failure reason, warning): enough to read, too few to fill a log.
pub const TEXT: usize = 512;

/// Bytes of a `tracker id`, which travels in each later URL.
pub const TRACKER_ID: usize = 256;

/// Characters in a tracker's URL; longer ones are not announced to (servers refuse them at 8 KiB).
pub const URL: usize = 4_096;

/// Trackers of one torrent. Public lists that people paste have about 200.
pub const TRACKERS_PER_TORRENT: usize = 1_000;

/// Time between announces when the tracker names none (BEP 3 leaves it open; the usual value).
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// The longest interval taken at its word: a torrent must find back to its swarm within a day.
pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Earliest voluntary announce after one that succeeded, where the tracker names no `min interval`.
pub const MIN_INTERVAL_DEFAULT: Duration = Duration::from_secs(2 * 60);

/// First wait after a failure; it doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);

/// First wait after a tracker said no in words: asking again soon rarely changes its mind.
pub const BACKOFF_REFUSED: Duration = Duration::from_secs(60);

/// The longest wait between attempts, which then go on for ever.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30 * 60);

/// Earliest manual announce after an attempt that failed, so that a held key is not a flood.
pub const MANUAL_RETRY: Duration = Duration::from_secs(5);

/// Attempts to deliver `stopped` to one tracker; after that it forgets the peer by itself.
pub const STOP_TRIES: u32 = 3;

/// Time between scrapes of a tracker whose announces leave a count out.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Scrapes that a torrent needs within so long of each other wait for one another, so that torrents of
/// one tracker are asked for together: first ones, of torrents that were announced together,
pub const SCRAPE_FIRST_WINDOW: Duration = Duration::from_secs(2);

/// and later ones, which are in no hurry.
pub const SCRAPE_WINDOW: Duration = Duration::from_secs(60);

/// Torrents in one HTTP scrape: 3.5 KiB of URL beside the tracker's own, of which [`URL`] bytes at most
/// still leave it below the 8 KiB that servers take.
pub const SCRAPE_HTTP: usize = 50;

/// Torrents in one UDP scrape (BEP 15: about 74, by the size of a packet).
pub const SCRAPE_UDP: usize = 70;

/// A UDP connection id is used for this long after it came (BEP 15).
pub const UDP_CONNECTION: Duration = Duration::from_secs(60);

/// Sends of one UDP packet before its tracker counts as silent. BEP 15 allows 9 (over an hour);
/// with 3 (15 + 30 + 60 s) the next tracker of the tier is asked in less than two minutes.
pub const UDP_TRIES: u32 = 3;

/// UDP endpoints whose connection id is remembered; expired ones are dropped beyond it.
pub const UDP_ENDPOINTS: usize = 4_096;

/// Bytes of a UDP answer: an announce with over 3,000 IPv6 peers still fits.
pub const UDP_PACKET: usize = 65_536;

/// Time a resolved name is used for; the system's resolver does not tell its time to live.
pub const DNS_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Time a name that failed to resolve is not asked again.
pub const DNS_FAILURE_LIFETIME: Duration = Duration::from_secs(30);

/// Time allowed to resolve one name.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(20);

/// Names kept resolved.
pub const DNS_NAMES: usize = 4_096;

/// Redirects followed for one request.
pub const REDIRECTS: usize = 5;

/// Hosts whose pace is remembered; idle ones are dropped beyond it.
pub const PACED_HOSTS: usize = 1_024;

/// Commands applied between two looks at sockets and timers.
pub const COMMANDS_PER_TURN: usize = 256;

/// UDP answers read between two looks at commands and timers.
pub const PACKETS_PER_TURN: usize = 256;

/// At shutdown, time given to a tracker that has never answered, which may or may not know us.
pub const SHUTDOWN_UNANSWERED: Duration = Duration::from_secs(1);

/// Requests in flight at shutdown, of all hosts: thousands of `stopped` in seconds.
pub const SHUTDOWN_IN_FLIGHT: usize = 512;

/// Those to one host: more would need more file descriptors than a process may have by default.
pub const SHUTDOWN_IN_FLIGHT_PER_HOST: usize = 128;
