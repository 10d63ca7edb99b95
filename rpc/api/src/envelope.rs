//! Request bodies taken apart, and answers put together around what the methods give.
//!
//! Nothing is assumed about a body: whatever it holds becomes calls or refusals, each answered in
//! its own dialect. Ids and tags are kept as the text they came as, so that no number is rounded.

use crate::{Code, Dialect, RpcError, limits, method::Method, params::Params};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// A request body.
#[derive(Debug)]
pub enum Message<'a> {
    /// One call, or why it is none.
    Single(Incoming<'a>),
    /// Several calls (JSON-RPC only), answered together in their order; never empty.
    Batch(Vec<Incoming<'a>>),
}

/// What stands where a call should.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A call to run.
    Call(Call<'a>),
    /// Not a call; answered by [`write_refusal`].
    Refused(RpcError),
}

/// One call.
#[derive(Debug)]
pub struct Call<'a> {
    /// How it is spelled.
    pub dialect: Dialect,
    /// What is called; `None` if it is missing or unknown.
    pub method: Option<&'static Method>,
    /// The JSON-RPC id, or the tag if it is an integer, as it was written.
    id: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// Whether nobody waits for the answer: it is left out (JSON-RPC without an id).
    pub fn is_notification(&self) -> bool {
        self.dialect == Dialect::JsonRpc && self.id.is_none()
    }

    /// The arguments as they were written, for [`Params::parse`].
    pub fn params(&self) -> Option<&'a str> {
        self.params.map(RawValue::get)
    }

    /// Refuses arguments that could be taken for none: no arguments often means all torrents.
    pub fn check_params(&self) -> Result<(), RpcError> {
        match self.params() {
            Some(text) if self.dialect == Dialect::JsonRpc && !text.starts_with('{') => {
                Err(RpcError::invalid("params must be an object"))
            }
            _ => Ok(()),
        }
    }

    /// What the answer consists of around the method's result: the text before it and after it.
    pub fn success_frame(&self) -> (Vec<u8>, Vec<u8>) {
        match self.dialect {
            Dialect::JsonRpc => {
                let mut before = br#"{"id":"#.to_vec();
                before.extend_from_slice(self.id_text().as_bytes());
                before.extend_from_slice(br#","jsonrpc":"2.0","result":"#);
                (before, b"}".to_vec())
            }
            Dialect::Legacy => {
                let mut after = br#","result":"success""#.to_vec();
                self.write_tag(&mut after);
                (br#"{"arguments":"#.to_vec(), after)
            }
        }
    }

    /// Writes the answer around the JSON object that the method gave.
    pub fn write_success(&self, out: &mut Vec<u8>, result: &[u8]) {
        let (before, after) = self.success_frame();
        out.extend_from_slice(&before);
        out.extend_from_slice(result);
        out.extend_from_slice(&after);
    }

    /// Writes the answer that says why the call failed.
    pub fn write_failure(&self, out: &mut Vec<u8>, error: &RpcError) {
        match self.dialect {
            Dialect::JsonRpc => write_json_rpc_error(out, self.id_text(), error),
            Dialect::Legacy => {
                out.extend_from_slice(br#"{"arguments":"#);
                out.extend_from_slice(error.result.as_deref().unwrap_or(b"{}"));
                out.extend_from_slice(br#","result":"#);
                let mut writer = crate::Writer::new(std::mem::take(out), Dialect::Legacy);
                writer.value(error.text());
                *out = writer.finish();
                self.write_tag(out);
            }
        }
    }

    fn id_text(&self) -> &'a str {
        self.id.map_or("null", RawValue::get)
    }

    fn write_tag(&self, out: &mut Vec<u8>) {
        if let Some(tag) = self.id {
            out.extend_from_slice(br#","tag":"#);
            out.extend_from_slice(tag.get().as_bytes());
        }
        out.push(b'}');
    }
}

/// Writes the answer to what was no call: a JSON-RPC error without id, whatever the client speaks.
pub fn write_refusal(out: &mut Vec<u8>, error: &RpcError) {
    write_json_rpc_error(out, "null", error);
}

fn write_json_rpc_error(out: &mut Vec<u8>, id: &str, error: &RpcError) {
    out.extend_from_slice(br#"{"error":"#);
    error.write(out);
    out.extend_from_slice(br#","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","jsonrpc":"2.0"}"#);
}

/// Takes a body apart. What follows its first JSON value is ignored.
pub fn parse(body: &[u8]) -> Message<'_> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
    let refused = |code: Code| Message::Single(Incoming::Refused(code.into()));
    let Some(Ok(value)) = values.next() else { return refused(Code::Parse) };
    match value.get().as_bytes().first() {
        Some(b'{') => Message::Single(read_call(value, false)),
        Some(b'[') => read_batch(value),
        _ => refused(Code::InvalidRequest),
    }
}

fn read_batch(value: &RawValue) -> Message<'_> {
    let refused = |error: RpcError| Message::Single(Incoming::Refused(error));
    match serde_json::from_str::<Elements<'_>>(value.get()) {
        Err(_) => refused(Code::Parse.into()),
        Ok(elements) if elements.count == 0 => {
            refused(RpcError::new(Code::InvalidRequest, "the batch is empty"))
        }
        Ok(elements) if elements.count > limits::BATCH => refused(RpcError::new(
            Code::InvalidRequest,
            format!("a batch has {} calls at most", limits::BATCH),
        )),
        Ok(elements) => {
            let call = |value: &&'_ RawValue| value.get().starts_with('{');
            let read = |value: &_| if call(value) { read_call(value, true) } else { invalid() };
            Message::Batch(elements.first.iter().map(read).collect())
        }
    }
}

fn invalid<'a>() -> Incoming<'a> {
    Incoming::Refused(Code::InvalidRequest.into())
}

fn read_call(value: &RawValue, in_batch: bool) -> Incoming<'_> {
    let Ok(members) = serde_json::from_str::<Members<'_>>(value.get()) else {
        return Incoming::Refused(Code::Parse.into());
    };
    match members.jsonrpc.and_then(as_string).as_deref() {
        Some("2.0") => read_json_rpc(&members),
        Some(_) => invalid(),
        None if in_batch => invalid(),
        None => Incoming::Call(read_legacy(&members)),
    }
}

fn read_json_rpc<'a>(members: &Members<'a>) -> Incoming<'a> {
    let is_id = |id: &RawValue| !matches!(id.get().as_bytes()[0], b'{' | b'[' | b't' | b'f');
    if members.id.is_some_and(|id| !is_id(id)) {
        return invalid();
    }
    Incoming::Call(Call {
        dialect: Dialect::JsonRpc,
        method: method(members, Dialect::JsonRpc),
        id: members.id,
        params: members.params,
    })
}

fn read_legacy<'a>(members: &Members<'a>) -> Call<'a> {
    let is_integer = |tag: &RawValue| tag.get().parse::<i64>().is_ok();
    Call {
        dialect: Dialect::Legacy,
        method: method(members, Dialect::Legacy),
        id: members.tag.filter(|tag| is_integer(tag)),
        params: members.arguments.filter(|text| text.get().starts_with('{')),
    }
}

fn method(members: &Members<'_>, dialect: Dialect) -> Option<&'static Method> {
    Method::named(&members.method.and_then(as_string)?, dialect)
}

fn as_string(value: &RawValue) -> Option<Cow<'_, str>> {
    value.get().starts_with('"').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// The members of a call in either dialect, unread. Of several with one name the last counts.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    arguments: Option<&'a RawValue>,
    tag: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let member = match &*key {
                        "jsonrpc" => &mut members.jsonrpc,
                        "method" => &mut members.method,
                        "id" => &mut members.id,
                        "params" => &mut members.params,
                        "arguments" => &mut members.arguments,
                        "tag" => &mut members.tag,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *member = Some(map.next_value()?);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The first values of a list, and how many there are.
struct Elements<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Elements { first: Vec::new(), count: 0 };
                while let Some(value) = seq.next_element::<&'de RawValue>()? {
                    elements.count += 1;
                    if elements.first.len() < limits::BATCH {
                        elements.first.push(value);
                    }
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl Call<'_> {
    /// The arguments, read.
    pub fn read_params(&self) -> Result<Params, RpcError> {
        self.check_params()?;
        Params::parse(self.params(), self.dialect)
    }
}

#[cfg(test)]
mod tests;
