//! How the documents of two users become one.

use std::collections::{HashSet, VecDeque};

use serde_json::{Map, Value};

use super::kept::Kept;
use super::refusal::DocumentRefusal;
use super::value::{is_equal, sum};
use super::{Document, MAX_RESULTS};
use crate::domain::clock::ServiceTime;

/// How many times the usual limit a merged document may have.
const MERGED_TIMES: usize = 4;
/// How many conflicts are listed.
pub const MAX_CONFLICTS: usize = 1000;
/// How large their pointers and values may be together (bytes of JSON).
pub const MAX_CONFLICT_BYTES: usize = 64 * 1024;

/// How two users' values of a key become one; a key that only one of them has is taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyRule {
    /// Both: objects are joined key by key at every depth. Where one value can stand, the account's stays, and the other is a [`Conflict`].
    #[default]
    Deep,
    /// The account's.
    KeepTarget,
    /// That of the user who becomes part of it.
    KeepSource,
    /// The sum of two numbers; the account's if they are none.
    Sum,
    /// Both: of arrays what is in either, of objects every member (of one in both, the account's); else the account's.
    Union,
    /// That of the document that was changed last.
    Newest,
}

/// A value of the user who became part of an account that is not in the account's document.
#[derive(Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where it was: a JSON pointer (RFC 6901), at which the account's value is.
    pub pointer: String,
    /// What it was.
    pub value: Value,
}

impl std::fmt::Debug for Conflict {
    /// What people keep is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conflict(..)")
    }
}

/// What a merge left out of the account's document: at most [`MAX_CONFLICTS`] values of [`MAX_CONFLICT_BYTES`] together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conflicts {
    /// The values, in the order of their keys.
    pub list: Vec<Conflict>,
    /// Whether there were more.
    pub truncated: bool,
    bytes: usize,
}

impl Conflicts {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.truncated
    }

    /// How much memory they take, about (bytes).
    pub fn size(&self) -> usize {
        // a short item of a list takes 16 times as much as its text
        self.bytes * 16 + self.list.len() * size_of::<Conflict>()
    }

    fn note(&mut self, pointer: &str, value: &Value) {
        if self.list.len() < MAX_CONFLICTS && self.bytes < MAX_CONFLICT_BYTES {
            let bytes = self.bytes + pointer.len() + serde_json::to_string(value).map_or(0, |json| json.len());
            if bytes <= MAX_CONFLICT_BYTES {
                self.bytes = bytes;
                return self.list.push(Conflict { pointer: pointer.to_owned(), value: value.clone() });
            }
        }
        self.truncated = true;
    }
}

impl Document {
    /// Merged with the document of a user who becomes part of this one, and what of that document it does not hold. `rule` says for each key how.
    ///
    /// # Errors
    /// `TooLarge`: four times what a document may have is too much for what several people kept, and nothing is dropped silently.
    pub fn merged(
        &self,
        source: &Self,
        now: ServiceTime,
        most_bytes: usize,
        rule: impl Fn(&str) -> KeyRule,
    ) -> Result<(Self, Conflicts), DocumentRefusal> {
        let mut conflicts = Conflicts::default();
        if *source == Self::default() {
            return Ok((self.clone(), conflicts));
        }
        let mut data = self.kept.as_ref().map(|kept| kept.data.clone());
        let is_newer = source.changed > self.changed;
        for (key, their) in source.kept.iter().flat_map(|kept| &kept.data) {
            let data = data.get_or_insert_default();
            match data.get_mut(key) {
                None => drop(data.insert(key.clone(), their.clone())),
                Some(our) => join(our, their, rule(key), is_newer, &mut below("", key), &mut conflicts),
            }
        }
        // an empty document is one, too
        if source.is_there() {
            data.get_or_insert_default();
        }
        let mut results: VecDeque<_> = source.results.iter().chain(&self.results).cloned().collect();
        results.drain(..results.len().saturating_sub(MAX_RESULTS));
        let kept = data.map(Kept::from);
        let bytes = kept.as_ref().map_or(0, |kept| kept.json.len());
        let most = most_bytes.saturating_mul(MERGED_TIMES);
        if bytes > most {
            return Err(DocumentRefusal::TooLarge { bytes, most });
        }
        // a version that either of them has had names no other document
        let version = self.version.max(source.version) + 1;
        Ok((Self { version, changed: now, kept, results }, conflicts))
    }
}

/// The pointer to a member of what a pointer names.
fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Joins two values by a rule.
fn join(
    our: &mut Value,
    their: &Value,
    rule: KeyRule,
    is_newer: bool,
    pointer: &mut String,
    conflicts: &mut Conflicts,
) {
    match (rule, &mut *our, their) {
        (KeyRule::Deep, our, their) => deep(our, their, pointer, conflicts),
        (KeyRule::KeepSource, our, their) => *our = their.clone(),
        (KeyRule::Newest, our, their) if is_newer => *our = their.clone(),
        (KeyRule::Sum, Value::Number(one), Value::Number(other)) => match sum(one, other) {
            Ok(sum) => *one = sum,
            Err(_) => conflicts.note(pointer, their),
        },
        (KeyRule::Union, Value::Array(our), Value::Array(their)) => {
            let text = |item: &Value| serde_json::to_string(item).unwrap_or_default();
            let known: HashSet<String> = our.iter().map(text).collect();
            our.extend(their.iter().filter(|item| !known.contains(&text(item))).cloned());
        }
        (KeyRule::Union, Value::Object(our), Value::Object(their)) => {
            members(our, their, pointer, conflicts, |our, their, pointer, conflicts| {
                keep(our, their, pointer, conflicts)
            });
        }
        (_, our, their) => keep(our, their, pointer, conflicts),
    }
}

/// Joins objects at every depth.
fn deep(our: &mut Value, their: &Value, pointer: &mut String, conflicts: &mut Conflicts) {
    match (our, their) {
        (Value::Object(our), Value::Object(their)) => members(our, their, pointer, conflicts, deep),
        (our, their) => keep(our, their, pointer, conflicts),
    }
}

/// Adds the members that are not there, and does with those of both what `both` does.
fn members(
    our: &mut Map<String, Value>,
    their: &Map<String, Value>,
    pointer: &mut String,
    conflicts: &mut Conflicts,
    both: fn(&mut Value, &Value, &mut String, &mut Conflicts),
) {
    let end = pointer.len();
    for (key, their) in their {
        match our.get_mut(key) {
            None => drop(our.insert(key.clone(), their.clone())),
            Some(our) => {
                pointer.push_str(&below("", key));
                both(our, their, pointer, conflicts);
                pointer.truncate(end);
            }
        }
    }
}

/// Keeps the account's value, and notes the visitor's if it differs.
fn keep(our: &Value, their: &Value, pointer: &str, conflicts: &mut Conflicts) {
    if !is_equal(our, their) {
        conflicts.note(pointer, their);
    }
}
