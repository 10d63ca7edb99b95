//! Who gets in, what they may do there, and what becomes of requests that make no sense: a real
//! server and a real engine, asked over real sockets.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod access;
mod audit;
mod bad_input;
mod confined;
mod doors;
mod large;
mod log;
mod metrics;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod websockets;
