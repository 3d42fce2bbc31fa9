//! What the readers of a committed change are told beside its cause and its users.

use std::sync::Arc;

use super::document::Delta;
use super::ids::UserId;

/// What the readers of a change are told beside its cause and its users. It is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// The user that the change is about, where that is not the one whom its first operation names.
    pub about: Option<UserId>,
    /// The user that this one became part of.
    pub into: Option<UserId>,
    /// The provider of the identity that was used, linked or unlinked.
    pub provider: Option<Box<str>>,
    /// Why sessions ended, where the cause does not say it.
    pub reason: Option<Reason>,
    /// The session that goes on after a link.
    pub continued: Option<Continued>,
    /// What changed in the document.
    pub edit: Option<DocumentEdit>,
}

/// Why sessions ended that nobody logged out of, or a user was enabled whom nobody enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An administrator ended one.
    Administrator,
    /// All sessions were ended at once.
    EndedAll,
    /// A session ended the user's others.
    OtherSession,
    /// The account was given back to its owner: the password was reset by e-mail.
    Recovered,
    /// An administrator changed many users at once.
    Bulk,
    /// The time until which the user was disabled has passed.
    SuspensionOver,
}

impl Reason {
    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::EndedAll => "ended-all",
            Self::OtherSession => "other-session",
            Self::Recovered => "recovered",
            Self::Bulk => "bulk",
            Self::SuspensionOver => "suspension-over",
        }
    }
}

/// A session that goes on after a link, perhaps under a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continued {
    /// Its number before.
    pub old: u32,
    /// Its number from now on.
    pub new: u32,
}

/// A change of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentEdit {
    /// What changed.
    pub delta: Arc<Delta>,
    /// The socket that asked for it.
    pub origin: Option<u64>,
}
