//! Starts the shards, each on its core, and starts anew one that panicked.

use crate::{
    descriptors::Descriptors,
    limits,
    settings::Settings,
    shard::{Command, Directory, End, Report, Shard, ShardHandle, ShardParts, ShardSettings},
};
use crossbeam_channel::{Receiver, bounded};
use ring::{DriverChoice, DriverError, DriverKind, ListenerId, Ring, RingConfig, Waker};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread::JoinHandle,
};
use storage::{Store, StoreLimits};
use swarm::MemoryBudget;

/// Why the shards cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// No reactor.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The peer port.
    #[error(
        "cannot listen for peers on {addr}: {error}; choose another --peer-port or --peer-bind"
    )]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// No thread, or no wake-up descriptor.
    #[error("cannot start a shard: {0}")]
    Thread(#[from] io::Error),
}

/// The running shards.
pub(crate) struct Shards {
    pub(crate) handles: Vec<ShardHandle>,
    /// Where peers can connect.
    pub(crate) listening: Vec<SocketAddr>,
    pub(crate) driver: DriverKind,
    /// What the shards share.
    pub(crate) directory: Directory,
    threads: Vec<JoinHandle<()>>,
}

/// What a shard's thread needs to start over.
struct Plan {
    number: usize,
    cpu: usize,
    ring: RingConfig,
    listen: Vec<SocketAddr>,
    memory: u64,
    limits: StoreLimits,
    settings: ShardSettings,
    directory: Directory,
    commands: Receiver<Command>,
    reports: tokio::sync::mpsc::Sender<Report>,
}

type Started = Result<(Vec<SocketAddr>, DriverKind), ShardsError>;

/// The CPUs that the process may use, ascending.
pub fn usable_cpus() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => vec![0],
    }
}

impl Shards {
    /// Starts as many shards as the settings ask for.
    pub(crate) fn start(
        settings: &Settings,
        reports: &tokio::sync::mpsc::Sender<Report>,
    ) -> Result<Shards, ShardsError> {
        let cpus = usable_cpus();
        let count = shard_count(settings);
        let peers = Descriptors::of_process(count).peers;
        if peers < settings.peer_limit_global as usize {
            tracing::warn!(
                "the limit of open files leaves room for {peers} peers, not {} (peer_limit_global); \
                 raise it with ulimit -n or LimitNOFILE=",
                settings.peer_limit_global
            );
        }
        let directory = Directory::default();
        let shared = shard_settings(settings);
        let addresses = settings.peer_addresses().unwrap_or_default();
        let mut listen: Vec<SocketAddr> =
            addresses.iter().map(|&ip| SocketAddr::new(ip, settings.port_at_start())).collect();
        let mut shards = Shards {
            handles: Vec::new(),
            listening: Vec::new(),
            driver: DriverKind::Mio,
            directory: directory.clone(),
            threads: Vec::new(),
        };
        let mut others = Vec::new();
        for number in 0..count {
            let waker = Waker::new()?;
            let (sender, commands) = bounded(limits::COMMANDS);
            let plan = Plan {
                number,
                cpu: cpus[number % cpus.len()],
                ring: ring_config(settings, &waker),
                listen: listen.clone(),
                memory: (u64::from(settings.download_memory_mib) << 20) / count as u64,
                limits: store_limits(settings, count),
                settings: shared.clone(),
                directory: directory.clone(),
                commands,
                reports: reports.clone(),
            };
            let (started_in, started) = mpsc::channel();
            let (others_in, others_out) = mpsc::channel();
            let thread = std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || plan.run(&started_in, &others_out))?;
            let gone = || io::Error::other("the shard's thread ended at once");
            let (listening, driver) = started.recv().map_err(|_| gone())??;
            // The first one has chosen the port; the others share it.
            listen.clone_from(&listening);
            shards.listening = listening;
            shards.driver = driver;
            shards.handles.push(ShardHandle::new(sender, waker));
            shards.threads.push(thread);
            others.push(others_in);
        }
        for other in others {
            // A shard that is gone already has reported it.
            let _ = other.send(shards.handles.clone());
        }
        Ok(shards)
    }

    /// Shards without threads, of whoever lets them take their turns.
    #[cfg(feature = "sim")]
    pub(crate) fn by_hand(
        handles: &[ShardHandle],
        listening: SocketAddr,
        directory: &Directory,
    ) -> Shards {
        Shards {
            handles: handles.to_vec(),
            listening: vec![listening],
            driver: DriverKind::Sim,
            directory: directory.clone(),
            threads: Vec::new(),
        }
    }

    /// Waits for the threads, which end after [`Command::Shutdown`]. Blocks.
    pub(crate) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Plan {
    fn run(mut self, started: &mpsc::Sender<Started>, others: &mpsc::Receiver<Vec<ShardHandle>>) {
        pin_to(self.cpu);
        let (ring, listeners) = match self.start_ring() {
            Ok(made) => made,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        self.listen = listeners.iter().map(|(_, addr)| *addr).collect();
        let _ = started.send(Ok((self.listen.clone(), ring.kind())));
        let Ok(others) = others.recv() else { return };
        let mut next = Some((ring, listeners));
        while let Some((ring, listeners)) = next.take() {
            let mut shard = Shard::new(self.parts(ring, listeners, &others));
            let panicked = match catch_unwind(AssertUnwindSafe(|| shard.run())) {
                Ok(Ok(())) => false,
                Ok(Err(error)) => {
                    tracing::error!(shard = self.number, %error, "the reactor failed");
                    true
                }
                Err(_) => {
                    tracing::error!(shard = self.number, "a shard panicked; starting a fresh one");
                    true
                }
            };
            let mut end = End::Ordered;
            let culprit = shard.in_hand();
            if panicked {
                // Its drop could meet the same broken state.
                let _ = catch_unwind(AssertUnwindSafe(move || drop(shard)));
                std::thread::sleep(limits::RESTART_PAUSE);
                next = self.start_ring().inspect_err(|error| tracing::error!(%error)).ok();
                end = if next.is_some() { End::Replaced } else { End::Dead };
            }
            let report = Report::Ended { shard: self.number, end, culprit };
            if self.reports.blocking_send(report).is_err() {
                return;
            }
        }
    }

    fn start_ring(&self) -> Result<(Ring, Vec<(ListenerId, SocketAddr)>), ShardsError> {
        let mut ring = Ring::new(self.ring.clone())?;
        let mut listeners: Vec<(ListenerId, SocketAddr)> = Vec::new();
        for &addr in &self.listen {
            let mut addr = addr;
            if addr.port() == 0
                && let Some((_, first)) = listeners.first()
            {
                addr.set_port(first.port());
            }
            match ring.listen(addr) {
                Ok(listener) => listeners.push(listener),
                // A machine without IPv6 still serves IPv4, and the other way round.
                Err(error) if is_missing_family(&error) && self.listen.len() > 1 => {
                    tracing::info!(%addr, %error, "not listening");
                }
                Err(error) => return Err(ShardsError::Listen { addr, error }),
            }
        }
        Ok((ring, listeners))
    }

    fn parts(
        &self,
        ring: Ring,
        listeners: Vec<(ListenerId, SocketAddr)>,
        others: &[ShardHandle],
    ) -> ShardParts {
        ShardParts {
            number: self.number,
            ring,
            store: Store::new(self.limits.clone()),
            budget: MemoryBudget::new(self.memory),
            settings: self.settings.clone(),
            directory: self.directory.clone(),
            others: others.to_vec(),
            commands: self.commands.clone(),
            reports: self.reports.clone(),
            listeners,
        }
    }
}

fn is_missing_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn pin_to(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::debug!(cpu, %error, "cannot pin the shard to its core");
    }
}

fn ring_config(settings: &Settings, waker: &Waker) -> RingConfig {
    let driver = match settings.driver.as_str() {
        "auto" => DriverChoice::from_env(),
        named => named.parse().unwrap_or_default(),
    };
    RingConfig {
        driver,
        zero_copy: settings.zero_copy,
        waker: Some(waker.clone()),
        ..RingConfig::default()
    }
}

fn store_limits(settings: &Settings, shards: usize) -> StoreLimits {
    let defaults = StoreLimits::default();
    StoreLimits {
        open_files: Descriptors::of_process(shards).files,
        direct_writes: settings.direct_writes,
        mappings: (defaults.mappings / shards).max(16),
        ..defaults
    }
}

fn shard_count(settings: &Settings) -> usize {
    match settings.cores {
        0 => usable_cpus().len(),
        some => usize::from(some),
    }
}

/// The settings that a shard can take over while it runs.
pub(crate) fn shard_settings(settings: &Settings) -> ShardSettings {
    let addresses = settings.peer_addresses().unwrap_or_default();
    let source = |wanted: fn(&IpAddr) -> bool| {
        let first = addresses.iter().find(|ip| wanted(ip));
        first.filter(|ip| !ip.is_unspecified()).map(|&ip| SocketAddr::new(ip, 0))
    };
    ShardSettings {
        connecting_limit: settings.connecting_limit as usize,
        connection_limit: (settings.peer_limit_global as usize)
            .min(Descriptors::of_process(shard_count(settings)).peers),
        sync_interval: std::time::Duration::from_secs(settings.sync_interval.into()),
        source_v4: source(IpAddr::is_ipv4),
        source_v6: source(IpAddr::is_ipv6),
    }
}
