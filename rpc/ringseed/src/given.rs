//! What people write on the command line: rates, goals of seeding, hours and days.

use api::native::{GoalOf, IdleGoal, RatioGoal};

/// A speed limit: bytes per second, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(pub Option<u64>);

/// A number of things, or any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count(pub Option<u32>);

/// A span of the day, in minutes after midnight; its end may be on the next day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// Its beginning.
    pub begin: u32,
    /// Its end.
    pub end: u32,
}

/// Hours, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule(pub Option<Hours>);

/// Days of the week as a sum: Sunday 1, Monday 2, and so on to Saturday 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Days(pub u32);

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn is_none(text: &str) -> bool {
    text.eq_ignore_ascii_case("none")
}

/// Reads `500k`, `1.5M`, `2GB/s` or `none`: powers of 1000, with a unit.
pub fn rate(text: &str) -> Result<Rate, String> {
    if is_none(text) {
        return Ok(Rate(None));
    }
    let wrong = || format!("'{text}' is no rate: write 500k, 1.5M or none");
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_end_matches("/s").trim_end_matches('b');
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        // A bare number would be bytes to some and kilobytes to others.
        "" if digits == "0" => 1.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = (number * unit).round();
    if !(0.0..=1e15).contains(&bytes) {
        return Err(wrong());
    }
    Ok(Rate(Some(bytes as u64)))
}

/// Reads a ratio such as `1.5`, `settings` or `none`.
pub fn ratio_goal(text: &str) -> Result<RatioGoal, String> {
    if let Some(of) = goal_of(text) {
        return Ok(RatioGoal::Of(of));
    }
    let number = text.parse().ok().filter(|ratio: &f64| *ratio >= 0.0 && ratio.is_finite());
    number
        .map(RatioGoal::Ratio)
        .ok_or_else(|| format!("'{text}' is no ratio: write 1.5, settings or none"))
}

/// Reads a time such as `30m`, `2h`, `settings` or `none`.
pub fn idle_goal(text: &str) -> Result<IdleGoal, String> {
    if let Some(of) = goal_of(text) {
        return Ok(IdleGoal::Of(of));
    }
    let wrong = || format!("'{text}' is no time: write 30m, 2h, 3d, settings or none");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|&time| time > 0).map(IdleGoal::Seconds).ok_or_else(wrong)
}

fn goal_of(text: &str) -> Option<GoalOf> {
    match text.to_ascii_lowercase().as_str() {
        "settings" => Some(GoalOf::Settings),
        "none" => Some(GoalOf::None),
        _ => None,
    }
}

/// Reads a number or `none`.
pub fn count(text: &str) -> Result<Count, String> {
    match is_none(text) {
        true => Ok(Count(None)),
        false => text
            .parse()
            .map(|count| Count(Some(count)))
            .map_err(|_| format!("'{text}' is no number, and not none")),
    }
}

/// Reads `on` or `off`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(format!("'{text}' is neither on nor off")),
    }
}

/// Reads `22:00-06:30` or `none`.
pub fn schedule(text: &str) -> Result<Schedule, String> {
    if is_none(text) {
        return Ok(Schedule(None));
    }
    let wrong = || format!("'{text}' are no hours: write 22:00-06:30 or none");
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    let (begin, end) = text.split_once('-').ok_or_else(wrong)?;
    match (minute(begin), minute(end)) {
        (Some(begin), Some(end)) => Ok(Schedule(Some(Hours { begin, end }))),
        _ => Err(wrong()),
    }
}

/// Reads `mon-fri,sun` or `all`.
pub fn days(text: &str) -> Result<Days, String> {
    let wrong = || format!("'{text}' are no days: write mon-fri,sun or all");
    let day = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        DAYS.iter().position(|day| text.starts_with(day)).ok_or_else(wrong)
    };
    if text.eq_ignore_ascii_case("all") {
        return Ok(Days(127));
    }
    let mut sum = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        sum |= 1 << at;
        while at != last {
            at = (at + 1) % DAYS.len();
            sum |= 1 << at;
        }
    }
    Ok(Days(sum))
}

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // People's week begins on Monday.
        let names = (1..=7).map(|at| at % 7).filter(|at| self.0 & 1 << at != 0).map(|at| DAYS[at]);
        match self.0 {
            127 => f.write_str("every day"),
            0 => f.write_str("no day"),
            _ => f.write_str(&names.collect::<Vec<_>>().join(",")),
        }
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Hours { begin, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", begin / 60, begin % 60, end / 60, end % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        for (text, bytes) in [
            ("500k", Some(500_000)),
            ("1.5M", Some(1_500_000)),
            ("2GB/s", Some(2_000_000_000)),
            ("10 kB", Some(10_000)),
            ("0", Some(0)),
            ("None", None),
        ] {
            assert_eq!(rate(text), Ok(Rate(bytes)), "{text}");
        }
        for bad in ["500", "", "k", "-1k", "1e400M", "5 apples", "infk"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn goals_are_numbers_or_words() {
        assert_eq!(ratio_goal("1.5"), Ok(RatioGoal::Ratio(1.5)));
        assert_eq!(ratio_goal("settings"), Ok(RatioGoal::Of(GoalOf::Settings)));
        assert_eq!(idle_goal("2h"), Ok(IdleGoal::Seconds(7200)));
        assert_eq!(idle_goal("none"), Ok(IdleGoal::Of(GoalOf::None)));
        assert!(["-1", "inf", "x", ""].into_iter().all(|bad| ratio_goal(bad).is_err()));
        assert!(["30", "0m", "x", "99999999d", ""].into_iter().all(|bad| idle_goal(bad).is_err()));
        assert_eq!((count("5"), count("none")), (Ok(Count(Some(5))), Ok(Count(None))));
        assert!(count("-1").is_err() && switch("maybe").is_err());
    }

    #[test]
    fn hours_and_days_are_read_as_they_are_written() {
        let hours = Hours { begin: 22 * 60, end: 390 };
        assert_eq!(schedule("22:00-6:30"), Ok(Schedule(Some(hours))));
        assert_eq!(hours.to_string(), "22:00-06:30");
        assert_eq!(schedule("none"), Ok(Schedule(None)));
        assert!(["24:00-1:00", "1-2", "9:00", ""].into_iter().all(|bad| schedule(bad).is_err()));
        assert_eq!(days("mon-fri"), Ok(Days(62)));
        assert_eq!(days("Saturday,sun"), Ok(Days(65)));
        assert_eq!(days("fri-mon"), Ok(Days(32 + 64 + 1 + 2)));
        assert_eq!(days("all"), Ok(Days(127)));
        assert!(["", "x", "mon-x"].into_iter().all(|bad| days(bad).is_err()));
        assert_eq!(Days(65).to_string(), "sat,sun");
    }
}
