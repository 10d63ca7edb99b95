//! One run: servers, peers and a tracker in a world, and the loop that lets time pass.

use crate::{peer::Peer, server::Server, torrent::Torrent};
use anyhow::{Context, Result, ensure};
use ring::sim::World;
use std::{net::SocketAddr, time::Duration};

/// Turns in one run at most: one that comes here goes round in circles.
const TURNS: u64 = 20_000_000;

/// Time that servers get to end in good order.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// How often the tracker answers.
const TRACKER_INTERVAL: Duration = Duration::from_secs(5);

/// Addresses in an answer of the tracker.
const ADDRESSES: usize = 8;

/// A world and everybody in it.
pub struct Stage {
    /// The world.
    pub world: World,
    /// What it is about.
    pub torrent: Torrent,
    /// Real shards.
    pub servers: Vec<Server>,
    /// Scripted peers.
    pub peers: Vec<Peer>,
    /// For decisions of the scenario.
    pub rng: fastrand::Rng,
    /// Announces in a hundred that the tracker fails to answer.
    pub tracker_fails: u32,
    next_answer: Duration,
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
    /// An empty world about a torrent of these files.
    pub fn new(seed: u64, lengths: &[u64], piece_length: u32) -> Result<Stage> {
        let world = World::new(seed)?;
        world.schedule_by_hand();
        let mut rng = world.fork_random();
        let torrent = Torrent::new(&mut rng, lengths, piece_length)?;
        Ok(Stage {
            world,
            torrent,
            servers: Vec::new(),
            peers: Vec::new(),
            rng,
            tracker_fails: 0,
            next_answer: Duration::ZERO,
            turns: 0,
        })
    }

    /// The next free address.
    pub fn addr(&self) -> SocketAddr {
        let number = self.servers.len() + self.peers.len() + 1;
        let ip = [10, 0, (number >> 8) as u8, number as u8];
        SocketAddr::from((ip, crate::server::PORT))
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
        let peers = self.peers.iter().filter_map(Peer::due);
        let all = servers.chain(peers).chain(self.world.next());
        all.chain([self.next_answer]).min().unwrap_or_default().max(self.world.now())
    }

    fn turn(&mut self) -> Result<()> {
        let now = self.world.now();
        self.turns += 1;
        ensure!(self.turns < TURNS, "the run goes round in circles");
        if now >= self.next_answer {
            self.next_answer = now + TRACKER_INTERVAL;
            self.answer();
        }
        for server in &mut self.servers {
            if server.due().is_some_and(|due| due <= now) {
                server.step().with_context(|| format!("at {now:?}, server {}", server.addr))?;
            }
        }
        for peer in &mut self.peers {
            if peer.due().is_some_and(|due| due <= now) {
                peer.step().with_context(|| format!("at {now:?}, peer {}", peer.addr))?;
            }
        }
        Ok(())
    }

    /// The tracker names a few of those who are there to those who asked.
    fn answer(&mut self) {
        let all: Vec<SocketAddr> = self
            .servers
            .iter()
            .filter(|server| server.is_running())
            .map(|server| server.addr)
            .chain(self.peers.iter().map(|peer| peer.addr))
            .collect();
        for server in &mut self.servers {
            if !server.wants_peers || self.rng.u32(..100) < self.tracker_fails {
                continue;
            }
            let mut named: Vec<SocketAddr> =
                all.iter().copied().filter(|&addr| addr != server.addr).collect();
            self.rng.shuffle(&mut named);
            named.truncate(ADDRESSES);
            server.add_peers(named);
        }
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
        self.servers.iter_mut().for_each(Server::shut_down);
        let until = self.world.now() + END_PATIENCE;
        self.run_until(until, |stage| {
            Ok(stage.servers.iter().all(|server| server.due().is_none()))
        })?;
        for server in &mut self.servers {
            server.check_end()?;
        }
        Ok(Summary { took: self.world.now(), turns: self.turns, digest: self.world.digest() })
    }
}
