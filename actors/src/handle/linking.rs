//! Identities: the operations of the linker.

use super::Handle;
use crate::actor::{Error, Joined, LoggedIn, Preview, Proof};
use crate::domain::{Conflicts, DeviceId, IdForm, IdentityKey, MergePolicy, Session, SessionId, SessionKind, UserId};

impl Handle {
    /// Lifts the suspension of whoever has the identity, if its time has passed.
    async fn lift_owner(&self, identity: &IdentityKey) -> Result<(), Error> {
        match self.owner(identity) {
            Some(owner) => self.lift(&owner).await,
            None => Ok(()),
        }
    }

    /// As [`LinkerHandle::link`](crate::actor::LinkerHandle::link).
    ///
    /// # Errors
    /// Those of the linker.
    pub async fn link(&self, user: UserId, session: u32, proof: Proof) -> Result<LoggedIn, Error> {
        self.lift(&user).await?;
        self.worker.linker.link(user, session, proof).await
    }

    /// As [`LinkerHandle::merge`](crate::actor::LinkerHandle::merge).
    ///
    /// # Errors
    /// Those of the linker.
    pub async fn merge(
        &self,
        user: UserId,
        session: u32,
        proof: Proof,
        opens: (SessionKind, DeviceId),
        policy: MergePolicy,
    ) -> Result<Joined, Error> {
        self.lift(&user).await?;
        self.lift_owner(&proof.identity).await?;
        self.worker.linker.merge(user, session, proof, opens, policy).await
    }

    /// As [`LinkerHandle::repeat_merge`](crate::actor::LinkerHandle::repeat_merge).
    ///
    /// # Errors
    /// Those of the linker.
    pub async fn repeat_merge(
        &self,
        source: UserId,
        proof: Proof,
        opens: (SessionKind, DeviceId),
    ) -> Result<(LoggedIn, Conflicts), Error> {
        self.lift_owner(&proof.identity).await?;
        self.worker.linker.repeat_merge(source, proof, opens).await
    }

    /// As [`LinkerHandle::repeat_link`](crate::actor::LinkerHandle::repeat_link).
    ///
    /// # Errors
    /// Those of the linker.
    pub fn repeat_link(&self, user: &UserId, ended: &SessionId, proof: &Proof) -> Result<Session, Error> {
        self.worker.linker.repeat_link(user, ended, proof)
    }

    /// As [`LinkerHandle::preview`](crate::actor::LinkerHandle::preview).
    ///
    /// # Errors
    /// Those of the linker.
    pub fn preview(&self, user: &UserId, session: u32, proof: &Proof, policy: &MergePolicy) -> Result<Preview, Error> {
        self.worker.linker.preview(user, session, proof, policy)
    }

    /// As [`LinkerHandle::unlink`](crate::actor::LinkerHandle::unlink).
    ///
    /// # Errors
    /// Those of the linker.
    pub async fn unlink(&self, user: UserId, identity: IdentityKey) -> Result<(), Error> {
        self.lift(&user).await?;
        self.worker.linker.unlink(user, identity).await
    }

    /// As [`LinkerHandle::log_in`](crate::actor::LinkerHandle::log_in).
    ///
    /// # Errors
    /// Those of the linker.
    pub async fn log_in(
        &self,
        proof: Proof,
        kind: SessionKind,
        device: DeviceId,
        form: IdForm,
    ) -> Result<LoggedIn, Error> {
        self.lift_owner(&proof.identity).await?;
        self.worker.linker.log_in(proof, kind, device, form).await
    }
}
