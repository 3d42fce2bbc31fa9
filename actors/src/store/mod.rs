//! The store port: load, resolve, commit; the contract of a transactional database. Nothing above it may assume to be alone.
//!
//! A change set is checked, written, synced, applied to the registry and only then answered, so no reader sees uncommitted
//! state, a set is all or nothing, and an update can never bring back a user who is gone.

mod apply;
mod check;
mod completion;
pub mod embedded;
mod memory;

pub use apply::Effect;
pub use completion::{Applied, CompletionQueue, Completions, Outcomes, ReplyTo, Waiter};
pub use embedded::EmbeddedStore;
pub use memory::MemoryStore;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::domain::{ChangeSet, IdentityKey, ServiceClock, ServiceTime, UserId, UserState};
use crate::registry::Registry;

/// Whether the store can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Everything works.
    Writable,
    /// The journal could not be written; a new generation is being tried. Reads go on.
    Failing,
    /// The store is closed.
    Stopped,
}

/// The sets of one commit. Most commits are one set.
pub type Sets = SmallVec<[ChangeSet; 1]>;

/// Hears which users a group changed, to tell their actors. Safety does not rest on it.
pub trait Watcher: Send + Sync {
    /// The queue of the worker on which this user is live, if it is.
    fn queue_of(&self, id: &UserId) -> Option<Arc<CompletionQueue>>;
}

/// Where users are kept.
pub trait Store: Send + Sync + 'static {
    /// Every durable record, for reads that enter no queue.
    fn registry(&self) -> &Registry;

    /// The clock by which users expire.
    fn clock(&self) -> &ServiceClock;

    /// Proposes change sets, to be decided one by one in this order. The outcomes, one for each set, go to `reply` once
    /// they are durable.
    fn commit(&self, sets: Sets, reply: ReplyTo);

    /// Writes an activity that the registry already shows, with the next group; no caller waits for it.
    fn note_touch(&self, id: UserId, at: ServiceTime);

    /// Whether it can write.
    fn health(&self) -> Health;

    /// The watcher of applied changes from now on.
    fn watch(&self, watcher: Arc<dyn Watcher>);

    /// A user with all that is kept about them.
    fn load(&self, id: &UserId) -> Option<UserState> {
        self.registry().load(id)
    }

    /// The user who has this identity.
    fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.registry().resolve(identity)
    }
}
