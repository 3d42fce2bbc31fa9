//! Giving a user's name and password another name, as an operator does it.

use super::Handle;
use crate::actor::{Error, Settled};
use crate::domain::{
    Cause, ChangeSet, Credential, CredentialRefusal, Decision, IdentityKey, LOCAL_USERPASS, Note, Op, Refusal, Reply,
    Rewrite, UserId, UserState, ValueKey,
};

/// How often a change is tried when others were faster.
const TRIES: usize = 8;

impl Handle {
    /// Gives the user's name and password another name, of which `data` is what its provider tells: a JSON object. The password,
    /// the sessions and the other identities stay, the old name is free, and the tokens of e-mails to it are worth nothing. Durable when
    /// answered.
    ///
    /// # Errors
    /// `Refused`: the user is `Gone`, or has no name (`NoSuchIdentity`); the name is `Taken`.
    pub async fn rename(&self, user: &UserId, name: &str, data: &str) -> Result<(), Error> {
        let (core, to) = (self.core(), Credential::identity(name));
        let key = ValueKey::credential(&to);
        for _ in 0..TRIES {
            core.writable()?;
            let state = core.store.load(user).ok_or(Refusal::Gone)?;
            let named = state.identities().iter().find(|known| *known.key.provider == *LOCAL_USERPASS);
            let from = named.ok_or(Refusal::NoSuchIdentity)?.key.clone();
            let old = ValueKey::credential(&from);
            let seen = core.store.value(&old);
            let known = seen.as_deref().and_then(|bytes| Credential::decode(bytes).ok()).ok_or(Error::Internal)?;
            if *known.name == *name {
                return Ok(());
            }
            if core.store.value(&key).is_some() || core.store.resolve(&to).is_some() {
                return Err(Error::Refused(Refusal::Credential(CredentialRefusal::Taken)));
            }
            let credential =
                Credential { name: name.into(), confirmed: true, confirm: Vec::new(), reset: None, ..known };
            let mut ops = vec![
                // a password that is set meanwhile is not lost; with the identity the old one goes
                Op::Value { key: old, seen, change: Rewrite::Keep },
                Op::Value { key: key.clone(), seen: None, change: Rewrite::Put(credential.encode()) },
            ];
            let decision = Decision::Replace {
                next: renamed(&state, &from, &to, data),
                cause: Cause::Renamed,
                reply: Reply::Done,
            };
            ops.extend(state.ops(&decision).into_iter().flat_map(|(_, ops)| ops));
            let permit = core.permit()?;
            let note = Note { provider: Some(to.provider.clone()), ..Note::default() };
            let set = ChangeSet::new(Cause::Renamed, core.store.clock().now(), ops).noting(note);
            if self.worker.router.proposer().once(set, permit).await? == Settled::Done {
                return Ok(());
            }
        }
        Err(Error::Busy)
    }
}

/// The user with one identity in the place of another.
fn renamed(state: &UserState, from: &IdentityKey, to: &IdentityKey, data: &str) -> UserState {
    let mut next = state.clone();
    let identities = next.extension.iter_mut().flat_map(|extension| &mut extension.identities);
    for identity in identities.filter(|identity| identity.key == *from) {
        identity.key = to.clone();
        identity.data = data.into();
    }
    next
}
