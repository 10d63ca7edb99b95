//! The picker against a model that looks at everything each time.

use super::*;
use crate::limits::LET_DOWN_PAUSE;
use proptest::prelude::*;

const NOW: Duration = Duration::ZERO;

fn geometry(pieces: u32, blocks: u32) -> Geometry {
    Geometry::new(u64::from(pieces * blocks) * 16_384 - 5, blocks * 16_384).unwrap()
}

fn picker(geometry: Geometry) -> Picker {
    let none = Bitfield::none(geometry.piece_count());
    let budget = MemoryBudget::new(u64::MAX);
    Picker::new(geometry, none, false, budget, fastrand::Rng::with_seed(7))
}

fn pick(picker: &mut Picker, key: u32, pieces: &Pieces, limit: usize) -> Vec<BlockRange> {
    pick_at(picker, NOW, key, pieces, limit)
}

fn pick_at(
    picker: &mut Picker,
    now: Duration,
    key: u32,
    pieces: &Pieces,
    limit: usize,
) -> Vec<BlockRange> {
    let pipeline = Pipeline::new(NOW);
    let wanted = picker.count_wanted(pieces);
    let key = PeerKey(key);
    let asker =
        Asker { key, pieces, wanted, only: None, suggested: &[], rate: 0.0, pipeline: &pipeline };
    let mut out = Vec::new();
    picker.pick(now, &asker, limit, &mut out);
    out
}

fn receive(picker: &mut Picker, block: BlockRange) -> bool {
    assert!(picker.start(block, true));
    picker.finish(block, IpAddr::from([10, 0, 0, 1]), NOW).unwrap().piece_complete
}

fn field(geometry: &Geometry, pieces: impl IntoIterator<Item = u32>) -> Pieces {
    let mut field = Bitfield::none(geometry.piece_count());
    pieces.into_iter().filter_map(|n| geometry.piece(n)).for_each(|piece| {
        field.set(piece);
    });
    Pieces::from_field(field)
}

/// Fetches pieces until the random first ones are over.
fn get_started(picker: &mut Picker) {
    for index in 0..RANDOM_FIRST_PIECES {
        let piece = picker.geometry.piece(index).unwrap();
        picker.written(piece);
    }
}

#[test]
fn the_first_pieces_are_random_ones() {
    let geometry = geometry(40, 1);
    let firsts: std::collections::BTreeSet<_> = (0..20)
        .map(|seed| {
            let mut picker = picker(geometry);
            picker.rng = fastrand::Rng::with_seed(seed);
            picker.add_pieces(&Pieces::All);
            picker.add_pieces(&field(&geometry, (0..40).filter(|&n| n != 9)));
            pick(&mut picker, 0, &Pieces::All, 1)[0].piece().get()
        })
        .collect();
    assert!(firsts.len() > 10, "whatever is rarest: {firsts:?}");
}

#[test]
fn the_rarest_piece_comes_first() {
    let geometry = geometry(20, 2);
    let mut picker = picker(geometry);
    get_started(&mut picker);
    picker.add_pieces(&Pieces::All);
    picker.add_pieces(&field(&geometry, 4..20));
    picker.add_pieces(&field(&geometry, (4..20).filter(|&n| n != 9)));
    picker.add_pieces(&field(&geometry, (4..20).filter(|&n| n != 9 && n != 12)));
    let order: Vec<_> =
        pick(&mut picker, 0, &Pieces::All, 6).iter().map(|block| block.piece().get()).collect();
    assert_eq!(order[..4], [9, 9, 12, 12]);
}

/// The piece that a peer which suggests these is asked for next.
fn picked_of(picker: &mut Picker, pieces: &Pieces, suggested: &[u32]) -> u32 {
    let suggested: Vec<_> =
        suggested.iter().map(|&index| picker.geometry.piece(index).unwrap()).collect();
    let (pipeline, wanted) = (Pipeline::new(NOW), picker.count_wanted(pieces));
    let key = PeerKey(0);
    let asker = Asker {
        key,
        pieces,
        wanted,
        only: None,
        suggested: &suggested,
        rate: 0.0,
        pipeline: &pipeline,
    };
    let mut out = Vec::new();
    picker.pick(NOW, &asker, 1, &mut out);
    out[0].piece().get()
}

#[test]
fn the_latest_suggestion_that_is_of_use_is_followed_from_the_first_piece_on() {
    let geometry = geometry(20, 1);
    let mut picker = picker(geometry);
    let own = field(&geometry, 0..15);
    picker.add_pieces(&own);
    picker.add_pieces(&Pieces::All);
    // It does not have 17, and 11 is ours or on its way from the second time on.
    for expected in [11, 9, 3] {
        assert_eq!(picked_of(&mut picker, &own, &[3, 9, 11, 17]), expected);
    }
    let other = picked_of(&mut picker, &own, &[3, 9, 11, 17]);
    assert!(![3, 9, 11, 17].contains(&other));
}

#[test]
fn a_suggestion_goes_before_rarity_but_not_before_priority_nor_the_last_copy() {
    let geometry = geometry(20, 1);
    for (others_have_9, high, in_order, expected) in [
        (true, false, false, 15),
        (false, false, false, 9),
        (true, true, false, 12),
        (true, false, true, 4),
    ] {
        let mut picker = picker(geometry);
        get_started(&mut picker);
        let rare = (0..20).filter(|&n| others_have_9 || n != 9);
        picker.add_pieces(&Pieces::All);
        picker.add_pieces(&field(&geometry, rare.filter(|&n| n != 0)));
        picker.add_pieces(&field(&geometry, [15]));
        let mut wishes = [Priority::Normal; 20];
        wishes[12] = if high { Priority::High } else { Priority::Normal };
        picker.set_priorities(&wishes);
        picker.sequential = in_order;
        assert_eq!(picked_of(&mut picker, &Pieces::All, &[15]), expected);
    }
}

#[test]
fn an_open_piece_is_finished_before_another_is_opened() {
    let geometry = geometry(20, 8);
    let mut picker = picker(geometry);
    let first = pick(&mut picker, 0, &Pieces::All, 5);
    let rest = pick(&mut picker, 1, &Pieces::All, 3);
    assert!(first.iter().chain(&rest).all(|block| block.piece() == first[0].piece()));
    let begins: Vec<_> = first.iter().chain(&rest).map(|block| block.block_number()).collect();
    assert_eq!(begins, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_fast_peer_works_through_whole_pieces_alone() {
    let geometry = geometry(20, 8);
    let mut picker = picker(geometry);
    let pipeline = Pipeline::new(NOW);
    let (pieces, key) = (&Pieces::All, PeerKey(0));
    let fast = Asker {
        key,
        pieces,
        wanted: 20,
        only: None,
        suggested: &[],
        rate: 1e8,
        pipeline: &pipeline,
    };
    let mut of_fast = Vec::new();
    picker.pick(NOW, &fast, 4, &mut of_fast);
    let of_slow = pick(&mut picker, 1, &Pieces::All, 4);
    assert_ne!(of_fast[0].piece(), of_slow[0].piece());
}

#[test]
fn a_piece_that_failed_is_fetched_from_one_peer() {
    let geometry = geometry(1, 8);
    let mut picker = picker(geometry);
    for block in pick(&mut picker, 0, &Pieces::All, 8) {
        receive(&mut picker, block);
    }
    picker.failed(geometry.piece(0).unwrap());
    assert_eq!(pick(&mut picker, 1, &Pieces::All, 2).len(), 2);
    assert_eq!(pick(&mut picker, 2, &Pieces::All, 8), []);
    picker.disown(PeerKey(1));
    assert_eq!(pick(&mut picker, 2, &Pieces::All, 8).len(), 6);
}

#[test]
fn a_peer_that_sends_nothing_does_not_keep_a_piece_that_failed() {
    let geometry = geometry(1, 8);
    let mut picker = picker(geometry);
    for block in pick(&mut picker, 0, &Pieces::All, 8) {
        receive(&mut picker, block);
    }
    picker.failed(geometry.piece(0).unwrap());
    for block in pick(&mut picker, 1, &Pieces::All, 8) {
        picker.let_down(block, PeerKey(1), NOW);
    }
    assert_eq!(pick(&mut picker, 1, &Pieces::All, 8), [], "others come first");
    let of_other = pick(&mut picker, 2, &Pieces::All, 8);
    assert_eq!(of_other.len(), 8);
    of_other.iter().for_each(|&block| picker.let_down(block, PeerKey(2), NOW));
    assert_eq!(pick(&mut picker, 1, &Pieces::All, 8), [], "nor do two of them");
    assert_eq!(pick(&mut picker, 2, &Pieces::All, 8), []);
    let late = NOW + LET_DOWN_PAUSE;
    assert_eq!(pick_at(&mut picker, late, 1, &Pieces::All, 8).len(), 8, "there is nobody else");
}

#[test]
fn in_end_game_an_idle_peer_is_asked_for_the_blocks_of_others() {
    let geometry = geometry(1, 4);
    let mut picker = picker(geometry);
    let first = pick(&mut picker, 0, &Pieces::All, 4);
    assert!(picker.is_end_game());
    let second = pick(&mut picker, 1, &Pieces::All, 4);
    assert_eq!(first, second);
    assert!(picker.start(first[0], true));
    assert!(!picker.start(second[0], true), "one copy at a time");
    let finished = picker.finish(first[0], IpAddr::from([1; 4]), NOW).unwrap();
    assert_eq!(finished, Finished { piece_complete: false, asked_elsewhere: 0 });
}

#[test]
fn what_is_skipped_is_neither_fetched_nor_missing() {
    let geometry = geometry(4, 1);
    let mut picker = picker(geometry);
    let mut wishes = [Priority::Skip; 4];
    wishes[2] = Priority::Low;
    picker.set_priorities(&wishes);
    assert_eq!(picker.wanted_left(), 16_384);
    let picked = pick(&mut picker, 0, &Pieces::All, 10);
    assert_eq!(picked.iter().map(|block| block.piece().get()).collect::<Vec<_>>(), [2]);
    picker.check(|block| u32::from(picked.contains(&block)));
}

#[derive(Clone, Debug)]
enum Op {
    Join(Vec<u32>),
    Leave(usize),
    Have(usize, u32),
    Pick(usize, usize),
    Receive(usize),
    Release(usize),
    Fail(u32),
    Write(u32),
    Drop(u32),
    Lose(u32),
    Wish(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let piece = 0u32..12;
    prop_oneof![
        1 => prop::collection::vec(piece.clone(), 0..14).prop_map(Op::Join),
        1 => (0usize..8).prop_map(Op::Leave),
        1 => (0usize..8, piece.clone()).prop_map(|(peer, piece)| Op::Have(peer, piece)),
        4 => (0usize..8, 1usize..9).prop_map(|(peer, limit)| Op::Pick(peer, limit)),
        6 => (0usize..99).prop_map(Op::Receive),
        2 => (0usize..99).prop_map(Op::Release),
        1 => piece.clone().prop_map(Op::Fail),
        2 => piece.clone().prop_map(Op::Write),
        1 => piece.clone().prop_map(Op::Drop),
        1 => piece.prop_map(Op::Lose),
        1 => prop::collection::vec(0u8..4, 12).prop_map(Op::Wish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_sequence_of_events_breaks_an_invariant(ops in prop::collection::vec(op(), 1..80)) {
        let geometry = geometry(12, 3);
        let budget = MemoryBudget::new(u64::MAX);
        let none = Bitfield::none(12);
        let mut picker =
            Picker::new(geometry, none, false, budget.clone(), fastrand::Rng::with_seed(1));
        let mut peers: Vec<Pieces> = Vec::new();
        let mut asked: Vec<BlockRange> = Vec::new();
        for op in ops {
            match op {
                Op::Join(pieces) => {
                    let pieces = field(&geometry, pieces);
                    picker.add_pieces(&pieces);
                    peers.push(pieces);
                }
                Op::Leave(at) if at < peers.len() => picker.remove_pieces(&peers.swap_remove(at)),
                Op::Have(at, index) if at < peers.len() => {
                    let piece = geometry.piece(index).unwrap();
                    if peers[at].set(piece, 12) {
                        match peers[at] {
                            Pieces::All => picker.became_seed(piece),
                            _ => picker.raise(piece),
                        }
                    }
                }
                Op::Pick(at, limit) if at < peers.len() => {
                    let picked = pick(&mut picker, at as u32, &peers[at], limit);
                    prop_assert!(picked.len() <= limit);
                    for (n, block) in picked.iter().enumerate() {
                        prop_assert!(peers[at].has(block.piece()) && picker.is_wanted(block.piece()));
                        prop_assert!(geometry.is_block(*block) && !picked[..n].contains(block));
                    }
                    asked.extend(picked);
                }
                Op::Receive(at) if !asked.is_empty() => {
                    let block = asked.swap_remove(at % asked.len());
                    if picker.start(block, true) {
                        picker.finish(block, IpAddr::from([1; 4]), NOW);
                    }
                }
                Op::Release(at) if !asked.is_empty() => {
                    picker.release(asked.swap_remove(at % asked.len()));
                }
                Op::Fail(index) | Op::Write(index) => {
                    let piece = geometry.piece(index).unwrap();
                    let busy = asked.iter().any(|block| block.piece() == piece);
                    let complete = picker.open_piece(piece).is_some_and(OpenPiece::is_complete);
                    match op {
                        _ if busy || !complete => {}
                        Op::Fail(_) => picker.failed(piece),
                        _ => {
                            picker.passed(piece);
                            prop_assert!(picker.written(piece));
                        }
                    }
                }
                Op::Drop(index) => {
                    asked.retain(|block| block.piece().get() != index);
                    let piece = geometry.piece(index).unwrap();
                    if picker.open_piece(piece).is_some() {
                        picker.reopen(piece);
                    }
                }
                Op::Lose(index) => {
                    picker.lost(geometry.piece(index).unwrap());
                }
                Op::Wish(wishes) => {
                    let table = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                    let wishes: Vec<_> = wishes.iter().map(|&n| table[usize::from(n)]).collect();
                    picker.set_priorities(&wishes);
                }
                _ => {}
            }
            picker.check(|block| asked.iter().filter(|&&b| b == block).count() as u32);
            let open: u64 =
                picker.open_pieces().map(|open| u64::from(geometry.length_of(open.piece))).sum();
            prop_assert_eq!(open, budget.used());
            for piece in geometry.pieces() {
                let having = peers.iter().filter(|pieces| pieces.has(piece)).count();
                prop_assert_eq!(picker.availability(piece) as usize, having);
            }
        }
        drop(picker);
        prop_assert_eq!(budget.used(), 0);
    }

    /// What one peer alone is given, in the order in which it is given, is sorted by priority, then
    /// by rarity, and everything it has is given.
    #[test]
    fn pieces_come_by_priority_and_rarity(
        others in prop::collection::vec(prop::collection::vec(0u32..30, 0..30), 0..6),
        own in prop::collection::vec(0u32..30, 1..30),
        wishes in prop::collection::vec(0u8..4, 30),
    ) {
        let geometry = geometry(30, 1);
        let mut picker = picker(geometry);
        get_started(&mut picker);
        let table = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
        let wishes: Vec<_> = wishes.iter().map(|&n| table[usize::from(n)]).collect();
        picker.set_priorities(&wishes);
        others.iter().for_each(|pieces| picker.add_pieces(&field(&geometry, pieces.iter().copied())));
        let own = field(&geometry, own);
        picker.add_pieces(&own);
        let wanted = picker.count_wanted(&own);
        let picked = pick(&mut picker, 0, &own, 100);
        prop_assert_eq!(picked.len(), wanted as usize);
        let rank = |block: &BlockRange| {
            (Reverse(picker.priority(block.piece())), picker.availability(block.piece()))
        };
        prop_assert!(picked.is_sorted_by_key(rank));
    }
}
