//! What a user does with a web interface, from adding to removing.

use crate::page::Page;
use anyhow::{Context, Result, ensure};
use ringseed_tests::pair::{At, Side};
use ringseed_tests::peer::Connection;
use ringseed_tests::{Browser, Target, Torrent, wait_for, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Longer than anything that is waited for here takes.
const ENOUGH: Duration = Duration::from_secs(30);

/// What a page showed, by what that is.
pub type Seen = BTreeMap<String, String>;

/// What is added.
pub struct Given<'a> {
    /// Whose data is there; torrent 1.
    pub first: &'a Torrent,
    /// Its .torrent.
    pub torrent_file: &'a Path,
    /// The address of another, whose data is not there; torrent 2.
    pub second: &'a str,
}

/// A user before a page.
struct User<'a> {
    browser: &'a Browser,
    page: &'static Page,
    side: &'a mut Side,
    seen: Seen,
}

/// Uses the web interface of a server.
pub fn drive(
    browser: &Browser,
    page: &'static Page,
    side: &mut Side,
    given: &Given<'_>,
) -> Result<Seen> {
    let mut user = User { browser, page, side, seen: Seen::new() };
    user.arrive()?;
    user.add(given)?;
    user.stop_and_start()?;
    user.inspect(given)?;
    user.choose_files()?;
    user.rename_and_label()?;
    user.change_settings()?;
    user.remove()?;
    user.no_errors()?;
    Ok(user.seen)
}

impl User<'_> {
    /// The address without the slash at its end leads there too.
    fn arrive(&mut self) -> Result<()> {
        self.browser.open(&format!("http://{}/transmission/web", self.side.control))?;
        let address = self.browser.address()?;
        ensure!(address.ends_with("/transmission/web/"), "led to {address}");
        self.wait_for_text("#filter-count", "0 Transfers")
    }

    /// One from a file, with its data in place; one by address, not to be started.
    fn add(&mut self, given: &Given<'_>) -> Result<()> {
        let page = self.page;
        self.browser.click("#toolbar-open")?;
        self.wait_for_text(page.free_space, "Free")?;
        self.browser.type_into(page.files, &given.torrent_file.display().to_string())?;
        self.browser.click(page.add)?;
        self.wait_for_state(1, "status", &json!(6))?;
        self.wait_for_row("first", "Seeding to 0 of 0 peers")?;
        self.note_row("first, seeding")?;
        self.browser.click("#toolbar-open")?;
        self.browser.type_into(page.address, given.second)?;
        self.browser.click(page.starts)?;
        self.browser.click(page.add)?;
        self.wait_for_row("second", "Paused")?;
        self.wait_for_state(2, "status", &json!(0))?;
        self.wait_for_text("#filter-count", "2 Transfers")?;
        self.note_row("second, paused")
    }

    fn stop_and_start(&mut self) -> Result<()> {
        self.browser.click(self.row("first"))?;
        self.browser.click("#toolbar-pause")?;
        self.wait_for_state(1, "status", &json!(0))?;
        self.wait_for_row("first", "Paused")?;
        self.note_row("first, paused")?;
        self.browser.click("#toolbar-start")?;
        self.wait_for_state(1, "status", &json!(6))?;
        self.wait_for_row("first", "Seeding to")
    }

    /// All pages of the inspector, of the torrent that is selected.
    fn inspect(&mut self, given: &Given<'_>) -> Result<()> {
        let page = self.page;
        let peer = Connection::open(self.side.peer_address(), given.first.info_hash())?;
        self.browser.click("#toolbar-inspector")?;
        let hash = given.first.info_hash().to_string();
        let info = format!(
            "const rows = (() => {{ {} }})();
            return rows.some(row => row[1] === arguments[0]) && rows",
            page.info
        );
        let rows = self.browser.wait_for("the inspector is filled", &info, &json!([hash]))?;
        for row in serde_json::from_value::<Vec<(String, String)>>(rows)? {
            let (name, value) = (row.0.to_lowercase(), self.side.strip(&row.1));
            // These tell of moments.
            if !["running time:", "last activity:", "date added:"].contains(&name.as_str()) {
                self.seen.insert(format!("info/{name}"), value);
            }
        }
        self.browser.click(page.peers_tab)?;
        self.wait_for_text(page.peer, "127.0.0.1")?;
        let peers = self.browser.texts(page.peer)?;
        // What it has. Who is unchoked changes, and Transmission does not know our client's name.
        let have = peers.iter().filter_map(|peer| peer.split(' ').next());
        self.seen.insert("peers".to_owned(), have.collect::<Vec<_>>().join("\n"));
        drop(peer);
        self.browser.click(page.trackers_tab)?;
        self.wait_for_text(page.tracker, "Next announce in")?;
        self.wait_for_text(page.tracker, "announce only")?;
        self.note_all("trackers", page.tracker)?;
        self.browser.click(page.files_tab)?;
        self.wait_for_text(page.file, "beta.mkv")?;
        self.note_all("files", page.file)
    }

    /// In the inspector, of the torrent that is not complete: of one that is nothing can be chosen.
    fn choose_files(&mut self) -> Result<()> {
        let file = |name| Target::from(self.page.file).with_text(name);
        self.browser.click(self.row("second"))?;
        self.wait_for_text(self.page.file, "second")?;
        self.browser.click(file("beta.mkv").inside("input[type=checkbox]"))?;
        self.wait_for_state(2, "wanted", &json!([true, false]))?;
        self.browser.click(file("alpha.mkv").inside(".high"))?;
        self.wait_for_state(2, "priorities", &json!([1, 0]))?;
        self.note_all("files of the second", self.page.file)?;
        self.browser.click("#toolbar-inspector")
    }

    fn rename_and_label(&mut self) -> Result<()> {
        let [item, input, button] = self.page.rename;
        self.browser.click_right(self.row("second"))?;
        self.browser.click(item)?;
        self.browser.replace(input, "another name")?;
        self.browser.click(button)?;
        self.wait_for_state(2, "name", &json!("another name"))?;
        self.wait_for_row("another name", "Paused")?;
        if let Some([item, input, button]) = self.page.labels {
            // This page sorts by name a moment later; a click meanwhile could hit the other row.
            let script =
                "return document.querySelector(arguments[0])?.innerText.includes(arguments[1])";
            let arguments = json!([self.page.row, "another name"]);
            self.browser.wait_for("the row in its new place", script, &arguments)?;
            self.browser.click_right(self.row("another name"))?;
            self.browser.click(item)?;
            self.browser.replace(input, "größer, b")?;
            self.browser.click(button)?;
            self.wait_for_state(2, "labels", &json!(["größer", "b"]))?;
            self.wait_for_row("another name", "größer")?;
        }
        self.note_row("another name")
    }

    /// Alternative limits by their button, and the page of all settings.
    fn change_settings(&mut self) -> Result<()> {
        let [turtle, on] = self.page.turtle;
        let script = "return document.querySelector(arguments[0]).classList.contains(arguments[1])
            === arguments[2]";
        for wanted in [true, false] {
            self.browser.click(turtle)?;
            self.wait_for_setting("alt_speed_enabled", &json!(wanted))?;
            // A click before the page knows would ask for the same again.
            self.browser.wait_for("the page knows it", script, &json!([turtle, on, wanted]))?;
        }
        for button in self.page.settings {
            self.browser.click(*button)?;
        }
        let port = self.side.look(At::Session, &["peer_port"])?["peer_port"].to_string();
        let script = "return document.querySelector(arguments[0])?.value === arguments[1]";
        let arguments = json!([self.page.setting, port]);
        self.browser.wait_for("the settings are shown", script, &arguments)?;
        self.browser.click(self.page.close_settings)
    }

    /// The one with its data, the other by the button without.
    fn remove(&mut self) -> Result<()> {
        let data = self.side.folder.join("downloads/first");
        ensure!(data.exists());
        self.browser.click_right(self.row("first"))?;
        self.browser.click(self.page.trash)?;
        self.browser.click(self.page.confirm)?;
        self.wait_for_text("#filter-count", "1 Transfer")?;
        wait_until("the data is gone", ENOUGH, || Ok(!data.exists()))?;
        self.browser.click(self.row("another name"))?;
        self.browser.click(self.page.remove)?;
        self.browser.click(self.page.confirm)?;
        self.wait_for_text("#filter-count", "0 Transfers")?;
        wait_until("the list is empty", ENOUGH, || {
            let list = self.side.rpc.call("torrent_get", json!({"fields": ["id"]}))?;
            Ok(list["torrents"] == json!([]))
        })
    }

    /// No errors but that the first calls have no session id yet, which browsers note as one.
    fn no_errors(&self) -> Result<()> {
        let mut errors = self.browser.errors()?;
        errors.retain(|error| !error.ends_with("409 (Conflict)"));
        ensure!(errors.is_empty(), "the page says: {errors:#?}");
        Ok(())
    }

    fn row<'a>(&self, name: &'a str) -> Target<'a> {
        Target::from(self.page.row).with_text(name)
    }

    fn wait_for_row(&self, name: &str, text: &str) -> Result<()> {
        let script = "return [...document.querySelectorAll(arguments[0])].some(
            row => row.innerText.includes(arguments[1]) && row.innerText.includes(arguments[2]))";
        let arguments = json!([self.page.row, name, text]);
        self.browser.wait_for(&format!("{name} is {text}"), script, &arguments)?;
        Ok(())
    }

    fn wait_for_text(&self, css: &str, text: &str) -> Result<()> {
        let mut last = Vec::new();
        let shown = wait_until(&format!("{css} has {text}"), ENOUGH, || {
            last = self.browser.texts(css)?;
            Ok(last.iter().any(|found| found.contains(text)))
        });
        shown.map_err(|error| error.context(format!("it has {last:?}")))
    }

    /// Waits until the server says so of a torrent.
    fn wait_for_state(&mut self, id: u32, field: &str, value: &Value) -> Result<()> {
        self.wait_for_value(At::Torrent(id), field, value)
    }

    fn wait_for_setting(&mut self, setting: &str, value: &Value) -> Result<()> {
        self.wait_for_value(At::Session, setting, value)
    }

    fn wait_for_value(&mut self, at: At, field: &str, value: &Value) -> Result<()> {
        let mut last = Value::Null;
        let became = wait_for(&format!("{field} is {value}"), ENOUGH, || {
            last = self.side.look(at, &[field])?[field].take();
            Ok((last == *value).then_some(()))
        });
        became.map_err(|error| error.context(format!("it is {last}")))
    }

    /// Keeps what the row of a torrent says, found by the first word.
    fn note_row(&mut self, what: &str) -> Result<()> {
        let name = what.split(',').next().unwrap_or_default();
        let rows = self.browser.texts(self.page.row)?;
        let row = rows.into_iter().find(|row| row.contains(name));
        self.seen.insert(format!("row/{what}"), row.context("the row is gone")?);
        Ok(())
    }

    /// Keeps what all elements of a kind say.
    fn note_all(&mut self, what: &str, css: &str) -> Result<()> {
        let texts = self.browser.texts(css)?;
        ensure!(!texts.is_empty(), "{what} are gone");
        let texts: Vec<String> = texts.iter().map(|text| without_times(text)).collect();
        self.seen.insert(what.to_owned(), self.side.strip(&texts.join("\n")));
        Ok(())
    }
}

/// The text without times of day and numbers of seconds.
fn without_times(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_time = |(at, word): &(usize, &&str)| {
        let next = words.get(at + 1).copied().unwrap_or_default();
        ["AM", "PM"].contains(*word) || word.matches(':').count() == 2 || next.starts_with("second")
    };
    let kept = words.iter().enumerate().filter(|word| !is_time(word)).map(|(_, word)| *word);
    kept.map(|word| if word == "second" { "seconds" } else { word }).collect::<Vec<_>>().join(" ")
}
