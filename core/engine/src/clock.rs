//! The time of day, as the machine's clock shows it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970. For dates; whoever waits goes by [`tokio::time::Instant`], which nobody sets.
pub(crate) fn unix_now() -> u64 {
    wall_clock().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(not(feature = "sim"))]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// That of the simulated machine that the thread works for, if there is one.
#[cfg(feature = "sim")]
fn wall_clock() -> SystemTime {
    ring::sim::here().map_or_else(SystemTime::now, |host| host.wall_clock())
}
