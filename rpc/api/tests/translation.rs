//! The two dialects say the same: what is asked in one is read as in the other, what is answered in
//! one is what is answered in the other, and no number is anything but itself on the way.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use proptest::prelude::*;
use ringseed_api::{
    Dialect, Name, Writer,
    envelope::{Incoming, Message, parse},
    method::{Method, TABLE},
    params::{
        FreeSpace, GroupSet, Params, SetLocation, TorrentAdd, TorrentGet, TorrentRemove, TorrentSet,
    },
    session::{SessionField, SessionSet, SessionValues},
    torrent::TorrentField,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const BOTH: [Dialect; 2] = [Dialect::Legacy, Dialect::JsonRpc];

/// The arguments that are spelled in two ways, besides settings.
const ARGUMENTS: [(&str, &str); 27] = [
    ("bandwidth_priority", "bandwidthPriority"),
    ("delete_local_data", "delete-local-data"),
    ("download_dir", "download-dir"),
    ("download_limit", "downloadLimit"),
    ("download_limited", "downloadLimited"),
    ("files_unwanted", "files-unwanted"),
    ("files_wanted", "files-wanted"),
    ("honors_session_limits", "honorsSessionLimits"),
    ("peer_limit", "peer-limit"),
    ("priority_high", "priority-high"),
    ("priority_low", "priority-low"),
    ("priority_normal", "priority-normal"),
    ("queue_position", "queuePosition"),
    ("seed_idle_limit", "seedIdleLimit"),
    ("seed_idle_mode", "seedIdleMode"),
    ("seed_ratio_limit", "seedRatioLimit"),
    ("seed_ratio_mode", "seedRatioMode"),
    ("speed_limit_down", "speed-limit-down"),
    ("speed_limit_down_enabled", "speed-limit-down-enabled"),
    ("speed_limit_up", "speed-limit-up"),
    ("speed_limit_up_enabled", "speed-limit-up-enabled"),
    ("tracker_add", "trackerAdd"),
    ("tracker_list", "trackerList"),
    ("tracker_remove", "trackerRemove"),
    ("tracker_replace", "trackerReplace"),
    ("upload_limit", "uploadLimit"),
    ("upload_limited", "uploadLimited"),
];

/// Those that are the same in both.
const SAME: [&str; 13] = [
    "cookies",
    "filename",
    "format",
    "group",
    "ids",
    "ip_protocol",
    "labels",
    "location",
    "metainfo",
    "move",
    "name",
    "path",
    "paused",
];

/// Every argument and setting, in both spellings.
fn names() -> Vec<Name> {
    let arguments = ARGUMENTS.map(|(snake, legacy)| Name { snake, legacy });
    let same = SAME.map(|name| Name { snake: name, legacy: name });
    let settings = SessionField::ALL.iter().map(|field| field.name());
    arguments.into_iter().chain(same).chain(settings).collect()
}

/// A value of any type, numbers often, and with text in it that means something somewhere.
fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,5}",
        "/[a-z]{0,5}",
        Just("recently_active".to_owned()),
        Just("http://t.example/announce".to_owned()),
        Just("00112233445566778899aabbccddeeff00112233".to_owned()),
        Just("true".to_owned()),
        Just("ipv6".to_owned()),
    ];
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3i64..5).prop_map(Value::from),
        (-10.0f64..10.0).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        text.prop_map(Value::from),
        Just(Value::Null),
    ];
    let list = prop::collection::vec(leaf.clone(), 0..4).prop_map(Value::from);
    prop_oneof![3 => leaf, 1 => list]
}

/// Arguments by the places of their names in [`names`].
fn arguments() -> impl Strategy<Value = Vec<(usize, Value)>> {
    prop::collection::vec((0..names().len(), value()), 0..12)
}

fn spelled(arguments: &[(usize, Value)], dialect: Dialect) -> Params {
    let names = names();
    let named = arguments
        .iter()
        .map(|(at, value)| (names[*at].in_dialect(dialect).to_owned(), value.clone()));
    let object: Map<String, Value> = named.collect();
    Params::parse(Some(&Value::from(object).to_string()), dialect).unwrap()
}

/// Everything that methods make of arguments; the same text for the same meaning.
fn meaning(params: &Params) -> String {
    format!(
        "{:?}",
        (
            TorrentAdd::parse(params),
            TorrentSet::parse(params),
            TorrentRemove::parse(params),
            SetLocation::parse(params),
            GroupSet::parse(params),
            SessionSet::parse(params),
            FreeSpace::parse(params),
        )
    )
}

#[test]
fn every_name_means_one_thing_in_each_dialect_and_leads_back_to_itself() {
    for dialect in BOTH {
        let mut seen = BTreeSet::new();
        for &field in TorrentField::ALL {
            let spelled = field.name().in_dialect(dialect);
            assert!(seen.insert(spelled), "{spelled} means two fields");
            assert_eq!(TorrentField::named(spelled, dialect), Some(field));
        }
        let mut seen = BTreeSet::new();
        for &field in SessionField::ALL {
            let spelled = field.name().in_dialect(dialect);
            assert!(seen.insert(spelled), "{spelled} means two settings");
            let asked = json!({ "fields": [spelled] }).to_string();
            let asked = Params::parse(Some(&asked), dialect).unwrap();
            assert_eq!(SessionField::asked(&asked), [field]);
        }
        for method in TABLE {
            let name = Name { snake: method.name, legacy: method.legacy };
            assert_eq!(Method::named(name.in_dialect(dialect), dialect), Some(method));
        }
    }
    // The older dialect takes the newer names, too: no older name is the newer one of another.
    for one in TorrentField::ALL {
        let others = TorrentField::ALL.iter().filter(|other| *other != one);
        for other in others {
            assert_ne!(one.name().legacy, other.name().snake);
        }
    }
}

#[test]
fn the_list_of_arguments_has_all_that_methods_read() {
    // Where an argument is read, its two spellings stand in the source.
    let sources = [
        include_str!("../src/params.rs"),
        include_str!("../src/params/torrent.rs"),
        include_str!("../src/session.rs"),
    ];
    let known: BTreeSet<&str> = names().iter().map(|name| name.snake).collect();
    for source in sources {
        let code = source.split("#[cfg(test)]").next().unwrap();
        for call in code.split("name(\"").skip(1).chain(code.split("same(\"").skip(1)) {
            let name = call.split('"').next().unwrap();
            let elsewhere = ["fields", "sequential_download_from_piece"].contains(&name);
            assert!(known.contains(name) || elsewhere, "{name} is missing above");
        }
    }
}

proptest! {
    #[test]
    fn arguments_mean_the_same_in_both_dialects(arguments in arguments()) {
        // The dialects have different words for how connections are encrypted.
        let names = names();
        let arguments: Vec<_> =
            arguments.into_iter().filter(|(at, _)| names[*at].snake != "encryption").collect();
        let [older, newer] = BOTH.map(|dialect| spelled(&arguments, dialect));
        let only_in_one = |text: &str| text.contains("recently");
        prop_assume!(!arguments.iter().any(|(_, value)| only_in_one(&value.to_string())));
        prop_assert_eq!(meaning(&older), meaning(&newer));
    }

    #[test]
    fn fields_that_are_asked_for_are_the_same_in_both_dialects(
        fields in prop::collection::vec(0..TorrentField::ALL.len(), 1..20), is_table: bool,
    ) {
        let asked = |dialect: Dialect| {
            let names = fields.iter().map(|&at| TorrentField::ALL[at].name().in_dialect(dialect));
            let format = if is_table { "table" } else { "objects" };
            let text = json!({ "fields": names.collect::<Vec<_>>(), "format": format }).to_string();
            TorrentGet::parse(&Params::parse(Some(&text), dialect).unwrap()).unwrap()
        };
        let (older, newer) = (asked(Dialect::Legacy), asked(Dialect::JsonRpc));
        prop_assert_eq!(older, newer);
    }

    #[test]
    fn whole_numbers_stay_what_they_are_in_arguments(number: i64) {
        for (at, name) in names().into_iter().enumerate().step_by(7) {
            for dialect in BOTH {
                let params = spelled(&[(at, number.into())], dialect);
                prop_assert_eq!(params.integer(name), Some(number));
            }
        }
    }

    #[test]
    fn whole_numbers_stay_whole_in_answers(
        wide: i64, narrow: u32, port: u16, ratio in 0.0f64..1e6,
    ) {
        let values = SessionValues {
            download_dir_free_space: wide,
            alt_speed_down: narrow,
            speed_limit_up: narrow,
            peer_port: port,
            seed_ratio_limit: ratio,
            ..SessionValues::default()
        };
        let [older, newer] = BOTH.map(|dialect| {
            let mut writer = Writer::new(Vec::new(), dialect);
            values.write(&mut writer, SessionField::ALL);
            serde_json::from_slice::<Map<String, Value>>(&writer.finish()).unwrap()
        });
        prop_assert_eq!(older.len(), SessionField::ALL.len());
        for field in SessionField::ALL {
            let (old, new) = (&older[field.name().legacy], &newer[field.name().snake]);
            match field {
                // What differs by more than its name.
                SessionField::encryption | SessionField::units => {}
                // A client that reads numbers by their form must find a fraction here only.
                SessionField::seed_ratio_limit => prop_assert_eq!((old, new), (&json!(ratio), &json!(ratio))),
                _ => {
                    prop_assert_eq!(old, new, "{:?}", field);
                    prop_assert!(!new.is_f64(), "{:?}", field);
                }
            }
        }
        prop_assert_eq!(&newer["download_dir_free_space"], &json!(wide));
    }

    #[test]
    fn ids_and_tags_come_back_to_the_letter(
        number in prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            "[1-9][0-9]{0,60}",
            "-?[0-9]\\.[0-9]{1,40}",
            "\"[a-z0-9 ]{0,20}\"",
        ],
    ) {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"session_stats","id":{number}}}"#);
        let Message::Single(Incoming::Call(call)) = parse(body.as_bytes()) else { panic!() };
        let mut answer = Vec::new();
        call.write_success(&mut answer, b"{}");
        let expected = format!(r#"{{"id":{number},"jsonrpc":"2.0","result":{{}}}}"#);
        prop_assert_eq!(String::from_utf8(answer).unwrap(), expected);

        let body = format!(r#"{{"method":"session-stats","tag":{number}}}"#);
        let Message::Single(Incoming::Call(call)) = parse(body.as_bytes()) else { panic!() };
        let mut answer = Vec::new();
        call.write_success(&mut answer, b"{}");
        // Only a tag that is an integer is one.
        let tag = number.parse::<i64>().map_or_else(|_| String::new(), |_| format!(r#","tag":{number}"#));
        let expected = format!(r#"{{"arguments":{{}},"result":"success"{tag}}}"#);
        prop_assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }
}
