//! Which releases we say to be like. Clients choose their dialect, default fields and features by it.
//!
//! While part of the methods of 4.1 is missing this is 4.0's contract and the version header is not
//! sent: a client that sees it stops speaking the older dialect, of which more is there.

/// `rpc_version`: that of Transmission 4.0. Clients use labels and tracker lists from 17 on.
pub const RPC_VERSION: i64 = 17;

/// `rpc_version_minimum`: Tremotesf refuses more than 14.
pub const RPC_VERSION_MINIMUM: i64 = 14;

/// `rpc_version_semver` that goes with [`RPC_VERSION`].
pub const RPC_VERSION_SEMVER: &str = "5.3.0";

/// What `X-Transmission-Rpc-Version` says beside a new session id; `None` sends no such header. Set
/// to `Some(RPC_VERSION_SEMVER)` when [`RPC_VERSION`] is 18 or more and every method is there.
pub const ANNOUNCED: Option<&str> = None;

/// `version`. Clients want a dotted number first and a bracketed hexadecimal number last; the product
/// stands between them. The hexadecimal number is our own version: `000100` is 0.1.0.
pub fn version() -> String {
    let part = |text: &str| text.parse().unwrap_or(0u32);
    format!(
        "4.0.6 Ringseed/{} ({:04x}{:02x}{:02x})",
        env!("CARGO_PKG_VERSION"),
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_starts_with_a_number_and_ends_in_bracketed_lower_case_hex() {
        let version = super::version();
        assert!(version.starts_with("4.0.6 "));
        let hex = version.strip_suffix(')').unwrap().rsplit_once(" (").unwrap().1;
        assert!(hex.len() >= 7 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
    }
}
