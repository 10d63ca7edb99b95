//! What the rest of the engine holds of the announcer.

use crate::tracker::{TorrentAnnounce, TorrentKey, status::TrackerStatus};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Published status by torrent.
pub(super) type Statuses = Arc<RwLock<HashMap<TorrentKey, Arc<[TrackerStatus]>>>>;

pub(super) enum Command {
    Add(Box<TorrentAnnounce>),
    Remove(TorrentKey),
    Start(TorrentKey),
    Stop(TorrentKey),
    Completed(TorrentKey),
    Reannounce(TorrentKey),
    WantPeers(TorrentKey),
    SetTrackers(TorrentKey, Vec<Vec<String>>),
    SetPort(u16),
    Shutdown(Duration, oneshot::Sender<()>),
}

/// Speaks to the announcer. Calls return at once and take effect in their order; those for a key
/// that is not known have none.
#[derive(Clone)]
pub struct AnnouncerHandle {
    /// Unbounded, so that no caller waits: it is emptied faster than people and shards fill it, and
    /// what it holds is in proportion to the torrents there are.
    commands: mpsc::UnboundedSender<Command>,
    statuses: Statuses,
}

impl AnnouncerHandle {
    pub(super) fn new(statuses: Statuses) -> (AnnouncerHandle, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        (AnnouncerHandle { commands, statuses }, receiver)
    }

    fn send(&self, command: Command) {
        // After a shutdown there is nobody to tell, and nothing to be done.
        let _ = self.commands.send(command);
    }

    /// Takes in a torrent, stopped. One of the same key is removed first.
    pub fn add(&self, torrent: TorrentAnnounce) {
        self.send(Command::Add(Box::new(torrent)));
    }

    /// Forgets the torrent, after telling the trackers that know it `stopped`.
    pub fn remove(&self, key: TorrentKey) {
        self.send(Command::Remove(key));
    }

    /// Announces the torrent from now on.
    pub fn start(&self, key: TorrentKey) {
        self.send(Command::Start(key));
    }

    /// Tells the trackers `stopped`, and then nothing more.
    pub fn stop(&self, key: TorrentKey) {
        self.send(Command::Stop(key));
    }

    /// The download is complete now; not for a torrent that was complete when it was added.
    pub fn completed(&self, key: TorrentKey) {
        self.send(Command::Completed(key));
    }

    /// A person wants an announce: made as soon as each tracker's min interval allows.
    pub fn reannounce(&self, key: TorrentKey) {
        self.send(Command::Reannounce(key));
    }

    /// The torrent is short of peers: working trackers are asked as soon as they allow.
    pub fn want_peers(&self, key: TorrentKey) {
        self.send(Command::WantPeers(key));
    }

    /// Replaces the announce URLs; trackers that stay keep their state.
    pub fn set_trackers(&self, key: TorrentKey, tiers: Vec<Vec<String>>) {
        self.send(Command::SetTrackers(key, tiers));
    }

    /// Announces this port from now on, at once where trackers allow.
    pub fn set_port(&self, port: u16) {
        self.send(Command::SetPort(port));
    }

    /// The torrent's trackers as last published, in the order of its list; empty if it is unknown.
    pub fn status(&self, key: TorrentKey) -> Arc<[TrackerStatus]> {
        let statuses = self.statuses.read().unwrap_or_else(PoisonError::into_inner);
        statuses.get(&key).cloned().unwrap_or_default()
    }

    /// Tells all trackers `stopped`, as many at a time as may be, and ends the announcer when they
    /// have confirmed it or `deadline` has passed.
    pub async fn shutdown(self, deadline: Duration) {
        let (done, ended) = oneshot::channel();
        self.send(Command::Shutdown(deadline, done));
        let _ = ended.await;
    }
}
