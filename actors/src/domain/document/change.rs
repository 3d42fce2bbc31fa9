//! What a change makes of a document's content, and the name under which it is known when it comes twice.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Number, Value};

use super::patch::Patch;
use super::{Content, DocumentRefusal, Kept, text};

/// Up to here every whole number is a floating-point number of 64 bits.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Names an operation, so that its repeat is known; and what it asks for, so that another one under its name is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationId {
    /// The beginning of a SHA-256 of what the client called it.
    pub(super) name: [u8; 12],
    /// The beginning of a SHA-256 of its change; none of one that was stored before that was.
    pub(super) asks: Option<[u8; 4]>,
}

impl OperationId {
    /// Whether an operation that was done is this one come again.
    pub(super) fn is_repeat_of(&self, done: &Self) -> bool {
        done.asks.is_none() || done.asks == self.asks
    }

    /// `name` is what the client calls it.
    pub fn new(name: &[u8], change: &Change) -> Self {
        let (tag, text) = match change {
            Change::Put(data) => (0, text(data)),
            Change::Merge(patch) => (1, text(patch)),
            Change::Patch(patch) => (2, patch.text()),
            Change::Increment { path, by } => (3, format!("{by} {path}")),
            Change::Delete => (4, String::new()),
        };
        let asks = digest(&SHA256, &[&[tag], text.as_bytes()].concat());
        let mut id = Self { name: [0; 12], asks: asks.as_ref().first_chunk().copied() };
        id.name.copy_from_slice(&digest(&SHA256, name).as_ref()[..12]);
        id
    }
}

/// What becomes of the document.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// It is this.
    Put(Map<String, Value>),
    /// A merge patch (RFC 7396).
    Merge(Map<String, Value>),
    /// A JSON patch (RFC 6902), all of it or nothing.
    Patch(Patch),
    /// A number grows by this; one that is not there is 0.
    Increment {
        /// A JSON pointer (RFC 6901) to it.
        path: String,
        /// By how much; may be negative.
        by: Number,
    },
    /// It is gone. The version goes on.
    Delete,
}

impl fmt::Debug for Change {
    /// What people keep is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put(_) => "Put(..)",
            Self::Merge(_) => "Merge(..)",
            Self::Patch(_) => "Patch(..)",
            Self::Increment { .. } => "Increment(..)",
            Self::Delete => "Delete",
        })
    }
}

impl Change {
    /// What it makes of a document's content, and of a number if it is an increment.
    pub(super) fn of(
        &self,
        kept: Option<&Kept>,
        most_bytes: usize,
    ) -> Result<(Content, Option<Number>), DocumentRefusal> {
        let current = || kept.map(|kept| kept.data.clone()).unwrap_or_default();
        let object =
            |value| if let Value::Object(object) = value { Ok(object) } else { Err(DocumentRefusal::NotAnObject) };
        match self {
            Self::Delete => Ok((None, None)),
            Self::Put(data) => Ok((Some(data.clone()), None)),
            Self::Merge(patch) => {
                let mut data = current();
                merge(&mut data, patch);
                Ok((Some(data), None))
            }
            Self::Patch(patch) => {
                let mut data = Value::Object(current());
                patch.apply(&mut data, kept.map_or(0, |kept| kept.json.len()), most_bytes)?;
                Ok((Some(object(data)?), None))
            }
            Self::Increment { path, by } => {
                let mut data = Value::Object(current());
                let number = grown(&mut data, path, by)?;
                Ok((Some(object(data)?), Some(number)))
            }
        }
    }
}

/// Applies a merge patch (RFC 7396): null takes away, objects are merged, all else takes the place of what was there.
pub(super) fn merge(data: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(data.remove(key)),
            Value::Object(patch) => {
                let member = data.entry(key.clone()).or_insert(Value::Null);
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                if let Value::Object(member) = member {
                    merge(member, patch);
                }
            }
            value => drop(data.insert(key.clone(), value.clone())),
        }
    }
}

/// How many objects and arrays are in each other.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Adds to the number at a path, and answers the sum.
fn grown(data: &mut Value, path: &str, by: &Number) -> Result<Number, DocumentRefusal> {
    if let Some(value) = data.pointer_mut(path) {
        let Value::Number(number) = value else { return Err(DocumentRefusal::NotANumber) };
        *number = sum(number, by)?;
        return Ok(number.clone());
    }
    let (parent, name) = path.rsplit_once('/').ok_or(DocumentRefusal::NotANumber)?;
    let Some(Value::Object(members)) = data.pointer_mut(parent) else { return Err(DocumentRefusal::NotANumber) };
    // RFC 6901 §4: ~1 first
    members.insert(name.replace("~1", "/").replace("~0", "~"), Value::Number(by.clone()));
    Ok(by.clone())
}

pub(super) fn sum(a: &Number, b: &Number) -> Result<Number, DocumentRefusal> {
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        let sum = a + b;
        let number = i64::try_from(sum).map(Number::from).or_else(|_| u64::try_from(sum).map(Number::from));
        return number.map_err(|_| DocumentRefusal::Overflow);
    }
    // a whole number that would be rounded before it is added to
    let is_exact = |number: &Number| whole(number).is_none_or(|whole| whole.unsigned_abs() <= EXACT as u128);
    if !is_exact(a) || !is_exact(b) {
        return Err(DocumentRefusal::Inexact);
    }
    let sum = a.as_f64().zip(b.as_f64()).map_or(f64::NAN, |(a, b)| a + b);
    // a browser cannot write 1.0, and could not test for it
    if sum.fract() == 0.0 && sum.abs() <= EXACT {
        return Ok(Number::from(sum as i64));
    }
    Number::from_f64(sum).ok_or(DocumentRefusal::Overflow)
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Whether a `test` holds (RFC 6902 §4.6): 1 and 1.0 are the same number.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one.as_f64() == other.as_f64(),
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_equal(value, other)))
        }
        (one, other) => one == other,
    }
}
