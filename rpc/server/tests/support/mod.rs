//! A server with a real engine behind it, and a client that sends exactly what a test says.
#![allow(dead_code, reason = "each test file uses its part of the rig")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

pub mod native;

use data_encoding::BASE64;
use engine::{Options, Session, settings::Settings};
use ringseed_server::{self as server, Running};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A running server with its folders.
pub struct Rig {
    pub addr: SocketAddr,
    pub folder: TempDir,
    pub session: Session,
    /// What session_set has asked to be kept.
    pub saved: Arc<Mutex<Vec<Settings>>>,
    server: Running,
    session_id: String,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers["content-type"], "application/json; charset=UTF-8");
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }
}

/// Runs a test on a runtime like the daemon's.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce(Rig) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::start().await;
        let session = rig.session.clone();
        test(rig).await;
        session.stop().await;
    });
}

impl Rig {
    async fn start() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            download_dir: folder.path().join("downloads"),
            peer_port: 0,
            peer_bind: "127.0.0.1".into(),
            cores: 1,
            driver: std::env::var("RINGSEED_DRIVER").unwrap_or_else(|_| "auto".into()),
            ..Settings::default()
        };
        std::fs::create_dir(&settings.download_dir).unwrap();
        let config_dir = folder.path().join("config");
        let options = Options { config_dir: config_dir.clone(), settings };
        let session = Session::start(options).await.unwrap();
        let saved = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keep = Arc::clone(&saved);
        let options = server::Options {
            config_dir,
            save_settings: Box::new(move |settings| {
                keep.lock().unwrap().push(settings.clone());
                Ok(())
            }),
        };
        let server = server::serve(vec![listener.into()], session.clone(), options).unwrap();
        let addr = server.addr().unwrap();
        let mut rig = Rig { addr, folder, session, saved, server, session_id: String::new() };
        let refusal = rig.request("POST", "/transmission/rpc", "", b"{}").await;
        assert_eq!(refusal.status, 409);
        rig.session_id = refusal.headers["x-transmission-session-id"].clone();
        rig
    }

    pub fn session_id_header(&self) -> String {
        format!("X-Transmission-Session-Id: {}\r\n", self.session_id)
    }

    /// Stops the server, not the session.
    pub async fn stop_serving(self) {
        self.server.stop().await;
    }

    /// Sends these bytes and gives everything that comes until the end.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    /// One request on a connection of its own; `headers` are whole lines.
    pub async fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let host = match headers.contains("Host:") {
            true => String::new(),
            false => format!("Host: {}\r\n", self.addr),
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        Answer::parse(&self.raw(&request).await)
    }

    /// A request to be run.
    pub async fn post(&self, body: &str) -> Answer {
        self.request("POST", "/transmission/rpc", &self.session_id_header(), body.as_bytes()).await
    }

    /// A call in the older dialect; gives the whole answer.
    pub async fn legacy(&self, method: &str, arguments: Value) -> Value {
        let body = json!({ "method": method, "arguments": arguments, "tag": 3 });
        let answer = self.post(&body.to_string()).await.json();
        assert_eq!(answer["tag"], 3);
        assert!(answer["arguments"].is_object());
        answer
    }

    /// A call in the newer dialect; gives its result.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    /// A call in the newer dialect that fails; gives the error.
    pub async fn error(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        assert!(answer["error"].is_object(), "{answer}");
        answer["error"].clone()
    }

    async fn answer(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": "t" });
        let answer = self.post(&body.to_string()).await.json();
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!("t"), &json!("2.0")));
        answer
    }

    /// Adds a torrent of these files, stopped; gives its id.
    pub async fn add(&self, torrent: &[u8]) -> u64 {
        let params = json!({ "metainfo": BASE64.encode(torrent), "paused": true });
        self.call("torrent_add", params).await["torrent_added"]["id"].as_u64().unwrap()
    }

    /// One torrent's fields, in the newer dialect.
    pub async fn get(&self, id: u64, fields: &[&str]) -> Value {
        let params = json!({ "ids": [id], "fields": fields });
        self.call("torrent_get", params).await["torrents"][0].take()
    }

    /// Waits until a field has a value.
    pub async fn wait_for(&self, id: u64, field: &str, value: Value) {
        for _ in 0..100 {
            if self.get(id, &[field]).await[field] == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{field} is {}, not {value}", self.get(id, &[field]).await);
    }

    pub fn downloads(&self) -> std::path::PathBuf {
        self.folder.path().join("downloads")
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers = lines.map(header).collect();
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }
}

/// Makes files with these lengths and a .torrent of them, `version` as in [`metainfo::create`].
pub fn torrent(folder: &Path, name: &str, files: &[(&str, usize)], hybrid: bool) -> Vec<u8> {
    let root = folder.join(name);
    for (at, (path, length)) in files.iter().enumerate() {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes: Vec<u8> = (0..*length).map(|byte| (byte * 7 + at) as u8).collect();
        std::fs::write(path, bytes).unwrap();
    }
    let version = match hybrid {
        true => metainfo::create::Version::Hybrid,
        false => metainfo::create::Version::V1,
    };
    let request = storage::CreateRequest {
        path: root,
        name: None,
        piece_length: Some(16384),
        version,
        options: metainfo::create::Options {
            trackers: vec![vec!["http://127.0.0.1:9/announce".into()]],
            comment: Some("a \"comment\"\n".into()),
            ..Default::default()
        },
        threads: 1,
    };
    storage::create_torrent(&request, &|_| std::ops::ControlFlow::Continue(())).unwrap()
}

impl Rig {
    /// Waits until a torrent that was removed is no longer listed.
    pub async fn wait_until_gone(&self, id: u64) {
        for _ in 0..100 {
            if self.session.read(|catalog| catalog.iter().all(|t| u64::from(t.id.0) != id)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("torrent {id} is still there");
    }
}
