//! What an identity rests on: a name's password, and the tokens of its e-mails.

use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::proof::Witness;
use super::{Ask, LinkerHandle, Work};
use crate::actor::error::Error;
use crate::domain::{
    Cause, ChangeSet, Credential, CredentialChange, IdentityKey, Note, Op, Operation, Refusal, Rewrite, ValueKey,
};

/// Whose sessions a change of a password ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// None.
    Nothing,
    /// All of the owner's; and API keys are disabled: a password reset by e-mail may be how an owner takes the account back.
    All,
    /// All of the owner's but the one with this number.
    Others(u32),
}

/// Changes what an identity rests on.
struct ChangeCredential {
    identity: IdentityKey,
    change: CredentialChange,
    ends: Ends,
}

impl Ask for ChangeCredential {
    type Answer = Credential;

    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<Credential, Error> {
        let Self { identity, change, ends } = self;
        let key = ValueKey::credential(&identity);
        let cause = cause_of(&change);
        let propose = || {
            let store = &work.core().store;
            let now = store.clock().now();
            let seen = store.value(&key);
            let current = seen.as_deref().map(Credential::decode).transpose().map_err(|error| {
                tracing::error!(%error, "a credential is left as it is");
                Error::Internal
            })?;
            if seen.is_none() {
                work.core().room_for_name()?;
            }
            let next = Credential::decide(current, &change, now).map_err(Refusal::Credential)?;
            let mut ops = vec![Op::Value { key: key.clone(), seen, change: Rewrite::Put(next.encode()) }];
            let owner = store.resolve(&identity);
            let ending = match ends {
                Ends::Nothing => None,
                Ends::All => Some(Operation::Recover),
                Ends::Others(session) => Some(Operation::EndOthers { session }),
            };
            if let (Some(owner), Some(ending)) = (owner, ending) {
                let (set, _) = work.proposal(&owner, &ending)?;
                ops.extend(set.into_iter().flat_map(|set| set.ops));
            } else if ends != Ends::Nothing {
                // a user who logs in for the first time meanwhile is found at the next attempt
                ops.push(Op::Unclaimed { identity: identity.clone() });
            }
            let note = Note { about: owner, provider: Some(identity.provider.clone()), ..Note::default() };
            Ok((Some(ChangeSet::new(cause, now, ops).noting(note)), next))
        };
        let next = work.until_done(permit, propose).await?;
        work.stats.credentials.fetch_add(1, Ordering::Relaxed);
        Ok(next)
    }
}

fn cause_of(change: &CredentialChange) -> Cause {
    match change {
        CredentialChange::Register { .. } => Cause::Registered,
        CredentialChange::Confirm(_) => Cause::Confirmed,
        CredentialChange::RenewConfirm(_) | CredentialChange::BeginReset(_) => Cause::MailAsked,
        CredentialChange::Reset { .. } | CredentialChange::SetPassword { .. } => Cause::PasswordChanged,
    }
}

impl LinkerHandle {
    /// The credential of an identity, and what it is stored as.
    pub fn credential(&self, identity: &IdentityKey) -> Option<(Credential, Witness)> {
        let key = ValueKey::credential(identity);
        let value = self.core.store.value(&key)?;
        Credential::decode(&value).ok().map(|credential| (credential, Witness { key, value }))
    }

    /// Whether one more name can be registered.
    pub fn has_room(&self) -> bool {
        self.core.room_for_name().is_ok()
    }

    /// Changes the credential of a name, and ends sessions of its owner. Answers the credential as it is then. Durable
    /// when answered.
    ///
    /// # Errors
    /// `Refused`: see [`crate::domain::CredentialRefusal`]. `Capacity`.
    pub async fn change_credential(
        &self,
        identity: IdentityKey,
        change: CredentialChange,
        ends: Ends,
    ) -> Result<Credential, Error> {
        let message = ChangeCredential { identity, change, ends };
        self.ask(message).await
    }
}
