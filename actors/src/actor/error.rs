//! Why an operation was not done.

use crate::domain::Refusal;
use crate::listing::Unanswered;

/// Why an operation was not done. Only [`Error::Refused`] says that an identity is dead; the rest are the server's trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Known to be impossible.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many operations are under way; nothing was begun.
    #[error("the server is busy; try again soon")]
    Overloaded,
    /// Others kept changing the same user; nothing was changed.
    #[error("the user is being changed by others; try again")]
    Busy,
    /// The change may or may not be there after a restart.
    #[error("the change could not be confirmed; outcome unknown")]
    OutcomeUnknown,
    /// The store cannot write, so nothing can be promised.
    #[error("the server cannot store changes at the moment")]
    NotWritable,
    /// As many users exist as are allowed.
    #[error("the server is at its capacity of users")]
    Capacity,
    /// The user has too many changes under way; this one was not begun.
    #[error("too many changes of this user are waiting")]
    TooMany,
    /// The user has as many sockets as one may have.
    #[error("the user has too many sockets")]
    TooManySockets,
    /// The user's actor died too often; its changes are refused for a while.
    #[error("changes of this user are refused for a while after repeated failures")]
    Quarantined,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopping,
    /// A defect of this server, which its log tells of.
    #[error("the server has made a mistake")]
    Internal,
}

impl From<Unanswered> for Error {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Busy => Self::Overloaded,
            Unanswered::Ended => Self::Stopping,
        }
    }
}

impl Error {
    /// An operation was answered as another one is.
    pub(crate) fn of_another(operation: &'static str) -> Self {
        tracing::error!(operation, "an operation was answered as another one is");
        Self::Internal
    }
}
