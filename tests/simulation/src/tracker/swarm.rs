//! Whom a tracker knows.

use super::message::Heard;
use discovery::tracker::{Counts, Event};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Peers in one answer, as real trackers give.
const PEERS: usize = 50;

/// The swarms of a tracker, by info-hash.
#[derive(Default)]
pub struct Swarms {
    swarms: BTreeMap<[u8; 20], Swarm>,
    /// They announce, and are told of nobody.
    pub quiet: BTreeSet<IpAddr>,
}

#[derive(Default)]
struct Swarm {
    members: BTreeMap<SocketAddr, Member>,
    downloads: u32,
}

struct Member {
    is_seed: bool,
    /// When it is forgotten; `None` of those that never announce.
    until: Option<Duration>,
}

impl Swarms {
    /// Puts somebody on the list who does not announce.
    pub fn put(&mut self, info_hash: [u8; 20], addr: SocketAddr, is_seed: bool) {
        let swarm = self.swarms.entry(info_hash).or_default();
        swarm.members.insert(addr, Member { is_seed, until: None });
    }

    /// Somebody announces itself until then: how many there are, and some of them.
    pub fn announce(
        &mut self,
        rng: &mut fastrand::Rng,
        from: IpAddr,
        heard: &Heard,
        now: Duration,
        until: Duration,
    ) -> (Counts, Vec<SocketAddr>) {
        let swarm = self.swarms.entry(heard.info_hash).or_default();
        swarm.members.retain(|_, member| member.until.is_none_or(|until| until > now));
        let me = SocketAddr::new(from, heard.port);
        if heard.event == Event::Stopped {
            swarm.members.remove(&me);
        } else {
            let is_seed = heard.figures[2] == 0;
            swarm.members.insert(me, Member { is_seed, until: Some(until) });
        }
        swarm.downloads += u32::from(heard.event == Event::Completed);
        let mut named: Vec<SocketAddr> =
            swarm.members.keys().copied().filter(|&member| member != me).collect();
        rng.shuffle(&mut named);
        named.truncate(PEERS.min(heard.numwant as usize));
        if self.quiet.contains(&from) {
            named.clear();
        }
        (swarm.counts(), named)
    }

    /// How many there are of each torrent.
    pub fn scrape(&self, asked: &[[u8; 20]]) -> Vec<([u8; 20], Counts)> {
        let counts = |info_hash| self.swarms.get(info_hash).map(Swarm::counts).unwrap_or_default();
        asked.iter().map(|info_hash| (*info_hash, counts(info_hash))).collect()
    }
}

impl Swarm {
    fn counts(&self) -> Counts {
        let seeders = self.members.values().filter(|member| member.is_seed).count() as u32;
        Counts {
            seeders: Some(seeders),
            leechers: Some(self.members.len() as u32 - seeders),
            downloads: Some(self.downloads),
            downloaders: None,
        }
    }
}
