//! A subscriber that does not read costs a bounded amount, and is told the whole state anew.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use api::native::{Changes, Torrent};
use engine::{Change, status::TorrentId};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use support::{Rig, run, torrent};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// As many labels as a torrent may have, each as long as it may be: a megabyte.
fn labels(round: usize) -> Vec<String> {
    (0..1000).map(|at| format!("{round:04}-{at:04}-{}", "x".repeat(1000))).collect()
}

/// A WebSocket with a small buffer that reads only when it is told to.
struct Socket(TcpStream);

impl Socket {
    async fn open(rig: &Rig) -> Socket {
        Socket::try_open(rig).await.expect("a place for it")
    }

    /// `None` if there is no place for another.
    async fn try_open(rig: &Rig) -> Option<Socket> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(rig.addr).await.unwrap();
        let head = rig.ask_for_web_socket(&mut stream).await;
        let status = &head[9..12];
        assert!(matches!(status, b"101" | b"503"), "{}", String::from_utf8_lossy(&head));
        (status == b"101").then_some(Socket(stream))
    }

    /// Sends a short text; what a client sends is masked, here with zeros.
    async fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let head = [0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        self.0.write_all(&[&head, text.as_bytes()].concat()).await.unwrap();
    }

    /// The next text, past pings.
    async fn receive(&mut self) -> Vec<u8> {
        loop {
            let (kind, length) = (self.0.read_u8().await.unwrap(), self.0.read_u8().await.unwrap());
            let length = match length {
                126 => u64::from(self.0.read_u16().await.unwrap()),
                127 => self.0.read_u64().await.unwrap(),
                length => u64::from(length),
            };
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            if kind == 0x81 {
                return payload;
            }
        }
    }
}

#[test]
fn sockets_of_one_user_are_bounded_in_number_and_give_their_place_back() {
    run(|rig| async move {
        let mut sockets = Vec::new();
        for _ in 0..64 {
            sockets.push(Socket::open(&rig).await);
        }
        assert!(Socket::try_open(&rig).await.is_none());
        drop(sockets);
        // A place is free again once the server has seen them go.
        let again = async {
            while Socket::try_open(&rig).await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, again).await.expect("a place");
    });
}

#[test]
fn who_does_not_read_for_long_gets_a_snapshot_instead_of_everything_missed() {
    run(|rig| async move {
        let mut ids = Vec::new();
        for name in ["a", "b", "c", "d"] {
            ids.push(rig.add(&torrent(&rig.downloads(), name, &[("f", 100)], false)).await as u32);
        }
        let edit = |round: usize| {
            for &id in &ids {
                let change = Change { labels: Some(labels(round)), ..Change::default() };
                rig.session.edit(TorrentId(id), change).unwrap();
            }
        };
        edit(0);
        let mut socket = Socket::open(&rig).await;
        let subscribe = json!({
            "jsonrpc": "2.0", "id": 1, "method": "torrent.subscribe",
            "params": { "fields": ["labels"], "interval": 100 },
        });
        socket.send(&subscribe.to_string()).await;
        let rounds = 80;
        for round in 1..=rounds {
            edit(round);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut known: BTreeMap<u32, Torrent> = BTreeMap::new();
        let (mut bytes, mut snapshots) = (0, 0);
        let last = Some(labels(rounds));
        let catch_up = async {
            while ids.iter().any(|id| known.get(id).is_none_or(|torrent| torrent.labels != last)) {
                let message = socket.receive().await;
                bytes += message.len();
                let message: Value = serde_json::from_slice(&message).unwrap();
                if message["id"] == 1 {
                    continue;
                }
                let changes = message["params"]["result"].clone();
                let changes: Changes = serde_json::from_value(changes).unwrap();
                snapshots += u32::from(changes.snapshot);
                changes.apply(&mut known);
            }
        };
        timeout(PATIENCE, catch_up).await.expect("it catches up");
        // Four megabytes a round were changed: all of it would have been hundreds.
        assert!(bytes < 100 << 20, "{bytes}");
        assert!(snapshots >= 2, "{snapshots}");
    });
}
