//! Small filesystems.

use anyhow::{Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A filesystem in memory, unmounted when this is dropped. It needs root, or sudo without a password.
pub struct Mount {
    folder: PathBuf,
}

impl Mount {
    /// Mounts one of this size (as `8m`) on a folder.
    pub fn tmpfs(folder: &Path, size: &str) -> Result<Mount> {
        let options = format!("size={size},mode=0777");
        if let Err(error) = as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], folder) {
            bail!(crate::Missing(format!("the right to mount a filesystem ({error:#})")));
        }
        Ok(Mount { folder: folder.to_owned() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes it read-only, or writable again.
    pub fn read_only(&self, read_only: bool) -> Result<()> {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        as_root(&["mount", "-o", options], &self.folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, for the daemon may still hold files open in it.
        if let Err(error) = as_root(&["umount", "--lazy"], &self.folder) {
            crate::note(format_args!("{} stays mounted: {error:#}", self.folder.display()));
        }
    }
}

fn as_root(command: &[&str], folder: &Path) -> Result<()> {
    let sudo: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["sudo", "-n"] };
    let words: Vec<&str> = sudo.iter().chain(command).copied().collect();
    let output = Command::new(words[0]).args(&words[1..]).arg(folder).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", command.join(" "), error.trim());
    Ok(())
}
