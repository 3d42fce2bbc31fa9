//! Rules of the admin listener.

use serde::Deserialize;

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
}
