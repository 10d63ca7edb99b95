//! Limits, goals, groups and the queue over the native API, and what subscribers are told of them.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use api::native::{
    AddTorrent, Changes, Code, Edit, Field, Group, GroupChange, GroupName, IdleGoal, List,
    MoveInQueue, Nothing, QueueTarget, QueueWay, RatioGoal, Remove, Selection, Several, Start,
    State, Torrent, TorrentRef, TorrentStream, Weight, call,
};
use client::{Client, Subscription};
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{
    Rig,
    native::{PATIENCE, add, client, failure, one, refused, these, wait_for},
    run, torrent,
};
use tokio::time::timeout;

async fn three(rig: &Rig, client: &Client) -> Vec<u32> {
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(add(rig, client, name, &[]).await);
    }
    ids
}

async fn get(client: &Client, id: u32) -> Torrent {
    client.call::<call::TorrentGet>(one(id)).await.unwrap()
}

/// What a field says in JSON.
async fn told(client: &Client, id: u32, field: &str) -> Value {
    serde_json::to_value(get(client, id).await).unwrap()[field].clone()
}

async fn edit(client: &Client, params: Value) {
    client.call_by_name("torrent.edit", &params).await.unwrap();
}

#[test]
fn limits_and_goals_of_a_torrent_are_set_told_and_taken_away() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "one", &[]).await;
        for (field, first, given, then, none) in [
            ("upload_limit", json!(null), json!(1500), json!(2000), json!(null)),
            ("download_limit", json!(null), json!(0), json!(0), json!(null)),
            ("honors_session_limits", json!(true), json!(false), json!(false), json!(true)),
            ("group", json!(null), json!(" slow "), json!("slow"), json!(null)),
            ("priority", json!("normal"), json!("high"), json!("high"), json!("low")),
            ("ratio_goal", json!("settings"), json!(1.5), json!(1.5), json!("none")),
            ("idle_goal", json!("settings"), json!(61), json!(120), json!("none")),
            ("sequential_from", json!(0), json!(2), json!(2), json!(1)),
        ] {
            assert_eq!(told(&client, id, field).await, first, "{field}");
            edit(&client, json!({ "torrents": [id], field: given })).await;
            assert_eq!(told(&client, id, field).await, then, "{field}");
            // What an edit does not say stays.
            edit(&client, json!({ "torrents": [id] })).await;
            assert_eq!(told(&client, id, field).await, then, "{field}");
            edit(&client, json!({ "torrents": [id], field: none })).await;
            assert_eq!(told(&client, id, field).await, none, "{field}");
        }
        let rules = rig.session.read(|catalog| catalog.iter().next().unwrap().rules.clone());
        assert_eq!(rules.upload.kilobytes, 2, "what is off is not forgotten");
        assert!(get(&client, id).await.edited_at.flatten().is_some());
    });
}

#[test]
fn a_torrent_can_be_added_with_its_limits() {
    run(|rig| async move {
        let client = client(&rig);
        let metainfo = torrent(&rig.downloads(), "one", &[("a", 40_000)], false);
        let params = AddTorrent {
            metainfo: Some(BASE64.encode(&metainfo)),
            paused: Some(true),
            priority: Some(Weight::Low),
            upload_limit: Some(50_000),
            group: Some("slow".into()),
            ratio_goal: Some(RatioGoal::Ratio(3.0)),
            sequential_from: Some(1),
            ..AddTorrent::default()
        };
        let refuse = |params: AddTorrent| client.call::<call::TorrentAdd>(params);
        let far = AddTorrent { sequential_from: Some(3), ..params.clone() };
        assert_eq!(refused(refuse(far).await), Some(Code::InvalidParams));
        let nameless = AddTorrent { group: Some("x".repeat(257)), ..params.clone() };
        assert_eq!(failure(refuse(nameless).await).data, Some(json!({ "parameter": "group" })));
        let fast = AddTorrent { upload_limit: Some(u64::MAX), ..params.clone() };
        assert_eq!(failure(refuse(fast).await).data, Some(json!({ "parameter": "upload_limit" })));
        let groups = client.call::<call::GroupList>(Nothing {}).await.unwrap();
        assert!(groups.is_empty() && rig.session.read(|catalog| catalog.is_empty()));

        let id = client.call::<call::TorrentAdd>(params).await.unwrap().id;
        let torrent = get(&client, id).await;
        assert_eq!((torrent.priority, torrent.sequential_from), (Some(Weight::Low), Some(1)));
        assert_eq!(torrent.upload_limit, Some(Some(50_000)));
        assert_eq!(torrent.group, Some(Some("slow".to_owned())));
        assert_eq!(torrent.ratio_goal, Some(RatioGoal::Ratio(3.0)));
        let groups = client.call::<call::GroupList>(Nothing {}).await.unwrap();
        assert_eq!((groups[0].name.as_str(), groups[0].torrents), ("slow", 1));
    });
}

#[test]
fn groups_are_made_changed_listed_and_removed() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "one", &[]).await;
        let slow = GroupChange { name: "slow".into(), ..GroupChange::default() };
        let set = |change: GroupChange| client.call::<call::GroupSet>(change);
        let made = set(GroupChange { upload_limit: Some(Some(20_000)), ..slow.clone() }).await;
        let mut expected = Group {
            name: "slow".into(),
            upload_limit: Some(20_000),
            download_limit: None,
            honors_session_limits: true,
            torrents: 0,
        };
        assert_eq!(made.unwrap(), expected);
        edit(&client, json!({ "torrents": [id], "group": "slow" })).await;
        let change = GroupChange {
            upload_limit: Some(None),
            download_limit: Some(Some(1)),
            honors_session_limits: Some(false),
            ..slow.clone()
        };
        expected = Group {
            upload_limit: None,
            download_limit: Some(1000),
            honors_session_limits: false,
            torrents: 1,
            ..expected
        };
        assert_eq!(set(change).await.unwrap(), expected);
        assert_eq!(set(slow).await.unwrap(), expected, "nothing is to be changed");
        assert_eq!(client.call::<call::GroupList>(Nothing {}).await.unwrap(), [expected]);

        let nameless = set(GroupChange { name: " ".into(), ..GroupChange::default() }).await;
        assert_eq!(refused(nameless), Some(Code::InvalidParams));
        let remove = |name: &str| client.call::<call::GroupRemove>(GroupName { name: name.into() });
        let unknown = failure(remove("fast").await);
        assert_eq!(unknown.kind(), Some(Code::NoSuchGroup));
        assert_eq!(unknown.data, Some(json!({ "group": "fast" })));
        remove("slow").await.unwrap();
        assert!(client.call::<call::GroupList>(Nothing {}).await.unwrap().is_empty());
        assert_eq!(told(&client, id, "group").await, json!(null), "it is in none");
    });
}

/// The torrents in the order of the queue.
async fn order(client: &Client) -> Vec<u32> {
    let fields = Some(vec![Field::queue_position]);
    let list = List { fields, sort: Some(Field::queue_position), ..List::default() };
    let torrents = client.call::<call::TorrentList>(list).await.unwrap().torrents;
    let at: Vec<u32> = torrents.iter().map(|torrent| torrent.queue_position.unwrap()).collect();
    assert_eq!(at, (0..torrents.len() as u32).collect::<Vec<_>>());
    torrents.iter().map(|torrent| torrent.id).collect()
}

#[test]
fn torrents_are_moved_in_the_queue_by_words_and_positions() {
    run(|rig| async move {
        let client = client(&rig);
        let ids = three(&rig, &client).await;
        let [a, b, c] = ids[..] else { panic!() };
        let shift = async |moved: &[u32], to: QueueTarget| {
            let torrents = Selection::These(moved.iter().map(|id| TorrentRef::Id(*id)).collect());
            client.call::<call::QueueMove>(MoveInQueue { torrents, to }).await.unwrap();
            order(&client).await
        };
        assert_eq!(shift(&[c], QueueTarget::Way(QueueWay::Top)).await, [c, a, b]);
        assert_eq!(shift(&[c], QueueTarget::Way(QueueWay::Down)).await, [a, c, b]);
        assert_eq!(shift(&[a], QueueTarget::Way(QueueWay::Bottom)).await, [c, b, a]);
        assert_eq!(shift(&[a, b], QueueTarget::Way(QueueWay::Up)).await, [b, a, c]);
        assert_eq!(shift(&[b, a], QueueTarget::Position(1)).await, [c, b, a]);
        assert_eq!(shift(&[c], QueueTarget::Position(99)).await, [b, a, c]);
        for bad in [json!("sideways"), json!(-1), json!(null)] {
            let params = json!({ "torrents": [a], "to": bad });
            let outcome = client.call_by_name("queue.move", &params).await;
            assert_eq!(refused(outcome), Some(Code::InvalidParams), "{bad}");
        }
        assert_eq!(order(&client).await, [b, a, c]);
    });
}

#[test]
fn started_torrents_wait_for_their_turn_unless_they_are_not_to() {
    run(|rig| async move {
        let client = client(&rig);
        let ids = three(&rig, &client).await;
        // What has been checked waits in the order of the queue.
        let all = Several { torrents: Selection::ALL };
        client.call::<call::TorrentVerify>(all).await.unwrap();
        for &id in &ids {
            wait_for(&client, id, |torrent| {
                (torrent.progress, torrent.state) == (Some(1.0), Some(State::Stopped))
            })
            .await;
        }
        let settings = json!({ "seed_queue_enabled": true, "seed_queue_size": 1 });
        client.call_by_name("settings.set", &json!({ "settings": settings })).await.unwrap();
        let start = |torrents, now| client.call::<call::TorrentStart>(Start { torrents, now });
        assert_eq!(start(Selection::ALL, false).await.unwrap(), ids);
        let state = |state| move |torrent: &Torrent| torrent.state == Some(state);
        wait_for(&client, ids[0], state(State::Seeding)).await;
        wait_for(&client, ids[2], state(State::QueuedToSeed)).await;
        let figures = client.call::<call::StatisticsGet>(Nothing {}).await.unwrap();
        assert_eq!((figures.queued, figures.stopped), (2, 0));
        start(these(ids[2]), true).await.unwrap();
        wait_for(&client, ids[2], state(State::Seeding)).await;
        assert_eq!(get(&client, ids[1]).await.state, Some(State::QueuedToSeed));
    });
}

/// Takes messages until what is known is as it should be.
async fn follow(
    changes: &mut Subscription<Changes>,
    known: &mut BTreeMap<u32, Torrent>,
    holds: impl Fn(&BTreeMap<u32, Torrent>) -> bool,
) -> Vec<Changes> {
    let mut messages = Vec::new();
    let wait = async {
        while !holds(known) {
            let message = changes.next().await.expect("it goes on").unwrap();
            message.clone().apply(known);
            messages.push(message);
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes about");
    messages
}

#[test]
fn subscribers_are_told_of_limits_groups_and_places_as_they_change() {
    run(|rig| async move {
        let client = client(&rig);
        let ids = three(&rig, &client).await;
        let fields = vec![
            Field::queue_position,
            Field::priority,
            Field::upload_limit,
            Field::group,
            Field::ratio_goal,
            Field::idle_goal,
        ];
        let params = TorrentStream { fields: Some(fields), interval: 100 };
        let mut changes = client.subscribe::<call::Torrents>(params).await.unwrap();
        let mut known = BTreeMap::new();
        follow(&mut changes, &mut known, |known| known.len() == 3).await;
        let change = Edit {
            upload_limit: Some(Some(9000)),
            idle_goal: Some(IdleGoal::Seconds(60)),
            ..Edit::of(these(ids[1]))
        };
        client.call::<call::TorrentEdit>(change).await.unwrap();
        let messages = follow(&mut changes, &mut known, |known| {
            known[&ids[1]].upload_limit == Some(Some(9000))
        });
        let news = messages.await.pop().unwrap();
        let expected = Torrent {
            id: ids[1],
            upload_limit: Some(Some(9000)),
            idle_goal: Some(IdleGoal::Seconds(60)),
            ..Torrent::default()
        };
        assert_eq!(news.torrents, [expected], "and nothing else");

        edit(&client, json!({ "torrents": [ids[2]], "group": "slow", "priority": "high" })).await;
        let group = Some(Some("slow".to_owned()));
        follow(&mut changes, &mut known, |known| known[&ids[2]].group == group).await;
        client.call::<call::GroupRemove>(GroupName { name: "slow".into() }).await.unwrap();
        follow(&mut changes, &mut known, |known| known[&ids[2]].group == Some(None)).await;
        assert_eq!(known[&ids[2]].priority, Some(Weight::High));

        // Those behind one that goes move up.
        let remove = Remove { torrents: these(ids[0]), delete_data: false };
        client.call::<call::TorrentRemove>(remove).await.unwrap();
        follow(&mut changes, &mut known, |known| {
            known.len() == 2 && known[&ids[2]].queue_position == Some(1)
        })
        .await;
        assert_eq!(known[&ids[1]].queue_position, Some(0));
    });
}

#[test]
fn a_removed_torrent_is_gone_when_the_call_is_answered_and_can_come_again() {
    run(|rig| async move {
        let client = client(&rig);
        for _ in 0..3 {
            let id = add(&rig, &client, "one", &[]).await;
            client
                .call::<call::TorrentStart>(Start { torrents: these(id), now: false })
                .await
                .unwrap();
            wait_for(&client, id, |torrent| torrent.state == Some(State::Seeding)).await;
            let remove = Remove { torrents: these(id), delete_data: false };
            client.call::<call::TorrentRemove>(remove).await.unwrap();
            let listing = client.call::<call::TorrentList>(List::default()).await.unwrap();
            assert_eq!((listing.total, listing.torrents.len()), (0, 0));
            let outcome = client.call::<call::TorrentGet>(one(id)).await;
            assert_eq!(failure(outcome).data, Some(json!({ "torrent": id })));
            let got = rig.call("torrent_get", json!({ "fields": ["id"] })).await;
            assert_eq!(got["torrents"], json!([]));
            let recent = json!({ "ids": "recently_active", "fields": ["id"] });
            let removed = rig.call("torrent_get", recent).await["removed"].clone();
            assert!(removed.as_array().unwrap().contains(&json!(id)), "{removed}");
        }
    });
}
