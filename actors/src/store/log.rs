//! What the group writer appends to.

use super::check::Accepted;
use crate::domain::{ServiceTime, UserId};

/// Takes the sets of one group after another and makes each group durable. All calls come from the writer's thread.
///
/// A group is all or nothing: after a failure none of it counts until a start has read the log again, and what its sets have
/// come to is unknown.
pub(super) trait Log: Send + 'static {
    /// How long the next group may wait for as many sets as the one before had: as long as that saves more than it costs.
    const LINGER: std::time::Duration;
    /// Whether activities are written. If not, none is sent.
    const WRITES_TOUCHES: bool;

    /// Whether groups can be appended. While they cannot, whatever is proposed is answered [`Failed`](crate::domain::Outcome::Failed).
    fn is_open(&self) -> bool;

    /// Takes the activity of a user, which readers see already, to be written with the next group.
    fn touch(&mut self, id: UserId, at: ServiceTime);

    /// Whether activities are to be written, although no set may come.
    fn has_touches(&self) -> bool;

    /// Adds a set that has passed to the group that is appended next.
    fn add(&mut self, set: &Accepted<'_>);

    /// The sequence number of the group that is appended next.
    fn next_seq(&self) -> u64;

    /// Appends the group with its service time and wall time (Unix ms); true once it is durable. Called even if the group has
    /// nothing to write. A failure is told to the operator, and shown by the store's health, before this returns.
    fn append(&mut self, times: (ServiceTime, u64)) -> bool;

    /// Begins a new generation, if there is such a thing, with the next [`keep`](Self::keep).
    fn new_generation(&mut self);

    /// Does what is due, between two groups: after each, after [`wake`](super::writer::Shared::wake), and once a second.
    /// A log that is `stopping` begins nothing new.
    fn keep(&mut self, stopping: bool);

    /// Ends the log in order: nothing follows.
    fn close(&mut self);
}
