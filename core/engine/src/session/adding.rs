//! Adding torrents.

use super::{
    GroupError, Session,
    control::Control,
    database::{StoredPlace, Write},
    looker::Found,
    scripts,
};
use crate::{
    limits,
    rules::Rules,
    settings::Settings,
    status::{Meta, Priority, TorrentId},
    work,
};
use metainfo::{Bitfield, InfoHash, Layout, Metainfo, MetainfoError};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard},
    time::Duration,
};
use storage::{FileStamp, ResumeData, device_of, part_file};
use tokio::time::Instant;

/// A torrent to add.
#[derive(Clone, Debug, Default)]
pub struct NewTorrent {
    /// The bytes of the .torrent.
    pub metainfo: Vec<u8>,
    /// Whether it stays stopped; `None` does as the settings say.
    pub paused: Option<bool>,
    /// Where its data goes; `None` does as the settings say.
    pub download_dir: Option<PathBuf>,
    /// Labels.
    pub labels: Vec<String>,
    /// Priorities of some of its files, by their numbers.
    pub file_priorities: Vec<(u32, Priority)>,
    /// Peers at most; `None` does as the settings say.
    pub peer_limit: Option<u32>,
    /// Pieces in order; `None` does as the settings say.
    pub sequential: Option<bool>,
    /// The piece that they begin with then.
    pub sequential_from: u32,
    /// Speed and the end of seeding.
    pub rules: Rules,
    /// Take the files as complete and good if they are there in full length, without a check.
    pub trust_files: bool,
}

/// A torrent that is in the session now.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its number.
    pub id: TorrentId,
    /// Its info-hash.
    pub info_hash: InfoHash,
    /// Its name.
    pub name: String,
    /// Whether it was there before; nothing has changed then.
    pub duplicate: bool,
}

/// Why a torrent is not added.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AddError {
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    #[error("a torrent of version 2 only: Ringseed downloads version 1 and hybrid torrents so far")]
    VersionTwoOnly,
    #[error("file number {0} does not exist in the torrent")]
    NoSuchFile(u32),
    #[error("piece number {0} does not exist in the torrent")]
    NoSuchPiece(u32),
    #[error("the download folder {} is not an absolute path", .0.display())]
    RelativeFolder(PathBuf),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("cannot save the torrent: {0}")]
    Save(String),
}

impl Session {
    /// Adds a torrent. When this returns it is in the database, and so survives a crash.
    pub async fn add(&self, new: NewTorrent) -> Result<Added, AddError> {
        let inner = &self.0;
        let (parsed, new) = if new.metainfo.len() <= limits::PARSED_AT_ONCE {
            (Metainfo::parse(&new.metainfo), new)
        } else {
            let parse = move || (Metainfo::parse(&new.metainfo), new);
            let parsed = work::spawn(parse).await;
            parsed.map_err(|error| AddError::Save(error.to_string()))?
        };
        let parsed = parsed?;
        let info_hash = parsed.info_hash();
        let (meta, trackers) = Meta::new(parsed).ok_or(AddError::VersionTwoOnly)?;
        let folder = new.download_dir.clone().unwrap_or_else(|| self.settings().download_dir);
        let trusted = match new.trust_files {
            true => Trusted::find(info_hash, &meta, folder.clone()).await,
            false => None,
        };
        let (resume, seen) = match trusted {
            Some(Trusted { resume, seen }) => (Some(resume), Some(seen)),
            None => (None, None),
        };
        let place = match resume {
            Some(_) => StoredPlace::default(),
            None => self.place_for(&meta, folder.clone()).await,
        };
        inner.copies.room().await;
        let (added, saved) = {
            let mut control = self.after_removal_of(info_hash).await?;
            if let Some(found) = control.catalog.by_hash(info_hash) {
                let name = found.meta.layout.name().to_owned();
                return Ok(Added { id: found.id, info_hash, name, duplicate: true });
            }
            let (added, stored, group) =
                control.insert_new(info_hash, meta, trackers, folder, place, resume, new)?;
            if let Some(write) = group {
                inner.write(write);
            }
            inner.copies.save(info_hash, stored.metainfo.clone());
            // In line before anybody can remove the torrent, whose removal is to be the last word.
            (added, inner.write_durably(Write::Torrent(Box::new(stored))))
        };
        let saved = match saved {
            Some(answer) => answer.await.unwrap_or_else(|_| Err("the database is closed".into())),
            None => Err("the session is stopping".into()),
        };
        if let Err(message) = saved {
            inner.remove(added.id, false);
            return Err(AddError::Save(message));
        }
        inner.tell_script(&inner.lock(), added.id, scripts::Moment::Added);
        match seen {
            Some(seen) => inner.begin_as_seen(added.id, seen),
            None => inner.begin(added.id),
        }
        Ok(added)
    }

    /// Where a new torrent's files go until it is complete.
    async fn place_for(&self, meta: &Meta, folder: PathBuf) -> StoredPlace {
        let Settings { incomplete_dir, incomplete_dir_enabled, rename_partial_files, .. } =
            self.settings();
        if !incomplete_dir_enabled && !rename_partial_files {
            return StoredPlace::default();
        }
        let layout = Arc::clone(&meta.layout);
        let look = move || {
            let incomplete = incomplete_dir_enabled.then_some(incomplete_dir.as_path());
            StoredPlace::find(&layout, &folder, incomplete, rename_partial_files)
        };
        work::spawn(look).await.unwrap_or_default()
    }

    /// Waits while a torrent of this info-hash is being removed. Whoever gets the session's lock from
    /// here can rely on it that there is none.
    async fn after_removal_of(
        &self,
        info_hash: InfoHash,
    ) -> Result<MutexGuard<'_, Control>, AddError> {
        let deadline = Instant::now() + limits::REMOVAL_PATIENCE;
        loop {
            {
                let control = self.0.lock();
                if !control.catalog.is_hash_leaving(info_hash) {
                    return Ok(control);
                }
            }
            if Instant::now() >= deadline {
                return Err(AddError::Save("it is still being removed; try again later".into()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A torrent whose files are taken as good without a check, as they are now.
struct Trusted {
    /// What is remembered of them.
    resume: ResumeData,
    /// What a look at them before the start would find.
    seen: Found,
}

impl Trusted {
    /// `None` if a file is missing or not as long as it should be.
    async fn find(info_hash: InfoHash, meta: &Meta, root: PathBuf) -> Option<Trusted> {
        let layout = Arc::clone(&meta.layout);
        let look = move || Trusted::look(info_hash, &layout, &root);
        work::spawn(look).await.ok().flatten()
    }

    fn look(info_hash: InfoHash, layout: &Layout, root: &Path) -> Option<Trusted> {
        let mut stamps = Vec::with_capacity(layout.file_count() as usize + 1);
        for (_, file) in layout.files() {
            if file.is_pad() {
                stamps.push(FileStamp::ABSENT);
                continue;
            }
            let stamp = FileStamp::read(&root.join(file.path().as_path())).ok()?;
            if stamp == FileStamp::ABSENT || stamp.length != file.length() {
                return None;
            }
            stamps.push(stamp);
        }
        stamps.push(FileStamp::read(&part_file(root, info_hash)).ok()?);
        let pieces = layout.geometry().piece_count();
        let have = Bitfield::all(pieces);
        let seen = Found::Files {
            trusted: have.clone(),
            doubtful: Bitfield::none(pieces),
            stamps: stamps.clone(),
            device: device_of(root).unwrap_or_default(),
        };
        let resume = ResumeData { have, stamps, is_final: true, suspects_cache: false };
        Some(Trusted { resume, seen })
    }
}
