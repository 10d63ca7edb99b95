//! Which addresses may connect: single ones, networks, and Transmission's wildcards.

use super::wildcard;
use std::net::IpAddr;

/// A list of addresses; empty, it holds them all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AllowList(Vec<Entry>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    /// The addresses whose first bits are these.
    Network { address: IpAddr, bits: u32 },
    /// The addresses that are written so.
    Pattern(String),
}

impl AllowList {
    /// Reads `192.168.1.0/24, 10.0.*.*; ::1`; the error names the entry that is wrong.
    pub(crate) fn parse(list: &str) -> Result<AllowList, String> {
        wildcard::entries(list).map(entry).collect::<Result<_, _>>().map(AllowList)
    }

    /// Whether this address may connect.
    pub(crate) fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.is_empty() || self.0.iter().any(|entry| entry.holds(ip))
    }
}

fn entry(text: &str) -> Result<Entry, String> {
    let wrong =
        || format!("'{text}' is no address, network (192.168.1.0/24) or pattern (10.0.*.*)");
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|&bits| digits && bits <= width(address));
        return network(address, bits.ok_or_else(wrong)?).ok_or_else(wrong);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return network(address, width(address)).ok_or_else(wrong);
    }
    let is_pattern = text.contains(['*', '?']);
    let plausible = |byte: u8| byte.is_ascii_hexdigit() || b".:*?".contains(&byte);
    match is_pattern && text.bytes().all(plausible) {
        true => Ok(Entry::Pattern(text.to_ascii_lowercase())),
        false => Err(wrong()),
    }
}

/// A mapped IPv4 network is the IPv4 network itself, as connections from it are seen.
fn network(address: IpAddr, bits: u32) -> Option<Entry> {
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => {
            Some(Entry::Network { address: canonical, bits: bits.checked_sub(96)? })
        }
        (_, address) => Some(Entry::Network { address, bits }),
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address as a number whose first bit is the address's.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Entry {
    fn holds(&self, ip: IpAddr) -> bool {
        match self {
            Entry::Network { address, bits } => {
                let differ = number(*address) ^ number(ip);
                address.is_ipv4() == ip.is_ipv4() && differ.leading_zeros() >= *bits
            }
            Entry::Pattern(pattern) => wildcard::matches(pattern, &ip.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn allows(list: &str, ip: &str) -> bool {
        AllowList::parse(list).unwrap().allows(ip.parse().unwrap())
    }

    #[test]
    fn lists_are_read_as_transmissions_are_and_networks_besides() {
        assert!(allows("", "203.0.113.9"));
        let list = "127.0.0.1,::1; 192.168.*.*, 10.1.0.0/16, fe80::/10";
        for ip in ["127.0.0.1", "::1", "192.168.7.9", "10.1.255.0", "fe80::1", "::ffff:10.1.2.3"] {
            assert!(allows(list, ip), "{ip}");
        }
        for ip in ["127.0.0.2", "::2", "192.169.0.1", "10.2.0.0", "fec0::1", "a01::"] {
            assert!(!allows(list, ip), "{ip}");
        }
        assert!(allows("*.*.*.*", "8.8.8.8") && !allows("*.*.*.*", "::1"));
        assert!(allows("::ffff:10.0.0.0/104", "10.9.9.9"));
        assert!(allows("0.0.0.0/0", "8.8.8.8") && !allows("0.0.0.0/0", "::1"));
    }

    #[test]
    fn entries_that_mean_nothing_are_told() {
        for bad in [
            "x",
            "10.0.0.0/33",
            "::/129",
            "1.2.3",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "[::1]",
            "example.org",
            "::ffff:10.0.0.0/8",
            "10.0.0.0/8/8",
        ] {
            assert!(AllowList::parse(&format!("::1, {bad}")).unwrap_err().contains(bad), "{bad}");
        }
    }

    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()),
        ]
    }

    proptest! {
        #[test]
        fn a_network_holds_exactly_the_addresses_that_share_its_bits(
            ip in any_ip(), bits in 0u32..=128, flip in 0u32..128,
        ) {
            let width = width(ip);
            let (bits, flip) = (bits % (width + 1), flip % width);
            let list = AllowList::parse(&format!("{ip}/{bits}")).unwrap();
            prop_assert!(list.allows(ip));
            let other = match ip {
                IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() ^ (1 << (31 - flip)))),
                IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() ^ (1 << (127 - flip)))),
            };
            // A bit flipped in an IPv6 address can make it a mapped IPv4 one, which is another family.
            prop_assume!(other.to_canonical().is_ipv4() == ip.is_ipv4());
            prop_assert_eq!(list.allows(other), flip >= bits);
        }

        #[test]
        fn an_address_allows_itself_alone(one in any_ip(), other in any_ip()) {
            let list = AllowList::parse(&one.to_string()).unwrap();
            prop_assert!(list.allows(one));
            prop_assert_eq!(list.allows(other), one == other);
        }

        #[test]
        fn no_text_makes_the_reader_fail(list in ".{0,40}") {
            let _ = AllowList::parse(&list);
        }
    }
}
