use super::{
    schema::{LATEST, VERSIONS},
    *,
};
use rusqlite::{Row, params};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

fn order(waits: bool) -> Order {
    let done = waits.then(|| oneshot::channel().0);
    Order { write: Write::Counters(SessionCounters::default()), done }
}

#[test]
fn what_nobody_waits_for_is_written_when_somebody_does() {
    let (orders, queue) = unbounded();
    (0..3).for_each(|_| orders.send(order(false)).unwrap());
    orders.send(order(true)).unwrap();
    assert_eq!(gather(order(false), &queue, 0).len(), 5);
    let begun = Instant::now();
    assert_eq!(gather(order(false), &queue, 0).len(), 1);
    assert!(begun.elapsed() >= LAZY_FOR);
    assert_eq!(
        [patience(0, 0), patience(1, 0), patience(1, 1)],
        [LAZY_FOR, Duration::ZERO, Duration::ZERO]
    );
    assert_eq!([patience(1, 2), patience(2, 2)], [COMPANY_FOR, Duration::ZERO]);
}

#[test]
fn callers_who_came_together_are_waited_for() {
    let (orders, queue) = unbounded();
    orders.send(order(true)).unwrap();
    let begun = Instant::now();
    assert_eq!(gather(order(true), &queue, 3).len(), 2);
    assert!(begun.elapsed() >= COMPANY_FOR, "the third might have come");
    (0..3).for_each(|_| orders.send(order(true)).unwrap());
    assert_eq!(gather(order(true), &queue, 1).len(), 4, "what is there goes along");
}

fn torrent(number: u8) -> StoredTorrent {
    StoredTorrent {
        info_hash: InfoHash([number; 20]),
        metainfo: vec![number; 100],
        download_dir: OsString::from_vec(vec![b'/', 0xff, number + 1]).into(),
        running: number.is_multiple_of(2),
        added_date: u64::from(number),
        rank: 10 - i64::from(number),
        options: StoredOptions { labels: vec!["ä".into()], ..StoredOptions::default() },
        totals: Totals { uploaded: 1 << 60, ..Totals::default() },
        resume: Some(vec![1, 2, 3]),
    }
}

#[test]
fn everything_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.db");
    let counters = SessionCounters { uploaded: 5, sessions: 2, ..SessionCounters::default() };
    let (database, stored) = Database::open(&path).unwrap();
    assert!(stored.torrents.is_empty());
    for number in 0..5 {
        database.write(Write::Torrent(Box::new(torrent(number))));
    }
    database.write(Write::Running(InfoHash([1; 20]), true));
    database.write(Write::Resume(InfoHash([2; 20]), None));
    database.write(Write::Remove(InfoHash([3; 20])));
    // What comes late for a removed torrent is not kept.
    database.write(Write::Totals(InfoHash([3; 20]), Totals::default()));
    database.write(Write::Resume(InfoHash([3; 20]), Some(vec![4])));
    database.write(Write::Counters(counters));
    drop(database);
    let (_database, stored) = Database::open(&path).unwrap();
    let hashes: Vec<u8> = stored.torrents.iter().map(|found| found.info_hash.0[0]).collect();
    assert_eq!(hashes, [0, 1, 2, 4]);
    assert_eq!(stored.counters, counters);
    for found in stored.torrents {
        let expected = torrent(found.info_hash.0[0]);
        assert_eq!(found.metainfo, expected.metainfo);
        assert_eq!(found.download_dir, expected.download_dir);
        assert_eq!(found.options.labels, expected.options.labels);
        assert_eq!(found.totals, expected.totals);
        assert_eq!(found.running, found.info_hash.0[0] == 1 || expected.running);
        assert_eq!(found.resume.is_none(), found.info_hash.0[0] == 2);
    }
}

#[test]
fn a_database_of_version_1_keeps_its_torrents_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(VERSIONS[0]).unwrap();
    for number in 0..3 {
        let hash = [number; 20];
        let torrent =
            "INSERT INTO torrents VALUES (?1, ?2, x'00', x'2f', 1, 5, '{\"labels\":[\"x\"]}')";
        connection.execute(torrent, params![number + 1, hash]).unwrap();
        let totals = "INSERT INTO totals VALUES (?1, 0, 1 << 60, 0, 0, 0, 0, 0)";
        connection.execute(totals, [hash]).unwrap();
        if number != 1 {
            connection.execute("INSERT INTO resume VALUES (?1, x'07')", [hash]).unwrap();
        }
    }
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let (database, stored) = Database::open(&path).unwrap();
    let ranks: Vec<i64> = stored.torrents.iter().map(|torrent| torrent.rank).collect();
    assert!(ranks.len() == 3 && ranks.is_sorted() && ranks[0] < ranks[2], "{ranks:?}");
    assert!(stored.torrents.iter().all(|torrent| torrent.totals.uploaded == 1 << 60));
    let resume: Vec<bool> =
        stored.torrents.iter().map(|torrent| torrent.resume.is_some()).collect();
    assert_eq!(resume, [true, false, true]);
    // What is written and removed by now is so in the new tables.
    database.write(Write::Resume(InfoHash([1; 20]), Some(vec![5])));
    database.write(Write::Remove(InfoHash([2; 20])));
    drop(database);
    let left = Connection::open(&path).unwrap();
    for (table, count) in [("torrents", 2), ("totals", 2), ("resume", 2)] {
        let rows = |row: &Row<'_>| row.get::<_, i64>(0);
        let found = left.query_row(&format!("SELECT count(*) FROM {table}"), [], rows).unwrap();
        assert_eq!(found, count, "{table}");
    }
    assert_eq!(stored.torrents[0].options.labels, ["x"]);
    assert_eq!(stored.torrents[0].options.rules, Rules::default());
}

#[test]
fn ranks_and_groups_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.db");
    let (database, _) = Database::open(&path).unwrap();
    (0..3).for_each(|number| database.write(Write::Torrent(Box::new(torrent(number)))));
    database.write(Write::Ranks(vec![(InfoHash([1; 20]), -7), (InfoHash([9; 20]), 1)]));
    let mut group = Group { name: "slow".into(), ..Group::default() };
    database.write(Write::Group(group.clone()));
    group.honors_session_limits = false;
    database.write(Write::Group(group.clone()));
    drop(database);
    let (_database, stored) = Database::open(&path).unwrap();
    let ranks: Vec<i64> = stored.torrents.iter().map(|torrent| torrent.rank).collect();
    assert_eq!((ranks, stored.groups), (vec![10, -7, 8], vec![group]));
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.db");
    drop(Database::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", LATEST + 1).unwrap();
    drop(connection);
    assert!(matches!(Database::open(&path), Err(DatabaseError::TooNew(_))));
}

#[tokio::test]
async fn one_order_that_fails_does_not_take_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.db");
    let (database, _) = Database::open(&path).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON torrents WHEN NEW.added_date = 1
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let answers: Vec<_> = (0..3)
        .map(|number| database.write_durably(Write::Torrent(Box::new(torrent(number)))))
        .collect();
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer.await.unwrap().is_ok());
    }
    assert_eq!(results, [true, false, true]);
}

#[tokio::test]
async fn what_was_answered_for_is_in_a_log_that_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.db");
    let log = folder.path().join("session.db-wal");
    let (database, _) = Database::open(&path).unwrap();
    for number in 0..5 {
        database.write_durably(Write::Torrent(Box::new(torrent(number)))).await.unwrap().unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), LOG_BYTES);
    }
    // As after the end of the power.
    let later = tempfile::tempdir().unwrap();
    for file in [&path, &log] {
        std::fs::copy(file, later.path().join(file.file_name().unwrap())).unwrap();
    }
    let (_database, stored) = Database::open(&later.path().join("session.db")).unwrap();
    assert_eq!(stored.torrents.len(), 5);
}

#[test]
fn a_log_takes_no_room_that_is_not_there() {
    let Some(disk) = machine::Mount::small("1m") else { return };
    let log = disk.folder().join("log");
    std::fs::write(&log, [7; 5000]).unwrap();
    assert!(lengthen(&log, 1 << 22).is_err());
    assert_eq!(std::fs::read(&log).unwrap(), [7; 5000]);
    lengthen(&log, 10_000).unwrap();
    let long = std::fs::read(&log).unwrap();
    assert!(long[..5000] == [7; 5000] && long[5000..] == [0; 5000]);
    lengthen(&log, 100).unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 10_000);
}
