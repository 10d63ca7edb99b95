//! What one torrent decides: whom to serve, whom to ask, for which blocks, and who is out.
//!
//! A [`Swarm`] is a deterministic state machine without sockets, files, threads or a clock. It is
//! told what happened (`on_message`, `on_block_start`, `piece_written`, …) and when (`now`, a
//! [`std::time::Duration`] since any fixed start), and it is asked what to do:
//!
//! - [`Swarm::next_ready`] and [`Swarm::poll_transmit`]: what goes to which peer;
//! - [`Swarm::poll_action`]: whom to disconnect or ban;
//! - [`Swarm::connect_candidate`]: whom to connect to;
//! - [`Swarm::next_tick`]: when to call [`Swarm::tick`].
//!
//! The same seed and the same calls give the same answers.
//!
//! # A block's way
//! ```text
//! poll_transmit (request) → on_block_start → on_block_end ─┬─ piece_complete → hash
//!                                                          │     ├─ piece_passed → write
//!                                                          │     │      ├─ piece_written  (ours, announced)
//!                                                          │     │      └─ piece_dropped  (wanted again)
//!                                                          │     └─ piece_failed → (wanted again, culprits banned)
//!                                                          └─ more blocks of the piece
//! ```
//!
//! # Example
//! A leech that is let in by a seed asks for the only block there is:
//! ```
//! use metainfo::{Bitfield, Geometry};
//! use ringseed_swarm::{MemoryBudget, NewPeer, Settings, Source, Swarm, Transmit};
//! use wire::{Message, PeerId};
//! use std::time::Duration;
//!
//! let geometry = Geometry::new(1000, 16_384).unwrap();
//! let budget = MemoryBudget::new(1 << 20);
//! let mut swarm = Swarm::new(geometry, Bitfield::none(1), Settings::default(), budget, 7);
//! let now = Duration::ZERO;
//! let seed = swarm.add_peer(now, NewPeer {
//!     addr: "10.0.0.1:6881".parse()?,
//!     id: PeerId([1; 20]),
//!     fast: true,
//!     extended: false,
//!     incoming: false,
//!     source: Source::Tracker,
//! })?;
//! swarm.on_message(now, seed, Message::HaveAll)?;
//! swarm.on_message(now, seed, Message::Unchoke)?;
//!
//! assert_eq!(swarm.next_ready(), Some(seed));
//! let mut out = Transmit::default();
//! swarm.poll_transmit(now, seed, 32, &mut out);
//! // have_none, interested, request
//! assert_eq!(out.control.len(), 5 + 5 + 17);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;
mod candidates;
mod choker;
pub mod limits;
mod meter;
mod peer;
mod picker;
mod pieces;
mod pipeline;
mod rate;
mod settings;
mod smart_ban;
mod swarm;

pub use budget::MemoryBudget;
pub use candidates::Source;
pub use meter::{Flow, Way};
pub use picker::Phase;
pub use settings::{Priority, Settings};
pub use swarm::{
    Action, BlockFate, BlockOutcome, EXTENSION_IDS, NewPeer, PartialPiece, PeerError, PeerStatus,
    Reason, Refusal, Stats, Swarm, Transmit,
};

/// A peer of one swarm: small, unique among those connected, reused after the peer has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub(crate) u32);

impl PeerKey {
    /// The key as an index into tables beside the swarm's.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
