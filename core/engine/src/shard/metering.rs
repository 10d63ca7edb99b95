//! Speed limits of a shard's torrents: every so often those that let payload pass, or wait to, get
//! what falls to them of the limits that they share.

use super::{Shard, torrent::Torrent};
use crate::{
    limiter::{Claim, Pool, TorrentLimits, share_out},
    limits,
};
use std::{sync::Arc, time::Duration};
use swarm::{Flow, Way};

/// Which torrents are granted credit, and when next.
#[derive(Default)]
pub(super) struct Metering {
    /// Limited torrents that have let something pass or wait to, each once.
    slots: Vec<usize>,
    last: Duration,
    next: Duration,
    /// Pools in which this shard has put weight, by [`Way`].
    in_use: [Vec<Arc<Pool>>; 2],
    /// Scratch.
    claims: Vec<Claim>,
    owners: Vec<usize>,
}

impl Metering {
    /// The torrent is looked at from the next grant on.
    pub(super) fn join(&mut self, now: Duration, slot: usize) {
        if self.slots.is_empty() {
            (self.last, self.next) = (now, now + limits::GRANT_INTERVAL);
        }
        self.slots.push(slot);
    }

    /// When the next grant is due, if anybody is there to get it.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.slots.is_empty()).then_some(self.next)
    }

    /// Leaves a torrent out that is going.
    pub(super) fn forget(&mut self, shard: usize, slot: usize) {
        self.slots.retain(|&other| other != slot);
        if self.slots.is_empty() {
            // No grant follows that would do it.
            self.withdraw(shard);
        }
    }

    /// Takes the shard's weight out of all pools.
    pub(super) fn withdraw(&mut self, shard: usize) {
        self.in_use.iter().flatten().for_each(|pool| pool.withdraw(shard));
        self.in_use = Default::default();
    }
}

impl Shard {
    pub(super) fn set_limits(&mut self, slot: usize, limits: TorrentLimits) {
        self.torrents[slot].limits = limits;
        self.renew_limits(slot);
    }

    /// Limits the torrent's swarm if there is now anything that does.
    pub(super) fn renew_limits(&mut self, slot: usize) {
        let torrent = &mut self.torrents[slot];
        for way in Way::BOTH {
            torrent.swarm.limit(way, torrent.limits.least(way).is_some());
        }
        self.mark_ready(slot);
    }

    /// Grants credit, if that is due.
    pub(super) fn grant_credit(&mut self) {
        let now = self.now;
        if self.metering.due().is_none_or(|due| due > now) {
            return;
        }
        let metering = &mut self.metering;
        let time = now.saturating_sub(metering.last).min(limits::GRANT_LATEST);
        (metering.last, metering.next) = (now, now + limits::GRANT_INTERVAL);
        let torrents = &mut self.torrents;
        metering.slots.retain(|&slot| {
            let Some(torrent) = torrents.get_mut(slot) else { return false };
            torrent.is_metered =
                Way::BOTH.into_iter().fold(false, |any, way| any | torrent.is_flowing(way));
            torrent.is_metered
        });
        for way in Way::BOTH {
            self.grant_credit_for(way, time);
        }
    }

    fn grant_credit_for(&mut self, way: Way, time: Duration) {
        let (mut claims, mut owners) =
            (std::mem::take(&mut self.metering.claims), std::mem::take(&mut self.metering.owners));
        let mut pools: Vec<Arc<Pool>> = Vec::new();
        for &slot in &self.metering.slots {
            let torrent = &mut self.torrents[slot];
            if let Some(claim) = torrent.claim(way, time, &mut pools) {
                claims.push(claim);
                owners.push(slot);
            }
        }
        let weight_in = |pool: usize| {
            let of_it = claims.iter().filter(|claim| claim.budgets.contains(&Some(pool)));
            of_it.map(|claim| claim.weight).sum::<f64>() as u32
        };
        let draw =
            |(number, pool): (usize, &Arc<Pool>)| pool.draw(self.number, weight_in(number), time);
        let mut budgets: Vec<f64> = pools.iter().enumerate().map(draw).collect();
        share_out(&mut budgets, &mut claims);
        pools.iter().zip(budgets).for_each(|(pool, rest)| pool.leave(rest));
        let in_use = &mut self.metering.in_use[way as usize];
        for pool in in_use.iter().filter(|old| !pools.iter().any(|new| Arc::ptr_eq(old, new))) {
            pool.withdraw(self.number);
        }
        *in_use = pools;
        for (claim, slot) in claims.drain(..).zip(owners.drain(..)) {
            self.torrents[slot].grant(way, claim.granted, time);
            self.mark_ready(slot);
        }
        (self.metering.claims, self.metering.owners) = (claims, owners);
    }
}

fn is_flowing(flow: Flow) -> bool {
    flow.hungry || flow.spent > 0 || flow.credit < 0
}

/// Bytes that a rate lets pass within a grant's time and what may be kept for a while.
fn reach(rate: u64, time: Duration) -> f64 {
    rate as f64 * (time + limits::GRANT_HOLD).as_secs_f64()
}

impl Torrent {
    /// Whether anything passes or waits to. If not, what credit is left goes back to its pools, so
    /// that torrents at rest do not hoard any.
    fn is_flowing(&mut self, way: Way) -> bool {
        let Some(flow) = self.swarm.flow(way) else { return false };
        if is_flowing(flow) {
            return true;
        }
        if flow.credit > 0 {
            self.limits.pools[way as usize].iter().flatten().for_each(|pool| {
                pool.leave(flow.credit as f64);
            });
            self.swarm.grant(way, -flow.credit, 0);
        }
        false
    }

    /// What it asks for: as much as the narrowest limit lets pass while peers wait for credit, and
    /// else twice what has passed of late. Its pools are added to `pools` if they are not there.
    fn claim(&mut self, way: Way, time: Duration, pools: &mut Vec<Arc<Pool>>) -> Option<Claim> {
        let flow = self.swarm.flow(way).filter(|&flow| is_flowing(flow))?;
        let most = reach(self.limits.least(way)?, time);
        let target = match flow.hungry {
            true => most,
            false => ((2 * flow.spent + u64::from(metainfo::BLOCK_LENGTH)) as f64).min(most),
        };
        let mut want = (target - flow.credit as f64).max(0.0);
        if let Some(rate) = self.limits.own[way as usize] {
            let own = &mut self.own_credit[way as usize];
            *own = (*own + rate as f64 * time.as_secs_f64()).min(reach(rate, time));
            want = want.min(*own);
        }
        let mut number = |pool: &Arc<Pool>| {
            pool.rate()?;
            let known = pools.iter().position(|other| Arc::ptr_eq(other, pool));
            Some(known.unwrap_or_else(|| {
                pools.push(Arc::clone(pool));
                pools.len() - 1
            }))
        };
        let [group, session] = &self.limits.pools[way as usize];
        let budgets =
            [group.as_ref().and_then(&mut number), session.as_ref().and_then(&mut number)];
        Some(Claim { weight: f64::from(self.limits.weight.max(1)), want, budgets, granted: 0.0 })
    }

    fn grant(&mut self, way: Way, bytes: f64, time: Duration) {
        let at = way as usize;
        if self.limits.own[at].is_some() {
            self.own_credit[at] -= bytes;
        }
        // Less than a byte waits for the next grant, or slow limits would be slower than they are.
        let whole = (bytes + self.credit_fraction[at]).floor();
        self.credit_fraction[at] += bytes - whole;
        let most = self.limits.least(way).map_or(0.0, |rate| reach(rate, time));
        self.swarm.grant(way, whole as i64, most as i64);
    }
}
