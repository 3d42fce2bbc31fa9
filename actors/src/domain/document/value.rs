//! What is done with JSON values wherever they are: merging, adding, comparing.

use serde_json::{Map, Number, Value};

use super::refusal::DocumentRefusal;

/// Up to here every whole number is a floating-point number of 64 bits.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Applies a merge patch (RFC 7396): null removes, objects are merged, all else replaces the old value.
pub fn merge(data: &mut Map<String, Value>, patch: &Map<String, Value>) {
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

/// Bytes of JSON text that a document has at least into which these members were merged: those that null removes need none, and
/// what is in an array is not looked at.
pub(super) fn least_bytes(members: &Map<String, Value>) -> usize {
    let least = |value: &Value| match value {
        Value::Object(members) => least_bytes(members),
        Value::String(text) => text.len() + 2,
        Value::Array(_) => 2,
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    };
    let kept = members.iter().filter(|(_, value)| !value.is_null());
    // a name in quotes, a colon and a comma; the braces have one comma less between them
    let bytes: usize = kept.map(|(name, value)| name.len() + 4 + least(value)).sum();
    bytes.saturating_sub(1) + 2
}

/// How many objects and arrays are in each other.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The sum, exactly as it can be written, or none at all.
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
