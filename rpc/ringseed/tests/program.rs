//! The program from the outside: a daemon, commands for it, and commands without it.

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringseed");

/// A daemon in a folder of its own; killed when it goes out of scope.
struct Daemon {
    child: Child,
    rpc: String,
    peers: String,
}

impl Daemon {
    fn start(folder: &Path, flags: &[&str]) -> Daemon {
        let mut child = command(folder)
            .args(["daemon", "--config-dir", "config", "--download-dir", "downloads"])
            .args(["--rpc-bind", "127.0.0.1:0", "--peer-port", "0", "--peer-bind", "127.0.0.1"])
            .args(["--cores", "1"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let word = |before: &str| {
            let rest = line.split_once(before).unwrap_or_else(|| panic!("no {before} in {line}")).1;
            rest.split([',', '\n']).next().unwrap_or_default().to_owned()
        };
        Daemon { rpc: word("rpc "), peers: word("peers "), child }
    }

    fn run(&self, folder: &Path, args: &[&str]) -> Output {
        command(folder)
            .args(args)
            .env("RINGSEED_RPC", &self.rpc)
            .output()
            .expect("the program runs")
    }

    /// Runs a command that must succeed and gives what it prints as JSON.
    fn json(&self, folder: &Path, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&stdout(&self.run(folder, &args))).expect("JSON")
    }

    /// Waits until the only torrent is as asked.
    fn wait_for(&self, folder: &Path, what: &str, holds: impl Fn(&Value) -> bool) {
        for _ in 0..200 {
            if self.json(folder, &["list"]).get(0).is_some_and(&holds) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {what}: {}", self.json(folder, &["list"]));
    }

    /// Ends it as an operator would; gives its exit code and how long that took.
    fn stop(mut self) -> (Option<i32>, Duration) {
        let start = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        let status = self.child.wait().expect("it ends");
        (status.code(), start.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["RINGSEED_RPC", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder).args(args).output().expect("the program runs")
}

fn stdout(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A folder with some data and a torrent of it.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("sub")).expect("a folder");
    let bytes: Vec<u8> = (0..700_000u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
    fs::write(data.join("a.bin"), &bytes).expect("a file");
    fs::write(data.join("sub/b.txt"), &bytes[..1000]).expect("a file");
    fs::create_dir(folder.path().join("downloads")).expect("a folder");
    stdout(&run(folder.path(), &["create", "data", "-o", "data.torrent", "--piece-length", "32K"]));
    folder
}

#[test]
fn a_torrent_goes_through_its_whole_life() {
    let folder = prepared();
    let folder = folder.path();
    fs::rename(folder.join("data"), folder.join("downloads/data")).expect("the data in place");
    let daemon = Daemon::start(folder, &[]);
    let added = daemon.json(folder, &["add", "data.torrent", "--label", "x", "--paused"]);
    assert_eq!((&added[0]["id"], &added[0]["duplicate"]), (&json!(1), &json!(false)));
    assert!(
        stdout(&daemon.run(folder, &["add", "data.torrent"])).starts_with("is there already: 1")
    );
    assert_eq!(daemon.json(folder, &["list"])[0]["labels"], json!(["x"]));
    stdout(&daemon.run(folder, &["verify", "1"]));
    daemon.wait_for(folder, "complete", |torrent| torrent["percent_done"] == 1.0);
    let hash = added[0]["hash_string"].as_str().expect("a hash").to_uppercase();
    assert_eq!(stdout(&daemon.run(folder, &["start", &hash])), "started: 1 data\n");
    daemon.wait_for(folder, "seeding", |torrent| torrent["status"] == 6);
    let sheet = stdout(&daemon.run(folder, &["show", "1"]));
    assert!(sheet.contains("data/sub/b.txt") && sheet.contains("100.0%"), "{sheet}");

    // Another process fetches it from this one.
    let args = ["get", "data.torrent", "--out", "got", "--peer", &daemon.peers, "--peer-port", "0"];
    let got =
        command(folder).args(args).args(["--peer-bind", "127.0.0.1"]).output().expect("it runs");
    assert_eq!(stdout(&got), "got/data\n");
    for file in ["a.bin", "sub/b.txt"] {
        let read = |at: &str| fs::read(folder.join(at).join(file)).expect("a file");
        assert!(read("got/data") == read("downloads/data"), "{file}");
    }

    stdout(&daemon.run(folder, &["stop", "all"]));
    daemon.wait_for(folder, "stopped", |torrent| torrent["status"] == 0);
    stdout(&daemon.run(folder, &["remove", "--delete-data", "1"]));
    assert_eq!(daemon.json(folder, &["list"]), json!([]));
    let (code, took) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!folder.join("downloads/data").exists());
}

#[test]
fn torrents_and_settings_survive_a_restart() {
    let folder = prepared();
    let folder = folder.path();
    let daemon = Daemon::start(folder, &["--log-json"]);
    stdout(
        &daemon.run(folder, &["add", "data.torrent", "--paused", "--download-dir", "elsewhere"]),
    );
    daemon.stop();
    fs::write(folder.join("config/ringseed.toml"), "# mine\nreqq = 77\n").expect("settings");
    let daemon = Daemon::start(folder, &[]);
    let shown = daemon.json(folder, &["show", "1"]);
    assert_eq!(shown[0]["download_dir"], json!(folder.join("elsewhere")));
    assert_eq!(shown[0]["status"], 0);
    let second = run(folder, &["daemon", "--config-dir", "config", "--rpc-bind", "127.0.0.1:0"]);
    let error = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(error.contains("already"), "{error}");
}

#[test]
fn inspect_prints_what_create_was_told() {
    let folder = prepared();
    let folder = folder.path();
    let made = run(
        folder,
        &[
            "create",
            "data",
            "--out",
            "x.torrent",
            "--version",
            "hybrid",
            "--private",
            "--tracker",
            "http://a/announce,http://b/announce",
            "--tracker",
            "udp://c:1",
            "--web-seed",
            "http://w/",
            "--comment",
            "c",
            "--source",
            "s",
        ],
    );
    stdout(&made);
    let report = stdout(&run(folder, &["inspect", "x.torrent", "--json"]));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let names: Vec<&str> =
        report.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "name",
        "info_hash_v1",
        "info_hash_v2",
        "piece_length",
        "piece_count",
        "total_size",
        "private",
        "files",
        "trackers",
        "web_seeds",
        "comment",
        "created_by",
        "creation_date",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(report["total_size"], 701_000);
    assert_eq!(report["private"], true);
    assert_eq!(report["info_hash_v1"].as_str().map(str::len), Some(40));
    assert_eq!(report["info_hash_v2"].as_str().map(str::len), Some(64));
    assert_eq!(
        report["trackers"],
        json!([["http://a/announce", "http://b/announce"], ["udp://c:1"]])
    );
    assert_eq!(
        report["files"][0],
        json!({ "path": "data/a.bin", "length": 700_000, "pad": false })
    );
    assert_eq!(report["files"][1]["pad"], true);
    assert!(stdout(&run(folder, &["inspect", "x.torrent"])).contains("hybrid"));
    // What a torrent does not say is null.
    let plain = stdout(&run(folder, &["inspect", "data.torrent", "--json"]));
    let plain: Value = serde_json::from_str(&plain).expect("JSON");
    assert_eq!((&plain["comment"], &plain["info_hash_v2"]), (&Value::Null, &Value::Null));
}

#[test]
fn failures_are_one_line_and_an_exit_code() {
    let folder = prepared();
    let folder = folder.path();
    fs::write(folder.join("bad.torrent"), "junk").expect("a file");
    for (args, code, says) in [
        (&["inspect", "bad.torrent", "--json"][..], 1, "bad.torrent"),
        (&["inspect", "missing.torrent"], 1, "missing.torrent"),
        (&["get", "bad.torrent"], 1, "bad.torrent"),
        (&["create", "missing"], 1, "missing"),
        (&["create", "data", "-o", "data.torrent"], 1, "--force"),
        (&["list", "--rpc", "http://127.0.0.1:9/transmission/rpc"], 1, "ringseed daemon"),
        (&["list", "--rpc", "nonsense"], 1, "URL"),
    ] {
        let output = run(folder, args);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(output.stdout.is_empty() && error.contains(says), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
    }
    for args in [&["start"][..], &["no-such"], &["daemon", "--peer-port", "x"], &[]] {
        assert_eq!(run(folder, args).status.code(), Some(2), "{args:?}");
    }
    let daemon = Daemon::start(folder, &[]);
    for (args, says) in [
        (["show", "7"], "no torrent 7"),
        (["stop", "x"], "'x' is no id"),
        (["add", "bad.torrent"], "bad.torrent is not added"),
    ] {
        let output = daemon.run(folder, &args);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1));
        assert!(error.contains(says), "{error}");
    }
}
