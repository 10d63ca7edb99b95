//! A few seeds of every scenario in each test run; `scripts/simulate` runs as many as one likes.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use ringseed_simulation::scenario::{SCENARIOS, Scenario};

/// Seeds of each small scenario: some seconds in all.
const SEEDS: u64 = 20;

fn pass(scenario: &Scenario, seed: u64) {
    if let Err(error) = (scenario.run)(seed) {
        panic!("{} --from {seed}: {error:#}", scenario.name);
    }
}

#[test]
fn every_scenario_passes_with_its_first_seeds() {
    for scenario in SCENARIOS {
        let seeds = if scenario.is_big { 1 } else { SEEDS };
        (0..seeds).for_each(|seed| pass(scenario, seed));
    }
}

/// Seeds that have found a fault of the engine, which is mended.
const FOUND: [(&str, u64); 12] = [
    // A stop between the last piece and the files without bytes: they were never made.
    ("panics", 1025),
    // A check after a sync that failed claimed what only the page cache had.
    ("power-loss", 11),
    // The sync before a check failed, and half a minute later the next check claimed the same.
    ("mixed", 83_042),
    // The same, and then the power went: files that had never been on the disk were found short, and
    // their torrent waited for somebody to put them back.
    ("power-loss", 22),
    // A move was cut off while it cleared the old place, and what it had deleted came back with the power.
    ("moves", 246),
    // A file was taken away, its sync failed, and a write that was in line made it anew.
    ("vanishing-files", 62),
    ("vanishing-files", 180),
    // A file could not be opened to be synced before a check, and a moment later to be read: it was claimed.
    ("mixed", 7_492),
    // A torrent was removed after a sync had failed, and added again: its check saw the page cache.
    ("mixed", 9_949),
    // A peer that never answered kept a piece for itself that had failed its hash once.
    ("mixed", 37_685),
    // A check could not look at a file, and took it for one that is not there.
    ("mixed", 41_539),
    // A shard panicked before it could tell that a sync had failed.
    ("mixed", 58_645),
];

#[test]
fn what_was_found_stays_mended() {
    for (name, seed) in FOUND {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        pass(scenario.unwrap(), seed);
    }
}

#[test]
fn the_same_seed_does_the_same() {
    for scenario in SCENARIOS.iter().filter(|scenario| !scenario.is_big) {
        let digests = [(); 2].map(|()| (scenario.run)(42).unwrap().digest);
        assert_eq!(digests[0], digests[1], "{}", scenario.name);
        assert_ne!(digests[0], (scenario.run)(43).unwrap().digest, "{}", scenario.name);
    }
}
