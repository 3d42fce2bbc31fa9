//! Reads from memory, which wait for nothing.

use std::sync::Arc;

use super::Handle;
use crate::domain::{IdentityKey, UserId, UserState};

impl Handle {
    /// A user with all that is kept about them, if they live.
    pub fn load(&self, user: &UserId) -> Option<UserState> {
        let (store, policy) = (&self.core().store, &self.core().policy());
        store.load(user).filter(|state| !state.record.is_expired(store.clock().now(), policy.window_s))
    }

    /// The same, including a user who has expired and is not swept yet.
    pub fn stored(&self, user: &UserId) -> Option<UserState> {
        self.core().store.load(user)
    }

    /// Whether there is such a user.
    pub fn exists(&self, user: &UserId) -> bool {
        self.core().store.record(user).is_some()
    }

    /// The user that this one became part of.
    pub fn survivor(&self, user: &UserId) -> Option<UserId> {
        self.core().store.survivor(user)
    }

    /// The user who has an identity.
    pub fn owner(&self, identity: &IdentityKey) -> Option<UserId> {
        self.core().store.resolve(identity)
    }

    /// The user's document as it is stored, to be read by [`Document::view`](crate::domain::Document::view).
    pub fn document(&self, user: &UserId) -> Option<Arc<[u8]>> {
        self.core().document(user)
    }
}
