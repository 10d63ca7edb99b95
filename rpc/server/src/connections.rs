//! Connections: accepted, bounded in number and in patience, closed gracefully.

use crate::{
    gateway::{Door, Front, Gateway, Peer, peer_key},
    limits,
    listener::Listener,
    patient::Patient,
    tls::Certificate,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A server that is running; dropped, it goes on.
#[derive(Debug)]
pub struct Running {
    addr: Option<SocketAddr>,
    front: Front,
    certificate: Option<Arc<Certificate>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// The first address where it listens; none if it has only Unix sockets.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Looks at once whether users, tokens or the certificate have changed on the disk. Blocks.
    pub fn look_for_changes(&self) {
        if let Some(gateway) = self.front.gateway() {
            gateway.look_at_accounts();
            gateway.close_what_is_let_in_no_more();
        }
        self.certificate.iter().for_each(|certificate| certificate.reload());
    }

    /// Takes no more connections and lets answers under way finish, for half a second at most.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// What each task of accepting shares with the others.
#[derive(Clone)]
struct Entrance {
    front: Front,
    certificate: Option<Arc<Certificate>>,
    places: Places,
    unix_places: Places,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    stopped: watch::Receiver<bool>,
}

/// Connections that there may be at a time.
#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    all: u32,
}

impl Places {
    /// So many, but a fraction of the process's descriptors at most: torrents need some too.
    fn new(most: usize, fraction: u64) -> Places {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let share = limit.map_or(most, |limit| (limit / fraction).max(4) as usize);
        let all = most.min(share);
        Places { free: Arc::new(Semaphore::new(all)), all: all as u32 }
    }
}

pub(crate) fn start(
    listeners: Vec<Listener>,
    front: Front,
    certificate: Option<Arc<Certificate>>,
) -> Running {
    let addr = listeners.iter().find_map(Listener::tcp_addr);
    let (stop, stopped) = watch::channel(false);
    let entrance = Entrance {
        front: front.clone(),
        certificate: certificate.clone(),
        places: Places::new(limits::CONNECTIONS, 8),
        unix_places: Places::new(limits::UNIX_CONNECTIONS, 16),
        by_address: Arc::default(),
        stopped: stopped.clone(),
    };
    let mut tasks: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(entrance.clone().accept(listener)))
        .collect();
    tasks.push(tokio::spawn(look_for_changes(front.clone(), certificate.clone(), stopped)));
    Running { addr, front, certificate, stop, tasks }
}

/// Takes over accounts and certificates that have changed.
async fn look_for_changes(
    front: Front,
    certificate: Option<Arc<Certificate>>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(limits::LOOK_INTERVAL) => {}
            () = told(&mut stopped) => return,
        }
        let gateway = front.gateway();
        // Tokens end by themselves, whether the disk answers or not.
        gateway.iter().for_each(Gateway::close_what_is_let_in_no_more);
        let certificate = certificate.clone();
        let look = tokio::task::spawn_blocking(move || {
            if let Some(gateway) = gateway {
                gateway.look_at_accounts();
                gateway.close_what_is_let_in_no_more();
            }
            certificate.inspect(|certificate| certificate.reload());
        });
        // A disk that hangs must not hold up the end.
        tokio::select! {
            _ = look => {}
            () = told(&mut stopped) => return,
        }
    }
}

impl Entrance {
    async fn accept(mut self, listener: Listener) {
        let mut last_told: Option<Instant> = None;
        loop {
            let mut stopped = self.stopped.clone();
            tokio::select! {
                accepted = self.accept_one(&listener) => if let Err(error) = accepted {
                    if last_told.is_none_or(|told: Instant| told.elapsed() >= limits::TELL_AGAIN) {
                        last_told = Some(Instant::now());
                        tracing::warn!("cannot accept control connections: {error}");
                    }
                    tokio::time::sleep(limits::ACCEPT_REST).await;
                },
                () = told(&mut stopped) => break,
            }
        }
        let places = match &listener {
            Listener::Tcp(_) => &self.places,
            Listener::Unix(_) => &self.unix_places,
        };
        drop(listener);
        self.front.gateway().iter().for_each(Gateway::stop);
        let all = places.free.acquire_many(places.all);
        let _ = tokio::time::timeout(limits::STOP_PATIENCE, all).await;
    }

    /// Beyond the limits a connection is closed at once rather than left waiting.
    async fn accept_one(&mut self, listener: &Listener) -> io::Result<()> {
        match listener {
            Listener::Tcp(listener) => {
                let (stream, addr) = listener.accept().await?;
                let peer = Peer::of(addr.ip());
                if let Some(place) = self.place(peer) {
                    let entrance = self.clone();
                    tokio::spawn(async move { entrance.serve_tcp(stream, peer, place).await });
                }
            }
            Listener::Unix(door) => {
                let (stream, _) = door.listener.accept().await?;
                if let Some(place) = self.place(Peer::Unix) {
                    let (door, stopped) = (self.front.door(Peer::Unix), self.stopped.clone());
                    tokio::spawn(async move {
                        serve(stream, door, stopped).await;
                        drop(place);
                    });
                }
            }
        }
        Ok(())
    }

    async fn serve_tcp(self, stream: TcpStream, peer: Peer, place: Place) {
        let _ = stream.set_nodelay(true);
        let door = self.front.door(peer);
        match &self.certificate {
            None => serve(stream, door, self.stopped).await,
            Some(certificate) => {
                let acceptor = TlsAcceptor::from(certificate.config());
                let shaken =
                    tokio::time::timeout(limits::TLS_TIMEOUT, acceptor.accept(stream)).await;
                match shaken {
                    Ok(Ok(stream)) => serve(stream, door, self.stopped).await,
                    Ok(Err(error)) => tracing::debug!(%peer, "TLS: {error}"),
                    Err(_) => tracing::debug!(%peer, "TLS: the handshake took too long"),
                }
            }
        }
        drop(place);
    }

    fn place(&self, peer: Peer) -> Option<Place> {
        let place = self.take_place(peer);
        self.front.meter().connected(place.is_some());
        place
    }

    fn take_place(&self, peer: Peer) -> Option<Place> {
        let places = match peer {
            Peer::Ip(_) => &self.places,
            Peer::Unix => &self.unix_places,
        };
        let permit = Arc::clone(&places.free).try_acquire_owned().ok()?;
        // On this machine an address says nothing: behind a proxy there all connections have it.
        let address = peer_key(peer).filter(|_| !peer.is_local());
        if let Some(address) = address {
            let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let own = all.entry(address).or_default();
            if *own >= limits::CONNECTIONS_PER_ADDRESS {
                return None;
            }
            *own += 1;
        }
        let (by_address, front) = (Arc::clone(&self.by_address), self.front.clone());
        Some(Place { address, by_address, front, _permit: permit })
    }
}

/// A connection's place among those that there may be.
struct Place {
    address: Option<IpAddr>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    front: Front,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.front.meter().disconnected();
        let Some(address) = self.address else { return };
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&address) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(all.remove(&address)),
        }
    }
}

async fn serve<S>(stream: S, door: Door, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIMEOUT)
        .max_buf_size(limits::HEAD_BYTES)
        // transmission-remote 3.00 looks for the session id's header in this spelling only.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(Patient::new(stream)), TowerToHyperService::new(door))
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = told(&mut stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("control connection: {error}");
    }
}

/// Waits until the server is told to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
