//! Torrents to play with, sessions in folders of their own, and peers that do what they should not.

use engine::{
    NewTorrent, Options, Session, Torrent, TorrentId, settings::Settings, status::Activity,
};
use metainfo::create::{self, Hashes, NewFile, Plan, Version};
use ringseed_engine as engine;
use sha1::{Digest, Sha1};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A torrent and its bytes.
pub struct Sample {
    pub torrent: Vec<u8>,
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

pub fn noise(length: usize, mut state: u64) -> Vec<u8> {
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
    pub fn new(name: &str, lengths: &[usize], piece_length: u32) -> Sample {
        Sample::with(name, lengths, piece_length, &create::Options::default())
    }

    pub fn with(
        name: &str,
        lengths: &[usize],
        piece_length: u32,
        options: &create::Options,
    ) -> Sample {
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
        let torrent = plan.finish(&hashes, options).unwrap();
        Sample { torrent, files: on_disk }
    }

    pub fn write_to(&self, folder: &Path) {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// The files are all there and right. Empty ones come a moment after everything is had.
    pub fn assert_in(&self, folder: &Path) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            while !path.exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(std::fs::read(&path).unwrap() == *bytes, "{}", path.display());
        }
    }

    pub fn new_torrent(&self) -> NewTorrent {
        NewTorrent { metainfo: self.torrent.clone(), ..NewTorrent::default() }
    }
}

/// A session with folders of its own.
pub struct Client {
    pub session: Session,
    pub home: TempDir,
}

impl Client {
    pub async fn start(cores: u16) -> Client {
        let home = tempfile::tempdir().unwrap();
        let session = Client::session(home.path(), cores).await;
        Client { session, home }
    }

    /// With settings of its own.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Client {
        let home = tempfile::tempdir().unwrap();
        let mut settings = Client::settings(home.path(), 1);
        change(&mut settings);
        let config_dir = home.path().join("config");
        let session = Session::start(Options { config_dir, settings }).await.unwrap();
        Client { session, home }
    }

    fn settings(home: &Path, cores: u16) -> Settings {
        Settings {
            download_dir: home.join("data"),
            peer_port: 0,
            peer_bind: "127.0.0.1".into(),
            cores,
            sync_interval: 1,
            ..Settings::default()
        }
    }

    pub async fn session(home: &Path, cores: u16) -> Session {
        let settings = Client::settings(home, cores);
        Session::start(Options { config_dir: home.join("config"), settings }).await.unwrap()
    }

    pub async fn restart(&mut self, cores: u16) {
        self.session.stop().await;
        self.session = Client::session(self.home.path(), cores).await;
    }

    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub fn torrent(&self, id: TorrentId) -> Torrent {
        self.session.read(|catalog| catalog.get(id).cloned()).unwrap()
    }

    pub async fn wait(&self, id: TorrentId, what: &str, until: impl Fn(&Torrent) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !until(&self.torrent(id)) {
            let Torrent { activity, trouble, have, left, traffic, .. } = self.torrent(id);
            assert!(
                Instant::now() < deadline,
                "no {what}: {activity:?}, {trouble:?}, {have:?}, {left} bytes left, {traffic:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A session that seeds these.
    pub async fn seeding(samples: &[Sample], cores: u16) -> Client {
        let seed = Client::start(cores).await;
        for sample in samples {
            sample.write_to(&seed.data());
            let id = seed.session.add(sample.new_torrent()).await.unwrap().id;
            seed.wait_seeding(id).await;
        }
        seed
    }

    pub async fn add(&self, sample: &Sample) -> TorrentId {
        self.session.add(sample.new_torrent()).await.unwrap().id
    }

    pub async fn wait_seeding(&self, id: TorrentId) {
        self.wait(id, "completion", |torrent| torrent.activity == Activity::Seeding).await;
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// How a [`lying_seed`] sends what it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// With a wrong byte in each block.
    Corrupt,
    /// Only the first half of each block, and then nothing.
    Half,
}

/// A peer that says it has everything and sends what it likes. It listens on an address of its own,
/// because bans are by address, and talks first, as some clients do.
pub fn lying_seed(sample: &Sample, lie: Lie) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let metainfo = metainfo::Metainfo::parse(&sample.torrent).unwrap();
    let (info_hash, pieces) = (metainfo.info_hash(), metainfo.layout.geometry().piece_count());
    let piece_length = metainfo.layout.geometry().piece_length();
    let bytes: Vec<u8> = sample.files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(50) {
            // The other side closes when it has seen enough.
            let _ = lie_to(stream.unwrap(), info_hash.0, pieces, piece_length, &bytes, lie);
        }
    });
    addr
}

fn lie_to(
    mut stream: TcpStream,
    info_hash: [u8; 20],
    pieces: u32,
    piece_length: u32,
    bytes: &[u8],
    lie: Lie,
) -> io::Result<()> {
    let hello = full_seed_hello(info_hash, pieces);
    stream.write_all(&hello)?;
    let mut theirs = [0; 68];
    stream.read_exact(&mut theirs)?;
    let mut is_done = false;
    loop {
        let message = read_message(&mut stream)?;
        if message.first() != Some(&6) || is_done {
            continue;
        }
        let length = number(&message, 9);
        let mut answer = answer(&message, bytes, piece_length);
        match lie {
            Lie::Corrupt => answer[20] ^= 1,
            Lie::Half => {
                answer.truncate(13 + length as usize / 2);
                is_done = true;
            }
        }
        stream.write_all(&answer)?;
    }
}

/// Payload at one end of a connection: how many bytes, and when.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<Vec<(Instant, u64)>>>);

impl Meter {
    fn add(&self, bytes: usize) {
        self.0.lock().unwrap().push((Instant::now(), bytes as u64));
    }

    pub fn total(&self) -> u64 {
        self.0.lock().unwrap().iter().map(|(_, bytes)| bytes).sum()
    }

    pub fn between(&self, from: Instant, to: Instant) -> u64 {
        let log = self.0.lock().unwrap().clone();
        log.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, bytes)| bytes).sum()
    }

    /// The most bytes that came through all of them within so long, after a moment.
    pub fn most_within(meters: &[&Meter], after: Instant, time: Duration) -> u64 {
        let mut all: Vec<(Instant, u64)> =
            meters.iter().flat_map(|meter| meter.0.lock().unwrap().clone()).collect();
        all.retain(|(at, _)| *at >= after);
        all.sort_unstable();
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for &(at, bytes) in &all {
            sum += bytes;
            while all[first].0 + time < at {
                sum -= all[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

/// A peer that has everything and sends what it is asked for; with the pieces of the requests in
/// their order.
pub fn recording_seed(sample: &Sample) -> (SocketAddr, Arc<Mutex<Vec<u32>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&asked);
    (honest_seed(sample, move |message| record.lock().unwrap().push(number(message, 1))), asked)
}

/// The same, with what has been sent.
pub fn metered_seed(sample: &Sample) -> (SocketAddr, Meter) {
    let meter = Meter::default();
    let sent = meter.clone();
    (honest_seed(sample, move |message| sent.add(number(message, 9) as usize)), meter)
}

fn honest_seed(sample: &Sample, tell: impl Fn(&[u8]) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let metainfo = metainfo::Metainfo::parse(&sample.torrent).unwrap();
    let (info_hash, geometry) = (metainfo.info_hash(), metainfo.geometry());
    let bytes: Vec<u8> = sample.files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let bytes: Arc<[u8]> = bytes.into();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(50) {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            let hello = full_seed_hello(info_hash.0, geometry.piece_count());
            let bytes = Arc::clone(&bytes);
            std::thread::spawn(move || -> io::Result<()> {
                stream.write_all(&hello)?;
                stream.read_exact(&mut [0; 68])?;
                loop {
                    let message = read_message(&mut stream)?;
                    if message.first() != Some(&6) {
                        continue;
                    }
                    stream.write_all(&answer(&message, &bytes, geometry.piece_length()))?;
                    tell(&message);
                }
            });
        }
    });
    addr
}

/// A peer that asks for all of the torrent over and over, a hundred blocks ahead, and counts what
/// comes.
pub fn greedy_leech(sample: &Sample, seed: SocketAddr) -> Meter {
    let metainfo = metainfo::Metainfo::parse(&sample.torrent).unwrap();
    let (info_hash, geometry) = (metainfo.info_hash(), metainfo.geometry());
    let meter = Meter::default();
    let received = meter.clone();
    std::thread::spawn(move || -> io::Result<()> {
        let mut stream = TcpStream::connect(seed)?;
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
        hello.extend_from_slice(&info_hash.0);
        hello.extend_from_slice(b"-GR0001-abcdefghijkl");
        hello.extend_from_slice(&[0, 0, 0, 1, 2]);
        stream.write_all(&hello)?;
        stream.read_exact(&mut [0; 68])?;
        while read_message(&mut stream)?.first() != Some(&1) {}
        let blocks: Vec<_> = geometry.pieces().flat_map(|piece| geometry.blocks(piece)).collect();
        let mut next = blocks.into_iter().cycle();
        let mut ask = |stream: &mut TcpStream, count: usize| {
            let mut requests = Vec::new();
            for block in next.by_ref().take(count) {
                requests.extend_from_slice(&[0, 0, 0, 13, 6]);
                for number in [block.piece().get(), block.begin(), block.length()] {
                    requests.extend_from_slice(&number.to_be_bytes());
                }
            }
            stream.write_all(&requests)
        };
        ask(&mut stream, 100)?;
        loop {
            let message = read_message(&mut stream)?;
            if message.first() == Some(&7) {
                received.add(message.len() - 9);
                ask(&mut stream, 1)?;
            }
        }
    });
    meter
}

/// Handshake, bitfield and unchoke of a seed.
fn full_seed_hello(info_hash: [u8; 20], pieces: u32) -> Vec<u8> {
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    hello.extend_from_slice(&info_hash);
    hello.extend_from_slice(b"-LI0001-abcdefghijkl");
    let mut field = vec![0xff; pieces.div_ceil(8) as usize];
    if !pieces.is_multiple_of(8) {
        *field.last_mut().unwrap() = 0xffu8 << (8 - pieces % 8);
    }
    hello.extend_from_slice(&(1 + field.len() as u32).to_be_bytes());
    hello.push(5);
    hello.extend_from_slice(&field);
    hello.extend_from_slice(&[0, 0, 0, 1, 1]);
    hello
}

/// A message without its length.
pub fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// A whole number within a message.
pub fn number(message: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(message[at..at + 4].try_into().unwrap())
}

/// The block that a request asks for.
fn answer(request: &[u8], bytes: &[u8], piece_length: u32) -> Vec<u8> {
    let (piece, begin, length) = (number(request, 1), number(request, 5), number(request, 9));
    let start = (piece * piece_length + begin) as usize;
    let mut answer = (9 + length).to_be_bytes().to_vec();
    answer.push(7);
    answer.extend_from_slice(&request[1..9]);
    answer.extend_from_slice(&bytes[start..start + length as usize]);
    answer
}
