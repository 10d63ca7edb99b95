//! A torrent of a server: what the session keeps of it across crashes, what it does when it is told
//! something, and what must hold then.

use crate::torrent::{ROOT, Torrent};
use anyhow::{Context, Result, ensure};
use engine::{
    TorrentId,
    simulated::{self, Found, Start},
};
use metainfo::{Bitfield, PieceIndex};
use ring::sim::{Machine, World};
use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};
use storage::{
    CheckEvent, CheckOutcome, CheckRequest, CheckWorker, Checker, FileStamp, ResumeData,
};

/// A torrent that a local error stopped is tried again after so long, as by the session.
pub const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Its operator looks after one whose files are not fit after so many tries.
const TRIES: u32 = 2;

/// One torrent of a server.
pub struct Held {
    /// What it is.
    pub torrent: Torrent,
    /// Its number.
    pub id: TorrentId,
    /// The shard it runs on.
    pub home: usize,
    /// How often it was started.
    pub run: u32,
    /// It is on its shard.
    pub is_running: bool,
    /// When it is started next.
    pub start_at: Option<Duration>,
    /// Addresses are wanted.
    pub wants_peers: bool,
    /// It has told that everything is on its disk.
    pub is_complete: bool,
    /// Pieces that it claims.
    pub has: u32,
    /// How often pieces of it were rechecked.
    pub rechecks: u32,
    /// Whether somebody else has changed its files since it was last looked at.
    pub is_harmed: bool,
    /// Whether what it loses can be had nowhere else: its operator puts files back.
    pub is_source: bool,
    peer_id: [u8; 20],
    /// What the session's database would have.
    kept: Option<ResumeData>,
    /// Pieces of the files that somebody else has changed.
    lost: Bitfield,
    /// Everything is to be checked at the next start.
    verify: bool,
    /// Pieces that it has claimed since its last start.
    claimed: Bitfield,
    /// A file with such pieces that somebody has taken away: nobody but its operator makes it anew.
    removed: Option<usize>,
    unfit: u32,
    counted: Counted,
}

/// What it has told since its process began.
#[derive(Default)]
struct Counted {
    downloaded: u64,
    /// Bytes of the pieces that were there at the beginning, or found since.
    found: u64,
}

/// A machine's disk, and who reads whole torrents on it.
pub struct CheckedDisk {
    world: World,
    machine: Machine,
    checker: Checker,
    worker: CheckWorker,
}

impl CheckedDisk {
    /// That of a machine.
    pub fn new(world: &World, machine: Machine) -> CheckedDisk {
        let checker = Checker::by_hand();
        let worker = checker.worker();
        CheckedDisk { world: world.clone(), machine, checker, worker }
    }

    /// Checks pieces of a torrent to the end. `None` if the disk has stopped.
    fn check(
        &mut self,
        torrent: &Torrent,
        pieces: &Bitfield,
        past_cache: bool,
    ) -> Option<CheckOutcome> {
        let (told_in, told) = mpsc::channel();
        self.checker.submit(CheckRequest {
            info_hash: torrent.info_hash,
            layout: Arc::clone(&torrent.layout),
            root: Path::new(ROOT).into(),
            hashes: Arc::clone(&torrent.hashes),
            pieces: pieces.clone(),
            past_cache,
            report: Box::new(move |event| _ = told_in.send(event)),
        });
        let world = self.world.clone();
        world.run_on(self.machine, || while self.worker.turn() {})?;
        told.into_iter().find_map(|event| match event {
            CheckEvent::Ended(outcome) => Some(outcome),
            CheckEvent::Pieces(_) => None,
        })
    }
}

/// What a look at the files says.
pub enum Look {
    /// It can run with these pieces, and the files look like this.
    Fit(Bitfield, Vec<FileStamp>),
    /// Files are missing or short.
    Unfit,
    /// The disk refuses to keep what is in the files.
    Refused,
}

impl Held {
    /// Of which nothing is known.
    pub fn new(torrent: &Torrent, id: TorrentId, home: usize, rng: &mut fastrand::Rng) -> Held {
        let mut peer_id = *b"-RS0010-000000000000";
        peer_id[8..].fill_with(|| rng.u8(..));
        Held {
            torrent: torrent.clone(),
            id,
            home,
            run: 0,
            is_running: false,
            start_at: None,
            wants_peers: true,
            is_complete: false,
            has: 0,
            rechecks: 0,
            is_harmed: false,
            is_source: false,
            peer_id,
            kept: None,
            lost: Bitfield::none(torrent.layout.geometry().piece_count()),
            verify: false,
            claimed: Bitfield::none(torrent.layout.geometry().piece_count()),
            removed: None,
            unfit: 0,
            counted: Counted::default(),
        }
    }

    /// As a shard takes it.
    pub fn start(&self, have: Bitfield, stamps: Vec<FileStamp>) -> Start {
        Start {
            id: self.id,
            info_hash: self.torrent.info_hash,
            peer_id: self.peer_id,
            layout: Arc::clone(&self.torrent.layout),
            hashes: Arc::clone(&self.torrent.hashes),
            root: Path::new(ROOT).into(),
            have,
            stamps,
            suspects_cache: self.kept.as_ref().is_some_and(|kept| kept.suspects_cache),
        }
    }

    /// The share of the pieces that it claims, in 0..=1.
    pub fn share(&self) -> f32 {
        self.has as f32 / self.lost.piece_count() as f32
    }

    fn pieces<'a>(&'a self, of: &'a Bitfield) -> impl Iterator<Item = PieceIndex> + 'a {
        let geometry = self.torrent.layout.geometry();
        of.iter().filter_map(move |piece| geometry.piece(piece))
    }

    fn bytes(&self, of: &Bitfield) -> u64 {
        let geometry = self.torrent.layout.geometry();
        self.pieces(of).map(|piece| u64::from(geometry.length_of(piece))).sum()
    }

    /// Whether its files without bytes are there: they are made after everything else, at the next start
    /// if the last run ended before.
    pub fn has_empty_files(&self, world: &World, machine: Machine) -> bool {
        let mut empty = self.torrent.files().filter(|(_, bytes)| bytes.is_empty());
        empty.all(|(path, _)| world.stat(machine, path).is_ok())
    }

    /// It claims one more piece from now on.
    pub fn gains(&mut self, world: &World, machine: Machine, piece: u32) -> Result<()> {
        self.has += 1;
        if let Some(piece) = self.torrent.layout.geometry().piece(piece) {
            self.claimed.set(piece);
        }
        if let Some(path) = self.removed.map(|file| &self.torrent.paths[file]) {
            let is_back = world.stat(machine, path).is_ok();
            ensure!(!is_back, "{} was made anew over pieces that it had", path.display());
        }
        self.claims(world, machine, piece)
    }

    /// It claims a piece, which must be in the files.
    fn claims(&self, world: &World, machine: Machine, piece: u32) -> Result<()> {
        let piece = self.torrent.layout.geometry().piece(piece).context("no such piece")?;
        let is_there = self.lost.has(piece) || self.torrent.shows(world, machine, piece);
        ensure!(is_there, "piece {} is claimed and not in the files", piece.get());
        Ok(())
    }

    /// These pieces are in the files, as processes see them.
    pub fn check_files(&self, world: &World, machine: Machine, claimed: &Bitfield) -> Result<()> {
        self.pieces(claimed).try_for_each(|piece| self.claims(world, machine, piece.get()))
    }

    fn check_platter(&self, world: &World, machine: Machine, claimed: &Bitfield) -> Result<()> {
        for piece in self.pieces(claimed).filter(|&piece| !self.lost.has(piece)) {
            ensure!(
                self.torrent.keeps(world, machine, piece),
                "piece {} would be lost with the power",
                piece.get()
            );
        }
        Ok(())
    }

    /// It has told that pieces survive a loss of power.
    pub fn is_durable(&mut self, world: &World, machine: Machine, now: ResumeData) -> Result<()> {
        self.check_platter(world, machine, &now.have).context("they are told to be durable")?;
        let suspected = self.kept.as_ref().is_some_and(|kept| kept.suspects_cache);
        let suspects_cache = suspected && !now.have.is_all();
        self.kept = Some(ResumeData { suspects_cache, ..now });
        Ok(())
    }

    /// It has told that what it wrote last may be lost: as the session does.
    pub fn is_suspect(&mut self) {
        let known = self.kept.take();
        let known = known.unwrap_or_else(|| ResumeData::nothing(&self.torrent.layout));
        self.kept = Some(ResumeData { is_final: false, suspects_cache: true, ..known });
    }

    /// Whether its disk has refused something since all of it was durable. The page cache may then have
    /// lost it, and it is fetched again at the next start.
    pub fn may_have_lost(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.suspects_cache)
    }

    /// What its resume data claims would survive the worst loss of power.
    pub fn check_kept(&self, world: &World, machine: Machine) -> Result<()> {
        let kept = self.kept.as_ref().filter(|kept| !kept.suspects_cache).map(|kept| &kept.have);
        kept.map_or(Ok(()), |have| self.check_platter(world, machine, have))
    }

    /// It has told what it received.
    pub fn counts(&mut self, downloaded: u64) {
        self.counted.downloaded += downloaded;
    }

    /// Everything that was not found on the disk was counted as received.
    pub fn check_counted(&self) -> Result<()> {
        let Counted { downloaded, found } = self.counted;
        let total = self.torrent.layout.geometry().total_length();
        let missed = self.is_complete && downloaded + found < total;
        ensure!(!missed, "{downloaded} bytes counted and {found} found, of {total}");
        Ok(())
    }

    /// Somebody else takes a file away or cuts it.
    pub fn harm(&mut self, world: &World, machine: Machine, rng: &mut fastrand::Rng) {
        let layout = Arc::clone(&self.torrent.layout);
        let files: Vec<_> = layout.files().filter(|(_, file)| file.length() > 0).collect();
        let (index, _) = files[rng.usize(..files.len())];
        let path = &self.torrent.paths[index.as_usize()];
        // A file that is still being written to could grow again before anybody sees that it was cut.
        let cuts = self.is_source && self.is_complete && rng.bool();
        // Nor could one that grows again: what it had in the middle is zeros, and its length right.
        let length = world.stat(machine, path).map_or(0, |stat| stat.length);
        let done = match cuts && length > 0 {
            true => world.truncate_file(machine, path, rng.u64(..length)),
            false => world.remove_file(machine, path),
        };
        if done.is_ok() {
            self.is_harmed = true;
            let pieces = layout.pieces_of(index).filter_map(|piece| layout.geometry().piece(piece));
            pieces.for_each(|piece| {
                if self.claimed.has(piece) && !cuts {
                    self.removed = Some(index.as_usize());
                }
                self.lost.set(piece);
            });
            tracing::debug!(path = %path.display(), cuts, length, "harmed");
        }
    }

    /// While the server is down, somebody writes other bytes into a complete file. Its time of change
    /// tells, so nobody needs to be told.
    pub fn tamper(
        &self,
        world: &World,
        machine: Machine,
        rng: &mut fastrand::Rng,
    ) -> io::Result<()> {
        let is_complete = self.kept.as_ref().is_some_and(|kept| kept.have.is_all());
        let files: Vec<_> = self.torrent.files().filter(|(_, bytes)| !bytes.is_empty()).collect();
        let (path, content) = files[rng.usize(..files.len())];
        if is_complete && !self.is_source && !self.is_harmed {
            let other: Vec<u8> = content.iter().map(|byte| !byte).collect();
            world.put_file(machine, path, &other)?;
        }
        Ok(())
    }

    /// Everything is checked when it starts next.
    pub fn verify(&mut self) {
        self.removed = None;
        self.verify = true;
    }

    /// What of the files can be taken as had, as the session finds it: by looks, and by checks of what
    /// they leave in doubt. An error must have a cause.
    pub fn look(&mut self, disk: &mut CheckedDisk, has_cause: bool) -> Result<Look> {
        let piece_count = self.torrent.layout.geometry().piece_count();
        loop {
            if std::mem::take(&mut self.verify) {
                let (all, none) = (Bitfield::all(piece_count), Bitfield::none(piece_count));
                if !self.check(disk, &all, none, has_cause)? {
                    return Ok(Look::Refused);
                }
            }
            let order = simulated::Look {
                id: self.id,
                info_hash: self.torrent.info_hash,
                layout: Arc::clone(&self.torrent.layout),
                root: Path::new(ROOT).into(),
                resume: self.kept.clone().map(Arc::new),
                left: 0,
                have_bytes: 0,
            };
            let Some(found) = disk.world.run_on(disk.machine, || order.carry_out()) else {
                return Ok(Look::Refused);
            };
            let (trusted, doubtful, stamps) = match found {
                Found::Files { trusted, doubtful, stamps, .. } => (trusted, doubtful, stamps),
                Found::Unfit(message) => {
                    ensure!(has_cause || self.is_harmed, "unfit without a cause: {message}");
                    self.unfit += 1;
                    if self.unfit > TRIES {
                        self.operate(&disk.world, disk.machine);
                    }
                    return Ok(Look::Unfit);
                }
            };
            let (world, machine) = (&disk.world, disk.machine);
            self.check_files(world, machine, &trusted).context("resume data claims too much")?;
            self.check_platter(world, machine, &trusted).context("resume data claims too much")?;
            if doubtful.is_none() {
                (self.unfit, self.is_harmed, self.removed) = (0, false, None);
                self.claimed.clone_from(&trusted);
                self.lost = Bitfield::none(piece_count);
                return Ok(Look::Fit(trusted, stamps));
            }
            self.rechecks += u32::from(self.kept.is_some());
            if !self.check(disk, &doubtful, trusted, has_cause)? {
                return Ok(Look::Refused);
            }
        }
    }

    /// Has pieces read beside those that are trusted, and keeps what comes of it as the session does;
    /// `false` if the disk had an error.
    fn check(
        &mut self,
        disk: &mut CheckedDisk,
        pieces: &Bitfield,
        trusted: Bitfield,
        has_cause: bool,
    ) -> Result<bool> {
        let (layout, known) = (Arc::clone(&self.torrent.layout), self.kept.clone());
        let suspected = known.as_ref().is_some_and(|kept| kept.suspects_cache);
        let Some(CheckOutcome { have: mut found, stamps, cancelled, error }) =
            disk.check(&self.torrent, pieces, suspected)
        else {
            return Ok(false);
        };
        ensure!(error.is_none() || has_cause, "an error without a cause: {error:?}");
        if cancelled {
            self.kept = Some(ResumeData::unknown(&layout, &stamps));
            self.verify = true;
            return Ok(false);
        }
        let all_is_read = trusted.is_none() && found.is_all();
        self.lost = Bitfield::none(found.piece_count());
        self.check_platter(&disk.world, disk.machine, &found).context("it was checked")?;
        found.add_all(&trusted);
        let suspects_cache = suspected && !all_is_read;
        self.kept = Some(ResumeData { have: found, stamps, is_final: true, suspects_cache });
        // Its operator looks after what could not be read and can be had nowhere else.
        self.verify = error.is_some() && self.is_source;
        Ok(error.is_none())
    }

    /// The operator puts files back, or has all of it checked.
    fn operate(&mut self, world: &World, machine: Machine) {
        if !self.is_source {
            return self.verify();
        }
        self.removed = None;
        for (path, content) in self.torrent.files() {
            // Where there is no room, it is tried again.
            let _ = world.put_file(machine, path, content);
        }
    }

    /// It begins with these pieces; whether the counters begin anew with it.
    pub fn begins(&mut self, have: &Bitfield, is_new: bool) {
        self.is_complete = have.is_all();
        self.has = have.count();
        self.run += 1;
        self.is_running = true;
        self.wants_peers = true;
        let found = self.bytes(have);
        if is_new {
            self.counted = Counted { downloaded: 0, found };
        } else {
            self.counted.found = self.counted.found.max(found);
        }
    }
}
