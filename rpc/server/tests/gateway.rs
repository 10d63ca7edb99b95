//! What clients rely on before a call is looked into: statuses, headers, and their order.

mod support;
use serde_json::{Value, json};

const PATHS: [&str; 2] = ["/transmission/rpc", "/transmission/rpc/"];

#[test]
fn without_the_session_id_every_method_is_answered_409_with_it() {
    support::run(|rig| async move {
        for path in PATHS {
            for method in ["GET", "POST"] {
                for headers in ["", "X-Transmission-Session-Id: wrong\r\n"] {
                    let answer = rig.request(method, path, headers, b"{}").await;
                    assert_eq!(answer.status, 409);
                    assert_eq!(answer.headers["x-transmission-session-id"].len(), 48);
                    assert_eq!(answer.headers["x-transmission-rpc-version"], "6.0.1");
                }
            }
            let id = rig.session_id_header();
            let answer = rig.request("GET", path, &id, b"").await;
            assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "POST"));
            assert_eq!(rig.request("POST", path, &id, b"{}").await.status, 200);
            assert_eq!(rig.request("OPTIONS", path, "", b"").await.status, 200);
            assert_eq!(rig.request("PUT", path, &id, b"").await.status, 501);
        }
    });
}

#[test]
fn the_session_ids_header_is_spelled_as_the_oldest_clients_want_it() {
    support::run(|rig| async move {
        let answer = rig
            .raw(b"GET /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(answer.await).unwrap();
        assert!(answer.contains("\r\nX-Transmission-Session-Id: "), "{answer}");
        assert!(answer.contains("\r\nServer: Transmission\r\n"), "{answer}");
    });
}

#[test]
fn other_paths_are_redirected_or_not_found() {
    support::run(|rig| async move {
        let id = rig.session_id_header();
        for path in ["/", "/x", "/transmission", "/transmission/", "/transmission/web"] {
            let answer = rig.request("GET", path, &id, b"").await;
            let location = answer.headers["location"].as_str();
            assert_eq!((answer.status, location), (301, "/transmission/web/"), "{path}");
        }
        for path in ["/transmission/rpcx", "/transmission/upload"] {
            assert_eq!(rig.request("POST", path, &id, b"").await.status, 404, "{path}");
        }
        // Without a folder for it there is no web interface; no session id is asked for there.
        assert_eq!(rig.request("GET", "/transmission/web/x", "", b"").await.status, 404);
        let posted = rig.request("POST", "/transmission/web/", "", b"").await;
        assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET"));
        let health = rig.request("GET", "/healthz", "Host: any.example\r\n", b"").await;
        assert_eq!((health.status, health.body.as_slice()), (200, &b"ok\n"[..]));
    });
}

#[test]
fn foreign_host_names_are_refused_before_the_session_id_is_told() {
    support::run(|rig| async move {
        for host in ["evil.example", "evil.example:9091", ""] {
            let headers = format!("Host: {host}\r\n");
            let answer = rig.request("POST", PATHS[0], &headers, b"{}").await;
            assert_eq!(answer.status, 421);
            assert!(!answer.headers.contains_key("x-transmission-session-id"));
        }
        for host in ["localhost", "localhost:1", "192.0.2.1", "[::1]:9091"] {
            let headers = format!("Host: {host}\r\n{}", rig.session_id_header());
            assert_eq!(rig.request("POST", PATHS[0], &headers, b"{}").await.status, 200);
        }
    });
}

#[test]
fn no_content_type_is_looked_at_and_no_origin_invited() {
    support::run(|rig| async move {
        let body = br#"{"method":"session-get","arguments":{"fields":["version"]},"tag":1}"#;
        let mut answers = Vec::new();
        for kind in ["application/json", "application/x-www-form-urlencoded", "json", ""] {
            let headers = match kind {
                "" => rig.session_id_header(),
                kind => format!(
                    "Content-Type: {kind}\r\nOrigin: http://x\r\n{}",
                    rig.session_id_header()
                ),
            };
            let answer = rig.request("POST", PATHS[0], &headers, body).await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
            answers.push(answer.json());
        }
        assert_eq!(answers[0]["result"], "success");
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    });
}

#[test]
fn rpc_errors_are_answered_200_and_notifications_204() {
    support::run(|rig| async move {
        let code = |answer: &Value| answer["error"]["code"].as_i64();
        for (body, expected) in [("{", -32700), ("", -32700), ("3", -32600), ("[]", -32600)] {
            let answer = rig.post(body).await.json();
            assert_eq!((code(&answer), &answer["id"]), (Some(expected), &Value::Null), "{body}");
        }
        for body in [
            r#"{"jsonrpc":"2.0","method":"torrent_stop","params":{"ids":[]}}"#,
            r#"{"jsonrpc":"2.0","method":"session_get"}"#,
            r#"{"jsonrpc":"2.0","method":"no_such"}"#,
            r#"[{"jsonrpc":"2.0","method":"session_get"},{"jsonrpc":"2.0","method":"torrent_stop"}]"#,
        ] {
            let answer = rig.post(body).await;
            assert_eq!((answer.status, answer.body.len()), (204, 0), "{body}");
        }
        let batch = rig
            .post(r#"[{"jsonrpc":"2.0","method":"session_stats","id":9223372036854775807},{"jsonrpc":"2.0","method":"torrent_stop"},4]"#)
            .await
            .json();
        assert_eq!(batch[0]["id"], json!(i64::MAX));
        assert_eq!(batch[0]["result"]["torrent_count"], 0);
        assert_eq!((code(&batch[1]), batch.as_array().unwrap().len()), (Some(-32600), 2));
        let unknown = rig.legacy("no-such-method", json!({})).await;
        assert_eq!(unknown["result"], "method name not recognized");
    });
}

#[test]
fn bodies_are_bounded_and_refusals_reach_who_still_sends() {
    support::run(|rig| async move {
        let head = format!(
            "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n",
            rig.session_id_header(),
            (64 << 20) + 1
        );
        let answer = rig.raw(head.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 413 "));
        // Megabytes with a stale id: the refusal comes after them, not instead of a connection.
        let large = vec![b' '; 4 << 20];
        assert_eq!(rig.request("POST", PATHS[0], "", &large).await.status, 409);
        let answer = rig.request("POST", PATHS[0], &rig.session_id_header(), &large).await.json();
        assert_eq!(answer["error"]["code"], -32700);
    });
}

#[test]
fn who_asks_before_sending_is_told_to_go_on() {
    support::run(|rig| async move {
        let head = |id: &str| {
            format!(
                "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n{id}Content-Length: 2\r\n\r\n"
            )
        };
        let mut request = head(&rig.session_id_header()).into_bytes();
        request.extend_from_slice(b"{}");
        let answer = String::from_utf8(rig.raw(&request).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"), "{answer}");
        let answer = String::from_utf8(rig.raw(head("").as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    });
}

#[test]
fn a_server_that_stops_refuses_connections_and_is_quick_about_it() {
    support::run(|rig| async move {
        let addr = rig.addr;
        let idle = tokio::net::TcpStream::connect(addr).await.unwrap();
        let start = std::time::Instant::now();
        rig.stop_serving().await;
        assert!(start.elapsed().as_secs() < 1);
        assert!(tokio::net::TcpStream::connect(addr).await.is_err());
        drop(idle);
    });
}
