//! Conversations with UDP trackers, without a socket or a clock.
//!
//! A request to an endpoint first needs a connection id; all requests to one endpoint share one,
//! and those that come while it is being asked for wait for it. Each packet is sent again after
//! 15·2ⁿ seconds until it is answered or [`limits::UDP_TRIES`] is reached. A request whose
//! connection id expired meanwhile goes back to asking for one.

use super::packet::{self, Answer};
use crate::{
    limits,
    tracker::{Announce, AnnounceReply, Counts, Retry, TrackerError},
};
use metainfo::InfoHash;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// What a tracker is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// An announce with the URL data of BEP 41.
    Announce(Box<Announce>, String),
    /// The counts of torrents, at most [`limits::SCRAPE_UDP`].
    Scrape(Arc<[InfoHash]>),
}

/// What it answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To an announce.
    Announce(AnnounceReply),
    /// To a scrape: of each torrent that was asked for, `None` where the tracker says nothing.
    Scrape(Vec<Option<Counts>>),
}

/// A packet to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The packet.
    pub packet: Vec<u8>,
}

/// All UDP trackers that are being spoken to.
pub struct UdpTrackers {
    endpoints: HashMap<SocketAddr, Endpoint>,
    transactions: HashMap<u32, Transaction>,
    deadlines: BTreeSet<(Duration, u32)>,
    transmits: VecDeque<Transmit>,
    replies: VecDeque<(u64, Result<Reply, TrackerError>)>,
    first_wait: Duration,
    rng: fastrand::Rng,
}

#[derive(Default)]
struct Endpoint {
    connection: Option<Connection>,
    /// Requests that need a connection id; not empty only while one is being asked for.
    waiting: Vec<u32>,
    connecting: bool,
}

struct Connection {
    id: u64,
    expires: Duration,
}

struct Transaction {
    to: SocketAddr,
    tries: u32,
    deadline: Option<Duration>,
    purpose: Purpose,
}

enum Purpose {
    Connect,
    Ask { token: u64, ask: Ask },
}

impl UdpTrackers {
    /// Nothing going on. `first_wait` is the time before a packet is first sent again (BEP 15:
    /// 15 s). The seed is for transaction ids, which keep strangers from answering.
    pub fn new(first_wait: Duration, seed: u64) -> UdpTrackers {
        UdpTrackers {
            endpoints: HashMap::new(),
            transactions: HashMap::new(),
            deadlines: BTreeSet::new(),
            transmits: VecDeque::new(),
            replies: VecDeque::new(),
            first_wait,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Begins a request; its answer will carry `token`.
    pub fn ask(&mut self, now: Duration, to: SocketAddr, token: u64, ask: Ask) {
        if self.endpoints.len() >= limits::UDP_ENDPOINTS {
            self.endpoints.retain(|_, endpoint| endpoint.connecting || endpoint.id(now).is_some());
        }
        let transaction = self.open(to, Purpose::Ask { token, ask });
        self.send(now, transaction);
    }

    /// Takes a packet that came from `from`. What does not belong to a request is ignored.
    pub fn receive(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some((id, answer)) = packet::decode(bytes, from.is_ipv6()) else { return };
        let Some(transaction) = self.transactions.get(&id).filter(|open| open.to == from) else {
            return;
        };
        let reply = match (&transaction.purpose, answer) {
            (Purpose::Connect, Answer::Connect(connection)) => {
                return self.connected(now, id, connection);
            }
            (Purpose::Connect, Answer::Error(reason)) => {
                return self.connect_failed(id, refused(reason));
            }
            (Purpose::Ask { ask: Ask::Announce(..), .. }, Answer::Announce(reply)) => {
                Ok(Reply::Announce(reply))
            }
            (Purpose::Ask { ask: Ask::Scrape(asked), .. }, Answer::Scrape(counts)) => {
                let of_each = (0..asked.len()).map(|at| counts.get(at).copied());
                Ok(Reply::Scrape(of_each.collect()))
            }
            (Purpose::Ask { .. }, Answer::Error(reason)) => {
                // It may be the connection id that the tracker does not like.
                if let Some(endpoint) = self.endpoints.get_mut(&from) {
                    endpoint.connection = None;
                }
                Err(refused(reason))
            }
            _ => return,
        };
        self.answer(id, reply);
    }

    /// Sends again what has waited long enough, and gives up what has waited too long.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            let Some(transaction) = self.transactions.get_mut(&id) else { continue };
            transaction.deadline = None;
            if transaction.tries < limits::UDP_TRIES {
                self.send(now, id);
            } else if matches!(transaction.purpose, Purpose::Connect) {
                self.connect_failed(id, TrackerError::TimedOut);
            } else {
                self.answer(id, Err(TrackerError::TimedOut));
            }
        }
    }

    /// When [`Self::handle_timeout`] is next needed.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next request that is over, by its token.
    pub fn poll_reply(&mut self) -> Option<(u64, Result<Reply, TrackerError>)> {
        self.replies.pop_front()
    }

    /// The socket cannot reach the endpoint: fails everything that waits for it.
    pub fn unreachable(&mut self, to: SocketAddr, why: &str) {
        let mut affected: Vec<u32> =
            self.transactions.iter().filter(|(_, t)| t.to == to).map(|(&id, _)| id).collect();
        affected.sort_unstable();
        for id in affected {
            match self.transactions.get(&id).map(|transaction| &transaction.purpose) {
                Some(Purpose::Connect) => {
                    self.connect_failed(id, TrackerError::Unreachable(why.into()));
                }
                Some(Purpose::Ask { .. }) => {
                    self.answer(id, Err(TrackerError::Unreachable(why.into())));
                }
                None => {}
            }
        }
    }

    fn open(&mut self, to: SocketAddr, purpose: Purpose) -> u32 {
        let mut id = self.rng.u32(..);
        while self.transactions.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        self.transactions.insert(id, Transaction { to, tries: 0, deadline: None, purpose });
        id
    }

    /// Sends the transaction's packet if it can go now, or lets it wait for a connection id.
    fn send(&mut self, now: Duration, id: u32) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        let to = transaction.to;
        let endpoint = self.endpoints.entry(to).or_default();
        let packet = match &transaction.purpose {
            Purpose::Connect => packet::connect(id),
            Purpose::Ask { ask, .. } => {
                let Some(connection) = endpoint.id(now) else {
                    endpoint.waiting.push(id);
                    if !endpoint.connecting {
                        endpoint.connecting = true;
                        let connect = self.open(to, Purpose::Connect);
                        self.send(now, connect);
                    }
                    return;
                };
                match ask {
                    Ask::Announce(say, url) => packet::announce(connection, id, say, url),
                    Ask::Scrape(asked) => packet::scrape(connection, id, asked),
                }
            }
        };
        let deadline = now + self.first_wait * (1 << transaction.tries);
        transaction.tries += 1;
        transaction.deadline = Some(deadline);
        self.deadlines.insert((deadline, id));
        self.transmits.push_back(Transmit { to, packet });
    }

    fn connected(&mut self, now: Duration, id: u32, connection: u64) {
        let Some(transaction) = self.close(id) else { return };
        let endpoint = self.endpoints.entry(transaction.to).or_default();
        let expires = now + limits::UDP_CONNECTION;
        endpoint.connection = Some(Connection { id: connection, expires });
        endpoint.connecting = false;
        for waiting in std::mem::take(&mut endpoint.waiting) {
            self.send(now, waiting);
        }
    }

    fn connect_failed(&mut self, id: u32, why: TrackerError) {
        let Some(transaction) = self.close(id) else { return };
        let Some(endpoint) = self.endpoints.remove(&transaction.to) else { return };
        for waiting in endpoint.waiting {
            self.answer(waiting, Err(why.clone()));
        }
    }

    fn answer(&mut self, id: u32, reply: Result<Reply, TrackerError>) {
        if let Some(Transaction { purpose: Purpose::Ask { token, .. }, .. }) = self.close(id) {
            self.replies.push_back((token, reply));
        }
    }

    fn close(&mut self, id: u32) -> Option<Transaction> {
        let transaction = self.transactions.remove(&id)?;
        if let Some(deadline) = transaction.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(transaction)
    }
}

impl Endpoint {
    fn id(&self, now: Duration) -> Option<u64> {
        self.connection.as_ref().filter(|connection| now < connection.expires).map(|c| c.id)
    }
}

fn refused(reason: String) -> TrackerError {
    TrackerError::Refused { reason, retry: Retry::Unsaid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST_WAIT: Duration = Duration::from_secs(15);

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn tracker() -> SocketAddr {
        "10.0.0.1:6969".parse().unwrap()
    }

    fn client() -> UdpTrackers {
        UdpTrackers::new(FIRST_WAIT, 1)
    }

    fn ask() -> Ask {
        Ask::Scrape([InfoHash([1; 20])].into())
    }

    fn number(bytes: &[u8]) -> u32 {
        u32::from_be_bytes(bytes[..4].try_into().unwrap())
    }

    /// What an honest tracker answers to a packet; connection ids count from 100.
    fn honest(packet: &[u8]) -> Vec<u8> {
        match number(&packet[8..]) {
            0 => [&packet[8..16], &100u64.to_be_bytes()].concat(),
            2 => [&packet[8..16], &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]].concat(),
            action => panic!("unexpected action {action}"),
        }
    }

    fn exchange(client: &mut UdpTrackers, now: Duration) -> usize {
        let mut packets = 0;
        while let Some(transmit) = client.poll_transmit() {
            packets += 1;
            client.receive(now, transmit.to, &honest(&transmit.packet));
        }
        packets
    }

    #[test]
    fn requests_share_a_connection_id_for_a_minute_and_no_longer() {
        let mut client = client();
        for token in 0..3 {
            client.ask(seconds(0), tracker(), token, ask());
        }
        assert_eq!(exchange(&mut client, seconds(0)), 4, "one connect, three scrapes");
        client.ask(seconds(59), tracker(), 3, ask());
        assert_eq!(exchange(&mut client, seconds(59)), 1);
        client.ask(seconds(60), tracker(), 4, ask());
        assert_eq!(exchange(&mut client, seconds(60)), 2, "the id is too old: connect first");
        for token in 0..5 {
            assert!(matches!(client.poll_reply(), Some((t, Ok(Reply::Scrape(_)))) if t == token));
        }
        assert_eq!(client.next_timeout(), None);
    }

    #[test]
    fn a_silent_tracker_is_asked_at_15_and_45_seconds_and_given_up_at_105() {
        let mut client = client();
        client.ask(seconds(0), tracker(), 7, ask());
        let mut sent = vec![];
        let mut now = seconds(0);
        loop {
            while client.poll_transmit().is_some() {
                sent.push(now.as_secs());
            }
            let Some(next) = client.next_timeout() else { break };
            now = next;
            client.handle_timeout(now);
        }
        assert_eq!(sent, [0, 15, 45]);
        assert_eq!(now, seconds(105));
        assert_eq!(client.poll_reply(), Some((7, Err(TrackerError::TimedOut))));
        assert!(client.transactions.is_empty() && client.endpoints.is_empty());
    }

    #[test]
    fn a_request_sent_again_after_its_connection_id_expired_connects_anew() {
        let mut client = client();
        client.ask(seconds(0), tracker(), 7, ask());
        let connect = client.poll_transmit().unwrap();
        client.receive(seconds(0), tracker(), &honest(&connect.packet));
        for at in [15, 45] {
            client.poll_transmit().unwrap();
            client.handle_timeout(seconds(at));
        }
        client.poll_transmit().unwrap();
        client.ask(seconds(61), tracker(), 8, ask());
        assert_eq!(exchange(&mut client, seconds(61)), 2);
    }

    #[test]
    fn a_scrape_of_several_is_answered_in_their_order_and_what_is_missing_is_left_out() {
        let mut client = client();
        let asked: Arc<[InfoHash]> = (1..=3).map(|n| InfoHash([n; 20])).collect();
        client.ask(seconds(0), tracker(), 7, Ask::Scrape(asked));
        let connect = client.poll_transmit().unwrap();
        client.receive(seconds(0), tracker(), &honest(&connect.packet));
        let scrape = client.poll_transmit().unwrap();
        let counts = |n| [0, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, 0];
        let answer = [&scrape.packet[8..16], &counts(4), &counts(5)].concat();
        client.receive(seconds(0), tracker(), &answer);
        let Some((7, Ok(Reply::Scrape(counts)))) = client.poll_reply() else { panic!() };
        let seeders: Vec<_> = counts.iter().map(|of_one| of_one.map(|c| c.seeders)).collect();
        assert_eq!(seeders, [Some(Some(4)), Some(Some(5)), None]);
    }

    #[test]
    fn an_error_packet_is_the_trackers_words() {
        let mut client = client();
        client.ask(seconds(0), tracker(), 7, ask());
        let connect = client.poll_transmit().unwrap();
        client.receive(seconds(0), tracker(), &honest(&connect.packet));
        let scrape = client.poll_transmit().unwrap();
        let error = [&[0, 0, 0, 3], &scrape.packet[12..16], b"go away"].concat();
        client.receive(seconds(0), tracker(), &error);
        assert_eq!(client.poll_reply(), Some((7, Err(refused("go away".into())))));
    }

    #[test]
    fn strangers_cannot_answer() {
        let mut client = client();
        client.ask(seconds(0), tracker(), 7, ask());
        let connect = client.poll_transmit().unwrap();
        let answer = honest(&connect.packet);
        client.receive(seconds(0), "10.0.0.2:6969".parse().unwrap(), &answer);
        assert_eq!(client.poll_transmit(), None);
        let mut other = answer.clone();
        other[7] ^= 1;
        client.receive(seconds(0), tracker(), &other);
        assert_eq!(client.poll_transmit(), None);
        client.receive(seconds(0), tracker(), &answer);
        assert!(client.poll_transmit().is_some());
    }

    proptest! {
        /// Whatever is lost, late or garbled, each request ends exactly once, and nothing is left.
        #[test]
        fn every_request_ends_once(
            seed: u64,
            fates in prop::collection::vec(0u8..4, 0..60),
            starts in prop::collection::vec((0u64..200, 0u8..3), 1..20),
        ) {
            let mut client = UdpTrackers::new(FIRST_WAIT, seed);
            let mut fates = fates.into_iter();
            let mut starts: Vec<_> = starts;
            starts.sort();
            let mut starts = starts.into_iter().enumerate().peekable();
            let mut ended = std::collections::BTreeMap::<u64, u32>::new();
            let total = starts.len();
            loop {
                let next_start = starts.peek().map(|&(_, (at, _))| seconds(at));
                let Some(now) = next_start.into_iter().chain(client.next_timeout()).min() else { break };
                client.handle_timeout(now);
                if next_start == Some(now) {
                    let (token, (_, host)) = starts.next().unwrap();
                    client.ask(now, SocketAddr::from(([10, 0, 0, host], 1)), token as u64, ask());
                }
                while let Some(transmit) = client.poll_transmit() {
                    match fates.next().unwrap_or(0) {
                        0 => {}
                        1 => client.receive(now, transmit.to, &honest(&transmit.packet)),
                        2 => client.receive(now, transmit.to, &transmit.packet[..12]),
                        _ => {
                            let error = [&[0, 0, 0, 3], &transmit.packet[12..16]].concat();
                            client.receive(now, transmit.to, &error);
                        }
                    }
                }
                while let Some((token, _)) = client.poll_reply() {
                    *ended.entry(token).or_default() += 1;
                }
            }
            prop_assert_eq!(ended.len(), total);
            prop_assert!(ended.values().all(|&times| times == 1));
            prop_assert!(client.transactions.is_empty() && client.deadlines.is_empty());
        }
    }
}
