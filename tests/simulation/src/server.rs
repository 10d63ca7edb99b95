//! A server: real shards, and a stand-in for the session that keeps across crashes what the session
//! keeps, and no more.

use crate::torrent::{ROOT, Torrent};
use anyhow::{Context, Result, bail, ensure};
use engine::{
    TorrentId,
    settings::Settings,
    simulated::{Process, Start, Told},
};
use metainfo::Bitfield;
use ring::sim::{Crash, Machine, World};
use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use storage::{FileStamp, ResumeData, compare_stamps, part_file};

/// The port of every server and peer.
pub const PORT: u16 = 6881;

/// The one torrent's number.
const ID: TorrentId = TorrentId(1);

/// A torrent that a local error stopped is tried again after so long, as by the session.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A server on its machine.
pub struct Server {
    /// Where it runs.
    pub machine: Machine,
    /// Where peers find it.
    pub addr: SocketAddr,
    world: World,
    torrent: Torrent,
    settings: Settings,
    shards: usize,
    home: usize,
    peer_id: [u8; 20],
    process: Option<Process>,
    run: u32,
    /// What the session's database would have.
    kept: Option<ResumeData>,
    /// When the torrent, or the whole process, is started again.
    start_at: Option<Duration>,
    /// Addresses are wanted since then.
    pub wants_peers: bool,
    is_complete: bool,
    /// Somebody else has changed files or the disk has failed: what is found missing is no fault.
    pub was_harmed: bool,
    /// How often it was rechecked.
    pub rechecks: u32,
}

impl Server {
    /// A server that starts at once with what is on its disk; nothing is known of it.
    pub fn new(
        world: &World,
        rng: &mut fastrand::Rng,
        addr: SocketAddr,
        torrent: &Torrent,
        disk: u64,
    ) -> Server {
        let machine = world.add_machine(addr.ip(), disk);
        let shards = rng.usize(1..=2);
        let mut peer_id = *b"-RS0010-000000000000";
        peer_id[8..].fill_with(|| rng.u8(..));
        Server {
            machine,
            addr,
            world: world.clone(),
            torrent: torrent.clone(),
            settings: Settings { sync_interval: rng.u32(1..6), ..Settings::default() },
            shards,
            home: rng.usize(..shards),
            peer_id,
            process: None,
            run: 0,
            kept: None,
            start_at: Some(world.now()),
            wants_peers: true,
            is_complete: false,
            was_harmed: false,
            rechecks: 0,
        }
    }

    /// Gives it all files.
    pub fn fill(&mut self) -> Result<()> {
        for (path, content) in self.torrent.files() {
            self.world.put_file(self.machine, &path, content)?;
        }
        Ok(())
    }

    /// Whether it has told that everything is on its disk.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether its process is there.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// When it has something to do.
    pub fn due(&self) -> Option<Duration> {
        let turn = self.process.as_ref().and_then(Process::due);
        turn.into_iter().chain(self.start_at).min()
    }

    /// Names peers to it.
    pub fn add_peers(&mut self, peers: Vec<SocketAddr>) {
        self.wants_peers = false;
        if let Some(process) = &self.process {
            process.add_peers(self.home, ID, peers);
        }
    }

    /// Does what is due.
    pub fn step(&mut self) -> Result<()> {
        let now = self.world.now();
        if self.start_at.is_some_and(|at| at <= now) {
            self.start_at = None;
            self.start()?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        process.step()?;
        let mut told = Vec::new();
        while let Some(news) = process.poll() {
            told.push(news);
        }
        told.into_iter().try_for_each(|news| self.hear(news))
    }

    fn hear(&mut self, news: Told) -> Result<()> {
        tracing::debug!(at = ?self.world.now(), server = %self.addr, ?news);
        match news {
            Told::Completed(_) => {
                self.is_complete = true;
                let all = Bitfield::all(self.torrent.layout.geometry().piece_count());
                self.check_disk(&all).context("it says that it is complete")?;
            }
            Told::Has(_, have) => self.check_disk(&have).context("it says that it has pieces")?,
            Told::Durable { have, stamps, is_final, .. } => {
                self.kept = Some(ResumeData { have, stamps, is_final });
            }
            Told::Suspect(_) => self.kept = None,
            Told::Trouble(_, message) => {
                ensure!(self.was_harmed, "trouble on a sound disk: {message}");
                self.is_complete = false;
                self.start_at = Some(self.world.now() + RETRY_AFTER);
            }
            Told::WantsPeers(_) => self.wants_peers = true,
            Told::Stopped(_) => {}
        }
        Ok(())
    }

    /// Every piece that it claims is in its files, as processes see them.
    fn check_disk(&self, claimed: &Bitfield) -> Result<()> {
        if self.was_harmed {
            return Ok(());
        }
        let geometry = self.torrent.layout.geometry();
        let content = |path: &Path| self.world.content(self.machine, path);
        for piece in claimed.iter().filter_map(|piece| geometry.piece(piece)) {
            ensure!(
                self.torrent.is_in(piece, content),
                "{}: piece {} is claimed and not in the files",
                self.addr,
                piece.get()
            );
        }
        Ok(())
    }

    /// Starts the process if it is not there, and the torrent, as the session does: what is doubtful
    /// is checked first.
    fn start(&mut self) -> Result<()> {
        if self.process.is_none() {
            let process =
                Process::start(&self.world, self.machine, self.shards, &self.settings, self.addr)?;
            self.process = Some(process);
        }
        let (have, stamps) = self.look()?;
        self.is_complete = have.is_all();
        self.run += 1;
        self.wants_peers = true;
        let start = Start {
            id: ID,
            info_hash: self.torrent.info_hash,
            peer_id: self.peer_id,
            layout: Arc::clone(&self.torrent.layout),
            hashes: Arc::clone(&self.torrent.hashes),
            root: Path::new(ROOT).into(),
            have,
            stamps,
        };
        if let Some(process) = &self.process {
            process.run(self.home, start, self.run, swarm::Settings::default());
        }
        Ok(())
    }

    /// What of the files can be taken as had; what resume data claims is compared with the disk.
    fn look(&mut self) -> Result<(Bitfield, Vec<FileStamp>)> {
        let root = Path::new(ROOT);
        let layout = Arc::clone(&self.torrent.layout);
        let pieces = layout.geometry().piece_count();
        let parts = part_file(root, self.torrent.info_hash);
        let stamp = |path: &Path| match self.world.stat(self.machine, path) {
            Ok(stat) if stat.is_file => {
                Ok(FileStamp { length: stat.length, modified_ns: stat.modified_ns })
            }
            Ok(_) => Ok(FileStamp::ABSENT),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FileStamp::ABSENT),
            Err(error) => Err(error),
        };
        let unknown = || ResumeData {
            have: Bitfield::none(pieces),
            stamps: vec![FileStamp::ABSENT; layout.file_count() as usize + 1],
            is_final: false,
        };
        let resume = self.kept.clone();
        let known = resume.is_some();
        let resume = resume.unwrap_or_else(unknown);
        let report = compare_stamps(root, &parts, &layout, &resume, stamp)?;
        self.check_disk(&report.trusted).context("resume data claims what the disk has lost")?;
        let doubtful = if known { report.doubtful } else { Bitfield::all(pieces) };
        self.rechecks += u32::from(known && !doubtful.is_none());
        let mut have = report.trusted;
        let content = |path: &Path| self.world.content(self.machine, path);
        for piece in doubtful.iter().filter_map(|piece| layout.geometry().piece(piece)) {
            if self.torrent.is_in(piece, content) {
                have.set(piece);
            }
        }
        if !doubtful.is_none() {
            // As after a check by the session.
            let (have, stamps) = (have.clone(), report.stamps.clone());
            self.kept = Some(ResumeData { have, stamps, is_final: true });
        }
        Ok((have, report.stamps))
    }

    /// Ends it without warning; it starts again after a while.
    pub fn crash(&mut self, how: Crash, pause: Duration) -> Result<()> {
        self.world.crash(self.machine, how);
        self.process = None;
        self.is_complete = false;
        self.world.boot(self.machine);
        self.start_at = Some(self.world.now() + pause);
        self.torrent.check_paths(self.world.paths(self.machine))
    }

    /// Asks it to end.
    pub fn shut_down(&mut self) {
        self.start_at = None;
        if let Some(process) = &self.process {
            process.shut_down();
        }
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
        self.torrent.check_paths(self.world.paths(self.machine))?;
        for (path, expected) in self.torrent.files() {
            let found = self.world.content(self.machine, &path);
            ensure!(found.as_deref() == Some(expected), "{} is wrong", path.display());
        }
        Ok(())
    }
}
