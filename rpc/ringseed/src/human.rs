//! Numbers as people read and write them.

/// Bytes in powers of 1000, as remotes show them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Bytes per second; a dash for none.
pub fn rate(count: u64) -> String {
    if count == 0 { "-".to_owned() } else { format!("{}/s", bytes(count)) }
}

/// A speed limit in bytes per second.
pub fn limit(bytes_per_second: Option<u64>) -> String {
    bytes_per_second.map_or_else(|| "none".to_owned(), |limit| format!("{}/s", bytes(limit)))
}

/// A time span in its two largest units; a dash if it is negative (not known).
pub fn duration(seconds: i64) -> String {
    let Ok(seconds) = u64::try_from(seconds) else { return "-".to_owned() };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A share of 0 to 1, never shown as 100 % before it is.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", (share * 1000.0).floor() / 10.0)
}

/// Seconds since 1970 as a date and time of day in UTC; a dash for 0.
pub fn date(seconds: u64) -> String {
    if seconds == 0 {
        return "-".to_owned();
    }
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days to a civil date: years begin in March, so that the leap day is the last.
    let era_days = days + 719_468;
    let era = era_days.div_euclid(146_097);
    let day = era_days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// Reads `262144`, `256K`, `256KiB`, `4M`: powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        unit => return Err(format!("'{unit}' is no unit: use K or M")),
    };
    let number: u32 = digits.parse().map_err(|_| format!("'{text}' is no number of bytes"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large"))
}

/// Reads `0,3-5` as 0, 3, 4 and 5.
pub fn parse_numbers(text: &str) -> Result<crate::cli::Numbers, String> {
    let wrong = || format!("'{text}' is no list of numbers such as 0,3-5");
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        if last < first || last - first >= crate::limits::FILES_NAMED {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    Ok(crate::cli::Numbers(numbers))
}

/// Text from elsewhere, without what would move a terminal's cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (12_340, "12.3 kB"),
            (999_400, "999 kB"),
            (999_600, "1.00 MB"),
            (2_147_483_648, "2.15 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn spans_shares_and_dates_are_short() {
        assert_eq!([duration(-1), duration(59), duration(61)], ["-", "59s", "1m01s"]);
        assert_eq!([duration(3_661), duration(90_000)], ["1h01m", "1d01h"]);
        assert_eq!([percent(0.9999), percent(1.0)], ["99.9%", "100.0%"]);
        assert_eq!(date(0), "-");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59 UTC");
        assert_eq!(date(1_772_323_200), "2026-03-01 00:00 UTC");
    }

    #[test]
    fn numbers_are_read_with_ranges() {
        let of = |text: &str| parse_numbers(text).map(|numbers| numbers.0).ok();
        assert_eq!(of("0,3-5"), Some(vec![0, 3, 4, 5]));
        assert_eq!(of("7"), Some(vec![7]));
        for bad in ["", "a", "3-1", "1-", "0-4294967295", "-1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn piece_lengths_are_read_with_units() {
        assert_eq!(parse_bytes("262144"), Ok(262_144));
        assert_eq!(parse_bytes("256K"), Ok(262_144));
        assert_eq!(parse_bytes("4MiB"), Ok(4 << 20));
        for bad in ["", "K", "4G", "4096M", "-1", "1.5M"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
