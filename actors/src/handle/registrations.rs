//! Names that are registered and not confirmed: an operator lists, confirms and forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Handle;
use crate::actor::{Error, Settled};
use crate::domain::{
    Cause, ChangeSet, Credential, CredentialRefusal, Family, IdentityKey, LOCAL_USERPASS, Note, Op, Refusal, Rewrite,
    ValueKey,
};

/// How often a change is tried when others were faster.
const TRIES: usize = 8;

/// A name that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The id of the identity that it will be.
    pub id: Box<str>,
    /// The name.
    pub name: Box<str>,
}

impl Handle {
    /// Names that wait for their confirmation, in the order of their ids, from behind `after` on. Reads every name: a second for millions.
    ///
    /// # Errors
    /// `Internal`: there is no thread for it.
    pub async fn unconfirmed(&self, after: Option<String>, most: usize) -> Result<Vec<Registration>, Error> {
        let store = Arc::clone(&self.core().store);
        let read = move || {
            let prefix = [LOCAL_USERPASS.as_bytes(), &[0]].concat();
            let mut found = BTreeMap::<Box<str>, Box<str>>::new();
            let pages = if store.keys(Family::CREDENTIAL) == 0 { 0 } else { store.pages() };
            for page in 0..pages {
                store.see_values(page, &mut |key, bytes| {
                    let id = Some(key).filter(|key| key.family == Family::CREDENTIAL);
                    let id = id.and_then(|key| std::str::from_utf8(key.key.strip_prefix(&*prefix)?).ok());
                    let Some(id) = id.filter(|id| after.as_deref().is_none_or(|after| *id > after)) else { return };
                    let is_beyond = found.len() == most && found.last_key_value().is_some_and(|(last, _)| id > &**last);
                    if is_beyond {
                        return;
                    }
                    if let Some(waiting) = Credential::decode(bytes).ok().filter(|credential| !credential.confirmed) {
                        found.insert(id.into(), waiting.name);
                    }
                    if found.len() > most {
                        found.pop_last();
                    }
                });
            }
            found.into_iter().map(|(id, name)| Registration { id, name }).collect()
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::Internal)
    }

    /// The name of this id, if it waits for its confirmation.
    pub fn registration(&self, id: &str) -> Option<Registration> {
        let identity = IdentityKey { provider: LOCAL_USERPASS.into(), external: id.into() };
        let known = Credential::decode(&self.core().store.value(&ValueKey::credential(&identity))?).ok()?;
        (!known.confirmed).then(|| Registration { id: id.into(), name: known.name })
    }

    /// Confirms a name as the owner of its address would, with the password of its last registration. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: the name is `Unknown`, or `AlreadyConfirmed`.
    pub async fn confirm_by_hand(&self, name: &str) -> Result<(), Error> {
        self.of_registration(name, Cause::Confirmed, |waiting| {
            let confirmed = Credential { confirmed: true, confirm: Vec::new(), ..waiting };
            Rewrite::Put(confirmed.encode())
        })
        .await
    }

    /// Forgets a name that waits for its confirmation. Durable when answered.
    ///
    /// # Errors
    /// As [`confirm_by_hand`](Self::confirm_by_hand).
    pub async fn forget_registration(&self, name: &str) -> Result<(), Error> {
        self.of_registration(name, Cause::Forgotten, |_| Rewrite::Remove).await
    }

    async fn of_registration(
        &self,
        name: &str,
        cause: Cause,
        change: impl Fn(Credential) -> Rewrite,
    ) -> Result<(), Error> {
        let (core, identity) = (self.core(), Credential::identity(name));
        let key = ValueKey::credential(&identity);
        let refused = |refusal| Err(Error::Refused(Refusal::Credential(refusal)));
        for _ in 0..TRIES {
            core.writable()?;
            let seen = core.store.value(&key);
            let known = seen.as_deref().and_then(|bytes| Credential::decode(bytes).ok());
            let Some(waiting) = known.filter(|known| *known.name == *name) else {
                return refused(CredentialRefusal::Unknown);
            };
            if waiting.confirmed || core.store.resolve(&identity).is_some() {
                return refused(CredentialRefusal::AlreadyConfirmed);
            }
            let permit = core.permit()?;
            let ops = vec![
                Op::Value { key: key.clone(), seen, change: change(waiting) },
                Op::Unclaimed { identity: identity.clone() },
            ];
            let note = Note { provider: Some(identity.provider.clone()), ..Note::default() };
            let set = ChangeSet::new(cause, core.store.clock().now(), ops).noting(note);
            if self.worker.router.proposer().once(set, permit).await? == Settled::Done {
                return Ok(());
            }
        }
        Err(Error::Busy)
    }
}
