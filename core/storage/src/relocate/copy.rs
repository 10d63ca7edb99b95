//! Copying one file to another file system, holes and time of change included.

use super::RelocationProgress;
use crate::{
    descriptors::open_patiently,
    disk::{Access, File},
};
use std::{io, path::Path};

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
    let source = open_patiently(from, Access::Read).map_err(CopyError::Source)?;
    let meta = source.metadata().map_err(CopyError::Source)?;
    let target = open_patiently(to, Access::Rewrite)?;
    target.take_permissions(&meta)?;
    if target.clone_from(&source).is_ok() {
        progress.add(meta.len());
    } else {
        target.set_len(meta.len())?;
        copy_data(&source, &target, meta.len(), progress)?;
    }
    target.take_modified(&source, &meta)?;
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
                Way::Kernel => match source.copy_range_to(target, at, step) {
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
    match source.next_data(at) {
        Ok(start) => {
            let end = source.next_hole(start).unwrap_or(length);
            (start.min(length), end.min(length))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => (length, length),
        Err(_) => (at, length),
    }
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

/// Whether two files of one length have the same bytes.
pub(super) fn same_content(
    one: &Path,
    other: &Path,
    progress: &RelocationProgress,
) -> Result<bool, CopyError> {
    let open = |path: &Path| open_patiently(path, Access::Read).map_err(CopyError::Source);
    let (one, other) = (open(one)?, open(other)?);
    let mut at = 0;
    let (mut left, mut right) = (vec![0; CHUNK / 8], vec![0; CHUNK / 8]);
    loop {
        if progress.check().is_err() {
            return Err(CopyError::Cancelled);
        }
        let count = one.read_at(&mut left, at).map_err(CopyError::Source)?;
        if count == 0 {
            return Ok(true);
        }
        match other.read_exact_at(&mut right[..count], at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result.map_err(CopyError::Target)?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
        at += count as u64;
        progress.add(count as u64);
    }
}
