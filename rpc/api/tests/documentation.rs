//! docs/rpc.md lists every method and field as the code has it.
//!
//! With `RINGSEED_WRITE_DOCS=1` the lists are written instead of compared.

#![allow(clippy::unwrap_used, reason = "writing to memory cannot fail")]

use ringseed_api::{
    Name, Role, method,
    session::{SessionField, State},
    torrent::TorrentField,
};
use std::{fmt::Write, fs, path::PathBuf};

fn names(name: Name) -> String {
    match name.snake == name.legacy {
        true => format!("`{}`", name.snake),
        false => format!("`{}` / `{}`", name.snake, name.legacy),
    }
}

/// One line for a table cell.
fn cell(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn methods() -> String {
    let mut text =
        String::from("| method | changes anything | least role | served |\n|---|---|---|---|\n");
    for method in method::TABLE {
        let name = names(Name { snake: method.name, legacy: method.legacy });
        let changes = if method.side_effects { "yes" } else { "no" };
        let may = |role: &&Role| role.may(method.access);
        let role = Role::ALL.iter().find(may).expect("an admin may everything");
        writeln!(text, "| {name} | {changes} | {role} | yes |").unwrap();
    }
    text
}

fn torrent_fields() -> String {
    let mut text = String::from("| field | what it tells | state |\n|---|---|---|\n");
    for field in TorrentField::ALL {
        let state = if field.is_fixed() { "always the same" } else { "" };
        writeln!(text, "| {} | {} | {state} |", names(field.name()), cell(field.doc())).unwrap();
    }
    text
}

fn session_fields() -> String {
    let mut text = String::from("| setting | what it is | state |\n|---|---|---|\n");
    for field in SessionField::ALL {
        let state = match field.state() {
            State::Set => "told and set",
            State::Told => "told",
            State::Stored => "stored: told as set, without effect yet",
            State::Fixed => "always the same",
        };
        writeln!(text, "| {} | {} | {state} |", names(field.name()), cell(field.doc())).unwrap();
    }
    text
}

#[test]
fn the_page_lists_every_method_and_field_with_its_state() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/rpc.md");
    let mut page = fs::read_to_string(&path).expect("docs/rpc.md");
    let write = std::env::var_os("RINGSEED_WRITE_DOCS").is_some();
    for (list, text) in [
        ("methods", methods()),
        ("torrent fields", torrent_fields()),
        ("settings", session_fields()),
    ] {
        let (begin, end) = (format!("<!-- {list} -->\n"), format!("<!-- end of {list} -->"));
        let from = page.find(&begin).expect("the beginning of the list") + begin.len();
        let to = page.find(&end).expect("the end of the list");
        if write {
            page.replace_range(from..to, &text);
        } else {
            assert_eq!(&page[from..to], text, "write docs/rpc.md anew with RINGSEED_WRITE_DOCS=1");
        }
    }
    if write {
        fs::write(&path, page).expect("docs/rpc.md can be written");
    }
}
