//! A store that forgets everything with its process: the same writer, over a log that keeps nothing. For trying out, and for tests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::check::Accepted;
use super::local::LocalStore;
use super::log::Log;
use super::stats::Opened;
use super::writer::Shared;
use crate::domain::{Clock, ServiceClock, ServiceTime, UserId};
use crate::registry::Registry;

/// Every group is as durable as it will be.
struct Nothing {
    shared: Arc<Shared>,
    sets: usize,
    next_seq: u64,
}

impl Log for Nothing {
    // a group costs nothing that a larger one would save
    const LINGER: Duration = Duration::ZERO;
    const WRITES_TOUCHES: bool = false;

    fn is_open(&self) -> bool {
        true
    }

    fn touch(&mut self, _: UserId, _: ServiceTime) {}

    fn has_touches(&self) -> bool {
        false
    }

    fn add(&mut self, _: &Accepted<'_>) {
        self.sets += 1;
    }

    fn next_seq(&self) -> u64 {
        self.next_seq
    }

    fn append(&mut self, _: (ServiceTime, u64)) -> bool {
        if std::mem::take(&mut self.sets) > 0 {
            self.next_seq += 1;
            self.shared.stats.groups.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn new_generation(&mut self) {}

    fn keep(&mut self, _: bool) {}

    fn close(&mut self) {}
}

/// An empty store whose maps stay small up to `max_users`.
///
/// # Errors
/// There is no thread for its writer.
pub(super) fn open(max_users: usize, clock: Arc<dyn Clock>) -> std::io::Result<LocalStore> {
    let (registry, clock) = (Registry::new(max_users), ServiceClock::resume(clock, None));
    let opened = Opened { fresh: true, ..Opened::default() };
    LocalStore::start(registry, clock, opened, |shared| Nothing { shared: Arc::clone(shared), sets: 0, next_seq: 1 })
}
