//! A process's shards in a simulated world, driven by hand on one thread: what the supervisor is to
//! threads. What the session would do with the reports is the caller's.

use crate::{
    limiter::TorrentLimits,
    limits,
    settings::Settings,
    shard::{Command, Directory, Report, Shard, ShardHandle, ShardParts, StartTorrent},
    status::TorrentId,
    supervisor::shard_settings,
};
use crossbeam_channel::bounded;
use discovery::Progress;
use metainfo::{Bitfield, InfoHash, Layout, PieceHashes};
use ring::{
    RingConfig, Waker,
    sim::{Machine, RingId, World},
};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use storage::{Allocation, FileStamp, Store, StoreLimits};
use swarm::{MemoryBudget, Source};
use tokio::sync::mpsc;
use wire::PeerId;

/// How long a turn keeps a shard busy: two turns are never at the same moment.
const TURN: Duration = Duration::from_micros(10);

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
}

/// What a shard tells.
#[derive(Debug)]
pub enum Told {
    /// Everything wanted is on the disk.
    Completed(TorrentId),
    /// These pieces are had now.
    Has(TorrentId, Bitfield),
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
    /// Nothing that was said to be durable is any more.
    Suspect(TorrentId),
    /// A local error; the torrent stops.
    Trouble(TorrentId, String),
    /// More addresses are wanted.
    WantsPeers(TorrentId),
    /// The torrent has left its shard.
    Stopped(TorrentId),
}

/// The shards of one process.
pub struct Process {
    world: World,
    shards: Vec<Seat>,
    handles: Vec<ShardHandle>,
    reports: mpsc::Receiver<Report>,
}

struct Seat {
    ring: RingId,
    shard: Option<Shard>,
    /// When it can take its next turn at the earliest.
    free_at: Duration,
}

impl Process {
    /// Starts so many shards on the machine, which all listen on its port.
    ///
    /// # Errors
    /// If the real machine is out of descriptors or memory.
    pub fn start(
        world: &World,
        machine: Machine,
        shards: usize,
        settings: &Settings,
        listen: SocketAddr,
    ) -> std::io::Result<Process> {
        let (reports_in, reports) = mpsc::channel(limits::REPORTS);
        let directory = Directory::default();
        let mut lines = Vec::new();
        let mut handles = Vec::new();
        for _ in 0..shards {
            let waker = Waker::new()?;
            let (sender, commands) = bounded(limits::COMMANDS);
            handles.push(ShardHandle::new(sender, waker.clone()));
            lines.push((commands, waker));
        }
        let mut seats = Vec::new();
        for (number, (commands, waker)) in lines.into_iter().enumerate() {
            let config = RingConfig {
                waker: Some(waker),
                recv_buffer_length: RECV_BUFFERS.0,
                recv_buffer_count: RECV_BUFFERS.1,
                pooled_bytes: 0,
                ..RingConfig::default()
            };
            let (id, mut ring) = world.ring(machine, &config)?;
            let listener = ring.listen(listen)?;
            let limits = StoreLimits { direct_writes: false, ..StoreLimits::default() };
            let shard = Shard::new(ShardParts {
                number,
                ring,
                store: Store::new(limits),
                budget: MemoryBudget::new(
                    (u64::from(settings.download_memory_mib) << 20) / shards as u64,
                ),
                settings: shard_settings(settings),
                directory: directory.clone(),
                others: handles.clone(),
                commands,
                reports: reports_in.clone(),
                listeners: vec![listener],
            });
            seats.push(Seat { ring: id, shard: Some(shard), free_at: Duration::ZERO });
        }
        Ok(Process { world: world.clone(), shards: seats, handles, reports })
    }

    /// Hands a torrent to a shard.
    pub fn run(&self, shard: usize, start: Start, run: u32, swarm: swarm::Settings) {
        let command = StartTorrent {
            id: start.id,
            run,
            info_hash: start.info_hash,
            peer_id: PeerId(start.peer_id),
            layout: start.layout,
            hashes: start.hashes,
            root: start.root,
            have: start.have,
            stamps: start.stamps,
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

    /// Lets every shard take its turn that has something to do now.
    pub fn step(&mut self) -> std::io::Result<()> {
        let now = self.world.now();
        let mut events = Vec::new();
        for seat in &mut self.shards {
            if seat.due(&self.world).is_some_and(|due| due <= now)
                && let Some(shard) = &mut seat.shard
            {
                shard.step(&mut events)?;
                seat.free_at = now + TURN;
                if shard.is_finished() {
                    seat.shard = None;
                }
            }
        }
        Ok(())
    }

    /// The next thing that some shard tells.
    pub fn poll(&mut self) -> Option<Told> {
        loop {
            return Some(match self.reports.try_recv().ok()? {
                Report::Updates(updates) => {
                    let changed = |update: crate::shard::Update| Some((update.id, update.have?));
                    let Some((id, have)) = updates.into_iter().find_map(changed) else { continue };
                    Told::Has(id, have)
                }
                Report::Completed(id) => Told::Completed(id),
                Report::Durable { id, have, stamps, is_final } => {
                    Told::Durable { id, have, stamps, is_final }
                }
                Report::Suspect { id } => Told::Suspect(id),
                Report::Trouble { id, message, .. } => Told::Trouble(id, message),
                Report::WantsPeers(id) => Told::WantsPeers(id),
                Report::Stopped { id, .. } => Told::Stopped(id),
                _ => continue,
            });
        }
    }

    /// Bytes in buffers of all shards, and in pieces on their way in.
    pub fn memory(&self) -> (usize, u64) {
        let shards = self.shards.iter().filter_map(|seat| seat.shard.as_ref());
        shards.map(Shard::memory).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

impl Seat {
    fn due(&self, world: &World) -> Option<Duration> {
        let shard = self.shard.as_ref()?;
        let due = if world.has_mail(self.ring) { Duration::ZERO } else { shard.deadline() };
        Some(due.max(self.free_at))
    }
}
