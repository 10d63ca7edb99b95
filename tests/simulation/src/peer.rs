//! Scripted peers: what they say is right or wrong by their manner; what they are told is always
//! checked against the torrent's bytes.

use crate::torrent::Torrent;
use anyhow::{Result, ensure};
use metainfo::Bitfield;
use ring::{
    ConnId, Event, Ring, RingConfig,
    sim::{Machine, RingId, World},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};
use wire::{DecodeLimits, Decoder, Handshake, Item, Message, PeerId, RawBlock, Reserved};

/// How a peer behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Has everything and sends it.
    Seed,
    /// Has nothing, asks for all that it is told of, and keeps nothing.
    Leech,
    /// Has everything and sends wrong bytes.
    Corrupts,
    /// Says that it has everything and answers nothing.
    Lies,
    /// Has everything and never unchokes.
    NeverUnchokes,
    /// As a leech, but reads only every few seconds.
    ReadsSlowly,
    /// As a seed, but closes after some blocks.
    Disconnects,
    /// As a leech, but asks for far more than it can get soon, then says that it is not interested.
    Greedy,
    /// As a leech, but takes some requests back in the breath in which it makes them.
    Cancels,
    /// As a leech, but asks for far more than fits the line, and never reads again.
    StopsReading,
}

/// The manners of a crowd: all but that of the seed, which somebody must have, and of one that stops
/// reading.
pub const MANNERS: [Manner; 8] = [
    Manner::Leech,
    Manner::Corrupts,
    Manner::Lies,
    Manner::NeverUnchokes,
    Manner::ReadsSlowly,
    Manner::Disconnects,
    Manner::Greedy,
    Manner::Cancels,
];

/// Requests that a greedy peer makes at a time, or one that stops reading: more than a server has on its
/// way at any moment, and in whole blocks more than any line takes.
const GREED: u32 = 200;

/// Blocks that may come after a choke: those that were on their way from the server's disk.
const AFTER_CHOKE: u32 = 40;

/// Bytes that a greedy peer asks for at a time.
const BITE: u32 = 2048;

/// Requests that are taken back in the breath in which they are made, and how often. A server may
/// see one half before the other when its buffers run out, but not always.
const TAKEN_BACK: (u32, u32) = (20, 6);

impl Manner {
    /// Whether it has nothing and asks.
    pub fn is_leech(self) -> bool {
        use Manner::{Cancels, Greedy, Leech, ReadsSlowly, StopsReading};
        matches!(self, Leech | ReadsSlowly | Greedy | Cancels | StopsReading)
    }
}

/// A peer on a machine of its own.
pub struct Peer {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Where it runs.
    pub machine: Machine,
    manner: Manner,
    world: World,
    id: RingId,
    ring: Ring,
    torrent: Torrent,
    peer_id: [u8; 20],
    conns: BTreeMap<ConnId, Conn>,
    /// It does nothing before.
    rests_until: Duration,
    rng: fastrand::Rng,
    /// Blocks that it still wants.
    hunger: u32,
    /// Bytes that servers sent it.
    pub received: u64,
}

struct Conn {
    hello: Vec<u8>,
    decoder: Decoder,
    outbox: Vec<u8>,
    is_sending: bool,
    block: Option<(RawBlock, usize)>,
    served: u32,
    unchoked: bool,
    theirs: Bitfield,
    /// Requests that may be answered.
    asked: BTreeSet<(u32, u32, u32)>,
    /// Requests that a choke has made void.
    void: BTreeSet<(u32, u32, u32)>,
    /// Requests that were taken back.
    cancelled: BTreeSet<(u32, u32, u32)>,
    /// Those of them that were answered all the same.
    answered: u32,
    rounds: u32,
    /// Blocks since the last choke.
    after_choke: u32,
    /// Requests at a time before it lost interest.
    peak: u32,
}

impl Peer {
    /// A peer that listens.
    pub fn new(
        world: &World,
        rng: &mut fastrand::Rng,
        addr: SocketAddr,
        torrent: &Torrent,
        manner: Manner,
    ) -> Result<Peer> {
        let machine = world.add_machine(addr.ip(), 0);
        let config = RingConfig {
            recv_buffer_length: 16 * 1024,
            recv_buffer_count: 16,
            ..RingConfig::default()
        };
        let (id, mut ring) = world.ring(machine, &config)?;
        ring.listen(addr)?;
        let mut peer_id = *b"-XX0001-000000000000";
        peer_id[8..].fill_with(|| rng.u8(..));
        Ok(Peer {
            addr,
            machine,
            manner,
            world: world.clone(),
            id,
            ring,
            torrent: torrent.clone(),
            peer_id,
            conns: BTreeMap::new(),
            rests_until: Duration::ZERO,
            rng: rng.fork(),
            hunger: match manner {
                Manner::Greedy => 4 * rng.u32(20..400),
                Manner::StopsReading => GREED,
                _ => rng.u32(20..400),
            },
            received: 0,
        })
    }

    /// Connects to a server.
    pub fn connect(&mut self, to: SocketAddr) -> Result<()> {
        let conn = self.ring.connect(to, None)?;
        self.insert(conn);
        Ok(())
    }

    /// When it has something to do.
    pub fn due(&self) -> Option<Duration> {
        self.world.has_mail(self.id).then_some(self.rests_until)
    }

    fn insert(&mut self, conn: ConnId) {
        let pieces = self.torrent.layout.geometry().piece_count();
        let new = Conn {
            hello: Vec::new(),
            decoder: Decoder::new(DecodeLimits::default()),
            outbox: Vec::new(),
            is_sending: false,
            block: None,
            served: 0,
            unchoked: false,
            theirs: Bitfield::none(pieces),
            asked: BTreeSet::new(),
            void: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            answered: 0,
            rounds: 0,
            after_choke: 0,
            peak: 0,
        };
        self.conns.insert(conn, new);
    }

    /// Does what is due.
    pub fn step(&mut self) -> Result<()> {
        if self.manner == Manner::ReadsSlowly {
            let pause = Duration::from_millis(self.rng.u64(500..4000));
            self.rests_until = self.world.now() + pause;
        }
        let mut events = Vec::new();
        self.ring.wait(Some(Duration::ZERO), &mut events)?;
        for event in events {
            match event {
                Event::Accepted { conn, .. } => {
                    self.insert(conn);
                    self.greet(conn);
                }
                Event::Connected { conn } => self.greet(conn),
                Event::Received { conn, data } => self.receive(conn, &data)?,
                Event::Sent { conn: id, .. } => {
                    if let Some(mut conn) = self.conns.remove(&id) {
                        conn.is_sending = false;
                        self.ask(&mut conn);
                        self.conns.insert(id, conn);
                    }
                }
                Event::Closed { conn, .. } => {
                    self.conns.remove(&conn);
                }
                _ => {}
            }
        }
        self.send_all();
        Ok(())
    }

    fn greet(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let handshake = Handshake {
            reserved: Reserved::NONE,
            info_hash: self.torrent.info_hash,
            peer_id: PeerId(self.peer_id),
        };
        conn.outbox.extend_from_slice(&handshake.encode());
        let pieces = self.torrent.layout.geometry().piece_count();
        match self.manner {
            manner if manner.is_leech() => {
                Message::Interested.encode_into(&mut conn.outbox);
            }
            _ => {
                let all = Bitfield::all(pieces);
                Message::Bitfield(all.as_bytes()).encode_into(&mut conn.outbox);
            }
        }
    }

    fn receive(&mut self, id: ConnId, mut input: &[u8]) -> Result<()> {
        let Some(mut conn) = self.conns.remove(&id) else { return Ok(()) };
        let missing = (Handshake::LEN - conn.hello.len()).min(input.len());
        conn.hello.extend_from_slice(&input[..missing]);
        input = &input[missing..];
        let mut decoder =
            std::mem::replace(&mut conn.decoder, Decoder::new(DecodeLimits::default()));
        while let Some(item) = decoder.next(&mut input)? {
            self.take(&mut conn, item)?;
        }
        conn.decoder = decoder;
        self.ask(&mut conn);
        let leaves = self.manner == Manner::Disconnects && conn.served > 20;
        if leaves && self.rng.u8(..) < 16 {
            self.ring.close(id);
        } else {
            self.conns.insert(id, conn);
        }
        Ok(())
    }

    fn take(&mut self, conn: &mut Conn, item: Item<'_>) -> Result<()> {
        let geometry = self.torrent.layout.geometry();
        match item {
            Item::Message(Message::Interested) if self.manner != Manner::NeverUnchokes => {
                Message::Unchoke.encode_into(&mut conn.outbox);
            }
            Item::Message(Message::Request(block)) => self.answer(conn, block),
            Item::Message(Message::Unchoke) => {
                conn.unchoked = true;
                conn.after_choke = 0;
            }
            Item::Message(Message::Choke) => {
                conn.unchoked = false;
                conn.void.append(&mut conn.asked);
                if self.manner == Manner::Greedy && self.hunger > 0 {
                    conn.peak = 0;
                    Message::Interested.encode_into(&mut conn.outbox);
                }
            }
            Item::Message(Message::Have { piece: index }) => {
                if let Some(piece) = geometry.piece(index) {
                    conn.theirs.set(piece);
                }
            }
            Item::Message(Message::Bitfield(bits)) => {
                conn.theirs = Bitfield::from_bytes(bits, geometry.piece_count())?;
            }
            Item::BlockStart(block) => {
                conn.block = Some((block, 0));
                self.expect(conn, block)?;
            }
            Item::BlockData(bytes) => {
                if let Some((block, at)) = &mut conn.block {
                    let start = u64::from(block.index) * u64::from(geometry.piece_length())
                        + u64::from(block.begin)
                        + *at as u64;
                    let expected = &self.torrent.data[start as usize..][..bytes.len()];
                    ensure!(expected == bytes, "wrong bytes were served in {block:?}");
                    *at += bytes.len();
                    self.received += bytes.len() as u64;
                }
            }
            Item::BlockEnd => {
                conn.block = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, conn: &mut Conn, block: RawBlock) {
        if self.manner == Manner::Lies || self.manner.is_leech() {
            return;
        }
        let geometry = self.torrent.layout.geometry();
        let Some(range) = geometry.range(block.index, block.begin, block.length) else { return };
        let start = geometry.offset_of_range(range) as usize;
        conn.outbox.extend_from_slice(&wire::block_header(block.index, block.begin, block.length));
        let first = conn.outbox.len();
        conn.outbox.extend_from_slice(&self.torrent.data[start..start + block.length as usize]);
        if self.manner == Manner::Corrupts {
            conn.outbox[first] ^= 0x55;
        }
        conn.served += 1;
    }

    /// A block comes: it must have been asked for, once.
    fn expect(&mut self, conn: &mut Conn, block: RawBlock) -> Result<()> {
        let key = (block.index, block.begin, block.length);
        if conn.cancelled.remove(&key) {
            conn.answered += 1;
            let most = TAKEN_BACK.1 + conn.cancelled.len() as u32 / 2;
            let often = conn.rounds >= TAKEN_BACK.1 && conn.answered > most;
            ensure!(!often, "cancels are ignored: {} answers", conn.answered);
        } else if !conn.asked.remove(&key) {
            ensure!(conn.void.remove(&key), "{block:?} was not asked for");
        }
        if !conn.unchoked {
            conn.after_choke += 1;
            ensure!(conn.after_choke <= AFTER_CHOKE, "blocks keep coming after a choke");
        }
        Ok(())
    }

    /// Keeps a few requests under way, for random blocks of what the other side has.
    fn ask(&mut self, conn: &mut Conn) {
        if !self.manner.is_leech() || conn.theirs.is_none() || !conn.unchoked {
            return;
        }
        match self.manner {
            Manner::Greedy if conn.peak == 0 => {
                self.ask_for(conn, GREED);
                conn.peak = conn.asked.len() as u32;
            }
            // Enough has come: it loses interest, and is choked.
            Manner::Greedy if conn.asked.len() as u32 + 4 <= conn.peak => {
                conn.peak = 1;
                Message::NotInterested.encode_into(&mut conn.outbox);
            }
            Manner::Greedy => {}
            Manner::Cancels if conn.rounds < TAKEN_BACK.1 => self.take_back(conn),
            Manner::StopsReading => {
                self.ask_for(conn, GREED);
                self.rests_until = Duration::MAX;
            }
            _ => self.ask_for(conn, 8),
        }
    }

    fn ask_for(&mut self, conn: &mut Conn, most: u32) {
        for _ in 0..2 * most {
            if self.hunger > 0
                && (conn.asked.len() as u32) < most
                && let Some(block) = self.some_block(conn)
            {
                self.hunger -= 1;
                conn.asked.insert((block.index, block.begin, block.length));
                Message::Request(block).encode_into(&mut conn.outbox);
            }
        }
    }

    /// Asks and takes it back at once, so that nothing can be on its way in between.
    fn take_back(&mut self, conn: &mut Conn) {
        if conn.is_sending || !conn.outbox.is_empty() {
            return;
        }
        conn.rounds += 1;
        let some = std::iter::repeat_with(|| self.some_block(conn)).take(TAKEN_BACK.0 as usize);
        let blocks: Vec<RawBlock> = some.flatten().collect();
        let mut cancels = Vec::new();
        for block in blocks {
            if conn.cancelled.insert((block.index, block.begin, block.length)) {
                Message::Request(block).encode_into(&mut conn.outbox);
                Message::Cancel(block).encode_into(&mut cancels);
            }
        }
        conn.outbox.append(&mut cancels);
        if conn.rounds == TAKEN_BACK.1 {
            self.ask_for(conn, 8);
        }
    }

    /// A random block that the other side has and that was not asked for.
    fn some_block(&mut self, conn: &Conn) -> Option<RawBlock> {
        let geometry = self.torrent.layout.geometry();
        let piece = geometry.piece(self.rng.u32(..geometry.piece_count()))?;
        let block = geometry.block(piece, self.rng.u32(..geometry.block_count(piece)));
        let mut raw = RawBlock { index: piece.get(), begin: block.begin(), length: block.length() };
        if self.manner == Manner::Greedy && raw.length > BITE {
            raw.begin += self.rng.u32(..raw.length / BITE) * BITE;
            raw.length = BITE;
        }
        let key = (raw.index, raw.begin, raw.length);
        let known = [&conn.asked, &conn.void, &conn.cancelled];
        let is_new = !known.iter().any(|known| known.contains(&key));
        (conn.theirs.has(piece) && is_new).then_some(raw)
    }

    fn send_all(&mut self) {
        let ready = self.conns.iter_mut().filter(|(_, conn)| !conn.is_sending);
        for (&id, conn) in ready.filter(|(_, conn)| !conn.outbox.is_empty()) {
            let mut batch = self.ring.batch();
            batch.push_bytes(&std::mem::take(&mut conn.outbox));
            conn.is_sending = true;
            self.ring.send(id, batch);
        }
    }
}
