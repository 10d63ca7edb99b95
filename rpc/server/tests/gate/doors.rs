//! Who may connect, from which pages, and how often: addresses, names, origins, log-ins, rates.

use crate::support::{Rig, accounts, basic, bearer, run, run_with, token};
use api::Role;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

const RPC: &str = "/transmission/rpc";
const NATIVE: &str = "/rpc/v1";
const JSON: &str = "Content-Type: application/json\r\n";
const FIGURES: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"statistics.get"}"#;
const STATS: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"session_stats"}"#;

fn with_ann(settings: impl FnOnce(&mut engine::settings::Settings), test: impl AsyncFnOnce(&Rig)) {
    run_with(
        |all, config_dir| {
            settings(all);
            accounts(config_dir, |accounts| {
                accounts.add_user("ann", Role::Admin, "correct horse", Vec::new()).unwrap();
            });
            basic("ann", "correct horse")
        },
        |rig| async {
            let rig = rig;
            test(&rig).await;
        },
    );
}

/// Every way in, with what a request needs there besides a log-in.
fn ways(rig: &Rig) -> [(&'static str, &'static str, String, &'static [u8]); 5] {
    [
        ("POST", RPC, rig.session_id_header(), STATS),
        ("POST", NATIVE, JSON.to_owned(), FIGURES),
        ("GET", "/rpc/v1/openrpc.json", String::new(), b""),
        ("GET", "/metrics", String::new(), b""),
        ("GET", "/transmission/web/", String::new(), b""),
    ]
}

#[test]
fn without_users_only_this_machine_is_answered() {
    let prepare = |settings: &mut engine::settings::Settings, _: &std::path::Path| {
        settings.rpc_bind = "0.0.0.0:0".into();
        settings.web_home = "/".into();
        String::new()
    };
    run_with(prepare, |mut rig| async move {
        for (method, path, headers, body) in ways(&rig) {
            let status = rig.request(method, path, &headers, body).await.status;
            assert!(status == 200 || path.ends_with("web/"), "{path}: {status}");
        }
        let Some(elsewhere) = rig.elsewhere() else {
            return machine::skip("no address but loopback");
        };
        rig.addr = elsewhere;
        let before = rig.session.settings();
        for (method, path, headers, body) in ways(&rig) {
            for login in [String::new(), basic("admin", ""), bearer("rs_x")] {
                let headers = format!("{headers}{login}");
                let answer = rig.request(method, path, &headers, body).await;
                assert_eq!(answer.status, 403, "{path}");
                assert!(!answer.headers.contains_key("x-transmission-session-id"));
            }
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(rig.request("GET", path, "", b"").await.status, 200, "{path}");
        }
        assert_eq!(rig.session.settings(), before);
    });
}

#[test]
fn with_users_every_way_in_asks_for_a_log_in_before_it_tells_anything() {
    with_ann(
        |settings| settings.anti_brute_force_enabled = false,
        async |rig| {
            let wrong = [
                String::new(),
                basic("ann", "wrong horse"),
                basic("nobody", "correct horse"),
                bearer("rs_wrong"),
                "Authorization: Basic !!!\r\n".to_owned(),
                "Authorization: Negotiate abc\r\n".to_owned(),
            ];
            for (method, path, headers, body) in ways(rig) {
                for login in &wrong {
                    // Neither the right session id nor its lack makes a difference.
                    for headers in ["", &headers] {
                        let headers = format!("{headers}{login}");
                        let answer = rig.request(method, path, &headers, body).await;
                        assert_eq!(answer.status, 401, "{path} {login}");
                        assert!(answer.headers["www-authenticate"].starts_with("Basic realm="));
                        assert!(!answer.headers.contains_key("x-transmission-session-id"));
                    }
                }
                let headers = format!("{headers}{}", basic("ann", "correct horse"));
                let status = rig.request(method, path, &headers, body).await.status;
                assert!(
                    status == 200 || path.ends_with("web/") && status == 404,
                    "{path}: {status}"
                );
            }
            let login = basic("ann", "correct horse");
            assert_eq!(rig.request("POST", RPC, &login, STATS).await.status, 409);
            // Who logs in may use any name: a page of another name has no password to send.
            let named = format!("Host: box.example\r\n{login}{}", rig.session_id_header());
            assert_eq!(rig.request("POST", RPC, &named, STATS).await.status, 200);
        },
    );
}

#[test]
fn addresses_that_are_not_listed_are_answered_nothing() {
    run(|rig| async move {
        let list = |list: &str| json!({ "settings": { "rpc_whitelist": list } });
        let set = |params| {
            json!({ "jsonrpc": "2.0", "id": 1, "method": "settings.set", "params": params })
                .to_string()
        };
        for bad in ["nonsense", "127.0.0.1, 10.0.0.0/33"] {
            let body = set(list(bad));
            let answer = rig.request("POST", NATIVE, JSON, body.as_bytes()).await.value();
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            assert_eq!(rig.session.settings().rpc_whitelist, "", "nothing has changed");
            assert!(rig.saved.lock().unwrap().is_empty());
        }
        let body = set(list("127.0.0.1, ::1"));
        rig.request("POST", NATIVE, JSON, body.as_bytes()).await.value();
        let mut all: Vec<_> = ways(&rig).into();
        all.push(("GET", "/healthz", String::new(), b""));
        all.push(("GET", "/readyz", String::new(), b""));
        all.push(("OPTIONS", RPC, String::new(), b""));
        for (method, path, headers, body) in all {
            let there = rig.request_from([127, 0, 0, 9], (method, path), &headers, body).await;
            assert_eq!(there.status, 403, "{path}");
            let here = rig.request_from([127, 0, 0, 1], (method, path), &headers, body).await;
            assert_ne!(here.status, 403, "{path}");
        }
        // Whatever else changes settings still may: the list is not what is wrong with it.
        rig.call("session_set", json!({ "reqq": 77 })).await;
    });
}

#[test]
fn names_that_could_be_anybodys_are_refused_everywhere() {
    run(|rig| async move {
        for (method, path, headers, body) in ways(&rig) {
            if path.starts_with("/transmission/web") {
                continue;
            }
            for name in ["evil.example", "evil.example:9091", "127.0.0.1.evil.example", ""] {
                let headers = format!("Host: {name}\r\n{headers}");
                let answer = rig.request(method, path, &headers, body).await;
                assert_eq!(answer.status, 421, "{path} {name}");
                assert!(!answer.headers.contains_key("x-transmission-session-id"));
            }
            for name in ["localhost", "127.0.0.1:9091", "[::1]"] {
                let headers = format!("Host: {name}\r\n{headers}");
                assert_eq!(rig.request(method, path, &headers, body).await.status, 200, "{path}");
            }
        }
        let settings = engine::settings::Settings {
            rpc_host_whitelist: "*.home.arpa".into(),
            ..rig.session.settings()
        };
        let set = json!({ "jsonrpc": "2.0", "id": 1, "method": "settings.set", "params": {
            "settings": { "rpc_host_whitelist": settings.rpc_host_whitelist },
        } });
        rig.request("POST", NATIVE, JSON, set.to_string().as_bytes()).await.value();
        let named = format!("Host: box.home.arpa:9091\r\n{}", rig.session_id_header());
        assert_eq!(rig.request("POST", RPC, &named, STATS).await.status, 200);
    });
}

/// The CORS headers of an answer.
fn invited(answer: &crate::support::Answer) -> Vec<&str> {
    let headers = answer.headers.keys().map(String::as_str);
    headers.filter(|name| name.starts_with("access-control-")).collect()
}

#[test]
fn pages_from_elsewhere_are_not_invited_unless_they_are_named() {
    let page = "Origin: https://ui.example\r\n";
    let preflight = format!(
        "{page}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: x-transmission-session-id,authorization\r\n"
    );
    run(|rig| async move {
        for path in [RPC, NATIVE, "/metrics"] {
            let answer = rig.request("OPTIONS", path, &preflight, b"").await;
            assert!(answer.status == 200 && invited(&answer).is_empty(), "{path}");
            let answer = rig.request("POST", path, page, STATS).await;
            assert!(invited(&answer).is_empty(), "{path}");
        }
        // What a browser sends without asking first does not get through either.
        let foreign = format!("{page}{JSON}");
        assert_eq!(rig.request("POST", NATIVE, &foreign, FIGURES).await.status, 403);
        let unasked = "Content-Type: text/plain\r\n";
        assert_eq!(rig.request("POST", NATIVE, unasked, FIGURES).await.status, 415);
        let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let foreign = format!("{page}{socket}");
        assert_eq!(rig.request("GET", NATIVE, &foreign, b"").await.status, 403);

        let set = json!({ "jsonrpc": "2.0", "id": 1, "method": "settings.set", "params": {
            "settings": { "rpc_cors_origins": "https://ui.example" },
        } });
        rig.request("POST", NATIVE, JSON, set.to_string().as_bytes()).await.value();
        for path in [RPC, NATIVE] {
            let answer = rig.request("OPTIONS", path, &preflight, b"").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.headers["access-control-allow-origin"], "https://ui.example");
            assert!(answer.headers["access-control-allow-methods"].contains("POST"));
            let headers = &answer.headers["access-control-allow-headers"];
            for header in ["authorization", "content-type", "x-transmission-session-id"] {
                assert!(headers.contains(header), "{headers}");
            }
            let other = preflight.replace("ui.example", "evil.example");
            let answer = rig.request("OPTIONS", path, &other, b"").await;
            assert!(invited(&answer).is_empty(), "{path}");
        }
        // A page can go through the handshake: it may read the refusal and the id in it.
        let refusal = rig.request("POST", RPC, page, STATS).await;
        assert_eq!(refusal.status, 409);
        assert_eq!(refusal.headers["access-control-allow-origin"], "https://ui.example");
        let exposed = &refusal.headers["access-control-expose-headers"];
        assert!(exposed.contains("x-transmission-session-id"), "{exposed}");
        let id = format!("{page}{}", rig.session_id_header());
        assert_eq!(rig.request("POST", RPC, &id, STATS).await.status, 200);
        let native = format!("{page}{JSON}");
        assert_eq!(rig.request("POST", NATIVE, &native, FIGURES).await.status, 200);
    });
}

#[test]
fn an_address_that_asks_too_often_waits_and_this_machine_does_not() {
    let prepare = |settings: &mut engine::settings::Settings, _: &std::path::Path| {
        settings.rpc_bind = "0.0.0.0:0".into();
        settings.rpc_rate_limit = 1;
        String::new()
    };
    run_with(prepare, |mut rig| async move {
        for _ in 0..40 {
            assert_eq!(rig.request("GET", "/healthz", "", b"").await.status, 200);
        }
        let here = rig.addr;
        let Some(elsewhere) = rig.elsewhere() else {
            return machine::skip("no address but loopback");
        };
        rig.addr = elsewhere;
        let mut passed = 0;
        let refusal = loop {
            let answer = rig.request("GET", "/healthz", "", b"").await;
            match answer.status {
                200 => passed += 1,
                _ => break answer,
            }
            assert!(passed < 1000, "there is no end of it");
        };
        // Ten seconds' worth at once, and what time has passed meanwhile.
        assert!(passed >= 10, "{passed}");
        assert_eq!(refusal.status, 429);
        assert!(refusal.headers["retry-after"].parse::<u64>().unwrap() >= 1);
        rig.addr = here;
        assert_eq!(rig.request("GET", "/healthz", "", b"").await.status, 200);
    });
}

#[test]
fn a_user_who_asks_too_often_waits_wherever_from_and_others_do_not() {
    let kept = std::cell::RefCell::new(String::new());
    let prepare = |settings: &mut engine::settings::Settings, config_dir: &std::path::Path| {
        settings.rpc_user_rate_limit = 1;
        accounts(config_dir, |accounts| {
            for name in ["ann", "bob"] {
                accounts.add_user(name, Role::Admin, "correct horse", Vec::new()).unwrap();
            }
            kept.replace(token(accounts, Role::ReadOnly, &[]).0);
        });
        basic("bob", "correct horse")
    };
    run_with(prepare, |rig| async {
        let rig = rig;
        let headers = format!("{}{}", basic("ann", "correct horse"), rig.session_id_header());
        // Ten seconds' requests may come at once.
        for asked in 0..5 {
            let from = [127, 0, 0, 2 + asked % 5];
            let answer = rig.request_from(from, ("POST", RPC), &headers, STATS).await;
            assert_eq!(answer.status, 200);
        }
        // A batch counts as many calls as it has: it is answered if there is room for one, and then
        // there is none for many seconds.
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "session_stats" });
        let batch = json!(vec![call; 120]).to_string();
        assert_eq!(rig.request("POST", RPC, &headers, batch.as_bytes()).await.status, 200);
        for from in [[127, 0, 0, 1], [127, 0, 0, 9]] {
            let refusal = rig.request_from(from, ("POST", RPC), &headers, STATS).await;
            assert_eq!(refusal.status, 429);
            assert!(refusal.headers.contains_key("retry-after"));
        }
        // Not by the other way in, either.
        let native = format!("{}{JSON}", basic("ann", "correct horse"));
        assert_eq!(rig.request("POST", NATIVE, &native, FIGURES).await.status, 429);
        for login in [basic("bob", "correct horse"), bearer(&kept.take())] {
            let headers = format!("{login}{}", rig.session_id_header());
            assert_eq!(rig.request("POST", RPC, &headers, STATS).await.status, 200);
        }
    });
}

#[test]
fn who_guesses_passwords_waits_and_locks_nobody_else_out() {
    with_ann(
        |settings| settings.anti_brute_force_threshold = 3,
        async |rig| {
            let guesser = [127, 0, 0, 2];
            let mut statuses = Vec::new();
            for guess in 0..12 {
                let path = [("POST", RPC), ("POST", NATIVE), ("GET", "/metrics")][guess % 3];
                let login = match guess % 2 {
                    0 => basic("ann", &format!("wrong horse {guess}")),
                    _ => bearer(&format!("rs_{guess}")),
                };
                let answer = rig.request_from(guesser, path, &login, b"{}").await;
                if answer.status == 429 {
                    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
                }
                statuses.push(answer.status);
            }
            assert_eq!(statuses[..3], [401; 3], "{statuses:?}");
            assert!(statuses[3..].contains(&429), "{statuses:?}");
            // The right password is not told from a wrong one while its address waits.
            let right = basic("ann", "correct horse");
            rig.change_accounts(|accounts| {
                // What was remembered is forgotten with any change.
                accounts.add_user("bob", Role::User, "battery staple", Vec::new()).unwrap();
            });
            let mut blocked = false;
            for _ in 0..50 {
                let wrong = basic("ann", "wrong again");
                rig.request_from(guesser, ("GET", "/metrics"), &wrong, b"").await;
                let right = rig.request_from(guesser, ("GET", "/metrics"), &right, b"").await;
                blocked |= right.status == 429;
                assert!(matches!(right.status, 429 | 200), "{}", right.status);
            }
            assert!(blocked);
            let start = Instant::now();
            for last in 3..9 {
                let other = [127, 0, 0, last];
                let answer = rig.request_from(other, ("GET", "/metrics"), &right, b"").await;
                assert_eq!(answer.status, 200);
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        },
    );
}

/// Connections that have begun a request and do not go on.
async fn stalled(rig: &Rig, number: usize, begun: &str) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..number {
        let mut stream = TcpStream::connect(rig.addr).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        all.push(stream);
    }
    all
}

#[test]
fn requests_that_are_half_sent_hold_up_nobody() {
    with_ann(
        |_| {},
        async |rig| {
            let login = basic("ann", "correct horse");
            let id = rig.session_id_header();
            let mut all = Vec::new();
            for begun in [
                "POST /transmission/rpc HT".to_owned(),
                "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX-".to_owned(),
                // Neither those who have not logged in nor those who have.
                "POST /rpc/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{"
                    .to_owned(),
                format!(
                    "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\n{login}{id}Content-Length: 900\r\n\r\n{{"
                ),
                format!(
                    "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\n{login}{id}Transfer-Encoding: chunked\r\n\r\n5\r\nab"
                ),
            ] {
                all.extend(stalled(rig, 60, &begun).await);
            }
            let ask = async {
                for _ in 0..20 {
                    assert!(rig.call("session_stats", json!({})).await.is_object());
                }
            };
            // Long before the first of them is given up.
            tokio::time::timeout(Duration::from_secs(9), ask).await.expect("nobody is in the way");
            drop(all);
        },
    );
}

#[test]
fn who_has_not_logged_in_cannot_hold_a_connection_with_a_body() {
    with_ann(
        |_| {},
        async |rig| {
            let start = Instant::now();
            let begun = "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n";
            let mut stream = TcpStream::connect(rig.addr).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            let drip = async {
                let mut answer = Vec::new();
                loop {
                    tokio::select! {
                        read = stream.read_buf(&mut answer) => {
                            if matches!(read, Ok(0) | Err(_)) {
                                return answer;
                            }
                        }
                        () = tokio::time::sleep(Duration::from_millis(200)) => {
                            // An error means that it is over.
                            let _ = stream.write_all(b" ").await;
                        }
                    }
                }
            };
            let answer = tokio::time::timeout(Duration::from_secs(60), drip).await;
            let answer = answer.expect("it is given up, though something comes all the time");
            assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
            assert!(start.elapsed() > Duration::from_secs(5), "it was given time");
        },
    );
}

#[test]
fn the_operator_gets_in_by_the_socket_when_all_places_are_taken() {
    let prepare = |settings: &mut engine::settings::Settings, _: &std::path::Path| {
        settings.rpc_bind = "127.0.0.1:0,unix:control.sock".into();
        String::new()
    };
    run_with(prepare, |rig| async move {
        // Each connection is two descriptors here.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        if limit.current.is_some_and(|most| most < 1500) {
            return machine::skip("too few open files are allowed");
        }
        let taken = stalled(&rig, 600, "GET /").await;
        // Beyond the limit they are closed.
        let mut closed = 0;
        for stream in &taken[512..] {
            let mut byte = [0];
            stream.readable().await.unwrap();
            closed += usize::from(!matches!(stream.try_read(&mut byte), Ok(1..)));
        }
        assert_eq!(closed, 88);
        let mut socket = UnixStream::connect(rig.config_dir().join("control.sock")).await.unwrap();
        let request = format!(
            "POST {NATIVE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{JSON}Content-Length: {}\r\n\r\n",
            FIGURES.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.write_all(FIGURES).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert_eq!(crate::support::Answer::parse(&answer).status, 200);
    });
}

#[test]
fn a_socket_is_a_log_in_by_the_permissions_of_its_file() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let prepare = |settings: &mut engine::settings::Settings, config_dir: &std::path::Path| {
        settings.rpc_bind = "127.0.0.1:0,unix:control.sock".into();
        settings.rpc_whitelist = "127.0.0.1".into();
        settings.rpc_socket_mode = "0600".into();
        accounts(config_dir, |accounts| {
            accounts.add_user("ann", Role::ReadOnly, "correct horse", Vec::new()).unwrap();
        });
        basic("ann", "correct horse")
    };
    run_with(prepare, |rig| async move {
        let path = rig.config_dir().join("control.sock");
        let file = std::fs::metadata(&path).unwrap();
        // Connecting needs the right to write: nobody but its owner has it.
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(file.uid(), rustix::process::geteuid().as_raw());
        let target = client::Target::Socket(path);
        let client = client::Client::new(target, client::Login::None).unwrap();
        let change = [("reqq".to_owned(), json!(77))].into_iter().collect();
        let change = api::native::SettingsChange { settings: change };
        client.call::<api::native::call::SettingsSet>(change).await.unwrap();
        assert_eq!(rig.session.settings().reqq, 77, "as admin, without a log-in");
    });
}
