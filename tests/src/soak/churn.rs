//! What goes on around a daemon that runs for long: torrents, peers and callers that come and go.

use super::gate::Gate;
use crate::leech::{Known, visit};
use crate::peer::{Manner, Seed};
use crate::{Remote, ScriptedTracker, Torrent, wait_for};
use anyhow::{Context, Result};
use fastrand::Rng;
use metainfo::InfoHash;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Longer than anything that is waited for takes, however busy the machine is.
const ENOUGH: Duration = Duration::from_secs(180);

/// What all workers know.
pub struct World {
    /// Where the daemon takes calls, and where peers.
    pub control: SocketAddr,
    pub peers: SocketAddr,
    pub gate: Gate,
    /// Folders for downloads, on more than one file system where there is one.
    pub places: Vec<PathBuf>,
    /// One that is always there, and one that comes and goes.
    pub steady: ScriptedTracker,
    pub fickle: Mutex<ScriptedTracker>,
    /// Lives of torrents that have ended well, and bytes that visitors were served.
    pub lives: AtomicU64,
    pub served: AtomicU64,
}

impl World {
    /// The torrent's file, with both trackers.
    pub fn metainfo(&self, torrent: &Torrent) -> Result<Vec<u8>> {
        let fickle = self.fickle.lock().unwrap_or_else(PoisonError::into_inner).url();
        torrent.with_trackers(&[&fickle, &self.steady.url()])
    }

    /// What both trackers say of a torrent; a client asks the next one only if the first is down.
    fn set_peers(&self, hash: InfoHash, peers: &[SocketAddr]) {
        self.steady.set_peers(hash, peers);
        self.fickle.lock().unwrap_or_else(PoisonError::into_inner).set_peers(hash, peers);
    }

    /// A tracker stops to answer for a while.
    pub fn tracker_naps(&self, random: &mut Rng) -> Result<()> {
        let fickle = || self.fickle.lock().unwrap_or_else(PoisonError::into_inner);
        fickle().down();
        thread::sleep(Duration::from_millis(random.u64(200..3000)));
        fickle().up()?;
        thread::sleep(Duration::from_millis(random.u64(500..3000)));
        Ok(())
    }
}

/// A torrent's life: downloaded, served, stopped, checked, moved and removed.
pub fn life(world: &World, remote: &mut Remote, known: &Known, random: &mut Rng) -> Result<()> {
    let torrent = &known.torrent;
    let hash = torrent.info_hash();
    let mut seeds = vec![Seed::start(torrent, host(random), Manner::Honest)?];
    if random.u8(..6) == 0 {
        let manner = Manner::Stalls(random.u64(1..100));
        seeds.push(Seed::start(torrent, host(random), manner)?);
    }
    let addresses: Vec<SocketAddr> = seeds.iter().map(Seed::address).collect();
    world.set_peers(hash, &addresses);
    let mut place = random.choice(&world.places).context("no place")?;
    remote.add(&world.metainfo(torrent)?, place)?;
    if random.u8(..4) == 0 {
        remote.act("torrent_stop", hash, json!({}))?;
        remote.wait_stopped(hash)?;
        remote.act("torrent_start", hash, json!({}))?;
    }
    remote.wait_seeding(&known.torrent)?;
    torrent.compare(place)?;
    drop(seeds);
    for _ in 0..random.u8(1..4) {
        let (visits, seed) = (random.u8(..3), random.u64(..));
        thread::scope(|scope| {
            let visit = |number| scope.spawn(move || visitor(world, known, seed ^ number));
            let visitors: Vec<_> = (0..u64::from(visits)).map(visit).collect();
            act(world, remote, known, &mut place, random)?;
            visitors.into_iter().try_for_each(|visitor| visitor.join().unwrap_or_else(resume))
        })?;
    }
    remote.wait_seeding(&known.torrent)?;
    if random.bool() {
        remote.remove(hash, false)?;
        torrent.compare(place)?;
        remote.add(&world.metainfo(torrent)?, place)?;
        remote.wait_seeding(&known.torrent)?;
    }
    remote.remove(hash, true)?;
    wait_for("its data is deleted", ENOUGH, || Ok(torrent.is_gone_from(place).then_some(())))?;
    world.lives.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn act<'a>(
    world: &'a World,
    remote: &mut Remote,
    known: &Known,
    place: &mut &'a PathBuf,
    random: &mut Rng,
) -> Result<()> {
    let hash = known.torrent.info_hash();
    match random.u8(..5) {
        0 => {
            remote.act("torrent_stop", hash, json!({}))?;
            remote.wait_stopped(hash)?;
            remote.act("torrent_start", hash, json!({}))?;
            remote.wait_seeding(&known.torrent)
        }
        1 => {
            remote.act("torrent_verify", hash, json!({}))?;
            remote.wait_seeding(&known.torrent)
        }
        2 | 3 => {
            *place = random.choice(&world.places).context("no place")?;
            remote.relocate(hash, place)?;
            remote.wait_seeding(&known.torrent)?;
            known.torrent.compare(place)
        }
        _ => {
            remote.act("torrent_reannounce", hash, json!({}))?;
            thread::sleep(Duration::from_millis(random.u64(..500)));
            Ok(())
        }
    }
}

fn resume(panic: Box<dyn std::any::Any + Send>) -> Result<()> {
    std::panic::resume_unwind(panic)
}

/// One visit of a peer that takes what it gets and goes.
pub fn visitor(world: &World, known: &Known, seed: u64) -> Result<()> {
    let random = &mut Rng::with_seed(seed);
    let time = Duration::from_millis(random.u64(50..1500));
    let served = visit(world.peers, &known.content, random, time)?;
    world.served.fetch_add(served, Ordering::Relaxed);
    Ok(())
}

/// An address of this machine that is no other peer's.
fn host(random: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::new(127, random.u8(1..), random.u8(..), random.u8(1..255))
}
