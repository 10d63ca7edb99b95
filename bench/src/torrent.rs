//! As much of a .torrent as the load needs: one file, its pieces, its info-hash (BEP 3).

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sha1::{Digest, Sha1};

/// Bytes that every request asks for, but the last of a piece that is no multiple of it.
pub const BLOCK: u32 = 16 * 1024;

/// A single-file torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torrent {
    pub info_hash: [u8; 20],
    pub name: String,
    pub length: u64,
    pub piece_length: u32,
}

impl Torrent {
    pub fn read(path: &Path) -> Result<Torrent> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Torrent::parse(&bytes).with_context(|| format!("{} is no .torrent", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Torrent> {
        let info = field(bytes, "info")?.context("no info")?;
        let number = |key| -> Result<u64> {
            let value = field(info, key)?.with_context(|| format!("no {key}"))?;
            let digits = value.strip_prefix(b"i").and_then(|v| v.strip_suffix(b"e"));
            Ok(std::str::from_utf8(digits.context("not a number")?)?.parse()?)
        };
        let name = field(info, "name")?.context("no name")?;
        let torrent = Torrent {
            info_hash: Sha1::digest(info).into(),
            name: String::from_utf8(string(name)?.0.to_vec())?,
            length: number("length").context("the load knows single-file torrents only")?,
            piece_length: u32::try_from(number("piece length")?)?,
        };
        ensure!(torrent.length > 0 && torrent.piece_length > 0, "it is empty");
        Ok(torrent)
    }

    pub fn piece_count(&self) -> u32 {
        self.length.div_ceil(u64::from(self.piece_length)) as u32
    }

    /// Bytes in the piece, which must exist.
    pub fn length_of(&self, piece: u32) -> u32 {
        let left = self.length - self.offset(piece, 0);
        left.min(u64::from(self.piece_length)) as u32
    }

    /// Where in the file a byte of a piece is.
    pub fn offset(&self, piece: u32, begin: u32) -> u64 {
        u64::from(piece) * u64::from(self.piece_length) + u64::from(begin)
    }

    /// Whether the block lies in the torrent.
    pub fn contains(&self, piece: u32, begin: u32, length: u32) -> bool {
        piece < self.piece_count()
            && length > 0
            && u64::from(begin) + u64::from(length) <= u64::from(self.length_of(piece))
    }
}

/// The .torrent of one file whose pieces hash to `pieces`.
pub fn encode(name: &str, length: u64, piece_length: u32, pieces: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "d4:infod6:lengthi{length}e4:name{}:{name}12:piece lengthi{piece_length}e6:pieces{}:",
        name.len(),
        pieces.len()
    )
    .into_bytes();
    out.extend_from_slice(pieces);
    out.extend_from_slice(b"ee");
    out
}

/// The raw bytes of a dictionary's value.
fn field<'a>(dictionary: &'a [u8], key: &str) -> Result<Option<&'a [u8]>> {
    let mut rest = dictionary.strip_prefix(b"d").context("not a dictionary")?;
    while rest.first() != Some(&b'e') {
        let (name, after) = string(rest)?;
        let end = after.len() - skip(after)?.len();
        if name == key.as_bytes() {
            return Ok(Some(&after[..end]));
        }
        rest = &after[end..];
    }
    Ok(None)
}

/// A byte string and what follows it.
fn string(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let colon = bytes.iter().position(|&b| b == b':').context("not a string")?;
    let length: usize = std::str::from_utf8(&bytes[..colon])?.parse()?;
    bytes[colon + 1..].split_at_checked(length).context("a string runs past the end")
}

/// What follows the first value.
fn skip(bytes: &[u8]) -> Result<&[u8]> {
    match bytes.first() {
        Some(b'i') => {
            let end = bytes.iter().position(|&b| b == b'e').context("a number does not end")?;
            Ok(&bytes[end + 1..])
        }
        Some(b'l' | b'd') => {
            let mut rest = &bytes[1..];
            while rest.first() != Some(&b'e') {
                rest = skip(rest)?;
            }
            Ok(&rest[1..])
        }
        Some(b'0'..=b'9') => Ok(string(bytes)?.1),
        _ => bail!("not bencode"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        let torrent = Torrent::parse(&encode("data", 40_000, 32_768, &[7; 40])).unwrap();
        assert_eq!((torrent.name.as_str(), torrent.piece_count()), ("data", 2));
        assert_eq!((torrent.length_of(0), torrent.length_of(1)), (32_768, 7_232));
        assert!(torrent.contains(1, 0, 7_232));
        assert!(!torrent.contains(1, 1, 7_232));
        assert!(!torrent.contains(2, 0, 1));
    }

    #[test]
    fn the_info_hash_covers_the_bytes_of_info_alone() {
        let plain = encode("data", 1, 16_384, &[0; 20]);
        let mut announced = b"d8:announce3:url".to_vec();
        announced.extend_from_slice(&plain[1..]);
        let hash = |bytes: &[u8]| Torrent::parse(bytes).unwrap().info_hash;
        assert_eq!(hash(&plain), hash(&announced));
    }

    #[test]
    fn broken_torrents_are_refused() {
        for bad in [&b""[..], b"de", b"d4:info", b"d4:infodee", b"d4:info99:xe"] {
            assert!(Torrent::parse(bad).is_err());
        }
    }
}
