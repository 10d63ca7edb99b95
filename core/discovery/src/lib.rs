//! Who has it: trackers.
//!
//! Each protocol is a pure state machine — bytes and a clock in, bytes and answers out — with one
//! thin tokio driver around them ([`Announcer`]), so that a whole conversation with a tracker, its
//! failures included, is a unit test. Reading order: [`tracker`] for the shared vocabulary, then
//! `tracker/http.rs` and `tracker/udp/` for what is on the wire, `tracker/torrent.rs` for who is
//! told what and when, `tracker/pacer.rs` for how fast, `tracker/driver.rs` for the sockets.

pub mod limits;
pub mod tracker;

pub use tracker::driver::{Announcer, AnnouncerHandle, Config};
#[cfg(feature = "sim")]
pub use tracker::simulated;
pub use tracker::status::{AnnounceState, TrackerStatus};
pub use tracker::{Progress, TorrentAnnounce, TorrentKey, TrackerEvent};
