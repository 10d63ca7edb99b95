//! Sessions with real sockets and files.
#![allow(clippy::unwrap_used)]

mod automation;
mod blocklist;
mod limits;
mod orders;
mod peers;
mod places;
mod queues;
mod support;
mod transfer;
mod trouble;
