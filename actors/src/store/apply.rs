//! Effects: what a checked change set does to what is stored. The journal holds effects, and replay applies them unchecked.

use std::sync::Arc;

use super::committed::Changed;
use crate::domain::{Document, Record, ServiceTime, UserId, ValueKey};
use crate::registry::Registry;

/// One unconditional change. Put and remove overwrite, a touch takes the maximum, and a change of a document names
/// the version that it applies to, so replay over a fuzzy snapshot converges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// This user has this record.
    PutUser(UserId, Record),
    /// This user is gone, with all that hangs on it.
    RemoveUser(UserId),
    /// This user has this extension record.
    PutExtension(UserId, Arc<[u8]>),
    /// This user has none.
    RemoveExtension(UserId),
    /// This user was active.
    Touch(UserId, ServiceTime),
    /// This key of any other family, perhaps one of a later version, has this value.
    PutValue(ValueKey, Arc<[u8]>),
    /// The document of this key changed by this much, into this: known in a group that was just decided, and not any more where
    /// the change was read from the journal. A document that is past the change is left as it is.
    EditValue(ValueKey, Arc<[u8]>, Option<Arc<[u8]>>),
    /// This key of any other family has none.
    RemoveValue(ValueKey),
}

impl Effect {
    /// The user whose record changes by it, touches aside.
    pub(super) fn changed(&self) -> Option<Changed> {
        match self {
            Self::PutUser(id, _) => Some(Changed { id: *id, gone: false }),
            Self::RemoveUser(id) => Some(Changed { id: *id, gone: true }),
            _ => None,
        }
    }

    /// Does them all, in order. A record and its extension record change together for all readers.
    pub(crate) fn apply_all(effects: impl IntoIterator<Item = Self>, registry: &Registry) {
        let mut effects = effects.into_iter().peekable();
        while let Some(effect) = effects.next() {
            match effect {
                Self::PutUser(id, record) => {
                    let attached = effects.next_if(
                        |next| matches!(next, Self::PutExtension(of, _) | Self::RemoveExtension(of) if *of == id),
                    );
                    registry.put_user(id, record, || {
                        if let Some(attached) = attached {
                            attached.apply(registry);
                        }
                    });
                }
                other => other.apply(registry),
            }
        }
    }

    /// How much of documents a replay reads and writes (bytes).
    pub(super) fn replay_bytes(&self) -> u64 {
        match self {
            Self::EditValue(_, _, Some(next)) => next.len() as u64,
            _ => 0,
        }
    }

    fn apply(self, registry: &Registry) {
        match self {
            Self::PutUser(id, record) => registry.put_user(id, record, || {}),
            Self::RemoveUser(id) => registry.remove_user(&id),
            Self::PutExtension(id, bytes) => registry.put_extension(id, bytes),
            Self::RemoveExtension(id) => registry.remove_extension(&id),
            Self::Touch(id, at) => registry.raise_last_seen(&id, at),
            Self::PutValue(key, value) => registry.put_value(key, value),
            Self::EditValue(key, _, Some(next)) => registry.put_value(key, next),
            Self::EditValue(key, delta, None) => {
                if let Some(next) = Document::replay(registry.value(&key).as_deref(), &delta) {
                    registry.put_value(key, next.into());
                }
            }
            Self::RemoveValue(key) => registry.remove_value(&key),
        }
    }
}
