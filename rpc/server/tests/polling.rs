//! Remotes that ask for all torrents again and again, as torrents change between.

mod support;

use serde_json::{Value, json};

const FIELDS: [&str; 9] = [
    "id",
    "name",
    "hash_string",
    "magnet_link",
    "download_dir",
    "torrent_file",
    "labels",
    "status",
    "error_string",
];

/// What is polled, and the same asked for by name: that answer is always made anew.
async fn assert_list_is_true(rig: &support::Rig, format: &str) -> Vec<u64> {
    let ask = async |ids: Option<&[u64]>| {
        let mut params = json!({ "fields": FIELDS, "format": format });
        ids.into_iter().for_each(|ids| params["ids"] = json!(ids));
        rig.call("torrent_get", params).await["torrents"].take()
    };
    let polled = ask(None).await;
    let rows = polled.as_array().into_iter().flatten();
    let ids: Vec<u64> =
        rows.filter_map(|row| row.get("id").or_else(|| row.get(0))?.as_u64()).collect();
    let named = ask(Some(&ids)).await;
    assert!(polled.to_string().len() > 64 * 1024, "shorter answers are not kept");
    assert_eq!(polled, named);
    ids
}

#[test]
fn a_list_that_is_continued_is_the_list_that_is_made_anew() {
    support::run(|rig| async move {
        let add = async |number: usize| {
            let name = format!("number {number} \"of\" {}many", "very ".repeat(25));
            rig.add(&support::torrent(&rig.downloads(), &name, &[("x", 100)], false)).await
        };
        for number in 0..150 {
            add(number).await;
        }
        for format in ["objects", "table"] {
            let mut state: u64 = 42;
            let mut random = |bound: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as usize % bound
            };
            let mut ids = assert_list_is_true(&rig, format).await;
            for round in 0..40 {
                // The first and the last are changed more often than the others: they are the ends.
                let some: Vec<u64> = (0..random(4))
                    .map(|_| [ids[0], ids[ids.len() - 1], ids[random(ids.len())]][random(3)])
                    .collect();
                match round % 5 {
                    0..=2 => {
                        let labels = [format!("round {round} {}", "x".repeat(random(30)))];
                        let params = json!({ "ids": some, "labels": labels });
                        rig.call("torrent_set", params).await;
                    }
                    3 => {
                        rig.call("torrent_remove", json!({ "ids": some })).await;
                    }
                    _ => {
                        add(1000 + round + ids.len()).await;
                    }
                }
                let before = ids.len();
                ids = assert_list_is_true(&rig, format).await;
                assert!(ids.len() + 4 > before && ids.is_sorted(), "round {round}");
            }
        }
        let settings = json!({ "seed_ratio_limited": true, "seed_ratio_limit": 1.5 });
        assert_eq!(rig.call("session_set", settings).await, Value::Object(Default::default()));
        assert_list_is_true(&rig, "objects").await;
    });
}
