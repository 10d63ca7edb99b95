//! File operations of code that may block: the kernel's, or with the feature `sim` those of the machine
//! of a simulated world that the thread works for ([`ring::sim::here`]).

use crate::{StorageError, descriptors::open_patiently, error::folder_needs_no_sync};
use rustix::fs::{Advice, CWD, RenameFlags, SeekFrom};
use std::{
    fs::{self, OpenOptions},
    io,
    num::NonZeroU64,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Makes the names in a folder durable, as far as its file system knows how.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    let result = open_patiently(folder, Access::Read).and_then(|folder| folder.sync_all());
    match result {
        Err(error) if folder_needs_no_sync(&error) => Ok(()),
        result => result.map_err(|error| StorageError::new(folder.to_path_buf(), error)),
    }
}

/// Makes durable that names are gone from these folders, of which some may be gone themselves.
pub(crate) fn sync_removals<'a>(
    folders: impl IntoIterator<Item = &'a Path>,
) -> Result<(), StorageError> {
    let mut there = folders.into_iter().filter(|folder| exists(folder));
    there.try_for_each(sync_folder)
}

/// Gives what the simulated machine says, if there is one.
macro_rules! simulated {
    ($host:ident => $answer:expr) => {
        #[cfg(feature = "sim")]
        if let Some($host) = ring::sim::here() {
            return $answer;
        }
    };
}

/// What to open a file for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read it, or to sync a folder. Does not wait for anything that a special file would wait for.
    Read,
    /// To write it from its beginning; made if it is not there.
    Rewrite,
}

/// An open file or folder.
pub(crate) enum File {
    Kernel(fs::File),
    #[cfg(feature = "sim")]
    Simulated(ring::sim::HostFile),
}

/// What there is to know of a file or folder without opening it.
#[derive(Clone)]
pub(crate) enum Meta {
    Kernel(fs::Metadata),
    #[cfg(feature = "sim")]
    Simulated(ring::FileStat, SystemTime),
}

/// Opens a file.
pub(crate) fn open(path: &Path, access: Access) -> io::Result<File> {
    simulated!(host => {
        let write = access == Access::Rewrite;
        let file = host.open(path, ring::OpenOptions { write, create: write, direct: false })?;
        if write {
            file.set_length(0)?;
        }
        Ok(File::Simulated(file))
    });
    let mut options = OpenOptions::new();
    match access {
        Access::Read => options.read(true).custom_flags(libc::O_NONBLOCK),
        Access::Rewrite => options.read(true).write(true).create(true).truncate(true),
    };
    options.open(path).map(File::Kernel)
}

/// stat(2).
pub(crate) fn metadata(path: &Path) -> io::Result<Meta> {
    simulated!(host => host.stat(path).map(|(stat, changed)| Meta::Simulated(stat, changed)));
    fs::metadata(path).map(Meta::Kernel)
}

/// lstat(2).
pub(crate) fn symlink_metadata(path: &Path) -> io::Result<Meta> {
    simulated!(host => host.stat(path).map(|(stat, changed)| Meta::Simulated(stat, changed)));
    fs::symlink_metadata(path).map(Meta::Kernel)
}

/// Whether there is something of this name, as far as can be told.
pub fn exists(path: &Path) -> bool {
    metadata(path).is_ok()
}

/// Makes a file of these bytes, or makes it anew. Blocks.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    open(path, Access::Rewrite)?.write_all_at(bytes, 0)
}

/// Makes a folder and those above it, as far as they are missing. Blocks.
pub fn make_folders(path: &Path) -> io::Result<()> {
    simulated!(host => host.make_folders(path));
    fs::create_dir_all(path)
}

/// Bytes of the disk that the file takes. Blocks.
pub fn allocated(path: &Path) -> io::Result<u64> {
    metadata(path).map(|meta| meta.allocated())
}

/// link(2).
pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    simulated!(host => host.link(from, to));
    fs::hard_link(from, to)
}

/// A symbolic link to a file that need not be there.
pub(crate) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// The path without symbolic links.
pub(crate) fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// rename(2).
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    simulated!(host => host.rename(from, to, true));
    fs::rename(from, to)
}

/// Renames to a name that must be free.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    simulated!(host => host.rename(from, to, false));
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without that promise: the look before it is all there is.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            match fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(from, to),
            }
        }
        result => Ok(result?),
    }
}

/// Deletes a file. Blocks.
pub fn remove_file(path: &Path) -> io::Result<()> {
    simulated!(host => host.unlink(path));
    fs::remove_file(path)
}

/// rmdir(2).
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    simulated!(host => host.remove_folder(path));
    fs::remove_dir(path)
}

/// mkdir(2).
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    simulated!(host => host.make_folder(path));
    fs::create_dir(path)
}

/// Bytes that this user may still write to the file system of this folder, and bytes in all.
pub(crate) fn space(folder: &Path) -> io::Result<(u64, u64)> {
    simulated!(host => host.stat(folder).and_then(|_| host.space()));
    let stat = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

/// The time that files are stamped with.
pub(crate) fn now() -> SystemTime {
    simulated!(host => host.wall_clock());
    SystemTime::now()
}

/// How long the machine has been running, asleep or not (`CLOCK_BOOTTIME`): a clock that nobody sets.
pub(crate) fn uptime() -> Duration {
    simulated!(host => host.uptime());
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// Whether the device's readers get in each other's way.
pub(crate) fn is_rotating(device: u64) -> bool {
    simulated!(_host => false);
    crate::check::is_rotating(device)
}

impl File {
    /// fstat(2).
    pub(crate) fn metadata(&self) -> io::Result<Meta> {
        match self {
            File::Kernel(file) => file.metadata().map(Meta::Kernel),
            #[cfg(feature = "sim")]
            File::Simulated(file) => {
                file.stat().map(|(stat, changed)| Meta::Simulated(stat, changed))
            }
        }
    }

    /// One pread(2); fewer bytes than there is room for only at the end, or by chance.
    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            File::Kernel(file) => file.read_at(into, offset),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.read_at(into, offset),
        }
    }

    /// Fills the buffer; `UnexpectedEof` if the file ends before.
    pub(crate) fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            File::Kernel(file) => file.read_exact_at(into, offset),
            #[cfg(feature = "sim")]
            File::Simulated(file) => match file.read_at(into, offset)? == into.len() {
                true => Ok(()),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }

    /// Writes all of it.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            File::Kernel(file) => file.write_all_at(bytes, offset),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.write_all_at(bytes, offset),
        }
    }

    /// ftruncate(2).
    pub(crate) fn set_len(&self, length: u64) -> io::Result<()> {
        match self {
            File::Kernel(file) => file.set_len(length),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.set_length(length),
        }
    }

    /// fdatasync(2).
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        match self {
            File::Kernel(file) => file.sync_data(),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.sync(),
        }
    }

    /// fsync(2).
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        match self {
            File::Kernel(file) => file.sync_all(),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.sync(),
        }
    }

    /// syncfs(2): everything on the file system that it is on.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        match self {
            File::Kernel(file) => Ok(rustix::fs::syncfs(file)?),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.sync_disk(),
        }
    }

    /// Takes what is clean of it out of memory, which after a sync is everything.
    pub(crate) fn drop_clean_pages(&self) -> io::Result<()> {
        match self {
            File::Kernel(file) => Ok(rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.drop_clean_pages(),
        }
    }

    /// Asks for bytes to be read ahead. A hint: where it is refused, reading is only slower.
    pub(crate) fn read_ahead(&self, offset: u64, length: NonZeroU64) {
        match self {
            File::Kernel(file) => {
                let _ = rustix::fs::fadvise(file, offset, Some(length), Advice::WillNeed);
            }
            #[cfg(feature = "sim")]
            File::Simulated(_) => {}
        }
    }

    /// Where the next data begins at or after `offset`; `ENXIO` if there is none.
    pub(crate) fn next_data(&self, offset: u64) -> io::Result<u64> {
        match self {
            File::Kernel(file) => Ok(rustix::fs::seek(file, SeekFrom::Data(offset))?),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.seek(offset, true),
        }
    }

    /// Where the next hole begins at or after `offset`; the end of the file counts as one.
    pub(crate) fn next_hole(&self, offset: u64) -> io::Result<u64> {
        match self {
            File::Kernel(file) => Ok(rustix::fs::seek(file, SeekFrom::Hole(offset))?),
            #[cfg(feature = "sim")]
            File::Simulated(file) => file.seek(offset, false),
        }
    }

    /// Lets this file share the other's blocks (ioctl_ficlone(2)).
    pub(crate) fn clone_from(&self, source: &File) -> io::Result<()> {
        match (self, source) {
            (File::Kernel(file), File::Kernel(source)) => {
                Ok(rustix::fs::ioctl_ficlone(file, source)?)
            }
            #[cfg(feature = "sim")]
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// copy_file_range(2) to the same place of another file.
    pub(crate) fn copy_range_to(
        &self,
        target: &File,
        offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        match (self, target) {
            (File::Kernel(source), File::Kernel(target)) => {
                let (mut from, mut to) = (offset, offset);
                let (from, to) = (Some(&mut from), Some(&mut to));
                Ok(rustix::fs::copy_file_range(source, from, target, to, length)?)
            }
            #[cfg(feature = "sim")]
            _ => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        }
    }

    /// Gives it the permissions of another file.
    pub(crate) fn take_permissions(&self, of: &Meta) -> io::Result<()> {
        match (self, of) {
            (File::Kernel(file), Meta::Kernel(meta)) => file.set_permissions(meta.permissions()),
            #[cfg(feature = "sim")]
            _ => Ok(()),
        }
    }

    /// Gives it another file's time of the last change of content.
    pub(crate) fn take_modified(&self, source: &File, of: &Meta) -> io::Result<()> {
        match (self, source, of) {
            (File::Kernel(file), File::Kernel(_), Meta::Kernel(meta)) => {
                file.set_modified(meta.modified()?)
            }
            #[cfg(feature = "sim")]
            (File::Simulated(file), File::Simulated(source), _) => file.take_times_of(source),
            #[cfg(feature = "sim")]
            _ => Ok(()),
        }
    }
}

impl Meta {
    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Meta::Kernel(meta) => meta.len(),
            #[cfg(feature = "sim")]
            Meta::Simulated(stat, _) => stat.length,
        }
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        match self {
            Meta::Kernel(meta) => meta.is_file(),
            #[cfg(feature = "sim")]
            Meta::Simulated(stat, _) => stat.is_file,
        }
    }

    /// Whether it is a folder.
    pub(crate) fn is_dir(&self) -> bool {
        match self {
            Meta::Kernel(meta) => meta.is_dir(),
            #[cfg(feature = "sim")]
            Meta::Simulated(stat, _) => !stat.is_file,
        }
    }

    /// Whether it is a symbolic link.
    pub(crate) fn is_symlink(&self) -> bool {
        match self {
            Meta::Kernel(meta) => meta.is_symlink(),
            #[cfg(feature = "sim")]
            Meta::Simulated(..) => false,
        }
    }

    /// Device and inode: the same for two names of one file.
    pub(crate) fn identity(&self) -> (u64, u64) {
        match self {
            Meta::Kernel(meta) => (meta.dev(), meta.ino()),
            #[cfg(feature = "sim")]
            Meta::Simulated(stat, _) => (stat.device, stat.inode),
        }
    }

    /// The device.
    pub(crate) fn device(&self) -> u64 {
        self.identity().0
    }

    /// Bytes of the disk that it takes.
    pub(crate) fn allocated(&self) -> u64 {
        match self {
            Meta::Kernel(meta) => meta.blocks() * 512,
            #[cfg(feature = "sim")]
            Meta::Simulated(stat, _) => stat.allocated,
        }
    }

    /// Time of the last change of content, nanoseconds since 1970.
    pub(crate) fn modified_ns(&self) -> i64 {
        match self {
            Meta::Kernel(meta) => {
                meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
            }
            #[cfg(feature = "sim")]
            Meta::Simulated(stat, _) => stat.modified_ns,
        }
    }

    /// The time of the last change of any kind, which nobody can set.
    pub(crate) fn changed(&self) -> SystemTime {
        match self {
            Meta::Kernel(meta) => {
                let seconds = u64::try_from(meta.ctime()).unwrap_or_default();
                let nanoseconds = u64::try_from(meta.ctime_nsec()).unwrap_or_default();
                UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
            }
            #[cfg(feature = "sim")]
            Meta::Simulated(_, changed) => *changed,
        }
    }
}
