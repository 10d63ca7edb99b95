//! Where a daemon is, and who asks it.

use crate::Error;
use api::native::PATH;
use data_encoding::BASE64;
use reqwest::{Url, header::HeaderValue};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a daemon is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// On this machine: whoever may open this file may do anything.
    Socket(PathBuf),
    /// Anywhere.
    Url(Url),
}

impl Target {
    /// Reads `unix:/path`, `http://host:port` or `https://host:port`; a path of a URL other than the
    /// native API's is left away.
    pub fn parse(text: &str) -> Result<Target, Error> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.is_empty() {
                true => Err(Error::Target(text.to_owned())),
                false => Ok(Target::Socket(Path::new(path).to_owned())),
            };
        }
        let mut url = Url::parse(text).map_err(|_| Error::Target(text.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(Error::Target(text.to_owned()));
        }
        if !url.path().trim_end_matches('/').ends_with(PATH) {
            url.set_path(PATH);
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Target::Url(url))
    }

    /// Whether it is a Unix socket.
    pub fn is_socket(&self) -> bool {
        matches!(self, Target::Socket(_))
    }

    /// What HTTP asks for.
    pub(crate) fn url(&self) -> Url {
        match self {
            Target::Url(url) => url.clone(),
            Target::Socket(_) => {
                Url::parse(&format!("http://localhost{PATH}")).expect("it is well-formed")
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Socket(path) => path.display().fmt(f),
            // A URL may have a password in it.
            Target::Url(url) => {
                write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                url.port().map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Login {
    /// Whoever can connect.
    #[default]
    None,
    /// A user with a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// The owner of a token.
    Token(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::None => "None",
            Login::Password { .. } => "Password",
            Login::Token(_) => "Token",
        })
    }
}

impl Login {
    /// The header that says so.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let text = match self {
            Login::None => return Ok(None),
            Login::Token(token) => format!("Bearer {token}"),
            Login::Password { user, password } => {
                format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| Error::Login)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_sockets_or_urls_of_the_api() {
        let of = |text: &str| Target::parse(text).map(|target| target.url().to_string()).ok();
        assert_eq!(of("http://h:1").as_deref(), Some("http://h:1/rpc/v1"));
        assert_eq!(of("https://h/transmission/rpc?x").as_deref(), Some("https://h/rpc/v1"));
        assert_eq!(of("https://h/rpc/v1").as_deref(), Some("https://h/rpc/v1"));
        let socket = Target::parse("unix:/run/x.sock").unwrap();
        assert!(socket.is_socket() && socket.to_string() == "/run/x.sock");
        for bad in ["", "h:1", "ftp://h", "unix:", "nonsense"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Target::parse("http://u:p@h:1").unwrap().to_string(), "http://h:1");
    }

    #[test]
    fn a_login_is_a_header_that_logs_do_not_show() {
        let header = |login: Login| login.header().unwrap();
        assert_eq!(header(Login::None), None);
        assert_eq!(header(Login::Token("t".into())).unwrap(), "Bearer t");
        let password = Login::Password { user: "u".into(), password: "p".into() };
        assert_eq!(header(password.clone()).unwrap(), "Basic dTpw");
        assert_eq!(format!("{password:?}"), "Password");
        assert!(Login::Token("a\nb".into()).header().is_err());
    }
}
