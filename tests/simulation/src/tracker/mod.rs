//! Two trackers, one over HTTP and one over UDP, that keep lists of whom they hear and fail as the
//! seed says. What they say and hear is real bytes; requests and answers take their time.

pub mod message;
mod swarm;

use crate::announcer::{Line, Mail};
use anyhow::{Context, Result};
use discovery::{
    simulated::{HttpAnswer, Outgoing},
    tracker::{Event, TrackerError},
};
use http::StatusCode;
use message::{Asked, Heard, Packet, Said};
use ring::sim::World;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use swarm::Swarms;

/// How the HTTP tracker is called, and where it is.
pub const HTTP: (&str, &str, [u8; 4]) = ("http://http.sim/announce", "http.sim", [10, 200, 0, 1]);

/// The same of the UDP tracker, whose port is [`UDP_PORT`].
pub const UDP: (&str, &str, [u8; 4]) = ("udp://udp.sim:6969", "udp.sim", [10, 200, 0, 2]);

const UDP_PORT: u16 = 6969;

/// A tracker, by its number in all lists of two.
pub type Front = usize;

/// [`HTTP`]'s number.
pub const HTTP_FRONT: Front = 0;

/// [`UDP`]'s number.
pub const UDP_FRONT: Front = 1;

/// When an HTTP request without an answer is given up: as the announcer's own setting has it.
const HTTP_TIMEOUT: Duration = Duration::from_secs(45);

/// How late a datagram is, in milliseconds. A request and the second copy of its answer together are
/// under way for less time than the announcer waits before it sends again, so that it takes what comes.
const LATE: std::ops::Range<u64> = 200..4_000;

/// One way, in milliseconds.
const LATENCY: std::ops::Range<u64> = 1..150;

/// How long a connection id is good for: twice what BEP 15 lets clients use it.
const CONNECTION: Duration = Duration::from_secs(120);

/// Both trackers. Clones are the same.
#[derive(Clone)]
pub struct Trackers(Rc<RefCell<Inner>>);

struct Inner {
    world: World,
    rng: fastrand::Rng,
    /// Of a hundred requests, so many go wrong.
    fails: u32,
    /// Nothing comes from them before.
    down_until: [Duration; 2],
    /// They are in one tier and have one list; or each is in a tier of its own and has its own list.
    is_shared: bool,
    lists: [Swarms; 2],
    interval: u32,
    min_interval: Option<u32>,
    /// Connection ids that were given, to whom, and until when.
    connections: BTreeMap<u64, (IpAddr, Duration)>,
    actions: BTreeMap<(Duration, u64), Action>,
    sequence: u64,
    digest: u64,
}

/// Something that happens at a moment to come.
enum Action {
    Resolved { line: Line, id: u64, front: Option<Front>, is_known: bool },
    Request { line: Line, id: u64, url: String, fate: Fate },
    Answered { line: Line, id: u64, answer: Result<HttpAnswer, TrackerError> },
    Packet { line: Line, packet: Vec<u8> },
    Reply { line: Line, packet: Vec<u8> },
}

/// What becomes of an HTTP request that reaches the tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Fine,
    Slow,
    Lost,
    Broken,
    Busy,
    Garbage,
    Refused,
}

impl Trackers {
    /// Trackers that know nobody.
    pub fn new(world: &World) -> Trackers {
        let mut rng = world.fork_random();
        let inner = Inner {
            world: world.clone(),
            fails: 0,
            down_until: [Duration::ZERO; 2],
            is_shared: rng.bool(),
            lists: Default::default(),
            interval: rng.u32(120..1800),
            min_interval: rng.bool().then(|| rng.u32(10..120)),
            connections: BTreeMap::new(),
            actions: BTreeMap::new(),
            sequence: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            rng,
        };
        Trackers(Rc::new(RefCell::new(inner)))
    }

    /// Of a hundred requests, so many go wrong from now on.
    pub fn set_fails(&self, fails: u32) {
        self.0.borrow_mut().fails = fails;
    }

    /// One is down until then at least.
    pub fn take_down(&self, front: Front, until: Duration) {
        let down_until = &mut self.0.borrow_mut().down_until[front];
        *down_until = until.max(*down_until);
    }

    /// Whether both are in one tier, and have one list.
    pub fn is_shared(&self) -> bool {
        self.0.borrow().is_shared
    }

    /// Their URLs, as a torrent has them.
    pub fn tiers(&self) -> Vec<Vec<String>> {
        let mut inner = self.0.borrow_mut();
        let mut urls = [HTTP.0.to_owned(), UDP.0.to_owned()];
        inner.rng.shuffle(&mut urls);
        match inner.is_shared {
            true => vec![urls.to_vec()],
            false => urls.into_iter().map(|url| vec![url]).collect(),
        }
    }

    /// Puts somebody on both lists who does not announce.
    pub fn put(&self, info_hash: [u8; 20], addr: SocketAddr, is_seed: bool) {
        self.0.borrow_mut().lists.iter_mut().for_each(|list| list.put(info_hash, addr, is_seed));
    }

    /// Whoever is at this address announces, and is told of nobody.
    pub fn tell_nothing(&self, to: IpAddr) {
        self.0.borrow_mut().lists.iter_mut().for_each(|list| {
            list.quiet.insert(to);
        });
    }

    /// Takes what an announcer sends.
    pub fn take(&self, line: &Line, sent: Outgoing) {
        self.0.borrow_mut().take(line.clone(), sent);
    }

    /// When something happens next.
    pub fn due(&self) -> Option<Duration> {
        self.0.borrow().actions.keys().next().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn step(&self) -> Result<()> {
        let now = self.0.borrow().world.now();
        loop {
            let mut inner = self.0.borrow_mut();
            let Some(entry) = inner.actions.first_entry() else { return Ok(()) };
            if entry.key().0 > now {
                return Ok(());
            }
            let action = entry.remove();
            inner.happen(action)?;
        }
    }

    /// Everything that they have heard as one number.
    pub fn digest(&self) -> u64 {
        self.0.borrow().digest
    }
}

impl Inner {
    fn after(&mut self, wait: Duration, action: Action) {
        self.sequence += 1;
        self.actions.insert((self.world.now() + wait, self.sequence), action);
    }

    fn latency(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(LATENCY))
    }

    fn goes_wrong(&mut self) -> bool {
        self.rng.u32(..100) < self.fails
    }

    fn is_down(&self, front: Front) -> bool {
        self.world.now() < self.down_until[front]
    }

    fn list(&mut self, front: Front) -> &mut Swarms {
        &mut self.lists[if self.is_shared { 0 } else { front }]
    }

    fn note(&mut self, bytes: &[u8]) {
        let now = self.world.now().as_nanos() as u64;
        for &byte in now.to_be_bytes().iter().chain(bytes) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn take(&mut self, line: Line, sent: Outgoing) {
        let latency = self.latency();
        match sent {
            Outgoing::Resolve { id, host } => {
                let front = [HTTP.1, UDP.1].iter().position(|name| *name == host);
                // Resolvers are better than trackers.
                let is_known = self.rng.u32(..400) >= self.fails;
                let wait = if is_known { latency } else { latency * 100 };
                self.after(wait, Action::Resolved { line, id, front, is_known });
            }
            Outgoing::Http { id, url, .. } => {
                let fate = self.fate();
                match fate {
                    // Nobody hears it.
                    Fate::Lost if self.rng.bool() => self.give_up(line, id),
                    _ => self.after(latency, Action::Request { line, id, url, fate }),
                }
            }
            // Nothing of it gets here.
            Outgoing::Told(_) => {}
            Outgoing::Datagram { packet, .. } => {
                if self.goes_wrong() && self.rng.bool() {
                    return;
                }
                if self.goes_wrong() && self.rng.bool() {
                    let (late, line) = (self.rng.u64(LATE), line.clone());
                    let packet = packet.clone();
                    self.after(Duration::from_millis(late), Action::Packet { line, packet });
                }
                self.after(latency, Action::Packet { line, packet });
            }
        }
    }

    fn fate(&mut self) -> Fate {
        const WRONG: [Fate; 6] =
            [Fate::Slow, Fate::Lost, Fate::Broken, Fate::Busy, Fate::Garbage, Fate::Refused];
        match self.goes_wrong() {
            true => WRONG[self.rng.usize(..WRONG.len())],
            false => Fate::Fine,
        }
    }

    fn give_up(&mut self, line: Line, id: u64) {
        let answer = Err(TrackerError::TimedOut);
        self.after(HTTP_TIMEOUT, Action::Answered { line, id, answer });
    }

    fn happen(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Resolved { line, id, front, is_known } => {
                let ip = |front: Front| IpAddr::from([HTTP.2, UDP.2][front]);
                let found = front.filter(|_| is_known).map(|front| vec![ip(front)]);
                line.bring(Mail::Resolved { id, front, found });
            }
            Action::Request { line, id, url, fate } => {
                self.note(url.as_bytes());
                self.request(line, id, &url, fate).with_context(|| format!("it asks {url}"))?;
            }
            Action::Answered { line, id, answer } => line.bring(Mail::Answered { id, answer }),
            Action::Packet { line, packet } => {
                self.note(&packet);
                self.packet(line, &packet).context("a datagram to a tracker")?;
            }
            Action::Reply { line, packet } => {
                let from = SocketAddr::new(IpAddr::from(UDP.2), UDP_PORT);
                line.bring(Mail::Datagram { from, packet });
            }
        }
        Ok(())
    }

    fn request(&mut self, line: Line, id: u64, url: &str, fate: Fate) -> Result<()> {
        let asked = message::read_url(url)?;
        let latency = self.latency();
        if self.is_down(HTTP_FRONT) {
            // The machine is gone, or only the program.
            if self.rng.bool() {
                self.give_up(line, id);
            } else {
                let answer = Err(TrackerError::Unreachable("connection refused".into()));
                self.after(latency, Action::Answered { line, id, answer });
            }
            return Ok(());
        }
        let page = |status, body| Ok(HttpAnswer { status, retry_after: None, body });
        let garbage = |rng: &mut fastrand::Rng| {
            let mut bytes = vec![0; rng.usize(..300)];
            rng.fill(&mut bytes);
            bytes
        };
        let mut wait = latency;
        let answer = match fate {
            Fate::Broken => Err(TrackerError::Unreachable("connection reset".into())),
            Fate::Busy => {
                let retry_after = self.rng.bool().then(|| self.rng.u64(1..120));
                let (status, body) = (StatusCode::SERVICE_UNAVAILABLE, b"busy".to_vec());
                Ok(HttpAnswer { status, retry_after, body })
            }
            Fate::Garbage => page(StatusCode::OK, garbage(&mut self.rng)),
            Fate::Refused => {
                let retry = [None, Some("1"), Some("2"), Some("soon")][self.rng.usize(..4)];
                page(StatusCode::OK, message::failure_body("not now", retry))
            }
            Fate::Fine | Fate::Slow | Fate::Lost => {
                let body = self.body(line.from, &asked);
                if fate == Fate::Slow {
                    wait += Duration::from_millis(self.rng.u64(1_000..44_000));
                }
                page(StatusCode::OK, body)
            }
        };
        match fate {
            Fate::Lost => self.give_up(line, id),
            _ => self.after(wait, Action::Answered { line, id, answer }),
        }
        Ok(())
    }

    fn body(&mut self, from: IpAddr, asked: &Asked) -> Vec<u8> {
        match asked {
            Asked::Scrape(asked) => message::scrape_body(&self.list(HTTP_FRONT).scrape(asked)),
            Asked::Announce(heard) => {
                let mut said = self.announce(HTTP_FRONT, from, heard);
                if self.rng.bool() {
                    said.counts.downloads = None;
                }
                let [a, b, c, d, ..] = heard.peer_id.map(|byte| byte.rotate_left(3));
                said.tracker_id = Some(vec![a, b, c, d]);
                said.warning = (self.rng.u8(..) < 30).then_some("this is a simulation");
                message::announce_body(&said)
            }
        }
    }

    fn announce(&mut self, front: Front, from: IpAddr, heard: &Heard) -> Said {
        let now = self.world.now();
        let until = now + Duration::from_secs(u64::from(self.interval) * 2);
        let mut rng = self.rng.fork();
        let list = self.list(front);
        let (counts, peers) = list.announce(&mut rng, from, heard, now, until);
        let peers = if heard.event == Event::Stopped { Vec::new() } else { peers };
        let (interval, min_interval) = (self.interval, self.min_interval);
        Said { interval, min_interval, counts, peers, ..Said::default() }
    }

    fn packet(&mut self, line: Line, packet: &[u8]) -> Result<()> {
        let (transaction, asked) = message::read_packet(packet)?;
        if self.is_down(UDP_FRONT) {
            return Ok(());
        }
        let now = self.world.now();
        let mut reply = match asked {
            Packet::Connect => {
                let id = self.rng.u64(..);
                self.connections.retain(|_, (_, until)| *until > now);
                self.connections.insert(id, (line.from, now + CONNECTION));
                message::connect_packet(transaction, id)
            }
            Packet::Ask(id, asked) => {
                let known = self.connections.get(&id);
                let is_known = known.is_some_and(|&(from, until)| from == line.from && now < until);
                match asked {
                    _ if !is_known => message::error_packet(transaction, "connection id"),
                    Asked::Announce(heard) => {
                        let said = self.announce(UDP_FRONT, line.from, &heard);
                        message::announce_packet(transaction, &said)
                    }
                    Asked::Scrape(asked) => {
                        let counts = self.list(UDP_FRONT).scrape(&asked);
                        message::scrape_packet(transaction, &counts)
                    }
                }
            }
        };
        let mut wait = self.latency();
        if self.goes_wrong() {
            match self.rng.u32(..6) {
                0 | 1 => return Ok(()),
                2 => reply = message::error_packet(transaction, "overloaded"),
                // Of somebody else.
                3 => reply[4..8].copy_from_slice(&(!transaction).to_be_bytes()),
                4 => {
                    reply.truncate(self.rng.usize(..16));
                }
                _ => wait = Duration::from_millis(self.rng.u64(LATE)),
            }
        }
        if self.goes_wrong() {
            let (line, packet) = (line.clone(), reply.clone());
            self.after(wait * 2, Action::Reply { line, packet });
        }
        self.after(wait, Action::Reply { line, packet: reply });
        Ok(())
    }
}
