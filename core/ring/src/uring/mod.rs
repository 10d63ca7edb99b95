//! The io_uring driver.
//!
//! Each submission carries, as its user data, what kind it is and the slot of what it belongs to: a
//! listener, a connection, a send or a file operation. A slot is freed only when the kernel holds
//! nothing of it any more, so a completion always finds its own.
#![allow(unsafe_code)]

mod conns;
mod files;
mod lent;
mod sends;

use crate::{
    ConnId, Event, FileOp, ListenerId, RingConfig, SendBatch, Token, Waker,
    buffer::RecvArena,
    driver::{Driver, DriverKind, os_result},
    file_pool::Hints,
    limits, net,
    rest::Rest,
};
use conns::{Conn, Conns, Phase};
use files::{Pending, Step};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use lent::LentBuffers;
use sends::Sends;
use slab::Slab;
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    rc::Rc,
    time::{Duration, Instant},
};

pub(crate) struct UringDriver {
    /// Sends and files are dropped after the ring: see `Drop`.
    ring: IoUring,
    arena: Rc<RecvArena>,
    lent: LentBuffers,
    listeners: Slab<Listener>,
    conns: Conns,
    sends: Sends,
    files: Slab<Box<Pending>>,
    hints: Hints,
    waker: Waker,
    /// Connections whose receive ended for want of buffers, to be armed again at the next wait.
    starved: Vec<u32>,
    /// Completions of one wait, copied out so that handling them may submit more.
    completed: Vec<(u64, i32, u32)>,
    /// Events that arose outside of a completion.
    early: Vec<Event>,
}

struct Listener {
    socket: OwnedFd,
    armed: bool,
    stopping: bool,
    rest: Rest,
}

/// What a completion belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Accept,
    Connect,
    Recv,
    Send,
    Cancel,
    File,
    Wake,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Accept, Kind::Connect, Kind::Recv, Kind::Send, Kind::Cancel, Kind::File, Kind::Wake];

    fn user_data(self, slot: usize) -> u64 {
        (self as u64) << 32 | slot as u64
    }

    fn split(user_data: u64) -> (Kind, usize) {
        (Kind::ALL[(user_data >> 32) as usize], user_data as u32 as usize)
    }
}

impl UringDriver {
    /// Sets up the ring and its buffers. An error says which step the kernel refused.
    pub(crate) fn new(config: &RingConfig) -> io::Result<UringDriver> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(config.submission_entries * limits::COMPLETIONS_PER_SUBMISSION)
            .build(config.submission_entries)?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        // The newest operation without which nothing works came with 6.0; deferred task work, which
        // the set-up above needs, with 6.1.
        if !probe.is_supported(opcode::SendZc::CODE) {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        // Without it everything works while all disks do.
        let _ = ring.submitter().register_iowq_max_workers(&mut [limits::KERNEL_FILE_THREADS, 0]);
        let zero_copy = config.zero_copy && probe.is_supported(opcode::SendMsgZc::CODE);
        let arena = RecvArena::new(config.recv_buffer_length, config.recv_buffer_count)?;
        let lent =
            LentBuffers::register(&ring.submitter(), Rc::clone(&arena), config.recv_buffer_count)?;
        let mut driver = UringDriver {
            ring,
            arena,
            lent,
            listeners: Slab::new(),
            conns: Conns::default(),
            sends: Sends::new(zero_copy),
            files: Slab::new(),
            hints: Hints::default(),
            waker: config.waker.clone().map_or_else(Waker::new, Ok)?,
            starved: Vec::new(),
            completed: Vec::new(),
            early: Vec::new(),
        };
        driver.arm_wake();
        Ok(driver)
    }

    /// Queues a submission, handing in the full queue first if it must.
    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: whatever an entry points to is owned by the slot that its user data names, which
        // stays until the completion.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            if let Err(error) = self.ring.submit()
                && !is_passing(&error)
            {
                panic!("io_uring_enter failed where it cannot: {error}");
            }
        }
    }

    fn arm_wake(&mut self) {
        let poll = opcode::PollAdd::new(types::Fd(self.waker.fd()), libc::POLLIN as u32)
            .build()
            .user_data(Kind::Wake.user_data(0));
        self.push(poll);
    }

    fn arm_accept(&mut self, key: usize) {
        let listener = &mut self.listeners[key];
        listener.armed = true;
        listener.rest.end();
        let fd = types::Fd(listener.socket.as_raw_fd());
        let accept = opcode::AcceptMulti::new(fd)
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(Kind::Accept.user_data(key));
        self.push(accept);
    }

    fn arm_recv(&mut self, slot: u32) {
        let Some(conn) = self.conns.at(slot) else { return };
        if conn.receiving || conn.phase != Phase::Open {
            return;
        }
        conn.receiving = true;
        conn.pending += 1;
        let recv = opcode::RecvMulti::new(types::Fd(conn.socket.as_raw_fd()), lent::GROUP)
            .build()
            .user_data(Kind::Recv.user_data(slot as usize));
        self.push(recv);
    }

    /// Ends everything the kernel does with the connection's socket.
    fn cancel(&mut self, slot: u32, fd: RawFd) {
        if let Some(conn) = self.conns.at(slot) {
            conn.pending += 1;
            let builder = types::CancelBuilder::fd(types::Fd(fd)).all();
            let cancel = opcode::AsyncCancel2::new(builder)
                .build()
                .user_data(Kind::Cancel.user_data(slot as usize));
            self.push(cancel);
        }
    }

    /// Starts the end of a connection: frees it now if the kernel holds nothing of it, else with
    /// the last completion.
    fn begin_close(&mut self, slot: u32, phase: Phase) {
        let Some(conn) = self.conns.at(slot) else { return };
        conn.phase = phase;
        let fd = conn.socket.as_raw_fd();
        if conn.pending > 0 {
            self.cancel(slot, fd);
        }
        self.settle(slot, &mut Vec::new());
    }

    /// Frees a connection that is ending and of which the kernel holds nothing any more.
    fn settle(&mut self, slot: u32, events: &mut Vec<Event>) {
        let Some(conn) = self.conns.at(slot) else { return };
        if conn.pending > 0 || matches!(conn.phase, Phase::Connecting | Phase::Open) {
            return;
        }
        let detaching = conn.phase == Phase::Detaching;
        if let Some((id, conn)) = self.conns.free(slot)
            && detaching
        {
            events.push(Event::Detached { conn: id, socket: conn.socket });
        }
    }

    /// Reports the end of a connection, unless the caller closed it, and frees it.
    fn fail(&mut self, slot: u32, result: io::Result<()>, events: &mut Vec<Event>) {
        let id = self.conns.id(slot);
        let Some(conn) = self.conns.at(slot) else { return };
        if matches!(conn.phase, Phase::Connecting | Phase::Open | Phase::Detaching) {
            events.push(Event::Closed { conn: id, result });
            self.begin_close(slot, Phase::Closing);
        }
    }

    fn handle(&mut self, user_data: u64, result: i32, flags: u32, events: &mut Vec<Event>) {
        let (kind, slot) = Kind::split(user_data);
        match kind {
            Kind::Accept => self.accepted(slot, result, flags, events),
            Kind::Connect => self.connected(slot as u32, result, events),
            Kind::Recv => self.received(slot as u32, result, flags, events),
            Kind::Send => self.sent(slot, result, flags, events),
            Kind::Cancel => {
                self.release_pending(slot as u32);
                self.settle(slot as u32, events);
            }
            Kind::File => self.file_done(slot, result, events),
            Kind::Wake => {
                self.waker.take();
                self.arm_wake();
                events.push(Event::Woken);
            }
        }
    }

    fn release_pending(&mut self, slot: u32) {
        if let Some(conn) = self.conns.at(slot) {
            conn.pending -= 1;
        }
    }

    fn accepted(&mut self, key: usize, result: i32, flags: u32, events: &mut Vec<Event>) {
        match os_result(result) {
            Ok(fd) => {
                // SAFETY: the kernel has just made this descriptor for us alone.
                let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
                // A peer that is gone already has no address any more, and is not worth an event.
                if !self.listeners[key].stopping
                    && let Ok(peer) = net::peer_addr(&socket)
                    && net::tune(&socket).is_ok()
                {
                    let conn = self.conns.insert(Conn::new(socket, Phase::Open, peer));
                    let listener = ListenerId(key as u32);
                    events.push(Event::Accepted { listener, conn, peer });
                    self.arm_recv(conn.slot);
                }
            }
            Err(error) => {
                if !matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::ECANCELED)) {
                    self.listeners[key].rest.begin(&error);
                }
            }
        }
        if !cqueue::more(flags) {
            let listener = &mut self.listeners[key];
            listener.armed = false;
            if listener.stopping {
                self.listeners.remove(key);
            } else if !listener.rest.is_on() {
                self.arm_accept(key);
            }
        }
    }

    fn connected(&mut self, slot: u32, result: i32, events: &mut Vec<Event>) {
        self.release_pending(slot);
        let id = self.conns.id(slot);
        let Some(conn) = self.conns.at(slot) else { return };
        match (conn.phase, os_result(result)) {
            (Phase::Connecting, Ok(_)) => {
                conn.phase = Phase::Open;
                events.push(Event::Connected { conn: id });
                self.arm_recv(slot);
            }
            (Phase::Connecting, Err(error)) => self.fail(slot, Err(error), events),
            _ => self.settle(slot, events),
        }
    }

    fn received(&mut self, slot: u32, result: i32, flags: u32, events: &mut Vec<Event>) {
        let data = cqueue::buffer_select(flags).map(|number| {
            self.lent.took();
            self.arena.lend(number, result.max(0) as usize)
        });
        if !cqueue::more(flags) {
            self.release_pending(slot);
            if let Some(conn) = self.conns.at(slot) {
                conn.receiving = false;
            }
        }
        let id = self.conns.id(slot);
        let Some(conn) = self.conns.at(slot) else { return };
        let phase = conn.phase;
        match (phase, os_result(result)) {
            (Phase::Open | Phase::Detaching, Ok(count)) if count > 0 => {
                if let Some(data) = data {
                    events.push(Event::Received { conn: id, data });
                }
                self.arm_recv(slot);
            }
            (Phase::Open | Phase::Detaching, Ok(_)) => self.fail(slot, Ok(()), events),
            (Phase::Open, Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.lent.ran_out();
                self.starved.push(slot);
            }
            (Phase::Detaching, Err(error)) if is_cancel(&error) => {}
            (Phase::Open | Phase::Detaching, Err(error)) => self.fail(slot, Err(error), events),
            (Phase::Connecting | Phase::Closing, _) => {}
        }
        self.settle(slot, events);
    }

    fn sent(&mut self, key: usize, result: i32, flags: u32, events: &mut Vec<Event>) {
        if cqueue::notif(flags) {
            if let Some(slot) = self.sends.notified(key, result)
                && let Some(conn) = self.conns.at(slot)
            {
                conn.may_pin = false;
            }
            return;
        }
        let slot = self.sends.owner(key);
        self.release_pending(slot);
        let id = self.conns.id(slot);
        match self.sends.completed(key, os_result(result), cqueue::more(flags)) {
            sends::Outcome::Sent(bytes) => {
                if let Some(conn) = self.conns.at(slot) {
                    conn.sending = false;
                    if conn.phase == Phase::Open {
                        events.push(Event::Sent { conn: id, bytes });
                    }
                }
            }
            sends::Outcome::Continue => {
                let open = self.conns.at(slot).is_some_and(|conn| conn.phase == Phase::Open);
                if open {
                    self.submit_send(slot, key);
                } else {
                    self.sends.abandon(key);
                }
            }
            sends::Outcome::Failed(error) => {
                if let Some(conn) = self.conns.at(slot) {
                    conn.sending = false;
                }
                self.fail(slot, Err(error), events);
            }
        }
        self.settle(slot, events);
    }

    fn submit_send(&mut self, slot: u32, key: usize) {
        let Some(conn) = self.conns.at(slot) else { return };
        conn.pending += 1;
        let fd = types::Fd(conn.socket.as_raw_fd());
        let entry = self.sends.entry(key, fd).user_data(Kind::Send.user_data(key));
        self.push(entry);
    }

    fn file_done(&mut self, key: usize, result: i32, events: &mut Vec<Event>) {
        match self.files.remove(key).complete(result) {
            Step::Done(event) => events.push(event),
            Step::Again(pending) => self.submit_file(pending),
        }
    }

    fn submit_file(&mut self, pending: Box<Pending>) {
        let key = self.files.insert(pending);
        let entry = self.files[key].entry().user_data(Kind::File.user_data(key));
        self.push(entry);
    }

    fn wake_listeners(&mut self) {
        let now = Instant::now();
        let rested: Vec<usize> = self
            .listeners
            .iter()
            .filter(|(_, listener)| !listener.armed && listener.rest.is_over(now))
            .map(|(key, _)| key)
            .collect();
        rested.into_iter().for_each(|key| self.arm_accept(key));
    }

    /// Hands in and waits; a timeout, a signal or a full completion queue is no error.
    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timespec = timeout.map(types::Timespec::from);
        let mut args = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) || error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Errors of `io_uring_enter` that the next call gets over.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

fn is_cancel(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}

impl Driver for UringDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Uring
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let socket = net::listener(addr)?;
        let local = net::local_addr(&socket)?;
        let key = self.listeners.insert(Listener {
            socket,
            armed: false,
            stopping: false,
            rest: Rest::default(),
        });
        self.arm_accept(key);
        Ok((ListenerId(key as u32), local))
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        let key = listener.0 as usize;
        let Some(listener) = self.listeners.get_mut(key) else { return };
        if listener.armed {
            listener.stopping = true;
            let builder = types::CancelBuilder::fd(types::Fd(listener.socket.as_raw_fd())).all();
            // The cancel's own completion names no connection; the accept's frees the listener.
            let nobody = Kind::Cancel.user_data(u32::MAX as usize);
            self.push(opcode::AsyncCancel2::new(builder).build().user_data(nobody));
        } else {
            self.listeners.remove(key);
        }
    }

    fn connect(&mut self, to: SocketAddr, from: Option<SocketAddr>) -> io::Result<ConnId> {
        let socket = net::outgoing(to, from)?;
        net::set_nonblocking(&socket, false)?;
        let mut conn = Conn::new(socket, Phase::Connecting, to);
        conn.pending = 1;
        let id = self.conns.insert(conn);
        let (fd, addr, length) = self.conns.connect_args(id.slot);
        let connect = opcode::Connect::new(types::Fd(fd), addr, length)
            .build()
            .user_data(Kind::Connect.user_data(id.slot()));
        self.push(connect);
        Ok(id)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        net::tune(&socket)?;
        // On a non-blocking socket io_uring answers EAGAIN instead of waiting.
        net::set_nonblocking(&socket, false)?;
        let peer = net::peer_addr(&socket)?;
        let id = self.conns.insert(Conn::new(socket, Phase::Open, peer));
        self.arm_recv(id.slot);
        Ok(id)
    }

    fn detach(&mut self, conn: ConnId) {
        let Some(found) = self.conns.get(conn) else { return };
        debug_assert!(!found.sending, "a connection is given away only between sends");
        if found.phase == Phase::Open {
            found.phase = Phase::Detaching;
            let fd = found.socket.as_raw_fd();
            if found.pending > 0 {
                self.cancel(conn.slot, fd);
            } else {
                let mut events = std::mem::take(&mut self.early);
                self.settle(conn.slot, &mut events);
                self.early = events;
            }
        }
    }

    fn send(&mut self, conn: ConnId, batch: SendBatch) {
        let Some(found) = self.conns.get(conn).filter(|found| found.phase == Phase::Open) else {
            self.sends.recycle(batch);
            return;
        };
        debug_assert!(!found.sending, "one batch at a time");
        found.sending = true;
        let may_pin = found.may_pin;
        let key = self.sends.insert(conn.slot, batch, may_pin);
        self.submit_send(conn.slot, key);
    }

    fn recycled_batch(&mut self) -> Option<SendBatch> {
        self.sends.recycled()
    }

    fn close(&mut self, conn: ConnId) {
        if self.conns.get(conn).is_some_and(|found| found.phase != Phase::Closing) {
            self.begin_close(conn.slot, Phase::Closing);
        }
    }

    fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.conns.peek(conn).map(|found| found.peer)
    }

    fn submit(&mut self, op: FileOp, token: Token) {
        let Some(op) = self.hints.submit(op, token, &self.waker) else { return };
        match Pending::new(op, token) {
            Ok(pending) => self.submit_file(pending),
            Err(event) => self.early.push(event),
        }
    }

    fn trim(&mut self) {
        self.arena.trim();
        self.lent.trim();
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.conns.begin_wait();
        self.lent.refill();
        for slot in std::mem::take(&mut self.starved) {
            self.arm_recv(slot);
        }
        let resting = self.listeners.iter().any(|(_, listener)| listener.rest.is_on());
        if resting {
            self.wake_listeners();
        }
        let timeout = if self.early.is_empty() { timeout } else { Some(Duration::ZERO) };
        let timeout = if resting { Rest::bound(timeout) } else { timeout };
        self.enter(timeout)?;
        events.append(&mut self.early);
        let mut completed = std::mem::take(&mut self.completed);
        completed.extend(
            self.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())),
        );
        for (user_data, result, flags) in completed.drain(..) {
            self.handle(user_data, result, flags, events);
        }
        self.completed = completed;
        events.extend(std::iter::from_fn(|| self.hints.finished()).map(Event::File));
        self.conns.end_wait();
        Ok(())
    }
}

impl Drop for UringDriver {
    /// The kernel must have let go of every buffer before its memory is freed: cancel everything and
    /// wait for the completions. What does not end within the time is leaked instead.
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        for (_, listener) in &mut self.listeners {
            listener.stopping = true;
        }
        for slot in self.conns.used() {
            self.begin_close(slot, Phase::Closing);
        }
        let nobody = Kind::Cancel.user_data(u32::MAX as usize);
        self.push(opcode::AsyncCancel2::new(types::CancelBuilder::any()).build().user_data(nobody));
        let mut events = Vec::new();
        while (!self.files.is_empty() || self.sends.len() > 0 || !self.conns.is_empty())
            && Instant::now() < deadline
        {
            if self.enter(Some(Duration::from_millis(20))).is_err() {
                break;
            }
            let done: Vec<_> = self
                .ring
                .completion()
                .map(|entry| (entry.user_data(), entry.result(), entry.flags()))
                .collect();
            for (user_data, result, flags) in done {
                if Kind::split(user_data).0 != Kind::Wake {
                    self.handle(user_data, result, flags, &mut events);
                }
            }
        }
        if !self.files.is_empty() || self.sends.len() > 0 {
            tracing::warn!(
                files = self.files.len(),
                sends = self.sends.len(),
                "operations did not end in time; their memory is left to the kernel"
            );
            std::mem::forget(std::mem::take(&mut self.files));
            self.sends.leak();
        }
    }
}
