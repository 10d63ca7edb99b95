//! A machine as code sees it that blocks: every operation ends at once, and fails as often as those of
//! the machine's rings do.
//!
//! Such code does not know of worlds: it runs inside [`World::run_on`], and asks [`here`] whose disk it
//! is to use.

use super::{DiskFaults, Inner, Machine, OpenFile, World, disk::Disk};
use crate::{FileStat, OpenOptions};
use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

thread_local! {
    static HERE: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// The machine that this thread works for, if it is one of a simulated world.
pub fn here() -> Option<Host> {
    HERE.with_borrow(Clone::clone)
}

/// A machine that code runs on which blocks.
#[derive(Clone)]
pub struct Host {
    world: World,
    machine: usize,
}

/// A file that such code has open.
pub struct HostFile {
    host: Host,
    open: Arc<OpenFile>,
}

/// Its disk has stopped for good: nothing runs on it any more.
struct Halted;

/// Which kinds of faults an operation can meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peril {
    None,
    Look,
    Opening,
    Sync,
}

impl World {
    /// Lets code that blocks run on a machine. `None` if the machine's disk stopped before it had
    /// ended ([`World::halt_at_operation`]): it got no further than that.
    pub fn run_on<R>(&self, machine: Machine, code: impl FnOnce() -> R) -> Option<R> {
        if self.is_halted(machine) {
            return None;
        }
        let before = HERE.replace(Some(Host { world: self.clone(), machine: machine.0 }));
        let result = catch_unwind(AssertUnwindSafe(code));
        HERE.set(before);
        match result {
            Ok(result) => Some(result),
            Err(panic) if panic.is::<Halted>() => None,
            Err(panic) => resume_unwind(panic),
        }
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl Host {
    /// Carries out an operation, with the time that the machine's clock shows.
    fn perform<R>(
        &self,
        peril: Peril,
        operation: impl FnOnce(&mut Disk, Duration) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut inner = self.world.0.borrow_mut();
        if !inner.begin_at_once(self.machine) {
            drop(inner);
            resume_unwind(Box::new(Halted));
        }
        let DiskFaults { errors, denials, .. } = inner.machines[self.machine].disk.faults;
        let fails = peril != Peril::None && peril != Peril::Sync && inner.chance(errors);
        if fails {
            return Err(broken());
        }
        if peril == Peril::Opening && inner.chance(denials) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let now = inner.now + inner.machines[self.machine].clock_ahead;
        operation(&mut inner.machines[self.machine].disk, now)
    }

    /// What the machine's clock shows, as which changes of inodes are noted.
    pub fn wall_clock(&self) -> SystemTime {
        let ahead = self.world.0.borrow().machines[self.machine].clock_ahead;
        UNIX_EPOCH + super::disk::SINCE_EPOCH + self.uptime() + ahead
    }

    /// How long the machine has been running, asleep or not: a clock that nobody sets.
    pub fn uptime(&self) -> Duration {
        self.world.0.borrow().now
    }

    /// stat(2), and when anything of the file was changed last.
    pub fn stat(&self, path: &Path) -> io::Result<(FileStat, SystemTime)> {
        self.perform(Peril::Look, |disk, _| disk.stat_at(path))
    }

    /// open(2) of a file or, to read, of a folder.
    pub fn open(&self, path: &Path, options: OpenOptions) -> io::Result<HostFile> {
        let is_folder = self.world.0.borrow().machines[self.machine].disk.is_folder(path);
        let peril = if is_folder { Peril::Look } else { Peril::Opening };
        let inode = self.perform(peril, |disk, now| disk.open(path, options, now))?;
        let open = Arc::new(OpenFile { inode, write: options.write });
        let mut inner = self.world.0.borrow_mut();
        let known = &mut inner.machines[self.machine].open;
        known.retain(|file: &Weak<OpenFile>| file.strong_count() > 0);
        known.push(Arc::downgrade(&open));
        Ok(HostFile { host: self.clone(), open })
    }

    /// link(2).
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Peril::None, |disk, _| disk.link(from, to))
    }

    /// rename(2), or renameat2(2) with `RENAME_NOREPLACE`.
    pub fn rename(&self, from: &Path, to: &Path, replaces: bool) -> io::Result<()> {
        self.perform(Peril::None, |disk, _| match replaces || !disk.has(to) {
            true => disk.rename(from, to),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        })
    }

    /// unlink(2).
    pub fn unlink(&self, path: &Path) -> io::Result<()> {
        self.perform(Peril::None, |disk, _| disk.unlink(path))
    }

    /// mkdir(2).
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.perform(Peril::None, |disk, _| match disk.has(path) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => disk.make_folder(path),
        })
    }

    /// mkdir(2) of a folder and of those above it, unless they are there.
    pub fn make_folders(&self, path: &Path) -> io::Result<()> {
        self.perform(Peril::None, |disk, _| disk.make_folder(path))
    }

    /// rmdir(2).
    pub fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.perform(Peril::None, |disk, _| disk.remove_folder(path))
    }

    /// Bytes that are free, and bytes in all, as by statvfs(3).
    pub fn space(&self) -> io::Result<(u64, u64)> {
        self.perform(Peril::None, |disk, _| Ok((disk.free(), disk.capacity)))
    }
}

impl HostFile {
    fn inode(&self, to_write: bool) -> io::Result<u64> {
        match self.open.write || !to_write {
            true => Ok(self.open.inode),
            false => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    /// pread(2).
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.host.perform(Peril::Look, |disk, _| disk.read(self.open.inode, offset, into))
    }

    /// pwrite(2) of everything.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let inode = self.inode(true)?;
        self.host.perform(Peril::Look, |disk, now| disk.write(inode, offset, bytes, now).map(drop))
    }

    /// ftruncate(2).
    pub fn set_length(&self, length: u64) -> io::Result<()> {
        let inode = self.inode(true)?;
        self.host.perform(Peril::None, |disk, now| disk.set_length(inode, length, now))
    }

    /// The times of the other file's last change become this one's, as by futimens(2).
    pub fn take_times_of(&self, other: &HostFile) -> io::Result<()> {
        let (from, to) = (other.open.inode, self.open.inode);
        self.host.perform(Peril::None, |disk, _| disk.copy_times(from, to))
    }

    /// fsync(2), of the names in a folder too.
    pub fn sync(&self) -> io::Result<()> {
        let (host, inode) = (&self.host, self.open.inode);
        let faults = host.world.0.borrow().machines[host.machine].disk.faults.sync_errors;
        let works = !host.world.0.borrow_mut().chance(faults);
        host.perform(Peril::Sync, |disk, _| {
            let syncing = disk.begin_sync(inode);
            disk.end_sync(inode, syncing, works)
        })
    }

    /// syncfs(2) of the disk that it is on.
    pub fn sync_disk(&self) -> io::Result<()> {
        let host = &self.host;
        let faults = host.world.0.borrow().machines[host.machine].disk.faults.sync_errors;
        let works = !host.world.0.borrow_mut().chance(faults);
        host.perform(Peril::Sync, |disk, _| disk.sync_all(works))
    }

    /// fstat(2), as [`Host::stat`].
    pub fn stat(&self) -> io::Result<(FileStat, SystemTime)> {
        self.host.perform(Peril::Look, |disk, _| disk.stat_of(self.open.inode))
    }

    /// lseek(2) with `SEEK_DATA`, or with `SEEK_HOLE`.
    pub fn seek(&self, offset: u64, to_data: bool) -> io::Result<u64> {
        self.host.perform(Peril::None, |disk, _| disk.seek(self.open.inode, offset, to_data))
    }

    /// What of it need not be written goes out of memory, as by posix_fadvise(3).
    pub fn drop_clean_pages(&self) -> io::Result<()> {
        self.host.perform(Peril::None, |disk, _| disk.drop_pages_of(self.open.inode))
    }
}

impl Inner {
    /// An operation that ends as it begins; whether the disk still does any.
    fn begin_at_once(&mut self, machine: usize) -> bool {
        let now = self.now;
        let state = &mut self.machines[machine];
        if state.halt_at.is_some_and(|at| state.disk.operations >= at) {
            state.halted = true;
        }
        if state.halted {
            return false;
        }
        state.disk.operations += 1;
        state.disk.write_back(now);
        let done = state.disk.operations;
        self.note(&[4, machine as u64, done]);
        true
    }
}
