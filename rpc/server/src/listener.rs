//! Where the control interface listens: addresses and Unix sockets.

use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};
use tokio::net::{TcpListener, UnixListener};

/// Connections that wait to be accepted by a Unix socket.
const BACKLOG: i32 = 128;

/// An open door.
#[derive(Debug)]
pub enum Listener {
    /// An address and port.
    Tcp(TcpListener),
    /// A socket in the file system, which is removed in the end.
    Unix(UnixDoor),
}

/// A Unix socket with its file.
#[derive(Debug)]
pub struct UnixDoor {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

/// One entry of the setting `rpc_bind`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `IP:PORT`, or `NAME:PORT`.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The entries of `rpc_bind`; relative paths are below the daemon's folder.
    pub fn list(rpc_bind: &str, config_dir: &Path) -> Result<Vec<Address>, String> {
        let entries = rpc_bind.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let list: Vec<Address> = entries
            .map(|entry| match entry.strip_prefix("unix:") {
                Some(path) => Address::Unix(config_dir.join(path)),
                None => Address::Tcp(entry.to_owned()),
            })
            .collect();
        match list.is_empty() {
            true => Err("rpc_bind names no address".to_owned()),
            false => Ok(list),
        }
    }
}

impl Listener {
    /// Begins to listen. `mode` is for the file of a Unix socket.
    pub async fn bind(address: &Address, mode: u32) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            Address::Unix(path) => bind_unix(path, mode),
        }
    }

    /// The address, unless it is a Unix socket.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// For people: `127.0.0.1:9091` or `unix:/path`.
    pub fn name(&self) -> String {
        match self {
            Listener::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "?".to_owned(), |addr| addr.to_string())
            }
            Listener::Unix(door) => format!("unix:{}", door.path.display()),
        }
    }
}

/// Reads the setting `rpc_socket_mode`.
pub fn socket_mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| format!("rpc_socket_mode is three octal digits like 0700, not '{text}'"))
}

/// Nobody can connect before the permissions are set: the socket does not listen until then.
fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok(Listener::Unix(UnixDoor { listener, path: path.to_owned() }))
}

/// A socket that a daemon which was killed has left behind is in the way; one that somebody listens
/// on, or another file, is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file is in the way"));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_may_hold_sockets_below_the_daemons_folder() {
        let list = |text| Address::list(text, Path::new("/etc/ringseed"));
        let expected = [
            Address::Tcp("127.0.0.1:9091".into()),
            Address::Unix("/etc/ringseed/control.sock".into()),
            Address::Unix("/run/x.sock".into()),
        ];
        let text = "127.0.0.1:9091, unix:control.sock,unix:/run/x.sock,";
        assert_eq!(list(text).unwrap(), expected);
        assert!(list(" ,").is_err());
    }

    #[test]
    fn permissions_are_octal_digits() {
        assert_eq!(socket_mode("0700"), Ok(0o700));
        assert_eq!(socket_mode("660"), Ok(0o660));
        for bad in ["", "+700", "0o700", "789", "1777", "rwx"] {
            assert!(socket_mode(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_has_its_permissions_and_goes_with_its_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let address = Address::Unix(path.clone());
        let listener = Listener::bind(&address, 0o700).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(Listener::bind(&address, 0o700).await.is_err());
        drop(listener);
        assert!(!path.exists());
        // What a killed daemon left is replaced, another's file is not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Listener::bind(&address, 0o770).await.unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&address, 0o700).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
