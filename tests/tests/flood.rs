//! Flood, set up for a Transmission back end, does to Ringseed what it does to Transmission, and shows
//! the same of it.

use anyhow::{Context, Result, anyhow, ensure};
use data_encoding::BASE64;
use ringseed_tests::pair::{At, Findings, Pair, Side, any_driver};
use ringseed_tests::{
    Process, Scene, ScriptedTracker, Shape, Torrent, agent, free_port, peer_program, perform,
    wait_for, wait_until,
};
use serde_json::{Map, Value, json};
use std::process::Command;
use std::time::Duration;
use ureq::Agent;

/// Longer than anything that is waited for here takes.
const ENOUGH: Duration = Duration::from_secs(30);

#[test]
fn flood_finds_no_difference() {
    perform("flood_finds_no_difference", any_driver(), |scene| {
        let tracker = ScriptedTracker::start()?;
        let files = [("alpha.mkv", 300_000), ("beta.mkv", 500_017)];
        let files = files.map(|(path, length)| (path.to_owned(), length)).to_vec();
        let shape = Shape::folder("films", files, 32 << 10);
        let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
        let bytes = torrent.with_trackers(&[&tracker.url()])?;
        let mut pair = Pair::start(scene)?;
        let mut seen = Vec::new();
        for side in pair.sides() {
            torrent.copy_to(&side.folder.join("downloads"))?;
            let flood = Flood::start(scene, side)?;
            let what = drive(&flood, side, &torrent, &bytes);
            seen.push(what.map_err(|error| error.context(format!("with {}", side.name)))?);
            scene.say(format_args!("{} has been used", side.name));
        }
        let mut findings = Findings::default();
        for (what, ours) in &seen[0] {
            let theirs = &seen[1][what];
            if ours != theirs {
                let error = anyhow!("{ours}, with Transmission {theirs}");
                findings.note::<()>(what, Err(error));
            }
        }
        findings.result()
    });
}

/// A running Flood.
struct Flood {
    agent: Agent,
    url: String,
    cookie: String,
    _process: Process,
}

impl Flood {
    /// Starts it for a server.
    fn start(scene: &Scene, side: &Side) -> Result<Flood> {
        let folder = scene.new_folder("flood")?;
        let port = free_port();
        let mut command = Command::new(peer_program("flood")?);
        command.arg("--rundir").arg(&folder).args(["--port", &port.to_string(), "--auth", "none"]);
        command.arg("--trurl").arg(format!("http://{}/transmission/rpc", side.control));
        command.args(["--truser", "", "--trpass", ""]);
        command.arg("--allowedpath").arg(scene.folder()).env("HOME", &folder);
        let mut process = Process::start("flood", &mut command, &folder)?;
        let (agent, url) = (agent(), format!("http://127.0.0.1:{port}/api"));
        // Who asks whether they are logged in is, where nobody has to be.
        let cookie = wait_for("Flood lets in", ENOUGH, || {
            process.check()?;
            let Ok(answer) = agent.get(format!("{url}/auth/verify")).call() else {
                return Ok(None);
            };
            let cookie = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok());
            Ok(cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned))
        })?;
        Ok(Flood { agent, url, cookie, _process: process })
    }

    fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}/{path}", self.url)).header("Cookie", &self.cookie);
        let mut answer = request.call()?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "{path}: {}: {text}", answer.status());
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    fn post(&self, path: &str, body: &Value) -> Result<()> {
        self.send(self.agent.post(format!("{}/{path}", self.url)), body)
    }

    fn patch(&self, path: &str, body: &Value) -> Result<()> {
        self.send(self.agent.patch(format!("{}/{path}", self.url)), body)
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &Value,
    ) -> Result<()> {
        let request = request.header("Cookie", &self.cookie);
        let request = request.header("Content-Type", "application/json");
        let mut answer = request.send(body.to_string())?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status().is_success(), "{body}: {}: {text}", answer.status());
        Ok(())
    }

    /// Waits until it shows the torrent in this state, and gives all that it shows of it.
    fn shows(&self, hash: &str, state: &str) -> Result<Value> {
        let mut last = Value::Null;
        let shown = wait_for(&format!("Flood shows it as {state}"), ENOUGH, || {
            last = self.get("torrents")?["torrents"][hash].take();
            let states = last["status"].as_array();
            let is_so = states.is_some_and(|states| states.iter().any(|found| found == state));
            Ok(is_so.then(|| last.clone()))
        });
        shown.map_err(|error| error.context(format!("it shows {last}")))
    }
}

/// Adds a torrent with its data in place, does to it what Flood can do, and removes it with its data.
/// Gives what Flood showed.
fn drive(
    flood: &Flood,
    side: &mut Side,
    torrent: &Torrent,
    bytes: &[u8],
) -> Result<Map<String, Value>> {
    let mut seen = Map::new();
    let hash = torrent.info_hash().to_string().to_uppercase();
    let these = json!([hash]);
    wait_until("Flood reaches the server", ENOUGH, || {
        Ok(flood.get("client/connection-test").is_ok_and(|test| test["isConnected"] == true))
    })?;
    let downloads = side.folder.join("downloads");
    let add = json!({"files": [BASE64.encode(bytes)], "destination": downloads, "tags": ["films"],
        "start": true});
    flood.post("torrents/add-files", &add)?;
    becomes(side, At::Torrent(1), "status", &json!(6))?;
    seen.insert("seeding".to_owned(), shown(side, &flood.shows(&hash, "complete")?)?);

    flood.post("torrents/stop", &json!({"hashes": these}))?;
    becomes(side, At::Torrent(1), "status", &json!(0))?;
    seen.insert("stopped".to_owned(), shown(side, &flood.shows(&hash, "stopped")?)?);
    flood.post("torrents/start", &json!({"hashes": these}))?;
    becomes(side, At::Torrent(1), "status", &json!(6))?;
    flood.post("torrents/check-hash", &json!({"hashes": these}))?;
    becomes(side, At::Torrent(1), "status", &json!(6))?;
    flood.post("torrents/reannounce", &json!({"hashes": these}))?;

    flood.patch("torrents/tags", &json!({"hashes": these, "tags": ["a", "größer"]}))?;
    becomes(side, At::Torrent(1), "labels", &json!(["a", "größer"]))?;
    flood.patch(&format!("torrents/{hash}/contents"), &json!({"indices": [1], "priority": 2}))?;
    becomes(side, At::Torrent(1), "priorities", &json!([0, 1]))?;
    flood.patch("client/settings", &json!({"throttleGlobalUpSpeed": 102_400}))?;
    becomes(side, At::Session, "speed_limit_up", &json!(100))?;
    for page in [format!("torrents/{hash}/details"), "client/settings".to_owned()] {
        let page = page.as_str();
        seen.insert(page.to_owned(), shown(side, &flood.get(page)?)?);
    }

    let moved = side.folder.join("moved");
    let to = json!({"hashes": these, "destination": moved, "moveFiles": true, "isBasePath": false,
        "isCheckHash": false});
    flood.post("torrents/move", &to)?;
    wait_until("the data is there", ENOUGH, || Ok(moved.join("films/beta.mkv").exists()))?;
    becomes(side, At::Torrent(1), "download_dir", &json!("{folder}/moved"))?;
    flood.post("torrents/delete", &json!({"hashes": these, "deleteData": true}))?;
    wait_until("the data is gone", ENOUGH, || Ok(!moved.join("films").exists()))?;
    wait_until("Flood shows nothing", ENOUGH, || {
        Ok(flood.get("torrents")?["torrents"] == json!({}))
    })?;
    Ok(seen)
}

/// Waits until the server says so.
fn becomes(side: &mut Side, at: At, field: &str, value: &Value) -> Result<()> {
    let mut last = Value::Null;
    let became = wait_until(&format!("{field} is {value}"), ENOUGH, || {
        last = side.look(at, &[field])?[field].take();
        Ok(last == *value)
    });
    became.map_err(|error| error.context(format!("it is {last}")))
}

/// What Flood shows, without what is this server's own or tells of a moment.
fn shown(side: &Side, page: &Value) -> Result<Value> {
    let mut page: Value = serde_json::from_str(&side.strip(&page.to_string()))?;
    if let Some(fields) = page.as_object_mut() {
        let moments = ["dateAdded", "dateActive", "dateFinished", "message", "status"];
        let own = ["dhtPort", "networkPortRange", "dht", "protocolPex"];
        fields.retain(|name, _| ![&moments[..], &own].concat().contains(&name.as_str()));
    }
    Ok(page)
}
