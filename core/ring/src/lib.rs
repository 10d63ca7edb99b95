//! The machine under the engine: one reactor for each core.
//!
//! A [`Ring`] owns the sockets and carries out the file operations of one thread. Everything is by
//! completion: an operation is handed in, [`Ring::wait`] later brings its [`Event`]. Three drivers
//! have the same semantics behind it, and nothing outside this crate names either:
//!
//! - `uring` (io_uring(7)): single issuer, deferred task work, multishot accept and receive into a
//!   ring of provided buffers, `sendmsg` with or without zero copy, files through the same ring.
//! - `mio` (epoll(7) through the mio crate): for places where io_uring is refused; files are served
//!   by a small thread pool.
//! - `sim` (feature `sim`, for tests): network, disk and clock of a world in memory that can fail in
//!   every way, and does the same each time for the same seed.
//!
//! # What is guaranteed
//! - Events of one connection come in order. After [`Event::Closed`] or a call to [`Ring::close`]
//!   none comes for that [`ConnId`] again; ids are not reused while anybody could confuse them.
//! - Bytes received are lent, not copied: a [`RecvBuf`] goes back to the driver when it is dropped.
//! - A connection carries at most one [`SendBatch`] at a time. [`Event::Sent`] says that the kernel
//!   has taken all of it, so the next may follow; what it refers to is kept alive for as long as the
//!   kernel may read it.
//! - A file write is reported once all its bytes are written, or as an error; a read returns fewer
//!   bytes than asked only at the end of the file.

mod buffer;
mod config;
mod driver;
mod event;
mod file;
mod file_pool;
pub mod limits;
mod mio_driver;
mod net;
mod probe;
pub mod process;
mod rest;
mod send;
#[cfg(feature = "sim")]
pub mod sim;
mod slots;
mod uring;
mod waker;

pub use buffer::{Buf, BufPool, RecvBuf};
pub use config::{DriverChoice, RingConfig};
pub use driver::DriverKind;
pub use event::{ConnId, Event, FileDone, ListenerId, Token};
pub use file::{File, FileOp, FileStat, OpenOptions};
pub use probe::DriverError;
pub use send::{Mark, PinnedBytes, SendBatch};
pub use waker::Waker;

use driver::Driver;
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// One thread's reactor. Not `Send`: it lives and dies on the thread that made it.
pub struct Ring {
    driver: Box<dyn Driver>,
    buffers: BufPool,
    started: Instant,
}

impl Ring {
    /// Starts the driver that `config` asks for.
    ///
    /// With [`DriverChoice::Auto`], a refused io_uring falls back to mio, with one log line that
    /// says why and what to do about it.
    pub fn new(config: RingConfig) -> Result<Ring, DriverError> {
        let driver = probe::start(&config)?;
        Ok(Ring::with_driver(driver, &config))
    }

    fn with_driver(driver: Box<dyn Driver>, config: &RingConfig) -> Ring {
        Ring { driver, buffers: BufPool::new(config.pooled_bytes), started: Instant::now() }
    }

    /// Time since the ring was made; in a simulated world, since that began. Never goes back.
    pub fn now(&self) -> Duration {
        self.driver.virtual_time().unwrap_or_else(|| self.started.elapsed())
    }

    /// Which driver is running.
    pub fn kind(&self) -> DriverKind {
        self.driver.kind()
    }

    /// Page-aligned buffers for file operations, recycled.
    pub fn buffers(&self) -> &BufPool {
        &self.buffers
    }

    /// A handle by which other threads end this ring's [`Ring::wait`].
    pub fn waker(&self) -> Waker {
        self.driver.waker()
    }

    /// Listens for TCP connections with `SO_REUSEPORT`, so that every shard can have its own
    /// listener on the same address. Port 0 takes a free one: the address in the answer is the real
    /// one.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        self.driver.listen(addr)
    }

    /// Stops listening.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        self.driver.stop_listening(listener);
    }

    /// Starts a TCP connection; [`Event::Connected`] or [`Event::Closed`] follows. `from` binds the
    /// source address.
    pub fn connect(&mut self, to: SocketAddr, from: Option<SocketAddr>) -> io::Result<ConnId> {
        self.driver.connect(to, from)
    }

    /// Takes over a connected socket, for example from another shard, and starts to receive.
    pub fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        self.driver.adopt(socket)
    }

    /// Gives the socket away: [`Event::Detached`] brings it once nothing of this ring uses it any
    /// more. Bytes that had arrived before come as [`Event::Received`] first. No send may be under
    /// way.
    pub fn detach(&mut self, conn: ConnId) {
        self.driver.detach(conn);
    }

    /// Sends a batch. The connection must not have one under way (see [`Event::Sent`]); an unknown
    /// or closed connection drops it silently, as its [`Event::Closed`] has been or will be seen.
    pub fn send(&mut self, conn: ConnId, batch: SendBatch) {
        debug_assert!(!batch.is_empty(), "an empty batch has nothing to report as sent");
        self.driver.send(conn, batch);
    }

    /// An empty batch, recycled from those that were sent.
    pub fn batch(&mut self) -> SendBatch {
        self.driver.recycled_batch().unwrap_or_default()
    }

    /// Closes the connection with the next wait. No event follows for it.
    pub fn close(&mut self, conn: ConnId) {
        self.driver.close(conn);
    }

    /// The other side's address.
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.driver.peer_addr(conn)
    }

    /// Gives memory that has not been needed since the last call back to the system, half of it each
    /// time: after a burst it is gone in some seconds. To be called once a second.
    pub fn trim(&mut self) {
        self.buffers.trim();
        self.driver.trim();
    }

    /// Starts a file operation; [`Event::File`] with the same token follows, whatever happens.
    pub fn submit(&mut self, op: FileOp, token: Token) {
        self.driver.submit(op, token);
    }

    /// Hands in what was asked for since the last call, waits until something has happened, at most
    /// `timeout` (`None`: for ever), and appends everything that has happened to `events`.
    pub fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.driver.wait(timeout, events)
    }
}
