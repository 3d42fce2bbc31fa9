//! A store without a disk: the commit rule alone, for tests and as the port's second implementation.

use std::sync::Arc;

use parking_lot::Mutex;

use super::apply::Effect;
use super::check::Group;
use super::committed::Position;
use super::completion::{ReplyTo, Wakes};
use super::feed::Feed;
use super::{Health, Sets, Store, View};
use crate::domain::{Clock, Family, IdentityKey, Record, ServiceClock, Touched, UserId, UserState, ValueKey};
use crate::registry::Registry;

/// Forgets everything when dropped.
pub struct MemoryStore {
    registry: Registry,
    clock: ServiceClock,
    feed: Feed,
    /// One commit at a time, as behind the embedded store's single writer; the sequence number of the next.
    next_seq: Mutex<u64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (registry, clock) = (Registry::new(1), ServiceClock::resume(clock, None));
        Self { registry, clock, feed: Feed::default(), next_seq: Mutex::new(1) }
    }
}

impl View for MemoryStore {
    fn record(&self, id: &UserId) -> Option<Record> {
        self.registry.record(id)
    }

    fn extension(&self, id: &UserId) -> Option<Arc<[u8]>> {
        self.registry.extension(id)
    }

    fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.registry.resolve(identity)
    }

    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.registry.value(key)
    }

    fn load(&self, id: &UserId) -> Option<UserState> {
        self.registry.load(id)
    }
}

impl Store for MemoryStore {
    fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    fn commit(&self, sets: Sets, reply: ReplyTo) {
        let mut next_seq = self.next_seq.lock();
        let times = (self.clock.now(), self.clock.wall_ms());
        let (mut group, mut committed, mut wakes) = (Group::new(&self.registry), Vec::new(), Wakes::default());
        let outcomes = group.decide(sets, |accepted| {
            let position = Position::of(*next_seq, &committed);
            committed.push(accepted.committed(position, times));
        });
        Effect::apply_all(group.effects, &self.registry);
        *next_seq += 1;
        self.feed.publish(&committed, &mut wakes);
        reply.deliver(outcomes, &mut wakes);
        wakes.wake();
    }

    fn touch(&self, id: &UserId, window_s: u32, granularity_s: u32) -> Touched {
        self.registry.touch(id, || self.clock.now(), window_s, granularity_s)
    }

    fn health(&self) -> Health {
        Health::Writable
    }

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn survivor(&self, id: &UserId) -> Option<UserId> {
        self.registry.survivor(id)
    }

    fn was_never_here(&self, id: &UserId, since_ms: u64) -> bool {
        self.registry.was_never_here(id, since_ms)
    }

    fn keys(&self, family: Family) -> usize {
        self.registry.keys(family)
    }

    fn identities(&self) -> usize {
        self.registry.identities()
    }

    fn aliases(&self) -> usize {
        self.registry.aliases()
    }

    fn document_bytes(&self) -> usize {
        self.registry.document_bytes()
    }

    fn pages(&self) -> usize {
        self.registry.pages()
    }

    fn see_users(&self, page: usize, see: &mut dyn FnMut(&UserId, &Record)) {
        self.registry.see_users(page, see);
    }

    fn see_values(&self, page: usize, see: &mut dyn FnMut(&ValueKey, &Arc<[u8]>)) {
        self.registry.see_values(page, see);
    }
}
