//! Which Host headers pass: a name that an attacker's DNS points at us must not.

use std::net::IpAddr;

/// Whether the value of a Host header names an address or this machine. A name cannot be trusted,
/// since a page loaded from it would count as ours for the browser (DNS rebinding).
pub(crate) fn is_allowed(host: &str) -> bool {
    let name = without_port(host.trim());
    let name = name.strip_suffix('.').unwrap_or(name);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn addresses_and_localhost_pass_and_names_do_not() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9091",
            "[::1]",
            "[::1]:9091",
            "::1",
            "192.168.1.5:80",
            "localhost",
            "LOCALHOST:9091",
            "localhost.",
            "localhost.:9091",
        ] {
            assert!(is_allowed(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "example.org:9091",
            "127.0.0.1.example.org",
            "localhost.evil",
            "1.2.3:4",
        ] {
            assert!(!is_allowed(host), "{host}");
        }
    }
}
