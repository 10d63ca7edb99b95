//! The last list, compiled, in the session's folder: there at the next start without a fetch.

use super::{Blocklist, Ranges};
use crate::limits;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"RSblock1";

fn path(config_dir: &Path) -> PathBuf {
    config_dir.join("blocklist.bin")
}

/// Writes the list durably in place of the last one. Blocks.
pub(crate) fn save(config_dir: &Path, list: &Blocklist) -> io::Result<()> {
    let path = path(config_dir);
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&list.encode())?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// The list that was saved last; the empty one if there is none. Blocks.
pub(crate) fn load(config_dir: &Path) -> Blocklist {
    let path = path(config_dir);
    let read = || -> io::Result<Blocklist> {
        let mut bytes = Vec::new();
        // Compiled ranges are never more than the rules they come from.
        let most = 20 + 32 * limits::BLOCKLIST_RULES as u64;
        File::open(&path)?.take(most).read_to_end(&mut bytes)?;
        Blocklist::decode(&bytes).ok_or_else(|| io::Error::other("it is damaged"))
    };
    match read() {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Blocklist::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no blocklist until it is updated");
            Blocklist::default()
        }
    }
}

impl Blocklist {
    /// Its ranges in the form that is kept on the disk; numbers little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.rules, self.v4.0.len() as u32, self.v6.0.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (first, last) in &self.v4.0 {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&last.to_le_bytes());
        }
        for (first, last) in &self.v6.0 {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&last.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Blocklist::encode`] gave; `None` if it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Blocklist> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (head, rest) = rest.split_at_checked(12)?;
        let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (rules, v4, v6) = (number(0)?, number(4)? as usize, number(8)? as usize);
        let (v4_bytes, v6_bytes) = rest.split_at_checked(v4.checked_mul(8)?)?;
        if v6_bytes.len() != v6.checked_mul(32)? {
            return None;
        }
        let v4 = v4_bytes.as_chunks::<4>().0.as_chunks::<2>().0.iter();
        let v4 = v4.map(|[first, last]| (u32::from_le_bytes(*first), u32::from_le_bytes(*last)));
        let v6 = v6_bytes.as_chunks::<16>().0.as_chunks::<2>().0.iter();
        let v6 = v6.map(|[first, last]| (u128::from_le_bytes(*first), u128::from_le_bytes(*last)));
        // Sorted again, as the file may be anybody's.
        Some(Blocklist { v4: Ranges::new(v4.collect()), v6: Ranges::new(v6.collect()), rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_there_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).is_empty());
        let list = Blocklist::new(vec![(5, 9), (1, 2)], vec![(7, u128::MAX)], 3);
        save(folder.path(), &list).unwrap();
        assert_eq!(load(folder.path()), list);
        let path = folder.path().join("blocklist.bin");
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Blocklist::decode(&bytes[..length]), None);
        }
    }
}
