//! JSON patches (RFC 6902): reading one, and applying it within a bound on the work.
//!
//! An operation can touch far more than the few bytes that ask for it: a list whose first item goes, a tree that is moved to
//! where it is deeper. So an operation pays for what it touches, and a patch whose operations touch more together than a
//! request may is refused.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::refusal::{DocumentRefusal, MAX_DEPTH};
use super::value::is_equal;

/// Steps that a patch may take for operations and what they touch, besides one for each byte of the document. A step is about what
/// looking at one value takes: some nanoseconds.
///
/// The document and the patch together bound them too, since an operation has a length and can touch no more than there is. What is
/// small enough to be free of any budget (4 KiB together) cannot take all of these. The worst patches of that size, from reading the
/// stored document to writing it again, took less than twice as long as a merge patch of the same size (1.2 ms and 0.65 ms in a build
/// without optimisation), so they need no bound of their own.
const STEPS: usize = 32 * 1024;
/// Items of a list that move up or down in one step.
const MOVED_IN_A_STEP: usize = 8;
/// Bytes of pointers that are read in one step.
const READ_IN_A_STEP: usize = 16;

/// A JSON patch.
#[derive(Clone, PartialEq, Eq)]
pub struct Patch(Vec<Operation>);

#[derive(Clone, PartialEq, Eq)]
enum Operation {
    Add { path: Pointer, value: Value },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Value },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Value },
}

/// A JSON value is no JSON patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPatch {
    /// It is not an array.
    #[error("a JSON patch is an array of operations")]
    NotAnArray,
    /// An operation is not an object.
    #[error("operation {0} is not an object")]
    NotAnObject(usize),
    /// An operation's `op` is none of the six.
    #[error("operation {0}: op must be add, remove, replace, move, copy or test")]
    UnknownOperation(usize),
    /// An operation lacks what it needs.
    #[error("operation {0} needs {1}")]
    Missing(usize, &'static str),
    /// A path is no JSON pointer.
    #[error("operation {0}: {1} must be a JSON pointer, such as /visits (RFC 6901)")]
    NoPointer(usize, &'static str),
}

impl Patch {
    /// Reads a patch. Members that no operation knows are ignored (RFC 6902 §4).
    ///
    /// # Errors
    /// [`NoPatch`] names the operation.
    pub fn of(value: Value) -> Result<Self, NoPatch> {
        let Value::Array(operations) = value else { return Err(NoPatch::NotAnArray) };
        operations
            .into_iter()
            .enumerate()
            .map(|(number, value)| Operation::of(number, value))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// As JSON: what a repeat of the operation is known by, so its bytes stay as they are.
    pub(super) fn text(&self) -> String {
        let operation = |operation: &Operation| {
            let (name, from, path, value) = match operation {
                Operation::Add { path, value } => ("add", None, path, Some(value)),
                Operation::Remove { path } => ("remove", None, path, None),
                Operation::Replace { path, value } => ("replace", None, path, Some(value)),
                Operation::Move { from, path } => ("move", Some(from), path, None),
                Operation::Copy { from, path } => ("copy", Some(from), path, None),
                Operation::Test { path, value } => ("test", None, path, Some(value)),
            };
            let quoted = |pointer: &Pointer| serde_json::to_string(&pointer.0).unwrap_or_default();
            let from = from.map(|from| format!(r#""from":{},"#, quoted(from))).unwrap_or_default();
            let value = value.map(|value| format!(r#","value":{value}"#)).unwrap_or_default();
            format!(r#"{{"op":"{name}",{from}"path":{}{value}}}"#, quoted(path))
        };
        format!("[{}]", self.0.iter().map(operation).collect::<Vec<_>>().join(","))
    }

    /// Applies it, one operation after the other, to a document that is dropped if one of them does not fit. `bytes` is how
    /// large the document is as text, `most_bytes` how large one may be.
    pub(super) fn apply(&self, data: &mut Value, bytes: usize, most_bytes: usize) -> Result<(), DocumentRefusal> {
        let mut work = Work { steps: STEPS + bytes, copied: 0, most_bytes };
        for (number, operation) in self.0.iter().enumerate() {
            operation.apply(data, &mut work).map_err(|problem| match problem {
                Problem::Misfit => DocumentRefusal::Patch(number),
                Problem::TooCostly => DocumentRefusal::TooCostly(number),
                Problem::TooDeep => DocumentRefusal::TooDeep,
                Problem::TooLarge(bytes) => DocumentRefusal::TooLarge { bytes, most: most_bytes },
            })?;
        }
        Ok(())
    }
}

/// Why an operation is not applied.
enum Problem {
    Misfit,
    TooCostly,
    TooDeep,
    TooLarge(usize),
}

/// What a patch may still do.
struct Work {
    steps: usize,
    copied: usize,
    most_bytes: usize,
}

impl Work {
    fn take(&mut self, steps: usize) -> Result<(), Problem> {
        self.steps = self.steps.checked_sub(steps).ok_or(Problem::TooCostly)?;
        Ok(())
    }

    /// How many objects and arrays are in each other, of a value that is looked at all over.
    fn depth(&mut self, value: &Value) -> Result<usize, Problem> {
        self.take(1)?;
        let mut deepest = 0;
        match value {
            Value::Object(members) => {
                for value in members.values() {
                    deepest = self.depth(value)?.max(deepest);
                }
            }
            Value::Array(items) => {
                for value in items {
                    deepest = self.depth(value)?.max(deepest);
                }
            }
            _ => return Ok(0),
        }
        Ok(deepest + 1)
    }

    /// Whether a value may stand at a place.
    fn fits(&mut self, value: &Value, path: &Pointer) -> Result<(), Problem> {
        if path.tokens().count() + self.depth(value)? > MAX_DEPTH { Err(Problem::TooDeep) } else { Ok(()) }
    }
}

impl Operation {
    fn of(number: usize, value: Value) -> Result<Self, NoPatch> {
        let Value::Object(mut members) = value else { return Err(NoPatch::NotAnObject(number)) };
        let pointer = |members: &mut Map<String, Value>, name| match members.remove(name) {
            Some(Value::String(text)) => Pointer::parse(text).ok_or(NoPatch::NoPointer(number, name)),
            Some(_) => Err(NoPatch::NoPointer(number, name)),
            None => Err(NoPatch::Missing(number, name)),
        };
        let value = |members: &mut Map<String, Value>| members.remove("value").ok_or(NoPatch::Missing(number, "value"));
        let name = members.remove("op");
        let path = pointer(&mut members, "path");
        match name.as_ref().and_then(Value::as_str) {
            Some("add") => Ok(Self::Add { path: path?, value: value(&mut members)? }),
            Some("remove") => Ok(Self::Remove { path: path? }),
            Some("replace") => Ok(Self::Replace { path: path?, value: value(&mut members)? }),
            Some("move") => Ok(Self::Move { from: pointer(&mut members, "from")?, path: path? }),
            Some("copy") => Ok(Self::Copy { from: pointer(&mut members, "from")?, path: path? }),
            Some("test") => Ok(Self::Test { path: path?, value: value(&mut members)? }),
            _ => Err(NoPatch::UnknownOperation(number)),
        }
    }

    fn apply(&self, data: &mut Value, work: &mut Work) -> Result<(), Problem> {
        match self {
            Self::Add { path, value } => {
                work.fits(value, path)?;
                add(data, path, value.clone(), work)
            }
            Self::Remove { path } => remove(data, path, work).map(drop),
            Self::Replace { path, value } => {
                work.fits(value, path)?;
                *path.find_mut(data, work)? = value.clone();
                Ok(())
            }
            Self::Move { from, path } => {
                if path.is_inside(from) {
                    return Err(Problem::Misfit);
                }
                let value = from.find(data, work)?;
                // if it is no deeper than before, nothing can be too deep
                if path.tokens().count() > from.tokens().count() {
                    work.fits(value, path)?;
                }
                if path == from {
                    return Ok(());
                }
                if from.0.is_empty() {
                    return Err(Problem::Misfit);
                }
                let value = remove(data, from, work)?;
                add(data, path, value, work)
            }
            Self::Copy { from, path } => {
                let value = from.find(data, work)?;
                // copies of copies grow without end
                work.copied += serde_json::to_string(value).map_or(usize::MAX, |json| json.len());
                if work.copied > work.most_bytes {
                    return Err(Problem::TooLarge(work.copied));
                }
                work.fits(value, path)?;
                let value = value.clone();
                add(data, path, value, work)
            }
            Self::Test { path, value } => {
                if is_equal(path.find(data, work)?, value) {
                    Ok(())
                } else {
                    Err(Problem::Misfit)
                }
            }
        }
    }
}

/// Puts a value at a place: inserted into an array, replacing the old one in an object.
fn add(data: &mut Value, path: &Pointer, value: Value, work: &mut Work) -> Result<(), Problem> {
    let Some((parent, name)) = path.parent() else {
        *data = value;
        return Ok(());
    };
    match parent.find_mut(data, work)? {
        Value::Object(members) => drop(members.insert(name.into_owned(), value)),
        Value::Array(items) => {
            let at = if name == "-" { items.len() } else { index(&name).ok_or(Problem::Misfit)? };
            let moved = items.len().checked_sub(at).ok_or(Problem::Misfit)?;
            work.take(moved / MOVED_IN_A_STEP)?;
            items.insert(at, value);
        }
        _ => return Err(Problem::Misfit),
    }
    Ok(())
}

/// Removes a value. A patch never removes the whole document.
fn remove(data: &mut Value, path: &Pointer, work: &mut Work) -> Result<Value, Problem> {
    let (parent, name) = path.parent().ok_or(Problem::Misfit)?;
    match parent.find_mut(data, work)? {
        Value::Object(members) => members.remove(&*name).ok_or(Problem::Misfit),
        Value::Array(items) => {
            let at = index(&name).filter(|at| *at < items.len()).ok_or(Problem::Misfit)?;
            work.take((items.len() - at) / MOVED_IN_A_STEP)?;
            Ok(items.remove(at))
        }
        _ => Err(Problem::Misfit),
    }
}

/// The place in an array (RFC 6901 §4): no sign and no zero before it.
fn index(name: &str) -> Option<usize> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_plain { name.parse().ok() } else { None }
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, PartialEq, Eq)]
struct Pointer(String);

impl Pointer {
    fn parse(text: String) -> Option<Self> {
        let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        (is_escaped && (text.is_empty() || text.starts_with('/'))).then_some(Self(text))
    }

    fn tokens(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.split('/').skip(1).map(unescaped)
    }

    /// Whether it names something below the other, and not that itself.
    fn is_inside(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What it is in, and under which name; none of the whole document.
    fn parent(&self) -> Option<(Parent<'_>, Cow<'_, str>)> {
        self.0.rsplit_once('/').map(|(parent, name)| (Parent(parent), unescaped(name)))
    }

    fn find<'a>(&self, data: &'a Value, work: &mut Work) -> Result<&'a Value, Problem> {
        work.take(1 + self.0.len() / READ_IN_A_STEP)?;
        let mut found = data;
        for token in self.tokens() {
            found = match found {
                Value::Object(members) => members.get(&*token),
                Value::Array(items) => index(&token).and_then(|at| items.get(at)),
                _ => None,
            }
            .ok_or(Problem::Misfit)?;
        }
        Ok(found)
    }

    fn find_mut<'a>(&self, data: &'a mut Value, work: &mut Work) -> Result<&'a mut Value, Problem> {
        Parent(&self.0).find_mut(data, work)
    }
}

/// A pointer that is a part of a longer one.
struct Parent<'a>(&'a str);

impl Parent<'_> {
    fn find_mut<'a>(&self, data: &'a mut Value, work: &mut Work) -> Result<&'a mut Value, Problem> {
        work.take(1 + self.0.len() / READ_IN_A_STEP)?;
        let mut found = data;
        for token in self.0.split('/').skip(1).map(unescaped) {
            found = match found {
                Value::Object(members) => members.get_mut(&*token),
                Value::Array(items) => index(&token).and_then(|at| items.get_mut(at)),
                _ => None,
            }
            .ok_or(Problem::Misfit)?;
        }
        Ok(found)
    }
}

/// RFC 6901 §4: ~1 first.
fn unescaped(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

#[cfg(test)]
mod tests;
