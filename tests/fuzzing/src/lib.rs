//! What is done to bytes from outside, each kind by a function of its own: whatever the bytes are,
//! nothing panics, nothing takes long, limits hold, and what is read can be written and read again as
//! the same.
//!
//! `scripts/fuzz` runs them under libFuzzer (`fuzz/`), which learns from the code's branches what to
//! try next. The tests here run them over the corpora that it has grown (`corpus/`, one folder for each
//! target) and over [`mutate`]d versions of those, on any compiler and the same every time.

mod control;
pub mod mutate;
mod peers;
mod swarm_talk;
mod torrents;
mod trackers;

/// A target: its name, and what is done to bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. Each function panics if something is not as it must be.
pub const TARGETS: &[Target] = &[
    ("bencode", torrents::bencode),
    ("metainfo", torrents::metainfo),
    ("magnet", torrents::magnet),
    ("resume", torrents::resume),
    ("handshake", peers::handshake),
    ("messages", peers::messages),
    ("extensions", peers::extensions),
    ("swarm", swarm_talk::swarm),
    ("http_tracker", trackers::http),
    ("udp_tracker", trackers::udp),
    ("compact_peers", trackers::compact_peers),
    ("tracker_url", trackers::url),
    ("json_rpc", control::json_rpc),
    ("native_rpc", control::native_rpc),
    ("tracker_list", control::tracker_list),
    ("blocklist", control::blocklist),
    ("settings", control::settings),
];

/// What a target does to bytes.
///
/// # Panics
/// If there is no target of this name, or as the target does.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(bytes);
}
