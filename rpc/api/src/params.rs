//! Arguments, read as leniently as clients need: what is unknown or of a wrong type is as if it were
//! not there, and where old clients send numbers for switches, they get switches.

use crate::{Code, Dialect, Name, RpcError};
use serde_json::{Map, Value};

mod torrent;
pub use torrent::{
    FileChanges, FilePriority, Format, GroupSet, RenamePath, SetLocation, Source, TorrentAdd,
    TorrentGet, TorrentRemove, TorrentSet, groups_asked,
};

/// The arguments of a call.
#[derive(Clone, PartialEq, Debug)]
pub struct Params {
    dialect: Dialect,
    map: Map<String, Value>,
}

impl Params {
    /// Reads a JSON object; anything else counts as no arguments.
    pub fn parse(text: Option<&str>, dialect: Dialect) -> Result<Params, RpcError> {
        let map = match text {
            // Text that passed for JSON as a whole fails here only by depth.
            Some(text) => match serde_json::from_str(text) {
                Ok(Value::Object(map)) => map,
                Ok(_) => Map::new(),
                Err(_) => return Err(Code::Parse.into()),
            },
            None => Map::new(),
        };
        Ok(Params { dialect, map })
    }

    /// How the call is spelled.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The argument with this name; the older dialect may use either spelling.
    pub fn get(&self, name: Name) -> Option<&Value> {
        let legacy = || match self.dialect {
            Dialect::Legacy => self.map.get(name.legacy),
            Dialect::JsonRpc => None,
        };
        legacy().or_else(|| self.map.get(name.snake))
    }

    /// A text.
    pub fn text(&self, name: Name) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// `true`, `false`, 0, 1, `"true"` or `"false"`.
    pub fn switch(&self, name: Name) -> Option<bool> {
        as_switch(self.get(name)?)
    }

    /// A whole number; one with a fraction is rounded.
    pub fn integer(&self, name: Name) -> Option<i64> {
        as_integer(self.get(name)?)
    }

    /// A number, as such or as text.
    pub fn double(&self, name: Name) -> Option<f64> {
        let value = self.get(name)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|value| value.is_finite())
    }

    /// The whole numbers of a list, others left out.
    pub fn integers(&self, name: Name) -> Option<Vec<i64>> {
        Some(self.get(name)?.as_array()?.iter().filter_map(as_integer).collect())
    }

    /// The texts of a list, others left out.
    pub fn texts(&self, name: Name) -> Option<Vec<&str>> {
        Some(self.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect())
    }
}

/// A name that is the same in both dialects.
pub(crate) const fn same(name: &'static str) -> Name {
    Name { snake: name, legacy: name }
}

/// A name that differs.
pub(crate) const fn name(snake: &'static str, legacy: &'static str) -> Name {
    Name { snake, legacy }
}

fn as_switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(crate) fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Number(number) => number.as_i64().or_else(|| {
            let value = number.as_f64()?.round();
            (value.abs() < 9e15).then_some(value as i64)
        }),
        _ => None,
    }
}

/// The arguments of free_space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreeSpace {
    /// A folder on the server; the answer repeats it to the letter.
    pub path: String,
}

impl FreeSpace {
    /// Reads them.
    pub fn parse(params: &Params) -> Result<FreeSpace, RpcError> {
        let path = params.text(same("path")).ok_or_else(|| RpcError::invalid("path is missing"))?;
        Ok(FreeSpace { path: path.to_owned() })
    }
}

/// The arguments of port_test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortTest {
    /// Whether to ask over IPv6 or IPv4; absent for either.
    pub over_ipv6: Option<bool>,
}

impl PortTest {
    /// Reads them.
    pub fn parse(params: &Params) -> Result<PortTest, RpcError> {
        let over_ipv6 = match params.text(same("ip_protocol")) {
            None => None,
            Some("ipv4") => Some(false),
            Some("ipv6") => Some(true),
            Some(_) => return Err(RpcError::invalid("invalid ip protocol: ipv4 or ipv6")),
        };
        Ok(PortTest { over_ipv6 })
    }
}

/// Labels as they are kept: trimmed, each once, in their order.
fn labels(given: &[&str]) -> Result<Vec<String>, RpcError> {
    let mut labels: Vec<String> = Vec::new();
    for label in given.iter().map(|label| label.trim()) {
        if label.is_empty() {
            return Err(RpcError::invalid("labels cannot be empty"));
        }
        if label.contains(',') {
            return Err(RpcError::invalid("labels cannot contain comma (,) character"));
        }
        if label.len() > crate::limits::LABEL_BYTES || labels.len() == crate::limits::LABELS {
            return Err(RpcError::invalid("labels cannot be so long or so many"));
        }
        if !labels.iter().any(|known| known == label) {
            labels.push(label.to_owned());
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn params(value: Value, dialect: Dialect) -> Params {
        Params::parse(Some(&value.to_string()), dialect).unwrap()
    }

    #[test]
    fn switches_take_what_clients_send_for_them() {
        let read = |value: Value| params(json!({ "x": value }), Dialect::Legacy).switch(same("x"));
        for yes in [json!(true), json!(1), json!("true")] {
            assert_eq!(read(yes), Some(true));
        }
        for no in [json!(false), json!(0), json!("false")] {
            assert_eq!(read(no), Some(false));
        }
        for neither in [json!(2), json!("yes"), json!(null), json!([]), json!(1.0)] {
            assert_eq!(read(neither), None);
        }
    }

    #[test]
    fn whole_numbers_take_switches_and_fractions_but_no_text() {
        let read = |value: Value| params(json!({ "x": value }), Dialect::Legacy).integer(same("x"));
        assert_eq!(read(json!(i64::MAX)), Some(i64::MAX));
        assert_eq!(read(json!(true)), Some(1));
        assert_eq!(read(json!(99.6)), Some(100));
        assert_eq!(read(json!(1e300)), None);
        assert_eq!(read(json!("1")), None);
        assert_eq!(read(json!(null)), None);
    }

    #[test]
    fn other_values_are_taken_or_left() {
        let params = params(
            json!({"d": "0.5", "i": 2, "l": [1, "x", null, 2.0], "n": "nan"}),
            Dialect::JsonRpc,
        );
        assert_eq!(params.double(same("d")), Some(0.5));
        assert_eq!(params.double(same("i")), Some(2.0));
        assert_eq!(params.double(same("n")), None);
        assert_eq!(params.integers(same("l")), Some(vec![1, 2]));
        assert_eq!(params.texts(same("l")), Some(vec!["x"]));
        assert_eq!(params.texts(same("i")), None);
        assert_eq!(params.text(same("i")), None);
    }

    #[test]
    fn only_the_older_dialect_takes_the_older_names() {
        let dir = name("download_dir", "download-dir");
        let older = json!({"download-dir": "/a"});
        assert_eq!(params(older.clone(), Dialect::Legacy).text(dir), Some("/a"));
        assert_eq!(params(older, Dialect::JsonRpc).text(dir), None);
        let newer = json!({"download_dir": "/a"});
        assert_eq!(params(newer.clone(), Dialect::Legacy).text(dir), Some("/a"));
        assert_eq!(params(newer, Dialect::JsonRpc).text(dir), Some("/a"));
    }

    #[test]
    fn labels_are_trimmed_merged_and_free_of_commas() {
        assert_eq!(labels(&[" a ", "b", "a"]).unwrap(), ["a", "b"]);
        assert!(labels(&["a,b"]).unwrap_err().text().starts_with("labels cannot"));
        assert!(labels(&[" "]).unwrap_err().text().starts_with("labels cannot"));
    }
}
