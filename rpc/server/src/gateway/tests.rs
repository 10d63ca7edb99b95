//! What a connection from outside this machine would see, and other things that no test can bring
//! about over a socket of its own.

use super::*;

#[test]
fn the_version_is_announced_only_when_the_newer_dialect_is_complete() {
    let mut answer = page(StatusCode::CONFLICT, "");
    announce_version(&mut answer, None);
    assert!(!answer.headers().contains_key(RPC_VERSION));
    announce_version(&mut answer, Some("6.0.1"));
    assert_eq!(answer.headers()[RPC_VERSION], "6.0.1");
}
