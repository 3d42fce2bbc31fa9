//! Why something about admins was not done.

use passerby_actors::handle::Error;

use crate::limits::throttle::Throttled;
use crate::provider::password::PasswordError;

/// Characters that an admin's password has.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=128;
/// Admins that may be there.
pub const MOST_ADMINS: usize = 1000;
/// API keys of admins that may be there.
pub const MOST_KEYS: usize = 1000;

/// Why something about admins was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A login with a wrong name, password or key, or of someone who is disabled.
    #[error("the name or the password is wrong")]
    Credentials,
    /// The password is right, and a code has to come with it.
    #[error("a code of the second factor is needed: send the login again with \"code\"")]
    CodeNeeded,
    /// The current password is wrong.
    #[error("the current password is wrong")]
    Password,
    /// Admins change their own password and second factor with the current password.
    #[error("your own password and second factor are changed with the current password: at /v1/admin/me")]
    OwnAccount,
    /// The own account was changed by others while it was about to be changed; nothing was done.
    #[error("the account was changed meanwhile: look at it and try again")]
    Changed,
    /// The code is not one of the secret, or was used.
    #[error("the code is not one of this secret at this time")]
    Code,
    /// A key or a command of this machine has no account.
    #[error("only an admin who logged in by name has an account")]
    NotAnAdmin,
    /// The key of second factors cannot be used; the log says why.
    #[error("the second factor cannot be checked")]
    Seal,
    /// A session, token or key that is not there any more, or never was.
    #[error("the session has ended")]
    Ended,
    /// Too many attempts.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// A name that no admin may have.
    #[error("a name is 1 to 64 of a-z 0-9 . _ @ + - and is not \"local\"")]
    Name,
    /// A name of a key that none may have.
    #[error("the name of a key is 1 to 64 characters, without control characters")]
    KeyName,
    /// A password that is too short or too long.
    #[error("a password has {} to {} characters", PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end())]
    Weak,
    /// An end that has come already.
    #[error("the key would have ended already")]
    PastEnd,
    /// The name is taken.
    #[error("there is an admin of this name already")]
    Taken,
    /// There is no such admin.
    #[error("there is no admin of this name")]
    NoAdmin,
    /// There is no such key.
    #[error("there is no key with this id")]
    NoKey,
    /// There is no such session, or it is of another.
    #[error("there is no session with this id")]
    NoSession,
    /// Nobody could look after the admins any more.
    #[error("the last owner who is enabled stays an owner")]
    LastOwner,
    /// As many are there as may be.
    #[error("there are as many as there may be")]
    TooMany,
    /// Others changed the same at the same time; nothing was done.
    #[error("it was changed by others meanwhile")]
    Moved,
    /// No password could be hashed or checked.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// What is stored is not in a format that this version reads.
    #[error("what is stored is of a later version")]
    Unreadable,
    /// The core's.
    #[error(transparent)]
    Core(#[from] Error),
}
