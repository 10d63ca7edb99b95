//! What is not compared, each with its reason: what docs/rpc.md lists as always the same, or as taking
//! effect later. What is not needed here any more is told by the test that finds it so.

use ringseed_tests::pair::At;

/// Settings of the session.
const SESSION: &[(&str, &str)] = &[];

/// Fields of torrents.
const TORRENT: &[(&str, &str)] = &[];

/// Why a field is not compared, if so.
pub fn reason(at: At, field: &str) -> Option<&'static str> {
    let list = match at {
        At::Session => SESSION,
        At::Torrent(_) => TORRENT,
    };
    list.iter().find(|(name, _)| *name == field).map(|(_, reason)| *reason)
}

/// Lines of what a remote prints that differ between any two servers or moments, by their beginnings;
/// what follows these is not compared.
pub const VARIES: &[&str] = &[
    "Date added:",
    "Date finished:",
    "Date started:",
    "Latest activity:",
    "Duration:",
    // Numbers of trackers are a server's own: from 1 here, from 0 in Transmission.
    "Tracker ",
    "Daemon version:",
    "RPC version:",
    "Configuration directory:",
    "Listenport:",
    "Listen port:",
    "Maximum memory cache size:",
    // Each begins with another one.
    "Encryption:",
];

/// Lines that only one of them has, or has at another moment.
pub const LEFT_OUT: &[&str] = &[
    // Told from the first second on, which may pass between the two.
    "Seeding Time:",
    "Downloading Time:",
    // Each announces and scrapes when it likes; what comes of it is waited for.
    "Got a list of",
    "Asking for more peers",
    "Queued to ask for more peers",
    "Got a scrape error",
    "Asking for peer counts",
    "Queued to ask for peer counts",
];
