//! Processes, shards and machines that go and come back.

use super::{millis, seconds};
use crate::{
    stage::{Stage, Summary},
    torrent::ROOTS,
};
use anyhow::{Context, Result, ensure};
use ring::sim::Crash;
use std::time::Duration;

/// One source, and so many who want what it has.
fn swarm(seed: u64, leeches: usize) -> Result<Stage> {
    let mut stage = Stage::new(seed, &[vec![200_000, 0, 350_000, 77]], 32_768)?;
    stage.add_server(1, true)?;
    for number in 0..leeches {
        stage.add_server(1 + number % 2, false)?;
    }
    Ok(stage)
}

fn some_crash(rng: &mut fastrand::Rng) -> Crash {
    if rng.bool() { Crash::Power } else { Crash::Process }
}

/// The download of one server from another, cut off after so many operations of its disk. Whether
/// that many were needed.
fn cut_off_at(seed: u64, operations: Option<u64>) -> Result<(bool, Summary)> {
    let mut stage = Stage::new(seed, &[vec![40_000, 70_000, 50_000]], 16_384)?;
    stage.add_server(1, true)?;
    stage.add_server(1, false)?;
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
        let how = some_crash(&mut stage.rng);
        stage.servers[1].crash(how, seconds(1))?;
    }
    stage.world.halt_at_operation(machine, None);
    stage.expect_completion(seconds(600))?;
    Ok((was_cut, stage.end()?))
}

pub(super) fn points(seed: u64) -> Result<Summary> {
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

/// It crashes in the middle, and then again at some operation of what follows, several times.
pub(super) fn again(seed: u64) -> Result<Summary> {
    let mut stage = swarm(seed, 1)?;
    let machine = stage.servers[1].machine;
    for _ in 0..stage.rng.usize(2..7) {
        let more = stage.rng.u64(..40);
        let at = stage.world.disk_operations(machine) + more;
        stage.world.halt_at_operation(machine, Some(at));
        let until = stage.world.now() + seconds(30);
        stage.run_until(until, |stage| Ok(stage.world.is_halted(machine)))?;
        let how = some_crash(&mut stage.rng);
        let pause = millis(&mut stage.rng, 1..3_000);
        stage.servers[1].crash(how, pause)?;
        if stage.rng.bool() {
            // While it is down.
            let again = some_crash(&mut stage.rng);
            stage.servers[1].crash(again, pause)?;
        }
    }
    stage.world.halt_at_operation(machine, None);
    stage.expect_completion(seconds(1200))?;
    stage.end()
}

/// A torrent is moved, removed and added again, and its machine crashes at some operation of that.
pub(super) fn moves(seed: u64) -> Result<Summary> {
    let mut stage = swarm(seed, 1)?;
    let machine = stage.servers[1].machine;
    for _ in 0..stage.rng.usize(2..7) {
        let pause = millis(&mut stage.rng, 1..6_000);
        stage.run_for(pause)?;
        let at = stage.world.disk_operations(machine) + stage.rng.u64(..60);
        stage.world.halt_at_operation(machine, Some(at));
        match stage.rng.u32(..4) {
            0 => stage.servers[1].remove(0, stage.rng.bool()),
            _ => stage.servers[1].move_to(0, ROOTS[stage.rng.usize(..ROOTS.len())]),
        }
        let until = stage.world.now() + seconds(10);
        stage.run_until(until, |stage| Ok(stage.world.is_halted(machine)))?;
        let how = some_crash(&mut stage.rng);
        stage.servers[1].crash(how, seconds(1))?;
    }
    stage.servers[1].keep_running();
    stage.expect_completion(seconds(1200))?;
    stage.end()
}

pub(super) fn panics(seed: u64) -> Result<Summary> {
    let mut stage = swarm(seed, 2)?;
    let mut ordered = 0;
    for _ in 0..stage.rng.usize(1..6) {
        let pause = millis(&mut stage.rng, 1..6_000);
        stage.run_for(pause)?;
        let victim = stage.rng.usize(..stage.servers.len());
        stage.servers[victim].panic(&mut stage.rng);
        ordered += 1;
    }
    stage.run_for(seconds(2))?;
    let panics: u32 = stage.servers.iter().map(|server| server.panics).sum();
    ensure!((1..=ordered).contains(&panics), "{panics} panics where {ordered} were ordered");
    stage.expect_completion(seconds(900))?;
    stage.end()
}

/// Machines sleep for hours, and their clocks go forwards and backwards.
pub(super) fn clocks(seed: u64) -> Result<Summary> {
    let mut stage = swarm(seed, 2)?;
    for _ in 0..stage.rng.usize(1..6) {
        let pause = millis(&mut stage.rng, 1..6_000);
        stage.run_for(pause)?;
        let (now, victim) = (stage.world.now(), stage.rng.usize(..stage.servers.len()));
        let server = &mut stage.servers[victim];
        let ahead = Duration::from_secs(stage.rng.u64(..100_000_000));
        stage.world.set_clock(server.machine, ahead);
        match stage.rng.u32(..4) {
            0 => server.freeze(now + seconds(stage.rng.u64(1..7_200))),
            1 => server.freeze(now + millis(&mut stage.rng, 1..3_000)),
            2 => server.crash(some_crash(&mut stage.rng), seconds(1))?,
            _ => server.verify(0),
        }
    }
    // Who slept for hours is late.
    stage.expect_completion(seconds(6 * 7_200))?;
    stage.end()
}

pub(super) fn restart(seed: u64) -> Result<Summary> {
    let mut stage = swarm(seed, 4)?;
    for _ in 0..stage.rng.usize(1..5) {
        let pause = millis(&mut stage.rng, 100..8_000);
        stage.run_for(pause)?;
        let how = some_crash(&mut stage.rng);
        for at in 0..stage.servers.len() {
            let pause = millis(&mut stage.rng, 1..3_000);
            stage.servers[at].crash(how, pause)?;
            if stage.rng.u8(..) < 50 {
                stage.servers[at].tamper(&mut stage.rng)?;
            }
        }
    }
    stage.expect_completion(seconds(1200))?;
    stage.end()
}
