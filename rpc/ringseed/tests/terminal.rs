//! The program in a real terminal: `ringseed top`, bars that show how far long work is, passwords that
//! are asked for; and what the program makes for shells and readers.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output},
};

mod support;
#[path = "support/terminal.rs"]
mod terminal;
use support::{Daemon, prepared, run, stdout};
use terminal::Terminal;

#[test]
fn top_shows_torrents_and_obeys_keys() {
    let folder = prepared();
    let folder = folder.path();
    fs::rename(folder.join("data"), folder.join("downloads/data")).expect("the data in place");
    let daemon = Daemon::start(folder, &[]);
    stdout(&daemon.run(folder, &["add", "data.torrent", "--wait"]));
    let mut terminal = Terminal::run(folder, &["top", "--interval", "100", "--url", &daemon.url]);
    // Its row, not the totals above, which come first.
    terminal.wait_for("100.0%");
    // The first row, and stop it.
    terminal.press("jx");
    daemon.wait_for(folder, "stopped", |torrent| torrent["state"] == "stopped");
    terminal.press("s");
    daemon.wait_for(folder, "seeding", |torrent| torrent["state"] == "seeding");
    terminal.press("/");
    terminal.wait_for("name like");
    terminal.press("zzz\r");
    terminal.press("q");
    let (code, rest) = terminal.end();
    assert_eq!(code, Some(0));
    // The screen that was there before is back.
    assert!(rest.contains("\u{1b}[?1049l"), "{rest}");
}

/// A file that takes a while to be read and almost no room.
fn large(folder: &Path, name: &str, bytes: u64) {
    let file = File::create(folder.join(name)).expect("a file");
    file.set_len(bytes).expect("its length");
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn create_shows_how_far_it_is_to_people_and_not_to_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    large(folder, "big", 256 << 20);
    let mut terminal = Terminal::run(folder, &["create", "big"]);
    let shown = terminal.wait_for(" of 256.00 MiB");
    assert!(shown.contains('%') && shown.contains('\u{2591}'), "{shown}");
    let (code, rest) = terminal.end();
    assert_eq!(code, Some(0), "{rest}");
    // The bar is gone when the answer comes.
    let last = rest.rsplit("\u{1b}[2K").next().unwrap_or_default();
    assert!(last.contains("big.torrent: ") && !last.contains('%'), "{last:?}");
    let piped = run(folder, &["create", "big", "-o", "again.torrent"]);
    assert!(stdout(&piped).starts_with("again.torrent: ") && stderr(&piped).is_empty());
}

#[test]
fn get_shows_share_rate_and_peers_while_it_downloads() {
    let folder = prepared();
    let folder = folder.path();
    fs::rename(folder.join("data"), folder.join("downloads/data")).expect("the data in place");
    let slow = ["--speed-limit-up", "200", "--speed-limit-up-enabled"];
    let daemon = Daemon::start(folder, &slow);
    stdout(&daemon.run(folder, &["add", "data.torrent", "--wait"]));
    let mut terminal = Terminal::run(
        folder,
        &[
            &["get", "data.torrent", "--out", "got", "--peer", &daemon.peers][..],
            &["--peer-port", "0", "--peer-bind", "127.0.0.1"],
        ]
        .concat(),
    );
    terminal.wait_for(" of 684.57 KiB");
    let shown = terminal.wait_for(" peers");
    assert!(shown.contains("down") && shown.contains('%'), "{shown}");
    let (code, rest) = terminal.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.trim_end().ends_with("got/data"), "{rest}");
    assert!(folder.join("got/data/a.bin").exists());
}

#[test]
fn adding_checking_and_moving_show_a_bar_for_each_torrent() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::create_dir(folder.join("downloads")).expect("a folder");
    // So small that the work is over at once: there is a bar all the same.
    fs::write(folder.join("downloads/big"), [1; 4096]).expect("a file");
    stdout(&run(folder, &["create", "downloads/big", "-o", "big.torrent"]));
    let daemon = Daemon::start(folder, &[]);
    let url = ["--url", &daemon.url];
    let wait = |args: &[&str], done: &str| {
        let mut terminal = Terminal::run(folder, &[args, &url[..]].concat());
        // Its name stands behind its bar.
        let shown = terminal.wait_for("% big");
        assert!(shown.contains('\u{2591}') || shown.contains('\u{2588}'), "{shown}");
        let (code, rest) = terminal.end();
        assert_eq!(code, Some(0), "{rest}");
        assert!((shown + &rest).contains(done), "{rest:?}");
    };
    wait(&["add", "big.torrent", "--wait"], "added: 1 big");
    wait(&["verify", "1", "--wait"], "verified: 1 big");
    wait(&["move", "1", "--to", "elsewhere", "--wait"], "moved: 1 big");
    // Without a terminal there is nothing but the answer.
    let piped = daemon.run(folder, &["verify", "1", "--wait"]);
    assert_eq!((stdout(&piped).as_str(), stderr(&piped).as_str()), ("verified: 1 big\n", ""));
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let add = ["user", "add", "ann", "--config-dir", "config"];
    let mut terminal = Terminal::run(folder, &add);
    terminal.wait_for("Password: ");
    terminal.press("correct horse\r");
    terminal.wait_for("Once more: ");
    terminal.press("battery staple\r");
    let (code, rest) = terminal.end();
    assert!(code == Some(1) && rest.contains("the passwords differ"), "{code:?} {rest:?}");
    let mut terminal = Terminal::run(folder, &add);
    let mut shown = terminal.wait_for("Password: ");
    terminal.press("correct horse\r");
    shown += &terminal.wait_for("Once more: ");
    terminal.press("correct horse\r");
    let (code, rest) = terminal.end();
    assert!(code == Some(0) && rest.contains("added: ann"), "{rest}");
    assert!(!(shown + &rest).contains("horse"));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&run(folder, &["completions", shell]));
        assert!(script.contains("ringseed") && script.contains("verify"), "{shell}");
    }
    assert_eq!(run(folder, &["completions", "csh"]).status.code(), Some(2));
    // What a person gets from bash who presses Tab after these words.
    fs::write(folder.join("bash"), stdout(&run(folder, &["completions", "bash"]))).expect("a file");
    for (words, expected) in [
        ("ringseed ver", "verify"),
        ("ringseed list --sor", "--sort"),
        ("ringseed queue bot", "bottom"),
        ("ringseed list --state queued_to_s", "queued_to_seed"),
        ("ringseed list --sort upload_ra", "upload_rate"),
        ("ringseed daemon --peer-po", "--peer-port"),
    ] {
        let word = words.rsplit(' ').next().unwrap_or_default();
        let before = words.rsplit(' ').nth(1).unwrap_or_default();
        let script = format!(
            "source ./bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _ringseed ringseed '{word}' '{before}'; echo \"${{COMPREPLY[@]}}\""
        );
        let bash = Command::new("bash").args(["-c", &script]).current_dir(folder).output();
        let offered = stdout(&bash.expect("bash"));
        assert!(offered.split_whitespace().any(|one| one == expected), "{words}: {offered}");
    }
    let page = stdout(&run(folder, &["man"]));
    assert!(page.starts_with(".ie") || page.contains(".TH ringseed"), "{page}");
    assert!(page.contains("Exit codes"), "{page}");
    stdout(&run(folder, &["man", "pages"]));
    for page in ["ringseed.1", "ringseed-list.1", "ringseed-top.1", "ringseed-daemon.1"] {
        let text = fs::read_to_string(folder.join("pages").join(page)).expect(page);
        assert!(text.contains(".SH"), "{page}");
    }
}
