//! How often somebody may ask, and how long an address waits that guesses passwords. All tables are
//! bounded: what a flood of addresses costs is fixed.

use super::Peer;
use crate::limits;
use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// One address for these purposes: an IPv6 host has a whole /64 to choose from.
pub(crate) fn key(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Unix => None,
        Peer::Ip(IpAddr::V6(ip)) => {
            Some(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into())
        }
        Peer::Ip(ip) => Some(ip),
    }
}

/// A bucket for each key, filled with so many tokens a second and [`limits::BURST_SECONDS`] deep.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    buckets: HashMap<K, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Tokens that are there; fewer than none when a batch took more than there were.
    tokens: f64,
    at: Instant,
}

impl<K> Default for Buckets<K> {
    fn default() -> Buckets<K> {
        Buckets { buckets: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    /// Takes `cost` tokens, or says how long it takes until there is one. A rate of 0 has no limit.
    pub(crate) fn take(
        &mut self,
        key: K,
        rate: u32,
        cost: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        if rate == 0 {
            return Ok(());
        }
        let (rate, depth) = (f64::from(rate), f64::from(rate) * limits::BURST_SECONDS);
        let level = |bucket: &Bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + passed * rate).min(depth)
        };
        if !self.buckets.contains_key(&key) {
            self.make_room(|bucket| level(bucket) >= depth);
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: depth, at: now });
        *bucket = Bucket { tokens: level(bucket), at: now };
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate));
        }
        bucket.tokens -= cost as f64;
        Ok(())
    }

    /// Full buckets are as good as none; if all are in use, the one used longest ago goes.
    fn make_room(&mut self, is_full: impl Fn(&Bucket) -> bool) {
        if self.buckets.len() < limits::ADDRESSES {
            return;
        }
        self.buckets.retain(|_, bucket| !is_full(bucket));
        if self.buckets.len() >= limits::ADDRESSES {
            let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.buckets.remove(&key);
            }
        }
    }
}

/// Failed log-ins by address.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<IpAddr, Failed>);

/// What a log-in was tried with, as a number: a user's name, or anything else.
pub(crate) type About = Option<u64>;

#[derive(Clone, Copy, Debug)]
struct Failed {
    /// The one name that all of them were about, if it is one.
    about: About,
    times: u32,
    last: Instant,
    until: Instant,
}

impl Failures {
    /// How long this address has to wait before it may try again.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let until = self.0.get(&address)?.until;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure. From the threshold on the address waits a second, then two, four and so
    /// on, up to [`limits::FAILURE_WAIT`].
    pub(crate) fn failed(&mut self, address: IpAddr, about: About, threshold: u32, now: Instant) {
        self.make_room(now);
        let new = Failed { about, times: 0, last: now, until: now };
        let failed = self.0.entry(address).or_insert(new);
        if now.saturating_duration_since(failed.last) >= limits::FAILURE_MEMORY {
            *failed = new;
        }
        failed.about = failed.about.filter(|&before| Some(before) == about);
        failed.times = failed.times.saturating_add(1);
        failed.last = now;
        if let Some(beyond) = failed.times.checked_sub(threshold) {
            let seconds = 1u64 << beyond.min(16);
            failed.until = now + Duration::from_secs(seconds).min(limits::FAILURE_WAIT);
        }
    }

    /// A password that was right: the address starts over if it was mistyped before. Who has tried
    /// other names does not get new guesses at them by a log-in of their own.
    pub(crate) fn succeeded(&mut self, address: IpAddr, about: About) {
        let mistyped = |failed: &Failed| about.is_some() && failed.about == about;
        if self.0.get(&address).is_some_and(mistyped) {
            self.0.remove(&address);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < limits::ADDRESSES {
            return;
        }
        let is_kept =
            |failed: &Failed| now.saturating_duration_since(failed.last) < limits::FAILURE_MEMORY;
        self.0.retain(|_, failed| is_kept(failed));
        if self.0.len() >= limits::ADDRESSES {
            // Who has failed least has the least to lose by being forgotten.
            let least = self.0.iter().min_by_key(|(_, failed)| (failed.times, failed.last));
            if let Some(address) = least.map(|(address, _)| *address) {
                self.0.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: About = Some(1);

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_bucket_lets_a_burst_pass_and_then_its_rate() {
        let start = Instant::now();
        let mut buckets = Buckets::default();
        let burst = 5.0 * limits::BURST_SECONDS;
        let passed = (0..200).take_while(|_| buckets.take(ip(1), 5, 1, start).is_ok()).count();
        assert_eq!(passed, burst as usize);
        let wait = buckets.take(ip(1), 5, 1, start).unwrap_err();
        assert!(wait <= Duration::from_millis(200));
        assert!(buckets.take(ip(2), 5, 1, start).is_ok());
        assert!(buckets.take(ip(1), 5, 1, start + Duration::from_millis(201)).is_ok());
        assert!(buckets.take(ip(1), 0, 1, start).is_ok());
        // A batch is paid for afterwards.
        let later = start + Duration::from_secs(1000);
        buckets.take(ip(1), 5, burst as usize + 10, later).unwrap();
        assert!(buckets.take(ip(1), 5, 1, later).unwrap_err() > Duration::from_secs(2));
    }

    #[test]
    fn addresses_that_fail_wait_longer_and_longer_and_others_do_not() {
        let start = Instant::now();
        let mut failures = Failures::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            failures.failed(ip(1), ANN, 3, start);
            waits.push(failures.wait(ip(1), start).map_or(0, |wait| wait.as_secs()));
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(failures.wait(ip(2), start), None);
        assert_eq!(failures.wait(ip(1), start + limits::FAILURE_WAIT), None);
        failures.succeeded(ip(1), ANN);
        failures.failed(ip(1), ANN, 3, start);
        assert_eq!(failures.wait(ip(1), start), None);
        // What was long ago is forgotten.
        (0..9).for_each(|_| failures.failed(ip(3), ANN, 3, start));
        let later = start + limits::FAILURE_MEMORY;
        failures.failed(ip(3), ANN, 3, later);
        assert_eq!(failures.wait(ip(3), later), None);
    }

    #[test]
    fn a_log_in_of_ones_own_gives_no_new_guesses_at_others() {
        let start = Instant::now();
        let mut failures = Failures::default();
        for about in [ANN, Some(2), None, ANN] {
            failures.failed(ip(1), about, 3, start);
            failures.succeeded(ip(1), Some(2));
            failures.succeeded(ip(1), None);
        }
        assert!(failures.wait(ip(1), start).is_some());
        failures.succeeded(ip(1), ANN);
        assert!(failures.wait(ip(1), start).is_some(), "not all of them were about this name");
    }

    #[test]
    fn a_flood_of_addresses_fills_no_table_and_frees_nobody_who_guesses() {
        let start = Instant::now();
        let (mut failures, mut buckets) = (Failures::default(), Buckets::default());
        (0..20).for_each(|_| failures.failed(ip(0), ANN, 3, start));
        for number in 1..3 * limits::ADDRESSES as u32 {
            failures.failed(ip(number), ANN, 3, start);
            buckets.take(ip(number), 1, 1, start).unwrap();
        }
        assert!(failures.0.len() <= limits::ADDRESSES);
        assert!(buckets.buckets.len() <= limits::ADDRESSES);
        assert!(failures.wait(ip(0), start).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let key = |text: &str| key(Peer::of(text.parse().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
