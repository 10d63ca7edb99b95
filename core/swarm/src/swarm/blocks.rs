//! Blocks that arrive.

use super::{BlockFate, BlockOutcome, PeerError, Swarm, raw};
use crate::{PeerKey, Way, limits::MAX_UNWANTED_BLOCKS};
use metainfo::BlockRange;
use std::time::Duration;
use wire::{Message, RawBlock};

impl Swarm {
    /// The header of a block has arrived.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn on_block_start(
        &mut self,
        now: Duration,
        key: PeerKey,
        sent: RawBlock,
    ) -> Result<BlockFate, PeerError> {
        let block = self
            .geometry
            .range(sent.index, sent.begin, sent.length)
            .ok_or(PeerError::NoSuchRange)?;
        let peer = &mut self.peers[key.index()];
        peer.last_received = now;
        debug_assert_eq!(peer.arriving, None, "a block begins within another");
        let Some(request) = peer.pipeline.take(block) else {
            self.wasted += u64::from(block.length());
            peer.unwanted_blocks += 1;
            return match peer.unwanted_blocks > MAX_UNWANTED_BLOCKS {
                true => Err(PeerError::UnwantedBlocks),
                false => Ok(BlockFate::Discard),
            };
        };
        peer.pipeline.answered(now, request);
        if self.picker.start(block, request.live) {
            peer.arriving = Some(block);
            Ok(BlockFate::Take(block))
        } else {
            self.wasted += u64::from(block.length());
            Ok(BlockFate::Discard)
        }
    }

    /// All bytes of a block that was to be taken are here.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn on_block_end(&mut self, now: Duration, key: PeerKey, block: BlockRange) -> BlockOutcome {
        let peer = &mut self.peers[key.index()];
        peer.last_received = now;
        peer.down.add(u64::from(block.length()));
        self.down.add(u64::from(block.length()));
        peer.pipeline.progressed(now);
        peer.unwanted_blocks = peer.unwanted_blocks.saturating_sub(1);
        let has_work = !peer.starved || peer.pipeline.live() == 0;
        if has_work && peer.pipeline.is_worth_refilling(now) {
            peer.wake(key, &mut self.ready);
        }
        if peer.arriving.take() != Some(block) {
            self.wasted += u64::from(block.length());
            return BlockOutcome::default();
        }
        let from = peer.addr.ip();
        let Some(finished) = self.picker.finish(block, from, now) else {
            return BlockOutcome::default();
        };
        if finished.asked_elsewhere > 0 {
            self.cancel_elsewhere(key, block);
        }
        BlockOutcome { accepted: true, piece_complete: finished.piece_complete }
    }

    /// The connection died, or was given up, within a block that was to be taken.
    pub fn on_block_aborted(&mut self, _now: Duration, key: PeerKey, block: BlockRange) {
        let Some(peer) = self.peers.get_mut(key.index()) else { return };
        if peer.arriving == Some(block) {
            peer.arriving = None;
            self.picker.abort(block);
            self.wake_starved();
        }
    }

    /// Tells everybody else who was asked for the block to leave it.
    fn cancel_elsewhere(&mut self, except: PeerKey, block: BlockRange) {
        for (key, peer) in &mut self.peers {
            let key = PeerKey(key as u32);
            if key == except {
                continue;
            }
            let Some(request) = peer.pipeline.take(block) else { continue };
            self.meters[Way::Down as usize].give_back(u64::from(block.length()));
            if request.live {
                self.picker.release(block);
            }
            peer.say(key, &mut self.ready, Message::Cancel(raw(block)));
        }
    }
}
