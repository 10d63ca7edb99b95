//! What peers say.

use wire::extension::{self, ExtensionHandshake};
use wire::{DecodeLimits, Decoder, Handshake, Item, Message, RawBlock};

/// Junk is known by its first wrong byte, and what is a handshake is written as it was.
pub fn handshake(bytes: &[u8]) {
    let Some(whole) = bytes.first_chunk() else {
        let _ = Handshake::check_prefix(bytes);
        return;
    };
    let heard = Handshake::decode(whole);
    for length in 0..=Handshake::LEN {
        assert!(heard.is_err() || Handshake::check_prefix(&whole[..length]).is_ok());
    }
    let Ok(heard) = heard else { return };
    assert_eq!(heard.encode(), *whole);
    let name = heard.peer_id.client_name();
    assert!(!name.chars().any(char::is_control), "{name:?}");
}

/// Limits small enough to be met.
const LIMITS: DecodeLimits = DecodeLimits { max_bitfield: 300, max_extended: 1000 };

/// The first byte says in what parts the rest comes: all ways give the same, and what is written of
/// that is read as the same.
pub fn messages(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let whole = read(stream, stream.len().max(1));
    let parts = read(stream, usize::from(size) + 1);
    assert_eq!(whole, parts);
    let (said, _) = whole;
    let written: Vec<u8> = said.iter().flat_map(Said::bytes).collect();
    assert_eq!(read(&written, 7).0, said);
}

/// A message or block, or its beginning at the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Message(Vec<u8>),
    Block(RawBlock, Vec<u8>),
}

impl Said {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Said::Message(bytes) => bytes.clone(),
            Said::Block(block, data) => {
                let mut bytes = wire::block_header(block.index, block.begin, block.length).to_vec();
                bytes.extend(data);
                bytes
            }
        }
    }
}

/// What a stream says, given in parts of this size, and whether it broke off with an error.
fn read(stream: &[u8], size: usize) -> (Vec<Said>, bool) {
    let mut decoder = Decoder::new(LIMITS);
    let mut said = Vec::new();
    for mut part in stream.chunks(size) {
        loop {
            let before = part.len();
            match decoder.next(&mut part) {
                Err(_) => return (said, true),
                Ok(None) => break,
                Ok(Some(item)) => note(item, &mut said),
            }
            assert!(part.len() <= before);
        }
        assert!(part.is_empty());
        assert!(decoder.heap_bytes() <= 2 * LIMITS.max_extended as usize + 64);
    }
    (said, false)
}

fn note(item: Item<'_>, said: &mut Vec<Said>) {
    match item {
        Item::Message(message) => {
            let mut bytes = Vec::new();
            message.encode_into(&mut bytes);
            assert_eq!(bytes.len(), message.encoded_len());
            match message {
                Message::Bitfield(bits) => assert!(bits.len() <= LIMITS.max_bitfield as usize),
                Message::Extended { payload, .. } => {
                    assert!(payload.len() <= LIMITS.max_extended as usize);
                }
                _ => {}
            }
            said.push(Said::Message(bytes));
        }
        Item::BlockStart(block) => {
            assert!(block.length <= wire::limits::BLOCK_LENGTH);
            said.push(Said::Block(block, Vec::new()));
        }
        Item::BlockData(more) => {
            let Some(Said::Block(block, data)) = said.last_mut() else {
                panic!("data of no block")
            };
            assert!(!more.is_empty());
            data.extend(more);
            assert!(data.len() <= block.length as usize);
        }
        Item::BlockEnd => {
            let Some(Said::Block(block, data)) = said.last() else { panic!("the end of no block") };
            assert_eq!(data.len(), block.length as usize);
        }
    }
}

/// The payload of every extended message that we know.
pub fn extensions(bytes: &[u8]) {
    if let Ok(heard) = ExtensionHandshake::decode(bytes) {
        let written = heard.encode();
        assert_eq!(ExtensionHandshake::decode(&written).as_ref(), Ok(&heard));
        let mut ids = heard.m;
        ids.update(&heard.m);
        let name = heard.v.unwrap_or_default();
        assert!(name.chars().count() <= wire::limits::CLIENT_NAME_CHARS);
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    if let Ok(piece) = extension::decode_dont_have(bytes) {
        assert_eq!(extension::encode_dont_have(piece), bytes);
    }
    if let Ok(upload_only) = extension::decode_upload_only(bytes) {
        let written = extension::encode_upload_only(upload_only);
        assert_eq!(extension::decode_upload_only(&written), Ok(upload_only));
    }
}
