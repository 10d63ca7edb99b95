//! Which shard a torrent lives on, for connections that come in at another one.

use crate::blocklist::Blocklist;
use metainfo::InfoHash;
use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Shared by all shards. Read once for each incoming connection of another shard's torrent, never
/// on the data path.
#[derive(Clone, Default)]
pub(crate) struct Directory(Arc<Inner>);

#[derive(Default)]
struct Inner {
    shards: RwLock<HashMap<InfoHash, usize>>,
    connections: AtomicUsize,
    /// Each shard has its own reference and takes a new one when it is told to.
    blocklist: RwLock<Arc<Blocklist>>,
}

impl Directory {
    pub(crate) fn insert(&self, torrent: InfoHash, shard: usize) {
        self.0.shards.write().unwrap_or_else(|poison| poison.into_inner()).insert(torrent, shard);
    }

    pub(crate) fn remove(&self, torrent: InfoHash) {
        self.0.shards.write().unwrap_or_else(|poison| poison.into_inner()).remove(&torrent);
    }

    pub(crate) fn shard_of(&self, torrent: InfoHash) -> Option<usize> {
        let shards = self.0.shards.read().unwrap_or_else(|poison| poison.into_inner());
        shards.get(&torrent).copied()
    }

    /// None of its torrents lives on this shard any more.
    pub(crate) fn forget_shard(&self, shard: usize) {
        let mut shards = self.0.shards.write().unwrap_or_else(|poison| poison.into_inner());
        shards.retain(|_, home| *home != shard);
    }

    /// The blocklist in force.
    pub(crate) fn blocklist(&self) -> Arc<Blocklist> {
        Arc::clone(&self.0.blocklist.read().unwrap_or_else(|poison| poison.into_inner()))
    }

    pub(crate) fn set_blocklist(&self, list: Arc<Blocklist>) {
        *self.0.blocklist.write().unwrap_or_else(|poison| poison.into_inner()) = list;
    }

    /// Connections of all shards together.
    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connection_opened(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connections_closed(&self, count: usize) {
        self.0.connections.fetch_sub(count, Ordering::Relaxed);
    }
}
