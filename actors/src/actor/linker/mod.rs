//! The linker: turns proofs of identity into accounts. It adds identities to users, removes them, logs in by them, merges
//! an anonymous user into an account, and keeps the credentials that identities rest on.
//!
//! It only proposes, as everybody does: that an identity has one owner is the store's `claim`, and that a user is as it was
//! looked at is its version. After a conflict it looks again. It has a thread of its own: two more changes of thread than a login
//! of an anonymous user, off the path that most requests take.

mod credential;
mod left_out;
mod link;
mod login;
mod merge;
mod proof;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

pub use self::credential::Ends;
pub use self::left_out::REPEAT_S;
pub use self::merge::{Joined, Preview};
pub use self::proof::{Proof, Witness};

use self::left_out::LeftOut;
use self::proof::demand;
use super::core::Core;
use super::error::Error;
use super::propose::{Proposer, Tries};
use crate::domain::{ChangeSet, Operation, Record, Refusal, Reply, UserId};
use crate::store::Completions;

/// How often the linker looks again when others were faster. Of those who change one user at once, one is done in each group:
/// so many tabs may log in by one identity at the same moment.
const TRIES: usize = 64;

/// Figures of the linker, for metrics.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Identities linked.
    pub links: AtomicU64,
    /// Links refused because the identity has a different owner.
    pub conflicts: AtomicU64,
    /// Identities unlinked.
    pub unlinks: AtomicU64,
    /// Logins by an identity.
    pub logins: AtomicU64,
    /// Anonymous users who became part of an account.
    pub merges: AtomicU64,
    /// Anonymous users who became accounts or part of one, but for those whom an operator created.
    pub converted: AtomicU64,
    /// Links and merges whose answer was given again.
    pub repeats: AtomicU64,
    /// Changes of credentials: registrations, confirmations, requested e-mails, passwords.
    pub credentials: AtomicU64,
}

struct Linker {
    work: Rc<Work>,
}

/// What the linker works with.
struct Work {
    proposer: Proposer,
    stats: Arc<LinkStats>,
    left_out: RefCell<LeftOut>,
}

/// A request to the linker.
trait Ask: Send + 'static {
    /// Its answer.
    type Answer: Send + 'static;

    /// Carries it out. The permit is held until the outcome is known.
    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<Self::Answer, Error>;
}

struct Asked<T>(T, OwnedSemaphorePermit);

impl<T: Ask> Message for Asked<T> {
    type Result = Result<T::Answer, Error>;
}

impl Actor for Linker {
    type Context = Context<Self>;
}

impl<T: Ask> Handler<Asked<T>> for Linker {
    type Result = ResponseFuture<Result<T::Answer, Error>>;

    fn handle(&mut self, Asked(asked, permit): Asked<T>, _: &mut Self::Context) -> Self::Result {
        let work = Rc::clone(&self.work);
        Box::pin(async move { asked.done(&work, permit).await })
    }
}

impl Work {
    fn core(&self) -> &Core {
        self.proposer.core()
    }

    /// Counts a visitor who became an account, or part of one: `before` is what the user was.
    fn count_converted(&self, before: Option<&Record>) {
        self.stats.converted.fetch_add(u64::from(before.is_some_and(Record::is_visitor)), Ordering::Relaxed);
    }

    /// The same by a link.
    fn count_link(&self, before: Option<&Record>) {
        self.stats.links.fetch_add(1, Ordering::Relaxed);
        self.count_converted(before);
    }

    /// Proposes a set until it is done or `propose` returns something else. While nothing can be stored, nothing is read either.
    async fn until_done<T>(
        &self,
        permit: OwnedSemaphorePermit,
        mut propose: impl FnMut() -> Result<(Option<ChangeSet>, T), Error>,
    ) -> Result<T, Error> {
        let tries = Tries { most: TRIES, within: Some(self.core().limits.commit_timeout) };
        let looked_at = || self.core().writable().and_then(|()| propose());
        self.proposer.until_done(tries, Some(permit), looked_at).await
    }

    /// What an operation on a user proposes, and what it answers once that is done.
    fn proposal(&self, user: &UserId, operation: &Operation) -> Result<(Option<ChangeSet>, Reply), Error> {
        let store = &self.core().store;
        let (now, policy) = (store.clock().now(), &self.core().policy());
        let state = store.load(user).ok_or(Refusal::Gone)?;
        let decision = state.decide(operation, now, policy)?;
        Ok((state.change(operation, &decision, now), decision.into_reply()))
    }

    /// The same for an operation that rests on a proof: the set demands that the proof still holds.
    fn proposal_by(
        &self,
        proof: &Proof,
        user: &UserId,
        operation: &Operation,
    ) -> Result<(Option<ChangeSet>, Reply), Error> {
        let demand = demand(self.core(), proof)?;
        let (mut set, reply) = self.proposal(user, operation)?;
        if let Some(set) = &mut set {
            set.ops.splice(..0, demand);
        }
        Ok((set, reply))
    }
}

/// The linker of a core, on a thread of its own. Ends when dropped.
pub struct LinkerHandle {
    core: Arc<Core>,
    stats: Arc<LinkStats>,
    running: OnceLock<(Arbiter, Addr<Linker>)>,
}

impl LinkerHandle {
    /// The linker of this core. Its thread starts with the first request, which needs a running actix system.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, stats: Arc::default(), running: OnceLock::new() }
    }

    /// Figures.
    pub fn stats(&self) -> &Arc<LinkStats> {
        &self.stats
    }

    /// Starts its thread, which the first request does otherwise.
    pub fn start(&self) {
        self.address();
    }

    fn address(&self) -> &Addr<Linker> {
        let (_, address) = self.running.get_or_init(|| {
            let (arbiter, core, stats) = (Arbiter::new(), Arc::clone(&self.core), Arc::clone(&self.stats));
            let linker = Linker::start_in_arbiter(&arbiter.handle(), move |_| {
                let completions = Rc::<Completions>::default();
                actix_rt::spawn(Rc::clone(&completions).run(drop));
                let proposer = Proposer::new(core, completions);
                Linker { work: Rc::new(Work { proposer, stats, left_out: RefCell::default() }) }
            });
            (arbiter, linker)
        });
        address
    }

    /// Sends a request, with a permit.
    async fn ask<T: Ask>(&self, asked: T) -> Result<T::Answer, Error> {
        let permit = self.core.permit()?;
        self.address().send(Asked(asked, permit)).await.map_err(|_| Error::Stopping)?
    }
}

impl Drop for LinkerHandle {
    fn drop(&mut self) {
        if let Some((arbiter, _)) = self.running.get() {
            arbiter.stop();
        }
    }
}
