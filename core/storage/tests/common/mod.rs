//! Torrents, folders and rings for tests and benches.
#![allow(dead_code, missing_docs)]

use metainfo::{Bitfield, BlockRange, InfoHash, Layout, Metainfo, PieceHashes};
use ring::{Buf, ConnId, DriverChoice, Event, Ring, RingConfig, SendBatch};
use ringseed_storage::{
    Allocation, Pushed, Store, StoreEvent, StoreKey, StoreLimits, TOKEN_SPACE, TorrentFiles,
};
use sha1::{Digest, Sha1};
use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// A file of a test torrent: its length, and whether it is padding.
pub type Entry = (u64, bool);

/// A torrent with its content.
pub struct Sample {
    pub info_hash: InfoHash,
    pub layout: Arc<Layout>,
    pub hashes: Arc<PieceHashes>,
    pub bytes: Vec<u8>,
}

pub fn sample(entries: &[Entry], piece_length: u32, seed: u64) -> Sample {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = Vec::new();
    let mut files = String::new();
    for (index, &(length, pad)) in entries.iter().enumerate() {
        let start = bytes.len();
        bytes.resize(start + length as usize, 0);
        if !pad {
            random.fill(&mut bytes[start..]);
        }
        let name = format!("{index}.bin");
        let folder = format!("folder{}", index % 3);
        let attr = if pad { "4:attr1:p" } else { "" };
        files += &format!(
            "d{attr}6:lengthi{length}e4:pathl{}:{folder}{}:{name}ee",
            folder.len(),
            name.len()
        );
    }
    let hashes: Vec<u8> = bytes
        .chunks(piece_length as usize)
        .flat_map(|piece| Sha1::digest(piece).to_vec())
        .collect();
    let mut torrent = format!(
        "d4:infod5:filesl{files}e4:name4:data12:piece lengthi{piece_length}e6:pieces{}:",
        hashes.len()
    )
    .into_bytes();
    torrent.extend(hashes);
    torrent.extend(b"ee");
    let metainfo = Metainfo::parse(&torrent).expect("a sound torrent");
    Sample {
        info_hash: metainfo.info_hash(),
        hashes: Arc::new(metainfo.piece_hashes.clone().expect("version 1")),
        layout: Arc::new(metainfo.layout),
        bytes,
    }
}

impl Sample {
    pub fn files(&self, root: &Path) -> TorrentFiles {
        TorrentFiles {
            info_hash: self.info_hash,
            layout: Arc::clone(&self.layout),
            root: root.into(),
            wanted: None,
            allocation: Allocation::Sparse,
            device: 0,
            suspects_cache: false,
        }
    }

    /// Writes all files, as another program would have.
    pub fn lay_down(&self, root: &Path) {
        for (_, file) in self.layout.files().filter(|(_, file)| !file.is_pad()) {
            let path = root.join(file.path().as_path());
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            let range = file.offset() as usize..file.end() as usize;
            std::fs::write(path, &self.bytes[range]).expect("a file");
        }
    }

    pub fn content(&self, block: BlockRange) -> &[u8] {
        let start = self.layout.geometry().offset_of_range(block) as usize;
        &self.bytes[start..start + block.length() as usize]
    }

    pub fn path(&self, root: &Path, file: u32) -> std::path::PathBuf {
        let file = self.layout.file(file).expect("a file");
        root.join(self.layout[file].path().as_path())
    }

    pub fn all_pieces(&self) -> Bitfield {
        Bitfield::all(self.layout.geometry().piece_count())
    }
}

/// The drivers that this machine can run: one that it cannot is skipped.
pub fn drivers() -> Vec<DriverChoice> {
    let mut drivers = vec![DriverChoice::Mio];
    match Ring::new(RingConfig { driver: DriverChoice::Uring, ..RingConfig::default() }) {
        Ok(_) => drivers.insert(0, DriverChoice::Uring),
        Err(error) => machine::skip(error),
    }
    drivers
}

/// A ring, a store, and a connection to look at what is sent.
pub struct Shard {
    pub ring: Ring,
    pub store: Store,
    pub now: Duration,
    pub events: Vec<StoreEvent>,
    conn: ConnId,
    other: TcpStream,
}

impl Shard {
    pub fn new(driver: DriverChoice, limits: StoreLimits) -> Shard {
        let config = RingConfig { driver, recv_buffer_count: 16, ..RingConfig::default() };
        let mut ring = Ring::new(config).expect("a ring");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let other = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        let (socket, _) = listener.accept().expect("loopback");
        let conn = ring.adopt(socket.into()).expect("a socket");
        let store = Store::new(limits);
        Shard { ring, store, now: Duration::from_secs(1), events: Vec::new(), conn, other }
    }

    /// Waits for something to happen. Tells whether a batch was sent.
    pub fn turn(&mut self) -> bool {
        let mut happened = Vec::new();
        let begun = Instant::now();
        while happened.is_empty() {
            self.ring.wait(Some(Duration::from_secs(5)), &mut happened).expect("the ring turns");
            assert!(begun.elapsed() < Duration::from_secs(10), "nothing happened");
        }
        let mut sent = false;
        for event in happened {
            match event {
                Event::File(done) => {
                    assert_eq!(done.token.0 >> 56, TOKEN_SPACE >> 56);
                    self.store.on_file_done(&mut self.ring, done);
                }
                Event::Sent { .. } => sent = true,
                Event::Closed { result, .. } => panic!("sending failed: {result:?}"),
                _ => {}
            }
        }
        while let Some(event) = self.store.poll_event() {
            self.events.push(event);
        }
        sent
    }

    /// Turns until nothing is under way, and gives what has happened.
    pub fn settle(&mut self) -> Vec<StoreEvent> {
        while !self.store.is_idle() {
            self.turn();
        }
        while let Some(event) = self.store.poll_event() {
            self.events.push(event);
        }
        std::mem::take(&mut self.events)
    }

    pub fn buf(&self, bytes: &[u8]) -> Rc<Buf> {
        let mut buf = self.ring.buffers().get(bytes.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        Rc::new(buf)
    }

    pub fn write(&mut self, key: StoreKey, sample: &Sample, piece: u32) {
        let geometry = sample.layout.geometry();
        let piece = geometry.piece(piece).expect("a piece");
        let start = geometry.offset_of(piece) as usize;
        let data = self.buf(&sample.bytes[start..start + geometry.length_of(piece) as usize]);
        self.store.write_piece(&mut self.ring, key, piece, data);
    }

    /// The block as it would go out: from the mapping if it is in memory, else after a fetch; and
    /// whether it was in memory.
    pub fn serve(
        &mut self,
        key: StoreKey,
        block: BlockRange,
    ) -> Result<(Vec<u8>, bool), StoreEvent> {
        let mut batch = SendBatch::default();
        let now = self.now;
        let hot = match self.store.push_block(now, key, block, &mut batch).expect("it is there") {
            Pushed::Done => true,
            Pushed::Cold => {
                assert!(batch.is_empty(), "a cold block leaves the batch alone");
                self.store.fetch(&mut self.ring, key, block, 77);
                let is_answer = |event: &StoreEvent| {
                    matches!(event, StoreEvent::Fetched { .. } | StoreEvent::FetchFailed { .. })
                };
                let (answer, others) = self.settle().into_iter().partition(is_answer);
                let answer: Vec<StoreEvent> = answer;
                self.events = others;
                match answer.into_iter().next().expect("an answer") {
                    StoreEvent::Fetched { data, range_in_buf, cookie: 77, .. } => {
                        batch.push_buf(data, range_in_buf);
                    }
                    failure => return Err(failure),
                }
                false
            }
        };
        assert_eq!(batch.len(), u64::from(block.length()));
        let mut received = vec![0; block.length() as usize];
        let mut other = self.other.try_clone().expect("a socket");
        let reader = std::thread::spawn(move || {
            other.read_exact(&mut received).expect("bytes");
            received
        });
        self.ring.send(self.conn, batch);
        while !self.turn() {}
        Ok((reader.join().expect("it reads"), hot))
    }
}

pub fn written(events: &[StoreEvent]) -> Vec<u32> {
    let mut pieces: Vec<u32> = events
        .iter()
        .filter_map(|event| match event {
            StoreEvent::PieceWritten { piece, .. } => Some(piece.get()),
            _ => None,
        })
        .collect();
    pieces.sort_unstable();
    pieces
}
