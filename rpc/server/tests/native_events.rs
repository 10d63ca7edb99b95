//! Each named event reaches a subscriber when what it tells of happens.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use api::native::{
    AddPeers, AddTorrent, Event, EventKind, EventStream, Remove, Several, Start, State, TorrentRef,
    call,
};
use client::{Client, Subscription};
use data_encoding::BASE64;
use engine::{NewTorrent, Options, Session, settings::Settings};
use metainfo::Metainfo;
use serde_json::json;
use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
};
use support::{
    native::{PATIENCE, add, client, these, wait_for},
    run, torrent,
};
use tokio::time::timeout;

async fn subscribe(client: &Client, kinds: &[EventKind]) -> Subscription<Event> {
    let kinds = Some(kinds.to_vec());
    client.subscribe::<call::Events>(EventStream { kinds }).await.unwrap()
}

async fn next(events: &mut Subscription<Event>) -> Event {
    timeout(PATIENCE, events.next()).await.expect("an event").expect("it goes on").unwrap()
}

async fn start(client: &Client, id: u32) {
    client.call::<call::TorrentStart>(Start { torrents: these(id), now: false }).await.unwrap();
}

/// Adds a torrent whose data is not there, and starts it; gives its id.
async fn download(client: &Client, metainfo: &[u8], peer: SocketAddr) -> u32 {
    let params = AddTorrent { metainfo: Some(BASE64.encode(metainfo)), ..AddTorrent::default() };
    let id = client.call::<call::TorrentAdd>(params).await.unwrap().id;
    let params = AddPeers { torrent: TorrentRef::Id(id), peers: vec![peer] };
    client.call::<call::TorrentAddPeers>(params).await.unwrap();
    id
}

/// A session that seeds what is in a folder.
async fn seed(folder: &Path, metainfo: Vec<u8>) -> Session {
    let settings = Settings {
        download_dir: folder.join("data"),
        peer_port: 0,
        peer_bind: "127.0.0.1".into(),
        cores: 1,
        driver: std::env::var("RINGSEED_DRIVER").unwrap_or_else(|_| "auto".into()),
        ..Settings::default()
    };
    let options = Options { config_dir: folder.join("config"), settings };
    let session = Session::start(options).await.unwrap();
    session.add(NewTorrent { metainfo, ..NewTorrent::default() }).await.unwrap();
    session
}

#[test]
fn added_completed_and_removed_are_told_with_the_torrent() {
    run(|rig| async move {
        let client = client(&rig);
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let metainfo = torrent(&data, "one", &[("a", 100_000), ("b", 1)], false);
        let seed = seed(home.path(), metainfo.clone()).await;
        let kinds = [EventKind::Added, EventKind::Completed, EventKind::Removed];
        let mut events = subscribe(&client, &kinds).await;
        let id = download(&client, &metainfo, seed.peer_addr()[0]).await;
        for kind in kinds {
            let event = next(&mut events).await;
            assert_eq!((event.kind, event.id), (kind, Some(id)));
            assert_eq!(event.name.as_deref(), Some("one"));
            assert_eq!(event.info_hash.map(|hash| hash.len()), Some(40));
            assert!(event.at > 1_700_000_000);
            if kind == EventKind::Completed {
                let remove = Remove { torrents: these(id), delete_data: true };
                client.call::<call::TorrentRemove>(remove).await.unwrap();
            }
        }
        assert!(!rig.downloads().join("one").exists(), "told when its data is gone");
        seed.stop().await;
    });
}

#[test]
fn an_error_is_told_with_its_reason() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "one", &[]).await;
        client.call::<call::TorrentVerify>(Several { torrents: these(id) }).await.unwrap();
        wait_for(&client, id, |torrent| torrent.progress == Some(1.0)).await;
        fs::remove_dir_all(rig.downloads().join("one")).unwrap();
        let mut events = subscribe(&client, &[EventKind::Error]).await;
        start(&client, id).await;
        let event = next(&mut events).await;
        assert_eq!((event.kind, event.id), (EventKind::Error, Some(id)));
        assert!(!event.message.unwrap().is_empty());
    });
}

#[test]
fn a_tracker_that_cannot_be_reached_is_told() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "one", &[]).await;
        let mut events = subscribe(&client, &[EventKind::TrackerError]).await;
        start(&client, id).await;
        let event = next(&mut events).await;
        assert_eq!((event.kind, event.id), (EventKind::TrackerError, Some(id)));
        assert!(!event.message.unwrap().is_empty());
        wait_for(&client, id, |torrent| torrent.state == Some(State::Seeding)).await;
    });
}

/// A peer that says it has everything and sends zeros. It listens on an address of its own, because
/// bans are by address.
fn lying_seed(metainfo: &[u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let parsed = Metainfo::parse(metainfo).unwrap();
    let (hash, pieces) = (parsed.info_hash(), parsed.layout.geometry().piece_count());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            // The other side closes when it has seen enough.
            let _ = lie(stream.unwrap(), &hash.0, pieces);
        }
    });
    addr
}

fn lie(mut stream: TcpStream, hash: &[u8], pieces: u32) -> io::Result<()> {
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    hello.extend_from_slice(hash);
    hello.extend_from_slice(b"-LI0001-abcdefghijkl");
    assert!(pieces.is_multiple_of(8), "no spare bits");
    hello.extend_from_slice(&(1 + pieces / 8).to_be_bytes());
    hello.push(5);
    hello.extend(vec![0xff; pieces as usize / 8]);
    hello.extend_from_slice(&[0, 0, 0, 1, 1]);
    stream.write_all(&hello)?;
    stream.read_exact(&mut [0; 68])?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut message)?;
        if message.first() != Some(&6) {
            continue;
        }
        let bytes = u32::from_be_bytes(message[9..13].try_into().unwrap());
        stream.write_all(&(9 + bytes).to_be_bytes())?;
        stream.write_all(&[&[7], &message[1..9], &vec![0; bytes as usize]].concat())?;
    }
}

#[test]
fn a_peer_that_is_banned_is_told_with_its_address() {
    run(|rig| async move {
        let client = client(&rig);
        let home = tempfile::tempdir().unwrap();
        let metainfo = torrent(home.path(), "one", &[("a", 8 * 16_384)], false);
        let mut events = subscribe(&client, &[EventKind::PeerBanned]).await;
        let id = download(&client, &metainfo, lying_seed(&metainfo)).await;
        let event = next(&mut events).await;
        assert_eq!((event.kind, event.id), (EventKind::PeerBanned, Some(id)));
        assert_eq!(event.address.as_deref(), Some("127.0.0.2"));
    });
}

#[test]
fn short_room_for_downloads_is_told_and_its_end() {
    run(|rig| async move {
        let client = client(&rig);
        let here = rig.downloads();
        let free = storage::free_space(&here).unwrap().free;
        let full = Path::new("/proc");
        if free < 4 << 30 || storage::free_space(full).unwrap().free > 0 {
            return machine::skip("no room here, or some where there is none");
        }
        let kinds = [EventKind::RoomShort, EventKind::RoomEnough];
        let mut events = subscribe(&client, &kinds).await;
        for (folder, kind) in [(full, kinds[0]), (&here, kinds[1])] {
            let params = json!({ "settings": { "download_dir": folder } });
            client.call_by_name("settings.set", &params).await.unwrap();
            let event = next(&mut events).await;
            assert_eq!((event.kind, event.path.as_deref()), (kind, folder.to_str()));
            assert_eq!(event.free == Some(0), kind == EventKind::RoomShort);
            assert_eq!(event.id, None);
        }
    });
}
