//! A browser: headless Chromium, driven over WebDriver (W3C) as a user's hands would.

use crate::{Process, Scene, free_port, peer_program, wait_for};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// A running browser with one page.
pub struct Browser {
    agent: Agent,
    /// Address of the driver's session.
    session: String,
    driver: Process,
}

/// What is looked for on a page: the first visible element that a CSS selector finds.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    css: &'a str,
    text: &'a str,
    inside: Option<&'a str>,
}

/// Longer than a page takes for anything on a busy machine.
const ENOUGH: Duration = Duration::from_secs(30);

/// Longer than the driver takes for a single command, starting the browser among them.
const COMMAND: Duration = Duration::from_secs(60);

/// The member of an object that is a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Errors of a page that is about to change: it is asked again.
const PASSING: &[&str] = &[
    "no such element",
    "stale element reference",
    "element not interactable",
    "element click intercepted",
];

const FIND: &str = "const [css, text, inside] = arguments;
    const visible = e => e.getClientRects().length > 0;
    const found = [...document.querySelectorAll(css)].find(e => visible(e) && e.textContent.includes(text));
    return inside && found ? found.querySelector(inside) : found ?? null;";

impl<'a> Target<'a> {
    /// The one with this text in it, among those that the selector finds.
    pub fn with_text(self, text: &'a str) -> Target<'a> {
        Target { text, ..self }
    }

    /// The first that another selector finds in it.
    pub fn inside(self, css: &'a str) -> Target<'a> {
        Target { inside: Some(css), ..self }
    }
}

impl<'a> From<&'a str> for Target<'a> {
    fn from(css: &'a str) -> Target<'a> {
        Target { css, text: "", inside: None }
    }
}

impl Browser {
    /// Starts it, with a profile of its own in the scene.
    pub fn start(scene: &Scene) -> Result<Browser> {
        let (chromium, driver) = (peer_program("chromium")?, peer_program("chromedriver")?);
        let folder = scene.new_folder("browser")?;
        let port = free_port();
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}")).env("HOME", &folder);
        let mut driver = Process::start("chromedriver", &mut command, &folder)?;
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(COMMAND))
            .http_status_as_error(false)
            .build()
            .into();
        let url = format!("http://127.0.0.1:{port}");
        wait_for("the browser's driver answers", ENOUGH, || {
            driver.check()?;
            Ok(agent.get(format!("{url}/status")).call().ok())
        })?;
        let options = json!({
            "binary": chromium,
            // As root it runs without its sandbox only, and in containers /dev/shm is small.
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--no-first-run", "--window-size=1400,1000", "--lang=en-US", "--disable-extensions",
                "--disable-background-networking", "--disable-component-update",
                format!("--user-data-dir={}", folder.join("profile").display())],
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = value(agent.post(format!("{url}/session")).send(wanted.to_string())?)?;
        let id = answer["sessionId"].as_str().context("a session without an id")?;
        let session = format!("{url}/session/{id}");
        Ok(Browser { agent, session, driver })
    }

    /// Goes to an address and waits until the page is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.command("url", json!({"url": url}))?;
        Ok(())
    }

    /// Where it is now.
    pub fn address(&self) -> Result<String> {
        let answer = value(self.agent.get(format!("{}/url", self.session)).call()?)?;
        Ok(answer.as_str().context("no address")?.to_owned())
    }

    /// Runs the body of a function on the page and gives what it returns.
    pub fn run(&self, script: &str, arguments: Value) -> Result<Value> {
        self.command("execute/sync", json!({"script": script, "args": arguments}))
    }

    /// Waits until a script gives something that counts as true, and gives it.
    pub fn wait_for(&self, what: &str, script: &str, arguments: &Value) -> Result<Value> {
        self.patiently(what, || {
            let answer = self.run(script, arguments.clone())?;
            let is_so = !matches!(answer, Value::Null | Value::Bool(false));
            Ok(is_so.then_some(answer))
        })
    }

    /// Clicks on an element as soon as there is one.
    pub fn click<'a>(&self, target: impl Into<Target<'a>>) -> Result<()> {
        self.on(target.into(), |element| {
            self.command(&format!("element/{element}/click"), json!({}))
        })
    }

    /// Clicks on an element with the other button of the mouse.
    pub fn click_right<'a>(&self, target: impl Into<Target<'a>>) -> Result<()> {
        self.on(target.into(), |element| {
            let to = json!({"type": "pointerMove", "origin": {ELEMENT: element}, "x": 0, "y": 0});
            let press = json!({"type": "pointerDown", "button": 2});
            let release = json!({"type": "pointerUp", "button": 2});
            let mouse = json!({"type": "pointer", "id": "mouse", "actions": [to, press, release]});
            self.command("actions", json!({"actions": [mouse]}))
        })
    }

    /// Types into an element; a path is what an input for files takes.
    pub fn type_into<'a>(&self, target: impl Into<Target<'a>>, text: &str) -> Result<()> {
        self.on(target.into(), |element| {
            self.command(&format!("element/{element}/value"), json!({"text": text}))
        })
    }

    /// Types into an element in place of what was there.
    pub fn replace<'a>(&self, target: impl Into<Target<'a>>, text: &str) -> Result<()> {
        let target = target.into();
        self.on(target, |element| self.command(&format!("element/{element}/clear"), json!({})))?;
        self.type_into(target, text)
    }

    /// The texts of all visible elements that the selector finds, their white space made one.
    pub fn texts(&self, css: &str) -> Result<Vec<String>> {
        let script = "return [...document.querySelectorAll(arguments[0])]
            .filter(e => e.getClientRects().length > 0)
            .map(e => e.innerText.replace(/\\s+/g, ' ').trim())";
        Ok(serde_json::from_value(self.run(script, json!([css]))?)?)
    }

    /// What the page has logged as an error since this was last asked, refused requests among them.
    pub fn errors(&self) -> Result<Vec<String>> {
        let log = self.command("se/log", json!({"type": "browser"}))?;
        let entries = log.as_array().context("the log is a list")?.iter();
        let errors = entries.filter(|entry| entry["level"] == "SEVERE");
        Ok(errors.filter_map(|entry| entry["message"].as_str()).map(str::to_owned).collect())
    }

    /// Waits for an element and does something with it, again if the page has changed meanwhile.
    fn on(&self, target: Target<'_>, act: impl Fn(&str) -> Result<Value>) -> Result<()> {
        let Target { css, text, inside } = target;
        self.patiently(&format!("{target:?}"), || {
            let found = self.run(FIND, json!([css, text, inside]))?;
            found[ELEMENT].as_str().map(&act).transpose()
        })?;
        Ok(())
    }

    /// Tries until there is an answer; tells what it failed by, if not in time.
    fn patiently<T>(&self, what: &str, attempt: impl Fn() -> Result<Option<T>>) -> Result<T> {
        let mut last = None;
        let answer = wait_for(what, ENOUGH, || match attempt() {
            Err(error) if PASSING.iter().any(|kind| error.to_string().starts_with(kind)) => {
                last = Some(error);
                Ok(None)
            }
            other => other,
        });
        answer.map_err(|error| match last {
            Some(last) => error.context(last),
            None => error,
        })
    }

    fn command(&self, path: &str, body: Value) -> Result<Value> {
        let url = format!("{}/{path}", self.session);
        value(self.agent.post(url).send(body.to_string())?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser only when it is told to; nothing can be done if it does not.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.terminate(ENOUGH);
    }
}

/// The value of an answer of the driver, or its error as one.
fn value(mut answer: Response<ureq::Body>) -> Result<Value> {
    let text = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
    let mut json: Value = serde_json::from_str(&text).context(text)?;
    if let Some(kind) = json["value"]["error"].as_str() {
        let message = json["value"]["message"].as_str().unwrap_or_default();
        bail!("{kind}: {}", message.lines().next().unwrap_or_default());
    }
    ensure!(answer.status() == 200, "status {}: {json}", answer.status());
    Ok(json["value"].take())
}
