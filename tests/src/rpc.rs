//! Transmission's RPC, which controls Ringseed too, in both of its dialects.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use ureq::Agent;

/// How calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// JSON-RPC 2.0 with snake_case names: Transmission 4.1 and Ringseed.
    JsonRpc,
    /// The older envelope with its mixed names: every Transmission, and Ringseed.
    Legacy,
}

/// A client of one server.
pub struct Rpc {
    agent: Agent,
    url: String,
    dialect: Dialect,
    session_id: String,
}

const SESSION_ID: &str = "X-Transmission-Session-Id";

/// Longer than any call takes; a server that does not answer is a failure, not a hang.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An agent that takes answers of every status.
pub fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_idle_connections(0)
        .build();
    config.into()
}

impl Rpc {
    /// For the server at this address.
    pub fn new(address: SocketAddr, dialect: Dialect) -> Rpc {
        let url = format!("http://{address}/transmission/rpc");
        Rpc { agent: agent(), url, dialect, session_id: String::new() }
    }

    /// Calls a method, with its name and arguments as JSON-RPC has them; the legacy dialect's names
    /// are made from them. Answers with the result's fields.
    pub fn call(&mut self, method: &str, arguments: Value) -> Result<Value> {
        let body = match self.dialect {
            Dialect::JsonRpc => {
                json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": arguments})
            }
            Dialect::Legacy => {
                json!({"method": method.replace('_', "-"), "arguments": legacy_names(arguments)})
            }
        };
        let answer = self.post(&body.to_string()).with_context(|| method.to_owned())?;
        match self.dialect {
            Dialect::JsonRpc if answer["error"].is_null() => Ok(answer["result"].clone()),
            Dialect::JsonRpc => bail!("{method}: {}", answer["error"]),
            Dialect::Legacy if answer["result"] == "success" => Ok(answer["arguments"].clone()),
            Dialect::Legacy => bail!("{method}: {}", answer["result"]),
        }
    }

    fn post(&mut self, body: &str) -> Result<Value> {
        for _ in 0..2 {
            let mut answer = self
                .agent
                .post(&self.url)
                .header(SESSION_ID, &self.session_id)
                .header("Content-Type", "application/json")
                .send(body)?;
            if answer.status() == 409 {
                let id = answer.headers().get(SESSION_ID).context("409 without a session id")?;
                self.session_id = id.to_str()?.to_owned();
                continue;
            }
            let text = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
            ensure!(answer.status() == 200, "status {}: {text}", answer.status());
            return serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"));
        }
        bail!("the session id that it gave was refused")
    }
}

/// The legacy spelling of the arguments that tests use: `download-dir`, but fields in camelCase.
fn legacy_names(arguments: Value) -> Value {
    let Value::Object(arguments) = arguments else { return arguments };
    let renamed = arguments.into_iter().map(|(name, value)| {
        let value = match value {
            Value::Array(fields) if name == "fields" => fields.iter().map(camel_case).collect(),
            value => value,
        };
        (name.replace('_', "-"), value)
    });
    Value::Object(renamed.collect())
}

fn camel_case(field: &Value) -> Value {
    let mut parts = field.as_str().unwrap_or_default().split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        name.extend(part.chars().take(1).flat_map(char::to_uppercase).chain(part.chars().skip(1)));
    }
    Value::String(name)
}

/// A field by its JSON-RPC name, in an answer of either dialect.
pub(crate) fn field<'a>(torrent: &'a Value, name: &str) -> &'a Value {
    match &torrent[name] {
        Value::Null => &torrent[camel_case(&Value::from(name)).as_str().unwrap_or_default()],
        value => value,
    }
}
