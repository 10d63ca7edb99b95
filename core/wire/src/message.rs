//! The messages after the handshake, and how they are written (BEP 3, 5, 6, 10).

/// Numbers of a block as they stand on the wire. Nothing about them has been checked:
/// [`metainfo::Geometry::range`] does that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawBlock {
    /// The piece's number.
    pub index: u32,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Bytes in the block.
    pub length: u32,
}

/// A message that is not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing to say, but still there.
    KeepAlive,
    /// No requests will be answered from now on.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The sender would like to request.
    Interested,
    /// The sender has nothing to request.
    NotInterested,
    /// The sender has got a piece.
    Have {
        /// Its number, unchecked.
        piece: u32,
    },
    /// Which pieces the sender has, one bit each; [`metainfo::Bitfield`] checks it.
    Bitfield(&'a [u8]),
    /// Asks for a block.
    Request(RawBlock),
    /// Takes a request back.
    Cancel(RawBlock),
    /// A request will not be answered (BEP 6).
    RejectRequest(RawBlock),
    /// The sender would rather be asked for this piece (BEP 6).
    SuggestPiece {
        /// Its number, unchecked.
        piece: u32,
    },
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// This piece may be requested while choked (BEP 6).
    AllowedFast {
        /// Its number, unchecked.
        piece: u32,
    },
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// A message of an extension (BEP 10).
    Extended {
        /// 0 for the extension handshake, else what the receiver's handshake gave the extension.
        id: u8,
        /// What the extension says.
        payload: &'a [u8],
    },
}

/// The ids of messages on the wire.
pub(crate) mod id {
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST_PIECE: u8 = 13;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT_REQUEST: u8 = 16;
    pub const ALLOWED_FAST: u8 = 17;
    pub const EXTENDED: u8 = 20;
}

impl Message<'_> {
    /// Bytes on the wire, the length prefix included.
    pub fn encoded_len(&self) -> usize {
        match self {
            Message::KeepAlive => 4,
            Message::Choke
            | Message::Unchoke
            | Message::Interested
            | Message::NotInterested
            | Message::HaveAll
            | Message::HaveNone => 5,
            Message::Port(_) => 7,
            Message::Have { .. } | Message::SuggestPiece { .. } | Message::AllowedFast { .. } => 9,
            Message::Request(_) | Message::Cancel(_) | Message::RejectRequest(_) => 17,
            Message::Bitfield(bits) => 5 + bits.len(),
            Message::Extended { payload, .. } => 6 + payload.len(),
        }
    }

    /// Appends the message as it goes over the wire.
    ///
    /// # Panics
    /// If our own bitfield or payload is 4 GiB or longer.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match *self {
            Message::KeepAlive => out.extend_from_slice(&[0; 4]),
            Message::Choke => bare(out, id::CHOKE),
            Message::Unchoke => bare(out, id::UNCHOKE),
            Message::Interested => bare(out, id::INTERESTED),
            Message::NotInterested => bare(out, id::NOT_INTERESTED),
            Message::HaveAll => bare(out, id::HAVE_ALL),
            Message::HaveNone => bare(out, id::HAVE_NONE),
            Message::Have { piece } => number(out, id::HAVE, piece),
            Message::SuggestPiece { piece } => number(out, id::SUGGEST_PIECE, piece),
            Message::AllowedFast { piece } => number(out, id::ALLOWED_FAST, piece),
            Message::Request(range) => block(out, id::REQUEST, range),
            Message::Cancel(range) => block(out, id::CANCEL, range),
            Message::RejectRequest(range) => block(out, id::REJECT_REQUEST, range),
            Message::Port(port) => {
                let [high, low] = port.to_be_bytes();
                out.extend_from_slice(&[0, 0, 0, 3, id::PORT, high, low]);
            }
            Message::Bitfield(bits) => {
                head(out, 1 + bits.len(), id::BITFIELD);
                out.extend_from_slice(bits);
            }
            Message::Extended { id, payload } => {
                head(out, 2 + payload.len(), id::EXTENDED);
                out.push(id);
                out.extend_from_slice(payload);
            }
        }
    }
}

/// What goes before the `length` bytes of a block in a `piece` message.
///
/// # Panics
/// If `length` is within 9 of 4 GiB: blocks that we send have been checked against the limit.
pub fn block_header(index: u32, begin: u32, length: u32) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..4].copy_from_slice(&(9 + length).to_be_bytes());
    bytes[4] = id::PIECE;
    bytes[5..9].copy_from_slice(&index.to_be_bytes());
    bytes[9..].copy_from_slice(&begin.to_be_bytes());
    bytes
}

fn head(out: &mut Vec<u8>, length: usize, id: u8) {
    let length = u32::try_from(length).expect("our own messages are shorter than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.push(id);
}

fn bare(out: &mut Vec<u8>, id: u8) {
    out.extend_from_slice(&[0, 0, 0, 1, id]);
}

fn number(out: &mut Vec<u8>, id: u8, number: u32) {
    let [a, b, c, d] = number.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 5, id, a, b, c, d]);
}

fn block(out: &mut Vec<u8>, id: u8, block: RawBlock) {
    let mut bytes = [0, 0, 0, 13, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[5..9].copy_from_slice(&block.index.to_be_bytes());
    bytes[9..13].copy_from_slice(&block.begin.to_be_bytes());
    bytes[13..].copy_from_slice(&block.length.to_be_bytes());
    out.extend_from_slice(&bytes);
}
