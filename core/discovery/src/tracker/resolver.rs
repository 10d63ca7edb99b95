//! Names to addresses, remembered: thousands of torrents share a few trackers, and each name is
//! asked for once in a while by one of them, the others waiting for its answer.

use super::TrackerError;
#[cfg(feature = "sim")]
use super::simulated::SimNetwork;
use crate::limits;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A cache in front of the system's resolver.
#[derive(Clone, Default)]
pub struct Resolver {
    names: Arc<Mutex<HashMap<String, Arc<Name>>>>,
    /// Who is asked in the system's place.
    #[cfg(feature = "sim")]
    network: Option<SimNetwork>,
}

#[derive(Default)]
struct Name {
    known: tokio::sync::Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    addresses: Result<Arc<[IpAddr]>, TrackerError>,
    until: Instant,
}

impl Resolver {
    /// A cache in front of a simulated network's names.
    #[cfg(feature = "sim")]
    pub fn simulated(network: &SimNetwork) -> Resolver {
        Resolver { network: Some(network.clone()), ..Resolver::default() }
    }

    /// The addresses of `host`, a name or an address; never empty.
    ///
    /// # Errors
    /// [`TrackerError::Unreachable`] if it has none. If asking fails, addresses that were found
    /// before are used on.
    pub async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, TrackerError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok([ip].into());
        }
        let name = self.name(host);
        let mut known = name.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.addresses.clone();
        }
        let fresh = self.look_up(host).await;
        let lifetime = lifetime(fresh.is_ok());
        let addresses = match (fresh, known.take().map(|old| old.addresses)) {
            (Err(_), Some(Ok(old))) => Ok(old),
            (fresh, _) => fresh,
        };
        *known = Some(Known { addresses: addresses.clone(), until: Instant::now() + lifetime });
        addresses
    }

    async fn look_up(&self, host: &str) -> Result<Arc<[IpAddr]>, TrackerError> {
        #[cfg(feature = "sim")]
        if let Some(network) = &self.network {
            return network.look_up(host).await;
        }
        look_up(host).await
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= limits::DNS_NAMES && !names.contains_key(host) {
            names.retain(|_, name| Arc::strong_count(name) > 1);
        }
        names.entry(host.to_string()).or_default().clone()
    }
}

fn lifetime(good: bool) -> Duration {
    if good { limits::DNS_LIFETIME } else { limits::DNS_FAILURE_LIFETIME }
}

async fn look_up(host: &str) -> Result<Arc<[IpAddr]>, TrackerError> {
    let found = tokio::time::timeout(limits::DNS_TIMEOUT, tokio::net::lookup_host((host, 0))).await;
    let failed = |why: String| TrackerError::Unreachable(format!("cannot resolve {host}: {why}"));
    let mut addresses: Vec<IpAddr> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("no answer".into())),
    };
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        Err(failed("it has no address".into()))
    } else {
        Ok(addresses.into())
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = Resolver::resolve(&resolver, name.as_str()).await?;
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|&ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_names_are_resolved_and_failures_told() {
        let resolver = Resolver::default();
        assert_eq!(*resolver.resolve("::1").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(resolver.resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert!(matches!(resolver.resolve("").await, Err(TrackerError::Unreachable(_))));
    }
}
