//! What a change changed, as it is journalled and told: a merge patch where one can say it, else the whole document.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::change::OperationId;
use crate::domain::clock::ServiceTime;

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

/// The result of an operation, which its repeat gets again.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) version: u64,
    pub(super) value: Option<Number>,
}

impl fmt::Debug for Outcome {
    /// The number is of what people keep, and is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("version", &self.version).finish_non_exhaustive()
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

impl Delta {
    /// How large what it tells is (bytes).
    pub fn size(&self) -> usize {
        match &self.shape {
            Shape::Whole(None) => 0,
            Shape::Whole(Some(json)) | Shape::Merge(json) => json.len(),
        }
    }
}

/// The merge patch that turns `old` into `new`; none if none can, because something became null, which there means removed. Each value is
/// looked at once, however deep it is.
pub(super) fn difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match (old.get(key), value) {
            (Some(Value::Object(before)), Value::Object(after)) => {
                let inner = difference(before, after)?;
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Some(before), value) if is_same(before, value) => {}
            (_, value) => {
                patch.insert(key.clone(), Some(value).filter(|value| !holds_null(value))?.clone());
            }
        }
    }
    Some(patch)
}

/// Whether two values are the same, also as texts: 0.0 and -0.0 are equal and not the same.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let is_negative = |number: &Number| number.as_f64().is_some_and(f64::is_sign_negative);
            one == other && is_negative(one) == is_negative(other)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        (one, other) => one == other,
    }
}

/// Whether a merge patch would leave something of this value out.
fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}
