//! A server: real shards, and a stand-in for the session that keeps across crashes what the session
//! keeps, and no more.

use crate::{
    held::{CheckedDisk, Held, Look, RETRY_AFTER},
    torrent::{ROOT, Torrent},
};
use anyhow::{Context, Result, bail, ensure};
use engine::{
    TorrentId,
    settings::Settings,
    simulated::{Process, Told},
};
use ring::sim::{Crash, DiskFaults, Machine, World};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use storage::ResumeData;

/// The port of every server and peer.
pub const PORT: u16 = 6881;

/// Faults of a disk may show so much later: operations were under way, and a torrent is tried again
/// after half a minute.
const FAULTS_SHOW: Duration = Duration::from_secs(60);

/// A file of somebody else beside the torrents'.
const FOREIGN: (&str, &[u8]) = ("/data/notes.txt", b"not to be touched");

/// The addresses of those who send wrong bytes.
pub type Culprits = Rc<RefCell<BTreeSet<IpAddr>>>;

/// A server on its machine.
pub struct Server {
    /// Where it runs.
    pub machine: Machine,
    /// Where peers find it.
    pub addr: SocketAddr,
    /// Its torrents.
    pub held: Vec<Held>,
    /// Upload slots and the like of all its torrents.
    pub swarm: swarm::Settings,
    /// Trackers tell it nothing.
    pub is_quiet: bool,
    /// Files that each of its shards has open at a time.
    pub open_files: usize,
    world: World,
    settings: Settings,
    shards: usize,
    process: Option<Process>,
    checked: CheckedDisk,
    /// When the whole process is started.
    start_at: Option<Duration>,
    /// Until then a local error has a cause.
    faulty_until: Duration,
    /// When the disk is sound again.
    calm_at: Option<Duration>,
    disk: u64,
    culprits: Culprits,
    is_stopping: bool,
    /// How many shards have panicked.
    pub panics: u32,
}

impl Server {
    /// A server that starts at once with what is on its disk; nothing is known of it.
    pub fn new(
        world: &World,
        rng: &mut fastrand::Rng,
        addr: SocketAddr,
        shards: usize,
        disk: u64,
        culprits: &Culprits,
    ) -> Result<Server> {
        let machine = world.add_machine(addr.ip(), disk);
        world.put_file(machine, Path::new(FOREIGN.0), FOREIGN.1)?;
        Ok(Server {
            machine,
            addr,
            held: Vec::new(),
            swarm: swarm::Settings::default(),
            is_quiet: false,
            open_files: 1000,
            world: world.clone(),
            settings: Settings { sync_interval: rng.u32(1..6), ..Settings::default() },
            shards,
            process: None,
            checked: CheckedDisk::new(world, machine),
            start_at: Some(world.now()),
            faulty_until: Duration::ZERO,
            calm_at: None,
            disk,
            culprits: Rc::clone(culprits),
            is_stopping: false,
            panics: 0,
        })
    }

    /// Gives it a torrent, with all its files or none.
    pub fn add(&mut self, torrent: &Torrent, rng: &mut fastrand::Rng, is_full: bool) -> Result<()> {
        let id = TorrentId(self.held.len() as u32 + 1);
        let mut held = Held::new(torrent, id, rng.usize(..self.shards), rng);
        held.is_source = is_full;
        if is_full {
            for (path, content) in torrent.files() {
                self.world.put_file(self.machine, path, content)?;
            }
        }
        if self.process.is_some() {
            held.start_at = Some(self.world.now());
        }
        self.held.push(held);
        Ok(())
    }

    /// Whether all its torrents are complete and sound.
    pub fn is_complete(&self) -> bool {
        let is_sound = |held: &Held| held.is_complete && !held.is_harmed;
        self.held
            .iter()
            .all(|held| is_sound(held) && held.has_empty_files(&self.world, self.machine))
    }

    /// Whether its process is there.
    pub fn is_running(&self) -> bool {
        self.process.is_some() && !self.is_stopping
    }

    /// When it has something to do.
    pub fn due(&self) -> Option<Duration> {
        let turn = self.process.as_ref().and_then(Process::due);
        let starts = self.held.iter().filter_map(|held| held.start_at);
        let starts = starts.filter(|_| self.process.is_some() && !self.is_stopping);
        turn.into_iter().chain(self.start_at).chain(self.calm_at).chain(starts).min()
    }

    /// Names peers to it.
    pub fn add_peers(&mut self, at: usize, peers: Vec<SocketAddr>) {
        let held = &mut self.held[at];
        held.wants_peers = false;
        if let Some(process) = &self.process {
            process.add_peers(held.home, held.id, peers);
        }
    }

    /// Does what is due.
    pub fn step(&mut self) -> Result<()> {
        let now = self.world.now();
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.calm_at) {
            self.calm_at = None;
            self.world.set_disk_faults(self.machine, DiskFaults::default());
            self.world.set_disk_capacity(self.machine, self.disk);
        }
        if is_due(self.start_at) {
            self.start_at = None;
            self.start_process()?;
        }
        if self.process.is_some() && !self.is_stopping {
            for at in 0..self.held.len() {
                if is_due(self.held[at].start_at) {
                    self.start(at, false)?;
                }
            }
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        for (id, piece) in process.step()? {
            let held = &mut self.held[id.0 as usize - 1];
            held.gains(&self.world, self.machine, piece)?;
        }
        while let Some(news) = self.process.as_mut().and_then(Process::poll) {
            self.hear(news)?;
        }
        Ok(())
    }

    fn hear(&mut self, news: Told) -> Result<()> {
        if !matches!(news, Told::Counted { .. }) {
            tracing::debug!(at = ?self.world.now(), server = %self.addr, ?news);
        }
        let (world, machine, now) = (self.world.clone(), self.machine, self.world.now());
        let has_cause = now < self.faulty_until;
        match news {
            Told::Completed(id) => {
                let held = self.held(id);
                held.is_complete = true;
                let all = metainfo::Bitfield::all(held.torrent.layout.geometry().piece_count());
                held.check_files(&world, machine, &all).context("it says that it is complete")?;
            }
            // What is new of it has been looked at.
            Told::Has(..) => {}
            Told::Counted { id, downloaded, corrupt, .. } => {
                let has_culprits = !self.culprits.borrow().is_empty();
                ensure!(corrupt == 0 || has_culprits, "bad data where nobody sends any");
                self.held(id).counts(downloaded);
            }
            Told::Durable { id, have, stamps, is_final } => {
                let resume = ResumeData { have, stamps, is_final, suspects_cache: false };
                self.held(id).is_durable(&world, machine, resume)?;
            }
            Told::Suspect(id) => self.held(id).is_suspect(),
            Told::Trouble(id, message) => {
                let held = self.held(id);
                ensure!(has_cause || held.is_harmed, "trouble without a cause: {message}");
                // The folder that the root's own name is in is synced too.
                let names_one = message.contains(ROOT) || message.starts_with("/:");
                ensure!(names_one, "trouble that names no file: {message}");
                held.is_complete = false;
                held.start_at = Some(now + RETRY_AFTER);
            }
            Told::Banned(id, addr) => {
                let is_bad = self.culprits.borrow().contains(&addr);
                ensure!(is_bad, "torrent {} bans {addr}, which has done nothing", id.0);
            }
            Told::WantsPeers(id) => self.held(id).wants_peers = true,
            Told::Stopped(id, run) => {
                let held = self.held(id);
                if held.run == run {
                    held.is_running = false;
                    held.start_at.get_or_insert(now);
                }
            }
            Told::Replaced(shard) => self.replaced(shard),
        }
        Ok(())
    }

    fn held(&mut self, id: TorrentId) -> &mut Held {
        &mut self.held[id.0 as usize - 1]
    }

    /// The torrents of a shard that panicked start again once the fresh one has said that it does
    /// not run them, as by the session.
    fn replaced(&mut self, shard: usize) {
        self.panics += 1;
        let Some(process) = &self.process else { return };
        for held in self.held.iter().filter(|held| held.home == shard && held.is_running) {
            process.stop(shard, held.id, held.run);
        }
        if self.is_stopping {
            process.shut_down();
        }
    }

    fn start_process(&mut self) -> Result<()> {
        let process = Process::start(
            &self.world,
            self.machine,
            self.shards,
            &self.settings,
            self.open_files,
            self.addr,
        )?;
        self.process = Some(process);
        (0..self.held.len()).try_for_each(|at| self.start(at, true))
    }

    /// Starts a torrent, if its files are fit.
    fn start(&mut self, at: usize, is_new: bool) -> Result<()> {
        let (now, held) = (self.world.now(), &mut self.held[at]);
        if held.is_running {
            // It has not left its shard yet, which tells when it has.
            held.start_at = None;
            return Ok(());
        }
        held.start_at = None;
        let has_cause = now < self.faulty_until;
        let found = held.look(&mut self.checked, has_cause);
        let found = found.with_context(|| format!("torrent {}", at + 1))?;
        let Look::Fit(have, stamps) = found else {
            held.is_complete = false;
            held.start_at = Some(now + RETRY_AFTER);
            return Ok(());
        };
        held.begins(&have, is_new);
        let start = held.start(have, stamps);
        if let Some(process) = &mut self.process {
            process.run(held.home, start, held.run, self.swarm);
        }
        Ok(())
    }

    /// Has a torrent checked from end to end.
    pub fn verify(&mut self, at: usize) {
        let held = &mut self.held[at];
        held.verify();
        held.is_complete = false;
        if let Some(process) = self.process.as_ref().filter(|_| held.is_running) {
            process.stop(held.home, held.id, held.run);
        }
    }

    /// Puts back the files of a torrent if they can be had nowhere else, and makes room for them.
    pub fn restore(&mut self, at: usize) -> Result<()> {
        self.world.set_disk_capacity(self.machine, self.disk);
        let held = &mut self.held[at];
        held.verify();
        for (path, content) in held.torrent.files().filter(|_| held.is_source) {
            self.world.put_file(self.machine, path, content)?;
        }
        Ok(())
    }

    /// Somebody else changes a file of some torrent.
    pub fn harm(&mut self, rng: &mut fastrand::Rng) {
        let at = rng.usize(..self.held.len());
        self.held[at].harm(&self.world, self.machine, rng);
    }

    /// While it is down, somebody writes other bytes into its files.
    pub fn tamper(&mut self, rng: &mut fastrand::Rng) -> Result<()> {
        self.world.set_disk_capacity(self.machine, self.disk);
        for held in self.held.iter().filter(|_| self.process.is_none()) {
            held.tamper(&self.world, self.machine, rng)?;
        }
        Ok(())
    }

    /// Its disk fails in these ways for a while.
    pub fn fail_disk(&mut self, faults: DiskFaults, until: Duration) {
        self.world.set_disk_faults(self.machine, faults);
        self.calm_at = Some(until);
        self.faulty_until = self.faulty_until.max(until + FAULTS_SHOW);
    }

    /// Its disk has no room beyond so many bytes for a while.
    pub fn fill_disk(&mut self, capacity: u64, until: Duration) {
        self.world.set_disk_capacity(self.machine, capacity);
        self.calm_at = Some(until);
        self.faulty_until = self.faulty_until.max(until + FAULTS_SHOW);
    }

    /// Makes one of its shards panic.
    pub fn panic(&mut self, rng: &mut fastrand::Rng) {
        if let Some(process) = &self.process {
            process.panic(rng.usize(..self.shards));
        }
    }

    /// Keeps all its shards from running for a while.
    pub fn freeze(&mut self, until: Duration) {
        if let Some(process) = &mut self.process {
            (0..self.shards).for_each(|shard| process.freeze(shard, until));
        }
    }

    /// Ends it without warning; it starts again after a while.
    pub fn crash(&mut self, how: Crash, pause: Duration) -> Result<()> {
        self.world.crash(self.machine, how);
        self.process = None;
        self.checked = CheckedDisk::new(&self.world, self.machine);
        for held in &mut self.held {
            (held.is_complete, held.is_running, held.start_at) = (false, false, None);
        }
        self.world.boot(self.machine);
        self.start_at = Some(self.world.now() + pause);
        self.check_paths()
    }

    /// Asks it to end, awake or not.
    pub fn shut_down(&mut self) {
        self.freeze(Duration::ZERO);
        self.start_at = None;
        self.is_stopping = true;
        if let Some(process) = &self.process {
            process.shut_down();
        }
    }

    /// Whether its shards have ended.
    pub fn has_ended(&self) -> bool {
        self.process.as_ref().is_none_or(|process| process.due().is_none())
    }

    /// After its end: all bytes are there, nothing else is, and nothing is held any more.
    pub fn check_end(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { bail!("{}: not running", self.addr) };
        ensure!(process.due().is_none(), "{}: did not end", self.addr);
        drop(process);
        let (files, conns) =
            (self.world.open_files(self.machine), self.world.open_connections(self.machine));
        ensure!(files == 0, "{}: {files} files are left open", self.addr);
        ensure!(conns == 0, "{}: {conns} connections are left open", self.addr);
        self.check_paths()?;
        for held in &self.held {
            // A shard that panics takes with it what it has not told yet.
            if self.panics == 0 {
                held.check_counted()?;
            }
            held.check_kept(&self.world, self.machine).context("at the end")?;
            // A sync may fail while it ends, too late for anything but to say so.
            let is_excused = held.may_have_lost() && self.world.now() < self.faulty_until;
            for (path, expected) in held.torrent.files().filter(|_| !is_excused) {
                let found = self.world.content(self.machine, path);
                let is_right = found.as_deref() == Some(expected);
                ensure!(is_right, "{}: {} is wrong", self.addr, path.display());
            }
        }
        Ok(())
    }

    /// Nothing is on the disk but the torrents' files, and what was there before them.
    fn check_paths(&self) -> Result<()> {
        let files = self.held.iter().flat_map(|held| held.torrent.paths.iter().cloned());
        let parts = self.held.iter().map(|held| held.torrent.parts());
        let allowed: BTreeSet<PathBuf> = files.chain(parts).collect();
        let foreign = Path::new(FOREIGN.0);
        for path in self.world.paths(self.machine) {
            let is_known = path == foreign || allowed.contains(&path);
            ensure!(is_known, "{} is no file of a torrent", path.display());
        }
        let is_whole = self.world.content(self.machine, foreign).as_deref() == Some(FOREIGN.1);
        ensure!(is_whole, "{} was changed", foreign.display());
        Ok(())
    }
}
