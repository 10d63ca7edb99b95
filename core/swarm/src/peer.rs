//! One connection as the swarm sees it: who chokes whom, what is queued in either direction.

use crate::{
    PeerKey, Source,
    limits::{ALLOWED_FAST_TIMES, MAX_CONTROL_BACKLOG, MAX_SUGGESTED},
    pieces::Pieces,
    pipeline::Pipeline,
    rate::Rate,
};
use metainfo::{BlockRange, PieceIndex};
use std::{collections::VecDeque, net::SocketAddr, time::Duration};
use wire::{Message, PeerId, extension::ExtensionIds};

/// Everything about one peer. An idle one holds no heap memory but a partial bitfield.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) source: Source,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    pub(crate) incoming: bool,
    /// Where it listens, if it said so.
    pub(crate) listen_port: Option<u16>,
    pub(crate) client: Option<Box<str>>,
    pub(crate) ids: ExtensionIds,
    pub(crate) connected_at: Duration,

    pub(crate) pieces: Pieces,
    /// Whether it has told its pieces, after which it cannot send a bitfield any more.
    pub(crate) declared: bool,
    /// Times it has ceased to be a seed.
    pub(crate) lapses: u32,
    pub(crate) upload_only: bool,
    /// Pieces of a partial set that are wanted and not on disk here.
    pub(crate) wanted: u32,

    pub(crate) chokes_us: bool,
    pub(crate) we_are_interested: bool,
    pub(crate) pipeline: Pipeline,
    pub(crate) arriving: Option<BlockRange>,
    /// Pieces it lets us have while it chokes us (BEP 6).
    pub(crate) allowed: Vec<PieceIndex>,
    /// Pieces it suggests that we fetch (BEP 6), the latest last.
    pub(crate) suggested: Vec<PieceIndex>,
    /// Blocks nobody asked for, less those that were wanted since.
    pub(crate) unwanted_blocks: u32,
    /// Whether it waits for work: picking again is useless until something changes.
    pub(crate) starved: bool,

    pub(crate) choked: bool,
    pub(crate) is_interested: bool,
    pub(crate) optimistic: bool,
    /// When it was last choked or unchoked.
    pub(crate) choke_changed: Duration,
    pub(crate) sent_before_unchoke: u64,
    pub(crate) uploads: VecDeque<BlockRange>,
    pub(crate) excess_requests: u32,
    /// Pieces that it may have while choked, and the bytes it may still have of them.
    pub(crate) granted: Box<[u32]>,
    pub(crate) granted_bytes: u64,

    pub(crate) down: Rate,
    pub(crate) up: Rate,
    pub(crate) last_received: Duration,
    /// When the latest transmit was handed out or had left.
    pub(crate) last_sent: Duration,

    pub(crate) control: Vec<u8>,
    /// Whether it is in the list of ready peers, or should be as soon as the transmit has left.
    pub(crate) ready: bool,
    /// Whether a transmit is on its way.
    pub(crate) sending: bool,
    /// Blocks that go into one transmit: as many as it takes within about a second.
    pub(crate) burst: u16,
    /// Whether it stands in line for credit, by [`crate::Way`].
    pub(crate) held: [bool; 2],
    /// Whether it has been given up already and only the action is yet to be taken.
    pub(crate) doomed: bool,
}

/// Peers with something to send, each at most once.
pub(crate) type ReadyList = VecDeque<PeerKey>;

impl Peer {
    /// Puts the peer in line for sending, now or when its current transmit has left.
    pub(crate) fn wake(&mut self, key: PeerKey, ready: &mut ReadyList) {
        if !self.ready {
            self.ready = true;
            if !self.sending {
                ready.push_back(key);
            }
        }
    }

    /// Queues a message.
    pub(crate) fn say(&mut self, key: PeerKey, ready: &mut ReadyList, message: Message<'_>) {
        message.encode_into(&mut self.control);
        self.wake(key, ready);
    }

    /// Whether it has not read for so long that more must not be queued.
    pub(crate) fn is_deaf(&self) -> bool {
        self.control.len() > MAX_CONTROL_BACKLOG
    }

    /// Whether the peer may have this block now.
    pub(crate) fn may_request(&self, block: BlockRange) -> bool {
        !self.choked
            || (self.granted.contains(&block.piece().get())
                && self.granted_bytes >= u64::from(block.length()))
    }

    /// Lets it have these pieces while choked.
    pub(crate) fn grant(&mut self, pieces: &[PieceIndex], piece_length: u32) {
        self.granted = pieces.iter().map(|piece| piece.get()).collect();
        self.granted_bytes = ALLOWED_FAST_TIMES * pieces.len() as u64 * u64::from(piece_length);
    }

    /// Notes a piece that it suggests.
    pub(crate) fn suggest(&mut self, piece: PieceIndex) {
        self.suggested.retain(|&known| known != piece);
        if self.suggested.len() >= MAX_SUGGESTED {
            self.suggested.remove(0);
        }
        self.suggested.push(piece);
    }

    /// Bytes sent to it since it was last unchoked.
    pub(crate) fn served(&self) -> u64 {
        self.up.total() - self.sent_before_unchoke
    }

    /// Whether it wants nothing from anybody.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.upload_only || self.pieces.is_all()
    }

    /// Frees queues that are not in use; called about once a second.
    pub(crate) fn shrink(&mut self) {
        if self.uploads.is_empty() && self.up.per_second() == 0.0 && self.uploads.capacity() > 0 {
            self.uploads = VecDeque::new();
        }
        if self.control.is_empty() && self.control.capacity() > 0 {
            self.control = Vec::new();
        }
        if self.down.per_second() == 0.0 {
            self.pipeline.shrink();
        }
        if !self.we_are_interested && self.suggested.capacity() > 0 {
            self.suggested = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_little_memory() {
        assert!(size_of::<Peer>() <= 768, "{} bytes", size_of::<Peer>());
    }
}
