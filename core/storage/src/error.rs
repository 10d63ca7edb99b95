//! What can be wrong with files, in words for the operator.

use crate::descriptors;
use std::{io, path::PathBuf, sync::Arc};

/// Why bytes could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum StorageError {
    #[error("{}: no space left on the device (or the quota is used up)", file.display())]
    NoSpace { file: PathBuf },
    #[error("{}: the file is missing; put it back or recheck the torrent", file.display())]
    Missing { file: PathBuf },
    #[error("{}: the file is shorter than the torrent says; recheck the torrent", file.display())]
    Truncated { file: PathBuf },
    #[error("{}: the file was replaced by another one; recheck the torrent", file.display())]
    Replaced { file: PathBuf },
    #[error("{}: permission denied for the user this server runs as", file.display())]
    Permission { file: PathBuf },
    #[error("{}: the file system is mounted read-only", file.display())]
    ReadOnly { file: PathBuf },
    #[error("{}: something else than a file or folder is in the way", file.display())]
    InTheWay { file: PathBuf },
    #[error("{}: too many open files; raise the limit (ulimit -n)", file.display())]
    TooManyFiles { file: PathBuf },
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: Arc<io::Error> },
    #[error("the disk cannot keep up: too many reads are waiting")]
    Busy,
    #[error("the torrent has been removed")]
    Removed,
}

impl StorageError {
    /// What the operating system said about this file.
    pub fn new(file: PathBuf, error: io::Error) -> StorageError {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => StorageError::NoSpace { file },
            Kind::NotFound => StorageError::Missing { file },
            Kind::PermissionDenied => StorageError::Permission { file },
            Kind::ReadOnlyFilesystem => StorageError::ReadOnly { file },
            Kind::NotADirectory | Kind::IsADirectory | Kind::AlreadyExists => {
                StorageError::InTheWay { file }
            }
            _ if descriptors::are_lacking(&error) => StorageError::TooManyFiles { file },
            _ => StorageError::Io { file, source: Arc::new(error) },
        }
    }

    /// Whether the same request may succeed later without anybody looking at the torrent's data:
    /// space may become free, a disk may come back. `false` where pieces that were had are gone.
    pub fn is_retryable(&self) -> bool {
        match self {
            StorageError::NoSpace { .. }
            | StorageError::Permission { .. }
            | StorageError::ReadOnly { .. }
            | StorageError::InTheWay { .. }
            | StorageError::TooManyFiles { .. }
            | StorageError::Io { .. }
            | StorageError::Busy => true,
            StorageError::Missing { .. }
            | StorageError::Truncated { .. }
            | StorageError::Replaced { .. }
            | StorageError::Removed => false,
        }
    }
}

/// Whether a folder that could not be synced is to be left to its file system: some know no sync of
/// folders or are read-only, and a folder may be one that can be searched but not read.
pub(crate) fn folder_needs_no_sync(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    let bad_descriptor = error.raw_os_error() == Some(libc::EBADF);
    let kinds = [InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported];
    kinds.contains(&error.kind()) || bad_descriptor
}
