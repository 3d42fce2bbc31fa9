//! TLS of a listener: a certificate and its key from two files, taken again when the files change.
//!
//! A pair that does not go together never takes the place of one that does: whoever renews certificates may write the two files one
//! after the other, and connections go on under the pair before.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs as rustls_aws_lc;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::{Accept, TlsAcceptor};
use zeroize::Zeroizing;

use crate::config::{Settings, TlsFiles};
use crate::telemetry::OPERATOR;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// What HTTP is spoken (RFC 7301). Only under HTTP/1.1 does each connection have the time limits of the listener.
const PROTOCOL: &[u8] = b"http/1.1";
/// Bytes of an answer that are sealed before the client has taken them: a client that takes none of it is noticed by the next ones.
const AHEAD: usize = 16 * 1024;

/// What is wrong with a certificate or a key: the setting, its file and the reason, without anything that is in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {} {reason}", file.display())]
pub struct TlsError {
    setting: String,
    file: PathBuf,
    reason: String,
}

/// What can be seen of a file without reading it; none if it cannot be looked at.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// What was seen of the two files.
struct Seen {
    /// At the last look.
    last: [Stamp; 2],
    /// When they were last read.
    read: [Stamp; 2],
    /// The hash of what is in force.
    taken: [u8; 32],
}

/// The certificate and the key of a listener, in force.
pub struct Tls {
    /// The section of the two settings.
    section: &'static str,
    files: [PathBuf; 2],
    in_force: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

impl Tls {
    /// Reads the files that these settings name, if they name any, and looks after them on a thread that ends with what is returned.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn start(section: &'static str, files: &TlsFiles) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(tls) = Self::read(section, files)? else { return Ok(None) };
        let tls = Arc::new(tls);
        let watched = Arc::downgrade(&tls);
        let watching = std::thread::Builder::new().name("tls-watch".to_owned()).spawn(move || {
            while let Some(tls) = watched.upgrade() {
                tls.look();
                drop(tls);
                std::thread::park_timeout(EVERY);
            }
        });
        match watching {
            Ok(_) => Ok(Some(tls)),
            Err(error) => Err(tls.wrong(0, format!("has no thread that looks after it: {error}"))),
        }
    }

    fn read(section: &'static str, files: &TlsFiles) -> Result<Option<Self>, TlsError> {
        let TlsFiles { cert: Some(cert), key: Some(key) } = files else { return Ok(None) };
        let files = [cert.clone(), key.clone()];
        let stamps = files.each_ref().map(|file| stamp(file));
        let (config, taken) = load(section, &files)?;
        let seen = Mutex::new(Seen { last: stamps, read: stamps, taken });
        Ok(Some(Self { section, files, in_force: ArcSwap::from_pointee(config), seen }))
    }

    /// The handshake of a new connection. It is neither begun nor limited in time before it is polled.
    pub fn accept<S>(&self, stream: S) -> Accept<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.in_force.load_full());
        acceptor.accept_with(stream, |connection| connection.set_buffer_limit(Some(AHEAD)))
    }

    /// Reads the files again, whatever they look like. What is wrong with them is logged.
    pub fn reload(&self) {
        self.judge(self.stamps());
    }

    /// Reads them again if they have changed and have come to rest: of a pair that is being written, one half is new.
    fn look(&self) {
        let found = self.stamps();
        let is_news = {
            let mut seen = self.seen.lock();
            let is_at_rest = seen.last == found;
            seen.last = found;
            is_at_rest && seen.read != found
        };
        if is_news {
            self.judge(found);
        }
    }

    fn stamps(&self) -> [Stamp; 2] {
        self.files.each_ref().map(|file| stamp(file))
    }

    fn judge(&self, stamps: [Stamp; 2]) {
        let mut seen = self.seen.lock();
        seen.read = stamps;
        match load(self.section, &self.files) {
            Ok((_, hash)) if hash == seen.taken => {}
            Ok((config, hash)) => {
                seen.taken = hash;
                self.in_force.store(Arc::new(config));
                let file = self.files[0].display();
                tracing::info!(target: OPERATOR, %file, "{}: a new certificate is in force for new connections", self.section);
            }
            Err(error) => tracing::error!(target: OPERATOR, "{error}: the certificate before stays in force"),
        }
    }

    fn wrong(&self, which: usize, reason: String) -> TlsError {
        wrong(self.section, &self.files, which, reason)
    }
}

/// What is wrong with the certificates that the settings name, each in a sentence.
pub fn faults(settings: &Settings) -> Vec<TlsError> {
    let of_listeners = [("tls", &settings.tls), ("admin.tls", &settings.admin.tls)];
    of_listeners.into_iter().filter_map(|(section, files)| Tls::read(section, files).err()).collect()
}

/// The key files that any user of this machine may read.
pub fn open_keys(settings: &Settings) -> impl Iterator<Item = &Path> {
    let keys = [&settings.tls, &settings.admin.tls].into_iter().filter_map(|files| files.key.as_deref());
    keys.filter(|key| std::fs::metadata(key).is_ok_and(|found| found.mode() & 0o004 != 0))
}

fn stamp(file: &Path) -> Stamp {
    // through links, which certbot and Kubernetes turn round
    let found = std::fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// What is wrong with one of the two files.
fn wrong(section: &str, files: &[PathBuf; 2], which: usize, reason: String) -> TlsError {
    TlsError { setting: format!("{section}.{}", ["cert", "key"][which]), file: files[which].clone(), reason }
}

/// What the two files stand for, and the hash of both.
fn load(section: &str, files: &[PathBuf; 2]) -> Result<(ServerConfig, [u8; 32]), TlsError> {
    let of = |which: usize, reason: String| wrong(section, files, which, reason);
    let read = |which: usize| match std::fs::read(&files[which]) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) => Err(of(which, format!("cannot be read: {error}"))),
    };
    let (cert, key) = (read(0)?, read(1)?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert).collect::<Result<_, _>>().unwrap_or_default();
    if chain.is_empty() {
        return Err(of(0, "holds no certificate in PEM".to_owned()));
    }
    let parsed = PrivateKeyDer::from_pem_slice(&key);
    let parsed = parsed.map_err(|_| of(1, "holds no private key in PEM without a passphrase".to_owned()))?;
    let provider = Arc::new(rustls_aws_lc::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, parsed));
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            of(1, format!("is not the key of the certificate in {}", files[0].display()))
        }
        rustls::Error::InvalidCertificate(_) => of(0, "holds a certificate that cannot be read".to_owned()),
        _ => of(1, "holds a key of a kind that is not served: RSA, ECDSA and Ed25519 are".to_owned()),
    })?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // clients that come back begin where they were, and the server keeps nothing about them; the keys go with the certificate
    let ticketer = rustls_aws_lc::Ticketer::new();
    config.ticketer = ticketer.map_err(|error| of(0, format!("cannot be used: {error}")))?;
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&u64::try_from(cert.len()).unwrap_or_default().to_be_bytes());
    hash.update(&cert);
    hash.update(&key);
    let mut taken = [0; 32];
    taken.copy_from_slice(hash.finish().as_ref());
    Ok((config, taken))
}

#[cfg(test)]
mod tests;
