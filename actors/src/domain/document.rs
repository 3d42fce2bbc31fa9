//! A user's document: one JSON object, with a version of its own, and the results of the last operations on it.
//!
//! Every change is a [`Delta`] on the version that it applies to: what the journal holds and other clients are told. A
//! repeated operation (its answer was lost) gets the first result.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Number, Value};

use super::clock::ServiceTime;
use super::reader::{Reader, Short};

/// How deep objects and arrays may be in each other.
pub const MAX_DEPTH: usize = 32;
/// How many results of operations are remembered.
pub const MAX_RESULTS: usize = 256;
/// How many times as large as others a document may be that a merge makes.
const MERGED_TIMES: usize = 4;
/// Up to here every whole number is one of 64 bits with a fraction.
const EXACT: f64 = 9_007_199_254_740_992.0;
const FORMAT: u8 = 1;
/// Id, version u64, tag u8, number.
const RESULT_BYTES: usize = 16 + 8 + 1 + 8;

/// Names an operation, so that its repeat is known: the first half of a SHA-256 of what the client called it.
pub type OperationId = [u8; 16];

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

/// What must be there for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever.
    #[default]
    Anything,
    /// No document.
    Nothing,
    /// A document.
    Something,
    /// The document of this version.
    Version(u64),
}

/// A change that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What.
    pub change: Change,
    /// Of what.
    pub expected: Expected,
    /// Which operation it is, if it can come twice.
    pub operation: Option<OperationId>,
    /// The socket that asks, which is not told of its own change.
    pub origin: Option<u64>,
    /// Whether there is room for a larger document.
    pub may_grow: bool,
}

/// Why a document is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentRefusal {
    /// It is not the one that was expected.
    #[error("the document is not the one that the change expects: its version is {0}")]
    Version(u64),
    /// It would be too large.
    #[error("the document would have {bytes} bytes, and may have {most}")]
    TooLarge {
        /// So large.
        bytes: usize,
        /// So large it may be.
        most: usize,
    },
    /// All documents together are as large as they may be, and it would grow.
    #[error("there is no room for more data")]
    Full,
    /// It would be too deep.
    #[error("objects and arrays may be {MAX_DEPTH} deep in each other")]
    TooDeep,
    /// The JSON patch does not fit the document.
    #[error("operation {0} of the patch does not fit the document, and nothing was changed")]
    Patch(usize),
    /// A JSON patch would leave something else.
    #[error("the document must be a JSON object")]
    NotAnObject,
    /// There is nothing that could grow at the path.
    #[error("there is no number at this path, and no object to put one into")]
    NotANumber,
    /// A number cannot be that large.
    #[error("the number would be too large")]
    Overflow,
}

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
    result: Option<(OperationId, Outcome)>,
}

/// The answer to an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The version after it.
    pub version: u64,
    /// What an increment made of the number.
    pub value: Option<Number>,
    /// What it changed; none if this is the answer to a repeated operation.
    pub delta: Option<Arc<Delta>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    version: u64,
    value: Option<Number>,
}

/// What is kept, if anything is.
type Content = Option<Map<String, Value>>;

/// A user's document.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Document {
    version: u64,
    changed: ServiceTime,
    data: Content,
    results: VecDeque<(OperationId, Outcome)>,
}

/// What is mostly asked of a stored document, without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentView<'a> {
    /// Its version; never goes back while its user lives.
    pub version: u64,
    /// Its JSON text, if there is one.
    pub json: Option<&'a str>,
}

/// The bytes are no document that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable document")]
pub struct UnreadableDocument;

impl From<Short> for UnreadableDocument {
    fn from(_: Short) -> Self {
        Self
    }
}

/// How two users' values of a key become one; a key that only one of them has is taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyRule {
    /// The account's.
    #[default]
    KeepTarget,
    /// The one of the user who becomes part of it.
    KeepSource,
    /// The sum of two numbers; the account's if they are none.
    Sum,
    /// Both: of arrays what is in either, of objects every member (of one in both, the account's); else the account's.
    Union,
    /// That of the document that was changed last.
    Newest,
}

impl fmt::Debug for Document {
    /// What people keep is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document(version {})", self.version)
    }
}

impl Document {
    /// Its version; never goes back while its user lives.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is one, and not only the version of one that is gone.
    pub fn is_there(&self) -> bool {
        self.data.is_some()
    }

    /// What an edit makes of it, and what the delta is. `None` if it is the repeat of an operation.
    ///
    /// # Errors
    /// A [`DocumentRefusal`], which changes nothing.
    pub fn edited(
        &self,
        edit: &Edit,
        now: ServiceTime,
        most_bytes: usize,
    ) -> Result<(Option<Self>, Edited), DocumentRefusal> {
        let known = edit.operation.and_then(|operation| self.results.iter().find(|(id, _)| *id == operation));
        if let Some((_, Outcome { version, value })) = known {
            return Ok((None, Edited { version: *version, value: value.clone(), delta: None }));
        }
        let is_expected = match edit.expected {
            Expected::Anything => true,
            Expected::Nothing => self.data.is_none(),
            Expected::Something => self.data.is_some(),
            Expected::Version(version) => self.data.is_some() && self.version == version,
        };
        if !is_expected {
            return Err(DocumentRefusal::Version(self.version));
        }
        let (data, value) = self.changed(&edit.change, most_bytes)?;
        let json = data.as_ref().map(text);
        if let Some(json) = json.as_ref().filter(|json| json.len() > most_bytes || !edit.may_grow) {
            let before = self.data.as_ref().map_or(0, |data| text(data).len());
            // what a merge made larger than may be can still shrink
            if json.len() > most_bytes.max(before) {
                return Err(DocumentRefusal::TooLarge { bytes: json.len(), most: most_bytes });
            }
            if json.len() > before && !edit.may_grow {
                return Err(DocumentRefusal::Full);
            }
        }
        if data.as_ref().is_some_and(|data| data.values().any(|value| depth(value) >= MAX_DEPTH)) {
            return Err(DocumentRefusal::TooDeep);
        }
        let difference = self.data.as_ref().zip(data.as_ref()).and_then(|(old, new)| difference(old, new));
        let merge = difference.map(|difference| text(&difference));
        let shape = match merge {
            Some(merge) if json.as_ref().is_some_and(|json| merge.len() < json.len()) => Shape::Merge(merge.into()),
            _ => Shape::Whole(json.map(Into::into)),
        };
        let version = self.version + 1;
        let result = edit.operation.map(|operation| (operation, Outcome { version, value: value.clone() }));
        let delta = Delta { seen: self.version, at: now, shape, result };
        let next = self.with(data, &delta);
        Ok((Some(next), Edited { version, value, delta: Some(Arc::new(delta)) }))
    }

    fn changed(&self, change: &Change, most_bytes: usize) -> Result<(Content, Option<Number>), DocumentRefusal> {
        let current = || Value::Object(self.data.clone().unwrap_or_default());
        let object =
            |value| if let Value::Object(object) = value { Ok(object) } else { Err(DocumentRefusal::NotAnObject) };
        match change {
            Change::Delete => Ok((None, None)),
            Change::Put(data) => Ok((Some(data.clone()), None)),
            Change::Merge(patch) => {
                let mut data = current();
                json_patch::merge(&mut data, &Value::Object(patch.clone()));
                Ok((Some(object(data)?), None))
            }
            Change::Patch(patch) => {
                let mut data = current();
                apply_patch(&mut data, patch, most_bytes)?;
                Ok((Some(object(data)?), None))
            }
            Change::Increment { path, by } => {
                let mut data = current();
                let number = grown(&mut data, path, by)?;
                Ok((Some(object(data)?), Some(number)))
            }
        }
    }

    fn with(&self, data: Content, delta: &Delta) -> Self {
        let mut results = self.results.clone();
        results.extend(delta.result.clone());
        if results.len() > MAX_RESULTS {
            results.pop_front();
        }
        Self { version: delta.seen + 1, changed: delta.at, data, results }
    }

    /// The document after a delta of the journal; `None` if it is past that delta already.
    fn replayed(&self, delta: &Delta) -> Result<Option<Self>, UnreadableDocument> {
        if self.version != delta.seen {
            return Ok(None);
        }
        let data = match &delta.shape {
            Shape::Whole(json) => json.as_deref().map(parsed).transpose()?,
            Shape::Merge(patch) => {
                let mut data = Value::Object(self.data.clone().unwrap_or_default());
                json_patch::merge(&mut data, &Value::Object(parsed(patch)?));
                if let Value::Object(data) = data { Some(data) } else { None }
            }
        };
        Ok(Some(self.with(data, delta)))
    }

    /// What stored bytes become by a delta of the journal; `None` if they are past it, or one of them is unreadable.
    pub fn replay(stored: Option<&[u8]>, delta: &[u8]) -> Option<Box<[u8]>> {
        let document = stored.map_or_else(|| Ok(Self::default()), Self::decode).ok()?;
        Some(document.replayed(&Delta::decode(delta).ok()?).ok()??.encode())
    }

    /// With the document of a user who becomes part of this one's. `rule` says for each key how.
    ///
    /// # Errors
    /// `TooLarge`: four times what a document may have is too much for what several people kept, and nothing is lost by itself.
    pub fn merged(
        &self,
        source: &Self,
        now: ServiceTime,
        most_bytes: usize,
        rule: impl Fn(&str) -> KeyRule,
    ) -> Result<Self, DocumentRefusal> {
        let Some(theirs) = &source.data else { return Ok(self.clone()) };
        let mut data = self.data.clone().unwrap_or_default();
        for (key, their) in theirs {
            let value = match data.get(key) {
                None => their.clone(),
                Some(our) => both(our, their, rule(key), source.changed > self.changed),
            };
            data.insert(key.clone(), value);
        }
        let mut results: VecDeque<_> = source.results.iter().chain(&self.results).cloned().collect();
        results.drain(..results.len().saturating_sub(MAX_RESULTS));
        let (bytes, most) = (text(&data).len(), most_bytes.saturating_mul(MERGED_TIMES));
        if bytes > most {
            return Err(DocumentRefusal::TooLarge { bytes, most });
        }
        Ok(Self { version: self.version + 1, changed: now, data: Some(data), results })
    }

    /// Format u8, version u64, changed u32, number of results u32, results, JSON text behind its length u32 (0: none).
    pub fn encode(&self) -> Box<[u8]> {
        let json = self.data.as_ref().map(text).unwrap_or_default();
        let mut out = Vec::with_capacity(21 + self.results.len() * RESULT_BYTES + json.len());
        out.push(FORMAT);
        out.extend(self.version.to_be_bytes());
        out.extend(self.changed.to_be_bytes());
        out.extend(length(self.results.len()));
        for (id, outcome) in &self.results {
            put_result(&mut out, id, outcome);
        }
        out.extend(length(json.len()));
        out.extend(json.as_bytes());
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Another format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableDocument> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(UnreadableDocument);
        }
        let (version, changed, count) = (input.u64()?, input.u32()?, input.u32()?);
        let results = (0..count).map(|_| take_result(&mut input)).collect::<Result<_, _>>()?;
        let json = json(&mut input)?;
        if !input.0.is_empty() {
            return Err(UnreadableDocument);
        }
        Ok(Self { version, changed, data: json.map(parsed).transpose()?, results })
    }

    /// What stored bytes hold, without decoding all of it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn view(bytes: &[u8]) -> Result<DocumentView<'_>, UnreadableDocument> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(UnreadableDocument);
        }
        let (version, _changed, count) = (input.u64()?, input.u32()?, input.u32()?);
        input.take((count as usize).checked_mul(RESULT_BYTES).ok_or(UnreadableDocument)?)?;
        Ok(DocumentView { version, json: json(&mut input)? })
    }
}

impl Delta {
    /// Format u8, seen u64, at u32, whether there is a result u8, the result, shape u8 (0: gone, 1: whole, 2: merge patch),
    /// JSON text behind its length u32.
    pub fn encode(&self) -> Box<[u8]> {
        let (shape, json) = match &self.shape {
            Shape::Whole(None) => (0, ""),
            Shape::Whole(Some(json)) => (1, &**json),
            Shape::Merge(json) => (2, &**json),
        };
        let mut out = Vec::with_capacity(19 + RESULT_BYTES + json.len());
        out.push(FORMAT);
        out.extend(self.seen.to_be_bytes());
        out.extend(self.at.to_be_bytes());
        out.push(u8::from(self.result.is_some()));
        if let Some((id, outcome)) = &self.result {
            put_result(&mut out, id, outcome);
        }
        out.push(shape);
        out.extend(length(json.len()));
        out.extend(json.as_bytes());
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Another format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableDocument> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(UnreadableDocument);
        }
        let (seen, at) = (input.u64()?, input.u32()?);
        let result = match input.u8()? {
            0 => None,
            1 => Some(take_result(&mut input)?),
            _ => return Err(UnreadableDocument),
        };
        let (shape, json) = (input.u8()?, json(&mut input)?);
        let shape = match (shape, json) {
            (0, None) => Shape::Whole(None),
            (1, Some(json)) => Shape::Whole(Some(json.into())),
            (2, Some(json)) => Shape::Merge(json.into()),
            _ => return Err(UnreadableDocument),
        };
        if !input.0.is_empty() {
            return Err(UnreadableDocument);
        }
        Ok(Self { seen, at, shape, result })
    }
}

fn length(n: usize) -> [u8; 4] {
    // bounded far below by the limits on documents and requests
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn json<'a>(input: &mut Reader<'a>) -> Result<Option<&'a str>, UnreadableDocument> {
    let text = std::str::from_utf8(input.bytes()?).map_err(|_| UnreadableDocument)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn parsed(json: &str) -> Result<Map<String, Value>, UnreadableDocument> {
    serde_json::from_str(json).map_err(|_| UnreadableDocument)
}

fn text(data: &Map<String, Value>) -> String {
    // maps of JSON values with texts as keys always can be written
    serde_json::to_string(data).unwrap_or_default()
}

fn put_result(out: &mut Vec<u8>, id: &OperationId, outcome: &Outcome) {
    out.extend(id);
    out.extend(outcome.version.to_be_bytes());
    let (tag, number) = match &outcome.value {
        None => (0, [0; 8]),
        Some(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => (1, number.to_be_bytes()),
            (None, Some(number), _) => (2, number.to_be_bytes()),
            (None, None, number) => (3, number.unwrap_or_default().to_be_bytes()),
        },
    };
    out.push(tag);
    out.extend(number);
}

fn take_result(input: &mut Reader<'_>) -> Result<(OperationId, Outcome), UnreadableDocument> {
    let (id, version, tag, number) = (input.array()?, input.u64()?, input.u8()?, input.array::<8>()?);
    let value = match tag {
        0 => None,
        1 => Some(i64::from_be_bytes(number).into()),
        2 => Some(u64::from_be_bytes(number).into()),
        3 => Some(Number::from_f64(f64::from_be_bytes(number)).ok_or(UnreadableDocument)?),
        _ => return Err(UnreadableDocument),
    };
    Ok((id, Outcome { version, value }))
}

/// Applies a JSON patch, one operation after another, to a document that is thrown away if one of them does not fit. What an operation
/// brings in is looked at before: copies of copies grow without end, and what is moved into each other is as deep as one likes.
fn apply_patch(data: &mut Value, patch: &Patch, most_bytes: usize) -> Result<(), DocumentRefusal> {
    let mut copied = 0;
    for (number, operation) in patch.0.iter().enumerate() {
        let misfit = DocumentRefusal::Patch(number);
        let (path, value) = match operation {
            PatchOperation::Add(add) => (&add.path, Some(&add.value)),
            PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
            PatchOperation::Move(moved) => (&moved.path, Some(data.pointer(moved.from.as_str()).ok_or(misfit)?)),
            PatchOperation::Copy(copy) => {
                let value = data.pointer(copy.from.as_str()).ok_or(misfit)?;
                copied += serde_json::to_string(value).map_or(usize::MAX, |json| json.len());
                if copied > most_bytes {
                    return Err(DocumentRefusal::TooLarge { bytes: copied, most: most_bytes });
                }
                (&copy.path, Some(value))
            }
            PatchOperation::Remove(remove) => (&remove.path, None),
            PatchOperation::Test(test) => (&test.path, None),
        };
        let above = path.as_str().matches('/').count();
        if value.is_some_and(|value| above + depth(value) > MAX_DEPTH) {
            return Err(DocumentRefusal::TooDeep);
        }
        json_patch::patch_unsafe(data, std::slice::from_ref(operation)).map_err(|_| misfit)?;
    }
    Ok(())
}

/// How many objects and arrays are in each other.
fn depth(value: &Value) -> usize {
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

fn sum(a: &Number, b: &Number) -> Result<Number, DocumentRefusal> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        let sum = a + b;
        let number = i64::try_from(sum).map(Number::from).or_else(|_| u64::try_from(sum).map(Number::from));
        return number.map_err(|_| DocumentRefusal::Overflow);
    }
    let sum = a.as_f64().zip(b.as_f64()).map_or(f64::NAN, |(a, b)| a + b);
    // a browser cannot write 1.0, and could not test for it
    if sum.fract() == 0.0 && sum.abs() <= EXACT {
        return Ok(Number::from(sum as i64));
    }
    Number::from_f64(sum).ok_or(DocumentRefusal::Overflow)
}

/// The merge patch that makes `new` of `old`; none if none can, because something became null, which there means removed.
fn difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Map<String, Value>> {
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

fn both(our: &Value, their: &Value, rule: KeyRule, theirs_is_newer: bool) -> Value {
    let chosen = match (rule, our, their) {
        (KeyRule::KeepSource, _, their) => Some(their.clone()),
        (KeyRule::Newest, _, their) if theirs_is_newer => Some(their.clone()),
        (KeyRule::Sum, Value::Number(our), Value::Number(their)) => sum(our, their).ok().map(Value::Number),
        (KeyRule::Union, Value::Array(our), Value::Array(their)) => {
            let text = |item: &Value| serde_json::to_string(item).unwrap_or_default();
            let known: BTreeSet<String> = our.iter().map(text).collect();
            let new = their.iter().filter(|item| !known.contains(&text(item)));
            Some(our.iter().chain(new).cloned().collect())
        }
        (KeyRule::Union, Value::Object(our), Value::Object(their)) => {
            let all: BTreeMap<_, _> = their.iter().chain(our).collect();
            Some(Value::Object(all.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
        }
        _ => None,
    };
    chosen.unwrap_or_else(|| our.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MOST: usize = 16 * 1024;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn edit(change: Change) -> Edit {
        Edit { change, expected: Expected::Anything, operation: None, origin: None, may_grow: true }
    }

    fn put(value: Value) -> Edit {
        edit(Change::Put(object(value)))
    }

    fn merge(value: Value) -> Edit {
        edit(Change::Merge(object(value)))
    }

    fn increment(path: &str, by: i64) -> Edit {
        edit(Change::Increment { path: path.to_owned(), by: by.into() })
    }

    /// Edits, and checks that a replay of the delta makes the same bytes of the bytes before.
    fn apply(document: &mut Document, edit: &Edit) -> Result<Edited, DocumentRefusal> {
        let (next, edited) = document.edited(edit, 50, MOST)?;
        if let Some(next) = next {
            let delta = edited.delta.as_ref().unwrap().encode();
            assert_eq!(Delta::decode(&delta).unwrap(), **edited.delta.as_ref().unwrap());
            let before = document.encode();
            let stored = (document.version > 0).then_some(&*before);
            assert_eq!(Document::replay(stored, &delta), Some(next.encode()));
            assert_eq!(Document::replay(Some(&next.encode()), &delta), None, "the next is past it");
            assert_eq!(Document::decode(&next.encode()), Ok(next.clone()));
            *document = next;
        }
        Ok(edited)
    }

    fn data(document: &Document) -> Value {
        let bytes = document.encode();
        serde_json::from_str(Document::view(&bytes).unwrap().json.unwrap_or("null")).unwrap()
    }

    #[test]
    fn a_document_is_put_patched_counted_and_deleted_and_its_version_goes_on() {
        let mut document = Document::default();
        assert_eq!(apply(&mut document, &put(json!({"a": 1, "list": [1, null]}))).unwrap().version, 1);
        apply(&mut document, &merge(json!({"a": null, "b": {"c": 2}}))).unwrap();
        assert_eq!(data(&document), json!({"list": [1, null], "b": {"c": 2}}));
        let patch = serde_json::from_value(json!([
            {"op": "test", "path": "/b/c", "value": 2},
            {"op": "add", "path": "/list/-", "value": null},
            {"op": "add", "path": "/n", "value": null},
        ]));
        let patch = edit(Change::Patch(patch.unwrap()));
        let edited = apply(&mut document, &patch).unwrap();
        assert!(matches!(edited.delta.unwrap().shape, Shape::Whole(Some(_))), "no merge patch can say null");
        assert_eq!(data(&document), json!({"list": [1, null, null], "b": {"c": 2}, "n": null}));
        assert_eq!(apply(&mut document, &increment("/b/c", 5)).unwrap().value, Some(7.into()));
        assert_eq!(apply(&mut document, &increment("/b/new~1name", -1)).unwrap().value, Some((-1).into()));
        assert_eq!(data(&document)["b"], json!({"c": 7, "new/name": -1}));
        assert_eq!(apply(&mut document, &edit(Change::Delete)).unwrap().version, 6);
        assert_eq!(data(&document), json!(null));
        assert_eq!(apply(&mut document, &increment("/n", 1)).unwrap().version, 7);
        assert_eq!(data(&document), json!({"n": 1}));
    }

    #[test]
    fn a_small_change_of_a_large_document_is_a_small_delta() {
        let mut document = Document::default();
        apply(&mut document, &put(json!({"text": "x".repeat(10_000), "n": 1}))).unwrap();
        let edited = apply(&mut document, &increment("/n", 1)).unwrap();
        assert_eq!(edited.delta.unwrap().shape, Shape::Merge(r#"{"n":2}"#.into()));
    }

    #[test]
    fn a_lost_race_changes_nothing() {
        let mut document = Document::default();
        let expecting = |expected, value| Edit { expected, ..put(value) };
        let refused = |version| Err(DocumentRefusal::Version(version));
        assert_eq!(apply(&mut document, &expecting(Expected::Something, json!({}))), refused(0));
        assert_eq!(apply(&mut document, &expecting(Expected::Version(0), json!({}))), refused(0));
        apply(&mut document, &expecting(Expected::Nothing, json!({"a": 1}))).unwrap();
        assert_eq!(apply(&mut document, &expecting(Expected::Nothing, json!({}))), refused(1));
        apply(&mut document, &expecting(Expected::Version(1), json!({"a": 2}))).unwrap();
        assert_eq!(apply(&mut document, &expecting(Expected::Version(1), json!({}))), refused(2));
        assert_eq!(data(&document), json!({"a": 2}));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut document = Document::default();
        let full = json!({"a": "x".repeat(MOST - 8)});
        apply(&mut document, &put(full.clone())).unwrap();
        let larger = apply(&mut document, &merge(json!({"b": 1})));
        assert_eq!(larger, Err(DocumentRefusal::TooLarge { bytes: MOST + 6, most: MOST }));
        let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(apply(&mut document, &put(json!({"a": deep(MAX_DEPTH)}))), Err(DocumentRefusal::TooDeep));
        apply(&mut document, &put(json!({"a": deep(MAX_DEPTH - 1), "s": "text", "max": i64::MAX, "f": 0.5}))).unwrap();
        for (path, error) in [
            ("/s", DocumentRefusal::NotANumber),
            ("/x/y", DocumentRefusal::NotANumber),
            ("", DocumentRefusal::NotANumber),
            ("a", DocumentRefusal::NotANumber),
            ("/a/x", DocumentRefusal::NotANumber),
        ] {
            assert_eq!(apply(&mut document, &increment(path, 1)), Err(error), "{path}");
        }
        assert_eq!(apply(&mut document, &increment("/max", 1)).unwrap().value, Some((1_u64 << 63).into()));
        let huge = edit(Change::Increment { path: "/max".into(), by: u64::MAX.into() });
        assert_eq!(apply(&mut document, &huge), Err(DocumentRefusal::Overflow));
        assert_eq!(apply(&mut document, &increment("/f", 1)).unwrap().value, Number::from_f64(1.5));
        let half = edit(Change::Increment { path: "/f".into(), by: Number::from_f64(0.5).unwrap() });
        assert_eq!(apply(&mut document, &half).unwrap().value, Some(2.into()), "and not 2.0");
        let patch = |value| edit(Change::Patch(serde_json::from_value(value).unwrap()));
        let failing = patch(json!([{"op": "add", "path": "/x", "value": 1}, {"op": "remove", "path": "/none"}]));
        assert_eq!(apply(&mut document, &failing), Err(DocumentRefusal::Patch(1)));
        let array = patch(json!([{"op": "replace", "path": "", "value": []}]));
        assert_eq!(apply(&mut document, &array), Err(DocumentRefusal::NotAnObject));
    }

    #[test]
    fn where_there_is_no_room_only_what_grows_is_refused() {
        let mut document = Document::default();
        let full = |edit: Edit| Edit { may_grow: false, operation: Some([1; 16]), ..edit };
        assert_eq!(apply(&mut document, &full(put(json!({})))), Err(DocumentRefusal::Full));
        let named = Edit { operation: Some([1; 16]), ..put(json!({"a": 10, "b": 1})) };
        apply(&mut document, &named).unwrap();
        assert_eq!(apply(&mut document, &full(put(json!({"other": "operation"})))).unwrap().version, 1, "a repeat");
        let full = |edit: Edit| Edit { may_grow: false, ..edit };
        assert_eq!(apply(&mut document, &full(increment("/b", 9))), Err(DocumentRefusal::Full));
        assert_eq!(apply(&mut document, &full(increment("/b", 1))).unwrap().value, Some(2.into()));
        apply(&mut document, &full(merge(json!({"a": null})))).unwrap();
        apply(&mut document, &full(edit(Change::Delete))).unwrap();
    }

    /// What a patch of a few bytes can ask for.
    #[test]
    fn a_patch_can_neither_grow_nor_dig_without_end_nor_kill() {
        let mut document = Document::default();
        apply(&mut document, &put(json!({"a": {"n": 1}}))).unwrap();
        let patch = |operations: Vec<Value>| edit(Change::Patch(serde_json::from_value(operations.into()).unwrap()));
        let mut doubling = vec![json!({"op": "add", "path": "/l", "value": [0]})];
        doubling.extend((0..60).map(|_| json!({"op": "copy", "from": "/l", "path": "/l/-"})));
        assert!(matches!(
            apply(&mut document, &patch(doubling)),
            Err(DocumentRefusal::TooLarge { .. } | DocumentRefusal::TooDeep)
        ));
        let flat: Vec<Value> = (0..2000)
            .map(|n| json!({"op": "copy", "from": if n == 0 { "/a" } else { "/c" }, "path": "/c"}))
            .chain([json!({"op": "test", "path": "/none", "value": 0})])
            .collect();
        assert!(apply(&mut document, &patch(flat)).is_err());
        let mut digging = Vec::new();
        for _ in 0..2000 {
            digging.push(json!({"op": "add", "path": "/b", "value": [[[[[[[[]]]]]]]]}));
            digging.push(json!({"op": "move", "from": "/a", "path": "/b/0/0/0/0/0/0/0/0"}));
            digging.push(json!({"op": "move", "from": "/b", "path": "/a"}));
        }
        assert_eq!(apply(&mut document, &patch(digging)), Err(DocumentRefusal::TooDeep));
        let root = json!({"op": "move", "from": "/a", "path": ""});
        let undone = patch(vec![root.clone(), json!({"op": "test", "path": "/none", "value": 1})]);
        assert!(matches!(apply(&mut document, &undone), Err(DocumentRefusal::Patch(_))));
        assert_eq!(apply(&mut document, &patch(vec![root])).map(|edited| edited.version), Ok(2));
        assert_eq!(data(&document), json!({"n": 1}));
    }

    #[test]
    fn numbers_are_kept_as_they_were_given() {
        let mut document = Document::default();
        let text = r#"{"a":0.1234567890123456789,"b":-0.0,"c":5e-324,"d":9007199254740993}"#;
        apply(&mut document, &edit(Change::Put(serde_json::from_str(text).unwrap()))).unwrap();
        for _ in 0..5 {
            apply(&mut document, &increment("/n", 1)).unwrap();
        }
        let kept = document.encode();
        let kept = Document::view(&kept).unwrap().json.unwrap();
        assert_eq!(kept, r#"{"a":0.12345678901234568,"b":-0.0,"c":5e-324,"d":9007199254740993,"n":5}"#);
        apply(&mut document, &merge(json!({"b": 0.0}))).unwrap();
        assert!(Document::view(&document.encode()).unwrap().json.unwrap().contains(r#""b":0.0"#));
    }

    #[test]
    fn a_repeated_operation_gets_the_first_result() {
        let mut document = Document::default();
        let named = |n: u16| {
            let mut operation = [0; 16];
            operation[..2].copy_from_slice(&n.to_be_bytes());
            Edit { operation: Some(operation), ..increment("/n", 1) }
        };
        for n in 0..300 {
            apply(&mut document, &named(n)).unwrap();
        }
        for n in 44..300 {
            let edited = apply(&mut document, &named(n)).unwrap();
            assert_eq!((edited.version, edited.value), (u64::from(n) + 1, Some((n + 1).into())));
        }
        assert_eq!(data(&document), json!({"n": 300}));
        assert_eq!(apply(&mut document, &named(43)).unwrap().version, 301, "it was so long ago");
    }

    #[test]
    fn documents_of_two_users_become_one_by_a_rule_for_each_key() {
        let document =
            |value, changed| Document { version: 5, changed, data: Some(object(value)), ..Document::default() };
        let target = document(json!({"t": 1, "s": 1, "n": 2, "list": [1, 2], "o": {"a": 1}, "new": "old"}), 10);
        let source = document(
            json!({"t": 2, "s": 2, "n": 3, "list": [2, 3], "o": {"a": 2, "b": 3}, "new": "new", "own": 1}),
            20,
        );
        let rule = |key: &str| match key {
            "s" => KeyRule::KeepSource,
            "n" => KeyRule::Sum,
            "list" | "o" => KeyRule::Union,
            "new" => KeyRule::Newest,
            _ => KeyRule::KeepTarget,
        };
        let merged = target.merged(&source, 30, MOST, rule).unwrap();
        let expected =
            json!({"t": 1, "s": 2, "n": 5, "list": [1, 2, 3], "o": {"a": 1, "b": 3}, "new": "new", "own": 1});
        assert_eq!((data(&merged), merged.version), (expected, 6));
        assert_eq!(data(&target.merged(&source, 30, MOST, |_| KeyRule::KeepTarget).unwrap())["new"], "old");
        assert_eq!(source.merged(&target, 30, MOST, rule).unwrap().data.unwrap()["new"], "new", "whichever is newer");
        let nothing = Document::default();
        assert_eq!(target.merged(&nothing, 30, MOST, rule), Ok(target.clone()));
        assert_eq!(data(&nothing.merged(&source, 30, MOST, rule).unwrap()), data(&source));
        let small = text(merged.data.as_ref().unwrap()).len() / 4;
        assert!(matches!(target.merged(&source, 30, small - 1, rule), Err(DocumentRefusal::TooLarge { .. })));
    }

    #[test]
    fn the_bytes_are_as_they_always_were() {
        let mut document = Document::default();
        let edit = Edit { operation: Some([9; 16]), ..increment("/n", 3) };
        let edited = apply(&mut document, &edit).unwrap();
        let result = [[9; 16].as_slice(), &[0, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 3]].concat();
        let text = b"{\"n\":3}";
        let golden =
            [[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 50, 0, 0, 0, 1].as_slice(), &result, &[0, 0, 0, 7], text].concat();
        assert_eq!(&*document.encode(), golden);
        let delta = [[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 50, 1].as_slice(), &result, &[1, 0, 0, 0, 7], text].concat();
        assert_eq!(&*edited.delta.unwrap().encode(), delta);
        for n in 0..golden.len() {
            assert_eq!(Document::decode(&golden[..n]), Err(UnreadableDocument), "{n}");
            assert_eq!(Document::view(&golden[..n]), Err(UnreadableDocument), "{n}");
        }
        for n in 0..delta.len() {
            assert_eq!(Delta::decode(&delta[..n]), Err(UnreadableDocument), "{n}");
        }
        let huge = [&golden[..13], &[255; 4]].concat();
        assert_eq!(Document::decode(&huge), Err(UnreadableDocument), "a length is believed as far as there are bytes");
        assert_eq!(Document::view(&huge), Err(UnreadableDocument));
    }
}
