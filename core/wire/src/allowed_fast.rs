//! Which pieces a peer may ask for while choked (BEP 6).

use crate::limits;
use metainfo::InfoHash;
use sha1::{Digest, Sha1};
use std::net::IpAddr;

/// The pieces that the peer at `ip` may request while choked, in the order BEP 6 gives them.
///
/// `count` is how many are wanted; fewer come if the torrent has fewer pieces, and never more than
/// [`limits::ALLOWED_FAST`]. Empty for IPv6, for which BEP 6 defines none.
pub fn allowed_fast_set(
    info_hash: InfoHash,
    ip: IpAddr,
    count: usize,
    piece_count: u32,
) -> Vec<u32> {
    let IpAddr::V4(ip) = ip.to_canonical() else { return Vec::new() };
    let count = count.min(limits::ALLOWED_FAST).min(piece_count as usize);
    let [a, b, c, _] = ip.octets();
    let mut digest = Sha1::new().chain_update([a, b, c, 0]).chain_update(info_hash.0).finalize();
    let mut pieces = Vec::with_capacity(count);
    while pieces.len() < count {
        for number in digest.chunks_exact(4) {
            let number = u32::from_be_bytes([number[0], number[1], number[2], number[3]]);
            let piece = number % piece_count;
            if pieces.len() < count && !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
        digest = Sha1::digest(digest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([0xaa; 20]);

    #[test]
    fn the_sets_are_those_of_the_standard() {
        let ip = "80.4.4.200".parse().unwrap();
        let nine = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508];
        assert_eq!(allowed_fast_set(HASH, ip, 7, 1313), nine[..7]);
        assert_eq!(allowed_fast_set(HASH, ip, 9, 1313), nine);
        let mapped = "::ffff:80.4.4.200".parse().unwrap();
        assert_eq!(allowed_fast_set(HASH, mapped, 9, 1313), nine);
    }

    #[test]
    fn a_small_torrent_gives_all_its_pieces_once() {
        let ip = "10.0.0.1".parse().unwrap();
        for pieces in 0..=limits::ALLOWED_FAST as u32 {
            let mut set = allowed_fast_set(HASH, ip, usize::MAX, pieces);
            set.sort_unstable();
            assert_eq!(set, (0..pieces).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ipv6_has_no_set() {
        assert!(allowed_fast_set(HASH, "2001:db8::1".parse().unwrap(), 10, 100).is_empty());
    }
}
