//! The swarm itself: what it holds, how peers come and go, and what its parts tell each other.

mod blocks;
mod fault;
mod interest;
mod limit;
mod messages;
mod status;
mod time;
mod transmit;
mod verdicts;

pub use fault::{PeerError, Refusal};
pub use status::{PartialPiece, PeerStatus, Stats};
pub use transmit::Transmit;

use crate::{
    MemoryBudget, PeerKey, Priority, Settings, Source, Way,
    candidates::Candidates,
    choker::{Choker, Chosen, Contender},
    limits::{CROSSING, FIRST_BURST, RETRY_AFTER_USE, TICK},
    meter::Meter,
    peer::{Peer, ReadyList},
    picker::Picker,
    pieces::Pieces,
    pipeline::Pipeline,
    rate::Rate,
    smart_ban::SmartBan,
};
use metainfo::{Bitfield, BlockRange, Geometry, InfoHash};
use slab::Slab;
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use wire::{
    Message, PeerId,
    extension::{ExtensionHandshake, ExtensionIds},
};

/// The extension ids that a swarm understands itself; it tells them to peers (BEP 10).
pub const EXTENSION_IDS: ExtensionIds =
    ExtensionIds { ut_metadata: None, ut_pex: None, lt_donthave: Some(1), upload_only: Some(2) };

/// Everything that one torrent decides. See the [crate] for how it is driven.
#[derive(Debug)]
pub struct Swarm {
    geometry: Geometry,
    settings: Settings,
    picker: Picker,
    peers: Slab<Peer>,
    ids: BTreeMap<PeerId, PeerKey>,
    identity: Option<(InfoHash, PeerId)>,
    candidates: Candidates,
    smart_ban: SmartBan,
    choker: Choker,
    ready: ReadyList,
    /// Peers that would take more requests but found no work.
    starved: Vec<PeerKey>,
    starved_for_memory: bool,
    actions: VecDeque<Action>,
    /// What speed limits let through, by [`crate::Way`].
    meters: [Meter; 2],
    downloading: bool,
    uploading: bool,
    completed: bool,
    unchoked: usize,
    last_tick: Duration,
    next_choke: Duration,
    down: Rate,
    up: Rate,
    wasted: u64,
    corrupt: u64,
    /// Scratch space, so that no call allocates.
    picked: Vec<BlockRange>,
    contenders: Vec<Contender>,
    chosen: Vec<Chosen>,
}

/// A peer whose handshake has been exchanged.
#[derive(Clone, Copy, Debug)]
pub struct NewPeer {
    /// The other end of the connection.
    pub addr: SocketAddr,
    /// From its handshake.
    pub id: PeerId,
    /// Whether both sides have the fast extension (BEP 6).
    pub fast: bool,
    /// Whether both sides have the extension protocol (BEP 10).
    pub extended: bool,
    /// Whether it connected to us.
    pub incoming: bool,
    /// Where its address came from.
    pub source: Source,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer closed it or it broke.
    Closed,
    /// The peer broke the protocol.
    Fault,
    /// Neither side wants anything.
    Redundant,
    /// The peer has been silent for too long, or does not read what we send.
    Idle,
    /// The peer's host has been banned.
    Banned,
    /// Both sides connected to each other at once, and the other connection stays.
    Crossed,
    /// More peers than the settings allow.
    Surplus,
    /// The torrent is stopped or goes away.
    Stopped,
}

/// What the swarm wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close the connection, then call [`Swarm::remove_peer`] with the same reason.
    Disconnect {
        /// Whom.
        peer: PeerKey,
        /// Why.
        reason: Reason,
    },
    /// The host has sent bad data, and is refused by this torrent from now on: to be logged. Its peers
    /// here are disconnected by actions of their own.
    Ban {
        /// Which host.
        addr: IpAddr,
    },
    /// All wanted pieces are on disk. Comes again when pieces were wanted or lost in between.
    Completed,
}

/// What to do with a block that begins to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockFate {
    /// Keep it; then call [`Swarm::on_block_end`] or [`Swarm::on_block_aborted`].
    Take(BlockRange),
    /// Skip its bytes; no other call is due.
    Discard,
}

/// What a finished block brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockOutcome {
    /// Whether the block counts. False if its piece was dropped while it arrived.
    pub accepted: bool,
    /// Whether it was the last of its piece: the hash is to be checked.
    pub piece_complete: bool,
}

impl Swarm {
    /// A swarm without peers. `have` are the pieces on disk; `seed` makes its choices.
    ///
    /// # Panics
    /// If `have` is of another torrent.
    pub fn new(
        geometry: Geometry,
        have: Bitfield,
        settings: Settings,
        budget: MemoryBudget,
        seed: u64,
    ) -> Swarm {
        assert_eq!(
            have.piece_count(),
            geometry.piece_count(),
            "the bitfield is of another torrent"
        );
        let mut rng = fastrand::Rng::with_seed(seed);
        let settings = settings.clamped();
        let mut picker = Picker::new(geometry, have, settings.sequential, budget, rng.fork());
        picker.begin_with(settings.sequential_from);
        Swarm {
            geometry,
            settings,
            completed: picker.wanted_missing() == 0,
            picker,
            peers: Slab::new(),
            ids: BTreeMap::new(),
            identity: None,
            candidates: Candidates::new(rng),
            smart_ban: SmartBan::default(),
            choker: Choker::default(),
            ready: ReadyList::new(),
            starved: Vec::new(),
            starved_for_memory: false,
            actions: VecDeque::new(),
            meters: Default::default(),
            downloading: true,
            uploading: true,
            unchoked: 0,
            last_tick: Duration::ZERO,
            next_choke: Duration::ZERO,
            down: Rate::default(),
            up: Rate::default(),
            wasted: 0,
            corrupt: 0,
            picked: Vec::new(),
            contenders: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// Tells the torrent's and our own name: needed to notice connections to ourselves and to give
    /// newcomers an allowed fast set (BEP 6).
    pub fn set_identity(&mut self, info_hash: InfoHash, peer_id: PeerId) {
        self.identity = Some((info_hash, peer_id));
    }

    /// Takes in a peer after the handshakes and queues our extension handshake and bitfield.
    pub fn add_peer(&mut self, now: Duration, peer: NewPeer) -> Result<PeerKey, Refusal> {
        if self.candidates.is_banned(peer.addr.ip()) {
            return Err(Refusal::Banned);
        }
        if self.identity.is_some_and(|(_, own)| own == peer.id) {
            self.candidates.forget(peer.addr);
            return Err(Refusal::Ourselves);
        }
        let other = self.ids.get(&peer.id).copied();
        match other {
            Some(other) if self.gives_way(now, other, &peer) => self.doom(other, Reason::Crossed),
            Some(_) => return Err(Refusal::SamePeerId),
            None if self.peers.len() >= self.settings.max_peers as usize => {
                return Err(Refusal::Full);
            }
            None => {}
        }
        if self.peers.is_empty() {
            self.last_tick = now;
            self.next_choke = now;
        }
        let key = PeerKey(self.peers.insert(fresh(now, peer)) as u32);
        self.ids.insert(peer.id, key);
        self.candidates.connected(peer.addr);
        self.greet(key);
        Ok(key)
    }

    /// Whether a connection makes room for another one with the same peer. Where both sides connect to
    /// each other at once, each would refuse the connection that the other keeps, and be left with
    /// none: so both keep the one that was made by the peer with the greater id.
    fn gives_way(&self, now: Duration, other: PeerKey, new: &NewPeer) -> bool {
        let Some((_, own)) = self.identity else { return false };
        let old = &self.peers[other.index()];
        let crossed = old.incoming != new.incoming
            && old.addr.ip().to_canonical() == new.addr.ip().to_canonical()
            && now.saturating_sub(old.connected_at) < CROSSING;
        crossed && new.incoming == (new.id.0 > own.0)
    }

    /// The extension handshake, then what we have; BEP 6 wants the latter first of the rest.
    fn greet(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        let (have, count) = (self.picker.have(), self.picker.have_count());
        let all = count == self.geometry.piece_count();
        match count {
            _ if peer.fast && all => peer.say(key, &mut self.ready, Message::HaveAll),
            0 if peer.fast => peer.say(key, &mut self.ready, Message::HaveNone),
            0 => {}
            _ => peer.say(key, &mut self.ready, Message::Bitfield(have.as_bytes())),
        }
        if peer.extended {
            let handshake = ExtensionHandshake {
                m: EXTENSION_IDS,
                v: Some(concat!("Ringseed ", env!("CARGO_PKG_VERSION")).into()),
                reqq: Some(self.settings.max_upload_queue),
                p: Some(self.settings.listen_port).filter(|&port| port != 0),
                yourip: Some(peer.addr.ip().to_canonical()),
                upload_only: Some(self.completed).filter(|&only| only),
                ..ExtensionHandshake::default()
            };
            let message = Message::Extended { id: 0, payload: &handshake.encode() };
            peer.say(key, &mut self.ready, message);
        }
    }

    /// Takes out a peer whose connection is closed: its requests go to others, its slot is free.
    /// A key that is not in use is ignored.
    pub fn remove_peer(&mut self, now: Duration, key: PeerKey, reason: Reason) {
        let Some(mut peer) = self.peers.try_remove(key.index()) else { return };
        if self.ids.get(&peer.id) == Some(&key) {
            self.ids.remove(&peer.id);
        }
        self.drop_requests(&mut peer);
        if let Some(block) = peer.arriving {
            self.picker.abort(block);
        }
        self.picker.disown(key);
        self.picker.remove_pieces(&peer.pieces);
        self.actions
            .retain(|action| !matches!(action, Action::Disconnect { peer, .. } if *peer == key));
        self.ready.retain(|&ready| ready != key);
        self.starved.retain(|&starved| starved != key);
        self.leave_line(key, &peer);
        self.reschedule(now, &peer, reason);
        if !peer.choked {
            self.unchoked -= 1;
            self.fill_slots(now);
        }
        self.wake_starved();
    }

    /// Decides when the peer's address may be tried again.
    fn reschedule(&mut self, now: Duration, peer: &Peer, reason: Reason) {
        let mut addr = peer.addr;
        if peer.incoming {
            let Some(port) = peer.listen_port else { return };
            addr.set_port(port);
        }
        let lasted = now.saturating_sub(peer.connected_at);
        match reason {
            Reason::Banned => self.candidates.forget(addr),
            Reason::Crossed if peer.incoming => {}
            Reason::Redundant | Reason::Crossed => {
                self.candidates.left(now, addr, Duration::from_secs(3600))
            }
            Reason::Stopped => self.candidates.left(now, addr, Duration::ZERO),
            Reason::Closed if peer.down.total() > 0 => {
                self.candidates.left(now, addr, RETRY_AFTER_USE)
            }
            Reason::Closed | Reason::Surplus | Reason::Idle if lasted > Duration::from_secs(60) => {
                self.candidates.left(now, addr, Duration::from_secs(60))
            }
            _ => self.candidates.failed(now, addr),
        }
    }

    /// Gives all outstanding requests of the peer back to the picker.
    fn drop_requests(&mut self, peer: &mut Peer) {
        let (picker, meter) = (&mut self.picker, &mut self.meters[Way::Down as usize]);
        peer.pipeline.remove_where(|request| {
            if request.live {
                picker.release(request.block);
            }
            meter.give_back(u64::from(request.block.length()));
            true
        });
    }

    fn doom(&mut self, key: PeerKey, reason: Reason) {
        let peer = &mut self.peers[key.index()];
        if !std::mem::replace(&mut peer.doomed, true) {
            self.actions.push_back(Action::Disconnect { peer: key, reason });
        }
    }

    /// The next thing the swarm wants done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// Wishes.
impl Swarm {
    /// Sets how much each piece is wanted; pieces beyond the slice count as normal.
    pub fn set_priorities(&mut self, now: Duration, per_piece: &[Priority]) {
        self.picker.set_priorities(per_piece);
        self.recount_wanted();
        self.candidates.forgive(now);
    }

    /// Changes the settings from now on.
    pub fn set_settings(&mut self, now: Duration, settings: Settings) {
        self.settings = settings.clamped();
        self.picker.sequential = self.settings.sequential;
        self.picker.begin_with(self.settings.sequential_from);
        let surplus = self.peers.len().saturating_sub(self.settings.max_peers as usize);
        let newest: Vec<_> =
            self.peers.iter().rev().map(|(k, _)| PeerKey(k as u32)).take(surplus).collect();
        newest.into_iter().for_each(|key| self.doom(key, Reason::Surplus));
        self.fill_slots(now);
        self.next_choke = self.next_choke.min(now + TICK);
    }

    /// Whether the disk gives no answer: no further piece is begun until it does.
    pub fn set_held_up(&mut self, is_held_up: bool) {
        self.picker.is_held_up = is_held_up;
    }

    /// Whether pieces are fetched in order from now on.
    pub fn set_sequential(&mut self, sequential: bool) {
        self.settings.sequential = sequential;
        self.picker.sequential = sequential;
    }

    /// Whether anything may be requested. Requests that are out stay out.
    pub fn set_downloading(&mut self, downloading: bool) {
        self.downloading = downloading;
        self.update_all_interest();
        self.wake_starved();
    }

    /// Whether peers may be served. Turning it off chokes everybody.
    pub fn set_uploading(&mut self, now: Duration, uploading: bool) {
        self.uploading = uploading;
        if uploading {
            self.fill_slots(now);
        } else {
            let all: Vec<_> = self.keys().collect();
            all.into_iter().for_each(|key| self.choke(now, key));
        }
    }

    /// Adds addresses to try. Own, banned and unusable ones are left out, the number is bounded.
    pub fn add_candidates(
        &mut self,
        now: Duration,
        addrs: impl IntoIterator<Item = SocketAddr>,
        source: Source,
    ) {
        addrs.into_iter().for_each(|addr| self.candidates.add(now, addr, source));
    }

    /// An address to connect to now and where it came from, if a connection is wanted. It counts as being tried until
    /// [`Self::add_peer`] or [`Self::connect_failed`] is called for it.
    pub fn connect_candidate(&mut self, now: Duration) -> Option<(SocketAddr, Source)> {
        let is_full = self.peers.len() >= self.settings.max_peers as usize;
        if is_full || !self.wants_peers() {
            return None;
        }
        self.candidates.next(now)
    }

    /// When [`Self::connect_candidate`] may have something next; `None` while it will not.
    pub fn next_candidate(&self) -> Option<Duration> {
        self.candidates.next_due().filter(|_| self.wants_peers())
    }

    fn wants_peers(&self) -> bool {
        if self.completed { self.uploading } else { self.downloading || self.uploading }
    }

    /// The connection or its handshake came to nothing, or the peer was refused.
    pub fn connect_failed(&mut self, now: Duration, addr: SocketAddr) {
        self.candidates.failed(now, addr);
    }

    /// Whether the host has been banned.
    pub fn is_banned(&self, ip: IpAddr) -> bool {
        self.candidates.is_banned(ip)
    }

    /// Bans the host and disconnects its peers.
    pub fn ban(&mut self, ip: IpAddr) {
        self.candidates.ban(ip);
        let of_host = self.peers.iter().filter(|(_, peer)| peer.addr.ip() == ip);
        let of_host: Vec<_> = of_host.map(|(key, _)| PeerKey(key as u32)).collect();
        of_host.into_iter().for_each(|key| self.doom(key, Reason::Banned));
    }
}

/// How many pieces the peer has that we want.
fn wanted(picker: &Picker, peer: &Peer) -> u32 {
    if peer.pieces.is_all() { picker.wanted_missing() } else { peer.wanted }
}

fn raw(block: BlockRange) -> wire::RawBlock {
    wire::RawBlock { index: block.piece().get(), begin: block.begin(), length: block.length() }
}

fn fresh(now: Duration, new: NewPeer) -> Peer {
    Peer {
        addr: new.addr,
        id: new.id,
        source: new.source,
        fast: new.fast,
        extended: new.extended,
        incoming: new.incoming,
        listen_port: None,
        client: None,
        ids: ExtensionIds::default(),
        connected_at: now,
        pieces: Pieces::None,
        declared: false,
        lapses: 0,
        upload_only: false,
        wanted: 0,
        chokes_us: true,
        we_are_interested: false,
        pipeline: Pipeline::new(now),
        arriving: None,
        allowed: Vec::new(),
        suggested: Vec::new(),
        unwanted_blocks: 0,
        starved: false,
        choked: true,
        is_interested: false,
        optimistic: false,
        choke_changed: now,
        sent_before_unchoke: 0,
        uploads: VecDeque::new(),
        excess_requests: 0,
        granted: Box::default(),
        granted_bytes: 0,
        down: Rate::default(),
        up: Rate::default(),
        last_received: now,
        last_sent: now,
        control: Vec::new(),
        ready: false,
        sending: false,
        burst: FIRST_BURST,
        held: [false; 2],
        doomed: false,
    }
}

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod tests;
