//! The Python package transmission-rpc: its whole client class gets from Ringseed what it gets from
//! Transmission.

use anyhow::{Context, Result, ensure};
use ringseed_tests::pair::{Findings, Pair, Side, any_driver};
use ringseed_tests::{Scene, ScriptedTracker, Shape, Torrent, peer_program, perform};
use serde_json::{Map, Value};
use std::fs;
use std::process::Command;
use std::thread;

#[test]
fn the_whole_client_class_finds_no_difference() {
    perform("the_whole_client_class_finds_no_difference", any_driver(), |scene| {
        let files = [("a", 300_000), ("b", 500_017), ("c", 20_000)];
        let files = files.map(|(path, length)| (path.to_owned(), length)).to_vec();
        let make = |name| -> Result<_> {
            let shape = Shape::folder(name, files.clone(), 32 << 10);
            Torrent::make(&shape, &scene.new_folder("source")?)
        };
        compare(scene, &make("first")?, &make("second")?)
    });
}

fn compare(scene: &Scene, first: &Torrent, second: &Torrent) -> Result<()> {
    let python = &peer_program("python-transmission-rpc")?;
    let mut pair = Pair::start(scene)?;
    let tracker = ScriptedTracker::start()?;
    let script = scene.folder().join("drive.py");
    fs::write(&script, include_str!("drive_transmission_rpc.py"))?;
    let torrents = [first, second].map(|torrent| -> Result<_> {
        let path = scene.folder().join(format!("{}.torrent", torrent.layout().name()));
        fs::write(&path, torrent.with_trackers(&[&tracker.url()])?)?;
        Ok(path)
    });
    let [one, two] = torrents;
    let (one, two) = (one?, two?);
    for side in pair.sides() {
        first.copy_to(&side.folder.join("downloads"))?;
    }
    let drive = |side: &Side| {
        let mut command = Command::new(python);
        command.arg(&script).arg(side.control.port().to_string()).arg(&side.folder);
        command.arg(&one).arg(&two);
        command
    };
    let [ours, theirs] = [drive(&pair.ringseed), drive(&pair.transmission)];
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| seen("Transmission", theirs));
        let ours = seen("Ringseed", ours);
        // A panic in it has been printed already.
        (ours, theirs.join().unwrap_or_else(|_| Err(anyhow::Error::msg("it panicked"))))
    });
    let mut findings = Findings::default();
    differences("", &Value::Object(ours?), &Value::Object(theirs?), &mut findings);
    findings.result()
}

/// What the script saw of a server.
fn seen(server: &str, mut script: Command) -> Result<Map<String, Value>> {
    let output = script.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{server}: {errors}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("{server}: {errors}"))
}

/// Finds what is not the same, down to the single value.
fn differences(path: &str, ours: &Value, theirs: &Value, findings: &mut Findings) {
    if let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) {
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let value = |side: &Map<String, Value>| side.get(name).cloned().unwrap_or(Value::Null);
            differences(&format!("{path}/{name}"), &value(ours), &value(theirs), findings);
        }
    } else if ours != theirs && !EXCEPTED.iter().any(|(end, _)| path.ends_with(end)) {
        findings.note::<()>(path, Err(anyhow::anyhow!("{ours}, in Transmission {theirs}")));
    }
}

/// What is not compared, by how its path ends, each with the reason.
const EXCEPTED: &[(&str, &str)] = &[
    ("/config_dir", "each has its own"),
    ("/torrent_file", "each has its own"),
    ("/version", "each has its own"),
    ("peer_port", "any free one is taken at the next start, not at once"),
];
