//! What a change changed, as it is journalled and told: a merge patch where one can say it, else the whole document.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::change::OperationId;
use super::{Outcome, ServiceTime};

/// What a change changed, in the form that is journalled and told.
#[derive(Clone, PartialEq, Eq)]
pub enum Shape {
    /// The whole document; none if it is gone.
    Whole(Option<Arc<str>>),
    /// A merge patch.
    Merge(Arc<str>),
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole(None) => "Gone",
            Self::Whole(Some(_)) => "Whole(..)",
            Self::Merge(_) => "Merge(..)",
        })
    }
}

/// A change of one version into the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The version before.
    pub seen: u64,
    /// When, in service seconds.
    pub at: ServiceTime,
    /// What.
    pub shape: Shape,
    pub(super) result: Option<(OperationId, Outcome)>,
}

/// The merge patch that makes `new` of `old`; none if none can, because something became null, which there means removed.
pub(super) fn difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match (old.get(key), value) {
            (Some(before), value) if is_same(before, value) => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(key.clone(), Value::Object(difference(before, after)?));
            }
            (_, value) => {
                patch.insert(key.clone(), Some(value).filter(|value| !holds_null(value))?.clone());
            }
        }
    }
    Some(patch)
}

/// Whether two values are the same, also as texts: 0.0 and -0.0 are equal and not the same.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other && serde_json::to_string(one).ok() == serde_json::to_string(other).ok()
}

/// Whether a merge patch would leave something of this value out.
fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}
