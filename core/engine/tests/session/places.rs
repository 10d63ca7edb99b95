//! Torrents whose files go elsewhere, or get other names.

use crate::support::{Client, Sample, logs};
use engine::{NewTorrent, PlaceError, status::Activity, status::Trouble};
use ringseed_engine as engine;
use std::{
    path::Path,
    time::{Duration, Instant},
};

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Seeds, with no check on the way.
async fn seeds_unchecked(client: &Client, id: engine::TorrentId) {
    client
        .wait(id, "seeding", |torrent| {
            assert_ne!(torrent.activity, Activity::Verifying, "its stamps follow");
            assert_ne!(torrent.activity, Activity::QueuedToVerify, "its stamps follow");
            torrent.activity == Activity::Seeding
        })
        .await;
}

async fn assert_serves(client: &Client, sample: &Sample) {
    let leech = Client::start(1).await;
    let id = leech.add(sample).await;
    leech.session.add_peers(id, client.session.peer_addr());
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    leech.session.stop().await;
}

#[tokio::test]
async fn a_seeding_torrent_moves_and_goes_on_without_a_check() {
    logs();
    let sample = Sample::new("sample", &[300_000, 0, 500_000], 65_536);
    let mut client = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    for folder in [client.home.path().join("elsewhere"), shm.path().join("memory")] {
        let before = client.torrent(id).download_dir;
        client.session.set_location(id, &folder, true).unwrap();
        client.wait(id, "the move", |torrent| torrent.download_dir == folder).await;
        seeds_unchecked(&client, id).await;
        sample.assert_in(&folder);
        assert!(is_empty(&before), "the old place is cleared");
        assert_eq!(client.torrent(id).relocation, None);
        assert_serves(&client, &sample).await;
    }
    client.restart(1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    assert_eq!(client.torrent(id).download_dir, shm.path().join("memory"));
    seeds_unchecked(&client, id).await;
    client.session.stop().await;
}

#[tokio::test]
async fn a_torrent_moves_while_it_downloads() {
    logs();
    let sample = Sample::new("sample", &[20_000_000, 3_000_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let leech = Client::start(1).await;
    let id = leech.add(&sample).await;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait(id, "some", |torrent| torrent.have_bytes > 0).await;
    let had = leech.torrent(id).have_bytes;
    let folder = leech.home.path().join("elsewhere");
    leech.session.set_location(id, &folder, true).unwrap();
    leech.wait(id, "the move", |torrent| torrent.download_dir == folder).await;
    leech
        .wait(id, "going on", |torrent| {
            assert_ne!(torrent.activity, Activity::Verifying);
            matches!(torrent.activity, Activity::Downloading | Activity::Seeding)
        })
        .await;
    assert!(leech.torrent(id).have_bytes >= had);
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    leech.session.stop().await;
    sample.assert_in(&folder);
    assert!(is_empty(&leech.data()));
    seed.session.stop().await;
}

#[tokio::test]
async fn a_move_that_cannot_be_stops_the_torrent_with_one_error() {
    logs();
    let sample = Sample::new("sample", &[300_000, 500_000], 65_536);
    let client = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    let folder = client.home.path().join("taken");
    let (path, bytes) = &sample.files[1];
    std::fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
    std::fs::write(folder.join(path), vec![1; bytes.len()]).unwrap();
    client.session.set_location(id, &folder, true).unwrap();
    client.wait(id, "the error", |torrent| torrent.trouble.is_some()).await;
    let torrent = client.torrent(id);
    assert!(
        matches!(&torrent.trouble, Some(Trouble::Local(text)) if text.contains("another file"))
    );
    assert_eq!((torrent.running, torrent.activity), (false, Activity::Stopped));
    assert_eq!(torrent.download_dir, client.data());
    sample.assert_in(&client.data());
    assert!(!folder.join(&sample.files[0].0).exists(), "what was there is undone");
    client.session.start_torrents(&[id]);
    seeds_unchecked(&client, id).await;
    assert_eq!(client.torrent(id).trouble, None);
    let relative = client.session.set_location(id, Path::new("relative"), true);
    assert!(matches!(relative, Err(PlaceError::Relative(_))));
    client.session.stop().await;
}

#[tokio::test]
async fn a_move_that_the_end_of_the_program_broke_off_is_resumed() {
    logs();
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let sample = Sample::new("sample", &[120_000_000, 500_000], 1 << 20);
    let mut client = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    client.session.set_location(id, shm.path(), true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !shm.path().join("sample").exists() {
        assert!(Instant::now() < deadline, "the move does not begin");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client.restart(1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    client.wait(id, "the move", |torrent| torrent.download_dir == shm.path()).await;
    seeds_unchecked(&client, id).await;
    sample.assert_in(shm.path());
    assert!(is_empty(&client.data()));
    client.session.stop().await;
}

#[tokio::test]
async fn the_last_of_several_moves_counts_and_a_removal_ends_them() {
    logs();
    let sample = Sample::new("sample", &[3_000_000, 500_000], 65_536);
    let client = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    let folder = |number: usize| client.home.path().join(format!("place {number}"));
    for number in 0..20 {
        client.session.set_location(id, &folder(number), true).unwrap();
        if number % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..10))).await;
        }
    }
    client
        .wait(id, "the last place", |torrent| {
            torrent.download_dir == folder(19) && torrent.activity == Activity::Seeding
        })
        .await;
    sample.assert_in(&folder(19));
    assert!((0..19).all(|number| is_empty(&folder(number))));
    client.session.set_location(id, &folder(20), true).unwrap();
    client.session.remove(&[id], true);
    let deadline = Instant::now() + Duration::from_secs(30);
    assert!(client.session.read(|catalog| catalog.is_empty()), "gone at once");
    while !is_empty(&folder(19)) || !is_empty(&folder(20)) {
        assert!(Instant::now() < deadline, "its data is not deleted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.session.stop().await;
}

#[tokio::test]
async fn a_torrent_can_be_pointed_at_files_that_are_elsewhere() {
    logs();
    let sample = Sample::new("sample", &[300_000, 500_000], 65_536);
    let client = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    let folder = client.home.path().join("copied by hand");
    client.session.set_location(id, &folder, false).unwrap();
    client.wait(id, "missing files", |torrent| torrent.trouble.is_some()).await;
    assert_eq!(client.torrent(id).download_dir, folder);
    sample.assert_in(&client.data());
    sample.write_to(&folder);
    client.session.start_torrents(&[id]);
    client.wait_seeding(id).await;
    assert_serves(&client, &sample).await;
    // Both places have the files, and both keep them.
    client.session.set_location(id, &client.data(), false).unwrap();
    client.wait(id, "the first place", |torrent| torrent.download_dir == client.data()).await;
    client.wait_seeding(id).await;
    sample.assert_in(&client.data());
    sample.assert_in(&folder);
    client.session.stop().await;
}

#[tokio::test]
async fn files_folders_and_the_torrent_are_renamed_while_it_seeds() {
    logs();
    let sample = Sample::new("sample", &[300_000, 500_000], 65_536);
    let mut client = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    for (path, name) in [
        ("sample/folder/file 1", "One"),
        ("sample/folder", "Folder"),
        ("sample", "Sample: renamed"),
        ("Sample: renamed/Folder/One", "one"),
    ] {
        client.session.rename_path(id, path, name).await.unwrap();
        seeds_unchecked(&client, id).await;
    }
    let check = |folder: &Path| {
        let read = |name: &str| std::fs::read(folder.join("Sample: renamed/Folder").join(name));
        assert!(read("file 0").unwrap() == sample.files[0].1);
        assert!(read("one").unwrap() == sample.files[1].1);
        assert!(!folder.join("sample").exists());
    };
    check(&client.data());
    assert_eq!(client.torrent(id).meta.layout.name(), "Sample: renamed");
    for (path, name) in
        [("sample", "x"), ("Sample: renamed", "a/b"), ("Sample: renamed/Folder/one", "file 0")]
    {
        let refused = client.session.rename_path(id, path, name).await;
        assert!(matches!(refused, Err(PlaceError::Rename(_))), "{refused:?}");
    }
    // Something else has the name on the disk: the torrent goes on as it was.
    std::fs::write(client.data().join("Sample: renamed/Folder/other"), b"x").unwrap();
    let refused = client.session.rename_path(id, "Sample: renamed/Folder/one", "other").await;
    assert!(matches!(refused, Err(PlaceError::Files(_))), "{refused:?}");
    seeds_unchecked(&client, id).await;
    std::fs::remove_file(client.data().join("Sample: renamed/Folder/other")).unwrap();
    client.restart(1).await;
    let id = client.session.read(|catalog| catalog.iter().next().unwrap().id);
    seeds_unchecked(&client, id).await;
    assert_serves(&client, &sample).await;
    let folder = client.home.path().join("elsewhere");
    client.session.set_location(id, &folder, true).unwrap();
    client.wait(id, "the move", |torrent| torrent.download_dir == folder).await;
    seeds_unchecked(&client, id).await;
    check(&folder);
    client.session.stop().await;
}

#[tokio::test]
async fn new_torrents_wait_in_the_incomplete_folder_under_partial_names() {
    logs();
    let sample = Sample::new("sample", &[8_000_000, 0, 500_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let incomplete = shm.path().to_path_buf();
    let leech = Client::with(|settings| {
        settings.incomplete_dir = incomplete;
        settings.incomplete_dir_enabled = true;
        settings.rename_partial_files = true;
        // So that it can be seen there.
        settings.speed_limit_down = 500;
        settings.speed_limit_down_enabled = true;
    })
    .await;
    let id = leech.add(&sample).await;
    assert_eq!(leech.torrent(id).data_dir(), shm.path());
    assert_eq!(leech.torrent(id).download_dir, leech.data());
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait(id, "a file", |_| shm.path().join("sample/folder/file 0.part").exists()).await;
    let mut settings = leech.session.settings();
    settings.speed_limit_down_enabled = false;
    leech.session.set_settings(settings).unwrap();
    leech
        .wait(id, "the last place", |torrent| {
            torrent.incomplete_dir.is_none() && torrent.activity == Activity::Seeding
        })
        .await;
    sample.assert_in(&leech.data());
    assert!(is_empty(shm.path()));
    // Files that are where they belong stay there.
    leech.session.remove(&[id], false);
    let deadline = Instant::now() + Duration::from_secs(30);
    while leech.session.read(|catalog| catalog.get(id).is_some()) {
        assert!(Instant::now() < deadline, "it is not removed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let new = NewTorrent { paused: Some(true), ..sample.new_torrent() };
    let id = leech.session.add(new).await.unwrap().id;
    assert_eq!(leech.torrent(id).incomplete_dir, None);
    leech.session.start_torrents(&[id]);
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    leech.session.stop().await;
    seed.session.stop().await;
}
