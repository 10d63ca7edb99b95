//! What peers say to a whole swarm, in any order and at any time.

use metainfo::{BLOCK_LENGTH, Bitfield, BlockRange, Geometry};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use swarm::{
    Action, BlockFate, MemoryBudget, NewPeer, PeerKey, Phase, Priority, Reason, Settings, Source,
    Swarm, Transmit,
};
use wire::{DecodeLimits, Decoder, Item, Message, PeerId, RawBlock};

const PIECES: u32 = 7;

/// Small, so that they are met.
const SETTINGS: Settings = Settings {
    upload_slots: 2,
    max_peers: 6,
    max_upload_queue: 8,
    request_timeout: Duration::from_secs(60),
    peer_idle_timeout: Duration::from_secs(150),
    sequential: false,
    sequential_from: 0,
    close_redundant: true,
    listen_port: 6881,
};

/// Steps, each a byte that says what happens and to which peer: it comes, goes, or says bytes that
/// follow, as they are, as one message, or as the answer to a request; time passes; what is due
/// is sent; a piece turns out good, bad, or is lost; pieces are wanted more or less. After each, all parts
/// of the swarm agree, nothing is served that is not had, and every queue is within its bound.
pub fn swarm(mut bytes: &[u8]) {
    let mut talk = Talk::new();
    while let Some(step) = take(&mut bytes) {
        talk.step(step, &mut bytes);
        talk.obey();
        talk.check();
    }
    while let Some(peer) = talk.peers.pop() {
        talk.part(peer, Reason::Closed);
    }
    talk.check();
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

/// As many bytes as the next one says, or as there are.
fn take_some<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = take(bytes).map_or(0, usize::from).min(bytes.len());
    let (some, rest) = bytes.split_at(length);
    *bytes = rest;
    some
}

struct Talk {
    swarm: Swarm,
    now: Duration,
    peers: Vec<Peer>,
}

struct Peer {
    key: PeerKey,
    decoder: Decoder,
    /// The block on its way from it, if it is to be taken.
    arriving: Option<BlockRange>,
    /// What it was asked for.
    asked: VecDeque<RawBlock>,
}

impl Talk {
    fn new() -> Talk {
        let geometry = Geometry::new(u64::from(2 * BLOCK_LENGTH * PIECES) - 9, 2 * BLOCK_LENGTH);
        let have = Bitfield::from_bytes(&[0b1000_0000], PIECES).expect("it has seven bits");
        let budget = MemoryBudget::new(u64::from(BLOCK_LENGTH) * 12);
        let geometry = geometry.expect("it is a usual one");
        let swarm = Swarm::new(geometry, have, SETTINGS, budget, 3);
        Talk { swarm, now: Duration::from_secs(1), peers: Vec::new() }
    }

    fn step(&mut self, step: u8, bytes: &mut &[u8]) {
        let who = usize::from(step >> 4);
        match step & 15 {
            0 => self.join(step >> 4, take(bytes).unwrap_or(0)),
            1 if who < self.peers.len() => {
                let peer = self.peers.remove(who);
                self.part(peer, Reason::Closed);
            }
            2 | 3 => self.hear(who, take_some(bytes)),
            4..=7 => {
                let said = take_some(bytes);
                self.hear(who, &[&(said.len() as u32).to_be_bytes(), said].concat());
            }
            8 | 9 => self.answer(who, take(bytes).unwrap_or(0)),
            10 => {
                self.now += Duration::from_secs(u64::from(take(bytes).unwrap_or(0)));
                self.swarm.tick(self.now);
            }
            11 => self.judge(step >> 4, take(bytes).unwrap_or(0)),
            12 => self.decide(step >> 4, bytes),
            _ => self.send(),
        }
    }

    fn join(&mut self, id: u8, flags: u8) {
        let [fast, extended, incoming] = [1, 2, 4].map(|bit| flags & bit != 0);
        let addr = SocketAddr::from(([10, 0, 0, id], 6881));
        // Some have the id of another.
        let id = PeerId([id ^ flags >> 7; 20]);
        let source = Source::Tracker;
        let new = NewPeer { addr, id, fast, extended, incoming, source };
        if let Ok(key) = self.swarm.add_peer(self.now, new) {
            let decoder = Decoder::new(DecodeLimits { max_bitfield: 1, max_extended: 200 });
            self.peers.push(Peer { key, decoder, arriving: None, asked: VecDeque::new() });
        }
    }

    /// As the shard does.
    fn part(&mut self, peer: Peer, reason: Reason) {
        if let Some(block) = peer.arriving {
            self.swarm.on_block_aborted(self.now, peer.key, block);
        }
        self.swarm.remove_peer(self.now, peer.key, reason);
    }

    fn hear(&mut self, who: usize, said: &[u8]) {
        let Some(peer) = self.peers.get_mut(who) else { return };
        if hear(&mut self.swarm, self.now, peer, said).is_none() {
            let peer = self.peers.remove(who);
            self.part(peer, Reason::Fault);
        }
    }

    /// One of its requests is answered, wholly or in part.
    fn answer(&mut self, who: usize, which: u8) {
        let Some(peer) = self.peers.get_mut(who) else { return };
        let Some(block) = peer.asked.remove(usize::from(which & 15)) else { return };
        let mut said = wire::block_header(block.index, block.begin, block.length).to_vec();
        said.resize(said.len() + block.length as usize, which);
        if which & 0xf0 == 0xf0 {
            said.truncate(usize::from(which) * 8);
        }
        self.hear(who, &said);
    }

    /// What has been hashed or written.
    fn judge(&mut self, which: u8, verdict: u8) {
        let open = self.swarm.partial_pieces().nth(usize::from(which));
        let digests = [u64::from(verdict), 2];
        match open.map(|open| (open.piece, open.phase)) {
            Some((piece, Phase::Hashing)) if verdict & 3 == 0 => {
                self.swarm.piece_failed(self.now, piece, &digests);
            }
            Some((piece, Phase::Hashing)) => {
                let digests = self.swarm.wants_digests(piece).then_some(&digests[..]);
                self.swarm.piece_passed(self.now, piece, digests);
            }
            Some((piece, Phase::Writing)) if verdict & 3 != 0 => {
                self.swarm.piece_written(self.now, piece);
            }
            Some((piece, _)) if verdict & 3 == 0 => self.swarm.piece_dropped(self.now, piece),
            _ => {}
        }
    }

    /// What operators and disks may decide.
    fn decide(&mut self, which: u8, bytes: &mut &[u8]) {
        let geometry = *self.swarm.geometry();
        match which {
            0 => self.swarm.set_downloading(false),
            1 => self.swarm.set_downloading(true),
            2 => self.swarm.set_uploading(self.now, false),
            3 => self.swarm.set_uploading(self.now, true),
            4 => {
                let table = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                let wishes = take(bytes).unwrap_or(0);
                let wishes: Vec<_> =
                    (0..PIECES).map(|at| table[usize::from(wishes.rotate_left(at) & 3)]).collect();
                self.swarm.set_priorities(self.now, &wishes);
            }
            5 => self.swarm.disconnect_all(),
            6 => self.swarm.set_held_up(true),
            7 => self.swarm.set_held_up(false),
            _ => {
                if let Some(piece) = geometry.piece(u32::from(which) - 8) {
                    self.swarm.piece_lost(self.now, piece);
                }
            }
        }
    }

    /// Everything that is due leaves at once.
    fn send(&mut self) {
        let mut out = Transmit::default();
        while let Some(key) = self.swarm.next_ready() {
            out.clear();
            self.swarm.poll_transmit(self.now, key, 4, &mut out);
            for block in &out.blocks {
                assert!(self.swarm.have().has(block.piece()), "{block:?} is served and not had");
            }
            let peer = self.peers.iter_mut().find(|peer| peer.key == key);
            note_requests(&out.control, peer.expect("it is connected"), self.swarm.geometry());
            if !out.is_empty() {
                let payload = out.blocks.iter().map(|block| u64::from(block.length())).sum();
                self.swarm.on_sent(self.now, key, payload, payload + out.control.len() as u64);
            }
        }
    }

    fn obey(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Disconnect { peer, reason } => {
                    let at = self.peers.iter().position(|other| other.key == peer);
                    let peer = self.peers.remove(at.expect("it is connected"));
                    self.part(peer, reason);
                }
                Action::Ban { addr } => assert!(self.swarm.is_banned(addr)),
                Action::Completed => {}
            }
        }
    }

    fn check(&self) {
        self.swarm.check_invariants();
        assert_eq!(self.swarm.peer_count(), self.peers.len());
        assert!(self.peers.len() <= SETTINGS.max_peers as usize);
        for peer in self.swarm.peers() {
            assert!(peer.requests_in <= SETTINGS.max_upload_queue);
            assert!(peer.requests_out <= swarm::limits::MAX_REQQ);
        }
    }
}

/// What a peer says; `None` if it breaks the protocol.
fn hear(swarm: &mut Swarm, now: Duration, peer: &mut Peer, mut said: &[u8]) -> Option<()> {
    while let Some(item) = peer.decoder.next(&mut said).ok()? {
        match item {
            Item::Message(message) => swarm.on_message(now, peer.key, message).ok()?,
            Item::BlockStart(raw) => {
                peer.arriving = match swarm.on_block_start(now, peer.key, raw).ok()? {
                    BlockFate::Take(block) => Some(block),
                    BlockFate::Discard => None,
                };
            }
            Item::BlockData(_) => {}
            Item::BlockEnd => {
                if let Some(block) = peer.arriving.take() {
                    swarm.on_block_end(now, peer.key, block);
                }
            }
        }
    }
    Some(())
}

/// What it is told can be read, and it is asked for what there is.
fn note_requests(mut said: &[u8], peer: &mut Peer, geometry: &Geometry) {
    let mut decoder = Decoder::new(DecodeLimits::default());
    while let Some(item) = decoder.next(&mut said).expect("what is said can be read") {
        let Item::Message(message) = item else { panic!("a block among the messages") };
        match message {
            Message::Request(block) => {
                assert!(geometry.range(block.index, block.begin, block.length).is_some());
                peer.asked.push_back(block);
                if peer.asked.len() > 64 {
                    peer.asked.pop_front();
                }
            }
            Message::Cancel(block) => peer.asked.retain(|asked| *asked != block),
            _ => {}
        }
    }
    assert!(said.is_empty(), "half a message");
}
