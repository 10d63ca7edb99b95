//! The scenarios: what is in the world, what befalls it, and what must come of it.

mod crashes;
mod crowds;
mod disks;
mod mixed;
mod trackers;

use crate::stage::Summary;
use anyhow::Result;
use std::time::Duration;

/// A scenario by its name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Runs it with a seed.
    pub run: fn(u64) -> Result<Summary>,
    /// One seed of it takes seconds.
    pub is_big: bool,
}

const fn small(
    name: &'static str,
    about: &'static str,
    run: fn(u64) -> Result<Summary>,
) -> Scenario {
    Scenario { name, about, run, is_big: false }
}

const fn big(name: &'static str, about: &'static str, run: fn(u64) -> Result<Summary>) -> Scenario {
    Scenario { name, about, run, is_big: true }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    small(
        "mixed",
        "random servers and peers of all manners; network, disks, files, processes, clocks fail",
        mixed::mixed,
    ),
    small("crash-recovery", "crash after crash, while what was left is looked at", crashes::again),
    small("power-loss", "failed syncs, a recheck, then the power goes", disks::power_loss),
    small("disk-full", "a disk that is full and is freed, beside one that is not", disks::full),
    small("bad-disk", "a disk with errors of every kind, beside one without", disks::bad),
    small("vanishing-files", "files that vanish or are cut, beside others", disks::vanishing),
    small("moves", "moves and removals that crashes cut off", crashes::moves),
    small("panics", "shards that panic while they serve and download", crashes::panics),
    small("clock-jumps", "clocks that jump and machines that sleep", crashes::clocks),
    small("last-seed-leaves", "the one seed leaves at 99 % and comes back", crowds::leaving),
    small("late-seed", "the seed comes late and calls nobody", crowds::late_seed),
    small(
        "trackers",
        "trackers that are down for long, answer garbage or fail otherwise, and come back",
        trackers::trackers,
    ),
    small("deaf-peers", "peers that ask for much and never read it", crowds::deaf),
    small("poison", "half of the peers send wrong bytes", crowds::poison),
    small("restart", "everybody restarts at once, again and again", crashes::restart),
    big("flash-crowd", "one seed, and thirty servers that come at once", crowds::flash),
    big("many-peers", "two hundred peers of all manners for one torrent", crowds::many_peers),
    big("many-torrents", "five hundred torrents on four shards", crowds::many_torrents),
    big(
        "crash-points",
        "a download of 3 files and 10 pieces that is cut off at every operation of its disk",
        crashes::points,
    ),
];

/// Time for everybody to finish where trackers fail often: the announcer waits for up to 36 minutes
/// between tries (half an hour and a fifth), and may need several of them in a row, on both sides.
const BACKED_OFF: Duration = Duration::from_secs(6 * 3600);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(rng: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
