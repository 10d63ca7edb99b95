//! The files below a folder, as a new torrent takes them.

use super::CreateTorrentError;
use crate::{FileStamp, StorageError, disk::Meta};
use metainfo::{Attributes, create::NewFile};
use std::{
    fs::{self, Metadata},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A file that was found.
pub(super) struct Found {
    pub path: PathBuf,
    pub stamp: FileStamp,
    pub entry: NewFile,
}

/// All files at or below `path`, in no particular order. Links to files and folders are followed, but
/// never into a folder that they lie in; hidden files are taken; what is neither file nor folder is
/// left out.
pub(super) fn walk(path: &Path) -> Result<Vec<Found>, CreateTorrentError> {
    let mut found = Vec::new();
    let meta = metadata(path)?;
    if meta.is_dir() {
        enter(path, &meta, &mut Vec::new(), &mut Vec::new(), &mut found)?;
    } else if meta.is_file() {
        found.push(file(path, &meta, Vec::new()));
    }
    Ok(found)
}

fn enter(
    folder: &Path,
    meta: &Metadata,
    components: &mut Vec<String>,
    above: &mut Vec<(u64, u64)>,
    found: &mut Vec<Found>,
) -> Result<(), CreateTorrentError> {
    let identity = (meta.dev(), meta.ino());
    if above.contains(&identity) {
        return Err(CreateTorrentError::Loop(folder.to_path_buf()));
    }
    above.push(identity);
    let error = |error| StorageError::new(folder.to_path_buf(), error);
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.into_string().map_err(|_| CreateTorrentError::Name(path.clone()))?;
        let meta = metadata(&path)?;
        components.push(name);
        if meta.is_dir() {
            enter(&path, &meta, components, above, found)?;
        } else if meta.is_file() {
            found.push(file(&path, &meta, components.clone()));
        } else {
            tracing::warn!(path = %path.display(), "neither file nor folder: left out");
        }
        components.pop();
    }
    above.pop();
    Ok(())
}

fn metadata(path: &Path) -> Result<Metadata, StorageError> {
    fs::metadata(path).map_err(|error| StorageError::new(path.to_path_buf(), error))
}

fn file(path: &Path, meta: &Metadata, components: Vec<String>) -> Found {
    let attributes =
        Attributes { executable: meta.permissions().mode() & 0o111 != 0, ..Attributes::default() };
    Found {
        path: path.to_path_buf(),
        stamp: FileStamp::of(&Meta::Kernel(meta.clone())),
        entry: NewFile { path: components, length: meta.len(), attributes },
    }
}
