//! A torrent as its shard holds it.

use super::{download::OpenPieces, messages::StartTorrent};
use crate::{limiter::TorrentLimits, status::TorrentId};
use discovery::Progress;
use metainfo::{InfoHash, Layout, PieceHashes, PieceIndex};
use ring::ConnId;
use std::{sync::Arc, time::Duration};
use storage::StoreKey;
use swarm::{MemoryBudget, PeerKey, Priority, Stats, Swarm};
use wire::{Handshake, PeerId, Reserved};

pub(super) struct Torrent {
    pub(super) id: TorrentId,
    pub(super) run: u32,
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) layout: Arc<Layout>,
    hashes: Arc<PieceHashes>,
    pub(super) swarm: Swarm,
    pub(super) store: StoreKey,
    pub(super) pieces: OpenPieces,
    /// The connections of the swarm's peers, by their keys.
    conns: Vec<Option<ConnId>>,
    /// Connections to its peers that are still being made.
    pub(super) approaching: Vec<ConnId>,
    pub(super) is_ready: bool,
    /// Something has happened since it was told last.
    pub(super) stirred: bool,
    /// Pieces on their way to the disk.
    pub(super) writing: u32,
    /// Pieces written since the last sync began.
    pub(super) dirty: bool,
    pub(super) next_sync: Duration,
    pub(super) syncing: bool,
    /// After its completion, files are getting their exact shape.
    pub(super) settling: bool,
    /// A sync has failed. The kernel tells of lost writes once, so that a later sync that succeeds
    /// says nothing of them: no piece becomes durable any more in this run.
    pub(super) sync_failed: bool,
    /// Pieces were written since it was told how the files look for good.
    pub(super) unsettled: bool,
    /// It leaves the shard when its last write and sync are through.
    pub(super) stopping: bool,
    /// Its disk gives no answer.
    pub(super) is_stalled: bool,
    pub(super) next_want: Duration,
    pub(super) progress: Arc<Progress>,
    pub(super) limits: TorrentLimits,
    /// It has its place among those that credit is granted to.
    pub(super) is_metered: bool,
    /// Bytes that its own limits let pass and that are not granted yet, by [`swarm::Way`].
    pub(super) own_credit: [f64; 2],
    /// Parts of a byte that are not granted yet.
    pub(super) credit_fraction: [f64; 2],
    /// What was told last, to tell only what is new.
    pub(super) told: Told,
}

#[derive(Default)]
pub(super) struct Told {
    pub(super) stats: Stats,
    pub(super) left: u64,
    pub(super) pieces: u32,
    pub(super) ever: bool,
}

impl Torrent {
    pub(super) fn new(
        start: StartTorrent,
        store: StoreKey,
        budget: MemoryBudget,
        now: Duration,
    ) -> Torrent {
        let geometry = start.layout.geometry();
        let seed = u64::from_le_bytes(std::array::from_fn(|at| start.peer_id.0[at + 12]));
        let mut swarm = Swarm::new(geometry, start.have, start.swarm, budget, seed);
        swarm.set_identity(start.info_hash, start.peer_id);
        if !start.priorities.is_empty() {
            swarm.set_priorities(now, &piece_priorities(&start.layout, &start.priorities));
        }
        Torrent {
            id: start.id,
            run: start.run,
            info_hash: start.info_hash,
            peer_id: start.peer_id,
            layout: start.layout,
            hashes: start.hashes,
            swarm,
            store,
            pieces: OpenPieces::new(geometry),
            conns: Vec::new(),
            approaching: Vec::new(),
            is_ready: false,
            stirred: true,
            writing: 0,
            dirty: false,
            next_sync: now,
            syncing: false,
            settling: false,
            sync_failed: false,
            unsettled: false,
            stopping: false,
            is_stalled: false,
            next_want: now,
            progress: start.progress,
            limits: start.limits,
            is_metered: false,
            own_credit: [0.0; 2],
            credit_fraction: [0.0; 2],
            told: Told::default(),
        }
    }

    /// Whether a tick has nothing to do for it: no peers, nobody to connect to yet, nothing to write
    /// or to tell.
    /// Something that happens between two ticks, start to end, stirs it all the same.
    pub(super) fn is_at_rest(&self, now: Duration) -> bool {
        let alone = self.swarm.peer_count() == 0 && self.told.stats.peers == 0;
        let waits = self.swarm.next_candidate().is_none_or(|next| next > now);
        let needs_peers = self.told.left > 0 && self.next_want <= now;
        alone && waits && !needs_peers && !self.stirred && !self.dirty
    }

    pub(super) fn handshake(&self) -> Handshake {
        Handshake { reserved: RESERVED, info_hash: self.info_hash, peer_id: self.peer_id }
    }

    pub(super) fn conn(&self, key: PeerKey) -> Option<ConnId> {
        self.conns.get(key.index()).copied().flatten()
    }

    pub(super) fn set_conn(&mut self, key: PeerKey, conn: Option<ConnId>) {
        if self.conns.len() <= key.index() {
            self.conns.resize(key.index() + 1, None);
        }
        self.conns[key.index()] = conn;
    }

    /// The connections of its peers and those on the way to become such.
    pub(super) fn all_conns(&self) -> Vec<ConnId> {
        self.conns.iter().copied().flatten().chain(self.approaching.iter().copied()).collect()
    }

    /// The hash that the piece must have.
    pub(super) fn expected(&self, piece: PieceIndex) -> &[u8; 20] {
        self.hashes.get(piece)
    }
}

/// What we say of ourselves in every handshake.
pub(super) const RESERVED: Reserved = Reserved::NONE.with_extension_protocol().with_fast();

/// Each piece has the highest priority of the files it touches; pieces of pad files alone count as
/// normal, as they cost nothing but must be there.
pub(crate) fn piece_priorities(layout: &Layout, files: &[Priority]) -> Vec<Priority> {
    let mut pieces = vec![None; layout.geometry().piece_count() as usize];
    for (index, file) in layout.files() {
        if file.is_pad() {
            continue;
        }
        let priority = files.get(index.as_usize()).copied().unwrap_or_default();
        for piece in layout.pieces_of(index) {
            let place = &mut pieces[piece as usize];
            *place = (*place).max(Some(priority));
        }
    }
    pieces.into_iter().map(Option::unwrap_or_default).collect()
}

/// Which files are to be in the download folder: one flag for each.
pub(super) fn wanted_files(layout: &Layout, files: &[Priority]) -> Box<[bool]> {
    let priority = |file: usize| files.get(file).copied().unwrap_or_default();
    (0..layout.file_count() as usize).map(|file| priority(file) != Priority::Skip).collect()
}
