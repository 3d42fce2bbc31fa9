//! Sockets of a user's sessions.

use super::Handle;
use crate::actor::{Error, Hello, Inbox, KeptLive};
use crate::domain::UserId;

/// A socket's place at its user's actor.
pub struct Attachment {
    /// What the socket is sent first.
    pub hello: Hello,
    /// What it is sent from then on.
    pub inbox: Inbox,
    /// Names it as the origin of its own changes.
    pub socket: u64,
    _live: KeptLive,
}

impl Handle {
    /// Lets a socket of one of the user's sessions hear of whatever happens to the user, from now on and in order. `since` is the
    /// version of the document that it knows. The user stays live as long as the attachment is held.
    ///
    /// # Errors
    /// `Refused`: gone or disabled, or the session has ended. `TooManySockets`.
    pub async fn attach(&self, user: &UserId, session: u32, since: Option<u64>) -> Result<Attachment, Error> {
        self.lift(user).await?;
        let (hello, inbox, socket, live) = self.worker.router.attach(user, session, since).await?;
        Ok(Attachment { hello, inbox, socket, _live: live })
    }
}
