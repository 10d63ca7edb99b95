//! The address book of a torrent: whom to connect to, when again, and whom never.

use crate::limits::{MAX_BANS, MAX_CANDIDATES, MAX_CONNECT_FAILURES, RETRY_BASE, RETRY_MAX};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Where a peer's address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Named by the operator.
    Manual,
    /// A tracker's answer.
    Tracker,
    /// Local peer discovery (BEP 14).
    Lpd,
    /// Remembered from an earlier run.
    Cache,
    /// Peer exchange (BEP 11).
    Pex,
    /// The DHT (BEP 5).
    Dht,
    /// It connected to us.
    Incoming,
}

/// Addresses and what is known about reaching them.
#[derive(Debug)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// The idle ones, by when they may be tried and how good they are.
    due: BTreeSet<(Duration, Source, u32, SocketAddr)>,
    banned: BTreeSet<IpAddr>,
    ban_order: VecDeque<IpAddr>,
    rng: fastrand::Rng,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: Source,
    failures: u8,
    /// Breaks ties at random, so that not every client of a swarm tries the same address first.
    shuffle: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle { retry_at: Duration },
    Busy,
}

impl Candidates {
    pub(crate) fn new(rng: fastrand::Rng) -> Candidates {
        Candidates {
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            banned: BTreeSet::new(),
            ban_order: VecDeque::new(),
            rng,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes an address in. A full book gives up an address that has failed for it, if it has one.
    /// One that a person names is tried at once, whatever came of it before.
    pub(crate) fn add(&mut self, now: Duration, addr: SocketAddr, source: Source) {
        let useless = addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast();
        if useless || self.is_banned(addr.ip()) {
            return;
        }
        if let Some(known) = self.known.get(&addr) {
            if source == Source::Manual && known.state != State::Busy {
                self.remove(addr);
            } else {
                return;
            }
        }
        if self.known.len() >= MAX_CANDIDATES && !self.evict() {
            return;
        }
        let state = State::Idle { retry_at: now };
        let shuffle = self.rng.u32(..);
        self.insert(addr, Candidate { source, failures: 0, shuffle, state });
    }

    fn evict(&mut self) -> bool {
        // Whoever failed waits longest, so it is the last that is due.
        let Some(&(_, _, _, worst)) = self.due.last() else { return false };
        let failed = self.known.get(&worst).is_some_and(|candidate| candidate.failures > 0);
        if failed {
            self.remove(worst);
        }
        failed
    }

    fn insert(&mut self, addr: SocketAddr, candidate: Candidate) {
        if let State::Idle { retry_at } = candidate.state {
            self.due.insert((retry_at, candidate.source, candidate.shuffle, addr));
        }
        self.known.insert(addr, candidate);
    }

    fn remove(&mut self, addr: SocketAddr) -> Option<Candidate> {
        let candidate = self.known.remove(&addr)?;
        if let State::Idle { retry_at } = candidate.state {
            self.due.remove(&(retry_at, candidate.source, candidate.shuffle, addr));
        }
        Some(candidate)
    }

    /// The next address to try, which is then being tried until [`Self::connected`],
    /// [`Self::failed`] or [`Self::left`] is called for it.
    pub(crate) fn next(&mut self, now: Duration) -> Option<(SocketAddr, Source)> {
        let &(retry_at, _, _, addr) = self.due.first()?;
        if retry_at > now {
            return None;
        }
        let candidate = self.remove(addr)?;
        self.insert(addr, Candidate { state: State::Busy, ..candidate });
        Some((addr, candidate.source))
    }

    /// When the next address may be tried.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|&(retry_at, ..)| retry_at)
    }

    /// There is a connection with this address.
    pub(crate) fn connected(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.remove(addr) {
            self.insert(addr, Candidate { state: State::Busy, ..candidate });
        }
    }

    /// A connection that had come about has ended; it may be tried again after `pause`.
    pub(crate) fn left(&mut self, now: Duration, addr: SocketAddr, pause: Duration) {
        if let Some(candidate) = self.remove(addr) {
            let state = State::Idle { retry_at: now + pause };
            self.insert(addr, Candidate { failures: 0, state, ..candidate });
        }
    }

    /// What is wanted has changed: those that were of no use may be tried again now, but not those
    /// that could not be reached.
    pub(crate) fn forgive(&mut self, now: Duration) {
        let resting = self.known.iter().filter(|(_, candidate)| candidate.failures == 0);
        let resting = resting.filter(
            |(_, candidate)| matches!(candidate.state, State::Idle { retry_at } if retry_at > now),
        );
        let resting: Vec<_> = resting.map(|(&addr, _)| addr).collect();
        for addr in resting {
            if let Some(candidate) = self.remove(addr) {
                self.insert(addr, Candidate { state: State::Idle { retry_at: now }, ..candidate });
            }
        }
    }

    /// The attempt came to nothing: the next one waits twice as long, and after too many the address
    /// is forgotten.
    pub(crate) fn failed(&mut self, now: Duration, addr: SocketAddr) {
        let Some(candidate) = self.remove(addr) else { return };
        let failures = candidate.failures + 1;
        if failures > MAX_CONNECT_FAILURES {
            return;
        }
        let wait = (RETRY_BASE * (1 << (failures - 1))).min(RETRY_MAX);
        let jitter = wait.mul_f32(self.rng.f32() * 0.25);
        let state = State::Idle { retry_at: now + wait + jitter };
        self.insert(addr, Candidate { failures, state, ..candidate });
    }

    pub(crate) fn forget(&mut self, addr: SocketAddr) {
        self.remove(addr);
    }

    pub(crate) fn is_banned(&self, ip: IpAddr) -> bool {
        self.banned.contains(&ip)
    }

    /// Bans the host; tells whether it was not banned before.
    pub(crate) fn ban(&mut self, ip: IpAddr) -> bool {
        if !self.banned.insert(ip) {
            return false;
        }
        self.ban_order.push_back(ip);
        if self.ban_order.len() > MAX_BANS
            && let Some(pardoned) = self.ban_order.pop_front()
        {
            self.banned.remove(&pardoned);
        }
        let of_host: Vec<_> = self.known.keys().filter(|addr| addr.ip() == ip).copied().collect();
        for addr in of_host {
            self.remove(addr);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn book() -> Candidates {
        Candidates::new(fastrand::Rng::with_seed(1))
    }

    /// The next address alone.
    fn next(book: &mut Candidates, now: Duration) -> Option<SocketAddr> {
        book.next(now).map(|(addr, _)| addr)
    }

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
    }

    #[test]
    fn an_address_is_tried_once_at_a_time() {
        let mut book = book();
        book.add(NOW, addr(1), Source::Tracker);
        book.add(NOW, addr(1), Source::Pex);
        assert_eq!(next(&mut book, NOW), Some(addr(1)));
        assert_eq!(next(&mut book, NOW), None);
        book.add(NOW, addr(1), Source::Tracker);
        assert_eq!(next(&mut book, NOW), None);
    }

    #[test]
    fn each_failure_doubles_the_wait_until_the_address_is_forgotten() {
        let mut book = book();
        let mut now = NOW;
        let mut last = Duration::ZERO;
        book.add(now, addr(1), Source::Tracker);
        for _ in 0..MAX_CONNECT_FAILURES {
            assert_eq!(next(&mut book, now), Some(addr(1)));
            book.failed(now, addr(1));
            let wait = book.next_due().unwrap() - now;
            assert!(wait > last, "{wait:?} after {last:?}");
            assert!(wait <= RETRY_MAX * 5 / 4);
            (last, now) = (wait, now + wait);
        }
        assert_eq!(next(&mut book, now), Some(addr(1)));
        book.failed(now, addr(1));
        assert_eq!(book.len(), 0);
        book.add(now, addr(1), Source::Tracker);
        assert_eq!(next(&mut book, now), Some(addr(1)), "the tracker brings it back");
    }

    #[test]
    fn the_book_is_bounded_and_new_addresses_replace_failed_ones() {
        let mut book = book();
        (0..MAX_CANDIDATES as u16).for_each(|n| book.add(NOW, addr(n), Source::Tracker));
        book.add(NOW, addr(5000), Source::Tracker);
        assert_eq!(book.len(), MAX_CANDIDATES);
        let failing = next(&mut book, NOW).unwrap();
        book.failed(NOW, failing);
        book.add(NOW, addr(5000), Source::Manual);
        assert_eq!(next(&mut book, NOW), Some(addr(5000)));
        assert_eq!(book.len(), MAX_CANDIDATES);
    }

    #[test]
    fn banned_hosts_and_useless_addresses_are_not_taken_in() {
        let mut book = book();
        book.add(NOW, addr(1), Source::Tracker);
        assert!(book.ban(addr(1).ip()));
        assert!(!book.ban(addr(1).ip()));
        book.add(NOW, addr(1), Source::Tracker);
        book.add(NOW, SocketAddr::from(([10, 0, 0, 2], 0)), Source::Tracker);
        book.add(NOW, SocketAddr::from(([0, 0, 0, 0], 1)), Source::Tracker);
        assert_eq!(next(&mut book, NOW), None);
    }

    #[test]
    fn somebody_who_left_is_tried_again_after_the_pause() {
        let mut book = book();
        book.add(NOW, addr(1), Source::Tracker);
        next(&mut book, NOW);
        book.connected(addr(1));
        book.left(NOW, addr(1), Duration::from_secs(60));
        assert_eq!(next(&mut book, NOW + Duration::from_secs(59)), None);
        assert_eq!(next(&mut book, NOW + Duration::from_secs(60)), Some(addr(1)));
    }

    #[test]
    fn whom_a_person_names_is_tried_at_once() {
        let mut book = book();
        book.add(NOW, addr(1), Source::Tracker);
        next(&mut book, NOW);
        book.failed(NOW, addr(1));
        book.add(NOW, addr(1), Source::Tracker);
        assert_eq!(next(&mut book, NOW), None);
        book.add(NOW, addr(1), Source::Manual);
        assert_eq!(book.next(NOW), Some((addr(1), Source::Manual)));
        book.add(NOW, addr(1), Source::Manual);
        assert_eq!(next(&mut book, NOW), None, "it is being tried");
    }

    #[test]
    fn new_wishes_forgive_who_was_of_no_use_and_not_who_was_not_there() {
        let mut book = book();
        for n in [1, 2] {
            book.add(NOW, addr(n), Source::Tracker);
            next(&mut book, NOW);
        }
        book.left(NOW, addr(1), Duration::from_secs(3600));
        book.failed(NOW, addr(2));
        book.forgive(NOW);
        assert_eq!(next(&mut book, NOW), Some(addr(1)));
        assert_eq!(next(&mut book, NOW), None);
    }
}
