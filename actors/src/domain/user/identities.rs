//! The identities of a user: logging in by one, linking and unlinking them.

use super::{Decision, UserState};
use crate::domain::change_set::Cause;
use crate::domain::clock::ServiceTime;
use crate::domain::extension::{API_KEY, ApiKey, Identity, IdentityKey};
use crate::domain::ids::{DeviceId, UserId};
use crate::domain::operation::{Refusal, Reply};
use crate::domain::policy::{MAX_IDENTITIES, Policy};
use crate::domain::record::{Flags, Record, SessionKind};
use crate::domain::session::{LoginMethod, Opening, Predecessor, Session, Sessions};

impl UserState {
    /// A user who is created by an identity: a lasting account with its first session.
    pub fn lasting(
        id: UserId,
        identity: IdentityKey,
        data: Box<str>,
        opening: Opening,
        now: ServiceTime,
    ) -> (Self, Session) {
        let Opening { kind, device, method, .. } = opening;
        let session = Session {
            number: 1,
            kind,
            method,
            started: now,
            seen: now,
            epoch: 0,
            refresh_counter: 0,
            device,
            anonymous_at_start: false,
            replaces: None,
        };
        let bare = Self { id, record: Record::new(now, kind), extension: None, meters: None, document: None };
        let mut user = bare.with_sessions(Sessions { highest: 1, list: vec![session.clone()] });
        user.record.flags = user.record.flags.with(Flags::LASTING, true).with(Flags::BORN_LASTING, true);
        user.extension.get_or_insert_default().identities.push(Identity { key: identity, linked: now, data });
        (user, session)
    }

    /// The identities besides the anonymous one, in link order.
    pub fn identities(&self) -> &[Identity] {
        self.extension.as_ref().map_or(&[], |extension| &extension.identities)
    }

    fn identity(&self, key: &IdentityKey) -> Option<&Identity> {
        self.identities().iter().find(|identity| identity.key == *key)
    }

    /// A session on the strength of an identity or a key.
    pub(super) fn log_in(
        &self,
        identity: &IdentityKey,
        data: &str,
        method: LoginMethod,
        (kind, device): (SessionKind, DeviceId),
        now: ServiceTime,
        policy: &Policy,
    ) -> Result<Decision, Refusal> {
        let method = match self.api_keys().iter().find(|key| ApiKey::identity(&key.hash) == *identity) {
            Some(key) if key.disabled => return Err(Refusal::StaleProof),
            Some(key) => LoginMethod::ApiKey(key.id),
            None => self.identity(identity).map(|_| method).ok_or(Refusal::NoSuchIdentity)?,
        };
        let (mut next, opened) = self.open_session(Opening::new(kind, device, method), now, policy)?;
        let identities = next.extension.iter_mut().flat_map(|extension| &mut extension.identities);
        identities.filter(|known| known.key == *identity).for_each(|known| known.data = data.into());
        Ok(Decision::Replace { next, cause: Cause::SessionOpened, reply: Reply::Opened(opened) })
    }

    /// Linking and the old tokens (S5): the session that asks goes on under a new number or epoch, so that
    /// tokens from before the link are worth nothing; others end if they began while the user was anonymous.
    pub(super) fn link(
        &self,
        identity: &IdentityKey,
        data: &str,
        number: u32,
        now: ServiceTime,
        policy: &Policy,
    ) -> Result<Decision, Refusal> {
        if self.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        let asking = self.session(number, now, policy).ok_or(Refusal::SessionEnded)?;
        if self.identity(identity).is_some() {
            return Ok(Decision::Keep(Reply::Linked { session: asking, was: number }));
        }
        // the user's own API key proves nothing new (docs/protocol.md, "Linking")
        if self.api_keys().iter().any(|key| ApiKey::identity(&key.hash) == *identity) {
            return Ok(Decision::Keep(Reply::Linked { session: asking, was: number }));
        }
        if *identity.provider == *API_KEY {
            return Err(Refusal::NoSuchIdentity);
        }
        let is_of_provider = |known: &Identity| known.key.provider == identity.provider;
        if policy.one_identity_of.contains(&&*identity.provider) && self.identities().iter().any(is_of_provider) {
            return Err(Refusal::ProviderLinked);
        }
        if self.identities().len() >= MAX_IDENTITIES {
            return Err(Refusal::TooManyIdentities);
        }
        let mut highest = self.highest_session();
        let replaces = Some(Predecessor { user: self.id, number, at: now });
        let method = LoginMethod::Link;
        let mut going_on = Session { started: now, seen: now, anonymous_at_start: false, method, replaces, ..asking };
        if going_on.kind == SessionKind::AppServices && !policy.link_ends_session {
            going_on.epoch = going_on.epoch.wrapping_add(1);
        } else {
            highest = highest.checked_add(1).ok_or(Refusal::SessionsUsedUp)?;
            going_on = Session { number: highest, epoch: 0, refresh_counter: 0, ..going_on };
        }
        let mut list = self.sessions();
        list.retain(|session| session.number != number && !session.anonymous_at_start);
        list.push(going_on.clone());
        list.sort_by_key(|session| session.number);
        let mut next = self.with_sessions(Sessions { highest, list });
        next.record.flags = next.record.flags.with(Flags::LASTING, true);
        let linked = Identity { key: identity.clone(), linked: now, data: data.into() };
        next.extension.get_or_insert_default().identities.push(linked);
        Ok(Decision::Replace { next, cause: Cause::Linked, reply: Reply::Linked { session: going_on, was: number } })
    }

    pub(super) fn unlink(&self, key: &IdentityKey) -> Result<Decision, Refusal> {
        self.identity(key).ok_or(Refusal::NoSuchIdentity)?;
        if self.identities().len() == 1 {
            return Err(Refusal::LastIdentity);
        }
        let mut next = self.clone();
        if let Some(extension) = &mut next.extension {
            extension.identities.retain(|identity| identity.key != *key);
        }
        Ok(Decision::Replace { next, cause: Cause::Unlinked, reply: Reply::Done })
    }
}
