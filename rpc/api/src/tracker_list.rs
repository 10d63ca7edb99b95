//! Lists of trackers as text: a URL a line, an empty line between tiers.

use crate::{Code, RpcError};

/// Reads a list. Blank lines may be several, line ends those of Windows. URLs that differ in their
/// scheme alone are ways to one tracker, and go into one tier. A URL that is malformed or repeated
/// spoils the whole list.
pub fn parse(text: &str) -> Result<Vec<Vec<String>>, RpcError> {
    let mut tiers: Vec<Vec<String>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    // Which tier each tracker is in, by its URL without the scheme.
    let mut tier_of = std::collections::HashMap::<&str, usize>::new();
    let mut new_tier = true;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            new_tier = true;
            continue;
        }
        check_url(line)?;
        if !seen.insert(line) {
            return Err(RpcError::new(
                Code::InvalidTrackerList,
                format!("invalid tracker list: {line} stands in it twice"),
            ));
        }
        let (_, tracker) = line.split_once("://").unwrap_or_default();
        if let Some(&tier) = tier_of.get(tracker) {
            tiers[tier].push(line.to_owned());
            continue;
        }
        if std::mem::take(&mut new_tier) {
            tiers.push(Vec::new());
        }
        let last = tiers.len() - 1;
        tiers[last].push(line.to_owned());
        tier_of.insert(tracker, last);
    }
    Ok(tiers)
}

/// Refuses what no tracker can be announced to by.
pub fn check_url(url: &str) -> Result<(), RpcError> {
    let rest = ["http://", "https://", "udp://"].iter().find_map(|scheme| {
        let (head, rest) = url.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        Some(host) if !host.is_empty() && !url.contains(char::is_whitespace) => Ok(()),
        _ => Err(RpcError::new(
            Code::InvalidTrackerList,
            format!("invalid tracker list: '{url}' is no http, https or udp URL"),
        )),
    }
}

/// Writes a list: each URL ends with a newline, an empty line stands between tiers.
pub fn write(tiers: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (at, tier) in tiers.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        for url in tier {
            text.push_str(url);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blank_lines_part_tiers_and_line_ends_do_not_matter() {
        let text = "\n http://a/announce \r\nudp://b:1\r\n\r\n\r\nHTTPS://c\n";
        let tiers = parse(text).unwrap();
        assert_eq!(tiers, [vec!["http://a/announce", "udp://b:1"], vec!["HTTPS://c"]]);
        assert_eq!(write(&tiers), "http://a/announce\nudp://b:1\n\nHTTPS://c\n");
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn ways_to_one_tracker_are_in_one_tier() {
        let tiers =
            parse("http://a/x\n\nudp://b/x\n\nudp://a/x\nhttps://a/x\nhttp://c/x\n").unwrap();
        let expected: [&[&str]; 3] =
            [&["http://a/x", "udp://a/x", "https://a/x"], &["udp://b/x"], &["http://c/x"]];
        assert_eq!(tiers, expected);
    }

    #[test]
    fn one_bad_or_repeated_url_spoils_the_list() {
        for text in ["http://a\nftp://b", "http://a\n\nhttp://a", "http://", "a", "http:// a", "é"]
        {
            assert_eq!(parse(text).unwrap_err().code, Code::InvalidTrackerList, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(
            urls in prop::collection::btree_set("http://[a-z]{1,8}(:[1-9])?/[a-z]{0,3}", 1..12),
            size in 1usize..4,
        ) {
            let urls: Vec<String> = urls.into_iter().collect();
            let tiers: Vec<Vec<String>> = urls.chunks(size).map(<[String]>::to_vec).collect();
            prop_assert_eq!(parse(&write(&tiers)).unwrap(), tiers);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
