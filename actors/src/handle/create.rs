//! Creating users who are anonymous: at a login, or when a reader comes back with a lazy cookie.

use std::sync::atomic::Ordering;

use super::Handle;
use super::check::Live;
use crate::actor::{Error, LoggedIn, ProposeUser, Settled};
use crate::domain::{
    Cause, ChangeSet, Flags, IdForm, Op, Record, Refusal, Rewrite, SessionId, SessionKind, UserId, ValueKey,
};

impl Handle {
    /// Creates an anonymous user with a session of this kind. Durable when answered.
    ///
    /// # Errors
    /// `Capacity`, or any that is not `Refused`.
    pub async fn login(&self, kind: SessionKind, form: IdForm) -> Result<LoggedIn, Error> {
        let (core, proposer) = (self.core(), self.worker.router.proposer());
        // an id that exists already would be one in 2^64: trying twice is plenty
        for _ in 0..2 {
            let permit = core.permit()?;
            let (reply, settled) = proposer.expect(Some(permit), Some(core.limits.commit_timeout));
            let proposed = self.worker.supervisor.send(ProposeUser { kind, form, reply }).await;
            let (user, record) = proposed.map_err(|_| Error::Stopping)??;
            if settled.await? == Settled::Done {
                let number = u32::from(record.session_no);
                self.core().stats.logins.fetch_add(1, Ordering::Relaxed);
                let session = SessionId::derive(&user, number);
                return Ok(LoggedIn { user, number, session, epoch: record.epoch });
            }
        }
        Err(Error::Busy)
    }

    /// An id for a reader who is not stored yet.
    pub fn new_reader_id(&self) -> UserId {
        self.core().new_id(IdForm::TimeOrdered)
    }

    /// The session that a lazy cookie began, if its reader is there and the session lives; `None` as long as the reader is not created.
    ///
    /// # Errors
    /// `Refused`: the reader has ended, whether or not it was ever created, or was linked: the lazy cookie is no longer valid.
    pub fn lazy(&self, user: &UserId) -> Result<Option<Live>, Error> {
        let store = &self.core().store;
        if store.value(&ValueKey::ended_lazy(user)).is_some() {
            return Err(self.core().refuse(Refusal::Gone));
        }
        if store.record(user).is_none() {
            return Ok(None);
        }
        self.created_lazily(user).map(Some)
    }

    /// The first session of a reader who was created with a lazy cookie, if it lives.
    fn created_lazily(&self, user: &UserId) -> Result<Live, Error> {
        let number = u32::from(Record::created_lazily(0).session_no);
        let session = SessionId::derive(user, number);
        let live = self.live_session(user, &session, None).map_err(|refusal| self.core().refuse(refusal))?;
        if live.kind != SessionKind::Cookie || !live.record.flags.has(Flags::MADE_LAZILY) {
            return Err(self.core().refuse(Refusal::Gone));
        }
        Ok(live)
    }

    /// The session of a reader who is stored.
    fn known_lazily(&self, user: &UserId) -> Result<LoggedIn, Error> {
        let Live { number, epoch, .. } = self.created_lazily(user)?;
        Ok(LoggedIn { user: *user, number, session: SessionId::derive(user, number), epoch })
    }

    /// Creates the reader whom a lazy cookie names, with a cookie session; if it was created before and its first session still
    /// lives, that is the answer. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: the reader was created and has ended, or was linked: the lazy cookie is no longer valid. `Capacity`.
    pub async fn create_lazily(&self, user: &UserId) -> Result<LoggedIn, Error> {
        let core = self.core();
        if core.store.record(user).is_some() {
            return self.known_lazily(user);
        }
        core.writable()?;
        core.room_for_user()?;
        core.room_for_ended()?;
        let permit = core.permit()?;
        let (now, ended) = (core.store.clock().now(), ValueKey::ended_lazy(user));
        let ops = vec![
            Op::Value { key: ended, seen: None, change: Rewrite::Keep },
            Op::Create { id: *user, record: Record::created_lazily(now), extension: None },
        ];
        let set = ChangeSet::new(Cause::Created, now, ops);
        match self.worker.router.proposer().once(set, permit).await? {
            Settled::Done => {
                core.stats.logins.fetch_add(1, Ordering::Relaxed);
                self.known_lazily(user)
            }
            Settled::Conflict { op: 0 } => Err(core.refuse(Refusal::Gone)),
            // a concurrent request of the same reader was faster
            Settled::Conflict { .. } => self.known_lazily(user),
        }
    }

    /// Ends the id of a lazy cookie, whether or not its reader is created meanwhile. Durable when answered.
    ///
    /// # Errors
    /// As [`logout`](Self::logout), but for `Refused`: an id that has ended already has ended. `Capacity`: as many such ids are
    /// kept as may be, and this one is not; then no reader with a lazy cookie is created either.
    pub async fn end_lazily(&self, user: &UserId) -> Result<(), Error> {
        let core = self.core();
        core.writable()?;
        if core.store.record(user).is_none() {
            core.room_for_ended()?;
        }
        let permit = core.permit()?;
        let now = core.store.clock().now();
        let change = Rewrite::Put(Box::new(now.to_be_bytes()));
        let ops = vec![Op::Value { key: ValueKey::ended_lazy(user), seen: None, change }];
        let set = ChangeSet::new(Cause::LoggedOut, now, ops);
        // in a conflict, it has ended before
        self.worker.router.proposer().once(set, permit).await?;
        // from here on the reader cannot be created; one who was created before is logged out
        match self.logout(user, Record::created_lazily(0).session_no.into()).await {
            Ok(()) | Err(Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
