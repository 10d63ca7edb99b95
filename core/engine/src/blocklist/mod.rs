//! Addresses that are neither connected to nor let in.
//!
//! A list is read once into sorted ranges that do not touch, which every shard shares; asking costs a
//! binary search.

mod parse;
mod stored;

pub use parse::parse;
pub(crate) use stored::{load, save};

use std::net::IpAddr;

/// A compiled list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    rules: u32,
}

impl Blocklist {
    pub(crate) fn new(v4: Vec<(u32, u32)>, v6: Vec<(u128, u128)>, rules: u32) -> Blocklist {
        Blocklist { v4: Ranges::new(v4), v6: Ranges::new(v6), rules }
    }

    /// Rules that the list had when it was read.
    pub fn rules(&self) -> u32 {
        self.rules
    }

    /// Whether no address is in it.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }

    /// Whether the address is in the list. An IPv4 address mapped into IPv6 counts as itself.
    pub fn blocks(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }
}

/// Ranges with both ends included, ascending, none of which overlaps or touches the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges<N>(Box<[(N, N)]>);

/// What addresses are as numbers.
trait Number: Copy + Ord {
    /// Whether `next` comes right after it, or is not behind it.
    fn reaches(self, next: Self) -> bool;
}

impl Number for u32 {
    fn reaches(self, next: u32) -> bool {
        self.checked_add(1).is_none_or(|after| next <= after)
    }
}

impl Number for u128 {
    fn reaches(self, next: u128) -> bool {
        self.checked_add(1).is_none_or(|after| next <= after)
    }
}

impl<N: Number> Ranges<N> {
    fn new(mut given: Vec<(N, N)>) -> Ranges<N> {
        given.retain(|(first, last)| first <= last);
        given.sort_unstable();
        let mut merged: Vec<(N, N)> = Vec::new();
        for (first, last) in given {
            match merged.last_mut() {
                Some((_, end)) if end.reaches(first) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged.into())
    }

    fn contains(&self, number: N) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_look_through_all_of_them_finds(
            given in prop::collection::vec((0u32..300, 0u32..300), 0..30),
            high in prop::collection::vec((u32::MAX - 50.., u32::MAX - 50..), 0..3),
        ) {
            let all: Vec<(u32, u32)> = given.into_iter().chain(high).collect();
            let ranges = Ranges::new(all.clone());
            for number in (0..310).chain(u32::MAX - 60..=u32::MAX) {
                let plain = all.iter().any(|(first, last)| (*first..=*last).contains(&number));
                prop_assert_eq!(ranges.contains(number), plain, "{}", number);
            }
            for pair in ranges.0.windows(2) {
                prop_assert!(!pair[0].1.reaches(pair[1].0), "{:?}", pair);
            }
        }
    }

    #[test]
    fn mapped_addresses_count_as_themselves() {
        let list = Blocklist::new(vec![(0x0102_0300, 0x0102_03ff)], vec![(5, 9)], 2);
        let blocks = |text: &str| list.blocks(text.parse().unwrap());
        assert!(blocks("1.2.3.4") && blocks("::ffff:1.2.3.4") && blocks("::7"));
        assert!(!blocks("1.2.4.0") && !blocks("::a") && !blocks("::ffff:1.2.2.4"));
    }
}
