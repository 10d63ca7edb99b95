//! docs/settings.md lists every setting as the table has it.
//!
//! With `RINGSEED_WRITE_DOCS=1` the list is written instead of compared.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

use ringseed_engine::settings::{Kind, Row, Settings, TABLE};
use serde_json::Value;
use std::{fs, path::PathBuf};

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "<!-- end of settings -->";

fn values(row: &Row) -> String {
    let unit = if row.unit.is_empty() { String::new() } else { format!(" ({})", row.unit) };
    match row.kind {
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::Number { least, most } => format!("number, {least} to {most}{unit}"),
        Kind::Decimal => "number, with a fraction".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Folders => "tables, see below".to_owned(),
    }
}

fn default(row: &Row, value: &Value) -> String {
    match (row.kind, value) {
        // They depend on who runs the daemon.
        (Kind::Path, Value::String(path)) if !path.is_empty() => "`~/Downloads`".to_owned(),
        (Kind::Path | Kind::Folders, _) => "none".to_owned(),
        (_, value) => format!("`{value}`"),
    }
}

fn table() -> String {
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    let mut text = String::from(
        "| setting | values | default | takes effect | what it does |\n|---|---|---|---|---|\n",
    );
    for row in TABLE {
        let default = default(row, &defaults[row.name]);
        let when = if row.restart { "next start" } else { "at once" };
        let doc = row.doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        text += &format!("| `{}` | {} | {default} | {when} | {doc} |\n", row.name, values(row));
    }
    text
}

#[test]
fn the_page_lists_every_setting_as_it_is() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let mut page = fs::read_to_string(&path).unwrap();
    let from = page.find(BEGIN).expect("the beginning of the list") + BEGIN.len();
    let to = page.find(END).expect("the end of the list");
    if std::env::var_os("RINGSEED_WRITE_DOCS").is_some() {
        page.replace_range(from..to, &table());
        fs::write(&path, page).unwrap();
    } else {
        let text = table();
        assert_eq!(&page[from..to], text, "write docs/settings.md anew with RINGSEED_WRITE_DOCS=1");
    }
}
