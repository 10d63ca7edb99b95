//! A connection of the io_uring driver.

use crate::slots::Slots;
use socket2::SockAddr;
use std::{
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// Being given away; no new receive is armed.
    Detaching,
    /// Ended for the caller; waiting for the kernel to let go.
    Closing,
}

pub(super) struct Conn {
    pub(super) socket: OwnedFd,
    pub(super) phase: Phase,
    pub(super) peer: SocketAddr,
    /// Operations of which the kernel will still report.
    pub(super) pending: u32,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    /// Zero copy may be of use.
    pub(super) may_pin: bool,
    /// Where connect(2) goes, at an address that stays.
    connect_to: Option<Box<SockAddr>>,
}

impl Conn {
    pub(super) fn new(socket: OwnedFd, phase: Phase, peer: SocketAddr) -> Conn {
        let connect_to = (phase == Phase::Connecting).then(|| Box::new(peer.into()));
        Conn {
            socket,
            phase,
            peer,
            pending: 0,
            receiving: false,
            sending: false,
            may_pin: true,
            connect_to,
        }
    }
}

pub(super) type Conns = Slots<Conn>;

impl Slots<Conn> {
    /// Descriptor, address and length for connect(2); they stay valid while the slot is in use.
    pub(super) fn connect_args(
        &mut self,
        slot: u32,
    ) -> (RawFd, *const libc::sockaddr, libc::socklen_t) {
        let conn = self.at(slot).expect("a connection that was just inserted");
        let addr = conn.connect_to.as_deref().expect("a connecting one has an address");
        (conn.socket.as_raw_fd(), addr.as_ptr().cast(), addr.len())
    }
}
