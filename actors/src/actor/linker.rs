//! The linker: turns proofs of identity into accounts. It adds identities to users, takes them off, and logs in by them.
//!
//! It only proposes, as everybody does: that an identity has one owner is the store's `claim`, and that a user is as it was
//! looked at is its version. After a conflict it looks again.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::prelude::*;
use smallvec::smallvec;
use tokio::sync::OwnedSemaphorePermit;

use super::{Core, Error, IdForm, event};
use crate::domain::{
    Cause, ChangeSet, DeviceId, IdentityKey, Op, Operation, Outcome, Refusal, Reply, Session, SessionId, SessionKind,
    UserId, UserState,
};
use crate::store::{Completions, Health};

/// How often the linker looks again when others were faster. Of those who change one user at once, one is done in each group:
/// so many tabs may log in by one identity at the same moment.
const TRIES: usize = 64;

/// An identity that its provider has vouched for, and what the provider tells about the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The identity.
    pub identity: IdentityKey,
    /// A JSON object, or nothing.
    pub data: Box<str>,
}

/// A user with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user.
    pub user: UserId,
    /// The session's number.
    pub number: u32,
    /// The session's public id.
    pub session: SessionId,
    /// Its epoch.
    pub epoch: u8,
}

impl LoggedIn {
    fn new(user: UserId, session: &Session) -> Self {
        let session_id = SessionId::derive(&user, session.number);
        Self { user, number: session.number, session: session_id, epoch: session.epoch }
    }
}

/// Figures of the linker, for metrics.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Identities linked.
    pub links: AtomicU64,
    /// Links refused because the identity has another owner.
    pub conflicts: AtomicU64,
    /// Identities taken off.
    pub unlinks: AtomicU64,
    /// Logins by an identity.
    pub logins: AtomicU64,
}

struct Linker {
    work: Rc<Work>,
}

/// What the linker works with.
struct Work {
    core: Arc<Core>,
    completions: Rc<Completions>,
    stats: Arc<LinkStats>,
}

impl Work {
    /// Proposes a set until it is done or `propose` says what else is the case. Each try looks anew.
    async fn until_done<T>(
        &self,
        mut permit: Option<OwnedSemaphorePermit>,
        mut propose: impl FnMut() -> Result<(Option<ChangeSet>, T), Error>,
    ) -> Result<T, Error> {
        for _ in 0..TRIES {
            if self.core.store.health() != Health::Writable {
                return Err(Error::NotWritable);
            }
            let (set, answer) = propose()?;
            let Some(set) = set else { return Ok(answer) };
            let (mut reply, outcome) = self.completions.register(1);
            if let Some(permit) = permit.take() {
                reply = reply.holding(permit);
            }
            self.core.store.commit(smallvec![set], reply);
            match outcome.within(self.core.limits.commit_timeout).await.first() {
                Some(Outcome::Done) => return Ok(answer),
                Some(Outcome::Conflict { .. }) => {}
                Some(Outcome::Failed) | None => return Err(Error::OutcomeUnknown),
            }
        }
        Err(Error::Busy)
    }

    /// What an operation on a user proposes, and what it answers once that is done.
    fn proposal(&self, user: &UserId, operation: &Operation) -> Result<(Option<ChangeSet>, Reply), Error> {
        let store = &self.core.store;
        let (now, policy) = (store.clock().now(), &self.core.policy);
        let state = store.load(user).ok_or(Refusal::Gone)?;
        let decision = state.decide(operation, now, policy)?;
        let set = state.ops(&decision).map(|(cause, ops)| ChangeSet { cause, at: now, ops });
        Ok((set, state.after(decision).1))
    }

    async fn perform(
        &self,
        user: &UserId,
        operation: &Operation,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply, Error> {
        let reply = self.until_done(permit, || self.proposal(user, operation)).await?;
        event::changed(user, event::cause_of(operation));
        Ok(reply)
    }

    async fn link(&self, link: Link) -> Result<LoggedIn, Error> {
        let Link { user, session, proof: Proof { identity, data }, permit } = link;
        let operation = Operation::Link { identity: identity.clone(), data, session };
        let propose = || match self.core.store.resolve(&identity) {
            Some(owner) if owner != user => Err(Error::Refused(Refusal::IdentityInUse)),
            _ => self.proposal(&user, &operation),
        };
        let reply = self.until_done(permit, propose).await.inspect_err(|error| {
            if *error == Error::Refused(Refusal::IdentityInUse) {
                self.stats.conflicts.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        self.stats.links.fetch_add(1, Ordering::Relaxed);
        event::changed(&user, Cause::Linked);
        match reply {
            Reply::Linked(session) => Ok(LoggedIn::new(user, &session)),
            _ => Err(Error::Busy),
        }
    }

    async fn unlink(&self, unlink: Unlink) -> Result<(), Error> {
        let Unlink { user, identity, permit } = unlink;
        self.perform(&user, &Operation::Unlink { identity }, permit).await?;
        self.stats.unlinks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The identity's owner with a new session; if there is none, one is made.
    async fn log_in(&self, log_in: LogIn) -> Result<LoggedIn, Error> {
        let LogIn { proof: Proof { identity, data }, kind, device, form, permit } = log_in;
        let mut made = false;
        let propose = || {
            let now = self.core.store.clock().now();
            if let Some(owner) = self.core.store.resolve(&identity) {
                made = false;
                let operation = Operation::LogIn { identity: identity.clone(), data: data.clone(), kind, device };
                let (set, reply) = self.proposal(&owner, &operation)?;
                let Reply::Opened(session) = reply else { return Err(Error::Busy) };
                return Ok((set, LoggedIn::new(owner, &session)));
            }
            if self.core.store.registry().len() >= self.core.limits.max_users {
                return Err(Error::Capacity);
            }
            made = true;
            let id = self.core.new_id(form);
            let (user, session) = UserState::lasting(id, identity.clone(), data.clone(), (kind, device), now);
            let extension = user.extension.as_ref().map(crate::domain::Extension::encode);
            let ops = vec![
                Op::Claim { identity: identity.clone(), user: id },
                Op::Create { id, record: user.record, extension },
            ];
            Ok((Some(ChangeSet { cause: Cause::Created, at: now, ops }), LoggedIn::new(id, &session)))
        };
        let logged_in = self.until_done(permit, propose).await?;
        self.stats.logins.fetch_add(1, Ordering::Relaxed);
        event::changed(&logged_in.user, if made { Cause::Created } else { Cause::SessionOpened });
        Ok(logged_in)
    }
}

impl Actor for Linker {
    type Context = Context<Self>;
}

/// Adds an identity to a user.
#[derive(Message)]
#[rtype(result = "Result<LoggedIn, Error>")]
struct Link {
    user: UserId,
    session: u32,
    proof: Proof,
    permit: Option<OwnedSemaphorePermit>,
}

/// Takes one off.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
struct Unlink {
    user: UserId,
    identity: IdentityKey,
    permit: Option<OwnedSemaphorePermit>,
}

/// Logs in by one.
#[derive(Message)]
#[rtype(result = "Result<LoggedIn, Error>")]
struct LogIn {
    proof: Proof,
    kind: SessionKind,
    device: DeviceId,
    form: IdForm,
    permit: Option<OwnedSemaphorePermit>,
}

macro_rules! handles {
    ($($message:ident by $method:ident),*) => {
        $(impl Handler<$message> for Linker {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, message: $message, _: &mut Self::Context) -> Self::Result {
                let work = Rc::clone(&self.work);
                Box::pin(async move { work.$method(message).await })
            }
        })*
    };
}

handles!(Link by link, Unlink by unlink, LogIn by log_in);

/// The linker of a core, on a thread of its own. Ends when dropped.
pub struct LinkerHandle {
    core: Arc<Core>,
    arbiter: Arbiter,
    address: Addr<Linker>,
    stats: Arc<LinkStats>,
}

impl LinkerHandle {
    /// Starts the linker. Needs a running actix system.
    ///
    /// # Errors
    /// Its thread ended at once.
    pub async fn start(core: Arc<Core>) -> Result<Self, Error> {
        let (arbiter, stats) = (Arbiter::new(), Arc::new(LinkStats::default()));
        let (started, address) = tokio::sync::oneshot::channel();
        let (for_linker, for_work) = (Arc::clone(&core), Arc::clone(&stats));
        arbiter.spawn_fn(move || {
            let completions = Rc::<Completions>::default();
            actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
            let work = Rc::new(Work { core: for_linker, completions, stats: for_work });
            drop(started.send(Linker { work }.start()));
        });
        let address = address.await.map_err(|_| Error::Stopping)?;
        Ok(Self { core, arbiter, address, stats })
    }

    /// Figures.
    pub fn stats(&self) -> &Arc<LinkStats> {
        &self.stats
    }

    /// Adds an identity to a user on the request of one of its sessions, which goes on under another number or epoch. Done
    /// already, it changes nothing. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: the identity belongs to somebody else, the session or the user is gone or disabled.
    pub async fn link(&self, user: UserId, session: u32, proof: Proof) -> Result<LoggedIn, Error> {
        let permit = Some(self.core.permit()?);
        self.address.send(Link { user, session, proof, permit }).await.map_err(|_| Error::Stopping)?
    }

    /// Takes an identity off a user.
    ///
    /// # Errors
    /// `Refused`: it is not there, it is the last one, or the user is gone.
    pub async fn unlink(&self, user: UserId, identity: IdentityKey) -> Result<(), Error> {
        let permit = Some(self.core.permit()?);
        self.address.send(Unlink { user, identity, permit }).await.map_err(|_| Error::Stopping)?
    }

    /// Begins a session of the user who has the identity; if nobody has, a lasting account is made.
    ///
    /// # Errors
    /// `Refused`: the user is disabled. `Capacity`.
    pub async fn log_in(
        &self,
        proof: Proof,
        kind: SessionKind,
        device: DeviceId,
        form: IdForm,
    ) -> Result<LoggedIn, Error> {
        let permit = Some(self.core.permit()?);
        self.address.send(LogIn { proof, kind, device, form, permit }).await.map_err(|_| Error::Stopping)?
    }
}

impl Drop for LinkerHandle {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}
