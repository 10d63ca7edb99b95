//! What is larger than anybody should ask for, or send.

use crate::support::{Rig, run, torrent};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Messages over a WebSocket have fewer bytes than this.
const MESSAGE: u64 = (8 << 20) + 1;

/// The answers of a batch end once they have more bytes than this.
const ANSWERS: usize = 256 << 20;

#[test]
fn a_batch_is_answered_until_its_answers_are_too_large_together() {
    run(|rig| async move {
        let names: Vec<String> = (0..4000).map(|number| format!("{number:0>200}")).collect();
        let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let id = rig.add(&torrent(&rig.downloads(), "many", &files, false)).await;
        let call = |number: usize| {
            let params = json!({ "ids": [id], "fields": ["files"] });
            json!({ "jsonrpc": "2.0", "id": number, "method": "torrent_get", "params": params })
        };
        let one = rig.post(&call(0).to_string()).await.body.len();
        let calls: Vec<Value> = (0..ANSWERS / one + 50).map(call).collect();
        assert!(calls.len() < 1000, "it would be refused as a batch: {}", calls.len());
        let answer = rig.post(&Value::from(calls.clone()).to_string()).await;
        assert!(answer.body.len() < ANSWERS + 2 * one, "{} bytes", answer.body.len());
        let answers = answer.value();
        let answers = answers.as_array().unwrap();
        assert_eq!(answers.len(), calls.len(), "each is answered");
        let (done, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.get("result").is_some());
        assert!(done.len() * one > ANSWERS - one && refused.len() >= 40, "{}", refused.len());
        let message = refused[0]["error"]["data"]["error_string"].as_str().unwrap();
        assert_eq!(message, "the answers before are too large together");
        // The next one starts anew.
        assert!(rig.post(&call(0).to_string()).await.json()["result"].is_object());
    });
}

/// A WebSocket by hand: clients send nothing that they know to be too large.
async fn upgraded(rig: &Rig) -> TcpStream {
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    let head = rig.ask_for_web_socket(&mut stream).await;
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A text message (RFC 6455, section 5.2), masked with zeros, of which only some bytes are there.
fn frame(length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0xff];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The payload of the next text message.
async fn message(stream: &mut TcpStream) -> Value {
    let read = async {
        loop {
            let kind = stream.read_u8().await?;
            let length = match stream.read_u8().await? & 0x7f {
                126 => u64::from(stream.read_u16().await?),
                127 => stream.read_u64().await?,
                length => u64::from(length),
            };
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await?;
            // Others ask whether we are there.
            if kind == 0x81 {
                return std::io::Result::Ok(payload);
            }
        }
    };
    let payload = timeout(PATIENCE, read).await.expect("an answer in time").unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn a_message_that_is_too_large_is_passed_over_and_refused() {
    run(|rig| async move {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "statistics.get" }).to_string();
        let mut stream = upgraded(&rig).await;
        stream.write_all(&frame(call.len() as u64, call.as_bytes())).await.unwrap();
        assert_eq!(message(&mut stream).await["id"], 7);
        // One that never ends is not kept: it would be a terabyte.
        let mut endless = upgraded(&rig).await;
        endless.write_all(&frame(1 << 40, &[b' '; 1 << 20])).await.unwrap();
        stream.write_all(&frame(MESSAGE, &vec![b' '; MESSAGE as usize])).await.unwrap();
        let refusal = message(&mut stream).await;
        assert_eq!(refusal["error"]["code"], -32007, "{refusal}");
        stream.write_all(&frame(call.len() as u64, call.as_bytes())).await.unwrap();
        assert_eq!(message(&mut stream).await["id"], 7, "the socket goes on");
    });
}
