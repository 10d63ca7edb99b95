//! Scripted peers: what they say is right or wrong by their manner; what they are told is always
//! checked against the torrent's bytes.

use crate::torrent::Torrent;
use anyhow::{Result, ensure};
use metainfo::Bitfield;
use ring::{
    ConnId, Event, Ring, RingConfig,
    sim::{Machine, RingId, World},
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
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
}

/// Every manner but that of the seed, which somebody must have.
pub const MANNERS: [Manner; 6] = [
    Manner::Leech,
    Manner::Corrupts,
    Manner::Lies,
    Manner::NeverUnchokes,
    Manner::ReadsSlowly,
    Manner::Disconnects,
];

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
    asked: u32,
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
            asked: 0,
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
                Event::Sent { conn, .. } => {
                    if let Some(conn) = self.conns.get_mut(&conn) {
                        conn.is_sending = false;
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
            Manner::Leech | Manner::ReadsSlowly => {
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
                conn.asked = 0;
            }
            Item::Message(Message::Choke) => conn.unchoked = false,
            Item::Message(Message::Have { piece: index }) => {
                if let Some(piece) = geometry.piece(index) {
                    conn.theirs.set(piece);
                }
            }
            Item::Message(Message::Bitfield(bits)) => {
                conn.theirs = Bitfield::from_bytes(bits, geometry.piece_count())?;
            }
            Item::BlockStart(block) => conn.block = Some((block, 0)),
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
                conn.asked = conn.asked.saturating_sub(1);
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, conn: &mut Conn, block: RawBlock) {
        if matches!(self.manner, Manner::Lies | Manner::Leech | Manner::ReadsSlowly) {
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

    /// Keeps a few requests under way, for random blocks of what the other side has.
    fn ask(&mut self, conn: &mut Conn) {
        let is_leech = matches!(self.manner, Manner::Leech | Manner::ReadsSlowly);
        let geometry = self.torrent.layout.geometry();
        while is_leech && conn.unchoked && conn.asked < 8 && !conn.theirs.is_none() {
            let index = self.rng.u32(..geometry.piece_count());
            let Some(piece) = geometry.piece(index).filter(|&piece| conn.theirs.has(piece)) else {
                continue;
            };
            let block = geometry.block(piece, self.rng.u32(..geometry.block_count(piece)));
            let raw = RawBlock { index, begin: block.begin(), length: block.length() };
            Message::Request(raw).encode_into(&mut conn.outbox);
            conn.asked += 1;
        }
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
