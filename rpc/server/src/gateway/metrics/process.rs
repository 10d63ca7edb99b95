//! What the kernel knows of this process, under the names that all Prometheus clients use.

use super::text::{Kind, Text};
use std::fs;

/// Clock ticks in a second, in which the kernel tells CPU time to programs (proc(5)).
fn ticks() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Memory, CPU, descriptors and disk traffic. What cannot be read is left out. Blocks.
pub(super) fn exposition() -> String {
    let mut text = Text::default();
    write(&mut text);
    shard_cpu(&mut text);
    text.finish()
}

fn write(text: &mut Text) {
    if let Some(fields) = stat("/proc/self/stat") {
        let field = |number: usize| fields.get(number).copied().unwrap_or(0.0);
        let page = rustix::param::page_size() as f64;
        text.counter(
            "process_cpu_seconds_total",
            "CPU time of all threads.",
            (field(UTIME) + field(UTIME + 1)) / ticks(),
        );
        text.gauge(
            "process_resident_memory_bytes",
            "Memory in RAM, mapped files included.",
            field(RSS) * page,
        );
        text.gauge("process_virtual_memory_bytes", "Address space.", field(RSS - 1));
        text.gauge("process_threads", "Threads.", field(THREADS));
        if let Some(boot) = boot_time() {
            let start = boot + field(START) / ticks();
            text.gauge("process_start_time_seconds", "When it started, since 1970.", start);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open descriptors.", open.count() as f64);
    }
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(most) = most {
        text.gauge("process_max_fds", "Descriptors that there may be.", most as f64);
    }
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    for (name, family, help) in [
        ("read_bytes:", "ringseed_disk_read_bytes_total", "Bytes read from disks."),
        ("write_bytes:", "ringseed_disk_written_bytes_total", "Bytes written to disks."),
    ] {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        if let Some(bytes) = line.and_then(|bytes| bytes.trim().parse().ok()) {
            text.counter(family, help, bytes);
        }
    }
}

/// CPU time of each shard's thread.
fn shard_cpu(text: &mut Text) {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
    let mut shards: Vec<(usize, f64)> = tasks
        .flatten()
        .filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let number = name.trim().strip_prefix("shard-")?.parse().ok()?;
            let fields = stat(task.path().join("stat").to_str()?)?;
            Some((number, (fields.get(UTIME)? + fields.get(UTIME + 1)?) / ticks()))
        })
        .collect();
    shards.sort_by_key(|(number, _)| *number);
    // Several sessions in one process, as in tests, each have a shard 0.
    shards.dedup_by_key(|(number, _)| *number);
    let name = "ringseed_shard_cpu_seconds_total";
    text.family(name, Kind::Counter, "CPU time of a shard's thread.");
    for (number, seconds) in shards {
        text.sample("", &[("shard", &number.to_string())], seconds);
    }
}

/// Places in what [`stat`] gives: proc(5) counts from 1 and these begin after the third field.
const UTIME: usize = 14 - 4;
const THREADS: usize = 20 - 4;
const START: usize = 22 - 4;
const RSS: usize = 24 - 4;

/// The numbers of a stat file behind the state.
fn stat(path: &str) -> Option<Vec<f64>> {
    let text = fs::read_to_string(path).ok()?;
    // The name before may hold anything.
    let (_, after_name) = text.rsplit_once(')')?;
    let fields = after_name.split_whitespace().skip(1);
    Some(fields.map(|field| field.parse().unwrap_or(0.0)).collect())
}

/// Seconds since 1970 when the machine was started.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
