//! Where a torrent's files are: moves, renames, the folder of incomplete torrents.
//!
//! A torrent that is to go somewhere leaves its shard, its files are brought to the new place by a
//! thread, and it goes on from there with the stamps it had. The database says which place counts:
//!
//! ```text
//!   moving: to B          at A, bring to B       crash here: the move is resumed
//!   at B, clear A         delete at A            crash here: A is cleared
//!   at B
//! ```

use super::{
    super::{
        PlaceError, StoredTorrent, Write,
        database::{StoredMove, StoredPlace},
        scripts::Moment,
    },
    Control, Entry, Inner, Note, Phase,
};
use crate::{
    clock::unix_now,
    event::Event,
    status::{Activity, Meta, Torrent, TorrentId, Trouble},
};
use metainfo::{Layout, Renames};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::{Place, RelocateError, RelocationProgress, exists};
use tokio::sync::oneshot;

/// What is put after the names of files of torrents that are not complete.
const PARTIAL: &str = ".part";

/// Where a torrent is to be next.
pub(super) struct Target {
    pub(super) download_dir: PathBuf,
    pub(super) place: StoredPlace,
    /// The layout with the names at that place, but without `.part`.
    pub(super) layout: Arc<Layout>,
    /// Bring the files; otherwise they are there, or will be.
    pub(super) bring: bool,
    /// It broke off before.
    pub(super) resumed: bool,
    /// The files are there, and the old place, which is this target, is to be cleared.
    pub(super) arrived: bool,
    /// Who waits for the end.
    pub(super) waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// The answers that a move owes at its end.
pub(super) type Waiting = Vec<oneshot::Sender<Result<(), String>>>;

impl StoredPlace {
    fn renames(&self) -> Renames {
        Renames { name: self.name.clone(), files: self.renamed.clone() }
    }

    /// Whether everything has its last name and folder.
    pub(super) fn is_settled(&self) -> bool {
        self.folder.is_none() && self.partial.is_empty()
    }

    fn settled(&self) -> StoredPlace {
        StoredPlace { folder: None, partial: Vec::new(), ..self.clone() }
    }

    /// The names on the disk, of a layout that has the renames already.
    fn on_disk(&self, layout: &Arc<Layout>) -> Arc<Layout> {
        if self.partial.is_empty() {
            return Arc::clone(layout);
        }
        let is_partial = |file: u32| {
            let at = self.partial.partition_point(|(_, end)| *end <= file);
            self.partial.get(at).is_some_and(|(start, _)| *start <= file)
        };
        Arc::new(layout.with_suffix(PARTIAL, |file| is_partial(file.get())))
    }

    /// Where a new torrent is put: with its download folder, if anything of it is there already.
    /// Blocks.
    pub(in crate::session) fn find(
        layout: &Layout,
        download_dir: &Path,
        incomplete_dir: Option<&Path>,
        rename_partial: bool,
    ) -> StoredPlace {
        let partial_name = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(PARTIAL);
            PathBuf::from(name)
        };
        let files = || layout.files().filter(|(_, file)| !file.is_pad());
        let is_at = |folder: &Path| {
            let mut paths = files().map(|(_, file)| folder.join(file.path().as_path()));
            paths.any(|path| exists(&path) || exists(&partial_name(&path)))
        };
        let incomplete = incomplete_dir.filter(|dir| *dir != download_dir && !is_at(download_dir));
        let folder = incomplete.unwrap_or(download_dir);
        let mut place = StoredPlace::default();
        for (index, file) in files() {
            let path = folder.join(file.path().as_path());
            if exists(&path) || (!rename_partial && !exists(&partial_name(&path))) {
                continue;
            }
            match place.partial.last_mut() {
                Some((_, end)) if *end == index.get() => *end += 1,
                _ => place.partial.push((index.get(), index.get() + 1)),
            }
        }
        place.folder = incomplete.and_then(Path::to_str).map(str::to_owned);
        place
    }
}

/// What a torrent has under the names that were given to its files, and what it is on its way to.
pub(super) fn restore(stored: &StoredTorrent, meta: &mut Meta) -> (Arc<Layout>, Option<Target>) {
    let original = Arc::clone(&meta.layout);
    let named = |place: &StoredPlace| match original.renamed(&place.renames()) {
        Some(layout) => Arc::new(layout),
        None => Arc::clone(&original),
    };
    let place = &stored.options.place;
    if *place != StoredPlace::default() {
        meta.layout = named(place);
    }
    let target = stored.options.moving.as_ref().map(|moving| Target {
        download_dir: moving.download_dir.clone().into(),
        place: moving.place.clone(),
        layout: named(&moving.place),
        bring: true,
        resumed: true,
        arrived: moving.arrived,
        waiting: Vec::new(),
    });
    (place.on_disk(&meta.layout), target)
}

impl Entry {
    /// Where the torrent is now.
    pub(super) fn place(&self, torrent: &Torrent) -> Place {
        Place { root: torrent.data_dir().into(), layout: Arc::clone(&self.disk) }
    }

    /// Where it is to be in the end, as far as anybody has said.
    fn target_now(&self, torrent: &Torrent) -> Target {
        let (download_dir, place, layout) = match &self.target {
            Some(target) if !target.arrived => {
                (target.download_dir.clone(), target.place.clone(), Arc::clone(&target.layout))
            }
            _ => (
                torrent.download_dir.clone(),
                self.options.place.clone(),
                Arc::clone(&torrent.meta.layout),
            ),
        };
        let waiting = Vec::new();
        let (bring, resumed, arrived) = (true, false, false);
        Target { download_dir, place, layout, bring, resumed, arrived, waiting }
    }
}

impl Inner {
    /// Takes the torrent's files to another folder, or only looks for them there.
    pub(in crate::session) fn set_location(
        self: &Arc<Self>,
        id: TorrentId,
        location: &Path,
        bring: bool,
    ) -> Result<(), PlaceError> {
        if !location.is_absolute() {
            return Err(PlaceError::Relative(location.to_path_buf()));
        }
        // As it is written down: without `.` and doubled separators.
        let location: PathBuf = location.components().collect();
        let mut guard = self.lock();
        let control = &mut *guard;
        let torrent = control.catalog.get(id).ok_or(PlaceError::NoSuchTorrent)?;
        let entry = control.entries.get_mut(&id).ok_or(PlaceError::NoSuchTorrent)?;
        let mut target = entry.target_now(torrent);
        let waits_for_the_rest = target.place.folder.is_some() && !bring;
        target.download_dir = location;
        target.bring = bring || entry.target.as_ref().is_some_and(|target| target.bring);
        if !waits_for_the_rest {
            target.place.folder = None;
        }
        drop(guard);
        self.go_to(id, target);
        Ok(())
    }

    /// Gives a file or folder of the torrent another name; the answer comes when it has it.
    pub(in crate::session) fn rename_path(
        self: &Arc<Self>,
        id: TorrentId,
        path: &str,
        name: &str,
    ) -> Result<oneshot::Receiver<Result<(), String>>, PlaceError> {
        let mut guard = self.lock();
        let control = &mut *guard;
        let torrent = control.catalog.get(id).ok_or(PlaceError::NoSuchTorrent)?;
        let entry = control.entries.get_mut(&id).ok_or(PlaceError::NoSuchTorrent)?;
        if matches!(entry.phase, Phase::Moving(_)) {
            return Err(PlaceError::Busy);
        }
        let mut target = entry.target_now(torrent);
        let layout = target.layout.rename(path, name)?;
        let changes = layout.renames_since(&target.layout);
        target.place.name = changes.name.or(target.place.name);
        target.place.renamed.extend(changes.files);
        target.layout = Arc::new(layout);
        let (answer, receiver) = oneshot::channel();
        target.waiting.push(answer);
        drop(guard);
        self.go_to(id, target);
        Ok(receiver)
    }

    /// A torrent that is complete gets its last names and folder; whether it was not there yet.
    pub(super) fn settle(self: &Arc<Self>, control: &mut Control, id: TorrentId) -> bool {
        let Some(torrent) = control.catalog.get(id) else { return false };
        let Some(entry) = control.entries.get_mut(&id) else { return false };
        let mut target = entry.target_now(torrent);
        if torrent.left > 0 || target.place.is_settled() {
            return false;
        }
        target.place = target.place.settled();
        if let Some(before) = entry.target.take() {
            target.waiting = before.waiting;
        }
        entry.target = Some(target);
        true
    }

    fn go_to(self: &Arc<Self>, id: TorrentId, mut target: Target) {
        let mut guard = self.lock();
        let control = &mut *guard;
        let Some(entry) = control.entries.get_mut(&id) else { return };
        entry.retry_at = None;
        if let Some(before) = entry.target.take() {
            target.waiting.extend(before.waiting);
        }
        entry.target = Some(target);
        match &mut entry.phase {
            Phase::Idle => {
                drop(guard);
                self.begin(id);
            }
            Phase::Running => self.leave(control, id),
            Phase::Checking { handle, cancelled, .. } => {
                *cancelled = true;
                handle.cancel();
            }
            Phase::Moving(progress) => progress.turn_back(),
            Phase::Looking | Phase::Leaving | Phase::Removing => {}
        }
    }

    /// Takes an idle torrent to its target.
    pub(super) fn relocate(self: &Arc<Self>, control: &mut Control, id: TorrentId, target: Target) {
        let (Some(torrent), Some(entry)) =
            (control.catalog.even_leaving(id), control.entries.get_mut(&id))
        else {
            return;
        };
        let root = match &target.place.folder {
            Some(folder) => Path::new(folder),
            None => target.download_dir.as_path(),
        };
        let there = Place { root: root.into(), layout: target.place.on_disk(&target.layout) };
        let here = entry.place(torrent);
        let (from, to) = if target.arrived { (there, here) } else { (here, there) };
        let progress = Arc::new(RelocationProgress::default());
        let job = storage::Relocation {
            info_hash: torrent.info_hash,
            from,
            to,
            resumed: target.resumed,
            progress: Arc::clone(&progress),
        };
        entry.phase = Phase::Moving(progress);
        if let Some(torrent) = control.catalog.change(id) {
            torrent.activity = Activity::Moving;
            torrent.traffic = Default::default();
            torrent.relocation = Some(crate::status::Relocation {
                to: job.to.root.to_path_buf(),
                ..Default::default()
            });
        }
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            let (waiting, result) = inner.carry_out(id, target, job).await;
            // Nobody listens any more when the session has ended.
            let _ = inner.notes.send(Note::Moved(id, waiting, result));
        });
    }

    async fn carry_out(
        self: &Arc<Self>,
        id: TorrentId,
        mut target: Target,
        job: storage::Relocation,
    ) -> (Waiting, Result<(), RelocateError>) {
        let waiting = std::mem::take(&mut target.waiting);
        if !target.arrived {
            if target.bring {
                if let Err(error) = self.write_down(id, &target).await {
                    return (waiting, Err(error));
                }
                if let Err(error) = self.movers.prepare(&job).await {
                    self.forget_move(id, &error);
                    return (waiting, Err(error));
                }
            }
            let bring = target.bring;
            let arrived = self.arrive(id, target).await;
            if arrived.is_err() || !bring {
                // What was not brought is not ours to clear at the old place.
                return (waiting, arrived);
            }
        }
        self.movers.finish(&job).await;
        self.forget_move(id, &RelocateError::Cancelled);
        (waiting, Ok(()))
    }

    /// Says in the database what is about to happen.
    async fn write_down(&self, id: TorrentId, target: &Target) -> Result<(), RelocateError> {
        let download_dir = utf8(&target.download_dir)?;
        let saved = {
            let mut control = self.lock();
            let hash = control.catalog.even_leaving(id).map(|torrent| torrent.info_hash);
            let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) else {
                return Err(RelocateError::Cancelled);
            };
            let place = target.place.clone();
            entry.options.moving = Some(StoredMove { download_dir, place, arrived: false });
            self.write_durably(Write::Options(hash, entry.options.clone()))
        };
        durable(saved).await
    }

    /// The new place counts from now on.
    async fn arrive(&self, id: TorrentId, target: Target) -> Result<(), RelocateError> {
        let saved = {
            let mut guard = self.lock();
            let control = &mut *guard;
            let (Some(torrent), Some(entry)) =
                (control.catalog.change(id), control.entries.get_mut(&id))
            else {
                return Err(RelocateError::Cancelled);
            };
            let old = StoredMove {
                download_dir: utf8(&torrent.download_dir)?,
                place: entry.options.place.clone(),
                arrived: true,
            };
            entry.options.moving = target.bring.then_some(old);
            entry.disk = target.place.on_disk(&target.layout);
            if !Arc::ptr_eq(&torrent.meta.layout, &target.layout) {
                let mut meta = Meta::clone(&torrent.meta);
                meta.layout = target.layout;
                torrent.meta = Arc::new(meta);
            }
            torrent.download_dir = target.download_dir;
            torrent.incomplete_dir = target.place.folder.clone().map(PathBuf::from);
            torrent.edit_date = unix_now();
            entry.options.place = target.place;
            let (folder, options) = (torrent.download_dir.clone(), entry.options.clone());
            self.write_durably(Write::Place(torrent.info_hash, folder, options))
        };
        durable(saved).await
    }

    /// The move has ended, one way or the other; one that is to be resumed stays written down.
    fn forget_move(&self, id: TorrentId, why: &RelocateError) {
        let mut control = self.lock();
        if control.stopping && matches!(why, RelocateError::Cancelled) {
            return;
        }
        let hash = control.catalog.get(id).map(|torrent| torrent.info_hash);
        if let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) {
            entry.options.moving = None;
            self.write(Write::Options(hash, entry.options.clone()));
        }
    }

    pub(super) fn on_moved(
        self: &Arc<Self>,
        id: TorrentId,
        waiting: Waiting,
        result: Result<(), RelocateError>,
    ) {
        let text = result.as_ref().err().map(ToString::to_string);
        let was_asked = !waiting.is_empty();
        for answer in waiting {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(text.clone().map_or(Ok(()), Err));
        }
        let mut control = self.lock();
        let Control { catalog, entries, .. } = &mut *control;
        let (Some(torrent), Some(entry)) = (catalog.change(id), entries.get_mut(&id)) else {
            return;
        };
        entry.phase = Phase::Idle;
        let has_arrived = result.is_ok();
        torrent.relocation = None;
        torrent.activity = Activity::Stopped;
        match (result, text) {
            (Ok(()), _) => torrent.trouble = None,
            (Err(RelocateError::Cancelled), _) => {}
            (Err(_), Some(text)) if !was_asked => {
                tracing::error!(torrent = %torrent.info_hash, "cannot move its files: {text}");
                torrent.trouble = Some(Trouble::Local(text.clone()));
                torrent.running = false;
                self.write(Write::Running(torrent.info_hash, false));
                control.tell(id, Event::Error(text));
            }
            (Err(_), _) => {}
        }
        if has_arrived {
            self.run_owed_script(&mut control, id);
        }
        drop(control);
        self.begin(id);
    }

    /// A torrent is complete: its script runs once its files are in their last place, in a later run
    /// of the program if need be.
    pub(super) fn owe_script(&self, control: &mut Control, id: TorrentId) {
        let hash = control.catalog.get(id).map(|torrent| torrent.info_hash);
        let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) else { return };
        if entry.options.place.is_settled() {
            self.tell_script(control, id, Moment::Done);
        } else {
            entry.options.owes_script = true;
            self.write(Write::Options(hash, entry.options.clone()));
        }
    }

    /// The files of a torrent are in their last place: runs the script that waits for it.
    fn run_owed_script(&self, control: &mut Control, id: TorrentId) {
        let hash = control.catalog.get(id).map(|torrent| torrent.info_hash);
        let (Some(entry), Some(hash)) = (control.entries.get_mut(&id), hash) else { return };
        if !entry.options.owes_script || !entry.options.place.is_settled() {
            return;
        }
        entry.options.owes_script = false;
        self.write(Write::Options(hash, entry.options.clone()));
        self.tell_script(control, id, Moment::Done);
    }

    /// Runs the scripts of torrents that had arrived when the program ended before it ran them.
    pub(super) fn run_owed_scripts(&self, control: &mut Control) {
        let owing = control
            .entries
            .iter()
            .filter(|(_, entry)| entry.options.owes_script && entry.target.is_none());
        let owing: Vec<TorrentId> = owing.map(|(&id, _)| id).collect();
        owing.into_iter().for_each(|id| self.run_owed_script(control, id));
    }
}

impl Control {
    /// Ends moves under way as they are, to be resumed at the next start.
    pub(in crate::session) fn break_off_moves(&self) {
        for entry in self.entries.values() {
            if let Phase::Moving(progress) = &entry.phase {
                progress.break_off();
            }
        }
    }
}

/// The database keeps these paths as text.
fn utf8(path: &Path) -> Result<String, RelocateError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let error = std::io::Error::other("a folder's path must be UTF-8 to be moved to or from");
        storage::StorageError::new(path.to_path_buf(), error).into()
    })
}

async fn durable(
    saved: Option<oneshot::Receiver<Result<(), String>>>,
) -> Result<(), RelocateError> {
    let answer = match saved {
        Some(saved) => saved.await.unwrap_or_else(|_| Err("the database is closed".into())),
        None => return Err(RelocateError::Cancelled),
    };
    answer.map_err(|message| {
        let error = std::io::Error::other(message);
        storage::StorageError::new(PathBuf::from("session.db"), error).into()
    })
}
