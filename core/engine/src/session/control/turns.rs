//! Whose turn it is: how many torrents download and seed at a time, and when seeding ends.
//!
//! A torrent that is meant to run while its queue is full is idle and shown as queued. Whatever may
//! have freed a place wakes [`Inner::take_turns`], which looks at all torrents once, however many
//! places are free.

use super::{
    super::{QueueMove, Write, queue::Place, scripts::Moment},
    Control, Entry, Inner, Phase,
};
use crate::{
    clock::unix_now,
    event::Event,
    settings::Settings,
    status::{Activity, Torrent, TorrentId},
};
use std::sync::Arc;

/// Which queue a torrent stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Download,
    Seed,
}

impl Direction {
    pub(super) fn of(torrent: &Torrent) -> Direction {
        if torrent.is_done() { Direction::Seed } else { Direction::Download }
    }

    /// What a torrent does that is to go this way and does not yet.
    pub(super) fn waiting(self) -> Activity {
        match self {
            Direction::Download => Activity::QueuedToDownload,
            Direction::Seed => Activity::QueuedToSeed,
        }
    }

    /// Torrents that may run at a time; `None` if any number may.
    fn places(self, settings: &Settings) -> Option<usize> {
        let (enabled, size) = match self {
            Direction::Download => (settings.download_queue_enabled, settings.download_queue_size),
            Direction::Seed => (settings.seed_queue_enabled, settings.seed_queue_size),
        };
        enabled.then_some(size as usize)
    }
}

/// Why seeding ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    Ratio,
    Idle,
}

impl Goal {
    /// The goal that a seeding torrent has reached.
    pub(super) fn reached(torrent: &Torrent, settings: &Settings, now: u64) -> Option<Goal> {
        if torrent.activity != Activity::Seeding {
            return None;
        }
        let rules = &torrent.rules;
        if has_ratio(torrent, settings) {
            Some(Goal::Ratio)
        } else {
            let idle = rules.idle_goal(settings)?;
            (torrent.idle_seconds(now) >= idle).then_some(Goal::Idle)
        }
    }
}

pub(super) fn has_ratio(torrent: &Torrent, settings: &Settings) -> bool {
    let ratio = torrent.ratio().filter(|_| torrent.is_done());
    torrent.rules.ratio_goal(settings).is_some_and(|goal| ratio.is_some_and(|ratio| ratio >= goal))
}

impl Entry {
    /// Whether the torrent may run as far as queues go.
    pub(super) fn has_turn(&self, torrent: &Torrent, settings: &Settings) -> bool {
        let direction = Direction::of(torrent);
        let is_free = direction.places(settings).is_none();
        is_free || self.jumps || self.turn == Some(direction)
    }

    /// Makes an idle torrent wait for its turn.
    pub(super) fn wait(&mut self, torrent: &mut Torrent) {
        self.phase = Phase::Idle;
        self.turn = None;
        torrent.activity = Direction::of(torrent).waiting();
    }

    /// What a torrent waits for whose files are being looked at: for its turn, or, where nothing is known
    /// of them, perhaps to be checked.
    pub(super) fn expected(&self, torrent: &Torrent) -> Activity {
        match self.resume {
            Some(_) => Direction::of(torrent).waiting(),
            None => Activity::QueuedToVerify,
        }
    }

    /// The queue in which the torrent waits.
    pub(super) fn waits_in(&self, torrent: &Torrent) -> Option<Direction> {
        match (&self.phase, torrent.activity) {
            (Phase::Idle, Activity::QueuedToDownload) => Some(Direction::Download),
            (Phase::Idle, Activity::QueuedToSeed) => Some(Direction::Seed),
            _ => None,
        }
    }

    /// The queue in which a place is kept for the torrent, whose files are still being looked at: nobody
    /// behind it is to be quicker. A silent disk keeps no place.
    fn expects_place_in(&self, torrent: &Torrent) -> Option<Direction> {
        let is_expected = matches!(self.phase, Phase::Looking)
            && torrent.running
            && torrent.trouble.is_none()
            && self.turn.is_none()
            && !self.jumps;
        is_expected.then(|| Direction::of(torrent))
    }

    /// The queue in which the torrent takes up a place.
    fn takes_place_in(&self, torrent: &Torrent) -> Option<Direction> {
        match self.phase {
            Phase::Running => Some(Direction::of(torrent)),
            Phase::Looking | Phase::Checking { .. } => self.turn,
            _ => None,
        }
    }
}

/// What a look at the queues gives.
#[derive(Default)]
struct Turns {
    begin: Vec<TorrentId>,
    /// Those that have become seeds while all places of seeds were taken.
    leave: Vec<TorrentId>,
}

impl Control {
    fn turns(&mut self, now: u64) -> Turns {
        let mut taken = [0usize; 2];
        let settings = &self.settings;
        // Both are in the order of the ids: no torrent needs to be looked for.
        for (entry, torrent) in self.entries.values().zip(self.catalog.torrents.values()) {
            if let Some(direction) = entry.takes_place_in(torrent)
                && !torrent.is_stalled(settings, now)
            {
                taken[direction as usize] += 1;
            }
        }
        let places = [Direction::Download, Direction::Seed]
            .map(|direction| direction.places(settings).unwrap_or(usize::MAX));
        let mut turns = Turns::default();
        if std::mem::take(&mut self.has_new_seeds) {
            let seeds = Direction::Seed as usize;
            turns.leave = self.surplus_seeds(taken[seeds].saturating_sub(places[seeds]));
            taken[seeds] -= turns.leave.len();
        }
        let mut free = [places[0].saturating_sub(taken[0]), places[1].saturating_sub(taken[1])];
        for id in self.queue.ids() {
            if free == [0, 0] {
                break;
            }
            let (Some(entry), Some(torrent)) = (self.entries.get_mut(&id), self.catalog.get(id))
            else {
                continue;
            };
            let waits_in = entry.waits_in(torrent);
            let Some(direction) = waits_in.or_else(|| entry.expects_place_in(torrent)) else {
                continue;
            };
            if free[direction as usize] > 0 {
                free[direction as usize] -= 1;
                if waits_in.is_some() {
                    entry.turn = waits_in;
                    turns.begin.push(id);
                }
            }
        }
        turns
    }

    /// As many of those that have just become seeds as are too many, the last of the queue first.
    fn surplus_seeds(&mut self, surplus: usize) -> Vec<TorrentId> {
        let mut leave = Vec::new();
        for id in self.queue.ids().rev() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let is_new = std::mem::take(&mut entry.is_new_seed) && !entry.jumps;
            if is_new && matches!(entry.phase, Phase::Running) && leave.len() < surplus {
                leave.push(id);
            }
        }
        leave
    }

    /// Brings the positions in the queue up to date; torrents whose position is another have changed.
    pub(in crate::session) fn settle_queue(&mut self) {
        let catalog = &mut self.catalog;
        self.queue.settle(|id, position| {
            let Some(known) = catalog.get(id).map(|torrent| torrent.queue_position) else {
                return false;
            };
            if known != position
                && let Some(torrent) = catalog.change(id)
            {
                torrent.queue_position = position;
            }
            true
        });
    }

    /// Takes over new ranks: what is to be written. All whose position is another have changed.
    fn take_over(&mut self, changed: &[Place]) -> Write {
        self.settle_queue();
        let mut ranks = Vec::with_capacity(changed.len());
        for place in changed {
            if let Some(torrent) = self.catalog.change(place.id) {
                ranks.push((torrent.info_hash, place.rank));
            }
        }
        Write::Ranks(ranks)
    }
}

impl Inner {
    /// Gives free places to those that wait, in the order of the queue.
    pub(super) fn take_turns(self: &Arc<Self>) {
        let mut guard = self.lock();
        let control = &mut *guard;
        if control.stopping {
            return;
        }
        control.settle_queue();
        let turns = control.turns(unix_now());
        for id in turns.leave {
            self.leave(control, id);
        }
        drop(guard);
        turns.begin.into_iter().for_each(|id| self.begin(id));
    }

    pub(in crate::session) fn move_in_queue(&self, ids: &[TorrentId], to: QueueMove) {
        let mut control = self.lock();
        control.settle_queue();
        let changed = control.queue.shift(ids, to);
        let write = control.take_over(&changed);
        self.write(write);
    }

    pub(in crate::session) fn put_in_queue(&self, ids: &[TorrentId], position: usize) {
        let mut control = self.lock();
        control.settle_queue();
        let changed = control.queue.put(ids, position);
        let write = control.take_over(&changed);
        self.write(write);
    }

    /// Ends the seeding of a torrent that has reached a goal.
    pub(super) fn end_seeding(&self, id: TorrentId, goal: Goal) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(torrent) = control.catalog.change(id) else { return };
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if !matches!(entry.phase, Phase::Running) || !torrent.running {
            return;
        }
        tracing::info!(torrent = %torrent.info_hash, ?goal, "has reached its goal; stopping");
        torrent.running = false;
        torrent.finished = true;
        torrent.activity = Activity::Stopped;
        entry.options.finished = true;
        entry.jumps = false;
        self.write(Write::Running(torrent.info_hash, false));
        self.write(Write::Options(torrent.info_hash, entry.options.clone()));
        self.leave(control, id);
        control.tell(id, Event::SeedingGoal);
        self.tell_script(control, id, Moment::SeedingDone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::{GoalMode, Rules},
        session::{NewTorrent, database::StoredPlace},
        status::{Meta, SessionCounters},
    };
    use metainfo::Metainfo;

    const NOW: u64 = 1_000_000_000;

    /// A session of running torrents that have had no payload for some seconds each.
    fn control(settings: Settings, idle: &[u64]) -> Control {
        let mut control = Control::new(settings, SessionCounters::default(), Vec::new(), 1, 0);
        for (number, idle) in idle.iter().enumerate() {
            let head =
                format!("d4:infod6:lengthi1e4:name1:{number}12:piece lengthi16384e6:pieces20:");
            let metainfo = [head.as_bytes(), &[7; 20], b"ee"].concat();
            let parsed = Metainfo::parse(&metainfo).unwrap();
            let hash = parsed.info_hash();
            let (meta, trackers) = Meta::new(parsed).unwrap();
            let new = NewTorrent { metainfo, paused: Some(false), ..NewTorrent::default() };
            let added = control
                .insert_new(hash, meta, trackers, "/".into(), StoredPlace::default(), None, new)
                .unwrap()
                .0;
            control.entries.get_mut(&added.id).unwrap().phase = Phase::Running;
            let torrent = control.catalog.change(added.id).unwrap();
            torrent.activity = Activity::Downloading;
            torrent.start_date = NOW - idle;
        }
        control
    }

    #[test]
    fn a_stalled_torrent_takes_up_no_place() {
        let settings = Settings {
            download_queue_enabled: true,
            download_queue_size: 2,
            queue_stalled_minutes: 1,
            ..Settings::default()
        };
        let mut control = control(settings, &[59, 60, 0]);
        let waiting = TorrentId(3);
        control.entries.get_mut(&waiting).unwrap().wait(control.catalog.change(waiting).unwrap());
        assert!(control.catalog.get(TorrentId(2)).unwrap().is_stalled(&control.settings, NOW));
        assert_eq!(control.turns(NOW).begin, [waiting]);
        control.settings.queue_stalled_enabled = false;
        assert!(!control.catalog.get(TorrentId(2)).unwrap().is_stalled(&control.settings, NOW));
        assert!(control.turns(NOW).begin.is_empty());
    }

    #[test]
    fn a_place_is_kept_for_a_torrent_whose_files_are_being_looked_at() {
        let settings = Settings {
            download_queue_enabled: true,
            download_queue_size: 1,
            ..Settings::default()
        };
        let mut control = control(settings, &[0, 0]);
        let (first, second) = (TorrentId(1), TorrentId(2));
        control.entries.get_mut(&first).unwrap().phase = Phase::Looking;
        control.entries.get_mut(&second).unwrap().wait(control.catalog.change(second).unwrap());
        assert!(control.turns(NOW).begin.is_empty());
        control.say_disk_is_silent(first);
        assert_eq!(control.turns(NOW).begin, [second], "the disk does not answer");
    }

    #[test]
    fn seeding_ends_after_so_long_without_payload() {
        let mut control = control(Settings::default(), &[90, 90]);
        let torrent = control.catalog.change(TorrentId(1)).unwrap();
        torrent.rules = Rules { idle_mode: GoalMode::Own, idle_limit: 1, ..Rules::default() };
        let goal = |torrent: &Torrent| Goal::reached(torrent, &Settings::default(), NOW);
        assert_eq!(goal(torrent), None, "it is downloading");
        torrent.activity = Activity::Seeding;
        assert_eq!(goal(torrent), Some(Goal::Idle));
        torrent.totals.activity_date = NOW - 59;
        assert_eq!(goal(torrent), None);
        torrent.totals.uploaded = 2;
        torrent.left = 0;
        torrent.have_bytes = 1;
        torrent.rules.ratio_mode = GoalMode::Own;
        assert_eq!(goal(torrent), Some(Goal::Ratio));
        torrent.left = 1;
        assert_eq!(goal(torrent), None, "not all is there");
    }
}
