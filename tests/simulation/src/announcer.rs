//! The line between a process's announcer and the trackers: the engine's own announcer, on a simulated
//! network, under the world's clock.

use crate::{
    tracker::{HTTP, Trackers, UDP},
    witness::Witness,
};
use anyhow::{Context, Result};
use discovery::{
    TorrentKey,
    simulated::{HttpAnswer, Order, Outgoing, SimNetwork},
    tracker::TrackerError,
};
use engine::simulated::Process;
use metainfo::InfoHash;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

/// The way from the trackers back to an announcer.
#[derive(Clone)]
pub struct Line {
    /// The address that trackers see.
    pub from: IpAddr,
    network: SimNetwork,
    witness: Rc<RefCell<Witness>>,
    has_mail: Rc<Cell<bool>>,
}

impl Line {
    /// A name was looked up.
    pub fn resolved(&self, id: u64, front: Option<usize>, found: Option<Vec<IpAddr>>) {
        if let Some(front) = front {
            self.witness.borrow_mut().looks_up(front, found.is_some());
        }
        let unknown = || TrackerError::Unreachable("there is no such name".into());
        self.network.resolved(id, found.ok_or_else(unknown));
        self.has_mail.set(true);
    }

    /// An HTTP request has ended.
    pub fn answered(&self, id: u64, answer: Result<HttpAnswer, TrackerError>, now: Duration) {
        tracing::trace!(at = ?now, to = %self.from, id, ?answer);
        self.witness.borrow_mut().answered(now, id, &answer);
        self.network.answered(id, answer);
        self.has_mail.set(true);
    }

    /// A datagram comes.
    pub fn replied(&self, from: SocketAddr, packet: Vec<u8>, now: Duration) {
        self.witness.borrow_mut().replied(now, &packet);
        self.network.datagram(from, packet);
        self.has_mail.set(true);
    }
}

/// What a process says to trackers, and what they say to it.
pub struct Announcer {
    line: Line,
    trackers: Trackers,
    /// What it calls its torrents.
    names: BTreeMap<TorrentKey, InfoHash>,
}

impl Announcer {
    /// That of a server that peers find here.
    pub fn new(addr: SocketAddr, process: &Process, trackers: &Trackers) -> Announcer {
        let witness = Witness::new(addr.port(), process.announce_key(), trackers.is_shared());
        let line = Line {
            from: addr.ip(),
            network: process.network().clone(),
            witness: Rc::new(RefCell::new(witness)),
            has_mail: Rc::default(),
        };
        Announcer { line, trackers: trackers.clone(), names: BTreeMap::new() }
    }

    /// Whether something has come since this was asked last.
    pub fn take_mail(&self) -> bool {
        self.line.has_mail.take()
    }

    /// Whether something has come.
    pub fn has_mail(&self) -> bool {
        self.line.has_mail.get()
    }

    /// The process sends something, or has told the announcer something.
    pub fn hand_on(&mut self, now: Duration, sent: Outgoing) -> Result<()> {
        let mut witness = self.line.witness.borrow_mut();
        let heard = match &sent {
            Outgoing::Told(order) => {
                match *order {
                    Order::Begin(key, info_hash, peer_id) => {
                        self.names.insert(key, info_hash);
                        witness.begins(info_hash.0, peer_id);
                    }
                    Order::End(key) => {
                        let name = self.names.get(&key);
                        name.into_iter().for_each(|hash| witness.ends(&hash.0));
                    }
                    Order::Complete(key) => {
                        let name = self.names.get(&key);
                        name.into_iter().for_each(|hash| witness.completes(&hash.0));
                    }
                    Order::Leave => witness.ends_all(),
                }
                return Ok(());
            }
            Outgoing::Resolve { host, .. } => {
                if let Some(front) = [HTTP.1, UDP.1].iter().position(|name| name == host) {
                    witness.looks_up(front, false);
                }
                Ok(())
            }
            Outgoing::Http { id, url, .. } => witness.requests(now, *id, url),
            Outgoing::Datagram { packet, .. } => witness.sends(now, packet),
        };
        heard.context("announcing")?;
        drop(witness);
        self.trackers.take(&self.line, sent);
        Ok(())
    }

    /// The announcer has ended.
    pub fn is_over(&self) {
        self.line.witness.borrow_mut().is_over();
    }

    /// After its end: nothing was left unsaid.
    pub fn check_end(&self) -> Result<()> {
        self.line.witness.borrow().check_end()
    }
}
