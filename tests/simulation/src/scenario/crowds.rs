//! Many peers, many torrents, bad peers.

use super::{millis, seconds};
use crate::{
    peer::{MANNERS, Manner},
    stage::{Stage, Summary},
};
use anyhow::{Result, ensure};
use ring::sim::{Crash, Network};
use std::time::Duration;

pub(super) fn flash(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![500_000, 300_000]], 32_768)?;
    stage.add_server(2, true)?;
    stage.run_for(seconds(1))?;
    for _ in 0..30 {
        let slots = stage.rng.u32(2..8);
        stage.add_server(1, false)?.settings.upload_slots_per_torrent = slots;
    }
    stage.expect_completion(seconds(900))?;
    stage.end()
}

pub(super) fn many_peers(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![400_000]], 32_768)?;
    stage.add_server(2, true)?;
    stage.add_server(2, false)?;
    for _ in 0..200 {
        let manner = MANNERS[stage.rng.usize(..MANNERS.len())];
        stage.add_peer(manner)?;
    }
    stage.expect_completion(seconds(1800))?;
    stage.end()
}

pub(super) fn many_torrents(seed: u64) -> Result<Summary> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let torrents: Vec<Vec<u64>> = (0..500).map(|_| vec![rng.u64(1..40_000)]).collect();
    let mut stage = Stage::new(seed, &torrents, 16_384)?;
    for is_full in [true, false] {
        stage.add_server(4, is_full)?;
        let server = stage.servers.len() - 1;
        for torrent in &stage.torrents[1..] {
            stage.servers[server].add(torrent, is_full)?;
        }
    }
    stage.expect_completion(seconds(1800))?;
    stage.end()
}

/// The only seed goes when nearly everything is there, for good or for a while: everybody gets as far
/// as what is left lets them, and to the end if it comes back.
pub(super) fn leaving(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![1_640_000]], 16_384)?;
    stage.world.set_network(Network { bandwidth: 50_000..1_000_000, ..Network::default() });
    stage.add_server(1, true)?;
    for _ in 0..3 {
        stage.add_server(1, false)?;
    }
    let until = stage.world.now() + seconds(600);
    stage.run_until(until, |stage| {
        Ok(stage.servers[1..].iter().any(|server| server.held[0].share() >= 0.99))
    })?;
    let how = if stage.rng.bool() { Crash::Power } else { Crash::Process };
    let pause = millis(&mut stage.rng, 1..200_000);
    stage.servers[0].crash(how, pause)?;
    stage.expect_completion(seconds(1800))?;
    stage.end()
}

/// Peers that ask for much and never read again take the places of others until they are dropped.
pub(super) fn deaf(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![4_000_000]], 65_536)?;
    stage.add_server(1, true)?;
    for _ in 0..8 {
        stage.add_peer(Manner::StopsReading)?;
    }
    stage.run_for(seconds(200))?;
    stage.add_server(1, false)?;
    stage.expect_completion(seconds(600))?;
    stage.end()
}

/// Who comes first finds nobody, and must ask again: the seed that comes later calls nobody.
pub(super) fn late_seed(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![200_000]], 16_384)?;
    for _ in 0..stage.rng.usize(1..3) {
        stage.add_server(1, false)?;
    }
    let pause = millis(&mut stage.rng, 10_000..100_000);
    stage.run_for(pause)?;
    let late = stage.add_server(1, true)?.addr;
    stage.trackers.tell_nothing(late.ip());
    stage.expect_completion(seconds(600))?;
    stage.end()
}

pub(super) fn poison(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![300_000, 200_000]], 32_768)?;
    stage.add_server(1, true)?;
    for _ in 0..2 {
        stage.add_server(1, false)?;
    }
    for _ in 0..4 {
        stage.add_peer(Manner::Corrupts)?;
    }
    for _ in 0..stage.rng.usize(..2) {
        stage.add_peer(Manner::Seed)?;
    }
    let before = stage.world.now();
    stage.expect_completion(seconds(1800))?;
    ensure!(stage.world.now() - before < Duration::from_secs(1800), "late");
    stage.end()
}
