//! Folders whose .torrent files are added as they appear.
//!
//! The kernel's notices (inotify) only say that it is time to look; each look goes through the whole
//! folder. So nothing is missed when notices are lost, and folders that give none (network mounts)
//! are looked at from time to time. A file that is still being written fails to be read and is tried
//! again when it has changed; one that stays bad is told once.

use super::{AddError, Inner, NewTorrent, Session};
use crate::{
    limits,
    settings::{AfterAdding, Settings, WatchFolder},
    work,
};
use notify::{RecursiveMode, Watcher};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, Weak},
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

/// How a file looked when it was tried last.
type Look = (u64, i64, i64);

/// What is known of the .torrent files of one folder that stay there.
#[derive(Default)]
struct Known(HashMap<PathBuf, Tried>);

struct Tried {
    look: Look,
    /// It was told that it is bad, or it was added.
    is_done: bool,
}

/// The folders that are looked after, each with what ends that.
pub(super) type Watchers = Vec<(WatchFolder, Arc<Notify>)>;

impl Inner {
    /// Looks after the folders of the settings, and no others, from now on. One that stays as it was
    /// is not looked at anew.
    pub(super) fn watch_folders(self: &Arc<Self>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.lock().settings.watch_folders.clone();
        watchers.retain(|(folder, end)| {
            let stays = wanted.contains(folder);
            if !stays {
                end.notify_one();
            }
            stays
        });
        for folder in wanted {
            if watchers.iter().all(|(known, _)| *known != folder) {
                let end = Arc::new(Notify::new());
                self.runtime.spawn(run(Arc::downgrade(self), folder.clone(), Arc::clone(&end)));
                watchers.push((folder, end));
            }
        }
    }
}

/// Looks after one folder until the session is gone, or until `end`.
async fn run(session: Weak<Inner>, folder: WatchFolder, end: Arc<Notify>) {
    let changed = Arc::new(Notify::new());
    let _watcher = watch(&folder.path, &changed);
    let mut known = Known::default();
    let mut has_failed = false;
    loop {
        let Some(inner) = session.upgrade() else { return };
        let session = Session(inner);
        if session.0.lock().stopping {
            return;
        }
        let patience = match known.look(&session, &folder).await {
            Ok(true) => limits::WATCH_RETRY,
            Ok(false) => limits::WATCH_INTERVAL,
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::error!(folder = %folder.path.display(), %error, "cannot look into the watch folder");
                }
                limits::WATCH_INTERVAL
            }
        };
        drop(session);
        // Whichever comes first: a notice, then a moment for more of them, or its time. After the end
        // nothing is looked at by these wishes, whatever else has come.
        let news = async {
            changed.notified().await;
            tokio::time::sleep(limits::WATCH_CALM).await;
        };
        tokio::select! {
            biased;
            () = end.notified() => return,
            () = news => {}
            () = tokio::time::sleep(patience) => {}
        }
    }
}

fn watch(folder: &Path, changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let tell = Arc::clone(changed);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is no news.
        if !event.is_ok_and(|event| event.kind.is_access() && !is_closed(&event)) {
            tell.notify_one();
        }
    });
    let started = watcher.and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    started
        .inspect_err(|error| {
            tracing::warn!(folder = %folder.display(), %error,
                "no notices of changes: the folder is looked at from time to time");
        })
        .ok()
}

/// Whether somebody who wrote to a file has closed it.
fn is_closed(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

impl Known {
    /// Tries what is new; whether something is to be tried again soon.
    async fn look(&mut self, session: &Session, folder: &WatchFolder) -> io::Result<bool> {
        let path = folder.path.clone();
        let list = move || torrent_files(&path);
        let files = work::spawn(list).await??;
        self.0.retain(|path, _| files.iter().any(|(known, _)| known == path));
        let mut soon = false;
        for (path, look) in files {
            if let Some(tried) = self.0.get(&path)
                && tried.look == look
                && tried.is_done
            {
                continue;
            }
            let is_done = match add(session, folder, &path).await {
                Ok(()) => true,
                Err(error) if is_fresh(look) => {
                    tracing::debug!(file = %path.display(), %error, "not whole yet");
                    false
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "cannot be added; it is left where it is");
                    true
                }
            };
            soon |= !is_done;
            self.0.insert(path, Tried { look, is_done });
        }
        Ok(soon)
    }
}

/// Whether it has changed so lately that somebody may still be writing.
fn is_fresh((_, seconds, _): Look) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = now.as_secs().saturating_sub(u64::try_from(seconds).unwrap_or(0));
    Duration::from_secs(age) < limits::WATCH_PATIENCE
}

/// The .torrent files of a folder in the order of their names. Blocks.
fn torrent_files(folder: &Path) -> io::Result<Vec<(PathBuf, Look)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(limits::WATCH_FILES) {
        let path = entry?.path();
        let is_torrent = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("torrent"));
        if let (true, Ok(meta)) = (is_torrent, fs::metadata(&path))
            && meta.is_file()
        {
            files.push((path, (meta.len(), meta.mtime(), meta.mtime_nsec())));
        }
    }
    files.sort();
    Ok(files)
}

async fn add(session: &Session, folder: &WatchFolder, path: &Path) -> Result<(), AddError> {
    let failed = |error: io::Error| AddError::Save(error.to_string());
    let file = path.to_path_buf();
    let read = work::spawn(move || read_torrent(&file));
    let metainfo = read.await.flatten().map_err(failed)?;
    let new = NewTorrent {
        metainfo,
        paused: folder.paused,
        download_dir: folder.download_dir.clone(),
        labels: folder.labels.clone(),
        ..NewTorrent::default()
    };
    let added = session.add(new).await?;
    tracing::info!(file = %path.display(), torrent = %added.info_hash, duplicate = added.duplicate,
        "added from the watch folder");
    let after = folder.after.unwrap_or(after_adding(&session.settings()));
    let file = path.to_path_buf();
    let put_away = work::spawn(move || put_away(&file, after));
    if let Err(error) = put_away.await.flatten() {
        tracing::warn!(file = %path.display(), %error, "it was added and stays under its name");
    }
    Ok(())
}

fn after_adding(settings: &Settings) -> AfterAdding {
    match settings.trash_original_torrent_files {
        true => AfterAdding::Delete,
        false => AfterAdding::Rename,
    }
}

/// A .torrent file of no more than the size that one can have. Blocks.
pub(super) fn read_torrent(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let most = metainfo::limits::TORRENT_BYTES as u64;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other("too large for a .torrent file")),
        false => Ok(bytes),
    }
}

/// Does with a file that was added what is to be done. Blocks.
fn put_away(path: &Path, after: AfterAdding) -> io::Result<()> {
    match after {
        AfterAdding::Keep => Ok(()),
        AfterAdding::Delete => fs::remove_file(path),
        AfterAdding::Rename => {
            let mut name = path.as_os_str().to_owned();
            name.push(".added");
            fs::rename(path, name)
        }
    }
}
