//! What BitTorrent peers say to each other, without sockets: BEP 3, 6, 10, 20, 21 and 54.
//!
//! Bytes in, items out. Every length is checked before it is used; numbers of pieces and blocks are
//! handed on as they came and say so ([`RawBlock`]). Messages of unknown kinds are skipped.
//!
//! A leech fetches one block from a seed:
//!
//! ```
//! use ringseed_wire as wire;
//! use metainfo::InfoHash;
//! use wire::{DecodeLimits, Decoder, Handshake, Item, Message, PeerId, RawBlock, Reserved};
//!
//! // Both open with a handshake.
//! let hello = |random| Handshake {
//!     reserved: Reserved::NONE.with_fast().with_extension_protocol(),
//!     info_hash: InfoHash([7; 20]),
//!     peer_id: PeerId::generate([random; 12]),
//! };
//! let heard = Handshake::decode(&hello(1).encode())?;
//! assert!(heard.reserved.fast());
//! assert_eq!(heard.peer_id.client_name(), "Ringseed 0.1.0");
//!
//! // The leech wants something, and the seed lets it ask.
//! let block = RawBlock { index: 3, begin: 0, length: 5 };
//! let mut to_seed = Vec::new();
//! for message in [Message::HaveNone, Message::Interested, Message::Request(block)] {
//!     message.encode_into(&mut to_seed);
//! }
//! let mut to_leech = Vec::new();
//! for message in [Message::HaveAll, Message::Unchoke] {
//!     message.encode_into(&mut to_leech);
//! }
//!
//! // The seed reads, and answers the request with a header and the bytes.
//! let mut seed = Decoder::new(DecodeLimits::default());
//! let mut input = &to_seed[..];
//! while let Some(item) = seed.next(&mut input)? {
//!     if let Item::Message(Message::Request(asked)) = item {
//!         to_leech.extend(wire::block_header(asked.index, asked.begin, asked.length));
//!         to_leech.extend(b"bytes");
//!     }
//! }
//!
//! // The leech reads what comes, here three bytes at a time.
//! let mut leech = Decoder::new(DecodeLimits::default());
//! let mut got = Vec::new();
//! let mut complete = false;
//! for mut input in to_leech.chunks(3) {
//!     while let Some(item) = leech.next(&mut input)? {
//!         match item {
//!             Item::Message(message) => assert!([Message::HaveAll, Message::Unchoke].contains(&message)),
//!             Item::BlockStart(start) => assert_eq!(start, block),
//!             Item::BlockData(data) => got.extend_from_slice(data),
//!             Item::BlockEnd => complete = true,
//!         }
//!     }
//! }
//! assert!(complete && got == b"bytes");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowed_fast;
mod decoder;
pub mod extension;
mod handshake;
pub mod limits;
mod message;
mod peer_id;

pub use allowed_fast::allowed_fast_set;
pub use decoder::{DecodeError, DecodeLimits, Decoder, Item};
pub use handshake::{Handshake, HandshakeError, PROTOCOL, Reserved};
pub use message::{Message, RawBlock, block_header};
pub use peer_id::PeerId;
