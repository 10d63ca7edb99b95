//! The scenarios: what is in the world, what befalls it, and what must come of it.

use crate::{
    peer::{MANNERS, Manner, Peer},
    server::Server,
    stage::{Stage, Summary},
};
use anyhow::{Context, Result, ensure};
use ring::sim::{Crash, DiskFaults};
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
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "mixed",
        about: "random servers, peers of all manners, resets, stalls, partitions, slow disks, crashes",
        run: mixed,
    },
    Scenario {
        name: "crash-points",
        about: "a download of 3 files and 10 pieces that is cut off at every operation of its disk",
        run: crash_points,
    },
];

const GIB: u64 = 1 << 30;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn add_server(stage: &mut Stage, is_full: bool) -> Result<()> {
    let addr = stage.addr();
    let mut server = Server::new(&stage.world, &mut stage.rng, addr, &stage.torrent, GIB);
    if is_full {
        server.fill()?;
    }
    stage.servers.push(server);
    Ok(())
}

fn add_peer(stage: &mut Stage, manner: Manner) -> Result<()> {
    let addr = stage.addr();
    let mut peer = Peer::new(&stage.world, &mut stage.rng, addr, &stage.torrent, manner)?;
    for server in &stage.servers {
        if stage.rng.bool() {
            peer.connect(server.addr)?;
        }
    }
    stage.peers.push(peer);
    Ok(())
}

fn mixed(seed: u64) -> Result<Summary> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let lengths: Vec<u64> = (0..rng.usize(1..5)).map(|_| rng.u64(0..400_000)).collect();
    let lengths = if lengths.iter().sum::<u64>() == 0 { vec![100_000] } else { lengths };
    let piece_length = 16_384 << rng.u32(0..3);
    let mut stage = Stage::new(seed, &lengths, piece_length)?;
    let seeds = stage.rng.usize(1..=2);
    for number in 0..seeds + stage.rng.usize(1..=4) {
        add_server(&mut stage, number < seeds)?;
    }
    for _ in 0..stage.rng.usize(0..=4) {
        let manner = MANNERS[stage.rng.usize(..MANNERS.len())];
        add_peer(&mut stage, manner)?;
    }
    stage.tracker_fails = stage.rng.u32(0..80);
    for server in &stage.servers {
        let slow = if stage.rng.bool() { stage.rng.u32(0..100_000) } else { 0 };
        let faults = DiskFaults { slow, ..DiskFaults::default() };
        stage.world.set_disk_faults(server.machine, faults);
    }
    for _ in 0..stage.rng.usize(0..8) {
        let pause = Duration::from_millis(stage.rng.u64(1..8_000));
        let until = stage.world.now() + pause;
        stage.run_until(until, |_| Ok(false))?;
        befall(&mut stage)?;
    }
    stage.expect_completion(seconds(1200))?;
    stage.end()
}

/// Something goes wrong with somebody.
fn befall(stage: &mut Stage) -> Result<()> {
    let now = stage.world.now();
    let victim = stage.rng.usize(..stage.servers.len());
    let other = stage.rng.usize(..stage.servers.len());
    let (machine, other) = (stage.servers[victim].machine, stage.servers[other].machine);
    let for_long = Duration::from_millis(stage.rng.u64(1..30_000));
    match stage.rng.u32(..6) {
        0 => stage.servers[victim].crash(Crash::Process, for_long)?,
        1 => stage.servers[victim].crash(Crash::Power, for_long)?,
        2 => stage.world.partition(machine, other, now + for_long),
        3 => stage.world.drop_clean_pages(machine),
        4 => {
            stage.world.stall_connection(machine, now + for_long);
        }
        _ => {
            stage.world.reset_connection(machine);
        }
    }
    Ok(())
}

/// The download of one server from another, cut off after so many operations of its disk. Whether
/// that many were needed.
fn cut_off_at(seed: u64, operations: Option<u64>) -> Result<(bool, Summary)> {
    let mut stage = Stage::new(seed, &[40_000, 70_000, 50_000], 16_384)?;
    add_server(&mut stage, true)?;
    add_server(&mut stage, false)?;
    let machine = stage.servers[1].machine;
    stage.world.halt_at_operation(machine, operations);
    let until = seconds(600);
    stage.run_until(until, |stage| {
        Ok(stage.world.is_halted(machine) || stage.servers[1].is_complete())
    })?;
    if operations.is_some() {
        // The last sync comes after the completion.
        let until = stage.world.now() + seconds(20);
        stage.run_until(until, |stage| Ok(stage.world.is_halted(machine)))?;
    }
    let was_cut = stage.world.is_halted(machine);
    if was_cut {
        let how = if stage.rng.bool() { Crash::Power } else { Crash::Process };
        stage.servers[1].crash(how, seconds(1))?;
    }
    stage.world.halt_at_operation(machine, None);
    stage.expect_completion(seconds(600))?;
    Ok((was_cut, stage.end()?))
}

fn crash_points(seed: u64) -> Result<Summary> {
    let mut points = 0;
    loop {
        let (was_cut, summary) = cut_off_at(seed, Some(points))
            .with_context(|| format!("cut off after {points} operations"))?;
        if !was_cut {
            ensure!(points > 10, "only {points} operations were needed");
            return Ok(summary);
        }
        points += 1;
        ensure!(points < 2000, "the download does not end");
    }
}
