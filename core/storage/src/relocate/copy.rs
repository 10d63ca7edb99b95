//! Copying one file to another file system, holes and time of change included.

use super::RelocationProgress;
use crate::descriptors::{open_patiently, read_patiently};
use rustix::fs::{CWD, RenameFlags, SeekFrom, copy_file_range, ioctl_ficlone, renameat_with, seek};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

/// Bytes copied between two looks at whether to go on.
const CHUNK: usize = 8 << 20;

pub(super) enum CopyError {
    Source(io::Error),
    Target(io::Error),
    Cancelled,
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> CopyError {
        CopyError::Target(error)
    }
}

/// Copies a file durably to a name that nothing else has; what is left there of an earlier try is
/// overwritten.
pub(super) fn copy_file(
    from: &Path,
    to: &Path,
    progress: &RelocationProgress,
) -> Result<(), CopyError> {
    let source = read_patiently(from).map_err(CopyError::Source)?;
    let meta = source.metadata().map_err(CopyError::Source)?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
    let target = open_patiently(&options, to)?;
    target.set_permissions(meta.permissions())?;
    if ioctl_ficlone(&target, &source).is_ok() {
        progress.add(meta.len());
    } else {
        target.set_len(meta.len())?;
        copy_data(&source, &target, meta.len(), progress)?;
    }
    target.set_modified(meta.modified().map_err(CopyError::Source)?)?;
    target.sync_all()?;
    Ok(())
}

/// The runs of data, one after the other; what is between them counts as done.
fn copy_data(
    source: &File,
    target: &File,
    length: u64,
    progress: &RelocationProgress,
) -> Result<(), CopyError> {
    let mut at = 0;
    let mut way = Way::Kernel;
    let mut buffer = Vec::new();
    while at < length {
        let (start, end) = next_data(source, at, length);
        progress.add(start - at);
        at = start;
        while at < end {
            if progress.check().is_err() {
                return Err(CopyError::Cancelled);
            }
            let step = (end - at).min(CHUNK as u64) as usize;
            let count = match way {
                Way::Kernel => match in_kernel(source, target, at, step) {
                    Ok(count) => count,
                    Err(error) if is_unsupported(&error) => {
                        way = Way::Buffer;
                        continue;
                    }
                    Err(error) => return Err(CopyError::Target(error)),
                },
                Way::Buffer => through_buffer(source, target, at, step, &mut buffer)?,
            };
            if count == 0 {
                return Err(CopyError::Source(io::ErrorKind::UnexpectedEof.into()));
            }
            at += count as u64;
            progress.add(count as u64);
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    /// copy_file_range(2)
    Kernel,
    Buffer,
}

/// Where the next data at or after `at` begin and end. Where the file system does not tell, all is
/// data.
fn next_data(source: &File, at: u64, length: u64) -> (u64, u64) {
    match seek(source, SeekFrom::Data(at)) {
        Ok(start) => {
            let end = seek(source, SeekFrom::Hole(start)).unwrap_or(length);
            (start.min(length), end.min(length))
        }
        Err(rustix::io::Errno::NXIO) => (length, length),
        Err(_) => (at, length),
    }
}

fn in_kernel(source: &File, target: &File, at: u64, length: usize) -> io::Result<usize> {
    let (mut from, mut to) = (at, at);
    Ok(copy_file_range(source, Some(&mut from), target, Some(&mut to), length)?)
}

fn through_buffer(
    source: &File,
    target: &File,
    at: u64,
    length: usize,
    buffer: &mut Vec<u8>,
) -> Result<usize, CopyError> {
    buffer.resize(length, 0);
    let count = source.read_at(buffer, at).map_err(CopyError::Source)?;
    target.write_all_at(&buffer[..count], at)?;
    Ok(count)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EXDEV | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM)
    )
}

/// Renames to a name that must be free.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
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

/// Whether two files of one length have the same bytes.
pub(super) fn same_content(
    one: &Path,
    other: &Path,
    progress: &RelocationProgress,
) -> Result<bool, CopyError> {
    let open = |path: &Path| read_patiently(path).map_err(CopyError::Source);
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut left, mut right) = (vec![0; CHUNK / 8], vec![0; CHUNK / 8]);
    loop {
        if progress.check().is_err() {
            return Err(CopyError::Cancelled);
        }
        let count = one.read(&mut left).map_err(CopyError::Source)?;
        if count == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result.map_err(CopyError::Target)?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
        progress.add(count as u64);
    }
}
