//! A user's state and every change it can go through, as pure functions: the session actor and the direct path both use them.

use super::change::{Cause, ExtensionChange, Op};
use super::clock::ServiceTime;
use super::extension::{Extension, Session, Sessions};
use super::ids::{DeviceId, UserId};
use super::record::{Flags, Record, SessionKind};

/// The rules that an operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Seconds of inactivity after which an anonymous user is gone.
    pub window_s: u32,
    /// How old `last_seen` must be before a use renews it (seconds); at most `window_s / 24`.
    pub touch_granularity_s: u32,
    /// How long a session of a lasting account lives (seconds, not sliding).
    pub session_lifetime_s: u32,
    /// Whether the refresh token before the current one still gets the current one again (S32).
    pub refresh_grace: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { window_s: 90 * 86_400, touch_granularity_s: 3600, session_lifetime_s: 60 * 86_400, refresh_grace: true }
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
}

/// What can be done to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Rotates the refresh token of a `/v1` session; `counter` is the presented token's.
    Rotate {
        /// The session's number.
        session: u32,
        /// The presented token's counter.
        counter: u16,
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
    },
}

impl Operation {
    /// Whether finding that there is nothing left to end means that it is done.
    pub fn ends_something(&self) -> bool {
        matches!(self, Self::EndSession { .. } | Self::EndAll | Self::Delete { .. })
    }
}

/// What an operation answers when it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The counter of the refresh token to hand out; `grace` if it had been handed out before.
    Rotated {
        /// Counter of the current token.
        counter: u16,
        /// Whether the presented token was the one before.
        grace: bool,
    },
    /// The session had been used beyond its grace and is now over.
    Reused,
    /// The new session.
    Opened(Session),
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
}

/// What follows from an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
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
                started: self.record.session_started,
                epoch: self.record.epoch,
                refresh_counter: self.record.refresh_counter,
                device: DeviceId::default(),
                anonymous_at_start: true,
            })
            .into_iter()
            .collect()
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
                Ok(self.without(Some(*session), *cause, Reply::Done))
            }
            Operation::EndAll => Ok(self.without(None, Cause::SessionEnded, Reply::Done)),
            Operation::Delete { cause } => Ok(Decision::Remove { cause: *cause, reply: Reply::Done }),
            Operation::Disable => Ok(self.disabled(true, Cause::Disabled)),
            Operation::Enable => Ok(self.disabled(false, Cause::Enabled)),
            Operation::OpenSession { kind, device } => {
                if self.record.flags.has(Flags::DISABLED) {
                    return Err(Refusal::Disabled);
                }
                let mut list = self.sessions();
                let highest = self
                    .extension
                    .as_ref()
                    .and_then(|extension| extension.sessions.as_ref())
                    .map_or(u32::from(self.record.session_no), |sessions| sessions.highest);
                let opened = Session {
                    number: highest + 1,
                    kind: *kind,
                    started: now,
                    epoch: 0,
                    refresh_counter: 0,
                    device: *device,
                    anonymous_at_start: self.record.is_anonymous(),
                };
                list.push(opened.clone());
                let next = self.with_sessions(Sessions { highest: opened.number, list });
                Ok(Decision::Replace { next, cause: Cause::SessionOpened, reply: Reply::Opened(opened) })
            }
        }
    }

    /// The operation that carries a decision out, seen from this state; `None` if nothing changes.
    pub fn op(&self, decision: &Decision) -> Option<(Cause, Op)> {
        match decision {
            Decision::Keep(_) => None,
            Decision::Replace { next, cause, .. } => {
                let extension = if next.extension == self.extension {
                    ExtensionChange::Keep
                } else {
                    next.extension.as_ref().map_or(ExtensionChange::Remove, |e| ExtensionChange::Put(e.encode()))
                };
                Some((*cause, Op::Update { id: self.id, seen: self.record.version, record: next.record, extension }))
            }
            Decision::Remove { cause, .. } => Some((*cause, Op::Remove { id: self.id, seen: self.record.version })),
        }
    }

    /// The state once a decision is carried out, none if the user is then gone; and the answer.
    pub fn after(self, decision: Decision) -> (Option<Self>, Reply) {
        match decision {
            Decision::Keep(reply) => (Some(self), reply),
            Decision::Replace { mut next, reply, .. } => {
                next.record.version = self.record.version.wrapping_add(1);
                (Some(next), reply)
            }
            Decision::Remove { reply, .. } => (None, reply),
        }
    }

    fn rotate(&self, number: u32, counter: u16, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        if self.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        let session = self.session(number, now, policy).ok_or(Refusal::SessionEnded)?;
        if session.kind != SessionKind::V1 {
            return Err(Refusal::WrongKind);
        }
        // counters wrap, so their order is the sign of their difference
        let behind = session.refresh_counter.wrapping_sub(counter).cast_signed();
        match behind {
            1 if policy.refresh_grace => {
                Ok(Decision::Keep(Reply::Rotated { counter: session.refresh_counter, grace: true }))
            }
            1.. => Ok(self.without(Some(number), Cause::ReuseDetected, Reply::Reused)),
            // A token ahead of the record is ours, from before a backup was restored: not reuse.
            ..=0 => {
                let counter = counter.wrapping_add(1);
                let mut next = self.clone();
                match next.extension.as_mut().and_then(|extension| extension.sessions.as_mut()) {
                    None => next.record.refresh_counter = counter,
                    Some(sessions) => {
                        sessions
                            .list
                            .iter_mut()
                            .filter(|s| s.number == number)
                            .for_each(|s| s.refresh_counter = counter);
                    }
                }
                Ok(Decision::Replace { next, cause: Cause::Refreshed, reply: Reply::Rotated { counter, grace: false } })
            }
        }
    }

    /// Without one session, or without any. An anonymous user without a session is gone.
    fn without(&self, number: Option<u32>, cause: Cause, reply: Reply) -> Decision {
        let mut list = self.sessions();
        list.retain(|session| number.is_some_and(|number| session.number != number));
        if list.is_empty() && self.record.is_anonymous() {
            return Decision::Remove { cause, reply };
        }
        let highest = self.extension.as_ref().and_then(|e| e.sessions.as_ref()).map_or(0, |sessions| sessions.highest);
        Decision::Replace { next: self.with_sessions(Sessions { highest, list }), cause, reply }
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
        Policy { window_s: 1000, touch_granularity_s: 10, session_lifetime_s: 500, refresh_grace: true };

    fn user(kind: SessionKind) -> UserState {
        UserState { id: UserId::from_bytes([7; 16]), record: Record::new(100, kind), extension: None }
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

        let open = Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default() };
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

        let mut last = fresh;
        last.record.refresh_counter = u16::MAX;
        assert_eq!(next(last.decide(&rotate(u16::MAX), 200, &POLICY)).record.refresh_counter, 0, "it wraps");
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
