use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The answer to a body, each call succeeding with `{}` or failing for lack of its method.
fn answer(body: &str) -> Option<Value> {
    let one = |incoming: &Incoming<'_>| {
        let mut out = Vec::new();
        match incoming {
            Incoming::Refused(error) => write_refusal(&mut out, error),
            Incoming::Call(call) if call.is_notification() => return None,
            Incoming::Call(call) => match (call.method, call.check_params()) {
                (None, _) => call.write_failure(&mut out, &Code::MethodNotFound.into()),
                (_, Err(error)) => call.write_failure(&mut out, &error),
                (Some(_), Ok(())) => call.write_success(&mut out, b"{}"),
            },
        }
        Some(serde_json::from_slice(&out).expect("an answer is JSON"))
    };
    match parse(body.as_bytes()) {
        Message::Single(incoming) => one(&incoming),
        Message::Batch(calls) => {
            let answers: Vec<Value> = calls.iter().filter_map(one).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
    }
}

fn code(answer: &Value) -> i64 {
    assert_eq!(answer["jsonrpc"], "2.0");
    answer["error"]["code"].as_i64().unwrap()
}

#[test]
fn integer_tags_come_back_exactly_and_others_not_at_all() {
    for tag in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        let body = format!(r#"{{"method":"session-get","tag":{tag}}}"#);
        let mut out = Vec::new();
        let Message::Single(Incoming::Call(call)) = parse(body.as_bytes()) else { panic!() };
        call.write_success(&mut out, b"{}");
        let expected = format!(r#"{{"arguments":{{}},"result":"success","tag":{tag}}}"#);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    for tag in [r#""x""#, "null", "1.5", "true", "{}", "[]", "1e3", "9223372036854775808"] {
        let answer = answer(&format!(r#"{{"method":"session-get","tag":{tag}}}"#)).unwrap();
        assert_eq!(answer, json!({"arguments": {}, "result": "success"}));
    }
}

#[test]
fn arguments_are_always_in_an_older_answer() {
    for body in [
        r#"{"method":"session-get"}"#,
        r#"{"method":"session-get","arguments":null}"#,
        r#"{"method":"session-get","arguments":7}"#,
        r#"{"method":"session-get","arguments":{}}"#,
    ] {
        assert_eq!(answer(body).unwrap(), json!({"arguments": {}, "result": "success"}));
    }
    for body in ["{}", r#"{"method":"no-such","tag":4}"#, r#"{"method":7}"#] {
        let answer = answer(body).unwrap();
        assert_eq!(answer["arguments"], json!({}));
        assert_eq!(answer["result"], "method name not recognized");
    }
}

#[test]
fn json_rpc_ids_come_back_with_their_type() {
    for id in ["7", "-1", "1.50", r#""a\u00e9\"""#, "null", "9223372036854775807"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"session_get","id":{id}}}"#);
        let mut out = Vec::new();
        let Message::Single(Incoming::Call(call)) = parse(body.as_bytes()) else { panic!() };
        assert!(!call.is_notification());
        call.write_success(&mut out, b"{}");
        let expected = format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{{}}}}"#);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    for id in ["{}", "[]", "true", "false"] {
        let answer =
            answer(&format!(r#"{{"jsonrpc":"2.0","method":"session_get","id":{id}}}"#)).unwrap();
        assert_eq!((code(&answer), &answer["id"]), (-32600, &Value::Null));
    }
    assert_eq!(answer(r#"{"jsonrpc":"2.0","method":"session_get"}"#), None);
}

#[test]
fn what_is_no_request_is_refused_without_id() {
    for (body, expected) in [
        ("", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ("\u{0}", -32700),
        ("7", -32600),
        (r#""x""#, -32600),
        ("null", -32600),
        ("[]", -32600),
        (r#"{"jsonrpc":"1.0","method":"session_get","id":1}"#, -32600),
        (r#"{"jsonrpc":"","method":"session-get"}"#, -32600),
    ] {
        let answer = answer(body).unwrap();
        assert_eq!((code(&answer), &answer["id"]), (expected, &Value::Null), "{body}");
    }
}

#[test]
fn a_jsonrpc_member_that_is_no_text_makes_a_request_of_the_older_dialect() {
    let answer = answer(r#"{"jsonrpc":2.0,"method":"session-get","id":1,"tag":2}"#).unwrap();
    assert_eq!(answer, json!({"arguments": {}, "result": "success", "tag": 2}));
}

#[test]
fn the_newer_dialect_does_not_know_the_older_names() {
    let answer = answer(r#"{"jsonrpc":"2.0","method":"session-get","id":1}"#).unwrap();
    assert_eq!(code(&answer), -32601);
}

#[test]
fn params_by_position_are_refused_as_they_would_mean_all_torrents() {
    for params in ["[]", "[1]", "7", "null", r#""x""#] {
        let body =
            format!(r#"{{"jsonrpc":"2.0","method":"torrent_stop","params":{params},"id":1}}"#);
        assert_eq!(code(&answer(&body).unwrap()), -32602);
    }
}

#[test]
fn a_batch_is_answered_in_order_without_its_notifications() {
    let body = r#"[
        {"jsonrpc":"2.0","method":"session_get","id":"a"},
        {"jsonrpc":"2.0","method":"torrent_stop","params":{"ids":[]}},
        7,
        {"method":"session-get","tag":1},
        {"jsonrpc":"2.0","method":"nothing","id":2}
    ]"#;
    let answer = answer(body).unwrap();
    let answers = answer.as_array().unwrap();
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[0]["id"], "a");
    assert_eq!((code(&answers[1]), &answers[1]["id"]), (-32600, &Value::Null));
    assert_eq!((code(&answers[2]), &answers[2]["id"]), (-32600, &Value::Null));
    assert_eq!((code(&answers[3]), &answers[3]["id"]), (-32601, &json!(2)));
}

#[test]
fn a_batch_of_notifications_has_no_answer() {
    let one = r#"{"jsonrpc":"2.0","method":"torrent_stop"}"#;
    assert_eq!(answer(&format!("[{one},{one}]")), None);
}

#[test]
fn a_batch_beyond_the_limit_is_refused_whole() {
    let body = format!("[{}]", vec!["1"; limits::BATCH + 1].join(","));
    assert_eq!(code(&answer(&body).unwrap()), -32600);
}

#[test]
fn what_follows_the_first_value_is_ignored() {
    let answer = answer(r#" {"method":"session-get","tag":1} trailing"#).unwrap();
    assert_eq!(answer["tag"], 1);
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let answer = answer(r#"{"method":"x","method":"session-get","tag":1,"tag":2}"#).unwrap();
    assert_eq!((answer["result"].as_str(), answer["tag"].as_i64()), (Some("success"), Some(2)));
}

#[test]
fn deep_nesting_exhausts_no_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    answer(&deep);
    answer(&"[".repeat(200_000));
    let body =
        format!(r#"{{"jsonrpc":"2.0","method":"torrent_get","id":1,"params":{{"x":{deep}}}}}"#);
    let Message::Single(Incoming::Call(call)) = parse(body.as_bytes()) else { panic!() };
    assert!(call.read_params().is_err());
}

proptest! {
    #[test]
    fn no_body_panics(body: Vec<u8>) {
        parse(&body);
    }

    #[test]
    fn whatever_json_comes_the_answer_is_json(
        body in "[\\[{]?(\"(jsonrpc|method|id|tag|params)\":(\"2.0\"|\"torrent_get\"|1|null|\\[\\]|\\{\\}),?){0,5}[\\]}]?"
    ) {
        answer(&body);
    }
}

proptest! {
    #[test]
    fn a_call_means_the_same_in_both_dialects(
        which in 0..crate::method::TABLE.len(),
        id: i64,
        torrents in prop::collection::vec(any::<u32>(), 0..5),
        fields in prop::collection::vec(0..crate::torrent::TorrentField::ALL.len(), 1..10),
    ) {
        let method = &crate::method::TABLE[which];
        let names: Vec<_> =
            fields.iter().map(|&at| crate::torrent::TorrentField::ALL[at].name()).collect();
        let fields = |dialect| names.iter().map(|name| name.in_dialect(dialect)).collect::<Vec<_>>();
        let newer = json!({
            "jsonrpc": "2.0", "method": method.name, "id": id,
            "params": { "ids": torrents, "fields": fields(Dialect::JsonRpc) },
        });
        let older = json!({
            "method": method.legacy, "tag": id,
            "arguments": { "ids": torrents, "fields": fields(Dialect::Legacy) },
        });
        let read = |body: &Value| -> (Option<&'static Method>, Params, Value) {
            let body = body.to_string();
            let Message::Single(Incoming::Call(call)) = parse(body.as_bytes()) else { panic!() };
            let mut out = Vec::new();
            call.write_success(&mut out, b"{}");
            (call.method, call.read_params().unwrap(), serde_json::from_slice(&out).unwrap())
        };
        let (newer, older) = (read(&newer), read(&older));
        prop_assert_eq!(newer.0, Some(method));
        prop_assert_eq!(newer.0, older.0);
        prop_assert_eq!(newer.1.selector(), older.1.selector());
        let asked = crate::params::TorrentGet::parse;
        prop_assert_eq!(asked(&newer.1), asked(&older.1));
        prop_assert_eq!(newer.2, json!({ "jsonrpc": "2.0", "result": {}, "id": id }));
        prop_assert_eq!(older.2, json!({ "arguments": {}, "result": "success", "tag": id }));
    }
}
