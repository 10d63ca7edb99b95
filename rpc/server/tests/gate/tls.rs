//! TLS, as a client sees it, and certificates that are replaced while the server runs.

use crate::log;
use crate::support::{Answer, Rig, run_with};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{fs, io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate for this name and its key, in PEM form.
struct Made {
    cert: String,
    key: String,
    der: CertificateDer<'static>,
}

fn certificate(name: &str) -> Made {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    Made { cert, key, der: made.cert.der().clone() }
}

impl Made {
    fn put(&self, folder: &Path) {
        // The key first, as most programs do it: for a moment the two do not fit together.
        fs::write(folder.join("key.pem"), &self.key).unwrap();
        fs::write(folder.join("cert.pem"), &self.cert).unwrap();
    }
}

fn with_tls(first: &Made, test: impl AsyncFnOnce(&Rig)) {
    run_with(
        |settings, config_dir| {
            first.put(config_dir);
            settings.rpc_tls_cert = config_dir.join("cert.pem");
            settings.rpc_tls_key = config_dir.join("key.pem");
            String::new()
        },
        |rig| async {
            let rig = rig;
            test(&rig).await;
        },
    );
}

/// A connection by a client that trusts this certificate only and wants to speak to this name.
async fn connect(rig: &Rig, trusted: &Made, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(rig.addr).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Asks over a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> Answer {
    let request =
        b"POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let answer = Answer::parse(&bytes);
            let length: usize = answer.headers["content-length"].parse().unwrap();
            if bytes.len() == end + 4 + length {
                return answer;
            }
        }
        let read = stream.read_buf(&mut bytes).await.unwrap();
        assert_ne!(read, 0, "the connection ended within an answer");
    }
}

#[test]
fn a_certificate_is_replaced_without_a_restart_and_open_connections_stay() {
    let log = log::capture();
    let (first, second) = (certificate("one.test"), certificate("two.test"));
    with_tls(&first, async |rig| {
        let mut open = connect(rig, &first, "one.test").await.unwrap();
        assert_eq!(ask(&mut open).await.status, 409);
        assert!(connect(rig, &first, "other.test").await.is_err(), "the name is checked");
        assert!(connect(rig, &second, "two.test").await.is_err());
        let folder = rig.config_dir();

        second.put(&folder);
        let folder_name = folder.to_string_lossy().into_owned();
        log.wait_for(&["the certificate was read anew", &folder_name]).await;
        let mut new = connect(rig, &second, "two.test").await.unwrap();
        assert_eq!(ask(&mut new).await.status, 409);
        assert!(connect(rig, &first, "one.test").await.is_err());
        assert_eq!(ask(&mut open).await.status, 409, "it goes on with the old one");

        // What cannot be used leaves the one before in force, and the log says so.
        for bad in ["", "nonsense", &first.cert, &second.cert[..second.cert.len() / 2]] {
            let before = log.lines(&["the certificate stays", &folder_name]).len();
            fs::write(folder.join("cert.pem"), bad).unwrap();
            rig.look_for_changes();
            let lines = log.lines(&["the certificate stays"]).len();
            assert!(lines > before, "{bad}");
            assert!(connect(rig, &second, "two.test").await.is_ok(), "{bad}");
        }
        fs::remove_file(folder.join("cert.pem")).unwrap();
        rig.look_for_changes();
        let mut still = connect(rig, &second, "two.test").await.unwrap();
        assert_eq!(ask(&mut still).await.status, 409);
        assert_eq!(ask(&mut open).await.status, 409);
    });
}

#[test]
fn the_port_speaks_nothing_but_tls_and_a_handshake_that_stalls_holds_up_nobody() {
    let made = certificate("one.test");
    with_tls(&made, async |rig| {
        let plain = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(rig.addr).await.unwrap();
        stream.write_all(plain).await.unwrap();
        let mut answer = Vec::new();
        // It may be an alert, or the end of the connection.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        let mut stalled = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(rig.addr).await.unwrap();
            // The beginning of a ClientHello.
            stream.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
            stalled.push(stream);
        }
        let ask = async {
            let mut stream = connect(rig, &made, "one.test").await.unwrap();
            ask(&mut stream).await.status
        };
        let asked = tokio::time::timeout(Duration::from_secs(8), ask).await;
        assert_eq!(asked.expect("before the others are given up"), 409);
        drop(stalled);
    });
}

#[test]
fn settings_of_tls_that_could_not_be_started_with_are_refused() {
    let made = certificate("one.test");
    crate::support::run(|rig| async move {
        made.put(&rig.config_dir());
        let at = |name: &str| rig.config_dir().join(name);
        let set = |cert: &str, key: &str| {
            let path = |name: &str| if name.is_empty() { Default::default() } else { at(name) };
            let settings =
                serde_json::json!({ "rpc_tls_cert": path(cert), "rpc_tls_key": path(key) });
            serde_json::json!({
                "jsonrpc": "2.0", "id": 1, "method": "settings.set",
                "params": { "settings": settings },
            })
        };
        let json = "Content-Type: application/json\r\n";
        for (cert, key) in
            [("cert.pem", ""), ("", "key.pem"), ("key.pem", "cert.pem"), ("none.pem", "key.pem")]
        {
            let body = set(cert, key).to_string();
            let answer = rig.request("POST", "/rpc/v1", json, body.as_bytes()).await.value();
            assert_eq!(answer["error"]["code"], -32602, "{cert} {key}: {answer}");
            assert!(rig.session.settings().rpc_tls_cert.as_os_str().is_empty());
        }
        let body = set("cert.pem", "key.pem").to_string();
        let answer = rig.request("POST", "/rpc/v1", json, body.as_bytes()).await.value();
        assert!(answer["result"].is_object(), "{answer}");
    });
}
