//! What tokens say, and why one is refused.

use passerby_actors::domain::{DeviceId, SessionId, SessionKind, UserId};

use super::keys::KeyId;

/// An access token may be issued this far ahead of our clock: clocks differ.
const MAX_AHEAD_S: u64 = 300;

/// What an access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessClaims {
    /// Whom it is for.
    pub user: UserId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The session's epoch: linking raises it, and earlier tokens fail.
    pub epoch: u8,
    /// The client's device; zeros for none.
    pub device: DeviceId,
    /// How the session was begun.
    pub kind: SessionKind,
    /// Unix time in seconds, by the wall clock.
    pub issued_at_s: u64,
    /// Random; makes every token a different text.
    pub jti: [u8; 12],
}

/// What a refresh token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshClaims {
    /// Whom it is for.
    pub user: UserId,
    /// The session's public id.
    pub session: SessionId,
    /// The session's number.
    pub number: u32,
    /// How often the token was rotated.
    pub counter: u32,
    /// How the session was begun.
    pub kind: SessionKind,
    /// The client's device; zeros for none.
    pub device: DeviceId,
    /// Unix time in seconds, by the wall clock.
    pub issued_at_s: u64,
    /// Whether the user is a lasting account: its token shows an earlier `exp` and no anonymous identity.
    pub lasting: bool,
}

/// A genuine access token within its time. Whether its session lives is for the record to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Whom it is for.
    pub user: UserId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The session's epoch when it was issued.
    pub epoch: u8,
    /// How the session was begun.
    pub kind: SessionKind,
    /// The client's device; zeros for none.
    pub device: DeviceId,
    /// Unix time in seconds.
    pub issued_at_s: u64,
    /// Unix time in seconds.
    pub expires_at_s: u64,
    /// The key that signed it.
    pub key: KeyId,
}

impl Access {
    /// Itself, if its time has come and is not over.
    pub(super) fn within_its_time(self, now_s: u64) -> Result<Self, TokenError> {
        if now_s >= self.expires_at_s || self.issued_at_s > now_s.saturating_add(MAX_AHEAD_S) {
            return Err(TokenError::Expired);
        }
        Ok(self)
    }
}

/// A genuine refresh token. Whether its session lives is for the record to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// Whom it is for.
    pub user: UserId,
    /// The session's public id.
    pub session: SessionId,
    /// The session's number.
    pub number: u32,
    /// How often the token was rotated.
    pub counter: u32,
    /// How the session was begun: an endpoint accepts its own kind alone.
    pub kind: SessionKind,
    /// The client's device; zeros for none.
    pub device: DeviceId,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of ours.
    #[error("not a token of ours")]
    Malformed,
    /// It names a key that is not, or no longer, ours.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("wrong signature")]
    BadSignature,
    /// It is genuine, but of the other type: an access token for a refresh token, or the reverse.
    #[error("incorrect token type")]
    WrongType,
    /// It is genuine, but for a different application or under a different issuer's name.
    #[error("for a different application or from a different issuer")]
    WrongAudience,
    /// Its time is over, or has not come by more than clocks differ.
    #[error("expired")]
    Expired,
}

impl TokenError {
    /// Whether it is a stranger's text, and not a token of ours at the wrong place or time.
    pub fn is_guess(self) -> bool {
        matches!(self, Self::Malformed | Self::UnknownKey | Self::BadSignature)
    }
}
