//! A world with its servers and peers, and the loop that lets it happen.

use crate::{
    peer::{Manner, Peer},
    server::{Culprits, Server},
    torrent::Torrent,
    tracker::Trackers,
};
use anyhow::{Context, Result, ensure};
use ring::sim::World;
use std::{net::SocketAddr, time::Duration};

/// Turns in one run at most: one that comes here goes round in circles.
const TURNS: u64 = 20_000_000;

/// Time that servers get to end in good order.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// What a disk holds that is never full.
const GIB: u64 = 1 << 30;

/// A world and everybody in it.
pub struct Stage {
    /// The world.
    pub world: World,
    /// What it is about.
    pub torrents: Vec<Torrent>,
    /// Real shards.
    pub servers: Vec<Server>,
    /// Scripted peers, and which torrent each is about.
    pub peers: Vec<(usize, Peer)>,
    /// For decisions of the scenario.
    pub rng: fastrand::Rng,
    /// Where they find each other.
    pub trackers: Trackers,
    /// Who sends wrong bytes.
    pub culprits: Culprits,
    turns: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Virtual time.
    pub took: Duration,
    /// Turns of shards and peers.
    pub turns: u64,
    /// Everything that happened as one number.
    pub digest: u64,
}

impl Stage {
    /// An empty world about torrents of these files.
    pub fn new(seed: u64, torrents: &[Vec<u64>], piece_length: u32) -> Result<Stage> {
        let world = World::new(seed)?;
        world.schedule_by_hand();
        let mut rng = world.fork_random();
        let trackers = Trackers::new(&world);
        // What the process draws by itself: ids of peers.
        fastrand::seed(seed);
        let torrents = torrents
            .iter()
            .map(|lengths| Torrent::new(&mut rng, lengths, piece_length, trackers.tiers()))
            .collect::<Result<_>>()?;
        Ok(Stage {
            trackers,
            world,
            torrents,
            servers: Vec::new(),
            peers: Vec::new(),
            rng,
            culprits: Culprits::default(),
            turns: 0,
        })
    }

    /// The next free address.
    fn addr(&self) -> SocketAddr {
        let number = self.servers.len() + self.peers.len() + 1;
        let ip = [10, 0, (number >> 8) as u8, number as u8];
        SocketAddr::from((ip, crate::server::PORT))
    }

    /// Adds a server of so many shards that has all of the first torrent, or nothing of it.
    pub fn add_server(&mut self, shards: usize, is_full: bool) -> Result<&mut Server> {
        let (addr, culprits) = (self.addr(), self.culprits.clone());
        let (world, rng, trackers) = (&self.world, &mut self.rng, &self.trackers);
        let mut server = Server::new(world, rng, addr, shards, GIB, &culprits, trackers)?;
        server.add(&self.torrents[0], is_full)?;
        self.servers.push(server);
        Ok(self.servers.last_mut().expect("it was pushed just now"))
    }

    /// Adds a peer of the first torrent that connects to about half of the servers.
    pub fn add_peer(&mut self, manner: Manner) -> Result<()> {
        let addr = self.addr();
        let torrent = &self.torrents[0];
        let mut peer = Peer::new(&self.world, &mut self.rng, addr, torrent, manner)?;
        for server in &self.servers {
            if self.rng.bool() {
                peer.connect(server.addr)?;
            }
        }
        if manner == Manner::Corrupts {
            self.culprits.borrow_mut().insert(addr.ip());
        }
        self.trackers.put(torrent.info_hash.0, addr, !manner.is_leech());
        self.peers.push((0, peer));
        Ok(())
    }

    /// Lets everything happen for a while.
    pub fn run_for(&mut self, time: Duration) -> Result<()> {
        let until = self.world.now() + time;
        self.run_until(until, |_| Ok(false))
    }

    /// Lets everything happen up to a moment, or until `done` says so.
    pub fn run_until(
        &mut self,
        until: Duration,
        mut done: impl FnMut(&mut Stage) -> Result<bool>,
    ) -> Result<()> {
        while !done(self)? {
            let next = self.next().min(until);
            self.world.advance(next);
            if self.world.now() >= until {
                return Ok(());
            }
            self.turn()?;
        }
        Ok(())
    }

    fn next(&self) -> Duration {
        let servers = self.servers.iter().filter_map(Server::due);
        let peers = self.peers.iter().filter_map(|(_, peer)| peer.due());
        let all = servers.chain(peers).chain(self.world.next());
        all.chain(self.trackers.due()).min().unwrap_or_default().max(self.world.now())
    }

    fn turn(&mut self) -> Result<()> {
        let now = self.world.now();
        self.turns += 1;
        ensure!(self.turns < TURNS, "the run goes round in circles");
        self.trackers.step().with_context(|| format!("at {now:?}"))?;
        for server in &mut self.servers {
            if server.due().is_some_and(|due| due <= now) {
                server.step().with_context(|| format!("at {now:?}, server {}", server.addr))?;
            }
        }
        for (_, peer) in &mut self.peers {
            if peer.due().is_some_and(|due| due <= now) {
                peer.step().with_context(|| format!("at {now:?}, peer {}", peer.addr))?;
            }
        }
        Ok(())
    }

    /// Everybody finishes within the time.
    pub fn expect_completion(&mut self, within: Duration) -> Result<()> {
        let until = self.world.now() + within;
        self.run_until(until, |stage| Ok(stage.servers.iter().all(Server::is_complete)))?;
        let late: Vec<_> = self
            .servers
            .iter()
            .filter(|server| !server.is_complete())
            .map(|server| server.addr)
            .collect();
        ensure!(late.is_empty(), "not complete after {within:?}: {late:?}");
        Ok(())
    }

    /// Ends everything, and checks that nothing is left over.
    pub fn end(&mut self) -> Result<Summary> {
        for server in &mut self.servers {
            server.check_counted()?;
            server.shut_down();
        }
        let until = self.world.now() + END_PATIENCE;
        self.run_until(until, |stage| Ok(stage.servers.iter().all(Server::has_ended)))?;
        for server in &mut self.servers {
            server.check_end()?;
        }
        let digest = self.world.digest() ^ self.trackers.digest();
        Ok(Summary { took: self.world.now(), turns: self.turns, digest })
    }
}
