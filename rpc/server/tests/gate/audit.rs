//! Every call that changes something, or was meant to, is one line of the log; others are none.
//!
//! What is logged is the whole process's, so the users here have names of their own.

use crate::log::{self, Log};
use crate::support::{Rig, accounts, basic, run_with};
use api::{Access, Role, method::TABLE as METHODS, native::TABLE as NATIVE};
use serde_json::{Value, json};

/// Runs `ask`, and gives the audit lines that came of it.
async fn lines(log: &Log, ask: impl Future<Output = ()>) -> Vec<String> {
    let ours = || {
        let mut lines = log.lines(&[" audit: "]);
        lines.retain(|line| line.contains("who=\"audit") || line.contains("127.0.0.55"));
        lines
    };
    let before = ours().len();
    ask.await;
    ours().split_off(before)
}

async fn native(rig: &Rig, headers: &str, body: Value) {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    rig.request("POST", "/rpc/v1", &headers, body.to_string().as_bytes()).await;
}

#[test]
fn every_changing_call_is_one_line_and_no_other_is() {
    let log = &log::capture();
    let prepare = |_: &mut engine::settings::Settings, config_dir: &std::path::Path| {
        accounts(config_dir, |accounts| {
            for (name, role) in [("audit-ann", Role::Admin), ("audit-rob", Role::ReadOnly)] {
                accounts.add_user(name, role, "correct horse", Vec::new()).unwrap();
            }
        });
        basic("audit-ann", "correct horse")
    };
    run_with(prepare, |rig| async move {
        let rig = &rig;
        let (ann, rob) = (basic("audit-ann", "correct horse"), basic("audit-rob", "correct horse"));
        // No torrent is there: a call that is refused by its method is told as well.
        for method in METHODS {
            let changes = method.access != Access::Reads;
            let call = json!({ "method": method.legacy, "arguments": { "ids": [7] } }).to_string();
            let by_ann = lines(log, async { drop(rig.post(&call).await.json()) }).await;
            assert_eq!(by_ann.len(), usize::from(changes), "{}: {by_ann:?}", method.name);
            let headers = format!("{rob}{}", rig.session_id_header());
            let by_rob = lines(log, async {
                let ask = rig.request("POST", "/transmission/rpc", &headers, call.as_bytes());
                drop(ask.await.json());
            });
            let by_rob = by_rob.await;
            assert_eq!(by_rob.len(), usize::from(changes), "{}: {by_rob:?}", method.name);
            for (line, who) in
                by_ann.iter().zip(["audit-ann"]).chain(by_rob.iter().zip(["audit-rob"]))
            {
                let named = [format!("who=\"{who}\""), format!("method=\"{}\"", method.name)];
                assert!(named.iter().all(|part| line.contains(part)), "{line}");
                assert!(line.contains("from=127.0.0.1") && line.contains("outcome="), "{line}");
            }
            if let Some(line) = by_rob.first() {
                assert!(line.contains("outcome=\"refused\"") && line.contains("-32001"), "{line}");
            }
        }
        for row in NATIVE {
            let changes = row.access != Access::Reads;
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": row.name, "params": {} });
            for (who, headers) in [("audit-ann", &ann), ("audit-rob", &rob)] {
                let told = lines(log, native(rig, headers, call.clone())).await;
                assert_eq!(told.len(), usize::from(changes), "{} by {who}: {told:?}", row.name);
                let is_whole = |line: &String| {
                    line.contains(&format!("who=\"{who}\"")) && line.contains(row.name)
                };
                assert!(told.iter().all(is_whole), "{told:?}");
            }
        }
        // What it says of the call: ids, names of settings, never values, and how it ended.
        let set = rig.post(r#"{"method":"session-set","arguments":{"reqq":77,"blocklist-url":"http://127.0.0.1:1/key"}}"#);
        let told = lines(log, async { drop(set.await) }).await.join("\n");
        assert!(told.contains("reqq") && told.contains("blocklist-url"), "{told}");
        assert!(!told.contains("key") && told.contains("outcome=\"done\""), "{told}");
        let batch = json!([
            { "jsonrpc": "2.0", "method": "torrent_stop", "params": { "ids": [4711] } },
            { "jsonrpc": "2.0", "id": 1, "method": "session_stats" },
            { "jsonrpc": "2.0", "id": 2, "method": "torrent_start", "params": { "ids": [4712] } },
        ]);
        let told = lines(log, async { drop(rig.post(&batch.to_string()).await) }).await;
        assert!(
            told.len() == 2 && told[0].contains("4711") && told[1].contains("4712"),
            "{told:?}"
        );
        // Text of a client's cannot pass for a line of its own.
        let forged = "[\"x\\n2026-01-01T00:00:00Z  INFO audit: who=\\\"eve\\\"\"]";
        let call = format!(r#"{{"method":"torrent-stop","arguments":{{"ids":{forged}}}}}"#);
        let told = lines(log, async { drop(rig.post(&call).await) }).await;
        assert_eq!(told.len(), 1, "{told:?}");
        // Log-ins that fail: whose, if there is such a user, and from where.
        for (login, who) in
            [(basic("audit-ann", "wrong"), "audit-ann"), (basic("s3cret", "x"), "nobody")]
        {
            let told = lines(log, async {
                drop(rig.request_from([127, 0, 0, 55], ("GET", "/metrics"), &login, b"").await);
            });
            let told = told.await.join("\n");
            assert!(
                told.contains(&format!("who=\"{who}\"")) && told.contains("127.0.0.55"),
                "{told}"
            );
            assert!(!told.contains("s3cret"), "{told}");
        }
    });
}
