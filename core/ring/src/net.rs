//! Sockets as both drivers want them.

use crate::limits;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

fn stream(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // Each family has its own listener; without this the IPv6 one takes the port of both.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

pub(crate) fn listener(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream(addr)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn outgoing(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<OwnedFd> {
    let socket = stream(to)?;
    if let Some(from) = from {
        if from.port() == 0 {
            choose_port_late(&socket);
        }
        socket.bind(&from.into())?;
    }
    tune(&socket)?;
    Ok(socket.into())
}

/// Leaves the choice of the source port to connect(2), so that one source address can hold more
/// connections than it has ports (`IP_BIND_ADDRESS_NO_PORT`, ip(7)). Without it fewer fit: no error.
#[allow(unsafe_code)]
fn choose_port_late(socket: &Socket) {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int that lives across the call, and its size is given.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        );
    }
}

/// Requests and haves are small and wanted at once: no Nagle.
pub(crate) fn tune(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_nodelay(true)
}

pub(crate) fn set_nonblocking(socket: &impl AsFd, on: bool) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(on)
}

pub(crate) fn local_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    internet(SockRef::from(socket).local_addr()?)
}

pub(crate) fn peer_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    internet(SockRef::from(socket).peer_addr()?)
}

/// The error that a failed connect(2) or transfer left on the socket.
pub(crate) fn take_error(socket: &impl AsFd) -> io::Result<()> {
    match SockRef::from(socket).take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn internet(addr: SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::other("not an internet address"))
}
