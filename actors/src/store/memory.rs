//! A store without a disk: the commit rule alone, for tests and as the port's second implementation.

use std::sync::Arc;

use parking_lot::Mutex;

use super::check::Group;
use super::completion::{Applied, ReplyTo};
use super::{Health, Store, Watcher};
use crate::domain::{ChangeSet, Clock, Outcome, ServiceClock, ServiceTime, UserId};
use crate::registry::Registry;

/// Forgets everything when dropped.
pub struct MemoryStore {
    registry: Registry,
    clock: ServiceClock,
    /// one commit at a time, as behind the embedded store's single writer
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { registry: Registry::new(1), clock: ServiceClock::resume(clock, None), watcher: Mutex::new(None) }
    }
}

impl Store for MemoryStore {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    fn commit(&self, sets: Vec<ChangeSet>, reply: ReplyTo) {
        let watcher = self.watcher.lock();
        let mut outcomes = Vec::with_capacity(sets.len());
        for set in sets {
            let cause = set.cause;
            let mut group = Group::new(&self.registry);
            if let Err(op) = group.add(set) {
                outcomes.push(Outcome::Conflict { op });
                continue;
            }
            for effect in group.effects {
                let changed = effect.changed_user();
                effect.apply(&self.registry);
                if let (Some(id), Some(watcher)) = (changed, &*watcher)
                    && let Some(queue) = watcher.queue_of(&id)
                {
                    queue.push_applied(Applied { id, cause });
                    queue.wake();
                }
            }
            outcomes.push(Outcome::Done);
        }
        reply.deliver(outcomes).wake();
    }

    fn note_touch(&self, _: UserId, _: ServiceTime) {}

    fn health(&self) -> Health {
        Health::Writable
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        *self.watcher.lock() = Some(watcher);
    }
}
