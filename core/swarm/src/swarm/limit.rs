//! Speed limits: who waits for credit, and gets it.

use super::Swarm;
use crate::{Flow, PeerKey, Way, peer::Peer};

impl Swarm {
    /// Begins or ends a limit of payload in one direction. It begins without credit; what has been
    /// asked for already still comes.
    pub fn limit(&mut self, way: Way, limited: bool) {
        self.meters[way as usize].limit(limited);
        if !limited {
            self.wake_held(way, usize::MAX);
        }
    }

    /// Whether there is a limit in any direction.
    pub fn is_limited(&self) -> bool {
        self.meters.iter().any(|meter| meter.is_limited())
    }

    /// How a limited direction fares; `None` without a limit.
    pub fn flow(&self, way: Way) -> Option<Flow> {
        self.meters[way as usize].flow()
    }

    /// Lets so many bytes more pass, or fewer, and counts [`Flow::spent`] anew. Credit that comes
    /// back from requests that were given up does not go beyond `ceiling`. Without a limit, nothing
    /// happens.
    pub fn grant(&mut self, way: Way, bytes: i64, ceiling: i64) {
        let meter = &mut self.meters[way as usize];
        meter.grant(bytes, ceiling);
        let room = meter.room();
        self.wake_held(way, room);
    }

    /// Puts a peer in line for credit.
    pub(super) fn hold(&mut self, key: PeerKey, way: Way) {
        let held = &mut self.peers[key.index()].held[way as usize];
        if !std::mem::replace(held, true) {
            self.meters[way as usize].held.push_back(key);
        }
    }

    /// Peers that stood in line, as many at most, may go on.
    fn wake_held(&mut self, way: Way, count: usize) {
        for _ in 0..count {
            let Some(key) = self.meters[way as usize].held.pop_front() else { return };
            let peer = &mut self.peers[key.index()];
            peer.held[way as usize] = false;
            peer.wake(key, &mut self.ready);
        }
    }

    /// A peer that has gone stands in no line.
    pub(super) fn leave_line(&mut self, key: PeerKey, peer: &Peer) {
        for (meter, _) in self.meters.iter_mut().zip(peer.held).filter(|(_, held)| *held) {
            meter.held.retain(|&held| held != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NewPeer, Reason, Settings, Swarm, Transmit};
    use crate::{MemoryBudget, PeerKey, Source, Way};
    use metainfo::{BLOCK_LENGTH, Bitfield, Geometry};
    use std::time::Duration;
    use wire::{Message, PeerId, RawBlock};

    const NOW: Duration = Duration::from_secs(1000);
    const BLOCK: i64 = BLOCK_LENGTH as i64;

    fn swarm(seed: bool) -> Swarm {
        let geometry = Geometry::new(u64::from(BLOCK_LENGTH) * 32, BLOCK_LENGTH * 2).unwrap();
        let have = if seed { Bitfield::all(16) } else { Bitfield::none(16) };
        Swarm::new(geometry, have, Settings::default(), MemoryBudget::new(1 << 30), 1)
    }

    fn join(swarm: &mut Swarm, number: u8, first: &[Message<'_>]) -> PeerKey {
        let peer = NewPeer {
            addr: ([10, 0, 0, number], 6881).into(),
            id: PeerId([number; 20]),
            fast: true,
            extended: false,
            incoming: false,
            source: Source::Tracker,
        };
        let key = swarm.add_peer(NOW, peer).unwrap();
        for message in first {
            swarm.on_message(NOW, key, *message).unwrap();
        }
        key
    }

    /// Sends what is due to those that are ready; how many blocks go to, and are asked of, whom.
    fn send(swarm: &mut Swarm) -> Vec<(PeerKey, usize, usize)> {
        let mut sent = Vec::new();
        while let Some(key) = swarm.next_ready() {
            let mut out = Transmit::default();
            swarm.poll_transmit(NOW, key, 32, &mut out);
            let payload = out.blocks.len() as u64 * u64::from(BLOCK_LENGTH);
            swarm.on_sent(NOW, key, payload, payload);
            let asked = out.control.windows(5).filter(|head| *head == [0, 0, 0, 13, 6]).count();
            if !out.blocks.is_empty() || asked > 0 {
                sent.push((key, out.blocks.len(), asked));
            }
            swarm.check_invariants();
        }
        sent
    }

    fn ask(swarm: &mut Swarm, key: PeerKey, blocks: u32) {
        for index in 0..blocks {
            let block = RawBlock { index, begin: 0, length: BLOCK_LENGTH };
            swarm.on_message(NOW, key, Message::Request(block)).unwrap();
        }
    }

    #[test]
    fn blocks_leave_as_credit_comes_and_peers_take_turns() {
        let mut swarm = swarm(true);
        swarm.limit(Way::Up, true);
        let [a, b] = [1, 2].map(|n| join(&mut swarm, n, &[Message::Interested]));
        assert_eq!(send(&mut swarm), [], "messages are not limited, and no blocks");
        ask(&mut swarm, a, 4);
        ask(&mut swarm, b, 2);
        assert_eq!(send(&mut swarm), []);
        assert!(swarm.flow(Way::Up).unwrap().hungry);
        swarm.grant(Way::Up, BLOCK, BLOCK);
        assert_eq!(send(&mut swarm), [(a, 1, 0)]);
        swarm.grant(Way::Up, BLOCK, BLOCK);
        assert_eq!(send(&mut swarm), [(b, 1, 0)]);
        // Half a block lets a whole one pass, and the next pays for it.
        swarm.grant(Way::Up, BLOCK / 2, BLOCK);
        assert_eq!(send(&mut swarm), [(a, 1, 0)]);
        swarm.grant(Way::Up, BLOCK / 2, BLOCK);
        assert_eq!(send(&mut swarm), []);
        assert_eq!(swarm.flow(Way::Up).unwrap().credit, 0);
        swarm.remove_peer(NOW, b, Reason::Closed);
        swarm.check_invariants();
        swarm.limit(Way::Up, false);
        assert_eq!(send(&mut swarm), [(a, 2, 0)]);
        assert_eq!(swarm.flow(Way::Up), None);
    }

    #[test]
    fn requests_go_out_as_credit_comes_and_what_is_refused_is_credited_again() {
        let mut swarm = swarm(false);
        swarm.limit(Way::Down, true);
        let seed = join(&mut swarm, 1, &[Message::HaveAll, Message::Unchoke]);
        assert_eq!(send(&mut swarm), []);
        swarm.grant(Way::Down, 2 * BLOCK, 4 * BLOCK);
        assert_eq!(send(&mut swarm), [(seed, 0, 2)]);
        assert_eq!(swarm.flow(Way::Down).unwrap().spent, 2 * BLOCK as u64);
        let asked = swarm.peers[seed.index()].pipeline.requests().next().unwrap().block;
        let raw = super::super::raw(asked);
        swarm.on_message(NOW, seed, Message::RejectRequest(raw)).unwrap();
        assert_eq!(swarm.flow(Way::Down).unwrap().credit, BLOCK);
        swarm.remove_peer(NOW, seed, Reason::Closed);
        assert_eq!(swarm.flow(Way::Down).unwrap().credit, 2 * BLOCK);
        swarm.check_invariants();
    }
}
