//! Limits, groups and the queue from the command line, and the ways to a daemon: its Unix socket, and
//! its URL with a password or a token.

use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

mod support;
use support::{Daemon, PATIENCE, Running, command, prepared, run, stdout};

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn limits_of_the_daemon_are_set_and_shown() {
    let folder = prepared();
    let folder = folder.path();
    let daemon = Daemon::start(folder, &[]);
    let shown = stdout(&daemon.run(folder, &["limit"]));
    assert!(shown.contains("usual") && shown.contains("none"), "{shown}");
    let set = ["limit", "--up", "1.5M", "--down", "2M", "--alt-up", "50k"];
    let shown = stdout(&daemon.run(folder, &set));
    assert!(shown.contains("1.50 MB/s") && shown.contains("2.00 MB/s  in force"), "{shown}");
    let hours = ["limit", "--alt", "on", "--alt-hours", "22:00-06:30", "--alt-days", "sat,sun"];
    let limits = daemon.json(folder, &hours);
    for (name, value) in [
        ("speed_limit_up", json!(1500)),
        ("speed_limit_up_enabled", json!(true)),
        ("alt_speed_up", json!(50)),
        ("alt_speed_time_enabled", json!(true)),
        ("alt_speed_time_begin", json!(22 * 60)),
        ("alt_speed_time_end", json!(390)),
        ("alt_speed_time_day", json!(65)),
    ] {
        assert_eq!(limits[name], value, "{name}");
    }
    let shown = stdout(&daemon.run(folder, &["limit", "--up", "none", "--alt-hours", "none"]));
    assert!(!shown.contains("1.50 MB/s") && !shown.contains("clock"), "{shown}");
    let kept = fs::read_to_string(folder.join("config/ringseed.toml")).expect("settings");
    assert!(kept.contains("speed_limit_down = 2000"), "{kept}");
    for bad in [["limit", "--up", "500"], ["limit", "--alt", "maybe"], ["limit", "--alt-days", "x"]]
    {
        assert_eq!(daemon.run(folder, &bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn torrents_get_limits_goals_and_groups() {
    let folder = prepared();
    let folder = folder.path();
    let daemon = Daemon::start(folder, &[]);
    let add = ["add", "data.torrent", "--paused", "--group", "slow", "--up", "500k", "--skip", "1"];
    stdout(&daemon.run(folder, &add));
    let files = daemon.json(folder, &["files", "1"]);
    assert_eq!((&files[0]["priority"], &files[1]["priority"]), (&json!("normal"), &json!("skip")));
    let edit =
        ["edit", "1", "--down", "2M", "--priority", "high", "--ratio", "1.5", "--idle", "2h"];
    assert_eq!(stdout(&daemon.run(folder, &edit)), "edited: 1 data\n");
    let shown = &daemon.json(folder, &["show", "1"])[0];
    for (name, value) in [
        ("upload_limit", json!(500_000)),
        ("download_limit", json!(2_000_000)),
        ("group", json!("slow")),
        ("priority", json!("high")),
        ("ratio_goal", json!(1.5)),
        ("idle_goal", json!(7200)),
        ("honors_session_limits", json!(true)),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let sheet = stdout(&daemon.run(folder, &["show", "1"]));
    for line in ["up 500 kB/s, down 2.00 MB/s", "slow", "ratio 1.50, idle for 2h00m", "high"] {
        assert!(sheet.contains(line), "{line} in {sheet}");
    }
    let groups = stdout(&daemon.run(folder, &["group", "set", "slow", "--up", "1M"]));
    assert!(groups.contains("slow") && groups.contains("1.00 MB/s"), "{groups}");
    assert_eq!(daemon.json(folder, &["group", "list"])[0]["torrents"], 1);
    let back = ["edit", "1", "--up", "none", "--ratio", "settings", "--honor-limits", "false"];
    stdout(&daemon.run(folder, &back));
    assert_eq!(stdout(&daemon.run(folder, &["group", "remove", "slow"])), "removed: slow\n");
    let shown = &daemon.json(folder, &["show", "1"])[0];
    assert_eq!((&shown["group"], &shown["upload_limit"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&shown["ratio_goal"], &shown["download_limit"]),
        (&json!("settings"), &json!(2_000_000))
    );
    let missing = daemon.run(folder, &["group", "remove", "slow"]);
    assert_eq!(missing.status.code(), Some(5), "{}", error(&missing));
    assert_eq!(daemon.run(folder, &["edit", "1"]).status.code(), Some(2), "nothing to edit");
}

/// Three torrents, stopped: 1, 2 and 3.
fn three(folder: &Path, daemon: &Daemon) {
    for name in ["one", "two", "three"] {
        let data = folder.join("downloads").join(name);
        fs::write(&data, name.repeat(10_000)).expect("a file");
        let out = format!("{name}.torrent");
        let data = data.to_str().expect("a path");
        stdout(&run(folder, &["create", data, "-o", &out]));
        stdout(&daemon.run(folder, &["add", &out, "--paused"]));
    }
}

#[test]
fn the_queue_is_shown_and_changed() {
    let folder = prepared();
    let folder = folder.path();
    let daemon = Daemon::start(folder, &[]);
    three(folder, &daemon);
    let order = || {
        let list = daemon.json(folder, &["queue", "list"]);
        let ids = list.as_array().expect("a list").iter().map(|one| one["id"].as_u64());
        ids.map(|id| id.expect("an id")).collect::<Vec<_>>()
    };
    assert_eq!(order(), [1, 2, 3]);
    assert_eq!(stdout(&daemon.run(folder, &["queue", "top", "3"])), "moved: 3 three\n");
    assert_eq!(order(), [3, 1, 2]);
    stdout(&daemon.run(folder, &["queue", "down", "3"]));
    stdout(&daemon.run(folder, &["queue", "bottom", "--name", "one"]));
    assert_eq!(order(), [3, 2, 1]);
    stdout(&daemon.run(folder, &["queue", "up", "1"]));
    assert_eq!(order(), [3, 1, 2]);
    stdout(&daemon.run(folder, &["queue", "put", "0", "2", "1"]));
    assert_eq!(order(), [1, 2, 3]);
    let shown = stdout(&daemon.run(folder, &["queue", "list"]));
    assert!(shown.starts_with("PLACE") && shown.lines().count() == 4, "{shown}");

    let size = ["queue", "size", "--downloads", "none", "--seeds", "1"];
    let shown = stdout(&daemon.run(folder, &size));
    assert_eq!(shown, "any number of downloads and 1 seeds at a time\n");
    stdout(&daemon.run(folder, &["verify", "all", "--wait"]));
    stdout(&daemon.run(folder, &["start", "all"]));
    daemon.wait_for(folder, "the first seeding", |torrent| torrent["state"] == "seeding");
    let state = |id: usize| daemon.json(folder, &["list"])[id - 1]["state"].clone();
    let wait = |id: usize, wanted: &str| {
        for _ in 0..400 {
            if state(id) == wanted {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("{id} is {}, not {wanted}", state(id));
    };
    wait(3, "queued_to_seed");
    let stats = stdout(&daemon.run(folder, &["stats"]));
    assert!(stats.contains("ringseed 0.") && stats.contains("1 shard"), "{stats}");
    stdout(&daemon.run(folder, &["start", "--now", "3"]));
    wait(3, "seeding");
    assert_eq!(state(2), "queued_to_seed");
}

/// The program with the daemon's Unix socket as the only way to it.
fn local(folder: &Path, args: &[&str]) -> Output {
    let args = [args, &["--config-dir", "config"]].concat();
    command(folder).args(args).output().expect("the program runs")
}

#[test]
fn the_unix_socket_is_the_way_in_for_whoever_may_open_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = prepared();
    let folder = folder.path();
    fs::rename(folder.join("data"), folder.join("downloads/data")).expect("the data in place");
    let daemon = Daemon::start(folder, &["--rpc-bind", "unix:control.sock"]);
    let socket = folder.join("config/control.sock");
    assert!(daemon.url.ends_with("control.sock"), "{}", daemon.url);
    let mode = fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // There are users, who have to log in elsewhere.
    let added = run(folder, &["user", "add", "ann", "--generate", "--config-dir", "config"]);
    assert!(stdout(&added).contains("password: "));
    stdout(&local(folder, &["add", "data.torrent", "--wait"]));
    let by_url = format!("unix:{}", socket.display());
    for output in [
        local(folder, &["list"]),
        run(folder, &["list", "--url", &by_url]),
        command(folder).arg("list").env("RINGSEED_URL", &by_url).output().expect("it runs"),
    ] {
        assert!(stdout(&output).contains("seeding"), "{}", error(&output));
    }
    // Calls go through it, and subscriptions.
    let events = command(folder)
        .args(["events", "--count", "1", "--json", "--config-dir", "config"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut events = Running(events);
    let out = events.0.stdout.take().expect("its output");
    let told = std::thread::spawn(move || std::io::read_to_string(out).expect("text"));
    // As often as it takes until it has subscribed.
    let deadline = Instant::now() + PATIENCE;
    while !told.is_finished() {
        assert!(Instant::now() < deadline, "it is told nothing");
        stdout(&local(folder, &["verify", "1", "--wait"]));
    }
    assert!(events.0.wait().expect("it ends").success());
    let event: Value = serde_json::from_str(&told.join().expect("a line")).expect("JSON");
    assert_eq!((&event["kind"], &event["name"]), (&json!("verified"), &json!("data")));
    stdout(&local(folder, &["shutdown"]));
    for _ in 0..200 {
        let output = local(folder, &["list"]);
        if output.status.code() == Some(3) {
            assert!(error(&output).contains("ringseed daemon"), "{}", error(&output));
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("it does not end");
}

/// Adds a user with a password from stdin.
fn add_user(folder: &Path, name: &str, role: &str, password: &str) {
    let mut child = command(folder)
        .args(["user", "add", name, "--role", role, "--config-dir", "config"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("its input");
    writeln!(stdin, "{password}").expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn by_url_a_password_or_a_token_says_who_asks() {
    let folder = prepared();
    let folder = folder.path();
    add_user(folder, "ann", "admin", "correct horse");
    add_user(folder, "bob", "read-only", "only looking");
    let create =
        ["token", "create", "script", "--role", "user", "--json", "--config-dir", "config"];
    let token: Value = serde_json::from_str(&stdout(&run(folder, &create))).expect("JSON");
    let token = token["token"].as_str().expect("a token").to_owned();
    let daemon = Daemon::start(folder, &[]);
    let with = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = command(folder);
        command.args(args).env("RINGSEED_URL", &daemon.url);
        command.envs(variables.iter().copied()).output().expect("the program runs")
    };
    let ann = [("RINGSEED_USER", "ann"), ("RINGSEED_PASSWORD", "correct horse")];
    let bob = [("RINGSEED_USER", "bob"), ("RINGSEED_PASSWORD", "only looking")];
    let wrong = [("RINGSEED_USER", "ann"), ("RINGSEED_PASSWORD", "a bad guess")];
    let script = [("RINGSEED_TOKEN", token.as_str())];
    let stranger: [(&str, &str); 0] = [];
    let add = ["add", "data.torrent", "--paused"];
    let settings = ["settings", "reqq=100"];
    for (who, args, code) in [
        (&stranger[..], &["list"][..], 4),
        (&wrong, &["list"], 4),
        (&bob, &["list"], 0),
        (&bob, &add, 4),
        (&script, &add, 0),
        (&script, &["queue", "top", "1"], 0),
        (&script, &settings, 4),
        (&script, &["limit", "--up", "1M"], 4),
        (&ann, &settings, 0),
        (&bob, &["show", "1"], 0),
        (&bob, &["edit", "1", "--up", "1M"], 4),
    ] {
        let output = with(who, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", error(&output));
        if code != 0 {
            assert_eq!(error(&output).lines().count(), 1, "{}", error(&output));
        }
    }
    // The same in flags; a flag comes before a variable.
    let flags = ["list", "--user", "ann", "--password", "correct horse"];
    assert!(stdout(&with(&wrong, &flags)).contains("data"));
    assert!(stdout(&with(&[], &["list", "--token", &token])).contains("data"));
    assert_eq!(with(&[], &["list", "--token", "guess"]).status.code(), Some(4));
}
