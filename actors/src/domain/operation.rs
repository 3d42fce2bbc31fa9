//! What can be done to a user, what it answers, and why it cannot be done.

use super::change_set::Cause;
use super::credential::CredentialRefusal;
use super::document::{DocumentRefusal, Edit, Edited};
use super::extension::{ApiKey, IdentityKey};
use super::ids::DeviceId;
use super::meter::{Count, OtherUse, Reading};
use super::record::SessionKind;
use super::session::{LoginMethod, Session};
use super::suspension::Suspension;

/// What can be done to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Rotates the refresh token of a `/v1` session; `counter` is the presented token's.
    Rotate {
        /// The session's number.
        session: u32,
        /// The presented token's counter.
        counter: u32,
    },
    /// Ends one session. Of an anonymous user's last session: deletes the user.
    EndSession {
        /// The session's number.
        session: u32,
        /// [`Cause::LoggedOut`] or [`Cause::SessionEnded`].
        cause: Cause,
    },
    /// Ends every session, which deletes an anonymous user.
    EndAll,
    /// Ends every session but one.
    EndOthers {
        /// The number of the one that stays.
        session: u32,
    },
    /// Gives an account back to its owner: ends every session and disables every API key.
    Recover,
    /// Notes that a session is in use, if that is not known yet.
    Seen {
        /// The session's number.
        session: u32,
    },
    /// Deletes the user.
    Delete {
        /// [`Cause::DeletedByUser`] or [`Cause::DeletedByAdmin`].
        cause: Cause,
    },
    /// Suspends the user: sessions stay, every token is refused. What was said before is replaced.
    Disable(Suspension),
    /// Lifts the suspension.
    Enable,
    /// Lifts the suspension if its time has passed.
    Lift {
        /// Unix time in milliseconds.
        wall_ms: u64,
    },
    /// Begins a second session of the same user.
    OpenSession {
        /// Its kind.
        kind: SessionKind,
        /// The client's device id; zeros for none.
        device: DeviceId,
        /// The number of the session that asks for it, which must be live and is not ended to make room.
        beside: Option<u32>,
    },
    /// Begins a session of a lasting account on the strength of one of its identities or keys.
    LogIn {
        /// The identity that was proved.
        identity: IdentityKey,
        /// What its provider tells now (a JSON object, or nothing).
        data: Box<str>,
        /// How it was proved; of a key, its owner knows which it is.
        method: LoginMethod,
        /// The session's kind.
        kind: SessionKind,
        /// The client's device id; zeros for none.
        device: DeviceId,
    },
    /// Adds an identity, which makes an anonymous user a lasting account.
    Link {
        /// The identity that was proved.
        identity: IdentityKey,
        /// What its provider tells (a JSON object, or nothing).
        data: Box<str>,
        /// The number of the session that asks.
        session: u32,
    },
    /// Takes an identity off a lasting account; never its last.
    Unlink {
        /// Which one.
        identity: IdentityKey,
    },
    /// Creates an API key of a lasting account.
    CreateKey {
        /// The key.
        key: ApiKey,
    },
    /// Enables or disables an API key. The sessions of one that is disabled end.
    SetKey {
        /// Its id.
        id: DeviceId,
        /// Whether it is refused from now on.
        disabled: bool,
    },
    /// Takes an API key away, and ends its sessions.
    RemoveKey {
        /// Its id.
        id: DeviceId,
    },
    /// Counts a use of a meter.
    Count(Count),
    /// Allows `amount` more uses of a meter, in the period that runs.
    Grant(Count),
    /// Forgets what is used of a meter, and what was granted.
    Reset(Count),
    /// Changes the document.
    Edit(Edit),
}

impl Operation {
    /// Whether finding that there is nothing left to end means that it is done.
    pub fn ends_something(&self) -> bool {
        matches!(
            self,
            Self::EndSession { .. } | Self::EndAll | Self::EndOthers { .. } | Self::Recover | Self::Delete { .. }
        )
    }
}

/// What an operation answers when it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The counter of the refresh token to hand out; `grace` if it had been handed out before.
    Rotated {
        /// Counter of the current token.
        counter: u32,
        /// Whether the presented token was the one before.
        grace: bool,
    },
    /// The session had been used beyond its grace and is now over.
    Reused,
    /// The new session.
    Opened(Session),
    /// The session that asked, as it goes on after a link.
    Linked {
        /// It.
        session: Session,
        /// Its number before.
        was: u32,
    },
    /// What the meter says.
    Counted(Reading),
    /// What became of the document.
    Edited(Edited),
    /// It is done.
    Done,
}

/// Why an operation cannot be done: known, not guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user is deleted, expired, or never was.
    #[error("the user is gone")]
    Gone,
    /// There is a user with this id, or was.
    #[error("there is a user with this id, or was")]
    UserExists,
    /// The user lives, but this session is over.
    #[error("the session has ended")]
    SessionEnded,
    /// The user is suspended.
    #[error("the user is disabled")]
    Disabled,
    /// The session is of a kind that the endpoint does not serve.
    #[error("the session is of a different kind")]
    WrongKind,
    /// The identity belongs to a different user.
    #[error("the identity belongs to a different user")]
    IdentityInUse,
    /// The user does not have the identity.
    #[error("the user does not have this identity")]
    NoSuchIdentity,
    /// The user has as many identities as one may have.
    #[error("the user has too many identities")]
    TooManyIdentities,
    /// Without it no one could log in as this user any more.
    #[error("the last identity cannot be unlinked")]
    LastIdentity,
    /// The user has an identity of this provider, which allows one.
    #[error("the user has an identity of this provider already")]
    ProviderLinked,
    /// The user is anonymous, and this is for accounts.
    #[error("the user is anonymous")]
    Anonymous,
    /// The user is a lasting account, and this is for anonymous users.
    #[error("the user is a lasting account, which cannot become part of a different one")]
    NotAnonymous,
    /// The user has a key of this name.
    #[error("the user has a key of this name already")]
    KeyNameTaken,
    /// The user has as many keys as one may have.
    #[error("the user has too many keys")]
    TooManyKeys,
    /// The user has no such key.
    #[error("the user does not have this key")]
    NoSuchKey,
    /// As many sessions were begun as can be told apart.
    #[error("the user has begun as many sessions as can be told apart")]
    SessionsUsedUp,
    /// What was proved does not hold any more: a password was changed, a key disabled.
    #[error("the credential is not valid any more")]
    StaleProof,
    /// The user's document is not changed.
    #[error(transparent)]
    Document(#[from] DocumentRefusal),
    /// The meter is not used.
    #[error(transparent)]
    Meter(#[from] OtherUse),
    /// A name's credential is not changed.
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
}
