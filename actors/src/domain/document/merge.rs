//! How the documents of two users become one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::change::sum;
use super::{Document, DocumentRefusal, MAX_RESULTS, ServiceTime, text};

/// How many times as large as others a document may be that a merge makes.
const MERGED_TIMES: usize = 4;

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

impl Document {
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
        if *source == Self::default() {
            return Ok(self.clone());
        }
        let mut data = self.data.clone();
        for (key, their) in source.data.iter().flatten() {
            let data = data.get_or_insert_default();
            let value = match data.get(key) {
                None => their.clone(),
                Some(our) => both(our, their, rule(key), source.changed > self.changed),
            };
            data.insert(key.clone(), value);
        }
        // an empty document is one, too
        if source.is_there() {
            data.get_or_insert_default();
        }
        let mut results: VecDeque<_> = source.results.iter().chain(&self.results).cloned().collect();
        results.drain(..results.len().saturating_sub(MAX_RESULTS));
        let (bytes, most) = (data.as_ref().map_or(0, |data| text(data).len()), most_bytes.saturating_mul(MERGED_TIMES));
        if bytes > most {
            return Err(DocumentRefusal::TooLarge { bytes, most });
        }
        // a version that either of them has had names no other document
        let version = self.version.max(source.version) + 1;
        Ok(Self { version, changed: now, data, results })
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
