//! Peers and callers that do anything at all, in any order: nothing panics, and the parts of the
//! swarm agree with each other after each step.

use super::*;
use crate::Phase;
use proptest::prelude::*;
use wire::{DecodeLimits, Decoder, Item, RawBlock};

const PIECES: u32 = 7;
const BLOCK: u32 = metainfo::BLOCK_LENGTH;

#[derive(Clone, Debug)]
enum Event {
    Join {
        id: u8,
        fast: bool,
    },
    Leave(usize),
    Say(usize, Said),
    /// Answers the peer's n-th outstanding request, wholly or in part.
    Answer(usize, usize, bool),
    Block(usize, u32, u32),
    Transmit,
    Verdict(u32, u8),
    Wish(Vec<u8>),
    Downloading(bool),
    Uploading(bool),
    Slots(u32),
    Wait(u32),
}

#[derive(Clone, Debug)]
enum Said {
    Plain(u8),
    Piece(u8, u32),
    Block(u8, u32, u32, u32),
    Bitfield(u8, u8),
    Extended(u8, Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    let (piece, begin) = (0..PIECES + 1, (0u32..4).prop_map(|n| n * BLOCK));
    prop_oneof![
        4 => (0u8..7).prop_map(Said::Plain),
        6 => (0u8..3, piece.clone()).prop_map(|(kind, piece)| Said::Piece(kind, piece)),
        4 => (0u8..3, piece, begin, prop_oneof![Just(BLOCK), Just(7)])
            .prop_map(|(kind, piece, begin, length)| Said::Block(kind, piece, begin, length)),
        1 => any::<(u8, u8)>().prop_map(|(a, b)| Said::Bitfield(a & 0xfe, b & 1)),
        1 => (0u8..4, prop::collection::vec(any::<u8>(), 0..6))
            .prop_map(|(id, payload)| Said::Extended(id, payload)),
        1 => (0u8..10).prop_map(|piece| Said::Extended(1, vec![0, 0, 0, piece])),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let peer = 0usize..6;
    prop_oneof![
        4 => (0u8..12, any::<bool>()).prop_map(|(id, fast)| Event::Join { id, fast }),
        1 => peer.clone().prop_map(Event::Leave),
        12 => (peer.clone(), said()).prop_map(|(peer, said)| Event::Say(peer, said)),
        12 => (peer.clone(), 0usize..9, prop::bool::weighted(0.9))
            .prop_map(|(peer, n, whole)| Event::Answer(peer, n, whole)),
        1 => (peer, 0..PIECES, (0u32..3).prop_map(|n| n * BLOCK))
            .prop_map(|(peer, piece, begin)| Event::Block(peer, piece, begin)),
        8 => Just(Event::Transmit),
        6 => (0..PIECES, 0u8..6).prop_map(|(piece, verdict)| Event::Verdict(piece, verdict)),
        1 => prop::collection::vec(0u8..4, PIECES as usize).prop_map(Event::Wish),
        1 => any::<bool>().prop_map(Event::Downloading),
        1 => any::<bool>().prop_map(Event::Uploading),
        1 => (0u32..4).prop_map(Event::Slots),
        3 => (1u32..40).prop_map(Event::Wait),
    ]
}

struct Chaos {
    swarm: Swarm,
    now: Duration,
    peers: Vec<PeerKey>,
}

impl Chaos {
    fn new() -> Chaos {
        let geometry = Geometry::new(u64::from(BLOCK * 2 * PIECES) - 9, BLOCK * 2).unwrap();
        let have = Bitfield::from_bytes(&[0b1000_0000], PIECES).unwrap();
        let budget = MemoryBudget::new(u64::from(BLOCK) * 12);
        let mut swarm = Swarm::new(geometry, have, Settings::default(), budget, 3);
        swarm.set_identity(InfoHash([5; 20]), PeerId([11; 20]));
        Chaos { swarm, now: Duration::from_secs(1), peers: Vec::new() }
    }

    fn leave(&mut self, key: PeerKey, reason: Reason) {
        self.peers.retain(|&peer| peer != key);
        self.swarm.remove_peer(self.now, key, reason);
    }

    fn judge(&mut self, key: PeerKey, result: Result<(), PeerError>) {
        if result.is_err() {
            self.leave(key, Reason::Fault);
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Join { id, fast } => {
                let addr = SocketAddr::from(([10, 0, 0, id], 6881));
                let (id, source) = (PeerId([id; 20]), Source::Tracker);
                let new = NewPeer { addr, id, fast, extended: true, incoming: fast, source };
                if let Ok(key) = self.swarm.add_peer(now, new) {
                    self.peers.push(key);
                    // Half of them help, or nothing would ever be complete.
                    for kind in [4, 1].into_iter().filter(|_| fast) {
                        self.say(key, &Said::Plain(kind));
                    }
                }
            }
            Event::Leave(n) => self.with_peer(n, |chaos, key| chaos.leave(key, Reason::Closed)),
            Event::Say(n, said) => self.with_peer(n, |chaos, key| chaos.say(key, &said)),
            Event::Answer(n, at, whole) => self.with_peer(n, |chaos, key| {
                let requests = chaos.swarm.peers[key.index()].pipeline.requests();
                let request = requests.copied().nth(at);
                if let Some(request) = request {
                    chaos.receive(key, raw(request.block), whole);
                }
            }),
            Event::Block(n, index, begin) => self.with_peer(n, |chaos, key| {
                chaos.receive(key, RawBlock { index, begin, length: BLOCK }, true);
            }),
            Event::Transmit => {
                let Some(key) = self.swarm.next_ready() else { return };
                let mut out = Transmit::default();
                self.swarm.poll_transmit(now, key, 4, &mut out);
                let mut decoder = Decoder::new(DecodeLimits::default());
                let mut input = &out.control[..];
                while decoder
                    .next(&mut input)
                    .unwrap()
                    .is_some_and(|i| matches!(i, Item::Message(_)))
                {}
                assert!(input.is_empty());
                self.swarm.on_sent(now, key, 1, 1);
            }
            Event::Verdict(index, verdict) => self.verdict(index, verdict),
            Event::Wish(wishes) => {
                let table = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                let wishes: Vec<_> = wishes.iter().map(|&n| table[usize::from(n)]).collect();
                self.swarm.set_priorities(now, &wishes);
            }
            Event::Downloading(on) => self.swarm.set_downloading(on),
            Event::Uploading(on) => self.swarm.set_uploading(now, on),
            Event::Slots(upload_slots) => {
                self.swarm.set_settings(now, Settings { upload_slots, ..Settings::default() });
            }
            Event::Wait(seconds) => {
                self.now += Duration::from_secs(u64::from(seconds));
                self.swarm.tick(self.now);
            }
        }
    }

    fn with_peer(&mut self, n: usize, act: impl FnOnce(&mut Chaos, PeerKey)) {
        if let Some(&key) = self.peers.get(n) {
            act(self, key);
        }
    }

    fn say(&mut self, key: PeerKey, said: &Said) {
        let bits;
        let message = match *said {
            Said::Plain(0) => Message::Choke,
            Said::Plain(1) => Message::Unchoke,
            Said::Plain(2) => Message::Interested,
            Said::Plain(3) => Message::NotInterested,
            Said::Plain(4) => Message::HaveAll,
            Said::Plain(5) => Message::HaveNone,
            Said::Plain(_) => Message::KeepAlive,
            Said::Piece(0, piece) => Message::Have { piece },
            Said::Piece(1, piece) => Message::AllowedFast { piece },
            Said::Piece(_, piece) => Message::SuggestPiece { piece },
            Said::Block(kind, index, begin, length) => {
                let block = RawBlock { index, begin, length };
                match kind {
                    0 => Message::Request(block),
                    1 => Message::Cancel(block),
                    _ => Message::RejectRequest(block),
                }
            }
            Said::Bitfield(a, b) => {
                // One in two is too long.
                bits = [a, 0];
                Message::Bitfield(&bits[..1 + usize::from(b)])
            }
            Said::Extended(id, ref payload) => Message::Extended { id, payload },
        };
        let result = self.swarm.on_message(self.now, key, message);
        self.judge(key, result);
    }

    fn receive(&mut self, key: PeerKey, raw: RawBlock, whole: bool) {
        match self.swarm.on_block_start(self.now, key, raw) {
            Ok(BlockFate::Take(block)) if whole => {
                self.swarm.on_block_end(self.now, key, block);
            }
            Ok(BlockFate::Take(block)) => self.swarm.on_block_aborted(self.now, key, block),
            Ok(BlockFate::Discard) => {}
            Err(fault) => self.judge(key, Err(fault)),
        }
    }

    fn verdict(&mut self, index: u32, verdict: u8) {
        let in_flight = self.swarm.partial_pieces().nth(index as usize / 2);
        let piece = self.swarm.geometry.piece(index).unwrap();
        let piece = in_flight.map_or(piece, |open| open.piece);
        let phase = in_flight.map(|open| open.phase);
        let digests = [u64::from(verdict), 2];
        match (verdict, phase) {
            (0, Some(Phase::Hashing)) => self.swarm.piece_failed(self.now, piece, &digests),
            (1 | 2, Some(Phase::Hashing)) => {
                self.swarm.piece_passed(self.now, piece, Some(&digests));
            }
            (1..=4, Some(Phase::Writing)) => self.swarm.piece_written(self.now, piece),
            (4, Some(_)) => self.swarm.piece_dropped(self.now, piece),
            (5, _) => self.swarm.piece_lost(self.now, piece),
            _ => {}
        }
    }

    fn obey(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            if let Action::Disconnect { peer, reason } = action {
                assert!(self.peers.contains(&peer), "{peer:?} is not connected");
                self.leave(peer, reason);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_peer_and_no_order_of_events_breaks_the_swarm(
        events in prop::collection::vec(event(), 1..200),
    ) {
        let mut chaos = Chaos::new();
        for event in events {
            chaos.step(event);
            chaos.obey();
            chaos.swarm.check_invariants();
            for (key, peer) in &chaos.swarm.peers {
                let is_listed = chaos.swarm.ready.contains(&PeerKey(key as u32));
                assert_eq!(is_listed, peer.ready && !peer.sending);
            }
        }
    }
}
