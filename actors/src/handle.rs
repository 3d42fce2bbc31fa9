//! The one door to the core: an async function for each operation, with its permit, its retry and its errors.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor, Addr};
use smallvec::smallvec;
use tokio::sync::OwnedSemaphorePermit;

use crate::actor::{
    Attach, CREDENTIAL_COSTS, Core, Hello, Inbox, Login, Perform, Progress, Supervisor, activate, event, pass_on,
    rest_if_gone,
};
use crate::domain::{
    ApiKey, Cause, Change, ChangeSet, Count, Decision, DeviceId, Edit, Edited, Expected, Family, Flags, LOCAL_USERPASS,
    LoginMethod, Op, Operation, OperationId, Outcome, Policy, Reading, Record, Refusal, Reply, Rewrite, ServiceTime,
    SessionId, SessionKind, UserId, UserState, ValueKey,
};
use crate::registry::Touched;
use crate::store::{Completions, Health};

pub use crate::actor::{Error, IdForm, LoggedIn};

/// How often a change to a resting user is tried again when a different one was faster: no actor puts such changes in order, and the
/// note that a session is in use may be among them.
const DIRECT_TRIES: usize = 4;

/// The number of the session that an anonymous user is created with.
const FIRST_SESSION: u32 = 1;

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

/// A worker's way into the core. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Handle {
    worker: Rc<Worker>,
}

struct Worker {
    core: Arc<Core>,
    number: usize,
    completions: Rc<Completions>,
    supervisor: Addr<Supervisor>,
    /// Sessions whose use is being written: one note each, however many checks there are meanwhile.
    noting: RefCell<HashSet<(UserId, u32)>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.core.remove_worker(self.number);
    }
}

/// Gives a lease back, also when its holder is dropped.
struct LeaseGuard<'a> {
    core: &'a Core,
    id: UserId,
    incarnation: u64,
}

impl Drop for LeaseGuard<'_> {
    fn drop(&mut self) {
        self.core.directory.release(&self.id, self.incarnation);
    }
}

/// Keeps a user live for as long as it is held.
struct KeptLive {
    core: Arc<Core>,
    id: UserId,
    incarnation: u64,
}

impl Drop for KeptLive {
    fn drop(&mut self) {
        self.core.directory.release(&self.id, self.incarnation);
        rest_if_gone(&self.core, &self.id);
    }
}

/// A socket's place at its user's actor.
pub struct Attachment {
    /// What the socket is sent first.
    pub hello: Hello,
    /// What it is sent from then on.
    pub inbox: Inbox,
    /// Names it as the origin of its own changes.
    pub socket: u64,
    _live: KeptLive,
}

/// The room of how many users a use at `now` gives back, which raises the last activity in `before`: see [`Live::returned`].
fn returned(before: &Record, extended: Option<&UserState>, now: ServiceTime, policy: &Policy) -> usize {
    // the last activity is within the first while of what began then, and this one is not
    let is_first = |since: ServiceTime| {
        let known = since.saturating_add(policy.touch_granularity_s);
        before.last_seen < known && known <= now
    };
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
    /// A handle on this thread's arbiter, with a supervisor of its own.
    pub fn new(core: Arc<Core>) -> Self {
        crate::stall::watch();
        let completions = Rc::<Completions>::default();
        let number = core.add_worker(Arc::clone(completions.queue()));
        let for_notices = Arc::clone(&core);
        actix_rt::spawn(Rc::clone(&completions).run(move |applied| pass_on(&for_notices, applied)));
        let supervisor = Supervisor::new(Arc::clone(&core), number).start();
        Self { worker: Rc::new(Worker { core, number, completions, supervisor, noting: RefCell::default() }) }
    }

    /// What all workers share.
    pub fn core(&self) -> &Arc<Core> {
        &self.worker.core
    }

    /// A refusal as the caller may pass it on: while the store cannot write, no session is called over.
    fn refuse(&self, refusal: Refusal) -> Error {
        match self.core().store.health() {
            Health::Writable => Error::Refused(refusal),
            Health::Failing => Error::NotWritable,
            Health::Stopped => Error::Stopping,
        }
    }

    /// Creates an anonymous user with a session of this kind. Durable when answered.
    ///
    /// # Errors
    /// `Capacity`, or any that is not `Refused`.
    pub async fn login(&self, kind: SessionKind, form: IdForm) -> Result<LoggedIn, Error> {
        // an id that exists already would be one in 2^64: trying twice is plenty
        for _ in 0..2 {
            let permit = self.core().permit()?;
            let (reply, outcome) = self.worker.completions.register(1);
            let login = self.worker.supervisor.send(Login { kind, form, reply: reply.holding(permit) });
            let (user, record) = login.await.map_err(|_| Error::Stopping)??;
            match outcome.within(self.core().limits.commit_timeout).await.first() {
                Some(Outcome::Done) => {
                    self.core().stats.logins.fetch_add(1, Ordering::Relaxed);
                    event::changed(&user, Cause::Created);
                    let number = u32::from(record.session_no);
                    let session = SessionId::derive(&user, number);
                    return Ok(LoggedIn { user, number, session, epoch: record.epoch });
                }
                Some(Outcome::Conflict { .. }) => {}
                Some(Outcome::Failed) | None => return Err(Error::OutcomeUnknown),
            }
        }
        Err(Error::Busy)
    }

    /// An id for a reader who is not stored yet.
    pub fn new_reader_id(&self) -> UserId {
        self.core().new_id(IdForm::TimeOrdered)
    }

    /// The session that a lazy cookie began, if its reader is stored and the session lives.
    ///
    /// # Errors
    /// `Refused`: the reader is not stored, has ended, or was linked: the lazy cookie is worth nothing (any more).
    pub fn made_lazily(&self, user: &UserId) -> Result<Live, Error> {
        let number = u32::from(Record::made_lazily(0).session_no);
        let session = SessionId::derive(user, number);
        let live = self.live_session(user, &session, None).map_err(|refusal| self.refuse(refusal))?;
        if live.kind != SessionKind::Cookie || !live.record.flags.has(Flags::MADE_LAZILY) {
            return Err(self.refuse(Refusal::Gone));
        }
        Ok(live)
    }

    /// Creates the reader that a lazy cookie names, with a cookie session; if it was created before and its first session still
    /// lives, that is the answer. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: the reader was created and has ended, or was linked: the lazy cookie is worth nothing any more. `Capacity`.
    pub async fn make_lazily(&self, user: &UserId) -> Result<LoggedIn, Error> {
        let core = self.core();
        let known = |user: &UserId| {
            let live = self.made_lazily(user)?;
            let session = SessionId::derive(user, live.number);
            Ok(LoggedIn { user: *user, number: live.number, session, epoch: live.epoch })
        };
        if core.store.registry().record(user).is_some() {
            return known(user);
        }
        if core.store.health() != Health::Writable {
            return Err(self.refuse(Refusal::Gone));
        }
        let registry = core.store.registry();
        if registry.len() >= core.limits.max_users || registry.keys(Family::ENDED_LAZY) >= core.most_ended() {
            return Err(Error::Capacity);
        }
        let permit = core.permit()?;
        let (now, ended) = (core.store.clock().now(), ValueKey::ended_lazy(user));
        let ops = vec![
            Op::Value { key: ended, seen: None, change: Rewrite::Keep },
            Op::Create { id: *user, record: Record::made_lazily(now), extension: None },
        ];
        let (reply, outcome) = self.worker.completions.register(1);
        let set = ChangeSet { cause: Cause::Created, at: now, ops };
        core.store.commit(smallvec![set], reply.holding(permit));
        match outcome.within(core.limits.commit_timeout).await.first() {
            Some(Outcome::Done) => {
                core.stats.logins.fetch_add(1, Ordering::Relaxed);
                event::changed(user, Cause::Created);
                known(user)
            }
            Some(Outcome::Conflict { op: 0 }) => Err(self.refuse(Refusal::Gone)),
            // a different request of the same reader was faster
            Some(Outcome::Conflict { .. }) => known(user),
            Some(Outcome::Failed) | None => Err(Error::OutcomeUnknown),
        }
    }

    /// Ends the id of a lazy cookie, whether or not its reader is created meanwhile. Durable when answered.
    ///
    /// # Errors
    /// As [`logout`](Self::logout), but for `Refused`: an id that has ended already has ended. `Capacity`: as many such ids are
    /// kept as may be, and this one is not; then no reader with a lazy cookie is created either.
    pub async fn end_lazily(&self, user: &UserId) -> Result<(), Error> {
        let core = self.core();
        if core.store.health() != Health::Writable {
            return Err(self.refuse(Refusal::Gone));
        }
        let registry = core.store.registry();
        if registry.record(user).is_none() && registry.keys(Family::ENDED_LAZY) >= core.most_ended() {
            return Err(Error::Capacity);
        }
        let permit = core.permit()?;
        let now = core.store.clock().now();
        let change = Rewrite::Put(Box::new(now.to_be_bytes()));
        let ops = vec![Op::Value { key: ValueKey::ended_lazy(user), seen: None, change }];
        let (reply, outcome) = self.worker.completions.register(1);
        core.store.commit(smallvec![ChangeSet { cause: Cause::LoggedOut, at: now, ops }], reply.holding(permit));
        match outcome.within(core.limits.commit_timeout).await.first() {
            // it has ended before
            Some(Outcome::Done | Outcome::Conflict { .. }) => {}
            Some(Outcome::Failed) | None => return Err(Error::OutcomeUnknown),
        }
        // from here on the reader cannot be created; one who was created before is logged out
        match self.logout(user, Record::made_lazily(0).session_no.into()).await {
            Ok(()) | Err(Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Checks that a session is live and marks activity. Enters no mailbox and waits for nothing. `epoch` is an access
    /// token's; a refresh token has none.
    ///
    /// # Errors
    /// `Refused`: the user is gone or disabled, or the session has ended. While the store cannot write: `NotWritable`.
    pub fn check(&self, user: &UserId, session: &SessionId, epoch: Option<u8>) -> Result<Live, Error> {
        self.live_session(user, session, epoch).map_err(|refusal| {
            event::denied(user, refusal);
            if refusal == Refusal::Gone {
                self.core().note_stranger(user);
            }
            self.refuse(refusal)
        })
    }

    /// The live session that took the place of a reader's session by a link or a merge, at most `within_s` ago. Marks
    /// activity, as [`check`](Self::check) does.
    ///
    /// # Errors
    /// `Refused`: there is none, or its user is disabled. While the store cannot write: `NotWritable`.
    pub fn successor(&self, user: &UserId, ended: &SessionId, within_s: u32) -> Result<Live, Error> {
        let (store, policy) = (&self.core().store, &self.core().policy);
        let registry = store.registry();
        let survivor = || registry.survivor(user).and_then(|survivor| store.load(&survivor));
        let state = store.load(user).or_else(survivor).ok_or_else(|| self.refuse(Refusal::Gone))?;
        let session = state.successor(user, ended, store.clock().now(), within_s, policy);
        let session = session.ok_or_else(|| self.refuse(Refusal::SessionEnded))?;
        let session = SessionId::derive(&state.id, session.number);
        self.live_session(&state.id, &session, None).map_err(|refusal| self.refuse(refusal))
    }

    fn live_session(&self, user: &UserId, session: &SessionId, epoch: Option<u8>) -> Result<Live, Refusal> {
        let (store, policy) = (&self.core().store, &self.core().policy);
        let (registry, now) = (store.registry(), store.clock().now());
        let record = registry.record(user).ok_or(Refusal::Gone)?;
        if record.is_expired(now, policy.window_s) {
            return Err(Refusal::Gone);
        }
        if record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        let (mut unseen, mut of_account) = (false, None);
        let live = match record.flags.kind() {
            Some(kind) if record.is_anonymous() => {
                let number = u32::from(record.session_no);
                (SessionId::derive(user, number) == *session).then_some(Live {
                    user: *user,
                    number,
                    kind,
                    method: LoginMethod::Anonymous,
                    started: record.session_started,
                    epoch: record.epoch,
                    record,
                    returned: 0,
                })
            }
            _ => {
                let state = store.load(user).ok_or(Refusal::Gone)?;
                let found = state.sessions().into_iter().find(|s| SessionId::derive(user, s.number) == *session);
                let found = found.and_then(|s| state.session(s.number, now, policy));
                unseen = found.as_ref().is_some_and(|s| now.saturating_sub(s.seen) >= policy.seen_granularity_s());
                let found = found.map(|s| Live {
                    user: *user,
                    number: s.number,
                    kind: s.kind,
                    method: s.method,
                    started: s.started,
                    epoch: s.epoch,
                    record: state.record,
                    returned: 0,
                });
                of_account = Some(state);
                found
            }
        };
        let mut live =
            live.filter(|live| epoch.is_none_or(|epoch| epoch == live.epoch)).ok_or(Refusal::SessionEnded)?;
        if unseen {
            self.note_seen(*user, live.number);
        }
        if now.saturating_sub(record.last_seen) >= policy.touch_granularity_s {
            let touched = registry.touch(user, || store.clock().now(), policy.window_s, policy.touch_granularity_s);
            match touched {
                Touched::Gone => return Err(Refusal::Gone),
                Touched::Recent => {}
                Touched::Raised(at) => {
                    store.note_touch(*user, at);
                    live.returned = returned(&live.record, of_account.as_ref(), at, policy);
                }
            }
        }
        Ok(live)
    }

    /// Writes that a session is in use. No caller waits for it, and if it fails the next check does it.
    fn note_seen(&self, user: UserId, session: u32) {
        if !self.worker.noting.borrow_mut().insert((user, session)) {
            return;
        }
        let handle = self.clone();
        actix_rt::spawn(async move {
            drop(handle.route(&user, Operation::Seen { session }).await);
            handle.worker.noting.borrow_mut().remove(&(user, session));
        });
    }

    /// A user with all that is kept about them, if they live.
    pub fn load(&self, user: &UserId) -> Option<UserState> {
        let (store, policy) = (&self.core().store, &self.core().policy);
        store.load(user).filter(|state| !state.record.is_expired(store.clock().now(), policy.window_s))
    }

    /// Rotates the refresh token of a `/v1` session. Answers the counter of the token to hand out.
    ///
    /// # Errors
    /// `Refused`: gone, ended, disabled, of a wrong kind, or ended just now because the token was used again (S31).
    pub async fn rotate(&self, user: &UserId, session: u32, counter: u32) -> Result<u32, Error> {
        let stats = &self.core().stats;
        match self.perform(user, Operation::Rotate { session, counter }).await? {
            Reply::Rotated { counter, grace } => {
                stats.grace_uses.fetch_add(u64::from(grace), Ordering::Relaxed);
                Ok(counter)
            }
            _ => {
                stats.reuses.fetch_add(1, Ordering::Relaxed);
                Err(Error::Refused(Refusal::SessionEnded))
            }
        }
    }

    /// Ends a session on its client's behalf, which deletes an anonymous user whose last it was.
    ///
    /// # Errors
    /// `Refused`: gone or ended already.
    pub async fn logout(&self, user: &UserId, session: u32) -> Result<(), Error> {
        self.perform(user, Operation::EndSession { session, cause: Cause::LoggedOut }).await.map(drop)
    }

    /// Deletes a user on its own behalf.
    ///
    /// # Errors
    /// `Refused`: gone already.
    pub async fn delete(&self, user: &UserId) -> Result<(), Error> {
        self.perform(user, Operation::Delete { cause: Cause::DeletedByUser }).await.map(drop)
    }

    /// Suspends a user: every token is refused while it lasts, sessions stay, inactivity counts.
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn disable(&self, user: &UserId) -> Result<(), Error> {
        self.perform(user, Operation::Disable).await.map(drop)
    }

    /// Undoes [`disable`](Self::disable).
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn enable(&self, user: &UserId) -> Result<(), Error> {
        self.perform(user, Operation::Enable).await.map(drop)
    }

    /// Ends a session on an administrator's behalf.
    ///
    /// # Errors
    /// `Refused`: gone or ended already.
    pub async fn end_session(&self, user: &UserId, session: u32) -> Result<(), Error> {
        self.perform(user, Operation::EndSession { session, cause: Cause::SessionEnded }).await.map(drop)
    }

    /// Ends every session but one.
    ///
    /// # Errors
    /// `Refused`: gone, or that one has ended.
    pub async fn end_others(&self, user: &UserId, session: u32) -> Result<(), Error> {
        self.perform(user, Operation::EndOthers { session }).await.map(drop)
    }

    /// Creates an API key of a lasting account.
    ///
    /// # Errors
    /// `Refused`: gone, anonymous, the name is taken, or there are too many.
    pub async fn make_key(&self, user: &UserId, key: ApiKey) -> Result<(), Error> {
        self.perform(user, Operation::MakeKey { key }).await.map(drop)
    }

    /// Enables or disables an API key. Sessions that it began end when it is disabled.
    ///
    /// # Errors
    /// `Refused`: there is no such key.
    pub async fn set_key(&self, user: &UserId, id: DeviceId, disabled: bool) -> Result<(), Error> {
        self.perform(user, Operation::SetKey { id, disabled }).await.map(drop)
    }

    /// Takes an API key away, and ends the sessions that it began.
    ///
    /// # Errors
    /// `Refused`: there is no such key.
    pub async fn remove_key(&self, user: &UserId, id: DeviceId) -> Result<(), Error> {
        self.perform(user, Operation::RemoveKey { id }).await.map(drop)
    }

    /// Counts a use of one of the user's meters, in the order of the user's operations; durable when answered.
    ///
    /// # Errors
    /// `Refused`: gone or disabled.
    pub async fn count(&self, user: &UserId, count: Count) -> Result<Reading, Error> {
        let (core, operation) = (self.core(), Operation::Count(count));
        // what changes nothing is answered while nothing can be written
        if core.store.health() != Health::Writable
            && let Some(state) = core.store.load(user)
            && let Ok(Decision::Keep(Reply::Counted(reading))) =
                state.decide(&operation, core.store.clock().now(), &core.policy)
        {
            return Ok(reading);
        }
        match self.perform(user, operation).await? {
            Reply::Counted(reading) => Ok(reading),
            _ => Err(Error::Busy),
        }
    }

    /// Changes the user's document, in the order of the user's operations; durable when answered. `operation` is what the client calls it,
    /// if it can come twice; `origin` is the socket that asks.
    ///
    /// # Errors
    /// `Refused`: gone or disabled, or what [`crate::domain::DocumentRefusal`] says. `TooMany` of the user's are waiting.
    pub async fn edit(
        &self,
        user: &UserId,
        change: Change,
        expected: Expected,
        operation: Option<&[u8]>,
        origin: Option<u64>,
    ) -> Result<Edited, Error> {
        self.edit_within(user, change, expected, operation, origin, true).await
    }

    /// The same for a caller who may have no more room, although there is some.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub async fn edit_within(
        &self,
        user: &UserId,
        change: Change,
        expected: Expected,
        operation: Option<&[u8]>,
        origin: Option<u64>,
        may_grow: bool,
    ) -> Result<Edited, Error> {
        let (registry, policy) = (self.core().store.registry(), &self.core().policy);
        let may_grow = may_grow && registry.document_bytes() < policy.documents_bytes;
        let operation = operation.map(|name| OperationId::new(name, &change));
        let edit = Edit { change, expected, operation, origin, may_grow };
        match self.perform(user, Operation::Edit(edit)).await? {
            Reply::Edited(edited) => Ok(edited),
            _ => Err(Error::Busy),
        }
    }

    /// The user's document as it is stored, to be read by [`Document::view`](crate::domain::Document::view).
    pub fn document(&self, user: &UserId) -> Option<Arc<[u8]>> {
        self.core().store.registry().value(&ValueKey::document(user))
    }

    /// Lets a socket of one of the user's sessions hear of whatever happens to the user, from now on and in order. `since` is the
    /// version of the document that it knows. The user stays live as long as the attachment is held.
    ///
    /// # Errors
    /// `Refused`: gone or disabled, or the session has ended. `TooManySockets`.
    pub async fn attach(&self, user: &UserId, session: u32, since: Option<u64>) -> Result<Attachment, Error> {
        let core = self.core();
        let _permit = core.permit()?;
        let now_ms = core.store.clock().monotonic_ms();
        if core.directory.blocked_for_ms(user, now_ms).is_some() {
            return Err(Error::Quarantined);
        }
        if core.store.registry().record(user).is_none() {
            return Err(self.refuse(Refusal::Gone));
        }
        // a worker that stopped took its actors with it: the next try activates the user here
        for _ in 0..2 {
            let lease = core.directory.lease(user, now_ms);
            let lease = lease.unwrap_or_else(|| activate(core, self.worker.number, &self.worker.completions, user));
            let kept = KeptLive { core: Arc::clone(core), id: *user, incarnation: lease.incarnation };
            let socket = core.next_incarnation();
            match lease.address.send(Attach { socket, session, since }).await {
                Ok(Ok((hello, inbox))) => return Ok(Attachment { hello, inbox, socket, _live: kept }),
                Ok(Err(Error::Refused(refusal))) => return Err(self.refuse(refusal)),
                Ok(Err(other)) => return Err(other),
                Err(_) => drop(core.directory.forget(user, lease.incarnation)),
            }
        }
        Err(Error::Busy)
    }

    /// Ends all sessions, which deletes an anonymous user.
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn end_all(&self, user: &UserId) -> Result<(), Error> {
        self.perform(user, Operation::EndAll).await.map(drop)
    }

    /// Begins a second session of the same user; `beside` is the number of the one that asks for it, which must be live and
    /// is not ended to make room.
    ///
    /// # Errors
    /// `Refused`: gone or disabled, or the session that asks has ended.
    pub async fn open_session(
        &self,
        user: &UserId,
        kind: SessionKind,
        device: DeviceId,
        beside: Option<u32>,
    ) -> Result<crate::domain::Session, Error> {
        match self.perform(user, Operation::OpenSession { kind, device, beside }).await? {
            Reply::Opened(session) => Ok(session),
            _ => Err(Error::Busy),
        }
    }

    async fn perform(&self, user: &UserId, operation: Operation) -> Result<Reply, Error> {
        let cause = event::cause_of(&operation);
        let reply = self.route(user, operation).await?;
        event::changed(user, if reply == Reply::Reused { Cause::ReuseDetected } else { cause });
        Ok(reply)
    }

    /// Through the user's actor if it is live or the operation needs one, otherwise directly.
    async fn route(&self, user: &UserId, operation: Operation) -> Result<Reply, Error> {
        let mut permit = Some(self.core().permit()?);
        let core = self.core();
        // a refresh within its grace changes nothing, and goes on while nothing can be written
        if core.store.health() != Health::Writable && !matches!(operation, Operation::Rotate { .. }) {
            return Err(self.refuse(Refusal::Gone));
        }
        let now_ms = core.store.clock().monotonic_ms();
        if core.directory.blocked_for_ms(user, now_ms).is_some() {
            return Err(Error::Quarantined);
        }
        let activates = !matches!(
            operation,
            Operation::Rotate { .. }
                | Operation::Seen { .. }
                | Operation::EndSession { cause: Cause::LoggedOut, .. }
                | Operation::Delete { .. }
        );
        // A worker that stopped took its actors with it. That is no death, and the next try activates the user here.
        let mut perhaps_done = false;
        for _ in 0..2 {
            let lease = match core.directory.lease(user, now_ms) {
                Some(lease) => lease,
                None if !activates => match self.perform_directly(user, &operation, permit.take()).await {
                    Err(Error::Refused(_)) if perhaps_done => return Ok(Reply::Done),
                    answer => return answer,
                },
                None if core.store.registry().record(user).is_none() => return Err(self.refuse(Refusal::Gone)),
                None => activate(core, self.worker.number, &self.worker.completions, user),
            };
            let guard = LeaseGuard { core, id: *user, incarnation: lease.incarnation };
            let progress = Progress::default();
            let answer = lease.address.send(Perform(operation.clone(), progress.clone(), permit.take())).await;
            drop(guard);
            rest_if_gone(core, user);
            match answer {
                Ok(Err(Error::Refused(refusal))) if !perhaps_done => {
                    return Err(self.refuse(refusal));
                }
                Ok(Err(Error::Refused(_))) => return Ok(Reply::Done),
                Ok(answer) => return answer,
                Err(_) if progress.died() => return Err(Error::OutcomeUnknown),
                // to do it twice would be different
                Err(_) if progress.was_submitted() && !operation.ends_something() => {
                    return Err(Error::OutcomeUnknown);
                }
                Err(_) => {
                    perhaps_done |= progress.was_submitted();
                    core.directory.forget(user, lease.incarnation);
                }
            }
        }
        Err(Error::OutcomeUnknown)
    }

    async fn perform_directly(
        &self,
        user: &UserId,
        operation: &Operation,
        mut permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply, Error> {
        let core = self.core();
        for _ in 0..DIRECT_TRIES {
            let now = core.store.clock().now();
            let state = core.store.load(user).ok_or_else(|| self.refuse(Refusal::Gone))?;
            let decision = state.decide(operation, now, &core.policy).map_err(|refusal| self.refuse(refusal))?;
            let set = state.ops(&decision).map(|(cause, ops)| ChangeSet { cause, at: now, ops });
            let (_, reply) = state.after(decision);
            let Some(set) = set else { return Ok(reply) };
            if core.store.health() != Health::Writable {
                return Err(self.refuse(Refusal::Gone));
            }
            let (mut reply_to, outcome) = self.worker.completions.register(1);
            if let Some(permit) = permit.take() {
                reply_to = reply_to.holding(permit);
            }
            core.store.commit(smallvec![set], reply_to);
            match outcome.await.first() {
                Some(Outcome::Done) => return Ok(reply),
                Some(Outcome::Conflict { .. }) => {}
                Some(Outcome::Failed) | None => return Err(Error::OutcomeUnknown),
            }
        }
        Err(Error::Busy)
    }
}
