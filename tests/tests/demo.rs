//! `scripts/demo`, as the README tells people to run it, with less data.

use anyhow::ensure;
use ringseed_tests::{Driver, Scene, peer_program, perform, ringseed_program};
use std::{fs, process::Command};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo");

#[test]
fn the_demo_downloads_and_leaves_nothing() {
    perform("the_demo_downloads_and_leaves_nothing", Driver::Uring, |scene: &Scene| {
        peer_program("opentracker")?;
        let folder = scene.new_folder("tmp")?;
        let mut demo = Command::new(SCRIPT);
        demo.arg("24").env("TMPDIR", &folder).env("RINGSEED_BIN", ringseed_program()?);
        let output = demo.output()?;
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{}:\n{said}\n{failed}", output.status);
        for part in ["100 %", "24 MiB in ", "CPU seconds per GiB: ", "the copy is identical"] {
            ensure!(said.contains(part), "nothing about {part:?} in:\n{said}");
        }
        ensure!(fs::read_dir(&folder)?.next().is_none(), "something is left in {folder:?}");
        Ok(())
    });
}

#[test]
fn the_demo_says_how_it_is_used() {
    for wrong in ["0", "much", "-1"] {
        let output = Command::new(SCRIPT).arg(wrong).output().expect("the script runs");
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "usage: demo [MiB]\n", "{wrong}");
    }
}
