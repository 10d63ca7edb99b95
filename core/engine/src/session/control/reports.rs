//! What shards, trackers and threads of the session tell it.

use super::{
    super::{Line, Told, Write, key},
    After, Control, Entry, Inner, Note, Phase, measure,
};
use crate::{
    clock::unix_now,
    event::Event,
    limits,
    shard::{Command, End, Report},
    status::{Activity, Torrent, TorrentId, Traffic, Trouble},
    work,
};
use discovery::TrackerEvent;
use metainfo::Bitfield;
use std::sync::{Arc, atomic::Ordering};
use storage::ResumeData;
use swarm::Source;
use tokio::time::Instant;

impl Inner {
    fn on_report(self: &Arc<Self>, report: Report) {
        match report {
            Report::Updates(updates) => {
                let mut control = self.lock();
                updates.into_iter().for_each(|update| control.apply(update));
            }
            Report::Completed(id) => {
                self.on_completed(id);
                self.announcer.completed(key(id));
            }
            Report::Durable { id, have, stamps, is_final } => {
                let mut resume = ResumeData { have, stamps, is_final, suspects_cache: false };
                let mut control = self.lock();
                let hash = control.catalog.get(id).map(|torrent| torrent.info_hash);
                if let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) {
                    // Until everything has been fetched again or checked, some of it may be lost.
                    let suspected = entry.resume.as_ref().is_some_and(|old| old.suspects_cache);
                    resume.suspects_cache = suspected && !resume.have.is_all();
                    self.write(Write::Resume(hash, Some(resume.to_bytes())));
                    entry.resume = Some(Arc::new(resume));
                }
            }
            Report::Suspect { id } => {
                self.suspect(&mut self.lock(), id);
            }
            Report::Disturbed { id, run } => {
                let mut control = self.lock();
                self.on_left(&mut control, id, run);
            }
            Report::Stalled { id, run, is_stalled } => self.lock().on_stalled(id, run, is_stalled),
            Report::Trouble { id, run, message } => {
                let mut guard = self.lock();
                let control = &mut *guard;
                if let Some(entry) = self.on_left(control, id, run) {
                    entry.retry_at = Some(Instant::now() + limits::RETRY_AFTER);
                    if let Some(torrent) = control.catalog.change(id) {
                        torrent.trouble = Some(Trouble::Local(message.clone()));
                    }
                    control.tell(id, Event::Error(message));
                }
            }
            Report::Settled(id) => {
                let mut control = self.lock();
                if control.shard_of(id).is_some() && self.settle(&mut control, id) {
                    self.leave(&mut control, id);
                }
            }
            Report::Banned { id, addr } => self.lock().tell(id, Event::PeerBanned(addr)),
            Report::WantsPeers(id) => self.announcer.want_peers(key(id)),
            Report::Stopped { id, run, have } => self.on_stopped(id, run, have),
            Report::Ended { shard, end, culprit } => self.on_shard_ended(shard, end, culprit),
        }
    }

    fn on_completed(&self, id: TorrentId) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(torrent) = control.catalog.change(id) else { return };
        tracing::info!(torrent = %torrent.info_hash, name = torrent.meta.layout.name(), "complete");
        torrent.totals.done_date = unix_now();
        torrent.left = 0;
        if torrent.activity == Activity::Downloading {
            torrent.activity = Activity::Seeding;
        }
        if let Some(entry) = control.entries.get_mut(&id) {
            entry.is_new_seed = true;
            control.has_new_seeds = true;
        }
        control.tell(id, Event::Completed);
        self.owe_script(control, id);
        self.turns.notify_one();
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
        entry.turn = None;
        self.turns.notify_one();
        let waits =
            entry.retry_at.is_some() && entry.after == After::AsMeant && entry.target.is_none();
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
    /// that has confirmed that it does not run them, or else on others. One that was being dealt with
    /// when shards panicked, and so for a second time, has to wait.
    fn on_shard_ended(self: &Arc<Self>, shard: usize, end: End, culprit: Option<TorrentId>) {
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
        control.restarts[shard] += u64::from(end == End::Replaced);
        if let Some(id) = culprit {
            control.blame(id);
        }
        let (mut lost, mut unsure) = (Vec::new(), Vec::new());
        for (&id, entry) in &mut control.entries {
            if matches!(entry.phase, Phase::Running | Phase::Leaving) && entry.shard == shard {
                entry.phase = Phase::Leaving;
                self.announcer.remove(key(id));
                lost.push((id, entry.run));
                if entry.resume.as_ref().is_none_or(|resume| !resume.have.is_all()) {
                    unsure.push(id);
                }
            }
        }
        // A sync of what they had written may have failed, and nobody is left to tell.
        unsure.into_iter().for_each(|id| self.suspect(control, id));
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

    /// The disk may have refused what the torrent has written. What was durable is so still; the rest is
    /// fetched again: a check could find it in the page cache, which does not know better.
    fn suspect(&self, control: &mut Control, id: TorrentId) {
        let hash = control.catalog.even_leaving(id).map(|torrent| torrent.info_hash);
        let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) else { return };
        let known = entry.resume.as_deref().cloned();
        let known = known.unwrap_or_else(|| ResumeData::nothing(&entry.disk));
        let resume = ResumeData { is_final: false, suspects_cache: true, ..known };
        self.write(Write::Resume(hash, Some(resume.to_bytes())));
        entry.resume = Some(Arc::new(resume));
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
        let event = match &trouble {
            Some(Trouble::TrackerError(text) | Trouble::Local(text)) => {
                Event::TrackerError(text.clone())
            }
            Some(Trouble::TrackerWarning(text)) => Event::TrackerWarning(text.clone()),
            None => Event::TrackerRecovered,
        };
        let mut control = self.lock();
        let is_local = |torrent: &Torrent| matches!(torrent.trouble, Some(Trouble::Local(_)));
        let differs = control
            .catalog
            .get(id)
            .is_some_and(|torrent| !is_local(torrent) && torrent.trouble != trouble);
        if !differs {
            return;
        }
        control.tell(id, event);
        if let Some(torrent) = control.catalog.change(id) {
            torrent.trouble = trouble;
        }
    }

    /// Has the room in the download folder looked at. A file system that hangs holds up one thread,
    /// and is not asked again until it has answered.
    pub(in crate::session) fn ask_for_room(self: &Arc<Self>) {
        if self.asked_for_room.swap(true, Ordering::Relaxed) {
            return;
        }
        let path = self.lock().settings.download_dir.clone();
        let inner = Arc::clone(self);
        work::spawn_on(&self.runtime, move || {
            let free = storage::free_space(&path).ok().map(|room| room.free);
            inner.asked_for_room.store(false, Ordering::Relaxed);
            let _ = inner.notes.send(Note::Room(path, free));
        });
    }

    fn on_tick(self: &Arc<Self>, save: bool) {
        self.shards.iter().for_each(Line::push_on);
        let due = self.lock().tick();
        due.retry.into_iter().for_each(|id| self.begin(id));
        due.goals.into_iter().for_each(|(id, goal)| self.end_seeding(id, goal));
        self.follow_clock();
        if due.is_queued {
            self.turns.notify_one();
        }
        if save {
            self.save_all();
        }
    }

    /// Writes figures that have changed.
    pub(in crate::session) fn save_all(&self) {
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

impl Control {
    /// The torrent goes on: what is in memory is served, and the rest waits for the disk.
    fn on_stalled(&mut self, id: TorrentId, run: u32, is_stalled: bool) {
        let Some(entry) = self.entries.get(&id) else { return };
        if entry.run != run || !matches!(entry.phase, Phase::Running) {
            return;
        }
        let Some(torrent) = self.catalog.change(id) else { return };
        if is_stalled {
            self.say_disk_is_silent(id);
        } else if matches!(torrent.trouble, Some(Trouble::Local(_))) {
            torrent.trouble = None;
        }
    }

    /// The torrents start when their folders answer.
    fn on_hung_looks(&mut self, hung: &[TorrentId]) {
        for &id in hung {
            let looks =
                self.entries.get(&id).is_some_and(|entry| matches!(entry.phase, Phase::Looking));
            let is_news = |torrent: &Torrent| torrent.running && torrent.trouble.is_none();
            if looks && self.catalog.get(id).is_some_and(is_news) {
                self.say_disk_is_silent(id);
                if let Some(torrent) = self.catalog.change(id) {
                    torrent.activity = Activity::Stopped;
                }
            }
        }
    }

    pub(super) fn say_disk_is_silent(&mut self, id: TorrentId) {
        let Some(torrent) = self.catalog.change(id) else { return };
        let message = format!("{}: the disk does not answer", torrent.data_dir().display());
        torrent.trouble = Some(Trouble::Local(message.clone()));
        self.tell(id, Event::Error(message));
    }

    /// A shard panicked while it dealt with this torrent. Once may have been chance.
    fn blame(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.panics += 1;
        let times = entry.panics;
        tracing::error!(
            torrent = id.0,
            times,
            "the shard panicked while it dealt with this torrent"
        );
        let Some(further) = times.checked_sub(2) else { return };
        let wait = limits::PANIC_RETRY.saturating_mul(1 << further.min(8));
        let wait = wait.min(limits::PANIC_RETRY_MAX);
        entry.retry_at = Some(Instant::now() + wait);
        let hours = wait.as_secs() / 3600;
        let message = format!(
            "a fault of the server shows with this torrent, {times} times so far: it rests for \
             {hours} h, or until it is started; please report what the log says of it"
        );
        if let Some(torrent) = self.catalog.change(id) {
            torrent.trouble = Some(Trouble::Local(message.clone()));
        }
        self.tell(id, Event::Error(message));
    }
}

/// The session's own task: everything that shards, trackers and threads tell.
pub(in crate::session) async fn run(inner: Arc<Inner>, told: Told) {
    let Told { mut reports, tracker_events: mut trackers, mut notes } = told;
    let mut tick = tokio::time::interval(limits::TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        // What is rare goes first. Places are given away when everything has been heard that frees one.
        tokio::select! {
            biased;
            () = inner.ended.notified() => return,
            _ = tick.tick() => {
                if ticks % limits::ROOM_INTERVAL.as_secs() == 0 {
                    inner.ask_for_room();
                }
                let hung = inner.lookers.tick();
                inner.lock().on_hung_looks(&hung);
                inner.checker.tick();
                ticks += 1;
                inner.on_tick(ticks % limits::SAVE_INTERVAL.as_secs() == 0);
            }
            Some(note) = notes.recv() => match note {
                Note::Looked(id, found) => inner.on_looked(id, found),
                Note::Checked(id, outcome) => inner.on_checked(id, outcome),
                Note::Moved(id, waiting, result) => inner.on_moved(id, waiting, result),
                Note::Room(path, Some(free)) => inner.lock().on_room(path, free),
                Note::Room(_, None) => {}
            },
            Some(event) = trackers.recv() => inner.on_tracker_event(event),
            Some(report) = reports.recv() => inner.on_report(report),
            () = inner.turns.notified() => inner.take_turns(),
        }
    }
}
