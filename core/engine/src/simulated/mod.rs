//! A whole process in a simulated world, driven by hand on one thread: the session on a runtime whose
//! clock is the world's, its shards, its trackers' line, and whatever it would have threads for (looks
//! at files, checks, moves, removals, the database), a turn at a time.
//!
//! Everything that shards and threads tell the session passes through here, so that whoever drives the
//! process can see that it is true.

mod shards;

use crate::{
    Added, Event, NewTorrent, Session, TorrentId,
    blocklist::Blocklist,
    limits,
    session::{
        Note, Parts, Told as Heard,
        database::{Database, Writer},
        looker::Found,
    },
    settings::Settings,
    shard::Report,
    work::Line,
};
use discovery::{
    Config, TrackerEvent,
    simulated::{Outgoing, SimNetwork, SimRuntime},
};
use metainfo::{Bitfield, InfoHash};
use ring::sim::{Machine, World};
use rusqlite::Connection;
use shards::Seats;
use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use storage::{CheckWorker, Checker, FileStamp};
use tokio::sync::{broadcast, mpsc};

/// The folder of the database and of copies of .torrent files.
pub const CONFIG_DIR: &str = "/config";

/// How long a turn of a thread takes.
const WORK: std::ops::Range<u64> = 10_000..5_000_000;

/// How long after what it was told the session looks again whether all of it is done.
const AFTERMATH: Duration = Duration::from_millis(1);

/// How often it looks at its clocks: once a second when nobody waits for it, as its own tick.
const IDLE: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(20);

/// Of what kind a process is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many shards it has.
    pub shards: usize,
    /// Its settings.
    pub settings: Settings,
    /// Files that each shard has open at a time.
    pub open_files: usize,
    /// Where peers find it.
    pub listen: SocketAddr,
}

/// What a process leaves behind for the next one, whatever ended it: its database.
pub struct Kept(Connection);

impl Kept {
    /// Of a machine on which none has run.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn nothing() -> io::Result<Kept> {
        Connection::open_in_memory().map(Kept).map_err(io::Error::other)
    }
}

/// What a process does, as far as it can be seen from outside or from within.
#[derive(Debug)]
pub enum Told {
    /// Pieces that are claimed from now on.
    Gains(TorrentId, u32),
    /// Everything wanted is on the disk.
    Completed(TorrentId),
    /// What is new since the last such word.
    Counted {
        /// Whose.
        id: TorrentId,
        /// Bytes of blocks received.
        downloaded: u64,
        /// Bytes of pieces that failed their hash.
        corrupt: u64,
    },
    /// These pieces survive a loss of power.
    Durable {
        /// Whose.
        id: TorrentId,
        /// Which.
        have: Bitfield,
        /// How its files look.
        stamps: Vec<FileStamp>,
    },
    /// What was written since the last [`Told::Durable`] may be lost.
    Suspect(TorrentId),
    /// A local error; the torrent stops.
    Trouble(TorrentId, String),
    /// A host is no longer talked to by the torrent.
    Banned(TorrentId, IpAddr),
    /// The torrent has left its shard.
    Left(TorrentId),
    /// The files were looked at: pieces that are trusted, and whether others are in doubt.
    Looked(TorrentId, Bitfield, bool),
    /// The files were looked at, and are not fit.
    Unfit(TorrentId, String),
    /// Pieces were checked: those that are good, and an error, which if nothing was read ended it.
    Checked {
        /// Whose.
        id: TorrentId,
        /// The good ones.
        have: Bitfield,
        /// It was ended before its time.
        is_cancelled: bool,
        /// What went wrong.
        error: Option<String>,
    },
    /// A move has ended.
    Moved(TorrentId, Result<(), String>),
    /// The database has this as a torrent's resume data from now on.
    Kept(InfoHash, Option<Vec<u8>>),
    /// A torrent is in the session, and in the database.
    Added(Result<Added, String>),
    /// What the session tells everybody of a torrent.
    Happened(InfoHash, Event),
    /// Something for a tracker.
    Sent(Outgoing),
    /// The shard has panicked, and a fresh one has taken its place.
    Replaced(usize),
}

/// A process.
pub struct Process {
    world: World,
    machine: Machine,
    /// When it began.
    began: Duration,
    runtime: SimRuntime,
    network: SimNetwork,
    announce_key: u32,
    session: Session,
    line: Line,
    worker: CheckWorker,
    writer: Writer,
    shards: Seats,
    passing: Passing,
    answers: (mpsc::UnboundedSender<Result<Added, String>>, Answers),
    /// Questions under way.
    asked: usize,
    events: broadcast::Receiver<crate::Notice>,
    told: VecDeque<Told>,
    due: Due,
    rng: fastrand::Rng,
    has_stopped: Option<Arc<AtomicBool>>,
}

type Answers = mpsc::UnboundedReceiver<Result<Added, String>>;

/// What is on the way to the session.
struct Passing {
    reports: mpsc::Receiver<Report>,
    reports_on: mpsc::Sender<Report>,
    waiting: VecDeque<Report>,
    notes: mpsc::UnboundedReceiver<Note>,
    notes_on: mpsc::UnboundedSender<Note>,
}

/// When the next turn of each is.
#[derive(Default)]
struct Due {
    session: Duration,
    /// When its last one was.
    last: Duration,
    /// How many it has had.
    turns: u64,
    /// The session has been told something.
    has_mail: bool,
    work: Option<Duration>,
    check: Option<Duration>,
    write: Option<Duration>,
    /// Nobody does anything before.
    rests_until: Duration,
}

impl Process {
    /// Starts a process on the machine with what the last one has left.
    ///
    /// # Errors
    /// If the real machine is out of descriptors or memory, or what is kept cannot be read.
    pub fn start(
        world: &World,
        machine: Machine,
        plan: &Plan,
        kept: Kept,
        mut rng: fastrand::Rng,
    ) -> io::Result<Process> {
        let (runtime, network, line) = (SimRuntime::new()?, SimNetwork::new(), Line::default());
        let (database, writer, stored) = Database::by_hand(kept.0).map_err(io::Error::other)?;
        let (reports_in, reports) = mpsc::channel(limits::REPORTS);
        let (reports_on, reports_out) = mpsc::channel(limits::REPORTS);
        let (notes_in, notes) = mpsc::unbounded_channel();
        let (notes_on, notes_out) = mpsc::unbounded_channel();
        let (trackers_in, tracker_events) = mpsc::channel::<TrackerEvent>(1024);
        let shards = Seats::start(world, machine, plan, reports_in)?;
        let announce_key = rng.u32(..);
        let config = Config {
            port: plan.listen.port(),
            key: Some(announce_key),
            seed: Some(rng.u64(..)),
            ..Config::default()
        };
        let checker = Checker::by_hand();
        let worker = checker.worker();
        let started = world.run_on(machine, || {
            line.within(|| {
                runtime.within(|| {
                    Session::assemble(Parts {
                        config_dir: CONFIG_DIR.into(),
                        settings: plan.settings.clone(),
                        database,
                        stored,
                        shards: shards.shards(),
                        announcer: network.announcer(config, trackers_in),
                        checker,
                        blocklist: Blocklist::default(),
                        notes_in,
                        told: Heard { reports: reports_out, tracker_events, notes: notes_out },
                    })
                })
            })
        });
        let halted = || io::Error::other("the disk has stopped");
        let session = started.ok_or_else(halted)?.map_err(io::Error::other)?;
        Ok(Process {
            world: world.clone(),
            machine,
            began: world.now(),
            events: session.events(),
            runtime,
            network,
            announce_key,
            session,
            line,
            worker,
            writer,
            shards,
            passing: Passing { reports, reports_on, waiting: VecDeque::new(), notes, notes_on },
            answers: mpsc::unbounded_channel(),
            asked: 0,
            told: VecDeque::new(),
            due: Due::default(),
            rng,
            has_stopped: None,
        })
    }

    /// Asks the session something, or tells it.
    pub fn call<R>(&mut self, call: impl FnOnce(&Session) -> R) -> Option<R> {
        self.has_mail();
        let (runtime, session) = (&self.runtime, &self.session);
        self.world.run_on(self.machine, || self.line.within(|| runtime.within(|| call(session))))
    }

    /// Adds a torrent; [`Told::Added`] follows.
    pub fn add(&mut self, new: NewTorrent) {
        self.asked += 1;
        let answers = self.answers.0.clone();
        self.call(|session| {
            let session = session.clone();
            tokio::spawn(async move {
                let added = session.add(new).await;
                let _ = answers.send(added.map_err(|error| error.to_string()));
            });
        });
    }

    /// Asks it to end in good order.
    pub fn shut_down(&mut self) {
        if self.has_stopped.is_some() {
            return;
        }
        let stopped = Arc::new(AtomicBool::new(false));
        self.has_stopped = Some(Arc::clone(&stopped));
        self.call(|session| {
            let session = session.clone();
            tokio::spawn(async move {
                session.stop().await;
                stopped.store(true, Ordering::Relaxed);
            });
        });
    }

    /// What trackers know its announcer by.
    pub fn announce_key(&self) -> u32 {
        self.announce_key
    }

    /// The way back from trackers; [`Process::has_mail`] after something was put there.
    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// Something has come for the session.
    pub fn has_mail(&mut self) {
        self.due.session = self.world.now();
        self.due.has_mail = true;
    }

    /// How many turns the session has had: as long as they are the same, it knows the same.
    pub fn session_turns(&self) -> u64 {
        self.due.turns
    }

    /// What it knows, for a look.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Makes a shard panic at its next command.
    pub fn panic(&self, shard: usize) {
        self.shards.panic(shard);
    }

    /// Keeps it from doing anything until then: the machine sleeps.
    pub fn freeze(&mut self, until: Duration) {
        self.shards.freeze(until);
        self.due.rests_until = until;
    }

    /// Until when it rests.
    pub fn rests_until(&self) -> Duration {
        self.due.rests_until
    }

    /// Whether the session has ended, in good order.
    pub fn has_left(&self) -> bool {
        self.has_stopped.as_ref().is_some_and(|has| has.load(Ordering::Relaxed))
    }

    /// Whether everything has.
    pub fn has_ended(&self) -> bool {
        self.has_left() && self.shards.due().is_none() && !self.writer.is_due()
    }

    /// What it leaves behind, as of now.
    pub fn into_kept(self) -> Kept {
        Kept(self.writer.into_connection())
    }

    /// When it has something to do; `None` once it has ended.
    pub fn due(&self) -> Option<Duration> {
        if self.has_ended() {
            return None;
        }
        let due = &self.due;
        let threads = [due.work, due.check, due.write].into_iter().flatten();
        let next = threads
            .chain(self.announces_at())
            .fold(due.session, Duration::min)
            .max(due.rests_until);
        Some(self.shards.due().map_or(next, |shards| shards.min(next)))
    }

    /// When the announcer does something by itself; a moment that it has slept through is one at which
    /// it had ended.
    fn announces_at(&self) -> Option<Duration> {
        let at = self.began + self.runtime.wakes_at(&self.network)?;
        (at > self.due.last).then_some(at)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// If a shard has left its bounds or holds what it should have let go of.
    pub fn step(&mut self) -> io::Result<()> {
        let now = self.world.now();
        for (id, piece) in self.shards.step()? {
            self.told.push_back(Told::Gains(id, piece));
        }
        self.pass_reports();
        if now < self.due.rests_until {
            return Ok(());
        }
        self.thread_turns(now);
        self.pass_notes();
        if self.announces_at().is_some_and(|at| at <= now) || self.due.session <= now {
            self.session_turn(now);
        }
        self.plan_turns(now);
        Ok(())
    }

    /// The turns of what would be threads.
    fn thread_turns(&mut self, now: Duration) {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.due.work) {
            self.due.work = None;
            if let Some(job) = self.line.next() {
                let (line, runtime) = (&self.line, &self.runtime);
                self.world.run_on(self.machine, || line.within(|| runtime.within(job)));
                self.has_mail();
            }
        }
        if is_due(self.due.check) {
            self.due.check = None;
            let worker = &mut self.worker;
            let goes_on = self.world.run_on(self.machine, || worker.turn());
            if goes_on == Some(true) {
                self.due.check = Some(now + self.duration());
                self.has_mail();
            }
        }
        if is_due(self.due.write) {
            self.due.write = None;
            if !self.world.is_halted(self.machine) {
                let kept = self.writer.turn();
                self.told.extend(kept.into_iter().map(|(hash, data)| Told::Kept(hash, data)));
                self.has_mail();
            }
        }
    }

    /// The session does what there is for it to do.
    fn session_turn(&mut self, now: Duration) {
        let to = now - self.began;
        let (line, runtime) = (&self.line, &self.runtime);
        self.world.run_on(self.machine, || line.within(|| runtime.advance(to)));
        self.due.last = now;
        self.due.turns += 1;
        let is_busy = self.asked > 0 || self.has_stopped.is_some();
        self.due.session = now
            + match std::mem::take(&mut self.due.has_mail) {
                true => AFTERMATH,
                false if is_busy => BUSY,
                false => IDLE,
            };
        // What the session has put in line for the checker does not show.
        self.due.check = self.due.check.or(Some(now + self.duration()));
        while let Some(sent) = self.network.poll() {
            self.told.push_back(Told::Sent(sent));
        }
        while let Ok(notice) = self.events.try_recv() {
            if let Some(subject) = notice.torrent {
                self.told.push_back(Told::Happened(subject.info_hash, notice.event));
            }
        }
        while let Ok(answer) = self.answers.1.try_recv() {
            self.asked -= 1;
            self.told.push_back(Told::Added(answer));
        }
    }

    fn plan_turns(&mut self, now: Duration) {
        if self.due.work.is_none() && !self.line.is_empty() {
            self.due.work = Some(now + self.duration());
        }
        if self.due.write.is_none() && self.writer.is_due() {
            self.due.write = Some(now + self.duration());
        }
    }

    fn duration(&mut self) -> Duration {
        Duration::from_nanos(self.rng.u64(WORK))
    }

    /// Hands on what shards tell.
    fn pass_reports(&mut self) {
        while let Ok(report) = self.passing.reports.try_recv() {
            self.overhear(&report);
            self.passing.waiting.push_back(report);
        }
        while let Some(report) = self.passing.waiting.pop_front() {
            self.has_mail();
            if let Err(error) = self.passing.reports_on.try_send(report) {
                let report = error.into_inner();
                return self.passing.waiting.push_front(report);
            }
        }
    }

    fn overhear(&mut self, report: &Report) {
        let told = match report {
            Report::Updates(updates) => {
                for &crate::shard::Update { id, downloaded, corrupt, .. } in updates {
                    self.told.push_back(Told::Counted { id, downloaded, corrupt });
                }
                return;
            }
            Report::Completed(id) => Told::Completed(*id),
            Report::Durable { id, have, stamps, .. } => {
                Told::Durable { id: *id, have: have.clone(), stamps: stamps.clone() }
            }
            Report::Suspect { id } => Told::Suspect(*id),
            Report::Trouble { id, message, .. } => Told::Trouble(*id, message.clone()),
            Report::Banned { id, addr } => Told::Banned(*id, *addr),
            Report::Stopped { id, .. } => {
                self.shards.has_left(*id);
                Told::Left(*id)
            }
            Report::Ended { shard, end: crate::shard::End::Replaced, .. } => Told::Replaced(*shard),
            _ => return,
        };
        self.told.push_back(told);
    }

    /// Hands on what threads tell.
    fn pass_notes(&mut self) {
        while let Ok(note) = self.passing.notes.try_recv() {
            let told = match &note {
                Note::Looked(id, Found::Files { trusted, doubtful, .. }) => {
                    Some(Told::Looked(*id, trusted.clone(), !doubtful.is_none()))
                }
                Note::Looked(id, Found::Unfit(message)) => Some(Told::Unfit(*id, message.clone())),
                Note::Checked(id, outcome) => Some(Told::Checked {
                    id: *id,
                    have: outcome.have.clone(),
                    is_cancelled: outcome.cancelled,
                    error: outcome.error.as_ref().map(ToString::to_string),
                }),
                Note::Moved(id, _, result) => {
                    let result = result.as_ref().map_err(ToString::to_string);
                    Some(Told::Moved(*id, result.copied()))
                }
                Note::Room(..) => None,
            };
            self.told.extend(told);
            self.has_mail();
            // It listens until it has ended.
            let _ = self.passing.notes_on.send(note);
        }
    }

    /// The next thing that it tells.
    pub fn poll(&mut self) -> Option<Told> {
        self.told.pop_front()
    }
}
