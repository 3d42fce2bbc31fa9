//! The embedded store: one writer thread, a journal file, and generations with sled snapshots.
//!
//! `data/LOCK` is held for the life of the process. `data/CURRENT` names the newest complete generation.
//! `data/gen-NNNN/journal` holds groups, `data/gen-NNNN/snapshot/` every record at the journal's beginning.

mod codec;
mod error;
pub mod files;
mod generation;
mod journal;
mod layout;
mod lock;
mod options;
mod progress;
mod recovery;
mod shared;
mod snapshot;
mod writer;

pub use error::OpenError;
pub use options::{Durability, Options};
pub use recovery::{Inspection, Opened, SPOILT_END, inspect, look, salvage};
pub use shared::Stats;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use self::files::Files;
use self::shared::{Message, Shared};
use super::completion::ReplyTo;
use super::feed::Feed;
use super::{Health, Sets, Store, View};
use crate::domain::{Clock, Family, IdentityKey, Record, ServiceClock, Touched, UserId, UserState, ValueKey};

/// The store of one data folder.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    opened: Opened,
}

impl EmbeddedStore {
    /// Opens a data folder, making it if need be, and starts its writer.
    ///
    /// # Errors
    /// [`OpenError`]; the folder is then as it was.
    pub fn open(dir: &Path, options: Options, files: Arc<dyn Files>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let lock = lock::lock(dir, &*files)?;
        let (registry, recovered) = recovery::recover(dir, &options, &*files, &*clock)?;
        (options.give_back)();
        let opened = recovered.opened.clone();
        let shared = Arc::new(Shared::new(registry, ServiceClock::resume(clock, recovered.last_times)));
        let writer = writer::Writer::new(Arc::clone(&shared), files, dir.to_owned(), options, recovered, lock);
        let spawned = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        let writer = Mutex::new(Some(spawned.map_err(OpenError::io(dir))?));
        Ok(Self { shared, writer, opened })
    }

    /// What was found when it was opened.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Figures since it was opened.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// How many commits wait for the group before theirs.
    pub fn waiting(&self) -> usize {
        let queue = self.shared.queue.lock();
        queue.messages.iter().filter(|message| matches!(message, Message::Commit(..))).count()
    }

    /// Begins a new generation, unless one is under way. [`Stats::generations`] tells when it is complete.
    pub fn new_generation(&self) {
        self.shared.send(Message::NewGeneration);
    }

    /// Makes the writer look at the clock now; it does so once a second anyway.
    pub fn nudge(&self) {
        let _queue = self.shared.queue.lock();
        self.shared.arrived.notify_one();
    }

    /// Answers what is waiting, ends the journal in order and waits for the threads.
    pub fn stop(&self) {
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

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl View for EmbeddedStore {
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

    fn load(&self, id: &UserId) -> Option<UserState> {
        self.shared.registry.load(id)
    }
}

impl Store for EmbeddedStore {
    fn clock(&self) -> &ServiceClock {
        &self.shared.clock
    }

    fn commit(&self, sets: Sets, reply: ReplyTo) {
        self.shared.send(Message::Commit(sets, reply));
    }

    fn touch(&self, id: &UserId, window_s: u32, granularity_s: u32) -> Touched {
        let touched = self.shared.registry.touch(id, || self.shared.clock.now(), window_s, granularity_s);
        if let Touched::Raised(at) = touched {
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
}
