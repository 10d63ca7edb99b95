//! Two sessions and real sockets: what one has, the other gets.
#![allow(clippy::unwrap_used)]

use engine::{
    NewTorrent, Options, Session, Torrent, TorrentId,
    settings::Settings,
    status::{Activity, Trouble},
};
use metainfo::create::{Hashes, NewFile, Plan, Version};
use ringseed_engine as engine;
use sha1::{Digest, Sha1};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A torrent and its bytes.
struct Sample {
    torrent: Vec<u8>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

impl Sample {
    fn new(name: &str, lengths: &[usize], piece_length: u32) -> Sample {
        let files: Vec<NewFile> = lengths
            .iter()
            .enumerate()
            .map(|(number, &length)| NewFile {
                path: vec!["folder".into(), format!("file {number}")],
                length: length as u64,
                attributes: Default::default(),
            })
            .collect();
        let plan = Plan::new(name, &files, Some(piece_length), Version::V1).unwrap();
        let mut all = Vec::new();
        let mut on_disk = Vec::new();
        for (_, file) in plan.layout().files() {
            let bytes = noise(file.length() as usize, 0x1234_5678_9abc + file.offset());
            all.extend_from_slice(&bytes);
            on_disk.push((file.path().as_path().to_owned(), bytes));
        }
        let pieces = all.chunks(piece_length as usize).map(|piece| Sha1::digest(piece).into());
        let hashes = Hashes { pieces: pieces.collect(), files: Vec::new() };
        let torrent = plan.finish(&hashes, &Default::default()).unwrap();
        Sample { torrent, files: on_disk }
    }

    fn write_to(&self, folder: &Path) {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn assert_in(&self, folder: &Path) {
        for (path, bytes) in &self.files {
            assert!(std::fs::read(folder.join(path)).unwrap() == *bytes, "{}", path.display());
        }
    }

    fn new_torrent(&self) -> NewTorrent {
        NewTorrent { metainfo: self.torrent.clone(), ..NewTorrent::default() }
    }
}

/// A session with folders of its own.
struct Client {
    session: Session,
    home: TempDir,
}

impl Client {
    async fn start(cores: u16) -> Client {
        let home = tempfile::tempdir().unwrap();
        let session = Client::session(home.path(), cores).await;
        Client { session, home }
    }

    async fn session(home: &Path, cores: u16) -> Session {
        let settings = Settings {
            download_dir: home.join("data"),
            peer_port: 0,
            peer_bind: "127.0.0.1".into(),
            cores,
            sync_interval: 1,
            ..Settings::default()
        };
        Session::start(Options { config_dir: home.join("config"), settings }).await.unwrap()
    }

    async fn restart(&mut self, cores: u16) {
        self.session.stop().await;
        self.session = Client::session(self.home.path(), cores).await;
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn torrent(&self, id: TorrentId) -> Torrent {
        self.session.read(|catalog| catalog.get(id).cloned()).unwrap()
    }

    async fn wait(&self, id: TorrentId, what: &str, until: impl Fn(&Torrent) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !until(&self.torrent(id)) {
            assert!(Instant::now() < deadline, "no {what}: {:?}", self.torrent(id).traffic);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_seeding(&self, id: TorrentId) {
        self.wait(id, "completion", |torrent| torrent.activity == Activity::Seeding).await;
    }
}

fn logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

#[tokio::test]
async fn what_one_session_seeds_another_downloads_and_seeds_on() {
    logs();
    let sample = Sample::new("sample", &[3_000_000, 0, 1, 16_384, 70_000, 5_000_000], 65_536);
    let (seed, first, second) =
        (Client::start(1).await, Client::start(1).await, Client::start(2).await);
    sample.write_to(&seed.data());
    let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
    seed.wait_seeding(id).await;

    let id = first.session.add(sample.new_torrent()).await.unwrap().id;
    first.session.add_peers(id, seed.session.peer_addr());
    first.wait_seeding(id).await;
    sample.assert_in(&first.data());

    let id = second.session.add(sample.new_torrent()).await.unwrap().id;
    second.session.add_peers(id, first.session.peer_addr());
    second.wait_seeding(id).await;
    sample.assert_in(&second.data());
    for client in [seed, first, second] {
        let start = Instant::now();
        client.session.stop().await;
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn many_torrents_share_one_port_and_two_shards() {
    logs();
    let samples: Vec<Sample> = (0..12)
        .map(|number| Sample::new(&format!("sample {number}"), &[200_000, 30_000], 16_384))
        .collect();
    let (seed, leech) = (Client::start(2).await, Client::start(2).await);
    let mut ids = Vec::new();
    for sample in &samples {
        sample.write_to(&seed.data());
        let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
        seed.wait_seeding(id).await;
        let id = leech.session.add(sample.new_torrent()).await.unwrap().id;
        leech.session.add_peers(id, seed.session.peer_addr());
        ids.push(id);
    }
    for (sample, id) in samples.iter().zip(ids) {
        leech.wait_seeding(id).await;
        sample.assert_in(&leech.data());
    }
    seed.session.stop().await;
    leech.session.stop().await;
}

#[tokio::test]
async fn a_restart_resumes_without_a_check_and_without_fetching_again() {
    logs();
    let sample = Sample::new("sample", &[4_000_000], 65_536);
    let (seed, mut leech) = (Client::start(1).await, Client::start(1).await);
    sample.write_to(&seed.data());
    let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
    seed.wait_seeding(id).await;
    let id = leech.session.add(sample.new_torrent()).await.unwrap().id;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    leech.restart(1).await;
    let id = leech.session.read(|catalog| catalog.iter().next().unwrap().id);
    let torrent = leech.torrent(id);
    assert!(torrent.have.is_all(), "known before anything was looked at");
    assert_eq!(torrent.totals.downloaded, 4_000_000);
    leech.wait_seeding(id).await;
    assert_ne!(leech.torrent(id).activity, Activity::Verifying);
    seed.session.stop().await;
    leech.session.stop().await;
}

#[tokio::test]
async fn a_missing_file_is_an_error_and_its_return_the_end_of_it() {
    logs();
    let sample = Sample::new("sample", &[400_000, 300_000], 65_536);
    let mut seed = Client::start(1).await;
    sample.write_to(&seed.data());
    let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
    seed.wait_seeding(id).await;
    let file = seed.data().join(&sample.files[0].0);
    let aside = seed.data().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    seed.restart(1).await;
    let id = seed.session.read(|catalog| catalog.iter().next().unwrap().id);
    seed.wait(id, "trouble", |torrent| {
        matches!(&torrent.trouble, Some(Trouble::Local(text)) if text.contains("missing"))
    })
    .await;
    std::fs::rename(&aside, &file).unwrap();
    seed.session.start_torrents(&[id]);
    seed.wait_seeding(id).await;
    assert_eq!(seed.torrent(id).trouble, None);
    seed.session.stop().await;
}

#[tokio::test]
async fn removal_deletes_what_it_is_told_to() {
    logs();
    let sample = Sample::new("sample", &[400_000], 65_536);
    let seed = Client::start(1).await;
    sample.write_to(&seed.data());
    for delete in [false, true] {
        let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
        seed.wait_seeding(id).await;
        let again = seed.session.add(sample.new_torrent()).await.unwrap();
        assert!(again.duplicate && again.id == id);
        seed.session.remove(&[id], delete);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !seed.session.read(|catalog| catalog.is_empty())
            || seed.data().join(&sample.files[0].0).exists() == delete
        {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    seed.session.stop().await;
}
