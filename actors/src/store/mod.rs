//! The store port: load, resolve, commit; the contract of a transactional database. Nothing above it may assume to be alone.
//!
//! Whoever implements [`Store`] keeps this, and `actors/tests/it/conformance.rs` checks it:
//! - **Order.** The sets of one commit are decided one by one by the commit rule ([`Group`]), as if no other came in between.
//! - **All or nothing.** No reader sees a part of a set, nor any of it before it is durable.
//! - **Then it is told, then answered.** A set is durable, then readers see it, then the [`Feed`] publishes it, and only then
//!   its proposer is answered ([`ReplyTo`]); what is answered is never taken back. A proposer whose outcome is unknown is
//!   answered `Failed`, never `Conflict`.
//! - **Dead is dead.** An id that [`View::record`] does not show is dead. A store that cannot know says so by its [`Health`]
//!   first, and nobody is then called dead. No update, touch or replay brings a user back.
//! - **Reads wait for nothing**: requests read on their worker's thread.

mod apply;
mod check;
mod committed;
mod completion;
pub mod embedded;
mod feed;
mod local;
mod log;
mod memory;
mod open;
mod stats;
mod view;
mod writer;

pub use apply::Effect;
pub use check::{Accepted, Group};
pub use committed::{Changed, Committed, Position};
pub use completion::{CompletionQueue, Completions, Outcomes, ReplyTo, Told, Waiter, Wakes};
pub use feed::{Feed, Follower, Next, Reader};
pub use open::{Config, open};
pub use stats::{Opened, Stats};
pub use view::View;
pub(crate) use view::without_values;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::domain::{ChangeSet, Family, Listing, Record, ServiceClock, Touched, UserId, ValueKey};

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

/// Where users are kept. Its reads ([`View`]) enter no queue.
pub trait Store: View + Send + Sync + 'static {
    /// The clock by which users expire.
    fn clock(&self) -> &ServiceClock;

    /// Proposes change sets, to be decided one by one in this order. The outcomes, one for each set, go to `reply` once
    /// they are durable.
    fn commit(&self, sets: Sets, reply: ReplyTo);

    /// Marks activity, if the last one is at least `granularity_s` old and the deadline has not come (`window_s` after it). All
    /// readers see it at once; it is written with the next group, and no caller waits for that.
    fn touch(&self, id: &UserId, window_s: u32, granularity_s: u32) -> Touched;

    /// Whether it can write.
    fn health(&self) -> Health;

    /// The feed of committed changes.
    fn feed(&self) -> &Feed;

    /// Whose data the data of this id is now, if its user became part of an account.
    fn survivor(&self, id: &UserId) -> Option<UserId>;

    /// Whether this id was never given out here: its user was created after `since_ms` (Unix time in milliseconds), is not here, and
    /// is not one of those that ended since. False where that is not known.
    fn was_never_here(&self, _id: &UserId, _since_ms: u64) -> bool {
        false
    }

    /// How many keys of a family there are; 0 for one of a later version.
    fn keys(&self, family: Family) -> usize;

    /// Some of the server's own values, in the order of their keys.
    fn own_values(&self, listing: &Listing<'_>) -> Vec<(ValueKey, Arc<[u8]>)>;

    /// How many users there are.
    fn users(&self) -> usize {
        self.keys(Family::USER)
    }

    /// How many of the users are accounts.
    fn accounts(&self) -> usize;

    /// How many identities and API keys have an owner.
    fn identities(&self) -> usize;

    /// How many users became part of others that are there.
    fn aliases(&self) -> usize;

    /// How many bytes all documents take.
    fn document_bytes(&self) -> usize;

    /// In how many pages users and values lie, for a sweep that looks at one after another. What is there from the first to the
    /// last is seen.
    fn pages(&self) -> usize;

    /// Calls `see` for each user of one page. Part of the store may be locked meanwhile: `see` does not call it.
    fn see_users(&self, page: usize, see: &mut dyn FnMut(&UserId, &Record));

    /// Calls `see` for each value of one page, under the same condition; the server's own ([`Family::is_own`]) may be left out.
    fn see_values(&self, page: usize, see: &mut dyn FnMut(&ValueKey, &Arc<[u8]>));

    /// Figures since it was opened.
    fn stats(&self) -> &Stats;

    /// How many commits wait for the group before theirs.
    fn waiting(&self) -> usize;

    /// What was found when it was opened.
    fn opened(&self) -> &Opened;

    /// Begins a new generation, unless one is under way or there is no such thing here. [`Stats::generations`] tells when it
    /// is complete.
    fn new_generation(&self) {}

    /// Has what is due by the clock done now; it is noticed within a second anyway.
    fn nudge(&self) {}

    /// Answers what is waiting, ends in order and waits for its threads.
    fn stop(&self);
}
