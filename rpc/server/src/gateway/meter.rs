//! What the control interface counts of itself, for /metrics.

use api::Code;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Upper ends of the buckets that durations of calls are counted in, in seconds.
pub(crate) const BUCKETS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0, 10.0];

/// Counters. Their labels are names of methods and statuses that the code knows, never what a client
/// sent: there is a fixed number of them.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Figures>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Calls by method.
    pub(crate) methods: BTreeMap<&'static str, MethodFigures>,
    /// Answers by HTTP status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Connections that are open.
    pub(crate) connections: u64,
    /// Connections refused because there were too many.
    pub(crate) connections_refused: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MethodFigures {
    /// Calls that failed for want of a right.
    pub(crate) forbidden: u64,
    /// Calls that failed otherwise.
    pub(crate) failed: u64,
    /// Calls that took no longer than each of [`BUCKETS`], and longer than the one before.
    pub(crate) buckets: [u64; BUCKETS.len()],
    /// All calls.
    pub(crate) count: u64,
    /// What they took together.
    pub(crate) time: Duration,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that has ended, with the number of its error.
    pub(crate) fn call(&self, method: &'static str, failed: Option<i32>, took: Duration) {
        let mut figures = self.lock();
        let method = figures.methods.entry(method).or_default();
        method.count += 1;
        method.time += took;
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|&end| seconds <= end) {
            method.buckets[bucket] += 1;
        }
        match failed {
            Some(code) if code == Code::Forbidden.number() => method.forbidden += 1,
            Some(_) => method.failed += 1,
            None => {}
        }
    }

    /// An answer.
    pub(crate) fn answer(&self, status: u16) {
        *self.lock().statuses.entry(status).or_default() += 1;
    }

    /// A connection that was accepted, or refused for want of a place.
    pub(crate) fn connected(&self, accepted: bool) {
        let mut figures = self.lock();
        match accepted {
            true => figures.connections += 1,
            false => figures.connections_refused += 1,
        }
    }

    /// A connection that has ended.
    pub(crate) fn disconnected(&self) {
        let mut figures = self.lock();
        figures.connections = figures.connections.saturating_sub(1);
    }

    /// All of them at one moment.
    pub(crate) fn read(&self) -> Figures {
        self.lock().clone()
    }
}
