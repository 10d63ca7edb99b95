//! Which device a folder is on, and whether it rotates.

use crate::disk;
use std::{fs, path::Path};

/// A device as far as reading in parallel is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    /// `st_dev`; 0 if not known.
    pub id: u64,
    /// Whether readers get in each other's way.
    pub is_rotating: bool,
}

impl Device {
    /// The device of the nearest folder that exists.
    pub fn of(path: &Path) -> Device {
        let meta = path.ancestors().find_map(|path| disk::metadata(path).ok());
        let id = meta.map_or(0, |meta| meta.device());
        Device { id, is_rotating: disk::is_rotating(id) }
    }
}

/// What the kernel says of the block device, or of the disk that it is a partition of. What is not
/// on a block device (tmpfs, NFS, btrfs, overlay) counts as not rotating, and so do the disks of
/// virtual machines, which say that they rotate because nobody told them otherwise.
pub(crate) fn is_rotating(id: u64) -> bool {
    let (major, minor) = (rustix::fs::major(id), rustix::fs::minor(id));
    let device = format!("/sys/dev/block/{major}:{minor}");
    let real = fs::canonicalize(&device).unwrap_or_default();
    if ["/virtio", "/vbd-"].iter().any(|bus| real.to_string_lossy().contains(bus)) {
        return false;
    }
    ["queue/rotational", "../queue/rotational"].iter().any(|file| {
        fs::read_to_string(Path::new(&device).join(file)).is_ok_and(|text| text.trim() == "1")
    })
}
