//! Deleting what a torrent has put into the download folder.

use crate::{StorageError, disk, paths};
use metainfo::{InfoHash, Layout};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// Deletes the torrent's files, its part file, and the folders that are empty then. What else lies
/// in the folders stays. When it returns, none of it comes back with a loss of power. Goes on after an
/// error and gives the first. Blocks: for the control thread.
pub fn remove_data(root: &Path, layout: &Layout, info_hash: InfoHash) -> Result<(), StorageError> {
    let mut first_error = None;
    let mut delete = |path: &Path| match disk::remove_file(path) {
        Err(error) if !is_absence(&error) => {
            first_error.get_or_insert_with(|| StorageError::new(path.to_path_buf(), error));
        }
        _ => {}
    };
    let mut folders = BTreeSet::new();
    for (index, file) in layout.files().filter(|(_, file)| !file.is_pad()) {
        let path = file.path().as_path();
        delete(&root.join(path));
        delete(&paths::copy_file(root, info_hash, index.get()));
        let above = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        folders.extend(above.map(Path::to_path_buf));
    }
    delete(&paths::part_file(root, info_hash));
    for folder in folders.iter().rev() {
        // A folder that is not empty, or not ours to remove, stays as it is.
        let _ = disk::remove_dir(&root.join(folder));
    }
    // All of them: what is gone already may have been deleted by a process that then ended.
    let touched: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    if let Err(error) = disk::sync_removals(touched.iter().map(PathBuf::as_path).chain([root])) {
        first_error.get_or_insert(error);
    }
    first_error.map_or(Ok(()), Err)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
