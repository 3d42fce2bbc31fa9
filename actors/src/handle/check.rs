//! Whether a session is live: the path of every request that brings a token. It enters no mailbox and waits for nothing.

use std::sync::atomic::Ordering;

use super::Handle;
use crate::actor::{CREDENTIAL_COSTS, Error, event};
use crate::domain::{
    Flags, LOCAL_USERPASS, LoginMethod, Operation, Policy, Record, Refusal, ServiceTime, Session, SessionId,
    SessionKind, Touched, UserId, UserState,
};

/// The number of the session that an anonymous user is created with.
const FIRST_SESSION: u32 = 1;
/// Of what is written about the user and about no session.
pub(super) const NO_SESSION: u32 = 0;

/// A live session, as a token check finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The user.
    pub user: UserId,
    /// The session's number.
    pub number: u32,
    /// Which API the session serves.
    pub kind: SessionKind,
    /// What began the session: what it may do goes by that.
    pub method: LoginMethod,
    /// When the session began.
    pub started: ServiceTime,
    /// Its epoch.
    pub epoch: u8,
    /// The user's compact record, as it was before this use.
    pub record: Record,
    /// The room of so many users no longer belongs to one who never came back: this use is the first return of a user who was
    /// created, or of an account whose name was registered. Said of one use alone, however many come at once.
    pub returned: usize,
}

/// The room of how many users a use at `now` gives back, which raises the last activity in `before`: see [`Live::returned`].
fn returned(before: &Record, extended: Option<&UserState>, now: ServiceTime, policy: &Policy) -> usize {
    // the last activity is within the first while of what began then, and this one is not
    let is_first = |since: ServiceTime| {
        let known = since.saturating_add(policy.touch_granularity_s);
        before.last_seen < known && known <= now
    };
    // whom an operator created took no room of any network
    let is_by_hand = before.flags.has(Flags::BY_HAND);
    if is_by_hand && (before.is_anonymous() || before.flags.has(Flags::BORN_LASTING)) {
        return 0;
    }
    match extended {
        None => usize::from(is_first(before.session_started)),
        Some(user) if before.is_anonymous() => {
            let first = user.sessions().into_iter().find(|session| session.number == FIRST_SESSION);
            usize::from(first.is_some_and(|session| is_first(session.started)))
        }
        Some(user) => {
            let named = user.identities().iter().find(|identity| *identity.key.provider == *LOCAL_USERPASS);
            if named.is_some_and(|identity| is_first(identity.linked)) { CREDENTIAL_COSTS } else { 0 }
        }
    }
}

impl Handle {
    /// Checks that a session is live and marks activity. Enters no mailbox and waits for nothing. `epoch` is an access
    /// token's; a refresh token has none.
    ///
    /// # Errors
    /// `Refused`: the user is gone or disabled, or the session has ended. While the store cannot write: `NotWritable`.
    pub fn check(&self, user: &UserId, session: &SessionId, epoch: Option<u8>) -> Result<Live, Error> {
        self.core().stats.checks.fetch_add(1, Ordering::Relaxed);
        self.live_session(user, session, epoch).map_err(|refusal| {
            event::denied(user, refusal);
            if refusal == Refusal::Gone {
                self.core().note_stranger(user);
            }
            self.core().refuse(refusal)
        })
    }

    /// The live session that took the place of a reader's session by a link or a merge, at most `within_s` ago. Marks
    /// activity, as [`check`](Self::check) does.
    ///
    /// # Errors
    /// `Refused`: there is none, or its user is disabled. While the store cannot write: `NotWritable`.
    pub fn successor(&self, user: &UserId, ended: &SessionId, within_s: u32) -> Result<Live, Error> {
        let (store, policy) = (&self.core().store, &self.core().policy());
        let survivor = || store.survivor(user).and_then(|survivor| store.load(&survivor));
        let state = store.load(user).or_else(survivor).ok_or_else(|| self.core().refuse(Refusal::Gone))?;
        let session = state.successor(user, ended, store.clock().now(), within_s, policy);
        let session = session.ok_or_else(|| self.core().refuse(Refusal::SessionEnded))?;
        let session = SessionId::derive(&state.id, session.number);
        self.live_session(&state.id, &session, None).map_err(|refusal| self.core().refuse(refusal))
    }

    pub(super) fn live_session(&self, user: &UserId, session: &SessionId, epoch: Option<u8>) -> Result<Live, Refusal> {
        let (store, policy) = (&self.core().store, &self.core().policy());
        let now = store.clock().now();
        let record = store.record(user).ok_or(Refusal::Gone)?;
        if record.is_expired(now, policy.window_s) {
            return Err(Refusal::Gone);
        }
        if record.flags.has(Flags::DISABLED) {
            let wall_ms = store.clock().wall_ms();
            if !self.is_suspension_over(user, wall_ms) {
                return Err(Refusal::Disabled);
            }
            self.note(*user, NO_SESSION, Operation::Lift { wall_ms });
        }
        match record.flags.kind() {
            Some(kind) if record.is_anonymous() => {
                let number = u32::from(record.session_no);
                let is_it =
                    SessionId::derive(user, number) == *session && epoch.is_none_or(|epoch| epoch == record.epoch);
                if !is_it {
                    return Err(Refusal::SessionEnded);
                }
                let (method, started) = (LoginMethod::Anonymous, record.session_started);
                let returned = self.touch(user, &record, None, now)?;
                Ok(Live { user: *user, number, kind, method, started, epoch: record.epoch, record, returned })
            }
            _ => self.live_session_of_several(user, session, epoch, now),
        }
    }

    /// The same of a user whose sessions are in the extension record.
    fn live_session_of_several(
        &self,
        user: &UserId,
        session: &SessionId,
        epoch: Option<u8>,
        now: ServiceTime,
    ) -> Result<Live, Refusal> {
        let (store, policy) = (&self.core().store, &self.core().policy());
        let state = store.load(user).ok_or(Refusal::Gone)?;
        let found = state.sessions().into_iter().find(|s| SessionId::derive(user, s.number) == *session);
        let found = found.and_then(|s| state.session(s.number, now, policy));
        let found = found.filter(|s| epoch.is_none_or(|epoch| epoch == s.epoch)).ok_or(Refusal::SessionEnded)?;
        if now.saturating_sub(found.seen) >= policy.seen_granularity_s() {
            self.note(*user, found.number, Operation::Seen { session: found.number });
        }
        let returned = self.touch(user, &state.record, Some(&state), now)?;
        let Session { number, kind, method, started, epoch, .. } = found;
        Ok(Live { user: *user, number, kind, method, started, epoch, record: state.record, returned })
    }

    /// Marks activity, if the last is not recent: the room of how many users that gives back.
    fn touch(
        &self,
        user: &UserId,
        record: &Record,
        extended: Option<&UserState>,
        now: ServiceTime,
    ) -> Result<usize, Refusal> {
        let (store, policy) = (&self.core().store, &self.core().policy());
        if now.saturating_sub(record.last_seen) < policy.touch_granularity_s {
            return Ok(0);
        }
        match store.touch(user, policy.window_s, policy.touch_granularity_s) {
            Touched::Gone => Err(Refusal::Gone),
            Touched::Recent => Ok(0),
            Touched::Raised(at) => {
                self.count_return(record, at);
                if at != record.last_seen {
                    self.core().listing.note_seen(*user);
                }
                Ok(returned(record, extended, at, policy))
            }
        }
    }

    /// Counts a use after a while, at most one an hour of a user where nothing else is set.
    fn count_return(&self, before: &Record, at: ServiceTime) {
        let (stats, clock) = (&self.core().stats, self.core().store.clock());
        let day = |time| clock.to_wall_s(time).div_euclid(86_400);
        let is_first_of_day = day(before.last_seen) < day(at);
        let of_whom = 1 + usize::from(before.is_anonymous());
        let that_day = &stats.returned_that_day[..if is_first_of_day { of_whom } else { 0 }];
        for count in stats.returned[..of_whom].iter().chain(that_day) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if before.is_unused() && before.is_visitor() {
            stats.came_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes that a session is in use, or that a suspension is over. No caller waits for it, and if it fails the next check does it.
    pub(super) fn note(&self, user: UserId, session: u32, operation: Operation) {
        if !self.worker.noting.borrow_mut().insert((user, session)) {
            return;
        }
        let handle = self.clone();
        actix_rt::spawn(async move {
            drop(handle.worker.router.perform(&user, operation).await);
            handle.worker.noting.borrow_mut().remove(&(user, session));
        });
    }
}
