use super::*;
use crate::block_header;
use proptest::{collection::vec, prelude::*, sample::Index};

/// What was decoded, with the data of blocks joined.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Message(Vec<u8>),
    Block(RawBlock, Vec<u8>),
}

const LIMITS: DecodeLimits = DecodeLimits { max_bitfield: 300, max_extended: 300 };

/// Decodes the parts one after the other; fails the test if an invariant of the items is broken.
fn decode<'p>(
    parts: impl IntoIterator<Item = &'p [u8]>,
) -> Result<(Vec<Heard>, Decoder), DecodeError> {
    let mut decoder = Decoder::new(LIMITS);
    let mut heard = Vec::new();
    let mut block: Option<(RawBlock, Vec<u8>)> = None;
    for mut input in parts {
        while let Some(item) = decoder.next(&mut input)? {
            match item {
                Item::Message(message) => {
                    assert!(block.is_none(), "a message within a block");
                    let mut bytes = Vec::new();
                    message.encode_into(&mut bytes);
                    assert_eq!(bytes.len(), message.encoded_len());
                    heard.push(Heard::Message(bytes));
                }
                Item::BlockStart(start) => {
                    assert!(start.length <= limits::BLOCK_LENGTH);
                    assert!(block.replace((start, Vec::new())).is_none());
                }
                Item::BlockData(data) => {
                    assert!(!data.is_empty());
                    block.as_mut().unwrap().1.extend_from_slice(data);
                }
                Item::BlockEnd => {
                    let (start, data) = block.take().unwrap();
                    assert_eq!(data.len(), start.length as usize);
                    heard.push(Heard::Block(start, data));
                }
            }
            assert!(decoder.heap_bytes() <= 300);
        }
        assert!(input.is_empty(), "all is consumed before more is asked for");
    }
    Ok((heard, decoder))
}

/// The bytes cut at the given places.
fn cut<'b>(bytes: &'b [u8], places: &[Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    bytes
}

/// Bytes of a message and what is to be heard of it; nothing of an unknown one.
fn message() -> impl Strategy<Value = (Vec<u8>, Option<Heard>)> {
    let raw = any::<(u32, u32, u32)>();
    let raw = raw.prop_map(|(index, begin, length)| RawBlock { index, begin, length });
    let known = |message: Message<'_>| {
        let bytes = encoded(message);
        (bytes.clone(), Some(Heard::Message(bytes)))
    };
    let bare = prop::sample::select(vec![
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::HaveAll,
        Message::HaveNone,
    ]);
    prop_oneof![
        bare.prop_map(known),
        (0..3, any::<u32>()).prop_map(move |(kind, piece)| known(match kind {
            0 => Message::Have { piece },
            1 => Message::SuggestPiece { piece },
            _ => Message::AllowedFast { piece },
        })),
        (0..3, raw).prop_map(move |(kind, block)| known(match kind {
            0 => Message::Request(block),
            1 => Message::Cancel(block),
            _ => Message::RejectRequest(block),
        })),
        any::<u16>().prop_map(move |port| known(Message::Port(port))),
        vec(any::<u8>(), 0..=300).prop_map(move |bits| known(Message::Bitfield(&bits))),
        (any::<u8>(), vec(any::<u8>(), 0..=300))
            .prop_map(move |(id, payload)| known(Message::Extended { id, payload: &payload })),
        (any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..600)).prop_map(|(index, begin, data)| {
            let length = data.len() as u32;
            let bytes = [&block_header(index, begin, length)[..], &data].concat();
            (bytes, Some(Heard::Block(RawBlock { index, begin, length }, data)))
        }),
        (21u8.., vec(any::<u8>(), 0..600)).prop_map(|(id, body)| {
            let length = (1 + body.len() as u32).to_be_bytes();
            ([&length[..], &[id], &body].concat(), None)
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_however_it_is_cut(
        messages in vec(message(), 0..12), places in vec(any::<Index>(), 0..40),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let told: Vec<Heard> = messages.into_iter().filter_map(|(_, heard)| heard).collect();
        for parts in [cut(&bytes, &places), vec![&bytes[..]], bytes.chunks(1).collect()] {
            let (heard, decoder) = decode(parts).unwrap();
            prop_assert_eq!(&heard, &told);
            prop_assert_eq!(decoder.heap_bytes(), 0);
        }
    }

    #[test]
    fn no_input_panics_and_cuts_change_nothing(
        lengths in vec((0u32..40, 0u8..24, vec(any::<u8>(), 0..40)), 0..6),
        noise: Vec<u8>, places in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (length, id, body) in lengths {
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.push(id);
            bytes.extend_from_slice(&body);
        }
        bytes.extend_from_slice(&noise);
        let whole = decode([&bytes[..]]).map(|(heard, _)| heard);
        let parts = decode(cut(&bytes, &places)).map(|(heard, _)| heard);
        prop_assert_eq!(whole, parts);
    }
}

#[test]
fn fixed_messages_have_their_length_and_no_other() {
    for (id, name, right) in [
        (0, "choke", 1),
        (4, "have", 5),
        (6, "request", 13),
        (9, "port", 3),
        (14, "have all", 1),
        (16, "reject request", 13),
        (17, "allowed fast", 5),
    ] {
        for length in (1u32..20).filter(|&length| length != right) {
            let bytes = [&length.to_be_bytes()[..], &[id]].concat();
            let error = DecodeError::WrongLength { message: name, length };
            assert_eq!(decode([&bytes[..]]).err(), Some(error));
        }
    }
}

#[test]
fn too_long_messages_are_refused_before_their_body_comes() {
    for (id, name, limit) in [
        (5, "bitfield", 301),
        (7, "piece", limits::BLOCK_LENGTH + 9),
        (20, "extended", 302),
        (99, "unknown", limits::UNKNOWN_LENGTH),
    ] {
        let head = |length: u32| [&length.to_be_bytes()[..], &[id]].concat();
        assert!(decode([&head(limit)[..]]).is_ok());
        for length in [limit + 1, u32::MAX] {
            let error = DecodeError::TooLong { message: name, length, limit };
            assert_eq!(decode([&head(length)[..]]).err(), Some(error));
        }
    }
}

#[test]
fn a_claimed_length_gets_no_memory() {
    let mut decoder = Decoder::new(DecodeLimits::default());
    let mut input = &[0, 0, 0xff, 0xff, 20, 1, 42][..];
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert!(decoder.heap_bytes() <= 8);
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 80);
}

#[test]
fn a_refused_stream_stays_refused() {
    let mut decoder = Decoder::new(LIMITS);
    for byte in [0, 0, 0, 9] {
        assert_eq!(decoder.next(&mut &[byte][..]), Ok(None));
    }
    for _ in 0..3 {
        assert!(decoder.next(&mut &[0][..]).is_err());
    }
}
