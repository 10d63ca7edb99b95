//! A file system in memory that fails, hangs and fills up when it is told to (fuse(4)).
//!
//! What it is told holds for the operations that reach it: what the kernel has in its page cache is
//! read without it.

mod serve;
mod tree;

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use serve::Server;
use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tree::Tree;

/// What is wrong with the disk.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Which operations get no answer until this is changed.
    pub hang: Hang,
    /// The error number of reads.
    pub reads: Option<i32>,
    /// The error number of writes, and of whatever else changes something.
    pub writes: Option<i32>,
    /// The error number of syncs.
    pub syncs: Option<i32>,
    /// How long each read, write and sync takes.
    pub delay: Duration,
}

/// Operations without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hang {
    /// None.
    #[default]
    Nothing,
    /// Reads, writes and syncs of files; names can be looked up and files opened.
    Data,
    /// All.
    Everything,
}

/// The file system, mounted; unmounted when it is dropped, with what hangs answered before.
pub struct FaultyDisk {
    shared: Arc<Shared>,
    folder: PathBuf,
    session: Option<BackgroundSession>,
}

/// What the threads of the file system share with whoever breaks it.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    faults: Faults,
    tree: Tree,
    /// Operations that wait for an answer.
    hanging: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultyDisk {
    /// Mounts one of `capacity` bytes on an empty folder. It needs root, or fusermount3(1).
    ///
    /// # Errors
    /// If there is no `/dev/fuse`, or it must not be mounted.
    pub fn mount(folder: &Path, capacity: u64) -> io::Result<FaultyDisk> {
        let state = State { faults: Faults::default(), tree: Tree::new(capacity), hanging: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faulty".into())];
        config.acl = SessionACL::Owner;
        // Threads that hang leave others to answer what does not.
        config.n_threads = Some(serve::THREADS);
        let session = fuser::spawn_mount(Server::new(Arc::clone(&shared)), folder, &config)?;
        Ok(FaultyDisk { shared, folder: folder.to_owned(), session: Some(session) })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes what is wrong with it, also for operations that hang.
    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.lock().faults);
        self.shared.changed.notify_all();
    }

    /// Changes how many bytes it holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.lock().tree.capacity = bytes;
    }

    /// Makes it well again when what this gives is dropped: whoever hangs on it can then be ended.
    pub fn healed(&self) -> Healed<'_> {
        Healed(self)
    }

    /// Operations without an answer now.
    pub fn hanging(&self) -> usize {
        self.shared.lock().hanging
    }
}

/// See [`FaultyDisk::healed`].
pub struct Healed<'a>(&'a FaultyDisk);

impl Drop for Healed<'_> {
    fn drop(&mut self) {
        self.0.set(|faults| *faults = Faults::default());
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        self.set(|faults| *faults = Faults::default());
        if let Some(session) = self.session.take()
            && session.umount_and_join().is_err()
        {
            // Somebody has not closed a file yet: it goes when they have.
            let done = Command::new("umount").arg("--lazy").arg(&self.folder).status();
            if !done.is_ok_and(|status| status.success()) {
                eprintln!("{} stays mounted", self.folder.display());
            }
        }
    }
}
