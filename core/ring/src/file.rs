//! Files and what can be done with them.

use crate::Buf;
use crossbeam_channel::{Sender, unbounded};
use std::{
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, LazyLock},
};

/// An open file. Clones share the descriptor, which closes with the last one; operations under way
/// hold one, so dropping a `File` never pulls it from under them.
#[derive(Clone, Debug)]
pub struct File {
    fd: Arc<Closing>,
    /// What it stands for in a simulated world.
    #[cfg(feature = "sim")]
    pub(crate) sim: Option<Arc<crate::sim::OpenFile>>,
}

impl File {
    pub(crate) fn new(fd: OwnedFd) -> File {
        File {
            fd: Arc::new(Closing(Some(fd))),
            #[cfg(feature = "sim")]
            sim: None,
        }
    }

    /// A file of a simulated world. Its descriptor stands for nothing: it can be asked and told what
    /// it likes, but cannot be mapped.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(null: Arc<Closing>, file: crate::sim::OpenFile) -> File {
        File { fd: null, sim: Some(Arc::new(file)) }
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.0.as_ref().expect("only its end takes the descriptor").as_fd()
    }
}

/// A descriptor that is closed on a thread that may wait: a close(2) can, for file systems over a
/// network or in user space write back then.
#[derive(Debug)]
pub(crate) struct Closing(pub(crate) Option<OwnedFd>);

impl Drop for Closing {
    fn drop(&mut self) {
        static CLOSER: LazyLock<Option<Sender<OwnedFd>>> = LazyLock::new(start_closer);
        if let (Some(fd), Some(closer)) = (self.0.take(), &*CLOSER) {
            // What comes back is closed here.
            let _ = closer.send(fd);
        }
    }
}

fn start_closer() -> Option<Sender<OwnedFd>> {
    let (sender, closing) = unbounded::<OwnedFd>();
    let work = move || closing.into_iter().for_each(drop);
    std::thread::Builder::new().name("closer".into()).spawn(work).ok()?;
    Some(sender)
}

/// How to open a file. Symbolic links are followed; the descriptor closes on exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// For writing as well as reading.
    pub write: bool,
    /// Make it if it is not there (mode 0666 less the umask).
    pub create: bool,
    /// Past the page cache (`O_DIRECT`): offsets, lengths and addresses must be multiples of the
    /// device's block, for which 4096 always serves.
    pub direct: bool,
}

impl OpenOptions {
    /// Reading only; the file must be there.
    pub const READ: OpenOptions = OpenOptions { write: false, create: false, direct: false };
    /// Reading and writing; made if it is not there.
    pub const WRITE: OpenOptions = OpenOptions { write: true, create: true, direct: false };

    pub(crate) fn flags(self) -> i32 {
        let access = if self.write { libc::O_RDWR } else { libc::O_RDONLY };
        let create = if self.create { libc::O_CREAT } else { 0 };
        let direct = if self.direct { libc::O_DIRECT } else { 0 };
        access | create | direct | libc::O_CLOEXEC
    }
}

/// What statx(2) says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub length: u64,
    /// Bytes of disk space in use; less than `length` for a sparse file.
    pub allocated: u64,
    /// Time of the last change of content, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Which file of its device.
    pub inode: u64,
    /// Which device.
    pub device: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// A file operation, carried out off the thread or by the kernel, never by blocking.
#[derive(Debug)]
pub enum FileOp {
    /// openat(2). Gives [`crate::FileDone::file`].
    Open {
        /// Where.
        path: PathBuf,
        /// How.
        options: OpenOptions,
    },
    /// pread(2) of `length` bytes into the front of `buf`, which comes back in
    /// [`crate::FileDone::buf`].
    Read {
        /// From which file.
        file: File,
        /// Bytes from its start.
        offset: u64,
        /// Where to.
        buf: Buf,
        /// How many; at most the buffer's length.
        length: usize,
    },
    /// pwrite(2) of the part of `source` in `range`.
    Write {
        /// To which file.
        file: File,
        /// Bytes from its start.
        offset: u64,
        /// Where from; shared, as one piece may go to several files.
        source: Rc<Buf>,
        /// Which part of the source.
        range: Range<usize>,
    },
    /// fdatasync(2).
    SyncData {
        /// Which file.
        file: File,
    },
    /// fsync(2). Of a folder, opened for reading: the names in it survive a loss of power.
    SyncAll {
        /// Which file or folder.
        file: File,
    },
    /// fallocate(2) with mode 0: space is reserved and the file grows to hold it.
    Allocate {
        /// Which file.
        file: File,
        /// Bytes from its start.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// ftruncate(2).
    Truncate {
        /// Which file.
        file: File,
        /// Its new length in bytes.
        length: u64,
    },
    /// rename(2).
    Rename {
        /// Old name.
        from: PathBuf,
        /// New name; replaced if it exists.
        to: PathBuf,
    },
    /// unlink(2).
    Unlink {
        /// Which.
        path: PathBuf,
    },
    /// mkdir(2) of the folder and the missing ones above it. That it exists already is a success.
    MakeDir {
        /// Which.
        path: PathBuf,
    },
    /// statx(2) of a path. Gives [`crate::FileDone::stat`].
    Stat {
        /// Which.
        path: PathBuf,
    },
    /// posix_fadvise(2) `POSIX_FADV_WILLNEED`: bring the range into the page cache soon.
    WillNeed {
        /// Which file.
        file: File,
        /// Bytes from its start.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

impl FileStat {
    pub(crate) fn from_statx(stat: &libc::statx) -> FileStat {
        let modified = &stat.stx_mtime;
        FileStat {
            length: stat.stx_size,
            allocated: stat.stx_blocks * 512,
            modified_ns: modified.tv_sec * 1_000_000_000 + i64::from(modified.tv_nsec),
            inode: stat.stx_ino,
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            is_file: u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG,
        }
    }
}
