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
    super::{
        StoredTorrent, Wish, Write, key,
        looker::{Found, Look},
        queue::Place,
    },
    After, Control, Entry, Inner, Note, Phase, measure, running_activity,
    turns::has_ratio,
};
use crate::{
    clock::unix_now,
    event::Event,
    limits,
    rules::GoalMode,
    settings::Settings,
    shard::{Command, StartTorrent},
    status::{Activity, Meta, Torrent, TorrentId, Trouble},
    work,
};
use discovery::TorrentAnnounce;
use metainfo::{Bitfield, Metainfo};
use std::{collections::HashSet, net::SocketAddr, sync::Arc};
use storage::{
    Allocation, CheckEvent, CheckOutcome, CheckRequest, FileStamp, ResumeData, remove_data,
};
use swarm::Source;
use tokio::time::Instant;

impl Inner {
    /// Takes in what the database had, and starts what is meant to run.
    pub(in crate::session) fn load(self: &Arc<Self>, stored: Vec<StoredTorrent>) {
        let mut places = Vec::new();
        {
            let mut control = self.lock();
            for torrent in stored {
                let parsed = Metainfo::parse(&torrent.metainfo).ok().and_then(Meta::new);
                match parsed {
                    Some((meta, trackers)) => {
                        let place = control.insert(&torrent, meta, trackers);
                        control.go_on_removing(place.id);
                        places.push(Place { rank: torrent.rank, ..place });
                    }
                    None => {
                        tracing::error!(torrent = %torrent.info_hash, "its .torrent is damaged");
                    }
                }
            }
            control.queue.restore(places.clone());
            control.settle_queue();
            self.run_owed_scripts(&mut control);
        }
        places.into_iter().for_each(|place| self.begin(place.id));
    }

    /// Moves an idle torrent on to what it is to do.
    pub(in crate::session) fn begin(self: &Arc<Self>, id: TorrentId) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if !matches!(entry.phase, Phase::Idle) {
            return;
        }
        // What a move that broke off has made at its other end goes only with the move.
        let is_halfway = entry.target.as_ref().is_some_and(|target| target.resumed);
        if let After::Remove { delete_data } = entry.after
            && !is_halfway
        {
            self.finish_removal(control, id, delete_data);
            return;
        }
        if control.stopping {
            return;
        }
        if let Some(target) = entry.target.take() {
            self.relocate(control, id, target);
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
                // What has never run may be complete already: its files tell in which queue it is.
                if entry.resume.is_some() && !entry.has_turn(torrent, &control.settings) {
                    entry.wait(torrent);
                    self.turns.notify_one();
                    return;
                }
                entry.phase = Phase::Looking;
                entry.look_again = false;
                if torrent.trouble.is_none() {
                    torrent.activity = entry.expected(torrent);
                }
                self.lookers.look(Look {
                    id,
                    info_hash: torrent.info_hash,
                    layout: Arc::clone(&entry.disk),
                    root: torrent.data_dir().into(),
                    resume: entry.resume.clone(),
                    left: torrent.left,
                    have_bytes: torrent.have_bytes,
                });
            }
        }
    }

    /// As [`Inner::begin`], for a torrent whose files have just been looked at.
    pub(in crate::session) fn begin_as_seen(self: &Arc<Self>, id: TorrentId, seen: Found) {
        {
            let mut control = self.lock();
            let Control { catalog, entries, .. } = &mut *control;
            let (Some(torrent), Some(entry)) = (catalog.get(id), entries.get_mut(&id)) else {
                return;
            };
            if torrent.running && matches!(entry.phase, Phase::Idle) {
                entry.phase = Phase::Looking;
                entry.look_again = false;
            } else {
                drop(control);
                return self.begin(id);
            }
        }
        self.on_looked(id, seen);
    }

    pub(super) fn check(
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
            layout: Arc::clone(&entry.disk),
            root: torrent.data_dir().into(),
            hashes: Arc::clone(&torrent.meta.hashes),
            pieces,
            past_cache: entry.resume.as_ref().is_some_and(|resume| resume.suspects_cache)
                || control.suspects.contains(&torrent.info_hash),
            report: Box::new(move |event| {
                if let CheckEvent::Ended(outcome) = event {
                    let _ = notes.send(Note::Checked(id, outcome));
                }
            }),
        });
        entry.phase = Phase::Checking { handle, trusted, cancelled: false };
    }

    pub(super) fn on_looked(self: &Arc<Self>, id: TorrentId, found: Found) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if entry.after != After::AsMeant
            || entry.target.is_some()
            || !control.catalog.get(id).is_some_and(|t| t.running)
        {
            entry.phase = Phase::Idle;
            drop(guard);
            self.begin(id);
            return;
        }
        if control.stopping {
            return;
        }
        match found {
            Found::Unfit(_) if entry.look_again => {
                entry.phase = Phase::Idle;
                drop(guard);
                self.begin(id);
            }
            Found::Unfit(message) => {
                entry.phase = Phase::Idle;
                entry.turn = None;
                self.turns.notify_one();
                entry.retry_at = Some(Instant::now() + limits::RETRY_AFTER);
                if let Some(torrent) = control.catalog.change(id) {
                    tracing::warn!(torrent = %torrent.info_hash, "{message}");
                    torrent.activity = Activity::Stopped;
                    torrent.trouble = Some(Trouble::Local(message.clone()));
                }
                control.tell(id, Event::Error(message));
            }
            Found::Files { trusted, doubtful, stamps, device } if doubtful.is_none() => {
                if let Some(torrent) = control.catalog.change(id) {
                    torrent.have = Arc::new(trusted.clone());
                    torrent.trouble = None;
                    measure(torrent);
                }
                if self.settle(control, id) {
                    if let Some(entry) = control.entries.get_mut(&id) {
                        entry.phase = Phase::Idle;
                    }
                    drop(guard);
                    self.begin(id);
                    return;
                }
                let Some(torrent) = control.catalog.change(id) else { return };
                let Some(entry) = control.entries.get_mut(&id) else { return };
                if entry.has_turn(torrent, &control.settings) {
                    self.run(control, id, trusted, stamps, device);
                } else {
                    entry.wait(torrent);
                    self.turns.notify_one();
                }
            }
            Found::Files { trusted, doubtful, .. } => self.check(control, id, doubtful, trusted),
        }
    }

    pub(super) fn on_checked(self: &Arc<Self>, id: TorrentId, outcome: CheckOutcome) {
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
            // Pieces that were not looked at, or that are not there, may still look better than they are.
            let since_the_check = control.suspects.remove(&torrent.info_hash);
            let before = entry.resume.as_ref().is_some_and(|resume| resume.suspects_cache);
            let suspected = since_the_check || before;
            let all_is_read = trusted.is_none() && have.is_all();
            let resume = ResumeData {
                have,
                stamps: outcome.stamps,
                is_final: true,
                suspects_cache: suspected && !all_is_read,
            };
            self.write(Write::Resume(torrent.info_hash, Some(resume.to_bytes())));
            entry.resume = Some(Arc::new(resume));
            if let Some(error) = outcome.error {
                torrent.trouble = Some(Trouble::Local(error.to_string()));
                entry.retry_at = Some(Instant::now() + limits::RETRY_AFTER);
                entry.turn = None;
                self.turns.notify_one();
                let rests = entry.after == After::AsMeant && entry.target.is_none();
                control.tell(id, Event::Error(error.to_string()));
                if rests {
                    return;
                }
            } else {
                control.tell(id, Event::Verified);
            }
        } else if let Some(error) = outcome.error {
            // The kernel forgets what it could not write, and shows it all the same: the next check
            // would find it, also that of another process.
            let before = entry.resume.as_deref();
            let resume = ResumeData::unknown(&entry.disk, &outcome.stamps, before);
            self.write(Write::Resume(torrent.info_hash, Some(resume.to_bytes())));
            entry.resume = Some(Arc::new(resume));
            // Nothing was read: it is checked again, unless a person has other plans.
            torrent.trouble = Some(Trouble::Local(error.to_string()));
            entry.retry_at = Some(Instant::now() + limits::RETRY_AFTER);
            entry.turn = None;
            self.turns.notify_one();
            control.tell(id, Event::Error(error.to_string()));
            let Some(entry) = control.entries.get_mut(&id) else { return };
            if entry.after == After::AsMeant && entry.target.is_none() {
                entry.after = After::Verify;
                return;
            }
        }
        control.note_completion(id);
        drop(guard);
        self.begin(id);
    }

    /// Hands the torrent to a shard.
    pub(super) fn run(
        &self,
        control: &mut Control,
        id: TorrentId,
        have: Bitfield,
        stamps: Vec<FileStamp>,
        device: u64,
    ) {
        control.note_completion(id);
        let Some(torrent) = control.catalog.get(id) else { return };
        let swarm = control.swarm_settings(torrent);
        let limits = control.limits_of(torrent);
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
        torrent.trouble = None;
        torrent.activity = running_activity(torrent);
        torrent.start_date = unix_now();
        // The last announces of the former run have its figures still.
        entry.progress = Arc::default();
        entry.progress.left.store(torrent.left, std::sync::atomic::Ordering::Relaxed);
        let start = StartTorrent {
            suspects_cache: entry.resume.as_ref().is_some_and(|resume| resume.suspects_cache),
            id,
            run: entry.run,
            info_hash: torrent.info_hash,
            peer_id: entry.peer_id,
            layout: Arc::clone(&entry.disk),
            hashes: Arc::clone(&torrent.meta.hashes),
            root: torrent.data_dir().into(),
            device,
            have,
            stamps,
            priorities: torrent.file_priorities.clone(),
            allocation: if preallocate { Allocation::Full } else { Allocation::Sparse },
            swarm,
            progress: Arc::clone(&entry.progress),
            limits,
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

    pub(in crate::session) fn add_peers(&self, id: TorrentId, peers: Vec<SocketAddr>) {
        let mut control = self.lock();
        if let Some(shard) = control.shard_of(id) {
            self.command(shard, Command::Peers { id, peers, source: Source::Manual });
        } else if let Some(entry) = control.entries.get_mut(&id) {
            let room = limits::WAITING_PEERS.saturating_sub(entry.peers.len());
            entry.peers.extend(peers.into_iter().take(room));
        }
    }

    pub(in crate::session) fn set_running(self: &Arc<Self>, id: TorrentId, wish: Wish) {
        let running = wish != Wish::Stop;
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(torrent) = control.catalog.change(id) else { return };
        let Some(entry) = control.entries.get_mut(&id) else { return };
        entry.jumps = match wish {
            Wish::Start => entry.jumps,
            Wish::StartNow => true,
            Wish::Stop => false,
        };
        if running && !torrent.running {
            self.forget_goal(torrent, entry, &control.settings);
        }
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
            (Phase::Idle, false) => {
                torrent.activity = Activity::Stopped;
                entry.turn = None;
            }
            (Phase::Running, false) => {
                torrent.activity = Activity::Stopped;
                self.leave(control, id);
            }
            (Phase::Checking { handle, cancelled, .. }, false) => {
                torrent.activity = Activity::Stopped;
                *cancelled = true;
                handle.cancel();
            }
            (Phase::Looking, false) => torrent.activity = Activity::Stopped,
            (Phase::Looking, true) => {
                entry.look_again = true;
                torrent.activity = entry.expected(torrent);
            }
            _ => {}
        }
    }

    /// A person starts a torrent: that it had reached a goal does not count any more, and a ratio
    /// that it still has would stop it at once.
    fn forget_goal(&self, torrent: &mut Torrent, entry: &mut Entry, settings: &Settings) {
        let has_ratio = has_ratio(torrent, settings);
        if !torrent.finished && !has_ratio {
            return;
        }
        torrent.finished = false;
        entry.options.finished = false;
        if has_ratio {
            torrent.rules.ratio_mode = GoalMode::Unlimited;
            entry.options.rules.ratio_mode = GoalMode::Unlimited;
        }
        self.write(Write::Options(torrent.info_hash, entry.options.clone()));
    }

    /// Takes a running torrent off its shard; [`Report::Stopped`] ends it.
    pub(super) fn leave(&self, control: &mut Control, id: TorrentId) {
        let Some(entry) = control.entries.get_mut(&id) else { return };
        if matches!(entry.phase, Phase::Running) {
            entry.phase = Phase::Leaving;
            self.announcer.remove(key(id));
            self.command(entry.shard, Command::Stop { id, run: entry.run });
        }
    }

    pub(in crate::session) fn verify(self: &Arc<Self>, id: TorrentId) {
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
            Phase::Looking | Phase::Leaving | Phase::Moving(_) | Phase::Removing => {}
        }
    }

    pub(in crate::session) fn remove(self: &Arc<Self>, id: TorrentId, delete_data: bool) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        entry.after = After::Remove { delete_data };
        let takes_time = delete_data || !matches!(entry.phase, Phase::Idle);
        if takes_time && let Some(torrent) = control.catalog.even_leaving(id) {
            // Whoever was told that it is removed shall not find it again after a crash.
            entry.options.removing = Some(delete_data);
            self.write(Write::Options(torrent.info_hash, entry.options.clone()));
        }
        control.catalog.hide(id);
        control.queue.forget();
        match &entry.phase {
            Phase::Idle => {
                drop(guard);
                self.begin(id);
            }
            Phase::Running => self.leave(control, id),
            Phase::Checking { handle, .. } => handle.cancel(),
            Phase::Moving(progress) => progress.turn_back(),
            Phase::Looking | Phase::Leaving | Phase::Removing => {}
        }
    }

    /// Takes out an idle torrent. Until its data is deleted nobody can add it again, and have the new
    /// files deleted.
    pub(super) fn finish_removal(
        self: &Arc<Self>,
        control: &mut Control,
        id: TorrentId,
        delete_data: bool,
    ) {
        let (Some(entry), Some(torrent)) =
            (control.entries.get_mut(&id), control.catalog.even_leaving(id))
        else {
            return;
        };
        entry.phase = Phase::Removing;
        tracing::info!(torrent = %torrent.info_hash, name = torrent.meta.layout.name(), delete_data, "removed");
        let (info_hash, root) = (torrent.info_hash, torrent.data_dir().to_path_buf());
        let layout = Arc::clone(&entry.disk);
        self.copies.remove(info_hash);
        let is_suspect = entry.resume.as_ref().is_some_and(|resume| resume.suspects_cache);
        if is_suspect && !delete_data && control.suspects.len() < limits::SUSPECTS {
            // Whoever adds it again has the same files checked.
            control.suspects.insert(info_hash);
        }
        entry.options.removing = Some(delete_data);
        let written = if delete_data {
            self.write_durably(Write::Options(info_hash, entry.options.clone()))
        } else {
            // Now: the session may end before a thread is free for the rest.
            self.write(Write::Remove(info_hash));
            None
        };
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Some(written) = written {
                // A torrent that is back after a crash must not lack files that it has claimed.
                let _ = written.await;
                let delete = move || remove_data(&root, &layout, info_hash);
                if let Ok(Err(error)) = work::spawn(delete).await {
                    tracing::warn!(torrent = %info_hash, %error, "not all data was deleted");
                }
                inner.write(Write::Remove(info_hash));
            }
            inner.lock().forget(id);
        });
    }
}

impl Control {
    /// A torrent of the database that was being removed when the program ended: it goes on leaving.
    fn go_on_removing(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(delete_data) = entry.options.removing else { return };
        entry.after = After::Remove { delete_data };
        self.catalog.hide(id);
    }
}

/// The default trackers, if the torrent may use them.
pub(super) fn public_trackers(settings: &Settings, torrent: &Torrent) -> Vec<Vec<String>> {
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
