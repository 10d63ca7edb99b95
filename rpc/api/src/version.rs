//! Which release we say to be like. Clients choose their dialect, default fields and features by it.

/// `rpc_version`: that of Transmission 4.1.1 to 4.1.4.
pub const RPC_VERSION: i64 = 19;

/// `rpc_version_minimum`: Tremotesf refuses more than 14.
pub const RPC_VERSION_MINIMUM: i64 = 14;

/// `rpc_version_semver` that goes with [`RPC_VERSION`].
pub const RPC_VERSION_SEMVER: &str = "6.0.1";

/// What `X-Transmission-Rpc-Version` says beside a new session id: who sees it speaks JSON-RPC.
pub const ANNOUNCED: Option<&str> = Some(RPC_VERSION_SEMVER);

/// `version`. Clients want a dotted number first and a bracketed hexadecimal number last; the product
/// stands between them. The hexadecimal number is our own version: `000100` is 0.1.0.
pub fn version() -> String {
    let part = |text: &str| text.parse().unwrap_or(0u32);
    format!(
        "4.1.3 Ringseed/{} ({:04x}{:02x}{:02x})",
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
        assert!(version.starts_with("4.1.3 "));
        let hex = version.strip_suffix(')').unwrap().rsplit_once(" (").unwrap().1;
        assert!(hex.len() >= 7 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
    }
}
