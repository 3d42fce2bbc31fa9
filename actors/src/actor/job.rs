//! A bulk job: what it does to whom, how far it has come, and that there is one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::Error;
use crate::domain::{Cause, Operation, Suspension};
use crate::listing::UserFilter;

/// What is done to each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAction {
    /// Ends all sessions, which deletes an anonymous user.
    EndSessions,
    /// Suspends.
    Disable,
    /// Lifts the suspension.
    Enable,
    /// Deletes.
    Delete,
}

impl BulkAction {
    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndSessions => "end-sessions",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Delete => "delete",
        }
    }

    pub(super) fn operation(self) -> Operation {
        match self {
            Self::EndSessions => Operation::EndAll,
            Self::Disable => Operation::Disable(Suspension::default()),
            Self::Enable => Operation::Enable,
            Self::Delete => Operation::Delete { cause: Cause::DeletedByAdmin },
        }
    }
}

/// What became of the users so far; of a dry run, what would become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BulkTally {
    /// Users who fitted.
    pub matched: u64,
    /// Users who changed, and are there.
    pub changed: u64,
    /// Users who are gone by it.
    pub removed: u64,
    /// Users who were so already, or ended meanwhile.
    pub unchanged: u64,
    /// Users whom others changed each time that it was tried.
    pub busy: u64,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkEnd {
    /// All users are done.
    Done,
    /// It was told to.
    Stopped,
    /// It could not go on; of those under way, it is unknown what became of them.
    Failed(Error),
}

/// A job, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// Its number, from 1 in each process.
    pub number: u64,
    /// What is done.
    pub action: BulkAction,
    /// To whom.
    pub filter: UserFilter,
    /// Whether it only counts.
    pub is_dry_run: bool,
    /// When it began: Unix time in milliseconds.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How many users there were to do when it began; none until that is known, or if it is not.
    pub about: Option<u64>,
    /// What became of them.
    pub tally: BulkTally,
    /// How it ended; none while it runs.
    pub end: Option<BulkEnd>,
}

/// A job is under way, and there is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bulk job {0} is under way, and there is one at a time")]
pub struct BulkUnderWay(
    /// Its number.
    pub u64,
);

/// The job that was begun last.
#[derive(Default)]
pub(crate) struct LastJob(pub(super) Mutex<Option<Arc<Job>>>);

pub(super) struct Job {
    pub(super) state: watch::Sender<Bulk>,
    pub(super) stop: AtomicBool,
}

/// A job that was begun, and goes on whether or not this is held.
#[derive(Clone)]
pub struct BulkJob(pub(super) Arc<Job>);

impl BulkJob {
    /// How far it has come.
    pub fn look(&self) -> Bulk {
        self.0.state.borrow().clone()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Bulk {
        let mut state = self.0.state.subscribe();
        let ended = state.wait_for(|bulk| bulk.end.is_some()).await.map(|bulk| bulk.clone());
        ended.unwrap_or_else(|_| self.look())
    }
}

impl LastJob {
    /// How far it has come.
    pub(crate) fn look(&self) -> Option<Bulk> {
        self.0.lock().as_ref().map(|job| job.state.borrow().clone())
    }

    /// Lets the job of this number end soon; answers whether it was under way.
    pub(crate) fn stop(&self, number: u64) -> bool {
        let last = self.0.lock();
        let is_running = |job: &&Arc<Job>| {
            let state = job.state.borrow();
            state.number == number && state.end.is_none()
        };
        let running = last.as_ref().filter(is_running);
        running.inspect(|job| job.stop.store(true, Ordering::Relaxed)).is_some()
    }
}

/// What became of one user.
#[derive(Debug, Clone, Copy)]
pub(super) enum Became {
    Changed,
    Removed,
    Unchanged,
    Busy,
}

impl BulkTally {
    pub(super) fn add(&mut self, became: Became) {
        *match became {
            Became::Changed => &mut self.changed,
            Became::Removed => &mut self.removed,
            Became::Unchanged => &mut self.unchanged,
            Became::Busy => &mut self.busy,
        } += 1;
    }

    pub(super) fn join(&mut self, other: Self) {
        let Self { matched, changed, removed, unchanged, busy } = other;
        self.matched += matched;
        self.changed += changed;
        self.removed += removed;
        self.unchanged += unchanged;
        self.busy += busy;
    }
}
