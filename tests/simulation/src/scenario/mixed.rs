//! Everything at once.

use super::{BACKED_OFF, millis};
use crate::{
    peer::MANNERS,
    server::Server,
    stage::{Stage, Summary},
    torrent::ROOTS,
};
use anyhow::Result;
use ring::sim::{Crash, DiskFaults};
use std::time::Duration;

pub(super) fn mixed(seed: u64) -> Result<Summary> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let lengths: Vec<u64> = (0..rng.usize(1..5)).map(|_| rng.u64(0..400_000)).collect();
    let lengths = if lengths.iter().sum::<u64>() == 0 { vec![100_000] } else { lengths };
    let mut stage = Stage::new(seed, &[lengths], 16_384 << rng.u32(0..3))?;
    let seeds = stage.rng.usize(1..=2);
    for number in 0..seeds + stage.rng.usize(1..=4) {
        let slots = if stage.rng.bool() { 50 } else { stage.rng.u32(1..5) };
        let shards = stage.rng.usize(1..=2);
        let open_files = if stage.rng.bool() { 1000 } else { stage.rng.usize(1..5) };
        let server = stage.add_server(shards, number < seeds)?;
        (server.settings.upload_slots_per_torrent, server.open_files) = (slots, open_files);
    }
    for _ in 0..stage.rng.usize(0..=4) {
        let manner = MANNERS[stage.rng.usize(..MANNERS.len())];
        stage.add_peer(manner)?;
    }
    stage.trackers.set_fails(stage.rng.u32(0..70));
    for server in &mut stage.servers {
        server.slow_disk(if stage.rng.bool() { stage.rng.u32(0..100_000) } else { 0 });
    }
    for _ in 0..stage.rng.usize(0..8) {
        let pause = millis(&mut stage.rng, 1..8_000);
        stage.run_for(pause)?;
        befall(&mut stage)?;
    }
    verify_what_was_harmed(&mut stage)?;
    stage.servers.iter_mut().for_each(Server::keep_running);
    stage.expect_completion(BACKED_OFF)?;
    stage.end()
}

/// Something goes wrong with somebody.
fn befall(stage: &mut Stage) -> Result<()> {
    let now = stage.world.now();
    let victim = stage.rng.usize(..stage.servers.len());
    let other = stage.rng.usize(..stage.servers.len());
    let other = stage.servers[other].machine;
    let until = now + millis(&mut stage.rng, 1..30_000);
    let (world, rng) = (&stage.world, &mut stage.rng);
    let server = &mut stage.servers[victim];
    let (machine, what) = (server.machine, rng.u32(..17));
    tracing::debug!(at = ?now, server = %server.addr, what, ?until, "befallen");
    match what {
        0 => {
            server.crash(Crash::Process, until - now)?;
            if rng.bool() {
                server.tamper(rng)?;
            }
        }
        1 => server.crash(Crash::Power, until - now)?,
        2 => world.partition(machine, other, until),
        3 => world.drop_clean_pages(machine),
        4 => {
            world.stall_connection(machine, until);
        }
        5 => {
            world.reset_connection(machine);
        }
        6 | 7 => server.fail_disk(some_faults(rng), until),
        8 => server.fill_disk(rng.u64(0..1_000_000), until),
        9 => server.harm(rng),
        10 => server.panic(rng),
        11 => stage.trackers.take_down(rng.usize(..2), until),
        12 => server.set_running(0, false),
        13 => server.set_running(0, true),
        14 => server.remove(0, rng.bool()),
        15 => server.move_to(0, ROOTS[rng.usize(..ROOTS.len())]),
        _ => {
            server.freeze(until);
            world.set_clock(machine, Duration::from_secs(rng.u64(..1_000_000)));
        }
    }
    Ok(())
}

/// Some kinds of errors, more or less often.
pub(super) fn some_faults(rng: &mut fastrand::Rng) -> DiskFaults {
    let mut some = |most: u32| if rng.bool() { rng.u32(..most) } else { 0 };
    DiskFaults {
        slow: some(100_000),
        short: some(500_000),
        errors: some(100_000),
        sync_errors: some(1_000_000),
        denials: some(300_000),
        ..DiskFaults::default()
    }
}

/// Whoever changes files behind the back of a server has them checked afterwards.
pub(super) fn verify_what_was_harmed(stage: &mut Stage) -> Result<()> {
    for server in &mut stage.servers {
        for at in 0..server.held.len() {
            if server.held[at].is_harmed {
                server.restore(at)?;
                server.verify(at);
            }
        }
    }
    Ok(())
}
