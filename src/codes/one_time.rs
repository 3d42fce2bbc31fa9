//! The codes that a server gives out, and what each is worth.

use std::fmt;

use passerby_actors::actor::{Proof, REPEAT_S};
use passerby_actors::domain::{ServiceTime, UserId};

use super::code::CodeKind;
use super::kept::{Codes, Limits};
use crate::limits::network::Network;

/// Whose session a transfer code or a ticket continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The user.
    pub user: UserId,
    /// The number of the session that asked for the code.
    pub session: u32,
}

/// A login that has been sent to the issuer and is to come back. Keep it where only that browser's return finds it, and
/// use it once.
pub struct PendingLogin {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    pub(crate) callback: String,
    /// Whether the answer has to say whose it is.
    pub(crate) names_issuer: bool,
}

impl PendingLogin {
    /// What the issuer gives back with the code: 256 bit of randomness, in base64url.
    pub fn state(&self) -> &str {
        &self.state
    }
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PendingLogin(…)")
    }
}

/// A login in a browser that was sent to its issuer.
pub struct SentLogin {
    /// The provider's name.
    pub provider: String,
    /// What the issuer's answer must fit.
    pub pending: PendingLogin,
    /// Where the browser ends.
    pub redirect_uri: String,
    /// SHA-256 in base64url of what only the page that began it knows.
    pub challenge: String,
}

/// A login in a browser that came back.
#[derive(Debug, Clone)]
pub struct FinishedLogin {
    /// The provider's name.
    pub provider: String,
    /// What it proved.
    pub proof: Proof,
    /// As in [`SentLogin`].
    pub challenge: String,
}

/// Codes that work once, in memory: they end with the process.
pub struct OneTimeCodes {
    /// For a second session of the same user.
    pub transfers: Codes<UserId, Transfer>,
    /// For a socket of the same session.
    pub tickets: Codes<UserId, Transfer>,
    /// For a browser that comes back from an issuer.
    pub sent: Codes<Network, SentLogin>,
    /// For the page that a finished login ends on.
    pub finished: Codes<(), FinishedLogin>,
    /// Those of `finished` that a user has linked or merged by: the same request of the same user may come again.
    pub linked: Codes<UserId, (UserId, FinishedLogin)>,
}

impl OneTimeCodes {
    /// How many can be redeemed at this time.
    pub fn count(&self, now: ServiceTime) -> usize {
        self.transfers.count(now) + self.tickets.count(now) + self.sent.count(now) + self.finished.count(now)
    }
}

impl Default for OneTimeCodes {
    fn default() -> Self {
        let limits = |lifetime_s, most_per_owner| Limits { lifetime_s, most: 100_000, most_per_owner };
        Self {
            transfers: Codes::new(CodeKind::Transfer, limits(TRANSFER_CODE_S, 8)),
            tickets: Codes::new(CodeKind::Socket, limits(TICKET_S, TICKETS_OF_A_USER)),
            sent: Codes::new(CodeKind::OidcState, limits(SENT_LOGIN_S, SENT_LOGINS_OF_A_NETWORK)),
            finished: Codes::new(CodeKind::Login, limits(LOGIN_CODE_S, 1)),
            linked: Codes::new(CodeKind::Login, limits(REPEAT_S, LINKS_OF_A_USER)),
        }
    }
}

/// How long a ticket for a socket is good (seconds).
pub const TICKET_S: u32 = 30;
/// How many a user may have at a time: one more ends the oldest.
const TICKETS_OF_A_USER: usize = 128;
/// Of how many links by codes a user may have lost the answer.
const LINKS_OF_A_USER: usize = 8;
/// How long a transfer code is good (seconds).
pub const TRANSFER_CODE_S: u32 = 120;
/// How many people of one network may be at issuers at a time; one more, and the one who left first has to begin again.
const SENT_LOGINS_OF_A_NETWORK: usize = 256;
/// How long a person may take at an issuer (seconds).
pub const SENT_LOGIN_S: u32 = 600;
/// How long the code of a finished login is good (seconds).
pub const LOGIN_CODE_S: u32 = 60;
