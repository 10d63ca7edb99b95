//! Whole conversations between a torrent and its trackers, on a virtual clock.

use super::*;
use proptest::prelude::*;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;

type Oracle = dyn Fn(&str, Event) -> Result<AnnounceReply, TrackerError>;

/// A torrent, a clock, and trackers that answer as they are told to. Time passes only in `run`.
struct World {
    torrent: TorrentTrackers,
    next_id: u32,
    now: Duration,
    /// What was said: second, host, event.
    said: Vec<(u64, String, Event)>,
    scrapes: usize,
    answer: Box<Oracle>,
}

fn moment(at: Duration) -> Moment {
    Moment { at, unix: 1_000_000 + at.as_secs() }
}

fn reply() -> AnnounceReply {
    AnnounceReply {
        interval: Some(Duration::from_secs(30 * MINUTE)),
        min_interval: Some(Duration::from_secs(5 * MINUTE)),
        counts: Counts {
            seeders: Some(1),
            leechers: Some(2),
            downloads: Some(3),
            downloaders: None,
        },
        ..AnnounceReply::default()
    }
}

fn silent() -> TrackerError {
    TrackerError::TimedOut
}

fn tiers(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    let url = |name: &&str| format!("http://{name}/announce");
    tiers.iter().map(|tier| tier.iter().map(url).collect()).collect()
}

impl World {
    fn new(list: &[&[&str]]) -> World {
        let mut next_id = 0;
        let torrent = TorrentTrackers::new(&tiers(list), &mut next_id, 7);
        World {
            torrent,
            next_id,
            now: Duration::from_secs(100),
            said: vec![],
            scrapes: 0,
            answer: Box::new(|_, _| Ok(reply())),
        }
    }

    fn answering(
        list: &[&[&str]],
        answer: impl Fn(&str, Event) -> Result<AnnounceReply, TrackerError> + 'static,
    ) -> World {
        World { answer: Box::new(answer), ..World::new(list) }
    }

    /// Lets `seconds` pass, everything due being done at once.
    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for turn in 0.. {
            assert!(turn < 100_000, "the torrent never comes to rest");
            let due = self.torrent.due(self.now);
            if due.is_empty() {
                match self.torrent.next_due(self.now) {
                    Some(next) if next <= end => {
                        assert!(next > self.now, "due, but not given");
                        self.now = next;
                    }
                    _ => break,
                }
            }
            for due in due {
                self.perform(&due);
            }
        }
        self.now = end;
    }

    fn perform(&mut self, due: &Due) {
        let now = moment(self.now);
        if due.urgency == Urgency::Scrape {
            if self.torrent.begin_scrape(due.tracker, now).is_some() {
                self.scrapes += 1;
                let counts = Counts { downloads: Some(9), ..Counts::default() };
                self.torrent.finish_scrape(due.tracker, now, &Ok(counts), true);
            }
        } else if let Some(begin) = self.torrent.begin(due.tracker, now) {
            let host = begin.url.host().to_string();
            let result = (self.answer)(&host, begin.event);
            self.said.push((self.now.as_secs(), host, begin.event));
            self.torrent.finish(due.tracker, now, &result);
        }
    }

    fn said(&mut self) -> Vec<(String, Event)> {
        std::mem::take(&mut self.said).into_iter().map(|(_, host, event)| (host, event)).collect()
    }

    fn status(&self) -> Vec<TrackerStatus> {
        self.torrent.statuses(moment(self.now))
    }
}

fn said(list: &[(&str, Event)]) -> Vec<(String, Event)> {
    list.iter().map(|&(host, event)| (host.to_string(), event)).collect()
}

#[test]
fn a_stopped_torrent_says_nothing() {
    let mut world = World::new(&[&["a"]]);
    world.run(HOUR);
    assert_eq!(world.said(), []);
    assert_eq!(world.status()[0].last_announce.state, AnnounceState::Inactive);
}

#[test]
fn a_life_is_started_regular_completed_stopped() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(31 * MINUTE);
    world.torrent.completed();
    world.run(1);
    world.torrent.stop(world.now);
    world.run(HOUR);
    let expected = [
        ("a", Event::Started),
        ("a", Event::Regular),
        ("a", Event::Completed),
        ("a", Event::Stopped),
    ];
    assert_eq!(world.said(), said(&expected));
    assert!(world.torrent.is_quiet());
}

#[test]
fn every_tier_is_told_but_one_tracker_of_each() {
    let mut world = World::new(&[&["a"], &["b", "c"], &["d"]]);
    world.torrent.start(world.now);
    world.run(MINUTE);
    let hosts: HashSet<_> = world.said().into_iter().map(|(host, _)| host).collect();
    assert_eq!(hosts.len(), 3);
    assert!(hosts.contains("a") && hosts.contains("d"));
    assert_eq!(world.status().iter().filter(|status| status.is_backup).count(), 1);
}

#[test]
fn the_order_within_a_tier_is_random() {
    let firsts: HashSet<_> = (0..30)
        .map(|seed| {
            let mut torrent = TorrentTrackers::new(&tiers(&[&["a", "b", "c"]]), &mut 0, seed);
            torrent.start(Duration::ZERO);
            torrent.due(Duration::ZERO)[0].host.to_string()
        })
        .collect();
    assert_eq!(firsts.len(), 3);
}

#[test]
fn the_next_of_a_tier_is_asked_at_once_and_stays_in_use() {
    let mut world = World::answering(&[&["dead", "alive"]], |host, _| match host {
        "dead" => Err(silent()),
        _ => Ok(reply()),
    });
    world.torrent.start(world.now);
    world.run(2 * HOUR);
    let alive: Vec<_> = world.said().into_iter().filter(|(host, _)| host == "alive").collect();
    assert_eq!(alive[0].1, Event::Started);
    assert_eq!(alive.len(), 4, "started and a regular one each half hour");
    let status = world.status();
    let dead = status.iter().find(|status| status.host.starts_with("dead")).unwrap();
    assert!(dead.is_backup);
}

#[test]
fn a_tracker_that_fails_hands_over_to_its_backup_and_started_goes_first() {
    let broken = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let oracle = broken.clone();
    let mut world = World::answering(&[&["a", "b"]], move |host, _| match host {
        host if host == *oracle.borrow() => Err(silent()),
        _ => Ok(reply()),
    });
    world.torrent.start(world.now);
    world.run(MINUTE);
    let (first, _) = world.said().remove(0);
    broken.replace(first.clone());
    world.torrent.completed();
    world.run(1);
    let other = if first == "a" { "b" } else { "a" };
    let expected =
        [(&*first, Event::Completed), (other, Event::Started), (other, Event::Completed)];
    assert_eq!(world.said(), said(&expected));
}

#[test]
fn a_failing_tracker_is_retried_for_ever_at_growing_intervals() {
    let mut world = World::answering(&[&["a"]], |_, _| Err(silent()));
    world.torrent.start(world.now);
    world.run(48 * HOUR);
    let times: Vec<u64> = world.said.iter().map(|&(at, ..)| at).collect();
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((4..=6).contains(&gaps[0]), "{gaps:?}");
    assert!(gaps.iter().skip(10).all(|&gap| (24 * MINUTE..=36 * MINUTE).contains(&gap)));
    assert!(gaps.len() > 80);
    let status = &world.status()[0];
    assert!(!status.last_announce.succeeded && status.last_announce.timed_out);
    assert_eq!(status.last_announce.state, AnnounceState::Waiting);
    assert!(status.last_announce.next_time > 1_000_000 + world.now.as_secs());
}

#[test]
fn a_refusal_waits_longer_and_is_shown_in_the_trackers_words() {
    let mut world = World::answering(&[&["a"]], |_, _| {
        Err(TrackerError::Refused { reason: "unregistered".into(), retry: Retry::Unsaid })
    });
    world.torrent.start(world.now);
    world.run(40);
    assert_eq!(world.said().len(), 1);
    assert_eq!(&*world.status()[0].last_announce.result, "unregistered");
}

#[test]
fn retry_in_is_honoured_and_never_means_until_a_person_asks() {
    let mut world = World::answering(&[&["a"]], |_, _| {
        let retry = Retry::After(Duration::from_secs(20 * MINUTE));
        Err(TrackerError::Refused { reason: "full".into(), retry })
    });
    world.torrent.start(world.now);
    world.run(19 * MINUTE);
    assert_eq!(world.said().len(), 1);
    world.run(2 * MINUTE);
    assert_eq!(world.said().len(), 1);

    world.answer =
        Box::new(|_, _| Err(TrackerError::Refused { reason: "gone".into(), retry: Retry::Never }));
    world.run(HOUR);
    assert_eq!(world.said().len(), 1);
    world.run(100 * HOUR);
    assert_eq!(world.said(), []);
    world.torrent.reannounce(world.now);
    world.run(MINUTE);
    assert_eq!(world.said().len(), 1);
}

#[test]
fn a_manual_announce_waits_for_the_min_interval() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(MINUTE);
    world.torrent.reannounce(world.now);
    world.torrent.want_peers(world.now);
    world.run(4 * MINUTE - 1);
    assert_eq!(world.said().len(), 1);
    world.run(2);
    assert_eq!(world.said(), said(&[("a", Event::Regular)]));
}

#[test]
fn a_manual_announce_does_not_wait_for_the_backoff() {
    let mut world = World::answering(&[&["a"]], |_, _| Err(silent()));
    world.torrent.start(world.now);
    world.run(10 * HOUR);
    world.said();
    world.torrent.want_peers(world.now);
    world.run(1);
    assert_eq!(world.said(), [], "being short of peers is no reason to hurry a broken tracker");
    world.run(10);
    world.torrent.reannounce(world.now);
    world.run(1);
    assert_eq!(world.said().len(), 1);
}

#[test]
fn stopped_is_tried_again_a_few_times_and_completed_is_told_before_it() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.said();
    world.torrent.completed();
    world.torrent.stop(world.now);
    world.run(1);
    assert_eq!(world.said(), said(&[("a", Event::Completed), ("a", Event::Stopped)]));

    world.torrent.start(world.now);
    world.run(1);
    world.said();
    world.answer = Box::new(|_, _| Err(silent()));
    world.torrent.stop(world.now);
    assert!(world.torrent.owes_stopped());
    world.run(HOUR);
    assert_eq!(world.said(), said(&[("a", Event::Stopped); 3]));
    assert!(world.torrent.is_quiet() && !world.torrent.owes_stopped());
}

#[test]
fn a_tracker_that_never_heard_of_us_is_not_told_that_we_stopped() {
    let mut world = World::answering(&[&["a"]], |_, _| Err(silent()));
    world.torrent.start(world.now);
    world.run(1);
    world.said();
    world.torrent.stop(world.now);
    world.run(HOUR);
    assert_eq!(world.said(), []);
}

#[test]
fn an_announce_in_flight_is_waited_for_before_stopped() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    let due = world.torrent.due(world.now);
    world.torrent.begin(due[0].tracker, moment(world.now)).unwrap();
    world.torrent.stop(world.now);
    world.run(10);
    assert_eq!(world.said(), []);
    assert!(!world.torrent.is_quiet());
    world.torrent.finish(due[0].tracker, moment(world.now), &Ok(reply()));
    world.run(10);
    assert_eq!(world.said(), said(&[("a", Event::Stopped)]));
}

#[test]
fn a_restart_says_started_again() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.torrent.stop(world.now);
    world.torrent.start(world.now);
    world.run(1);
    assert_eq!(world.said(), said(&[("a", Event::Started), ("a", Event::Started)]));
}

#[test]
fn what_was_under_way_at_a_restart_is_not_taken_for_its_started() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    let due = world.torrent.due(world.now);
    world.torrent.begin(due[0].tracker, moment(world.now)).unwrap();
    world.torrent.stop(world.now);
    world.torrent.start(world.now);
    world.torrent.finish(due[0].tracker, moment(world.now), &Ok(reply()));
    world.run(1);
    assert_eq!(world.said(), said(&[("a", Event::Started)]));
}

#[test]
fn a_tracker_that_knows_of_a_former_start_is_told_stopped() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.torrent.stop(world.now);
    world.torrent.start(world.now);
    world.torrent.stop(world.now);
    world.run(1);
    assert_eq!(world.said(), said(&[("a", Event::Started), ("a", Event::Stopped)]));
}

#[test]
fn a_completed_that_fails_does_not_keep_stopped_from_being_told() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.said();
    world.answer = Box::new(|_, event| match event {
        Event::Completed => Err(silent()),
        _ => Ok(reply()),
    });
    world.torrent.completed();
    world.torrent.stop_finally(world.now);
    world.run(1);
    assert_eq!(world.said(), said(&[("a", Event::Completed), ("a", Event::Stopped)]));
}

#[test]
fn a_completion_that_nobody_heard_of_is_not_told_after_the_next_start() {
    let mut world = World::answering(&[&["a"]], |_, _| Err(silent()));
    world.torrent.start(world.now);
    world.torrent.completed();
    world.run(1);
    world.torrent.stop(world.now);
    world.said();
    world.answer = Box::new(|_, _| Ok(reply()));
    world.torrent.start(world.now);
    world.run(10);
    assert_eq!(world.said(), said(&[("a", Event::Started)]));
}

#[test]
fn a_tracker_that_comes_back_to_the_list_after_a_stopped_that_failed_is_started_anew() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.answer = Box::new(|_, _| Err(silent()));
    world.torrent.set_tiers(&[], &mut world.next_id, world.now);
    world.run(1);
    world.said();
    world.answer = Box::new(|_, _| Ok(reply()));
    world.torrent.set_tiers(&tiers(&[&["a"]]), &mut world.next_id, world.now);
    world.run(60);
    assert_eq!(world.said(), said(&[("a", Event::Started)]));
}

#[test]
fn a_tracker_taken_off_the_list_is_told_stopped_and_a_new_one_started() {
    let mut world = World::new(&[&["a"], &["b"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.said();
    let kept = world.status()[1].id;
    world.torrent.set_tiers(&tiers(&[&["b"], &["c"]]), &mut world.next_id, world.now);
    world.run(1);
    let mut heard = world.said();
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(heard, said(&[("a", Event::Stopped), ("c", Event::Started)]));
    assert_eq!(world.status().len(), 2);
    assert_eq!(world.status()[0].id, kept);
}

#[test]
fn the_tracker_id_is_sent_back_until_there_is_another() {
    let mut world = World::answering(&[&["a"]], |_, event| {
        let tracker_id = (event == Event::Started).then(|| b"id"[..].into());
        Ok(AnnounceReply { tracker_id, ..reply() })
    });
    world.torrent.start(world.now);
    world.run(40 * MINUTE);
    world.torrent.completed();
    let due = world.torrent.due(world.now);
    let begin = world.torrent.begin(due[0].tracker, moment(world.now)).unwrap();
    assert_eq!(begin.tracker_id.as_deref(), Some(&b"id"[..]));
}

#[test]
fn warnings_are_kept_and_the_announce_counts_as_good() {
    let mut world = World::answering(&[&["a"]], |_, _| {
        Ok(AnnounceReply { warning: Some("old client".into()), ..reply() })
    });
    world.torrent.start(world.now);
    world.run(1);
    let status = world.status().remove(0);
    assert!(status.last_announce.succeeded);
    assert_eq!(status.warning.as_deref(), Some("old client"));
    assert_eq!(&*status.last_announce.result, "old client");
}

#[test]
fn only_what_announces_leave_out_is_scraped_for() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(3 * HOUR);
    assert_eq!(world.scrapes, 0);

    let mut world = World::answering(&[&["a"]], |_, _| {
        let counts = Counts { downloads: None, ..reply().counts };
        Ok(AnnounceReply { counts, ..reply() })
    });
    world.torrent.start(world.now);
    world.run(3 * HOUR - 1);
    assert_eq!(world.scrapes, 3);
    assert_eq!(world.status()[0].counts.downloads, Some(9));
    assert!(world.status()[0].last_scrape.succeeded);
    world.torrent.stop(world.now);
    world.run(3 * HOUR);
    assert_eq!(world.scrapes, 3);
}

#[test]
fn scrapes_of_torrents_that_are_announced_together_come_together() {
    let without_counts = |_: &str, _| Ok(AnnounceReply { counts: Counts::default(), ..reply() });
    let due_at = |start: u64| {
        let mut world = World::answering(&[&["a"]], without_counts);
        world.now = Duration::from_millis(start);
        world.torrent.start(world.now);
        world.run(0);
        let first = world.torrent.next_due(world.now).unwrap();
        world.now = first;
        world.run(0);
        assert_eq!(world.scrapes, 1);
        let tracker = &world.torrent.trackers[0];
        (first, tracker.scrape_at.unwrap())
    };
    assert_eq!(due_at(10_000), due_at(11_999));
    let (first, second) = due_at(12_000);
    assert!(first > due_at(10_000).0 && second == due_at(10_000).1);
}

#[test]
fn what_a_scrape_of_several_leaves_out_is_asked_for_alone_and_soon() {
    let mut world = World::answering(&[&["a"]], |_, _| {
        Ok(AnnounceReply { counts: Counts::default(), ..reply() })
    });
    world.torrent.start(world.now);
    world.run(0);
    let id = world.status()[0].id;
    let url = world.status()[0].scrape.clone();
    let begin = |world: &mut World| {
        world.now += Duration::from_secs(5 * HOUR);
        assert!(world.torrent.due(world.now).iter().any(|due| due.urgency == Urgency::Scrape));
        assert!(world.torrent.begin_scrape(id, moment(world.now)).is_some());
    };
    begin(&mut world);
    assert!(world.torrent.may_join_scrape(id, &url));
    assert!(!world.torrent.may_join_scrape(id, "http://elsewhere/scrape"));
    // A tracker that cannot be reached says nothing about how it likes to be asked.
    let busy = reqwest::StatusCode::SERVICE_UNAVAILABLE;
    let busy = TrackerError::Status { status: busy, retry: Retry::Unsaid };
    for error in [TrackerError::TimedOut, busy] {
        world.torrent.finish_scrape(id, moment(world.now), &Err(error), false);
        assert!(world.torrent.may_join_scrape(id, &url));
    }
    begin(&mut world);
    let left_out = Err(TrackerError::Malformed("nothing of this torrent"));
    world.torrent.finish_scrape(id, moment(world.now), &left_out, false);
    assert!(!world.torrent.may_join_scrape(id, &url));
    let again = world.torrent.trackers[0].scrape_at.unwrap();
    assert_eq!(again, world.now + limits::BACKOFF_FIRST);
    begin(&mut world);
    world.torrent.finish_scrape(id, moment(world.now), &left_out, true);
    assert!(world.torrent.trackers[0].scrape_at.unwrap() >= world.now + limits::SCRAPE_INTERVAL);
}

#[test]
fn trackers_that_cannot_be_used_say_why_and_are_passed_over() {
    let list = vec![vec!["wss://a/".to_string(), "http://b/announce".to_string()]];
    let mut torrent = TorrentTrackers::new(&list, &mut 0, 1);
    torrent.start(Duration::ZERO);
    let due = torrent.due(Duration::ZERO);
    assert_eq!(due.len(), 1);
    assert_eq!(&*due[0].host, "b:80");
    let statuses = torrent.statuses(moment(Duration::ZERO));
    assert!(statuses[0].last_announce.result.contains("not supported"));
    assert!(statuses[0].is_backup && !statuses[1].is_backup);
}

#[test]
fn at_shutdown_one_attempt_is_made_even_where_the_last_failed() {
    let mut world = World::new(&[&["a"]]);
    world.torrent.start(world.now);
    world.run(1);
    world.said();
    world.answer = Box::new(|_, _| Err(silent()));
    world.torrent.stop(world.now);
    world.run(1);
    assert_eq!(world.said().len(), 1);
    world.torrent.stop_finally(world.now);
    world.run(HOUR);
    assert_eq!(world.said().len(), 1);
    assert!(world.torrent.is_quiet());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Stop,
    Completed,
    Reannounce,
    WantPeers,
    Trackers(u8),
    Run(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Start),
        Just(Step::Stop),
        Just(Step::Completed),
        Just(Step::Reannounce),
        Just(Step::WantPeers),
        (0u8..8).prop_map(Step::Trackers),
        (0u64..4_000).prop_map(Step::Run),
    ]
}

proptest! {
    /// Whatever happens: each tracker hears `started` before anything else and after `stopped`, and
    /// a torrent that has been stopped for long is known to no working tracker.
    #[test]
    fn trackers_always_hear_a_story_that_makes_sense(
        steps in prop::collection::vec(step(), 0..40), faults: u64,
    ) {
        let calls = std::cell::Cell::new(0u32);
        let mut world = World::answering(&[&["a", "b"], &["c"]], move |_, _| {
            calls.set((calls.get() + 1) % 64);
            if faults >> calls.get() & 1 == 1 { Err(silent()) } else { Ok(reply()) }
        });
        let lists: [&[&[&str]]; 4] = [&[&["a", "b"], &["c"]], &[&["a"]], &[], &[&["b"], &["d", "a"]]];
        for step in steps {
            match step {
                Step::Start => world.torrent.start(world.now),
                Step::Stop => world.torrent.stop(world.now),
                Step::Completed => world.torrent.completed(),
                Step::Reannounce => world.torrent.reannounce(world.now),
                Step::WantPeers => world.torrent.want_peers(world.now),
                Step::Trackers(n) => {
                    let list = tiers(lists[usize::from(n % 4)]);
                    world.torrent.set_tiers(&list, &mut world.next_id, world.now);
                }
                Step::Run(seconds) => world.run(seconds),
            }
        }
        world.torrent.stop(world.now);
        world.run(10 * HOUR);
        prop_assert!(world.torrent.is_quiet());

        let mut last = std::collections::HashMap::new();
        for (_, host, event) in &world.said {
            let before = last.insert(host.clone(), *event);
            if matches!(before, None | Some(Event::Stopped)) {
                prop_assert!(
                    matches!(event, Event::Started) || before == Some(Event::Stopped) && *event == Event::Stopped,
                    "{host} heard {event:?} after {before:?}",
                );
            }
        }
    }
}
