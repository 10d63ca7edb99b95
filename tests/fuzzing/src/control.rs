//! What callers of the control interface send, and the files that operators have.

use api::envelope::{Call, Incoming, Message, parse, write_refusal};
use api::params::{
    FreeSpace, Params, PortTest, RenamePath, SetLocation, TorrentAdd, TorrentGet, TorrentRemove,
    TorrentSet, groups_asked,
};
use api::session::{SessionField, SessionSet};
use api::{Dialect, RpcError, native, params::GroupSet, tracker_list as list};
use engine::blocklist::Blocklist;
use engine::settings::Settings;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::net::IpAddr;

/// A request of either Transmission dialect: its arguments are read as every method would, and the
/// answers are JSON that a client of the dialect knows as its own.
pub fn json_rpc(bytes: &[u8]) {
    let calls = match parse(bytes) {
        Message::Single(call) => vec![call],
        Message::Batch(calls) => {
            assert!(!calls.is_empty() && calls.len() <= api::limits::BATCH);
            calls
        }
    };
    for call in &calls {
        match call {
            Incoming::Call(call) => answer(call),
            Incoming::Refused(error) => {
                let mut out = Vec::new();
                write_refusal(&mut out, error);
                is_json(&out);
            }
        }
    }
}

fn answer(call: &Call<'_>) {
    let params = call.read_params();
    let mut out = Vec::new();
    call.write_success(&mut out, b"{}");
    is_json(&out);
    assert!(has_key(&out, if call.dialect == Dialect::Legacy { "arguments" } else { "jsonrpc" }));
    match params {
        Ok(params) => read_all(&params, call),
        Err(error) => failure(call, &error),
    }
}

/// As every method reads them; each gets what is meant for all others too.
fn read_all(params: &Params, call: &Call<'_>) {
    let errors = [
        TorrentGet::parse(params).err(),
        TorrentAdd::parse(params).err(),
        TorrentSet::parse(params).err(),
        SetLocation::parse(params).err(),
        GroupSet::parse(params).err(),
        FreeSpace::parse(params).err(),
        PortTest::parse(params).err(),
        SessionSet::parse(params).err(),
    ];
    errors.into_iter().flatten().for_each(|error| failure(call, &error));
    TorrentRemove::parse(params);
    RenamePath::parse(params);
    groups_asked(params);
    assert!(!SessionField::asked(params).is_empty());
}

fn failure(call: &Call<'_>, error: &RpcError) {
    let mut out = Vec::new();
    call.write_failure(&mut out, error);
    is_json(&out);
    assert!(!error.text().is_empty());
}

fn is_json(bytes: &[u8]) {
    let read = serde_json::from_slice::<IgnoredAny>(bytes);
    assert!(read.is_ok(), "no JSON: {}", String::from_utf8_lossy(bytes));
}

fn has_key(bytes: &[u8], key: &str) -> bool {
    let quoted = format!("\"{key}\":");
    bytes.windows(quoted.len()).any(|window| window == quoted.as_bytes())
}

/// A call of the native API: what its type reads, it writes, and reads as the same.
pub fn native_rpc(bytes: &[u8]) {
    let Ok(Value::Object(call)) = serde_json::from_slice(bytes) else { return };
    let Some(row) = call.get("method").and_then(Value::as_str).and_then(native::row) else {
        return;
    };
    let (_, answer) = (row.example)();
    let params = call.get("params").cloned().unwrap_or_default();
    let Ok((params, result)) = (row.round_trip)(params, answer) else { return };
    let again = (row.round_trip)(params.clone(), result.clone());
    let again = again.unwrap_or_else(|error| panic!("{} is not read again: {error}", row.name));
    assert_eq!(again, (params, result));
}

/// A list of trackers as text.
pub fn tracker_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(tiers) = list::parse(&text) else { return };
    assert!(tiers.iter().all(|tier| !tier.is_empty()));
    assert_eq!(list::parse(&list::write(&tiers)).as_ref(), Ok(&tiers));
}

/// A blocklist in any format, and one that was compiled.
pub fn blocklist(bytes: &[u8]) {
    let read = engine::blocklist::parse(bytes).ok();
    for list in read.into_iter().chain(Blocklist::decode(bytes)) {
        assert_eq!(Blocklist::decode(&list.encode()).as_ref(), Some(&list));
        let everywhere = ["0.0.0.0", "255.255.255.255", "::", "192.0.2.1"];
        let blocked = everywhere.iter().filter_map(|ip| ip.parse::<IpAddr>().ok());
        let blocked = blocked.filter(|&ip| list.blocks(ip)).count();
        assert!(!list.is_empty() || blocked == 0);
    }
}

/// ringseed.toml: settings that are accepted are in their ranges, and come back as they are from the
/// file and from the native API.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(settings) = toml_edit::de::from_str::<Settings>(text) else { return };
    if settings.check().is_err() {
        return;
    }
    let told = serde_json::to_value(&settings).expect("settings can be told");
    let again = serde_json::from_value::<Settings>(told).expect("what is told can be set");
    assert_eq!(again, settings);
    let written = toml_edit::ser::to_string(&settings).expect("settings can be written");
    let again = toml_edit::de::from_str::<Settings>(&written).expect("what is written can be read");
    assert_eq!(again, settings);
}
