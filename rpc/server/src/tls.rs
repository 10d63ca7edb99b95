//! TLS of the control interface: certificate and key from files, taken over when they change.

use crate::{accounts, limits};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

/// Why there is no TLS; the message names the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TlsError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} holds no {what} in PEM form", path.display())]
    Empty { path: PathBuf, what: &'static str },
    #[error("{} and {} cannot be used: {error}", cert.display(), key.display())]
    Unfit { cert: PathBuf, key: PathBuf, error: rustls::Error },
}

/// What tells one state of both files from another.
type Stamp = [accounts::Stamp; 2];

/// Whether these settings ask for TLS; one of them alone is an error.
pub(crate) fn is_wanted(cert: &Path, key: &Path) -> Result<bool, String> {
    match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (true, true) => Ok(false),
        (false, false) => Ok(true),
        _ => Err("rpc_tls_cert and rpc_tls_key go together".to_owned()),
    }
}

/// The certificate in force. New connections are made with what was read last.
#[derive(Debug)]
pub(crate) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Stamp>,
}

impl Certificate {
    /// Reads both files. Blocks.
    pub(crate) fn open(cert: &Path, key: &Path) -> Result<Certificate, TlsError> {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        let seen = Mutex::new(stamp(&cert, &key));
        let config = RwLock::new(Arc::new(load(&cert, &key)?));
        Ok(Certificate { cert, key, config, seen })
    }

    /// For a connection that begins now.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the files over if they have changed. Files that cannot be used leave the old ones in
    /// force: they are often replaced one after the other. Blocks.
    pub(crate) fn reload(&self) {
        let now = stamp(&self.cert, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *seen, now) == now {
            return;
        }
        match load(&self.cert, &self.key) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(cert = %self.cert.display(), "the certificate was read anew");
            }
            Err(error) => tracing::warn!(%error, "the certificate stays the one from before"),
        }
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    [cert, key].map(accounts::stamp)
}

fn load(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let (certs_pem, key_pem) = (read(cert)?, read(key)?);
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certs_pem).collect();
    let certs = certs.ok().filter(|certs| !certs.is_empty());
    let empty = |path: &Path, what| TlsError::Empty { path: path.to_owned(), what };
    let certs = certs.ok_or_else(|| empty(cert, "certificate"))?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| empty(key, "private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, private));
    let unfit = |error| TlsError::Unfit { cert: cert.to_owned(), key: key.to_owned(), error };
    let mut config = config.map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(limits::PEM_BYTES).read_to_end(&mut bytes));
    read.map_err(|error| TlsError::File { path: path.to_owned(), error })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(folder: &Path, name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made
    }

    #[test]
    fn files_that_change_are_taken_over_and_unfit_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let first = write(folder.path(), "one.test");
        let certificate = Certificate::open(&cert, &key).unwrap();
        let before = certificate.config();
        certificate.reload();
        assert!(Arc::ptr_eq(&before, &certificate.config()));
        // Half of a replacement: a new certificate with the old key.
        write(folder.path(), "two.test");
        let new_key = fs::read(&key).unwrap();
        fs::write(&key, first.signing_key.serialize_pem()).unwrap();
        certificate.reload();
        assert!(Arc::ptr_eq(&before, &certificate.config()));
        fs::write(&key, new_key).unwrap();
        certificate.reload();
        let after = certificate.config();
        assert!(!Arc::ptr_eq(&before, &after));
        fs::remove_file(&key).unwrap();
        certificate.reload();
        assert!(Arc::ptr_eq(&after, &certificate.config()));
    }

    #[test]
    fn a_start_without_usable_files_says_which() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one.test");
        let at = |name: &str| folder.path().join(name);
        let error = |cert, key| Certificate::open(&at(cert), &at(key)).unwrap_err().to_string();
        assert!(error("none.pem", "key.pem").contains("none.pem"));
        assert!(error("key.pem", "key.pem").contains("no certificate"));
        assert!(error("cert.pem", "cert.pem").contains("no private key"));
    }
}
