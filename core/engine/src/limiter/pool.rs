//! A speed limit that torrents of all shards share, without a lock.
//!
//! Each shard says how much weight its torrents throw in, and lets flow the part of the limit that
//! falls to it by that. What it cannot use, because its peers take no more, it leaves in the pool for
//! whoever comes next. Nothing here is touched for each block, only at each grant.

use crate::limits;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Stands for no limit.
const UNLIMITED: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Pool {
    /// Bytes per second.
    rate: AtomicU64,
    /// The weight that each shard throws in.
    weights: Box<[AtomicU32]>,
    /// Bytes that shards have left.
    spare: AtomicU64,
}

impl Pool {
    /// A pool without a limit for so many shards.
    pub(crate) fn new(shards: usize) -> Pool {
        Pool {
            rate: AtomicU64::new(UNLIMITED),
            weights: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            spare: AtomicU64::new(0),
        }
    }

    /// Sets the limit in bytes per second; tells whether it is another one.
    pub(crate) fn set_rate(&self, rate: Option<u64>) -> bool {
        let rate = rate.unwrap_or(UNLIMITED);
        self.rate.swap(rate, Relaxed) != rate
    }

    /// Bytes per second, if there is a limit.
    pub(crate) fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Relaxed)).filter(|&rate| rate != UNLIMITED)
    }

    /// The bytes that fall to a shard for some time, given the weight of its torrents that want some.
    pub(crate) fn draw(&self, shard: usize, weight: u32, time: Duration) -> f64 {
        let Some(rate) = self.rate() else { return 0.0 };
        self.weights[shard].store(weight, Relaxed);
        let all: u64 = self.weights.iter().map(|weight| u64::from(weight.load(Relaxed))).sum();
        if weight == 0 || all == 0 {
            return 0.0;
        }
        let share = f64::from(weight) / all as f64;
        rate as f64 * time.as_secs_f64() * share + self.spare.swap(0, Relaxed) as f64
    }

    /// Leaves bytes for whoever draws next; what nobody takes does not add up.
    pub(crate) fn leave(&self, bytes: f64) {
        let Some(rate) = self.rate() else { return };
        let most = (rate as f64 * limits::SPARE_HOLD.as_secs_f64()) as u64;
        let add = |spare: u64| Some(spare.saturating_add(bytes.max(0.0) as u64).min(most));
        // The closure never refuses.
        let _ = self.spare.fetch_update(Relaxed, Relaxed, add);
    }

    /// The shard has nobody left who wants anything.
    pub(crate) fn withdraw(&self, shard: usize) {
        self.weights[shard].store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK: Duration = Duration::from_millis(50);

    #[test]
    fn shards_share_by_weight_and_one_alone_has_all() {
        let pool = Pool::new(2);
        assert_eq!(pool.draw(0, 1, TICK), 0.0, "nothing is handed out without a limit");
        assert!(pool.set_rate(Some(1000)) && !pool.set_rate(Some(1000)));
        assert_eq!(pool.draw(0, 3, TICK).round(), 50.0);
        assert_eq!(pool.draw(1, 1, TICK).round(), 13.0);
        assert_eq!(pool.draw(0, 3, TICK).round(), 38.0);
        pool.withdraw(1);
        assert_eq!(pool.draw(0, 3, TICK).round(), 50.0);
    }

    #[test]
    fn what_one_leaves_another_takes_and_little_of_it_is_kept() {
        let pool = Pool::new(2);
        pool.set_rate(Some(1000));
        let _ = (pool.draw(0, 1, TICK), pool.draw(1, 1, TICK));
        pool.leave(10.0);
        assert_eq!(pool.draw(1, 1, TICK).round(), 35.0);
        pool.leave(1e9);
        let most = 1000.0 * limits::SPARE_HOLD.as_secs_f64();
        assert_eq!(pool.draw(1, 1, TICK).round(), 25.0 + most);
    }

    proptest! {
        /// However shards come, go and draw, no more flows than the limit and what may be kept.
        #[test]
        fn no_more_flows_than_the_limit(
            rate in 1_000u64..1_000_000_000,
            turns in prop::collection::vec((0u32..4, 0u32..4, 0u32..4, 0.0f64..1.0), 1..200),
        ) {
            let pool = Pool::new(3);
            pool.set_rate(Some(rate));
            let mut used = 0.0;
            for (a, b, c, part) in &turns {
                for (shard, weight) in [a, b, c].into_iter().enumerate() {
                    let drawn = pool.draw(shard, *weight, TICK);
                    pool.leave(drawn * (1.0 - part));
                    used += drawn * part;
                }
            }
            let time = TICK.as_secs_f64() * turns.len() as f64;
            // In a turn in which weights change, shards may for once draw by old weights of others.
            let changes = turns.windows(2).filter(|two| {
                let weights = |turn: &(u32, u32, u32, f64)| (turn.0, turn.1, turn.2);
                weights(&two[0]) != weights(&two[1])
            });
            let slack = (changes.count() + 1) as f64 * TICK.as_secs_f64() * 2.0;
            let hold = limits::SPARE_HOLD.as_secs_f64();
            prop_assert!(used <= rate as f64 * (time + slack + hold) + 1.0);
        }
    }
}
