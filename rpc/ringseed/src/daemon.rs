//! `ringseed daemon`.

use crate::{cli::DaemonArgs, config, limits, logging, output, process};
use anyhow::{Context, bail};
use engine::{Options, Session, settings::Settings};
use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::Path,
};
use tokio::net::TcpListener;

/// Runs until it is told to stop.
pub fn run(args: DaemonArgs) -> anyhow::Result<()> {
    logging::start(args.log_json, "info");
    let dir = match args.config_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => config::default_dir()?,
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let _lock = lock(&dir)?;
    let settings = config::load(&dir, &args.settings.0)?;
    process::raise_file_limit();
    process::block_on(serve(&dir, settings))
}

/// Two daemons with one session would each undo what the other does.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("ringseed.lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "a daemon runs with {} already: stop it, or name another folder with --config-dir",
            dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

async fn serve(dir: &Path, settings: Settings) -> anyhow::Result<()> {
    let mut signals = process::Signals::catch()?;
    let listener = listen(&settings.rpc_bind).await?;
    let cpus = engine::usable_cpus();
    tracing::info!(config = %dir.display(), downloads = %settings.download_dir.display(), ?cpus, "starting");
    let options = Options { config_dir: dir.to_owned(), settings: settings.clone() };
    let session = Session::start(options).await.context("cannot start")?;
    let keeper = config::Keeper::new(dir, settings);
    let options = server::Options {
        config_dir: dir.to_owned(),
        save_settings: Box::new(move |settings| {
            keeper.save(settings).map_err(|error| format!("{error:#}"))
        }),
    };
    let control = server::serve(listener, session.clone(), options)?;
    announce(&control, &session)?;
    tokio::select! {
        () = signals.next() => {}
        () = session.shutdown_requested() => {}
    }
    tracing::info!("stopping");
    let stop = async {
        control.stop().await;
        session.stop().await;
    };
    tokio::select! {
        stopped = tokio::time::timeout(limits::STOP_PATIENCE, stop) => {
            stopped.context("did not stop in time; what was written last will be checked again")?;
        }
        () = signals.next() => bail!("stopped at once by a second signal"),
    }
    tracing::info!("stopped");
    Ok(())
}

async fn listen(bind: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(bind).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{bind} is in use: stop the program that listens there, or choose another address with --rpc-bind"
        ),
        _ => anyhow::anyhow!("cannot listen on {bind}: {error}: choose another address with --rpc-bind"),
    })?;
    if !listener.local_addr()?.ip().is_loopback() {
        tracing::warn!(
            "the control interface at {bind} has no password: whoever can connect can do anything"
        );
    }
    Ok(listener)
}

fn announce(control: &server::Running, session: &Session) -> anyhow::Result<()> {
    let peers: Vec<String> = session.peer_addr().iter().map(SocketAddr::to_string).collect();
    let (rpc, peers) = (control.addr(), peers.join(", "));
    output::print(&format!(
        "ready: rpc http://{rpc}/transmission/rpc, peers {peers}, driver {}\n",
        session.driver()
    ))
}
