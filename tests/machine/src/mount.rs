//! Small filesystems.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A filesystem in memory, unmounted when this is dropped. It needs root, or sudo without a password.
pub struct Mount {
    folder: PathBuf,
    /// Goes after the filesystem that is mounted on it.
    own: Option<TempDir>,
}

impl Mount {
    /// Mounts one of this size (as `8m`) on a new folder; none where this user may not, which is said.
    ///
    /// # Panics
    /// In CI, where this user may not.
    pub fn small(size: &str) -> Option<Mount> {
        let own = tempfile::tempdir().expect("the system has a folder for temporary files");
        match Mount::on(own.path(), size) {
            Ok(mut mount) => {
                mount.own = Some(own);
                Some(mount)
            }
            Err(error) => {
                crate::skip(format_args!("this user may not mount a filesystem ({error})"));
                None
            }
        }
    }

    /// Mounts one of this size on a folder.
    ///
    /// # Errors
    /// If this user may not.
    pub fn on(folder: &Path, size: &str) -> io::Result<Mount> {
        let options = format!("size={size},mode=0777");
        as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], folder)?;
        Ok(Mount { folder: folder.to_owned(), own: None })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes it read-only, or writable again.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn read_only(&self, read_only: bool) -> io::Result<()> {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        as_root(&["mount", "-o", options], &self.folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: somebody may still hold files open in it.
        if let Err(error) = as_root(&["umount", "--lazy"], &self.folder) {
            crate::note(format_args!("{} stays mounted: {error}", self.folder.display()));
        }
    }
}

fn as_root(command: &[&str], folder: &Path) -> io::Result<()> {
    let sudo: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["sudo", "-n"] };
    let words: Vec<&str> = sudo.iter().chain(command).copied().collect();
    let output = Command::new(words[0]).args(&words[1..]).arg(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", command.join(" "), error.trim())))
}
