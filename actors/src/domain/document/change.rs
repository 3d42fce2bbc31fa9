//! What a change does to a document's content, and the name by which a repeat of it is known.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Number, Value};

use super::kept::{Content, Kept, text};
use super::patch::Patch;
use super::refusal::DocumentRefusal;
use super::value::{least_bytes, merge, sum};

/// Names an operation, so that its repeat is known; and what it asks for, so that a different one under its name is not mistaken for it.
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
    /// The new content of a document, and the new number if it is an increment.
    pub(super) fn of(
        &self,
        kept: Option<&Kept>,
        most_bytes: usize,
    ) -> Result<(Content, Option<Number>), DocumentRefusal> {
        let current = || kept.map(|kept| kept.data.clone()).unwrap_or_default();
        let object =
            |value| if let Value::Object(object) = value { Ok(object) } else { Err(DocumentRefusal::NotAnObject) };
        // what certainly is too large is not copied, which takes longer than to read it
        let fits = |members: &Map<String, Value>| {
            let most = most_bytes.max(kept.map_or(0, |kept| kept.json.len()));
            match least_bytes(members) {
                bytes if bytes > most => Err(DocumentRefusal::TooLarge { bytes, most: most_bytes }),
                _ => Ok(()),
            }
        };
        match self {
            Self::Delete => Ok((None, None)),
            Self::Put(data) => {
                fits(data)?;
                Ok((Some(data.clone()), None))
            }
            Self::Merge(patch) => {
                fits(patch)?;
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
