//! Programs that run when something has happened to a torrent, with the environment that
//! Transmission gives them. They run beside the session, a few at a time, and none for ever.

use super::{Inner, control::Control};
use crate::{
    limits,
    settings::Settings,
    status::{Torrent, TorrentId},
};
use data_encoding::HEXLOWER;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::Semaphore,
};

/// When a script runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// A torrent was added.
    Added,
    /// Everything wanted of it is in its place.
    Done,
    /// It has seeded as much as it was to.
    SeedingDone,
}

/// What bounds them.
pub(super) struct Scripts {
    room: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        Scripts {
            room: Arc::new(Semaphore::new(limits::SCRIPTS)),
            waiting: Arc::new(Semaphore::new(limits::SCRIPTS_WAITING)),
        }
    }
}

impl Inner {
    /// Runs the script that the settings have for this moment, beside everything else.
    pub(super) fn tell_script(&self, control: &Control, id: TorrentId, moment: Moment) {
        let Some(job) = Job::of(control, id, moment) else { return };
        let Ok(place) = Arc::clone(&self.scripts.waiting).try_acquire_owned() else {
            tracing::error!(script = %job.path.display(), "too many scripts wait: one is not run");
            return;
        };
        let room = Arc::clone(&self.scripts.room);
        self.runtime.spawn(async move {
            let Ok(_turn) = room.acquire().await else { return };
            drop(place);
            job.run().await;
        });
    }
}

/// A script to run.
struct Job {
    path: PathBuf,
    torrent: String,
    environment: Vec<(&'static str, OsString)>,
    patience: Duration,
}

impl Job {
    /// The script that the settings have for this moment, if it is to run.
    fn of(control: &Control, id: TorrentId, moment: Moment) -> Option<Job> {
        let settings = &control.settings;
        let path = script(settings, moment)?.to_path_buf();
        let torrent = control.catalog.get(id)?;
        Some(Job {
            path,
            torrent: torrent.info_hash.to_string(),
            environment: environment(torrent),
            patience: Duration::from_secs(u64::from(settings.script_time_limit)),
        })
    }

    async fn run(self) {
        let started = Command::new(&self.path)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // What it starts ends with it when it takes too long.
            .process_group(0)
            .spawn();
        let (script, torrent) = (self.path.display(), &self.torrent);
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(%script, %torrent, %error, "cannot run the script");
                return;
            }
        };
        let output = child.stdout.take().map(|pipe| tokio::spawn(log(pipe, self.path.clone())));
        let errors = child.stderr.take().map(|pipe| tokio::spawn(log(pipe, self.path.clone())));
        match tokio::time::timeout(self.patience, child.wait()).await {
            Ok(Ok(status)) if status.success() => {
                tracing::debug!(%script, %torrent, "script ended")
            }
            Ok(Ok(status)) => tracing::warn!(%script, %torrent, %status, "the script failed"),
            Ok(Err(error)) => tracing::warn!(%script, %torrent, %error, "the script is lost"),
            Err(_) => {
                tracing::error!(%script, %torrent, limit = ?self.patience, "the script took too long and was ended");
                end(&mut child).await;
            }
        }
        for mut reader in [output, errors].into_iter().flatten() {
            // A process that it left behind may hold the pipe open.
            if tokio::time::timeout(limits::SCRIPT_LAST_WORDS, &mut reader).await.is_err() {
                reader.abort();
            }
        }
    }
}

fn script(settings: &Settings, moment: Moment) -> Option<&Path> {
    let (enabled, path) = match moment {
        Moment::Added => {
            (settings.script_torrent_added_enabled, &settings.script_torrent_added_filename)
        }
        Moment::Done => {
            (settings.script_torrent_done_enabled, &settings.script_torrent_done_filename)
        }
        Moment::SeedingDone => (
            settings.script_torrent_done_seeding_enabled,
            &settings.script_torrent_done_seeding_filename,
        ),
    };
    (enabled && !path.as_os_str().is_empty()).then_some(path.as_path())
}

/// The variables that Transmission documents.
fn environment(torrent: &Torrent) -> Vec<(&'static str, OsString)> {
    let trackers: Vec<&str> = torrent.trackers.iter().flatten().map(String::as_str).collect();
    vec![
        ("TR_APP_VERSION", env!("CARGO_PKG_VERSION").into()),
        ("TR_TIME_LOCALTIME", local_time().into()),
        ("TR_TORRENT_BYTES_DOWNLOADED", torrent.totals.downloaded.to_string().into()),
        ("TR_TORRENT_DIR", torrent.data_dir().as_os_str().to_owned()),
        ("TR_TORRENT_HASH", HEXLOWER.encode(&torrent.info_hash.0).into()),
        ("TR_TORRENT_ID", torrent.id.0.to_string().into()),
        ("TR_TORRENT_LABELS", torrent.labels.join(",").into()),
        ("TR_TORRENT_NAME", torrent.meta.layout.name().into()),
        ("TR_TORRENT_PRIORITY", torrent.rules.priority.to_string().into()),
        ("TR_TORRENT_TRACKERS", trackers.join(",").into()),
    ]
}

/// As ctime(3) shows it: `Sat Nov 21 11:00:22 2026`.
fn local_time() -> String {
    chrono::Local::now().format("%a %b %e %H:%M:%S %Y").to_string()
}

/// Ends the script and what it has started.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill().await;
}

/// Puts what a script says into the log, line by line, up to a limit.
async fn log(pipe: impl AsyncRead + Unpin, script: PathBuf) {
    let script = script.display();
    let mut lines = BufReader::new(pipe.take(limits::SCRIPT_OUTPUT)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        tracing::info!(%script, "{}", String::from_utf8_lossy(&line).trim_end());
    }
}
