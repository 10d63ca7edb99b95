//! The control interface: HTTP in front, jsonrpsee in the middle, the engine behind.
//!
//! A request passes the gateway (who may ask, and in which shape), is run call by call by jsonrpsee,
//! and its methods talk to the engine's [`Session`]. Nothing here waits for a shard or a disk, except
//! where an answer consists of what only they know, and then not for long.
//!
//! Everything runs on the tokio runtime it is started from; one thread is enough.

pub mod accounts;
mod body;
mod connections;
mod disk;
mod execute;
mod gateway;
mod keeper;
mod limits;
mod listener;
mod methods;
mod mime;
mod native;
mod patient;
mod tls;
mod trackers;
mod view;

pub use connections::Running;
pub use listener::{Address, Listener, socket_mode};
pub(crate) use methods::unix_now;
#[doc(hidden)]
pub use native::Feed;
pub use tls::TlsError;

use accounts::{AccountsError, AccountsFile};
use engine::{Session, settings::Settings};
use gateway::{Front, Gateway, Login, Rules, SessionIds, calls::Desk};
use keeper::Keeper;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tls::Certificate;

/// Keeps settings that a client has changed; an error is told to the client.
pub type SaveSettings = Box<dyn Fn(&Settings) -> Result<(), String> + Send + Sync>;

/// What the server needs besides a session.
pub struct Options {
    /// The daemon's folder, for clients to see; users and tokens are in it.
    pub config_dir: PathBuf,
    /// Called after session_set with the new settings.
    pub save_settings: SaveSettings,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ServeError {
    #[error("a setting is wrong: {0}")]
    Setting(String),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that listens and has nothing to serve yet. It says so to who asks whether it lives or is
/// ready; other requests wait.
pub struct Opening {
    front: Front,
    rules: Arc<Rules>,
    login: Login,
    running: Running,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.running.fmt(f)
    }
}

/// Begins to listen, as these settings say. Must be called in a tokio runtime; reads a few small
/// files.
pub fn open(
    listeners: Vec<Listener>,
    settings: &Settings,
    config_dir: &Path,
) -> Result<Opening, ServeError> {
    let rules = Arc::new(Rules::new(settings).map_err(ServeError::Setting)?);
    let certificate = certificate(settings)?;
    let file = AccountsFile::in_folder(config_dir);
    if file.is_exposed() {
        tracing::warn!("{} can be read by others: chmod 600 it", file.path().display());
    }
    let login = Login::open(file)?;
    let front = Front::new(Arc::clone(&rules));
    let running = connections::start(listeners, front.clone(), certificate);
    Ok(Opening { front, rules, login, running })
}

impl Opening {
    /// Serves this session from now on, to those who have waited for it, too.
    pub fn serve(self, session: Session, options: Options) -> Running {
        let Opening { front, rules, login, running } = self;
        let ids = Arc::new(SessionIds::new(Instant::now()));
        let Options { config_dir, save_settings } = options;
        let keeper =
            Keeper::new(session.clone(), Arc::clone(&rules), config_dir.clone(), save_settings);
        let keeper = Arc::new(keeper);
        let native = native::Control::new(session.clone(), config_dir.clone(), Arc::clone(&keeper));
        let meter = Arc::clone(front.meter());
        let desk = Arc::new(Desk::new(session.clone(), Arc::clone(&rules), meter));
        let native = native::Native::new(Arc::new(native), Arc::clone(&desk));
        let control = methods::Control::new(session.clone(), config_dir, keeper, Arc::clone(&ids));
        let module = methods::module(control).into();
        front.open(Gateway::new(module, native, desk, session, ids, login, rules));
        running
    }
}

/// Serves a session to whoever may connect to these listeners, as its settings say: [`open`] and
/// [`Opening::serve`] in one.
pub fn serve(
    listeners: Vec<Listener>,
    session: Session,
    options: Options,
) -> Result<Running, ServeError> {
    let opening = open(listeners, &session.settings(), &options.config_dir)?;
    Ok(opening.serve(session, options))
}

fn certificate(settings: &Settings) -> Result<Option<Arc<Certificate>>, ServeError> {
    let (cert, key) = (&settings.rpc_tls_cert, &settings.rpc_tls_key);
    match tls::is_wanted(cert, key).map_err(ServeError::Setting)? {
        true => Ok(Some(Arc::new(Certificate::open(cert, key)?))),
        false => Ok(None),
    }
}
