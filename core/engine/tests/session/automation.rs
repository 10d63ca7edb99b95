//! Scripts and watch folders.

use crate::support::{Client, Sample, logs, until};
use engine::{
    TorrentId,
    settings::{AfterAdding, WatchFolder},
    status::Activity,
};
use ringseed_engine as engine;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn scripts_run_when_a_torrent_is_added_and_when_it_is_in_its_place() {
    logs();
    let sample = Sample::new("the sample", &[300_000, 500_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let home = tempfile::tempdir().unwrap();
    let (told, done) = (home.path().join("told"), home.path().join("done"));
    let said = "echo out; echo err >&2";
    let added = script(
        home.path(),
        "added",
        &format!("{said}; env | grep ^TR_ | sort > {0}.new; mv {0}.new {0}", told.display()),
    );
    let text = format!(
        "ls \"$TR_TORRENT_DIR/$TR_TORRENT_NAME/folder\" > {0}.new; mv {0}.new {0}",
        done.display()
    );
    let completed = script(home.path(), "completed", &text);
    let incomplete = home.path().join("incomplete");
    let leech = Client::with(|settings| {
        settings.script_torrent_added_enabled = true;
        settings.script_torrent_added_filename = added;
        settings.script_torrent_done_enabled = true;
        settings.script_torrent_done_filename = completed;
        settings.incomplete_dir_enabled = true;
        settings.incomplete_dir = incomplete.clone();
    })
    .await;
    let mut new = sample.new_torrent();
    new.labels = vec!["a".into(), "b c".into()];
    let id = leech.session.add(new).await.unwrap().id;
    until("the first script", || told.exists()).await;
    let environment = fs::read_to_string(&told).unwrap();
    let hash = leech.torrent(id).info_hash.to_string();
    for line in [
        "TR_APP_VERSION=0.1.0".to_owned(),
        "TR_TORRENT_BYTES_DOWNLOADED=0".to_owned(),
        format!("TR_TORRENT_DIR={}", incomplete.display()),
        format!("TR_TORRENT_HASH={hash}"),
        format!("TR_TORRENT_ID={}", id.0),
        "TR_TORRENT_LABELS=a,b c".to_owned(),
        "TR_TORRENT_NAME=the sample".to_owned(),
        "TR_TORRENT_PRIORITY=0".to_owned(),
        "TR_TORRENT_TRACKERS=".to_owned(),
    ] {
        assert!(environment.lines().any(|found| found == line), "{line} in {environment}");
    }
    assert!(environment.contains("\nTR_TIME_LOCALTIME="));
    assert!(!done.exists());
    leech.session.add_peers(id, seed.session.peer_addr());
    until("the second script", || done.exists()).await;
    assert_eq!(fs::read_to_string(&done).unwrap(), "file 0\nfile 1\n");
    assert_eq!(leech.torrent(id).data_dir(), leech.data());
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn scripts_that_hang_or_are_not_there_hold_up_nothing() {
    logs();
    let home = tempfile::tempdir().unwrap();
    let started = home.path().join("started");
    let text = format!("echo $$ >> {}; sleep 1000 & sleep 1000", started.display());
    let hangs = script(home.path(), "hangs", &text);
    let client = Client::with(|settings| {
        settings.script_torrent_added_enabled = true;
        settings.script_torrent_added_filename = hangs;
        settings.script_time_limit = 3;
    })
    .await;
    // More of them than run at a time.
    for number in 0..6 {
        let sample = Sample::new(&format!("sample {number}"), &[40_000], 16_384);
        sample.write_to(&client.data());
        let id = client.add(&sample).await;
        client.wait_seeding(id).await;
    }
    let lines = || fs::read_to_string(&started).unwrap_or_default();
    until("all of them", || lines().lines().count() == 6).await;
    let is_gone = |pid: &str| {
        // One that waits to be collected counts as ended.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    until("their end", || lines().lines().all(is_gone)).await;
    let mut settings = client.session.settings();
    settings.script_torrent_added_filename = home.path().join("no such script");
    client.session.set_settings(settings).unwrap();
    client.add(&Sample::new("another", &[40_000], 16_384)).await;
    client.session.stop().await;
}

fn only(client: &Client) -> Option<TorrentId> {
    client.session.read(|catalog| catalog.iter().next().map(|torrent| torrent.id))
}

#[tokio::test]
async fn torrents_in_watch_folders_are_added_as_each_folder_says() {
    logs();
    let home = tempfile::tempdir().unwrap();
    let folders: Vec<PathBuf> =
        ["first", "second", "third"].map(|name| home.path().join(name)).to_vec();
    folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let samples: Vec<Sample> =
        (0..3).map(|n| Sample::new(&format!("sample {n}"), &[40_000, n + 1], 16_384)).collect();
    // One is there before the start.
    fs::write(folders[0].join("a.torrent"), &samples[0].torrent).unwrap();
    let elsewhere = home.path().join("elsewhere");
    let client = Client::with(|settings| {
        settings.trash_original_torrent_files = true;
        settings.watch_folders = vec![
            WatchFolder { path: folders[0].clone(), ..WatchFolder::default() },
            WatchFolder {
                path: folders[1].clone(),
                download_dir: Some(elsewhere.clone()),
                labels: vec!["watched".into()],
                paused: Some(true),
                after: Some(AfterAdding::Rename),
            },
            WatchFolder {
                path: folders[2].clone(),
                after: Some(AfterAdding::Keep),
                ..WatchFolder::default()
            },
        ];
    })
    .await;
    until("the first torrent", || only(&client).is_some()).await;
    until("its file to go", || !folders[0].join("a.torrent").exists()).await;
    assert!(client.torrent(only(&client).unwrap()).running);

    // Half a file first, the rest a moment later.
    let path = folders[1].join("B.TORRENT");
    let (half, _) = samples[1].torrent.split_at(samples[1].torrent.len() / 2);
    fs::write(&path, half).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(client.session.read(|catalog| catalog.len()), 1);
    fs::write(&path, &samples[1].torrent).unwrap();
    until("the second torrent", || client.session.read(|catalog| catalog.len()) == 2).await;
    until("its new name", || folders[1].join("B.TORRENT.added").exists()).await;
    let second = client.session.read(|catalog| catalog.iter().last().unwrap().clone());
    assert_eq!((second.running, second.activity), (false, Activity::Stopped));
    assert_eq!((second.download_dir, second.labels), (elsewhere, vec!["watched".to_owned()]));

    // What is no torrent stays where it is, and what is moved in is found.
    fs::write(folders[2].join("bad.torrent"), b"bad").unwrap();
    fs::write(folders[2].join("other.txt"), b"x").unwrap();
    fs::write(home.path().join("c"), &samples[2].torrent).unwrap();
    fs::rename(home.path().join("c"), folders[2].join("c.torrent")).unwrap();
    until("the third torrent", || client.session.read(|catalog| catalog.len()) == 3).await;
    assert!(folders[2].join("c.torrent").exists() && folders[2].join("bad.torrent").exists());
    client.session.stop().await;
}

#[tokio::test]
async fn watch_folders_come_and_go_while_the_session_runs() {
    logs();
    let home = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| home.path().join(name));
    [&first, &second].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let samples: Vec<Sample> =
        (0..3).map(|n| Sample::new(&format!("sample {n}"), &[40_000, n + 1], 16_384)).collect();
    let client = Client::with(|_| {}).await;
    let watch = |folders: Vec<WatchFolder>| {
        let mut settings = client.session.settings();
        settings.watch_folders = folders;
        client.session.set_settings(settings).unwrap();
    };
    let of = |path: &Path| WatchFolder { path: path.to_owned(), ..WatchFolder::default() };
    fs::write(first.join("a.torrent"), &samples[0].torrent).unwrap();
    watch(vec![of(&first)]);
    until("the first torrent", || only(&client).is_some()).await;
    until("its file's new name", || first.join("a.torrent.added").exists()).await;
    // The same folder with another wish, and one more.
    watch(vec![WatchFolder { labels: vec!["x".into()], ..of(&first) }, of(&second)]);
    fs::write(first.join("b.torrent"), &samples[1].torrent).unwrap();
    until("the second torrent", || client.session.read(|catalog| catalog.len()) == 2).await;
    until("its file's new name", || first.join("b.torrent.added").exists()).await;
    let torrent = client.session.read(|catalog| catalog.iter().last().unwrap().clone());
    assert_eq!(torrent.labels, ["x"], "by the wish of now");
    // A folder that is watched no more.
    watch(vec![of(&second)]);
    fs::write(first.join("c.torrent"), b"d8:announce").unwrap();
    fs::write(second.join("d.torrent"), &samples[2].torrent).unwrap();
    until("the third torrent", || client.session.read(|catalog| catalog.len()) == 3).await;
    assert!(first.join("c.torrent").exists());
    client.session.stop().await;
}

#[tokio::test]
async fn a_script_that_waits_for_a_move_runs_after_a_restart_if_need_be() {
    logs();
    let sample = Sample::new("the sample", &[300_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let home = tempfile::tempdir().unwrap();
    let done = home.path().join("done");
    let text = format!("echo \"$TR_TORRENT_DIR\" >> {}", done.display());
    let completed = script(home.path(), "completed", &text);
    // A file where a folder is to be: nothing can be moved there.
    let place = home.path().join("place");
    fs::write(&place, b"in the way").unwrap();
    let mut client = Client::with(|settings| {
        settings.script_torrent_done_enabled = true;
        settings.script_torrent_done_filename = completed;
        settings.incomplete_dir_enabled = true;
        settings.incomplete_dir = home.path().join("incomplete");
        settings.download_dir = place.join("downloads");
    })
    .await;
    let id = client.add(&sample).await;
    client.session.add_peers(id, seed.session.peer_addr());
    client.wait(id, "failed move", |torrent| torrent.left == 0 && torrent.trouble.is_some()).await;
    let settings = client.session.settings();
    client.session.stop().await;
    assert!(!done.exists());
    fs::remove_file(&place).unwrap();
    let config_dir = client.home.path().join("config");
    let options = engine::Options { config_dir, settings };
    client.session = engine::Session::start(options).await.unwrap();
    let id = only(&client).unwrap();
    client.session.start_torrents(&[id]);
    // The shell makes the file before it writes to it.
    let is_told = || fs::read_to_string(&done).is_ok_and(|text| text.ends_with('\n'));
    until("the script", is_told).await;
    client.wait_seeding(id).await;
    let downloads = place.join("downloads");
    assert_eq!(fs::read_to_string(&done).unwrap(), format!("{}\n", downloads.display()));
    sample.assert_in(&downloads);
    client.session.stop().await;
    seed.session.stop().await;
}
