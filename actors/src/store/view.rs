//! What the commit rule reads, and every reader besides: the keys of users and what hangs on them.

use std::sync::Arc;

use crate::domain::{Extension, IdentityKey, Record, UserId, UserState, ValueKey};
use crate::registry::Registry;

/// Reads by key. Each shows what has been committed and nothing else.
pub trait View {
    /// A user's compact record.
    fn record(&self, id: &UserId) -> Option<Record>;

    /// A user's extension record, as it is stored.
    fn extension(&self, id: &UserId) -> Option<Arc<[u8]>>;

    /// The user in whose extension record this identity is.
    fn resolve(&self, identity: &IdentityKey) -> Option<UserId>;

    /// The value of a key of any other family.
    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>>;

    /// A user's record and extension record, of the same commit: where one may come in between, this has to be overridden.
    fn records(&self, id: &UserId) -> Option<(Record, Option<Arc<[u8]>>)> {
        self.record(id).map(|record| (record, self.extension(id)))
    }

    /// A user with all that is kept about them.
    fn load(&self, id: &UserId) -> Option<UserState> {
        let (record, extension) = self.records(id)?;
        let [meters, document] = ValueKey::of_user(id).map(|key| self.value(&key));
        Some(UserState { meters, document, ..without_values(id, record, extension)? })
    }
}

/// A user from the two records, without meters and document. (Extension records are read once before they get here: by the codec at
/// recovery, which refuses what it cannot read, and by the writer of the value.)
pub(crate) fn without_values(id: &UserId, record: Record, extension: Option<Arc<[u8]>>) -> Option<UserState> {
    let extension = match extension {
        None => None,
        Some(bytes) => Some(Extension::decode(&bytes).ok()?),
    };
    Some(UserState { id: *id, record, extension, meters: None, document: None })
}

impl View for Registry {
    fn record(&self, id: &UserId) -> Option<Record> {
        self.record(id)
    }

    fn extension(&self, id: &UserId) -> Option<Arc<[u8]>> {
        self.extension(id)
    }

    fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.resolve(identity)
    }

    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.value(key)
    }

    fn records(&self, id: &UserId) -> Option<(Record, Option<Arc<[u8]>>)> {
        self.records(id)
    }
}
