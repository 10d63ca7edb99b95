//! What a process that runs an engine needs of the system.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    ffi::OsStr,
    future::Future,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Lets the process have as many open files as it may: every peer is one.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::debug!(files = ?limit.maximum, "open files allowed"),
        Err(error) => tracing::warn!(
            "the limit of open files stays at {:?}: {error}; raise it with ulimit -n or LimitNOFILE=",
            limit.current
        ),
    }
}

/// Runs a future on this thread's runtime; threads that a hanging disk holds are left behind.
pub fn block_on<R>(future: impl Future<Output = anyhow::Result<R>>) -> anyhow::Result<R> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Threads for what blocks.
    let runtime = runtime.enable_all().on_thread_start(engine::process::give_way).build()?;
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    done
}

/// Tells the service manager how far the daemon is, if it wants to know: sd_notify(3). It never fails
/// for want of somebody who listens.
pub fn tell_manager(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = notify(path.as_bytes(), state) {
        tracing::warn!("the service manager cannot be told {state}: {error}");
    }
}

fn notify(path: &[u8], state: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that reads nothing must not hold up the daemon.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    socket.send(state.as_bytes()).map(drop)
}

/// SIGHUP, which asks to look at files that have changed; it does not end the process any more.
pub fn hangups() -> anyhow::Result<Signal> {
    Ok(signal(SignalKind::hangup())?)
}

/// SIGINT and SIGTERM.
pub struct Signals([Signal; 2]);

impl Signals {
    /// From now on they no longer end the process.
    pub fn catch() -> anyhow::Result<Signals> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Signals([interrupt?, terminate?]))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
