//! What the session holds of each torrent, and what it does with it.

mod edit;
mod lifecycle;
mod places;
mod reports;
mod speed;
mod turns;
mod wanted;

pub(super) use reports::run;

use super::{
    AddError, Added, Inner, NewTorrent, StoredOptions, StoredTorrent, Write,
    database::StoredPlace,
    looker::Found,
    queue::{Place, Queue},
};
use crate::{
    clock::unix_now,
    event::{Event, Notice, Subject},
    limiter::Pools,
    limits,
    rules::{Group, Rules},
    settings::Settings,
    shard::Update,
    status::{
        Activity, Catalog, Meta, Priority, SessionCounters, ShardStatus, Torrent, TorrentId,
        Totals, Traffic, Trouble,
    },
};
use discovery::Progress;
use metainfo::{Bitfield, InfoHash, Layout};
use speed::SharedGroup;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};
use storage::{CheckHandle, CheckOutcome, RelocateError, RelocationProgress, ResumeData};
use tokio::{sync::broadcast, time::Instant};
use turns::{Direction, Goal};
use wanted::{measure, merge_priorities, priority_number, priority_of, running_activity};
use wire::PeerId;

/// Something that threads of the session's own tell it.
#[derive(Debug)]
pub(crate) enum Note {
    Looked(TorrentId, Found),
    Checked(TorrentId, CheckOutcome),
    /// A move has ended: who waits for it, and how.
    Moved(TorrentId, places::Waiting, Result<(), RelocateError>),
    /// The room in the download folder, in bytes; `None` if it cannot be told.
    Room(PathBuf, Option<u64>),
}

/// Everything that the session's lock guards.
pub(super) struct Control {
    pub(super) catalog: Catalog,
    pub(super) settings: Settings,
    /// One for each torrent of the catalog.
    entries: BTreeMap<TorrentId, Box<Entry>>,
    pub(super) queue: Queue,
    /// Some entry is a new seed.
    has_new_seeds: bool,
    /// Bandwidth groups by name.
    groups: BTreeMap<String, SharedGroup>,
    /// What the session's speed limits let through.
    pools: Pools,
    /// Whether the hours of alternative limits included the last moment that was looked at; `None`
    /// to go by them at the next, whatever somebody has switched meanwhile.
    was_in_hours: Option<bool>,
    /// Where peers can connect; 0 if nowhere.
    listen_port: u16,
    next_id: u32,
    /// Running torrents of each shard; `None` of one that is gone.
    load: Vec<Option<usize>>,
    /// How often each shard was replaced.
    restarts: Vec<u64>,
    /// The session is stopping: nothing begins any more.
    pub(super) stopping: bool,
    started: u64,
    this_run: SessionCounters,
    earlier_runs: SessionCounters,
    /// Torrents whose totals have changed since they were saved.
    unsaved: BTreeSet<TorrentId>,
    /// What happens, for whoever listens.
    pub(super) events: broadcast::Sender<Notice>,
    /// Whether the room for downloads was last told to be short.
    short_of_room: bool,
    /// Torrents that were removed when the page cache could show more of their files than the disk has.
    suspects: BTreeSet<InfoHash>,
}

/// What only the session itself needs to know of a torrent.
struct Entry {
    phase: Phase,
    after: After,
    shard: usize,
    /// How often it was handed to a shard.
    run: u32,
    peer_id: PeerId,
    progress: Arc<Progress>,
    options: StoredOptions,
    /// The layout with the names that the files have on the disk now.
    disk: Arc<Layout>,
    /// Where the torrent goes next.
    target: Option<places::Target>,
    resume: Option<Arc<ResumeData>>,
    /// When a torrent in trouble is tried again.
    retry_at: Option<Instant>,
    /// Panics that it has ended shards with.
    panics: u32,
    /// Somebody has asked for it to start while its files were being looked at: if they are found
    /// unfit, the look may have been too early.
    look_again: bool,
    /// The queue whose turn it has been given, until it is idle again.
    turn: Option<Direction>,
    /// It runs whatever the queues say.
    jumps: bool,
    /// It has become complete while it ran; the queue of seeds has not looked at it yet.
    is_new_seed: bool,
    /// Peers that a person named before it was running.
    peers: Vec<SocketAddr>,
}

enum Phase {
    Idle,
    Looking,
    Checking {
        handle: CheckHandle,
        /// Pieces that are had without a check.
        trusted: Bitfield,
        /// It has been told to stop.
        cancelled: bool,
    },
    Running,
    Leaving,
    /// Its files are on their way to another place.
    Moving(Arc<RelocationProgress>),
    /// Its data is being deleted; then it is gone.
    Removing,
}

/// What a torrent does once it is idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum After {
    /// As it is meant to: run or rest.
    AsMeant,
    /// Check all its files.
    Verify,
    Remove {
        delete_data: bool,
    },
}

/// What a tick finds to be done.
#[derive(Default)]
struct Due {
    /// Torrents that were in trouble and are to be tried again.
    retry: Vec<TorrentId>,
    /// Seeding is to end.
    goals: Vec<(TorrentId, Goal)>,
    /// Somebody waits in a queue.
    is_queued: bool,
}

impl Control {
    pub(super) fn new(
        settings: Settings,
        stored: SessionCounters,
        groups: Vec<Group>,
        shards: usize,
        listen_port: u16,
    ) -> Control {
        Control {
            catalog: Catalog::default(),
            settings,
            entries: BTreeMap::new(),
            queue: Queue::default(),
            has_new_seeds: false,
            groups: groups
                .into_iter()
                .map(|group| (group.name.clone(), SharedGroup::new(group, shards)))
                .collect(),
            pools: Pools::new(shards),
            was_in_hours: None,
            listen_port,
            next_id: 1,
            load: vec![Some(0); shards],
            restarts: vec![0; shards],
            stopping: false,
            started: unix_now(),
            this_run: SessionCounters { sessions: 1, ..SessionCounters::default() },
            earlier_runs: stored,
            unsaved: BTreeSet::new(),
            events: broadcast::Sender::new(limits::EVENTS),
            short_of_room: false,
            suspects: BTreeSet::new(),
        }
    }

    pub(super) fn shards(&self) -> Vec<ShardStatus> {
        let shard = |(load, &restarts): (&Option<usize>, &u64)| ShardStatus {
            running: load.is_some(),
            torrents: load.unwrap_or(0),
            restarts,
        };
        self.load.iter().zip(&self.restarts).map(shard).collect()
    }

    /// Takes in a torrent that is not there yet, idle; with a group to be written if that is new.
    #[allow(clippy::too_many_arguments, reason = "what add() has found out")]
    pub(super) fn insert_new(
        &mut self,
        info_hash: InfoHash,
        meta: Meta,
        trackers: Vec<Vec<String>>,
        download_dir: PathBuf,
        place: StoredPlace,
        resume: Option<ResumeData>,
        new: NewTorrent,
    ) -> Result<(Added, StoredTorrent, Option<Write>), AddError> {
        if !download_dir.is_absolute() {
            return Err(AddError::RelativeFolder(download_dir));
        }
        let files = meta.layout.file_count();
        let priorities =
            merge_priorities(&[], &new.file_priorities, files).map_err(AddError::NoSuchFile)?;
        if new.sequential_from >= meta.layout.geometry().piece_count() {
            return Err(AddError::NoSuchPiece(new.sequential_from));
        }
        let group = self.want_group(&new.rules.group)?;
        let options = StoredOptions {
            labels: new.labels,
            priorities: priorities.iter().copied().map(priority_number).collect(),
            trackers: None,
            sequential: new.sequential.unwrap_or(self.settings.sequential_download),
            sequential_from: new.sequential_from,
            peer_limit: new.peer_limit,
            place,
            moving: None,
            owes_script: false,
            removing: None,
            rules: Rules { priority: new.rules.priority.clamp(-1, 1), ..new.rules },
            finished: false,
        };
        let mut stored = StoredTorrent {
            info_hash,
            metainfo: new.metainfo,
            download_dir,
            running: !new.paused.unwrap_or(!self.settings.start_added_torrents),
            added_date: unix_now(),
            rank: 0,
            options,
            totals: Totals::default(),
            resume: resume.map(|resume| resume.to_bytes()),
        };
        let name = meta.layout.name().to_owned();
        tracing::info!(torrent = %info_hash, name, running = stored.running, "added");
        let place = self.insert(&stored, meta, trackers);
        let id = place.id;
        stored.rank = place.rank;
        self.this_run.files_added += 1;
        self.tell(id, Event::Added);
        Ok((Added { id, info_hash, name, duplicate: false }, stored, group))
    }

    fn insert(
        &mut self,
        stored: &StoredTorrent,
        mut meta: Meta,
        own_trackers: Vec<Vec<String>>,
    ) -> Place {
        let (disk, target) = places::restore(stored, &mut meta);
        let id = TorrentId(self.next_id);
        self.next_id += 1;
        self.settle_queue();
        let (queue_position, rank) = self.queue.push(id);
        let geometry = meta.layout.geometry();
        let resume = stored.resume.as_ref().and_then(|bytes| {
            let read = ResumeData::from_bytes(bytes, &meta.layout);
            read.inspect_err(|error| {
                tracing::warn!(torrent = %stored.info_hash, %error, "checking the torrent instead");
            })
            .ok()
        });
        let have = match &resume {
            Some(resume) => resume.have.clone(),
            None => Bitfield::none(geometry.piece_count()),
        };
        let options = stored.options.clone();
        let priorities: Vec<Priority> =
            options.priorities.iter().copied().map(priority_of).collect();
        let mut torrent = Torrent {
            id,
            info_hash: stored.info_hash,
            meta: Arc::new(meta),
            download_dir: stored.download_dir.clone(),
            incomplete_dir: stored.options.place.folder.clone().map(PathBuf::from),
            relocation: None,
            running: stored.running,
            activity: Activity::Stopped,
            trouble: None,
            verify_progress: 0.0,
            have: Arc::new(have),
            have_bytes: 0,
            left: 0,
            file_priorities: priorities,
            labels: options.labels.clone(),
            trackers: options.trackers.clone().unwrap_or(own_trackers),
            sequential: options.sequential,
            sequential_from: options.sequential_from,
            rules: options.rules.clone(),
            queue_position,
            finished: options.finished,
            peer_limit: options.peer_limit.unwrap_or(self.settings.peer_limit_per_torrent),
            added_date: stored.added_date,
            start_date: 0,
            edit_date: 0,
            traffic: Traffic::default(),
            totals: stored.totals,
            changed: 0,
            changed_at: 0,
        };
        measure(&mut torrent);
        let entry = Entry {
            phase: Phase::Idle,
            after: After::AsMeant,
            shard: 0,
            run: 0,
            peer_id: PeerId::generate(std::array::from_fn(|_| fastrand::u8(..))),
            progress: Arc::new(Progress::default()),
            options,
            disk,
            target,
            resume: resume.map(Arc::new),
            retry_at: None,
            panics: 0,
            look_again: false,
            turn: None,
            jumps: false,
            is_new_seed: false,
            peers: Vec::new(),
        };
        self.catalog.insert(torrent);
        self.entries.insert(id, Box::new(entry));
        Place { id, rank }
    }

    fn forget(&mut self, id: TorrentId) {
        self.tell(id, Event::Removed);
        self.entries.remove(&id);
        self.catalog.forget(id);
        self.unsaved.remove(&id);
        self.queue.forget();
    }

    /// Tells listeners of an event of a torrent; with none of them, it costs nothing.
    fn tell(&self, id: TorrentId, event: Event) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let torrent = self.catalog.even_leaving(id).map(Subject::from);
        // Nobody listens any more: then nobody misses it.
        let _ = self.events.send(Notice { at: unix_now(), torrent, event });
    }

    /// Tells listeners when the room for downloads becomes short, or no longer is.
    fn on_room(&mut self, path: PathBuf, free: u64) {
        let is_short = free < limits::SHORT_OF_ROOM;
        if std::mem::replace(&mut self.short_of_room, is_short) == is_short {
            return;
        }
        if is_short {
            tracing::warn!(path = %path.display(), free, "little room is left for downloads");
        }
        let event = Event::Room { path, free, is_short };
        let _ = self.events.send(Notice { at: unix_now(), torrent: None, event });
    }

    /// The shard that the torrent runs on now.
    pub(super) fn shard_of(&self, id: TorrentId) -> Option<usize> {
        let entry = self.entries.get(&id)?;
        matches!(entry.phase, Phase::Running).then_some(entry.shard)
    }

    fn swarm_settings(&self, torrent: &Torrent) -> swarm::Settings {
        swarm::Settings {
            upload_slots: self.settings.upload_slots_per_torrent,
            max_peers: torrent.peer_limit,
            max_upload_queue: self.settings.reqq,
            sequential: torrent.sequential,
            sequential_from: torrent.sequential_from,
            listen_port: self.listen_port,
            ..swarm::Settings::default()
        }
    }

    /// Shard, id and settings of every running swarm.
    pub(super) fn running_swarms(&self) -> Vec<(usize, TorrentId, swarm::Settings)> {
        let running = self.catalog.iter().filter_map(|torrent| {
            let shard = self.shard_of(torrent.id)?;
            Some((shard, torrent.id, self.swarm_settings(torrent)))
        });
        running.collect()
    }

    /// Counters of this run, and of all runs with this one.
    pub(super) fn counters(&self) -> (SessionCounters, SessionCounters) {
        let mut now = self.this_run;
        now.seconds_active = unix_now().saturating_sub(self.started);
        let before = &self.earlier_runs;
        let all = SessionCounters {
            downloaded: before.downloaded + now.downloaded,
            uploaded: before.uploaded + now.uploaded,
            files_added: before.files_added + now.files_added,
            sessions: before.sessions + now.sessions,
            seconds_active: before.seconds_active + now.seconds_active,
        };
        (now, all)
    }

    fn apply(&mut self, update: Update) {
        let now = unix_now();
        self.this_run.downloaded += update.downloaded;
        self.this_run.uploaded += update.uploaded;
        let Some(torrent) = self.catalog.change(update.id) else { return };
        torrent.traffic = update.traffic;
        torrent.totals.downloaded += update.downloaded;
        torrent.totals.uploaded += update.uploaded;
        torrent.totals.corrupt += update.corrupt;
        if update.downloaded + update.uploaded > 0 {
            torrent.totals.activity_date = now;
        }
        if let Some(have) = update.have {
            torrent.have = Arc::new(have);
            measure(torrent);
        }
        torrent.left = update.left;
        if matches!(torrent.activity, Activity::Downloading | Activity::Seeding) {
            torrent.activity = running_activity(torrent);
        }
        self.unsaved.insert(update.id);
    }

    /// Notes the date of completion of a torrent that is found complete.
    fn note_completion(&mut self, id: TorrentId) {
        let is_new = |torrent: &&Torrent| torrent.is_done() && torrent.totals.done_date == 0;
        if self.catalog.get(id).filter(is_new).is_some()
            && let Some(torrent) = self.catalog.change(id)
        {
            torrent.totals.done_date = unix_now();
            self.unsaved.insert(id);
        }
    }

    /// Once a second: time spent, progress of checks, and what is due.
    fn tick(&mut self) -> Due {
        let (now, instant) = (unix_now(), Instant::now());
        let mut due = Due::default();
        let mut checking = Vec::new();
        let mut moving = Vec::new();
        // Both are in the order of the ids: no torrent needs to be looked for.
        for ((&id, entry), torrent) in
            self.entries.iter_mut().zip(self.catalog.torrents.values_mut())
        {
            debug_assert_eq!(id, torrent.id);
            match &entry.phase {
                Phase::Running => {
                    match torrent.activity {
                        Activity::Seeding => torrent.totals.seconds_seeding += 1,
                        _ => torrent.totals.seconds_downloading += 1,
                    }
                    let goal = Goal::reached(torrent, &self.settings, now);
                    due.goals.extend(goal.map(|goal| (id, goal)));
                }
                Phase::Checking { handle, cancelled: false, .. } => {
                    checking.push((id, handle.progress()));
                }
                Phase::Moving(progress) => moving.push((id, progress.bytes())),
                Phase::Idle if entry.retry_at.is_some_and(|at| at <= instant) => {
                    entry.retry_at = None;
                    due.retry.push(id);
                }
                Phase::Idle => due.is_queued |= entry.waits_in(torrent).is_some(),
                _ => {}
            }
        }
        for (id, (done, total)) in moving {
            let has_moved = |torrent: &Torrent| {
                let known = torrent.relocation.as_ref();
                known.is_some_and(|known| (known.bytes_done, known.bytes_total) != (done, total))
            };
            if self.catalog.get(id).is_some_and(has_moved)
                && let Some(torrent) = self.catalog.change(id)
                && let Some(relocation) = &mut torrent.relocation
            {
                (relocation.bytes_done, relocation.bytes_total) = (done, total);
            }
        }
        for (id, progress) in checking {
            let share = progress.bytes_done as f64 / progress.bytes_total.max(1) as f64;
            let said = |torrent: &Torrent| matches!(torrent.trouble, Some(Trouble::Local(_)));
            let is_news = |torrent: &Torrent| {
                torrent.verify_progress != share
                    || (progress.bytes_done > 0 && torrent.activity != Activity::Verifying)
                    || progress.hangs != said(torrent)
            };
            if !self.catalog.get(id).is_some_and(is_news) {
                continue;
            }
            if let Some(torrent) = self.catalog.change(id) {
                torrent.verify_progress = share;
                if progress.bytes_done > 0 {
                    torrent.activity = Activity::Verifying;
                }
                match (progress.hangs, said(torrent)) {
                    (true, false) => self.say_disk_is_silent(id),
                    (false, true) => torrent.trouble = None,
                    _ => {}
                }
            }
        }
        due
    }
}
