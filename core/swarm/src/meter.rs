//! What a speed limit lets through.
//!
//! Without a limit a meter is one comparison. With one, somebody who knows the time and all who share
//! the limit grants bytes every so often ([`crate::Swarm::grant`]); a block passes while there is
//! credit, the last one whole, so that credit is below zero for a while. Peers that are turned away
//! wait in line, and are ready again as credit comes.

use crate::PeerKey;
use metainfo::BLOCK_LENGTH;
use std::collections::VecDeque;

/// A direction of payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To peers: blocks as they are handed out for sending.
    Up,
    /// From peers: blocks as they are asked for. A request that is given up is credited again.
    Down,
}

impl Way {
    /// Both.
    pub const BOTH: [Way; 2] = [Way::Up, Way::Down];
}

/// How a limited direction fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    /// Bytes that may pass; below zero after a block that was not covered whole.
    pub credit: i64,
    /// Bytes that have passed since the last grant.
    pub spent: u64,
    /// Whether peers wait for credit.
    pub hungry: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// `None` without a limit.
    credit: Option<i64>,
    /// What credit given back may add up to: not more than the grants did.
    ceiling: i64,
    spent: u64,
    /// Peers that were turned away, the longest waiting first, each once.
    pub(crate) held: VecDeque<PeerKey>,
}

impl Meter {
    pub(crate) fn is_limited(&self) -> bool {
        self.credit.is_some()
    }

    /// Begins or ends a limit; it begins without credit.
    pub(crate) fn limit(&mut self, limited: bool) {
        if limited != self.is_limited() {
            self.credit = limited.then_some(0);
            (self.ceiling, self.spent) = (0, 0);
        }
    }

    pub(crate) fn flow(&self) -> Option<Flow> {
        let credit = self.credit?;
        Some(Flow { credit, spent: self.spent, hungry: !self.held.is_empty() })
    }

    /// How many of these blocks, given by their lengths, pass now.
    pub(crate) fn admit(&mut self, blocks: impl ExactSizeIterator<Item = u32>) -> usize {
        let Some(credit) = &mut self.credit else { return blocks.len() };
        let mut count = 0;
        for length in blocks {
            if *credit <= 0 {
                break;
            }
            *credit -= i64::from(length);
            self.spent += u64::from(length);
            count += 1;
        }
        count
    }

    /// How many whole blocks could pass now.
    pub(crate) fn room(&self) -> usize {
        match self.credit {
            None => usize::MAX,
            Some(credit) => credit.max(0).unsigned_abs().div_ceil(u64::from(BLOCK_LENGTH)) as usize,
        }
    }

    /// Adds to the credit, or takes from it; `ceiling` as in [`crate::Swarm::grant`].
    pub(crate) fn grant(&mut self, bytes: i64, ceiling: i64) {
        if let Some(credit) = &mut self.credit {
            *credit = credit.saturating_add(bytes);
            self.ceiling = ceiling;
            self.spent = 0;
        }
    }

    /// Something that has passed has come to nothing.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        if let Some(credit) = &mut self.credit {
            let most = self.ceiling.max(*credit);
            *credit = credit.saturating_add_unsigned(bytes).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_everything_passes() {
        let mut meter = Meter::default();
        assert_eq!(meter.admit([BLOCK_LENGTH; 9].into_iter()), 9);
        assert_eq!((meter.room(), meter.flow()), (usize::MAX, None));
        meter.grant(5, 5);
        meter.give_back(5);
        assert_eq!(meter.flow(), None);
    }

    #[test]
    fn the_last_block_passes_whole_and_is_paid_later() {
        let mut meter = Meter::default();
        meter.limit(true);
        assert_eq!((meter.admit([BLOCK_LENGTH; 3].into_iter()), meter.room()), (0, 0));
        meter.grant(i64::from(BLOCK_LENGTH) + 1, 40_000);
        assert_eq!(meter.room(), 2);
        assert_eq!(meter.admit([BLOCK_LENGTH; 3].into_iter()), 2);
        let flow = meter.flow().unwrap();
        assert_eq!((flow.credit, flow.spent), (1 - i64::from(BLOCK_LENGTH), 32_768));
        meter.grant(100, 40_000);
        assert_eq!(meter.admit([1].into_iter()), 0, "still in debt");
    }

    #[test]
    fn what_comes_back_does_not_add_up_to_a_flood() {
        let mut meter = Meter::default();
        meter.limit(true);
        meter.grant(10_000, 20_000);
        meter.give_back(1 << 40);
        assert_eq!(meter.flow().unwrap().credit, 20_000);
        meter.grant(-20_000, 0);
        meter.give_back(7);
        assert_eq!(meter.flow().unwrap().credit, 0);
    }
}
