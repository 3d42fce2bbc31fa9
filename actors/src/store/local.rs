//! A store of this process alone: every user in memory, every group in a log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::completion::ReplyTo;
use super::feed::Feed;
use super::log::Log;
use super::stats::{Opened, Stats};
use super::writer::{Message, Shared, Writer};
use super::{Health, Sets, Store, View};
use crate::domain::{Family, IdentityKey, Listing, Record, ServiceClock, Touched, UserId, ValueKey};
use crate::registry::Registry;

/// A store of this process alone: every user in memory, every group in a log. Ends when it is dropped.
pub(super) struct LocalStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    writes_touches: bool,
    opened: Opened,
}

impl LocalStore {
    /// Over what was read so far, with the log that `log` makes. Starts the writer.
    pub(super) fn start<L: Log>(
        registry: Registry,
        clock: ServiceClock,
        opened: Opened,
        log: impl FnOnce(&Arc<Shared>) -> L,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(registry, clock));
        let writer = Writer::new(Arc::clone(&shared), log(&shared));
        let spawned = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Mutex::new(Some(spawned)), writes_touches: L::WRITES_TOUCHES, opened })
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl View for LocalStore {
    fn record(&self, id: &UserId) -> Option<Record> {
        self.shared.registry.record(id)
    }

    fn extension(&self, id: &UserId) -> Option<Arc<[u8]>> {
        self.shared.registry.extension(id)
    }

    fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.shared.registry.resolve(identity)
    }

    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.shared.registry.value(key)
    }

    fn records(&self, id: &UserId) -> Option<(Record, Option<Arc<[u8]>>)> {
        self.shared.registry.records(id)
    }
}

impl Store for LocalStore {
    fn clock(&self) -> &ServiceClock {
        &self.shared.clock
    }

    fn commit(&self, sets: Sets, reply: ReplyTo) {
        self.shared.send(Message::Commit(sets, reply));
    }

    fn touch(&self, id: &UserId, window_s: u32, granularity_s: u32) -> Touched {
        let touched = self.shared.registry.touch(id, || self.shared.clock.now(), window_s, granularity_s);
        if let Touched::Raised(at) = touched
            && self.writes_touches
        {
            let mut queue = self.shared.queue.lock();
            if !self.shared.stopped.load(Ordering::Acquire) {
                queue.messages.push(Message::Touch(*id, at));
            }
        }
        touched
    }

    fn health(&self) -> Health {
        if self.shared.stopped.load(Ordering::Acquire) {
            Health::Stopped
        } else if self.shared.failing.load(Ordering::Acquire) {
            Health::Failing
        } else {
            Health::Writable
        }
    }

    fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    fn survivor(&self, id: &UserId) -> Option<UserId> {
        self.shared.registry.survivor(id)
    }

    fn was_never_here(&self, id: &UserId, since_ms: u64) -> bool {
        self.shared.registry.was_never_here(id, since_ms)
    }

    fn keys(&self, family: Family) -> usize {
        self.shared.registry.keys(family)
    }

    fn own_values(&self, listing: &Listing<'_>) -> Vec<(ValueKey, Arc<[u8]>)> {
        self.shared.registry.own_values(listing)
    }

    fn accounts(&self) -> usize {
        self.shared.registry.accounts()
    }

    fn identities(&self) -> usize {
        self.shared.registry.identities()
    }

    fn aliases(&self) -> usize {
        self.shared.registry.aliases()
    }

    fn document_bytes(&self) -> usize {
        self.shared.registry.document_bytes()
    }

    fn pages(&self) -> usize {
        self.shared.registry.pages()
    }

    fn see_users(&self, page: usize, see: &mut dyn FnMut(&UserId, &Record)) {
        self.shared.registry.see_users(page, see);
    }

    fn see_values(&self, page: usize, see: &mut dyn FnMut(&ValueKey, &Arc<[u8]>)) {
        self.shared.registry.see_values(page, see);
    }

    fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    fn waiting(&self) -> usize {
        let queue = self.shared.queue.lock();
        queue.messages.iter().filter(|message| matches!(message, Message::Commit(..))).count()
    }

    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn new_generation(&self) {
        self.shared.send(Message::NewGeneration);
    }

    fn nudge(&self) {
        self.shared.wake();
    }

    fn stop(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        self.shared.send(Message::Stop);
        if writer.thread().id() == std::thread::current().id() {
            return; // the writer itself let go of the last handle: it ends by itself
        }
        if writer.join().is_err() {
            tracing::error!("the store's writer died");
        }
    }
}
