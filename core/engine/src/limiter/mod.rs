//! Speed limits: who may let how many bytes pass.
//!
//! ```text
//!  Pool of the session ─┐  drawn by each shard      shared out among        credit of a Swarm's
//!  Pool of a group ─────┼─ by the weight of its ──► its torrents that ──►   meter, which blocks
//!  a torrent's own ─────┘  torrents, every 50 ms    want some               and requests use up
//! ```
//! Shards never wait for each other, and nothing here is touched for each block: a block costs a
//! comparison with its swarm's credit, and without any limit not even that subtraction.

mod pool;
pub(crate) mod schedule;
mod share;

pub(crate) use pool::Pool;
pub(crate) use share::{Claim, share_out};

use std::sync::Arc;
use swarm::Way;

/// What limits one torrent.
#[derive(Clone, Debug, Default)]
pub(crate) struct TorrentLimits {
    /// Its weight among those that share a pool, from 1; 0 counts as 1.
    pub(crate) weight: u32,
    /// Its own limits in bytes per second, by [`Way`].
    pub(crate) own: [Option<u64>; 2],
    /// The pools that it shares, limited or not, by [`Way`].
    pub(crate) pools: [[Option<Arc<Pool>>; 2]; 2],
}

impl TorrentLimits {
    /// The smallest of the limits that hold now, in bytes per second.
    pub(crate) fn least(&self, way: Way) -> Option<u64> {
        let pools = self.pools[way as usize].iter().flatten().filter_map(|pool| pool.rate());
        pools.chain(self.own[way as usize]).min()
    }
}

/// How many times the share of a torrent of low priority one of this priority gets.
pub(crate) fn weight(priority: i8) -> u32 {
    match priority {
        ..=-1 => 1,
        0 => 3,
        1.. => 9,
    }
}

/// One pool for each [`Way`].
#[derive(Debug)]
pub(crate) struct Pools([Arc<Pool>; 2]);

impl Pools {
    pub(crate) fn new(shards: usize) -> Pools {
        Pools([Arc::new(Pool::new(shards)), Arc::new(Pool::new(shards))])
    }

    pub(crate) fn of(&self, way: Way) -> &Arc<Pool> {
        &self.0[way as usize]
    }

    /// Sets both rates in bytes per second; tells whether either is another one.
    pub(crate) fn set_rates(&self, up: Option<u64>, down: Option<u64>) -> bool {
        self.of(Way::Up).set_rate(up) | self.of(Way::Down).set_rate(down)
    }
}
