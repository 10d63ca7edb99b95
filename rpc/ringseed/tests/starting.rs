//! What the daemon answers while it starts: to orchestrators, to remotes, to the command line, and to
//! whoever tells it to end.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

mod support;
use support::{Running, command, prepared, run, stdout};

/// A request as an orchestrator makes it; gives status and body.
fn probe(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.expect("a status"), body.unwrap_or_default())
}

/// A daemon that does not get to the end of its start: one of the files that it reads is a pipe, and
/// nothing comes from there before somebody writes to it.
fn held_up(folder: &Path, address: &str, manager: &Path) -> Running {
    fs::create_dir_all(folder.join("config")).expect("a folder");
    let pipe = folder.join("config/blocklist.bin");
    if !pipe.exists() {
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    }
    let mut daemon = command(folder);
    daemon.args(["daemon", "--config-dir", "config", "--download-dir", "downloads"]);
    daemon.args(["--peer-port", "0", "--peer-bind", "127.0.0.1", "--cores", "1"]);
    daemon.args(["--rpc-bind", &format!("{address},unix:control.sock")]);
    daemon.env("NOTIFY_SOCKET", manager).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut daemon = Running(daemon.spawn().expect("the program starts"));
    for _ in 0..600 {
        if TcpStream::connect(address).is_ok() {
            return daemon;
        }
        assert!(daemon.0.try_wait().expect("its state").is_none(), "it has ended");
        sleep(Duration::from_millis(50));
    }
    panic!("it does not listen");
}

fn free_address() -> String {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    address.expect("a port").to_string()
}

#[test]
fn while_it_starts_the_daemon_says_so_and_calls_wait_for_their_answer() {
    let folder = prepared();
    let folder = folder.path();
    let address = free_address();
    let manager = UnixDatagram::bind(folder.join("notify")).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let told = || {
        let mut word = [0; 64];
        let length = manager.recv(&mut word).expect("the manager is told");
        String::from_utf8_lossy(&word[..length]).into_owned()
    };
    let mut daemon = held_up(folder, &address, &folder.join("notify"));
    assert_eq!(probe(&address, "/healthz"), (200, "ok\n".into()));
    assert_eq!(probe(&address, "/readyz"), (503, "starting\n".into()));
    // A remote, and the command line by either way, ask before there is anything to answer.
    let remote = std::thread::spawn({
        let address = address.clone();
        move || probe(&address, "/transmission/rpc").0
    });
    let ask = |way: &[&str]| {
        let mut list = command(folder);
        list.args(["list", "--json"]).args(way);
        list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    };
    let asked = [ask(&["--url", &format!("http://{address}")]), ask(&["--config-dir", "config"])];
    // They wait, and are in nobody's way.
    for _ in 0..10 {
        assert_eq!(probe(&address, "/readyz").0, 503);
        sleep(Duration::from_millis(50));
    }
    assert!(!remote.is_finished());
    let pipe = fs::OpenOptions::new().write(true).open(folder.join("config/blocklist.bin"));
    drop(pipe.expect("the other end"));
    assert_eq!(remote.join().expect("an answer"), 409, "what it expects of its first request");
    for list in asked {
        assert_eq!(stdout(&list.wait_with_output().expect("it ends")).trim(), "[]");
    }
    assert_eq!(told(), "READY=1");
    assert_eq!(probe(&address, "/readyz"), (200, "ready\n".into()));
    stdout(&run(folder, &["shutdown", "--config-dir", "config"]));
    assert_eq!(told(), "STOPPING=1");
    assert!(daemon.0.wait().expect("it ends").success());
}

#[test]
fn a_daemon_that_is_told_to_end_while_it_starts_ends_at_once() {
    let folder = prepared();
    let folder = folder.path();
    let address = free_address();
    let mut daemon = held_up(folder, &address, &folder.join("nobody"));
    let pid = daemon.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert!((0..600).any(|_| {
        sleep(Duration::from_millis(50));
        daemon.0.try_wait().expect("its state").is_some_and(|status| status.success())
    }));
    assert!(!folder.join("config/control.sock").exists(), "nothing is left in the way");
}
