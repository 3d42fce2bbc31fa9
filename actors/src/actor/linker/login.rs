//! Logging in by an identity.

use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::proof::{Proof, demand};
use super::{Ask, LinkerHandle, Work};
use crate::actor::error::Error;
use crate::actor::logged_in::LoggedIn;
use crate::domain::{
    Cause, ChangeSet, DeviceId, Extension, IdForm, Note, Op, Opening, Operation, Refusal, Reply, SessionKind, UserState,
};

/// Logs in by one.
struct LogIn {
    proof: Proof,
    kind: SessionKind,
    device: DeviceId,
    form: IdForm,
}

impl Ask for LogIn {
    type Answer = LoggedIn;

    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<LoggedIn, Error> {
        let Self { proof, kind, device, form } = self;
        let Proof { identity, data, method, .. } = &proof;
        let opening = Opening::new(kind, device, *method);
        let propose = || {
            let now = work.core().store.clock().now();
            if let Some(owner) = work.core().store.resolve(identity) {
                let (identity, data, method) = (identity.clone(), data.clone(), *method);
                let operation = Operation::LogIn { identity, data, method, kind, device };
                let (set, reply) = work.proposal_by(&proof, &owner, &operation)?;
                let Reply::Opened(session) = reply else { return Err(Error::of_another("log in")) };
                return Ok((set, LoggedIn::new(owner, &session)));
            }
            if proof.of_known_user {
                return Err(Error::Refused(Refusal::StaleProof));
            }
            let demand = demand(work.core(), &proof)?;
            work.core().room_for_user()?;
            let id = work.core().new_id(form);
            let (user, session) = UserState::lasting(id, identity.clone(), data.clone(), opening, now);
            let extension = user.extension.as_ref().map(Extension::encode);
            let mut ops: Vec<Op> = demand.into_iter().collect();
            ops.push(Op::Claim { identity: identity.clone(), user: id });
            ops.push(Op::Create { id, record: user.record, extension });
            let note = Note { provider: Some(identity.provider.clone()), ..Note::default() };
            Ok((Some(ChangeSet::new(Cause::Created, now, ops).noting(note)), LoggedIn::new(id, &session)))
        };
        let logged_in = work.until_done(permit, propose).await?;
        work.stats.logins.fetch_add(1, Ordering::Relaxed);
        Ok(logged_in)
    }
}

impl LinkerHandle {
    /// Begins a session of the user who has the identity; if there is none, a lasting account is created.
    ///
    /// # Errors
    /// `Refused`: the user is disabled. `Capacity`.
    pub async fn log_in(
        &self,
        proof: Proof,
        kind: SessionKind,
        device: DeviceId,
        form: IdForm,
    ) -> Result<LoggedIn, Error> {
        self.ask(LogIn { proof, kind, device, form }).await
    }
}
