//! Running the remote with one option against both servers.

use crate::excepted::{self, LEFT_OUT, VARIES};
use anyhow::{Context, Result, ensure};
use ringseed_tests::pair::{At, Findings, Pair, Side};
use ringseed_tests::{Release, note, transmission_remote};
use serde_json::Value;
use std::time::Duration;

/// One run of the remote: its arguments, and the fields that they change, by their newer names.
pub type Step = (&'static [&'static str], &'static [&'static str]);

/// Longer than a call's effect takes to be told.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// Runs each step against both. The remote must say the same, and the fields must change in
/// Transmission, else the step shows nothing, and be the same then in both.
pub fn run_all(pair: &mut Pair, release: Release, at: At, steps: &[Step]) -> Findings {
    let mut findings = Findings::default();
    for (arguments, fields) in steps {
        let what = arguments.join(" ");
        findings.note(&what, run(pair, release, at, arguments, fields));
    }
    findings
}

fn run(
    pair: &mut Pair,
    release: Release,
    at: At,
    arguments: &[&str],
    fields: &[&'static str],
) -> Result<()> {
    let before = look(&mut pair.transmission, at, fields)?;
    print_equally(pair, release, arguments)?;
    let excepted = |field: &&str| excepted::reason(at, field).is_some();
    let held: Vec<_> = fields.iter().copied().filter(|field| !excepted(field)).collect();
    if !held.is_empty() {
        pair.agree_within(SETTLES_WITHIN, at, &held)?;
    }
    let after = look(&mut pair.transmission, at, fields)?;
    ensure!(before != after || fields.is_empty(), "nothing changes in Transmission: {after}");
    note_superfluous(pair, at, fields)
}

/// No fields at all would mean all of them.
fn look(side: &mut Side, at: At, fields: &[&str]) -> Result<Value> {
    if fields.is_empty() { Ok(Value::Null) } else { side.look(at, fields) }
}

/// Says which exceptions are none any more: what is set to something else than before is told.
fn note_superfluous(pair: &mut Pair, at: At, fields: &[&str]) -> Result<()> {
    for field in fields.iter().filter(|field| excepted::reason(at, field).is_some()) {
        let [ours, theirs] = pair.look(at, &[field])?;
        if ours == theirs && ours[field] != Value::Bool(false) {
            note(format_args!("excepted, but the same here: {field} is {ours}"));
        }
    }
    Ok(())
}

/// Runs the remote against both; an error if it does not say the same about them, but for what
/// [`VARIES`].
pub fn print_equally(pair: &Pair, release: Release, arguments: &[&str]) -> Result<()> {
    let said = [&pair.ringseed, &pair.transmission].map(|side| -> Result<_> {
        let arguments = arguments.iter().map(|argument| own(side, argument));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = transmission_remote(release, side, &arguments)?;
        Ok((said.success, comparable(&said.text)))
    });
    let [ours, theirs] = said;
    let ((our_success, ours), (their_success, theirs)) = (ours?, theirs?);
    let same = our_success == their_success && ours == theirs;
    ensure!(
        same,
        "about Ringseed it says ({our_success})\n{ours}\nabout Transmission ({their_success})\n{theirs}"
    );
    Ok(())
}

/// An argument with `{tracker}` as this server's number of the first torrent's first tracker.
fn own(side: &Side, argument: &str) -> Result<String> {
    if !argument.contains("{tracker}") {
        return Ok(argument.to_owned());
    }
    let mut rpc = side.rpc();
    let params = serde_json::json!({"ids": [1], "fields": ["trackers"]});
    let answer = rpc.call("torrent_get", params)?;
    let id = answer["torrents"][0]["trackers"][0]["id"].as_i64().context("no tracker")?;
    Ok(argument.replace("{tracker}", &id.to_string()))
}

/// What is compared of a text.
fn comparable(text: &str) -> String {
    // 4.1's says in which dialect it spoke; that it depends on the server is not looked at here.
    let text = text.replace("acknowledged notification", "returned a successful response");
    let begins = |line: &str, list: &[&'static str]| {
        list.iter().copied().find(|beginning| line.trim_start().starts_with(beginning))
    };
    let lines = text.lines().filter(|line| begins(line, LEFT_OUT).is_none());
    let lines: Vec<&str> = lines.map(|line| begins(line, VARIES).unwrap_or(line)).collect();
    lines.join("\n")
}
