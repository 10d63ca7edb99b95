//! The names of torrents: info-hashes of version 1 (SHA-1) and version 2 (SHA-256).

use std::{fmt, str::FromStr};

/// The version-1 info-hash: the SHA-1 of the raw bytes of the `info` dictionary (BEP 3).
///
/// For a version-2-only torrent on the wire this is the first 20 bytes of the SHA-256 (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

/// The version-2 info-hash: the SHA-256 of the raw bytes of the `info` dictionary (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHashV2(pub [u8; 32]);

impl InfoHashV2 {
    /// The first 20 bytes, which stand in for an [`InfoHash`] in handshakes and announces (BEP 52).
    pub fn truncated(&self) -> InfoHash {
        let mut short = [0; 20];
        short.copy_from_slice(&self.0[..20]);
        InfoHash(short)
    }
}

/// The text was not the right number of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHex;

impl fmt::Display for NotHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an info-hash is 40 (version 1) or 64 (version 2) hexadecimal digits")
    }
}

impl std::error::Error for NotHex {}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(NotHex);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16).ok_or(NotHex)?;
        let low = (pair[1] as char).to_digit(16).ok_or(NotHex)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

macro_rules! hex_identity {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NotHex;

            /// Hexadecimal digits in either case.
            fn from_str(text: &str) -> Result<Self, NotHex> {
                parse_hex(text).map($name)
            }
        }
    };
}

hex_identity!(InfoHash);
hex_identity!(InfoHashV2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_written_in_lower_case() {
        let text = "00112233445566778899AABBCCDDEEFF00112233";
        let hash: InfoHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text.to_lowercase());
    }

    #[test]
    fn what_is_not_hex_is_refused() {
        for bad in ["", "00", &"g".repeat(40), &"é".repeat(20)] {
            assert_eq!(bad.parse::<InfoHash>(), Err(NotHex));
        }
    }
}
