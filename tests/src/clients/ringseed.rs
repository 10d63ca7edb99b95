//! Ringseed: the daemon under test.

use super::{Client, STARTS_WITHIN, State, transmission};
use crate::{Dialect, Driver, Process, Rpc, Scene, free_port, programs, wait_for};
use anyhow::{Context, Result};
use metainfo::InfoHash;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps its session.
    pub config_dir: PathBuf,
    /// Where its downloads go.
    pub download_dir: PathBuf,
    /// Its shards.
    pub cores: u32,
    /// What drives its reactors.
    pub driver: Driver,
    /// Where its RPC listens.
    pub control: SocketAddr,
    /// Where its peers find it, on 127.0.0.1 and ::1.
    pub peer_port: u16,
    /// Folder of the web interface that it serves.
    pub web_home: Option<PathBuf>,
    /// Further flags.
    pub flags: Vec<String>,
    /// What starts it, in front of its own program: one that sets limits and gives way to it.
    pub starter: Vec<String>,
}

/// A running daemon. Its session and ports stay the same when it is started again.
pub struct Ringseed {
    options: Options,
    /// Its control.
    pub rpc: Rpc,
    process: Process,
}

impl Options {
    /// With new folders in the scene and one shard.
    pub fn new(scene: &Scene) -> Result<Options> {
        Ok(Options {
            config_dir: scene.new_folder("ringseed-config")?,
            download_dir: scene.new_folder("ringseed-downloads")?,
            cores: 1,
            driver: scene.driver,
            control: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            peer_port: free_port(),
            web_home: None,
            flags: Vec::new(),
            starter: Vec::new(),
        })
    }
}

impl Ringseed {
    /// Starts a daemon with a new session.
    pub fn start(scene: &Scene) -> Result<Ringseed> {
        Ringseed::start_with(Options::new(scene)?)
    }

    /// Starts a daemon.
    pub fn start_with(options: Options) -> Result<Ringseed> {
        let process = launch(&options)?;
        let rpc = Rpc::new(options.control, Dialect::JsonRpc);
        let mut daemon = Ringseed { options, rpc, process };
        daemon.wait_until_up()?;
        Ok(daemon)
    }

    /// Where its downloads go.
    pub fn downloads(&self) -> &Path {
        &self.options.download_dir
    }

    /// Where it takes commands.
    pub fn control_address(&self) -> SocketAddr {
        self.options.control
    }

    /// Kills it as power loss would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again after its end.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = launch(&self.options)?;
        self.wait_until_up()
    }

    /// Adds a torrent that goes into its folder for downloads.
    pub fn download(&mut self, torrent: &[u8]) -> Result<()> {
        let folder = self.options.download_dir.clone();
        self.add(torrent, &folder)
    }

    /// Fields of a torrent.
    pub fn get(&mut self, info_hash: InfoHash, fields: &[&str]) -> Result<Value> {
        let arguments = json!({"ids": [info_hash.to_string()], "fields": fields});
        let mut answer = self.rpc.call("torrent_get", arguments)?;
        answer["torrents"].get_mut(0).map(Value::take).context("the torrent is not in its list")
    }

    /// One field of a torrent that is a number.
    pub fn number(&mut self, info_hash: InfoHash, field: &str) -> Result<u64> {
        let torrent = self.get(info_hash, &[field])?;
        torrent[field].as_u64().with_context(|| format!("{field} is {}", torrent[field]))
    }

    /// Where its peers find it over IPv6.
    pub fn peer_address_v6(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), self.options.peer_port)
    }

    /// Calls a method for one torrent.
    pub fn act(&mut self, method: &str, info_hash: InfoHash) -> Result<()> {
        self.rpc.call(method, json!({"ids": [info_hash.to_string()]}))?;
        Ok(())
    }

    fn wait_until_up(&mut self) -> Result<()> {
        wait_for("Ringseed's RPC answers", STARTS_WITHIN, || {
            self.process.check()?;
            Ok(self.rpc.call("session_get", json!({})).ok())
        })?;
        Ok(())
    }
}

fn launch(options: &Options) -> Result<Process> {
    let program = programs::ringseed()?;
    let mut command = match options.starter.split_first() {
        Some((starter, arguments)) => {
            let mut command = Command::new(starter);
            command.args(arguments).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.arg("daemon").arg("--config-dir").arg(&options.config_dir);
    command.arg("--download-dir").arg(&options.download_dir);
    command.args(["--rpc-bind", &options.control.to_string()]);
    command.args(["--peer-port", &options.peer_port.to_string()]);
    command.args(["--peer-bind", "127.0.0.1,::1", "--cores", &options.cores.to_string()]);
    command.args(["--driver", options.driver.as_str()]).env_remove("RINGSEED_DRIVER");
    if let Some(home) = &options.web_home {
        command.arg("--web-home").arg(home);
    }
    command.args(&options.flags);
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "info,ringseed_engine=debug");
    }
    Process::start("ringseed", &mut command, &options.config_dir)
}

impl Client for Ringseed {
    fn name(&self) -> &str {
        "Ringseed"
    }

    fn peer_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.options.peer_port))
    }

    fn add(&mut self, torrent: &[u8], folder: &Path) -> Result<()> {
        transmission::add(&mut self.rpc, torrent, folder)
    }

    fn state(&mut self, info_hash: InfoHash) -> Result<State> {
        transmission::state(&mut self.rpc, info_hash)
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
