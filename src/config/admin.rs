//! Rules of the admin listener, and TLS of either.

use std::path::PathBuf;

use serde::Deserialize;

use super::Settings;

/// `admin.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminRules {
    /// Host names with a dot by which it may be called, besides addresses and names without one.
    pub hosts: Vec<String>,
    /// Days that entries of the audit log are kept.
    pub audit_days: u32,
    /// Entries of the audit log that are kept at most.
    pub audit_max: usize,
    /// Its TLS.
    #[serde(default)]
    pub tls: TlsFiles,
}

/// `tls.*` and `admin.tls.*`: both or neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// A certificate in PEM, with those that lead from it to an authority behind it.
    pub cert: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether the listener speaks TLS.
    pub fn is_on(&self) -> bool {
        self.cert.is_some() && self.key.is_some()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }
}

impl Settings {
    /// Whether browsers may be told to come by TLS alone: it is spoken here, and the address says so. A proxy says it of itself, and
    /// on this machine it would hold for every other port, too.
    pub fn demands_tls(&self) -> bool {
        let host = self.public_url.as_deref().and_then(|url| url.strip_prefix("https://"));
        let is_local = |host: &str| host.split(':').next() == Some("localhost");
        self.tls.is_on() && host.is_some_and(|host| !is_local(host))
    }
}
