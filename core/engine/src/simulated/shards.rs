//! A process's shards, driven by hand on one thread: what the supervisor is to threads.

use super::Plan;
use crate::{
    limits,
    shard::{Command, Directory, End, ORDERED_PANIC, Report, Shard, ShardHandle, ShardParts},
    status::TorrentId,
    supervisor::{Shards, shard_settings},
};
use crossbeam_channel::{Receiver, bounded};
use metainfo::Bitfield;
use ring::{
    RingConfig, Waker,
    sim::{Machine, RingId, World},
};
use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use storage::{Store, StoreLimits};
use swarm::MemoryBudget;
use tokio::sync::mpsc;

/// How long a turn keeps a shard busy: two turns are never at the same moment.
const TURN: Duration = Duration::from_micros(10);

/// How often a shard is looked at from within.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of free buffers that a simulated shard keeps.
const POOLED_BYTES: usize = 1 << 20;

/// Receive buffers of a simulated shard: few and small, so that running out of them is tried too.
const RECV_BUFFERS: (u32, u16) = (16 * 1024, 64);

/// The shards of one process.
pub(super) struct Seats {
    world: World,
    machine: Machine,
    plan: Plan,
    directory: Directory,
    seats: Vec<Seat>,
    handles: Vec<ShardHandle>,
    reports: mpsc::Sender<Report>,
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
    /// When a panic's successor begins, and the torrent that the panic befell.
    replaced: Option<(Duration, Option<TorrentId>)>,
}

impl Seats {
    /// Starts the shards on the machine, which all listen on its port.
    pub(super) fn start(
        world: &World,
        machine: Machine,
        plan: &Plan,
        reports: mpsc::Sender<Report>,
    ) -> io::Result<Seats> {
        let mut seats = Seats {
            world: world.clone(),
            machine,
            plan: plan.clone(),
            directory: Directory::default(),
            seats: Vec::new(),
            handles: Vec::new(),
            reports,
            claims: BTreeMap::new(),
        };
        let mut lines = Vec::new();
        for _ in 0..plan.shards {
            let waker = Waker::new()?;
            let (sender, commands) = bounded(limits::COMMANDS);
            seats.handles.push(ShardHandle::new(sender, waker.clone()));
            lines.push((commands, waker));
        }
        for (number, (commands, waker)) in lines.into_iter().enumerate() {
            let (ring, shard) = seats.fresh(number, &commands, &waker)?;
            seats.seats.push(Seat {
                ring,
                shard: Some(shard),
                commands,
                waker,
                free_at: Duration::ZERO,
                next_check: Duration::ZERO,
                replaced: None,
            });
        }
        Ok(seats)
    }

    /// As the session knows them.
    pub(super) fn shards(&self) -> Shards {
        Shards::by_hand(&self.handles, self.plan.listen, &self.directory)
    }

    /// A shard with a ring of its own, as the supervisor makes it.
    fn fresh(
        &self,
        number: usize,
        commands: &Receiver<Command>,
        waker: &Waker,
    ) -> io::Result<(RingId, Shard)> {
        let config = RingConfig {
            waker: Some(waker.clone()),
            recv_buffer_length: RECV_BUFFERS.0,
            recv_buffer_count: RECV_BUFFERS.1,
            pooled_bytes: POOLED_BYTES,
            ..RingConfig::default()
        };
        let (id, mut ring) = self.world.ring(self.machine, &config)?;
        let listener = ring.listen(self.plan.listen)?;
        let limits = StoreLimits {
            direct_writes: false,
            open_files: self.plan.open_files,
            ..StoreLimits::default()
        };
        let memory = u64::from(self.plan.settings.download_memory_mib) << 20;
        let shard = Shard::new(ShardParts {
            number,
            ring,
            store: Store::new(limits),
            budget: MemoryBudget::new(memory / self.plan.shards as u64),
            settings: shard_settings(&self.plan.settings),
            directory: self.directory.clone(),
            others: self.handles.clone(),
            commands: commands.clone(),
            reports: self.reports.clone(),
            listeners: vec![listener],
        });
        Ok((id, shard))
    }

    /// Makes a shard panic at its next command.
    pub(super) fn panic(&self, shard: usize) {
        // A line of thousands is not filled by a world of dozens.
        let _ = self.handles[shard].try_send(Command::Panic { torrent: None });
    }

    /// Keeps them from doing anything until then: their cores are busy, or the machine sleeps.
    pub(super) fn freeze(&mut self, until: Duration) {
        self.seats.iter_mut().for_each(|seat| seat.free_at = until);
    }

    /// When some shard has something to do; `None` once all have ended.
    pub(super) fn due(&self) -> Option<Duration> {
        self.seats.iter().filter_map(|seat| seat.due(&self.world)).min()
    }

    /// A torrent runs no longer.
    pub(super) fn has_left(&mut self, id: TorrentId) {
        self.claims.remove(&id);
    }

    /// Lets every shard take its turn that has something to do now; gives the pieces that torrents
    /// claim since.
    pub(super) fn step(&mut self) -> io::Result<Vec<(TorrentId, u32)>> {
        let now = self.world.now();
        let mut gained = Vec::new();
        for number in 0..self.seats.len() {
            if self.seats[number].due(&self.world).is_none_or(|due| due > now) {
                continue;
            }
            if let Some((_, culprit)) = self.seats[number].replaced.take() {
                self.replace(number, culprit)?;
                continue;
            }
            self.turn(number, now)?;
            let shard = self.seats[number].shard.as_ref();
            for (id, have) in shard.into_iter().flat_map(Shard::claims) {
                compare(&mut self.claims, id, have, &mut gained);
            }
        }
        Ok(gained)
    }

    fn turn(&mut self, number: usize, now: Duration) -> io::Result<()> {
        let seat = &mut self.seats[number];
        seat.free_at = now + TURN;
        match seat.turn(now, &self.world) {
            Ok(result) => {
                let has_ended = seat.shard.is_none();
                result?;
                if has_ended {
                    self.tell_end(number, End::Ordered, None);
                }
            }
            Err(_) => {
                tracing::debug!(shard = number, "a shard panicked");
                let culprit = seat.shard.as_ref().and_then(Shard::in_hand);
                seat.replaced = Some((now + limits::RESTART_PAUSE, culprit));
                // Its drop could meet the same broken state.
                let shard = seat.shard.take();
                let _ = catch_unwind(AssertUnwindSafe(move || drop(shard)));
            }
        }
        Ok(())
    }

    fn replace(&mut self, number: usize, culprit: Option<TorrentId>) -> io::Result<()> {
        let seat = &self.seats[number];
        let (commands, waker) = (seat.commands.clone(), seat.waker.clone());
        let (ring, shard) = self.fresh(number, &commands, &waker)?;
        let seat = &mut self.seats[number];
        (seat.ring, seat.shard) = (ring, Some(shard));
        self.tell_end(number, End::Replaced, culprit);
        Ok(())
    }

    fn tell_end(&self, shard: usize, end: End, culprit: Option<TorrentId>) {
        // A line of thousands is not filled by a world of dozens.
        let _ = self.reports.try_send(Report::Ended { shard, end, culprit });
    }
}

/// What is claimed that was not before.
fn compare(
    claims: &mut BTreeMap<TorrentId, Bitfield>,
    id: TorrentId,
    have: &Bitfield,
    gained: &mut Vec<(TorrentId, u32)>,
) {
    let known = claims.entry(id).or_insert_with(|| Bitfield::none(have.piece_count()));
    if known == have {
        return;
    }
    let before: Vec<u32> = known.iter().collect();
    gained
        .extend(have.iter().filter(|piece| before.binary_search(piece).is_err()).map(|p| (id, p)));
    known.clone_from(have);
}

impl Seat {
    fn due(&self, world: &World) -> Option<Duration> {
        if let Some((at, _)) = self.replaced {
            return Some(at);
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
