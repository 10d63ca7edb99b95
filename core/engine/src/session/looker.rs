//! Looking at torrents' files before they start: what is there, and is it as it was left. It blocks,
//! so it has threads of its own.

use crate::{status::TorrentId, work};
use metainfo::{Bitfield, InfoHash, Layout};
use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use storage::{FileStamp, ResumeData, allocated, check_stamps, device_of, free_space, part_file};

/// Threads that look.
const LOOKERS: usize = 4;

/// Steps by which they are nicer than others: after a start, when all torrents are to be looked at,
/// calls are answered first.
const LOOKERS_NICE: i32 = 10;

/// The most there are when some hang: one for each of so many mounts that do not answer.
const LOOKERS_MOST: usize = 64;

/// A look that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(3);

/// A look at a torrent's files.
pub(crate) struct Look {
    /// Its number.
    pub(crate) id: TorrentId,
    /// Names the part file.
    pub(crate) info_hash: InfoHash,
    /// Its files.
    pub(crate) layout: Arc<Layout>,
    /// The folder that they are in.
    pub(crate) root: Arc<Path>,
    /// What is remembered of them.
    pub(crate) resume: Option<Arc<ResumeData>>,
    /// Bytes that are still to be written.
    pub(crate) left: u64,
    /// Bytes that have been.
    pub(crate) have_bytes: u64,
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Found {
    /// They are as fit as they can be.
    Files {
        /// Pieces that can be taken as had.
        trusted: Bitfield,
        /// Pieces that must be checked first.
        doubtful: Bitfield,
        /// How the files look.
        stamps: Vec<FileStamp>,
        /// Which device they are on; 0 if that is not known.
        device: u64,
    },
    /// Pieces that were had are gone with their file, or there is no room for what is missing.
    Unfit(String),
}

/// The threads that look. One that hangs on a folder is left to it: what else is to be looked at
/// there waits for it, and another thread takes its place.
pub(super) struct Lookers {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    tell: Box<dyn Fn(TorrentId, Found) + Send + Sync>,
}

#[derive(Default)]
struct State {
    line: VecDeque<Look>,
    at_work: Vec<AtWork>,
    threads: usize,
    idle: usize,
    ended: bool,
}

/// What a thread is looking at, and since when.
struct AtWork {
    id: TorrentId,
    root: Arc<Path>,
    since: Instant,
}

impl AtWork {
    fn hangs(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }
}

impl Lookers {
    pub(super) fn start(
        tell: impl Fn(TorrentId, Found) + Send + Sync + 'static,
    ) -> io::Result<Lookers> {
        let (state, wake) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { state, wake, tell: Box::new(tell) });
        let threads = if work::is_by_hand() { 0 } else { LOOKERS };
        for _ in 0..threads {
            shared.add_thread(&mut shared.lock())?;
        }
        Ok(Lookers { shared })
    }

    pub(super) fn look(&self, order: Look) {
        if work::is_by_hand() {
            let shared = Arc::clone(&self.shared);
            work::spawn(move || (shared.tell)(order.id, order.carry_out()));
            return;
        }
        self.shared.lock().line.push_back(order);
        self.shared.wake.notify_one();
    }

    /// Sees whether all threads hang while somebody waits; to be called about once a second. Gives the
    /// torrents whose folders do not answer.
    pub(super) fn tick(&self) -> Vec<TorrentId> {
        let mut state = self.shared.lock();
        let waits = state.line.iter().any(|order| !state.hangs(&order.root));
        if waits && state.idle == 0 && state.all_hang() && state.threads < LOOKERS_MOST {
            tracing::warn!("folders that do not answer hold up all who look at files: one more");
            if let Err(error) = self.shared.add_thread(&mut state) {
                tracing::warn!(%error, "no further thread");
            }
        }
        state.hung()
    }
}

impl Drop for Lookers {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
    }
}

impl State {
    fn all_hang(&self) -> bool {
        self.at_work.iter().all(AtWork::hangs)
    }

    /// Whether somebody has been looking there for too long.
    fn hangs(&self, root: &Path) -> bool {
        self.at_work.iter().any(|work| *work.root == *root && work.hangs())
    }

    fn hung(&self) -> Vec<TorrentId> {
        if !self.at_work.iter().any(AtWork::hangs) {
            return Vec::new();
        }
        let at_work = self.at_work.iter().filter(|work| work.hangs()).map(|work| work.id);
        let waiting = self.line.iter().filter(|order| self.hangs(&order.root));
        at_work.chain(waiting.map(|order| order.id)).collect()
    }

    fn next(&mut self) -> Option<Look> {
        let next = (0..self.line.len()).find(|&at| !self.hangs(&self.line[at].root))?;
        self.line.remove(next)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(self);
        let name = format!("looker-{}", state.threads);
        std::thread::Builder::new().name(name).spawn(move || {
            ring::process::give_way();
            ring::process::step_back(LOOKERS_NICE);
            shared.run();
        })?;
        state.threads += 1;
        Ok(())
    }

    /// A thread's life.
    fn run(&self) {
        let mut state = self.lock();
        while !state.ended {
            let Some(order) = state.next() else {
                if state.threads > LOOKERS {
                    break;
                }
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            let root = Arc::clone(&order.root);
            state.at_work.push(AtWork {
                id: order.id,
                root: Arc::clone(&root),
                since: Instant::now(),
            });
            drop(state);
            (self.tell)(order.id, order.carry_out());
            state = self.lock();
            let work = state.at_work.iter().position(|work| Arc::ptr_eq(&work.root, &root));
            if work.is_some_and(|at| state.at_work.swap_remove(at).hangs()) {
                // Looks at this folder, which were left in line, can go on.
                self.wake.notify_all();
            }
        }
        state.threads -= 1;
    }
}

impl Look {
    /// Looks. Blocks.
    fn carry_out(&self) -> Found {
        let found = match &self.resume {
            Some(resume) => self.compare(resume),
            None => self.discover(),
        };
        match found {
            Ok(Found::Files { doubtful, .. })
                if doubtful.is_none()
                    && let Some(message) = self.lacks_room() =>
            {
                Found::Unfit(message)
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
            let before = resume.stamps.get(index.as_usize()).copied();
            let what = match (stamp, before) {
                (_, Some(FileStamp::DUBIOUS)) => continue,
                (FileStamp::ABSENT, _) => "the file is missing; put it back",
                (_, Some(FileStamp::UNKNOWN)) => continue,
                (short, _) if short.length < file.length() => {
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
            device: self.device(),
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
        let device = self.device();
        Ok(Found::Files { trusted: Bitfield::none(pieces), doubtful, stamps, device })
    }

    fn device(&self) -> u64 {
        device_of(&self.root).unwrap_or_default()
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
        paths.filter_map(|path| allocated(&path).ok()).sum()
    }
}
