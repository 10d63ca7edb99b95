//! docs/openrpc.json describes every method and subscription as the code has it, and its examples
//! are what it says.
//!
//! With `RINGSEED_WRITE_DOCS=1` the document is written instead of compared.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use ringseed_api::native::{Code, EventKind, Field, Kind, TABLE, openrpc};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

fn document() -> Value {
    openrpc::document()
}

fn method(document: &Value, name: &str) -> Value {
    let methods = document["methods"].as_array().unwrap();
    methods.iter().find(|method| method["name"] == name).expect(name).clone()
}

/// Whether a value is what a schema of the document says.
fn validate(document: &Value, schema: &Value, value: &Value, what: &str) {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&whole).expect(what);
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {value}: {errors:?}");
}

#[test]
fn the_written_document_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openrpc.json");
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("RINGSEED_WRITE_DOCS").is_some() {
        std::fs::write(&path, text).expect("docs/openrpc.json can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).expect("docs/openrpc.json");
    assert!(written == text, "write docs/openrpc.json anew with RINGSEED_WRITE_DOCS=1");
}

#[test]
fn every_method_and_subscription_is_described_once() {
    let document = document();
    let names: Vec<&str> = document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    let mut expected = BTreeSet::new();
    for row in TABLE {
        assert!(expected.insert(row.name), "{}", row.name);
        if let Kind::Subscription { unsubscribe, notification } = row.kind {
            assert!(expected.insert(unsubscribe), "{unsubscribe}");
            let described = &method(&document, row.name)["x-subscription"];
            assert_eq!(described["notification"], notification);
        }
        assert!(!row.doc.trim().is_empty());
    }
    assert_eq!(names.len(), expected.len());
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_example_is_what_its_schema_and_its_type_say() {
    let document = document();
    for row in TABLE {
        let (params, result) = (row.example)();
        let described = method(&document, row.name);
        let descriptors = described["params"].as_array().unwrap();
        for (name, value) in params.as_object().unwrap() {
            let of_name = |descriptor: &&Value| descriptor["name"] == **name;
            let descriptor = descriptors.iter().find(of_name).expect(name);
            validate(&document, &descriptor["schema"], value, row.name);
        }
        for descriptor in descriptors.iter().filter(|one| one["required"] == true) {
            assert!(params.get(descriptor["name"].as_str().unwrap()).is_some(), "{}", row.name);
        }
        let schema = match row.kind {
            Kind::Call => &described["result"]["schema"],
            Kind::Subscription { .. } => &described["x-subscription"]["message"],
        };
        validate(&document, schema, &result, row.name);
        let read = (row.round_trip)(params.clone(), result.clone());
        let (read_params, read_result) =
            read.unwrap_or_else(|error| panic!("{}: {error}", row.name));
        // Defaults may be spelled out; nothing that was said is lost.
        for (name, value) in params.as_object().unwrap() {
            assert_eq!(&read_params[name], value, "{}", row.name);
        }
        assert_eq!(read_result, result, "{}", row.name);
    }
}

#[test]
fn schemas_refuse_what_the_types_refuse() {
    let document = document();
    let schema = json!({ "$ref": "#/components/schemas/Filter" });
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&whole).unwrap();
    assert!(validator.is_valid(&json!({ "states": ["seeding"], "error": true })));
    assert!(!validator.is_valid(&json!({ "states": ["sleeping"] })));
    assert!(!validator.is_valid(&json!({ "lables": ["x"] })));
}

/// One line for a table cell.
fn cell(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn example(value: &Value) -> String {
    format!("`{}`", value.to_string().replace('|', "\\|"))
}

fn methods() -> String {
    let document = document();
    let mut text = String::from(
        "| method | role | what it does | example of its parameters |\n|---|---|---|---|\n",
    );
    for row in TABLE.iter().filter(|row| row.kind == Kind::Call) {
        let role = method(&document, row.name)["x-role"].as_str().unwrap().to_owned();
        let (params, _) = (row.example)();
        writeln!(text, "| `{}` | {role} | {} | {} |", row.name, cell(row.doc), example(&params))
            .unwrap();
    }
    text
}

fn subscriptions() -> String {
    let mut text = String::from(
        "| begun by | ended by | messages | what it pushes | example of its parameters |\n|---|---|---|---|---|\n",
    );
    for row in TABLE {
        let Kind::Subscription { unsubscribe, notification } = row.kind else { continue };
        let (params, _) = (row.example)();
        writeln!(
            text,
            "| `{}` | `{unsubscribe}` | `{notification}` | {} | {} |",
            row.name,
            cell(row.doc),
            example(&params)
        )
        .unwrap();
    }
    text
}

fn fields() -> String {
    let mut text = String::from(
        "| field | what it tells |\n|---|---|\n| `id` | The session's number: from 1, of this run only. |\n",
    );
    for field in Field::ALL {
        writeln!(text, "| `{}` | {} |", field.name(), cell(field.doc())).unwrap();
    }
    text
}

fn errors() -> String {
    let mut text = String::from("| code | meaning |\n|---|---|\n");
    for code in Code::ALL {
        writeln!(text, "| {} | {} |", code.number(), cell(code.doc())).unwrap();
    }
    text
}

#[test]
fn the_page_lists_every_method_subscription_field_and_error() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let mut page = std::fs::read_to_string(&path).expect("docs/api.md");
    let write = std::env::var_os("RINGSEED_WRITE_DOCS").is_some();
    for (list, text) in [
        ("methods", methods()),
        ("subscriptions", subscriptions()),
        ("fields", fields()),
        ("errors", errors()),
    ] {
        let (begin, end) = (format!("<!-- {list} -->\n"), format!("<!-- end of {list} -->"));
        let from = page.find(&begin).expect("the beginning of the list") + begin.len();
        let to = page.find(&end).expect("the end of the list");
        if write {
            page.replace_range(from..to, &text);
        } else {
            assert_eq!(&page[from..to], text, "write docs/api.md anew with RINGSEED_WRITE_DOCS=1");
        }
    }
    let kinds = openrpc::document()["components"]["schemas"]["EventKind"].to_string();
    assert!(kinds.contains(EventKind::PeerBanned.name()) && page.contains("`peer_banned`"));
    if write {
        std::fs::write(&path, page).expect("docs/api.md can be written");
    }
}
