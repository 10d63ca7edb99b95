//! Whole swarms in memory: several [`Swarm`]s talk to each other over links with a delay and a rate,
//! under a virtual clock. What is said is encoded and decoded by `wire`, as in earnest.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use metainfo::Geometry;
use ringseed_swarm::{MemoryBudget, Priority, Settings};
use std::time::Duration;
use wire::Message;
use world::{Manner, World, node};

const MIB: u64 = 1 << 20;

fn geometry(bytes: u64, piece: u32) -> Geometry {
    Geometry::new(bytes, piece).unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn everybody_finishes_and_leechers_help_each_other() {
    for fast in [true, false] {
        let mut world = World::new(geometry(16 * MIB + 777, 256 * 1024));
        world.fast = fast;
        let seed = world.add(node().seed().rate(4 * MIB));
        let leechers: Vec<_> = (0..5).map(|_| world.add(node().rate(4 * MIB))).collect();
        world.connect_all();
        world.run_until(seconds(120), |world| leechers.iter().all(|&n| world.is_complete(n)));
        let from_seed = world.stats(seed).uploaded;
        assert!(from_seed < 3 * 16 * MIB, "the seed alone carried {from_seed} bytes");
        for &leecher in &leechers {
            let stats = world.stats(leecher);
            assert!(stats.wasted < 16 * MIB / 10, "{stats:?}");
            assert_eq!(stats.downloaded, 16 * MIB + 777);
        }
        assert_eq!(world.faults, []);
    }
}

#[test]
fn seeds_part_when_nobody_wants_anything() {
    let mut world = World::new(geometry(MIB, 65_536));
    world.add(node().seed());
    world.add(node().seed());
    world.add(node());
    world.connect_all();
    world.run_until(seconds(30), |world| (0..3).all(|n| world.peers(n) == 0));
    assert!(world.is_complete(2));
}

#[test]
fn whoever_corrupts_is_banned_and_everybody_finishes() {
    let mut world = World::new(geometry(8 * MIB, 256 * 1024));
    let bad = world.add(node().seed().manner(Manner::Corrupts));
    world.add(node().seed().rate(2 * MIB));
    let leechers: Vec<_> = (0..3).map(|_| world.add(node().rate(2 * MIB))).collect();
    world.connect_all();
    world.run_until(seconds(120), |world| leechers.iter().all(|&n| world.is_complete(n)));
    for &leecher in &leechers {
        assert!(world.has_banned(leecher, bad), "{leecher} still trusts the corrupter");
        assert!(leechers.iter().all(|&other| !world.has_banned(leecher, other)));
    }
}

#[test]
fn a_peer_that_never_unchokes_stops_nobody() {
    let mut world = World::new(geometry(4 * MIB, 65_536));
    world.add(node().seed().manner(Manner::NeverUnchokes));
    world.add(node().seed().rate(2 * MIB));
    let leecher = world.add(node());
    world.connect_all();
    world.run_until(seconds(30), |world| world.is_complete(leecher));
}

#[test]
fn requests_to_a_peer_that_stalls_go_to_others() {
    let mut world = World::new(geometry(4 * MIB, 65_536));
    world.add(node().seed().manner(Manner::Swallows));
    world.add(node().seed().rate(MIB));
    let leecher = world.add(node());
    world.connect_all();
    world.run_until(seconds(90), |world| world.is_complete(leecher));
}

#[test]
fn peers_that_vanish_leave_their_work_to_others() {
    let mut world = World::new(geometry(16 * MIB, 256 * 1024));
    let first = world.add(node().seed().rate(2 * MIB));
    world.add(node().seed().rate(MIB));
    let leechers: Vec<_> = (0..6).map(|_| world.add(node().rate(MIB))).collect();
    world.connect_all();
    world.run_for(seconds(2));
    world.vanish(leechers[0]);
    world.vanish(leechers[1]);
    world.run_for(seconds(1));
    world.vanish(first);
    let left = &leechers[2..];
    world.run_until(seconds(120), |world| left.iter().all(|&n| world.is_complete(n)));
}

#[test]
fn in_end_game_a_slow_peer_does_not_hold_up_the_last_blocks() {
    let mut world = World::new(geometry(8 * MIB, MIB as u32));
    world.add(node().seed().rate(4 * MIB));
    world.add(node().seed().rate(4 * 1024));
    let leecher = world.add(node());
    world.connect_all();
    world.run_until(seconds(12), |world| world.is_complete(leecher));
}

#[test]
fn a_path_of_100_ms_is_filled() {
    let mut world = World::new(geometry(256 * MIB, MIB as u32));
    world.latency = Duration::from_millis(50);
    world.check_every = 0;
    world.add(
        node()
            .seed()
            .rate(64 * MIB)
            .settings(Settings { max_upload_queue: 2000, ..Settings::default() }),
    );
    let leecher = world.add(node().rate(64 * MIB));
    world.connect_all();
    world.run_until(seconds(60), |world| world.is_complete(leecher));
    let least = 256.0 / 64.0;
    let took = world.now.as_secs_f64();
    assert!(took < least / 0.8, "{took} s for what takes {least} s");
}

#[test]
fn sequential_mode_fetches_in_order_and_priorities_come_first() {
    let mut world = World::new(geometry(4 * MIB, 65_536));
    world.add(node().seed().rate(2 * MIB));
    let sequential = Settings { sequential: true, ..Settings::default() };
    let leecher = world.add(node().settings(sequential));
    let mut wishes = vec![Priority::Normal; 64];
    wishes[40] = Priority::High;
    wishes[0] = Priority::Skip;
    wishes[1] = Priority::Low;
    world.swarm(leecher).set_priorities(Duration::ZERO, &wishes);
    world.connect_all();
    world.run_until(seconds(30), |world| world.is_complete(leecher));
    let order = world.written(leecher);
    let expected: Vec<u32> = [40].into_iter().chain(2..40).chain(41..64).chain([1]).collect();
    assert_eq!(order, expected);
    assert_eq!(world.stats(leecher).downloaded, 63 * 65_536);
}

#[test]
fn what_a_seed_suggests_comes_first_and_the_rest_after_it() {
    let mut world = World::new(geometry(4 * MIB, 65_536));
    let seed = world.add(node().seed().rate(2 * MIB));
    let leechers = [world.add(node()), world.add(node())];
    for leecher in leechers {
        world.connect(seed, leecher);
    }
    // Each leecher is to get another part of the torrent, as a seed without time for more would say.
    let parts: [Vec<u32>; 2] = [(20..36).collect(), (40..56).collect()];
    for (leecher, part) in leechers.into_iter().zip(&parts) {
        for &piece in part {
            world.say(seed, leecher, Message::SuggestPiece { piece });
        }
    }
    world.run_until(seconds(30), |world| leechers.iter().all(|&n| world.is_complete(n)));
    for (leecher, part) in leechers.into_iter().zip(&parts) {
        let mut first = world.written(leecher)[..16].to_vec();
        first.sort_unstable();
        assert_eq!(first, *part);
    }
    assert_eq!(world.faults, []);
}

#[test]
fn pieces_in_flight_stay_within_the_memory_budget() {
    let mut world = World::new(geometry(16 * MIB, 256 * 1024));
    let budget = MemoryBudget::new(MIB);
    for _ in 0..4 {
        world.add(node().seed().rate(2 * MIB));
    }
    let leecher = world.add(node().budget(budget.clone()));
    world.connect_all();
    world.run_until(seconds(60), |world| {
        assert!(budget.used() <= budget.limit());
        world.is_complete(leecher)
    });
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_torrent_over_budget_still_gets_on_with_one_piece() {
    let mut world = World::new(geometry(4 * MIB, MIB as u32));
    let budget = MemoryBudget::new(1);
    world.add(node().seed().rate(2 * MIB));
    let leecher = world.add(node().budget(budget.clone()));
    world.connect_all();
    world.run_until(seconds(60), |world| world.is_complete(leecher));
    assert_eq!(budget.used(), 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(geometry(4 * MIB, 65_536));
        world.add(node().seed().rate(MIB));
        for _ in 0..4 {
            world.add(node().rate(MIB));
        }
        world.connect_all();
        world.run_until(seconds(60), |world| (1..5).all(|n| world.is_complete(n)));
        (world.now, (0..5).map(|n| world.written(n)).collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}

#[test]
fn with_few_slots_all_leechers_of_a_seed_get_on() {
    let mut world = World::new(geometry(8 * MIB, 65_536));
    let few = Settings { upload_slots: 2, ..Settings::default() };
    world.add(node().seed().rate(2 * MIB).settings(few));
    let leechers: Vec<_> = (0..8).map(|_| world.add(node().rate(2 * MIB).settings(few))).collect();
    world.connect_all();
    world.run_until(seconds(300), |world| leechers.iter().all(|&n| world.is_complete(n)));
}
