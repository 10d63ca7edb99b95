//! The announcer of one process: the engine's own, on a simulated network, under the world's clock.

use crate::{
    tracker::{Front, HTTP, Trackers, UDP},
    witness::Witness,
};
use anyhow::{Context, Result};
use discovery::{
    AnnouncerHandle, Config, Progress, TorrentAnnounce, TorrentKey, TrackerEvent,
    simulated::{HttpAnswer, Outgoing, SimNetwork, SimRuntime},
    tracker::TrackerError,
};
use engine::TorrentId;
use metainfo::InfoHash;
use ring::sim::World;
use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as Polling, Waker},
    time::Duration,
};
use tokio::sync::mpsc;

/// Time for the last announces, as the session gives it.
const GOODBYE: Duration = Duration::from_millis(2200);

/// Events that wait for the server: few, so that they are merged now and then.
const EVENTS: usize = 64;

/// The way from the trackers back to an announcer.
#[derive(Clone)]
pub struct Line {
    /// The address that trackers see.
    pub from: IpAddr,
    /// What has come, and is taken at the announcer's next turn.
    mail: Rc<RefCell<Vec<Mail>>>,
}

/// What comes to an announcer.
pub enum Mail {
    /// A name was looked up, perhaps that of a tracker.
    Resolved {
        /// Of the question.
        id: u64,
        /// Whose it is.
        front: Option<Front>,
        /// Where it leads.
        found: Option<Vec<IpAddr>>,
    },
    /// An HTTP request has ended.
    Answered {
        /// Of the request.
        id: u64,
        /// How.
        answer: Result<HttpAnswer, TrackerError>,
    },
    /// A datagram.
    Datagram {
        /// Whose.
        from: SocketAddr,
        /// What.
        packet: Vec<u8>,
    },
}

impl Line {
    /// Brings something.
    pub fn bring(&self, mail: Mail) {
        self.mail.borrow_mut().push(mail);
    }
}

/// A process's announcer.
pub struct Announcer {
    world: World,
    began: Duration,
    runtime: SimRuntime,
    network: SimNetwork,
    line: Line,
    witness: RefCell<Witness>,
    /// It was told something.
    is_stirred: Cell<bool>,
    handle: AnnouncerHandle,
    events: mpsc::Receiver<TrackerEvent>,
    trackers: Trackers,
    /// It does nothing before.
    rests_until: Duration,
    has_ended: Option<Arc<AtomicBool>>,
}

impl Announcer {
    /// One that knows of no torrent, of a server that peers find here.
    pub fn new(
        world: &World,
        rng: &mut fastrand::Rng,
        addr: SocketAddr,
        trackers: &Trackers,
    ) -> Result<Announcer> {
        let (runtime, network) = (SimRuntime::new()?, SimNetwork::new());
        let (key, seed) = (rng.u32(..), rng.u64(..));
        let config =
            Config { port: addr.port(), key: Some(key), seed: Some(seed), ..Config::default() };
        let (sink, events) = mpsc::channel(EVENTS);
        let handle = runtime.within(|| network.announcer(config, sink));
        let witness = Witness::new(addr.port(), key, trackers.is_shared());
        Ok(Announcer {
            world: world.clone(),
            began: world.now(),
            runtime,
            network,
            line: Line { from: addr.ip(), mail: Rc::default() },
            witness: RefCell::new(witness),
            is_stirred: Cell::default(),
            handle,
            events,
            trackers: trackers.clone(),
            rests_until: Duration::ZERO,
            has_ended: None,
        })
    }

    /// A torrent runs from now on.
    pub fn begin(
        &self,
        id: TorrentId,
        info_hash: InfoHash,
        peer_id: [u8; 20],
        progress: &Arc<Progress>,
    ) {
        self.witness.borrow_mut().begins(info_hash.0, peer_id);
        self.handle.add(TorrentAnnounce {
            key: key(id),
            info_hash,
            peer_id,
            trackers: self.trackers.tiers(),
            private: false,
            progress: Arc::clone(progress),
        });
        self.handle.start(key(id));
        self.is_stirred.set(true);
    }

    /// A torrent ends.
    pub fn end(&self, id: TorrentId, info_hash: InfoHash) {
        self.witness.borrow_mut().ends(&info_hash.0);
        self.handle.remove(key(id));
        self.is_stirred.set(true);
    }

    /// It is complete.
    pub fn completed(&self, id: TorrentId, info_hash: InfoHash) {
        self.witness.borrow_mut().completes(&info_hash.0);
        self.handle.completed(key(id));
        self.is_stirred.set(true);
    }

    /// It wants more addresses.
    pub fn want_peers(&self, id: TorrentId) {
        self.handle.want_peers(key(id));
        self.is_stirred.set(true);
    }

    /// Everything ends, in good order.
    pub fn shut_down(&mut self) {
        self.rests_until = Duration::ZERO;
        self.witness.borrow_mut().ends_all();
        let ended = Arc::new(AtomicBool::new(false));
        self.has_ended = Some(Arc::clone(&ended));
        let mut goodbye = Box::pin(self.handle.clone().shutdown(GOODBYE));
        // The order is given now, before the announcer's next turn.
        let given = goodbye.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
        debug_assert!(given.is_pending());
        self.runtime.within(|| {
            tokio::spawn(async move {
                goodbye.await;
                ended.store(true, Ordering::Relaxed);
            })
        });
        self.is_stirred.set(true);
    }

    /// Keeps it from doing anything until then.
    pub fn freeze(&mut self, until: Duration) {
        self.rests_until = until;
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended.as_ref().is_some_and(|ended| ended.load(Ordering::Relaxed))
    }

    /// When it has something to do.
    pub fn due(&self) -> Option<Duration> {
        if self.has_ended() {
            return None;
        }
        let wakes = self.runtime.wakes_at(&self.network).map(|at| self.began + at);
        let has_mail = self.is_stirred.get() || !self.line.mail.borrow().is_empty();
        let due = if has_mail { Some(Duration::ZERO) } else { wakes };
        due.map(|due| due.max(self.rests_until))
    }

    /// Does what is due: the addresses that trackers have named, by torrent.
    pub fn step(&mut self) -> Result<Vec<(TorrentId, Vec<SocketAddr>)>> {
        let now = self.world.now();
        self.is_stirred.set(false);
        self.take_mail(now);
        self.runtime.advance(now - self.began);
        while let Some(sent) = self.network.poll() {
            tracing::trace!(at = ?now, from = %self.line.from, ?sent);
            self.witness(now, &sent)?;
            self.trackers.take(&self.line, sent);
        }
        if self.has_ended() {
            self.witness.borrow_mut().is_over();
        }
        let mut named = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let TrackerEvent::Peers { key, peers } = event {
                named.push((TorrentId(key.0 as u32), peers));
            }
            // There is room again.
            self.is_stirred.set(true);
        }
        Ok(named)
    }

    fn take_mail(&mut self, now: Duration) {
        let witness = self.witness.get_mut();
        for mail in self.line.mail.take() {
            match mail {
                Mail::Resolved { id, front, found } => {
                    if let Some(front) = front {
                        witness.looks_up(front, found.is_some());
                    }
                    let unknown = || TrackerError::Unreachable("there is no such name".into());
                    self.network.resolved(id, found.ok_or_else(unknown));
                }
                Mail::Answered { id, answer } => {
                    tracing::trace!(at = ?now, to = %self.line.from, id, ?answer);
                    witness.answered(now, id, &answer);
                    self.network.answered(id, answer);
                }
                Mail::Datagram { from, packet } => {
                    tracing::trace!(at = ?now, to = %self.line.from, ?packet);
                    witness.replied(now, &packet);
                    self.network.datagram(from, packet);
                }
            }
        }
    }

    fn witness(&self, now: Duration, sent: &Outgoing) -> Result<()> {
        let mut witness = self.witness.borrow_mut();
        match sent {
            Outgoing::Resolve { host, .. } => {
                if let Some(front) = [HTTP.1, UDP.1].iter().position(|name| name == host) {
                    witness.looks_up(front, false);
                }
                Ok(())
            }
            Outgoing::Http { id, url, .. } => witness.requests(now, *id, url),
            Outgoing::Datagram { packet, .. } => witness.sends(now, packet),
        }
        .context("announcing")
    }

    /// After its end: nothing was left unsaid.
    pub fn check_end(&self) -> Result<()> {
        self.witness.borrow().check_end()
    }
}

fn key(id: TorrentId) -> TorrentKey {
    TorrentKey(u64::from(id.0))
}
