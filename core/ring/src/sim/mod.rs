//! A world in memory: machines with disks, a network between them, and one virtual clock.
//!
//! Everything that happens in it is an [`Action`] with its moment; time passes only from one to the
//! next, so nothing ever sleeps. Everything random comes from the seed: the same calls give the same
//! history. [`World::ring`] gives a ring that lives there, for any code that knows only [`Ring`].
//!
//! Two ways to let time pass: without more ado, [`Ring::wait`] does, up to its timeout, as suits a
//! test of one ring. Whoever runs many rings on one thread calls [`World::schedule_by_hand`], then
//! [`World::advance`] to the next moment, and lets those rings wait that have mail or whose time has
//! come: their waits return at once.

mod disk;
mod driver;
mod files;
mod host;
mod net;
mod traffic;

pub use files::{DiskFaults, OpenFile};
pub use host::{Host, HostFile, here};
pub use net::Network;

use crate::{Event, FileStat, ListenerId, OpenOptions, Ring, RingConfig, Waker, file::Closing};
use disk::Disk;
use files::Flight;
use net::{EndState, Link};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
    fs, io,
    net::IpAddr,
    os::fd::RawFd,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

/// A machine of a [`World`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Machine(usize);

/// A ring of a [`World`], as its scheduler names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RingId(usize);

/// How a machine's processes end without being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// As by `kill -9`: the kernel lives on, closes the connections, and keeps what was written.
    Process,
    /// The power goes: peers hear nothing, and of what was not synced some is lost.
    Power,
}

/// The world. Clones are the same one; it stays on its thread.
#[derive(Clone)]
pub struct World(Rc<RefCell<Inner>>);

pub(in crate::sim) struct Inner {
    now: Duration,
    rng: fastrand::Rng,
    by_hand: bool,
    /// What will happen; the number keeps what happens at the same time in order.
    actions: BTreeMap<(Duration, u64), Action>,
    sequence: u64,
    machines: Vec<MachineState>,
    rings: Vec<RingState>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    flights: BTreeMap<u64, Flight>,
    next_flight: u64,
    network: Network,
    partitions: Vec<(usize, usize, Duration)>,
    /// Ends on the way between two rings, by the descriptor that stands for them.
    detached: HashMap<RawFd, (u64, usize)>,
    null: Arc<Closing>,
    digest: u64,
}

struct MachineState {
    ip: IpAddr,
    is_up: bool,
    /// Its disk does nothing any more: the moment has come that [`World::halt_at_operation`] named.
    halted: bool,
    halt_at: Option<u64>,
    disk: Disk,
    clock_ahead: Duration,
    next_port: u16,
    open: Vec<Weak<OpenFile>>,
}

struct RingState {
    machine: usize,
    is_alive: bool,
    mail: VecDeque<Mail>,
    waker: Waker,
    /// Ports, with the listener that has each.
    listeners: Vec<(u16, ListenerId)>,
}

/// What a ring learns at its next wait.
enum Mail {
    Event(Event),
    Accepted { listener: ListenerId, link: u64 },
    Connected { link: u64 },
    Readable { link: u64, end: usize },
    Sent { link: u64, end: usize, bytes: u64 },
    Closed { link: u64, end: usize, result: io::Result<()> },
}

/// Something that happens at a moment to come.
enum Action {
    /// The call for a connection reaches the other machine,
    Call {
        link: u64,
    },
    /// and the answer comes back.
    Answer {
        link: u64,
        error: Option<i32>,
    },
    Arrive {
        link: u64,
        to: usize,
        bytes: Vec<u8>,
    },
    /// The other end has closed, or is not there any more.
    End {
        link: u64,
        to: usize,
        reset: bool,
    },
    File {
        flight: u64,
    },
}

impl World {
    /// A world without machines, at time zero.
    ///
    /// # Errors
    /// If `/dev/null` cannot be opened, which stands for every simulated file and socket.
    pub fn new(seed: u64) -> io::Result<World> {
        let null = fs::File::open("/dev/null")?;
        Ok(World(Rc::new(RefCell::new(Inner {
            now: Duration::ZERO,
            rng: fastrand::Rng::with_seed(seed),
            by_hand: false,
            actions: BTreeMap::new(),
            sequence: 0,
            machines: Vec::new(),
            rings: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            flights: BTreeMap::new(),
            next_flight: 0,
            network: Network::default(),
            partitions: Vec::new(),
            detached: HashMap::new(),
            null: Arc::new(Closing(Some(null.into()))),
            digest: 0xcbf2_9ce4_8422_2325,
        }))))
    }

    /// A machine with an empty disk of so many bytes, which is up.
    pub fn add_machine(&self, ip: IpAddr, disk_capacity: u64) -> Machine {
        let mut inner = self.0.borrow_mut();
        let mut disk = Disk::default();
        disk.capacity = disk_capacity;
        disk.make_folder(Path::new("/")).expect("the root of an empty disk");
        disk.settle();
        inner.machines.push(MachineState {
            ip,
            is_up: true,
            halted: false,
            halt_at: None,
            disk,
            clock_ahead: Duration::ZERO,
            next_port: 20_000,
            open: Vec::new(),
        });
        Machine(inner.machines.len() - 1)
    }

    /// A ring on the machine. The driver that `config` names does not matter.
    pub fn ring(&self, machine: Machine, config: &RingConfig) -> io::Result<(RingId, Ring)> {
        let waker = config.waker.clone().map_or_else(Waker::new, Ok)?;
        let id = {
            let mut inner = self.0.borrow_mut();
            inner.rings.push(RingState {
                machine: machine.0,
                is_alive: true,
                mail: VecDeque::new(),
                waker,
                listeners: Vec::new(),
            });
            inner.rings.len() - 1
        };
        let driver = driver::SimDriver::new(self.clone(), id, config)?;
        Ok((RingId(id), Ring::with_driver(Box::new(driver), config)))
    }

    /// From now on time passes only by [`World::advance`].
    pub fn schedule_by_hand(&self) {
        self.0.borrow_mut().by_hand = true;
    }

    /// Time since the world began.
    pub fn now(&self) -> Duration {
        self.0.borrow().now
    }

    /// When something happens next by itself.
    pub fn next(&self) -> Option<Duration> {
        self.0.borrow().actions.keys().next().map(|(at, _)| *at)
    }

    /// Lets time pass until `to`; everything that is due happens.
    pub fn advance(&self, to: Duration) {
        self.0.borrow_mut().advance(to);
    }

    /// Whether the ring's next wait has something to tell.
    pub fn has_mail(&self, ring: RingId) -> bool {
        let inner = self.0.borrow();
        let ring = &inner.rings[ring.0];
        ring.is_alive && (!ring.mail.is_empty() || ring.waker.is_pending())
    }

    /// Everything that has happened so far as one number: the same for two runs that were the same.
    pub fn digest(&self) -> u64 {
        self.0.borrow().digest
    }

    /// A source of random numbers of its own, which the seed decides too.
    pub fn fork_random(&self) -> fastrand::Rng {
        self.0.borrow_mut().rng.fork()
    }

    /// What connections that are made from now on are like.
    pub fn set_network(&self, network: Network) {
        self.0.borrow_mut().network = network;
    }

    /// Nothing gets from one machine to the other until then; it arrives late, not never.
    pub fn partition(&self, a: Machine, b: Machine, until: Duration) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now;
        inner.partitions.retain(|(_, _, until)| *until > now);
        inner.partitions.push((a.0, b.0, until));
    }

    /// Resets a random open connection of the machine; `false` if there is none.
    pub fn reset_connection(&self, machine: Machine) -> bool {
        let mut inner = self.0.borrow_mut();
        let Some(link) = inner.some_link(machine.0) else { return false };
        for to in [0, 1] {
            inner.end_arrives(link, to, true);
        }
        true
    }

    /// Nothing arrives on a random open connection of the machine until then.
    pub fn stall_connection(&self, machine: Machine, until: Duration) -> bool {
        let mut inner = self.0.borrow_mut();
        let Some(link) = inner.some_link(machine.0) else { return false };
        if let Some(link) = inner.links.get_mut(&link) {
            link.stalled_until = until;
        }
        true
    }

    /// Ends all rings of the machine at once. They do nothing any more; drop what holds them. With
    /// [`Crash::Power`] the machine is down until [`World::boot`].
    pub fn crash(&self, machine: Machine, how: Crash) {
        self.0.borrow_mut().crash(machine.0, how);
    }

    /// The machine is up again after a loss of power.
    pub fn boot(&self, machine: Machine) {
        self.0.borrow_mut().machines[machine.0].is_up = true;
    }

    /// Connections that the ring has told its user of, and not that they have ended.
    pub fn connections_of(&self, ring: RingId) -> usize {
        let inner = self.0.borrow();
        let ends = inner.links.values().flat_map(|link| &link.ends);
        ends.filter(|end| end.ring == Some(ring.0) && end.conn.is_some()).count()
    }

    /// Connections that some ring of the machine holds.
    pub fn open_connections(&self, machine: Machine) -> usize {
        let inner = self.0.borrow();
        let ends = inner.links.values().flat_map(|link| &link.ends);
        ends.filter(|end| {
            end.machine == machine.0 && end.state == EndState::Open && end.ring.is_some()
        })
        .count()
    }
}

/// The disk of a machine, from outside.
impl World {
    /// What can go wrong with the disk from now on.
    pub fn set_disk_faults(&self, machine: Machine, faults: DiskFaults) {
        self.0.borrow_mut().machines[machine.0].disk.faults = faults;
    }

    /// Bytes that the disk holds at most.
    pub fn set_disk_capacity(&self, machine: Machine, capacity: u64) {
        self.0.borrow_mut().machines[machine.0].disk.capacity = capacity;
    }

    /// Puts a file there, durably, with the folders above it.
    pub fn put_file(&self, machine: Machine, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let now = inner.now;
        let disk = &mut inner.machines[machine.0].disk;
        disk.make_folder(path.parent().unwrap_or(path))?;
        let inode = disk.open(path, OpenOptions::WRITE, now)?;
        disk.set_length(inode, 0, now)?;
        disk.write(inode, 0, content, now)?;
        disk.settle();
        Ok(())
    }

    /// Makes a folder there, durably, and those above it.
    pub fn put_folder(&self, machine: Machine, path: &Path) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let disk = &mut inner.machines[machine.0].disk;
        disk.make_folder(path)?;
        disk.settle();
        Ok(())
    }

    /// What is in a file, as a process would see it.
    pub fn content(&self, machine: Machine, path: &Path) -> Option<Vec<u8>> {
        self.0.borrow().machines[machine.0].disk.content(path).map(<[u8]>::to_vec)
    }

    /// Whether these bytes are at this place of a file, as a process would see it.
    pub fn shows(&self, machine: Machine, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        is_at(self.0.borrow().machines[machine.0].disk.content(path), offset, bytes)
    }

    /// Whether these bytes would still be at this place of a file if the power went now, whatever
    /// else goes with it.
    pub fn keeps(&self, machine: Machine, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        is_at(self.0.borrow().machines[machine.0].disk.durable(path), offset, bytes)
    }

    /// Syncs a file and the folders above it at once, as a process other than the machine's rings;
    /// fails as often as their syncs do.
    pub fn sync_file(&self, machine: Machine, path: &Path) -> io::Result<()> {
        self.0.borrow_mut().sync_file(machine.0, path)
    }

    /// Sets the machine's clock, which files get their times from, to so much after the world's.
    pub fn set_clock(&self, machine: Machine, ahead: Duration) {
        let machine = &mut self.0.borrow_mut().machines[machine.0];
        (machine.clock_ahead, machine.disk.clock_ahead) = (ahead, ahead);
    }

    /// All files.
    pub fn paths(&self, machine: Machine) -> Vec<PathBuf> {
        self.0.borrow().machines[machine.0].disk.paths()
    }

    /// What stat(2) says.
    pub fn stat(&self, machine: Machine, path: &Path) -> io::Result<FileStat> {
        self.0.borrow().machines[machine.0].disk.stat(path)
    }

    /// Somebody else deletes the file.
    pub fn remove_file(&self, machine: Machine, path: &Path) -> io::Result<()> {
        self.0.borrow_mut().machines[machine.0].disk.unlink(path)
    }

    /// Somebody else cuts the file.
    pub fn truncate_file(&self, machine: Machine, path: &Path, length: u64) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let now = inner.now;
        let disk = &mut inner.machines[machine.0].disk;
        let inode = disk.open(path, OpenOptions { write: true, ..OpenOptions::READ }, now)?;
        disk.set_length(inode, length, now)
    }

    /// The kernel needs memory: what it need not write is read anew from now on.
    pub fn drop_clean_pages(&self, machine: Machine) {
        self.0.borrow_mut().machines[machine.0].disk.drop_clean_pages();
    }

    /// File operations that have ended since the world began.
    pub fn disk_operations(&self, machine: Machine) -> u64 {
        self.0.borrow().machines[machine.0].disk.operations
    }

    /// The disk stops for good when so many operations have ended: see [`World::is_halted`].
    pub fn halt_at_operation(&self, machine: Machine, operations: Option<u64>) {
        self.0.borrow_mut().machines[machine.0].halt_at = operations;
    }

    /// Whether the moment of [`World::halt_at_operation`] has come; a crash follows.
    pub fn is_halted(&self, machine: Machine) -> bool {
        self.0.borrow().machines[machine.0].halted
    }

    /// Files that the machine's rings, or whoever uses them, hold open.
    pub fn open_files(&self, machine: Machine) -> usize {
        let inner = self.0.borrow();
        inner.machines[machine.0].open.iter().filter(|file| file.strong_count() > 0).count()
    }
}

fn is_at(content: Option<&[u8]>, offset: u64, bytes: &[u8]) -> bool {
    let range = offset as usize..offset as usize + bytes.len();
    content.is_some_and(|content| content.get(range) == Some(bytes))
}

impl Inner {
    fn schedule(&mut self, at: Duration, action: Action) {
        self.sequence += 1;
        self.actions.insert((at.max(self.now), self.sequence), action);
    }

    fn advance(&mut self, to: Duration) {
        while let Some(entry) = self.actions.first_entry()
            && entry.key().0 <= to
        {
            let ((at, _), action) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(action);
        }
        self.now = self.now.max(to);
    }

    fn happen(&mut self, action: Action) {
        match action {
            Action::Call { link } => self.call_arrives(link),
            Action::Answer { link, error } => self.answer_arrives(link, error),
            Action::Arrive { link, to, bytes } => {
                self.note(&[1, link, to as u64, bytes.len() as u64]);
                self.bytes_arrive(link, to, bytes);
            }
            Action::End { link, to, reset } => {
                self.note(&[2, link, to as u64]);
                match self.blocked_until(link) {
                    Some(until) => self.schedule(until, Action::End { link, to, reset }),
                    None => self.end_arrives(link, to, reset),
                }
            }
            Action::File { flight } => {
                self.note(&[3, flight]);
                self.file_ends(flight);
            }
        }
    }

    /// Takes something that happened into the digest (FNV-1a).
    fn note(&mut self, what: &[u64]) {
        for number in [self.now.as_nanos() as u64].iter().chain(what) {
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn mail(&mut self, ring: Option<usize>, mail: Mail) {
        if let Some(ring) = ring.and_then(|ring| self.rings.get_mut(ring))
            && ring.is_alive
        {
            ring.mail.push_back(mail);
        }
    }

    fn crash(&mut self, machine: usize, how: Crash) {
        tracing::debug!(at = ?self.now, machine, ?how, "crash");
        self.end_flights(machine);
        let rings: Vec<usize> =
            (0..self.rings.len()).filter(|&ring| self.rings[ring].machine == machine).collect();
        for ring in rings {
            self.end_ring(ring, how);
        }
        let state = &mut self.machines[machine];
        state.halted = false;
        state.halt_at = None;
        if how == Crash::Power {
            state.is_up = false;
            state.disk.lose_power(&mut self.rng);
        }
    }

    /// A ring is no more; its connections end as the kernel ends them.
    fn end_ring(&mut self, ring: usize, how: Crash) {
        let state = &mut self.rings[ring];
        if !std::mem::replace(&mut state.is_alive, false) {
            return;
        }
        state.mail.clear();
        state.listeners.clear();
        let ends = self.links.iter().flat_map(|(&link, found)| {
            let mine = |end: &usize| found.ends[*end].ring == Some(ring);
            [0, 1].into_iter().filter(mine).map(move |end| (link, end)).collect::<Vec<_>>()
        });
        let ends: Vec<(u64, usize)> = ends.collect();
        for (link, end) in ends {
            match how {
                Crash::Process => self.close_end(link, end),
                Crash::Power => {
                    if let Some(link) = self.links.get_mut(&link) {
                        link.ends[end].state = EndState::Gone;
                        link.ends[end].ring = None;
                    }
                    self.forget_if_over(link);
                }
            }
        }
    }
}
