//! The description of the API that machines read: an OpenRPC document, made from the table.
//!
//! OpenRPC has no word for subscriptions. The method that begins one says in `x-subscription` how it
//! is ended, under which name its messages come, and what they are.

use super::{Code, Kind, PATH, Row, TABLE, VERSION};
use crate::{Access, Role};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The version of OpenRPC that the document follows.
const OPENRPC: &str = "1.3.2";

/// Where the document keeps schemas that are used more than once.
const SCHEMAS: &str = "#/components/schemas";

/// The document.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.definitions_path = SCHEMAS.trim_start_matches('#').to_owned().into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let methods: Vec<Value> = TABLE.iter().flat_map(|row| methods(row, &mut generator)).collect();
    let errors: Map<String, Value> = Code::ALL
        .iter()
        .map(|code| {
            let error = json!({ "code": code.number(), "message": code.doc() });
            (format!("{code:?}"), error)
        })
        .collect();
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": "Ringseed",
            "version": VERSION,
            "description": "Control of a Ringseed server: JSON-RPC 2.0 over HTTP POST and WebSocket.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "name": "this server", "url": PATH }],
        "methods": methods,
        "components": { "schemas": generator.take_definitions(true), "errors": errors },
    })
}

/// The method of a row, and for a subscription the one that ends it.
fn methods(row: &Row, generator: &mut SchemaGenerator) -> Vec<Value> {
    let params = params(row, generator);
    let result = Value::from((row.result)(generator));
    let (example, answer) = (row.example)();
    let summary = row.doc.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let values = example.as_object().into_iter().flatten();
    let values: Vec<Value> =
        values.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let mut method = json!({
        "name": row.name,
        "summary": summary.trim(),
        "paramStructure": "by-name",
        "params": params,
        "x-role": role(row.access).name(),
    });
    match row.kind {
        Kind::Call => {
            method["result"] = json!({ "name": "result", "schema": result });
            method["examples"] = json!([{
                "name": "example", "params": values,
                "result": { "name": "result", "value": answer },
            }]);
            method["errors"] = Value::Array(errors(row.access));
            vec![method]
        }
        Kind::Subscription { unsubscribe, notification } => {
            let number = json!({ "type": ["integer", "string"] });
            method["result"] = json!({ "name": "subscription", "schema": number });
            method["examples"] = json!([{
                "name": "example", "params": values,
                "result": { "name": "subscription", "value": 1 },
            }]);
            method["errors"] = Value::Array(errors(row.access));
            method["x-subscription"] = json!({
                "unsubscribe": unsubscribe, "notification": notification,
                "message": result, "example": answer,
            });
            let end = json!({
                "name": unsubscribe,
                "summary": format!("Ends what {} began.", row.name),
                "paramStructure": "by-position",
                "params": [{ "name": "subscription", "required": true, "schema": number }],
                "result": { "name": "result", "schema": { "type": "boolean" } },
                "examples": [{
                    "name": "example", "params": [{ "name": "subscription", "value": 1 }],
                    "result": { "name": "result", "value": true },
                }],
                "x-role": role(row.access).name(),
            });
            vec![method, end]
        }
    }
}

/// A descriptor for each property of what the method takes.
fn params(row: &Row, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = (row.params)(generator);
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let schema = match name.and_then(|name| generator.definitions().get(name)) {
        Some(schema) => schema.clone(),
        None => schema.into(),
    };
    let is_required = |name: &str| {
        let required = schema["required"].as_array().into_iter().flatten();
        required.into_iter().any(|required| required == name)
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| json!({ "name": name, "required": is_required(name), "schema": schema }))
        .collect()
}

fn errors(access: Access) -> Vec<Value> {
    let common = [Code::InvalidParams, Code::Internal];
    let forbidden = (access > Access::Reads).then_some(Code::Forbidden);
    let reference = |code: Code| json!({ "$ref": format!("#/components/errors/{code:?}") });
    common.into_iter().chain(forbidden).map(reference).collect()
}

/// The least role that may call such a method.
fn role(access: Access) -> Role {
    let may = Role::ALL.into_iter().find(|role| role.may(access));
    may.unwrap_or(Role::Admin)
}
