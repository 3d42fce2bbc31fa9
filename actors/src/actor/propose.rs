//! Proposing a change, waiting for its outcome and trying again: the only way in which the core changes anything.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;
use tokio::sync::OwnedSemaphorePermit;

use super::core::Core;
use super::error::Error;
use crate::domain::{ChangeSet, Outcome};
use crate::store::{Completions, ReplyTo, Sets, Waiter};

/// What became of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is durable.
    Done,
    /// Its operation `op` did not find what it named; nothing was changed.
    Conflict { op: usize },
}

/// How often a proposal is tried again when others were faster, and how long each outcome is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) most: usize,
    pub(crate) within: Option<Duration>,
}

/// Proposes changes on one thread. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub(crate) struct Proposer {
    core: Arc<Core>,
    completions: Rc<Completions>,
}

/// Hands a set to the store; its outcome goes to `reply`.
pub(crate) fn submit(core: &Core, set: ChangeSet, reply: ReplyTo) {
    core.store.commit(smallvec![set], reply);
}

impl Proposer {
    pub(crate) fn new(core: Arc<Core>, completions: Rc<Completions>) -> Self {
        Self { core, completions }
    }

    /// What it proposes to.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where the outcome of one set goes that is submitted elsewhere, and what waits for it. The permit is held until the outcome is
    /// known, also when the caller gives up earlier.
    pub(crate) fn expect(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        within: Option<Duration>,
    ) -> (ReplyTo, impl Future<Output = Result<Settled, Error>> + use<>) {
        let (reply, outcome) = self.completions.register(1);
        let reply = match permit {
            Some(permit) => reply.holding(permit),
            None => reply,
        };
        let outcome = match within {
            Some(limit) => outcome.within(limit),
            None => outcome,
        };
        let settled = async move {
            match outcome.await.first() {
                Some(Outcome::Done) => Ok(Settled::Done),
                Some(Outcome::Conflict { op }) => Ok(Settled::Conflict { op: *op }),
                Some(Outcome::Failed) | None => Err(Error::OutcomeUnknown),
            }
        };
        (reply, settled)
    }

    /// Proposes a set and waits for its outcome, at most as long as an operation may take.
    ///
    /// # Errors
    /// `OutcomeUnknown`.
    pub(crate) async fn once(&self, set: ChangeSet, permit: OwnedSemaphorePermit) -> Result<Settled, Error> {
        let (reply, settled) = self.expect(Some(permit), Some(self.core.limits.commit_timeout));
        submit(&self.core, set, reply);
        settled.await
    }

    /// Proposes a set until it is done or `propose` returns something else. Each try reads the state anew.
    ///
    /// # Errors
    /// Those of `propose`; `NotWritable`; `Stopping`; `OutcomeUnknown`; `Busy`: others were faster each time.
    pub(crate) async fn until_done<T>(
        &self,
        tries: Tries,
        mut permit: Option<OwnedSemaphorePermit>,
        mut propose: impl FnMut() -> Result<(Option<ChangeSet>, T), Error>,
    ) -> Result<T, Error> {
        for _ in 0..tries.most {
            let (set, answer) = propose()?;
            let Some(set) = set else { return Ok(answer) };
            self.core.writable()?;
            let (reply, settled) = self.expect(permit.take(), tries.within);
            submit(&self.core, set, reply);
            if settled.await? == Settled::Done {
                return Ok(answer);
            }
        }
        Err(Error::Busy)
    }

    /// Proposes sets that are decided one by one, and returns what waits for their outcomes, without a limit.
    pub(crate) fn all(&self, sets: Sets) -> Waiter {
        let (reply, outcomes) = self.completions.register(sets.len());
        self.core.store.commit(sets, reply);
        outcomes
    }
}
