//! How fast: no tracker's host is asked more often, or by more requests at once, than it can be
//! expected to bear, however many torrents announce to it.
//!
//! Each host has a bucket of permits. A full one lets the first announces of a session go at once;
//! the rest are spread over a time in proportion to their number. Within a host, events go before
//! regular announces and those before scrapes, each in the order in which they came.

use super::torrent::Urgency;
use crate::limits;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The pace of one host.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    /// Requests that may go at once after a rest; at least 1.
    pub burst: u32,
    /// Requests per second after that; above 0.
    pub per_second: f64,
    /// Requests without an answer at a time; at least 1.
    pub in_flight: usize,
}

/// Jobs of type `J` waiting for their host.
pub struct Pacer<J> {
    pace: Pace,
    hosts: HashMap<Arc<str>, Host<J>>,
    /// Hosts with jobs, each once, the one to serve next in front.
    round: VecDeque<Arc<str>>,
}

struct Host<J> {
    lanes: [VecDeque<J>; 3],
    in_flight: usize,
    permits: f64,
    counted_at: Duration,
}

impl<J> Pacer<J> {
    /// No jobs.
    pub fn new(pace: Pace) -> Pacer<J> {
        Pacer { pace, hosts: HashMap::new(), round: VecDeque::new() }
    }

    /// Lets everything go as fast as answers come, up to `in_flight` at a time for each host.
    pub fn hurry(&mut self, in_flight: usize) {
        self.pace = Pace { burst: u32::MAX, per_second: f64::from(u32::MAX), in_flight };
    }

    /// Queues a job.
    pub fn push(&mut self, now: Duration, host: &Arc<str>, urgency: Urgency, job: J) {
        if self.hosts.len() >= limits::PACED_HOSTS && !self.hosts.contains_key(host) {
            let pace = self.pace;
            self.hosts.retain(|_, host| !host.is_idle() || host.permits(&pace, now) < 1.0);
        }
        let host_state = self.hosts.entry(host.clone()).or_insert_with(|| Host {
            lanes: Default::default(),
            in_flight: 0,
            permits: f64::from(self.pace.burst),
            counted_at: now,
        });
        if host_state.is_empty() {
            self.round.push_back(host.clone());
        }
        host_state.lanes[urgency as usize].push_back(job);
    }

    /// The next job that may go, hosts taking turns. [`Self::finished`] is to be called when it is
    /// over.
    pub fn pop(&mut self, now: Duration) -> Option<(Arc<str>, J)> {
        for _ in 0..self.round.len() {
            let name = self.round.pop_front()?;
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let job = host.take(&self.pace, now);
            if !host.is_empty() {
                self.round.push_back(name.clone());
            }
            if let Some(job) = job {
                return Some((name, job));
            }
        }
        None
    }

    /// Takes out up to `most` further jobs of the host that can be done together with one that
    /// [`Self::pop`] gave: they cost it nothing. Only the first in their line are looked at.
    pub fn take_along(
        &mut self,
        host: &Arc<str>,
        urgency: Urgency,
        most: usize,
        mut can_be: impl FnMut(&J) -> bool,
    ) -> Vec<J> {
        let mut taken = vec![];
        let Some(found) = self.hosts.get_mut(host) else { return taken };
        let lane = &mut found.lanes[urgency as usize];
        let mut left = VecDeque::new();
        for _ in 0..lane.len().min(4 * most) {
            match lane.pop_front() {
                Some(job) if taken.len() < most && can_be(&job) => taken.push(job),
                Some(job) => left.push_back(job),
                None => break,
            }
        }
        left.append(lane);
        *lane = left;
        taken
    }

    /// When [`Self::pop`] gives something without anything having finished before.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        let waits = self.round.iter().filter_map(|name| self.hosts.get(name)).filter_map(|host| {
            let free = host.in_flight < self.pace.in_flight && !host.is_empty();
            let missing = 1.0 - host.permits(&self.pace, now);
            free.then(|| match missing > 0.0 {
                // Later rather than too early by rounding, which would make the caller spin.
                true => Duration::from_secs_f64(missing / self.pace.per_second) + ROUNDING,
                false => Duration::ZERO,
            })
        });
        waits.min().map(|wait| now + wait)
    }

    /// A job of the host is over.
    pub fn finished(&mut self, host: &Arc<str>) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.in_flight = host.in_flight.saturating_sub(1);
        }
    }

    /// The job turned out to have nothing to do: its host was not asked.
    pub fn unused(&mut self, host: &Arc<str>) {
        self.finished(host);
        if let Some(host) = self.hosts.get_mut(host) {
            host.permits += 1.0;
        }
    }
}

const ROUNDING: Duration = Duration::from_micros(100);

impl<J> Host<J> {
    fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    fn is_idle(&self) -> bool {
        self.is_empty() && self.in_flight == 0
    }

    fn permits(&self, pace: &Pace, now: Duration) -> f64 {
        let since = now.saturating_sub(self.counted_at).as_secs_f64();
        (self.permits + since * pace.per_second).min(f64::from(pace.burst))
    }

    fn take(&mut self, pace: &Pace, now: Duration) -> Option<J> {
        self.permits = self.permits(pace, now);
        self.counted_at = now;
        if self.in_flight >= pace.in_flight || self.permits < 1.0 {
            return None;
        }
        let job = self.lanes.iter_mut().find_map(VecDeque::pop_front)?;
        self.permits -= 1.0;
        self.in_flight += 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace { burst: 10, per_second: 5.0, in_flight: 4 };

    fn host(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn the_first_go_at_once_and_the_rest_are_spread() {
        let mut pacer = Pacer::new(PACE);
        for job in 0..60 {
            pacer.push(Duration::ZERO, &host("a"), Urgency::Regular, job);
        }
        let (mut now, mut went) = (Duration::ZERO, vec![]);
        while let Some(next) = pacer.next_at(now) {
            now = next;
            while let Some((name, _)) = pacer.pop(now) {
                went.push(now);
                pacer.finished(&name);
            }
        }
        assert_eq!(went.iter().filter(|at| at.is_zero()).count(), 10);
        assert_eq!(went.len(), 60);
        assert!((9.9..10.2).contains(&now.as_secs_f64()), "{now:?}");
    }

    #[test]
    fn a_host_that_does_not_answer_does_not_hold_up_others() {
        let mut pacer = Pacer::new(PACE);
        for job in 0..10 {
            pacer.push(Duration::ZERO, &host("slow"), Urgency::Regular, job);
        }
        while pacer.pop(Duration::ZERO).is_some() {}
        assert_eq!(pacer.next_at(Duration::ZERO), None, "four are in flight");
        pacer.push(Duration::ZERO, &host("b"), Urgency::Regular, 99);
        assert_eq!(pacer.pop(Duration::ZERO), Some((host("b"), 99)));
        pacer.finished(&host("slow"));
        assert!(pacer.pop(Duration::ZERO).is_some());
    }

    #[test]
    fn events_go_before_regular_announces_before_scrapes() {
        let mut pacer = Pacer::new(PACE);
        for urgency in [Urgency::Scrape, Urgency::Regular, Urgency::Event] {
            pacer.push(Duration::ZERO, &host("a"), urgency, urgency);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| pacer.pop(Duration::ZERO)).map(|(_, job)| job).collect();
        assert_eq!(order, [Urgency::Event, Urgency::Regular, Urgency::Scrape]);
    }

    #[test]
    fn jobs_that_go_along_cost_nothing_and_the_others_keep_their_order() {
        let mut pacer = Pacer::new(PACE);
        for job in 0..60 {
            pacer.push(Duration::ZERO, &host("a"), Urgency::Scrape, job);
        }
        let (name, first) = pacer.pop(Duration::ZERO).unwrap();
        let along = pacer.take_along(&name, Urgency::Scrape, 5, |job| job % 3 == first % 3);
        assert_eq!(along, [3, 6, 9, 12, 15]);
        let far = pacer.take_along(&name, Urgency::Scrape, 5, |&job| job > 50);
        assert!(far.is_empty(), "only the first are looked at");
        assert!(pacer.take_along(&name, Urgency::Regular, 5, |_| true).is_empty());
        pacer.finished(&name);
        let order: Vec<i32> = std::iter::from_fn(|| {
            let (name, job) = pacer.pop(Duration::ZERO)?;
            pacer.finished(&name);
            Some(job)
        })
        .collect();
        assert_eq!(order, [1, 2, 4, 5, 7, 8, 10, 11, 13], "one permit of ten is gone");
    }

    proptest! {
        #[test]
        fn every_job_goes_once_and_never_too_fast(
            jobs in prop::collection::vec((0u8..3, 0u64..20), 1..200),
        ) {
            let mut pacer = Pacer::new(PACE);
            let mut went = vec![];
            let mut jobs: Vec<_> = jobs.into_iter().enumerate().collect();
            jobs.sort_by_key(|&(_, (_, at))| at);
            let count = jobs.len();
            let mut jobs = jobs.into_iter().peekable();
            let mut now = Duration::ZERO;
            loop {
                let arrival = jobs.peek().map(|&(_, (_, at))| Duration::from_secs(at));
                let Some(next) = arrival.into_iter().chain(pacer.next_at(now)).min() else { break };
                now = now.max(next);
                while jobs.peek().is_some_and(|&(_, (_, at))| Duration::from_secs(at) <= now) {
                    let (id, (name, _)) = jobs.next().unwrap();
                    pacer.push(now, &host(&name.to_string()), Urgency::Regular, id);
                }
                while let Some((name, id)) = pacer.pop(now) {
                    went.push((name.clone(), now, id));
                    pacer.finished(&name);
                }
            }
            prop_assert_eq!(went.iter().map(|w| w.2).collect::<std::collections::HashSet<_>>().len(), count);
            for (name, start, _) in &went {
                let end = *start + Duration::from_secs(2);
                let within = went.iter().filter(|(n, at, _)| n == name && (*start..end).contains(at));
                prop_assert!(within.count() <= 21);
            }
        }
    }
}
