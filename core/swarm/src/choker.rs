//! Who may download from us.
//!
//! While downloading, slots go to those who send us most (tit for tat, BEP 3), and one slot in five,
//! at least one, is optimistic: it goes round those who wait, so that newcomers can prove themselves.
//! While seeding, slots go round: whoever has had its turn makes room for those who wait, and among
//! the others those that take data fastest keep their slot.

use crate::{
    PeerKey,
    limits::{OPTIMISTIC_ROUNDS, OPTIMISTIC_SHARE, SEED_TURN},
};
use std::{cmp::Reverse, time::Duration};

/// What the choker sees of a peer. Only interested peers are shown to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) key: PeerKey,
    /// Whether it is unchoked now.
    pub(crate) unchoked: bool,
    pub(crate) optimistic: bool,
    /// Whether it has stalled on our requests.
    pub(crate) snubbed: bool,
    /// Whether it has taken nothing of what we send for a whole round.
    pub(crate) stuck: bool,
    /// Bytes per second from it and to it.
    pub(crate) down: f32,
    pub(crate) up: f32,
    /// When it was last choked or unchoked; when it connected, before that.
    pub(crate) since: Duration,
    /// Bytes sent to it since it was unchoked.
    pub(crate) served: u64,
}

/// Decides in rounds of ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Choker {
    round: u32,
}

/// The outcome for one peer that shall be unchoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) key: PeerKey,
    pub(crate) optimistic: bool,
}

impl Choker {
    /// One round: fills `chosen` with those who hold a slot from now on; everybody else is choked.
    pub(crate) fn round(
        &mut self,
        now: Duration,
        seeding: bool,
        slots: usize,
        turn_bytes: u64,
        contenders: &mut [Contender],
        chosen: &mut Vec<Chosen>,
    ) {
        chosen.clear();
        let rotate = self.round.is_multiple_of(OPTIMISTIC_ROUNDS);
        self.round = self.round.wrapping_add(1);
        if contenders.len() <= slots {
            chosen.extend(contenders.iter().map(|c| Chosen { key: c.key, optimistic: false }));
        } else if seeding {
            take_turns(now, slots, turn_bytes, contenders, chosen);
        } else {
            tit_for_tat(slots, rotate, contenders, chosen);
        }
    }
}

fn take_turns(
    now: Duration,
    slots: usize,
    turn_bytes: u64,
    contenders: &mut [Contender],
    chosen: &mut Vec<Chosen>,
) {
    contenders.sort_by(|a, b| {
        let had_its_turn = |c: &Contender| {
            c.unchoked && c.served >= turn_bytes && now.saturating_sub(c.since) >= SEED_TURN
        };
        let rank = |c: &Contender| (c.stuck, had_its_turn(c), !c.unchoked);
        rank(a)
            .cmp(&rank(b))
            .then_with(|| if a.unchoked { b.up.total_cmp(&a.up) } else { a.since.cmp(&b.since) })
            .then(a.key.cmp(&b.key))
    });
    // A peer in mid-turn that takes nothing would hold its slot for ever: the slowest gives it up to
    // the one that waits longest, once it has had its minute.
    let waiting = contenders.iter().position(|c| !c.unchoked && !c.stuck);
    if let Some(waiting) = waiting.filter(|&waiting| waiting >= slots)
        && now.saturating_sub(contenders[slots - 1].since) >= SEED_TURN
    {
        contenders.swap(slots - 1, waiting);
    }
    chosen.extend(contenders[..slots].iter().map(|c| Chosen { key: c.key, optimistic: false }));
}

fn tit_for_tat(slots: usize, rotate: bool, contenders: &mut [Contender], chosen: &mut Vec<Chosen>) {
    let optimistic = (slots / OPTIMISTIC_SHARE).max(1);
    contenders.sort_by(|a, b| {
        let rate = |c: &Contender| if c.snubbed { 0.0 } else { c.down };
        a.stuck
            .cmp(&b.stuck)
            .then_with(|| rate(b).total_cmp(&rate(a)))
            .then_with(|| a.snubbed.cmp(&b.snubbed))
            .then_with(|| b.up.total_cmp(&a.up))
            .then_with(|| a.since.cmp(&b.since))
            .then(a.key.cmp(&b.key))
    });
    let (earned, others) = contenders.split_at_mut(slots - optimistic);
    chosen.extend(earned.iter().map(|c| Chosen { key: c.key, optimistic: false }));
    // Between rotations those who have the optimistic slots keep them; at one they go to those who
    // have waited longest.
    others.sort_by_key(|c| {
        let keeps = c.optimistic && !rotate;
        (c.stuck, Reverse(keeps), c.unchoked, c.since, c.key)
    });
    chosen.extend(others[..optimistic].iter().map(|c| Chosen { key: c.key, optimistic: true }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(key: usize) -> Contender {
        Contender {
            key: PeerKey(key as u32),
            unchoked: false,
            optimistic: false,
            snubbed: false,
            stuck: false,
            down: 0.0,
            up: 0.0,
            since: Duration::ZERO,
            served: 0,
        }
    }

    fn keys(chosen: &[Chosen]) -> Vec<u32> {
        chosen.iter().map(|chosen| chosen.key.0).collect()
    }

    #[test]
    fn with_enough_slots_everybody_is_served() {
        let mut chosen = Vec::new();
        let mut all: Vec<_> = (0..5).map(contender).collect();
        Choker::default().round(Duration::ZERO, false, 5, 0, &mut all, &mut chosen);
        assert_eq!(keys(&chosen), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn while_downloading_the_best_senders_are_served_and_one_newcomer() {
        let mut all: Vec<_> = (0..10).map(contender).collect();
        for (n, contender) in all.iter_mut().enumerate() {
            contender.down = n as f32;
        }
        all[9].snubbed = true;
        all[3].since = Duration::from_secs(1);
        all[0].since = Duration::from_secs(2);
        let mut chosen = Vec::new();
        Choker::default().round(Duration::from_secs(9), false, 4, 0, &mut all, &mut chosen);
        assert_eq!(keys(&chosen)[..3], [8, 7, 6]);
        assert!(chosen[3].optimistic);
    }

    #[test]
    fn the_optimistic_slot_goes_round_every_third_round() {
        let mut all: Vec<_> = (0..4).map(contender).collect();
        let mut choker = Choker::default();
        let mut seen = Vec::new();
        for round in 0..12 {
            let now = Duration::from_secs(10 * round);
            let mut chosen = Vec::new();
            choker.round(now, false, 1, 0, &mut all.clone(), &mut chosen);
            seen.push(chosen[0].key.0);
            for contender in &mut all {
                let is_chosen = chosen.iter().any(|chosen| chosen.key == contender.key);
                if is_chosen != contender.unchoked {
                    contender.since = now;
                }
                contender.unchoked = is_chosen;
                contender.optimistic = is_chosen;
            }
        }
        assert_eq!(seen, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn who_takes_nothing_makes_room_for_who_waits() {
        for seeding in [false, true] {
            let mut all: Vec<_> = (0..4).map(contender).collect();
            for taker in &mut all[..2] {
                (taker.unchoked, taker.stuck) = (true, true);
            }
            let mut chosen = Vec::new();
            Choker::default().round(
                Duration::from_secs(10),
                seeding,
                2,
                1_000_000,
                &mut all,
                &mut chosen,
            );
            assert_eq!(keys(&chosen), [2, 3], "seeding: {seeding}");
        }
    }

    #[test]
    fn while_seeding_the_fastest_in_mid_turn_keep_their_slots() {
        let mut all: Vec<_> = (0..4).map(contender).collect();
        for (n, taker) in all[..3].iter_mut().enumerate() {
            (taker.unchoked, taker.up) = (true, [2e5, 1e5, 3e5][n]);
        }
        // Their turns have just begun, so the fourth, which has waited long, takes no slot yet; but there
        // is one fewer than before.
        let now = SEED_TURN + Duration::from_secs(1);
        all[..3].iter_mut().for_each(|taker| taker.since = now);
        let mut chosen = Vec::new();
        Choker::default().round(now, true, 2, 1_000_000, &mut all, &mut chosen);
        assert_eq!(keys(&chosen), [2, 0]);
    }

    #[test]
    fn while_seeding_everybody_gets_a_turn() {
        let mut all: Vec<_> = (0..9).map(contender).collect();
        let mut choker = Choker::default();
        let mut served = std::collections::BTreeSet::new();
        for round in 0..60 {
            let now = Duration::from_secs(10 * round);
            let mut chosen = Vec::new();
            choker.round(now, true, 3, 1_000_000, &mut all.clone(), &mut chosen);
            assert_eq!(chosen.len(), 3);
            for contender in &mut all {
                let is_chosen = chosen.iter().any(|chosen| chosen.key == contender.key);
                if is_chosen != contender.unchoked {
                    (contender.since, contender.served) = (now, 0);
                }
                contender.unchoked = is_chosen;
                contender.up = if is_chosen { 1e5 * (1 + contender.key.0) as f32 } else { 0.0 };
                contender.served += (contender.up * 10.0) as u64;
            }
            served.extend(keys(&chosen));
        }
        assert_eq!(served.len(), 9);
    }
}
