//! A user's state and every change it can go through, as pure functions: the session actor and the direct path both use them.

use std::sync::Arc;

use super::change_set::{Cause, Continued, Op, Rewrite, ValueKey};
use super::clock::ServiceTime;
use super::credential::{CredentialRefusal, LOCAL_USERPASS};
use super::document::{Document, DocumentRefusal, Edit, Edited};
use super::extension::{API_KEY, ApiKey, Extension, Identity, IdentityKey};
use super::ids::{DeviceId, IdForm, SessionId, UserId};
use super::meter::{Count, Meters, OtherUse, Reading};
use super::record::{Flags, Record, SessionKind};
use super::session::{LoginMethod, Predecessor, Session, Sessions};

/// The rules that an operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Seconds of inactivity after which an anonymous user is gone.
    pub window_s: u32,
    /// From which age on (seconds) users who were made and never came back may be given up when room is short; 0: never.
    pub unused_s: u32,
    /// How old `last_seen` must be before a use renews it (seconds); at most `window_s / 24`.
    pub touch_granularity_s: u32,
    /// How long a session of a lasting account lives (seconds, not sliding).
    pub session_lifetime_s: u32,
    /// Whether the refresh token before the current one still gets the current one again (S32).
    pub refresh_grace: bool,
    /// How many sessions a user may have; one more ends the oldest.
    pub max_sessions: usize,
    /// Whether linking through the App Services API ends the refresh token that SDKs keep (S5).
    pub link_ends_session: bool,
    /// How large a user's document may be (bytes of compact JSON).
    pub document_bytes: usize,
    /// How large all documents together may be (bytes).
    pub documents_bytes: usize,
    /// The form of every new user's id; `None` leaves it to whoever makes the user.
    pub ids: Option<IdForm>,
}

impl Policy {
    /// How old a session's `seen` must be before a use renews it (seconds); a write each, unlike a touch.
    pub fn seen_granularity_s(&self) -> u32 {
        self.touch_granularity_s.max(60)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window_s: 90 * 86_400,
            unused_s: 0,
            touch_granularity_s: 3600,
            session_lifetime_s: 60 * 86_400,
            refresh_grace: true,
            max_sessions: 50,
            link_ends_session: false,
            document_bytes: 16 * 1024,
            documents_bytes: usize::MAX,
            ids: None,
        }
    }
}

/// How many identities a user may have: each check of a token reads them.
pub const MAX_IDENTITIES: usize = 20;

/// How many API keys a user may have (wire-protocol §1.14).
pub const MAX_API_KEYS: usize = 20;

/// How many sessions an anonymous user may have: its other screens.
pub const MAX_ANONYMOUS_SESSIONS: usize = 8;

/// How far ahead of the record a refresh token may be: one from before a backup was restored. More than this is no such token.
const MOST_ROTATIONS_AHEAD: u32 = 1024;

/// A session that is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Which API it will serve.
    pub kind: SessionKind,
    /// The client's device id; zeros for none.
    pub device: DeviceId,
    /// What begins it.
    pub method: LoginMethod,
    /// The number of the session that asks for it, which is not ended to make room.
    pub beside: Option<u32>,
    /// Whose place it takes.
    pub replaces: Option<Predecessor>,
}

impl Opening {
    /// A session that begins by itself.
    pub fn new(kind: SessionKind, device: DeviceId, method: LoginMethod) -> Self {
        Self { kind, device, method, beside: None, replaces: None }
    }
}

/// A user as loaded from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// Who.
    pub id: UserId,
    /// The compact record.
    pub record: Record,
    /// The extension record, if there is one.
    pub extension: Option<Extension>,
    /// The meters ([`Meters`]), if there are any, as they are stored.
    pub meters: Option<Arc<[u8]>>,
    /// The document ([`Document`]), if there ever was one, as it is stored.
    pub document: Option<Arc<[u8]>>,
}

/// What can be done to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Rotates the refresh token of a `/v1` session; `counter` is the presented token's.
    Rotate {
        /// The session's number.
        session: u32,
        /// The presented token's counter.
        counter: u32,
    },
    /// Ends one session. Of an anonymous user's last session: deletes the user.
    EndSession {
        /// The session's number.
        session: u32,
        /// [`Cause::LoggedOut`] or [`Cause::SessionEnded`].
        cause: Cause,
    },
    /// Ends every session, which deletes an anonymous user.
    EndAll,
    /// Ends every session but one.
    EndOthers {
        /// The number of the one that stays.
        session: u32,
    },
    /// Gives an account back to its owner: ends every session and disables every API key.
    Recover,
    /// Notes that a session is in use, if that is not known yet.
    Seen {
        /// The session's number.
        session: u32,
    },
    /// Deletes the user.
    Delete {
        /// [`Cause::DeletedByUser`] or [`Cause::DeletedByAdmin`].
        cause: Cause,
    },
    /// Suspends the user: sessions stay, every token is refused.
    Disable,
    /// Lifts the suspension.
    Enable,
    /// Begins another session of the same user.
    OpenSession {
        /// Its kind.
        kind: SessionKind,
        /// The client's device id; zeros for none.
        device: DeviceId,
        /// The number of the session that asks for it, which must be live and is not ended to make room.
        beside: Option<u32>,
    },
    /// Begins a session of a lasting account on the strength of one of its identities or keys.
    LogIn {
        /// The identity that was proved.
        identity: IdentityKey,
        /// What its provider tells now (a JSON object, or nothing).
        data: Box<str>,
        /// How it was proved; of a key, its owner knows which it is.
        method: LoginMethod,
        /// The session's kind.
        kind: SessionKind,
        /// The client's device id; zeros for none.
        device: DeviceId,
    },
    /// Adds an identity, which makes an anonymous user a lasting account (design §1.6).
    Link {
        /// The identity that was proved.
        identity: IdentityKey,
        /// What its provider tells (a JSON object, or nothing).
        data: Box<str>,
        /// The number of the session that asks.
        session: u32,
    },
    /// Takes an identity off a lasting account; never its last.
    Unlink {
        /// Which one.
        identity: IdentityKey,
    },
    /// Makes an API key of a lasting account.
    MakeKey {
        /// The key.
        key: ApiKey,
    },
    /// Enables or disables an API key. The sessions of one that is disabled end.
    SetKey {
        /// Its id.
        id: DeviceId,
        /// Whether it is refused from now on.
        disabled: bool,
    },
    /// Takes an API key away, and ends its sessions.
    RemoveKey {
        /// Its id.
        id: DeviceId,
    },
    /// Counts a use of a meter.
    Count(Count),
    /// Changes the document.
    Edit(Edit),
}

impl Operation {
    /// Whether finding that there is nothing left to end means that it is done.
    pub fn ends_something(&self) -> bool {
        matches!(
            self,
            Self::EndSession { .. } | Self::EndAll | Self::EndOthers { .. } | Self::Recover | Self::Delete { .. }
        )
    }
}

/// What an operation answers when it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The counter of the refresh token to hand out; `grace` if it had been handed out before.
    Rotated {
        /// Counter of the current token.
        counter: u32,
        /// Whether the presented token was the one before.
        grace: bool,
    },
    /// The session had been used beyond its grace and is now over.
    Reused,
    /// The new session.
    Opened(Session),
    /// The session that asked, as it goes on after a link.
    Linked {
        /// It.
        session: Session,
        /// Its number before.
        was: u32,
    },
    /// What the meter says.
    Counted(Reading),
    /// What became of the document.
    Edited(Edited),
    /// It is done.
    Done,
}

/// Why an operation cannot be done: known, not guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user is deleted, expired, or never was.
    #[error("the user is gone")]
    Gone,
    /// The user lives, but this session is over.
    #[error("the session has ended")]
    SessionEnded,
    /// The user is suspended.
    #[error("the user is disabled")]
    Disabled,
    /// The session is of another kind than the endpoint serves.
    #[error("the session is of another kind")]
    WrongKind,
    /// The identity belongs to another user.
    #[error("the identity belongs to another user")]
    IdentityInUse,
    /// The user does not have the identity.
    #[error("the user does not have this identity")]
    NoSuchIdentity,
    /// The user has as many identities as one may have.
    #[error("the user has too many identities")]
    TooManyIdentities,
    /// Without it nobody could log in as this user any more.
    #[error("the last identity cannot be taken away")]
    LastIdentity,
    /// The user has an identity of this provider, which allows one.
    #[error("the user has an identity of this provider already")]
    ProviderLinked,
    /// The user is anonymous, and this is for accounts.
    #[error("the user is anonymous")]
    Anonymous,
    /// The user is a lasting account, and this is for anonymous users.
    #[error("the user is a lasting account, which cannot become part of another")]
    NotAnonymous,
    /// The user has a key of this name.
    #[error("the user has a key of this name already")]
    KeyNameTaken,
    /// The user has as many keys as one may have.
    #[error("the user has too many keys")]
    TooManyKeys,
    /// The user has no such key.
    #[error("the user does not have this key")]
    NoSuchKey,
    /// As many sessions were begun as can be told apart.
    #[error("the user has begun as many sessions as can be told apart")]
    SessionsUsedUp,
    /// What was proved does not hold any more: a password was changed, a key disabled.
    #[error("the credential is not valid any more")]
    StaleProof,
    /// The user's document is not changed.
    #[error(transparent)]
    Document(#[from] DocumentRefusal),
    /// The meter is not used.
    #[error(transparent)]
    Meter(#[from] OtherUse),
    /// A name's credential is not changed.
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
}

/// What follows from an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is made, taken apart at once, and never kept")]
pub enum Decision {
    /// Nothing changes.
    Keep(Reply),
    /// The user changes.
    Replace {
        /// The state afterwards; the store sets the version.
        next: UserState,
        /// Why.
        cause: Cause,
        /// The answer once it is durable.
        reply: Reply,
    },
    /// The user is gone.
    Remove {
        /// Why.
        cause: Cause,
        /// The answer once it is durable.
        reply: Reply,
    },
}

impl UserState {
    /// A live session by its number, wherever it is kept.
    pub fn session(&self, number: u32, now: ServiceTime, policy: &Policy) -> Option<Session> {
        self.sessions().into_iter().find(|session| session.number == number && self.is_live(session, now, policy))
    }

    /// All sessions, in order of their number.
    pub fn sessions(&self) -> Vec<Session> {
        if let Some(sessions) = self.extension.as_ref().and_then(|extension| extension.sessions.as_ref()) {
            return sessions.list.clone();
        }
        self.record
            .flags
            .kind()
            .map(|kind| Session {
                number: u32::from(self.record.session_no),
                kind,
                method: LoginMethod::Anonymous,
                started: self.record.session_started,
                seen: self.record.last_seen,
                epoch: self.record.epoch,
                refresh_counter: self.record.refresh_counter.into(),
                device: DeviceId::default(),
                anonymous_at_start: true,
                replaces: None,
            })
            .into_iter()
            .collect()
    }

    /// The live session that took the place of this one, of this user or of one who became part of it, at most `within_s` ago.
    pub fn successor(
        &self,
        user: &UserId,
        ended: &SessionId,
        now: ServiceTime,
        within_s: u32,
        policy: &Policy,
    ) -> Option<Session> {
        self.sessions().into_iter().find(|session| {
            let replaced = session.replaces.filter(|replaced| replaced.user == *user);
            replaced.is_some_and(|Predecessor { number, at, .. }| {
                now < at.saturating_add(within_s) && SessionId::derive(user, number) == *ended
            }) && self.is_live(session, now, policy)
        })
    }

    fn is_live(&self, session: &Session, now: ServiceTime, policy: &Policy) -> bool {
        self.record.is_anonymous() || now < session.started.saturating_add(policy.session_lifetime_s)
    }

    /// What `operation` does at `now`.
    ///
    /// # Errors
    /// A [`Refusal`], which changes nothing.
    pub fn decide(&self, operation: &Operation, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        if self.record.is_expired(now, policy.window_s) {
            return Err(Refusal::Gone);
        }
        match operation {
            Operation::Rotate { session, counter } => self.rotate(*session, *counter, now, policy),
            Operation::EndSession { session, cause } => {
                self.session(*session, now, policy).ok_or(Refusal::SessionEnded)?;
                Ok(self.without(|other| other.number != *session, *cause, Reply::Done))
            }
            Operation::EndAll => Ok(self.without(|_| false, Cause::SessionEnded, Reply::Done)),
            Operation::EndOthers { session } => {
                self.session(*session, now, policy).ok_or(Refusal::SessionEnded)?;
                Ok(self.without(|other| other.number == *session, Cause::SessionEnded, Reply::Done))
            }
            Operation::Recover => {
                let Decision::Replace { mut next, cause, reply } =
                    self.without(|_| false, Cause::SessionEnded, Reply::Done)
                else {
                    return Ok(Decision::Remove { cause: Cause::SessionEnded, reply: Reply::Done });
                };
                for key in next.extension.iter_mut().flat_map(|extension| &mut extension.api_keys) {
                    key.disabled = true;
                }
                Ok(Decision::Replace { next, cause, reply })
            }
            Operation::Seen { session } => self.seen(*session, now, policy),
            Operation::Delete { cause } => Ok(Decision::Remove { cause: *cause, reply: Reply::Done }),
            Operation::Disable => Ok(self.disabled(true, Cause::Disabled)),
            Operation::Enable => Ok(self.disabled(false, Cause::Enabled)),
            Operation::OpenSession { kind, device, beside } => {
                let asking = beside.map(|asking| self.session(asking, now, policy).ok_or(Refusal::SessionEnded));
                let method = match asking.transpose()?.map(|asking| asking.method) {
                    // nobody gets more by it than the session that asks has, nor for longer than its key is good
                    Some(key @ LoginMethod::ApiKey(_)) => key,
                    Some(_) => LoginMethod::Transfer,
                    None => LoginMethod::Unknown,
                };
                let opening = Opening { beside: *beside, ..Opening::new(*kind, *device, method) };
                let (next, opened) = self.open_session(opening, now, policy)?;
                Ok(Decision::Replace { next, cause: Cause::SessionOpened, reply: Reply::Opened(opened) })
            }
            Operation::LogIn { identity, data, method, kind, device } => {
                let method = match self.api_keys().iter().find(|key| ApiKey::identity(&key.hash) == *identity) {
                    Some(key) if key.disabled => return Err(Refusal::StaleProof),
                    Some(key) => LoginMethod::ApiKey(key.id),
                    None => self.identity(identity).map(|_| *method).ok_or(Refusal::NoSuchIdentity)?,
                };
                let (mut next, opened) = self.open_session(Opening::new(*kind, *device, method), now, policy)?;
                let identities = next.extension.iter_mut().flat_map(|extension| &mut extension.identities);
                identities.filter(|known| known.key == *identity).for_each(|known| known.data.clone_from(data));
                Ok(Decision::Replace { next, cause: Cause::SessionOpened, reply: Reply::Opened(opened) })
            }
            Operation::Link { identity, data, session } => self.link(identity, data, *session, now, policy),
            Operation::Unlink { identity } => self.unlink(identity),
            Operation::Count(count) => {
                if self.record.flags.has(Flags::DISABLED) {
                    return Err(Refusal::Disabled);
                }
                Ok(match self.meters().count(count)? {
                    (None, reading) => Decision::Keep(Reply::Counted(reading)),
                    (Some(meters), reading) => {
                        let next = Self { meters: Some(Arc::from(meters.encode())), ..self.clone() };
                        Decision::Replace { next, cause: Cause::Counted, reply: Reply::Counted(reading) }
                    }
                })
            }
            Operation::Edit(edit) => {
                if self.record.flags.has(Flags::DISABLED) {
                    return Err(Refusal::Disabled);
                }
                Ok(match self.document().edited(edit, now, policy.document_bytes)? {
                    (None, edited) => Decision::Keep(Reply::Edited(edited)),
                    (Some(document), edited) => {
                        let next = Self { document: Some(Arc::from(document.encode())), ..self.clone() };
                        Decision::Replace { next, cause: Cause::Edited, reply: Reply::Edited(edited) }
                    }
                })
            }
            Operation::MakeKey { key } => {
                let keys = self.api_keys();
                if self.record.is_anonymous() {
                    return Err(Refusal::Anonymous);
                }
                if keys.iter().any(|known| known.name == key.name) {
                    return Err(Refusal::KeyNameTaken);
                }
                if keys.len() >= MAX_API_KEYS {
                    return Err(Refusal::TooManyKeys);
                }
                let mut keys = keys.to_vec();
                keys.push(key.clone());
                Ok(self.with_keys(keys, Cause::KeyMade, None))
            }
            Operation::SetKey { id, disabled } => {
                let mut keys = self.api_keys().to_vec();
                let key = keys.iter_mut().find(|key| key.id == *id).ok_or(Refusal::NoSuchKey)?;
                if key.disabled == *disabled {
                    return Ok(Decision::Keep(Reply::Done));
                }
                key.disabled = *disabled;
                let ended = disabled.then_some(*id);
                Ok(self.with_keys(keys, Cause::KeyChanged, ended))
            }
            Operation::RemoveKey { id } => {
                let mut keys = self.api_keys().to_vec();
                let at = keys.iter().position(|key| key.id == *id).ok_or(Refusal::NoSuchKey)?;
                keys.remove(at);
                Ok(self.with_keys(keys, Cause::KeyRemoved, Some(*id)))
            }
        }
    }

    /// A user who is made by an identity: a lasting account with its first session.
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

    /// The meters.
    pub fn meters(&self) -> Meters {
        // what the store keeps is readable: the codec refuses the rest at recovery
        self.meters.as_deref().and_then(|bytes| Meters::decode(bytes).ok()).unwrap_or_default()
    }

    /// The document; an empty one of version 0 if there never was one.
    pub fn document(&self) -> Document {
        // readable, as meters are
        self.document.as_deref().and_then(|bytes| Document::decode(bytes).ok()).unwrap_or_default()
    }

    /// The API keys, in the order in which they were made.
    pub fn api_keys(&self) -> &[ApiKey] {
        self.extension.as_ref().map_or(&[], |extension| &extension.api_keys)
    }

    /// With these keys, and without the sessions of the one that is good no more.
    fn with_keys(&self, keys: Vec<ApiKey>, cause: Cause, ended: Option<DeviceId>) -> Decision {
        let mut next = self.clone();
        let extension = next.extension.get_or_insert_default();
        extension.api_keys = keys;
        if let (Some(ended), Some(sessions)) = (ended, &mut extension.sessions) {
            sessions.list.retain(|session| session.method != LoginMethod::ApiKey(ended));
        }
        Decision::Replace { next, cause, reply: Reply::Done }
    }

    fn identity(&self, key: &IdentityKey) -> Option<&Identity> {
        self.identities().iter().find(|identity| identity.key == *key)
    }

    /// The highest session number ever given.
    fn highest_session(&self) -> u32 {
        let sessions = self.extension.as_ref().and_then(|extension| extension.sessions.as_ref());
        sessions.map_or(u32::from(self.record.session_no), |sessions| sessions.highest)
    }

    pub(super) fn open_session(
        &self,
        Opening { kind, device, method, beside, replaces }: Opening,
        now: ServiceTime,
        policy: &Policy,
    ) -> Result<(Self, Session), Refusal> {
        if self.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        let mut list = self.sessions();
        list.retain(|session| self.is_live(session, now, policy));
        let anonymous = self.record.is_anonymous();
        let most = policy.max_sessions.min(if anonymous { MAX_ANONYMOUS_SESSIONS } else { usize::MAX });
        let mut surplus = (list.len() + 1).saturating_sub(most.max(1 + usize::from(beside.is_some())));
        // they are in order of their number: the oldest first; a program that logs in again and again ends its own
        let is_programs = |session: &Session| session.method.api_key().is_some();
        for of_programs in [true, false] {
            list.retain(|session| {
                let may_end = Some(session.number) != beside && (!of_programs || is_programs(session));
                let ends = surplus > 0 && may_end && (!of_programs || method.api_key().is_some());
                surplus -= usize::from(ends);
                !ends
            });
        }
        // an account's session that another one vouches for is as old as that: neither its life nor its freshness begins anew
        let voucher = beside.and_then(|beside| list.iter().find(|session| session.number == beside));
        let started = voucher.filter(|_| !anonymous).map_or(now, |voucher| voucher.started);
        let opened = Session {
            number: self.highest_session().checked_add(1).ok_or(Refusal::SessionsUsedUp)?,
            kind,
            method,
            started,
            seen: now,
            epoch: 0,
            refresh_counter: 0,
            device,
            anonymous_at_start: anonymous,
            replaces,
        };
        list.push(opened.clone());
        Ok((self.with_sessions(Sessions { highest: opened.number, list }), opened))
    }

    /// Design §5, "Linking and the old tokens" (S5): the session that asks goes on under another number or epoch, so that
    /// tokens from before the link are worth nothing; others end if they began while the user was anonymous.
    fn link(
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
        // somebody's own API key proves nothing new (wire-protocol §7.2)
        if self.api_keys().iter().any(|key| ApiKey::identity(&key.hash) == *identity) {
            return Ok(Decision::Keep(Reply::Linked { session: asking, was: number }));
        }
        if *identity.provider == *API_KEY {
            return Err(Refusal::NoSuchIdentity);
        }
        if *identity.provider == *LOCAL_USERPASS
            && self.identities().iter().any(|known| known.key.provider == identity.provider)
        {
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

    fn unlink(&self, key: &IdentityKey) -> Result<Decision, Refusal> {
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

    /// The operations that carry a decision out, seen from this state; `None` if nothing changes.
    pub fn ops(&self, decision: &Decision) -> Option<(Cause, Vec<Op>)> {
        match decision {
            Decision::Keep(_) => None,
            Decision::Replace { next, cause, reply } => {
                let extension = if next.extension == self.extension {
                    Rewrite::Keep
                } else {
                    next.extension.as_ref().map_or(Rewrite::Remove, |e| Rewrite::Put(e.encode()))
                };
                let claims = |user: &Self| user.extension.as_ref().map(Extension::claims).unwrap_or_default();
                let mut new = claims(next);
                if !new.is_empty() {
                    let old = claims(self);
                    new.retain(|claim| !old.contains(claim));
                }
                let claim = |identity: IdentityKey| Op::Claim { identity, user: self.id };
                let mut ops: Vec<Op> = new.into_iter().map(claim).collect();
                if cause.is_of_the_record() {
                    ops.push(Op::Update { id: self.id, seen: self.record.version, record: next.record, extension });
                } else {
                    ops.push(Op::Demand { id: self.id });
                }
                if next.meters != self.meters {
                    let change = next.meters.as_deref().map_or(Rewrite::Remove, |bytes| Rewrite::Put(bytes.into()));
                    ops.push(Op::Value { key: ValueKey::meters(&self.id), seen: self.meters.clone(), change });
                }
                if next.document != self.document {
                    let change = match (&next.document, reply) {
                        (Some(next), Reply::Edited(Edited { delta: Some(delta), .. })) => {
                            Rewrite::Edit { delta: delta.encode().into(), next: Arc::clone(next) }
                        }
                        (Some(next), _) => Rewrite::Put(next[..].into()),
                        (None, _) => Rewrite::Remove,
                    };
                    ops.push(Op::Value { key: ValueKey::document(&self.id), seen: self.document.clone(), change });
                }
                if let Reply::Linked { session, was } = reply {
                    let session = Continued { old: *was, new: session.number };
                    ops.push(Op::Continue { id: self.id, session });
                }
                Some((*cause, ops))
            }
            Decision::Remove { cause, .. } => {
                Some((*cause, vec![Op::Remove { id: self.id, seen: self.record.version }]))
            }
        }
    }

    /// The state once a decision is carried out, none if the user is then gone; and the answer.
    pub fn after(self, decision: Decision) -> (Option<Self>, Reply) {
        match decision {
            Decision::Keep(reply) => (Some(self), reply),
            Decision::Replace { mut next, reply, cause } => {
                if cause.is_of_the_record() {
                    next.record.version = self.record.version.wrapping_add(1);
                }
                (Some(next), reply)
            }
            Decision::Remove { reply, .. } => (None, reply),
        }
    }

    fn rotate(&self, number: u32, counter: u32, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        if self.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        let session = self.session(number, now, policy).ok_or(Refusal::SessionEnded)?;
        if session.kind != SessionKind::V1 {
            return Err(Refusal::WrongKind);
        }
        match session.refresh_counter.checked_sub(counter) {
            Some(1) if policy.refresh_grace => {
                Ok(Decision::Keep(Reply::Rotated { counter: session.refresh_counter, grace: true }))
            }
            Some(1..) => Ok(self.without(|other| other.number != number, Cause::ReuseDetected, Reply::Reused)),
            // a token a little ahead of the record is ours, from before a backup was restored: not reuse
            None if counter - session.refresh_counter > MOST_ROTATIONS_AHEAD => Err(Refusal::SessionEnded),
            Some(0) | None => {
                let counter = counter.saturating_add(1);
                let next = self.rotated(number, counter, now);
                Ok(Decision::Replace { next, cause: Cause::Refreshed, reply: Reply::Rotated { counter, grace: false } })
            }
        }
    }

    /// With this counter of one session, which is in use. What the compact record has no room for moves to the extension record.
    fn rotated(&self, number: u32, counter: u32, now: ServiceTime) -> Self {
        if let (true, Ok(counter)) = (self.record.flags.kind().is_some(), u16::try_from(counter)) {
            return Self { record: Record { refresh_counter: counter, ..self.record }, ..self.clone() };
        }
        let mut list = self.sessions();
        for session in list.iter_mut().filter(|session| session.number == number) {
            (session.refresh_counter, session.seen) = (counter, now);
        }
        self.with_sessions(Sessions { highest: self.highest_session(), list })
    }

    fn seen(&self, number: u32, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        let session = self.session(number, now, policy).ok_or(Refusal::SessionEnded)?;
        let mut next = self.clone();
        let sessions = next.extension.as_mut().and_then(|extension| extension.sessions.as_mut());
        // the one session of the compact record is as old as its user's last activity
        let Some(sessions) = sessions.filter(|_| now.saturating_sub(session.seen) >= policy.seen_granularity_s())
        else {
            return Ok(Decision::Keep(Reply::Done));
        };
        sessions.list.iter_mut().filter(|known| known.number == number).for_each(|known| known.seen = now);
        Ok(Decision::Replace { next, cause: Cause::SessionSeen, reply: Reply::Done })
    }

    /// With only some of its sessions. An anonymous user without a session is gone.
    fn without(&self, stays: impl Fn(&Session) -> bool, cause: Cause, reply: Reply) -> Decision {
        let mut list = self.sessions();
        list.retain(stays);
        if list.is_empty() && self.record.is_anonymous() {
            return Decision::Remove { cause, reply };
        }
        Decision::Replace { next: self.with_sessions(Sessions { highest: self.highest_session(), list }), cause, reply }
    }

    /// With its sessions in the extension record, where they stay.
    fn with_sessions(&self, sessions: Sessions) -> Self {
        let mut next = self.clone();
        next.extension.get_or_insert_default().sessions = Some(sessions);
        next.record.flags = next.record.flags.with(Flags::EXTENDED, true).with_kind(None);
        next.record.session_no = 0;
        next.record.session_started = 0;
        next.record.refresh_counter = 0;
        next.record.epoch = 0;
        next
    }

    fn disabled(&self, on: bool, cause: Cause) -> Decision {
        if self.record.flags.has(Flags::DISABLED) == on {
            return Decision::Keep(Reply::Done);
        }
        let mut next = self.clone();
        next.record.flags = next.record.flags.with(Flags::DISABLED, on);
        Decision::Replace { next, cause, reply: Reply::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { window_s: 1000, touch_granularity_s: 10, session_lifetime_s: 500, max_sessions: 3, ..DEFAULTS };
    const DEFAULTS: Policy = Policy {
        window_s: 0,
        unused_s: 0,
        touch_granularity_s: 0,
        session_lifetime_s: 0,
        refresh_grace: true,
        max_sessions: 0,
        link_ends_session: false,
        document_bytes: 0,
        documents_bytes: 0,
        ids: None,
    };

    fn user(kind: SessionKind) -> UserState {
        UserState {
            id: UserId::from_bytes([7; 16]),
            record: Record::new(100, kind),
            extension: None,
            meters: None,
            document: None,
        }
    }

    fn next(decision: Result<Decision, Refusal>) -> UserState {
        match decision {
            Ok(Decision::Replace { next, .. }) => next,
            other => panic!("expected a change, got {other:?}"),
        }
    }

    #[test]
    fn ending_an_anonymous_users_last_session_deletes_the_user() {
        let end = |session| Operation::EndSession { session, cause: Cause::LoggedOut };
        let one = user(SessionKind::AppServices);
        assert!(matches!(one.decide(&end(1), 200, &POLICY), Ok(Decision::Remove { cause: Cause::LoggedOut, .. })));
        assert_eq!(one.decide(&end(2), 200, &POLICY), Err(Refusal::SessionEnded));

        let open = Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default(), beside: None };
        let two = next(one.decide(&open, 200, &POLICY));
        assert_eq!(two.sessions().iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2]);
        let rest = next(two.decide(&end(2), 201, &POLICY));
        assert_eq!(rest.sessions().len(), 1);
        let third = next(rest.decide(&open, 202, &POLICY));
        assert_eq!(third.sessions().last().map(|s| s.number), Some(3), "a number is never reused");
        assert!(matches!(rest.decide(&end(1), 203, &POLICY), Ok(Decision::Remove { .. })));
        assert!(matches!(two.decide(&Operation::EndAll, 203, &POLICY), Ok(Decision::Remove { .. })));
    }

    /// S31, S32.
    #[test]
    fn a_refresh_token_rotates_with_one_step_of_grace() {
        let rotate = |counter| Operation::Rotate { session: 1, counter };
        let fresh = user(SessionKind::V1);
        let once = next(fresh.decide(&rotate(0), 200, &POLICY));
        assert_eq!(
            once.decide(&rotate(0), 200, &POLICY),
            Ok(Decision::Keep(Reply::Rotated { counter: 1, grace: true }))
        );
        let twice = next(once.decide(&rotate(1), 200, &POLICY));
        assert!(matches!(
            twice.decide(&rotate(0), 200, &POLICY),
            Ok(Decision::Remove { cause: Cause::ReuseDetected, reply: Reply::Reused })
        ));
        let strict = Policy { refresh_grace: false, ..POLICY };
        assert!(matches!(once.decide(&rotate(0), 200, &strict), Ok(Decision::Remove { .. })));
        assert_eq!(user(SessionKind::AppServices).decide(&rotate(0), 200, &POLICY), Err(Refusal::WrongKind));
    }

    /// The compact record counts to 65535; beyond it the session is kept in the extension record, and nothing wraps.
    #[test]
    fn an_old_refresh_token_is_old_however_many_rotations_lie_between() {
        let rotate = |counter| Operation::Rotate { session: 1, counter };
        let at = |counter: u16| {
            let mut user = user(SessionKind::V1);
            user.record.refresh_counter = counter;
            user
        };
        let old = |user: &UserState, counter| {
            let decision = user.decide(&rotate(counter), 200, &POLICY);
            assert!(matches!(decision, Ok(Decision::Remove { reply: Reply::Reused, .. })), "{counter}: {decision:?}");
        };
        for counter in [32_767, 32_768, 33_500, u16::MAX] {
            old(&at(counter), 0);
            old(&at(counter), u32::from(counter) - 2);
        }
        let mut user = at(u16::MAX);
        for counter in [65_535, 65_536, 65_537] {
            user = next(user.decide(&rotate(counter), 200, &POLICY));
            let session = user.session(1, 200, &POLICY).unwrap();
            assert_eq!((session.refresh_counter, session.number), (counter + 1, 1));
            let again = user.decide(&rotate(counter), 200, &POLICY);
            assert_eq!(again, Ok(Decision::Keep(Reply::Rotated { counter: counter + 1, grace: true })));
        }
        assert!(user.record.is_anonymous() && user.record.flags.has(Flags::EXTENDED));
        for counter in [0, 1, 2, 40_000, 65_535] {
            old(&user, counter);
        }

        // from before a backup was restored: a little ahead, and no more; nobody's session ends for it
        let restored = at(100);
        let ahead = next(restored.decide(&rotate(100 + MOST_ROTATIONS_AHEAD), 200, &POLICY));
        assert_eq!(u32::from(ahead.record.refresh_counter), 101 + MOST_ROTATIONS_AHEAD);
        for counter in [101 + MOST_ROTATIONS_AHEAD, 60_000, u32::MAX] {
            assert_eq!(restored.decide(&rotate(counter), 200, &POLICY), Err(Refusal::SessionEnded), "{counter}");
        }
        let last = user.rotated(1, u32::MAX, 200);
        let decision = last.decide(&rotate(u32::MAX), 200, &POLICY);
        assert_eq!(next(decision).session(1, 200, &POLICY).unwrap().refresh_counter, u32::MAX, "it stays there");
    }

    #[test]
    fn no_session_gets_a_number_that_another_one_had() {
        let open = Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default(), beside: None };
        let mut user = next(user(SessionKind::V1).decide(&open, 200, &POLICY));
        user.extension.as_mut().unwrap().sessions.as_mut().unwrap().highest = u32::MAX;
        assert_eq!(user.decide(&open, 200, &POLICY), Err(Refusal::SessionsUsedUp));
        let identity = IdentityKey { provider: "p".into(), external: "e".into() };
        let link = Operation::Link { identity, data: "".into(), session: 1 };
        assert_eq!(user.decide(&link, 200, &POLICY), Err(Refusal::SessionsUsedUp));
    }

    #[test]
    fn a_session_remembers_what_began_it_and_ends_with_its_key() {
        let identity = IdentityKey { provider: "local-userpass".into(), external: "e".into() };
        let opening = Opening::new(SessionKind::V1, DeviceId::default(), LoginMethod::Password);
        let (user, first) = UserState::lasting(UserId::from_bytes([7; 16]), identity, "".into(), opening, 100);
        assert_eq!(first.method, LoginMethod::Password);
        let key = |n: u8| ApiKey { id: DeviceId([n; 12]), hash: [n; 32], made: 100, disabled: false, name: "".into() };
        let mut user = user;
        user.extension.as_mut().unwrap().api_keys = vec![key(1), key(2)];
        let log_in = |user: &UserState, n: u8| {
            let identity = ApiKey::identity(&[n; 32]);
            let (kind, device, method) = (SessionKind::V1, DeviceId::default(), LoginMethod::Password);
            next(user.decide(&Operation::LogIn { identity, data: "".into(), method, kind, device }, 100, &POLICY))
        };
        let policy = Policy { max_sessions: 9, ..POLICY };
        let user = log_in(&log_in(&user, 1), 2);
        // a session that a key's session asks for is the key's too
        let beside = |n| Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default(), beside: Some(n) };
        let user = next(user.decide(&beside(2), 100, &policy));
        let user = next(user.decide(&beside(1), 100, &policy));
        let methods = |user: &UserState| user.sessions().iter().map(|s| (s.number, s.method)).collect::<Vec<_>>();
        let (one, two) = (LoginMethod::ApiKey(DeviceId([1; 12])), LoginMethod::ApiKey(DeviceId([2; 12])));
        let (password, transfer) = (LoginMethod::Password, LoginMethod::Transfer);
        assert_eq!(methods(&user), [(1, password), (2, one), (3, two), (4, one), (5, transfer)]);
        let id = DeviceId([1; 12]);
        let rest = [(1, password), (3, two), (5, transfer)];
        let disabled = next(user.decide(&Operation::SetKey { id, disabled: true }, 100, &policy));
        assert_eq!(methods(&disabled), rest);
        let enabled = next(disabled.decide(&Operation::SetKey { id, disabled: false }, 100, &policy));
        assert_eq!(methods(&enabled), rest, "what has ended has ended");
        assert_eq!(methods(&next(user.decide(&Operation::RemoveKey { id }, 100, &policy))), rest);
    }

    #[test]
    fn a_program_that_logs_in_again_and_again_ends_its_own_sessions_first() {
        let identity = IdentityKey { provider: "local-userpass".into(), external: "e".into() };
        let opening = Opening::new(SessionKind::V1, DeviceId::default(), LoginMethod::Password);
        let (mut user, _) = UserState::lasting(UserId::from_bytes([7; 16]), identity.clone(), "".into(), opening, 100);
        let key = ApiKey { id: DeviceId([1; 12]), hash: [1; 32], made: 100, disabled: false, name: "".into() };
        user.extension.as_mut().unwrap().api_keys = vec![key];
        let policy = Policy { max_sessions: 4, ..POLICY };
        let log_in = |user: &UserState, identity: &IdentityKey| {
            let (kind, device, method) = (SessionKind::V1, DeviceId::default(), LoginMethod::Password);
            let operation = Operation::LogIn { identity: identity.clone(), data: "".into(), method, kind, device };
            next(user.decide(&operation, 100, &policy))
        };
        let numbers = |user: &UserState| user.sessions().iter().map(|session| session.number).collect::<Vec<_>>();
        user = log_in(&user, &identity);
        for _ in 0..20 {
            user = log_in(&user, &ApiKey::identity(&[1; 32]));
        }
        assert_eq!(numbers(&user), [1, 2, 21, 22]);
        assert_eq!(numbers(&log_in(&user, &identity)), [2, 21, 22, 23], "a person's login ends the oldest, as ever");
    }

    #[test]
    fn a_lasting_accounts_session_ends_by_age_and_its_user_does_not() {
        let mut lasting = user(SessionKind::V1);
        lasting.record.flags = lasting.record.flags.with(Flags::LASTING, true);
        assert!(lasting.session(1, 599, &POLICY).is_some());
        assert!(lasting.session(1, 600, &POLICY).is_none());
        assert_eq!(next(lasting.decide(&Operation::EndAll, 9000, &POLICY)).sessions(), []);
    }

    #[test]
    fn disabling_suspends_and_enabling_undoes_it() {
        let before = user(SessionKind::V1);
        let disabled = next(before.decide(&Operation::Disable, 200, &POLICY));
        assert_eq!(
            disabled.decide(&Operation::Rotate { session: 1, counter: 0 }, 200, &POLICY),
            Err(Refusal::Disabled)
        );
        assert_eq!(next(disabled.decide(&Operation::Enable, 200, &POLICY)), before);
        assert_eq!(disabled.decide(&Operation::Disable, 200, &POLICY), Ok(Decision::Keep(Reply::Done)));
        assert_eq!(disabled.decide(&Operation::Enable, 1100, &POLICY), Err(Refusal::Gone), "inactivity still counts");
    }
}
