//! The line between a process's announcer and the trackers: the engine's own announcer, on a simulated
//! network, under the world's clock.

use crate::{
    tracker::{Front, HTTP, Trackers, UDP},
    witness::{self, Witness},
};
use anyhow::{Context, Result};
use discovery::{
    TorrentKey,
    simulated::{HttpAnswer, Order, Outgoing, SimNetwork},
    tracker::TrackerError,
};
use engine::simulated::Process;
use std::{
    cell::RefCell,
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
    /// What has come, and is taken at the process's next turn.
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

/// What a process says to trackers, and what they say to it.
pub struct Announcer {
    line: Line,
    network: SimNetwork,
    witness: Witness,
    trackers: Trackers,
    /// What the witness calls its torrents.
    names: BTreeMap<TorrentKey, [u8; 20]>,
}

impl Announcer {
    /// That of a server that peers find here.
    pub fn new(addr: SocketAddr, process: &Process, trackers: &Trackers) -> Announcer {
        Announcer {
            line: Line { from: addr.ip(), mail: Rc::default() },
            network: process.network().clone(),
            witness: Witness::new(addr.port(), process.announce_key(), trackers.is_shared()),
            trackers: trackers.clone(),
            names: BTreeMap::new(),
        }
    }

    /// Whether something has come.
    pub fn has_mail(&self) -> bool {
        !self.line.mail.borrow().is_empty()
    }

    /// The process takes a turn.
    pub fn begins_turn(&mut self) {
        self.witness.begins_turn();
    }

    /// Lets the process have what has come.
    pub fn take_mail(&mut self, now: Duration) {
        for mail in self.line.mail.take() {
            match mail {
                Mail::Resolved { id, front, found } => {
                    if let Some(front) = front {
                        self.witness.looks_up(front, found.is_some());
                    }
                    let unknown = || TrackerError::Unreachable("there is no such name".into());
                    self.network.resolved(id, found.ok_or_else(unknown));
                }
                Mail::Answered { id, answer } => {
                    tracing::trace!(at = ?now, to = %self.line.from, id, ?answer);
                    self.witness.answered(now, id, &answer);
                    self.network.answered(id, answer);
                }
                Mail::Datagram { from, packet } => {
                    tracing::trace!(at = ?now, to = %self.line.from, ?packet);
                    self.witness.replied(now, &packet);
                    self.network.datagram(from, packet);
                }
            }
        }
    }

    /// The process sends something, or has told its announcer something.
    pub fn hand_on(&mut self, now: Duration, sent: Outgoing) -> Result<()> {
        tracing::trace!(at = ?now, from = %self.line.from, ?sent);
        let heard = match &sent {
            Outgoing::Told(order) => {
                self.is_told(now, order);
                return Ok(());
            }
            Outgoing::Resolve { host, .. } => {
                if let Some(front) = [HTTP.1, UDP.1].iter().position(|name| name == host) {
                    self.witness.looks_up(front, false);
                }
                Ok(())
            }
            Outgoing::Http { id, url, .. } => self.witness.requests(now, *id, url),
            Outgoing::Datagram { packet, .. } => self.witness.sends(now, packet),
        };
        heard.context("announcing")?;
        self.trackers.take(&self.line, sent);
        Ok(())
    }

    fn is_told(&mut self, now: Duration, order: &Order) {
        let name = |key: &TorrentKey| self.names.get(key).copied();
        match order {
            Order::Begin(key, info_hash, peer_id) => {
                let name = witness::name(info_hash.0, *peer_id);
                self.names.insert(*key, name);
                self.witness.begins(name, *peer_id);
            }
            Order::End(key) => name(key).iter().for_each(|name| self.witness.ends(name)),
            Order::Complete(key) => {
                name(key).iter().for_each(|name| self.witness.completes(name));
            }
            Order::Leave => self.witness.ends_all(now),
            Order::Left => self.witness.is_over(now),
        }
    }

    /// After its end: nothing was left unsaid.
    pub fn check_end(&self) -> Result<()> {
        self.witness.check_end()
    }
}
