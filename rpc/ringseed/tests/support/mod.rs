//! A daemon in a folder of its own, and commands for it.
#![allow(dead_code, reason = "each test file uses its part")]

use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ringseed");

/// Longer than anything that is waited for takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process; killed when it goes out of scope.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill and only its status to collect.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon in a folder of its own; killed when it goes out of scope.
pub struct Daemon {
    child: Child,
    pub url: String,
    pub peers: String,
}

impl Daemon {
    pub fn start(folder: &Path, flags: &[&str]) -> Daemon {
        Daemon::spawn(command(folder), flags, Stdio::null())
    }

    /// One that logs so much to there.
    pub fn start_logging_to(folder: &Path, stderr: Stdio, level: &str) -> Daemon {
        let mut command = command(folder);
        command.env("RUST_LOG", level);
        Daemon::spawn(command, &[], stderr)
    }

    fn spawn(mut command: Command, flags: &[&str], stderr: Stdio) -> Daemon {
        command.args(["daemon", "--config-dir", "config", "--download-dir", "downloads"]).args([
            "--peer-port",
            "0",
            "--peer-bind",
            "127.0.0.1",
            "--cores",
            "1",
        ]);
        if !flags.contains(&"--rpc-bind") {
            command.args(["--rpc-bind", "127.0.0.1:0"]);
        }
        let mut child = command
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let word = |before: &str| {
            let rest = line.split_once(before).unwrap_or_else(|| panic!("no {before} in {line}")).1;
            rest.split([',', '\n']).next().unwrap_or_default().to_owned()
        };
        let url = word("rpc ").trim_end_matches("/transmission/rpc").to_owned();
        Daemon { url, peers: word("peers "), child }
    }

    pub fn run(&self, folder: &Path, args: &[&str]) -> Output {
        command(folder)
            .args(args)
            .env("RINGSEED_URL", &self.url)
            .output()
            .expect("the program runs")
    }

    /// Runs a command that must succeed and gives what it prints as JSON.
    pub fn json(&self, folder: &Path, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&stdout(&self.run(folder, &args))).expect("JSON")
    }

    /// Waits until the only torrent is as asked.
    pub fn wait_for(&self, folder: &Path, what: &str, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listed = self.json(folder, &["list"]);
            if listed.get(0).is_some_and(&holds) {
                return;
            }
            assert!(Instant::now() < deadline, "never {what}: {listed}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as an operator would; gives its exit code and how long that took.
    pub fn stop(mut self) -> (Option<i32>, Duration) {
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

pub fn command(folder: &Path) -> Command {
    command_of(PROGRAM, folder)
}

/// The same with a copy of the program.
pub fn command_of(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    let login = ["RINGSEED_USER", "RINGSEED_PASSWORD", "RINGSEED_TOKEN"];
    for name in ["RINGSEED_URL", "RINGSEED_CONFIG_DIR", "RUST_LOG"].iter().chain(&login) {
        command.env_remove(name);
    }
    command
}

pub fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder).args(args).output().expect("the program runs")
}

pub fn stdout(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A folder with some data and a torrent of it.
pub fn prepared() -> TempDir {
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
