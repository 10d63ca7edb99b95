//! What is fetched from other servers, over both dialects.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use serde_json::json;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

/// A web server that answers each path with what it is given, and keeps the requests.
struct Web {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(pages: Vec<(&'static str, Vec<u8>)>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(50) {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                keep.lock().unwrap().push(request);
                let page = pages.iter().find(|(name, _)| path.starts_with(name));
                let (status, body) = match page {
                    Some((_, body)) => ("200 OK", body.as_slice()),
                    None => ("404 Not Found", &b"no"[..]),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body).unwrap();
            }
        });
        Web { addr, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    fn last(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap_or_default().to_lowercase()
    }
}

#[test]
fn torrents_are_added_by_web_address_with_cookies() {
    support::run(|rig| async move {
        let torrent = support::torrent(&rig.downloads(), "top", &[("x", 20_000)], false);
        let web = Web::start(vec![("/good", torrent), ("/bad", b"<html>".to_vec())]);
        let params =
            json!({ "filename": web.url("/good?key=1"), "cookies": "a=b; c=d", "paused": true });
        let added = rig.call("torrent_add", params.clone()).await;
        assert_eq!(added["torrent_added"]["name"], "top");
        assert!(web.last().contains("\r\ncookie: a=b; c=d\r\n"));
        let again = rig.legacy("torrent-add", params).await;
        assert_eq!(again["arguments"]["torrent-duplicate"]["name"], "top");
        for (url, code) in [
            (web.url("/missing"), 8),
            ("http://127.0.0.1:1/x.torrent".to_owned(), 8),
            ("ftp://127.0.0.1/x.torrent".to_owned(), 8),
            (web.url("/bad"), 9),
        ] {
            let error = rig.error("torrent_add", json!({ "filename": url })).await;
            assert_eq!(error["code"], code, "{url}: {error}");
        }
    });
}

#[test]
fn an_added_file_is_deleted_if_that_is_wanted() {
    support::run(|rig| async move {
        let path = rig.folder.path().join("a.torrent");
        for trash in [false, true] {
            let name = format!("top {trash}");
            let torrent = support::torrent(&rig.downloads(), &name, &[("x", 20_000)], false);
            std::fs::write(&path, torrent).unwrap();
            let set = json!({ "trash-original-torrent-files": trash });
            assert_eq!(rig.legacy("session-set", set).await["result"], "success");
            rig.call("torrent_add", json!({ "filename": path, "paused": true })).await;
            assert_eq!(path.exists(), !trash);
        }
    });
}

#[test]
fn the_port_is_tested_by_the_server_that_the_operator_names() {
    support::run(|rig| async move {
        let web = Web::start(vec![
            ("/open/", b"1".to_vec()),
            ("/closed?p=", b"0\n".to_vec()),
            ("/other", b"what?".to_vec()),
        ]);
        let set = |url: String| {
            let mut settings = rig.session.settings();
            settings.port_test_url = url;
            rig.session.set_settings(settings).unwrap();
        };
        let error = rig.error("port_test", json!({})).await;
        assert_eq!(error["code"], 8);
        let older = rig.legacy("port-test", json!({})).await;
        assert!(older["result"].as_str().unwrap().starts_with("couldn't test port"));
        set(web.url("/open/"));
        let told = rig.call("port_test", json!({ "ip_protocol": "ipv4" })).await;
        assert_eq!(told, json!({ "port_is_open": true, "ip_protocol": "ipv4" }));
        let port = rig.session.peer_addr()[0].port();
        assert!(web.last().starts_with(&format!("get /open/{port} ")));
        set(web.url("/closed?p={port}&x"));
        let older = rig.legacy("port-test", json!({})).await;
        assert_eq!(older["arguments"], json!({ "port-is-open": false, "ip_protocol": "ipv4" }));
        assert!(web.last().starts_with(&format!("get /closed?p={port}&x ")));
        // The server has no IPv6 address.
        let error = rig.error("port_test", json!({ "ip_protocol": "ipv6" })).await;
        assert_eq!(
            (&error["code"], &error["data"]["result"]),
            (&json!(8), &json!({ "ip_protocol": "ipv6" }))
        );
        set(web.url("/other"));
        assert_eq!(rig.error("port_test", json!({})).await["code"], 8);
        let error = rig.error("port_test", json!({ "ip_protocol": "ipx" })).await;
        assert_eq!(error["code"], -32602);
    });
}

#[test]
fn the_blocklist_is_fetched_counted_and_told() {
    support::run(|rig| async move {
        let web = Web::start(vec![
            ("/list", b"A:1.2.3.4-1.2.3.9\nB:5.5.5.5-5.5.5.5\n".to_vec()),
            ("/empty", b"nothing\n".to_vec()),
        ]);
        let failed = rig.error("blocklist_update", json!({})).await;
        assert_eq!(failed["code"], 8);
        let set = json!({ "blocklist-url": web.url("/list"), "blocklist-enabled": true });
        assert_eq!(rig.legacy("session-set", set).await["result"], "success");
        assert_eq!(rig.call("blocklist_update", json!({})).await, json!({ "blocklist_size": 2 }));
        let older = rig.legacy("blocklist-update", json!({})).await;
        assert_eq!(older["arguments"], json!({ "blocklist-size": 2 }));
        rig.call("session_set", json!({ "blocklist_url": web.url("/empty") })).await;
        assert_eq!(rig.error("blocklist_update", json!({})).await["code"], 8);
        rig.call("session_set", json!({ "blocklist_url": "/no/such/list" })).await;
        assert_eq!(rig.error("blocklist_update", json!({})).await["code"], 5);
        let fields = json!({ "fields": ["blocklist_size", "blocklist_enabled", "blocklist_url"] });
        assert_eq!(
            rig.call("session_get", fields).await,
            json!({ "blocklist_size": 2, "blocklist_enabled": true, "blocklist_url": "/no/such/list" })
        );
    });
}

#[test]
fn scripts_are_set_and_told() {
    support::run(|rig| async move {
        let names = ["added", "done", "done_seeding"];
        for name in names {
            let mut set = json!({});
            set[format!("script_torrent_{name}_enabled")] = json!(true);
            set[format!("script_torrent_{name}_filename")] = json!(format!("/bin/{name}"));
            rig.call("session_set", set).await;
        }
        let told = rig.call("session_get", json!({})).await;
        for name in names {
            assert_eq!(told[format!("script_torrent_{name}_enabled")], true);
            assert_eq!(told[format!("script_torrent_{name}_filename")], format!("/bin/{name}"));
        }
    });
}
