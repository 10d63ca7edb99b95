//! A process's shards in a simulated world, driven by hand on one thread: what the supervisor is to
//! threads. What the session would do with the reports is the caller's.

use crate::{
    limiter::TorrentLimits,
    limits,
    settings::Settings,
    shard::{
        Command, Directory, ORDERED_PANIC, Report, Shard, ShardHandle, ShardParts, StartTorrent,
    },
    status::TorrentId,
    supervisor::shard_settings,
};
use crossbeam_channel::{Receiver, bounded};
use discovery::Progress;
use metainfo::{Bitfield, InfoHash, Layout, PieceHashes};
use ring::{
    RingConfig, Waker,
    sim::{Machine, RingId, World},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};
use storage::{Allocation, FileStamp, Store, StoreLimits};
use swarm::{MemoryBudget, Source};
use tokio::sync::mpsc;
use wire::PeerId;

pub use crate::session::looker::{Found, Look};

/// How long a turn keeps a shard busy: two turns are never at the same moment.
const TURN: Duration = Duration::from_micros(10);

/// How often a shard is looked at from within.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Receive buffers of a simulated shard: few and small, so that running out of them is tried too.
const RECV_BUFFERS: (u32, u16) = (16 * 1024, 64);

/// A torrent to run.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its number.
    pub id: TorrentId,
    /// Its name on the wire.
    pub info_hash: InfoHash,
    /// The id that its peers see.
    pub peer_id: [u8; 20],
    /// Its files.
    pub layout: Arc<Layout>,
    /// What its pieces hash to.
    pub hashes: Arc<PieceHashes>,
    /// The folder that its files are in.
    pub root: Arc<Path>,
    /// The pieces that are there.
    pub have: Bitfield,
    /// How its files look: as for [`storage::ResumeData::stamps`].
    pub stamps: Vec<FileStamp>,
    /// As [`storage::ResumeData::suspects_cache`].
    pub suspects_cache: bool,
}

/// What a shard tells.
#[derive(Debug)]
pub enum Told {
    /// Everything wanted is on the disk.
    Completed(TorrentId),
    /// These pieces are had now.
    Has(TorrentId, Bitfield),
    /// What is new since the last such word.
    Counted {
        /// Whose.
        id: TorrentId,
        /// Bytes of blocks received.
        downloaded: u64,
        /// Bytes of blocks sent.
        uploaded: u64,
        /// Bytes of pieces that failed their hash.
        corrupt: u64,
    },
    /// These pieces survive a loss of power.
    Durable {
        /// Whose.
        id: TorrentId,
        /// Which.
        have: Bitfield,
        /// How its files look.
        stamps: Vec<FileStamp>,
        /// Nothing is written after this.
        is_final: bool,
    },
    /// What was written since the last [`Told::Durable`] may be lost.
    Suspect(TorrentId),
    /// A local error; the torrent stops.
    Trouble(TorrentId, String),
    /// A host is no longer talked to by the torrent.
    Banned(TorrentId, IpAddr),
    /// More addresses are wanted.
    WantsPeers(TorrentId),
    /// The torrent has left its shard, after a start with this number.
    Stopped(TorrentId, u32),
    /// The shard has panicked, and a fresh one has taken its place.
    Replaced(usize),
}

/// The shards of one process.
pub struct Process {
    world: World,
    machine: Machine,
    settings: Settings,
    open_files: usize,
    listen: SocketAddr,
    directory: Directory,
    shards: Vec<Seat>,
    handles: Vec<ShardHandle>,
    reports_in: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    told: VecDeque<Told>,
    /// What each torrent was last seen to claim.
    claims: BTreeMap<TorrentId, Bitfield>,
}

struct Seat {
    ring: RingId,
    shard: Option<Shard>,
    commands: Receiver<Command>,
    waker: Waker,
    /// When it can take its next turn at the earliest.
    free_at: Duration,
    next_check: Duration,
    /// A panic's successor begins at this moment.
    replaced_at: Option<Duration>,
}

impl Process {
    /// Starts so many shards on the machine, which all listen on its port; each has at most so many
    /// files open.
    ///
    /// # Errors
    /// If the real machine is out of descriptors or memory.
    pub fn start(
        world: &World,
        machine: Machine,
        shards: usize,
        settings: &Settings,
        open_files: usize,
        listen: SocketAddr,
    ) -> io::Result<Process> {
        let (reports_in, reports) = mpsc::channel(limits::REPORTS);
        let mut process = Process {
            world: world.clone(),
            machine,
            settings: settings.clone(),
            open_files,
            listen,
            directory: Directory::default(),
            shards: Vec::new(),
            handles: Vec::new(),
            reports_in,
            reports,
            told: VecDeque::new(),
            claims: BTreeMap::new(),
        };
        let mut lines = Vec::new();
        for _ in 0..shards {
            let waker = Waker::new()?;
            let (sender, commands) = bounded(limits::COMMANDS);
            process.handles.push(ShardHandle::new(sender, waker.clone()));
            lines.push((commands, waker));
        }
        for (number, (commands, waker)) in lines.into_iter().enumerate() {
            let (ring, shard) = process.fresh(number, shards, &commands, &waker)?;
            process.shards.push(Seat {
                ring,
                shard: Some(shard),
                commands,
                waker,
                free_at: Duration::ZERO,
                next_check: Duration::ZERO,
                replaced_at: None,
            });
        }
        Ok(process)
    }

    /// A shard with a ring of its own, as the supervisor makes it.
    fn fresh(
        &self,
        number: usize,
        shards: usize,
        commands: &Receiver<Command>,
        waker: &Waker,
    ) -> io::Result<(RingId, Shard)> {
        let config = RingConfig {
            waker: Some(waker.clone()),
            recv_buffer_length: RECV_BUFFERS.0,
            recv_buffer_count: RECV_BUFFERS.1,
            pooled_bytes: 0,
            ..RingConfig::default()
        };
        let (id, mut ring) = self.world.ring(self.machine, &config)?;
        let listener = ring.listen(self.listen)?;
        let limits = StoreLimits {
            direct_writes: false,
            open_files: self.open_files,
            ..StoreLimits::default()
        };
        let memory = u64::from(self.settings.download_memory_mib) << 20;
        let shard = Shard::new(ShardParts {
            number,
            ring,
            store: Store::new(limits),
            budget: MemoryBudget::new(memory / shards as u64),
            settings: shard_settings(&self.settings),
            directory: self.directory.clone(),
            others: self.handles.clone(),
            commands: commands.clone(),
            reports: self.reports_in.clone(),
            listeners: vec![listener],
        });
        Ok((id, shard))
    }

    /// Hands a torrent to a shard.
    pub fn run(&mut self, shard: usize, start: Start, run: u32, swarm: swarm::Settings) {
        self.claims.insert(start.id, start.have.clone());
        let command = StartTorrent {
            id: start.id,
            run,
            info_hash: start.info_hash,
            peer_id: PeerId(start.peer_id),
            layout: start.layout,
            hashes: start.hashes,
            root: start.root,
            device: 1,
            have: start.have,
            stamps: start.stamps,
            suspects_cache: start.suspects_cache,
            priorities: Vec::new(),
            allocation: Allocation::Sparse,
            swarm,
            progress: Arc::new(Progress::default()),
            limits: TorrentLimits::default(),
        };
        self.command(shard, Command::Start(Box::new(command)));
    }

    /// Names peers of a torrent.
    pub fn add_peers(&self, shard: usize, id: TorrentId, peers: Vec<SocketAddr>) {
        self.command(shard, Command::Peers { id, peers, source: Source::Tracker });
    }

    /// Ends a torrent; [`Told::Stopped`] follows.
    pub fn stop(&self, shard: usize, id: TorrentId, run: u32) {
        self.command(shard, Command::Stop { id, run });
    }

    /// Makes a shard panic at its next command.
    pub fn panic(&self, shard: usize) {
        self.command(shard, Command::Panic { torrent: None });
    }

    /// Keeps a shard from doing anything until then: its core is busy, or the machine sleeps.
    pub fn freeze(&mut self, shard: usize, until: Duration) {
        self.shards[shard].free_at = until;
    }

    /// Ends all shards in good order.
    pub fn shut_down(&self) {
        (0..self.shards.len()).for_each(|shard| self.command(shard, Command::Shutdown));
    }

    fn command(&self, shard: usize, command: Command) {
        // A line of thousands is not filled by a world of dozens.
        let _ = self.handles[shard].try_send(command);
    }

    /// When some shard has something to do; `None` once all have ended.
    pub fn due(&self) -> Option<Duration> {
        self.shards.iter().filter_map(|seat| seat.due(&self.world)).min()
    }

    /// Lets every shard take its turn that has something to do now; gives the pieces that torrents
    /// claim since.
    ///
    /// # Errors
    /// If a shard has left its bounds or holds what it should have let go of.
    pub fn step(&mut self) -> io::Result<Vec<(TorrentId, u32)>> {
        let now = self.world.now();
        let mut gained = Vec::new();
        for number in 0..self.shards.len() {
            if self.shards[number].due(&self.world).is_none_or(|due| due > now) {
                continue;
            }
            if self.shards[number].replaced_at.take().is_some() {
                self.replace(number)?;
                continue;
            }
            let seat = &mut self.shards[number];
            seat.free_at = now + TURN;
            match seat.turn(now, &self.world) {
                Ok(result) => result?,
                Err(_) => {
                    tracing::debug!(shard = number, "a shard panicked");
                    seat.replaced_at = Some(now + limits::RESTART_PAUSE);
                    // Its drop could meet the same broken state.
                    let shard = seat.shard.take();
                    let _ = catch_unwind(AssertUnwindSafe(move || drop(shard)));
                }
            }
            let shard = self.shards[number].shard.as_ref();
            for (id, have) in shard.into_iter().flat_map(Shard::claims) {
                compare(&mut self.claims, id, have, &mut gained);
            }
        }
        self.collect(&mut gained);
        Ok(gained)
    }

    fn replace(&mut self, number: usize) -> io::Result<()> {
        let seat = &self.shards[number];
        let (commands, waker) = (seat.commands.clone(), seat.waker.clone());
        let (ring, shard) = self.fresh(number, self.shards.len(), &commands, &waker)?;
        let seat = &mut self.shards[number];
        (seat.ring, seat.shard) = (ring, Some(shard));
        self.told.push_back(Told::Replaced(number));
        Ok(())
    }

    fn collect(&mut self, gained: &mut Vec<(TorrentId, u32)>) {
        while let Ok(report) = self.reports.try_recv() {
            let told = match report {
                Report::Updates(updates) => {
                    for update in updates {
                        let crate::shard::Update { id, downloaded, uploaded, corrupt, .. } = update;
                        self.told.push_back(Told::Counted { id, downloaded, uploaded, corrupt });
                        if let Some(have) = update.have {
                            compare(&mut self.claims, id, &have, gained);
                            self.told.push_back(Told::Has(id, have));
                        }
                    }
                    continue;
                }
                Report::Completed(id) => Told::Completed(id),
                Report::Durable { id, have, stamps, is_final } => {
                    Told::Durable { id, have, stamps, is_final }
                }
                Report::Suspect { id } => Told::Suspect(id),
                Report::Trouble { id, message, .. } => Told::Trouble(id, message),
                Report::Banned { id, addr } => Told::Banned(id, addr),
                Report::WantsPeers(id) => Told::WantsPeers(id),
                Report::Stopped { id, run, .. } => Told::Stopped(id, run),
                _ => continue,
            };
            self.told.push_back(told);
        }
    }

    /// The next thing that some shard tells.
    pub fn poll(&mut self) -> Option<Told> {
        self.told.pop_front()
    }
}

/// What is claimed that was not before.
fn compare(
    claims: &mut BTreeMap<TorrentId, Bitfield>,
    id: TorrentId,
    have: &Bitfield,
    gained: &mut Vec<(TorrentId, u32)>,
) {
    let Some(known) = claims.get_mut(&id).filter(|known| *known != have) else { return };
    let before: Vec<u32> = known.iter().collect();
    gained
        .extend(have.iter().filter(|piece| before.binary_search(piece).is_err()).map(|p| (id, p)));
    known.clone_from(have);
}

impl Seat {
    fn due(&self, world: &World) -> Option<Duration> {
        if self.replaced_at.is_some() {
            return self.replaced_at;
        }
        let shard = self.shard.as_ref()?;
        let due = if world.has_mail(self.ring) { Duration::ZERO } else { shard.deadline() };
        Some(due.max(self.free_at))
    }

    /// One turn; the outer error is a panic that was ordered.
    fn turn(
        &mut self,
        now: Duration,
        world: &World,
    ) -> Result<io::Result<()>, Box<dyn std::any::Any + Send>> {
        let Some(shard) = &mut self.shard else { return Ok(Ok(())) };
        let mut events = Vec::new();
        match catch_unwind(AssertUnwindSafe(|| shard.step(&mut events))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ok(Err(error)),
            Err(panic) if panic.downcast_ref::<&str>() == Some(&ORDERED_PANIC) => {
                return Err(panic);
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let mut checked = Ok(());
        if shard.is_finished() {
            checked = shard.check_end();
            self.shard = None;
        } else if now >= self.next_check {
            self.next_check = now + CHECK_INTERVAL;
            let (known, open) = (shard.connections(), world.connections_of(self.ring));
            checked = match known == open {
                true => shard.check(),
                false => Err(format!("{open} connections are open, of which it knows {known}")),
            };
        }
        Ok(checked.map_err(io::Error::other))
    }
}
