//! One action on all users whom a filter takes: a job on a thread of its own, which keeps few changes under way and rests longer
//! than they took, so that logins hardly wait behind it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::Arbiter;
use smallvec::{SmallVec, smallvec};
use tokio::sync::watch;

use super::core::Core;
use super::error::Error;
use super::job::{Became, Bulk, BulkAction, BulkEnd, BulkJob, BulkTally, BulkUnderWay, Job};
use super::propose::Proposer;
use crate::domain::{ChangeSet, Decision, Note, Operation, Outcome, Reason, UserId, UserState};
use crate::listing::{UserFilter, UserPage, UserQuery};
use crate::store::{Completions, Sets};

/// Changes under way at a time: what a login waits for is one group with so many sets more.
const IN_FLIGHT: usize = 64;
/// Between them the job rests so many times as long as they took: the busier the store, the longer.
const RESTS: u32 = 3;
/// And at least so long.
const REST: Duration = Duration::from_millis(1);
/// Users that are looked for at once.
const PAGE: usize = 8 * IN_FLIGHT;
/// How often a user's change is tried when others were faster.
const TRIES: usize = 4;

impl Core {
    /// Begins a job, which needs a running actix system.
    ///
    /// # Errors
    /// One is under way.
    pub(crate) fn begin_bulk(
        self: &Arc<Self>,
        action: BulkAction,
        filter: UserFilter,
        is_dry_run: bool,
    ) -> Result<BulkJob, BulkUnderWay> {
        let mut last = self.last_job.0.lock();
        let before = last.as_ref().map(|job| job.state.borrow().clone());
        if let Some(running) = before.as_ref().filter(|before| before.end.is_none()) {
            return Err(BulkUnderWay(running.number));
        }
        let bulk = Bulk {
            number: before.map_or(0, |before| before.number) + 1,
            action,
            filter,
            is_dry_run,
            began_ms: self.store.clock().wall_ms(),
            ended_ms: None,
            about: None,
            tally: BulkTally::default(),
            end: None,
        };
        let job = Arc::new(Job { state: watch::Sender::new(bulk), stop: AtomicBool::new(false) });
        let (core, begun, arbiter) = (Arc::clone(self), BulkJob(Arc::clone(&job)), Arbiter::new());
        // only now: without a thread there is none that would never end
        *last = Some(Arc::clone(&job));
        arbiter.spawn_fn(move || drop(actix_rt::spawn(run(core, job))));
        Ok(begun)
    }
}

/// Ends the thread that it is on, also when the job dies.
struct LastOfThread;

impl Drop for LastOfThread {
    fn drop(&mut self) {
        // none if the whole system ends
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.stop();
        }
    }
}

/// The job's life, on an arbiter that ends with it.
async fn run(core: Arc<Core>, job: Arc<Job>) {
    let _last = LastOfThread;
    let completions = Rc::<Completions>::default();
    actix_rt::spawn(Rc::clone(&completions).run(drop));
    let Bulk { number, action, is_dry_run, .. } = job.state.borrow().clone();
    tracing::info!(number, action = action.name(), is_dry_run, "a bulk job has begun");
    let worker = Worker { core: Arc::clone(&core), proposer: Proposer::new(core, completions), job };
    let end = worker.all().await.unwrap_or_else(BulkEnd::Failed);
    let BulkTally { matched, changed, removed, unchanged, busy } = worker.job.state.borrow().tally;
    let (number, action) = (number, action.name());
    tracing::info!(
        number,
        action,
        is_dry_run,
        ?end,
        matched,
        changed,
        removed,
        unchanged,
        busy,
        "a bulk job has ended"
    );
    worker.end(end);
}

/// A user's change.
enum Step {
    Settled(Became),
    Proposed(ChangeSet, Became),
}

struct Worker {
    core: Arc<Core>,
    proposer: Proposer,
    job: Arc<Job>,
}

/// Also of a job whose thread dies, nobody shall think that it runs.
impl Drop for Worker {
    fn drop(&mut self) {
        self.end(BulkEnd::Failed(Error::Internal));
    }
}

impl Worker {
    /// Says how it ended, once.
    fn end(&self, end: BulkEnd) {
        let ended_ms = self.core.store.clock().wall_ms();
        self.job.state.send_if_modified(|state| {
            let is_first = state.end.is_none();
            if is_first {
                (state.end, state.ended_ms) = (Some(end), Some(ended_ms));
            }
            is_first
        });
    }

    /// Does all users, the newest first: those who come meanwhile are not met.
    async fn all(&self) -> Result<BulkEnd, Error> {
        let Bulk { action, filter, is_dry_run, .. } = self.job.state.borrow().clone();
        let (for_count, operation) = (filter.clone(), action.operation());
        let about = self.core.listing.ask(|_| false, move |index| index.count(&for_count)).await?;
        self.job.state.send_modify(|state| state.about = about.map(|about| about as u64));
        let mut after = None;
        loop {
            let query = UserQuery { filter: filter.clone(), newest_first: true, after, limit: PAGE };
            let UserPage { users, next, .. } = self.core.listing.ask(|_| true, move |index| index.page(&query)).await?;
            // a page on which nobody fits has its rest, too
            let some = if users.is_empty() { vec![&users[..]] } else { users.chunks(IN_FLIGHT).collect() };
            for users in some {
                if self.job.stop.load(Ordering::Relaxed) {
                    return Ok(BulkEnd::Stopped);
                }
                let clock = self.core.store.clock();
                let before_us = clock.monotonic_us();
                self.some(users, &operation, is_dry_run).await?;
                let took = Duration::from_micros(clock.monotonic_us().saturating_sub(before_us));
                if !is_dry_run {
                    tokio::time::sleep((took * RESTS).max(REST)).await;
                }
            }
            if next.is_none() {
                return Ok(BulkEnd::Done);
            }
            after = next;
        }
    }

    /// Does a few users at once. Each is looked at again just before, since the page may have been read a while ago.
    async fn some(&self, users: &[UserState], operation: &Operation, is_dry_run: bool) -> Result<(), Error> {
        let (mut sets, mut proposed) = (Sets::new(), SmallVec::<[(UserId, Became); IN_FLIGHT]>::new());
        let mut tally = BulkTally { matched: users.len() as u64, ..BulkTally::default() };
        for user in users {
            match self.step(&user.id, operation) {
                Step::Settled(became) => tally.add(became),
                Step::Proposed(_, became) if is_dry_run => tally.add(became),
                Step::Proposed(set, became) => {
                    sets.push(set);
                    proposed.push((user.id, became));
                }
            }
        }
        if !sets.is_empty() {
            self.core.writable()?;
            let outcomes = self.proposer.all(sets).await;
            for ((id, became), outcome) in proposed.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Done => tally.add(became),
                    Outcome::Conflict { .. } => tally.add(self.again(&id, operation).await?),
                    Outcome::Failed => return Err(self.core.writable().err().unwrap_or(Error::OutcomeUnknown)),
                }
            }
        }
        self.job.state.send_modify(|state| state.tally.join(tally));
        Ok(())
    }

    /// A user whom others changed meanwhile.
    async fn again(&self, id: &UserId, operation: &Operation) -> Result<Became, Error> {
        for _ in 1..TRIES {
            let (set, became) = match self.step(id, operation) {
                Step::Settled(became) => return Ok(became),
                Step::Proposed(set, became) => (set, became),
            };
            match self.proposer.all(smallvec![set]).await.first() {
                Some(Outcome::Done) => return Ok(became),
                Some(Outcome::Conflict { .. }) => {}
                Some(Outcome::Failed) | None => return Err(Error::OutcomeUnknown),
            }
        }
        Ok(Became::Busy)
    }

    /// What becomes of a user, as the user is now: nothing of one who no longer fits.
    fn step(&self, id: &UserId, operation: &Operation) -> Step {
        if let Some(before) = &self.core.before_operation {
            before(id, operation);
        }
        let wall_ms = self.core.store.clock().wall_ms();
        let fits = |user: &UserState| self.job.state.borrow().filter.takes(user, wall_ms);
        let Some(user) = self.core.store.load(id).filter(fits) else {
            return Step::Settled(Became::Unchanged);
        };
        let (now, policy) = (self.core.store.clock().now(), &self.core.policy());
        if *operation == Operation::EndAll && user.live_sessions(now, policy).is_empty() {
            return Step::Settled(Became::Unchanged);
        }
        // whoever has expired meanwhile is refused
        let Ok(decision) = user.decide(operation, now, policy) else {
            return Step::Settled(Became::Unchanged);
        };
        match user.change(operation, &decision, now) {
            None => Step::Settled(Became::Unchanged),
            Some(set) => {
                let became =
                    if matches!(decision, Decision::Remove { .. }) { Became::Removed } else { Became::Changed };
                Step::Proposed(set.noting(Note { reason: Some(Reason::Bulk), ..Note::default() }), became)
            }
        }
    }
}
