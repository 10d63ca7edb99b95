//! The frame of a test: its driver, its folder, what it prints, and what remains when it fails.

use crate::Missing;
use anyhow::{Context, Result};
use machine::{Mount, may_skip, note};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What drives the daemon's reactors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    Uring,
    /// epoll, through mio.
    Mio,
}

impl Driver {
    /// Its name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Uring => "uring",
            Driver::Mio => "mio",
        }
    }

    /// Whether tests are to run in it: all do unless `RINGSEED_DRIVER` names one.
    fn is_wanted(self) -> bool {
        std::env::var("RINGSEED_DRIVER").map_or(true, |wanted| wanted == self.as_str())
    }
}

/// Makes two tests of a function from a [`Scene`] to a result, one for each driver.
#[macro_export]
macro_rules! for_each_driver {
    ($($(#[$attribute:meta])* $test:ident;)+) => {
        $(mod $test {
            $(#[$attribute])*
            #[test]
            fn uring() {
                $crate::perform(stringify!($test), $crate::Driver::Uring, super::$test);
            }
            $(#[$attribute])*
            #[test]
            fn mio() {
                $crate::perform(stringify!($test), $crate::Driver::Mio, super::$test);
            }
        })+
    };
}

/// Where a test plays.
pub struct Scene {
    /// The driver for the daemons in it.
    pub driver: Driver,
    name: String,
    folder: PathBuf,
    start: Instant,
}

impl Scene {
    /// The folder of the whole scene.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new folder in the scene; the same name gives a new one each time.
    pub fn new_folder(&self, name: &str) -> Result<PathBuf> {
        for number in 1.. {
            let folder = self.folder.join(if number == 1 {
                name.to_owned()
            } else {
                format!("{name}-{number}")
            });
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(format!("{}", folder.display())),
            }
        }
        unreachable!("there is a next number")
    }

    /// A new folder on another file system, so that moves to it copy; none if this machine's shared
    /// memory is not one. It goes with its value.
    pub fn folder_elsewhere(&self) -> Option<tempfile::TempDir> {
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
        let memory = Path::new("/dev/shm");
        if device(memory).is_none() || device(memory) == device(&self.folder) {
            return None;
        }
        tempfile::Builder::new().prefix("ringseed-elsewhere-").tempdir_in(memory).ok()
    }

    /// A small file system in memory, of this size (as `8m`).
    ///
    /// # Errors
    /// If this user may not mount one.
    pub fn disk(&self, size: &str) -> Result<Mount> {
        Mount::on(&self.new_folder("disk")?, size)
            .map_err(|error| Missing(format!("the right to mount a file system ({error})")).into())
    }

    /// Prints a line about the test, with the time since its start.
    pub fn say(&self, what: impl fmt::Display) {
        let Scene { name, driver, start, .. } = self;
        let seconds = start.elapsed().as_secs_f32();
        note(format_args!("{name} [{}] {seconds:6.1} s: {what}", driver.as_str()));
    }
}

/// Held by a test that measures, so that no other of its kind runs beside it.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test. Its folder goes if it passes, and else stays with the logs in it.
///
/// # Panics
/// If the test fails.
pub fn perform(name: &str, driver: Driver, test: impl FnOnce(&Scene) -> Result<()>) {
    if !driver.is_wanted() {
        return note(format_args!("{name} [{}] SKIPPED: RINGSEED_DRIVER", driver.as_str()));
    }
    let folder = tempfile::Builder::new()
        .prefix(&format!("ringseed-{name}-{}-", driver.as_str()))
        .tempdir()
        .expect("the system has a folder for temporary files");
    let scene = Scene {
        driver,
        name: name.to_owned(),
        folder: folder.path().to_owned(),
        start: Instant::now(),
    };
    let result = catch_unwind(AssertUnwindSafe(|| test(&scene)));
    if matches!(result, Ok(Ok(()))) {
        return scene.say("passed");
    }
    if let Ok(Err(error)) = &result
        && let Some(missing) = error.downcast_ref::<Missing>()
        && may_skip()
    {
        return scene.say(format_args!("SKIPPED: {missing}"));
    }
    scene.say(format_args!("FAILED; its folder stays: {}", folder.keep().display()));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{name} [{}]: {error:#}", driver.as_str()),
        Err(panic) => resume_unwind(panic),
    }
}
