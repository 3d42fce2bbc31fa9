//! The file in the data folder by which commands on the same machine are let in without a password: where the admin listener is, and
//! a token that is good until the server stops.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use passerby_actors::domain::Entropy;

use super::secret::{LOCAL, SecretText};

/// Its name.
const FILE: &str = "admin.token";

/// How a command on the same machine reaches the server.
pub struct LocalDoor {
    /// `https` or `http`.
    pub scheme: &'static str,
    /// The admin listener.
    pub address: SocketAddr,
    /// The token.
    pub token: String,
}

/// The file, which goes when this is dropped.
pub struct LocalToken {
    path: PathBuf,
    hash: [u8; 32],
}

impl LocalToken {
    /// Writes it, readable for its owner alone.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(folder: &Path, door: (&'static str, SocketAddr), entropy: &dyn Entropy) -> io::Result<Self> {
        let (scheme, address) = door;
        let (path, secret) = (folder.join(FILE), SecretText::new(LOCAL, entropy));
        let new = path.with_extension("new");
        // of a start that was cut short
        drop(std::fs::remove_file(&new));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("{scheme}://{address}\n{}\n", secret.text()).as_bytes())?;
        std::fs::rename(&new, &path)?;
        Ok(Self { path, hash: secret.hash() })
    }

    /// SHA-256 of the token.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

impl Drop for LocalToken {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// Reads the file of a running server.
///
/// # Errors
/// It is not there, or not what a server writes.
pub fn read(folder: &Path) -> io::Result<LocalDoor> {
    let text = std::fs::read_to_string(folder.join(FILE))?;
    let door = text.split_once('\n').and_then(|(origin, token)| {
        let (scheme, address) = origin.split_once("://")?;
        let scheme = if scheme == "https" { "https" } else { "http" };
        let mut address: SocketAddr = address.parse().ok()?;
        if address.ip().is_unspecified() {
            let ip = if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
            address.set_ip(ip);
        }
        Some(LocalDoor { scheme, address, token: token.trim_end().to_owned() })
    });
    door.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
