//! One test for each rule that two parties suffice to show.

use super::*;
use crate::{BlockFate, limits};
use metainfo::PieceIndex;
use wire::{DecodeLimits, Decoder, Item, RawBlock, extension};

const NOW: Duration = Duration::from_secs(1000);
const BLOCK: u32 = metainfo::BLOCK_LENGTH;

fn geometry() -> Geometry {
    Geometry::new(u64::from(BLOCK) * 32, BLOCK * 2).unwrap()
}

fn piece(index: u32) -> PieceIndex {
    geometry().piece(index).unwrap()
}

fn swarm(settings: Settings, seed: bool) -> Swarm {
    let have = if seed { Bitfield::all(16) } else { Bitfield::none(16) };
    Swarm::new(geometry(), have, settings, MemoryBudget::new(1 << 30), 1)
}

fn peer(n: u8) -> NewPeer {
    NewPeer {
        addr: SocketAddr::from(([10, 0, 0, n], 6881)),
        id: PeerId([n; 20]),
        fast: true,
        extended: false,
        incoming: false,
        source: Source::Tracker,
    }
}

fn block(index: u32, begin: u32) -> RawBlock {
    RawBlock { index, begin, length: BLOCK }
}

/// Takes what is to be sent, as text of each message, and the blocks.
fn sent(swarm: &mut Swarm, now: Duration, key: PeerKey) -> (Vec<String>, Vec<BlockRange>) {
    let mut out = Transmit::default();
    swarm.ready.retain(|&ready| ready != key);
    swarm.poll_transmit(now, key, 32, &mut out);
    swarm.on_sent(now, key, 0, 0);
    let mut decoder = Decoder::new(DecodeLimits::default());
    let mut input = &out.control[..];
    let mut messages = Vec::new();
    while let Some(item) = decoder.next(&mut input).unwrap() {
        let Item::Message(message) = item else { panic!("no blocks in control") };
        messages.push(format!("{message:?}"));
    }
    swarm.check_invariants();
    (messages, out.blocks)
}

fn all_skipped_but(piece: usize) -> [Priority; 16] {
    let mut wishes = [Priority::Skip; 16];
    wishes[piece] = Priority::Normal;
    wishes
}

fn requests(messages: &[String]) -> usize {
    messages.iter().filter(|message| message.starts_with("Request(")).count()
}

#[test]
fn a_peer_learns_what_we_have_first() {
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    assert_eq!(swarm.next_ready(), Some(key));
    assert_eq!(sent(&mut swarm, NOW, key).0, ["HaveAll"]);
    let old = swarm.add_peer(NOW, NewPeer { fast: false, ..peer(2) }).unwrap();
    assert!(sent(&mut swarm, NOW, old).0[0].starts_with("Bitfield"));
}

#[test]
fn one_connection_per_id_and_none_to_ourselves_or_beyond_the_limit() {
    let mut swarm = swarm(Settings { max_peers: 2, ..Settings::default() }, true);
    swarm.set_identity(InfoHash([0; 20]), PeerId([9; 20]));
    assert_eq!(swarm.add_peer(NOW, peer(9)), Err(Refusal::Ourselves));
    let first = swarm.add_peer(NOW, peer(1)).unwrap();
    assert_eq!(swarm.add_peer(NOW, peer(1)), Err(Refusal::SamePeerId));
    swarm.add_peer(NOW, peer(2)).unwrap();
    assert_eq!(swarm.add_peer(NOW, peer(3)), Err(Refusal::Full));
    swarm.remove_peer(NOW, first, Reason::Closed);
    swarm.add_peer(NOW, peer(1)).unwrap();
}

#[test]
fn connections_that_cross_leave_both_sides_with_the_same_one() {
    for first_is_the_greater_ones in [false, true] {
        for own in [3, 5] {
            let greater_is_us = own == 5;
            let mut swarm = swarm(Settings { max_peers: 1, ..Settings::default() }, true);
            swarm.set_identity(InfoHash([0; 20]), PeerId([own; 20]));
            let made_by_us = first_is_the_greater_ones == greater_is_us;
            let first = NewPeer { incoming: !made_by_us, ..peer(4) };
            let second = NewPeer { incoming: made_by_us, ..peer(4) };
            let old = swarm.add_peer(NOW, first).unwrap();
            let outcome = swarm.add_peer(NOW, second);
            if first_is_the_greater_ones {
                assert_eq!(outcome, Err(Refusal::SamePeerId));
                continue;
            }
            let new = outcome.unwrap();
            let gone = Action::Disconnect { peer: old, reason: Reason::Crossed };
            assert_eq!(swarm.poll_action(), Some(gone));
            swarm.remove_peer(NOW, old, Reason::Crossed);
            assert_eq!(swarm.ids.get(&PeerId([4; 20])), Some(&new));
            assert_eq!(swarm.add_peer(NOW, second), Err(Refusal::SamePeerId));
        }
    }
}

#[test]
fn a_settled_connection_does_not_give_way_nor_does_one_from_elsewhere() {
    let mut swarm = swarm(Settings::default(), true);
    swarm.set_identity(InfoHash([0; 20]), PeerId([3; 20]));
    swarm.add_peer(NOW, peer(4)).unwrap();
    let other = NewPeer { incoming: true, ..peer(4) };
    assert_eq!(swarm.add_peer(NOW + limits::CROSSING, other), Err(Refusal::SamePeerId));
    let stranger = NewPeer { addr: peer(5).addr, ..other };
    assert_eq!(swarm.add_peer(NOW, stranger), Err(Refusal::SamePeerId));
}

#[test]
fn requests_for_a_piece_that_a_peer_no_longer_has_go_to_others() {
    for fast in [false, true] {
        let mut swarm = swarm(Settings::default(), false);
        let key = swarm.add_peer(NOW, NewPeer { fast, ..peer(1) }).unwrap();
        swarm.on_message(NOW, key, Message::Bitfield(&[0xc0, 0])).unwrap();
        swarm.on_message(NOW, key, Message::Unchoke).unwrap();
        assert_eq!(requests(&sent(&mut swarm, NOW, key).0), 4);
        let payload = extension::encode_dont_have(0);
        let id = EXTENSION_IDS.lt_donthave.unwrap();
        swarm.on_message(NOW, key, Message::Extended { id, payload: &payload }).unwrap();
        let other = swarm.add_peer(NOW, peer(2)).unwrap();
        swarm.on_message(NOW, other, Message::HaveAll).unwrap();
        swarm.on_message(NOW, other, Message::Unchoke).unwrap();
        let asked = sent(&mut swarm, NOW, other).0;
        let of_the_lost = |m: &&String| m.starts_with("Request(") && m.contains("index: 0,");
        // With the fast extension it answers or rejects what it was asked for.
        let (live, asked_elsewhere) = if fast { (4, 0) } else { (2, 2) };
        assert_eq!(swarm.peers[key.index()].pipeline.live(), live);
        assert_eq!(asked.iter().filter(of_the_lost).count(), asked_elsewhere, "{asked:?}");
    }
}

#[test]
fn more_is_asked_for_when_a_choke_ends_that_left_a_few_pieces() {
    let asked = |swarm: &mut Swarm, key| {
        let messages = sent(swarm, NOW, key).0;
        messages.into_iter().filter(|message| message.starts_with("Request(")).count()
    };
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::HaveAll).unwrap();
    swarm.on_message(NOW, key, Message::AllowedFast { piece: 3 }).unwrap();
    assert_eq!(asked(&mut swarm, key), 2, "the blocks of one piece");
    assert!(swarm.peers[key.index()].starved);
    swarm.on_message(NOW, key, Message::AllowedFast { piece: 5 }).unwrap();
    assert_eq!(asked(&mut swarm, key), 2);
    swarm.on_message(NOW, key, Message::Unchoke).unwrap();
    assert!(asked(&mut swarm, key) > 2);
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    let bad: [(Message<'_>, PeerError); 7] = [
        (Message::Have { piece: 16 }, PeerError::NoSuchPiece(16)),
        (Message::Request(block(16, 0)), PeerError::NoSuchRange),
        (Message::Request(block(0, BLOCK * 2 - 1)), PeerError::NoSuchRange),
        (Message::Request(RawBlock { index: 0, begin: 0, length: 0 }), PeerError::NoSuchRange),
        (Message::Bitfield(&[0; 3]), PeerError::Bitfield(metainfo::BitfieldError::WrongLength)),
        (Message::AllowedFast { piece: 99 }, PeerError::NoSuchPiece(99)),
        (Message::SuggestPiece { piece: u32::MAX }, PeerError::NoSuchPiece(u32::MAX)),
    ];
    for (message, error) in bad {
        let mut swarm = swarm(Settings::default(), true);
        let key = swarm.add_peer(NOW, peer(1)).unwrap();
        assert_eq!(swarm.on_message(NOW, key, message), Err(error), "{message:?}");
    }
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, NewPeer { fast: false, ..peer(1) }).unwrap();
    assert_eq!(swarm.on_message(NOW, key, Message::HaveAll), Err(PeerError::NotFast));
}

#[test]
fn suggested_pieces_are_asked_for_first_and_kept_in_bounds() {
    let mut swarm = swarm(Settings::default(), false);
    swarm.piece_written(NOW, piece(3));
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::HaveAll).unwrap();
    for index in [3, 7, 11, 7] {
        swarm.on_message(NOW, key, Message::SuggestPiece { piece: index }).unwrap();
    }
    assert_eq!(swarm.peers[key.index()].suggested, [piece(11), piece(7)], "3 is here already");
    swarm.on_message(NOW, key, Message::Unchoke).unwrap();
    let (messages, _) = sent(&mut swarm, NOW, key);
    let asked: Vec<_> = messages.iter().filter(|m| m.starts_with("Request(")).collect();
    assert!(asked[0].contains("index: 7,") && asked[2].contains("index: 11,"), "{asked:?}");
    for index in (0..1000).map(|n| n % 16) {
        swarm.on_message(NOW, key, Message::SuggestPiece { piece: index }).unwrap();
    }
    assert!(swarm.peers[key.index()].suggested.len() <= limits::MAX_SUGGESTED);
    let old = swarm.add_peer(NOW, NewPeer { fast: false, ..peer(2) }).unwrap();
    let refused = swarm.on_message(NOW, old, Message::SuggestPiece { piece: 1 });
    assert_eq!(refused, Err(PeerError::NotFast));
}

#[test]
fn a_later_bitfield_adds_to_what_is_known() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Bitfield(&[1, 2])).unwrap();
    swarm.on_message(NOW, key, Message::Bitfield(&[0x80, 2])).unwrap();
    swarm.check_invariants();
    let had: Vec<u32> = (0..16).filter(|&n| swarm.availability(piece(n)) == 1).collect();
    assert_eq!(had, [0, 7, 14]);
    // As often as it likes: a peer that is fast and has small pieces tells them many times a second.
    for told in
        (0..1000).map(|round| if round < 500 { [round as u8, 0] } else { [0xff, round as u8] })
    {
        swarm.on_message(NOW, key, Message::Bitfield(&told)).unwrap();
    }
    swarm.check_invariants();
    assert!(swarm.peers[key.index()].pieces.is_all());
    for again in [Message::HaveAll, Message::HaveNone, Message::Bitfield(&[1, 2])] {
        swarm.on_message(NOW, key, again).unwrap();
    }
    assert!(swarm.peers[key.index()].pieces.is_all());
    swarm.check_invariants();
}

#[test]
fn who_has_everything_may_tell_it_later() {
    for first in [Message::HaveNone, Message::Bitfield(&[1, 2]), Message::Have { piece: 3 }] {
        let mut swarm = swarm(Settings::default(), false);
        let key = swarm.add_peer(NOW, peer(1)).unwrap();
        swarm.on_message(NOW, key, first).unwrap();
        swarm.on_message(NOW, key, Message::HaveAll).unwrap();
        assert!(swarm.peers[key.index()].pieces.is_all());
        swarm.check_invariants();
    }
}

#[test]
fn a_peer_that_gains_and_loses_pieces_over_and_over_is_at_fault() {
    let lost = |swarm: &mut Swarm, now, key| {
        let id = crate::EXTENSION_IDS.lt_donthave.unwrap();
        let payload = extension::encode_dont_have(3);
        swarm.on_message(now, key, Message::Extended { id, payload: &payload })
    };
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    let fault = (0..100).find_map(|_| {
        swarm.on_message(NOW, key, Message::HaveAll).unwrap();
        lost(&mut swarm, NOW, key).err()
    });
    assert_eq!(fault, Some(PeerError::GainsAndLoses));
    let key = swarm.add_peer(NOW, peer(2)).unwrap();
    for second in 0..100 {
        let now = NOW + Duration::from_secs(second);
        swarm.on_message(now, key, Message::HaveAll).unwrap();
        lost(&mut swarm, now, key).unwrap();
    }
    swarm.check_invariants();
}

#[test]
fn a_free_slot_is_given_at_once_and_requests_are_served_in_order() {
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Interested).unwrap();
    assert_eq!(sent(&mut swarm, NOW, key).0, ["HaveAll", "Unchoke"]);
    for index in 0..3 {
        swarm.on_message(NOW, key, Message::Request(block(index, 0))).unwrap();
    }
    swarm.on_message(NOW, key, Message::Cancel(block(1, 0))).unwrap();
    let (messages, blocks) = sent(&mut swarm, NOW, key);
    assert_eq!(requests(&messages), 0);
    assert!(messages[0].starts_with("RejectRequest"), "a cancel is answered (BEP 6)");
    assert_eq!(blocks.iter().map(|b| b.piece().get()).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn requests_of_choked_peers_are_rejected_or_ignored() {
    for fast in [true, false] {
        let mut swarm = swarm(Settings::default(), true);
        let key = swarm.add_peer(NOW, NewPeer { fast, ..peer(1) }).unwrap();
        sent(&mut swarm, NOW, key);
        swarm.on_message(NOW, key, Message::Request(block(0, 0))).unwrap();
        let (messages, blocks) = sent(&mut swarm, NOW, key);
        assert_eq!(messages.len(), usize::from(fast));
        assert_eq!(blocks, []);
    }
}

#[test]
fn the_upload_queue_is_bounded_and_a_flood_ends_the_connection() {
    let mut swarm = swarm(Settings { max_upload_queue: 10, ..Settings::default() }, true);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Interested).unwrap();
    let mut taken = 0;
    while swarm.on_message(NOW, key, Message::Request(block(0, 0))).is_ok() {
        taken += 1;
        assert!(swarm.peers[key.index()].uploads.len() <= 10);
        assert!(taken < 1_000_000);
    }
    assert_eq!(taken, 10 + limits::MAX_EXCESS_REQUESTS);
}

#[test]
fn with_few_slots_a_newcomer_may_have_some_pieces_while_choked() {
    let mut swarm = swarm(Settings { upload_slots: 1, ..Settings::default() }, true);
    swarm.set_identity(InfoHash([3; 20]), PeerId([9; 20]));
    let first = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, first, Message::Interested).unwrap();
    let key = swarm.add_peer(NOW, peer(2)).unwrap();
    swarm.on_message(NOW, key, Message::HaveNone).unwrap();
    let granted = swarm.peers[key.index()].granted.clone();
    assert_eq!(granted.len(), limits::ALLOWED_FAST_SET);
    sent(&mut swarm, NOW, key);
    swarm.on_message(NOW, key, Message::Request(block(granted[0], 0))).unwrap();
    assert_eq!(sent(&mut swarm, NOW, key).1.len(), 1);
    let other = (0..16).find(|index| !granted.contains(index)).unwrap();
    swarm.on_message(NOW, key, Message::Request(block(other, 0))).unwrap();
    assert_eq!(sent(&mut swarm, NOW, key).1.len(), 0);
}

#[test]
fn we_ask_only_when_unchoked_and_only_for_what_the_peer_has() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Have { piece: 5 }).unwrap();
    let (messages, _) = sent(&mut swarm, NOW, key);
    assert_eq!(messages, ["HaveNone", "Interested"]);
    swarm.on_message(NOW, key, Message::Unchoke).unwrap();
    let (messages, _) = sent(&mut swarm, NOW, key);
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| message.contains("index: 5")), "{messages:?}");
    swarm.on_message(NOW, key, Message::Have { piece: 6 }).unwrap();
    assert_eq!(requests(&sent(&mut swarm, NOW, key).0), 2);
}

#[test]
fn an_allowed_fast_piece_is_asked_for_while_choked() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::HaveAll).unwrap();
    swarm.on_message(NOW, key, Message::AllowedFast { piece: 3 }).unwrap();
    let (messages, _) = sent(&mut swarm, NOW, key);
    assert_eq!(requests(&messages), 2);
    assert!(messages[2].contains("index: 3"));
}

#[test]
fn a_choke_gives_the_requests_to_others() {
    for fast in [true, false] {
        let mut swarm = swarm(Settings::default(), false);
        let first = swarm.add_peer(NOW, NewPeer { fast, ..peer(1) }).unwrap();
        let second = swarm.add_peer(NOW, peer(2)).unwrap();
        for key in [first, second] {
            for piece in 0..2 {
                swarm.on_message(NOW, key, Message::Have { piece }).unwrap();
            }
        }
        swarm.on_message(NOW, first, Message::Unchoke).unwrap();
        assert_eq!(requests(&sent(&mut swarm, NOW, first).0), 4);
        swarm.on_message(NOW, first, Message::Choke).unwrap();
        if fast {
            for (index, begin) in [(0, 0), (0, BLOCK), (1, 0), (1, BLOCK)] {
                let rejected = Message::RejectRequest(block(index, begin));
                swarm.on_message(NOW, first, rejected).unwrap();
            }
        }
        swarm.on_message(NOW, second, Message::Unchoke).unwrap();
        assert_eq!(requests(&sent(&mut swarm, NOW, second).0), 4);
    }
}

#[test]
fn in_the_end_game_others_are_told_to_leave_what_has_come() {
    let mut swarm = swarm(Settings::default(), false);
    swarm.set_priorities(NOW, &all_skipped_but(3));
    let keys = [1, 2].map(|n| swarm.add_peer(NOW, peer(n)).unwrap());
    for key in keys {
        swarm.on_message(NOW, key, Message::Have { piece: 3 }).unwrap();
        swarm.on_message(NOW, key, Message::Unchoke).unwrap();
        assert_eq!(requests(&sent(&mut swarm, NOW, key).0), 2, "both are asked for all there is");
    }
    assert!(fetch(&mut swarm, keys[0], block(3, 0)).accepted);
    let cancel = format!("{:?}", Message::Cancel(block(3, 0)));
    assert_eq!(sent(&mut swarm, NOW, keys[1]).0, [cancel]);
    // It was under way already.
    assert_eq!(fetch(&mut swarm, keys[1], block(3, 0)), BlockOutcome::default());
    assert!(fetch(&mut swarm, keys[1], block(3, BLOCK)).piece_complete);
    assert!(sent(&mut swarm, NOW, keys[0]).0.iter().all(|message| message.starts_with("Cancel")));
}

/// An extension handshake of a peer that knows `upload_only` as 3, and says whether it is.
fn upload_only_handshake(says: u8) -> Vec<u8> {
    format!("d1:md11:upload_onlyi3ee11:upload_onlyi{says}ee").into_bytes()
}

#[test]
fn partial_seeds_are_told_of_each_other_and_part() {
    let mut swarm = swarm(Settings::default(), false);
    swarm.set_priorities(NOW, &all_skipped_but(0));
    let keys = [1, 2].map(|n| {
        let key = swarm.add_peer(NOW, NewPeer { extended: true, ..peer(n) }).unwrap();
        let payload = upload_only_handshake(n - 1);
        let told = Message::Extended { id: extension::HANDSHAKE_ID, payload: &payload };
        swarm.on_message(NOW, key, told).unwrap();
        swarm.on_message(NOW, key, Message::Have { piece: 0 }).unwrap();
        key
    });
    assert_eq!(swarm.poll_action(), None, "there is something to be had of both");
    swarm.on_message(NOW, keys[0], Message::Unchoke).unwrap();
    sent(&mut swarm, NOW, keys[0]);
    for begin in [0, BLOCK] {
        assert!(fetch(&mut swarm, keys[0], block(0, begin)).accepted);
    }
    swarm.piece_passed(NOW, piece(0), None);
    swarm.piece_written(NOW, piece(0));
    assert_eq!(swarm.poll_action(), Some(Action::Completed));
    let redundant = Action::Disconnect { peer: keys[1], reason: Reason::Redundant };
    assert_eq!(swarm.poll_action(), Some(redundant), "neither downloads any more");
    let (messages, _) = sent(&mut swarm, NOW, keys[0]);
    let told = format!("{:?}", Message::Extended { id: 3, payload: &[1] });
    assert!(messages.contains(&told), "{messages:?}");
    let told = Message::Extended { id: EXTENSION_IDS.upload_only.unwrap(), payload: &[1] };
    swarm.on_message(NOW, keys[0], told).unwrap();
    let redundant = Action::Disconnect { peer: keys[0], reason: Reason::Redundant };
    assert_eq!(swarm.poll_action(), Some(redundant));
}

#[test]
fn unrequested_blocks_are_waste_and_too_many_end_the_connection() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    for _ in 0..limits::MAX_UNWANTED_BLOCKS {
        assert_eq!(swarm.on_block_start(NOW, key, block(0, 0)), Ok(BlockFate::Discard));
    }
    assert_eq!(swarm.on_block_start(NOW, key, block(0, 0)), Err(PeerError::UnwantedBlocks));
    assert_eq!(swarm.on_block_start(NOW, key, block(16, 0)), Err(PeerError::NoSuchRange));
}

fn fetch(swarm: &mut Swarm, key: PeerKey, raw: RawBlock) -> BlockOutcome {
    match swarm.on_block_start(NOW, key, raw).unwrap() {
        BlockFate::Take(block) => swarm.on_block_end(NOW, key, block),
        BlockFate::Discard => BlockOutcome::default(),
    }
}

#[test]
fn a_piece_is_announced_and_served_only_after_its_write_completed() {
    let mut swarm = swarm(Settings::default(), false);
    let from = swarm.add_peer(NOW, peer(1)).unwrap();
    let to = swarm.add_peer(NOW, peer(2)).unwrap();
    swarm.on_message(NOW, to, Message::Interested).unwrap();
    swarm.on_message(NOW, from, Message::Have { piece: 0 }).unwrap();
    swarm.on_message(NOW, from, Message::Unchoke).unwrap();
    sent(&mut swarm, NOW, from);
    sent(&mut swarm, NOW, to);
    assert!(!fetch(&mut swarm, from, block(0, 0)).piece_complete);
    assert!(fetch(&mut swarm, from, block(0, BLOCK)).piece_complete);
    swarm.piece_passed(NOW, piece(0), None);
    assert_eq!(sent(&mut swarm, NOW, to).0, [""; 0]);
    swarm.on_message(NOW, to, Message::Request(block(0, 0))).unwrap();
    assert_eq!(sent(&mut swarm, NOW, to).1, []);
    swarm.piece_written(NOW, piece(0));
    assert_eq!(sent(&mut swarm, NOW, to).0, ["Have { piece: 0 }"]);
    assert_eq!(sent(&mut swarm, NOW, from).0, ["NotInterested"]);
    swarm.on_message(NOW, to, Message::Request(block(0, 0))).unwrap();
    assert_eq!(sent(&mut swarm, NOW, to).1.len(), 1);
}

#[test]
fn a_dropped_piece_is_cancelled_and_fetched_again() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Have { piece: 0 }).unwrap();
    swarm.on_message(NOW, key, Message::Unchoke).unwrap();
    sent(&mut swarm, NOW, key);
    let BlockFate::Take(arriving) = swarm.on_block_start(NOW, key, block(0, 0)).unwrap() else {
        panic!("the block was asked for")
    };
    swarm.piece_dropped(NOW, piece(0));
    let (messages, _) = sent(&mut swarm, NOW, key);
    assert!(messages[0].starts_with("Cancel"));
    assert_eq!(requests(&messages), 2);
    assert!(!swarm.on_block_end(NOW, key, arriving).accepted);
    swarm.check_invariants();
}

#[test]
fn the_only_contributor_of_a_bad_piece_is_banned() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Have { piece: 0 }).unwrap();
    swarm.on_message(NOW, key, Message::Unchoke).unwrap();
    sent(&mut swarm, NOW, key);
    fetch(&mut swarm, key, block(0, 0));
    fetch(&mut swarm, key, block(0, BLOCK));
    swarm.piece_failed(NOW, piece(0), &[1, 2]);
    assert_eq!(swarm.poll_action(), Some(Action::Disconnect { peer: key, reason: Reason::Banned }));
    assert_eq!(swarm.poll_action(), Some(Action::Ban { addr: peer(1).addr.ip() }));
    swarm.remove_peer(NOW, key, Reason::Banned);
    assert_eq!(swarm.add_peer(NOW, peer(1)), Err(Refusal::Banned));
    swarm.check_invariants();
}

#[test]
fn who_let_a_bad_piece_down_is_asked_again_when_there_is_nobody_else() {
    let mut swarm = swarm(Settings::default(), false);
    swarm.set_priorities(NOW, &all_skipped_but(0));
    let keys = [1, 2].map(|n| {
        let key = swarm.add_peer(NOW, peer(n)).unwrap();
        swarm.on_message(NOW, key, Message::Have { piece: 0 }).unwrap();
        key
    });
    swarm.on_message(NOW, keys[0], Message::Unchoke).unwrap();
    sent(&mut swarm, NOW, keys[0]);
    fetch(&mut swarm, keys[0], block(0, 0));
    swarm.on_message(NOW, keys[0], Message::RejectRequest(block(0, BLOCK))).unwrap();
    swarm.on_message(NOW, keys[1], Message::Unchoke).unwrap();
    sent(&mut swarm, NOW, keys[1]);
    fetch(&mut swarm, keys[1], block(0, BLOCK));
    swarm.piece_failed(NOW, piece(0), &[1, 2]);
    swarm.remove_peer(NOW, keys[1], Reason::Closed);
    assert_eq!(requests(&sent(&mut swarm, NOW, keys[0]).0), 2);
    for begin in [0, BLOCK] {
        swarm.on_message(NOW, keys[0], Message::RejectRequest(block(0, begin))).unwrap();
    }
    assert_eq!(requests(&sent(&mut swarm, NOW, keys[0]).0), 0);
    let asked_at = (1..60).find(|&second| {
        let now = NOW + Duration::from_secs(second);
        swarm.tick(now);
        let is_ready = std::iter::from_fn(|| swarm.next_ready()).any(|key| key == keys[0]);
        is_ready && requests(&sent(&mut swarm, now, keys[0]).0) == 2
    });
    assert_eq!(asked_at, Some(limits::LET_DOWN_PAUSE.as_secs()));
}

#[test]
fn a_lost_piece_is_wanted_again_and_taken_back() {
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, NewPeer { extended: true, ..peer(1) }).unwrap();
    let told = ExtensionHandshake {
        m: ExtensionIds { lt_donthave: Some(7), ..ExtensionIds::default() },
        ..ExtensionHandshake::default()
    };
    let payload = told.encode();
    swarm.on_message(NOW, key, Message::Extended { id: 0, payload: &payload }).unwrap();
    sent(&mut swarm, NOW, key);
    swarm.piece_lost(NOW, piece(3));
    assert_eq!(sent(&mut swarm, NOW, key).0, ["Extended { id: 7, payload: [0, 0, 0, 3] }"]);
    assert!(!swarm.is_complete());
    let told = Message::Extended { id: 1, payload: &[0, 0, 0, 3] };
    swarm.on_message(NOW, key, Message::HaveAll).unwrap();
    swarm.on_message(NOW, key, told).unwrap();
    assert_eq!(swarm.availability(piece(3)), 0);
    swarm.check_invariants();
}

#[test]
fn silence_brings_keep_alives_and_then_the_end() {
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    sent(&mut swarm, NOW, key);
    let mut keep_alives = 0;
    for second in 1..=149 {
        let now = NOW + Duration::from_secs(second);
        assert_eq!(swarm.next_tick(), now);
        swarm.tick(now);
        if swarm.next_ready().is_some() {
            assert_eq!(sent(&mut swarm, now, key).0, ["KeepAlive"]);
            keep_alives += 1;
        }
        assert_eq!(swarm.poll_action(), None);
    }
    assert_eq!(keep_alives, 1);
    swarm.tick(NOW + Duration::from_secs(150));
    let idle = Action::Disconnect { peer: key, reason: Reason::Idle };
    assert_eq!(swarm.poll_action(), Some(idle));
    swarm.remove_peer(NOW, key, Reason::Idle);
    assert_eq!(swarm.next_tick(), Duration::MAX);
}

#[test]
fn a_peer_comes_out_ready_once_until_its_transmit_has_left() {
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::Interested).unwrap();
    for _ in 0..40 {
        swarm.on_message(NOW, key, Message::Request(block(0, 0))).unwrap();
    }
    assert_eq!(swarm.next_ready(), Some(key));
    let mut out = Transmit::default();
    swarm.poll_transmit(NOW, key, 32, &mut out);
    swarm.on_message(NOW, key, Message::Request(block(0, 0))).unwrap();
    assert_eq!(swarm.next_ready(), None);
    let first = out.blocks.len();
    swarm.on_sent(NOW, key, u64::from(BLOCK) * first as u64, 0);
    assert_eq!(swarm.next_ready(), Some(key));
    assert_eq!(swarm.next_ready(), None);
    out.clear();
    swarm.poll_transmit(NOW, key, 32, &mut out);
    assert_eq!(out.blocks.len(), 2 * first, "a quick peer gets more at a time");
    assert_eq!(swarm.stats().uploaded, u64::from(BLOCK) * first as u64);
    let slow = NOW + Duration::from_secs(5);
    swarm.on_sent(slow, key, 1, 1);
    out.clear();
    swarm.poll_transmit(slow, key, 32, &mut out);
    assert_eq!(out.blocks.len(), first, "a slow one fewer");
}

#[test]
fn a_peer_that_never_reads_is_dropped() {
    let mut swarm = swarm(Settings::default(), true);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    let mut out = Transmit::default();
    swarm.next_ready();
    swarm.poll_transmit(NOW, key, 32, &mut out);
    for second in 1..=150 {
        assert_eq!(swarm.poll_action(), None);
        let now = NOW + Duration::from_secs(second);
        swarm.on_message(now, key, Message::KeepAlive).unwrap();
        swarm.tick(now);
    }
    let idle = Action::Disconnect { peer: key, reason: Reason::Idle };
    assert_eq!(swarm.poll_action(), Some(idle));
}

#[test]
fn a_seed_looks_for_leechers_and_leaves_seeds_alone_for_a_while() {
    let mut swarm = swarm(Settings::default(), true);
    let addr = peer(1).addr;
    swarm.add_candidates(NOW, [addr], Source::Tracker);
    assert_eq!(swarm.connect_candidate(NOW).map(|(addr, _)| addr), Some(addr));
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::HaveAll).unwrap();
    let redundant = Action::Disconnect { peer: key, reason: Reason::Redundant };
    assert_eq!(swarm.poll_action(), Some(redundant));
    swarm.remove_peer(NOW, key, Reason::Redundant);
    assert_eq!(swarm.connect_candidate(NOW + Duration::from_secs(60)), None);
    assert!(swarm.next_candidate().is_some_and(|due| due > NOW + Duration::from_secs(60)));
}

#[test]
fn a_paused_torrent_neither_asks_nor_serves() {
    let mut swarm = swarm(Settings::default(), false);
    let key = swarm.add_peer(NOW, peer(1)).unwrap();
    swarm.on_message(NOW, key, Message::HaveAll).unwrap();
    swarm.on_message(NOW, key, Message::Interested).unwrap();
    sent(&mut swarm, NOW, key);
    swarm.set_downloading(false);
    swarm.set_uploading(NOW, false);
    swarm.on_message(NOW, key, Message::Unchoke).unwrap();
    assert_eq!(sent(&mut swarm, NOW, key).0, ["NotInterested", "Choke"]);
    swarm.set_downloading(true);
    swarm.set_uploading(NOW, true);
    let (messages, _) = sent(&mut swarm, NOW, key);
    assert_eq!(messages[..2], ["Interested", "Unchoke"]);
    assert!(requests(&messages) > 0);
}
