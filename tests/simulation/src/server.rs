//! A server: a whole process on a machine, and whoever looks whether what it says is true.

mod acts;

use crate::{
    announcer::Announcer,
    held::{Held, Remedy, Wish},
    torrent::{Disk, ROOT, ROOTS, Torrent},
    tracker::Trackers,
};
use anyhow::{Context, Result, bail, ensure};
use engine::{
    Event, NewTorrent, Session, TorrentId,
    settings::Settings,
    simulated::{CONFIG_DIR, Kept, Plan, Process, Told},
    status::{Activity, Trouble},
};
use metainfo::InfoHash;
use ring::sim::{Crash, DiskFaults, Machine, World};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
    rc::Rc,
    time::Duration,
};

/// The port of every server and peer.
pub const PORT: u16 = 6881;

/// Faults of a disk may show so much later: operations were under way, and a torrent is tried again
/// after half a minute.
const FAULTS_SHOW: Duration = Duration::from_secs(60);

/// An adding that failed is tried again after so long.
const ADD_AGAIN: Duration = Duration::from_secs(5);

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
    /// Its settings, from its next start on.
    pub settings: Settings,
    /// Files that each of its shards has open at a time.
    pub open_files: usize,
    world: World,
    shards: usize,
    process: Option<Running>,
    /// What the last process has left.
    kept: Option<Kept>,
    trackers: Trackers,
    /// When the whole process is started.
    start_at: Option<Duration>,
    /// When torrents that are missing are added.
    add_at: Option<Duration>,
    /// Until then a local error has a cause.
    faulty_until: Duration,
    /// Some operations of its disk take up to two seconds.
    is_slow: bool,
    /// When the disk is sound again.
    calm_at: Option<Duration>,
    disk: u64,
    culprits: Culprits,
    is_stopping: bool,
    keeps_running: bool,
    /// Bytes that it had counted as received in its whole life when its process began.
    downloaded: u64,
    /// How many shards have panicked.
    pub panics: u32,
}

struct Running {
    process: Process,
    announcer: Announcer,
    /// Turns of the session that were looked into.
    seen_turns: u64,
}

impl Running {
    fn has_news(&self) -> bool {
        self.process.session_turns() != self.seen_turns
    }
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
        trackers: &Trackers,
    ) -> Result<Server> {
        let machine = world.add_machine(addr.ip(), disk);
        world.put_file(machine, Path::new(FOREIGN.0), FOREIGN.1)?;
        for folder in ROOTS.iter().map(Path::new).chain([&*Path::new(CONFIG_DIR).join("torrents")])
        {
            world.put_folder(machine, folder)?;
        }
        Ok(Server {
            machine,
            addr,
            held: Vec::new(),
            open_files: 1000,
            world: world.clone(),
            settings: Settings {
                sync_interval: rng.u32(1..6),
                download_dir: ROOT.into(),
                peer_port: addr.port(),
                ..Settings::default()
            },
            shards,
            process: None,
            kept: None,
            trackers: trackers.clone(),
            start_at: Some(world.now()),
            add_at: None,
            faulty_until: Duration::ZERO,
            is_slow: false,
            calm_at: None,
            disk,
            culprits: Rc::clone(culprits),
            is_stopping: false,
            keeps_running: false,
            downloaded: 0,
            panics: 0,
        })
    }

    /// Gives it a torrent, with all its files or none.
    pub fn add(&mut self, torrent: &Torrent, is_full: bool) -> Result<()> {
        let held = Held::new(torrent, is_full);
        if is_full {
            for (path, content) in torrent.files() {
                self.world.put_file(self.machine, &held.root.join(path), content)?;
            }
        }
        self.held.push(held);
        self.add_at = Some(self.world.now());
        Ok(())
    }

    fn disk(&self) -> Disk<'_> {
        (&self.world, self.machine)
    }

    /// Whether all its torrents are complete and sound.
    pub fn is_complete(&self) -> bool {
        let is_sound =
            |held: &Held| held.is_complete && !held.is_harmed && held.wish == Wish::Present;
        self.held.iter().all(|held| is_sound(held) && held.has_empty_files(self.disk()))
    }

    /// Whether its process is there.
    pub fn is_running(&self) -> bool {
        self.process.is_some() && !self.is_stopping
    }

    /// When it has something to do.
    pub fn due(&self) -> Option<Duration> {
        let running = self.process.as_ref();
        let turn = running.and_then(|running| match running.announcer.has_mail() {
            true => running.process.due().map(|_| running.process.rests_until()),
            false => running.process.due(),
        });
        let adding = self.add_at.filter(|_| self.is_running());
        turn.into_iter().chain(self.start_at).chain(self.calm_at).chain(adding).min()
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
            self.start()?;
        }
        if is_due(self.add_at) && self.is_running() {
            self.add_at = None;
            self.add_what_is_missing();
        }
        let Some(Running { process, announcer, .. }) = &mut self.process else { return Ok(()) };
        announcer.begins_turn();
        if announcer.has_mail() && process.rests_until() <= now {
            announcer.take_mail(now);
            process.has_mail();
        }
        if process.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        process.step()?;
        while let Some(news) = self.process.as_mut().and_then(|running| running.process.poll()) {
            self.hear(news)?;
        }
        if self.process.as_ref().is_some_and(Running::has_news) {
            self.look_into_session();
            self.start_what_stands_still();
        }
        Ok(())
    }

    fn hear(&mut self, news: Told) -> Result<()> {
        if !matches!(news, Told::Counted { .. } | Told::Gains(..) | Told::Sent(_)) {
            tracing::debug!(at = ?self.world.now(), server = %self.addr, ?news);
        }
        let (world, disk) = (self.world.clone(), self.machine);
        let disk = (&world, disk);
        match news {
            Told::Gains(id, piece) => self.held(id)?.gains(disk, piece)?,
            Told::Completed(id) => self.held(id)?.completes(disk)?,
            Told::Counted { id, downloaded, corrupt } => {
                let has_culprits = !self.culprits.borrow().is_empty();
                ensure!(corrupt == 0 || has_culprits, "bad data where nobody sends any");
                self.held(id)?.counts(downloaded);
            }
            Told::Durable { id, have, .. } => self.held(id)?.is_durable(disk, &have)?,
            Told::Suspect(_) => {}
            Told::Trouble(id, message) => self.expect_cause(id, &message)?,
            Told::Banned(id, addr) => {
                let is_bad = self.culprits.borrow().contains(&addr);
                ensure!(is_bad, "torrent {} bans {addr}, which has done nothing", id.0);
            }
            Told::Left(id) => self.held(id)?.leaves(),
            Told::Looked(id, trusted, has_doubts) => {
                self.held(id)?.is_looked_at(disk, &trusted, has_doubts)?;
            }
            Told::Unfit(id, message) => {
                self.expect_cause(id, &message)?;
                let remedy = self.held(id)?.is_unfit();
                self.remedy(id, remedy)?;
            }
            Told::Checked { id, have, is_cancelled, error } => {
                if let Some(message) = &error {
                    self.expect_cause(id, message)?;
                }
                let held = self.held(id)?;
                if !is_cancelled {
                    held.is_checked(disk, &have)?;
                }
                if error.is_some() && held.is_source {
                    // What could not be read can be had nowhere else.
                    self.remedy(id, Remedy::Verify)?;
                }
            }
            // An error comes as an event too.
            Told::Moved(id, result) => {
                // What a disk refuses to delete stays, and so does what is missing where it was moved to.
                let is_faulty = self.world.now() < self.faulty_until;
                if let Ok(held) = self.held(id) {
                    held.may_be_left |= (is_faulty || held.is_harmed) && result.is_ok();
                }
            }
            Told::Kept(hash, resume) => self.held_by_hash(hash)?.is_kept(resume.as_deref())?,
            Told::Added(Ok(added)) => {
                let held = self.held_by_hash(added.info_hash)?;
                if held.wish != Wish::Present {
                    held.forget();
                }
                (held.id, held.is_added) = (Some(added.id), true);
            }
            Told::Added(Err(_)) => self.add_at = Some(world.now() + ADD_AGAIN),
            Told::Happened(hash, event) => self.happens(hash, &event)?,
            Told::Sent(sent) => {
                if let Some(running) = &mut self.process {
                    running.announcer.hand_on(world.now(), sent)?;
                }
            }
            Told::Replaced(_) => self.panics += 1,
        }
        Ok(())
    }

    fn happens(&mut self, hash: InfoHash, event: &Event) -> Result<()> {
        match event {
            Event::Error(message) => {
                let id = self.held_by_hash(hash)?.id;
                id.map_or(Ok(()), |id| self.expect_cause(id, message))?;
            }
            Event::Removed => {
                let (world, machine) = (self.world.clone(), self.machine);
                let held = self.held_by_hash(hash)?;
                let Wish::Gone { delete_data } = held.wish else {
                    bail!("a torrent was removed, which nobody has asked for");
                };
                if delete_data {
                    held.check_gone((&world, machine), &ROOTS, None)?;
                }
                held.forget();
                self.add_at = Some(world.now() + ADD_AGAIN);
            }
            _ => {}
        }
        Ok(())
    }

    fn held(&mut self, id: TorrentId) -> Result<&mut Held> {
        let held = self.held.iter_mut().find(|held| held.id == Some(id));
        held.with_context(|| format!("there is no torrent {}", id.0))
    }

    fn held_by_hash(&mut self, hash: InfoHash) -> Result<&mut Held> {
        let held = self.held.iter_mut().find(|held| held.torrent.info_hash == hash);
        held.context("there is no such torrent")
    }

    /// A local error has a cause, and names what it befell.
    fn expect_cause(&mut self, id: TorrentId, message: &str) -> Result<()> {
        // Operations of one task can be slow one after the other.
        let is_slow = self.is_slow && message.contains("the disk does not answer");
        let is_faulty = is_slow || self.world.now() < self.faulty_until;
        let held = self.held(id)?;
        ensure!(is_faulty || held.is_harmed, "trouble without a cause: {message}");
        // The folder that a root's own name is in is synced too.
        let names_one = ROOTS.iter().any(|root| message.contains(root));
        let names_one = names_one || message.starts_with("/:") || message.starts_with("/mnt:");
        ensure!(names_one, "trouble that names no file: {message}");
        Ok(())
    }

    fn remedy(&mut self, id: TorrentId, remedy: Remedy) -> Result<()> {
        let (world, machine) = (self.world.clone(), self.machine);
        match remedy {
            Remedy::Wait => {}
            // Where there is no room, it is tried again.
            Remedy::Restore => drop(self.held(id)?.restore((&world, machine))),
            Remedy::Verify => {
                self.held(id)?.is_verified();
                self.call(|session| session.verify(&[id]));
            }
        }
        Ok(())
    }

    fn call<R>(&mut self, call: impl FnOnce(&Session) -> R) -> Option<R> {
        self.process.as_mut().and_then(|running| running.process.call(call))
    }

    /// What the session shows of its torrents.
    fn look_into_session(&mut self) {
        let Some(running) = &mut self.process else { return };
        running.seen_turns = running.process.session_turns();
        running.process.session().read(|catalog| {
            for held in self.held.iter_mut() {
                let Some(torrent) = held.id.and_then(|id| catalog.get(id)) else {
                    held.is_complete = false;
                    continue;
                };
                held.root.clone_from(&torrent.download_dir);
                let is_well = !matches!(torrent.trouble, Some(Trouble::Local(_)));
                let is_seed = torrent.activity == Activity::Seeding && torrent.have.is_all();
                held.is_complete = is_well && is_seed;
            }
        });
    }

    fn start(&mut self) -> Result<()> {
        let kept = self.kept.take().map_or_else(Kept::nothing, Ok)?;
        let plan = Plan {
            shards: self.shards,
            settings: self.settings.clone(),
            open_files: self.open_files,
            listen: self.addr,
        };
        let rng = self.world.fork_random();
        let process = Process::start(&self.world, self.machine, &plan, kept, rng)?;
        let session = process.session();
        let (_, all) = session.counters();
        let (before, now) = (self.downloaded, all.downloaded);
        ensure!(now >= before, "{now} bytes received in all, and {before} before");
        self.downloaded = now;
        session.read(|catalog| {
            for held in &mut self.held {
                held.forget_process();
                let found = catalog.by_hash(held.torrent.info_hash);
                held.id = found.map(|torrent| torrent.id);
                let is_lost = held.is_added && held.wish == Wish::Present && found.is_none();
                ensure!(!is_lost, "a torrent is forgotten that was added");
                if let Some(torrent) = found {
                    held.root.clone_from(&torrent.download_dir);
                }
            }
            Ok(())
        })?;
        let announcer = Announcer::new(self.addr, &process, &self.trackers);
        self.process = Some(Running { process, announcer, seen_turns: 0 });
        self.add_at = Some(self.world.now());
        Ok(())
    }

    /// Adds what is not there, and removes again what was to be removed and is there still.
    fn add_what_is_missing(&mut self) {
        let Some(Running { process, .. }) = &mut self.process else { return };
        for held in &mut self.held {
            match (held.id, held.wish) {
                (Some(id), Wish::Gone { delete_data }) => {
                    process.call(|session| session.remove(&[id], delete_data));
                }
                (Some(id), Wish::Present) => {
                    if std::mem::take(&mut held.owes_check) {
                        process.call(|session| session.verify(&[id]));
                    }
                }
                (None, _) => process.add(NewTorrent {
                    metainfo: held.torrent.metainfo.to_vec(),
                    download_dir: Some(held.root.clone()),
                    ..NewTorrent::default()
                }),
            }
        }
    }

    /// Its operator starts whatever stands still, from now on.
    pub fn keep_running(&mut self) {
        self.keeps_running = true;
    }

    fn start_what_stands_still(&mut self) {
        let Some(running) = self.process.as_ref().filter(|_| self.keeps_running) else { return };
        let ids: Vec<TorrentId> = running.process.session().read(|catalog| {
            catalog.iter().filter(|torrent| !torrent.running).map(|torrent| torrent.id).collect()
        });
        if !ids.is_empty() && !self.is_stopping {
            self.call(|session| session.start_torrents(&ids));
        }
    }

    /// Ends it without warning; it starts again after a while.
    pub fn crash(&mut self, how: Crash, pause: Duration) -> Result<()> {
        self.world.crash(self.machine, how);
        if let Some(running) = self.process.take() {
            self.kept = Some(running.process.into_kept());
        }
        self.held.iter_mut().for_each(Held::forget_process);
        self.world.boot(self.machine);
        self.start_at = Some(self.world.now() + pause);
        self.check_paths()
    }

    /// Asks it to end, awake or not.
    pub fn shut_down(&mut self) {
        self.freeze(Duration::ZERO);
        self.start_at = None;
        self.is_stopping = true;
        if let Some(running) = &mut self.process {
            running.process.shut_down();
        }
    }

    /// Whether its process has ended.
    pub fn has_ended(&self) -> bool {
        self.process.as_ref().is_none_or(|running| running.process.has_ended())
    }

    /// After its end: all bytes are there, nothing else is, and nothing is held any more.
    pub fn check_end(&mut self) -> Result<()> {
        let Some(running) = self.process.take() else { bail!("{}: not running", self.addr) };
        ensure!(running.process.has_ended(), "{}: did not end", self.addr);
        running.announcer.check_end().with_context(|| self.addr.to_string())?;
        drop(running);
        let (files, conns) =
            (self.world.open_files(self.machine), self.world.open_connections(self.machine));
        ensure!(files == 0, "{}: {files} files are left open", self.addr);
        ensure!(conns == 0, "{}: {conns} connections are left open", self.addr);
        self.check_paths()?;
        for held in &self.held {
            held.check_kept(self.disk()).context("at the end")?;
            if !held.may_be_left {
                held.check_gone(self.disk(), &ROOTS, Some(&held.root)).context("at the end")?;
            }
            // A sync may fail while it ends, too late for anything but to say so.
            let is_excused = held.may_have_lost() && self.world.now() < self.faulty_until;
            if !is_excused {
                held.check_content(self.disk()).with_context(|| self.addr.to_string())?;
            }
        }
        Ok(())
    }

    /// Everything that was not found on the disk was counted as received.
    pub fn check_counted(&self) -> Result<()> {
        // A shard that panics takes with it what it has not told yet.
        let held = self.held.iter().filter(|_| self.panics == 0);
        held.into_iter().try_for_each(Held::check_counted)
    }

    /// Nothing is on the disk but the torrents' files, what was there before them, and what the session
    /// keeps for itself.
    fn check_paths(&self) -> Result<()> {
        let foreign = Path::new(FOREIGN.0);
        for path in self.world.paths(self.machine) {
            let mut roots = ROOTS.iter().map(Path::new);
            let is_own = |root: &Path| self.held.iter().any(|h| h.torrent.is_path(root, &path));
            let is_known = path == foreign || path.starts_with(CONFIG_DIR) || roots.any(is_own);
            ensure!(is_known, "{} is no file of a torrent", path.display());
        }
        let is_whole = self.world.content(self.machine, foreign).as_deref() == Some(FOREIGN.1);
        ensure!(is_whole, "{} was changed", foreign.display());
        Ok(())
    }
}
