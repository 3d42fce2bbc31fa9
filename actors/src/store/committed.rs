//! A committed change, as the readers of the feed are told of it.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::domain::{Cause, DocumentEdit, Note, ServiceTime, UserId};

/// Where a change stands in the feed of its store. Grows while the store runs, and over its restarts but for those that lose
/// the end of a journal (a loss of power without fsync, an older copy): positions from there on are given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The sequence number of its group.
    pub seq: u64,
    /// Which of its group, from 0.
    pub index: u32,
}

impl Position {
    /// The position of the next change of a group, of which these are known.
    pub fn of(seq: u64, known: &[Committed]) -> Self {
        // a group has far fewer sets than this
        Self { seq, index: u32::try_from(known.len()).unwrap_or(u32::MAX) }
    }
}

/// A user whose record a change touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// The user.
    pub id: UserId,
    /// Whether the user is gone.
    pub gone: bool,
}

/// One change set that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub position: Position,
    /// The service time of its group: when it was checked, just before it was written.
    pub service: ServiceTime,
    /// The same, Unix time in milliseconds.
    pub wall_ms: u64,
    /// Why.
    pub cause: Cause,
    /// The user that it is about; none for a name that has no user yet, and for the end of an id that is not stored.
    pub user: Option<UserId>,
    /// Whose records changed, in order.
    pub changed: SmallVec<[Changed; 2]>,
    /// What else is told of it.
    pub note: Option<Arc<Note>>,
}

impl Committed {
    /// Whom it is told of, one by one: each of the users who were created together, and otherwise the one that it is about.
    pub fn told_of(&self) -> SmallVec<[Option<UserId>; 2]> {
        if self.cause == Cause::Created && self.changed.len() > 1 {
            return self.changed.iter().filter(|changed| !changed.gone).map(|changed| Some(changed.id)).collect();
        }
        smallvec![self.user]
    }

    /// The change of the document, if it is one.
    pub fn edit(&self) -> Option<&DocumentEdit> {
        self.note.as_ref()?.edit.as_ref()
    }
}
