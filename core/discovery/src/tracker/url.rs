//! A tracker's announce URL, taken apart once.

use crate::limits;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use url::{Host, Url};

/// How a tracker is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// HTTP or HTTPS (BEP 3).
    Http,
    /// UDP (BEP 15).
    Udp,
}

/// An announce URL as it was given, and what follows from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerUrl {
    announce: Arc<str>,
    parsed: Result<Parsed, &'static str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Parsed {
    scheme: Scheme,
    url: Url,
    host: Arc<str>,
    port: u16,
    sitename: Arc<str>,
    scrape: Option<Arc<str>>,
}

impl TrackerUrl {
    /// Takes any text: one that cannot be announced to is kept, so that status can say so.
    pub fn new(announce: &str) -> TrackerUrl {
        TrackerUrl { announce: announce.into(), parsed: Parsed::new(announce) }
    }

    /// The URL as it was given.
    pub fn announce(&self) -> &Arc<str> {
        &self.announce
    }

    /// How to speak to it, or why we cannot.
    pub fn scheme(&self) -> Result<Scheme, &'static str> {
        self.parsed.as_ref().map(|parsed| parsed.scheme).map_err(|&why| why)
    }

    /// The URL for requests; `None` if it cannot be announced to.
    pub fn url(&self) -> Option<&Url> {
        self.parsed.as_ref().ok().map(|parsed| &parsed.url)
    }

    /// The host's name or address (IPv6 without brackets); empty if unknown.
    pub fn host(&self) -> Arc<str> {
        self.parsed.as_ref().map_or_else(|_| "".into(), |parsed| parsed.host.clone())
    }

    /// The port, the scheme's own if the URL names none; 0 if unknown.
    pub fn port(&self) -> u16 {
        self.parsed.as_ref().map_or(0, |parsed| parsed.port)
    }

    /// `host:port` for people, IPv6 in brackets; empty if unknown.
    pub fn host_port(&self) -> String {
        let Ok(parsed) = &self.parsed else { return String::new() };
        match parsed.host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, parsed.port).to_string(),
            Err(_) => format!("{}:{}", parsed.host, parsed.port),
        }
    }

    /// The label of the host's name that people know it by: `example` of `tracker.example.org`. An
    /// address stands for itself.
    pub fn sitename(&self) -> Arc<str> {
        self.parsed.as_ref().map_or_else(|_| "".into(), |parsed| parsed.sitename.clone())
    }

    /// The scrape URL (BEP 48); `None` if the tracker has none. For UDP it is the announce URL.
    pub fn scrape(&self) -> Option<&Arc<str>> {
        self.parsed.as_ref().ok()?.scrape.as_ref()
    }

    /// Path and query, which a UDP announce carries as options (BEP 41); empty if there is none.
    pub fn url_data(&self) -> String {
        let Some(url) = self.url() else { return String::new() };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let data = format!("{}{query}", url.path());
        if data == "/" { String::new() } else { data }
    }
}

impl Parsed {
    fn new(announce: &str) -> Result<Parsed, &'static str> {
        if announce.len() > limits::URL {
            return Err("the tracker's URL is too long");
        }
        let mut url = Url::parse(announce.trim()).map_err(|_| "the tracker's URL is not valid")?;
        url.set_fragment(None);
        let scheme = match url.scheme() {
            "http" | "https" => Scheme::Http,
            "udp" => Scheme::Udp,
            _ => return Err("trackers of this kind are not supported"),
        };
        let port = url.port_or_known_default().filter(|&port| port != 0);
        let port = port.ok_or("the tracker's URL names no port")?;
        let host = match url.host().ok_or("the tracker's URL names no host")? {
            // The parser reads "1.2.3.4" as a name where the scheme is not one of the web's.
            Host::Domain(name) => name.to_ascii_lowercase(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let scrape = match scheme {
            Scheme::Http => http_scrape(&url).map(|scrape| scrape.as_str().into()),
            Scheme::Udp => Some(announce.trim().into()),
        };
        let sitename = sitename(&host).into();
        Ok(Parsed { scheme, url, host: host.into(), port, sitename, scrape })
    }
}

/// BEP 48: the text after the path's last slash must begin with `announce`; it becomes `scrape`.
fn http_scrape(announce: &Url) -> Option<Url> {
    let (folder, file) = announce.path().rsplit_once('/')?;
    let rest = file.strip_prefix("announce")?;
    let mut scrape = announce.clone();
    scrape.set_path(&format!("{folder}/scrape{rest}"));
    Some(scrape)
}

fn sitename(host: &str) -> &str {
    if host.parse::<IpAddr>().is_ok() {
        return host;
    }
    let mut labels = host.rsplit('.');
    let (Some(top), Some(second)) = (labels.next(), labels.next()) else { return host };
    let shared = ["ac", "co", "com", "edu", "gov", "ne", "net", "or", "org"];
    match labels.next() {
        Some(third) if top.len() == 2 && shared.contains(&second) => third,
        _ => second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrape(announce: &str) -> Option<String> {
        TrackerUrl::new(announce).scrape().map(|url| url.to_string())
    }

    #[test]
    fn announce_becomes_scrape_as_bep_48_says() {
        let cases = [
            ("http://a.b/announce", Some("http://a.b/scrape")),
            ("http://a.b/x/announce", Some("http://a.b/x/scrape")),
            ("http://a.b/announce.php", Some("http://a.b/scrape.php")),
            ("http://a.b/announce?x2%0644", Some("http://a.b/scrape?x2%0644")),
            ("http://a.b/announce?x=2/4", Some("http://a.b/scrape?x=2/4")),
            ("http://a.b/a", None),
            ("http://a.b/x%064announce", None),
            ("http://a.b/announce/passkey", None),
        ];
        for (announce, expected) in cases {
            assert_eq!(scrape(announce).as_deref(), expected, "{announce}");
        }
    }

    #[test]
    fn hosts_and_ports_are_found() {
        let cases = [
            ("http://Tracker.Example.org/announce", "tracker.example.org:80", "example"),
            ("https://t.example.co.uk/announce", "t.example.co.uk:443", "example"),
            ("udp://tracker.example.org:6969", "tracker.example.org:6969", "example"),
            ("udp://127.0.0.1:6969/announce", "127.0.0.1:6969", "127.0.0.1"),
            ("udp://[::1]:6969/announce", "[::1]:6969", "::1"),
            ("http://localhost:8080/announce", "localhost:8080", "localhost"),
        ];
        for (announce, host, site) in cases {
            let url = TrackerUrl::new(announce);
            assert_eq!(url.host_port(), host, "{announce}");
            assert_eq!(&*url.sitename(), site, "{announce}");
        }
    }

    #[test]
    fn what_cannot_be_announced_to_says_why() {
        for bad in ["", "udp://a.b/announce", "wss://a.b/", "file:///etc/passwd", "http://"] {
            let url = TrackerUrl::new(bad);
            assert!(url.scheme().is_err(), "{bad}");
            assert_eq!(&**url.announce(), bad);
        }
    }

    #[test]
    fn a_udp_urls_path_and_query_are_its_data() {
        assert_eq!(TrackerUrl::new("udp://a.b:1").url_data(), "");
        assert_eq!(TrackerUrl::new("udp://a.b:1/").url_data(), "");
        assert_eq!(TrackerUrl::new("udp://a.b:1/announce?k=v").url_data(), "/announce?k=v");
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in ".*") {
            let url = TrackerUrl::new(&text);
            prop_assert_eq!(&**url.announce(), text.as_str());
            url.host_port();
            url.url_data();
        }
    }
}
