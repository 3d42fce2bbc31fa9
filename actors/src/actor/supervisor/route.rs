//! Where an operation goes: to its user's actor, which is activated if need be, or past it to the store.
//!
//! No mailbox is entered but the actor's own: the directory of live users is shared by all workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::Actor as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::actor::core::Core;
use crate::actor::error::Error;
use crate::actor::messages::{Address, Attach, Perform, Progress};
use crate::actor::propose::{Proposer, Tries};
use crate::actor::session::Session;
use crate::actor::sockets::{Hello, Inbox};
use crate::domain::{Cause, Operation, Refusal, Reply, UserId};
use crate::registry::Lease;
use crate::store::{Health, Told};

/// Beyond `max_live`, this part of it is let go at once, so that the search for the longest idle is seldom.
const LET_GO_PART: usize = 16;
/// And never more than this, since a caller waits for it.
const LET_GO_MOST: usize = 1024;
/// How often a change to a resting user is tried again when a different one was faster: no actor puts such changes in order, and the
/// note that a session is in use may be among them.
const DIRECT_TRIES: Tries = Tries { most: 4, within: None };

/// Passivates unused actors.
pub(super) fn rest<'a>(core: &Core, ids: impl Iterator<Item = &'a UserId>, idle_since_ms: u64) {
    for address in ids.filter_map(|id| core.directory.retire(id, idle_since_ms)) {
        address.rest();
        core.stats.passivations.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passivates the actor of a user who is gone, if no one else is using it.
fn rest_if_gone(core: &Core, id: &UserId) {
    if core.store.record(id).is_none() {
        rest(core, std::iter::once(id), u64::MAX);
    }
}

/// Tells a user's actor of a change, if it is still live.
pub(crate) fn pass_on(core: &Core, Told { user, change }: Told) {
    if let Some((address, _)) = core.directory.peek(&user) {
        address.notice(change);
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
pub(crate) struct KeptLive {
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

/// A worker's way to its users. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub(crate) struct Router {
    proposer: Proposer,
    worker: usize,
}

impl Router {
    pub(crate) fn new(proposer: Proposer, worker: usize) -> Self {
        Self { proposer, worker }
    }

    /// What it proposes with.
    pub(crate) fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    fn core(&self) -> &Arc<Core> {
        self.proposer.core()
    }

    /// The user's address on lease, activating the user on this worker if it rests.
    fn activate(&self, id: &UserId) -> Lease<Address> {
        let core = self.core();
        let now_ms = core.store.clock().monotonic_ms();
        if core.directory.len() >= core.limits.max_live {
            let surplus = core.directory.len() - core.limits.max_live;
            let lot = core.limits.max_live.div_ceil(LET_GO_PART).min(LET_GO_MOST);
            rest(core, core.directory.longest_idle(surplus + lot).iter(), now_ms);
        }
        let incarnation = core.next_incarnation();
        core.directory.lease_or_activate(id, now_ms, self.worker, incarnation, || {
            core.stats.activations.fetch_add(1, Ordering::Relaxed);
            Address::of(Session::new(self.proposer.clone(), *id, incarnation).start())
        })
    }

    /// Performs an operation: through the user's actor if it is live or the operation needs one, otherwise directly.
    pub(crate) async fn perform(&self, user: &UserId, operation: Operation) -> Result<Reply, Error> {
        let mut permit = Some(self.core().permit()?);
        let core = self.core();
        // a refresh within its grace changes nothing, and goes on while nothing can be written
        if core.store.health() != Health::Writable && !matches!(operation, Operation::Rotate { .. }) {
            return Err(core.refuse(Refusal::Gone));
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
                None if core.store.record(user).is_none() => return Err(core.refuse(Refusal::Gone)),
                None => self.activate(user),
            };
            let guard = LeaseGuard { core, id: *user, incarnation: lease.incarnation };
            let progress = Progress::default();
            let answer = lease.address.perform(Perform(operation.clone(), progress.clone(), permit.take())).await;
            drop(guard);
            rest_if_gone(core, user);
            match answer {
                Ok(Err(Error::Refused(refusal))) if !perhaps_done => {
                    return Err(core.refuse(refusal));
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
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply, Error> {
        let core = self.core();
        let propose = || {
            let now = core.store.clock().now();
            let state = core.store.load(user).ok_or_else(|| core.refuse(Refusal::Gone))?;
            let decision = state.decide(operation, now, &core.policy()).map_err(|refusal| core.refuse(refusal))?;
            Ok((state.change(operation, &decision, now), decision.into_reply()))
        };
        self.proposer.until_done(DIRECT_TRIES, permit, propose).await
    }

    /// Attaches a socket of one of the user's sessions to the user's actor. Returns what the socket is sent then and later, and the
    /// number that marks its own changes.
    pub(crate) async fn attach(
        &self,
        user: &UserId,
        session: u32,
        since: Option<u64>,
    ) -> Result<(Hello, Inbox, u64, KeptLive), Error> {
        let core = self.core();
        let _permit = core.permit()?;
        let now_ms = core.store.clock().monotonic_ms();
        if core.directory.blocked_for_ms(user, now_ms).is_some() {
            return Err(Error::Quarantined);
        }
        if core.store.record(user).is_none() {
            return Err(core.refuse(Refusal::Gone));
        }
        // a worker that stopped took its actors with it: the next try activates the user here
        for _ in 0..2 {
            let lease = core.directory.lease(user, now_ms).unwrap_or_else(|| self.activate(user));
            let kept = KeptLive { core: Arc::clone(core), id: *user, incarnation: lease.incarnation };
            let socket = Core::next_socket();
            match lease.address.attach(Attach { socket, session, since }).await {
                Ok(Ok((hello, inbox))) => return Ok((hello, inbox, socket, kept)),
                Ok(Err(Error::Refused(refusal))) => return Err(core.refuse(refusal)),
                Ok(Err(other)) => return Err(other),
                Err(_) => drop(core.directory.forget(user, lease.incarnation)),
            }
        }
        Err(Error::Busy)
    }
}
