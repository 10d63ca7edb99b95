//! `ringseed daemon`.

use crate::{cli::DaemonArgs, config, limits, logging, output, process};
use anyhow::{Context, bail};
use engine::{Options, Session, settings::Settings};
use server::{
    Address, Listener,
    accounts::{self, AccountsFile},
};
use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::Path,
};

/// Runs until it is told to stop.
pub fn run(args: DaemonArgs) -> anyhow::Result<()> {
    engine::process::return_freed_memory();
    let log = logging::start(args.log_json, "info");
    let dir = match args.config_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => config::default_dir()?,
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let _lock = lock(&dir)?;
    let settings = config::load(&dir, &args.settings.0)?;
    process::raise_file_limit();
    process::block_on(async {
        tokio::spawn(log.tell_losses());
        serve(&dir, settings).await
    })
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
    let mut hangups = process::hangups()?;
    let listeners = listen(&settings, dir).await?;
    first_admin(&listeners, dir)?;
    let cpus = engine::usable_cpus();
    tracing::info!(config = %dir.display(), downloads = %settings.download_dir.display(), ?cpus, "starting");
    let names: Vec<String> = listeners.iter().map(Listener::name).collect();
    let tls = !settings.rpc_tls_cert.as_os_str().is_empty();
    // From here on it is answered that the daemon lives, and that it is not ready.
    let opening = server::open(listeners, &settings, dir)?;
    let options = Options { config_dir: dir.to_owned(), settings: settings.clone() };
    let session = tokio::select! {
        session = started(options) => session?,
        // What a crash would leave is what there is to leave so far.
        () = signals.next() => {
            tracing::info!("stopped before it had started");
            return Ok(());
        }
    };
    let keeper = config::Keeper::new(dir, settings);
    let options = server::Options {
        config_dir: dir.to_owned(),
        save_settings: Box::new(move |settings| {
            keeper.save(settings).map_err(|error| format!("{error:#}"))
        }),
    };
    let control = opening.serve(session.clone(), options);
    announce(&names, tls, &session)?;
    process::tell_manager("READY=1");
    loop {
        tokio::select! {
            () = signals.next() => break,
            () = session.shutdown_requested() => break,
            _ = hangups.recv() => control.look_for_changes(),
        }
    }
    tracing::info!("stopping");
    process::tell_manager("STOPPING=1");
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

/// Loads the session on a thread of its own, so that this one can answer meanwhile. The session lives
/// on this runtime all the same.
async fn started(options: Options) -> anyhow::Result<Session> {
    let runtime = tokio::runtime::Handle::current();
    let start = move || runtime.block_on(Session::start(options));
    tokio::task::spawn_blocking(start).await.context("cannot start")?.context("cannot start")
}

/// Opens every address of `rpc_bind`. A Unix socket that cannot be made, as on some network file
/// systems, is only told of as long as there is another way in.
async fn listen(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Listener>> {
    let wrong = |error| anyhow::anyhow!("a setting is wrong: {error}");
    let addresses = Address::list(&settings.rpc_bind, dir).map_err(wrong)?;
    let mode = server::socket_mode(&settings.rpc_socket_mode).map_err(wrong)?;
    let mut listeners = Vec::new();
    let mut unix_error = None;
    for address in &addresses {
        match (Listener::bind(address, mode).await, address) {
            (Ok(listener), _) => listeners.push(listener),
            (Err(error), Address::Tcp(bind)) => bail!(cannot_listen(bind, &error)),
            (Err(error), Address::Unix(path)) => {
                let path = path.display();
                tracing::warn!("no Unix socket at {path}: {error}");
                unix_error = Some(format!("cannot listen at {path}: {error}"));
            }
        }
    }
    match (listeners.is_empty(), unix_error) {
        (true, Some(error)) => bail!("{error}: choose another path with --rpc-bind"),
        _ => Ok(listeners),
    }
}

fn cannot_listen(bind: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{bind} is in use: stop the program that listens there, or choose another address with --rpc-bind"
        ),
        _ => format!("cannot listen on {bind}: {error}: choose another address with --rpc-bind"),
    }
}

/// Where others than this machine can connect and nobody could log in yet, there is an admin from
/// the first start on, whose password is printed. Who removes all users afterwards is left alone.
fn first_admin(listeners: &[Listener], dir: &Path) -> anyhow::Result<()> {
    let file = AccountsFile::in_folder(dir);
    let is_open = |addr: SocketAddr| !addr.ip().is_loopback();
    if !listeners.iter().filter_map(Listener::tcp_addr).any(is_open) || file.exists() {
        return Ok(());
    }
    let password = accounts::generate_password();
    file.edit(|accounts| accounts.add_user("admin", api::Role::Admin, &password, Vec::new()))?;
    output::print(&format!(
        "log in as admin with the password {password} (told only now; `ringseed user passwd admin` \
         sets another)\n"
    ))
}

fn announce(listeners: &[String], tls: bool, session: &Session) -> anyhow::Result<()> {
    let peers: Vec<String> = session.peer_addr().iter().map(SocketAddr::to_string).collect();
    let scheme = if tls { "https" } else { "http" };
    let url = |name: &String| match name.starts_with("unix:") {
        true => name.clone(),
        false => format!("{scheme}://{name}/transmission/rpc"),
    };
    let (rpc, peers) = (listeners.iter().map(url).collect::<Vec<_>>(), peers.join(", "));
    output::print(&format!(
        "ready: rpc {}, peers {peers}, driver {}\n",
        rpc.join(", "),
        session.driver()
    ))
}
