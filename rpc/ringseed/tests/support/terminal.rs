//! A terminal with a program in it, as a person has.
#![allow(dead_code, reason = "each test file uses its part")]

use super::support::command;
use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Written after all that a program has: no program here writes it.
const END: &str = "\u{4}end of output\u{4}";

/// The far end of a terminal of 120 columns and 30 lines, and the program in it.
pub struct Terminal {
    master: File,
    /// The program's end of it, which is kept open: with the last holder gone Linux may tell the reader
    /// that there is nothing more while bytes are on their way.
    slave: File,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
    /// The first bytes of a character.
    cut: Vec<u8>,
    program: Child,
}

impl Terminal {
    /// Runs the program with a terminal as its input and output.
    pub fn run(folder: &Path, args: &[&str]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&master).expect("its rights");
        unlockpt(&master).expect("its lock");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let size = Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("its size");
        let name = name.into_string().expect("a path");
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits() as i32)
            .open(name)
            .expect("its other end");
        let copy = || Stdio::from(slave.try_clone().expect("a copy"));
        let program = command(folder)
            .args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .expect("the program starts");
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
        Terminal { master, slave, shown, seen: String::new(), cut: Vec::new(), program }
    }

    /// Waits until the program has written this since what was waited for last; gives what it has
    /// written until then.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.shown.recv_timeout(Duration::from_millis(500)) {
                Ok(bytes) => self.see(&bytes),
                Err(_) => {
                    let has_ended = text != END && matches!(self.program.try_wait(), Ok(Some(_)));
                    let is_late = has_ended || Instant::now() >= deadline;
                    assert!(!is_late, "no {text} in {:?}", self.seen);
                }
            }
        }
    }

    /// Takes what was read, which may end within a character.
    fn see(&mut self, bytes: &[u8]) {
        self.cut.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.cut) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.cut.len(),
        };
        self.seen.push_str(&String::from_utf8_lossy(&self.cut[..whole]));
        self.cut.drain(..whole);
    }

    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the program ends; gives its exit code and what it has written meanwhile.
    pub fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.program.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        self.slave.write_all(END.as_bytes()).expect("the terminal takes output");
        let mut rest = self.wait_for(END);
        rest.truncate(rest.len() - END.len());
        (status.code(), rest)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
