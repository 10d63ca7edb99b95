//! What peers say, from the receive buffer into the swarm and the pieces.

use super::{
    Shard,
    conn::{Peer, Stage},
    download::{Arrived, OpenPieces},
    hashing::HashQueue,
    torrent::Torrent,
};
use ring::{BufPool, ConnId};
use std::time::Duration;
use swarm::{BlockFate, PeerError, Reason};
use wire::{DecodeError, Item};

/// Why a connection must be closed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// What receiving needs besides the peer and its torrent.
struct Desk<'a> {
    now: Duration,
    torrent: usize,
    pool: &'a BufPool,
    hashing: &'a mut HashQueue,
}

impl Shard {
    pub(super) fn on_received(&mut self, id: ConnId, input: &[u8]) {
        let Some(conn) = self.conns.get(id) else { return };
        match &mut conn.stage {
            Stage::Peer(peer) => {
                let slot = peer.torrent;
                let Some(torrent) = self.torrents.get_mut(slot) else { return };
                self.in_hand = Some(torrent.id);
                let mut desk = Desk {
                    now: self.now,
                    torrent: slot,
                    pool: self.ring.buffers(),
                    hashing: &mut self.hashing,
                };
                let result = take_messages(peer, torrent, input, &mut desk);
                if let Err(fault) = result {
                    tracing::debug!(addr = %conn.addr, %fault, "closing");
                    self.close(id, Reason::Fault);
                }
                self.mark_ready(slot);
            }
            Stage::Greeting { .. } if !input.is_empty() => self.on_greeting(id, input),
            Stage::Leaving { said, .. } => said.extend_from_slice(input),
            Stage::Greeting { .. } | Stage::Connecting { .. } => {}
        }
    }
}

fn take_messages(
    peer: &mut Peer,
    torrent: &mut Torrent,
    mut input: &[u8],
    desk: &mut Desk<'_>,
) -> Result<(), Fault> {
    let Peer { key, decoder, incoming, .. } = peer;
    while let Some(item) = decoder.next(&mut input)? {
        match item {
            Item::Message(message) => torrent.swarm.on_message(desk.now, *key, message)?,
            Item::BlockStart(raw) => {
                let fate = torrent.swarm.on_block_start(desk.now, *key, raw)?;
                *incoming = Some(match fate {
                    BlockFate::Take(block) => torrent.pieces.begin(block, desk.pool),
                    BlockFate::Discard => OpenPieces::discard(),
                });
            }
            Item::BlockData(bytes) => {
                if let Some(incoming) = incoming {
                    torrent.pieces.data(incoming, bytes);
                }
            }
            Item::BlockEnd => {
                if let Some(incoming) = incoming.take() {
                    let arrived = torrent.pieces.end(incoming);
                    end_block(torrent, *key, arrived, desk);
                }
            }
        }
    }
    Ok(())
}

fn end_block(torrent: &mut Torrent, key: swarm::PeerKey, arrived: Arrived, desk: &mut Desk<'_>) {
    match arrived {
        Arrived::Nowhere => {}
        Arrived::Late(block) => torrent.swarm.on_block_aborted(desk.now, key, block),
        Arrived::Whole(block) => {
            let piece = block.piece();
            if !torrent.swarm.on_block_end(desk.now, key, block).accepted {
                return;
            }
            if let Some(open) = torrent.pieces.get(piece) {
                desk.hashing.push(desk.now, desk.torrent, piece, open);
            }
        }
    }
}
