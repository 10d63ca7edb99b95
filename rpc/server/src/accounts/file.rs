//! The file that accounts are kept in: owner only, replaced as a whole, edited by one at a time.

use super::Accounts;
use crate::limits;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why accounts cannot be read or changed; the message says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AccountsError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: {error}; correct it, or put a copy back", path.display())]
    Content { path: PathBuf, error: String },
    #[error("{0}")]
    Refused(String),
}

/// What tells one state of a file from another without reading it: its change time, which new
/// permissions move too, and what a file with a coarse clock differs by.
pub(crate) type Stamp = Option<(u64, i64, i64, u64)>;

/// A file's state now; `None` if it is not there. Blocks.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len()))
}

/// `accounts.json` of a daemon's folder.
#[derive(Clone, Debug)]
pub struct AccountsFile {
    path: PathBuf,
}

impl AccountsFile {
    /// The file in this folder, which need not be there yet.
    pub fn in_folder(config_dir: &Path) -> AccountsFile {
        AccountsFile { path: config_dir.join("accounts.json") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has ever been written.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Reads it; a file that is not there has nobody. Blocks.
    pub fn read(&self) -> Result<Accounts, AccountsError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Accounts::default()),
            Err(error) => return Err(self.failed(error)),
        };
        let mut text = Vec::new();
        file.take(limits::ACCOUNTS_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|error| self.failed(error))?;
        let content = |error: String| AccountsError::Content { path: self.path.clone(), error };
        if text.len() as u64 > limits::ACCOUNTS_BYTES {
            return Err(content(format!("it has more than {} bytes", limits::ACCOUNTS_BYTES)));
        }
        let accounts: Accounts =
            serde_json::from_slice(&text).map_err(|error| content(error.to_string()))?;
        accounts.check().map_err(content)?;
        Ok(accounts)
    }

    /// Changes it; an error of the closure changes nothing. Others who want to change it wait. Blocks.
    pub fn edit<R>(
        &self,
        change: impl FnOnce(&mut Accounts) -> Result<R, String>,
    ) -> Result<R, AccountsError> {
        let lock = self.beside("lock");
        let lock = private(OpenOptions::new().create(true).truncate(false), &lock)
            .map_err(|error| self.failed(error))?;
        lock.lock().map_err(|error| self.failed(error))?;
        let mut accounts = self.read()?;
        let result = change(&mut accounts).map_err(AccountsError::Refused)?;
        self.write(&accounts).map_err(|error| self.failed(error))?;
        Ok(result)
    }

    fn write(&self, accounts: &Accounts) -> io::Result<()> {
        let new = self.beside("new");
        let mut file = private(OpenOptions::new().create(true).truncate(true), &new)?;
        serde_json::to_writer_pretty(&mut file, accounts)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.path.with_extension(format!("json.{ending}"))
    }

    fn failed(&self, error: io::Error) -> AccountsError {
        AccountsError::File { path: self.path.clone(), error }
    }

    /// Its state now; `None` if it is not there. Blocks.
    pub(crate) fn stamp(&self) -> Stamp {
        stamp(&self.path)
    }

    /// Whether others than its owner may read it.
    pub(crate) fn is_exposed(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.mode() & 0o077 != 0)
    }
}

fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Role;

    #[test]
    fn accounts_are_kept_for_their_owner_only_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = AccountsFile::in_folder(folder.path());
        assert!(file.read().unwrap().is_empty() && file.stamp().is_none());
        file.edit(|accounts| accounts.add_user("ann", Role::Admin, "password", Vec::new()))
            .unwrap();
        let before = file.stamp();
        assert!(before.is_some() && !file.is_exposed());
        let refused = file.edit(|accounts| accounts.remove_user("bob"));
        assert!(refused.unwrap_err().to_string().contains("no user bob"));
        assert_eq!(file.stamp(), before);
        assert_eq!(file.read().unwrap().users[0].name, "ann");
        assert!(!fs::read_to_string(file.path()).unwrap().contains("password\","));
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_an_error_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = AccountsFile::in_folder(folder.path());
        for text in [
            "",
            "{",
            r#"{"users":[{"name":"x"}]}"#,
            r#"{"user":[]}"#,
            r#"{"users":[{"name":"x","role":"root","password":""}]}"#,
            r#"{"users":[{"name":"x","role":"admin","password":"plain"}]}"#,
        ] {
            fs::write(file.path(), text).unwrap();
            assert!(matches!(file.read(), Err(AccountsError::Content { .. })), "{text}");
            assert!(file.edit(|_| Ok(())).is_err());
        }
    }
}
