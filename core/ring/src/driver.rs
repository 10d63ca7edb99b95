//! What a driver must be able to do. The semantics are those of [`crate::Ring`], which adds nothing
//! but the making of sockets.

use crate::{ConnId, Event, FileOp, ListenerId, SendBatch, Token, Waker};
use std::{fmt, io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// The drivers there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverKind {
    /// io_uring(7).
    Uring,
    /// epoll(7) through mio, and a thread pool for files.
    Mio,
    /// A world in memory.
    #[cfg(feature = "sim")]
    Sim,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DriverKind::Uring => "uring",
            DriverKind::Mio => "mio",
            #[cfg(feature = "sim")]
            DriverKind::Sim => "sim",
        })
    }
}

pub(crate) trait Driver {
    fn kind(&self) -> DriverKind;
    fn waker(&self) -> Waker;
    /// The real address is in the answer.
    fn listen(&mut self, addr: SocketAddr) -> io::Result<(ListenerId, SocketAddr)>;
    fn stop_listening(&mut self, listener: ListenerId);
    fn connect(&mut self, to: SocketAddr, from: Option<SocketAddr>) -> io::Result<ConnId>;
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId>;
    fn detach(&mut self, conn: ConnId);
    fn send(&mut self, conn: ConnId, batch: SendBatch);
    fn recycled_batch(&mut self) -> Option<SendBatch>;
    fn close(&mut self, conn: ConnId);
    fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr>;
    fn submit(&mut self, op: FileOp, token: Token);
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Gives memory back that was not needed lately.
    fn trim(&mut self) {}

    /// The time of a world of its own, if the driver lives in one.
    fn virtual_time(&self) -> Option<Duration> {
        None
    }
}

/// A result as system calls and completions give it: a count, or an errno below zero.
pub(crate) fn os_result(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
