//! A daemon that is killed while it moves a torrent to another file system.

use serde_json::json;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

mod support;
use support::{Daemon, run, stdout};

/// Whether a copy is under way in the folder, or has been.
fn has_begun(folder: &Path) -> bool {
    fs::read_dir(folder.join("data")).is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
fn a_kill_in_the_middle_of_a_move_loses_nothing_and_the_move_is_resumed() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    // Another file system, in memory, where there is one.
    let other =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let to = other.path();
    let files: Vec<(String, Vec<u8>)> = (0..4u32)
        .map(|file| {
            let bytes = (0..40_000_000u32).map(|at| (at.wrapping_mul(at + file) >> 9) as u8);
            (format!("data/{file}.bin"), bytes.collect())
        })
        .collect();
    let is_whole = |folder: &Path| {
        files
            .iter()
            .all(|(name, bytes)| fs::read(folder.join(name)).is_ok_and(|read| read == *bytes))
    };
    let downloads = folder.join("downloads");
    fs::create_dir_all(downloads.join("data")).expect("a folder");
    for (name, bytes) in &files {
        fs::write(downloads.join(name), bytes).expect("a file");
    }
    stdout(&run(
        folder,
        &["create", "downloads/data", "-o", "data.torrent", "--piece-length", "1M"],
    ));
    let daemon = Daemon::start(folder, &[]);
    stdout(&daemon.run(folder, &["add", "data.torrent"]));
    daemon.wait_for(folder, "seeding", |torrent| torrent["state"] == "seeding");
    let mut daemon = Some(daemon);
    for round in 0..3 {
        let running = daemon.take().expect("a daemon");
        if round == 0 {
            stdout(&running.run(folder, &["move", "1", "--to", to.to_str().expect("a path")]));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !has_begun(to) {
            assert!(Instant::now() < deadline, "the move does not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(10 * round));
        // Dropping it kills it (SIGKILL).
        drop(running);
        assert!(is_whole(&downloads) || is_whole(to), "one of the places is whole");
        daemon = Some(Daemon::start(folder, &[]));
    }
    let daemon = daemon.expect("a daemon");
    daemon.wait_for(folder, "seeding again", |torrent| {
        assert_ne!(torrent["state"], "verifying");
        torrent["state"] == "seeding"
    });
    let shown = daemon.json(folder, &["show", "1"]);
    assert_eq!(shown[0]["download_dir"], json!(to));
    assert!(is_whole(to));
    assert!(!downloads.join("data").exists(), "the old place is cleared");
    let names = fs::read_dir(to.join("data")).expect("the folder").count();
    assert_eq!(names, files.len(), "no copy is left over");
}
