//! Magnet links (BEP 9, 53; `btmh` of BEP 52): the identity of a torrent and where to ask for the rest.

use crate::{InfoHash, InfoHashV2};
use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use std::{collections::HashSet, net::SocketAddr, ops::RangeInclusive};

/// Why a text is no magnet link to a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum MagnetError {
    #[error("a magnet link starts with `magnet:?`")]
    NotMagnet,
    #[error("the magnet link is longer than {} bytes", MAGNET_BYTES)]
    TooLong,
    #[error(
        "the magnet link has an info-hash that is neither 40 hexadecimal nor 32 base-32 digits"
    )]
    BadHash,
    #[error("the magnet link names no torrent (`xt=urn:btih:…` or `xt=urn:btmh:…`)")]
    NoHash,
}

/// Bytes in a link; browsers stop at less.
const MAGNET_BYTES: usize = 64 << 10;

/// What a magnet link says. At least one info-hash is present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Magnet {
    /// `xt=urn:btih:`
    pub info_hash_v1: Option<InfoHash>,
    /// `xt=urn:btmh:`
    pub info_hash_v2: Option<InfoHashV2>,
    /// `dn`: what to call it until the real name is known. Not a safe file name.
    pub name: Option<String>,
    /// `tr`, each once, in the order of the link; every one is a tier of its own.
    pub trackers: Vec<String>,
    /// `ws`: web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers given by address. Host names are left out.
    pub peers: Vec<SocketAddr>,
    /// `so`: the numbers of the files to download (BEP 53); empty for all.
    pub select_only: Vec<RangeInclusive<u32>>,
}

impl Magnet {
    /// Reads a link; parameters that are not known or malformed are skipped, bad info-hashes not.
    pub fn parse(link: &str) -> Result<Magnet, MagnetError> {
        if link.len() > MAGNET_BYTES {
            return Err(MagnetError::TooLong);
        }
        let scheme = link.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("magnet:?"));
        let query = &link[scheme.ok_or(MagnetError::NotMagnet)?.len()..];
        let mut magnet = Magnet::default();
        let (mut trackers, mut web_seeds) = (HashSet::new(), HashSet::new());
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = percent_decoded(value);
            // `tr.1=` and `tr=` are the same.
            let key = key.split_once('.').filter(|(_, n)| is_number(n)).map_or(key, |(key, _)| key);
            match key {
                "xt" => magnet.set_hash(&value)?,
                "dn" => magnet.name = Some(value),
                "tr" => push_new(&mut magnet.trackers, &mut trackers, value),
                "ws" => push_new(&mut magnet.web_seeds, &mut web_seeds, value),
                "x.pe" => magnet.peers.extend(value.parse::<SocketAddr>()),
                "so" => magnet.select_only.extend(value.split(',').filter_map(range)),
                _ => {}
            }
        }
        if magnet.info_hash_v1.is_none() && magnet.info_hash_v2.is_none() {
            return Err(MagnetError::NoHash);
        }
        Ok(magnet)
    }

    fn set_hash(&mut self, topic: &str) -> Result<(), MagnetError> {
        if let Some(hash) = topic.strip_prefix("urn:btih:") {
            let bytes = match hash.len() {
                32 => BASE32_NOPAD.decode(hash.to_ascii_uppercase().as_bytes()).ok(),
                _ => HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok(),
            };
            let hash = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(MagnetError::BadHash)?;
            self.info_hash_v1 = Some(InfoHash(hash));
        } else if let Some(hash) = topic.strip_prefix("urn:btmh:") {
            // The multihash prefix: SHA-256, 32 bytes.
            let hash = hash.strip_prefix("1220").ok_or(MagnetError::BadHash)?;
            self.info_hash_v2 = Some(hash.parse().map_err(|_| MagnetError::BadHash)?);
        }
        Ok(())
    }

    /// The name in handshakes and announces: of version 1 if known, else the shortened one of
    /// version 2.
    pub fn info_hash(&self) -> InfoHash {
        let v2 = self.info_hash_v2.map(|hash| hash.truncated());
        self.info_hash_v1.or(v2).unwrap_or(InfoHash([0; 20]))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A link may have ten thousand trackers: comparing each with all takes a tenth of a second.
fn push_new(list: &mut Vec<String>, seen: &mut HashSet<String>, value: String) {
    if !value.is_empty() && seen.insert(value.clone()) {
        list.push(value);
    }
}

/// `3` or `5-8`.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// With `%41` and `+` replaced; what is not UTF-8 then is replaced too.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        match escaped.and_then(|pair| HEXLOWER_PERMISSIVE.decode(pair).ok()) {
            Some(value) => {
                decoded.extend(value);
                at += 3;
            }
            None => {
                decoded.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V1: &str = "00112233445566778899aabbccddeeff00112233";

    #[test]
    fn everything_a_link_can_say_is_read() {
        let v2 = "ab".repeat(32);
        let link = format!(
            "magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{v2}&dn=a%20b+c&tr=http%3A%2F%2Ft%2Fa&tr.1=udp://u:1\
             &tr=udp://u:1&ws=http://w/&x.pe=127.0.0.1:6881&x.pe=[::1]:1&x.pe=host:1&so=0,2-4,x&foo=bar"
        );
        let magnet = Magnet::parse(&link).unwrap();
        assert_eq!(magnet.info_hash().to_string(), V1);
        assert_eq!(magnet.info_hash_v2.unwrap().to_string(), v2);
        assert_eq!(magnet.name.as_deref(), Some("a b c"));
        assert_eq!(magnet.trackers, ["http://t/a", "udp://u:1"]);
        assert_eq!(magnet.web_seeds, ["http://w/"]);
        assert_eq!(magnet.peers, ["127.0.0.1:6881".parse().unwrap(), "[::1]:1".parse().unwrap()]);
        assert_eq!(magnet.select_only, [0..=0, 2..=4]);
    }

    #[test]
    fn base_32_and_hexadecimal_name_the_same_torrent() {
        let base32 = BASE32_NOPAD.encode(&V1.parse::<InfoHash>().unwrap().0).to_lowercase();
        let magnet = Magnet::parse(&format!("MAGNET:?xt=urn:btih:{base32}")).unwrap();
        assert_eq!(magnet.info_hash().to_string(), V1);
    }

    #[test]
    fn links_to_no_torrent_are_refused() {
        assert_eq!(Magnet::parse("http://x"), Err(MagnetError::NotMagnet));
        assert_eq!(Magnet::parse("magnet:?dn=x"), Err(MagnetError::NoHash));
        assert_eq!(Magnet::parse("magnet:?xt=urn:btih:xyz"), Err(MagnetError::BadHash));
        assert_eq!(Magnet::parse("magnet:?xt=urn:btmh:1220ab"), Err(MagnetError::BadHash));
        assert_eq!(Magnet::parse(&"x".repeat(1 << 20)), Err(MagnetError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(magnet:\\?)?.{0,80}") {
            let _ = Magnet::parse(&text);
        }
    }
}
