//! What a check finds may be claimed from then on, so it must survive a loss of power: before the
//! files are read, what of them is only in memory goes to the disk.

use super::CheckRequest;
use crate::{StorageError, error::folder_needs_no_sync, paths};
use metainfo::FileIndex;
use rustix::fs::Advice;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A file that nobody has changed for so long needs no sync: the kernel writes everything within a
/// minute (`vm.dirty_expire_centisecs`), also where it is set to wait longer to spare a disk. Each
/// sync makes the disk empty its cache, and there are torrents of many thousand files.
const SETTLED_AFTER: Duration = Duration::from_secs(3600);

/// Syncs the files that the pieces lie in, and the folders that have their names. Blocks.
pub(super) fn settle(request: &CheckRequest) -> Result<(), StorageError> {
    let mut folders = BTreeSet::new();
    let files = request.layout.files().filter(|(_, file)| !file.is_pad());
    let files = files.filter(|(index, _)| is_asked_for(request, *index)).map(|(index, _)| index);
    let parts = request.layout.file_count();
    for number in files.map(FileIndex::get).chain([parts]) {
        let path = paths::of_number(&request.root, &request.layout, request.info_hash, number);
        let changed = sync_file(&path, request.past_cache)
            .map_err(|error| StorageError::new(path.clone(), error))?;
        if changed {
            let above = path.ancestors().skip(1).take_while(|at| at.starts_with(&request.root));
            folders.extend(above.map(Path::to_path_buf));
            folders.extend(request.root.parent().map(Path::to_path_buf));
        }
    }
    folders.into_iter().try_for_each(|folder| sync_folder(&folder))
}

fn is_asked_for(request: &CheckRequest, file: FileIndex) -> bool {
    let geometry = request.layout.geometry();
    let mut pieces = request.layout.pieces_of(file).filter_map(|piece| geometry.piece(piece));
    pieces.any(|piece| request.pieces.has(piece))
}

/// Whether the file has changed lately, and was synced.
fn sync_file(path: &Path, past_cache: bool) -> io::Result<bool> {
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match opened {
        // What cannot be read is told by the check itself.
        Err(_) => return Ok(false),
        Ok(file) => file,
    };
    let meta = file.metadata()?;
    if !meta.is_file() || (is_settled(&meta) && !past_cache) {
        return Ok(false);
    }
    file.sync_data()?;
    if past_cache {
        // Only what is clean goes, which after the sync is everything.
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(true)
}

/// By the time of its last change of any kind, which nobody can set.
fn is_settled(meta: &fs::Metadata) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    now.saturating_sub(meta.ctime()) > SETTLED_AFTER.as_secs() as i64
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    let result = fs::File::open(folder).and_then(|folder| folder.sync_all());
    match result {
        Err(error) if folder_needs_no_sync(&error) => Ok(()),
        result => result.map_err(|error| StorageError::new(folder.to_path_buf(), error)),
    }
}
