//! The first 68 bytes in each direction (BEP 3): which torrent, who, and what they know.

use crate::PeerId;
use metainfo::InfoHash;
use std::fmt;

/// What a BitTorrent handshake starts with: the length of the protocol's name, and the name.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// The eight bytes in which peers announce what they know beyond BEP 3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// With nothing announced.
    pub const NONE: Reserved = Reserved([0; 8]);

    /// With the extension protocol announced too (BEP 10).
    pub const fn with_extension_protocol(self) -> Reserved {
        self.with(5, 0x10)
    }

    /// With the fast extension announced too (BEP 6).
    pub const fn with_fast(self) -> Reserved {
        self.with(7, 0x04)
    }

    /// With the DHT announced too (BEP 5).
    pub const fn with_dht(self) -> Reserved {
        self.with(7, 0x01)
    }

    /// Whether the extension protocol is announced (BEP 10).
    pub const fn extension_protocol(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// Whether the fast extension is announced (BEP 6).
    pub const fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// Whether the DHT is announced (BEP 5).
    pub const fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }

    const fn with(mut self, byte: usize, bit: u8) -> Reserved {
        self.0[byte] |= bit;
        self
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x})", u64::from_be_bytes(self.0))
    }
}

/// The bytes are not a BitTorrent handshake: another protocol, or an encrypted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// They do not start with [`PROTOCOL`].
    #[error("does not start as a BitTorrent handshake does")]
    NotBitTorrent,
}

/// What each side says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// What the sender knows beyond BEP 3.
    pub reserved: Reserved,
    /// The torrent they meet for; of version 2 the truncated hash (BEP 52).
    pub info_hash: InfoHash,
    /// The sender's name for itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Bytes of a handshake.
    pub const LEN: usize = 68;

    /// As it goes over the wire.
    pub fn encode(&self) -> [u8; Handshake::LEN] {
        let mut bytes = [0; Handshake::LEN];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads a whole handshake; whether the torrent is known is for the caller to see.
    pub fn decode(bytes: &[u8; Handshake::LEN]) -> Result<Handshake, HandshakeError> {
        Handshake::check_prefix(bytes)?;
        let mut handshake = Handshake {
            reserved: Reserved::NONE,
            info_hash: InfoHash([0; 20]),
            peer_id: PeerId([0; 20]),
        };
        handshake.reserved.0.copy_from_slice(&bytes[20..28]);
        handshake.info_hash.0.copy_from_slice(&bytes[28..48]);
        handshake.peer_id.0.copy_from_slice(&bytes[48..]);
        Ok(handshake)
    }

    /// Whether what came so far can become a handshake, so that junk is dropped at its first byte.
    pub fn check_prefix(partial: &[u8]) -> Result<(), HandshakeError> {
        let known = partial.len().min(PROTOCOL.len());
        if partial[..known] != PROTOCOL[..known] {
            return Err(HandshakeError::NotBitTorrent);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_flag_is_its_own_bit() {
        let all = Reserved::NONE.with_extension_protocol().with_fast().with_dht();
        assert_eq!(all.0, [0, 0, 0, 0, 0, 0x10, 0, 0x05]);
        assert!(all.extension_protocol() && all.fast() && all.dht());
        let fast = Reserved::NONE.with_fast();
        assert!(fast.fast() && !fast.extension_protocol() && !fast.dht());
    }

    #[test]
    fn junk_is_refused_at_its_first_wrong_byte() {
        for known in 0..=PROTOCOL.len() {
            assert_eq!(Handshake::check_prefix(&PROTOCOL[..known]), Ok(()));
            let mut junk = PROTOCOL[..known].to_vec();
            if let Some(last) = junk.last_mut() {
                *last ^= 1;
                assert_eq!(Handshake::check_prefix(&junk), Err(HandshakeError::NotBitTorrent));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(reserved: [u8; 8], hash: [u8; 20], id: [u8; 20]) {
            let handshake = Handshake {
                reserved: Reserved(reserved),
                info_hash: InfoHash(hash),
                peer_id: PeerId(id),
            };
            prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        }
    }
}
