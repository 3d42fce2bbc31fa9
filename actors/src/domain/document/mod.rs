//! A user's document: one JSON object, with a version of its own, and the results of the last operations on it.
//!
//! Every change is a [`Delta`] on the version that it applies to: what the journal holds and other clients are sent. A
//! repeated operation (its answer was lost) gets the first result.

mod change;
mod codec;
mod delta;
mod exact;
mod kept;
mod merge;
mod patch;
mod refusal;
#[cfg(test)]
mod tests;
mod value;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde_json::Number;

pub use self::change::{Change, OperationId};
pub use self::delta::{Delta, Shape};
pub use self::exact::{Losses, has_more_members, inexact_number, losses};
pub use self::kept::UnreadableDocument;
pub use self::merge::{Conflict, Conflicts, KeyRule, MAX_CONFLICT_BYTES, MAX_CONFLICTS};
pub use self::patch::{NoPatch, Patch};
pub use self::refusal::{DocumentRefusal, MAX_DEPTH};
pub use self::value::merge as merge_patch;

use self::delta::{Outcome, difference};
use self::kept::{Kept, parsed, text};
use self::value::{depth, merge};
use super::clock::ServiceTime;

/// How many results of operations are remembered.
pub const MAX_RESULTS: usize = 256;

/// What must be there for a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever.
    #[default]
    Anything,
    /// No document.
    Nothing,
    /// A document.
    Something,
    /// A document of one of these versions.
    OneOf(Box<[u64]>),
    /// No document of one of these versions.
    NoneOf(Box<[u64]>),
}

impl Expected {
    /// The document of this version.
    pub fn version(version: u64) -> Self {
        Self::OneOf([version].into())
    }
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

/// The answer to an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The version after it.
    pub version: u64,
    /// The number after an increment.
    pub value: Option<Number>,
    /// What it changed; none if this is the answer to a repeated operation.
    pub delta: Option<Arc<Delta>>,
    /// How many bytes more are kept after it than before; fewer, if it is below zero.
    pub grown: i64,
    /// How many sockets were told of it.
    pub told: usize,
}

/// A user's document.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Document {
    version: u64,
    changed: ServiceTime,
    kept: Option<Kept>,
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
        self.kept.is_some()
    }

    /// The edited document, and the delta. `None` if it is the repeat of an operation.
    ///
    /// # Errors
    /// A [`DocumentRefusal`], which changes nothing.
    pub fn edited(
        &self,
        edit: &Edit,
        now: ServiceTime,
        most_bytes: usize,
    ) -> Result<(Option<Self>, Edited), DocumentRefusal> {
        let known =
            edit.operation.and_then(|asked| self.results.iter().find(|(id, _)| id.name == asked.name).zip(Some(asked)));
        if let Some(((id, Outcome { version, value }), asked)) = known {
            if !asked.is_repeat_of(id) {
                return Err(DocumentRefusal::OtherOperation);
            }
            return Ok((None, Edited { version: *version, value: value.clone(), delta: None, grown: 0, told: 0 }));
        }
        let is_one_of = |versions: &[u64]| self.is_there() && versions.contains(&self.version);
        let is_expected = match &edit.expected {
            Expected::Anything => true,
            Expected::Nothing => !self.is_there(),
            Expected::Something => self.is_there(),
            Expected::OneOf(versions) => is_one_of(versions),
            Expected::NoneOf(versions) => !is_one_of(versions),
        };
        if !is_expected {
            return Err(DocumentRefusal::Version(self.version));
        }
        let (data, value) = edit.change.of(self.kept.as_ref(), most_bytes)?;
        let kept = data.map(Kept::from);
        let length = |kept: &Option<Kept>| kept.as_ref().map_or(0, |kept| kept.json.len());
        // a document that became too large by a merge can still shrink
        if length(&kept) > most_bytes.max(length(&self.kept)) {
            return Err(DocumentRefusal::TooLarge { bytes: length(&kept), most: most_bytes });
        }
        if kept.as_ref().is_some_and(|kept| kept.data.values().any(|value| depth(value) >= MAX_DEPTH)) {
            return Err(DocumentRefusal::TooDeep);
        }
        let difference = self.kept.as_ref().zip(kept.as_ref()).and_then(|(old, new)| difference(&old.data, &new.data));
        let merge = difference.map(|difference| text(&difference));
        let shape = match merge {
            Some(merge) if merge.len() < length(&kept) => Shape::Merge(merge.into()),
            _ => Shape::Whole(kept.as_ref().map(|kept| Arc::from(&*kept.json))),
        };
        let version = self.version + 1;
        let result = edit.operation.map(|operation| (operation, Outcome { version, value: value.clone() }));
        let delta = Delta { seen: self.version, at: now, shape, result };
        let next = self.with(kept, &delta);
        // with all that is kept beside the text; but a document can always be deleted
        let is_taken_away = self.is_there() && !next.is_there();
        let grown = next.stored_bytes() as i64 - self.stored_bytes() as i64;
        if !edit.may_grow && !is_taken_away && grown > 0 {
            return Err(DocumentRefusal::Full);
        }
        Ok((Some(next), Edited { version, value, delta: Some(Arc::new(delta)), grown, told: 0 }))
    }

    fn with(&self, kept: Option<Kept>, delta: &Delta) -> Self {
        let mut results = self.results.clone();
        results.extend(delta.result.clone());
        if results.len() > MAX_RESULTS {
            results.pop_front();
        }
        Self { version: delta.seen + 1, changed: delta.at, kept, results }
    }

    /// The document after a delta of the journal; `None` if it is past that delta already.
    fn replayed(&self, delta: &Delta) -> Result<Option<Self>, UnreadableDocument> {
        if self.version != delta.seen {
            return Ok(None);
        }
        let kept = match &delta.shape {
            Shape::Whole(json) => json.as_deref().map(Kept::parse).transpose()?,
            Shape::Merge(patch) => {
                let mut data = self.kept.as_ref().map(|kept| kept.data.clone()).unwrap_or_default();
                merge(&mut data, &parsed(patch)?);
                Some(data.into())
            }
        };
        Ok(Some(self.with(kept, delta)))
    }

    /// What stored bytes become by a delta of the journal; `None` if they are past it, or one of them is unreadable.
    pub fn replay(stored: Option<&[u8]>, delta: &[u8]) -> Option<Box<[u8]>> {
        let document = stored.map_or_else(|| Ok(Self::default()), Self::decode).ok()?;
        Some(document.replayed(&Delta::decode(delta).ok()?).ok()??.encode())
    }
}
