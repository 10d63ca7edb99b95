//! The blocklist of the session: where it comes from, and how the shards get it.

use super::{Fetch, FetchError, Inner, Session};
use crate::{
    blocklist::{self, Blocklist},
    limits,
    shard::Command,
    work,
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

/// Why the blocklist stays as it is.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BlocklistError {
    #[error("no blocklist_url is set")]
    NoUrl,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("what came cannot be read: {0}")]
    Damaged(io::Error),
    #[error("there is no rule in it")]
    NoRule,
    #[error("it holds until the next start, but cannot be saved: {0}")]
    Save(io::Error),
}

impl Session {
    /// Rules of the blocklist, whether it is in force or not.
    pub fn blocklist_size(&self) -> u32 {
        self.0.blocklist.lock().unwrap_or_else(PoisonError::into_inner).rules()
    }

    /// Reads the blocklist anew from where the settings say; gives the number of its rules.
    pub async fn update_blocklist(&self) -> Result<u32, BlocklistError> {
        let url = self.settings().blocklist_url;
        if url.is_empty() {
            return Err(BlocklistError::NoUrl);
        }
        let bytes = match local_path(&url) {
            Some(path) => {
                let file = path.clone();
                let read = work::spawn(move || read_bounded(&file)).await;
                let read = read.flatten();
                read.map_err(|error| BlocklistError::File { path, error })?
            }
            None => {
                let fetch = Fetch {
                    url: &url,
                    cookies: None,
                    family: None,
                    limit: limits::BLOCKLIST_BYTES,
                    timeout: limits::BLOCKLIST_PATIENCE,
                };
                fetch.run().await?.body
            }
        };
        let parsed = work::spawn(move || blocklist::parse(&bytes)).await;
        let list = parsed.flatten().map_err(BlocklistError::Damaged)?;
        if list.is_empty() {
            return Err(BlocklistError::NoRule);
        }
        let list = Arc::new(list);
        let rules = list.rules();
        *self.0.blocklist.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&list);
        self.0.enforce_blocklist();
        tracing::info!(rules, "blocklist updated");
        let folder = self.0.config_dir.clone();
        let saved = work::spawn(move || blocklist::save(&folder, &list)).await;
        saved.flatten().map_err(BlocklistError::Save)?;
        Ok(rules)
    }
}

impl Inner {
    /// Hands the shards the list that is to hold now.
    pub(super) fn enforce_blocklist(&self) {
        let list = match self.lock().settings.blocklist_enabled {
            true => Arc::clone(&self.blocklist.lock().unwrap_or_else(PoisonError::into_inner)),
            false => Arc::new(Blocklist::default()),
        };
        self.directory.set_blocklist(list);
        for shard in 0..self.shards.len() {
            self.command(shard, Command::Blocklist);
        }
    }
}

/// The file that is meant, if it is one on this machine.
fn local_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").or_else(|| url.starts_with('/').then_some(url))?;
    Some(PathBuf::from(path))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits::BLOCKLIST_BYTES as u64;
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}
