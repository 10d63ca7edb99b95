//! The program from the outside: a daemon, commands for it, and commands without it.

use serde_json::{Value, json};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

mod support;
use support::{Daemon, Running, command, prepared, run, stdout};

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
    daemon.wait_for(folder, "complete", |torrent| torrent["progress"] == 1.0);
    let hash = added[0]["info_hash"].as_str().expect("a hash").to_uppercase();
    assert_eq!(stdout(&daemon.run(folder, &["start", &hash])), "started: 1 data\n");
    daemon.wait_for(folder, "seeding", |torrent| torrent["state"] == "seeding");
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
    daemon.wait_for(folder, "stopped", |torrent| torrent["state"] == "stopped");
    stdout(&daemon.run(folder, &["remove", "--delete-data", "1"]));
    assert_eq!(daemon.json(folder, &["list"]), json!([]));
    // Files are deleted behind the answer.
    let deadline = Instant::now() + Duration::from_secs(60);
    while folder.join("downloads/data").exists() {
        assert!(Instant::now() < deadline, "the data stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, took) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn get_with_seed_goes_on_seeding_until_it_is_told_to_end() {
    let folder = prepared();
    let folder = folder.path();
    fs::rename(folder.join("data"), folder.join("downloads/data")).expect("the data in place");
    let daemon = Daemon::start(folder, &[]);
    stdout(&daemon.run(folder, &["add", "data.torrent"]));
    daemon.wait_for(folder, "seeding", |torrent| torrent["state"] == "seeding");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let get = |out: &str, port: u16, from: &str| {
        let mut get = command(folder);
        get.args(["get", "data.torrent", "--out", out, "--peer", from]);
        get.args(["--peer-bind", "127.0.0.1", "--peer-port", &port.to_string()]);
        get
    };
    let seed = get("got", port, &daemon.peers).arg("--seed").stdout(Stdio::piped()).spawn();
    let mut seed = Running(seed.expect("it runs"));
    let reachable = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!((0..400).any(|_| reachable() || {
        sleep(Duration::from_millis(50));
        false
    }));
    // Who knows nobody else gets all of it from there.
    let second = get("again", 0, &format!("127.0.0.1:{port}")).output().expect("it runs");
    assert_eq!(stdout(&second), "again/data\n");
    assert!(seed.0.try_wait().expect("its state").is_none(), "it seeds");
    let pid = seed.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert!(seed.0.wait().expect("it ends").success());
    let read = |at: &str| fs::read(folder.join(at).join("a.bin")).expect("a file");
    assert!(read("again/data") == read("downloads/data"));
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
    assert_eq!(shown[0]["state"], "stopped");
    assert!(stdout(&daemon.run(folder, &["settings", "reqq"])).contains("77"));
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
    for (version, hashes) in [("v1", (true, false)), ("v2", (false, true))] {
        let out = format!("{version}.torrent");
        stdout(&run(folder, &["create", "data", "--out", &out, "--version", version]));
        let report = stdout(&run(folder, &["inspect", &out, "--json"]));
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let has = |field: &str| report[field].is_string();
        assert_eq!((has("info_hash_v1"), has("info_hash_v2")), hashes, "{version}");
        assert_eq!(report["total_size"], 701_000, "{version}");
    }
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
        (&["list", "--url", "http://127.0.0.1:9"], 3, "ringseed daemon"),
        (&["list", "--config-dir", "nobody"], 3, "ringseed daemon"),
        (&["list", "--url", "nonsense"], 2, "http://"),
        (&["top", "--url", "http://127.0.0.1:9"], 1, "terminal"),
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
    for (args, code, says) in [
        (&["show", "7"][..], 5, "no torrent 7"),
        (&["stop", "x"], 5, "'x' is no id"),
        (&["add", "bad.torrent"], 1, "bad.torrent is not added"),
        (&["files", "7"], 5, "no torrent 7"),
        (&["settings", "no-such"], 5, "no setting no_such"),
        (&["settings", "reqq=0"], 1, "reqq"),
        (&["settings", "reqq=x"], 2, "a number"),
        (&["call", "torrent.fly"], 1, "not found"),
        (&["call", "torrent.get", "{"], 2, "not JSON"),
        (&["space", "/no/such"], 1, "/no/such"),
    ] {
        let output = daemon.run(folder, args);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let folder = prepared();
    let folder = folder.path();
    let (unread, stderr) = std::io::pipe().unwrap();
    let daemon = Daemon::start_logging_to(folder, stderr.into(), "trace");
    // A pipe holds 64 KiB; each of these calls is logged in many lines.
    for _ in 0..200 {
        daemon.json(folder, &["list"]);
    }
    let (code, took) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(unread);
}
