//! Who a peer says it is (BEP 20).

use std::fmt;

/// A peer's name for itself: 20 bytes, by convention a client, a version and chance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// What our own ids start with.
    pub const PREFIX: &[u8; 8] = b"-RS0100-";

    /// An id of ours; `random` must be unpredictable and differ from session to session.
    pub fn generate(random: [u8; 12]) -> PeerId {
        let mut id = [0; 20];
        id[..8].copy_from_slice(PeerId::PREFIX);
        id[8..].copy_from_slice(&random);
        PeerId(id)
    }

    /// Client and version for people to read, such as `Transmission 4.1.0`. Printable ASCII
    /// whatever the id holds. It is what the peer claims and proves nothing.
    pub fn client_name(&self) -> String {
        self.azureus().or_else(|| self.mainline()).or_else(|| self.shadow()).unwrap_or_else(|| {
            let prefix = self.0[..8].escape_ascii();
            format!("unknown ({prefix})")
        })
    }

    /// `-XXVVVV-`: two characters of name, four of version.
    fn azureus(&self) -> Option<String> {
        let [b'-', a, b, version @ .., b'-'] = &self.0[..8] else { return None };
        if !a.is_ascii_alphanumeric() && *a != b'~' || !b.is_ascii_alphanumeric() && *b != b'~' {
            return None;
        }
        let code = [*a, *b];
        let version = azureus_version(&code, version)?;
        let known = AZUREUS.iter().find(|(known, _)| **known == code);
        Some(match known {
            Some((_, name)) => format!("{name} {version}"),
            None => format!("{}{} {version}", char::from(*a), char::from(*b)),
        })
    }

    /// `M7-10-3-`: the first client's own, numbers between dashes.
    fn mainline(&self) -> Option<String> {
        let name = match self.0[0] {
            b'M' => "BitTorrent",
            b'Q' => "Queen Bee",
            _ => return None,
        };
        let mut numbers = self.0[1..8].split(|&byte| byte == b'-');
        let mut number = || {
            let digits = std::str::from_utf8(numbers.next()?).ok()?;
            digits.parse::<u8>().ok()
        };
        Some(format!("{name} {}.{}.{}", number()?, number()?, number()?))
    }

    /// `S58B-----`: a letter of name, up to five characters of version, dashes.
    fn shadow(&self) -> Option<String> {
        let (_, name) = SHADOW.iter().find(|(letter, _)| *letter == self.0[0])?;
        if self.0[6..9] != *b"---" && self.0[4..8] != *b"----" {
            return None;
        }
        let digits = self.0[1..6].iter().take_while(|&&byte| byte != b'-');
        let numbers: Option<Vec<u8>> = digits.map(|&byte| shadow_digit(byte)).collect();
        let numbers = numbers.filter(|numbers| !numbers.is_empty())?;
        Some(format!("{name} {}", dotted(&numbers)))
    }
}

impl fmt::Display for PeerId {
    /// Printable ASCII; what is not is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// A fourth number of zero says nothing, and in Transmission's ids the fourth character is not a
/// number but tells releases from betas.
fn azureus_version(code: &[u8; 2], version: &[u8]) -> Option<String> {
    let &[major, minor, patch, last] = version else { return None };
    let numbers = [base36(major)?, base36(minor)?, base36(patch)?];
    let version = dotted(&numbers);
    Some(match (code, last) {
        (_, b'0') => version,
        (b"TR", b'X' | b'Z') | (b"UT" | b"UM" | b"UW" | b"BT", b'B' | b'b') => {
            format!("{version} beta")
        }
        (_, last) if last.is_ascii_digit() => format!("{version}.{}", char::from(last)),
        (_, last) if last.is_ascii_alphabetic() => format!("{version}{}", char::from(last)),
        _ => return None,
    })
}

fn dotted(numbers: &[u8]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u8::to_string).collect();
    numbers.join(".")
}

fn base36(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(36).map(|digit| digit as u8)
}

fn shadow_digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        b'a'..=b'z' => byte - b'a' + 36,
        b'.' => 62,
        _ => return None,
    })
}

/// The clients that are about, and some that were; others show with their two letters.
const AZUREUS: &[(&[u8; 2], &str)] = &[
    (b"AG", "Ares"),
    (b"AZ", "Vuze"),
    (b"BC", "BitComet"),
    (b"BI", "BiglyBT"),
    (b"BT", "BitTorrent"),
    (b"DE", "Deluge"),
    (b"FD", "Free Download Manager"),
    (b"FL", "Flud"),
    (b"FW", "FrostWire"),
    (b"KT", "KTorrent"),
    (b"LR", "LibreTorrent"),
    (b"LT", "libtorrent"),
    (b"LW", "LimeWire"),
    (b"PI", "PicoTorrent"),
    (b"RS", "Ringseed"),
    (b"SD", "Thunder"),
    (b"TL", "Tribler"),
    (b"TR", "Transmission"),
    (b"TX", "Tixati"),
    (b"UM", "uTorrent Mac"),
    (b"UT", "uTorrent"),
    (b"UW", "uTorrent Web"),
    (b"WD", "WebTorrent Desktop"),
    (b"WW", "WebTorrent"),
    (b"XL", "Xunlei"),
    (b"aT", "aTorrent"),
    (b"lt", "rTorrent"),
    (b"qB", "qBittorrent"),
    (b"rQ", "rqbit"),
];

const SHADOW: &[(u8, &str)] = &[
    (b'A', "ABC"),
    (b'O', "Osprey Permaseed"),
    (b'Q', "BTQueue"),
    (b'R', "Tribler"),
    (b'S', "Shadow"),
    (b'T', "BitTornado"),
    (b'U', "UPnP NAT Bit Torrent"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clients_are_named_with_their_versions() {
        for (id, name) in [
            ("-TR4100-aaaaaaaaaaaa", "Transmission 4.1.0"),
            ("-TR410Z-aaaaaaaaaaaa", "Transmission 4.1.0 beta"),
            ("-LT2110-aaaaaaaaaaaa", "libtorrent 2.1.1"),
            ("-LT20B0-aaaaaaaaaaaa", "libtorrent 2.0.11"),
            ("-qB5021-aaaaaaaaaaaa", "qBittorrent 5.0.2.1"),
            ("-DE211s-aaaaaaaaaaaa", "Deluge 2.1.1s"),
            ("-XX1234-aaaaaaaaaaaa", "XX 1.2.3.4"),
            ("M7-10-3-aaaaaaaaaaaa", "BitTorrent 7.10.3"),
            ("S58B-----aaaaaaaaaaa", "Shadow 5.8.11"),
            ("T03I-----aaaaaaaaaaa", "BitTornado 0.3.18"),
            ("hello, you there----", "unknown (hello, y)"),
        ] {
            let id = PeerId(id.as_bytes().try_into().unwrap());
            assert_eq!(id.client_name(), name);
        }
    }

    #[test]
    fn ours_is_named_too() {
        assert_eq!(PeerId::generate([0xff; 12]).client_name(), "Ringseed 0.1.0");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_gets_through(id: [u8; 20]) {
            let id = PeerId(id);
            let shown = format!("{id}{id:?}{}", id.client_name());
            prop_assert!(shown.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        }
    }
}
