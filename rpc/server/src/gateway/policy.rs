//! The settings that the gateway goes by, read once and taken as a whole.

use super::{allow::AllowList, hosts::Hosts, wildcard};
use engine::settings::Settings;
use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

/// The policy in force; it changes with the settings.
#[derive(Debug)]
pub(crate) struct Rules(RwLock<Arc<Policy>>);

impl Rules {
    /// Goes by these settings; the error names the one that is wrong.
    pub(crate) fn new(settings: &Settings) -> Result<Rules, String> {
        Ok(Rules(RwLock::new(Arc::new(Policy::new(settings)?))))
    }

    /// What holds now.
    pub(crate) fn now(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes by these settings from now on; an error leaves things as they are.
    pub(crate) fn apply(&self, settings: &Settings) -> Result<(), String> {
        let policy = Arc::new(Policy::new(settings)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
        Ok(())
    }
}

/// What the operator has set, ready to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Policy {
    /// Addresses that may connect.
    pub(crate) allowed: AllowList,
    /// Names for which the Host header may stand, where nobody has to log in.
    pub(crate) hosts: Hosts,
    /// Origins whose pages may read answers; `*` for all.
    pub(crate) origins: Vec<String>,
    /// Requests per second of one address; 0 for any number.
    pub(crate) address_rate: u32,
    /// Requests per second of one user or token; 0 for any number.
    pub(crate) user_rate: u32,
    /// Failed log-ins after which an address has to wait; `None` for never.
    pub(crate) failures: Option<u32>,
    /// Folder of the web interface.
    pub(crate) web_home: Option<PathBuf>,
}

impl Policy {
    /// Reads the settings; the error names the one that is wrong.
    pub(crate) fn new(settings: &Settings) -> Result<Policy, String> {
        let allowed = AllowList::parse(&settings.rpc_whitelist);
        let web_home = Some(settings.web_home.clone());
        Ok(Policy {
            allowed: allowed.map_err(|error| format!("rpc_whitelist: {error}"))?,
            hosts: Hosts::parse(&settings.rpc_host_whitelist),
            origins: wildcard::entries(&settings.rpc_cors_origins).map(str::to_owned).collect(),
            address_rate: settings.rpc_rate_limit,
            user_rate: settings.rpc_user_rate_limit,
            failures: settings
                .anti_brute_force_enabled
                .then_some(settings.anti_brute_force_threshold),
            web_home: web_home.filter(|folder| !folder.as_os_str().is_empty()),
        })
    }

    /// Whether pages of this origin may read answers.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_let_every_address_in_and_no_page() {
        let policy = Policy::new(&Settings::default()).unwrap();
        assert_eq!(policy.allowed, AllowList::default());
        assert!(!policy.allows_origin("http://example.org") && policy.web_home.is_none());
        let wrong = Settings { rpc_whitelist: "x".into(), ..Settings::default() };
        assert!(Policy::new(&wrong).unwrap_err().starts_with("rpc_whitelist"));
        let open = Settings { rpc_cors_origins: "https://a.example".into(), ..Settings::default() };
        let open = Policy::new(&open).unwrap();
        assert!(
            open.allows_origin("https://A.example") && !open.allows_origin("https://b.example")
        );
    }
}
