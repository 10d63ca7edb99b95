//! Where bytes leave the process, and when it is: the system's sockets and clock, or a simulated
//! network with a clock of its own.

#[cfg(feature = "sim")]
use super::handle::Command;
#[cfg(feature = "sim")]
use crate::tracker::simulated::{Order, SimNetwork};
use crate::tracker::{
    Moment,
    resolver::Resolver,
    transport::{Http, HttpClients},
    udp::Transmit,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::UdpSocket, time::Instant};

/// All that the announcer knows of the world.
pub(super) struct Network {
    /// Names to addresses.
    pub resolver: Resolver,
    /// Requests to HTTP trackers.
    pub http: Http,
    datagrams: Datagrams,
    started: Instant,
}

/// UDP.
enum Datagrams {
    /// A socket for each address family.
    System([Option<UdpSocket>; 2]),
    #[cfg(feature = "sim")]
    Simulated(SimNetwork),
}

impl Network {
    /// The system's, with requests from these addresses.
    ///
    /// # Errors
    /// If neither address gives a socket, or TLS cannot be set up.
    pub fn system(
        user_agent: &str,
        sources: [IpAddr; 2],
        http_timeout: Duration,
    ) -> io::Result<Network> {
        let sockets = match sources.map(udp_socket) {
            [Err(error), Err(_)] => return Err(error),
            sockets => sockets.map(Result::ok),
        };
        let resolver = Resolver::default();
        let http = HttpClients::new(&resolver, user_agent, sources, http_timeout)
            .map_err(io::Error::other)?;
        Ok(Network {
            resolver,
            http: Http::System(http),
            datagrams: Datagrams::System(sockets),
            started: Instant::now(),
        })
    }

    /// What the announcer is told, for whoever watches it in a simulated world.
    #[cfg(feature = "sim")]
    pub fn is_told(&self, command: &Command) {
        let order = match command {
            Command::Add(about) => Order::Begin(about.key, about.info_hash, about.peer_id),
            Command::Remove(key) => Order::End(*key),
            Command::Completed(key) => Order::Complete(*key),
            Command::Shutdown(..) => Order::Leave,
            _ => return,
        };
        self.tell_watcher(order);
    }

    /// The announcer has ended.
    #[cfg(feature = "sim")]
    pub fn has_left(&self) {
        self.tell_watcher(Order::Left);
    }

    #[cfg(feature = "sim")]
    fn tell_watcher(&self, order: Order) {
        if let Datagrams::Simulated(network) = &self.datagrams {
            network.is_told(order);
        }
    }

    /// A simulated one.
    #[cfg(feature = "sim")]
    pub fn simulated(network: &SimNetwork) -> Network {
        Network {
            resolver: Resolver::simulated(network),
            http: Http::Simulated(network.clone()),
            datagrams: Datagrams::Simulated(network.clone()),
            started: Instant::now(),
        }
    }

    /// Time since it began.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The same with the time of day.
    pub fn moment(&self) -> Moment {
        let unix = match &self.datagrams {
            Datagrams::System(_) => SystemTime::now().duration_since(UNIX_EPOCH),
            // Of no meaning but to whoever looks at the status.
            #[cfg(feature = "sim")]
            Datagrams::Simulated(_) => Ok(self.now()),
        };
        Moment { at: self.now(), unix: unix.unwrap_or_default().as_secs() }
    }

    /// Waits until then, for ever without a time.
    pub async fn sleep_until(&self, at: Option<Duration>) {
        let at = at.map(|at| self.started + at);
        #[cfg(feature = "sim")]
        if let Datagrams::Simulated(network) = &self.datagrams {
            network.sleeps_until(at);
        }
        match at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until a datagram may have come.
    pub async fn readable(&self) {
        match &self.datagrams {
            Datagrams::System([v4, v6]) => {
                tokio::select! {
                    biased;
                    () = readable(v4) => {}
                    () = readable(v6) => {}
                }
            }
            #[cfg(feature = "sim")]
            Datagrams::Simulated(network) => network.readable().await,
        }
    }

    /// A datagram by IPv4 (0) or IPv6 (1), its length and its sender; `WouldBlock` if none is there.
    pub fn try_receive(&self, family: usize, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.datagrams {
            Datagrams::System(sockets) => match &sockets[family] {
                Some(socket) => socket.try_recv_from(buffer),
                None => Err(io::ErrorKind::WouldBlock.into()),
            },
            #[cfg(feature = "sim")]
            Datagrams::Simulated(network) => network.try_receive(family, buffer),
        }
    }

    /// Waits until there may be room for the packet, for ever without one.
    pub async fn writable(&self, unsent: &Option<Transmit>) {
        match (&self.datagrams, unsent) {
            (Datagrams::System(sockets), Some(unsent)) => match socket_for(sockets, unsent.to) {
                // An error shows at the next send.
                Some(socket) => drop(socket.writable().await),
                None => std::future::pending().await,
            },
            _ => std::future::pending().await,
        }
    }

    /// Sends a packet; `WouldBlock` if there is no room.
    pub fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        match &self.datagrams {
            Datagrams::System(sockets) => match socket_for(sockets, transmit.to) {
                Some(socket) => socket.try_send_to(&transmit.packet, transmit.to).map(|_| ()),
                None => Err(io::Error::other("no socket for this address family")),
            },
            #[cfg(feature = "sim")]
            Datagrams::Simulated(network) => {
                network.send(transmit);
                Ok(())
            }
        }
    }

    /// Whether the system knows a way to the address. Connecting a UDP socket sends nothing.
    pub fn has_route(&self, to: SocketAddr) -> bool {
        #[cfg(feature = "sim")]
        if matches!(self.datagrams, Datagrams::Simulated(_)) {
            return to.is_ipv4();
        }
        let any: SocketAddr = if to.is_ipv6() {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        };
        std::net::UdpSocket::bind(any).and_then(|socket| socket.connect(to)).is_ok()
    }
}

fn udp_socket(source: IpAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(SocketAddr::new(source, 0))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

async fn readable(socket: &Option<UdpSocket>) {
    match socket {
        // An error shows at the next receive.
        Some(socket) => drop(socket.readable().await),
        None => std::future::pending().await,
    }
}

fn socket_for(sockets: &[Option<UdpSocket>; 2], to: SocketAddr) -> Option<&UdpSocket> {
    sockets[usize::from(to.is_ipv6())].as_ref()
}
