//! Mapped files: what the kernel sends from, and which of it is in memory.
//!
//! Nobody in this process ever looks at a mapped byte; the kernel reads them while it sends, and a
//! file that was truncated under us shows there as `EFAULT`.
#![allow(unsafe_code)]

use crate::limits::{CHUNK, StoreLimits};
use ring::{File, PinnedBytes};
use rustix::fs::{Access, AtFlags};
use std::{io, ops::Range, os::fd::AsFd, os::fd::AsRawFd, rc::Rc, time::Duration};

const PAGE: usize = 4096;

/// The first bytes of a file, mapped for reading.
struct Mapping(memmap2::Mmap);

// SAFETY: an `Mmap` keeps its address and length until it is dropped, wherever it is moved.
unsafe impl PinnedBytes for Mapping {
    fn span(&self) -> (*const u8, usize) {
        (self.0.as_ptr(), self.0.len())
    }
}

/// Zeros for the bytes of pad files.
struct Zeros;

/// Bytes that [`zeros`] has; a longer run is pushed in several parts.
pub(crate) const ZEROS_LENGTH: usize = 128 * 1024;
static ZEROS: [u8; ZEROS_LENGTH] = [0; ZEROS_LENGTH];

// SAFETY: a static never moves and is never unmapped.
unsafe impl PinnedBytes for Zeros {
    fn span(&self) -> (*const u8, usize) {
        (ZEROS.as_ptr(), ZEROS_LENGTH)
    }
}

/// [`ZEROS_LENGTH`] zeros.
pub(crate) fn zeros() -> Rc<dyn PinnedBytes> {
    Rc::new(Zeros)
}

/// A mapped file and what is known about its residency.
pub(crate) struct Mapped {
    mapping: Rc<Mapping>,
    file: File,
    /// Until when (in ticks) the file is taken to be as long as the mapping.
    whole_until: u32,
    /// For each chunk, until when (in ticks) it is known, and in bit 0 whether it is only partly in
    /// memory.
    chunks: Box<[u32]>,
}

/// Moments of residency: 1/32 s, so that 31 bits last two years.
fn ticks(at: Duration) -> u32 {
    let ticks = at.as_secs().saturating_mul(32) + u64::from(at.subsec_nanos() / 31_250_000);
    ticks.min(i32::MAX as u64) as u32
}

impl Mapped {
    /// Maps the first `length` bytes.
    ///
    /// Fails for a file about which mincore(2) tells this user nothing (neither owned nor
    /// writable): it would call everything resident, and a send could wait for the disk.
    pub fn new(file: &File, length: u64) -> io::Result<Mapped> {
        let length_in_memory =
            usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if !may_ask_residency(file) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // SAFETY: the bytes are never made into a slice; only the kernel reads them, for which a
        // file that changes or shrinks under the mapping is no hazard.
        let map = unsafe {
            memmap2::MmapOptions::new().len(length_in_memory).map(file.as_fd().as_raw_fd())?
        };
        // Without it, a send that comes to the end of what was read ahead would read on by itself,
        // which takes hundreds of microseconds.
        map.advise(memmap2::Advice::Random)?;
        let chunks = vec![0; length.div_ceil(CHUNK) as usize].into_boxed_slice();
        let mapping = Rc::new(Mapping(map));
        Ok(Mapped { mapping, file: file.clone(), whole_until: 0, chunks })
    }

    /// Bytes mapped.
    pub fn len(&self) -> u64 {
        self.mapping.0.len() as u64
    }

    /// What a batch refers to.
    pub fn pinned(&self) -> Rc<dyn PinnedBytes> {
        Rc::clone(&self.mapping) as Rc<dyn PinnedBytes>
    }

    /// Whether the range, which lies in the mapping and is not empty, can be sent without waiting
    /// for the disk.
    pub fn is_resident(&mut self, now: Duration, range: Range<u64>, limits: &StoreLimits) -> bool {
        let now_ticks = ticks(now);
        if self.whole_until <= now_ticks {
            if !self.is_whole() {
                return false;
            }
            self.whole_until = ticks(now + limits.hot_for) + 1;
        }
        let first = range.start / CHUNK;
        let last = (range.end - 1) / CHUNK;
        (first..=last).all(|chunk| {
            let known = self.chunks[chunk as usize];
            let (until, mixed) = (known >> 1, known & 1 != 0);
            if until > now_ticks && !mixed {
                return true;
            }
            let whole = chunk * CHUNK..((chunk + 1) * CHUNK).min(self.len());
            let part = range.start.max(whole.start)..range.end.min(whole.end);
            if until > now_ticks {
                return self.ask(part);
            }
            let hot = self.ask(whole);
            let until = ticks(now + if hot { limits.hot_for } else { limits.mixed_for }) + 1;
            self.chunks[chunk as usize] = until << 1 | u32::from(!hot);
            hot || self.ask(part)
        })
    }

    /// Whether the file still has all mapped bytes. The page cache does not tell: the last folio of
    /// a truncated file may reach far beyond its end.
    #[cold]
    fn is_whole(&self) -> bool {
        rustix::fs::fstat(self.file.as_fd()).is_ok_and(|stat| stat.st_size as u64 >= self.len())
    }

    /// Asks the kernel about at most one chunk.
    fn ask(&self, range: Range<u64>) -> bool {
        let start = range.start as usize / PAGE * PAGE;
        let length = range.end as usize - start;
        let mut pages = [0u8; CHUNK as usize / PAGE];
        debug_assert!(length.div_ceil(PAGE) <= pages.len());
        let address = self.mapping.0.as_ptr().wrapping_add(start) as *mut libc::c_void;
        // SAFETY: the range lies in the mapping, starts on a page, and `pages` has a byte for each
        // page of a chunk, which a range never exceeds.
        let asked = unsafe { libc::mincore(address, length, pages.as_mut_ptr()) };
        asked == 0 && pages[..length.div_ceil(PAGE)].iter().all(|page| page & 1 != 0)
    }
}

/// The kernel's own condition (mm/mincore.c): the file's owner, or somebody who may write it.
fn may_ask_residency(file: &File) -> bool {
    let user = rustix::process::geteuid();
    if user.is_root() || rustix::fs::fstat(file.as_fd()).is_ok_and(|s| s.st_uid == user.as_raw()) {
        return true;
    }
    let flags = AtFlags::EMPTY_PATH | AtFlags::EACCESS;
    rustix::fs::accessat(file.as_fd(), "", Access::WRITE_OK, flags).is_ok()
}
