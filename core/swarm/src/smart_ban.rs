//! Who sent the bad block of a piece that failed its hash.
//!
//! A piece with one contributor convicts it at once. Otherwise a digest of each block is kept with
//! its sender; when the piece passes later, a digest that differs from the good one convicts.

use crate::limits::MAX_SUSPECT_BLOCKS;
use metainfo::PieceIndex;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Blocks of failed pieces, until their pieces pass.
#[derive(Debug, Default)]
pub(crate) struct SmartBan {
    failed: BTreeMap<PieceIndex, Vec<Suspect>>,
    blocks: usize,
}

#[derive(Debug)]
struct Suspect {
    block: u32,
    digest: u64,
    from: IpAddr,
}

impl SmartBan {
    /// Whether the piece failed before, so that its digests can convict somebody now.
    pub(crate) fn remembers(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// The piece failed; `blocks` are the sender and the digest of each of its blocks. Gives the
    /// culprit if there is no doubt.
    pub(crate) fn failed(
        &mut self,
        piece: PieceIndex,
        blocks: impl Iterator<Item = (IpAddr, u64)> + Clone,
    ) -> Option<IpAddr> {
        let mut senders = blocks.clone().map(|(from, _)| from);
        let first = senders.next()?;
        if senders.all(|from| from == first) {
            return Some(first);
        }
        let known = self.failed.entry(piece).or_default();
        for (block, (from, digest)) in (0..).zip(blocks) {
            let is_known =
                known.iter().any(|s| (s.block, s.digest, s.from) == (block, digest, from));
            if !is_known && self.blocks < MAX_SUSPECT_BLOCKS {
                known.push(Suspect { block, digest, from });
                self.blocks += 1;
            }
        }
        None
    }

    /// The piece passed, with these digests. Gives everybody who sent another block before.
    pub(crate) fn passed(&mut self, piece: PieceIndex, digests: &[u64]) -> BTreeSet<IpAddr> {
        let suspects = self.failed.remove(&piece).unwrap_or_default();
        self.blocks -= suspects.len();
        let differs = |s: &&Suspect| digests.get(s.block as usize).is_some_and(|&d| d != s.digest);
        suspects.iter().filter(differs).map(|suspect| suspect.from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metainfo::Geometry;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn piece() -> PieceIndex {
        Geometry::new(1, 1).unwrap().piece(0).unwrap()
    }

    #[test]
    fn the_only_contributor_is_convicted_at_once() {
        let mut ban = SmartBan::default();
        assert_eq!(ban.failed(piece(), [(ip(1), 7), (ip(1), 8)].into_iter()), Some(ip(1)));
        assert!(!ban.remembers(piece()));
    }

    #[test]
    fn of_several_contributors_those_whose_blocks_change_are_convicted() {
        let mut ban = SmartBan::default();
        let blocks = [(ip(1), 7), (ip(2), 8), (ip(3), 9)];
        assert_eq!(ban.failed(piece(), blocks.into_iter()), None);
        assert!(ban.remembers(piece()));
        assert_eq!(ban.passed(piece(), &[7, 80, 9]), BTreeSet::from([ip(2)]));
        assert!(!ban.remembers(piece()));
        assert_eq!(ban.blocks, 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ban = SmartBan::default();
        for digest in 0..MAX_SUSPECT_BLOCKS as u64 {
            ban.failed(piece(), [(ip(1), digest), (ip(2), digest)].into_iter());
            if ban.blocks == MAX_SUSPECT_BLOCKS {
                return;
            }
            assert!(digest < 9_000);
        }
    }
}
