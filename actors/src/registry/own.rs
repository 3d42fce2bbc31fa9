//! The server's own values, in the order of their keys. There are few, and what writes them bounds them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::domain::{Family, Listing, ValueKey};

/// How many are copied for a snapshot at a time: the writer waits no longer than that takes.
const AT_ONCE: usize = 1024;

type Value = Arc<[u8]>;

/// The server's own values, in the order of their keys.
#[derive(Default)]
pub(super) struct Own(RwLock<BTreeMap<ValueKey, Value>>);

impl Own {
    pub(super) fn get(&self, key: &ValueKey) -> Option<Value> {
        self.0.read().get(key).map(Arc::clone)
    }

    pub(super) fn insert(&self, key: ValueKey, value: Value) -> Option<Value> {
        self.0.write().insert(key, value)
    }

    pub(super) fn remove(&self, key: &ValueKey) -> Option<Value> {
        self.0.write().remove(key)
    }

    pub(super) fn list(&self, listing: &Listing<'_>) -> Vec<(ValueKey, Value)> {
        let Listing { family, after, last_first, most } = *listing;
        let first = ValueKey::own(family, *b"");
        let after = after.map(|key| ValueKey::own(family, key));
        let values = self.0.read();
        let copy = |(key, value): (&ValueKey, &Value)| (key.clone(), Arc::clone(value));
        let is_of_it = |(key, _): &(&ValueKey, _)| key.family == family;
        if last_first {
            let end = match after {
                Some(key) => Bound::Excluded(key),
                None => Bound::Excluded(ValueKey::own(Family(family.0.saturating_add(1)), *b"")),
            };
            values.range((Bound::Included(first), end)).rev().take(most).map(copy).collect()
        } else {
            let begin = after.map_or(Bound::Included(first), Bound::Excluded);
            values.range((begin, Bound::Unbounded)).take_while(is_of_it).take(most).map(copy).collect()
        }
    }

    /// Calls `see` for each value, some at a time. Each that is there throughout is seen.
    pub(super) fn visit(&self, mut see: impl FnMut(ValueKey, Value)) {
        let mut after = Bound::Unbounded;
        loop {
            let some: Vec<_> = {
                let values = self.0.read();
                let range = values.range((after, Bound::Unbounded)).take(AT_ONCE);
                range.map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
            };
            let Some((last, _)) = some.last() else { return };
            after = Bound::Excluded(last.clone());
            some.into_iter().for_each(|(key, value)| see(key, value));
        }
    }
}
