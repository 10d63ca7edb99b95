//! Looking at torrents' files before they start: what is there, and is it as it was left. It blocks,
//! so it has threads of its own.

use crate::status::TorrentId;
use crossbeam_channel::{Receiver, Sender, unbounded};
use metainfo::{Bitfield, InfoHash, Layout};
use std::{io, os::unix::fs::MetadataExt, path::Path, sync::Arc};
use storage::{FileStamp, ResumeData, check_stamps, free_space, part_file};

/// Threads that look: enough that one hanging network mount does not hold up the rest.
const LOOKERS: usize = 4;

pub(super) struct Look {
    pub(super) id: TorrentId,
    pub(super) info_hash: InfoHash,
    pub(super) layout: Arc<Layout>,
    pub(super) root: Arc<Path>,
    pub(super) resume: Option<Arc<ResumeData>>,
    /// Bytes that are still to be written.
    pub(super) left: u64,
    /// Bytes that have been.
    pub(super) have_bytes: u64,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    /// These pieces can be taken as had; those in `doubtful` must be checked first.
    Files { trusted: Bitfield, doubtful: Bitfield, stamps: Vec<FileStamp> },
    /// Pieces that were had are gone with their file, or there is no room for what is missing.
    Unfit(String),
}

pub(super) struct Lookers {
    orders: Sender<Look>,
}

impl Lookers {
    pub(super) fn start(
        tell: impl Fn(TorrentId, Found) + Clone + Send + 'static,
    ) -> io::Result<Lookers> {
        let (orders, queue): (_, Receiver<Look>) = unbounded();
        for number in 0..LOOKERS {
            let (queue, tell) = (queue.clone(), tell.clone());
            let work = move || {
                for order in queue {
                    tell(order.id, order.carry_out());
                }
            };
            std::thread::Builder::new().name(format!("looker-{number}")).spawn(work)?;
        }
        Ok(Lookers { orders })
    }

    pub(super) fn look(&self, order: Look) {
        // The threads live as long as the sender.
        let _ = self.orders.send(order);
    }
}

impl Look {
    fn carry_out(&self) -> Found {
        let found = match &self.resume {
            Some(resume) => self.compare(resume),
            None => self.discover(),
        };
        match found {
            Ok(Found::Files { trusted, doubtful, stamps }) if doubtful.is_none() => {
                match self.lacks_room() {
                    Some(message) => Found::Unfit(message),
                    None => Found::Files { trusted, doubtful, stamps },
                }
            }
            Ok(found) => found,
            Err(error) => Found::Unfit(format!("{}: {error}", self.root.display())),
        }
    }

    fn compare(&self, resume: &ResumeData) -> io::Result<Found> {
        let parts = part_file(&self.root, self.info_hash);
        let report = check_stamps(&self.root, &parts, &self.layout, resume)?;
        for &index in &report.changed {
            let file = &self.layout[index];
            let stamp = report.stamps[index.as_usize()];
            let path = self.root.join(file.path().as_path());
            let what = match stamp {
                FileStamp::ABSENT => "the file is missing; put it back",
                short if short.length < file.length() => {
                    "the file is shorter than the torrent says; restore it"
                }
                _ => continue,
            };
            return Ok(Found::Unfit(format!("{}: {what} or recheck the torrent", path.display())));
        }
        Ok(Found::Files {
            trusted: report.trusted,
            doubtful: report.doubtful,
            stamps: report.stamps,
        })
    }

    /// A torrent that nothing is known of: if any of its files is there, everything is checked.
    fn discover(&self) -> io::Result<Found> {
        let mut any = false;
        let mut stamps = Vec::with_capacity(self.layout.file_count() as usize + 1);
        for (_, file) in self.layout.files() {
            let stamp = match file.is_pad() {
                true => FileStamp::ABSENT,
                false => FileStamp::read(&self.root.join(file.path().as_path()))?,
            };
            any |= stamp.length > 0;
            stamps.push(stamp);
        }
        let parts = FileStamp::read(&part_file(&self.root, self.info_hash))?;
        any |= parts != FileStamp::ABSENT;
        stamps.push(parts);
        let pieces = self.layout.geometry().piece_count();
        let doubtful = if any { Bitfield::all(pieces) } else { Bitfield::none(pieces) };
        Ok(Found::Files { trusted: Bitfield::none(pieces), doubtful, stamps })
    }

    fn lacks_room(&self) -> Option<String> {
        if self.left == 0 {
            return None;
        }
        let free = free_space(&self.root).ok()?.free;
        if free >= self.left {
            return None;
        }
        let more = self.left.saturating_sub(self.reserved().saturating_sub(self.have_bytes));
        (free < more).then(|| {
            format!(
                "{}: not enough space: {more} more bytes are needed, {free} are free",
                self.root.display()
            )
        })
    }

    /// Bytes of disk space that the files have taken already, also for what is not written yet.
    fn reserved(&self) -> u64 {
        let files = self.layout.files().filter(|(_, file)| !file.is_pad());
        let paths = files.map(|(_, file)| self.root.join(file.path().as_path()));
        paths.filter_map(|path| std::fs::metadata(path).ok()).map(|meta| meta.blocks() * 512).sum()
    }
}
