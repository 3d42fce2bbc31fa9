//! What an identity was proved by, and whether that still holds.

use std::sync::Arc;

use crate::actor::core::Core;
use crate::actor::error::Error;
use crate::domain::{Credential, IdentityKey, LoginMethod, Op, Refusal, Rewrite, ValueKey};

/// An identity that its provider has vouched for, and what the provider tells about the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The identity.
    pub identity: IdentityKey,
    /// A JSON object, or nothing.
    pub data: Box<str>,
    /// What was looked at to prove it; if that has changed by the time of the commit, nothing is proved.
    pub rests_on: Option<Witness>,
    /// Whether it proves a user who exists already, as an API key does: no login creates one.
    pub of_known_user: bool,
    /// How it was proved: a session that it begins remembers that.
    pub method: LoginMethod,
}

/// A stored value as it was looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    /// Where it is.
    pub key: ValueKey,
    /// What it was.
    pub value: Arc<[u8]>,
}

impl std::fmt::Debug for Witness {
    /// What the value is is not shown: it may hold a password's hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("family", &self.key.family).finish_non_exhaustive()
    }
}

impl Proof {
    /// A proof that rests on nothing that is kept here.
    pub fn new(identity: IdentityKey, data: Box<str>) -> Self {
        let method = LoginMethod::of_provider(&identity.provider);
        Self { identity, data, rests_on: None, of_known_user: false, method }
    }
}

/// What a set must demand so that the proof holds when it is done.
pub(super) fn demand(core: &Core, proof: &Proof) -> Result<Option<Op>, Error> {
    let Some(Witness { key, value }) = &proof.rests_on else { return Ok(None) };
    let current = core.store.value(key).ok_or(Refusal::StaleProof)?;
    if current != *value && !is_same_password(&current, value) {
        return Err(Error::Refused(Refusal::StaleProof));
    }
    Ok(Some(Op::Value { key: key.clone(), seen: Some(current), change: Rewrite::Keep }))
}

/// Whether two values of a credential differ only in the e-mails that were asked for: strangers can ask for those.
fn is_same_password(one: &[u8], other: &[u8]) -> bool {
    match (Credential::decode(one), Credential::decode(other)) {
        (Ok(one), Ok(other)) => one.password == other.password && one.confirmed == other.confirmed,
        _ => false,
    }
}
