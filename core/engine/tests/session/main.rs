//! Sessions with real sockets and files.
#![allow(clippy::unwrap_used)]

mod automation;
mod blocklist;
mod orders;
mod peers;
mod places;
mod support;
mod transfer;
mod trouble;
