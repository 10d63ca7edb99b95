//! The thread pools that carry out file operations: all of the mio driver's, and of both drivers the
//! hints to read ahead. The kernel's own threads for those have the weight of the ring's, whom they keep
//! waiting.
//!
//! It grows while all its threads are held by disks that do not answer, so that others are served.
#![allow(unsafe_code)]

use crate::{Buf, File, FileDone, FileOp, FileStat, Token, Waker, limits, process};
use crossbeam_channel::{Receiver, Sender, unbounded};
use slab::Slab;
use std::{
    fs, io, mem,
    ops::Range,
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
    ptr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A pool of which no thread has come back for so long is held up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What threads that are held up get to end what was asked of them, before the pool's own end.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct FilePool {
    /// Dropped first, which ends the workers.
    jobs: Option<Sender<(usize, Job)>>,
    results: Receiver<(usize, Outcome)>,
    workers: Vec<JoinHandle<()>>,
    /// Workers that stay.
    threads: usize,
    /// For further workers.
    hands: Hands,
    /// Further workers end when they have had nothing to do for so long, or when nothing has hung for so
    /// long.
    idle_for: Duration,
    /// When they were added last.
    grown: Instant,
    /// [`LAST_PATIENCE`], or less.
    last_patience: Duration,
    under_way: Slab<Kept>,
    /// When a worker came back last, or the first job was given to them.
    answered: Instant,
}

/// What a worker works with.
#[derive(Clone)]
struct Hands {
    queue: Receiver<(usize, Job)>,
    done: Sender<(usize, Outcome)>,
    waker: Waker,
    /// Further workers that are not needed any more.
    surplus: Arc<AtomicUsize>,
    /// Steps by which a worker is nicer than the ring's thread.
    nice: i32,
}

impl Hands {
    /// Works until the pool ends; a further worker until nothing has come for so long, or it is told.
    fn run(self, idle_for: Option<Duration>) {
        process::step_back(self.nice);
        let next = || match idle_for {
            Some(time) => self.queue.recv_timeout(time).ok(),
            None => self.queue.recv().ok(),
        };
        while let Some((key, job)) = next() {
            if self.done.send((key, job.run())).is_err() {
                break;
            }
            self.waker.wake();
            let is_surplus = || {
                let one_less = |count: usize| count.checked_sub(1);
                self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
            };
            if idle_for.is_some() && is_surplus() {
                break;
            }
        }
    }
}

/// What must live until the worker is done, here on the ring's thread.
struct Kept {
    token: Token,
    /// Keeps the descriptor open.
    file: Option<File>,
    buf: Option<Buf>,
    /// Keeps the bytes where the worker reads them.
    source: Option<Rc<Buf>>,
}

/// What a worker needs: plain data, with addresses of buffers that [`Kept`] holds.
enum Job {
    Open { path: PathBuf, flags: i32 },
    Read { fd: RawFd, offset: u64, to: usize, length: usize },
    Write { fd: RawFd, offset: u64, from: usize, length: usize },
    SyncData { fd: RawFd },
    SyncAll { fd: RawFd },
    Allocate { fd: RawFd, offset: u64, length: u64 },
    Truncate { fd: RawFd, length: u64 },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
    MakeDir { path: PathBuf },
    Stat { path: PathBuf },
    WillNeed { fd: RawFd, offset: u64, length: u64 },
}

enum Outcome {
    Count(io::Result<usize>),
    Opened(OwnedFd),
    Stat(FileStat),
}

impl FilePool {
    pub(crate) fn new(threads: usize, waker: &Waker) -> io::Result<FilePool> {
        FilePool::with_nice(threads, limits::FILE_THREADS_NICE, waker)
    }

    fn with_nice(threads: usize, nice: i32, waker: &Waker) -> io::Result<FilePool> {
        let (jobs, queue) = unbounded();
        let (done, results) = unbounded();
        let mut pool = FilePool {
            jobs: Some(jobs),
            results,
            workers: Vec::new(),
            threads: threads.max(1),
            hands: Hands { queue, done, waker: waker.clone(), surplus: Arc::default(), nice },
            idle_for: limits::FILE_THREAD_IDLE,
            grown: Instant::now(),
            last_patience: LAST_PATIENCE,
            under_way: Slab::new(),
            answered: Instant::now(),
        };
        for _ in 0..pool.threads {
            pool.add_worker(None)?;
        }
        Ok(pool)
    }

    /// One for what nobody waits for in the end.
    fn for_hints(waker: &Waker) -> io::Result<FilePool> {
        let (threads, nice) = (limits::HINT_THREADS, limits::HINT_THREADS_NICE);
        let mut pool = FilePool::with_nice(threads, nice, waker)?;
        pool.last_patience = Duration::ZERO;
        Ok(pool)
    }

    fn add_worker(&mut self, idle_for: Option<Duration>) -> io::Result<()> {
        let hands = self.hands.clone();
        let name = format!("files-{}", self.workers.len());
        let thread = std::thread::Builder::new().name(name).spawn(move || hands.run(idle_for))?;
        self.workers.push(thread);
        Ok(())
    }

    pub(crate) fn submit(&mut self, op: FileOp, token: Token) {
        let mut kept = Kept { token, file: None, buf: None, source: None };
        let job = Job::new(op, &mut kept);
        if self.under_way.is_empty() {
            self.answered = Instant::now();
            self.shrink();
        }
        let key = self.under_way.insert(kept);
        let Some(jobs) = &self.jobs else { return };
        jobs.send((key, job)).expect("the pool holds the other end");
    }

    /// Adds workers for what waits while those that are there do not come back.
    fn grow(&mut self) {
        let most = self.under_way.len().min(limits::FILE_THREADS_MOST);
        if self.under_way.is_empty() || self.answered.elapsed() < PATIENCE {
            return;
        }
        self.workers.retain(|worker| !worker.is_finished());
        self.hands.surplus.store(0, Ordering::Relaxed);
        self.grown = Instant::now();
        while self.workers.len() < most {
            if let Err(error) = self.add_worker(Some(self.idle_for)) {
                return tracing::warn!(%error, "no further thread for files");
            }
        }
    }

    /// Nothing hangs: further workers end after their next job, though there may always be some for them.
    fn shrink(&mut self) {
        if self.workers.len() > self.threads && self.grown.elapsed() >= self.idle_for {
            self.workers.retain(|worker| !worker.is_finished());
            let surplus = self.workers.len().saturating_sub(self.threads);
            self.hands.surplus.store(surplus, Ordering::Relaxed);
        }
    }

    /// Operations that have ended since the last call.
    pub(crate) fn finished(&mut self) -> Option<FileDone> {
        let Ok((key, outcome)) = self.results.try_recv() else {
            self.grow();
            return None;
        };
        self.answered = Instant::now();
        let kept = self.under_way.remove(key);
        let mut done =
            FileDone { token: kept.token, result: Ok(0), buf: kept.buf, file: None, stat: None };
        match outcome {
            Outcome::Count(result) => done.result = result,
            Outcome::Opened(fd) => done.file = Some(File::new(fd)),
            Outcome::Stat(stat) => done.stat = Some(stat),
        }
        Some(done)
    }
}

/// Threads for hints, from the first one on.
#[derive(Default)]
pub(crate) struct Hints(Option<FilePool>);

impl Hints {
    /// Takes a hint. Gives back what is none, and hints if there can be no threads for them.
    pub(crate) fn submit(&mut self, op: FileOp, token: Token, waker: &Waker) -> Option<FileOp> {
        if !matches!(op, FileOp::WillNeed { .. }) {
            return Some(op);
        }
        if self.0.is_none() {
            self.0 = FilePool::for_hints(waker).ok();
        }
        let Some(pool) = &mut self.0 else { return Some(op) };
        pool.submit(op, token);
        None
    }

    pub(crate) fn finished(&mut self) -> Option<FileDone> {
        self.0.as_mut()?.finished()
    }
}

impl Drop for FilePool {
    /// Workers that a disk holds are left behind, with the memory that they use.
    fn drop(&mut self) {
        self.jobs = None;
        let deadline = Instant::now() + self.last_patience;
        while !self.under_way.is_empty()
            && let Ok((key, _)) = self.results.recv_deadline(deadline)
        {
            self.under_way.remove(key);
        }
        if !self.under_way.is_empty() {
            return mem::forget(mem::take(&mut self.under_way));
        }
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

impl Job {
    fn new(op: FileOp, kept: &mut Kept) -> Job {
        let mut keep = |file: File| {
            let fd = file.raw();
            kept.file = Some(file);
            fd
        };
        match op {
            FileOp::Open { path, options } => Job::Open { path, flags: options.flags() },
            FileOp::Read { file, offset, mut buf, length } => {
                assert!(length <= buf.len(), "a read longer than its buffer");
                let to = buf.as_mut_ptr() as usize;
                let fd = keep(file);
                kept.buf = Some(buf);
                Job::Read { fd, offset, to, length }
            }
            FileOp::Write { file, offset, source, range } => {
                let Range { start, end } = range;
                let from = source[start..end].as_ptr() as usize;
                let fd = keep(file);
                kept.source = Some(source);
                Job::Write { fd, offset, from, length: end - start }
            }
            FileOp::SyncData { file } => Job::SyncData { fd: keep(file) },
            FileOp::SyncAll { file } => Job::SyncAll { fd: keep(file) },
            FileOp::Allocate { file, offset, length } => {
                Job::Allocate { fd: keep(file), offset, length }
            }
            FileOp::Truncate { file, length } => Job::Truncate { fd: keep(file), length },
            FileOp::Rename { from, to } => Job::Rename { from, to },
            FileOp::Unlink { path } => Job::Unlink { path },
            FileOp::MakeDir { path } => Job::MakeDir { path },
            FileOp::Stat { path } => Job::Stat { path },
            FileOp::WillNeed { file, offset, length } => {
                Job::WillNeed { fd: keep(file), offset, length }
            }
        }
    }

    fn run(self) -> Outcome {
        match self {
            Job::Open { path, flags } => match open(&path, flags) {
                Ok(fd) => Outcome::Opened(fd),
                Err(error) => Outcome::Count(Err(error)),
            },
            Job::Stat { path } => match stat(&path) {
                Ok(stat) => Outcome::Stat(stat),
                Err(error) => Outcome::Count(Err(error)),
            },
            other => Outcome::Count(other.transfer()),
        }
    }

    fn transfer(self) -> io::Result<usize> {
        match self {
            Job::Read { fd, offset, to, length } => repeat(length, true, |at| {
                let (to, left) = ((to + at) as *mut libc::c_void, length - at);
                // SAFETY: the ring's thread keeps the buffer and leaves it alone until this job's
                // result has arrived; the length is within it.
                unsafe { libc::pread(fd, to, left, (offset + at as u64) as libc::off_t) }
            }),
            Job::Write { fd, offset, from, length } => repeat(length, false, |at| {
                let (from, left) = ((from + at) as *const libc::c_void, length - at);
                // SAFETY: as for reading.
                unsafe { libc::pwrite(fd, from, left, (offset + at as u64) as libc::off_t) }
            }),
            Job::SyncData { fd } => call(|| {
                // SAFETY: no pointers; the ring's thread keeps the descriptor open.
                unsafe { libc::fdatasync(fd) }
            }),
            Job::SyncAll { fd } => call(|| {
                // SAFETY: as above.
                unsafe { libc::fsync(fd) }
            }),
            Job::Allocate { fd, offset, length } => call(|| {
                // SAFETY: as above.
                unsafe { libc::fallocate(fd, 0, offset as libc::off_t, length as libc::off_t) }
            }),
            Job::Truncate { fd, length } => call(|| {
                // SAFETY: as above.
                unsafe { libc::ftruncate(fd, length as libc::off_t) }
            }),
            Job::WillNeed { fd, offset, length } => {
                let end = offset + length;
                for at in (offset..end).step_by(limits::HINT_STEP) {
                    let step = (end - at).min(limits::HINT_STEP as u64);
                    let advice = libc::POSIX_FADV_WILLNEED;
                    // SAFETY: as above. Advice that is not taken is no failure.
                    unsafe {
                        libc::posix_fadvise(fd, at as libc::off_t, step as libc::off_t, advice)
                    };
                }
                Ok(0)
            }
            Job::Rename { from, to } => fs::rename(from, to).map(|()| 0),
            Job::Unlink { path } => fs::remove_file(path).map(|()| 0),
            Job::MakeDir { path } => fs::create_dir_all(path).map(|()| 0),
            Job::Open { .. } | Job::Stat { .. } => Ok(0),
        }
    }
}

/// Calls until `length` bytes are through, the end of the file (if that may end it), or an error.
fn repeat(length: usize, may_end: bool, mut once: impl FnMut(usize) -> isize) -> io::Result<usize> {
    let mut at = 0;
    while at < length {
        match once(at) {
            0 if may_end => break,
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count if count > 0 => at += count as usize,
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(at)
}

fn call(mut once: impl FnMut() -> i32) -> io::Result<usize> {
    loop {
        if once() == 0 {
            return Ok(0);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn c_path(path: &std::path::Path) -> io::Result<std::ffi::CString> {
    std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path with a NUL byte"))
}

fn open(path: &std::path::Path, flags: i32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is a NUL-terminated string that lives across the call.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o666) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn stat(path: &std::path::Path) -> io::Result<FileStat> {
    let path = c_path(path)?;
    // SAFETY: statx is plain numbers, for which all zeros is a value.
    let mut out: libc::statx = unsafe { mem::zeroed() };
    let here = libc::AT_FDCWD;
    // SAFETY: the path is NUL-terminated, and the result is written to a whole statx of ours.
    let result = unsafe {
        libc::statx(here, path.as_ptr(), 0, libc::STATX_BASIC_STATS, ptr::from_mut(&mut out))
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(FileStat::from_statx(&out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{process::Command, thread};

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A pool of two workers that a pipe without a writer holds, until it has a third.
    fn held_up(folder: &std::path::Path, idle_for: Duration) -> FilePool {
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut pool = FilePool::new(2, &Waker::new().unwrap()).unwrap();
        pool.idle_for = idle_for;
        for number in 0..2 {
            let options = crate::OpenOptions::READ;
            pool.submit(FileOp::Open { path: pipe.clone(), options }, Token(number));
        }
        pool.submit(FileOp::Stat { path: folder.to_path_buf() }, Token(7));
        let mut ended = Vec::new();
        until("another worker has answered", || {
            ended.extend(pool.finished().map(|done| done.token.0));
            !ended.is_empty()
        });
        assert_eq!((&ended[..], pool.workers.len()), (&[7][..], 3));
        let mut writer = fs::OpenOptions::new();
        drop(writer.write(true).open(&pipe).unwrap());
        until("the pipes are open", || {
            ended.extend(pool.finished().map(|done| done.token.0));
            ended.len() == 3
        });
        pool
    }

    fn at_work(pool: &FilePool) -> usize {
        pool.workers.iter().filter(|worker| !worker.is_finished()).count()
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri starts no programs")]
    fn workers_for_what_hangs_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut pool = held_up(folder.path(), Duration::from_millis(50));
        until("the third goes", || at_work(&pool) == 2);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(at_work(&pool), 2, "the first two stay");
        pool.submit(FileOp::Stat { path: folder.path().to_path_buf() }, Token(8));
        until("they work", || pool.finished().is_some_and(|done| done.token.0 == 8));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri starts no programs")]
    fn workers_for_what_hung_go_though_there_is_always_work() {
        let folder = tempfile::tempdir().unwrap();
        let mut pool = held_up(folder.path(), Duration::from_secs(1));
        until("the third goes", || {
            pool.submit(FileOp::Stat { path: folder.path().to_path_buf() }, Token(8));
            until("it is done", || pool.finished().is_some());
            at_work(&pool) == 2
        });
        for _ in 0..100 {
            pool.submit(FileOp::Stat { path: folder.path().to_path_buf() }, Token(8));
            until("it is done", || pool.finished().is_some());
        }
        assert_eq!(at_work(&pool), 2, "the first two stay");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri starts no programs")]
    fn nobody_waits_for_hints_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut pool = FilePool::for_hints(&Waker::new().unwrap()).unwrap();
        pool.submit(
            FileOp::Open { path: pipe.clone(), options: crate::OpenOptions::READ },
            Token(0),
        );
        let begun = Instant::now();
        drop(pool);
        assert!(begun.elapsed() < Duration::from_secs(1));
        // The thread that was left behind ends as well.
        drop(fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap());
    }
}
