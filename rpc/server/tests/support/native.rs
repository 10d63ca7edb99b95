//! The native API, asked by the client that the command line uses.

use super::{Rig, torrent};
use api::native::{AddTorrent, Code, Failure, One, Selection, Torrent, TorrentRef, call};
use client::{Client, Error, Login, Target};
use data_encoding::BASE64;
use std::time::Duration;
use tokio::time::timeout;

/// What happens at all happens by then.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn client(rig: &Rig) -> Client {
    let target = Target::parse(&format!("http://{}", rig.addr)).unwrap();
    Client::new(target, Login::None).unwrap()
}

pub fn these(id: u32) -> Selection {
    Selection::These(vec![TorrentRef::Id(id)])
}

pub fn one(id: u32) -> One {
    One { torrent: TorrentRef::Id(id) }
}

/// Adds a torrent whose data is there, stopped; gives its id.
pub async fn add(rig: &Rig, client: &Client, name: &str, labels: &[&str]) -> u32 {
    let torrent = torrent(&rig.downloads(), name, &[("a.bin", 40_000), ("b.bin", 500)], false);
    let params = AddTorrent {
        metainfo: Some(BASE64.encode(&torrent)),
        paused: Some(true),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..AddTorrent::default()
    };
    let added = client.call::<call::TorrentAdd>(params).await.unwrap();
    assert_eq!((added.name.as_str(), added.duplicate), (name, false));
    added.id
}

/// The refusal of a call.
pub fn failure<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Failure {
    match outcome.unwrap_err() {
        Error::Refused(failure) => failure,
        error => panic!("{error}"),
    }
}

/// Its code.
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Option<Code> {
    failure(outcome).kind()
}

pub async fn wait_for(client: &Client, id: u32, holds: impl Fn(&Torrent) -> bool) {
    let wait = async {
        while !holds(&client.call::<call::TorrentGet>(one(id)).await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes about");
}
