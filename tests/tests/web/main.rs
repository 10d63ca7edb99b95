//! Transmission's web interfaces, 3.00's and 4.1's, served by Ringseed and used in a browser as a user
//! does: everything has its effect, no page reports an error, and what is shown is what the same page
//! shows when Transmission serves it.

mod drive;
mod page;

use anyhow::{Result, anyhow};
use drive::{Given, Seen, drive};
use page::{NEWER, OLDER, Page};
use ringseed_tests::pair::{Findings, Pair, any_driver};
use ringseed_tests::{Browser, Scene, ScriptedTracker, Shape, Torrent, peer_folder, perform};
use std::fs;
use std::path::Path;

#[test]
fn the_web_interface_of_3_00_works() {
    perform("the_web_interface_of_3_00_works", any_driver(), |scene| compare(scene, &OLDER));
}

#[test]
fn the_web_interface_of_4_1_works() {
    perform("the_web_interface_of_4_1_works", any_driver(), |scene| compare(scene, &NEWER));
}

fn compare(scene: &Scene, page: &'static Page) -> Result<()> {
    let browser = Browser::start(scene)?;
    scene.say("the browser runs");
    let source = scene.new_folder("source")?;
    let make = |name| {
        let files = [("alpha.mkv", 300_000), ("beta.mkv", 500_017)];
        let files = files.map(|(path, length)| (path.to_owned(), length)).to_vec();
        Torrent::make(&Shape::folder(name, files, 32 << 10), &source)
    };
    let (first, second) = (make("first")?, make("second")?);
    let tracker = ScriptedTracker::start()?;
    let torrent_file = scene.folder().join("first.torrent");
    fs::write(&torrent_file, first.with_trackers(&[&tracker.url()])?)?;
    // The second one is fetched by its address, from among the files of the web interface.
    let home = scene.folder().join("web");
    copy(&peer_folder(page.folder)?, &home)?;
    fs::write(home.join("second.torrent"), second.with_trackers(&[&tracker.url()])?)?;

    let mut pair = Pair::start_serving(scene, Some(&home))?;
    let address = format!("http://{}/transmission/web/second.torrent", pair.ringseed.control);
    let given = Given { first: &first, torrent_file: &torrent_file, second: &address };
    let mut seen = Vec::new();
    for side in pair.sides() {
        first.copy_to(&side.folder.join("downloads"))?;
        let what = drive(&browser, page, side, &given);
        seen.push(what.map_err(|error| error.context(format!("with {}", side.name)))?);
        scene.say(format_args!("{} has been used", side.name));
    }
    differences(&seen[0], &seen[1]).result()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn differences(ours: &Seen, theirs: &Seen) -> Findings {
    let mut findings = Findings::default();
    for (what, value) in ours {
        let other = theirs.get(what);
        if other != Some(value) {
            findings.note::<()>(what, Err(anyhow!("{value:?}, with Transmission {other:?}")));
        }
    }
    for what in theirs.keys().filter(|what| !ours.contains_key(*what)) {
        findings.note::<()>(what, Err(anyhow!("only with Transmission")));
    }
    findings
}
