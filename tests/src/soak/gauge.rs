//! What is measured of a daemon while it runs for long, and whether it grows.

use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// A process as /proc shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Bytes of memory of its own (`RssAnon`): what it has allocated. Pages of files that it maps,
    /// which the kernel takes back as it likes, are not in it.
    pub memory: u64,
    /// Bytes resident in all, mapped files included.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time since its start, in the system's ticks.
    pub ticks: u64,
}

impl Look {
    /// Looks at a process.
    pub fn at(process: u32) -> Result<Look> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.with_context(|| format!("no {name}"))?.parse().context("a number")
        };
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The second field is the name, which may hold anything; the rest follows its parenthesis.
        let (_, rest) = stat.rsplit_once(')').context("no stat")?;
        let rest: Vec<&str> = rest.split_whitespace().collect();
        let times = rest.get(11..13).context("no times in its stat")?;
        let times: Vec<u64> = times.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Look {
            memory: field("RssAnon")? * 1024,
            resident: field("VmRSS")? * 1024,
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64,
            threads: field("Threads")?,
            ticks: times.iter().sum(),
        })
    }

    /// Processor time since an earlier look.
    pub fn time_since(&self, earlier: &Look) -> Duration {
        // USER_HZ, which is 100 on every architecture that there is a program for.
        Duration::from_millis(self.ticks.saturating_sub(earlier.ticks) * 10)
    }
}

/// The middle one of some figures; 0 of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => (figures[even / 2 - 1] + figures[even / 2]) / 2.0,
    }
}

/// By which part of its level a series grows from its first to its last point, by Theil and Sen: the
/// median of the slopes between any two points, over the whole length, of which outliers change
/// nothing. Points are pairs of time and figure.
pub fn growth(points: &[(f64, f64)]) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
    let mut slopes = Vec::new();
    for (at, &(time, figure)) in points.iter().enumerate() {
        slopes.extend(
            points[at + 1..]
                .iter()
                .filter(|(later, _)| *later > time)
                .map(|(later, next)| (next - figure) / (later - time)),
        );
    }
    let level = median(points.iter().map(|(_, figure)| *figure).collect());
    if level == 0.0 { 0.0 } else { median(slopes) * (last.0 - first.0) / level }
}

/// Costs that two causes share: what each is of what its causes let expect, by least squares over all
/// of them; 1 is as usual. Each row is the cost and its two causes.
pub fn against_expected(rows: &[[f64; 3]]) -> Vec<f64> {
    let sum = |a: usize, b: usize| rows.iter().map(|row| row[a] * row[b]).sum::<f64>();
    let determinant = sum(1, 1) * sum(2, 2) - sum(1, 2) * sum(1, 2);
    let (first, second) = if determinant.abs() > 1e-9 * sum(1, 1) * sum(2, 2) {
        let first = (sum(0, 1) * sum(2, 2) - sum(0, 2) * sum(1, 2)) / determinant;
        let second = (sum(0, 2) * sum(1, 1) - sum(0, 1) * sum(1, 2)) / determinant;
        (first, second)
    } else {
        (sum(0, 1) / sum(1, 1), 0.0)
    };
    rows.iter().map(|row| row[0] / (first * row[1] + second * row[2])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_compared_with_what_its_causes_let_expect() {
        let causes = (0..12).map(|at| (f64::from(1 + at * 7 % 5), f64::from(1 + at * 3 % 4)));
        let mut rows: Vec<_> = causes.map(|(a, b)| [2.0 * a + 0.5 * b, a, b]).collect();
        assert!(against_expected(&rows).iter().all(|ratio| (ratio - 1.0).abs() < 1e-9));
        rows[7][0] *= 1.2;
        let ratios = against_expected(&rows);
        assert!(ratios[7] > 1.1, "{ratios:?}");
        assert!(ratios.iter().all(|ratio| *ratio <= ratios[7]), "{ratios:?}");
        // One cause, or two that go together.
        let alone = against_expected(&[[2.0, 1.0, 0.0], [6.0, 3.0, 0.0]]);
        assert!(alone.iter().all(|ratio| (ratio - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_steady_growth_is_found_whatever_the_outliers() {
        let mut points: Vec<(f64, f64)> =
            (0..21).map(|at| (f64::from(at), 1000.0 + f64::from(at))).collect();
        assert!((growth(&points) - 20.0 / 1010.0).abs() < 1e-9);
        points[5].1 = 5000.0;
        points[20].1 = 10.0;
        assert!((growth(&points) - 20.0 / 1010.0).abs() < 1e-3);
    }

    #[test]
    fn what_goes_up_and_down_does_not_grow() {
        let points: Vec<(f64, f64)> =
            (0..40).map(|at| (f64::from(at), f64::from(100 + (at * 7) % 5))).collect();
        assert!(growth(&points).abs() < 0.02, "{}", growth(&points));
        assert_eq!(growth(&[]), 0.0);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let look = Look::at(std::process::id()).unwrap();
        assert!(look.memory > 0 && look.resident >= look.memory);
        assert!(look.descriptors >= 3 && look.threads >= 1);
    }
}
