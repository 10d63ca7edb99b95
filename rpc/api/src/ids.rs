//! Which torrents a call is about.

use crate::{Dialect, Name, params::as_integer};
use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::Value;

/// The keyword for torrents that changed in the last minute.
const RECENTLY_ACTIVE: Name = Name { snake: "recently_active", legacy: "recently-active" };

/// The `ids` of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// None given: all torrents, by ascending id.
    All,
    /// The keyword alone: those that changed in the last 60 s; the answer also names removed ones.
    RecentlyActive,
    /// These, in this order, duplicates kept. What matches no torrent is skipped.
    These(Vec<Which>),
}

/// One entry of a list of ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The session's number.
    Id(u32),
    /// The version-1 info-hash, or the shortened one of version 2.
    Hash([u8; 20]),
    /// All that changed in the last 60 s.
    RecentlyActive,
}

impl Selector {
    /// Reads `ids`. Entries that can match nothing are dropped; a value of another type, null
    /// included, selects nothing, since calls to stop or remove take the same argument.
    pub fn parse(ids: Option<&Value>, dialect: Dialect) -> Selector {
        match ids {
            None => Selector::All,
            Some(Value::String(text)) if RECENTLY_ACTIVE.is(text, dialect) => {
                Selector::RecentlyActive
            }
            Some(Value::Array(list)) => Selector::These(
                list.iter().filter_map(|value| Which::parse(value, dialect)).collect(),
            ),
            Some(value) => Selector::These(Which::parse(value, dialect).into_iter().collect()),
        }
    }
}

impl Which {
    fn parse(value: &Value, dialect: Dialect) -> Option<Which> {
        match value {
            Value::String(text) if RECENTLY_ACTIVE.is(text, dialect) => Some(Which::RecentlyActive),
            Value::String(text) => hash(text).map(Which::Hash),
            Value::Number(_) => {
                as_integer(value).and_then(|id| u32::try_from(id).ok()).map(Which::Id)
            }
            _ => None,
        }
    }
}

/// An info-hash: 40 hexadecimal digits in either case, 32 base-32 digits, or in a magnet link.
pub fn hash(text: &str) -> Option<[u8; 20]> {
    let bytes = match text.len() {
        40 => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        32 => BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok(),
        _ => {
            let (_, rest) = text.strip_prefix("magnet:?")?.split_once("xt=urn:btih:")?;
            let digits = rest.split('&').next().unwrap_or_default();
            return hash(digits);
        }
    };
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233";

    fn these(value: Value, dialect: Dialect) -> Vec<Which> {
        match Selector::parse(Some(&value), dialect) {
            Selector::These(list) => list,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn absent_ids_mean_all_and_an_empty_list_none() {
        assert_eq!(Selector::parse(None, Dialect::Legacy), Selector::All);
        for none in
            [json!([]), json!(null), json!(-1), json!(","), json!({}), json!(true), json!("")]
        {
            assert_eq!(these(none, Dialect::JsonRpc), []);
        }
    }

    #[test]
    fn ids_and_hashes_of_every_form_are_taken_in_their_order() {
        let hash = hash(HEX).unwrap();
        let base32 = BASE32_NOPAD.encode(&hash);
        let magnet = format!("magnet:?dn=x&xt=urn:btih:{HEX}&tr=y");
        let list = json!([3, HEX.to_uppercase(), "nothing", 3, base32, magnet, -4, 1.0, null]);
        let hash = Which::Hash(hash);
        assert_eq!(
            these(list, Dialect::Legacy),
            [Which::Id(3), hash, Which::Id(3), hash, hash, Which::Id(1)]
        );
        assert_eq!(these(json!(7), Dialect::JsonRpc), [Which::Id(7)]);
        assert_eq!(these(json!(HEX), Dialect::JsonRpc), [hash]);
    }

    #[test]
    fn the_keyword_is_spelled_by_dialect() {
        let of = |text: &str, dialect| Selector::parse(Some(&json!(text)), dialect);
        assert_eq!(of("recently_active", Dialect::JsonRpc), Selector::RecentlyActive);
        assert_eq!(of("recently-active", Dialect::Legacy), Selector::RecentlyActive);
        assert_eq!(of("recently_active", Dialect::Legacy), Selector::RecentlyActive);
        assert_eq!(of("recently-active", Dialect::JsonRpc), Selector::These(Vec::new()));
        let list = these(json!(["recently_active", 1]), Dialect::JsonRpc);
        assert_eq!(list, [Which::RecentlyActive, Which::Id(1)]);
    }
}
