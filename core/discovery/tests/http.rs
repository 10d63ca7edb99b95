//! What HTTP and HTTPS trackers can make us do: redirects, and certificates that are or are not
//! trusted.

#![allow(clippy::unwrap_used)]

use metainfo::InfoHash;
use ringseed_discovery::{
    Announcer, AnnouncerHandle, Config, Progress, TorrentAnnounce, TorrentKey,
};
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, rustls};

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: TorrentKey = TorrentKey(1);
const GOOD: &str = "d8:completei1e10:downloadedi3e10:incompletei2e8:intervali1800e5:peers0:e";

/// Where the test of certificates finds them, in the process that has the system's replaced.
const FOLDER: &str = "RINGSEED_TEST_CERTIFICATES";

/// A tracker that answers each request with what `answer` makes of its path.
struct Tracker {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Tracker {
    async fn start(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Tracker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(vec![]));
        let paths = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => serve(stream, &paths, &answer).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, &paths, &answer).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        Tracker { port, heard }
    }

    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// One request, and the connection's end.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    heard: &Mutex<Vec<String>>,
    answer: &impl Fn(&str) -> String,
) {
    let (mut request, mut chunk) = (vec![], [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(length @ 1..) => request.extend_from_slice(&chunk[..length]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = answer(&path);
    heard.lock().unwrap().push(path);
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn good() -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len())
}

fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Announces to the tracker until there is an outcome, which is given: `Success` or the error.
async fn announced(url: &str) -> String {
    let (sink, _events) = mpsc::channel(64);
    let handle: AnnouncerHandle = Announcer::spawn(Config::default(), sink).unwrap();
    handle.add(TorrentAnnounce {
        key: KEY,
        info_hash: InfoHash([7; 20]),
        peer_id: *b"-RS0100-abcdefghijkl",
        trackers: vec![vec![url.to_owned()]],
        private: false,
        progress: Arc::new(Progress::default()),
    });
    handle.start(KEY);
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = handle.status(KEY).first()
            && status.last_announce.happened
        {
            return status.last_announce.result.to_string();
        }
        assert!(Instant::now() < end, "no outcome of announcing to {url}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let target = Tracker::start(None, |_| good()).await;
    let port = target.port;
    let first =
        Tracker::start(None, move |path| redirect(&format!("http://127.0.0.1:{port}/moved{path}")));
    let first = first.await;
    assert_eq!(announced(&format!("http://127.0.0.1:{}/announce", first.port)).await, "Success");
    assert!(target.heard.lock().unwrap()[0].starts_with("/moved/announce?info_hash="));
}

#[tokio::test]
async fn redirects_without_end_are_an_error() {
    let tracker = Tracker::start(None, |_| redirect("/again")).await;
    let outcome = announced(&format!("http://127.0.0.1:{}/announce", tracker.port)).await;
    assert!(outcome.contains("redirects"), "{outcome}");
    assert_eq!(tracker.heard(), ringseed_discovery::limits::REDIRECTS + 1);
}

/// Writes the certificate as the only one that the system trusts, and gives what a server needs.
fn certificate(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    fs::write(folder.join(format!("{name}.der")), made.cert.der()).unwrap();
    fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_der()).unwrap();
}

fn acceptor(folder: &Path, name: &str) -> TlsAcceptor {
    let read = |kind: &str| fs::read(folder.join(format!("{name}.{kind}"))).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = rustls::pki_types::PrivateKeyDer::try_from(read("key")).unwrap();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![read("der").into()], key).unwrap()))
}

/// Certificates are the system's, which `SSL_CERT_FILE` replaces: so this runs again, in a process
/// that has it set.
#[test]
fn https_trackers_need_a_certificate_that_the_system_trusts() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(speak_https(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "trusted");
    certificate(folder.path(), "unknown");
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "https_trackers_need_a_certificate_that_the_system_trusts"])
        .args(["--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .env("SSL_CERT_FILE", folder.path().join("trusted.pem"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}\n{}", String::from_utf8_lossy(&again.stdout));
}

async fn speak_https(folder: &Path) {
    let plain = Tracker::start(None, |_| good()).await;
    let port = plain.port;
    let trusted = Tracker::start(Some(acceptor(folder, "trusted")), move |path| {
        if path.starts_with("/moved") {
            redirect(&format!("http://localhost:{port}/announce"))
        } else {
            good()
        }
    });
    let trusted = trusted.await;
    let unknown = Tracker::start(Some(acceptor(folder, "unknown")), |_| good()).await;

    let url = |tracker: &Tracker, path: &str| format!("https://localhost:{}/{path}", tracker.port);
    assert_eq!(announced(&url(&trusted, "announce")).await, "Success");

    let outcome = announced(&url(&unknown, "announce")).await;
    assert!(outcome.to_lowercase().contains("certificate"), "{outcome}");
    assert_eq!(unknown.heard(), 0, "nothing is said to whom we do not trust");

    // Also no redirect gives what the URL holds to whoever listens on the way.
    let outcome = announced(&url(&trusted, "moved")).await;
    assert!(outcome.contains("not safe"), "{outcome}");
    assert_eq!(plain.heard(), 0);
}
