//! The sessions of a user: beginning, rotating and ending them.

use super::{Decision, UserState};
use crate::domain::change_set::Cause;
use crate::domain::clock::ServiceTime;
use crate::domain::ids::{DeviceId, SessionId, UserId};
use crate::domain::operation::{Refusal, Reply};
use crate::domain::policy::{MAX_ANONYMOUS_SESSIONS, Policy};
use crate::domain::record::{Flags, Record, SessionKind};
use crate::domain::session::{LoginMethod, Opening, Predecessor, Session, Sessions};

/// How far ahead of the record a refresh token may be: one from before a backup was restored. More than this is no such token.
pub(super) const MOST_ROTATIONS_AHEAD: u32 = 1024;

impl UserState {
    /// A live session by its number, wherever it is kept.
    pub fn session(&self, number: u32, now: ServiceTime, policy: &Policy) -> Option<Session> {
        self.sessions().into_iter().find(|session| session.number == number && self.is_live(session, now, policy))
    }

    /// The sessions that have not ended by their age, in order of their number.
    pub fn live_sessions(&self, now: ServiceTime, policy: &Policy) -> Vec<Session> {
        let mut sessions = self.sessions();
        sessions.retain(|session| self.is_live(session, now, policy));
        sessions
    }

    /// All sessions that are kept, in order of their number: also those whose age has ended them since the last change.
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

    /// The live session that replaced this one, of this user or of one who became part of it, at most `within_s` ago.
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

    /// The highest session number ever given.
    pub(super) fn highest_session(&self) -> u32 {
        let sessions = self.extension.as_ref().and_then(|extension| extension.sessions.as_ref());
        sessions.map_or(u32::from(self.record.session_no), |sessions| sessions.highest)
    }

    pub(super) fn end_session(
        &self,
        number: u32,
        cause: Cause,
        now: ServiceTime,
        policy: &Policy,
    ) -> Result<Decision, Refusal> {
        self.session(number, now, policy).ok_or(Refusal::SessionEnded)?;
        Ok(self.without(|other| other.number != number, cause, Reply::Done))
    }

    pub(super) fn end_others(&self, number: u32, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        self.session(number, now, policy).ok_or(Refusal::SessionEnded)?;
        Ok(self.without(|other| other.number == number, Cause::SessionEnded, Reply::Done))
    }

    /// Without sessions, and with every key disabled.
    pub(super) fn recovered(&self) -> Decision {
        let decision = self.without(|_| false, Cause::SessionEnded, Reply::Done);
        let Decision::Replace { mut next, cause, reply } = decision else { return decision };
        for key in next.extension.iter_mut().flat_map(|extension| &mut extension.api_keys) {
            key.disabled = true;
        }
        Decision::Replace { next, cause, reply }
    }

    /// Another session, which one of the user's own may ask for.
    pub(super) fn open(
        &self,
        kind: SessionKind,
        device: DeviceId,
        beside: Option<u32>,
        now: ServiceTime,
        policy: &Policy,
    ) -> Result<Decision, Refusal> {
        let asking = beside.map(|asking| self.session(asking, now, policy).ok_or(Refusal::SessionEnded));
        let method = match asking.transpose()?.map(|asking| asking.method) {
            // the new session gets no more rights than the one that asks, nor lasts longer than its key
            Some(key @ LoginMethod::ApiKey(_)) => key,
            Some(_) => LoginMethod::Transfer,
            None => LoginMethod::Unknown,
        };
        let opening = Opening { beside, ..Opening::new(kind, device, method) };
        let (next, opened) = self.open_session(opening, now, policy)?;
        Ok(Decision::Replace { next, cause: Cause::SessionOpened, reply: Reply::Opened(opened) })
    }

    pub(in crate::domain) fn open_session(
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
        // a session that an account's other session vouches for is as old as that one: neither its life nor its freshness begins again
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

    pub(super) fn rotate(
        &self,
        number: u32,
        counter: u32,
        now: ServiceTime,
        policy: &Policy,
    ) -> Result<Decision, Refusal> {
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
    pub(super) fn rotated(&self, number: u32, counter: u32, now: ServiceTime) -> Self {
        if let (true, Ok(counter)) = (self.record.flags.kind().is_some(), u16::try_from(counter)) {
            return Self { record: Record { refresh_counter: counter, ..self.record }, ..self.clone() };
        }
        let mut list = self.sessions();
        for session in list.iter_mut().filter(|session| session.number == number) {
            (session.refresh_counter, session.seen) = (counter, now);
        }
        self.with_sessions(Sessions { highest: self.highest_session(), list })
    }

    pub(super) fn seen(&self, number: u32, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
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
    pub(super) fn without(&self, stays: impl Fn(&Session) -> bool, cause: Cause, reply: Reply) -> Decision {
        let mut list = self.sessions();
        list.retain(stays);
        if list.is_empty() && self.record.is_anonymous() {
            return Decision::Remove { cause, reply };
        }
        Decision::Replace { next: self.with_sessions(Sessions { highest: self.highest_session(), list }), cause, reply }
    }

    /// A user who was just created, whose session has this number.
    #[must_use]
    pub fn numbered(self, number: u32) -> Self {
        let mut list = self.sessions();
        list.iter_mut().for_each(|session| session.number = number);
        let mut next = self.with_sessions(Sessions { highest: number, list });
        // it tells that the user never came back
        next.record.session_started = self.record.session_started;
        next
    }

    /// With its sessions in the extension record, where they stay.
    pub(super) fn with_sessions(&self, sessions: Sessions) -> Self {
        let mut next = self.clone();
        next.extension.get_or_insert_default().sessions = Some(sessions);
        next.record.flags = next.record.flags.with(Flags::EXTENDED, true).with_kind(None);
        next.record.session_no = 0;
        next.record.session_started = 0;
        next.record.refresh_counter = 0;
        next.record.epoch = 0;
        next
    }
}
