//! Less memory than the machine has.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A bound on the memory of what is started in it: a control group, of whichever version is there,
/// or, where none can be made, `RLIMIT_DATA`, which counts what could be touched.
pub struct MemoryLimit {
    bytes: u64,
    group: Option<Group>,
}

struct Group {
    folder: PathBuf,
    /// The file that tells the most that was ever used.
    peak: &'static str,
}

impl MemoryLimit {
    /// So many bytes.
    pub fn new(bytes: u64) -> MemoryLimit {
        let group = [
            ("/sys/fs/cgroup", "memory.max", "memory.peak"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        ];
        let group = group
            .into_iter()
            .find_map(|(root, limit, peak)| Group::make(Path::new(root), limit, peak, bytes).ok());
        MemoryLimit { bytes, group }
    }

    /// What a program is started by so that it is bound.
    pub fn starter(&self) -> Vec<String> {
        let enter = match &self.group {
            Some(group) => format!("echo $$ > '{}/cgroup.procs'", group.folder.display()),
            None => format!("ulimit -d {}", self.bytes >> 10),
        };
        ["sh", "-c", &format!("{enter} && exec \"$0\" \"$@\"")].map(str::to_owned).to_vec()
    }

    /// The most bytes that were used, the kernel's on behalf of it included; none if it is not known.
    pub fn peak(&self) -> Option<u64> {
        let group = self.group.as_ref()?;
        fs::read_to_string(group.folder.join(group.peak)).ok()?.trim().parse().ok()
    }
}

impl Group {
    fn make(root: &Path, limit: &str, peak: &'static str, bytes: u64) -> Result<Group> {
        if limit == "memory.max" {
            let controllers = fs::read_to_string(root.join("cgroup.controllers"))?;
            controllers.split_whitespace().find(|name| *name == "memory").context("no memory")?;
            // It is on already where others use it.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        let name = format!("ringseed-tests-{}-{}", std::process::id(), fastrand::u32(..));
        let folder = root.join(name);
        fs::create_dir(&folder)?;
        let group = Group { folder, peak };
        fs::write(group.folder.join(limit), bytes.to_string())?;
        fs::read_to_string(group.folder.join("cgroup.procs"))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It goes once the last process in it has ended; the system's next start takes what stays.
        let _ = fs::remove_dir(&self.folder);
    }
}
