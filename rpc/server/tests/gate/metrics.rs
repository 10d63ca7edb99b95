//! Figures for Prometheus, and what load balancers ask.

use crate::support::{Rig, run, torrent};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads the text format as its description demands it; panics at what it does not allow.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut kinds, mut samples) = (BTreeMap::new(), Vec::new());
    let mut family = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !text.is_empty(), "{line}");
            name.clone_into(&mut family);
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family, "help comes first");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            let twice = kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(twice, None, "a family is in one place: {name}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(is_name(name) && name.starts_with(&family), "{line}");
        let labels = labels.strip_suffix('}').unwrap();
        let labels: BTreeMap<_, _> = labels
            .split(',')
            .filter(|label| !label.is_empty())
            .map(|label| {
                let (name, value) = label.split_once('=').unwrap();
                assert!(is_name(name), "{line}");
                let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        samples.push((name.to_owned(), labels, value.parse().unwrap()));
    }
    (kinds, samples)
}

async fn exposition(rig: &Rig) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = rig.request("GET", "/metrics", "", b"").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = String::from_utf8(answer.body).unwrap();
        // For a disk that takes its time nobody waits, and its free space is left out.
        if text.contains("\nringseed_download_dir_free_bytes ") {
            return text;
        }
        assert!(Instant::now() < deadline, "{text}");
    }
}

/// What tells one series from another.
fn series(samples: &[Sample]) -> BTreeSet<(String, Vec<(String, String)>)> {
    let of = |(name, labels, _): &Sample| (name.clone(), labels.clone().into_iter().collect());
    samples.iter().map(of).collect()
}

/// Some life, so that there is something to count.
async fn live(rig: &Rig, names: &[&str]) {
    for name in names {
        let bytes = torrent(&rig.downloads(), name, &[("a", 20_000)], false);
        let id = rig.add(&bytes).await;
        rig.call("torrent_start", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(6)).await;
    }
    rig.error("torrent_get", json!({})).await;
    rig.request("GET", "/nowhere", "", b"").await;
    rig.request("POST", "/transmission/rpc", "", b"").await;
}

#[test]
fn figures_are_as_prometheus_wants_them() {
    run(|rig| async move {
        live(&rig, &["one", "two"]).await;
        let text = exposition(&rig).await;
        let (kinds, samples) = parse(&text);
        assert_eq!(series(&samples).len(), samples.len(), "each series once");
        for (name, kind) in &kinds {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        }
        let value = |name: &str, labels: &[(&str, &str)]| {
            let fits = |sample: &&Sample| {
                sample.0 == name
                    && labels
                        .iter()
                        .all(|(name, value)| sample.1.get(*name).is_some_and(|v| v == value))
            };
            samples.iter().filter(fits).map(|sample| sample.2).sum::<f64>()
        };
        assert_eq!(value("ringseed_torrents", &[("activity", "seeding")]), 2.0);
        assert_eq!(value("ringseed_torrents_added_total", &[]), 2.0);
        assert_eq!(value("ringseed_verified_bytes", &[]), 40_000.0);
        assert_eq!(value("ringseed_shard_up", &[("shard", "0")]), 1.0);
        assert_eq!(value("ringseed_shard_torrents", &[]), 2.0);
        assert!(value("ringseed_trackers", &[]) >= 2.0);
        assert!(value("ringseed_download_dir_free_bytes", &[]) > 0.0);
        assert!(value("ringseed_http_requests_total", &[("code", "409")]) >= 1.0);
        let failures = [("method", "torrent_get"), ("cause", "error")];
        assert_eq!(value("ringseed_rpc_failures_total", &failures), 1.0);
        // A histogram's buckets count what is below each of their ends, the last one everything.
        for method in api::method::TABLE.iter().map(|method| method.name) {
            let of = |sample: &&Sample| {
                sample.0 == "ringseed_rpc_duration_seconds_bucket" && sample.1["method"] == method
            };
            let buckets: Vec<f64> = samples.iter().filter(of).map(|sample| sample.2).collect();
            assert!(buckets.is_sorted(), "{method}: {buckets:?}");
            let all = value("ringseed_rpc_duration_seconds_count", &[("method", method)]);
            assert_eq!(buckets.last().copied().unwrap_or(0.0), all, "{method}");
        }
        for unit in
            ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"]
        {
            assert!(kinds.contains_key(unit), "{unit}");
        }
    });
}

#[test]
fn nothing_that_a_client_sends_becomes_a_label_and_torrents_make_no_series() {
    run(|rig| async move {
        live(&rig, &["one"]).await;
        rig.legacy("session-stats", json!({})).await;
        exposition(&rig).await;
        let before = parse(&exposition(&rig).await).1;
        live(&rig, &["two", "three", "four"]).await;
        for method in ["no-such", "x\"}\ny{z=\"", "torrent.get"] {
            rig.legacy(method, json!({})).await;
            rig.error(method, json!({})).await;
        }
        for path in ["/x", "/y", "/transmission/rpc?z"] {
            rig.request("GET", path, "User-Agent: made-up\r\n", b"").await;
        }
        let after = parse(&exposition(&rig).await).1;
        let new: Vec<_> = series(&after).difference(&series(&before)).cloned().collect();
        // A status or a method of the table may come up for the first time.
        let known = |(name, labels): &(String, Vec<(String, String)>)| {
            let methods = api::method::TABLE.iter().map(|method| method.name);
            let mut names = methods.chain(api::native::TABLE.iter().map(|row| row.name));
            match name.as_str() {
                "ringseed_http_requests_total" => true,
                name if name.starts_with("ringseed_rpc_") => {
                    names.any(|name| labels.iter().any(|(_, value)| value == name))
                }
                _ => false,
            }
        };
        assert!(new.iter().all(known), "{new:?}");
    });
}

/// The program that checks figures for Prometheus, from scripts/setup-peers.
fn promtool() -> Option<PathBuf> {
    let folder = match std::env::var_os("RINGSEED_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/ringseed/peers"),
    };
    Some(folder.join("bin/promtool")).filter(|program| program.exists())
}

#[test]
fn promtool_has_nothing_to_say_about_them() {
    run(|rig| async move {
        let Some(promtool) = promtool() else {
            return machine::skip("promtool is missing (run scripts/setup-peers)");
        };
        live(&rig, &["one"]).await;
        let text = exposition(&rig).await;
        let mut check = Command::new(promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut check.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = check.wait_with_output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.trim().is_empty(), "{said}");
    });
}

#[test]
fn it_is_ready_while_torrents_run_and_not_once_the_session_ends() {
    run(|rig| async move {
        let ready = rig.request("GET", "/readyz", "", b"").await;
        assert_eq!((ready.status, ready.body.as_slice()), (200, &b"ready\n"[..]));
        rig.session.stop().await;
        let ready = rig.request("GET", "/readyz", "", b"").await;
        assert_eq!((ready.status, ready.body.as_slice()), (503, &b"not ready\n"[..]));
        // It lives all the same: calls are answered until the very end.
        assert_eq!(rig.request("GET", "/healthz", "", b"").await.status, 200);
        rig.call("session_stats", json!({})).await;
    });
}
