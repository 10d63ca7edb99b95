//! Reading torrents to see which of their pieces are good.
//!
//! One [`Checker`] serves the whole process. Its threads take groups of pieces, as many as the
//! hasher has lanes, from the torrents in the order of their requests; a torrent on another device
//! is begun when the first device has all the readers it can use. A rotating disk gets one reader,
//! anything else all threads. Threads that a disk without an answer holds are replaced, so that
//! torrents on other disks are checked all the same.

mod device;
mod reader;
mod settle;
mod worker;

use crate::{FileStamp, StorageError};
pub(crate) use device::{Device, is_rotating};
use hash::Hasher;
use metainfo::{Bitfield, InfoHash, Layout, PieceHashes, PieceIndex};
use reader::Reader;
use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
pub use worker::CheckWorker;

/// Bytes that a group of pieces on a rotating disk has at most, unless one piece has more: they are
/// asked for in order before the lanes read them in turn.
const ROTATING_GROUP: u64 = 64 << 20;

/// A device of which no group has come back for so long holds its threads.
const PATIENCE: Duration = Duration::from_secs(10);

/// Threads beyond the usual ones, while some are held.
const SPARE_THREADS: usize = 64;

/// How much nicer threads that check are (nice(2)): with a tenth of the weight they take what serving
/// leaves of a core.
const CHECK_NICE: i32 = 10;

/// A torrent to check.
pub struct CheckRequest {
    /// Names the part file.
    pub info_hash: InfoHash,
    /// The files.
    pub layout: Arc<Layout>,
    /// The folder that the layout's paths are relative to.
    pub root: Arc<Path>,
    /// What the pieces must hash to.
    pub hashes: Arc<PieceHashes>,
    /// Which pieces to check.
    pub pieces: Bitfield,
    /// Whether the page cache may show what is not on the disk ([`crate::ResumeData::suspects_cache`]),
    /// so that the files are taken out of it first.
    pub past_cache: bool,
    /// Told what is found, on a thread of the checker; must not block for long.
    pub report: Box<dyn Fn(CheckEvent) + Send + Sync>,
}

/// What a check has found.
#[derive(Debug)]
pub enum CheckEvent {
    /// These pieces have been read, and are good or not. They come in no particular order.
    Pieces(Vec<(PieceIndex, bool)>),
    /// The check is over; the last event.
    Ended(CheckOutcome),
}

/// The result of a check.
#[derive(Debug)]
pub struct CheckOutcome {
    /// The good ones among the pieces that were checked.
    pub have: Bitfield,
    /// The files as they were before they were read: in the order of the layout, then the part
    /// file.
    pub stamps: Vec<FileStamp>,
    /// Whether it was cancelled, so that not all pieces were read.
    pub cancelled: bool,
    /// The first error other than a missing or short file; its piece counts as not had. If the check
    /// was cancelled as well, the disk refused to keep what is in the files, and nothing was read.
    pub error: Option<StorageError>,
}

/// How far a check is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckProgress {
    /// Bytes of the pieces done.
    pub bytes_done: u64,
    /// Bytes of all pieces to check.
    pub bytes_total: u64,
    /// Whether the disk does not answer.
    pub hangs: bool,
}

/// A check under way. Dropping it lets the check go on.
#[derive(Clone)]
pub struct CheckHandle {
    job: Arc<Job>,
    shared: Arc<Shared>,
}

/// The threads that check; they end when it is dropped, and checks under way are cancelled.
pub struct Checker {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    hasher: Hasher,
    readers: usize,
    synced: settle::Synced,
}

#[derive(Default)]
struct State {
    jobs: Vec<Arc<Job>>,
    /// Who is at work on each device.
    busy: HashMap<u64, usize>,
    /// Where threads see on which device it is, and since when.
    looking: Vec<(Arc<Path>, Instant)>,
    /// When a thread came back last.
    returned: Option<Instant>,
    /// Threads without work.
    idle: usize,
    /// Threads at work beyond the usual ones.
    spare: usize,
    stop: bool,
}

impl State {
    /// Whether threads are at work, and none has come back for long.
    fn hangs(&self) -> bool {
        let at_work = !self.looking.is_empty() || self.busy.values().any(|&readers| readers > 0);
        at_work && self.returned.is_none_or(|at| at.elapsed() >= PATIENCE)
    }

    /// A thread gets something to do.
    fn begin(&mut self) {
        if self.looking.is_empty() && self.busy.values().all(|&readers| readers == 0) {
            self.returned = Some(Instant::now());
        }
    }

    /// Whether somebody has been looking there for long.
    fn looks_in_vain(&self, root: &Path) -> bool {
        self.looking.iter().any(|(at, since)| **at == *root && since.elapsed() >= PATIENCE)
    }
}

/// A request and how far it is.
struct Job {
    request: CheckRequest,
    bytes_total: u64,
    bytes_done: AtomicU64,
    paused: AtomicBool,
    cancelled: AtomicBool,
    course: Mutex<Course>,
}

/// What changes as groups are taken and come back; only touched with [`Shared::state`] locked.
struct Course {
    device: Option<Device>,
    is_looking: bool,
    stamps: Vec<FileStamp>,
    next: u32,
    running: usize,
    have: Bitfield,
    error: Option<StorageError>,
    /// When a thread was given something of it to do while no other had any, or came back.
    moved: Instant,
}

impl Course {
    fn is_at_work(&self) -> bool {
        self.running > 0 || self.is_looking
    }
}

/// What a thread does next.
enum Turn {
    /// See on which device the torrent is, and how its files look.
    Look(Arc<Job>),
    Group(Arc<Job>, Device, Vec<PieceIndex>),
    End(Arc<Job>),
    Stop,
}

impl Checker {
    /// Starts the threads: `threads` of them, or one for each CPU this process may use if 0.
    pub fn new(threads: usize) -> io::Result<Checker> {
        Checker::with_hasher(threads, Hasher::detect())
    }

    /// As [`Checker::new`], with this hasher.
    pub fn with_hasher(threads: usize, hasher: Hasher) -> io::Result<Checker> {
        let readers = match threads {
            0 => thread::available_parallelism().map_or(1, |count| count.get()),
            threads => threads,
        };
        let checker = Checker::without_threads(readers, hasher);
        for _ in 0..readers {
            checker.add_thread()?;
        }
        Ok(checker)
    }

    /// Without threads: nothing is checked but in the turns of a [`Checker::worker`], for whoever says
    /// himself when that is.
    pub fn by_hand() -> Checker {
        Checker::without_threads(1, Hasher::detect())
    }

    fn without_threads(readers: usize, hasher: Hasher) -> Checker {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            hasher,
            readers,
            synced: settle::Synced::new(),
        });
        Checker { shared, threads: Mutex::default() }
    }

    /// Somebody who takes turns.
    pub fn worker(&self) -> CheckWorker {
        CheckWorker { shared: Arc::clone(&self.shared), reader: Reader::new(self.shared.hasher) }
    }

    fn add_thread(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        let thread = thread::Builder::new().name(format!("check {}", threads.len()));
        threads.push(thread.spawn(move || {
            ring::process::give_way();
            shared.run();
        })?);
        Ok(())
    }

    /// Sees whether disks that do not answer hold all threads; to be called about once a second.
    pub fn tick(&self) {
        let mut state = self.shared.lock();
        if state.idle == 0 && state.hangs() && state.spare < SPARE_THREADS {
            tracing::warn!("disks that do not answer hold all threads that check: one more");
            state.spare += 1;
            drop(state);
            if let Err(error) = self.add_thread() {
                self.shared.lock().spare -= 1;
                tracing::warn!(%error, "no further thread");
            }
        }
    }

    /// Puts a torrent in line. Returns at once.
    pub fn submit(&self, request: CheckRequest) -> CheckHandle {
        let geometry = request.layout.geometry();
        let pieces = request.pieces.iter().filter_map(|index| geometry.piece(index));
        let course = Course {
            device: None,
            is_looking: false,
            stamps: Vec::new(),
            next: 0,
            running: 0,
            have: Bitfield::none(geometry.piece_count()),
            error: None,
            moved: Instant::now(),
        };
        let job = Arc::new(Job {
            bytes_total: pieces.map(|piece| u64::from(geometry.length_of(piece))).sum(),
            bytes_done: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            course: Mutex::new(course),
            request,
        });
        self.shared.lock().jobs.push(Arc::clone(&job));
        self.shared.wake.notify_all();
        CheckHandle { job, shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        state.jobs.iter().for_each(|job| job.cancelled.store(true, Relaxed));
        drop(state);
        self.shared.wake.notify_all();
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        let hangs = self.shared.lock().hangs();
        for thread in threads.drain(..) {
            // One that a disk holds cannot be waited for; one that panicked has said so already.
            if !hangs {
                let _ = thread.join();
            }
        }
    }
}

impl CheckHandle {
    /// How far it is.
    pub fn progress(&self) -> CheckProgress {
        CheckProgress {
            bytes_done: self.job.bytes_done.load(Relaxed),
            bytes_total: self.job.bytes_total,
            hangs: self.job.hangs(),
        }
    }

    /// Takes no further pieces until [`CheckHandle::resume`].
    pub fn pause(&self) {
        self.job.paused.store(true, Relaxed);
    }

    /// Goes on after [`CheckHandle::pause`].
    pub fn resume(&self) {
        self.job.paused.store(false, Relaxed);
        self.wake();
    }

    /// Ends the check soon, in the middle of a piece if need be; [`CheckEvent::Ended`] follows.
    pub fn cancel(&self) {
        self.job.cancelled.store(true, Relaxed);
        self.wake();
    }

    fn wake(&self) {
        // With the lock held, so that no thread is between looking and falling asleep.
        let _state = self.shared.lock();
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life. Checking is background work: serving goes first.
    fn run(self: Arc<Self>) {
        ring::process::step_back(CHECK_NICE);
        let reader = Reader::new(self.hasher);
        let mut worker = CheckWorker { shared: self, reader };
        loop {
            let turn = worker.shared.next_turn();
            if matches!(turn, Turn::Stop) {
                return;
            }
            worker.take(turn);
        }
    }

    /// The next turn; waits until there is one.
    fn next_turn(&self) -> Turn {
        let mut state = self.lock();
        loop {
            if let Some(turn) = self.turn_now(&mut state) {
                return turn;
            }
            if state.stop && state.jobs.is_empty() {
                return Turn::Stop;
            }
            if state.spare > 0 {
                state.spare -= 1;
                return Turn::Stop;
            }
            state.idle += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn turn_now(&self, state: &mut State) -> Option<Turn> {
        for at in 0..state.jobs.len() {
            let job = Arc::clone(&state.jobs[at]);
            let mut course = job.course();
            job.skip_unwanted(&mut course);
            if job.is_over(&course) {
                state.jobs.remove(at);
                drop(course);
                return Some(Turn::End(job));
            }
            let paused = job.paused.load(Relaxed) || job.cancelled.load(Relaxed);
            if paused || course.is_looking {
                continue;
            }
            let Some(device) = course.device else {
                if state.looks_in_vain(&job.request.root) {
                    continue;
                }
                course.is_looking = true;
                course.moved = Instant::now();
                drop(course);
                state.begin();
                state.looking.push((Arc::clone(&job.request.root), Instant::now()));
                return Some(Turn::Look(job));
            };
            let limit = if device.is_rotating { 1 } else { self.readers };
            if state.busy.get(&device.id).is_some_and(|&readers| readers >= limit) {
                continue;
            }
            let pieces = job.take_group(&mut course, device, self.hasher.backend().lanes());
            if pieces.is_empty() {
                continue;
            }
            if !course.is_at_work() {
                course.moved = Instant::now();
            }
            course.running += 1;
            drop(course);
            state.begin();
            *state.busy.entry(device.id).or_default() += 1;
            return Some(Turn::Group(job, device, pieces));
        }
        None
    }

    /// A torrent has been looked at.
    fn has_looked(
        &self,
        job: &Job,
        device: Device,
        settled: Result<(), StorageError>,
        stamps: Vec<FileStamp>,
    ) {
        let mut state = self.lock();
        let root = &job.request.root;
        if let Some(at) = state.looking.iter().position(|(at, _)| Arc::ptr_eq(at, root)) {
            state.looking.swap_remove(at);
        }
        state.returned = Some(Instant::now());
        let mut course = job.course();
        if let Err(error) = settled {
            course.error = Some(error);
            job.cancelled.store(true, Relaxed);
        }
        (course.device, course.stamps, course.is_looking) = (Some(device), stamps, false);
        course.moved = Instant::now();
        self.wake.notify_all();
    }

    fn take_back(&self, job: &Job, device: Device, found: reader::Found) {
        if !found.pieces.is_empty() {
            let mut course = job.course();
            for &(piece, good) in &found.pieces {
                if good {
                    course.have.set(piece);
                }
            }
            drop(course);
            (job.request.report)(CheckEvent::Pieces(found.pieces));
        }
        let mut state = self.lock();
        if let Some(busy) = state.busy.get_mut(&device.id) {
            *busy -= 1;
        }
        state.returned = Some(Instant::now());
        let mut course = job.course();
        course.running -= 1;
        course.moved = Instant::now();
        course.error = course.error.take().or(found.error);
        self.wake.notify_all();
    }
}

impl Job {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk does not answer.
    fn hangs(&self) -> bool {
        let course = self.course();
        course.is_at_work() && course.moved.elapsed() >= 3 * PATIENCE
    }

    fn is_over(&self, course: &Course) -> bool {
        let none_left = course.next >= self.request.layout.geometry().piece_count();
        !course.is_at_work()
            && (self.cancelled.load(Relaxed) || (none_left && course.device.is_some()))
    }

    /// Goes to the next piece that is to be checked, or to the end.
    fn skip_unwanted(&self, course: &mut Course) {
        while let Some(piece) = self.request.layout.geometry().piece(course.next)
            && !self.request.pieces.has(piece)
        {
            course.next += 1;
        }
    }

    /// The next pieces to check, at most as many as there are lanes.
    fn take_group(&self, course: &mut Course, device: Device, lanes: usize) -> Vec<PieceIndex> {
        let geometry = self.request.layout.geometry();
        let room = ROTATING_GROUP / u64::from(geometry.piece_length());
        let limit = if device.is_rotating { lanes.min(room.max(1) as usize) } else { lanes };
        let mut group = Vec::with_capacity(limit);
        while group.len() < limit
            && let Some(piece) = geometry.piece(course.next)
        {
            course.next += 1;
            if self.request.pieces.has(piece) {
                group.push(piece);
            }
        }
        group
    }

    fn end(&self) {
        let mut course = self.course();
        let outcome = CheckOutcome {
            have: course.have.clone(),
            stamps: std::mem::take(&mut course.stamps),
            cancelled: self.cancelled.load(Relaxed),
            error: course.error.take(),
        };
        drop(course);
        (self.request.report)(CheckEvent::Ended(outcome));
    }
}

#[cfg(test)]
mod tests;
