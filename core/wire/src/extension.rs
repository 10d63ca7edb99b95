//! The extension protocol (BEP 10) and the small messages that ride on it.
//!
//! Each side's handshake gives the ids under which *it* wants to receive extensions: what we send
//! carries the peer's id, what we get carries ours. Later handshakes change earlier ones, see
//! [`ExtensionIds::update`].

use crate::limits;
use metainfo::bencode::{BencodeError, Document, Limits, Node, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The extended id of the handshake itself.
pub const HANDSHAKE_ID: u8 = 0;

/// Why an extended message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// The handshake is not bencoded.
    #[error("extension handshake: {0}")]
    Bencode(#[from] BencodeError),
    /// The handshake is bencoded but no dictionary.
    #[error("the extension handshake is no dictionary")]
    NotADictionary,
    /// A length that the message cannot have.
    #[error("a `{message}` message of {length} bytes")]
    WrongLength {
        /// The extension.
        message: &'static str,
        /// Bytes of its payload.
        length: usize,
    },
}

/// The ids that one side gave the extensions we know. `None` if it did not mention one, 0 if it
/// switched it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionIds {
    /// `ut_metadata` (BEP 9).
    pub ut_metadata: Option<u8>,
    /// `ut_pex` (BEP 11).
    pub ut_pex: Option<u8>,
    /// `lt_donthave` (BEP 54).
    pub lt_donthave: Option<u8>,
    /// `upload_only` (BEP 21).
    pub upload_only: Option<u8>,
}

impl ExtensionIds {
    /// Takes over what a later handshake mentions and leaves the rest.
    pub fn update(&mut self, later: &ExtensionIds) {
        self.ut_metadata = enabled(later.ut_metadata.or(self.ut_metadata));
        self.ut_pex = enabled(later.ut_pex.or(self.ut_pex));
        self.lt_donthave = enabled(later.lt_donthave.or(self.lt_donthave));
        self.upload_only = enabled(later.upload_only.or(self.upload_only));
    }

    fn decode(m: Node<'_>) -> ExtensionIds {
        let id = |name| m.get_int(name).and_then(|id| u8::try_from(id).ok());
        ExtensionIds {
            ut_metadata: id("ut_metadata"),
            ut_pex: id("ut_pex"),
            lt_donthave: id("lt_donthave"),
            upload_only: id("upload_only"),
        }
    }

    fn encode(&self, m: &mut Writer) {
        number(m, "lt_donthave", self.lt_donthave);
        number(m, "upload_only", self.upload_only);
        number(m, "ut_metadata", self.ut_metadata);
        number(m, "ut_pex", self.ut_pex);
    }
}

/// What each side tells about itself. Every field may be missing, and one of a wrong type or out
/// of range counts as missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtensionHandshake {
    /// `m`: the sender's ids.
    pub m: ExtensionIds,
    /// `v`: the sender's name and version; at most [`limits::CLIENT_NAME_CHARS`] characters, none
    /// of them a control character.
    pub v: Option<String>,
    /// `reqq`: requests that the sender queues before it drops some; at least 1.
    pub reqq: Option<u32>,
    /// `p`: the TCP port where the sender listens; not 0.
    pub p: Option<u16>,
    /// `yourip`: the receiver's address as the sender sees it.
    pub yourip: Option<IpAddr>,
    /// `ipv4`: where the sender can be reached as well.
    pub ipv4: Option<Ipv4Addr>,
    /// `ipv6`: where the sender can be reached as well.
    pub ipv6: Option<Ipv6Addr>,
    /// `metadata_size`: bytes of the torrent's `info` dictionary (BEP 9), at least 1 and at most
    /// what [`metainfo::limits::TORRENT_BYTES`] allows.
    pub metadata_size: Option<u32>,
    /// `upload_only`: whether the sender wants no more pieces (BEP 21).
    pub upload_only: Option<bool>,
    /// `complete_ago`: seconds since the sender had all pieces.
    pub complete_ago: Option<u32>,
}

impl ExtensionHandshake {
    /// Reads the payload of an extended message with id 0. What follows the dictionary is ignored.
    pub fn decode(payload: &[u8]) -> Result<ExtensionHandshake, ExtensionError> {
        let (document, _) = Document::scan_prefix(payload, &BOUNDS)?;
        let root = document.root();
        if !root.is_dict() {
            return Err(ExtensionError::NotADictionary);
        }
        let positive =
            |key| root.get_int(key).and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
        Ok(ExtensionHandshake {
            m: root.get_dict("m").map(ExtensionIds::decode).unwrap_or_default(),
            v: root.get_bytes("v").map(printable).filter(|name| !name.is_empty()),
            reqq: positive("reqq"),
            p: positive("p").and_then(|port| u16::try_from(port).ok()),
            yourip: root.get_bytes("yourip").and_then(address),
            ipv4: root.get_bytes("ipv4").and_then(fixed::<4>).map(Ipv4Addr::from),
            ipv6: root.get_bytes("ipv6").and_then(fixed::<16>).map(Ipv6Addr::from),
            metadata_size: positive("metadata_size")
                .filter(|&size| size as usize <= metainfo::limits::TORRENT_BYTES),
            upload_only: root.get_int("upload_only").map(|flag| flag != 0),
            complete_ago: root.get_int("complete_ago").and_then(|ago| u32::try_from(ago).ok()),
        })
    }

    /// The payload of an extended message with id 0.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict(|w| {
            number(w, "complete_ago", self.complete_ago);
            string(w, "ipv4", self.ipv4.map(|ip| ip.octets()));
            string(w, "ipv6", self.ipv6.map(|ip| ip.octets()));
            w.key("m").dict(|m| self.m.encode(m));
            number(w, "metadata_size", self.metadata_size);
            number(w, "p", self.p);
            number(w, "reqq", self.reqq);
            number(w, "upload_only", self.upload_only);
            string(w, "v", self.v.as_ref());
            match self.yourip {
                Some(IpAddr::V4(ip)) => string(w, "yourip", Some(ip.octets())),
                Some(IpAddr::V6(ip)) => string(w, "yourip", Some(ip.octets())),
                None => {}
            }
        });
        writer.finish()
    }
}

/// Reads an `lt_donthave` payload: the number, unchecked, of a piece that the peer no longer has
/// (BEP 54).
pub fn decode_dont_have(payload: &[u8]) -> Result<u32, ExtensionError> {
    fixed(payload)
        .map(u32::from_be_bytes)
        .ok_or(ExtensionError::WrongLength { message: "lt_donthave", length: payload.len() })
}

/// The payload of an `lt_donthave` message (BEP 54).
pub fn encode_dont_have(piece: u32) -> [u8; 4] {
    piece.to_be_bytes()
}

/// Reads an `upload_only` payload: whether the peer wants no more pieces.
pub fn decode_upload_only(payload: &[u8]) -> Result<bool, ExtensionError> {
    fixed(payload)
        .map(|[flag]| flag != 0)
        .ok_or(ExtensionError::WrongLength { message: "upload_only", length: payload.len() })
}

/// The payload of an `upload_only` message.
pub fn encode_upload_only(upload_only: bool) -> [u8; 1] {
    [u8::from(upload_only)]
}

const BOUNDS: Limits = Limits {
    bytes: limits::EXTENDED_BYTES as usize,
    items: limits::HANDSHAKE_ITEMS,
    depth: limits::HANDSHAKE_DEPTH,
};

fn enabled(id: Option<u8>) -> Option<u8> {
    id.filter(|&id| id != 0)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    fixed::<4>(bytes).map(IpAddr::from).or_else(|| fixed::<16>(bytes).map(IpAddr::from))
}

fn printable(bytes: &[u8]) -> String {
    // No character takes more than four bytes, so what lies beyond cannot be kept.
    let bytes = &bytes[..bytes.len().min(4 * limits::CLIENT_NAME_CHARS)];
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).take(limits::CLIENT_NAME_CHARS).collect()
}

fn number(writer: &mut Writer, key: &str, value: Option<impl Into<i64>>) {
    if let Some(value) = value {
        writer.key(key).int(value.into());
    }
}

fn string(writer: &mut Writer, key: &str, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        writer.key(key).bytes(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{option::of, prelude::*};

    fn ids() -> impl Strategy<Value = ExtensionIds> {
        (of(any::<u8>()), of(any::<u8>()), of(any::<u8>()), of(any::<u8>())).prop_map(
            |(ut_metadata, ut_pex, lt_donthave, upload_only)| ExtensionIds {
                ut_metadata,
                ut_pex,
                lt_donthave,
                upload_only,
            },
        )
    }

    fn handshake() -> impl Strategy<Value = ExtensionHandshake> {
        let numbers = (of(1u32..), of(1u16..), of(1u32..1 << 20), of(any::<u32>()));
        let addresses = (of(any::<IpAddr>()), of(any::<Ipv4Addr>()), of(any::<Ipv6Addr>()));
        (ids(), of("[ -~µ]{1,64}"), numbers, addresses, of(any::<bool>())).prop_map(
            |(m, v, (reqq, p, metadata_size, complete_ago), (yourip, ipv4, ipv6), upload_only)| {
                ExtensionHandshake {
                    m,
                    v,
                    reqq,
                    p,
                    yourip,
                    ipv4,
                    ipv6,
                    metadata_size,
                    upload_only,
                    complete_ago,
                }
            },
        )
    }

    #[test]
    fn a_field_of_the_wrong_type_counts_as_missing() {
        let sloppy = b"d4:ipv43:abc1:mi3e13:metadata_sizei-1e1:p5:690001:vi1e6:yourip2:abe";
        assert_eq!(ExtensionHandshake::decode(sloppy), Ok(ExtensionHandshake::default()));
        let huge = b"d13:metadata_sizei4294967295e1:pi65536e4:reqqi-3ee";
        assert_eq!(ExtensionHandshake::decode(huge), Ok(ExtensionHandshake::default()));
        assert_eq!(ExtensionHandshake::decode(b"le"), Err(ExtensionError::NotADictionary));
        assert!(ExtensionHandshake::decode(b"").is_err());
    }

    #[test]
    fn a_later_handshake_changes_only_what_it_mentions() {
        let mut ids = ExtensionIds { ut_pex: Some(1), ut_metadata: Some(2), ..Default::default() };
        ids.update(&ExtensionIds { ut_pex: Some(0), lt_donthave: Some(7), ..Default::default() });
        let now = ExtensionIds { ut_metadata: Some(2), lt_donthave: Some(7), ..Default::default() };
        assert_eq!(ids, now);
    }

    #[test]
    fn names_are_short_and_printable() {
        let name = [b"a\n\x1b[31m".as_slice(), &[b'x'; 500]].concat();
        let bytes = [b"d1:v507:".as_slice(), &name, b"e"].concat();
        let v = ExtensionHandshake::decode(&bytes).unwrap().v.unwrap();
        assert!(v.starts_with("a[31mx"));
        assert_eq!(v.chars().count(), limits::CLIENT_NAME_CHARS);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(handshake in handshake(), piece: u32, flag: bool) {
            let bytes = handshake.encode();
            prop_assert_eq!(ExtensionHandshake::decode(&bytes), Ok(handshake));
            prop_assert_eq!(decode_dont_have(&encode_dont_have(piece)), Ok(piece));
            prop_assert_eq!(decode_upload_only(&encode_upload_only(flag)), Ok(flag));
        }

        #[test]
        fn written_handshakes_are_canonical(handshake in handshake()) {
            let bytes = handshake.encode();
            prop_assert!(Document::scan(&bytes, &BOUNDS).unwrap().root().is_canonical());
        }

        #[test]
        fn no_payload_panics(bytes: Vec<u8>, text in "[dl0-9:ie a-z]{0,80}") {
            for payload in [&bytes[..], text.as_bytes()] {
                let _ = ExtensionHandshake::decode(payload);
                let _ = decode_dont_have(payload);
                let _ = decode_upload_only(payload);
            }
        }
    }
}
