//! One announce or scrape under way: which addresses it goes to, and what came of it.

use super::{Slot, network::Network};
use crate::{
    limits,
    tracker::{
        Announce, AnnounceReply, Counts, TrackerError, http,
        transport::Http,
        udp::{Ask, Reply},
        url::{Scheme, TrackerUrl},
    },
};
use metainfo::InfoHash;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// What is asked of whom, and how many answers are outstanding.
///
/// It goes out once for each address family that the tracker has and we can use, so that the tracker
/// learns both our addresses and gives peers of both (BEP 7). The first good answer decides; a later
/// one only adds peers.
pub(super) struct Flight {
    /// The torrents that it is for, and how each calls the tracker: several for a scrape.
    pub subjects: Vec<(Slot, u32)>,
    pub host: Arc<str>,
    pub url: Arc<TrackerUrl>,
    pub question: Question,
    /// Answers still to come; 0 while the tracker's name is being resolved.
    pub parts: usize,
    pub succeeded: bool,
    pub failure: Option<TrackerError>,
}

#[derive(Clone)]
pub(super) enum Question {
    Announce(Box<Announce>),
    /// Of the flight's subjects, in their order.
    Scrape(Arc<[InfoHash]>),
}

/// What tasks tell the driver, by the number of the flight.
pub(super) enum Report {
    Resolved(u64, Result<Arc<[IpAddr]>, TrackerError>),
    Answered(u64, Result<Reply, TrackerError>),
}

impl Flight {
    /// One endpoint for each family to be used.
    pub fn endpoints(&self, addresses: &[IpAddr], network: &Network) -> Vec<SocketAddr> {
        of_each_family(addresses, self.url.port(), |to| network.has_route(to))
    }

    /// For a UDP tracker, the question in its form.
    pub fn udp_ask(&self) -> Option<Ask> {
        if self.url.scheme() != Ok(Scheme::Udp) {
            return None;
        }
        Some(match &self.question {
            Question::Announce(say) => Ask::Announce(say.clone(), self.url.url_data()),
            Question::Scrape(asked) => Ask::Scrape(Arc::clone(asked)),
        })
    }
}

/// The first address of each family (BEP 7), of two only those to which there is a way; if there is none to
/// either, the errors of both tell.
fn of_each_family(
    addresses: &[IpAddr],
    port: u16,
    has_route: impl Fn(SocketAddr) -> bool,
) -> Vec<SocketAddr> {
    let first = |v6: bool| addresses.iter().find(|ip| ip.is_ipv6() == v6);
    let both = [first(false), first(true)].into_iter().flatten();
    let mut endpoints: Vec<_> = both.map(|&ip| SocketAddr::new(ip, port)).collect();
    if endpoints.len() > 1 && endpoints.iter().any(|&to| has_route(to)) {
        endpoints.retain(|&to| has_route(to));
    }
    endpoints
}

/// Asks an HTTP tracker.
pub(super) async fn ask_http(
    http: Http,
    url: Arc<TrackerUrl>,
    question: Question,
    over_ipv6: bool,
) -> Result<Reply, TrackerError> {
    const UNUSABLE: TrackerError = TrackerError::Malformed("its URL");
    match question {
        Question::Announce(say) => {
            let url = http::announce_url(url.url().ok_or(UNUSABLE)?, &say);
            let body = http.get(&url, over_ipv6).await?;
            http::decode_announce(&body).map(Reply::Announce)
        }
        Question::Scrape(asked) => {
            let url = http::scrape_url(url.scrape().ok_or(UNUSABLE)?, &asked);
            let body = http.get(&url, over_ipv6).await?;
            http::decode_scrape(&body, &asked).map(Reply::Scrape)
        }
    }
}

/// The announce's or scrape's answer out of one of either kind, of which it has to be the right one.
pub(super) fn announce_reply(
    reply: Result<Reply, TrackerError>,
) -> Result<AnnounceReply, TrackerError> {
    match reply? {
        Reply::Announce(reply) => Ok(reply),
        Reply::Scrape(_) => Err(TrackerError::Malformed("a scrape for an announce")),
    }
}

pub(super) fn scrape_reply(
    reply: Result<Reply, TrackerError>,
) -> Result<Vec<Option<Counts>>, TrackerError> {
    match reply? {
        Reply::Scrape(counts) => Ok(counts),
        Reply::Announce(_) => Err(TrackerError::Malformed("an announce for a scrape")),
    }
}

/// Adds peers to those waiting for a busy receiver, within [`limits::PEERS_WAITING`].
pub(super) fn merge_peers(waiting: &mut Vec<SocketAddr>, peers: Vec<SocketAddr>) {
    waiting.extend(peers);
    waiting.sort_unstable();
    waiting.dedup();
    waiting.truncate(limits::PEERS_WAITING);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_of_two_families_is_asked_over_each_that_has_a_way() {
        let addresses = ["10.0.0.1", "2001:db8::1", "10.0.0.2", "2001:db8::2"];
        let addresses = addresses.map(|ip| ip.parse().unwrap());
        let told = |has_route: fn(SocketAddr) -> bool| {
            let endpoints = of_each_family(&addresses, 80, has_route);
            endpoints.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(|_| true), "10.0.0.1:80 [2001:db8::1]:80");
        assert_eq!(told(|to| to.is_ipv4()), "10.0.0.1:80");
        assert_eq!(told(|to| to.is_ipv6()), "[2001:db8::1]:80");
        assert_eq!(told(|_| false), "10.0.0.1:80 [2001:db8::1]:80");
        assert_eq!(of_each_family(&addresses[1..2], 80, |_| false).len(), 1);
    }
}
