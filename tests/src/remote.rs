//! A caller of the daemon who has torrents added, moved and removed, and asks after them.

use crate::clients::transmission;
use crate::{Dialect, Rpc, State, Torrent, wait_until};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use metainfo::InfoHash;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Longer than anything that is waited for takes, however busy the machine is.
const ENOUGH: Duration = Duration::from_secs(180);

/// A caller of its own, so that several can call at a time.
pub struct Remote(Rpc);

impl Remote {
    /// Of the daemon whose control is at this address.
    pub fn new(control: SocketAddr, dialect: Dialect) -> Remote {
        Remote(Rpc::new(control, dialect))
    }

    /// Adds a torrent with its data in a folder, or to be downloaded there.
    pub fn add(&mut self, metainfo: &[u8], folder: &Path) -> Result<()> {
        transmission::add(&mut self.0, metainfo, folder)
    }

    /// Calls a method for one torrent, with more arguments.
    pub fn act(&mut self, method: &str, hash: InfoHash, more: Value) -> Result<()> {
        let mut arguments = json!({"ids": [hash.to_string()]});
        if let (Some(all), Value::Object(more)) = (arguments.as_object_mut(), more) {
            all.extend(more);
        }
        self.0.call(method, arguments)?;
        Ok(())
    }

    /// How a torrent stands.
    pub fn state(&mut self, hash: InfoHash) -> Result<State> {
        transmission::state(&mut self.0, hash)
    }

    /// A field of a torrent; none if the torrent is not in the list.
    pub fn field(&mut self, hash: InfoHash, name: &str) -> Result<Option<Value>> {
        let arguments = json!({"ids": [hash.to_string()], "fields": [name]});
        let mut answer = self.0.call("torrent_get", arguments)?;
        Ok(answer["torrents"].get_mut(0).map(|torrent| torrent[name].take()))
    }

    /// Waits until a torrent is complete and offered; a local error of it is one.
    pub fn wait_seeding(&mut self, torrent: &Torrent) -> Result<()> {
        let name = torrent.layout().name();
        wait_until(&format!("{name} is seeding"), ENOUGH, || {
            let state = self.state(torrent.info_hash())?;
            ensure!(state.error.is_none(), "{name}: {:?}", state.error);
            Ok(state.seeding)
        })
    }

    /// Waits until a torrent that was told to stop has stopped.
    pub fn wait_stopped(&mut self, hash: InfoHash) -> Result<()> {
        wait_until("it is stopped", ENOUGH, || Ok(self.field(hash, "status")? == Some(json!(0))))
    }

    /// Has a torrent's files moved, and waits until they are.
    pub fn relocate(&mut self, hash: InfoHash, to: &Path) -> Result<()> {
        self.act("torrent_set_location", hash, json!({"location": to, "move": true}))?;
        wait_until("it is at its new place", ENOUGH, || {
            Ok(self.field(hash, "download_dir")? == Some(json!(to)))
        })
    }

    /// Removes a torrent.
    pub fn remove(&mut self, hash: InfoHash, with_data: bool) -> Result<()> {
        self.act("torrent_remove", hash, json!({"delete_local_data": with_data}))?;
        wait_until("it is in no list", ENOUGH, || Ok(self.field(hash, "status")?.is_none()))
    }

    /// Bytes that were up- and downloaded since the daemon's start.
    pub fn moved(&mut self) -> Result<u64> {
        let answer = self.0.call("session_stats", json!({}))?;
        let now = answer.get("current_stats").or_else(|| answer.get("current-stats"));
        let number = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| now?.get(name)?.as_u64());
            found.with_context(|| format!("no {names:?} in {answer}"))
        };
        Ok(number(["downloaded_bytes", "downloadedBytes"])?
            + number(["uploaded_bytes", "uploadedBytes"])?)
    }

    /// Asks one of the things that remotes ask all the time.
    pub fn poll(&mut self, random: &mut Rng, folder: &Path) -> Result<()> {
        let fields = json!([
            "id",
            "name",
            "hash_string",
            "status",
            "percent_done",
            "rate_download",
            "rate_upload",
            "files",
            "file_stats",
            "peers",
            "tracker_stats",
            "pieces",
            "error_string",
            "labels"
        ]);
        let (method, arguments) = match random.u8(..5) {
            0 => ("torrent_get", json!({"fields": fields})),
            1 => ("torrent_get", json!({"fields": fields, "ids": "recently-active"})),
            2 => ("session_get", json!({})),
            3 => ("session_stats", json!({})),
            _ => ("free_space", json!({"path": folder})),
        };
        self.0.call(method, arguments)?;
        Ok(())
    }
}
