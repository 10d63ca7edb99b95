//! The task that drives all torrents: see [`Driver::run`].

use super::{
    Config, Outbox, Slot, Timers,
    flight::{Flight, Question, Report, announce_reply, ask_http, merge_peers, scrape_reply},
    handle::{Command, Statuses},
    network::Network,
};
use crate::{
    limits,
    tracker::{
        Announce, AnnounceReply, Event, Moment, TorrentAnnounce, TorrentKey, TrackerError,
        TrackerEvent,
        pacer::Pacer,
        torrent::{Due, TorrentTrackers, Urgency},
        udp::{Reply, Transmit, UdpTrackers},
        url::TrackerUrl,
    },
};
use metainfo::InfoHash;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::IpAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

pub(super) struct Driver {
    pub config: Config,
    pub key: u32,
    pub rng: fastrand::Rng,
    pub network: Network,
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// Unbounded, but with one report at most for each request in flight.
    pub reports_in: mpsc::UnboundedSender<Report>,
    pub reports: mpsc::UnboundedReceiver<Report>,
    pub statuses: Statuses,
    pub sink: mpsc::Sender<TrackerEvent>,
    pub tasks: JoinSet<()>,
    pub torrents: HashMap<Slot, Torrent>,
    /// The slot of each key, for those that have not been removed.
    pub slots: HashMap<TorrentKey, Slot>,
    /// The slot of each peer that was removed and has something to say still.
    pub goodbyes: HashMap<(InfoHash, [u8; 20]), Slot>,
    pub next_slot: Slot,
    pub next_tracker: u32,
    pub timers: Timers,
    pub pacer: Pacer<Job>,
    pub flights: HashMap<u64, Flight>,
    pub next_flight: u64,
    pub udp: UdpTrackers,
    /// The packet that its socket had no room for.
    pub unsent: Option<Transmit>,
    /// Torrents whose status or next timer may have changed.
    pub changed: BTreeSet<Slot>,
    pub outbox: Outbox,
    pub leaving: Option<Leaving>,
}

pub(super) struct Torrent {
    pub about: TorrentAnnounce,
    pub trackers: TorrentTrackers,
    timer: Option<Duration>,
    removed: bool,
}

/// Something that a torrent has queued with the pacer.
pub(super) struct Job {
    pub slot: Slot,
    pub tracker: u32,
    urgency: Urgency,
}

/// A shutdown under way.
pub(super) struct Leaving {
    /// Until when trackers that have never answered are waited for.
    patience: Duration,
    deadline: Duration,
    done: oneshot::Sender<()>,
}

/// What the driver woke up for.
enum Wake {
    Command(Option<Command>),
    Report(Report),
    Packets,
    Writable,
    Sink(Option<mpsc::OwnedPermit<TrackerEvent>>),
    Time,
}

impl Driver {
    pub async fn run(mut self) {
        let mut buffer = vec![0; limits::UDP_PACKET];
        loop {
            self.advance();
            if self.is_over() {
                break;
            }
            let next = self.next_time();
            // What callers and requests tell comes first, as it is bounded by what there is; what
            // comes by one address family cannot hold up the other.
            let wake = tokio::select! {
                biased;
                command = self.commands.recv(), if self.leaving.is_none() => Wake::Command(command),
                Some(report) = self.reports.recv() => Wake::Report(report),
                permit = self.sink.clone().reserve_owned(), if !self.outbox.is_empty() => {
                    Wake::Sink(permit.ok())
                }
                () = self.network.writable(&self.unsent) => Wake::Writable,
                () = self.network.readable() => Wake::Packets,
                () = self.network.sleep_until(next) => Wake::Time,
            };
            match wake {
                Wake::Command(None) => break,
                Wake::Command(Some(command)) => self.obey_all(command),
                Wake::Report(report) => self.hear(report),
                Wake::Packets => [0, 1].into_iter().for_each(|at| self.receive(at, &mut buffer)),
                Wake::Sink(permit) => self.deliver(permit),
                Wake::Time | Wake::Writable => {}
            }
        }
        #[cfg(feature = "sim")]
        self.network.has_left();
        if let Some(leaving) = self.leaving.take() {
            let _ = leaving.done.send(());
        }
    }

    /// Everything that follows from what has been heard and from the time, until nothing more does.
    fn advance(&mut self) {
        let now = self.network.now();
        self.udp.handle_timeout(now);
        self.finish_udp();
        while let Some(&(at, slot)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.changed.insert(slot);
            if let Some(torrent) = self.torrents.get_mut(&slot) {
                torrent.timer = None;
            }
        }
        self.queue_due(now);
        self.launch();
        self.transmit();
        self.finish_udp();
        self.queue_due(now);
        self.publish();
        while self.tasks.try_join_next().is_some() {}
    }

    fn next_time(&self) -> Option<Duration> {
        let now = self.network.now();
        let timer = self.timers.first().map(|&(at, _)| at);
        let may_launch = self.flights.len() < self.config.in_flight;
        let pacer = self.pacer.next_at(now).filter(|_| may_launch);
        let leaving = self.leaving.as_ref().map(|leaving| {
            if leaving.patience > now { leaving.patience } else { leaving.deadline }
        });
        [timer, pacer, self.udp.next_timeout(), leaving].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        let now = self.network.now();
        let owing = self.torrents.values().any(|torrent| torrent.trackers.owes_stopped());
        now >= leaving.deadline
            || self.torrents.is_empty()
            || (!owing && (now >= leaving.patience || self.flights.is_empty()))
    }

    fn obey_all(&mut self, first: Command) {
        self.obey(first);
        for _ in 1..limits::COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(_) => break,
            }
        }
    }

    fn obey(&mut self, command: Command) {
        #[cfg(feature = "sim")]
        self.network.is_told(&command);
        let now = self.network.now();
        match command {
            Command::Add(about) => self.add(*about),
            Command::Remove(key) => self.remove(key),
            Command::Start(key) => self.with(key, |torrent, _| torrent.trackers.start(now)),
            Command::Stop(key) => self.with(key, |torrent, _| torrent.trackers.stop(now)),
            Command::Completed(key) => self.with(key, |torrent, _| torrent.trackers.completed()),
            Command::Reannounce(key) => {
                self.with(key, |torrent, _| torrent.trackers.reannounce(now));
            }
            Command::WantPeers(key) => {
                self.with(key, |torrent, _| torrent.trackers.want_peers(now));
            }
            Command::SetTrackers(key, tiers) => self.with(key, |torrent, next_tracker| {
                torrent.trackers.set_tiers(&tiers, next_tracker, now);
                torrent.about.trackers = tiers;
            }),
            Command::SetPort(port) => self.set_port(port),
            Command::Shutdown(deadline, done) => self.leave(deadline, done),
        }
    }

    fn with(&mut self, key: TorrentKey, change: impl FnOnce(&mut Torrent, &mut u32)) {
        let Some(&slot) = self.slots.get(&key) else { return };
        if let Some(torrent) = self.torrents.get_mut(&slot) {
            change(torrent, &mut self.next_tracker);
            self.changed.insert(slot);
        }
    }

    /// A torrent that is still saying goodbye goes on where it is: its `stopped` would otherwise
    /// overtake the `started` that follows, and trackers would forget us.
    fn add(&mut self, about: TorrentAnnounce) {
        self.remove(about.key);
        if let Some(slot) = self.goodbyes.remove(&(about.info_hash, about.peer_id))
            && let Some(torrent) = self.torrents.get_mut(&slot)
        {
            let now = self.network.now();
            torrent.trackers.set_tiers(&about.trackers, &mut self.next_tracker, now);
            self.slots.insert(about.key, slot);
            (torrent.about, torrent.removed) = (about, false);
            self.changed.insert(slot);
            return;
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        let trackers =
            TorrentTrackers::new(&about.trackers, &mut self.next_tracker, self.rng.u64(..));
        self.slots.insert(about.key, slot);
        self.torrents.insert(slot, Torrent { about, trackers, timer: None, removed: false });
        self.changed.insert(slot);
    }

    fn remove(&mut self, key: TorrentKey) {
        let Some(slot) = self.slots.remove(&key) else { return };
        let now = self.network.now();
        if let Some(torrent) = self.torrents.get_mut(&slot) {
            torrent.removed = true;
            torrent.trackers.stop(now);
            self.goodbyes.insert((torrent.about.info_hash, torrent.about.peer_id), slot);
            self.changed.insert(slot);
        }
        self.outbox.remove(&key);
        self.statuses.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    fn set_port(&mut self, port: u16) {
        if self.config.port == port {
            return;
        }
        self.config.port = port;
        let now = self.network.now();
        for (&slot, torrent) in &mut self.torrents {
            torrent.trackers.want_peers(now);
            self.changed.insert(slot);
        }
    }

    fn leave(&mut self, deadline: Duration, done: oneshot::Sender<()>) {
        let now = self.network.now();
        self.config.in_flight = self.config.in_flight.max(limits::SHUTDOWN_IN_FLIGHT);
        self.pacer.hurry(limits::SHUTDOWN_IN_FLIGHT_PER_HOST);
        for (&slot, torrent) in &mut self.torrents {
            torrent.trackers.stop_finally(now);
            self.changed.insert(slot);
        }
        let patience = now + deadline.min(limits::SHUTDOWN_UNANSWERED);
        self.leaving = Some(Leaving { patience, deadline: now + deadline, done });
    }

    /// Gives the pacer what the changed torrents have due, and sets their timers.
    fn queue_due(&mut self, now: Duration) {
        for &slot in &self.changed {
            let Some(torrent) = self.torrents.get_mut(&slot) else { continue };
            for Due { tracker, host, urgency } in torrent.trackers.due(now) {
                self.pacer.push(now, &host, urgency, Job { slot, tracker, urgency });
            }
            let next = torrent.trackers.next_due(now);
            if next != torrent.timer {
                if let Some(old) = torrent.timer {
                    self.timers.remove(&(old, slot));
                }
                torrent.timer = next;
                self.timers.extend(next.map(|next| (next, slot)));
            }
        }
    }

    /// Begins what the pacer lets go.
    fn launch(&mut self) {
        while self.flights.len() < self.config.in_flight {
            let now = self.network.moment();
            let Some((host, job)) = self.pacer.pop(now.at) else { break };
            self.changed.insert(job.slot);
            let subject = (job.slot, job.tracker);
            match self.prepare(&job, now) {
                Some((url, Question::Scrape(first))) => {
                    let (subjects, asked) = self.gather_scrapes(&host, &url, subject, &first, now);
                    self.take_off(subjects, host, url, Question::Scrape(asked));
                }
                Some((url, question)) => self.take_off(vec![subject], host, url, question),
                None => self.pacer.unused(&host),
            }
        }
    }

    fn prepare(&mut self, job: &Job, now: Moment) -> Option<(Arc<TrackerUrl>, Question)> {
        let torrent = self.torrents.get_mut(&job.slot)?;
        if job.urgency == Urgency::Scrape {
            let url = torrent.trackers.begin_scrape(job.tracker, now)?;
            return Some((url, Question::Scrape([torrent.about.info_hash].into())));
        }
        let begin = torrent.trackers.begin(job.tracker, now)?;
        let (uploaded, downloaded, left) = torrent.about.progress.read();
        let say = Announce {
            info_hash: torrent.about.info_hash,
            peer_id: torrent.about.peer_id,
            port: self.config.port,
            uploaded,
            downloaded,
            left,
            event: begin.event,
            numwant: if begin.event == Event::Stopped { 0 } else { self.config.numwant },
            key: self.key,
            tracker_id: begin.tracker_id,
        };
        Some((begin.url, Question::Announce(Box::new(say))))
    }

    fn take_off(
        &mut self,
        subjects: Vec<(Slot, u32)>,
        host: Arc<str>,
        url: Arc<TrackerUrl>,
        question: Question,
    ) {
        let id = self.next_flight;
        self.next_flight += 1;
        let name = url.host();
        let flight =
            Flight { subjects, host, url, question, parts: 0, succeeded: false, failure: None };
        self.flights.insert(id, flight);
        if let Ok(ip) = name.parse::<IpAddr>() {
            return self.resolved(id, Ok([ip].into()));
        }
        let (resolver, reports) = (self.network.resolver.clone(), self.reports_in.clone());
        self.tasks.spawn(async move {
            let _ = reports.send(Report::Resolved(id, resolver.resolve(&name).await));
        });
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Resolved(id, addresses) => self.resolved(id, addresses),
            Report::Answered(id, reply) => self.answered(id, reply),
        }
    }

    fn resolved(&mut self, id: u64, addresses: Result<Arc<[IpAddr]>, TrackerError>) {
        let now = self.network.now();
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(error) => return self.answered(id, Err(error)),
        };
        let endpoints = flight.endpoints(&addresses, &self.network);
        flight.parts = endpoints.len();
        for to in endpoints {
            if let Some(ask) = flight.udp_ask() {
                self.udp.ask(now, to, id, ask);
                continue;
            }
            let asking = ask_http(
                self.network.http.clone(),
                flight.url.clone(),
                flight.question.clone(),
                to.is_ipv6(),
            );
            let reports = self.reports_in.clone();
            self.tasks.spawn(async move {
                let _ = reports.send(Report::Answered(id, asking.await));
            });
        }
    }

    /// One of the flight's answers has come; see [`Flight`] for what it counts.
    fn answered(&mut self, id: u64, reply: Result<Reply, TrackerError>) {
        let now = self.network.moment();
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.parts = flight.parts.saturating_sub(1);
        let decided = match &reply {
            Ok(_) => !std::mem::replace(&mut flight.succeeded, true),
            Err(_) => !flight.succeeded && flight.parts == 0,
        };
        let is_scrape = matches!(flight.question, Question::Scrape(_));
        let subjects = flight.subjects.clone();
        let reply = match (reply, decided) {
            (Err(error), true) => Err(flight.failure.take().unwrap_or(error)),
            (Err(error), false) => {
                flight.failure.get_or_insert(error.clone());
                Err(error)
            }
            (reply, _) => reply,
        };
        if flight.parts == 0
            && let Some(over) = self.flights.remove(&id)
        {
            self.pacer.finished(&over.host);
        }
        if is_scrape {
            if decided {
                self.scraped(&subjects, now, &scrape_reply(reply));
            }
            return;
        }
        let Some(&(slot, tracker)) = subjects.first() else { return };
        let Some(torrent) = self.torrents.get_mut(&slot) else { return };
        self.changed.insert(slot);
        let result = announce_reply(reply);
        if decided {
            torrent.trackers.finish(tracker, now, &result);
        } else if let Ok(more) = &result {
            torrent.trackers.more_peers(tracker, more.peers.len());
        }
        if let Ok(AnnounceReply { peers, .. }) = result
            && !torrent.removed
            && !peers.is_empty()
        {
            let key = torrent.about.key;
            merge_peers(&mut self.outbox.entry(key).or_default().peers, peers);
        }
    }

    fn receive(&mut self, family: usize, buffer: &mut [u8]) {
        let now = self.network.now();
        for _ in 0..limits::PACKETS_PER_TURN {
            match self.network.try_receive(family, buffer) {
                Ok((length, from)) => self.udp.receive(now, from, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier packet: the timeouts deal with it.
                Err(_) => {}
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.unsent.take().or_else(|| self.udp.poll_transmit()) {
            match self.network.try_send(&transmit) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = Some(transmit);
                    return;
                }
                Err(error) => self.udp.unreachable(transmit.to, &error.to_string()),
            }
        }
    }

    fn finish_udp(&mut self) {
        while let Some((id, reply)) = self.udp.poll_reply() {
            self.answered(id, reply);
        }
    }

    /// Publishes the status of what has changed, and drops removed torrents that are done.
    fn publish(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        let now = self.network.moment();
        let mut statuses = self.statuses.write().unwrap_or_else(PoisonError::into_inner);
        for slot in std::mem::take(&mut self.changed) {
            let Some(torrent) = self.torrents.get(&slot) else { continue };
            if !torrent.removed {
                let key = torrent.about.key;
                statuses.insert(key, torrent.trackers.statuses(now).into());
                self.outbox.entry(key).or_default().status = true;
            } else if torrent.trackers.is_quiet()
                && let Some(gone) = self.torrents.remove(&slot)
            {
                let peer = (gone.about.info_hash, gone.about.peer_id);
                if self.goodbyes.get(&peer) == Some(&slot) {
                    self.goodbyes.remove(&peer);
                }
                if let Some(timer) = gone.timer {
                    self.timers.remove(&(timer, slot));
                }
            }
        }
    }

    /// Hands the receiver what waits for it, as far as it has room. Peers go first: they are what
    /// the torrent waits for.
    fn deliver(&mut self, permit: Option<mpsc::OwnedPermit<TrackerEvent>>) {
        let Some(mut permit) = permit else { return self.outbox.clear() };
        while let Some(mut entry) = self.outbox.first_entry() {
            let key = *entry.key();
            let pending = entry.get_mut();
            let sender = if pending.peers.is_empty() {
                entry.remove();
                permit.send(TrackerEvent::Status { key })
            } else {
                let peers = std::mem::take(&mut pending.peers);
                if !pending.status {
                    entry.remove();
                }
                permit.send(TrackerEvent::Peers { key, peers })
            };
            permit = match sender.try_reserve_owned() {
                Ok(permit) => permit,
                Err(_) => return,
            };
        }
    }
}
