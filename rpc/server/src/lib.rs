//! The control interface: HTTP in front, jsonrpsee in the middle, the engine behind.
//!
//! A request passes the gateway (who may ask, and in which shape), is run call by call by jsonrpsee,
//! and its methods talk to the engine's [`Session`]. Nothing here waits for a shard or a disk, except
//! where an answer consists of what only they know, and then not for long.
//!
//! Everything runs on the tokio runtime it is started from; one thread is enough.

mod body;
mod execute;
mod gateway;
mod limits;
mod listener;
mod methods;
mod mime;
mod native;
mod trackers;
mod view;

pub use listener::Running;
pub(crate) use methods::unix_now;
#[doc(hidden)]
pub use native::Feed;

use engine::{Session, settings::Settings};
use gateway::SessionIds;
use std::{io, path::PathBuf, sync::Arc, time::Instant};
use tokio::net::TcpListener;

/// Keeps settings that a client has changed; an error is told to the client.
pub type SaveSettings = Box<dyn Fn(&Settings) -> Result<(), String> + Send + Sync>;

/// What the server needs besides a session.
pub struct Options {
    /// The daemon's folder, for clients to see.
    pub config_dir: PathBuf,
    /// Called after session_set with the new settings.
    pub save_settings: SaveSettings,
}

/// Serves a session to whoever connects. There are no passwords: the listener decides who can.
pub fn serve(listener: TcpListener, session: Session, options: Options) -> io::Result<Running> {
    let ids = Arc::new(SessionIds::new(Instant::now()));
    let Options { config_dir, save_settings } = options;
    let save_settings = Arc::new(save_settings);
    let native =
        native::Control::new(session.clone(), config_dir.clone(), Arc::clone(&save_settings));
    let native = native::Native::new(Arc::new(native));
    let control = methods::Control::new(session, config_dir, save_settings, Arc::clone(&ids));
    let module = methods::module(control);
    listener::start(listener, gateway::Gateway::new(module.into(), native, ids))
}
