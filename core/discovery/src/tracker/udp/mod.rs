//! UDP trackers (BEP 15): what a packet says, and a conversation with any number of trackers over
//! one socket.

mod client;
mod packet;

pub use client::{Ask, Reply, Transmit, UdpTrackers};
