//! A torrent of a server: what its session has said of it, what its operator wants, and what must hold.

use crate::torrent::{Disk, ROOT, Torrent};
use anyhow::{Context, Result, ensure};
use engine::TorrentId;
use metainfo::{Bitfield, PieceIndex};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::ResumeData;

/// Its operator looks after one whose files are not fit after so many tries.
const TRIES: u32 = 2;

/// What the operator wants of a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// That it is there.
    Present,
    /// That it is gone, and whether with its data.
    Gone {
        /// With its data.
        delete_data: bool,
    },
}

/// One torrent of a server.
pub struct Held {
    /// What it is.
    pub torrent: Torrent,
    /// Its number in the process that runs.
    pub id: Option<TorrentId>,
    /// What is wanted of it.
    pub wish: Wish,
    /// The folder that its session has its files in.
    pub root: PathBuf,
    /// The session has answered that it is added, and not that it is gone.
    pub is_added: bool,
    /// Everything is there, and seeded.
    pub is_complete: bool,
    /// Pieces that it claims while it runs.
    pub has: u32,
    /// Whether somebody else has changed its files since they were last looked at.
    pub is_harmed: bool,
    /// It is to be checked from end to end when the server is there.
    pub owes_check: bool,
    /// The disk may have refused to delete something of it at a place that it has left.
    pub may_be_left: bool,
    /// Whether what it loses can be had nowhere else: its operator puts files back.
    pub is_source: bool,
    /// What the database has.
    kept: Option<ResumeData>,
    /// Pieces of files that somebody else has changed since they were last looked at.
    lost: Bitfield,
    /// Pieces that it has claimed since its files were last looked at.
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

/// What its operator does about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Nothing, for now.
    Wait,
    /// Puts the files back.
    Restore,
    /// Has it checked.
    Verify,
}

impl Held {
    /// Of which nothing is known.
    pub fn new(torrent: &Torrent, is_source: bool) -> Held {
        let none = Bitfield::none(torrent.layout.geometry().piece_count());
        Held {
            torrent: torrent.clone(),
            id: None,
            wish: Wish::Present,
            root: PathBuf::from(ROOT),
            is_added: false,
            is_complete: false,
            has: 0,
            is_harmed: false,
            owes_check: false,
            may_be_left: false,
            is_source,
            kept: None,
            lost: none.clone(),
            claimed: none,
            removed: None,
            unfit: 0,
            counted: Counted::default(),
        }
    }

    /// The share of the pieces that it claims, in 0..=1.
    pub fn share(&self) -> f32 {
        self.has as f32 / self.lost.piece_count() as f32
    }

    /// Its process has begun, or is gone.
    pub fn forget_process(&mut self) {
        (self.id, self.is_complete, self.has) = (None, false, 0);
        self.counted = Counted::default();
    }

    /// It is gone from the session, to be added again where its files are.
    pub fn forget(&mut self) {
        let is_deleted = self.wish == Wish::Gone { delete_data: true };
        let root = if is_deleted { PathBuf::from(ROOT) } else { std::mem::take(&mut self.root) };
        let (is_harmed, may_be_left) = (self.is_harmed && self.is_source, self.may_be_left);
        let new = Held::new(&self.torrent, self.is_source);
        *self = Held { root, is_harmed, may_be_left, ..new };
    }

    fn none(&self) -> Bitfield {
        Bitfield::none(self.lost.piece_count())
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
    pub fn has_empty_files(&self, (world, machine): Disk<'_>) -> bool {
        let mut empty = self.torrent.files().filter(|(_, bytes)| bytes.is_empty());
        empty.all(|(path, _)| world.stat(machine, &self.root.join(path)).is_ok())
    }

    /// It claims one more piece from now on.
    pub fn gains(&mut self, disk: Disk<'_>, piece: u32) -> Result<()> {
        self.has += 1;
        if let Some(piece) = self.torrent.layout.geometry().piece(piece) {
            self.claimed.set(piece);
        }
        if let Some(path) = self.removed.map(|file| self.root.join(&self.torrent.paths[file])) {
            let is_back = disk.0.stat(disk.1, &path).is_ok();
            ensure!(!is_back, "{} was made anew over pieces that it had", path.display());
        }
        self.claims(disk, piece)
    }

    /// It has left its shard.
    pub fn leaves(&mut self) {
        self.has = 0;
    }

    /// It claims a piece, which must be in the files.
    fn claims(&self, disk: Disk<'_>, piece: u32) -> Result<()> {
        let piece = self.torrent.layout.geometry().piece(piece).context("no such piece")?;
        let is_there = self.lost.has(piece) || self.torrent.shows(disk, &self.root, piece);
        ensure!(is_there, "piece {} is claimed and not in the files", piece.get());
        Ok(())
    }

    /// These pieces are in the files, as processes see them.
    fn check_files(&self, disk: Disk<'_>, claimed: &Bitfield) -> Result<()> {
        self.pieces(claimed).try_for_each(|piece| self.claims(disk, piece.get()))
    }

    fn check_platter(&self, disk: Disk<'_>, claimed: &Bitfield) -> Result<()> {
        for piece in self.pieces(claimed).filter(|&piece| !self.lost.has(piece)) {
            let is_kept = self.torrent.keeps(disk, &self.root, piece);
            ensure!(is_kept, "piece {} would be lost with the power", piece.get());
        }
        Ok(())
    }

    /// It has told that it has everything.
    pub fn completes(&self, disk: Disk<'_>) -> Result<()> {
        let all = Bitfield::all(self.lost.piece_count());
        self.check_files(disk, &all).context("it says that it is complete")
    }

    /// It has told that pieces survive a loss of power.
    pub fn is_durable(&self, disk: Disk<'_>, have: &Bitfield) -> Result<()> {
        self.check_platter(disk, have).context("they are told to be durable")
    }

    /// Its files were looked at: these pieces are trusted, and others may be in doubt.
    pub fn is_looked_at(
        &mut self,
        disk: Disk<'_>,
        trusted: &Bitfield,
        has_doubts: bool,
    ) -> Result<()> {
        self.check_files(disk, trusted).context("resume data claims too much")?;
        self.check_platter(disk, trusted).context("resume data claims too much")?;
        if !has_doubts {
            (self.unfit, self.removed) = (0, None);
            // A source's operator still has to put back what was found to be missing.
            self.is_harmed &= self.is_source && !trusted.is_all();
            self.lost = self.none();
            self.claimed.clone_from(trusted);
            self.counted.found = self.counted.found.max(self.bytes(trusted));
        }
        Ok(())
    }

    /// Its files were looked at, and are not fit.
    pub fn is_unfit(&mut self) -> Remedy {
        self.unfit += 1;
        match (self.unfit > TRIES, self.is_source) {
            (false, _) => Remedy::Wait,
            (true, true) => Remedy::Restore,
            (true, false) => Remedy::Verify,
        }
    }

    /// Pieces were read, and these are good.
    pub fn is_checked(&mut self, disk: Disk<'_>, good: &Bitfield) -> Result<()> {
        self.check_platter(disk, good).context("it was checked")
    }

    /// The database has this from now on.
    pub fn is_kept(&mut self, resume: Option<&[u8]>) -> Result<()> {
        let layout = &self.torrent.layout;
        self.kept = resume.map(|bytes| ResumeData::from_bytes(bytes, layout)).transpose()?;
        Ok(())
    }

    /// Whether its disk has refused something since all of it was durable. The page cache may then have
    /// lost it, and it is fetched again at the next start.
    pub fn may_have_lost(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.suspects_cache)
    }

    /// What its resume data claims would survive the worst loss of power.
    pub fn check_kept(&self, disk: Disk<'_>) -> Result<()> {
        let kept = self.kept.as_ref().filter(|kept| !kept.suspects_cache).map(|kept| &kept.have);
        kept.map_or(Ok(()), |have| self.check_platter(disk, have))
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
    pub fn harm(&mut self, (world, machine): Disk<'_>, rng: &mut fastrand::Rng) {
        let layout = Arc::clone(&self.torrent.layout);
        let files: Vec<_> = layout.files().filter(|(_, file)| file.length() > 0).collect();
        let (index, _) = files[rng.usize(..files.len())];
        let path = &self.root.join(&self.torrent.paths[index.as_usize()]);
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
    pub fn tamper(&self, (world, machine): Disk<'_>, rng: &mut fastrand::Rng) -> io::Result<()> {
        let is_complete = self.kept.as_ref().is_some_and(|kept| kept.have.is_all());
        let files: Vec<_> = self.torrent.files().filter(|(_, bytes)| !bytes.is_empty()).collect();
        let (path, content) = files[rng.usize(..files.len())];
        if is_complete && !self.is_source && !self.is_harmed {
            let other: Vec<u8> = content.iter().map(|byte| !byte).collect();
            world.put_file(machine, &self.root.join(path), &other)?;
        }
        Ok(())
    }

    /// Its operator has it checked: files may be made anew.
    pub fn is_verified(&mut self) {
        self.removed = None;
        self.is_complete = false;
    }

    /// Its operator puts all files back.
    pub fn restore(&mut self, (world, machine): Disk<'_>) -> io::Result<()> {
        self.removed = None;
        let mut files = self.torrent.files();
        files
            .try_for_each(|(path, content)| world.put_file(machine, &self.root.join(path), content))
    }

    /// Its files have the right bytes.
    pub fn check_content(&self, (world, machine): Disk<'_>) -> Result<()> {
        for (path, expected) in self.torrent.files() {
            let path = self.root.join(path);
            let found = world.content(machine, &path);
            ensure!(found.as_deref() == Some(expected), "{} is wrong", path.display());
        }
        Ok(())
    }

    /// Nothing of it is in any of these folders but the one, if it is in one.
    pub fn check_gone(
        &self,
        (world, machine): Disk<'_>,
        roots: &[&str],
        but: Option<&Path>,
    ) -> Result<()> {
        let roots = || roots.iter().map(Path::new).filter(|root| Some(*root) != but);
        for path in world.paths(machine) {
            let is_own = roots().any(|root| self.torrent.is_path(root, &path));
            ensure!(!is_own, "{} is left of a torrent that is not there", path.display());
        }
        Ok(())
    }
}
