//! The server's own values: admins, their keys and sessions, the audit log, deployments. Read from memory, changed by compare-and-set.

use std::sync::Arc;

use super::Handle;
use crate::actor::{Error, Settled};
use crate::domain::{Cause, ChangeSet, Family, Listing, Op, Rewrite, ValueKey};

/// A change of one of the server's own values.
#[derive(Debug, Clone)]
pub struct OwnChange {
    /// Where it is.
    pub key: ValueKey,
    /// What the caller saw there; none is one too.
    pub seen: Option<Arc<[u8]>>,
    /// What becomes of it; kept, the change only demands that it is still what the caller saw.
    pub change: Rewrite,
}

/// What became of changes of the server's own values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// They are made.
    Done,
    /// None is made: the value of this one is no longer what the caller saw.
    Moved {
        /// Index into the changes.
        change: usize,
    },
}

impl Handle {
    /// One of the server's own values.
    pub fn own_value(&self, family: Family, key: &[u8]) -> Option<Arc<[u8]>> {
        self.core().store.value(&ValueKey::own(family, key))
    }

    /// Some of the server's own values, in the order of their keys.
    pub fn own_values(&self, listing: &Listing<'_>) -> Vec<(ValueKey, Arc<[u8]>)> {
        self.core().store.own_values(listing)
    }

    /// How many there are of a family.
    pub fn own_count(&self, family: Family) -> usize {
        self.core().store.keys(family)
    }

    /// Changes some of the server's own values, together or not at all. Durable when answered.
    ///
    /// # Errors
    /// Any that is not `Refused`. `Internal`: a value is not the server's own.
    pub async fn change_own(&self, changes: Vec<OwnChange>) -> Result<Changes, Error> {
        let core = self.core();
        if let Some(change) = changes.iter().find(|change| !change.key.family.is_own()) {
            tracing::error!(
                family = change.key.family.0,
                "a user's value was to be changed as if it was the server's own"
            );
            return Err(Error::Internal);
        }
        core.writable()?;
        let permit = core.permit()?;
        let ops = changes.into_iter().map(|OwnChange { key, seen, change }| Op::Value { key, seen, change }).collect();
        let set = ChangeSet::new(Cause::Administered, core.store.clock().now(), ops);
        Ok(match self.worker.router.proposer().once(set, permit).await? {
            Settled::Done => Changes::Done,
            Settled::Conflict { op } => Changes::Moved { change: op },
        })
    }
}
