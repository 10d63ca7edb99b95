//! The fallback driver: readiness from epoll(7) through mio, transfers by plain system calls.
//!
//! Readiness is edge-triggered, so a connection is read until it has no more, in turns: one that
//! always has more waits for its next turn in `readable`.
#![allow(unsafe_code)]

use crate::{
    ConnId, Event, FileOp, ListenerId, RingConfig, SendBatch, Token, Waker,
    buffer::RecvArena,
    driver::{Driver, DriverKind},
    file_pool::{FilePool, Hints},
    limits, net,
    rest::Rest,
    slots::Slots,
};
use mio::{Events, Interest, Poll, unix::SourceFd};
use slab::Slab;
use socket2::{SockAddr, SockRef};
use std::{
    collections::VecDeque,
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    rc::Rc,
    time::{Duration, Instant},
};

/// mio tokens: connections by slot, listeners above them, and the waker above those.
const LISTENERS: usize = 1 << 40;
const WAKER: mio::Token = mio::Token(1 << 41);

/// Readiness events taken at a time.
const EVENTS_AT_ONCE: usize = 1024;

pub(crate) struct MioDriver {
    poll: Poll,
    ready: Events,
    arena: Rc<RecvArena>,
    listeners: Slab<Listener>,
    conns: Slots<Conn>,
    /// Connections that may have more to read, in the order of their turns.
    readable: VecDeque<u32>,
    files: FilePool,
    hints: Hints,
    waker: Waker,
    batches: Vec<SendBatch>,
    /// Events that arose outside of a wait.
    early: Vec<Event>,
}

struct Listener {
    socket: OwnedFd,
    rest: Rest,
}

struct Conn {
    socket: OwnedFd,
    peer: SocketAddr,
    connecting: bool,
    /// The end of what the peer sends has been announced.
    read_closed: bool,
    /// In `readable` already.
    queued: bool,
    sending: Option<Sending>,
}

struct Sending {
    batch: SendBatch,
    first: usize,
    sent: u64,
}

impl MioDriver {
    pub(crate) fn new(config: &RingConfig) -> io::Result<MioDriver> {
        let poll = Poll::new()?;
        let waker = config.waker.clone().map_or_else(Waker::new, Ok)?;
        poll.registry().register(&mut SourceFd(&waker.fd()), WAKER, Interest::READABLE)?;
        Ok(MioDriver {
            poll,
            ready: Events::with_capacity(EVENTS_AT_ONCE),
            arena: RecvArena::new(config.recv_buffer_length, config.recv_buffer_count)?,
            listeners: Slab::new(),
            conns: Slots::default(),
            readable: VecDeque::new(),
            files: FilePool::new(config.file_threads, &waker)?,
            hints: Hints::default(),
            waker,
            batches: Vec::new(),
            early: Vec::new(),
        })
    }

    fn insert(
        &mut self,
        socket: OwnedFd,
        peer: SocketAddr,
        connecting: bool,
    ) -> io::Result<ConnId> {
        let fd = socket.as_raw_fd();
        let conn =
            Conn { socket, peer, connecting, read_closed: false, queued: false, sending: None };
        let id = self.conns.insert(conn);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = mio::Token(id.slot());
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&fd), token, interest) {
            self.conns.free(id.slot);
            return Err(error);
        }
        Ok(id)
    }

    fn remove(&mut self, slot: u32) -> Option<(ConnId, Conn)> {
        let (id, mut conn) = self.conns.free(slot)?;
        // Fails only for a descriptor that is not registered, and these are.
        let _ = self.poll.registry().deregister(&mut SourceFd(&conn.socket.as_raw_fd()));
        if let Some(sending) = conn.sending.take() {
            self.recycle(sending.batch);
        }
        Some((id, conn))
    }

    fn fail(&mut self, slot: u32, result: io::Result<()>, events: &mut Vec<Event>) {
        if let Some((conn, _)) = self.remove(slot) {
            events.push(Event::Closed { conn, result });
        }
    }

    fn recycle(&mut self, mut batch: SendBatch) {
        if self.batches.len() < limits::POOLED_BATCHES {
            batch.clear();
            self.batches.push(batch);
        }
    }

    fn accept_all(&mut self, key: usize, events: &mut Vec<Event>) {
        while let Some(listener) = self.listeners.get_mut(key) {
            match accept(listener.socket.as_raw_fd()) {
                Ok(socket) => {
                    // A peer that is gone already has no address any more.
                    if let Ok(peer) = net::peer_addr(&socket)
                        && net::tune(&socket).is_ok()
                        && let Ok(conn) = self.insert(socket, peer, false)
                    {
                        events.push(Event::Accepted {
                            listener: ListenerId(key as u32),
                            conn,
                            peer,
                        });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    listener.rest.begin(&error);
                    break;
                }
            }
        }
    }

    /// Asks to be told again of what is pending already: edges are told once.
    fn rearm(&mut self, key: usize) {
        if let Some(listener) = self.listeners.get(key) {
            let fd = listener.socket.as_raw_fd();
            let token = mio::Token(LISTENERS + key);
            let _ = self.poll.registry().reregister(&mut SourceFd(&fd), token, Interest::READABLE);
        }
    }

    fn wake_listeners(&mut self) {
        let now = Instant::now();
        let rested = |(key, listener): (usize, &mut Listener)| {
            let is_over = listener.rest.is_over(now);
            is_over.then(|| listener.rest.end()).map(|()| key)
        };
        let rested: Vec<usize> = self.listeners.iter_mut().filter_map(rested).collect();
        rested.into_iter().for_each(|key| self.rearm(key));
    }

    fn mark_readable(&mut self, slot: u32) {
        if let Some(conn) = self.conns.at(slot)
            && !conn.queued
        {
            conn.queued = true;
            self.readable.push_back(slot);
        }
    }

    /// Gives each readable connection its turn.
    fn read_all(&mut self, events: &mut Vec<Event>) {
        for _ in 0..self.readable.len() {
            let Some(slot) = self.readable.pop_front() else { break };
            if let Some(conn) = self.conns.at(slot) {
                conn.queued = false;
                self.read_turn(slot, events);
            }
        }
    }

    fn read_turn(&mut self, slot: u32, events: &mut Vec<Event>) {
        let id = self.conns.id(slot);
        let length = self.arena.buffer_length();
        for _ in 0..limits::RECEIVES_PER_TURN {
            let Some(conn) = self.conns.at(slot) else { return };
            let Some(number) = self.arena.take() else { break };
            // SAFETY: the buffer is out of the free list, so ours alone, and as long as told.
            let count = unsafe {
                let to = self.arena.address(number).cast();
                libc::recv(conn.socket.as_raw_fd(), to, length, libc::MSG_DONTWAIT)
            };
            if count > 0 {
                let data = self.arena.lend(number, count as usize);
                events.push(Event::Received { conn: id, data });
                if (count as usize) < length && !conn.read_closed {
                    // Less than fits: the socket was empty, and whatever comes next, its end
                    // included, is a new edge.
                    return;
                }
                continue;
            }
            self.arena.put(number);
            if count == 0 {
                self.fail(slot, Ok(()), events);
                return;
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => return,
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => {
                    self.fail(slot, Err(error), events);
                    return;
                }
            }
        }
        self.mark_readable(slot);
    }

    fn writable(&mut self, slot: u32, events: &mut Vec<Event>) {
        let id = self.conns.id(slot);
        let Some(conn) = self.conns.at(slot) else { return };
        if conn.connecting {
            match net::take_error(&conn.socket).and_then(|()| net::peer_addr(&conn.socket)) {
                Ok(_) => {
                    conn.connecting = false;
                    events.push(Event::Connected { conn: id });
                    self.mark_readable(slot);
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => self.fail(slot, Err(error), events),
            }
        } else {
            self.send_more(slot, events);
        }
    }

    fn send_more(&mut self, slot: u32, events: &mut Vec<Event>) {
        let id = self.conns.id(slot);
        let Some(conn) = self.conns.at(slot) else { return };
        let Some(sending) = &mut conn.sending else { return };
        match sending.run(conn.socket.as_raw_fd()) {
            Ok(false) => {}
            Ok(true) => {
                let bytes = sending.sent;
                if let Some(sending) = conn.sending.take() {
                    self.recycle(sending.batch);
                }
                events.push(Event::Sent { conn: id, bytes });
            }
            Err(error) => self.fail(slot, Err(error), events),
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let ready = mem::replace(&mut self.ready, Events::with_capacity(0));
        for event in &ready {
            match event.token() {
                WAKER => {
                    self.waker.take();
                    events.push(Event::Woken);
                }
                mio::Token(key) if key >= LISTENERS => self.accept_all(key - LISTENERS, events),
                mio::Token(slot) => {
                    if event.is_writable() || event.is_error() {
                        self.writable(slot as u32, events);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        let Some(conn) = self.conns.at(slot as u32) else { continue };
                        conn.read_closed |= event.is_read_closed() || event.is_error();
                        if !conn.connecting {
                            self.mark_readable(slot as u32);
                        }
                    }
                }
            }
        }
        self.ready = ready;
    }
}

impl Sending {
    /// Sends until all is out (true) or the socket is full (false).
    fn run(&mut self, fd: RawFd) -> io::Result<bool> {
        while self.sent < self.batch.len() {
            let parts = &mut self.batch.iovecs[self.first..];
            // SAFETY: msghdr is plain numbers and pointers, for which all zeros is a value; the
            // iovecs point to memory that the batch holds; the kernel answers a bad address with
            // EFAULT.
            let count = unsafe {
                let mut header: libc::msghdr = mem::zeroed();
                header.msg_iov = parts.as_mut_ptr();
                header.msg_iovlen = parts.len().min(limits::PARTS_PER_SEND) as _;
                libc::sendmsg(fd, ptr::from_ref(&header), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            };
            if count >= 0 {
                self.advance(count as usize);
                continue;
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        self.first = crate::send::advance(&mut self.batch.iovecs, self.first, count);
    }
}

fn accept(listener: RawFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: accept4(2) allows null for the address, which is asked for later.
    let fd = unsafe { libc::accept4(listener, ptr::null_mut(), ptr::null_mut(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Driver for MioDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Mio
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let socket = net::listener(addr)?;
        let local = net::local_addr(&socket)?;
        net::set_nonblocking(&socket, true)?;
        let fd = socket.as_raw_fd();
        let key = self.listeners.insert(Listener { socket, rest: Rest::default() });
        let token = mio::Token(LISTENERS + key);
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok((ListenerId(key as u32), local))
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        if let Some(listener) = self.listeners.try_remove(listener.0 as usize) {
            let fd = listener.socket.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    fn connect(&mut self, to: SocketAddr, from: Option<SocketAddr>) -> io::Result<ConnId> {
        let socket = net::outgoing(to, from)?;
        net::set_nonblocking(&socket, true)?;
        match SockRef::from(&socket).connect(&SockAddr::from(to)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        self.insert(socket, to, true)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        net::tune(&socket)?;
        net::set_nonblocking(&socket, true)?;
        let peer = net::peer_addr(&socket)?;
        self.insert(socket, peer, false)
    }

    fn detach(&mut self, conn: ConnId) {
        if let Some(found) = self.conns.get(conn) {
            debug_assert!(found.sending.is_none(), "given away only between sends");
            if let Some((conn, found)) = self.remove(conn.slot) {
                self.early.push(Event::Detached { conn, socket: found.socket });
            }
        }
    }

    fn send(&mut self, conn: ConnId, mut batch: SendBatch) {
        let Some(found) = self.conns.get(conn).filter(|found| !found.connecting) else {
            self.recycle(batch);
            return;
        };
        debug_assert!(found.sending.is_none(), "one batch at a time");
        batch.resolve();
        found.sending = Some(Sending { batch, first: 0, sent: 0 });
        let mut early = mem::take(&mut self.early);
        self.send_more(conn.slot, &mut early);
        self.early = early;
    }

    fn recycled_batch(&mut self) -> Option<SendBatch> {
        self.batches.pop()
    }

    fn close(&mut self, conn: ConnId) {
        if self.conns.get(conn).is_some() {
            self.remove(conn.slot);
            // What the caller has closed says nothing more.
            self.early.retain(|event| match event {
                Event::Sent { conn: of, .. } | Event::Closed { conn: of, .. } => *of != conn,
                _ => true,
            });
        }
    }

    fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.conns.peek(conn).map(|found| found.peer)
    }

    fn submit(&mut self, op: FileOp, token: Token) {
        if let Some(op) = self.hints.submit(op, token, &self.waker) {
            self.files.submit(op, token);
        }
    }

    fn trim(&mut self) {
        self.arena.trim();
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.conns.begin_wait();
        let busy = !self.early.is_empty() || !self.readable.is_empty();
        let timeout = if busy { Some(Duration::ZERO) } else { timeout };
        let resting = self.listeners.iter().any(|(_, listener)| listener.rest.is_on());
        if resting {
            self.wake_listeners();
        }
        let timeout = if resting { Rest::bound(timeout) } else { timeout };
        match self.poll.poll(&mut self.ready, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready.clear(),
            Err(error) => return Err(error),
        }
        events.append(&mut self.early);
        self.dispatch(events);
        self.read_all(events);
        let done = || self.files.finished().or_else(|| self.hints.finished());
        events.extend(std::iter::from_fn(done).map(Event::File));
        self.conns.end_wait();
        Ok(())
    }
}
