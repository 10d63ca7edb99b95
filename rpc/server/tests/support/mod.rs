//! A server with a real engine behind it, and a client that sends exactly what a test says.
#![allow(dead_code, reason = "each test file uses its part of the rig")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

pub mod native;

use data_encoding::BASE64;
use engine::{Options, Session, settings::Settings};
use native::PATIENCE;
use ringseed_server::{
    self as server, Address, Listener, Running,
    accounts::{Accounts, AccountsFile, NewToken, Token},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A running server with its folders.
pub struct Rig {
    pub addr: SocketAddr,
    pub folder: TempDir,
    pub session: Session,
    /// What session_set has asked to be kept.
    pub saved: Arc<Mutex<Vec<Settings>>>,
    server: Option<Running>,
    session_id: String,
    /// Header lines by which the rig's own requests log in.
    login: String,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The JSON in an answer of whichever interface.
    pub fn value(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers["content-type"], "application/json; charset=UTF-8");
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }
}

/// Runs a test on a runtime like the daemon's.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce(Rig) -> F) {
    run_with(|_, _| String::new(), test);
}

/// The same with settings and accounts of the test's own, which are made in the given folder. The
/// header lines that come back log the rig in.
pub fn run_with<F: Future<Output = ()>>(
    prepare: impl FnOnce(&mut Settings, &Path) -> String,
    test: impl FnOnce(Rig) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::start(prepare).await;
        let session = rig.session.clone();
        test(rig).await;
        session.stop().await;
    });
}

impl Rig {
    async fn start(prepare: impl FnOnce(&mut Settings, &Path) -> String) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            download_dir: folder.path().join("downloads"),
            peer_port: 0,
            peer_bind: "127.0.0.1".into(),
            rpc_bind: "127.0.0.1:0".into(),
            cores: 1,
            driver: std::env::var("RINGSEED_DRIVER").unwrap_or_else(|_| "auto".into()),
            ..Settings::default()
        };
        std::fs::create_dir(&settings.download_dir).unwrap();
        let config_dir = folder.path().join("config");
        std::fs::create_dir(&config_dir).unwrap();
        let login = prepare(&mut settings, &config_dir);
        let mut listeners = Vec::new();
        for address in Address::list(&settings.rpc_bind, &config_dir).unwrap() {
            let mode = server::socket_mode(&settings.rpc_socket_mode).unwrap();
            listeners.push(Listener::bind(&address, mode).await.unwrap());
        }
        let is_plain = settings.rpc_tls_cert.as_os_str().is_empty();
        let options = Options { config_dir: config_dir.clone(), settings };
        let session = Session::start(options).await.unwrap();
        let saved = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&saved);
        let options = server::Options {
            config_dir,
            save_settings: Box::new(move |settings| {
                keep.lock().unwrap().push(settings.clone());
                Ok(())
            }),
        };
        let server = server::serve(listeners, session.clone(), options).unwrap();
        let (mut addr, server) = (server.addr().unwrap(), Some(server));
        if addr.ip().is_unspecified() {
            addr.set_ip([127, 0, 0, 1].into());
        }
        let session_id = String::new();
        let mut rig = Rig { addr, folder, session, saved, server, session_id, login };
        if is_plain {
            let refusal = rig.request("POST", "/transmission/rpc", &rig.login, b"{}").await;
            assert_eq!(refusal.status, 409);
            rig.session_id = refusal.headers["x-transmission-session-id"].clone();
        }
        rig
    }

    pub fn config_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("config")
    }

    /// Changes users and tokens, and has the server look at them.
    pub fn change_accounts<R>(&self, change: impl FnOnce(&mut Accounts) -> R) -> R {
        let result = accounts(&self.config_dir(), change);
        self.look_for_changes();
        result
    }

    /// Has the server look at the files that it takes over, which it does every second anyway.
    pub fn look_for_changes(&self) {
        self.server.as_ref().unwrap().look_for_changes();
    }

    /// Asks for a WebSocket over a connection, for those who do by hand what clients do not: the head
    /// of the answer.
    pub async fn ask_for_web_socket(&self, stream: &mut TcpStream) -> Vec<u8> {
        let request = format!(
            "GET /rpc/v1 HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.addr
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        head
    }

    pub fn session_id_header(&self) -> String {
        format!("X-Transmission-Session-Id: {}\r\n", self.session_id)
    }

    /// Stops the server, not the session.
    pub async fn stop_serving(mut self) {
        self.server.take().unwrap().stop().await;
    }

    /// The same server, asked at (and so from) this machine's address in its network, which is no
    /// loopback one; `None` if it has none. It must listen there.
    pub fn elsewhere(&self) -> Option<SocketAddr> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        // Nothing is sent: the kernel says from where it would be.
        socket.connect("198.51.100.1:9").ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback()).then(|| SocketAddr::new(ip, self.addr.port()))
    }

    /// A connection from an address of this machine.
    pub async fn connect_from(&self, ip: [u8; 4]) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((ip, 0).into()).unwrap();
        socket.connect(self.addr).await.unwrap()
    }

    /// Sends these bytes and gives everything that comes until the end.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        self.raw_over(TcpStream::connect(self.addr).await.unwrap(), bytes).await
    }

    /// The same with a server that may hang up before it has read everything.
    pub async fn try_raw(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut reader, mut writer) = TcpStream::connect(self.addr).await.unwrap().into_split();
        let send = async { drop(writer.write_all(bytes).await) };
        let mut answer = Vec::new();
        let receive = async { drop(reader.read_to_end(&mut answer).await) };
        tokio::join!(send, receive);
        answer
    }

    async fn raw_over(&self, mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    /// One request on a connection of its own; `headers` are whole lines.
    pub async fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        Answer::parse(&self.raw(&self.written(method, path, headers, body)).await)
    }

    /// The same from an address of this machine.
    pub async fn request_from(
        &self,
        ip: [u8; 4],
        (method, path): (&str, &str),
        headers: &str,
        body: &[u8],
    ) -> Answer {
        let request = self.written(method, path, headers, body);
        Answer::parse(&self.raw_over(self.connect_from(ip).await, &request).await)
    }

    fn written(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
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
        request
    }

    /// A request to be run.
    pub async fn post(&self, body: &str) -> Answer {
        let headers = format!("{}{}", self.login, self.session_id_header());
        self.request("POST", "/transmission/rpc", &headers, body.as_bytes()).await
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
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.get(id, &[field]).await[field].take();
            if found == value {
                return;
            }
            assert!(Instant::now() < deadline, "{field} is {found}, not {value}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn downloads(&self) -> std::path::PathBuf {
        self.folder.path().join("downloads")
    }
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Answer {
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

/// Header lines that log in by a name and a password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// Header lines that log in by a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Changes the accounts of a daemon's folder.
pub fn accounts<R>(config_dir: &Path, change: impl FnOnce(&mut Accounts) -> R) -> R {
    AccountsFile::in_folder(config_dir).edit(|accounts| Ok(change(accounts))).unwrap()
}

/// Makes a token; gives it with what is kept of it.
pub fn token(accounts: &mut Accounts, role: api::Role, methods: &[&str]) -> (String, Token) {
    let new = NewToken {
        name: "script".into(),
        role,
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        folders: Vec::new(),
        lifetime: None,
    };
    accounts.add_token(new, 1_700_000_000).unwrap()
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
        let deadline = Instant::now() + PATIENCE;
        while self.session.read(|catalog| catalog.iter().any(|t| u64::from(t.id.0) == id)) {
            assert!(Instant::now() < deadline, "torrent {id} is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
