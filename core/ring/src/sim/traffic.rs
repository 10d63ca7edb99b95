//! How connections are made, carry bytes and end.

use super::{
    Action, Inner, Mail,
    net::{End, EndState, Link},
};
use crate::ConnId;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// A call to nobody is given up after this long (tcp_syn_retries of tcp(7)).
const CALL_PATIENCE: Duration = Duration::from_secs(127);

impl Inner {
    fn machine_at(&self, ip: IpAddr) -> Option<usize> {
        self.machines.iter().position(|machine| machine.ip == ip)
    }

    /// Begins to make a connection.
    pub(super) fn call(&mut self, ring: usize, to: SocketAddr) -> u64 {
        let machine = self.rings[ring].machine;
        let from = &mut self.machines[machine];
        let port = from.next_port;
        from.next_port = port.checked_add(1).unwrap_or(20_000);
        let near = End {
            ring: Some(ring),
            conn: None,
            addr: SocketAddr::new(from.ip, port),
            machine,
            state: EndState::Waiting,
        };
        let far_machine = self.machine_at(to.ip());
        let far = End {
            ring: None,
            conn: None,
            addr: to,
            machine: far_machine.unwrap_or(usize::MAX),
            state: EndState::Waiting,
        };
        let link = Link::new([near, far], &self.network, &mut self.rng);
        let at = self.now + link.latency;
        let key = self.next_link;
        self.next_link += 1;
        self.links.insert(key, link);
        if far_machine.is_some() {
            self.schedule(at, Action::Call { link: key });
        } else {
            let error = Some(libc::EHOSTUNREACH);
            self.schedule(at, Action::Answer { link: key, error });
        }
        key
    }

    pub(super) fn call_arrives(&mut self, key: u64) {
        let until = self.blocked_until(key);
        let Some(link) = self.links.get(&key) else { return };
        if let Some(until) = until {
            return self.schedule(until, Action::Call { link: key });
        }
        let (machine, port) = (link.ends[1].machine, link.ends[1].addr.port());
        let back = self.now + link.latency;
        if !self.machines[machine].is_up {
            let error = Some(libc::ETIMEDOUT);
            return self.schedule(self.now + CALL_PATIENCE, Action::Answer { link: key, error });
        }
        let listening: Vec<_> = self
            .rings
            .iter()
            .enumerate()
            .filter(|(_, ring)| ring.machine == machine && ring.is_alive)
            .flat_map(|(number, ring)| {
                let here = ring.listeners.iter().filter(|(at, _)| *at == port);
                here.map(move |(_, listener)| (number, *listener))
            })
            .collect();
        if listening.is_empty() {
            let error = Some(libc::ECONNREFUSED);
            return self.schedule(back, Action::Answer { link: key, error });
        }
        let (ring, listener) = listening[self.rng.usize(..listening.len())];
        if let Some(link) = self.links.get_mut(&key) {
            link.ends[1].ring = Some(ring);
            link.ends[1].state = EndState::Open;
        }
        self.mail(Some(ring), Mail::Accepted { listener, link: key });
        self.schedule(back, Action::Answer { link: key, error: None });
    }

    pub(super) fn answer_arrives(&mut self, key: u64, error: Option<i32>) {
        let until = self.blocked_until(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        if let Some(until) = until {
            return self.schedule(until, Action::Answer { link: key, error });
        }
        if link.ends[0].state != EndState::Waiting {
            return;
        }
        let ring = link.ends[0].ring;
        match error {
            None => {
                link.ends[0].state = EndState::Open;
                self.mail(ring, Mail::Connected { link: key });
            }
            Some(number) => {
                link.ends[1].state = EndState::Closed;
                let result = Err(io::Error::from_raw_os_error(number));
                self.mail(ring, Mail::Closed { link: key, end: 0, result });
            }
        }
    }

    /// Until when nothing arrives on the link, if that is not now.
    pub(super) fn blocked_until(&self, link: u64) -> Option<Duration> {
        let link = self.links.get(&link)?;
        let (a, b) = (link.ends[0].machine, link.ends[1].machine);
        let partitions = self
            .partitions
            .iter()
            .filter(|&&(one, other, _)| (one, other) == (a, b) || (one, other) == (b, a));
        let until = partitions.map(|(_, _, until)| *until).fold(link.stalled_until, Duration::max);
        (until > self.now).then_some(until)
    }

    /// Takes a batch; it is sent as the window allows.
    pub(super) fn hand_in(&mut self, key: u64, end: usize, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let pipe = &mut link.pipes[end];
        pipe.unsent.extend(bytes);
        pipe.batch = Some(bytes.len() as u64);
        self.pump(key, end);
    }

    /// Puts on the line what fits the window.
    pub(super) fn pump(&mut self, key: u64, end: usize) {
        let now = self.now;
        let mut leaving = Vec::new();
        let Some(link) = self.links.get_mut(&key) else { return };
        let (latency, ring) = (link.latency, link.ends[end].ring);
        let pipe = &mut link.pipes[end];
        while let Some(bytes) = pipe.take_chunk() {
            leaving.push((pipe.occupy(now, bytes.len()) + latency, bytes));
        }
        let sent = if pipe.unsent.is_empty() { pipe.batch.take() } else { None };
        for (at, bytes) in leaving {
            self.schedule(at, Action::Arrive { link: key, to: 1 - end, bytes });
        }
        if let Some(bytes) = sent {
            self.mail(ring, Mail::Sent { link: key, end, bytes });
        }
    }

    pub(super) fn bytes_arrive(&mut self, key: u64, to: usize, bytes: Vec<u8>) {
        if let Some(until) = self.blocked_until(key) {
            return self.schedule(until, Action::Arrive { link: key, to, bytes });
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        let ring = link.ends[to].ring;
        match link.ends[to].state {
            EndState::Open | EndState::Waiting => {
                let pipe = &mut link.pipes[1 - to];
                pipe.under_way -= bytes.len();
                let is_first = pipe.arrived.is_empty();
                pipe.arrived.extend(bytes);
                if is_first {
                    self.mail(ring, Mail::Readable { link: key, end: to });
                }
                self.pump(key, 1 - to);
            }
            EndState::Closed => self.answer_with_reset(key, to),
            EndState::Gone => {
                // A machine that is down says nothing; one that came back knows of no connection.
                if self.machines[link.ends[to].machine].is_up {
                    self.answer_with_reset(key, to);
                }
            }
        }
    }

    fn answer_with_reset(&mut self, key: u64, from: usize) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !std::mem::replace(&mut link.pipes[from].ended, true) {
            let at = self.now + link.latency;
            self.schedule(at, Action::End { link: key, to: 1 - from, reset: true });
        }
    }

    pub(super) fn end_arrives(&mut self, key: u64, to: usize, reset: bool) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !matches!(link.ends[to].state, EndState::Open | EndState::Waiting) {
            return;
        }
        // Nothing more is said of it: the ring forgets it when it learns of this.
        link.ends[to].state = EndState::Closed;
        let ring = link.ends[to].ring;
        let result = match reset {
            false => Ok(()),
            true => {
                // What had arrived and was not read is lost.
                link.pipes[1 - to].arrived.clear();
                Err(io::ErrorKind::ConnectionReset.into())
            }
        };
        self.mail(ring, Mail::Closed { link: key, end: to, result });
    }

    /// A process closes its end: the other learns of it behind everything that was sent. Bytes that
    /// came and were not read make it a reset.
    pub(super) fn close_end(&mut self, key: u64, end: usize) {
        let (is_reset, now) = (self.rng.bool(), self.now);
        let Some(link) = self.links.get_mut(&key) else { return };
        link.ends[end].ring = None;
        link.ends[end].conn = None;
        link.ends[end].state = EndState::Closed;
        let latency = link.latency;
        let is_reset = is_reset || !link.pipes[1 - end].arrived.is_empty();
        let pipe = &mut link.pipes[end];
        pipe.unsent.clear();
        pipe.batch = None;
        if !std::mem::replace(&mut pipe.ended, true) {
            let at = pipe.free_at.max(now) + latency;
            self.schedule(at, Action::End { link: key, to: 1 - end, reset: is_reset });
        }
        self.forget_if_over(key);
    }

    pub(super) fn forget_if_over(&mut self, key: u64) {
        let is_over = self.links.get(&key).is_some_and(|link| {
            link.ends.iter().all(|end| {
                end.ring.is_none() && matches!(end.state, EndState::Closed | EndState::Gone)
            })
        });
        if is_over {
            self.links.remove(&key);
        }
    }

    /// A random open connection of the machine.
    pub(super) fn some_link(&mut self, machine: usize) -> Option<u64> {
        let open = |link: &&Link| link.ends.iter().all(|end| end.state == EndState::Open);
        let mine = |link: &&Link| link.ends.iter().any(|end| end.machine == machine);
        let keys: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| open(link) && mine(link))
            .map(|(&key, _)| key)
            .collect();
        (!keys.is_empty()).then(|| keys[self.rng.usize(..keys.len())])
    }

    pub(super) fn set_conn(&mut self, link: u64, end: usize, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.ends[end].conn = Some(conn);
        }
    }
}
