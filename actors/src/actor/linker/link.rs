//! Adding an identity to a user, and removing one.

use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::left_out::REPEAT_S;
use super::proof::{Proof, demand};
use super::{Ask, LinkerHandle, Work};
use crate::actor::error::Error;
use crate::actor::logged_in::LoggedIn;
use crate::domain::{IdentityKey, Operation, Refusal, Reply, Session, SessionId, UserId};

/// Adds an identity to a user.
struct Link {
    user: UserId,
    session: u32,
    proof: Proof,
}

impl Ask for Link {
    type Answer = LoggedIn;

    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<LoggedIn, Error> {
        let Self { user, session, proof } = self;
        let operation = Operation::Link { identity: proof.identity.clone(), data: proof.data.clone(), session };
        let (mut new, mut before) = (false, None);
        let propose = || match work.core().store.resolve(&proof.identity) {
            Some(owner) if owner != user => Err(Error::Refused(Refusal::IdentityInUse)),
            _ => {
                before = work.core().store.record(&user);
                work.proposal_by(&proof, &user, &operation).inspect(|(set, _)| new = set.is_some())
            }
        };
        let reply = work.until_done(permit, propose).await.inspect_err(|error| {
            if *error == Error::Refused(Refusal::IdentityInUse) {
                work.stats.conflicts.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        let Reply::Linked { session, .. } = reply else { return Err(Error::of_another("link")) };
        if new {
            work.count_link(before.as_ref());
        }
        Ok(LoggedIn::new(user, &session))
    }
}

/// Removes an identity.
struct Unlink {
    user: UserId,
    identity: IdentityKey,
}

impl Ask for Unlink {
    type Answer = ();

    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<(), Error> {
        let Self { user, identity } = self;
        let operation = Operation::Unlink { identity };
        work.until_done(permit, || work.proposal(&user, &operation)).await?;
        work.stats.unlinks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl LinkerHandle {
    /// Adds an identity to a user on the request of one of its sessions, which goes on under a new number or epoch. Done
    /// already, it changes nothing. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: the identity belongs to a different user, the session or the user is gone or disabled.
    pub async fn link(&self, user: UserId, session: u32, proof: Proof) -> Result<LoggedIn, Error> {
        self.ask(Link { user, session, proof }).await
    }

    /// The answer to a link again, within 10 minutes, for a client that lost it: the session that took the place of the user's
    /// session `ended`. The proof must be of the very identity that was linked then. Changes nothing.
    ///
    /// # Errors
    /// `Refused(Gone)` if there is no such session, `Refused(StaleProof)` if the proof does not hold any more.
    pub fn repeat_link(&self, user: &UserId, ended: &SessionId, proof: &Proof) -> Result<Session, Error> {
        let store = &self.core.store;
        let now = store.clock().now();
        let state = store.load(user).ok_or(Refusal::Gone)?;
        let session = state.successor(user, ended, now, REPEAT_S, &self.core.policy()).ok_or(Refusal::Gone)?;
        let linked = session.replaces.map(|replaced| replaced.at);
        let mut identities = state.identities().iter();
        if !identities.any(|known| known.key == proof.identity && Some(known.linked) == linked) {
            return Err(Error::Refused(Refusal::Gone));
        }
        demand(&self.core, proof)?;
        self.stats.repeats.fetch_add(1, Ordering::Relaxed);
        Ok(session)
    }

    /// Takes an identity off a user.
    ///
    /// # Errors
    /// `Refused`: it is not there, it is the last one, or the user is gone.
    pub async fn unlink(&self, user: UserId, identity: IdentityKey) -> Result<(), Error> {
        self.ask(Unlink { user, identity }).await
    }
}
