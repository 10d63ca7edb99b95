//! What a check finds may be claimed from then on, so it must survive a loss of power: before the
//! files are read, what of them is only in memory goes to the disk.

use super::CheckRequest;
use crate::{
    StorageError,
    descriptors::open_patiently,
    disk::{self, Access},
    paths,
};
use metainfo::FileIndex;
use std::{
    collections::{BTreeSet, HashMap},
    io::{
        self,
        ErrorKind::{NotADirectory, NotFound},
    },
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// A file that nobody has changed for so long needs no sync: the kernel writes everything within a
/// minute (`vm.dirty_expire_centisecs`), also where it is set to wait longer to spare a disk. Each
/// sync makes the disk empty its cache, and there are torrents of many thousand files.
///
/// In the first hour no such time is believed: the clock may have been set forward before the start, right
/// after the file was changed. Where it does not run while the machine is off, it begins in 1970.
const SETTLED_AFTER: Duration = Duration::from_secs(3600);

/// With so many torrents in line, everything on their disk is synced at once (syncfs(2)): that takes
/// as long as what is only in memory takes to write, and then nobody's file needs a sync of its own.
const MANY: usize = 16;

/// Times of change are as coarse as the kernel's tick, and clocks of network mounts differ.
const MARGIN: Duration = Duration::from_secs(2);

/// A moment, by the clock that files are stamped with and by one that nobody sets.
#[derive(Clone, Copy)]
struct Moment {
    shown: SystemTime,
    uptime: Duration,
}

impl Moment {
    fn now() -> Moment {
        Moment { shown: disk::now(), uptime: disk::uptime() }
    }

    /// By how much the clock has been set until `now`, forward or back.
    fn set_until(&self, now: Moment) -> Duration {
        let meant = self.shown + now.uptime.saturating_sub(self.uptime);
        let ahead = now.shown.duration_since(meant);
        ahead.unwrap_or_else(|error| error.duration())
    }
}

/// What is known to be on the disk.
pub(super) struct Synced {
    /// Syncs of everything on a device, by `st_dev`.
    devices: Mutex<HashMap<u64, Whole>>,
    /// From when on it is known whether the clock was set.
    begun: Moment,
}

#[derive(Default)]
struct Whole {
    /// When the last one began that succeeded.
    at: Option<Moment>,
    is_under_way: bool,
    /// One has failed. The kernel tells that once and forgets what it could not write: a second would
    /// succeed. The syncs of the files themselves still tell whom it befell.
    has_failed: bool,
}

impl Synced {
    pub(super) fn new() -> Synced {
        Synced { devices: Mutex::default(), begun: Moment::now() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Whole>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is known that the clock shows what it did when files were changed that may be in
    /// memory only.
    fn trusts_clock(&self, now: Moment) -> bool {
        let known_for = now.uptime.saturating_sub(self.begun.uptime);
        known_for > SETTLED_AFTER && self.begun.set_until(now) < SETTLED_AFTER / 2
    }

    /// Whether a sync of the whole device has covered what changed then. Once the clock has been set,
    /// nobody knows.
    fn covers(&self, device: u64, changed: SystemTime) -> bool {
        let known = self.lock();
        let Some(Whole { at: Some(at), has_failed: false, .. }) = known.get(&device) else {
            return false;
        };
        changed + MARGIN < at.shown && at.set_until(Moment::now()) < MARGIN / 2
    }

    /// Syncs everything on a device, on which this folder is. Does nothing while another thread is
    /// at it, or once it has failed.
    fn sync_all(&self, device: u64, root: &Path) {
        {
            let mut known = self.lock();
            let whole = known.entry(device).or_default();
            if whole.is_under_way || whole.has_failed {
                return;
            }
            whole.is_under_way = true;
        }
        let begun = Moment::now();
        let root = open_patiently(root, Access::Read);
        let result = root.and_then(|root| root.sync_file_system());
        let mut known = self.lock();
        let whole = known.entry(device).or_default();
        whole.is_under_way = false;
        match result {
            Ok(()) => whole.at = Some(begun),
            Err(_) => whole.has_failed = true,
        }
    }
}

/// Syncs the files that the pieces lie in, and the folders that have their names, with so many other
/// torrents in line. Blocks.
pub(super) fn settle(
    request: &CheckRequest,
    synced: &Synced,
    in_line: usize,
) -> Result<(), StorageError> {
    let mut folders = BTreeSet::new();
    let files = request.layout.files().filter(|(_, file)| !file.is_pad());
    let files = files.filter(|(index, _)| is_asked_for(request, *index)).map(|(index, _)| index);
    let parts = request.layout.file_count();
    for number in files.map(FileIndex::get).chain([parts]) {
        let path = paths::of_number(&request.root, &request.layout, request.info_hash, number);
        let changed = sync_file(&path, request, synced, in_line)
            .map_err(|error| StorageError::new(path.clone(), error))?;
        if changed {
            let above = path.ancestors().skip(1).take_while(|at| at.starts_with(&request.root));
            folders.extend(above.map(Path::to_path_buf));
            folders.extend(request.root.parent().map(Path::to_path_buf));
        }
    }
    folders.into_iter().try_for_each(|folder| disk::sync_folder(&folder))
}

/// Whether pieces of the file are to be checked. One without bytes has none, and goes with any: nobody
/// looks whether it is still there once everything else is.
fn is_asked_for(request: &CheckRequest, file: FileIndex) -> bool {
    let geometry = request.layout.geometry();
    let mut pieces = request.layout.pieces_of(file).filter_map(|piece| geometry.piece(piece));
    request.layout[file].length() == 0 || pieces.any(|piece| request.pieces.has(piece))
}

/// Whether the file has changed lately, and was synced by itself.
fn sync_file(
    path: &Path,
    request: &CheckRequest,
    synced: &Synced,
    in_line: usize,
) -> io::Result<bool> {
    let file = match open_patiently(path, Access::Read) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(false),
        // The reader may be able to a moment later, and would claim what was not synced.
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(false);
    }
    if !request.past_cache {
        let changed = meta.changed();
        let now = Moment::now();
        let age = now.shown.duration_since(changed).unwrap_or_default();
        let looks_settled = age > SETTLED_AFTER;
        if looks_settled && synced.trusts_clock(now) || synced.covers(meta.device(), changed) {
            return Ok(false);
        }
        if (in_line >= MANY || looks_settled) && age > MARGIN {
            synced.sync_all(meta.device(), &request.root);
            if synced.covers(meta.device(), changed) {
                return Ok(false);
            }
        }
    }
    file.sync_data()?;
    if request.past_cache {
        file.drop_clean_pages()?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use tempfile::TempDir;

    /// A folder, its device, nothing synced so far, and a time that a sync from now on covers.
    fn setting() -> (TempDir, u64, Synced, SystemTime) {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().metadata().unwrap().dev();
        let long_ago = earlier(100);
        (folder, device, Synced::new(), long_ago)
    }

    fn earlier(seconds: u64) -> SystemTime {
        SystemTime::now() - Duration::from_secs(seconds)
    }

    fn later(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_sync_of_everything_covers_what_was_there_before_it() {
        let (folder, device, synced, long_ago) = setting();
        assert!(!synced.covers(device, long_ago));
        synced.sync_all(device, folder.path());
        assert!(synced.covers(device, long_ago));
        assert!(!synced.covers(device + 1, long_ago), "another disk");
        assert!(!synced.covers(device, SystemTime::now()), "later, or too close to tell");
        for (shown, what) in [(earlier(9), "forward"), (later(9), "back")] {
            let at = Moment { shown, ..Moment::now() };
            synced.lock().entry(device).or_default().at = Some(at);
            assert!(!synced.covers(device, long_ago), "the clock was set {what}");
        }
    }

    #[test]
    fn the_clock_is_trusted_when_it_has_not_been_set_for_long() {
        let synced = Synced::new();
        let after = |run: Duration, shown: Duration| Moment {
            shown: synced.begun.shown + shown,
            uptime: synced.begun.uptime + run,
        };
        let (soon, late) = (SETTLED_AFTER / 2, SETTLED_AFTER * 2);
        assert!(!synced.trusts_clock(after(soon, soon)), "it may have been set before the start");
        assert!(synced.trusts_clock(after(late, late)));
        assert!(synced.trusts_clock(after(late, late + MARGIN)), "too little to matter");
        assert!(!synced.trusts_clock(after(late, late + SETTLED_AFTER)), "forward");
        assert!(!synced.trusts_clock(after(late, Duration::ZERO)), "back");
    }

    #[test]
    fn once_a_sync_of_everything_has_failed_none_is_believed() {
        let (folder, device, synced, long_ago) = setting();
        synced.sync_all(device, folder.path());
        synced.sync_all(device, &folder.path().join("nowhere"));
        assert!(!synced.covers(device, long_ago));
        synced.sync_all(device, folder.path());
        assert!(!synced.covers(device, long_ago));
    }
}
