//! Ending another thread's wait.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Ends the [`crate::Ring::wait`] of the ring it came from, from any thread. Many wakes before the
/// next wait cost one system call and give one [`crate::Event::Woken`].
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    eventfd: File,
    pending: AtomicBool,
}

impl Waker {
    /// A waker of no ring yet; see [`crate::RingConfig::waker`].
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Waker> {
        // SAFETY: eventfd(2) takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Waker(Arc::new(Inner { eventfd: fd.into(), pending: AtomicBool::new(false) })))
    }

    /// Ends the wait under way, or the next one.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            // The write fails only when the counter would overflow, and then it is readable.
            let _ = (&self.0.eventfd).write(&1u64.to_ne_bytes());
        }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::Acquire)
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.eventfd.as_raw_fd()
    }

    /// The owner's side: takes the wake, so that the next one counts again. Called before what the
    /// wake announces is looked at, so that nothing falls between.
    pub(crate) fn take(&self) {
        let mut count = [0; 8];
        let _ = (&self.0.eventfd).read(&mut count);
        self.0.pending.store(false, Ordering::Release);
    }
}
