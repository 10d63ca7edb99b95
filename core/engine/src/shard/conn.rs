//! A connection and how far it has come.

use super::download::Incoming;
use metainfo::BlockRange;
use ring::{Buf, ConnId};
use std::{net::SocketAddr, ops::Range, rc::Rc, time::Duration};
use swarm::{PeerKey, Source};
use wire::{Decoder, Handshake};

/// One connection of a shard.
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) addr: SocketAddr,
    /// When its stage began.
    pub(super) since: Duration,
    pub(super) stage: Stage,
    /// When the batch under way was handed in.
    pub(super) sending: Option<Duration>,
    /// There was more to send while a batch was under way.
    pub(super) wants_send: bool,
    /// Payload bytes of the batch under way; `None` if it is only our handshake.
    pub(super) payload: Option<u64>,
}

pub(super) enum Stage {
    /// We connect.
    Connecting { torrent: usize, source: Source },
    /// The peer's handshake is awaited; `torrent` is known if we connected.
    Greeting { torrent: Option<(usize, Source)>, said: Greeting },
    /// The torrent lives on another shard: the socket goes there with all that has come.
    Leaving { shard: usize, said: Vec<u8> },
    /// Both handshakes are through.
    Peer(Peer),
}

/// A handshake as far as it has come.
pub(super) struct Greeting {
    bytes: Box<[u8; Handshake::LEN]>,
    length: usize,
}

impl Greeting {
    pub(super) fn new() -> Greeting {
        Greeting { bytes: Box::new([0; Handshake::LEN]), length: 0 }
    }

    /// Takes from the front of `input` what is still missing; whole when `Some`.
    pub(super) fn take(
        &mut self,
        input: &mut &[u8],
    ) -> Option<Result<Handshake, wire::HandshakeError>> {
        let count = input.len().min(Handshake::LEN - self.length);
        let (front, rest) = input.split_at(count);
        self.bytes[self.length..self.length + count].copy_from_slice(front);
        self.length += count;
        *input = rest;
        if self.length == Handshake::LEN {
            return Some(Handshake::decode(&self.bytes));
        }
        Handshake::check_prefix(&self.bytes[..self.length]).err().map(Err)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A connection that speaks for one peer of one torrent.
pub(super) struct Peer {
    pub(super) torrent: usize,
    pub(super) key: PeerKey,
    pub(super) decoder: Decoder,
    /// The block that is coming in.
    pub(super) incoming: Option<Incoming>,
    /// Our handshake, until it goes out in front of everything else.
    pub(super) hello: Option<Box<[u8; Handshake::LEN]>>,
    /// Blocks being read from the disk for this peer.
    pub(super) fetching: u32,
    /// Blocks that were read, or could not be, and wait to be sent or rejected.
    pub(super) fetched: Vec<Fetched>,
    /// The batch under way has some of them.
    pub(super) sends_fetched: bool,
    /// Until then it counts as a peer that waits for the disk.
    pub(super) cold_until: Duration,
    /// Whether both sides have the fast extension (BEP 6).
    pub(super) fast: bool,
}

impl Peer {
    /// Whether it has lately asked for what was not in memory.
    pub(super) fn is_cold(&self, now: Duration) -> bool {
        now < self.cold_until
    }
}

/// A block that was not in memory when its turn came.
pub(super) struct Fetched {
    pub(super) block: BlockRange,
    pub(super) data: Data,
}

/// Where the bytes of such a block are.
pub(super) enum Data {
    Read(Rc<Buf>, Range<usize>),
    /// Most likely in memory by now.
    Arrived,
    /// They could not be read.
    Failed,
}

impl Conn {
    pub(super) fn new(id: ConnId, addr: SocketAddr, now: Duration, stage: Stage) -> Conn {
        Conn { id, addr, since: now, stage, sending: None, wants_send: false, payload: None }
    }
}

/// The connections of a shard, by their ring's slots.
#[derive(Default)]
pub(super) struct Conns {
    by_slot: Vec<Option<Conn>>,
}

impl Conns {
    pub(super) fn insert(&mut self, conn: Conn) {
        let slot = conn.id.slot();
        if self.by_slot.len() <= slot {
            self.by_slot.resize_with(slot + 1, || None);
        }
        debug_assert!(self.by_slot[slot].is_none(), "the ring reuses a slot only after its end");
        self.by_slot[slot] = Some(conn);
    }

    pub(super) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.by_slot.get_mut(id.slot())?.as_mut().filter(|conn| conn.id == id)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let place = self.by_slot.get_mut(id.slot())?;
        if place.as_ref().is_some_and(|conn| conn.id == id) {
            return place.take();
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.by_slot.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metainfo::InfoHash;
    use proptest::prelude::*;
    use wire::{PeerId, Reserved};

    proptest! {
        #[test]
        fn a_handshake_is_read_however_it_is_cut(
            cuts in prop::collection::vec(1usize..68, 0..6), rest in 0usize..20,
        ) {
            let sent = Handshake {
                reserved: Reserved::NONE.with_fast(),
                info_hash: InfoHash([7; 20]),
                peer_id: PeerId([9; 20]),
            };
            let mut bytes = sent.encode().to_vec();
            bytes.extend(std::iter::repeat_n(0x55, rest));
            let mut ends = cuts;
            ends.sort_unstable();
            ends.push(bytes.len());
            let (mut greeting, mut start, mut read) = (Greeting::new(), 0, None);
            for end in ends {
                let mut input = &bytes[start..end];
                start = end;
                if let Some(result) = greeting.take(&mut input) {
                    prop_assert_eq!(input.len(), rest);
                    read = Some(result);
                }
                prop_assert!(read.is_some() || greeting.bytes() == &bytes[..end]);
            }
            prop_assert_eq!(read, Some(Ok(sent)));
        }
    }

    #[test]
    fn another_protocol_is_seen_at_its_first_byte() {
        assert!(Greeting::new().take(&mut &b"G"[..]).is_some_and(|result| result.is_err()));
        assert!(Greeting::new().take(&mut &b"\x13Bit"[..]).is_none());
    }

    #[test]
    fn an_idle_connection_takes_little_memory() {
        let size = size_of::<Option<Conn>>();
        assert!(size <= 384, "{size} bytes");
    }
}
