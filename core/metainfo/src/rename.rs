//! Files and folders of a torrent under other names than the .torrent gives them.
//!
//! The bytes stay what they are: only paths change, and with the first component the torrent's name.

use crate::{FileIndex, Layout, TorrentPath, path::clean};
use std::collections::{BTreeMap, HashSet};

/// Why nothing is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// The new name is empty, `.` or `..`, too long, or has a character that no name may have.
    #[error("the new name must be one name that a file can have: not empty, no '/'")]
    Name,
    /// No file or folder of the torrent has that path.
    #[error("no file or folder of the torrent has this path")]
    NoSuchPath,
    /// Another file or folder of the torrent has that name.
    #[error("the torrent has another file or folder with this name")]
    Taken,
}

/// In what the paths of a layout differ from those of its .torrent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renames {
    /// The torrent's name, if it is another.
    pub name: Option<String>,
    /// Files that have another path in the torrent's folder, by their numbers.
    pub files: BTreeMap<u32, String>,
}

impl Layout {
    /// Gives the file or folder at `path` (with the torrent's name in front) another last component.
    /// The torrent's own name is the path of everything in it.
    pub fn rename(&self, path: &str, name: &str) -> Result<Layout, RenameError> {
        if clean(name.as_bytes()).as_deref() != Some(name) {
            return Err(RenameError::Name);
        }
        let renamed = match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        };
        let mut found = false;
        let paths: Vec<String> = self
            .files()
            .map(|(_, file)| match below(file.path().as_str(), path) {
                Some(rest) => {
                    found = true;
                    format!("{renamed}{rest}")
                }
                None => file.path().as_str().to_owned(),
            })
            .collect();
        if path.is_empty() || !found {
            return Err(RenameError::NoSuchPath);
        }
        if renamed == path {
            return Ok(self.clone());
        }
        let is_taken =
            self.files().any(|(_, file)| below(file.path().as_str(), &renamed).is_some());
        if is_taken {
            return Err(RenameError::Taken);
        }
        let top = if path == self.name() { name } else { self.name() };
        self.with_paths(top, paths).ok_or(RenameError::Taken)
    }

    /// In what this layout differs from the one that its .torrent gave.
    pub fn renames_since(&self, original: &Layout) -> Renames {
        let name = (self.name() != original.name()).then(|| self.name().to_owned());
        let mut files = BTreeMap::new();
        if self.has_folder() {
            for ((index, now), (_, before)) in self.files().zip(original.files()) {
                if inner(now.path()) != inner(before.path()) {
                    files.insert(index.get(), inner(now.path()).to_owned());
                }
            }
        }
        Renames { name, files }
    }

    /// The layout with these changes, which [`Layout::renames_since`] gave; `None` if they do not fit.
    pub fn renamed(&self, renames: &Renames) -> Option<Layout> {
        let name = renames.name.as_deref().unwrap_or(self.name());
        let paths = self.files().map(|(index, file)| match self.has_folder() {
            true => {
                let given = renames.files.get(&index.get()).map(String::as_str);
                format!("{name}/{}", given.unwrap_or(inner(file.path())))
            }
            false => name.to_owned(),
        });
        self.with_paths(name, paths.collect())
    }

    /// The layout with `suffix` after the names of these files, where the longer name is possible and
    /// no other file has it.
    pub fn with_suffix(&self, suffix: &str, has: impl Fn(FileIndex) -> bool) -> Layout {
        let taken: HashSet<&str> = self.files().map(|(_, file)| file.path().as_str()).collect();
        let paths = self.files().map(|(index, file)| {
            let path = file.path();
            let longer = format!("{}{suffix}", path.as_str());
            let fits = path.file_name().len() + suffix.len() <= crate::limits::NAME_BYTES;
            match has(index) && !file.is_pad() && fits && !taken.contains(longer.as_str()) {
                true => longer,
                false => path.as_str().to_owned(),
            }
        });
        let paths: Vec<String> = paths.collect();
        self.with_paths(self.name(), paths).unwrap_or_else(|| self.clone())
    }

    /// The same files under other paths; `None` if one is not safe, or two are in each other's way.
    fn with_paths(&self, name: &str, paths: Vec<String>) -> Option<Layout> {
        let is_safe = |path: &String| {
            path.split('/').all(|part| clean(part.as_bytes()).as_deref() == Some(part))
        };
        if clean(name.as_bytes()).as_deref() != Some(name) || !paths.iter().all(is_safe) {
            return None;
        }
        let files: HashSet<&str> = paths.iter().map(String::as_str).collect();
        let is_a_file = |folder: &str| files.contains(folder);
        let blocked =
            paths.iter().any(|path| path.match_indices('/').any(|(at, _)| is_a_file(&path[..at])));
        if files.len() != paths.len() || blocked {
            return None;
        }
        Some(self.replace_paths(name, paths.into_iter().map(TorrentPath::from_clean)))
    }
}

/// What of `path` lies below `folder`: `""` for itself, else with the `/` in front.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// A path without its first component.
fn inner(path: &TorrentPath) -> &str {
    path.as_str().split_once('/').map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        create::{NewFile, Plan, Version},
        limits,
    };
    use proptest::prelude::*;

    fn layout(paths: &[&str]) -> Layout {
        let files: Vec<NewFile> = paths
            .iter()
            .map(|path| NewFile {
                path: path.split('/').map(str::to_owned).collect(),
                length: 5,
                attributes: Default::default(),
            })
            .collect();
        Plan::new("top", &files, Some(16384), Version::V1).unwrap().layout().clone()
    }

    fn paths(layout: &Layout) -> Vec<&str> {
        layout.files().map(|(_, file)| file.path().as_str()).collect()
    }

    #[test]
    fn files_folders_and_the_top_are_renamed() {
        let old = layout(&["a/x", "a/y", "ab/x", "c"]);
        let new = old.rename("top/a", "b").unwrap();
        assert_eq!(paths(&new), ["top/b/x", "top/b/y", "top/ab/x", "top/c"]);
        let new = new.rename("top/b/y", "z").unwrap().rename("top", "other").unwrap();
        assert_eq!(paths(&new), ["other/b/x", "other/b/z", "other/ab/x", "other/c"]);
        assert_eq!((new.name(), new.geometry()), ("other", old.geometry()));
        assert_eq!(old.renamed(&new.renames_since(&old)), Some(new));
        assert_eq!(old.renames_since(&old), Renames::default());
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let old = layout(&["a/x", "a/y", "c"]);
        let long = "x".repeat(limits::NAME_BYTES + 1);
        for name in ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", long.as_str()] {
            assert_eq!(old.rename("top/c", name), Err(RenameError::Name), "{name:?}");
        }
        for path in ["", "c", "top/a/", "top/", "to", "top/d", "/top"] {
            assert_eq!(old.rename(path, "n"), Err(RenameError::NoSuchPath), "{path:?}");
        }
        assert_eq!(old.rename("top/a/x", "y"), Err(RenameError::Taken));
        assert_eq!(old.rename("top/c", "a"), Err(RenameError::Taken));
        assert_eq!(old.rename("top/a", "c"), Err(RenameError::Taken));
        assert_eq!(old.rename("top/c", "c"), Ok(old.clone()));
        assert!(old.rename("top/c", "C").is_ok());
    }

    #[test]
    fn a_single_file_is_the_torrents_name() {
        let old = Plan::new(
            "one.iso",
            &[NewFile { path: vec![], length: 5, attributes: Default::default() }],
            Some(16384),
            Version::V1,
        );
        let old = old.unwrap().layout().clone();
        let new = old.rename("one.iso", "two.iso").unwrap();
        assert_eq!((new.name(), paths(&new)), ("two.iso", vec!["two.iso"]));
        assert_eq!(old.renamed(&new.renames_since(&old)), Some(new));
    }

    #[test]
    fn a_suffix_is_left_out_where_it_would_collide() {
        let old = layout(&["a", "a.part", "b"]);
        let new = old.with_suffix(".part", |file| file.get() != 1);
        assert_eq!(paths(&new), ["top/a", "top/a.part", "top/b.part"]);
    }

    proptest! {
        #[test]
        fn whatever_is_renamed_is_found_again(
            steps in prop::collection::vec(("(top|n[a-c])(/[a-c]){0,2}", "[a-c]|n[a-c]"), 0..12),
        ) {
            let original = layout(&["a/a", "a/b", "a/c/a", "b", "c/a"]);
            let mut now = original.clone();
            for (path, name) in steps {
                if let Ok(next) = now.rename(&path, &name) {
                    now = next;
                }
                let mut seen = paths(&now);
                seen.sort_unstable();
                seen.dedup();
                prop_assert_eq!(seen.len(), 5);
                prop_assert_eq!(original.renamed(&now.renames_since(&original)), Some(now.clone()));
            }
        }
    }
}
