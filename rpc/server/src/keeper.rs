//! Changes of settings, from every way in: one at a time, checked as a whole before anything holds,
//! and then kept.

use crate::{
    Address, SaveSettings, disk,
    gateway::{Policy, Rules},
    limits,
    listener::socket_mode,
    tls,
};
use api::{Code, RpcError, native};
use engine::{
    Session,
    settings::{Kind, Settings, TABLE},
};
use std::{io, path::PathBuf, sync::Arc};
use tokio::sync::Mutex;

/// Changes settings and keeps them.
pub(crate) struct Keeper {
    session: Session,
    rules: Arc<Rules>,
    config_dir: PathBuf,
    save: Arc<SaveSettings>,
    /// Changes are made and saved one after the other: what is on the disk is what holds.
    turn: Arc<Mutex<()>>,
}

/// Why settings were not changed, or not kept.
#[derive(Debug)]
pub(crate) enum KeepError {
    /// The daemon could not go by them; nothing has changed.
    Unfit(String),
    /// They hold, but cannot be saved.
    Unsaved(String),
}

impl Keeper {
    pub(crate) fn new(
        session: Session,
        rules: Arc<Rules>,
        config_dir: PathBuf,
        save: SaveSettings,
    ) -> Keeper {
        Keeper { session, rules, config_dir, save: Arc::new(save), turn: Arc::default() }
    }

    /// Makes new settings of those in force. An error of the closure, or settings that the daemon
    /// could not start with, change nothing.
    pub(crate) async fn change<E: From<KeepError>>(
        &self,
        change: impl FnOnce(Settings) -> Result<Settings, E>,
    ) -> Result<Settings, E> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let old = self.session.settings();
        let new = change(old.clone())?;
        self.check(&old, &new).await.map_err(KeepError::Unfit)?;
        self.session.set_settings(new.clone()).map_err(KeepError::Unfit)?;
        self.rules.apply(&new).map_err(KeepError::Unfit)?;
        let (save, kept) = (Arc::clone(&self.save), new.clone());
        let saved = tokio::task::spawn_blocking(move || {
            let saved = save(&kept);
            // Here, since the client may have gone: the next change waits all the same.
            drop(turn);
            saved
        });
        let saved = saved.await.unwrap_or_else(|error| Err(error.to_string()));
        saved.map_err(KeepError::Unsaved)?;
        Ok(new)
    }

    /// Whether the daemon could go by these settings, now and after a restart.
    async fn check(&self, old: &Settings, new: &Settings) -> Result<(), String> {
        new.check()?;
        Policy::new(new)?;
        Address::list(&new.rpc_bind, &self.config_dir)?;
        socket_mode(&new.rpc_socket_mode)?;
        let values = |settings| serde_json::to_value(settings).map_err(|error| error.to_string());
        let (before, after) = (values(old)?, values(new)?);
        // A script may be a program that is found by its name.
        let paths = TABLE
            .iter()
            .filter(|row| row.kind == Kind::Path && !row.name.starts_with("script_"))
            .filter(|row| before[row.name] != after[row.name]);
        for row in paths {
            let path = after[row.name].as_str().unwrap_or_default();
            if !path.is_empty() && !path.starts_with('/') {
                return Err(format!("{}: {path} is not an absolute path", row.name));
            }
        }
        let pair =
            |settings: &Settings| (settings.rpc_tls_cert.clone(), settings.rpc_tls_key.clone());
        let (cert, key) = pair(new);
        if pair(old) == pair(new) || !tls::is_wanted(&cert, &key)? {
            return Ok(());
        }
        let open = move || tls::Certificate::open(&cert, &key).map(drop).map_err(io::Error::other);
        disk::ask(limits::FREE_SPACE_PATIENCE, open).await.map_err(|error| error.to_string())
    }
}

impl KeepError {
    /// What a person should read.
    fn text(self) -> String {
        match self {
            KeepError::Unfit(text) => text,
            KeepError::Unsaved(error) => {
                format!("the settings hold until the next start, but cannot be saved: {error}")
            }
        }
    }
}

impl From<KeepError> for RpcError {
    fn from(error: KeepError) -> RpcError {
        let code = match &error {
            KeepError::Unfit(_) => Code::InvalidParams,
            KeepError::Unsaved(_) => Code::System,
        };
        RpcError::new(code, error.text())
    }
}

impl From<KeepError> for native::Failure {
    fn from(error: KeepError) -> native::Failure {
        let code = match &error {
            KeepError::Unfit(_) => native::Code::InvalidParams,
            KeepError::Unsaved(_) => native::Code::System,
        };
        native::Failure::new(code, error.text())
    }
}
