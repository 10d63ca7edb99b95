//! Who may give commands, from the outside: the first start, users and tokens, the Unix socket.

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, UdpSocket},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

mod support;
use support::{PROGRAM, command, command_of, run, stdout};

/// A daemon that listens on all addresses and a socket, with what it said at its start.
struct House {
    child: Child,
    said: Vec<String>,
    port: u16,
}

impl House {
    fn start(folder: &Path, flags: &[&str]) -> House {
        let mut child = command(folder)
            .args(["daemon", "--config-dir", "config", "--download-dir", "downloads"])
            .args(["--rpc-bind", "0.0.0.0:0,unix:control.sock", "--peer-port", "0"])
            .args(["--peer-bind", "127.0.0.1", "--cores", "1"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let mut said = Vec::new();
        for line in out.lines() {
            let line = line.expect("text");
            let is_ready = line.starts_with("ready:");
            said.push(line);
            if is_ready {
                break;
            }
        }
        let ready = said.last().expect("it is ready");
        let (_, rest) = ready.split_once("http://0.0.0.0:").expect("its address");
        let port = rest.split('/').next().and_then(|port| port.parse().ok()).expect("its port");
        House { child, said, port }
    }

    fn url(&self, ip: IpAddr) -> String {
        format!("http://{ip}:{}", self.port)
    }

    /// Runs a command for it over the network; gives how it ended.
    fn ask(&self, folder: &Path, ip: IpAddr, args: &[&str]) -> Output {
        let url = self.url(ip);
        command(folder).args(args).args(["--url", &url]).output().expect("the program runs")
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(kill.expect("kill").success() && self.child.wait().expect("it ends").success());
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// This machine's address in its network; `None` if it has none.
fn elsewhere() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel says from where it would be.
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("downloads")).expect("a folder");
    folder
}

/// Runs a command that edits the accounts; `line` is typed.
fn edit(folder: &Path, args: &[&str], line: &str) -> Output {
    let mut child = command(folder)
        .args(args)
        .args(["--config-dir", "config"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("its input");
    // One that needs no line may have ended before it is written.
    let _ = writeln!(stdin, "{line}");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// The exit code when somebody is not let in, or may not.
const REFUSED: Option<i32> = Some(4);

#[test]
fn the_first_start_beyond_loopback_prints_a_password_once() {
    let folder = folder();
    let folder = folder.path();
    let house = House::start(folder, &[]);
    assert_eq!(house.said.len(), 2, "{:?}", house.said);
    let (_, rest) =
        house.said[0].split_once("log in as admin with the password ").expect("it says so");
    let password = rest.split(' ').next().expect("a password").to_owned();
    assert!(password.len() >= 20, "{password}");
    assert_eq!(house.ask(folder, HERE, &["list"]).status.code(), REFUSED);
    let login = ["list", "--user", "admin", "--password", &password];
    stdout(&house.ask(folder, HERE, &login));
    assert_eq!(
        house.ask(folder, HERE, &["list", "--user", "admin", "--password", "x"]).status.code(),
        REFUSED
    );
    if let Some(ip) = elsewhere() {
        assert_eq!(house.ask(folder, ip, &["list"]).status.code(), REFUSED);
        stdout(&house.ask(folder, ip, &login));
    }
    // The socket's permissions are a log-in.
    stdout(&run(folder, &["list", "--config-dir", "config"]));
    house.stop();
    let kept = folder.join("config/accounts.json");
    assert_eq!(fs::metadata(&kept).expect("it is kept").mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&kept).expect("text").contains(&password));

    let house = House::start(folder, &[]);
    assert_eq!(house.said.len(), 1, "told once: {:?}", house.said);
    stdout(&house.ask(folder, HERE, &login));
    house.stop();
}

#[test]
fn without_a_password_only_this_machine_is_answered() {
    let folder = folder();
    let folder = folder.path();
    House::start(folder, &[]).stop();
    stdout(&edit(folder, &["user", "remove", "admin"], ""));
    // Whoever removes all users is not given another one.
    let house = House::start(folder, &[]);
    assert_eq!(house.said.len(), 1, "{:?}", house.said);
    stdout(&house.ask(folder, HERE, &["list"]));
    match elsewhere() {
        Some(ip) => {
            let refused = house.ask(folder, ip, &["list", "--user", "admin", "--password", "x"]);
            assert_eq!(refused.status.code(), REFUSED);
        }
        None => machine::skip("no address but loopback"),
    }
    // With the first user that is over, within moments.
    stdout(&edit(folder, &["user", "add", "ann", "--role", "admin"], "correct horse"));
    wait_until("it asks for a log-in", || {
        house.ask(folder, HERE, &["list"]).status.code() == REFUSED
    });
    stdout(&house.ask(folder, HERE, &["list", "--user", "ann", "--password", "correct horse"]));
    house.stop();
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

#[test]
fn users_and_tokens_are_managed_while_the_daemon_runs() {
    let folder = folder();
    let folder = folder.path();
    stdout(&edit(folder, &["user", "add", "ann", "--role", "read-only"], "correct horse"));
    let again = edit(folder, &["user", "add", "ann"], "correct horse");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("already"));
    for (args, line) in [
        (&["user", "add", "bob"][..], "short"),
        (&["user", "add", "a:b"], "correct horse"),
        (&["user", "add", "bob", "--role", "root"], "correct horse"),
        (&["user", "role", "nobody", "admin"], ""),
        (&["user", "passwd", "nobody"], "correct horse"),
        (&["user", "remove", "nobody"], ""),
        (&["token", "revoke", "00000000"], ""),
        (&["token", "create", "x", "--method", "no_such"], ""),
        (&["token", "create", "x", "--expires", "soon"], ""),
    ] {
        assert!(!edit(folder, args, line).status.success(), "{args:?}");
    }
    let listed = stdout(&edit(folder, &["user", "list", "--json"], ""));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed, serde_json::json!([{ "name": "ann", "role": "read-only", "folders": [] }]));

    let house = House::start(folder, &[]);
    assert_eq!(house.said.len(), 1, "there is a user already");
    let as_ann = |password: &str, args: &[&str]| {
        let args = [args, &["--user", "ann", "--password", password]].concat();
        house.ask(folder, HERE, &args).status.code()
    };
    assert_eq!(as_ann("correct horse", &["list"]), Some(0));
    assert_eq!(as_ann("correct horse", &["settings", "reqq=77"]), REFUSED);
    stdout(&edit(folder, &["user", "role", "ann", "admin"], ""));
    wait_until("she is admin", || as_ann("correct horse", &["settings", "reqq=77"]) == Some(0));
    let changed = stdout(&edit(folder, &["user", "passwd", "ann", "--generate"], ""));
    let (_, new) = changed.split_once("password: ").expect("it is told");
    wait_until("she has another password", || as_ann(new.trim(), &["list"]) == Some(0));
    assert_eq!(as_ann("correct horse", &["list"]), REFUSED);

    let made =
        ["token", "create", "backup", "--role", "user", "--method", "torrent.list", "--json"];
    let made: Value = serde_json::from_str(&stdout(&edit(folder, &made, ""))).expect("JSON");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("it"));
    let by_token = |args: &[&str]| {
        house.ask(folder, HERE, &[args, &["--token", secret]].concat()).status.code()
    };
    wait_until("the token is known", || by_token(&["list"]) == Some(0));
    assert_eq!(by_token(&["stop", "all"]), REFUSED, "it may list only");
    let listed = stdout(&edit(folder, &["token", "list"], ""));
    assert!(listed.contains(id) && listed.contains("torrent.list"), "{listed}");
    assert!(!listed.contains(secret), "it is told once");
    stdout(&edit(folder, &["token", "revoke", id], ""));
    wait_until("the token is revoked", || by_token(&["list"]) == REFUSED);
    stdout(&edit(folder, &["user", "remove", "ann"], ""));
    house.stop();
}

#[test]
fn the_sockets_permissions_are_the_log_in_of_the_command_line() {
    let folder = folder();
    let folder = folder.path();
    stdout(&edit(folder, &["user", "add", "ann", "--role", "read-only"], "correct horse"));
    let house = House::start(folder, &["--rpc-socket-mode", "0700"]);
    let socket = folder.join("config/control.sock");
    // Connecting needs the right to write to it.
    assert_eq!(fs::metadata(&socket).expect("it is there").mode() & 0o777, 0o700);
    let url = format!("unix:{}", socket.display());
    for args in [&["list", "--config-dir", "config"][..], &["list", "--url", &url]] {
        stdout(&run(folder, args));
    }
    stdout(&run(folder, &["settings", "reqq=77", "--url", &url]));
    // Another user, who gets as far as the socket, and to a program of their own.
    let program = folder.join("ringseed");
    // Copied by another process: children of other tests would hold for a moment what this one writes
    // to, and nobody could run it.
    let copied = Command::new("cp").arg("-p").arg(PROGRAM).arg(&program).status();
    assert!(copied.expect("cp").success());
    for path in [folder, &folder.join("config")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let other = |url: &str| {
        let mut list = command_of(&program, folder);
        list.args(["list", "--url", url]).uid(65534).gid(65534).output()
    };
    match other(&url) {
        Ok(refused) => {
            let error = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(3), "{error}");
            assert!(error.contains("Permission denied"), "{error}");
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("it is ours");
            stdout(&other(&url).expect("it runs"));
        }
        Err(error) => machine::skip(format_args!("not root: {error}")),
    }
    house.stop();
    assert!(!socket.exists());
}
