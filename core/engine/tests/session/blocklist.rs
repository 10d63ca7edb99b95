//! Peers that a blocklist keeps out.

use crate::support::{Client, Sample, logs};
use engine::{BlocklistError, Session};
use ringseed_engine as engine;
use std::{fs, path::Path, time::Duration};

async fn set(session: &Session, url: &Path, enabled: bool) {
    let mut settings = session.settings();
    settings.blocklist_url = url.to_str().unwrap().to_owned();
    settings.blocklist_enabled = enabled;
    session.set_settings(settings).unwrap();
}

#[tokio::test]
async fn blocked_peers_are_closed_and_neither_let_in_nor_connected_to() {
    logs();
    let sample = Sample::new("sample", &[40_000_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 2).await;
    let seeding = seed.session.read(|catalog| catalog.iter().next().unwrap().id);
    let mut leech = Client::start(1).await;
    let id = leech.add(&sample).await;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait(id, "some", |torrent| torrent.have_bytes > 0).await;
    // The seed gets a list with the leech's address: what is connected goes.
    let list = seed.home.path().join("list.p2p");
    fs::write(&list, "a name: with colons:127.0.0.1-127.0.0.9\nother:10.0.0.0-10.0.0.1\n").unwrap();
    set(&seed.session, &list, true).await;
    assert_eq!(seed.session.blocklist_size(), 0);
    assert_eq!(seed.session.update_blocklist().await.unwrap(), 2);
    seed.wait(seeding, "no peers", |torrent| torrent.traffic.peers == 0).await;
    let had = leech.torrent(id).have_bytes;
    leech.restart(1).await;
    let id = leech.session.read(|catalog| catalog.iter().next().unwrap().id);
    leech.session.add_peers(id, seed.session.peer_addr());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(seed.torrent(seeding).traffic.peers, 0, "it is not let in");
    if leech.torrent(id).left > 0 {
        assert!(leech.torrent(id).have_bytes >= had);
        // It blocks the seed itself: it does not even try.
        let own = leech.home.path().join("list.dat");
        fs::write(&own, "127.000.000.000 - 127.000.000.255 , 0 , all\n").unwrap();
        set(&leech.session, &own, true).await;
        leech.session.update_blocklist().await.unwrap();
        set(&seed.session, &list, false).await;
        leech.session.add_peers(id, seed.session.peer_addr());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(leech.torrent(id).traffic.peers, 0);
        // Without the lists they find each other again.
        set(&leech.session, &own, false).await;
    }
    set(&seed.session, &list, false).await;
    leech.session.stop_torrents(&[id]);
    leech.wait(id, "stop", |t| t.activity == engine::status::Activity::Stopped).await;
    leech.session.start_torrents(&[id]);
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_had_leaves_the_last_one_in_force_also_after_a_restart() {
    logs();
    let mut client = Client::start(1).await;
    let list = client.home.path().join("list");
    let none = client.session.update_blocklist().await;
    assert!(matches!(none, Err(BlocklistError::NoUrl)));
    fs::write(&list, "1.2.3.0/24\n2001:db8::/32\n").unwrap();
    set(&client.session, &list, true).await;
    assert_eq!(client.session.update_blocklist().await.unwrap(), 2);
    fs::write(&list, "# no rule\n").unwrap();
    let none = client.session.update_blocklist().await;
    assert!(matches!(none, Err(BlocklistError::NoRule)));
    fs::write(&list, [0x1f, 0x8b, 8, 0, 1]).unwrap();
    let none = client.session.update_blocklist().await;
    assert!(matches!(none, Err(BlocklistError::Damaged(_))));
    fs::remove_file(&list).unwrap();
    let none = client.session.update_blocklist().await;
    assert!(matches!(none, Err(BlocklistError::File { .. })));
    assert_eq!(client.session.blocklist_size(), 2);
    client.restart(1).await;
    assert_eq!(client.session.blocklist_size(), 2);
    client.session.stop().await;
}
