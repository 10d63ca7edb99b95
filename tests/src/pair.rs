//! Ringseed beside Transmission 4.1: what a client does is done to both, and must come out the same.

use crate::{
    Client, Dialect, Driver, Options, Release, Ringseed, Rpc, Scene, Torrent, Transmission,
    wait_for,
};
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than anything that is waited for here takes.
const ENOUGH: Duration = Duration::from_secs(30);

/// One of the two servers.
pub struct Side {
    /// Who it is, in messages.
    pub name: &'static str,
    /// Where everything of it lies; `{folder}` in what a client is given.
    pub folder: PathBuf,
    /// Where its RPC listens.
    pub control: SocketAddr,
    /// Its RPC, for looking at what a client has done.
    pub rpc: Rpc,
    server: Box<dyn Client>,
}

/// The two, with the same torrents under the same ids.
pub struct Pair {
    /// The one under test.
    pub ringseed: Side,
    /// The one that it is measured by.
    pub transmission: Side,
}

impl Pair {
    /// Starts both, with folders of the same length, so that tables of paths have the same width, and
    /// with the same limits of peers, which have other defaults.
    pub fn start(scene: &Scene) -> Result<Pair> {
        Pair::start_serving(scene, None)
    }

    /// The same, with the web interface of a folder.
    pub fn start_serving(scene: &Scene, web_home: Option<&Path>) -> Result<Pair> {
        let folder = scene.new_folder("ringseed-dir")?;
        fs::create_dir(folder.join("downloads"))?;
        let options = Options {
            download_dir: folder.join("downloads"),
            web_home: web_home.map(Path::to_owned),
            ..Options::new(scene)?
        };
        let control = options.control;
        let server = Box::new(Ringseed::start_with(options)?);
        let ringseed = Side::new("Ringseed", folder, control, server);

        let folder = scene.new_folder("transmission")?;
        fs::create_dir(folder.join("downloads"))?;
        let config = scene.new_folder("transmission-config")?;
        let ip = Ipv4Addr::LOCALHOST;
        let server = Transmission::start_serving(Release::V4, &config, ip, web_home)?;
        let control = server.control();
        let mut transmission = Side::new("Transmission", folder, control, Box::new(server));
        let downloads = transmission.folder.join("downloads");
        transmission.rpc.call("session_set", json!({"download_dir": downloads}))?;
        let mut pair = Pair { ringseed, transmission };
        for side in pair.sides() {
            let limits = json!({"peer_limit_global": 300, "peer_limit_per_torrent": 60});
            side.rpc.call("session_set", limits)?;
        }
        Ok(pair)
    }

    /// Both.
    pub fn sides(&mut self) -> [&mut Side; 2] {
        [&mut self.ringseed, &mut self.transmission]
    }

    /// Adds a torrent to both, `with` its data in the folder for downloads or without, and waits until
    /// both have looked at what is there.
    pub fn add(&mut self, torrent: &Torrent, trackers: &[&str], data: Data) -> Result<()> {
        let bytes = torrent.with_trackers(trackers)?;
        for side in self.sides() {
            let downloads = side.folder.join("downloads");
            if data == Data::Complete {
                torrent.copy_to(&downloads)?;
            }
            side.server.add(&bytes, &downloads)?;
            let name = side.name;
            wait_for(&format!("{name} has looked at the files"), ENOUGH, || {
                let state = side.server.state(torrent.info_hash())?;
                Ok(match data {
                    Data::Complete => state.seeding,
                    Data::None => state.left > 0,
                }
                .then_some(()))
            })?;
        }
        Ok(())
    }

    /// What both say of their settings or of one torrent; an error if a call fails.
    pub fn look(&mut self, at: At, fields: &[&str]) -> Result<[Value; 2]> {
        let Pair { ringseed, transmission } = self;
        Ok([ringseed.look(at, fields)?, transmission.look(at, fields)?])
    }

    /// Waits until both say the same of these fields, and gives what they say; an error with both
    /// answers if they do not get to.
    pub fn agree(&mut self, at: At, fields: &[&str]) -> Result<Value> {
        self.agree_within(ENOUGH, at, fields)
    }

    /// The same with a time of its own.
    pub fn agree_within(&mut self, within: Duration, at: At, fields: &[&str]) -> Result<Value> {
        let mut said = [Value::Null, Value::Null];
        let agreed = wait_for("they say the same", within, || {
            said = self.look(at, fields)?;
            Ok((said[0] == said[1]).then_some(()))
        });
        let [ours, theirs] = said;
        match agreed {
            Ok(()) => Ok(ours),
            Err(_) => bail!("Ringseed says {ours}, Transmission {theirs}"),
        }
    }
}

/// Whether a torrent's data is there when it is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// All of it.
    Complete,
    /// Nothing.
    None,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// session_get.
    Session,
    /// torrent_get of the torrent with this id.
    Torrent(u32),
}

impl Side {
    fn new(
        name: &'static str,
        folder: PathBuf,
        control: SocketAddr,
        server: Box<dyn Client>,
    ) -> Side {
        Side { name, folder, control, rpc: Rpc::new(control, Dialect::JsonRpc), server }
    }

    /// Where it takes connections of peers.
    pub fn peer_address(&self) -> SocketAddr {
        self.server.peer_address()
    }

    /// Another caller of its RPC.
    pub fn rpc(&self) -> Rpc {
        Rpc::new(self.control, Dialect::JsonRpc)
    }

    /// A text with its `{folder}` named.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{folder}", &self.folder.display().to_string())
    }

    /// The reverse: an answer without what is this server's own.
    pub fn strip(&self, text: &str) -> String {
        let control = self.control.to_string();
        text.replace(&self.folder.display().to_string(), "{folder}").replace(&control, "{server}")
    }

    /// Fields of its settings or of a torrent, [`stripped`](Side::strip).
    pub fn look(&mut self, at: At, fields: &[&str]) -> Result<Value> {
        let answer = match at {
            At::Session => self.rpc.call("session_get", json!({"fields": fields}))?,
            At::Torrent(id) => {
                let params = json!({"ids": [id], "fields": fields});
                let mut answer = self.rpc.call("torrent_get", params)?;
                answer["torrents"].get_mut(0).map(Value::take).unwrap_or(Value::Null)
            }
        };
        Ok(serde_json::from_str(&self.strip(&answer.to_string()))?)
    }
}

/// What was not as it must be, all of it, so that one run shows every fault.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// Adds the error, if it is one, with what was done.
    pub fn note<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(format!("{what}: {error:#}"));
                None
            }
        }
    }

    /// Adds others.
    pub fn add(&mut self, Findings(others): Findings) {
        self.0.extend(others);
    }

    /// An error with all of them if there are any.
    pub fn result(self) -> Result<()> {
        let Findings(found) = self;
        ensure!(found.is_empty(), "{} differ:\n{}", found.len(), found.join("\n"));
        Ok(())
    }
}

/// Which driver a test uses that is about the control alone: the one that `RINGSEED_DRIVER` names, so
/// that it is never skipped, else io_uring.
pub fn any_driver() -> Driver {
    match std::env::var("RINGSEED_DRIVER").as_deref() {
        Ok("mio") => Driver::Mio,
        _ => Driver::Uring,
    }
}
