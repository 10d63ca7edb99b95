//! A torrent of a server: what the session keeps of it across crashes, what it does when it is told
//! something, and what must hold then.

use crate::torrent::{ROOT, Torrent};
use anyhow::{Context, Result, ensure};
use discovery::Progress;
use engine::{TorrentId, simulated::Start};
use metainfo::{Bitfield, PieceIndex};
use ring::sim::{Machine, World};
use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use storage::{FileStamp, ResumeData, compare_stamps};

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
    /// What its announces say.
    pub progress: Arc<Progress>,
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
    /// The id that peers and trackers see.
    pub peer_id: [u8; 20],
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
            progress: Arc::default(),
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
            progress: Arc::clone(&self.progress),
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

    /// What of the files can be taken as had, as the session finds it.
    pub fn look(&mut self, world: &World, machine: Machine) -> Result<Look> {
        let layout = Arc::clone(&self.torrent.layout);
        let stamp = |path: &Path| match world.stat(machine, path) {
            Ok(stat) if stat.is_file => {
                Ok(FileStamp { length: stat.length, modified_ns: stat.modified_ns })
            }
            Ok(_) => Ok(FileStamp::ABSENT),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FileStamp::ABSENT),
            Err(error) => Err(error),
        };
        let resume = self.kept.clone().unwrap_or_else(|| ResumeData::nothing(&layout));
        let root = Path::new(ROOT);
        let report = compare_stamps(root, &self.torrent.parts(), &layout, &resume, stamp)?;
        let trusted = &report.trusted;
        self.check_files(world, machine, trusted).context("resume data claims too much")?;
        self.check_platter(world, machine, trusted).context("resume data claims too much")?;
        let is_gone = |(index, file): (metainfo::FileIndex, &metainfo::File)| {
            let now = report.stamps[index.as_usize()];
            report.changed.contains(&index) && now.length < file.length()
        };
        if !self.verify && layout.files().any(is_gone) {
            ensure!(self.is_harmed, "files are missing that nobody has taken");
            self.unfit += 1;
            if self.unfit > TRIES {
                self.operate(world, machine);
            }
            return Ok(Look::Unfit);
        }
        let all = Bitfield::all(layout.geometry().piece_count());
        let none = Bitfield::none(all.piece_count());
        let (trusted, doubtful) = match (self.verify, &self.kept) {
            (false, Some(_)) => (report.trusted, report.doubtful),
            _ => (none, all),
        };
        let mut have = trusted.clone();
        if !doubtful.is_none() {
            self.rechecks += u32::from(self.kept.is_some());
            let Some(good) = self.check(world, machine, &doubtful) else {
                self.kept = Some(ResumeData::unknown(&layout, &report.stamps));
                return Ok(Look::Refused);
            };
            have.add_all(&good);
            let kept = ResumeData {
                have: have.clone(),
                stamps: report.stamps.clone(),
                is_final: true,
                suspects_cache: resume.suspects_cache && !(trusted.is_none() && have.is_all()),
            };
            self.lost = Bitfield::none(have.piece_count());
            self.check_platter(world, machine, &have).context("it was checked")?;
            self.kept = Some(kept);
        }
        (self.verify, self.unfit, self.is_harmed) = (false, 0, false);
        self.removed = None;
        self.claimed.clone_from(&have);
        self.lost = Bitfield::none(have.piece_count());
        Ok(Look::Fit(have, report.stamps))
    }

    /// Reads pieces as a check does ([`storage::Checker`]): what it finds is synced first, and if the
    /// page cache cannot be believed, read from the disk. `None` if the disk refuses.
    fn check(&self, world: &World, machine: Machine, pieces: &Bitfield) -> Option<Bitfield> {
        for path in self.torrent.paths.iter() {
            match world.sync_file(machine, path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
                _ => {}
            }
        }
        if self.kept.as_ref().is_some_and(|kept| kept.suspects_cache) {
            world.drop_clean_pages(machine);
        }
        let mut good = Bitfield::none(pieces.piece_count());
        let found = self.pieces(pieces).filter(|&p| self.torrent.shows(world, machine, p));
        found.for_each(|piece| {
            good.set(piece);
        });
        Some(good)
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
        let left = self.torrent.layout.geometry().total_length() - self.bytes(have);
        self.progress = Arc::default();
        self.progress.left.store(left, Ordering::Relaxed);
        let found = self.bytes(have);
        if is_new {
            self.counted = Counted { downloaded: 0, found };
        } else {
            self.counted.found = self.counted.found.max(found);
        }
    }
}
