//! The few messages that the load says and understands (BEP 3, 6, 10).

/// Length of the handshake on the wire.
pub const HANDSHAKE: usize = 68;
/// Length of a `piece` message before its data: length, id, index, begin.
pub const PIECE_HEADER: usize = 13;
/// Length of a `request` on the wire.
pub const REQUEST: usize = 17;

pub const CHOKE: u8 = 0;
pub const UNCHOKE: u8 = 1;
pub const INTERESTED: u8 = 2;
pub const REQUEST_ID: u8 = 6;
pub const PIECE: u8 = 7;
pub const HAVE_ALL: u8 = 14;
pub const HAVE_NONE: u8 = 15;
pub const REJECT: u8 = 16;

/// A handshake that offers the fast extension (BEP 6), and for `number` a peer id of its own.
pub fn handshake(info_hash: &[u8; 20], number: usize) -> Vec<u8> {
    let mut out = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\x04".to_vec();
    out.extend_from_slice(info_hash);
    out.extend_from_slice(format!("-RB0001-{number:012}").as_bytes());
    out
}

/// Whether the other side's handshake offers the fast extension.
pub fn has_fast(handshake: &[u8]) -> bool {
    handshake[27] & 4 != 0
}

/// The info-hash in a handshake.
pub fn info_hash(handshake: &[u8]) -> &[u8] {
    &handshake[28..48]
}

/// Appends a message without payload.
pub fn bare(out: &mut Vec<u8>, id: u8) {
    out.extend_from_slice(&[0, 0, 0, 1, id]);
}

/// Appends a bitfield with all of `pieces` set.
pub fn full_bitfield(out: &mut Vec<u8>, pieces: u32) {
    let bytes = pieces.div_ceil(8);
    out.extend_from_slice(&(bytes + 1).to_be_bytes());
    out.push(5);
    out.extend(std::iter::repeat_n(0xff, bytes as usize));
    if !pieces.is_multiple_of(8)
        && let Some(last) = out.last_mut()
    {
        *last = 0xff << (8 - pieces % 8);
    }
}

/// Appends a request for a block.
pub fn request(out: &mut Vec<u8>, piece: u32, begin: u32, length: u32) {
    out.extend_from_slice(&[0, 0, 0, 13, REQUEST_ID]);
    for number in [piece, begin, length] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// The header of the message that carries a block.
pub fn piece_header(piece: u32, begin: u32, length: u32) -> [u8; PIECE_HEADER] {
    let mut out = [0; PIECE_HEADER];
    out[..4].copy_from_slice(&(9 + length).to_be_bytes());
    out[4] = PIECE;
    out[5..9].copy_from_slice(&piece.to_be_bytes());
    out[9..].copy_from_slice(&begin.to_be_bytes());
    out
}

/// The big-endian number at `at`, which the caller has checked to be there.
pub fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_bits_of_a_full_bitfield_are_clear() {
        let mut out = Vec::new();
        full_bitfield(&mut out, 11);
        assert_eq!(out, [0, 0, 0, 3, 5, 0xff, 0b1110_0000]);
    }

    #[test]
    fn messages_are_as_long_as_they_claim() {
        assert_eq!(handshake(&[0; 20], 3).len(), HANDSHAKE);
        let mut out = Vec::new();
        request(&mut out, 1, 2, 3);
        assert_eq!((out.len(), number(&out, 0)), (REQUEST, 13));
        assert_eq!(number(&piece_header(1, 2, 16_384), 0), 16_384 + 9);
    }
}
