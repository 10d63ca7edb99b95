//! Reading lists: P2P text (`name:1.2.3.4-1.2.3.5`), eMule's DAT (`001.002.003.004 - 001.002.003.005
//! , 100 , name`) and addresses or networks (`1.2.3.0/24`), line by line and in any mixture, plain
//! or gzipped. What is no rule is passed over.

use super::Blocklist;
use crate::limits;
use flate2::read::MultiGzDecoder;
use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Longer lines are no rules: looking for one takes time that grows with the square of the length.
const LINE_BYTES: usize = 1024;

/// In DAT files, a level from here on means that the range is allowed.
const ALLOWED_LEVEL: u32 = 128;

/// Compiles a list of any of the formats. An error if it unpacks to more than 256 MiB, has more than
/// four million rules, or is damaged.
pub fn parse(bytes: &[u8]) -> io::Result<Blocklist> {
    let unpacked;
    let text = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    if text.len() > limits::BLOCKLIST_BYTES {
        return Err(too_large());
    }
    let (mut v4, mut v6, mut rules) = (Vec::new(), Vec::new(), 0);
    for line in text.split(|&byte| byte == b'\n').filter(|line| line.len() <= LINE_BYTES) {
        // Names may have any encoding; rules are ASCII.
        let line = String::from_utf8_lossy(line);
        match rule(line.trim()) {
            Some((IpAddr::V4(first), IpAddr::V4(last))) => {
                v4.push((first.to_bits(), last.to_bits()));
            }
            Some((IpAddr::V6(first), IpAddr::V6(last))) => {
                v6.push((first.to_bits(), last.to_bits()));
            }
            _ => continue,
        }
        rules += 1;
        if rules as usize > limits::BLOCKLIST_RULES {
            return Err(too_large());
        }
    }
    Ok(Blocklist::new(v4, v6, rules))
}

fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = limits::BLOCKLIST_BYTES as u64 + 1;
    MultiGzDecoder::new(bytes).take(most).read_to_end(&mut text)?;
    Ok(text)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the blocklist is too large")
}

/// The range of a line, both ends included.
fn rule(line: &str) -> Option<(IpAddr, IpAddr)> {
    if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
        return None;
    }
    if line.contains(',')
        && let Some(found) = dat(line)
    {
        return found;
    }
    let found = range(line).or_else(|| {
        // The name of a P2P rule may have colons and dashes itself, and so has an IPv6 address.
        let after = line.match_indices(':').map(|(at, _)| &line[at + 1..]);
        after.filter(|rest| rest.contains(['-', '/'])).find_map(range)
    });
    found.filter(|(first, last)| first <= last)
}

/// `first - last , level , name`: the range if it is blocked. `None` if it is no such line.
fn dat(line: &str) -> Option<Option<(IpAddr, IpAddr)>> {
    let mut fields = line.splitn(3, ',');
    let found = range(fields.next()?)?;
    let level: u32 = fields.next()?.trim().parse().ok()?;
    Some((level < ALLOWED_LEVEL && found.0 <= found.1).then_some(found))
}

/// `first-last`, `network/length` or one address.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let text = text.trim();
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(first)?, address(last)?);
        return (first.is_ipv4() == last.is_ipv4()).then_some((first, last));
    }
    if let Some((network, length)) = text.split_once('/') {
        return network_range(address(network)?, length.trim().parse().ok()?);
    }
    address(text).map(|address| (address, address))
}

fn network_range(network: IpAddr, length: u32) -> Option<(IpAddr, IpAddr)> {
    match network {
        IpAddr::V4(network) => {
            let mask = u32::MAX.checked_shl(32u32.checked_sub(length)?).unwrap_or(0);
            let first = network.to_bits() & mask;
            Some((Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | !mask).into()))
        }
        IpAddr::V6(network) => {
            let mask = u128::MAX.checked_shl(128u32.checked_sub(length)?).unwrap_or(0);
            let first = network.to_bits() & mask;
            Some((Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | !mask).into()))
        }
    }
}

/// An address; in IPv4, numbers may have leading zeros, which mean nothing.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn found(line: &str) -> Option<String> {
        rule(line).map(|(first, last)| format!("{first} {last}"))
    }

    #[test]
    fn every_format_is_read() {
        for (line, range) in [
            ("Some: name - x:1.2.3.4-1.2.3.9", "1.2.3.4 1.2.3.9"),
            ("name:1.2.3.4 - 1.2.3.9", "1.2.3.4 1.2.3.9"),
            ("a, b:1.2.3.4-1.2.3.9", "1.2.3.4 1.2.3.9"),
            ("v6:2001:db8::1-2001:db8::ff", "2001:db8::1 2001:db8::ff"),
            ("001.002.003.010 - 001.002.003.255 , 100 , a, name", "1.2.3.10 1.2.3.255"),
            ("1.2.3.4-1.2.3.9,127,x", "1.2.3.4 1.2.3.9"),
            ("10.1.2.3/8", "10.0.0.0 10.255.255.255"),
            ("0.0.0.0/0", "0.0.0.0 255.255.255.255"),
            ("1.2.3.4/32", "1.2.3.4 1.2.3.4"),
            ("2001:db8::/32", "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("1.2.3.4", "1.2.3.4 1.2.3.4"),
            ("::1", "::1 ::1"),
            ("net:10.0.0.0/30", "10.0.0.0 10.0.0.3"),
        ] {
            assert_eq!(found(line).as_deref(), Some(range), "{line}");
        }
        for line in [
            "",
            "# 1.2.3.4",
            "// 1.2.3.4",
            "; 1.2.3.4",
            "name",
            "name:1.2.3-1.2.3.4",
            "1.2.3.4-1.2.3.3",
            "1.2.3.4-2001:db8::",
            "1.2.3.4/33",
            "::/129",
            "256.1.1.1",
            "1.2.3.4.5",
            "001.002.003.010 - 001.002.003.255 , 200 , allowed",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn lists_are_counted_and_may_be_gzipped() {
        let text = b"# head\r\nA:1.2.3.4-1.2.3.5\r\nB:1.2.3.5-1.2.3.9\r\nbad\r\n2001:db8::/32\n\xff:5.5.5.5-5.5.5.5";
        let plain = parse(text).unwrap();
        assert_eq!((plain.rules(), plain.is_empty()), (4, false));
        assert!(plain.blocks("1.2.3.7".parse().unwrap()));
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(parse(&packed).unwrap(), plain);
        assert!(parse(&packed[..packed.len() - 9]).is_err());
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_small_file_cannot_unpack_to_a_huge_one() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![b'\n'; 1 << 20];
        for _ in 0..=limits::BLOCKLIST_BYTES >> 20 {
            packed.write_all(&zeros).unwrap();
        }
        let error = parse(&packed.finish().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_written_in_each_format_is_blocked_as_a_naive_model_says(
            rules in prop::collection::vec((0u8..4, any::<u32>(), 0u32..5000, 20u32..=32), 1..20),
            asked in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut text = String::new();
            let mut model = Vec::new();
            for (format, first, length, bits) in rules {
                let last = first.saturating_add(length);
                let (a, b) = (Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last));
                match format {
                    0 => text += &format!("some: name:{a}-{b}\n"),
                    1 => {
                        let long = |ip: Ipv4Addr| {
                            ip.octets().map(|octet| format!("{octet:03}")).join(".")
                        };
                        text += &format!("{} - {} , 000 , name\n", long(a), long(b));
                    }
                    2 => text += &format!("{a}\n"),
                    _ => text += &format!("{a}/{bits}\n"),
                }
                let size = 1u64 << (32 - bits);
                model.push(match format {
                    2 => (u64::from(first), u64::from(first)),
                    3 => {
                        let start = u64::from(first) / size * size;
                        (start, start + size - 1)
                    }
                    _ => (u64::from(first), u64::from(last)),
                });
            }
            let list = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(list.rules() as usize, model.len());
            let edges = model.iter().flat_map(|&(first, last)| [
                first.saturating_sub(1), first, last, (last + 1).min(u64::from(u32::MAX)),
            ]);
            for number in edges.chain(asked.into_iter().map(u64::from)) {
                let plain = model.iter().any(|(first, last)| (*first..=*last).contains(&number));
                let address = Ipv4Addr::from_bits(number as u32).into();
                prop_assert_eq!(list.blocks(address), plain, "{}", address);
            }
        }
    }
}
