//! What the daemon does with what the system gives it, and what it writes to its log.

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

mod support;

/// A daemon that was started by a shell with these words before it.
struct Started(Child);

impl Started {
    fn new(folder: &Path, before: &str, rust_log: &str) -> Started {
        let program = support::command(folder).get_program().to_owned();
        let script = format!(
            "{before} \"$0\" daemon --config-dir config --download-dir downloads --log-json \
             --peer-port 0 --peer-bind 127.0.0.1 --rpc-bind 127.0.0.1:0"
        );
        let mut child = std::process::Command::new("sh")
            .current_dir(folder)
            .arg("-c")
            .arg(script)
            .arg(program)
            .env("RUST_LOG", rust_log)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("log")).expect("a file"))
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let log = fs::read_to_string(folder.join("log")).expect("the log");
        assert!(line.starts_with("ready: "), "{line}\n{log}");
        Started(child)
    }

    /// Ends it as an operator would.
    fn end(mut self) {
        let pid = self.0.id().to_string();
        let told = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill").success());
        assert!(self.0.wait().expect("it ends").success());
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).expect("it runs")
    }

    /// Name and allowed CPUs of each thread.
    fn threads(&self) -> Vec<(String, String)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("its threads");
        let ids = tasks.filter_map(|task| task.ok()?.file_name().into_string().ok());
        let about = ids.filter_map(|id| {
            let read = |name| fs::read_to_string(format!("/proc/{}/task/{id}/{name}", self.0.id()));
            Some((read("comm").ok()?.trim().to_owned(), allowed_cpus(&read("status").ok()?)))
        });
        about.collect()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn allowed_cpus(status: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("Linux tells it").trim().to_owned()
}

#[test]
fn there_is_one_shard_for_each_cpu_that_the_process_may_use() {
    let folder = support::prepared();
    let ours = allowed_cpus(&fs::read_to_string("/proc/self/status").expect("a process"));
    let cpu = ours.split([',', '-']).next().expect("at least one");
    let daemon = Started::new(folder.path(), &format!("exec taskset -c {cpu}"), "info");
    let shards: Vec<_> =
        daemon.threads().into_iter().filter(|(name, _)| name.starts_with("shard-")).collect();
    assert_eq!(shards, [("shard-0".to_owned(), cpu.to_owned())]);
}

#[test]
fn as_many_files_may_be_open_as_the_system_allows() {
    let folder = support::prepared();
    let daemon = Started::new(folder.path(), "ulimit -S -n 256; exec", "info");
    let limits = daemon.proc("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let words: Vec<&str> = files.split_whitespace().collect();
    assert!(words[3] == words[4] && words[3] != "256", "{files}");
}

#[test]
fn the_log_is_lines_of_json_as_detailed_as_rust_log_says() {
    let levels = |rust_log: &str| {
        let folder = support::prepared();
        Started::new(folder.path(), "exec", rust_log).end();
        let log = fs::read_to_string(folder.path().join("log")).expect("the log");
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");
            line["level"].as_str().expect("a level").to_owned()
        };
        log.lines().map(line).collect::<Vec<_>>()
    };
    let debug = levels("debug");
    assert!(debug.contains(&"DEBUG".into()) && debug.contains(&"INFO".into()), "{debug:?}");
    let info = levels("info");
    assert!(!info.contains(&"DEBUG".into()) && info.contains(&"INFO".into()), "{info:?}");
    assert_eq!(levels("off"), [""; 0]);
}
