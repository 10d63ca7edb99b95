//! What can be seen from outside.

use super::{Swarm, transmit::asker, wanted};
use crate::{PeerKey, Phase, Source};
use metainfo::{Bitfield, Geometry, PieceIndex};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use wire::PeerId;

/// The swarm in numbers. Rates are bytes per second, smoothed over some seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Bytes of requested blocks received, those of failed and dropped pieces included.
    pub downloaded: u64,
    /// Bytes of blocks sent.
    pub uploaded: u64,
    /// Bytes received that were not wanted any more, or were dropped.
    pub wasted: u64,
    /// Bytes of pieces that failed their hash.
    pub corrupt: u64,
    /// Bytes of blocks received per second.
    pub download_rate: u64,
    /// Bytes of blocks sent per second.
    pub upload_rate: u64,
    /// Connected peers.
    pub peers: u32,
    /// Those that have all pieces.
    pub seeds: u32,
    /// Peers that want something from us.
    pub interested: u32,
    /// Peers that we serve.
    pub unchoked: u32,
    /// Peers that let us have blocks we want.
    pub serving_us: u32,
    /// Requests that are out, and blocks that wait to be sent.
    pub requests_out: u32,
    /// Blocks that peers wait for.
    pub requests_in: u32,
    /// Pieces in flight.
    pub open_pieces: u32,
    /// Addresses in the book, connected ones included.
    pub candidates: u32,
}

/// One peer, for people to look at.
#[derive(Clone, Debug)]
pub struct PeerStatus<'a> {
    /// Its key.
    pub key: PeerKey,
    /// The other end of the connection.
    pub addr: SocketAddr,
    /// Its id.
    pub id: PeerId,
    /// Its own name and version from the extension handshake.
    pub client: Option<&'a str>,
    /// Where its address came from.
    pub source: Source,
    /// Whether it connected to us.
    pub incoming: bool,
    /// Whether both sides have the fast extension.
    pub fast: bool,
    /// Whether both sides have the extension protocol.
    pub extended: bool,
    /// Pieces it has, in 0..=1 of all.
    pub progress: f32,
    /// Whether it has all pieces or wants no more.
    pub is_seed: bool,
    /// Whether it lacks the grace to answer our requests.
    pub snubbed: bool,
    /// Whether we are interested in it.
    pub we_are_interested: bool,
    /// Whether it chokes us.
    pub chokes_us: bool,
    /// Whether it is interested in us.
    pub is_interested: bool,
    /// Whether we choke it.
    pub choked: bool,
    /// Whether it holds an optimistic slot.
    pub optimistic: bool,
    /// Bytes received from it.
    pub downloaded: u64,
    /// Bytes sent to it.
    pub uploaded: u64,
    /// Bytes per second from it.
    pub download_rate: u64,
    /// Bytes per second to it.
    pub upload_rate: u64,
    /// Requests we have out with it.
    pub requests_out: u32,
    /// Its requests that wait for us.
    pub requests_in: u32,
    /// When it connected.
    pub connected_at: Duration,
}

/// A piece in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialPiece {
    /// Which.
    pub piece: PieceIndex,
    /// What it waits for.
    pub phase: Phase,
    /// Blocks that are here.
    pub blocks_received: u32,
    /// Blocks it has.
    pub block_count: u32,
    /// Whether blocks are asked for or arriving.
    pub busy: bool,
    /// Whether it is wanted still; it may have been skipped meanwhile.
    pub wanted: bool,
    /// When its last block came, or it was opened.
    pub last_activity: Duration,
}

impl Swarm {
    /// The torrent's shape.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The pieces on disk.
    pub fn have(&self) -> &Bitfield {
        self.picker.have()
    }

    /// Bytes of wanted pieces that are not on disk.
    pub fn wanted_left(&self) -> u64 {
        self.picker.wanted_left()
    }

    /// Whether all wanted pieces are on disk.
    pub fn is_complete(&self) -> bool {
        self.completed
    }

    /// Whether all pieces are on disk.
    pub fn is_seed(&self) -> bool {
        self.picker.have_count() == self.geometry.piece_count()
    }

    /// Connected peers.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Peers that have the piece.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.picker.availability(piece)
    }

    /// Pieces in flight, so that the caller may drop ones that are stale or no longer wanted.
    pub fn partial_pieces(&self) -> impl Iterator<Item = PartialPiece> + '_ {
        self.picker.open_pieces().map(|open| PartialPiece {
            piece: open.piece,
            phase: open.phase,
            blocks_received: open.received(),
            block_count: open.block_count(),
            busy: open.is_busy(),
            wanted: self.picker.is_wanted(open.piece),
            last_activity: open.last_activity,
        })
    }

    /// The swarm in numbers; costs a look at each peer.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            wasted: self.wasted,
            corrupt: self.corrupt,
            download_rate: self.down.per_second() as u64,
            upload_rate: self.up.per_second() as u64,
            peers: self.peers.len() as u32,
            unchoked: self.unchoked as u32,
            open_pieces: self.picker.open_pieces().count() as u32,
            candidates: self.candidates.len() as u32,
            ..Stats::default()
        };
        for (_, peer) in &self.peers {
            stats.seeds += u32::from(peer.pieces.is_all());
            stats.interested += u32::from(peer.is_interested);
            stats.serving_us += u32::from(!peer.chokes_us && wanted(&self.picker, peer) > 0);
            stats.requests_out += peer.pipeline.requests().len() as u32;
            stats.requests_in += peer.uploads.len() as u32;
        }
        stats
    }

    /// Every peer's status.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus<'_>> + '_ {
        let piece_count = self.geometry.piece_count();
        self.peers.iter().map(move |(key, peer)| PeerStatus {
            key: PeerKey(key as u32),
            addr: peer.addr,
            id: peer.id,
            client: peer.client.as_deref(),
            source: peer.source,
            incoming: peer.incoming,
            fast: peer.fast,
            extended: peer.extended,
            progress: peer.pieces.count(piece_count) as f32 / piece_count as f32,
            is_seed: peer.wants_nothing(),
            snubbed: peer.pipeline.is_snubbed(),
            we_are_interested: peer.we_are_interested,
            chokes_us: peer.chokes_us,
            is_interested: peer.is_interested,
            choked: peer.choked,
            optimistic: peer.optimistic,
            downloaded: peer.down.total(),
            uploaded: peer.up.total(),
            download_rate: peer.down.per_second() as u64,
            upload_rate: peer.up.per_second() as u64,
            requests_out: peer.pipeline.requests().len() as u32,
            requests_in: peer.uploads.len() as u32,
            connected_at: peer.connected_at,
        })
    }

    /// Panics where parts of the swarm disagree with each other; for tests, it looks at everything.
    pub fn check_invariants(&self) {
        let mut live = BTreeMap::new();
        let requests = self.peers.iter().flat_map(|(_, peer)| peer.pipeline.requests());
        for request in requests.filter(|request| request.live) {
            *live.entry(request.block).or_insert(0u32) += 1;
        }
        self.picker.check(|block| live.remove(&block).unwrap_or(0));
        assert!(live.is_empty(), "requests for pieces that are not in flight: {live:?}");
        assert_eq!(self.unchoked, self.peers.iter().filter(|(_, peer)| !peer.choked).count());
        assert_eq!(self.completed, self.picker.wanted_missing() == 0);
        assert_eq!(self.ids.len(), self.peers.len());
        for (key, peer) in &self.peers {
            let key = PeerKey(key as u32);
            assert_eq!(self.ids.get(&peer.id), Some(&key));
            assert_eq!(wanted(&self.picker, peer), self.picker.count_wanted(&peer.pieces));
            // Who has been told of may still wait for its transmit.
            assert!(!self.ready.contains(&key) || (peer.ready && !peer.sending));
            assert_eq!(self.starved.contains(&key), peer.starved);
            if peer.starved && peer.we_are_interested && !peer.doomed {
                let asker = asker(&self.picker, key, peer);
                let has_work =
                    self.picker.has_work(self.last_tick, &asker, self.starved_for_memory);
                assert!(!has_work, "{key:?} was not told that there is work for it");
            }
            let in_line = [0, 1].map(|way| self.meters[way].held.contains(&key));
            assert_eq!(in_line, peer.held);
        }
        for piece in self.geometry.pieces() {
            let having = self.peers.iter().filter(|(_, peer)| peer.pieces.has(piece)).count();
            assert_eq!(self.availability(piece) as usize, having, "availability of {piece:?}");
        }
    }
}
