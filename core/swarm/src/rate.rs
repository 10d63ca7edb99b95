//! How fast bytes move, smoothed so that a choker or a pipeline can act on it.

use std::time::Duration;

/// Time over which an old rate fades from the measured one.
const SMOOTHING: Duration = Duration::from_secs(3);

/// A total and the smoothed rate at which it grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    total: u64,
    since_roll: u64,
    bytes_per_second: f32,
}

impl Rate {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.total += bytes;
        self.since_roll += bytes;
    }

    /// Takes what was added since the last call, `elapsed` ago, into the rate.
    pub(crate) fn roll(&mut self, elapsed: Duration) {
        let bytes = std::mem::take(&mut self.since_roll);
        let seconds = elapsed.as_secs_f32();
        if seconds <= 0.0 || (bytes == 0 && self.bytes_per_second == 0.0) {
            return;
        }
        let sample = bytes as f32 / seconds;
        // A first sample counts whole, or a new peer would look slow for several rounds.
        let weight = if self.bytes_per_second == 0.0 {
            1.0
        } else {
            seconds / (seconds + SMOOTHING.as_secs_f32())
        };
        self.bytes_per_second += (sample - self.bytes_per_second) * weight;
        if self.bytes_per_second < 1.0 {
            self.bytes_per_second = 0.0;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes per second.
    pub(crate) fn per_second(&self) -> f32 {
        self.bytes_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_shows_its_rate_at_once_and_keeps_it() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            rate.add(500_000);
            rate.roll(Duration::from_millis(500));
            assert_eq!(rate.per_second().round(), 1_000_000.0);
        }
        assert_eq!(rate.total(), 5_000_000);
    }

    #[test]
    fn a_stream_that_stops_fades_to_nothing() {
        let mut rate = Rate::default();
        rate.add(1_000_000);
        rate.roll(Duration::from_secs(1));
        for _ in 0..100 {
            rate.roll(Duration::from_secs(1));
        }
        assert_eq!(rate.per_second(), 0.0);
    }
}
