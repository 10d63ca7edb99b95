//! Who gets how much of shared budgets: by weight, and what one cannot use goes to the others.

/// Times that what is left over is offered again. Each round satisfies somebody or uses up a budget;
/// what is left after a few is offered anew at the next grant.
const ROUNDS: usize = 4;

/// Less than a byte is nothing.
const NOTHING: f64 = 0.5;

/// What somebody asks of the budgets.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Its weight among others, above 0.
    pub(crate) weight: f64,
    /// Bytes that it can use, 0 or more.
    pub(crate) want: f64,
    /// The budgets that what it gets is taken from, each of them, by their numbers.
    pub(crate) budgets: [Option<usize>; 2],
    /// Bytes that it gets.
    pub(crate) granted: f64,
}

impl Claim {
    fn missing(&self) -> f64 {
        self.want - self.granted
    }

    /// Whether it can use more and there is more.
    fn is_open(&self, budgets: &[f64]) -> bool {
        let is_left = |&budget: &usize| budgets[budget] > NOTHING;
        self.missing() > NOTHING && self.budgets.iter().flatten().all(is_left)
    }
}

/// Grants bytes to claims, out of `budgets`, of which the rest is left.
pub(crate) fn share_out(budgets: &mut [f64], claims: &mut [Claim]) {
    let mut offers = vec![0.0; budgets.len()];
    for _ in 0..ROUNDS {
        offers.fill(0.0);
        let before = budgets.to_vec();
        for claim in claims.iter().filter(|claim| claim.is_open(&before)) {
            claim.budgets.iter().flatten().for_each(|&budget| offers[budget] += claim.weight);
        }
        // What one unit of weight is offered.
        for (offer, budget) in offers.iter_mut().zip(budgets.iter()) {
            *offer = if *offer > 0.0 { budget.max(0.0) / *offer } else { 0.0 };
        }
        let mut any = false;
        for claim in claims.iter_mut().filter(|claim| claim.is_open(&before)) {
            let offered = claim.budgets.iter().flatten().map(|&budget| offers[budget]);
            let offered = offered.fold(f64::INFINITY, f64::min) * claim.weight;
            let grant = claim.missing().min(offered);
            // A sum of parts may come out a hair above the whole.
            claim.granted = (claim.granted + grant).min(claim.want);
            claim.budgets.iter().flatten().for_each(|&budget| budgets[budget] -= grant);
            any |= grant > NOTHING;
        }
        if !any {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(weight: f64, want: f64, budgets: [Option<usize>; 2]) -> Claim {
        Claim { weight, want, budgets, granted: 0.0 }
    }

    fn granted(claims: &[Claim]) -> Vec<f64> {
        claims.iter().map(|claim| claim.granted.round()).collect()
    }

    #[test]
    fn the_hungry_share_by_weight_what_the_modest_leave() {
        let one = [Some(0), None];
        let mut claims = [claim(1.0, 1e9, one), claim(3.0, 1e9, one), claim(4.0, 10.0, one)];
        let mut budgets = [410.0];
        share_out(&mut budgets, &mut claims);
        assert_eq!(granted(&claims), [100.0, 300.0, 10.0]);
        assert!(budgets[0].abs() < 1e-6);
    }

    #[test]
    fn who_shares_two_budgets_gets_no_more_than_either_and_others_the_rest() {
        let mut claims = [claim(1.0, 1e9, [Some(0), Some(1)]), claim(1.0, 1e9, [Some(0), None])];
        let mut budgets = [100.0, 20.0];
        share_out(&mut budgets, &mut claims);
        assert_eq!(granted(&claims), [20.0, 80.0]);
        let mut free = [claim(1.0, 55.0, [None, None])];
        share_out(&mut [], &mut free);
        assert_eq!(granted(&free), [55.0], "nothing but its own want holds it back");
    }

    proptest! {
        #[test]
        fn nothing_is_made_up_or_forced_on_anybody(
            budgets in prop::collection::vec(0.0f64..1e9, 3),
            claims in prop::collection::vec(
                (1u8..10, 0.0f64..1e9, prop::option::of(0usize..2), prop::bool::ANY), 0..30),
        ) {
            let mut claims: Vec<Claim> = claims
                .into_iter()
                .map(|(weight, want, group, session)| {
                    claim(f64::from(weight), want, [group, session.then_some(2)])
                })
                .collect();
            let mut rest = budgets.clone();
            share_out(&mut rest, &mut claims);
            for (number, (before, after)) in budgets.iter().zip(&rest).enumerate() {
                let of_it = claims.iter().filter(|claim| claim.budgets.contains(&Some(number)));
                let taken: f64 = of_it.map(|claim| claim.granted).sum();
                prop_assert!(*after >= -1e-3 && (before - after - taken).abs() < 1e-3);
            }
            prop_assert!(claims.iter().all(|claim| (0.0..=claim.want).contains(&claim.granted)));
        }

        #[test]
        fn a_budget_is_used_up_while_somebody_wants_it(
            budget in 0.0f64..1e9,
            wants in prop::collection::vec((1u8..10, 0.0f64..1e9), 1..4),
        ) {
            let mut claims: Vec<Claim> = wants
                .iter()
                .map(|&(weight, want)| claim(f64::from(weight), want, [Some(0), None]))
                .collect();
            let mut rest = [budget];
            share_out(&mut rest, &mut claims);
            let wanted: f64 = wants.iter().map(|(_, want)| want).sum();
            let used: f64 = claims.iter().map(|claim| claim.granted).sum();
            prop_assert!((used - budget.min(wanted)).abs() <= 3.0, "{used} of {budget}");
        }
    }
}
