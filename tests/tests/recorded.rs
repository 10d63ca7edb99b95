//! What Sonarr, Radarr, Tremotesf and autobrr send, replayed over plain HTTP, and what they read of the
//! answers, with the types that they insist on. Their requests were written down from their sources;
//! the clients themselves need a desktop, .NET or Go.

mod wire {
    //! HTTP/1.1 over one connection, as the clients keep it open.

    use anyhow::{Context, Result, ensure};
    use serde_json::Value;
    use std::collections::HashMap;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    /// Longer than any answer takes.
    const TIMEOUT: Duration = Duration::from_secs(20);

    pub struct Wire {
        stream: BufReader<TcpStream>,
        host: SocketAddr,
    }

    pub struct Answer {
        pub status: u16,
        pub headers: HashMap<String, String>,
        pub body: String,
    }

    impl Wire {
        pub fn open(host: SocketAddr) -> Result<Wire> {
            let stream = TcpStream::connect(host)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            Ok(Wire { stream: BufReader::new(stream), host })
        }

        /// Sends a request line, header lines, and a body with its length; gives the answer.
        pub fn send(&mut self, line: &str, headers: &[&str], body: &str) -> Result<Answer> {
            let mut request = format!("{line} HTTP/1.1\r\nHost: {}\r\n", self.host);
            for header in headers {
                request.push_str(&format!("{header}\r\n"));
            }
            if line.starts_with("POST") {
                request.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            request.push_str("\r\n");
            request.push_str(body);
            self.stream.get_mut().write_all(request.as_bytes())?;
            self.read().with_context(|| format!("the answer to {request}"))
        }

        fn read(&mut self) -> Result<Answer> {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let status = line.split(' ').nth(1).context("no status")?.parse()?;
            let mut headers = HashMap::new();
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers.get("content-length").context("no length")?.parse()?;
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            Ok(Answer { status, headers, body: String::from_utf8(body)? })
        }
    }

    impl Answer {
        /// The session id of a refusal.
        pub fn session_id(&self) -> Result<String> {
            ensure!(self.status == 409, "status {} instead of 409", self.status);
            let id = self.headers.get("x-transmission-session-id").context("no session id")?;
            Ok(format!("X-Transmission-Session-Id: {id}"))
        }

        /// What a call gives, which all of them take from these two.
        pub fn arguments(&self) -> Result<Value> {
            ensure!(self.status == 200, "status {}: {}", self.status, self.body);
            let answer: Value = serde_json::from_str(&self.body)?;
            ensure!(answer["result"] == "success", "{}", self.body);
            ensure!(answer["arguments"].is_object(), "no arguments: {}", self.body);
            Ok(answer["arguments"].clone())
        }
    }
}

mod kind {
    //! Types that clients in C#, C++ and Go insist on.

    use anyhow::{Context, Result, ensure};
    use serde_json::Value;

    #[derive(Debug, Clone, Copy)]
    pub enum Kind {
        /// A number without fraction or exponent.
        Int,
        /// Any number.
        Number,
        Bool,
        Text,
        /// A list of integers that are 0 or 1.
        Bits,
        /// A list of texts.
        Texts,
        /// A list of objects, each with these.
        Objects(&'static [(&'static str, Kind)]),
    }

    pub fn check_all(object: &Value, kinds: &[(&str, Kind)]) -> Result<()> {
        for (name, kind) in kinds {
            let value =
                object.get(name).with_context(|| format!("{name} is missing in {object}"))?;
            ensure!(is(value, *kind)?, "{name} is {value}, not {kind:?}");
        }
        Ok(())
    }

    fn is(value: &Value, kind: Kind) -> Result<bool> {
        let all =
            |is_so: fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(is_so));
        Ok(match kind {
            Kind::Int => value.is_i64() || value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Bool => value.is_boolean(),
            Kind::Text => value.is_string(),
            Kind::Bits => all(|item| matches!(item.as_u64(), Some(0 | 1))),
            Kind::Texts => all(Value::is_string),
            Kind::Objects(kinds) => {
                for item in value.as_array().context("no list")? {
                    check_all(item, kinds)?;
                }
                true
            }
        })
    }
}

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use kind::{Kind, check_all};
use ringseed_tests::pair::any_driver;
use ringseed_tests::{
    Options, Ringseed, Scene, Shape, Torrent, perform, wait_complete, wait_until,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use wire::Wire;

/// Longer than a check of these files takes.
const ENOUGH: Duration = Duration::from_secs(30);

#[test]
fn sonarr_and_radarr_get_what_they_read() {
    perform("sonarr_and_radarr_get_what_they_read", any_driver(), sonarr);
}

#[test]
fn tremotesf_gets_what_it_reads() {
    perform("tremotesf_gets_what_it_reads", any_driver(), tremotesf);
}

#[test]
fn autobrr_gets_its_tags_and_types() {
    perform("autobrr_gets_its_tags_and_types", any_driver(), autobrr);
}

/// A daemon, where it listens, and a torrent whose data lies in its folder for downloads.
fn daemon(scene: &Scene) -> Result<(Ringseed, SocketAddr, Torrent)> {
    let files = [("a first.mkv", 300_000), ("folder/b", 50_000)];
    let files = files.map(|(path, length)| (path.to_owned(), length)).to_vec();
    let shape = Shape::folder("recorded", files, 32 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let options = Options::new(scene)?;
    torrent.copy_to(&options.download_dir)?;
    let control = options.control;
    Ok((Ringseed::start_with(options)?, control, torrent))
}

fn metainfo(torrent: &Torrent) -> Result<String> {
    Ok(BASE64.encode(&torrent.with_trackers(&[])?))
}

/// Both share this code: a GET for the session id, which must be refused with 409, and then calls
/// without a tag.
fn sonarr(scene: &Scene) -> Result<()> {
    let (mut daemon, control, torrent) = daemon(scene)?;
    let folder = daemon.downloads().to_owned();
    let mut wire = Wire::open(control)?;
    let agent = "User-Agent: Sonarr/4.0.15.2941 (debian 12)";
    let accept = "Accept: application/json";
    let id = wire.send("GET /transmission/rpc", &[agent, accept], "")?.session_id()?;
    let mut call = |method: &str, arguments: Value| -> Result<Value> {
        let mut body = json!({"method": method});
        if !arguments.is_null() {
            body["arguments"] = arguments;
        }
        let headers = [agent, accept, "Content-Type: application/json", &id];
        let answer = wire.send("POST /transmission/rpc", &headers, &body.to_string())?;
        answer.arguments().with_context(|| method.to_owned())
    };

    let session = call("session-get", Value::Null)?;
    let version = session["version"].as_str().context("version")?;
    let number = version.split(['(', ' ']).find(|word| word.contains('.')).context("no number")?;
    let parts: Vec<u32> = number.split('.').map(str::parse).collect::<Result<_, _>>()?;
    ensure!((2..=4).contains(&parts.len()) && parts >= vec![4, 0], "version {version}");
    check_all(&session, &[("download-dir", Kind::Text), ("rpc-version", Kind::Int)])?;

    let add = json!({"metainfo": metainfo(&torrent)?, "download-dir": folder, "labels": ["tv"]});
    let added = call("torrent-add", add)?;
    let hash = torrent.info_hash().to_string();
    ensure!(added["torrent-added"]["hashString"] == hash, "{added}");
    let upper = hash.to_uppercase();
    let goals = json!({"ids": [upper], "seedRatioLimit": 1.5, "seedRatioMode": 1,
        "seedIdleLimit": 120, "seedIdleMode": 1});
    call("torrent-set", goals)?;
    call("queue-move-top", json!({"ids": [upper]}))?;
    wait_complete(&mut daemon, &torrent, ENOUGH)?;

    let fields: Vec<&str> = SONARR_READS.iter().map(|(name, _)| *name).collect();
    // It asks for this one too, which no server has.
    let asked: Vec<&str> = fields.iter().copied().chain(["fileCount"]).collect();
    let list = call("torrent-get", json!({"fields": asked}))?;
    let seen = &list["torrents"][0];
    check_all(seen, SONARR_READS)?;
    ensure!(seen.as_object().map(serde_json::Map::len) == Some(fields.len()), "{seen}");
    let done = seen["leftUntilDone"] == 0 && seen["status"] == 6 && seen["errorString"] == "";
    ensure!(done && seen["labels"] == json!(["tv"]), "{seen}");
    let goals = seen["seedRatioLimit"] == 1.5 && seen["seedIdleLimit"] == 120;
    ensure!(goals && seen["seedRatioMode"] == 1 && seen["seedIdleMode"] == 1, "{seen}");

    call("torrent-remove", json!({"ids": [upper], "delete-local-data": true}))?;
    wait_until("the torrent is gone", ENOUGH, || {
        Ok(call("torrent-get", json!({"fields": ["id"]}))?["torrents"] == json!([]))
    })?;

    // A stale id, as after the daemon was started again: refused, and told the new one.
    let headers = ["X-Transmission-Session-Id: 0123", "Content-Type: application/json"];
    wire.send("POST /transmission/rpc", &headers, "{\"method\":\"session-get\"}")?.session_id()?;
    Ok(())
}

const SONARR_READS: &[(&str, Kind)] = &[
    ("id", Kind::Int),
    ("hashString", Kind::Text),
    ("name", Kind::Text),
    ("downloadDir", Kind::Text),
    ("totalSize", Kind::Int),
    ("leftUntilDone", Kind::Int),
    ("isFinished", Kind::Bool),
    ("eta", Kind::Int),
    ("status", Kind::Int),
    ("secondsDownloading", Kind::Int),
    ("secondsSeeding", Kind::Int),
    ("errorString", Kind::Text),
    ("uploadedEver", Kind::Int),
    ("downloadedEver", Kind::Int),
    ("seedRatioLimit", Kind::Number),
    ("seedRatioMode", Kind::Int),
    ("seedIdleLimit", Kind::Int),
    ("seedIdleMode", Kind::Int),
    ("file-count", Kind::Int),
    ("labels", Kind::Texts),
];

/// It polls the whole list in tables, whose rows must be as long as their header.
fn tremotesf(scene: &Scene) -> Result<()> {
    let (mut daemon, control, torrent) = daemon(scene)?;
    let folder = daemon.downloads().to_owned();
    let mut wire = Wire::open(control)?;
    let kind = "Content-Type: application/json";
    let session = json!({"method": "session-get"}).to_string();
    let id = wire.send("POST /transmission/rpc", &[kind], &session)?.session_id()?;
    let mut call = |method: &str, arguments: Value| -> Result<Value> {
        let body = json!({"method": method, "arguments": arguments}).to_string();
        wire.send("POST /transmission/rpc", &[kind, &id], &body)?
            .arguments()
            .with_context(|| method.to_owned())
    };

    let session = call("session-get", json!({}))?;
    check_all(&session, TREMOTESF_SETTINGS)?;
    let at_least = session["rpc-version"].as_i64() >= Some(16);
    ensure!(at_least && session["rpc-version-minimum"].as_i64() <= Some(14), "{session}");
    let words = ["required", "preferred", "tolerated"];
    ensure!(session["encryption"].as_str().is_some_and(|word| words.contains(&word)), "{session}");

    let add = json!({"metainfo": metainfo(&torrent)?, "download-dir": folder, "paused": false,
        "files-unwanted": [], "priority-high": [0], "bandwidthPriority": 0});
    ensure!(call("torrent-add", add.clone())?["torrent-added"]["id"] == 1);
    ensure!(call("torrent-add", add)?["torrent-duplicate"]["id"] == 1);
    wait_complete(&mut daemon, &torrent, ENOUGH)?;

    let fields: Vec<&str> = TREMOTESF_READS.iter().map(|(name, _)| *name).collect();
    let list = call("torrent-get", json!({"fields": fields, "format": "table"}))?;
    let [header, row] = list["torrents"].as_array().map_or(&[][..], Vec::as_slice) else {
        anyhow::bail!("no header and row: {list}");
    };
    ensure!(*header == json!(fields), "the header is {header}");
    let row = row.as_array().context("no row")?;
    ensure!(row.len() == fields.len(), "{row:?}");
    let named = fields.iter().map(|name| (*name).to_owned()).zip(row.iter().cloned());
    check_all(&Value::Object(named.collect()), TREMOTESF_READS)?;

    let tiers = "http://127.0.0.1:9/a\nhttp://127.0.0.1:9/b\n\n\nhttp://127.0.0.1:9/c";
    call("torrent-set", json!({"ids": [1], "trackerList": tiers}))?;
    let got =
        call("torrent-get", json!({"ids": [1], "fields": ["trackerList", "files", "peers"]}))?;
    let tiers = "http://127.0.0.1:9/a\nhttp://127.0.0.1:9/b\n\nhttp://127.0.0.1:9/c\n";
    ensure!(got["torrents"][0]["trackerList"] == tiers, "{got}");
    let space = call("free-space", json!({"path": folder}))?;
    ensure!(space["path"] == json!(folder), "{space}");
    check_all(&space, &[("size-bytes", Kind::Int), ("total_size", Kind::Int)])?;
    let stats = call("session-stats", json!({}))?;
    check_all(&stats, &[("downloadSpeed", Kind::Int), ("uploadSpeed", Kind::Int)])?;
    let totals: &[_] = &[("uploadedBytes", Kind::Int), ("sessionCount", Kind::Int)];
    check_all(&stats["cumulative-stats"], totals)?;
    check_all(&stats["current-stats"], totals)
}

const TREMOTESF_SETTINGS: &[(&str, Kind)] = &[
    ("alt-speed-down", Kind::Int),
    ("alt-speed-enabled", Kind::Bool),
    ("alt-speed-time-begin", Kind::Int),
    ("alt-speed-time-day", Kind::Int),
    ("config-dir", Kind::Text),
    ("dht-enabled", Kind::Bool),
    ("download-dir", Kind::Text),
    ("download-queue-enabled", Kind::Bool),
    ("download-queue-size", Kind::Int),
    ("encryption", Kind::Text),
    ("idle-seeding-limit", Kind::Int),
    ("incomplete-dir", Kind::Text),
    ("peer-limit-global", Kind::Int),
    ("peer-port", Kind::Int),
    ("rpc-version", Kind::Int),
    ("rpc-version-minimum", Kind::Int),
    ("seedRatioLimit", Kind::Number),
    ("seedRatioLimited", Kind::Bool),
    ("session-id", Kind::Text),
    ("speed-limit-down", Kind::Int),
    ("speed-limit-up-enabled", Kind::Bool),
    ("trash-original-torrent-files", Kind::Bool),
];

const TREMOTESF_READS: &[(&str, Kind)] = &[
    ("id", Kind::Int),
    ("hashString", Kind::Text),
    ("addedDate", Kind::Int),
    ("name", Kind::Text),
    ("magnetLink", Kind::Text),
    ("queuePosition", Kind::Int),
    ("status", Kind::Int),
    ("error", Kind::Int),
    ("errorString", Kind::Text),
    ("totalSize", Kind::Int),
    ("sizeWhenDone", Kind::Int),
    ("leftUntilDone", Kind::Int),
    ("haveValid", Kind::Int),
    ("percentDone", Kind::Number),
    ("recheckProgress", Kind::Number),
    ("eta", Kind::Int),
    ("metadataPercentComplete", Kind::Number),
    ("rateDownload", Kind::Int),
    ("rateUpload", Kind::Int),
    ("downloadLimited", Kind::Bool),
    ("downloadLimit", Kind::Int),
    ("uploadLimited", Kind::Bool),
    ("uploadLimit", Kind::Int),
    ("honorsSessionLimits", Kind::Bool),
    ("bandwidthPriority", Kind::Int),
    ("seedRatioMode", Kind::Int),
    ("seedRatioLimit", Kind::Number),
    ("uploadRatio", Kind::Number),
    ("peersSendingToUs", Kind::Int),
    ("peer-limit", Kind::Int),
    ("activityDate", Kind::Int),
    ("doneDate", Kind::Int),
    ("downloadDir", Kind::Text),
    ("isPrivate", Kind::Bool),
    ("labels", Kind::Texts),
    ("webseeds", Kind::Texts),
    ("trackerStats", Kind::Objects(TRACKER)),
];

const TRACKER: &[(&str, Kind)] = &[
    ("id", Kind::Int),
    ("announce", Kind::Text),
    ("announceState", Kind::Int),
    ("host", Kind::Text),
    ("tier", Kind::Int),
    ("hasAnnounced", Kind::Bool),
    ("isBackup", Kind::Bool),
    ("lastAnnounceSucceeded", Kind::Bool),
    ("lastAnnounceResult", Kind::Text),
    ("lastAnnounceTime", Kind::Int),
    ("lastScrapeTimedOut", Kind::Bool),
    ("nextAnnounceTime", Kind::Int),
    ("seederCount", Kind::Int),
    ("leecherCount", Kind::Int),
    ("downloadCount", Kind::Int),
];

/// Every call has a tag of its own, up to the largest of 63 bits, which must come back digit by digit.
fn autobrr(scene: &Scene) -> Result<()> {
    let (mut daemon, control, torrent) = daemon(scene)?;
    let mut wire = Wire::open(control)?;
    let headers =
        ["User-Agent: github.com/hekmon/transmissionrpc", "Content-Type: application/json"];
    let probe = "{\"method\":\"session-get\",\"tag\":1}";
    let id = wire.send("POST /transmission/rpc", &headers, probe)?.session_id()?;
    let mut tag = i64::MAX as u64;
    let mut call = |method: &str, arguments: Value| -> Result<Value> {
        tag -= 1;
        let body = json!({"method": method, "arguments": arguments, "tag": tag}).to_string();
        let headers = [headers[0], headers[1], &id];
        let answer = wire.send("POST /transmission/rpc", &headers, &body)?;
        ensure!(answer.body.contains(&format!("\"tag\":{tag}")), "no tag {tag}: {}", answer.body);
        answer.arguments().with_context(|| method.to_owned())
    };

    let session = call("session-get", Value::Null)?;
    check_all(
        &session,
        &[
            ("rpc-version", Kind::Int),
            ("rpc-version-minimum", Kind::Int),
            ("default-trackers", Kind::Text),
            ("speed-limit-down", Kind::Int),
            ("cache-size-mb", Kind::Int),
        ],
    )?;
    ensure!(session["rpc-version-minimum"].as_i64() <= Some(17), "{session}");
    let add = json!({"metainfo": metainfo(&torrent)?, "paused": false, "labels": ["race"]});
    let added = call("torrent-add", add)?;
    let answered: &[_] = &[("id", Kind::Int), ("name", Kind::Text), ("hashString", Kind::Text)];
    check_all(&added["torrent-added"], answered)?;
    let id = added["torrent-added"]["id"].clone();
    wait_complete(&mut daemon, &torrent, ENOUGH)?;
    call("torrent-reannounce", json!({"ids": [id]}))?;
    let fields: Vec<&str> = AUTOBRR_READS.iter().map(|(name, _)| *name).collect();
    let list = call("torrent-get", json!({"ids": [id], "fields": fields}))?;
    check_all(&list["torrents"][0], AUTOBRR_READS)
}

const AUTOBRR_READS: &[(&str, Kind)] = &[
    ("id", Kind::Int),
    ("name", Kind::Text),
    ("hashString", Kind::Text),
    ("status", Kind::Int),
    ("error", Kind::Int),
    ("errorString", Kind::Text),
    ("isFinished", Kind::Bool),
    ("isStalled", Kind::Bool),
    ("labels", Kind::Texts),
    ("percentDone", Kind::Number),
    ("rateDownload", Kind::Int),
    ("addedDate", Kind::Int),
    ("wanted", Kind::Bits),
    ("trackerStats", Kind::Objects(TRACKER)),
    (
        "files",
        Kind::Objects(&[
            ("bytesCompleted", Kind::Int),
            ("length", Kind::Int),
            ("name", Kind::Text),
        ]),
    ),
    (
        "fileStats",
        Kind::Objects(&[
            ("bytesCompleted", Kind::Int),
            ("wanted", Kind::Bool),
            ("priority", Kind::Int),
        ]),
    ),
];
