//! File operations as submissions, each alive in its slot until its completion.

use crate::{Buf, Event, File, FileDone, FileOp, FileStat, Token, driver::os_result};
use io_uring::{opcode, squeue, types};
use std::{
    ffi::CString,
    io,
    ops::Range,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    ptr,
    rc::Rc,
};

/// One operation under way: everything that the kernel reads or writes meanwhile.
pub(super) struct Pending {
    token: Token,
    work: Work,
}

enum Work {
    Open {
        path: CString,
        flags: i32,
    },
    Read {
        file: File,
        offset: u64,
        buf: Buf,
        range: Range<usize>,
    },
    Write {
        file: File,
        offset: u64,
        source: Rc<Buf>,
        range: Range<usize>,
        written: usize,
    },
    Sync {
        file: File,
        flags: types::FsyncFlags,
    },
    Allocate {
        file: File,
        offset: u64,
        length: u64,
    },
    Truncate {
        file: File,
        length: u64,
    },
    Rename {
        from: CString,
        to: CString,
    },
    Unlink {
        path: CString,
    },
    /// The folders still to make, the one to try next last.
    MakeDir {
        todo: Vec<CString>,
    },
    Stat {
        path: CString,
        out: Box<libc::statx>,
    },
    WillNeed {
        file: File,
        offset: u64,
        length: u64,
    },
}

/// What a completion leads to.
pub(super) enum Step {
    /// The operation goes on: submit [`Pending::entry`] again.
    Again(Box<Pending>),
    Done(Event),
}

const FOLDER_MODE: libc::mode_t = 0o777;
const FILE_MODE: libc::mode_t = 0o666;

/// The most that one read or write moves: the kernel cuts at 2 GiB less a page.
const MOST_AT_ONCE: usize = 1 << 30;

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path with a NUL byte"))
}

/// Has the kernel's own threads do it from the start. It would try on the submitting thread first,
/// and there wait for a disk whose queue is full, or, as FUSE does, for one that does not answer.
fn off_thread(entry: squeue::Entry) -> squeue::Entry {
    entry.flags(squeue::Flags::ASYNC)
}

impl Pending {
    /// Readies an operation; one that cannot even be asked for is answered at once.
    pub(super) fn new(op: FileOp, token: Token) -> Result<Box<Pending>, Event> {
        match Work::new(op) {
            Ok(work) => Ok(Box::new(Pending { token, work })),
            Err(error) => Err(Event::File(FileDone {
                token,
                result: Err(error),
                buf: None,
                file: None,
                stat: None,
            })),
        }
    }

    /// The submission. What it points to lives in `self`, which is boxed and must stay where it is
    /// until the completion.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        let here = types::Fd(libc::AT_FDCWD);
        match &mut self.work {
            Work::Open { path, flags } => {
                opcode::OpenAt::new(here, path.as_ptr()).flags(*flags).mode(FILE_MODE).build()
            }
            Work::Read { file, offset, buf, range } => {
                let length = range.len().min(MOST_AT_ONCE) as u32;
                let to = buf[range.clone()].as_mut_ptr();
                let at = *offset + range.start as u64;
                let read = opcode::Read::new(types::Fd(file.raw()), to, length).offset(at);
                off_thread(read.build())
            }
            Work::Write { file, offset, source, range, written } => {
                let left = &source[range.start + *written..range.end];
                let length = left.len().min(MOST_AT_ONCE) as u32;
                let at = *offset + *written as u64;
                let write = opcode::Write::new(types::Fd(file.raw()), left.as_ptr(), length);
                off_thread(write.offset(at).build())
            }
            Work::Sync { file, flags } => {
                opcode::Fsync::new(types::Fd(file.raw())).flags(*flags).build()
            }
            Work::Allocate { file, offset, length } => {
                opcode::Fallocate::new(types::Fd(file.raw()), *length).offset(*offset).build()
            }
            Work::Truncate { file, length } => {
                opcode::Ftruncate::new(types::Fd(file.raw()), *length).build()
            }
            Work::Rename { from, to } => {
                opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build()
            }
            Work::Unlink { path } => opcode::UnlinkAt::new(here, path.as_ptr()).build(),
            Work::MakeDir { todo } => match todo.last() {
                Some(path) => opcode::MkDirAt::new(here, path.as_ptr()).mode(FOLDER_MODE).build(),
                None => opcode::Nop::new().build(),
            },
            Work::Stat { path, out } => {
                opcode::Statx::new(here, path.as_ptr(), ptr::from_mut(&mut **out).cast())
                    .mask(libc::STATX_BASIC_STATS)
                    .build()
            }
            Work::WillNeed { file, offset, length } => {
                let advice = libc::POSIX_FADV_WILLNEED;
                opcode::Fadvise::new(types::Fd(file.raw()), *length as libc::off_t, advice)
                    .offset(*offset)
                    .build()
            }
        }
    }

    /// Takes the completion's result.
    pub(super) fn complete(mut self: Box<Self>, result: i32) -> Step {
        let result = os_result(result);
        let mut done =
            FileDone { token: self.token, result: Ok(0), buf: None, file: None, stat: None };
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::Interrupted
        {
            return Step::Again(self);
        }
        match (&mut self.work, result) {
            (Work::MakeDir { todo }, result) => match made(todo, result) {
                Ok(true) => {}
                Ok(false) => return Step::Again(self),
                Err(error) => done.result = Err(error),
            },
            (_, Err(error)) => done.result = Err(error),
            (Work::Open { .. }, Ok(fd)) => {
                // SAFETY: the kernel has just opened this descriptor for us alone.
                let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
                done.file = Some(File::new(fd));
            }
            (Work::Read { range, .. }, Ok(count)) => {
                range.start += count;
                if count > 0 && range.start < range.end {
                    return Step::Again(self);
                }
                done.result = Ok(range.start);
            }
            (Work::Write { range, written, .. }, Ok(count)) => {
                *written += count;
                if *written < range.len() {
                    if count == 0 {
                        done.result = Err(io::ErrorKind::WriteZero.into());
                    } else {
                        return Step::Again(self);
                    }
                } else {
                    done.result = Ok(*written);
                }
            }
            (Work::Stat { out, .. }, Ok(_)) => done.stat = Some(FileStat::from_statx(out)),
            (_, Ok(_)) => {}
        }
        if let Work::Read { buf, .. } = self.work {
            done.buf = Some(buf);
        }
        Step::Done(Event::File(done))
    }
}

impl Work {
    fn new(op: FileOp) -> io::Result<Work> {
        Ok(match op {
            FileOp::Open { path, options } => {
                Work::Open { path: c_path(&path)?, flags: options.flags() }
            }
            FileOp::Read { file, offset, buf, length } => {
                assert!(length <= buf.len(), "a read longer than its buffer");
                Work::Read { file, offset, buf, range: 0..length }
            }
            FileOp::Write { file, offset, source, range } => {
                assert!(range.end <= source.len(), "a write longer than its source");
                Work::Write { file, offset, source, range, written: 0 }
            }
            FileOp::SyncData { file } => Work::Sync { file, flags: types::FsyncFlags::DATASYNC },
            FileOp::SyncAll { file } => Work::Sync { file, flags: types::FsyncFlags::empty() },
            FileOp::Allocate { file, offset, length } => Work::Allocate { file, offset, length },
            FileOp::Truncate { file, length } => Work::Truncate { file, length },
            FileOp::Rename { from, to } => Work::Rename { from: c_path(&from)?, to: c_path(&to)? },
            FileOp::Unlink { path } => Work::Unlink { path: c_path(&path)? },
            FileOp::MakeDir { path } => Work::MakeDir { todo: vec![c_path(&path)?] },
            FileOp::Stat { path } => {
                // SAFETY: statx is plain numbers, for which all zeros is a value.
                Work::Stat { path: c_path(&path)?, out: Box::new(unsafe { std::mem::zeroed() }) }
            }
            FileOp::WillNeed { file, offset, length } => Work::WillNeed { file, offset, length },
        })
    }
}

/// One step of making a folder and those above it: whether all is made.
fn made(todo: &mut Vec<CString>, result: io::Result<usize>) -> io::Result<bool> {
    match result {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = todo.last().and_then(parent).ok_or(error)?;
            todo.push(above);
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    todo.pop();
    Ok(todo.is_empty())
}

fn parent(path: &CString) -> Option<CString> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()));
    let above = path.parent().filter(|above| !above.as_os_str().is_empty())?;
    c_path(above).ok()
}
