//! `ringseed top` in a real terminal, and what the program makes for shells and readers.

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

mod support;
use support::{Daemon, prepared, run, stdout};

const PATIENCE: Duration = Duration::from_secs(60);

/// The far end of a terminal of 120 columns and 30 lines.
struct Terminal {
    master: File,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// A terminal, and what a program in it has for its input and output.
    fn open() -> (Terminal, File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("its rights");
        unlockpt(&master).expect("its lock");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let size = Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("its size");
        let name = name.into_string().expect("a path");
        let slave = OpenOptions::new().read(true).write(true).open(name).expect("its other end");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("a copy");
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        (Terminal { master, shown, seen: String::new() }, slave)
    }

    /// Waits until the program has written this since the last time.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text} in {}", self.seen),
            }
        }
        self.seen.clear();
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }
}

#[test]
fn top_shows_torrents_and_obeys_keys() {
    let folder = prepared();
    let folder = folder.path();
    fs::rename(folder.join("data"), folder.join("downloads/data")).expect("the data in place");
    let daemon = Daemon::start(folder, &[]);
    stdout(&daemon.run(folder, &["add", "data.torrent", "--wait"]));
    let (mut terminal, slave) = Terminal::open();
    let copy = || Stdio::from(slave.try_clone().expect("a copy"));
    let mut top = Command::new(env!("CARGO_BIN_EXE_ringseed"))
        .args(["top", "--interval", "100", "--url", &daemon.url])
        .env("TERM", "xterm-256color")
        .stdin(copy())
        .stdout(copy())
        .stderr(copy())
        .spawn()
        .expect("the program starts");
    drop(slave);
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
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = top.try_wait().expect("it can be waited for") {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
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
    let page = stdout(&run(folder, &["man"]));
    assert!(page.starts_with(".ie") || page.contains(".TH ringseed"), "{page}");
    assert!(page.contains("Exit codes"), "{page}");
    stdout(&run(folder, &["man", "pages"]));
    for page in ["ringseed.1", "ringseed-list.1", "ringseed-top.1", "ringseed-daemon.1"] {
        let text = fs::read_to_string(folder.join("pages").join(page)).expect(page);
        assert!(text.contains(".SH"), "{page}");
    }
}
