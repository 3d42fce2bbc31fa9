//! A store without a disk: the commit rule alone, for tests and as the port's second implementation.

use std::sync::Arc;

use parking_lot::Mutex;

use super::apply::Effect;
use super::check::Group;
use super::completion::ReplyTo;
use super::{Health, Sets, Store, Watcher};
use crate::domain::{Clock, ServiceClock, ServiceTime, UserId};
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

    fn commit(&self, sets: Sets, reply: ReplyTo) {
        let watcher = self.watcher.lock();
        let mut group = Group::new(&self.registry);
        let mut changed = Vec::new();
        let outcomes = group.decide(sets, |accepted| changed.extend(accepted.notices()));
        Effect::apply_all(group.effects, &self.registry);
        for applied in changed {
            if let Some(queue) = watcher.as_ref().and_then(|watcher| watcher.queue_of(&applied.id)) {
                queue.push_applied(applied);
                queue.wake();
            }
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
