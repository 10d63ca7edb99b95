//! Taking a torrent's files to another folder, or to other names.
//!
//! ```text
//!   prepare            the caller writes down        finish
//!   every file is at   that the new place holds      the old names go
//!   both places   ───────────────────────────────►
//! ```
//! Until `prepare` has ended, the old place is complete; from then on the new one is. On one file
//! system a file gets a second name (a hard link, or where there are none a rename, undone after an
//! error); to another one it is copied under a name of its own, made durable and renamed. A crash at
//! any point is followed by the same call again with `resumed` set, or by `finish`.
//! Nothing that was at the new place before is written to or deleted. Everything here blocks.

mod copy;

use crate::{
    StorageError,
    descriptors::open_patiently,
    disk::{self, Access, Meta},
    paths,
    space::free_space,
};
use metainfo::{InfoHash, Layout};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

/// Where a torrent's files are: the paths of the layout below a folder.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder.
    pub root: Arc<Path>,
    /// The paths.
    pub layout: Arc<Layout>,
}

/// Files to take from one place to another.
#[derive(Clone, Debug)]
pub struct Relocation {
    /// Names the part file, and copies under way.
    pub info_hash: InfoHash,
    /// Where they are.
    pub from: Place,
    /// Where they are to be: the same files in the same order.
    pub to: Place,
    /// It was begun before and broke off: what is at the new place may be of then.
    pub resumed: bool,
    /// How far it is, and whether it is to go on.
    pub progress: Arc<RelocationProgress>,
}

/// How far a relocation is; shared with whoever wants to know, or to stop it.
#[derive(Debug, Default)]
pub struct RelocationProgress {
    total: AtomicU64,
    done: AtomicU64,
    order: AtomicU8,
}

const GO_ON: u8 = 0;
const BREAK_OFF: u8 = 1;
const TURN_BACK: u8 = 2;

impl RelocationProgress {
    /// Bytes at the new place, and bytes in all; both 0 until it has looked.
    pub fn bytes(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(total), total)
    }

    /// Ends it soon, with everything left as it is: it will be resumed.
    pub fn break_off(&self) {
        let _ = self.order.compare_exchange(GO_ON, BREAK_OFF, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends it soon, with what it has made at the new place deleted.
    pub fn turn_back(&self) {
        self.order.store(TURN_BACK, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), RelocateError> {
        match self.order.load(Ordering::Relaxed) {
            GO_ON => Ok(()),
            _ => Err(RelocateError::Cancelled),
        }
    }

    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Why files stay where they are.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RelocateError {
    /// The operating system refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Something else has the name already.
    #[error("{}: another file is there already; nothing was moved", .0.display())]
    Occupied(PathBuf),
    /// The file system of the new place is too small.
    #[error("{}: not enough space: {needed} bytes are needed, {free} are free", path.display())]
    NoRoom {
        /// The new folder.
        path: PathBuf,
        /// Bytes to be copied.
        needed: u64,
        /// Bytes that can be written there.
        free: u64,
    },
    /// It was told to end.
    #[error("the move was cancelled")]
    Cancelled,
}

/// One file on its way.
struct Pair {
    from: PathBuf,
    to: PathBuf,
}

impl Pair {
    /// Whether both may be one and the same name: of one folder, reached in two ways, and equal but
    /// for upper and lower case, which not every file system tells apart.
    fn is_one_entry(&self) -> bool {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_ascii_lowercase();
        let folder = |path: &Path| disk::metadata(path.parent()?).ok().map(|meta| meta.identity());
        let of_from = folder(&self.from);
        name(&self.from) == name(&self.to) && of_from.is_some() && of_from == folder(&self.to)
    }
}

/// What has been made so far, to be taken back after an error.
#[derive(Default)]
struct Made {
    /// Second names and copies.
    files: Vec<PathBuf>,
    /// Files without a second name, from and to.
    renamed: Vec<(PathBuf, PathBuf)>,
    folders: Vec<PathBuf>,
}

impl Relocation {
    /// Brings every file to the new place, durably. After an error everything is as it was, unless
    /// it was told to [`RelocationProgress::break_off`]. Files that are not there are passed over.
    pub fn prepare(&self) -> Result<(), RelocateError> {
        let mut made = Made::default();
        let result = self.bring_all(&mut made);
        if result.is_err() && self.progress.order.load(Ordering::Relaxed) != BREAK_OFF {
            made.take_back();
        }
        result
    }

    fn bring_all(&self, made: &mut Made) -> Result<(), RelocateError> {
        let pairs = self.pairs();
        let sizes = self.measure(&pairs)?;
        let mut touched = BTreeSet::new();
        for (pair, size) in pairs.iter().zip(sizes) {
            self.progress.check()?;
            if size.is_some() || (self.resumed && exists(&pair.to)?) {
                self.bring(pair, made)?;
                touched.extend(pair.to.parent().map(Path::to_path_buf));
            }
            if let Some(size) = size.filter(|size| !size.counted) {
                self.progress.add(size.bytes);
            }
        }
        // Names are durable once their folders are, and the folders once theirs are.
        let above: Vec<PathBuf> =
            made.folders.iter().filter_map(|f| f.parent()).map(Into::into).collect();
        for folder in touched.iter().chain(&above) {
            sync_folder(folder)?;
        }
        Ok(())
    }

    /// Deletes the old names of files that are at the new place too, and folders of the torrent that
    /// are empty then, durably. Goes on after an error and gives the first.
    pub fn finish(&self) -> Result<(), StorageError> {
        let mut first_error = None;
        for pair in self.pairs() {
            if let Err(error) = remove_old(&pair) {
                first_error.get_or_insert(StorageError::new(pair.from, error));
            }
        }
        let mut folders = BTreeSet::new();
        for (_, file) in self.from.layout.files().filter(|(_, file)| !file.is_pad()) {
            let above = file.path().as_path().ancestors().skip(1);
            folders.extend(above.filter(|f| !f.as_os_str().is_empty()).map(Path::to_path_buf));
        }
        for folder in folders.iter().rev() {
            // One that is not empty stays.
            let _ = disk::remove_dir(&self.from.root.join(folder));
        }
        // All of them: what is gone already may have been deleted by a process that then ended.
        let touched: Vec<PathBuf> = folders.iter().map(|f| self.from.root.join(f)).collect();
        let touched = touched.iter().map(PathBuf::as_path).chain([&*self.from.root]);
        if let Err(error) = disk::sync_removals(touched) {
            first_error.get_or_insert(error);
        }
        first_error.map_or(Ok(()), Err)
    }

    fn pairs(&self) -> Vec<Pair> {
        let files = self.from.layout.files().zip(self.to.layout.files());
        let files =
            files.filter(|((_, file), _)| !file.is_pad()).map(|((_, from), (_, to))| Pair {
                from: self.from.root.join(from.path().as_path()),
                to: self.to.root.join(to.path().as_path()),
            });
        let parts = Pair {
            from: paths::part_file(&self.from.root, self.info_hash),
            to: paths::part_file(&self.to.root, self.info_hash),
        };
        files.chain([parts]).filter(|pair| pair.from != pair.to).collect()
    }

    /// What there is to bring; whether there is room for what must be copied.
    fn measure(&self, pairs: &[Pair]) -> Result<Vec<Option<Size>>, RelocateError> {
        let device = device_of(&self.to.root);
        let mut sizes = Vec::with_capacity(pairs.len());
        let (mut total, mut needed) = (0, 0);
        for pair in pairs {
            let size = match disk::metadata(&pair.from) {
                Ok(meta) if meta.is_file() => {
                    let counted = device != Some(meta.device());
                    if counted && !exists(&pair.to)? {
                        needed += meta.allocated();
                    }
                    total += meta.len();
                    Some(Size { bytes: meta.len(), counted })
                }
                Ok(_) => {
                    return Err(StorageError::InTheWay { file: pair.from.clone() }.into());
                }
                Err(error) if is_absence(&error) => None,
                Err(error) => return Err(StorageError::new(pair.from.clone(), error).into()),
            };
            sizes.push(size);
        }
        self.progress.done.store(0, Ordering::Relaxed);
        self.progress.total.store(total, Ordering::Relaxed);
        if needed > 0
            && let Ok(free_space) = free_space(&self.to.root)
            && free_space.free < needed
        {
            let path = self.to.root.to_path_buf();
            return Err(RelocateError::NoRoom { path, needed, free: free_space.free });
        }
        Ok(sizes)
    }

    fn bring(&self, pair: &Pair, made: &mut Made) -> Result<(), RelocateError> {
        let refused = |error| RelocateError::Storage(StorageError::new(pair.to.clone(), error));
        if pair.is_one_entry() {
            if pair.from.file_name() != pair.to.file_name() && exists(&pair.from)? {
                let is_one = same_file(&pair.from, &pair.to);
                match disk::rename_new(&pair.from, &pair.to) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match is_one {
                        true => disk::rename(&pair.from, &pair.to).map_err(refused)?,
                        false => return Err(RelocateError::Occupied(pair.to.clone())),
                    },
                    result => result.map_err(refused)?,
                }
                made.renamed.push((pair.from.clone(), pair.to.clone()));
            }
            return Ok(());
        }
        match disk::symlink_metadata(&pair.to) {
            Ok(meta) => return self.meet(pair, &meta, made),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(refused(error)),
        }
        if let Some(folder) = pair.to.parent() {
            make_folders(folder, made).map_err(refused)?;
        }
        let source = disk::symlink_metadata(&pair.from)
            .map_err(|error| StorageError::new(pair.from.clone(), error))?;
        if source.is_symlink() {
            // What it points to belongs to somebody else.
            let target = disk::canonicalize(&pair.from)
                .map_err(|error| StorageError::new(pair.from.clone(), error))?;
            disk::symlink(&target, &pair.to).map_err(refused)?;
            made.files.push(pair.to.clone());
            self.progress.add(disk::metadata(&pair.to).map_or(0, |meta| meta.len()));
            return Ok(());
        }
        match disk::hard_link(&pair.from, &pair.to) {
            Ok(()) => made.files.push(pair.to.clone()),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy(pair, made)?;
            }
            Err(error) if cannot_link(&error) => match disk::rename_new(&pair.from, &pair.to) {
                Ok(()) => made.renamed.push((pair.from.clone(), pair.to.clone())),
                Err(error) => return Err(refused(error)),
            },
            Err(error) => return Err(refused(error)),
        }
        Ok(())
    }

    fn copy(&self, pair: &Pair, made: &mut Made) -> Result<(), RelocateError> {
        let name = pair.to.file_name().unwrap_or_default().to_string_lossy();
        let mut hint = 0u64;
        name.bytes().for_each(|byte| hint = hint.rotate_left(7) ^ u64::from(byte));
        let temporary = pair.to.with_file_name(format!(".{}.{hint:x}.moving", self.info_hash));
        let result = copy::copy_file(&pair.from, &temporary, &self.progress)
            .and_then(|()| Ok(disk::rename_new(&temporary, &pair.to)?));
        match result {
            Ok(()) => {
                made.files.push(pair.to.clone());
                Ok(())
            }
            Err(failure) => {
                let _ = disk::remove_file(&temporary);
                Err(match failure {
                    copy::CopyError::Cancelled => RelocateError::Cancelled,
                    copy::CopyError::Source(error) => {
                        StorageError::new(pair.from.clone(), error).into()
                    }
                    copy::CopyError::Target(error)
                        if error.kind() == io::ErrorKind::AlreadyExists =>
                    {
                        RelocateError::Occupied(pair.to.clone())
                    }
                    copy::CopyError::Target(error) => {
                        StorageError::new(pair.to.clone(), error).into()
                    }
                })
            }
        }
    }

    /// Something has the new name: it is the file itself, of an earlier try or put there by hand, or
    /// it is in the way.
    fn meet(&self, pair: &Pair, found: &Meta, made: &mut Made) -> Result<(), RelocateError> {
        let source = match disk::metadata(&pair.from) {
            Ok(meta) => meta,
            // It was renamed before the crash.
            Err(error) if is_absence(&error) && self.resumed && found.is_file() => {
                made.renamed.push((pair.from.clone(), pair.to.clone()));
                return Ok(());
            }
            Err(error) => return Err(StorageError::new(pair.from.clone(), error).into()),
        };
        let target = match found.is_symlink() {
            true => disk::metadata(&pair.to).unwrap_or_else(|_| found.clone()),
            false => found.clone(),
        };
        let is_itself = source.identity() == target.identity();
        let looks_alike = target.is_file()
            && source.len() == target.len()
            && source.modified_ns() == target.modified_ns();
        if is_itself || (self.resumed && looks_alike) {
            if self.resumed {
                made.files.push(pair.to.clone());
            }
            self.progress.add(if is_itself { 0 } else { source.len() });
            return Ok(());
        }
        let is_same = target.is_file()
            && source.len() == target.len()
            && copy::same_content(&pair.from, &pair.to, &self.progress).map_err(|failure| {
                match failure {
                    copy::CopyError::Cancelled => RelocateError::Cancelled,
                    copy::CopyError::Source(error) | copy::CopyError::Target(error) => {
                        StorageError::new(pair.to.clone(), error).into()
                    }
                }
            })?;
        match is_same {
            true => Ok(()),
            false => Err(RelocateError::Occupied(pair.to.clone())),
        }
    }
}

/// Bytes of a file, and whether copying it counts them one by one.
struct Size {
    bytes: u64,
    counted: bool,
}

impl Made {
    fn take_back(&self) {
        for (from, to) in self.renamed.iter().rev() {
            if let Err(error) = disk::rename_new(to, from) {
                tracing::error!(file = %to.display(), %error, "cannot be moved back");
            }
        }
        for file in &self.files {
            if let Err(error) = disk::remove_file(file) {
                tracing::warn!(file = %file.display(), %error, "a copy is left");
            }
        }
        for folder in self.folders.iter().rev() {
            let _ = disk::remove_dir(folder);
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let id = |path| disk::symlink_metadata(path).ok().map(|meta| meta.identity());
    id(one).is_some() && id(one) == id(other)
}

/// Removes a file's old name if it has a new one.
fn remove_old(pair: &Pair) -> io::Result<()> {
    if pair.is_one_entry() {
        return Ok(());
    }
    let old = match disk::symlink_metadata(&pair.from) {
        Ok(old) => old,
        Err(error) if is_absence(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let new = disk::metadata(&pair.to)?;
    if !old.is_symlink() && old.len() != new.len() {
        return Err(io::Error::other("it is not as long as its copy, so it stays"));
    }
    disk::remove_file(&pair.from)
}

fn make_folders(folder: &Path, made: &mut Made) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !disk::exists(folder)).collect();
    for folder in missing.into_iter().rev() {
        let is_folder = || disk::metadata(folder).is_ok_and(|meta| meta.is_dir());
        match disk::create_dir(folder) {
            Ok(()) => made.folders.push(folder.to_path_buf()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_folder() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Stricter than elsewhere: the old place is cleared on the strength of it, so a folder that cannot be
/// opened to be synced ends the move.
fn sync_folder(folder: &Path) -> Result<(), RelocateError> {
    let sync = open_patiently(folder, Access::Read).and_then(|folder| folder.sync_all());
    match sync {
        // Some file systems have nothing to sync of a folder.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result.map_err(|error| StorageError::new(folder.to_path_buf(), error).into()),
    }
}

fn exists(path: &Path) -> Result<bool, StorageError> {
    match disk::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(StorageError::new(path.to_path_buf(), error)),
    }
}

/// The device of the nearest folder that exists. Blocks.
pub fn device_of(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|path| disk::metadata(path).ok()).map(|meta| meta.device())
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether the file system has no second names, or not for this file.
fn cannot_link(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS | libc::EMLINK | libc::EINVAL)
    )
}
