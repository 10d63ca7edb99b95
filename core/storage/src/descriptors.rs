//! What to do while the process, or the system, has as many open files as it may: a burst of
//! connections, say, takes them for seconds, and no torrent is to stop for that.

use crate::disk::{self, Access, File};
use std::{io, path::Path, thread, time::Duration};

/// An opening that finds no descriptor is tried again so many times, at each tick: longer than a burst
/// of connections lasts.
pub(crate) const OPEN_TRIES: u32 = 10;

/// A thread that may wait tries again after so long, and so often that it takes as long in all.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENT_TRIES: u32 = 100;

/// Whether the process, or the system, has as many descriptors as it may.
pub(crate) fn are_lacking(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Opens a file or folder as soon as there is a descriptor for it. Blocks.
pub(crate) fn open_patiently(path: &Path, access: Access) -> io::Result<File> {
    for _ in 1..PATIENT_TRIES {
        match disk::open(path, access) {
            Err(error) if are_lacking(&error) => thread::sleep(PAUSE),
            result => return result,
        }
    }
    disk::open(path, access)
}
