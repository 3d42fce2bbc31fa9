//! The answer to every kind of login.

use crate::domain::{Session, SessionId, UserId};

/// A user with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user.
    pub user: UserId,
    /// The session's number.
    pub number: u32,
    /// The session's public id.
    pub session: SessionId,
    /// Its epoch.
    pub epoch: u8,
}

impl LoggedIn {
    /// The user with this session of theirs.
    pub fn new(user: UserId, session: &Session) -> Self {
        let session_id = SessionId::derive(&user, session.number);
        Self { user, number: session.number, session: session_id, epoch: session.epoch }
    }
}
