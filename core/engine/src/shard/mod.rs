//! One thread, one reactor, and the torrents that live there.
//!
//! The loop is: wait for events, hand each to its connection, torrent or file operation, take
//! commands, hash what has come, and at the end of the turn send to every peer that has something
//! due. Nothing in it blocks.

mod commands;
mod conn;
mod directory;
mod download;
mod hashing;
mod messages;
mod metering;
mod peers;
mod receive;
#[cfg(feature = "sim")]
mod simulated;
mod store_events;
mod tick;
mod torrent;
mod transmit;

pub(crate) use directory::Directory;
#[cfg(any(debug_assertions, feature = "sim"))]
pub(crate) use messages::ORDERED_PANIC;
pub(crate) use messages::{Command, End, Report, ShardSettings, StartTorrent, Update};
pub(crate) use torrent::piece_priorities;

use crate::{blocklist::Blocklist, limits, status::TorrentId};
use conn::Conns;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use hashing::HashQueue;
use metainfo::InfoHash;
use metering::Metering;
use ring::{ConnId, Event, ListenerId, Ring, Waker};
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use storage::Store;
use swarm::{MemoryBudget, Transmit};
use torrent::Torrent;
use transmit::Slice;

/// How other threads reach a shard.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    commands: Sender<Command>,
    waker: Waker,
}

impl ShardHandle {
    pub(crate) fn new(commands: Sender<Command>, waker: Waker) -> ShardHandle {
        ShardHandle { commands, waker }
    }

    /// Puts the command in line; gives it back if the line is full or the shard is gone.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), Command> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => Err(command),
        }
    }
}

/// What a shard is made of; the supervisor's part of the contract.
pub(crate) struct ShardParts {
    pub(crate) number: usize,
    pub(crate) ring: Ring,
    pub(crate) store: Store,
    pub(crate) budget: MemoryBudget,
    pub(crate) settings: ShardSettings,
    pub(crate) directory: Directory,
    pub(crate) others: Vec<ShardHandle>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) listeners: Vec<(ListenerId, SocketAddr)>,
}

pub(crate) struct Shard {
    number: usize,
    ring: Ring,
    /// The time of this turn.
    now: Duration,
    store: Store,
    hasher: hash::Hasher,
    budget: MemoryBudget,
    settings: ShardSettings,
    directory: Directory,
    blocklist: Arc<Blocklist>,
    others: Vec<ShardHandle>,
    commands: Receiver<Command>,
    reports: tokio::sync::mpsc::Sender<Report>,
    /// Reports that found the line full.
    outbox: VecDeque<Report>,
    listeners: Vec<(ListenerId, SocketAddr)>,
    conns: Conns,
    /// Boxed, for the slab doubles and copies.
    torrents: Slab<Box<Torrent>>,
    by_id: HashMap<TorrentId, usize>,
    by_hash: HashMap<InfoHash, usize>,
    /// Torrents by the slots of their store keys.
    by_store: Vec<Option<usize>>,
    /// Torrents that may have something to send.
    ready: Vec<usize>,
    /// Connections whose turn came while a batch was under way, which is not so any more.
    unblocked: Vec<ConnId>,
    slice: Slice,
    metering: Metering,
    hashing: HashQueue,
    connecting: usize,
    greeting: usize,
    next_tick: Duration,
    stopping_since: Option<Duration>,
    /// The torrent that is being dealt with: who is to blame for a panic.
    in_hand: Option<TorrentId>,
    /// Scratch, so that sending does not allocate.
    transmit: Transmit,
}

impl Shard {
    pub(crate) fn new(parts: ShardParts) -> Shard {
        Shard {
            number: parts.number,
            ring: parts.ring,
            now: Duration::ZERO,
            store: parts.store,
            hasher: hash::Hasher::detect(),
            budget: parts.budget,
            settings: parts.settings,
            blocklist: parts.directory.blocklist(),
            directory: parts.directory,
            others: parts.others,
            commands: parts.commands,
            reports: parts.reports,
            outbox: VecDeque::new(),
            listeners: parts.listeners,
            conns: Conns::default(),
            torrents: Slab::new(),
            by_id: HashMap::new(),
            by_hash: HashMap::new(),
            by_store: Vec::new(),
            ready: Vec::new(),
            unblocked: Vec::new(),
            slice: Slice::default(),
            metering: Metering::default(),
            hashing: HashQueue::default(),
            connecting: 0,
            greeting: 0,
            next_tick: Duration::ZERO,
            stopping_since: None,
            in_hand: None,
            transmit: Transmit::default(),
        }
    }

    /// Runs until told to shut down.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.is_finished() {
            self.step(&mut events)?;
        }
        Ok(())
    }

    /// Waits for events and deals with them: one turn. `events` is scratch, and empty.
    pub(crate) fn step(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.timeout();
        self.ring.wait(Some(timeout), events)?;
        self.now = self.ring.now();
        for event in events.drain(..) {
            self.on_event(event);
        }
        self.turn();
        Ok(())
    }

    /// Everything that a turn does after its events.
    fn turn(&mut self) {
        self.in_hand = None;
        self.slice.begin();
        self.take_store_events();
        self.hash_what_is_due();
        if self.now >= self.next_tick {
            self.next_tick = self.now + limits::TICK;
            self.tick();
        }
        self.grant_credit();
        self.send_what_is_due();
        // Some requests are answered at once, and no event of the ring follows.
        while self.take_store_events() {
            self.send_what_is_due();
        }
        self.post_reports();
    }

    /// Whether there were any.
    fn take_store_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.store.poll_event() {
            self.on_store_event(event);
            any = true;
        }
        any
    }

    fn timeout(&self) -> Duration {
        if self.slice.is_short() || !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let due = [self.hashing.due(), self.metering.due()].into_iter().flatten();
        due.chain([self.next_tick]).min().unwrap_or_default().saturating_sub(self.now)
    }

    fn on_event(&mut self, event: Event) {
        self.in_hand = None;
        match event {
            Event::Received { conn, data } => self.on_received(conn, &data),
            Event::Sent { conn, bytes } => self.on_sent(conn, bytes),
            Event::File(done) => self.store.on_file_done(&mut self.ring, done),
            Event::Accepted { conn, peer, .. } => self.on_accepted(conn, peer),
            Event::Connected { conn } => self.on_connected(conn),
            Event::Closed { conn, result } => self.on_closed(conn, result),
            Event::Detached { conn, socket } => self.on_detached(conn, socket),
            Event::Woken => self.take_commands(),
        }
    }

    /// Marks a torrent whose swarm may have something to send.
    fn mark_ready(&mut self, torrent: usize) {
        let Some(found) = self.torrents.get_mut(torrent) else { return };
        found.stirred = true;
        if !std::mem::replace(&mut found.is_ready, true) {
            self.ready.push(torrent);
        }
    }

    /// The torrent that was being dealt with when a panic ended the shard, if any was.
    pub(crate) fn in_hand(&self) -> Option<TorrentId> {
        self.in_hand
    }

    fn take_in_hand(&mut self, torrent: usize) {
        self.in_hand = self.torrents.get(torrent).map(|torrent| torrent.id);
    }

    fn report(&mut self, report: Report) {
        self.outbox.push_back(report);
    }

    /// Hands over reports; what finds the line full stays for the next turn.
    fn post_reports(&mut self) {
        while let Some(report) = self.outbox.pop_front() {
            if let Err(tokio::sync::mpsc::error::TrySendError::Full(report)) =
                self.reports.try_send(report)
            {
                self.outbox.push_front(report);
                break;
            }
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.stopping_since.is_some_and(|since| {
            let done = self.torrents.is_empty() && self.outbox.is_empty();
            done || self.now.saturating_sub(since) >= limits::STOP_PATIENCE
        })
    }

    /// Closes a connection and forgets it.
    fn close(&mut self, conn: ConnId, reason: swarm::Reason) {
        self.ring.close(conn);
        self.forget(conn, reason);
    }
}

impl Drop for Shard {
    /// What the shards share must not count a shard that is gone, however it went.
    fn drop(&mut self) {
        self.directory.connections_closed(self.conns.iter().count());
        self.directory.forget_shard(self.number);
        self.metering.withdraw(self.number);
    }
}
