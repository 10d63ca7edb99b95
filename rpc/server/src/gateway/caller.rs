//! Who asks: where the connection comes from, and what its owner may do.

use api::{Access, Code, Role, RpcError};
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Peer {
    /// An address; never an IPv4 one in IPv6 form.
    Ip(IpAddr),
    /// A Unix socket, whose file's permissions say who can connect.
    Unix,
}

impl Peer {
    pub(crate) fn of(ip: IpAddr) -> Peer {
        Peer::Ip(ip.to_canonical())
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(self) -> bool {
        match self {
            Peer::Ip(ip) => ip.is_loopback(),
            Peer::Unix => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(ip) => ip.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// What a caller has shown to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// Nothing: there is nobody to log in, or the connection is proof enough.
    Nothing,
    /// The password that has this hash.
    Password(Arc<str>),
    /// The token that has this hash.
    Token([u8; 32]),
}

/// Who makes a request, known and allowed in. Cheap to clone; it goes with every call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    /// The user's name, `token:` and a token's name, or `local` where nobody has to say.
    pub(crate) who: Arc<str>,
    /// By what.
    pub(crate) proof: Proof,
    /// Where from.
    pub(crate) peer: Peer,
    /// What they are allowed.
    pub(crate) role: Role,
    /// The only methods they may call, by their JSON-RPC names; `None` for all.
    pub(crate) methods: Option<Arc<[String]>>,
    /// The only folders that they may name; empty for all.
    pub(crate) folders: Arc<[PathBuf]>,
}

impl Caller {
    /// Whoever can connect, where no log-in is asked for.
    pub(crate) fn local(peer: Peer) -> Caller {
        Caller {
            who: "local".into(),
            proof: Proof::Nothing,
            peer,
            role: Role::Admin,
            methods: None,
            folders: Arc::default(),
        }
    }

    /// Refuses a method that the role or the token's scope does not include.
    pub(crate) fn check_method(&self, name: &str, access: Access) -> Result<(), RpcError> {
        if !self.role.may(access) {
            return Err(RpcError::new(
                Code::Forbidden,
                format!("{name} is not allowed to the role {}", self.role),
            ));
        }
        match &self.methods {
            Some(methods) if !methods.iter().any(|method| method == name) => {
                Err(RpcError::new(Code::Forbidden, format!("{name} is not allowed to this token")))
            }
            _ => Ok(()),
        }
    }

    /// Whether this caller may name some folders only.
    pub(crate) fn is_confined(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Whether a path, written in full and without `..`, lies in a folder that they may name.
    pub(crate) fn may_name(&self, path: &Path) -> bool {
        self.folders.is_empty() || self.folders.iter().any(|folder| path.starts_with(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(Peer::of(mapped), Peer::of("127.0.0.1".parse().unwrap()));
        assert!(Peer::of(mapped).is_local());
        assert!(!Peer::of("192.0.2.1".parse().unwrap()).is_local());
    }

    #[test]
    fn a_token_may_call_what_its_role_and_its_scope_both_include() {
        let mut caller = Caller::local(Peer::Unix);
        caller.role = Role::User;
        caller.methods = Some(["torrent_add".to_owned(), "session_set".to_owned()].into());
        let may = |name, access| caller.check_method(name, access).is_ok();
        assert!(may("torrent_add", Access::Changes));
        assert!(!may("torrent_get", Access::Reads));
        assert!(!may("session_set", Access::Administers));
    }
}
