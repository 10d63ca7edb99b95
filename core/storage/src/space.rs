//! How much room there is.

use crate::disk;
use std::{
    io::{self, ErrorKind},
    path::Path,
};

/// The room of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeSpace {
    /// Bytes that this user may still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The room where `path` is or would be: its nearest folder that exists is asked (statvfs(3)).
/// Blocks: for the control thread.
pub fn free_space(path: &Path) -> io::Result<FreeSpace> {
    let mut folder = path;
    loop {
        let asked = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match disk::space(asked) {
            Ok((free, total)) => return Ok(FreeSpace { free, total }),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                folder = folder.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_exist_yet_has_the_room_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let here = free_space(folder.path()).unwrap();
        let below = free_space(&folder.path().join("a/b/c")).unwrap();
        assert!(here.free <= here.total && here.total > 0);
        assert_eq!(here.total, below.total);
        assert!(free_space(Path::new("no/such/folder")).is_ok());
    }
}
