//! What a person is told of a tracker.

use super::Counts;
use std::sync::Arc;

/// Where a tracker stands in being announced to or scraped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AnnounceState {
    /// Nothing is planned: the torrent is stopped, the tracker is a backup or cannot be used.
    #[default]
    Inactive,
    /// Its time will come.
    Waiting,
    /// Its time has come; others are ahead.
    Queued,
    /// It is being asked.
    Active,
}

/// One tracker of a torrent. All times are seconds since 1970, 0 for never.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerStatus {
    /// Its name for as long as the process runs; kept when the list around it changes.
    pub id: u32,
    /// Its tier, from 0; the lower, the earlier it stood in the list.
    pub tier: u32,
    /// The announce URL as given.
    pub announce: Arc<str>,
    /// The scrape URL; empty if there is none.
    pub scrape: Arc<str>,
    /// `host:port`; empty if the URL is not valid.
    pub host: Arc<str>,
    /// The label of the host's name that people know it by.
    pub sitename: Arc<str>,
    /// Whether another tracker of its tier is the one in use.
    pub is_backup: bool,
    /// The announcing.
    pub last_announce: Exchange,
    /// Peers in the last good answer.
    pub last_announce_peer_count: u32,
    /// The tracker's warning in the last good answer.
    pub warning: Option<Arc<str>>,
    /// The scraping.
    pub last_scrape: Exchange,
    /// The size of the swarm by its last answer of either kind.
    pub counts: Counts,
}

/// The announcing or scraping of one tracker.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Exchange {
    /// What is going on.
    pub state: AnnounceState,
    /// When the next is due; 0 unless waiting.
    pub next_time: u64,
    /// When the last one was begun.
    pub start_time: u64,
    /// When the last one ended.
    pub time: u64,
    /// Whether one has ended since the process started.
    pub happened: bool,
    /// Whether the last one brought an answer.
    pub succeeded: bool,
    /// Whether the last one ended for lack of an answer.
    pub timed_out: bool,
    /// `Success`, the tracker's warning or failure reason, or our error; empty if there was none.
    pub result: Arc<str>,
}
