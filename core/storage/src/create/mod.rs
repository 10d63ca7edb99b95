//! Making a torrent of a file or folder, with all cores.

mod hashing;
mod walk;

use crate::{FileStamp, StorageError};
use metainfo::create::{CreateError, Options, Plan, Version};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// What to make a torrent of.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// The file, or the folder with all files below it.
    pub path: PathBuf,
    /// The torrent's name; that of the file or folder if `None`.
    pub name: Option<String>,
    /// Bytes in a piece; chosen by the size if `None`.
    pub piece_length: Option<u32>,
    /// Which standards to follow.
    pub version: Version,
    /// What else is to stand in it.
    pub options: Options,
    /// Threads that hash; one for each CPU if 0.
    pub threads: usize,
}

/// How far the hashing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateProgress {
    /// Bytes hashed.
    pub bytes_done: u64,
    /// Bytes to hash, padding counted.
    pub bytes_total: u64,
}

/// Why no torrent was made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum CreateTorrentError {
    #[error(transparent)]
    File(#[from] StorageError),
    #[error(transparent)]
    Torrent(#[from] CreateError),
    #[error("{}: the name is not UTF-8", .0.display())]
    Name(PathBuf),
    #[error("{}: the folder contains itself by a link", .0.display())]
    Loop(PathBuf),
    #[error("{}: the file changed while it was hashed", .0.display())]
    Changed(PathBuf),
    #[error("cancelled")]
    Cancelled,
}

/// Reads and hashes everything and gives the bytes of the .torrent. Blocks; `progress` is called now
/// and then by the threads that hash, and cancels by giving [`ControlFlow::Break`].
pub fn create_torrent(
    request: &CreateRequest,
    progress: &(dyn Fn(CreateProgress) -> ControlFlow<()> + Sync),
) -> Result<Vec<u8>, CreateTorrentError> {
    let name = match &request.name {
        Some(name) => name.clone(),
        None => name_of(&request.path)?,
    };
    let found = walk::walk(&request.path)?;
    let entries: Vec<_> = found.iter().map(|found| found.entry.clone()).collect();
    let plan = Plan::new(&name, &entries, request.piece_length, request.version)?;
    let paths: Vec<&Path> = found.iter().map(|found| found.path.as_path()).collect();
    let hashes = hashing::hash(&plan, &paths, request.threads, progress)?;
    for file in &found {
        if FileStamp::read(&file.path).ok() != Some(file.stamp) {
            return Err(CreateTorrentError::Changed(file.path.clone()));
        }
    }
    Ok(plan.finish(&hashes, &request.options)?)
}

/// The last component, also of `.` and of a path that ends in `..`.
fn name_of(path: &Path) -> Result<String, CreateTorrentError> {
    let whole = path.canonicalize().map_err(|e| StorageError::new(path.to_path_buf(), e))?;
    let given = path.file_name().or_else(|| whole.file_name());
    let name = given.and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| CreateTorrentError::Name(path.to_path_buf()))
}
