//! The driver behind a simulated ring: its own connections, and the world's mail for it.

use super::{Crash, EndState, Mail, World, net};
use crate::{
    ConnId, Event, FileOp, ListenerId, RingConfig, SendBatch, Token, Waker,
    buffer::RecvArena,
    driver::{Driver, DriverKind},
    slots::Slots,
};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

pub(super) struct SimDriver {
    world: World,
    ring: usize,
    arena: Rc<RecvArena>,
    conns: Slots<Conn>,
    next_listener: u32,
}

struct Conn {
    link: u64,
    end: usize,
    peer: SocketAddr,
}

/// Port of a listener that asked for any.
const FIRST_FREE_PORT: u16 = 40_000;

impl SimDriver {
    pub(super) fn new(world: World, ring: usize, config: &RingConfig) -> io::Result<SimDriver> {
        let arena = RecvArena::new(config.recv_buffer_length, config.recv_buffer_count)?;
        Ok(SimDriver { world, ring, arena, conns: Slots::default(), next_listener: 0 })
    }

    fn insert(&mut self, link: u64, end: usize) -> Option<(ConnId, SocketAddr)> {
        let peer = self.world.0.borrow().links.get(&link)?.ends[1 - end].addr;
        let conn = self.conns.insert(Conn { link, end, peer });
        self.world.0.borrow_mut().set_conn(link, end, conn);
        Some((conn, peer))
    }

    fn conn_of(&self, link: u64, end: usize) -> Option<ConnId> {
        let inner = self.world.0.borrow();
        let end = &inner.links.get(&link)?.ends[end];
        end.conn.filter(|_| end.ring == Some(self.ring))
    }

    fn deliver(&mut self, mail: Mail, events: &mut Vec<Event>) -> Result<(), Mail> {
        match mail {
            Mail::Event(event) => events.push(event),
            Mail::Accepted { listener, link } => {
                if let Some((conn, peer)) = self.insert(link, 1) {
                    events.push(Event::Accepted { listener, conn, peer });
                }
            }
            Mail::Connected { link } => {
                let conn = self.conn_of(link, 0);
                events.extend(conn.map(|conn| Event::Connected { conn }));
            }
            Mail::Sent { link, end, bytes } => {
                let conn = self.conn_of(link, end);
                events.extend(conn.map(|conn| Event::Sent { conn, bytes }));
            }
            Mail::Closed { link, end, result } => {
                if let Some(conn) = self.conn_of(link, end) {
                    self.conns.free(conn.slot);
                    self.world.0.borrow_mut().close_end(link, end);
                    events.push(Event::Closed { conn, result });
                }
            }
            Mail::Readable { link, end } => {
                if let Some(conn) = self.conn_of(link, end)
                    && !self.receive(conn, link, end, events)
                {
                    return Err(Mail::Readable { link, end });
                }
            }
        }
        Ok(())
    }

    /// Lends what has arrived; `false` if the buffers ran out before it was all.
    fn receive(&mut self, conn: ConnId, link: u64, end: usize, events: &mut Vec<Event>) -> bool {
        let mut inner = self.world.0.borrow_mut();
        let is_all = loop {
            let Some(found) = inner.links.get_mut(&link) else { break true };
            let arrived = &mut found.pipes[1 - end].arrived;
            if arrived.is_empty() {
                break true;
            }
            let Some(number) = self.arena.take() else { break false };
            let count = arrived.len().min(self.arena.buffer_length());
            let data = self.arena.fill(number, net::first(arrived, count));
            arrived.drain(..count);
            events.push(Event::Received { conn, data });
        };
        inner.pump(link, 1 - end);
        is_all
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        let woken = {
            let inner = self.world.0.borrow();
            let waker = &inner.rings[self.ring].waker;
            waker.is_pending().then(|| waker.take()).is_some()
        };
        if woken {
            events.push(Event::Woken);
        }
        loop {
            let mail = self.world.0.borrow_mut().rings[self.ring].mail.pop_front();
            let Some(mail) = mail else { break };
            if let Err(mail) = self.deliver(mail, events) {
                self.world.0.borrow_mut().rings[self.ring].mail.push_front(mail);
                break;
            }
        }
    }
}

impl Driver for SimDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Sim
    }

    fn waker(&self) -> Waker {
        self.world.0.borrow().rings[self.ring].waker.clone()
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let mut inner = self.world.0.borrow_mut();
        let machine = inner.rings[self.ring].machine;
        let ip = inner.machines[machine].ip;
        if addr.is_ipv4() != ip.is_ipv4() {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        let port = match addr.port() {
            0 => FIRST_FREE_PORT + self.ring as u16,
            port => port,
        };
        let listener = ListenerId(self.next_listener);
        self.next_listener += 1;
        inner.rings[self.ring].listeners.push((port, listener));
        Ok((listener, SocketAddr::new(ip, port)))
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        let mut inner = self.world.0.borrow_mut();
        inner.rings[self.ring].listeners.retain(|(_, other)| *other != listener);
    }

    fn connect(&mut self, to: SocketAddr, _from: Option<SocketAddr>) -> io::Result<ConnId> {
        let link = self.world.0.borrow_mut().call(self.ring, to);
        let (conn, _) = self.insert(link, 0).ok_or(io::ErrorKind::NotConnected)?;
        Ok(conn)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        let found = self.world.0.borrow_mut().detached.remove(&socket.as_raw_fd());
        let (link, end) = found.ok_or(io::ErrorKind::NotConnected)?;
        if let Some(link) = self.world.0.borrow_mut().links.get_mut(&link) {
            link.ends[end].ring = Some(self.ring);
        }
        let (conn, _) = self.insert(link, end).ok_or(io::ErrorKind::NotConnected)?;
        let mut inner = self.world.0.borrow_mut();
        let is_closed = inner.links.get(&link).map(|link| link.ends[end].state);
        inner.mail(Some(self.ring), Mail::Readable { link, end });
        if is_closed == Some(EndState::Closed) {
            inner.mail(Some(self.ring), Mail::Closed { link, end, result: Ok(()) });
        }
        Ok(conn)
    }

    fn detach(&mut self, conn: ConnId) {
        let Some((_, Conn { link, end, .. })) =
            self.conns.get(conn).is_some().then(|| self.conns.free(conn.slot)).flatten()
        else {
            return;
        };
        let mut inner = self.world.0.borrow_mut();
        let Some(Ok(socket)) = inner.null.0.as_ref().map(|fd| fd.try_clone()) else { return };
        let Some(found) = inner.links.get_mut(&link) else { return };
        found.ends[end].ring = None;
        found.ends[end].conn = None;
        inner.detached.insert(socket.as_raw_fd(), (link, end));
        inner.mail(Some(self.ring), Mail::Event(Event::Detached { conn, socket }));
    }

    fn send(&mut self, conn: ConnId, batch: SendBatch) {
        if let Some(Conn { link, end, .. }) = self.conns.get(conn) {
            self.world.0.borrow_mut().hand_in(*link, *end, &batch.copy());
        }
    }

    fn recycled_batch(&mut self) -> Option<SendBatch> {
        None
    }

    fn close(&mut self, conn: ConnId) {
        if self.conns.get(conn).is_some()
            && let Some((_, Conn { link, end, .. })) = self.conns.free(conn.slot)
        {
            self.world.0.borrow_mut().close_end(link, end);
        }
    }

    fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.conns.peek(conn).map(|conn| conn.peer)
    }

    fn submit(&mut self, op: FileOp, token: Token) {
        let mut inner = self.world.0.borrow_mut();
        if inner.rings[self.ring].is_alive {
            inner.begin_file_op(self.ring, op, token);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.conns.begin_wait();
        self.collect(events);
        let until = timeout.map(|timeout| self.world.now() + timeout);
        while events.is_empty() && !self.world.0.borrow().by_hand {
            let Some(next) = self.world.next().into_iter().chain(until).min() else { break };
            self.world.advance(next);
            self.collect(events);
            if until.is_some_and(|until| next >= until) {
                break;
            }
        }
        self.conns.end_wait();
        Ok(())
    }

    fn virtual_time(&self) -> Option<Duration> {
        Some(self.world.now())
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        // A drop while the world is being changed comes only with a panic there.
        if let Ok(mut inner) = self.world.0.try_borrow_mut()
            && inner.rings[self.ring].is_alive
        {
            inner.end_flights_of_ring(self.ring);
            inner.end_ring(self.ring, Crash::Process);
        }
    }
}
