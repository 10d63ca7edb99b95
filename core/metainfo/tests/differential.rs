//! What libtorrent 2.1 loads, we load, with the same identity and the same files; what it refuses,
//! we refuse. The torrents are made, and judged, by `libtorrent_verdicts.py`.
//!
//! Needs a Python that has libtorrent, as `scripts/setup-peers` makes it. Without one it is skipped,
//! and under `CI=true` it fails. `RINGSEED_SEED` and `RINGSEED_COUNT` choose other and more torrents.

#![allow(clippy::unwrap_used)]

use data_encoding::HEXLOWER;
use ringseed_metainfo::create::{Hashes, NewFile, Options, Plan, Version};
use ringseed_metainfo::merkle::{FileHash, block_hash};
use ringseed_metainfo::{Attributes, File, Metainfo, MetainfoError};
use std::process::Command;

/// What one program makes of a torrent, as far as both must agree.
#[derive(Debug, PartialEq)]
struct Verdict {
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    name: String,
    piece_count: u64,
    /// Path and length of the files that are not padding.
    files: Vec<(String, u64)>,
    /// Lengths of the pad files; not compared for version-2 torrents, which have none of their own.
    padding: Vec<u64>,
}

/// The Python that `scripts/setup-peers` makes, or any other that has libtorrent.
fn python() -> Option<String> {
    let folder = std::env::var("RINGSEED_PEERS")
        .ok()
        .or_else(|| std::env::var("HOME").ok().map(|home| format!("{home}/.cache/ringseed/peers")));
    let python = folder.into_iter().map(|folder| format!("{folder}/bin/python-libtorrent"));
    python.chain(["python3".to_owned()]).find(|python| {
        let check = Command::new(python).args(["-c", "import libtorrent"]).output();
        check.is_ok_and(|output| output.status.success())
    })
}

fn text(hex: &str) -> String {
    String::from_utf8_lossy(&HEXLOWER.decode(hex.as_bytes()).unwrap()).into_owned()
}

/// With the paths of the pad files.
fn theirs(fields: &[&str]) -> Option<(Verdict, Vec<String>)> {
    let [v1, v2, name, _bytes, pieces, files @ ..] = fields.strip_prefix(&["ok"])? else {
        panic!("a verdict of {} fields", fields.len());
    };
    let hash = |hash: &str| (hash != "-").then(|| hash.to_owned());
    let files = files.iter().map(|file| {
        let parts: Vec<&str> = file.split(':').collect();
        (text(parts[0]), parts[1].parse().unwrap(), parts[2] == "1")
    });
    let (padding, files): (Vec<_>, Vec<_>) = files.partition(|(_, _, pad)| *pad);
    let verdict = Verdict {
        info_hash_v1: hash(v1),
        info_hash_v2: hash(v2),
        name: text(name),
        piece_count: pieces.parse().unwrap(),
        files: files.into_iter().map(|(path, length, _)| (path, length)).collect(),
        padding: padding.iter().map(|(_, length, _)| *length).collect(),
    };
    Some((verdict, padding.into_iter().map(|(path, _, _)| path.to_lowercase()).collect()))
}

fn ours(torrent: &Metainfo) -> Verdict {
    let files = || torrent.layout.files().map(|(_, file)| file);
    let entry = |file: &File| (file.path().to_string(), file.length());
    Verdict {
        info_hash_v1: torrent.info_hash_v1.map(|hash| hash.to_string()),
        info_hash_v2: torrent.info_hash_v2.map(|hash| hash.to_string()),
        name: torrent.name().to_owned(),
        piece_count: u64::from(torrent.geometry().piece_count()),
        files: files().filter(|file| !file.is_pad()).map(entry).collect(),
        padding: files().filter(|file| file.is_pad()).map(File::length).collect(),
    }
}

/// Differences that are meant: we keep names of up to 255 bytes, which libtorrent cuts at 240, do not
/// let a pad file take a real file's name, and do not end a torrent with padding that only version 2
/// would have.
fn differs_on_purpose(ours: &Verdict, theirs: &Verdict, pads: &[String]) -> bool {
    let lengths = |verdict: &Verdict| -> Vec<u64> {
        verdict.files.iter().map(|(_, length)| *length).collect()
    };
    let long = theirs.files.iter().any(|(path, _)| path.split('/').any(|part| part.len() >= 240));
    let clash = ours.files.iter().any(|(path, _)| {
        let path = path.to_lowercase();
        pads.iter().any(|pad| *pad == path || pad.starts_with(&format!("{path}/")))
    });
    let tail = theirs.padding.len() == ours.padding.len() + 1;
    let same = ours.files == theirs.files && ours.name == theirs.name;
    // A pad file without a path that comes first gives its name to libtorrent's torrent.
    let pad_name = ours.files == theirs.files && theirs.name == ".pad";
    (same && tail || pad_name || clash || long)
        && ours.info_hash_v1 == theirs.info_hash_v1
        && ours.info_hash_v2 == theirs.info_hash_v2
        && lengths(ours) == lengths(theirs)
        && theirs.padding.starts_with(&ours.padding)
        && ours.piece_count == theirs.piece_count
}

#[test]
fn libtorrent_and_we_agree_on_odd_torrents() {
    let Some(python) = python() else {
        return machine::skip("no Python that has libtorrent (run scripts/setup-peers)");
    };
    let seed = std::env::var("RINGSEED_SEED").unwrap_or_else(|_| "1".to_owned());
    let count = std::env::var("RINGSEED_COUNT").unwrap_or_else(|_| "3000".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libtorrent_verdicts.py");
    let output = Command::new(python).args([script, &seed, &count]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (mut loaded, mut refused, mut wrong) = (0, 0, 0);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let bytes = HEXLOWER.decode(fields[0].as_bytes()).unwrap();
        let parsed = Metainfo::parse(&bytes);
        let agree = match (theirs(&fields[1..]), &parsed) {
            (Some((mut theirs, pads)), Ok(torrent)) => {
                loaded += 1;
                let mut ours = ours(torrent);
                if torrent.info_hash_v1.is_none() {
                    (ours.padding, theirs.padding) = (Vec::new(), Vec::new());
                }
                let agree = ours == theirs || differs_on_purpose(&ours, &theirs, &pads);
                if !agree {
                    eprintln!("ours   {ours:?}\ntheirs {theirs:?}");
                }
                agree
            }
            (None, Err(_)) => {
                refused += 1;
                true
            }
            // libtorrent looks at 32 bits of the number only.
            (Some(_), Err(MetainfoError::Version(version))) if *version > i64::from(i32::MAX) => {
                true
            }
            (Some((theirs, _)), Err(error)) => {
                eprintln!("we refuse ({error}) what libtorrent loads as {theirs:?}");
                false
            }
            (None, Ok(_)) => {
                eprintln!("we load what libtorrent refuses: {}", fields[2]);
                false
            }
        };
        if !agree {
            wrong += 1;
            eprintln!("{}\n", bytes.escape_ascii());
        }
    }
    eprintln!("{loaded} loaded by both, {refused} refused by both, {wrong} judged differently");
    assert_eq!(wrong, 0);
    assert!(loaded > 100 && refused > 100);
}

/// Torrents of our making, in every version, each with the info-hash that it must have.
fn created() -> Vec<Metainfo> {
    let file = |path: &[&str], length| NewFile {
        path: path.iter().map(|part| (*part).to_owned()).collect(),
        length,
        attributes: Attributes::default(),
    };
    let several = vec![
        file(&["b"], 100_000),
        file(&["a", "x"], 5),
        file(&["a", "empty"], 0),
        file(&["c"], 16384),
    ];
    let mut torrents = Vec::new();
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        for files in [several.clone(), vec![file(&[], 300_000)], vec![file(&[], 1)]] {
            let plan = Plan::new("name", &files, Some(32768), version).unwrap();
            let pieces = plan.layout().geometry().piece_count() as usize;
            let tree = |file: &File| {
                let blocks = vec![block_hash(b"zeros"); file.length().div_ceil(16384) as usize];
                (!file.is_pad()).then(|| FileHash::from_blocks(&blocks, 32768)).flatten()
            };
            let hashes = Hashes {
                pieces: if version == Version::V2 { Vec::new() } else { vec![[7; 20]; pieces] },
                files: match version {
                    Version::V1 => Vec::new(),
                    _ => plan.layout().files().map(|(_, file)| tree(file)).collect(),
                },
            };
            let bytes = plan.finish(&hashes, &Options::default()).unwrap();
            torrents.push(Metainfo::parse(&bytes).unwrap());
        }
    }
    torrents
}

#[test]
fn libtorrent_loads_what_we_create() {
    let Some(python) = python() else {
        return machine::skip("no Python that has libtorrent (run scripts/setup-peers)");
    };
    let script = "import sys, libtorrent as lt\n\
        for line in sys.argv[1:]:\n    \
        p = lt.load_torrent_buffer(bytes.fromhex(line))\n    \
        print(p.info_hashes.v1, p.info_hashes.v2)";
    let torrents = created();
    let files = torrents.iter().map(|torrent| HEXLOWER.encode(&torrent.to_torrent()));
    let output = Command::new(python).args(["-c", script]).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = torrents.iter().map(|torrent| {
        let v1 = torrent.info_hash_v1.map_or("0".repeat(40), |hash| hash.to_string());
        let v2 = torrent.info_hash_v2.map_or("0".repeat(64), |hash| hash.to_string());
        format!("{v1} {v2}\n")
    });
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.collect::<String>());
}
