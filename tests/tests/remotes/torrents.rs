//! Options that concern torrents.

use crate::run::{Step, print_equally, run_all};
use anyhow::Result;
use ringseed_tests::pair::{At, Data, Findings, Pair};
use ringseed_tests::{
    Release, Scene, ScriptedTracker, Shape, Torrent, transmission_remote, wait_until,
};
use std::time::Duration;

/// Longer than anything that is waited for here takes.
const ENOUGH: Duration = Duration::from_secs(30);

/// What both remotes can set of a torrent.
const BOTH: &[Step] = &[
    (&["-t1", "-G", "0,2"], &["files", "file_stats", "wanted", "size_when_done"]),
    (&["-t1", "-g", "2"], &["file_stats", "wanted", "left_until_done"]),
    (&["-t1", "-g", "all"], &["file_stats", "wanted", "percent_done"]),
    (&["-t1", "-ph", "0,1"], &["file_stats", "priorities"]),
    (&["-t1", "-pl", "1-2"], &["file_stats", "priorities"]),
    (&["-t1", "-pn", "all"], &["file_stats", "priorities"]),
    (&["-t1", "-Bh"], &["bandwidth_priority"]),
    (&["-t1", "-Bl"], &["bandwidth_priority"]),
    (&["-t1", "-Bn"], &["bandwidth_priority"]),
    (&["-t1", "-d", "111"], &["download_limit", "download_limited"]),
    (&["-t1", "-D"], &["download_limited"]),
    (&["-t1", "-u", "222"], &["upload_limit", "upload_limited"]),
    (&["-t1", "-U"], &["upload_limited"]),
    (&["-t1", "-pr", "33"], &["peer_limit", "max_connected_peers"]),
    (&["-t1", "-sr", "1.25"], &["seed_ratio_limit", "seed_ratio_mode"]),
    (&["-t1", "-SR"], &["seed_ratio_mode"]),
    (&["-t1", "-srd"], &["seed_ratio_mode"]),
    (&["-t1", "-HL"], &["honors_session_limits"]),
    (&["-t1", "-hl"], &["honors_session_limits"]),
    (&["-t1", "-L", "linux,größer"], &["labels"]),
    (&["-t1", "-td", "http://127.0.0.1:9/second"], &["tracker_list"]),
    (&["-t1", "-tr", "{tracker}"], &["tracker_list"]),
];

/// What only 4.1's can.
const NEWER: &[Step] = &[
    (&["-t1", "-isl", "45"], &["seed_idle_limit", "seed_idle_mode"]),
    (&["-t1", "-ISL"], &["seed_idle_mode"]),
    (&["-t1", "-isld"], &["seed_idle_mode"]),
    (&["-t1", "-bwg", "slow"], &["group"]),
    (&["-t1", "-nwg"], &["group"]),
    (&["-t1", "-seq"], &["sequential_download"]),
    (&["-t1", "-seq", "3"], &["sequential_download_from_piece"]),
    (&["-t1", "-SEQ"], &["sequential_download"]),
];

fn shape(name: &str) -> Shape {
    let files = [("a first.bin", 300_000), ("folder/größer.mkv", 500_017), ("z last", 20_000)];
    Shape::folder(name, files.map(|(path, length)| (path.to_owned(), length)).to_vec(), 32 << 10)
}

pub fn settings_of_torrents(scene: &Scene, release: Release) -> Result<()> {
    let mut pair = Pair::start(scene)?;
    let torrent = Torrent::make(&shape("one"), &scene.new_folder("source")?)?;
    pair.add(&torrent, &["http://127.0.0.1:9/announce"], Data::None)?;
    let mut steps = BOTH.to_vec();
    if release == Release::V4 {
        steps.extend(NEWER);
    }
    let mut findings = run_all(&mut pair, release, At::Torrent(1), &steps);
    if release == Release::V4 {
        findings.note("-lg", print_equally(&pair, release, &["-lg"]));
        findings.note("-ids", print_equally(&pair, release, &["-tall", "-ids"]));
    }
    findings.result()
}

pub fn places_and_names(scene: &Scene, release: Release) -> Result<()> {
    let mut pair = Pair::start(scene)?;
    let torrent = Torrent::make(&shape("one"), &scene.new_folder("source")?)?;
    pair.add(&torrent, &[], Data::Complete)?;
    for side in pair.sides() {
        let copy = side.folder.join("copy");
        torrent.copy_to(&copy)?;
    }
    let place: &[&str] = &["download_dir", "percent_done", "left_until_done", "error", "status"];
    let names: &[&str] = &["name", "files", "percent_done", "error", "status"];
    let mut steps: Vec<Step> = vec![
        (&["-t1", "--move", "{folder}/moved"], place),
        // Only a place with the data: where it is missing Ringseed says so and stops, and Transmission
        // goes on as if it were there.
        (&["-t1", "--find", "{folder}/copy"], place),
    ];
    if release == Release::V4 {
        steps.push((&["-t1", "--path", "one/z last", "--rename", "z first"], names));
        steps.push((&["-t1", "--path", "one/folder", "--rename", "Ordner"], names));
        steps.push((&["-t1", "--path", "one", "--rename", "uno"], names));
    }
    run_all(&mut pair, release, At::Torrent(1), &steps).result()
}

/// Adding by the remote, with its options for that; and removing, with the data and without.
pub fn life_and_death(scene: &Scene, release: Release) -> Result<()> {
    let mut pair = Pair::start(scene)?;
    let torrent = Torrent::make(&shape("one"), &scene.new_folder("source")?)?;
    for side in pair.sides() {
        std::fs::write(side.folder.join("one.torrent"), torrent.with_trackers(&[])?)?;
        torrent.copy_to(&side.folder.join("elsewhere"))?;
    }
    let added: &[&str] = &["id", "name", "hash_string", "download_dir", "total_size"];
    let state: &[&str] = &["status", "percent_done", "left_until_done", "error"];
    let steps: Vec<Step> = vec![
        (&["-a", "{folder}/one.torrent", "-w", "{folder}/elsewhere"], added),
        // A second time is no error.
        (&["-a", "{folder}/one.torrent"], &[]),
    ];
    let mut findings = run_all(&mut pair, release, At::Torrent(1), &steps);
    for side in pair.sides() {
        // One that is stopped while its data is looked at has none so far.
        wait_until("its data is found", ENOUGH, || {
            let torrent = side.look(At::Torrent(1), &["percent_done"])?;
            Ok(torrent["percent_done"] == 1.0)
        })?;
    }
    let steps: Vec<Step> = vec![
        (&["-t1", "-S"], state),
        (&["-t1", "-s"], state),
        (&["-t1", "-v"], &[]),
        (&["-t1", "--reannounce"], &[]),
        (&["-t1", "-r"], &["id"]),
    ];
    findings.add(run_all(&mut pair, release, At::Torrent(1), &steps));
    let steps: Vec<Step> = vec![
        (&["-a", "{folder}/one.torrent", "-w", "{folder}/elsewhere", "--start-paused"], added),
        (&["-t2", "-v"], &[]),
        (&["-t2", "-rad"], &["id"]),
    ];
    findings.add(run_all(&mut pair, release, At::Torrent(2), &steps));
    for side in pair.sides() {
        let (name, rest) = (side.name, side.folder.join("elsewhere/one"));
        let gone = wait_until("its data is gone", ENOUGH, || Ok(!rest.exists()));
        findings.note(&format!("-rad, {name}"), gone);
    }
    findings.note("--exit", print_equally(&pair, release, &["--exit"]));
    findings.result()
}

pub fn what_is_printed(scene: &Scene, release: Release) -> Result<()> {
    let mut pair = Pair::start(scene)?;
    let tracker = ScriptedTracker::start()?;
    let one = Torrent::make(&shape("one"), &scene.new_folder("source")?)?;
    let two = Torrent::make(&shape("two"), &scene.new_folder("source")?)?;
    pair.add(&one, &[&tracker.url()], Data::Complete)?;
    pair.add(&two, &[&tracker.url()], Data::None)?;
    for side in pair.sides() {
        wait_until("the remote tells of the announces", ENOUGH, || {
            let said = transmission_remote(release, side, &["-tall", "-it"])?;
            Ok(said.text.matches("Got a list of 0 peers").count() == 2)
        })?;
    }
    let mut findings = Findings::default();
    for arguments in PRINTING {
        findings.note(&arguments.join(" "), print_equally(&pair, release, arguments));
    }
    findings.result()
}

/// Options that only print. `-pt` is not among them: what it says depends on the machine.
const PRINTING: &[&[&str]] = &[
    &["-l"],
    &["-tall", "-i"],
    &["-tall", "-f"],
    &["-t1", "-if"],
    &["-tall", "-it"],
    &["-tall", "-ip"],
    &["-tall", "-pi"],
    &["-tall", "-ic"],
    &["-t1-2", "-i"],
    &["-t99", "-i"],
    &["-si"],
    &["-st"],
];
