//! The one door to the core: an async function for each operation, with its permit, its retry and its errors.

mod by_hand;
mod check;
mod create;
mod linking;
mod own;
mod read;
mod registrations;
mod rename;
mod socket;
mod users;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor as _, Addr};

pub use self::by_hand::{NewName, NewUser};
pub use self::check::Live;
pub use self::own::{Changes, OwnChange};
pub use self::registrations::Registration;
pub use self::socket::Attachment;
pub use self::users::FoundBy;
pub use crate::actor::{Error, LoggedIn};
pub use crate::domain::IdForm;
pub use crate::listing::{MOST_LOOKED_AT, MOST_READ, UserCounts, UserFilter, UserPage, UserQuery};

use crate::actor::{Core, LinkerHandle, Proposer, Router, Supervisor, pass_on};
use crate::domain::{
    ApiKey, Cause, Change, Count, Decision, DeviceId, Edit, Edited, Expected, Flags, Operation, OperationId, Reading,
    Refusal, Reply, Session, SessionKind, Suspension, UserId,
};
use crate::store::{Completions, Health};

/// A worker's way into the core. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Handle {
    worker: Rc<Worker>,
}

struct Worker {
    router: Router,
    number: usize,
    supervisor: Addr<Supervisor>,
    linker: Arc<LinkerHandle>,
    /// Sessions whose use is being written, and users whose suspension is over: one note each, however many checks there are meanwhile.
    noting: RefCell<HashSet<(UserId, u32)>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.router.proposer().core().remove_worker(self.number);
    }
}

impl Handle {
    /// A handle on this thread's arbiter, with a supervisor of its own. All handles of a core have one linker.
    pub fn new(core: Arc<Core>, linker: Arc<LinkerHandle>) -> Self {
        crate::stall::watch();
        let completions = Rc::<Completions>::default();
        let number = core.add_worker(Arc::clone(completions.queue()));
        let for_notices = Arc::clone(&core);
        actix_rt::spawn(Rc::clone(&completions).run(move |told| pass_on(&for_notices, told)));
        let supervisor = Supervisor::new(Arc::clone(&core), number).start();
        let router = Router::new(Proposer::new(core, completions), number);
        Self { worker: Rc::new(Worker { router, number, supervisor, linker, noting: RefCell::default() }) }
    }

    /// What all workers share.
    pub fn core(&self) -> &Arc<Core> {
        self.worker.router.proposer().core()
    }

    async fn perform(&self, user: &UserId, operation: Operation) -> Result<Reply, Error> {
        self.lift(user).await?;
        self.worker.router.perform(user, operation).await
    }

    /// Lifts the suspension of a user if its time has passed: whatever is done next finds it lifted.
    async fn lift(&self, user: &UserId) -> Result<(), Error> {
        let wall_ms = self.core().store.clock().wall_ms();
        if !self.is_suspension_over(user, wall_ms) {
            return Ok(());
        }
        match self.worker.router.perform(user, Operation::Lift { wall_ms }).await {
            // what comes next finds that out for itself
            Ok(_) | Err(Error::Refused(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn is_suspension_over(&self, user: &UserId, wall_ms: u64) -> bool {
        let store = &self.core().store;
        store.record(user).is_some_and(|record| record.flags.has(Flags::DISABLED))
            && store.load(user).is_some_and(|state| !state.is_disabled(wall_ms))
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

    /// Deletes a user, at the wish of the user or of an administrator: [`Cause::DeletedByUser`], [`Cause::DeletedByAdmin`].
    ///
    /// # Errors
    /// `Refused`: gone already.
    pub async fn delete(&self, user: &UserId, cause: Cause) -> Result<(), Error> {
        self.perform(user, Operation::Delete { cause }).await.map(drop)
    }

    /// Suspends a user: every token is refused while it lasts, sessions stay, inactivity counts.
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn disable(&self, user: &UserId) -> Result<(), Error> {
        self.suspend(user, Suspension::default()).await
    }

    /// The same until a time, for a reason: see [`Suspension`]. What was said before is replaced.
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn suspend(&self, user: &UserId, suspension: Suspension) -> Result<(), Error> {
        self.perform(user, Operation::Disable(suspension)).await.map(drop)
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
    pub async fn create_key(&self, user: &UserId, key: ApiKey) -> Result<(), Error> {
        self.perform(user, Operation::CreateKey { key }).await.map(drop)
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
                state.decide(&operation, core.store.clock().now(), &core.policy())
        {
            return Ok(reading);
        }
        match self.perform(user, operation).await? {
            Reply::Counted(reading) => Ok(reading),
            _ => Err(Error::of_another("count")),
        }
    }

    /// Allows `amount` more uses of a meter in the period that runs. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn grant(&self, user: &UserId, count: Count) -> Result<Reading, Error> {
        match self.perform(user, Operation::Grant(count)).await? {
            Reply::Counted(reading) => Ok(reading),
            _ => Err(Error::of_another("grant")),
        }
    }

    /// Forgets what is used of a meter, and what was granted. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: gone.
    pub async fn reset_meter(&self, user: &UserId, count: Count) -> Result<Reading, Error> {
        match self.perform(user, Operation::Reset(count)).await? {
            Reply::Counted(reading) => Ok(reading),
            _ => Err(Error::of_another("reset a meter")),
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
        let (store, policy) = (&self.core().store, &self.core().policy());
        let may_grow = may_grow && store.document_bytes() < policy.documents_bytes;
        let operation = operation.map(|name| OperationId::new(name, &change));
        let edit = Edit { change, expected, operation, origin, may_grow };
        match self.perform(user, Operation::Edit(edit)).await? {
            Reply::Edited(edited) => Ok(edited),
            _ => Err(Error::of_another("edit")),
        }
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
    ) -> Result<Session, Error> {
        match self.perform(user, Operation::OpenSession { kind, device, beside }).await? {
            Reply::Opened(session) => Ok(session),
            _ => Err(Error::of_another("open a session")),
        }
    }
}
