//! Which Host headers pass: a name that an attacker's DNS points at us must not.

use super::wildcard;
use std::net::IpAddr;

/// The names that pass besides addresses and `localhost`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// Reads `box.example.org, *.home.arpa`.
    pub(crate) fn parse(list: &str) -> Hosts {
        Hosts(wildcard::entries(list).map(str::to_ascii_lowercase).collect())
    }

    /// Whether the value of a Host header names an address, this machine, or what the operator
    /// named. Another name cannot be trusted, since a page loaded from it would count as ours for
    /// the browser (DNS rebinding).
    pub(crate) fn allow(&self, host: &str) -> bool {
        let name = without_port(host.trim()).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || (!name.is_empty() && self.0.iter().any(|pattern| wildcard::matches(pattern, name)))
    }
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
    use super::Hosts;

    #[test]
    fn addresses_and_localhost_pass_and_names_do_not() {
        let hosts = Hosts::default();
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
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "example.org:9091",
            "127.0.0.1.example.org",
            "localhost.evil",
            "1.2.3:4",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn names_of_the_operator_pass_with_any_port_and_case() {
        let hosts = Hosts::parse("Box.example.org, *.home.arpa");
        for host in ["box.example.org", "BOX.example.org:9091", "a.home.arpa.", "a.b.home.arpa:1"] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in ["example.org", "home.arpa", "box.example.org.evil", ""] {
            assert!(!hosts.allow(host), "{host}");
        }
    }
}
