//! Which torrents a call is about, and which of them a list shows.

use super::{Field, State, Torrent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A torrent by its number in the session, or by its info-hash.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TorrentRef {
    /// The session's number: from 1, of this run only.
    Id(u32),
    /// The version-1 info-hash in 40 hexadecimal digits (or 32 of base 32).
    Hash(String),
}

impl std::fmt::Display for TorrentRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TorrentRef::Id(id) => id.fmt(f),
            TorrentRef::Hash(hash) => hash.fmt(f),
        }
    }
}

/// The word `all`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// All torrents.
    All,
}

/// Several torrents: `"all"`, a list, or a filter. Each of a list must exist.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Selection {
    /// All of them.
    All(Named),
    /// These.
    These(Vec<TorrentRef>),
    /// Those that the filter lets through.
    Matching(Filter),
}

impl Selection {
    /// All torrents.
    pub const ALL: Selection = Selection::All(Named::All);
}

/// Which torrents to show: every condition that is given must hold.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only those in one of these states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<State>,
    /// Only those with one of these labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Only those with a tracker whose URL has this text in it, in either case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker: Option<String>,
    /// Only those whose name is like this, in either case: `*` stands for any text and `?` for one
    /// character; without either, the text may be anywhere in the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those with an error, or only those without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<bool>,
    /// Only those that send or get payload now, or only those that do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Only those of which everything wanted is there, or only the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_open(&self) -> bool {
        *self == Filter::default()
    }
}

/// Whether text is like a pattern; both in one case.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return text.contains(pattern);
    }
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut p) = (0, 0);
    // Where to go on when what follows the last star does not fit: the star takes one more.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, at));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[at] => (at, p) = (at + 1, p + 1),
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    (at, p) = (*taken, *place + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Matches a name and a pattern in either case; see [`Filter::name`].
pub fn name_is_like(name: &str, pattern: &str) -> bool {
    is_like(&name.to_lowercase(), &pattern.to_lowercase())
}

/// `torrent.list`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Which torrents; all if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torrents: Option<Selection>,
    /// What to tell of each besides its id; everything if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<Field>>,
    /// The order; by id if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<Field>,
    /// The other way round.
    pub descending: bool,
    /// How many to skip.
    pub offset: u32,
    /// How many to tell of; all if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What `torrent.list` gives.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// The session's change counter at the moment of this list.
    pub counter: u64,
    /// How many torrents were selected, before `offset` and `limit`.
    pub total: u32,
    /// The torrents.
    pub torrents: Vec<Torrent>,
}

/// `torrent.get` and what else is about one torrent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct One {
    /// The torrent.
    pub torrent: TorrentRef,
}

/// What is about several torrents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Several {
    /// The torrents.
    pub torrents: Selection,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_match_as_in_a_shell_and_plain_text_anywhere() {
        for (name, pattern, holds) in [
            ("Debian 13", "debian", true),
            ("Debian 13", "ian 1", true),
            ("Debian 13", "de*13", true),
            ("Debian 13", "*", true),
            ("Debian 13", "debian ?3", true),
            ("Debian 13", "debian ?", false),
            ("Debian 13", "ian*", false),
            ("aXbXc", "*x*x?", true),
            ("aXbX", "*x*x?", false),
            ("", "?", false),
            ("", "**", true),
            ("Österreich", "ö*CH", true),
        ] {
            assert_eq!(name_is_like(name, pattern), holds, "{name} {pattern}");
        }
    }

    #[test]
    fn a_selection_is_a_word_a_list_or_a_filter() {
        let of = |value| serde_json::from_value::<Selection>(value);
        assert_eq!(of(json!("all")).unwrap(), Selection::ALL);
        assert_eq!(of(json!([3])).unwrap(), Selection::These(vec![TorrentRef::Id(3)]));
        let filter = Filter { labels: vec!["x".into()], ..Filter::default() };
        assert_eq!(of(json!({ "labels": ["x"] })).unwrap(), Selection::Matching(filter));
        for bad in [json!("some"), json!(7), json!([-1]), json!({ "label": "x" }), json!(null)] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
    }
}
