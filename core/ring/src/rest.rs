//! A listener that cannot accept, for want of descriptors say, rests for a moment.

use crate::limits;
use std::{
    io,
    time::{Duration, Instant},
};

/// Whether a listener rests, and when that was told last.
#[derive(Default)]
pub(crate) struct Rest {
    until: Option<Instant>,
    told: Option<Instant>,
}

impl Rest {
    /// Accepting has failed. The log is told now and then, not each time.
    pub(crate) fn begin(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.until = Some(now + limits::ACCEPT_REST);
        if self.told.is_none_or(|told| now.duration_since(told) >= limits::TELL_AGAIN) {
            self.told = Some(now);
            tracing::warn!(%error, "cannot accept connections; trying again and again");
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(crate) fn end(&mut self) {
        self.until = None;
    }

    /// How long may be waited for events: a listener that rests is to be looked at again.
    pub(crate) fn bound(timeout: Option<Duration>) -> Option<Duration> {
        Some(timeout.unwrap_or(limits::ACCEPT_REST).min(limits::ACCEPT_REST))
    }
}
