//! What each torrent is wanted to do, what it is doing, and how it gets from one to the other.
//!
//! ```text
//!           begin                    nothing to check
//!   Idle ──────────► Looking ──────────────────────────► Running
//!    ▲ ▲                │ doubtful pieces                  │  ▲
//!    │ │ unfit:         └────────► Checking ───────────────┼──┘
//!    │ └─ trouble, tried again      │ cancelled            │ stop, trouble, verify, remove
//!    │    from time to time         ▼                      ▼
//!    └──────────────────────────────┴────────────────── Leaving
//! ```
//! A torrent that ends in `Idle` goes on to whatever was asked for meanwhile: see [`After`].
//! `Removing` is the way out.

use super::{
    AddError, Added, Change, EditError, Inner, Line, NewTorrent, StoredOptions, StoredTorrent,
    Write, key,
    looker::{Found, Look},
    unix_now,
};
use crate::{
    limits,
    settings::Settings,
    shard::{Command, End, Report, StartTorrent, Update},
    status::{
        Activity, Catalog, Meta, Priority, SessionCounters, Torrent, TorrentId, Totals, Traffic,
        Trouble,
    },
};
use discovery::{Progress, TorrentAnnounce, TrackerEvent};
use metainfo::{Bitfield, InfoHash, Metainfo};
use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};
use storage::{
    Allocation, CheckEvent, CheckHandle, CheckOutcome, CheckRequest, FileStamp, ResumeData,
    remove_data,
};
use swarm::Source;
use tokio::sync::mpsc;
use wire::PeerId;

/// Something that threads of the session's own tell it.
#[derive(Debug)]
pub(super) enum Note {
    Looked(TorrentId, Found),
    Checked(TorrentId, CheckOutcome),
}

/// Everything that the session's lock guards.
pub(super) struct Control {
    pub(super) catalog: Catalog,
    pub(super) settings: Settings,
    /// One for each torrent of the catalog.
    entries: BTreeMap<TorrentId, Entry>,
    next_id: u32,
    /// Running torrents of each shard; `None` of one that is gone.
    load: Vec<Option<usize>>,
    /// The session is stopping: nothing begins any more.
    pub(super) stopping: bool,
    started: u64,
    this_run: SessionCounters,
    earlier_runs: SessionCounters,
    /// Torrents whose totals have changed since they were saved.
    unsaved: HashSet<TorrentId>,
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
    resume: Option<Arc<ResumeData>>,
    /// When a torrent in trouble is tried again, seconds since 1970.
    retry_at: Option<u64>,
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

impl Control {
    pub(super) fn new(settings: Settings, stored: SessionCounters, shards: usize) -> Control {
        Control {
            catalog: Catalog::default(),
            settings,
            entries: BTreeMap::new(),
            next_id: 1,
            load: vec![Some(0); shards],
            stopping: false,
            started: unix_now(),
            this_run: SessionCounters { sessions: 1, ..SessionCounters::default() },
            earlier_runs: stored,
            unsaved: HashSet::new(),
        }
    }

    /// Takes in a torrent that is not there yet, idle.
    pub(super) fn insert_new(
        &mut self,
        info_hash: InfoHash,
        meta: Meta,
        trackers: Vec<Vec<String>>,
        download_dir: PathBuf,
        resume: Option<ResumeData>,
        new: NewTorrent,
    ) -> Result<(Added, StoredTorrent), AddError> {
        if !download_dir.is_absolute() {
            return Err(AddError::RelativeFolder(download_dir));
        }
        let files = meta.layout.file_count();
        let priorities =
            merge_priorities(&[], &new.file_priorities, files).map_err(AddError::NoSuchFile)?;
        let options = StoredOptions {
            labels: new.labels,
            priorities: priorities.iter().copied().map(priority_number).collect(),
            trackers: None,
            sequential: new.sequential.unwrap_or(self.settings.sequential_download),
            peer_limit: new.peer_limit,
        };
        let stored = StoredTorrent {
            info_hash,
            metainfo: new.metainfo,
            download_dir,
            running: !new.paused.unwrap_or(!self.settings.start_added_torrents),
            added_date: unix_now(),
            options,
            totals: Totals::default(),
            resume: resume.map(|resume| resume.to_bytes()),
        };
        let name = meta.layout.name().to_owned();
        let id = self.insert(&stored, meta, trackers);
        self.this_run.files_added += 1;
        Ok((Added { id, info_hash, name, duplicate: false }, stored))
    }

    fn insert(
        &mut self,
        stored: &StoredTorrent,
        meta: Meta,
        own_trackers: Vec<Vec<String>>,
    ) -> TorrentId {
        let id = TorrentId(self.next_id);
        self.next_id += 1;
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
            resume: resume.map(Arc::new),
            retry_at: None,
            peers: Vec::new(),
        };
        self.catalog.insert(torrent);
        self.entries.insert(id, entry);
        id
    }

    fn forget(&mut self, id: TorrentId) {
        self.entries.remove(&id);
        self.catalog.remove(id);
        self.unsaved.remove(&id);
    }

    /// Whether the torrent is on its way out.
    pub(super) fn is_being_removed(&self, id: TorrentId) -> bool {
        self.entries.get(&id).is_some_and(|entry| {
            matches!(entry.phase, Phase::Removing) || matches!(entry.after, After::Remove { .. })
        })
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
            listen_port: self.settings.peer_port,
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

    /// Once a second: time spent, progress of checks, and who is to be tried again.
    fn tick(&mut self) -> Vec<TorrentId> {
        let now = unix_now();
        let mut due = Vec::new();
        let mut checking = Vec::new();
        // Both are in the order of the ids: no torrent needs to be looked for.
        for ((&id, entry), torrent) in
            self.entries.iter_mut().zip(self.catalog.torrents.values_mut())
        {
            debug_assert_eq!(id, torrent.id);
            match &entry.phase {
                Phase::Running => match torrent.activity {
                    Activity::Seeding => torrent.totals.seconds_seeding += 1,
                    _ => torrent.totals.seconds_downloading += 1,
                },
                Phase::Checking { handle, .. } => checking.push((id, handle.progress())),
                Phase::Idle if entry.retry_at.is_some_and(|at| at <= now) => {
                    entry.retry_at = None;
                    due.push(id);
                }
                _ => {}
            }
        }
        for (id, progress) in checking {
            if let Some(torrent) = self.catalog.change(id) {
                let share = progress.bytes_done as f64 / progress.bytes_total.max(1) as f64;
                torrent.verify_progress = share;
                if progress.bytes_done > 0 {
                    torrent.activity = Activity::Verifying;
                }
            }
        }
        due
    }
}

impl Inner {
    /// Takes in what the database had, and starts what is meant to run.
    pub(super) fn load(self: &Arc<Self>, stored: Vec<StoredTorrent>) {
        let mut ids = Vec::new();
        {
            let mut control = self.lock();
            for torrent in stored {
                let parsed = Metainfo::parse(&torrent.metainfo).ok().and_then(Meta::new);
                match parsed {
                    Some((meta, trackers)) => ids.push(control.insert(&torrent, meta, trackers)),
                    None => {
                        tracing::error!(torrent = %torrent.info_hash, "its .torrent is damaged");
                    }
                }
            }
        }
        ids.into_iter().for_each(|id| self.begin(id));
    }

    /// Moves an idle torrent on to what it is to do.
    pub(super) fn begin(self: &Arc<Self>, id: TorrentId) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if !matches!(entry.phase, Phase::Idle) {
            return;
        }
        if let After::Remove { delete_data } = entry.after {
            self.finish_removal(control, id, delete_data);
            return;
        }
        if control.stopping {
            return;
        }
        match std::mem::replace(&mut entry.after, After::AsMeant) {
            After::Remove { .. } => {}
            After::Verify => {
                let Some(torrent) = control.catalog.get(id) else { return };
                let pieces = torrent.meta.layout.geometry().piece_count();
                let (all, none) = (Bitfield::all(pieces), Bitfield::none(pieces));
                self.check(control, id, all, none);
            }
            After::AsMeant => {
                let Some(torrent) = control.catalog.change(id) else { return };
                if !torrent.running {
                    torrent.activity = Activity::Stopped;
                    return;
                }
                entry.phase = Phase::Looking;
                self.lookers.look(Look {
                    id,
                    info_hash: torrent.info_hash,
                    layout: Arc::clone(&torrent.meta.layout),
                    root: torrent.download_dir.as_path().into(),
                    resume: entry.resume.clone(),
                    left: torrent.left,
                    have_bytes: torrent.have_bytes,
                });
            }
        }
    }

    fn check(
        self: &Arc<Self>,
        control: &mut Control,
        id: TorrentId,
        pieces: Bitfield,
        trusted: Bitfield,
    ) {
        let Some(torrent) = control.catalog.change(id) else { return };
        let Some(entry) = control.entries.get_mut(&id) else { return };
        torrent.activity = Activity::QueuedToVerify;
        torrent.trouble = None;
        entry.retry_at = None;
        let notes = self.notes.clone();
        let handle = self.checker.submit(CheckRequest {
            info_hash: torrent.info_hash,
            layout: Arc::clone(&torrent.meta.layout),
            root: torrent.download_dir.as_path().into(),
            hashes: Arc::clone(&torrent.meta.hashes),
            pieces,
            report: Box::new(move |event| {
                if let CheckEvent::Ended(outcome) = event {
                    let _ = notes.send(Note::Checked(id, outcome));
                }
            }),
        });
        entry.phase = Phase::Checking { handle, trusted, cancelled: false };
    }

    fn on_looked(self: &Arc<Self>, id: TorrentId, found: Found) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if entry.after != After::AsMeant || !control.catalog.get(id).is_some_and(|t| t.running) {
            entry.phase = Phase::Idle;
            drop(guard);
            self.begin(id);
            return;
        }
        if control.stopping {
            return;
        }
        match found {
            Found::Unfit(message) => {
                entry.phase = Phase::Idle;
                entry.retry_at = Some(unix_now() + limits::RETRY_AFTER.as_secs());
                if let Some(torrent) = control.catalog.change(id) {
                    tracing::warn!(torrent = %torrent.info_hash, "{message}");
                    torrent.activity = Activity::Stopped;
                    torrent.trouble = Some(Trouble::Local(message));
                }
            }
            Found::Files { trusted, doubtful, stamps } if doubtful.is_none() => {
                self.run(control, id, trusted, stamps);
            }
            Found::Files { trusted, doubtful, .. } => self.check(control, id, doubtful, trusted),
        }
    }

    fn on_checked(self: &Arc<Self>, id: TorrentId, outcome: CheckOutcome) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        let Phase::Checking { trusted, .. } = std::mem::replace(&mut entry.phase, Phase::Idle)
        else {
            return;
        };
        let Some(torrent) = control.catalog.change(id) else { return };
        torrent.verify_progress = 0.0;
        torrent.activity = Activity::Stopped;
        if !outcome.cancelled {
            let mut have = outcome.have;
            let geometry = torrent.meta.layout.geometry();
            trusted.iter().filter_map(|index| geometry.piece(index)).for_each(|piece| {
                have.set(piece);
            });
            torrent.have = Arc::new(have.clone());
            measure(torrent);
            let resume = ResumeData { have, stamps: outcome.stamps, is_final: true };
            self.write(Write::Resume(torrent.info_hash, Some(resume.to_bytes())));
            entry.resume = Some(Arc::new(resume));
            if let Some(error) = outcome.error {
                torrent.trouble = Some(Trouble::Local(error.to_string()));
                entry.retry_at = Some(unix_now() + limits::RETRY_AFTER.as_secs());
                if entry.after == After::AsMeant {
                    return;
                }
            }
        }
        drop(guard);
        self.begin(id);
    }

    /// Hands the torrent to a shard.
    fn run(&self, control: &mut Control, id: TorrentId, have: Bitfield, stamps: Vec<FileStamp>) {
        let Some(torrent) = control.catalog.get(id) else { return };
        let swarm = control.swarm_settings(torrent);
        let preallocate = control.settings.preallocate;
        let extra = public_trackers(&control.settings, torrent);
        let alive = (0..).zip(&mut control.load).filter_map(|(n, load)| Some((n, load.as_mut()?)));
        let Some((shard, load)) = alive.min_by_key(|(_, load)| **load) else {
            tracing::error!("no shard is left to run torrents: restart the server");
            return;
        };
        *load += 1;
        let Some(torrent) = control.catalog.change(id) else { return };
        let Some(entry) = control.entries.get_mut(&id) else { return };
        entry.phase = Phase::Running;
        entry.shard = shard;
        entry.run += 1;
        entry.retry_at = None;
        torrent.have = Arc::new(have.clone());
        measure(torrent);
        torrent.trouble = None;
        torrent.activity = running_activity(torrent);
        torrent.start_date = unix_now();
        entry.progress.left.store(torrent.left, std::sync::atomic::Ordering::Relaxed);
        let start = StartTorrent {
            id,
            run: entry.run,
            info_hash: torrent.info_hash,
            peer_id: entry.peer_id,
            layout: Arc::clone(&torrent.meta.layout),
            hashes: Arc::clone(&torrent.meta.hashes),
            root: torrent.download_dir.as_path().into(),
            have,
            stamps,
            priorities: torrent.file_priorities.clone(),
            allocation: if preallocate { Allocation::Full } else { Allocation::Sparse },
            swarm,
            progress: Arc::clone(&entry.progress),
        };
        let peers = std::mem::take(&mut entry.peers);
        self.command(shard, Command::Start(Box::new(start)));
        if !peers.is_empty() {
            self.command(shard, Command::Peers { id, peers, source: Source::Manual });
        }
        let mut trackers = torrent.trackers.clone();
        trackers.extend(extra);
        self.announcer.add(TorrentAnnounce {
            key: key(id),
            info_hash: torrent.info_hash,
            peer_id: entry.peer_id.0,
            trackers,
            private: torrent.meta.private,
            progress: Arc::clone(&entry.progress),
        });
        self.announcer.start(key(id));
    }

    pub(super) fn add_peers(&self, id: TorrentId, peers: Vec<SocketAddr>) {
        let mut control = self.lock();
        if let Some(shard) = control.shard_of(id) {
            self.command(shard, Command::Peers { id, peers, source: Source::Manual });
        } else if let Some(entry) = control.entries.get_mut(&id) {
            let room = limits::WAITING_PEERS.saturating_sub(entry.peers.len());
            entry.peers.extend(peers.into_iter().take(room));
        }
    }

    pub(super) fn set_running(self: &Arc<Self>, id: TorrentId, running: bool) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(torrent) = control.catalog.change(id) else { return };
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if torrent.running != running {
            torrent.running = running;
            self.write(Write::Running(torrent.info_hash, running));
        }
        // A person does not want to wait, or to be tried again.
        entry.retry_at = None;
        if !running {
            torrent.trouble = None;
            if entry.after == After::Verify {
                entry.after = After::AsMeant;
            }
        }
        match (&mut entry.phase, running) {
            (Phase::Idle, true) => {
                drop(guard);
                self.begin(id);
            }
            (Phase::Idle, false) => torrent.activity = Activity::Stopped,
            (Phase::Running, false) => self.leave(control, id),
            (Phase::Checking { handle, cancelled, .. }, false) => {
                *cancelled = true;
                handle.cancel();
            }
            _ => {}
        }
    }

    /// Takes a running torrent off its shard; [`Report::Stopped`] ends it.
    fn leave(&self, control: &mut Control, id: TorrentId) {
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if matches!(entry.phase, Phase::Running) {
            entry.phase = Phase::Leaving;
            self.announcer.remove(key(id));
            self.command(entry.shard, Command::Stop { id, run: entry.run });
        }
    }

    pub(super) fn verify(self: &Arc<Self>, id: TorrentId) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if entry.after == After::AsMeant {
            entry.after = After::Verify;
        }
        match &mut entry.phase {
            Phase::Idle => {
                drop(guard);
                self.begin(id);
            }
            Phase::Running => self.leave(control, id),
            Phase::Checking { handle, trusted, cancelled } => {
                if !*cancelled && trusted.is_none() && entry.after == After::Verify {
                    // That is what is being done.
                    entry.after = After::AsMeant;
                } else {
                    *cancelled = true;
                    handle.cancel();
                }
            }
            Phase::Looking | Phase::Leaving | Phase::Removing => {}
        }
    }

    pub(super) fn remove(self: &Arc<Self>, id: TorrentId, delete_data: bool) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        entry.after = After::Remove { delete_data };
        match &entry.phase {
            Phase::Idle => {
                drop(guard);
                self.begin(id);
            }
            Phase::Running => self.leave(control, id),
            Phase::Checking { handle, .. } => handle.cancel(),
            Phase::Looking | Phase::Leaving | Phase::Removing => {}
        }
    }

    /// Takes out an idle torrent. While its data is being deleted it stays in the catalog, so that
    /// nobody adds it again and has the new files deleted.
    fn finish_removal(self: &Arc<Self>, control: &mut Control, id: TorrentId, delete_data: bool) {
        let (Some(entry), Some(torrent)) = (control.entries.get_mut(&id), control.catalog.get(id))
        else {
            return;
        };
        entry.phase = Phase::Removing;
        let (info_hash, root) = (torrent.info_hash, torrent.download_dir.clone());
        let layout = Arc::clone(&torrent.meta.layout);
        self.write(Write::Remove(info_hash));
        let inner = Arc::clone(self);
        self.runtime.spawn_blocking(move || {
            let copy = inner.config_dir.join(format!("torrents/{info_hash}.torrent"));
            let _ = std::fs::remove_file(copy);
            if delete_data && let Err(error) = remove_data(&root, &layout, info_hash) {
                tracing::warn!(torrent = %info_hash, %error, "not all data was deleted");
            }
            inner.lock().forget(id);
        });
    }

    pub(super) fn edit(&self, id: TorrentId, change: Change) -> Result<(), EditError> {
        let mut guard = self.lock();
        let control = &mut *guard;
        let torrent = control.catalog.get(id).ok_or(EditError::NoSuchTorrent)?;
        let files = torrent.meta.layout.file_count();
        let priorities = merge_priorities(&torrent.file_priorities, &change.file_priorities, files)
            .map_err(EditError::NoSuchFile)?;
        let torrent = control.catalog.change(id).ok_or(EditError::NoSuchTorrent)?;
        let entry = control.entries.get_mut(&id).ok_or(EditError::NoSuchTorrent)?;
        torrent.edit_date = unix_now();
        if let Some(labels) = change.labels {
            torrent.labels.clone_from(&labels);
            entry.options.labels = labels;
        }
        if let Some(trackers) = change.trackers {
            torrent.trackers.clone_from(&trackers);
            entry.options.trackers = Some(trackers.clone());
            let all = trackers.into_iter().chain(public_trackers(&control.settings, torrent));
            self.announcer.set_trackers(key(id), all.collect());
        }
        if let Some(limit) = change.peer_limit {
            torrent.peer_limit = limit.max(1);
            entry.options.peer_limit = Some(limit.max(1));
        }
        if let Some(sequential) = change.sequential {
            torrent.sequential = sequential;
            entry.options.sequential = sequential;
        }
        let new_priorities = !change.file_priorities.is_empty();
        if new_priorities {
            torrent.file_priorities.clone_from(&priorities);
            entry.options.priorities = priorities.iter().copied().map(priority_number).collect();
            measure(torrent);
            if matches!(torrent.activity, Activity::Downloading | Activity::Seeding) {
                torrent.activity = running_activity(torrent);
            }
        }
        self.write(Write::Options(torrent.info_hash, entry.options.clone()));
        let Some(shard) = control.shard_of(id) else { return Ok(()) };
        if new_priorities {
            self.command(shard, Command::Priorities { id, priorities });
        }
        if let Some(torrent) = control.catalog.get(id) {
            let settings = control.swarm_settings(torrent);
            self.command(shard, Command::Swarm { id, settings });
        }
        Ok(())
    }

    fn on_report(self: &Arc<Self>, report: Report) {
        match report {
            Report::Updates(updates) => {
                let mut control = self.lock();
                updates.into_iter().for_each(|update| control.apply(update));
            }
            Report::Completed(id) => {
                if let Some(torrent) = self.lock().catalog.change(id) {
                    torrent.totals.done_date = unix_now();
                    torrent.left = 0;
                    torrent.activity = Activity::Seeding;
                }
                self.announcer.completed(key(id));
            }
            Report::Durable { id, have, stamps, is_final } => {
                let resume = ResumeData { have, stamps, is_final };
                let mut control = self.lock();
                let hash = control.catalog.get(id).map(|torrent| torrent.info_hash);
                if let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) {
                    self.write(Write::Resume(hash, Some(resume.to_bytes())));
                    entry.resume = Some(Arc::new(resume));
                }
            }
            Report::Suspect { id } => {
                let mut control = self.lock();
                let hash = control.catalog.get(id).map(|torrent| torrent.info_hash);
                if let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) {
                    self.write(Write::Resume(hash, None));
                    entry.resume = None;
                }
            }
            Report::Disturbed { id, run } => {
                let mut control = self.lock();
                self.on_left(&mut control, id, run);
            }
            Report::Trouble { id, run, message } => {
                let mut guard = self.lock();
                let control = &mut *guard;
                if let Some(entry) = self.on_left(control, id, run) {
                    entry.retry_at = Some(unix_now() + limits::RETRY_AFTER.as_secs());
                    if let Some(torrent) = control.catalog.change(id) {
                        torrent.trouble = Some(Trouble::Local(message));
                    }
                }
            }
            Report::WantsPeers(id) => self.announcer.want_peers(key(id)),
            Report::Stopped { id, run, have } => self.on_stopped(id, run, have),
            Report::Ended { shard, end } => self.on_shard_ended(shard, end),
        }
    }

    /// A running torrent is about to stop by itself; in any other phase somebody has already decided
    /// what comes next.
    fn on_left<'a>(
        &self,
        control: &'a mut Control,
        id: TorrentId,
        run: u32,
    ) -> Option<&'a mut Entry> {
        let entry = control.entries.get_mut(&id)?;
        if entry.run != run || !matches!(entry.phase, Phase::Running) {
            return None;
        }
        entry.phase = Phase::Leaving;
        self.announcer.remove(key(id));
        Some(entry)
    }

    fn on_stopped(self: &Arc<Self>, id: TorrentId, run: u32, have: Option<Bitfield>) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if entry.run != run || !matches!(entry.phase, Phase::Running | Phase::Leaving) {
            return;
        }
        if let Some(load) = &mut control.load[entry.shard] {
            *load = load.saturating_sub(1);
        }
        entry.phase = Phase::Idle;
        let waits = entry.retry_at.is_some() && entry.after == After::AsMeant;
        if let Some(torrent) = control.catalog.change(id) {
            torrent.activity = Activity::Stopped;
            torrent.traffic = Traffic::default();
            if let Some(have) = have {
                torrent.have = Arc::new(have);
                measure(torrent);
            }
        }
        drop(guard);
        if !waits {
            self.begin(id);
        }
    }

    /// The torrents of a shard that panicked start again: on the one that took its place as soon as
    /// that has confirmed that it does not run them, or else on others.
    fn on_shard_ended(self: &Arc<Self>, shard: usize, end: End) {
        let mut guard = self.lock();
        let control = &mut *guard;
        if end != End::Replaced {
            control.load[shard] = None;
            if control.load.iter().all(Option::is_none) {
                self.all_ended.notify_one();
            }
        }
        if end == End::Ordered {
            return;
        }
        let mut lost = Vec::new();
        for (&id, entry) in &mut control.entries {
            if matches!(entry.phase, Phase::Running | Phase::Leaving) && entry.shard == shard {
                entry.phase = Phase::Leaving;
                self.announcer.remove(key(id));
                lost.push((id, entry.run));
            }
        }
        drop(guard);
        tracing::warn!(shard, torrents = lost.len(), "restarting the torrents of the shard");
        for (id, run) in lost {
            match end {
                End::Replaced => self.command(shard, Command::Stop { id, run }),
                _ => self.on_stopped(id, run, None),
            }
        }
        if end == End::Replaced && self.lock().stopping {
            self.command(shard, Command::Shutdown);
        }
    }

    fn on_tracker_event(&self, event: TrackerEvent) {
        match event {
            TrackerEvent::Peers { key, peers } => {
                let id = TorrentId(key.0 as u32);
                let shard = self.lock().shard_of(id);
                if let Some(shard) = shard {
                    self.command(shard, Command::Peers { id, peers, source: Source::Tracker });
                }
            }
            TrackerEvent::Status { key } => self.on_tracker_status(TorrentId(key.0 as u32)),
        }
    }

    /// The state of the trackers shows as the torrent's trouble when it has none of its own.
    fn on_tracker_status(&self, id: TorrentId) {
        let trackers = self.announcer.status(key(id));
        let asked = || trackers.iter().filter(|tracker| tracker.last_announce.happened);
        let works = asked().any(|tracker| tracker.last_announce.succeeded);
        let trouble = match asked().find(|tracker| !tracker.last_announce.succeeded) {
            Some(tracker) if !works => {
                Some(Trouble::TrackerError(tracker.last_announce.result.to_string()))
            }
            _ => asked()
                .find_map(|tracker| tracker.warning.as_deref())
                .map(|warning| Trouble::TrackerWarning(warning.to_owned())),
        };
        let mut control = self.lock();
        let is_local = |torrent: &Torrent| matches!(torrent.trouble, Some(Trouble::Local(_)));
        let differs = control
            .catalog
            .get(id)
            .is_some_and(|torrent| !is_local(torrent) && torrent.trouble != trouble);
        if differs && let Some(torrent) = control.catalog.change(id) {
            torrent.trouble = trouble;
        }
    }

    fn on_tick(self: &Arc<Self>, save: bool) {
        self.shards.iter().for_each(Line::push_on);
        let due = self.lock().tick();
        due.into_iter().for_each(|id| self.begin(id));
        if save {
            self.save_all();
        }
    }

    /// Writes figures that have changed.
    pub(super) fn save_all(&self) {
        let mut control = self.lock();
        for id in std::mem::take(&mut control.unsaved) {
            if let Some(torrent) = control.catalog.get(id) {
                self.write(Write::Totals(torrent.info_hash, torrent.totals));
            }
        }
        let (_, all) = control.counters();
        self.write(Write::Counters(all));
    }
}

/// The session's own task: everything that shards, trackers and threads tell.
pub(super) async fn run(
    inner: Arc<Inner>,
    mut reports: mpsc::Receiver<Report>,
    mut trackers: mpsc::Receiver<TrackerEvent>,
    mut notes: mpsc::UnboundedReceiver<Note>,
) {
    let mut tick = tokio::time::interval(limits::TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        tokio::select! {
            Some(report) = reports.recv() => inner.on_report(report),
            Some(event) = trackers.recv() => inner.on_tracker_event(event),
            Some(note) = notes.recv() => match note {
                Note::Looked(id, found) => inner.on_looked(id, found),
                Note::Checked(id, outcome) => inner.on_checked(id, outcome),
            },
            () = inner.ended.notified() => return,
            _ = tick.tick() => {
                ticks += 1;
                inner.on_tick(ticks % limits::SAVE_INTERVAL.as_secs() == 0);
            }
        }
    }
}

/// Sets the byte counts that follow from the pieces and the files' priorities.
fn measure(torrent: &mut Torrent) {
    let layout = &torrent.meta.layout;
    let geometry = layout.geometry();
    if torrent.have.is_all() {
        (torrent.have_bytes, torrent.left) = (geometry.total_length(), 0);
        return;
    }
    let length =
        |index: u32| geometry.piece(index).map_or(0, |piece| u64::from(geometry.length_of(piece)));
    torrent.have_bytes = torrent.have.iter().map(length).sum();
    torrent.left = match torrent.file_priorities.is_empty() {
        true => geometry.total_length() - torrent.have_bytes,
        false => crate::shard::piece_priorities(layout, &torrent.file_priorities)
            .iter()
            .zip(geometry.pieces())
            .filter(|&(&priority, piece)| priority != Priority::Skip && !torrent.have.has(piece))
            .map(|(_, piece)| u64::from(geometry.length_of(piece)))
            .sum(),
    };
}

fn running_activity(torrent: &Torrent) -> Activity {
    if torrent.is_done() { Activity::Seeding } else { Activity::Downloading }
}

/// Priorities of all files with some of them changed; empty if all are normal. The number of a file
/// that does not exist is the error.
fn merge_priorities(
    old: &[Priority],
    changes: &[(u32, Priority)],
    files: u32,
) -> Result<Vec<Priority>, u32> {
    let mut all = old.to_vec();
    all.resize(files as usize, Priority::Normal);
    for &(file, priority) in changes {
        *all.get_mut(file as usize).ok_or(file)? = priority;
    }
    if all.iter().all(|&priority| priority == Priority::Normal) {
        all.clear();
    }
    Ok(all)
}

fn priority_number(priority: Priority) -> i8 {
    match priority {
        Priority::Skip => -2,
        Priority::Low => -1,
        Priority::Normal => 0,
        Priority::High => 1,
    }
}

fn priority_of(number: i8) -> Priority {
    match number {
        ..=-2 => Priority::Skip,
        -1 => Priority::Low,
        0 => Priority::Normal,
        1.. => Priority::High,
    }
}

/// The default trackers, if the torrent may use them.
fn public_trackers(settings: &Settings, torrent: &Torrent) -> Vec<Vec<String>> {
    if torrent.meta.private {
        return Vec::new();
    }
    let known: HashSet<&String> = torrent.trackers.iter().flatten().collect();
    let tiers = settings.default_trackers.split("\n\n").map(|tier| {
        let urls = tier.lines().map(str::trim).filter(|url| !url.is_empty());
        urls.map(str::to_owned).filter(|url| !known.contains(url)).collect::<Vec<_>>()
    });
    tiers.filter(|tier| !tier.is_empty()).collect()
}
