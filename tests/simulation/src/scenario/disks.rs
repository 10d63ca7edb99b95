//! Disks that fail.

use super::{
    millis,
    mixed::{some_faults, verify_what_was_harmed},
    seconds,
};
use crate::stage::{Stage, Summary};
use anyhow::{Result, ensure};
use ring::sim::{Crash, DiskFaults, Network};
use std::time::Duration;

const FILES: [u64; 4] = [300_000, 1, 170_000, 90_000];

/// A source, a victim, and a bystander who must notice nothing.
fn three(seed: u64) -> Result<Stage> {
    let mut stage = Stage::new(seed, &[FILES.to_vec()], 32_768)?;
    stage.add_server(1, true)?;
    stage.add_server(2, false)?;
    stage.add_server(1, false)?;
    Ok(stage)
}

fn finish(stage: &mut Stage) -> Result<Summary> {
    verify_what_was_harmed(stage)?;
    stage.expect_completion(seconds(1200))?;
    stage.end()
}

/// After a sync that failed the kernel forgets what it could not write, and shows it all the same:
/// a check that believes it claims what the next loss of power takes.
pub(super) fn power_loss(seed: u64) -> Result<Summary> {
    let mut stage = three(seed)?;
    let until = stage.world.now() + millis(&mut stage.rng, 500..20_000);
    let sync_errors = stage.rng.u32(300_000..1_000_000);
    let faults = DiskFaults { sync_errors, ..DiskFaults::default() };
    stage.servers[1].fail_disk(faults, until);
    for _ in 0..stage.rng.usize(1..5) {
        let pause = millis(&mut stage.rng, 100..15_000);
        stage.run_for(pause)?;
        let (pause, rng) = (millis(&mut stage.rng, 1..5_000), &mut stage.rng);
        match rng.u32(..4) {
            0 => stage.servers[1].verify(0),
            1 => stage.servers[1].crash(Crash::Process, pause)?,
            2 => stage.servers[1].crash(Crash::Power, pause)?,
            _ => stage.world.drop_clean_pages(stage.servers[1].machine),
        }
    }
    finish(&mut stage)
}

pub(super) fn full(seed: u64) -> Result<Summary> {
    let mut stage = three(seed)?;
    let now = stage.world.now();
    let capacity = stage.rng.u64(..600_000);
    let until = now + millis(&mut stage.rng, 1_000..60_000);
    stage.servers[1].fill_disk(capacity, until);
    if stage.rng.bool() {
        let pause = millis(&mut stage.rng, 100..10_000);
        stage.run_for(pause)?;
        let how = if stage.rng.bool() { Crash::Power } else { Crash::Process };
        stage.servers[1].crash(how, Duration::from_secs(1))?;
    }
    let others = [0, 2];
    stage.run_until(until, |stage| {
        Ok(others.iter().all(|&other| stage.servers[other].is_complete()))
    })?;
    finish(&mut stage)
}

pub(super) fn bad(seed: u64) -> Result<Summary> {
    let mut stage = three(seed)?;
    for _ in 0..3 {
        let until = stage.world.now() + millis(&mut stage.rng, 1_000..20_000);
        let faults = some_faults(&mut stage.rng);
        let victim = stage.rng.usize(..2);
        stage.servers[victim].fail_disk(faults, until);
        let pause = millis(&mut stage.rng, 1_000..40_000);
        stage.run_for(pause)?;
    }
    finish(&mut stage)
}

/// Files of one of three torrents go; the others have no trouble, which [`crate::server`] checks.
pub(super) fn vanishing(seed: u64) -> Result<Summary> {
    let lengths = [vec![200_000, 100_000], vec![150_000], vec![10, 180_000]];
    let mut stage = Stage::new(seed, &lengths, 16_384)?;
    // Slow enough that files go while they are being written to.
    stage.world.set_network(Network { bandwidth: 10_000..100_000, ..Network::default() });
    for is_full in [true, false, false] {
        let open_files = stage.rng.usize(1..5);
        stage.add_server(2, is_full)?.open_files = open_files;
        let server = stage.servers.len() - 1;
        for torrent in &stage.torrents[1..] {
            stage.servers[server].add(torrent, is_full)?;
        }
    }
    for _ in 0..stage.rng.usize(1..4) {
        let pause = millis(&mut stage.rng, 1..10_000);
        stage.run_for(pause)?;
        let victim = stage.rng.usize(..stage.servers.len());
        stage.servers[victim].harm(&mut stage.rng);
        if stage.rng.bool() {
            let victim = stage.rng.usize(..stage.servers.len());
            stage.servers[victim].crash(Crash::Process, seconds(1))?;
            stage.servers[victim].tamper(&mut stage.rng)?;
        }
    }
    let pause = millis(&mut stage.rng, 1..120_000);
    stage.run_for(pause)?;
    let is_late = |at: Duration| at > seconds(5);
    let all_run = stage.servers.iter().all(|server| server.is_running());
    ensure!(all_run || !is_late(pause), "somebody has gone");
    finish(&mut stage)
}
