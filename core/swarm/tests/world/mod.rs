//! Nodes, links and the clock of the simulation.

use metainfo::{Bitfield, BlockRange, Geometry, InfoHash, PieceIndex};
use ringseed_swarm::{
    Action, BlockFate, MemoryBudget, NewPeer, PeerError, PeerKey, Reason, Settings, Source, Stats,
    Swarm, Transmit,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use wire::{DecodeLimits, Decoder, Item, Message, PeerId, RawBlock};

/// How a node treats others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Sends bad bytes.
    Corrupts,
    NeverUnchokes,
    /// Takes requests and never answers.
    Swallows,
}

pub struct NodePlan {
    seed: bool,
    rate: u64,
    manner: Manner,
    settings: Settings,
    budget: MemoryBudget,
}

pub fn node() -> NodePlan {
    NodePlan {
        seed: false,
        rate: 8 << 20,
        manner: Manner::Honest,
        settings: Settings::default(),
        budget: MemoryBudget::new(64 << 20),
    }
}

impl NodePlan {
    pub fn seed(self) -> Self {
        NodePlan { seed: true, ..self }
    }
    pub fn rate(self, rate: u64) -> Self {
        NodePlan { rate, ..self }
    }
    pub fn manner(self, manner: Manner) -> Self {
        NodePlan { manner, ..self }
    }
    pub fn settings(self, settings: Settings) -> Self {
        NodePlan { settings, ..self }
    }
    pub fn budget(self, budget: MemoryBudget) -> Self {
        NodePlan { budget, ..self }
    }
}

struct Node {
    swarm: Swarm,
    manner: Manner,
    rate: u64,
    busy_until: Duration,
    /// Where each peer's connection is.
    links: BTreeMap<PeerKey, usize>,
    /// Digests of the blocks of pieces in flight.
    blocks: BTreeMap<PieceIndex, BTreeMap<u32, u64>>,
    written: Vec<u32>,
    banned: BTreeSet<IpAddr>,
}

struct Link {
    ends: [(usize, PeerKey); 2],
    decoders: [Decoder; 2],
    open: bool,
}

enum Event {
    Deliver { link: usize, side: usize, control: Vec<u8>, blocks: Vec<(BlockRange, u64)> },
    Sent { link: usize, side: usize, payload: u64, total: u64 },
    Written { node: usize, piece: PieceIndex },
    Tick { node: usize },
}

pub struct World {
    pub now: Duration,
    pub latency: Duration,
    pub fast: bool,
    /// Invariants are checked after so many events; 0 for never.
    pub check_every: u64,
    pub faults: Vec<PeerError>,
    geometry: Geometry,
    nodes: Vec<Node>,
    links: Vec<Link>,
    events: BTreeMap<(Duration, u64), Event>,
    counter: u64,
}

fn ip(node: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, node as u8 + 1])
}

fn good(block: BlockRange) -> u64 {
    u64::from(block.piece().get()) << 32 | u64::from(block.begin())
}

impl World {
    pub fn new(geometry: Geometry) -> World {
        World {
            now: Duration::ZERO,
            latency: Duration::from_millis(5),
            fast: true,
            check_every: 50,
            faults: Vec::new(),
            geometry,
            nodes: Vec::new(),
            links: Vec::new(),
            events: BTreeMap::new(),
            counter: 0,
        }
    }

    pub fn add(&mut self, plan: NodePlan) -> usize {
        let count = self.geometry.piece_count();
        let have = if plan.seed { Bitfield::all(count) } else { Bitfield::none(count) };
        let at = self.nodes.len();
        let mut swarm = Swarm::new(self.geometry, have, plan.settings, plan.budget, at as u64);
        swarm.set_identity(InfoHash([1; 20]), PeerId([at as u8; 20]));
        swarm.set_uploading(Duration::ZERO, plan.manner != Manner::NeverUnchokes);
        self.nodes.push(Node {
            swarm,
            manner: plan.manner,
            rate: plan.rate,
            busy_until: Duration::ZERO,
            links: BTreeMap::new(),
            blocks: BTreeMap::new(),
            written: Vec::new(),
            banned: BTreeSet::new(),
        });
        self.schedule(Duration::ZERO, Event::Tick { node: at });
        at
    }

    pub fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                self.connect(a, b);
            }
        }
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        let new = |other: usize, incoming, fast| NewPeer {
            addr: SocketAddr::new(ip(other), 6881),
            id: PeerId([other as u8; 20]),
            fast,
            extended: true,
            incoming,
            source: Source::Tracker,
        };
        let at_a = self.nodes[a].swarm.add_peer(self.now, new(b, false, self.fast)).unwrap();
        let at_b = self.nodes[b].swarm.add_peer(self.now, new(a, true, self.fast)).unwrap();
        let link = self.links.len();
        self.nodes[a].links.insert(at_a, link);
        self.nodes[b].links.insert(at_b, link);
        let decoders = [(); 2].map(|()| Decoder::new(DecodeLimits::default()));
        self.links.push(Link { ends: [(a, at_a), (b, at_b)], decoders, open: true });
        self.pump(a);
        self.pump(b);
    }

    /// Lets a node tell another one something that its swarm would not say; it arrives at once.
    pub fn say(&mut self, from: usize, to: usize, message: Message<'_>) {
        let is_between =
            |ends: &[(usize, PeerKey); 2]| ends.iter().all(|&(node, _)| node == from || node == to);
        let link = self.links.iter().find(|link| is_between(&link.ends)).expect("a link");
        let (_, key) = link.ends[usize::from(link.ends[1].0 == to)];
        self.nodes[to].swarm.on_message(self.now, key, message).expect("it may say so");
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.counter += 1;
        self.events.insert((at, self.counter), event);
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    pub fn run_until(&mut self, end: Duration, mut done: impl FnMut(&World) -> bool) {
        while !done(self) {
            assert!(self.now < end, "not done after {:?}: {:#?}", self.now, self.summary());
            self.step();
        }
        self.nodes.iter().for_each(|node| node.swarm.check_invariants());
    }

    fn summary(&self) -> Vec<(u64, Stats)> {
        self.nodes.iter().map(|n| (n.swarm.wanted_left(), n.swarm.stats())).collect()
    }

    fn step(&mut self) {
        let ((now, number), event) = self.events.pop_first().expect("ticks never end");
        self.now = now;
        let node = match event {
            Event::Tick { node } => {
                self.nodes[node].swarm.tick(now);
                self.schedule(now + Duration::from_secs(1), Event::Tick { node });
                node
            }
            Event::Written { node, piece } => {
                self.nodes[node].swarm.piece_written(now, piece);
                self.nodes[node].written.push(piece.get());
                node
            }
            Event::Sent { link, side, payload, total } => {
                let (node, key) = self.links[link].ends[side];
                if self.links[link].open {
                    self.nodes[node].swarm.on_sent(now, key, payload, total);
                }
                node
            }
            Event::Deliver { link, side, control, blocks } => {
                let (node, _) = self.links[link].ends[side];
                if self.links[link].open
                    && let Err(fault) = self.deliver(link, side, &control, &blocks)
                {
                    self.faults.push(fault);
                    self.close(link, side, Reason::Fault);
                }
                node
            }
        };
        self.pump(node);
        if self.check_every > 0 && number.is_multiple_of(self.check_every) {
            self.nodes[node].swarm.check_invariants();
        }
    }

    fn deliver(
        &mut self,
        link: usize,
        side: usize,
        mut control: &[u8],
        blocks: &[(BlockRange, u64)],
    ) -> Result<(), PeerError> {
        let (node, key) = self.links[link].ends[side];
        let swarm = &mut self.nodes[node].swarm;
        let decoder = &mut self.links[link].decoders[side];
        while let Some(item) = decoder.next(&mut control).expect("swarms speak correctly") {
            let Item::Message(message) = item else { panic!("blocks travel apart") };
            swarm.on_message(self.now, key, message)?;
        }
        for &(block, digest) in blocks {
            self.receive(node, key, block, digest)?;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        node: usize,
        key: PeerKey,
        block: BlockRange,
        digest: u64,
    ) -> Result<(), PeerError> {
        let Node { swarm, blocks, .. } = &mut self.nodes[node];
        let raw =
            RawBlock { index: block.piece().get(), begin: block.begin(), length: block.length() };
        let BlockFate::Take(taken) = swarm.on_block_start(self.now, key, raw)? else {
            return Ok(());
        };
        assert_eq!(taken, block);
        let outcome = swarm.on_block_end(self.now, key, block);
        let piece = block.piece();
        if outcome.accepted {
            blocks.entry(piece).or_default().insert(block.block_number(), digest);
        }
        if outcome.piece_complete {
            let digests: Vec<_> = blocks.remove(&piece).unwrap().into_values().collect();
            if self.geometry.blocks(piece).map(good).eq(digests.iter().copied()) {
                let wanted = swarm.wants_digests(piece);
                swarm.piece_passed(self.now, piece, wanted.then_some(&digests[..]));
                let at = self.now + Duration::from_millis(10);
                self.schedule(at, Event::Written { node, piece });
            } else {
                swarm.piece_failed(self.now, piece, &digests);
            }
        }
        Ok(())
    }

    /// Sends what is ready and does what is asked.
    fn pump(&mut self, at: usize) {
        loop {
            let node = &mut self.nodes[at];
            if let Some(action) = node.swarm.poll_action() {
                match action {
                    Action::Disconnect { peer, reason } => {
                        let link = node.links[&peer];
                        let side = usize::from(self.links[link].ends[1] == (at, peer));
                        self.close(link, side, reason);
                    }
                    Action::Ban { addr } => drop(node.banned.insert(addr)),
                    Action::Completed => assert_eq!(node.swarm.wanted_left(), 0),
                }
                continue;
            }
            let Some(key) = node.swarm.next_ready() else { return };
            let link = node.links[&key];
            let side = usize::from(self.links[link].ends[1] == (at, key));
            let mut out = Transmit::default();
            node.swarm.poll_transmit(self.now, key, 32, &mut out);
            if out.is_empty() {
                continue;
            }
            if node.manner == Manner::Swallows {
                out.blocks.clear();
            }
            let payload: u64 = out.blocks.iter().map(|block| u64::from(block.length())).sum();
            let total = payload + 13 * out.blocks.len() as u64 + out.control.len() as u64;
            let takes = Duration::from_nanos(total * 1_000_000_000 / node.rate);
            // Control messages alone do not queue behind blocks of others.
            let start = if payload > 0 { node.busy_until.max(self.now) } else { self.now };
            let end = start + takes;
            if payload > 0 {
                node.busy_until = end;
            }
            let lie = u64::from(node.manner == Manner::Corrupts) * 0xbad;
            let blocks = out.blocks.iter().map(|&block| (block, good(block) ^ lie)).collect();
            self.schedule(end, Event::Sent { link, side, payload, total });
            let arrival = end + self.latency;
            let event = Event::Deliver { link, side: 1 - side, control: out.control, blocks };
            self.schedule(arrival, event);
        }
    }

    fn close(&mut self, link: usize, closer: usize, reason: Reason) {
        if !std::mem::replace(&mut self.links[link].open, false) {
            return;
        }
        for side in 0..2 {
            let (node, key) = self.links[link].ends[side];
            let reason = if side == closer { reason } else { Reason::Closed };
            self.nodes[node].links.remove(&key);
            self.nodes[node].swarm.remove_peer(self.now, key, reason);
        }
        let (other, _) = self.links[link].ends[1 - closer];
        self.pump(other);
    }

    /// All connections of the node break.
    pub fn vanish(&mut self, node: usize) {
        for link in 0..self.links.len() {
            if self.links[link].ends.iter().any(|&(at, _)| at == node) {
                self.close(link, 0, Reason::Closed);
            }
        }
        (0..self.nodes.len()).for_each(|at| self.pump(at));
    }

    pub fn swarm(&mut self, node: usize) -> &mut Swarm {
        &mut self.nodes[node].swarm
    }

    pub fn is_complete(&self, node: usize) -> bool {
        self.nodes[node].swarm.is_complete()
    }

    pub fn stats(&self, node: usize) -> Stats {
        self.nodes[node].swarm.stats()
    }

    pub fn peers(&self, node: usize) -> usize {
        self.nodes[node].swarm.peer_count()
    }

    pub fn has_banned(&self, node: usize, other: usize) -> bool {
        self.nodes[node].banned.contains(&ip(other))
    }

    /// The pieces that the node has got, in order.
    pub fn written(&self, node: usize) -> Vec<u32> {
        self.nodes[node].written.clone()
    }
}
