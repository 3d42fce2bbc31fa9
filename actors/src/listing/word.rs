//! What the index knows of a user: a word of sixteen bits; how often each word occurs; and which words a filter wants.

use smallvec::SmallVec;

use crate::domain::{Document, Extension, Family, Flags, Record, ServiceTime, UserId, ValueKey};
use crate::store::Store;

/// What is true of a user, one bit each. The providers of its identities have those from [`FIRST_PROVIDER`] on.
pub(super) type Word = u16;

/// What is known of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) word: Word,
    /// When it was seen last.
    pub(super) seen: ServiceTime,
}

/// A real account.
pub(super) const LASTING: Word = 1;
/// Suspended.
pub(super) const DISABLED: Word = 2;
/// Created, and never came back.
pub(super) const UNUSED: Word = 4;
/// Has a document.
pub(super) const DOCUMENT: Word = 8;
const FIRST_PROVIDER: u32 = 4;
/// Has an identity of a provider that came when all other bits were given.
pub(super) const OTHER_PROVIDER: Word = 1 << 15;
const NAMED_PROVIDERS: usize = (Word::BITS - FIRST_PROVIDER - 1) as usize;

/// What the record alone tells.
pub(super) const OF_THE_RECORD: Word = LASTING | DISABLED | UNUSED;

/// The part of a user's word that the record tells.
pub(super) fn of_record(record: &Record) -> Word {
    let bit = |on: bool, bit: Word| if on { bit } else { 0 };
    bit(!record.is_anonymous(), LASTING)
        | bit(record.flags.has(Flags::DISABLED), DISABLED)
        | bit(record.is_unused(), UNUSED)
}

/// The same at this Unix time in milliseconds: a suspension may be over that is not lifted yet. And when one will be that is not.
pub(super) fn of_record_at(store: &dyn Store, id: &UserId, record: &Record, wall_ms: u64) -> (Word, Option<u64>) {
    let word = of_record(record);
    if word & DISABLED == 0 {
        return (word, None);
    }
    let extension = store.extension(id).and_then(|bytes| Extension::decode(&bytes).ok());
    match extension.and_then(|extension| extension.suspension) {
        Some(said) if said.is_over(wall_ms) => (word & !DISABLED, None),
        Some(said) => (word, said.until_ms),
        None => (word, None),
    }
}

/// Whether the bytes are those of a document that is there: of one that is not, the version is kept.
pub(super) fn has_document(bytes: &[u8]) -> bool {
    Document::view(bytes).is_ok_and(|document| document.json.is_some())
}

/// Which providers have which bit, in the order in which their first user was seen.
#[derive(Default)]
pub(super) struct Providers(Vec<Box<str>>);

impl Providers {
    /// The bit of a provider, which gets one if it has none.
    fn bit(&mut self, name: &str) -> Word {
        if let Some(known) = self.known(name) {
            return known;
        }
        if self.0.len() == NAMED_PROVIDERS {
            return OTHER_PROVIDER;
        }
        self.0.push(name.into());
        1 << (FIRST_PROVIDER as usize + self.0.len() - 1)
    }

    /// The bit of its own that a provider has.
    fn known(&self, name: &str) -> Option<Word> {
        self.named().find(|(known, _)| *known == name).map(|(_, bit)| bit)
    }

    /// The bit by which a provider's users are found, if there may be any.
    pub(super) fn wanted(&self, name: &str) -> Option<Word> {
        self.known(name).or_else(|| (self.0.len() == NAMED_PROVIDERS).then_some(OTHER_PROVIDER))
    }

    /// Those that have a bit of their own.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, Word)> {
        self.0.iter().enumerate().map(|(at, name)| (&**name, 1 << (FIRST_PROVIDER as usize + at)))
    }

    /// The bits of the providers in an extension record.
    pub(super) fn of_extension(&mut self, bytes: &[u8]) -> Word {
        let mut word = 0;
        // what cannot be read was refused when the store was opened
        let read = Extension::providers(bytes, |name| word |= self.bit(name));
        read.map_or(0, |()| word)
    }

    /// What is known of a user, read from the store, and when a suspension will be over; none if the user is not there.
    pub(super) fn known_of(&mut self, store: &dyn Store, id: &UserId) -> Option<(Known, Option<u64>)> {
        let record = store.record(id)?;
        let (mut word, over_ms) = of_record_at(store, id, &record, store.clock().wall_ms());
        if !record.is_anonymous() {
            word |= store.extension(id).map_or(0, |bytes| self.of_extension(&bytes));
        }
        let has_documents = store.keys(Family::DOCUMENT) > 0;
        if has_documents && store.value(&ValueKey::document(id)).is_some_and(|bytes| has_document(&bytes)) {
            word |= DOCUMENT;
        }
        Some((Known { word, seen: record.last_seen }, over_ms))
    }
}

/// The words that a filter wants: those with these bits among the masked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) mask: Word,
    pub(super) bits: Word,
}

impl Wanted {
    /// Whether a word is wanted.
    pub(super) fn takes(self, word: Word) -> bool {
        word & self.mask == self.bits
    }

    /// Demands one bit more; `None` if the opposite was demanded.
    pub(super) fn and(self, bit: Word, on: bool) -> Option<Self> {
        let next = Self { mask: self.mask | bit, bits: if on { self.bits | bit } else { self.bits } };
        (self.mask & bit == 0 || (self.bits & bit != 0) == on).then_some(next)
    }
}

/// How often each word occurs. They are few, whatever the number of users.
#[derive(Default, Clone)]
pub(super) struct Tally(SmallVec<[(Word, u32); 4]>);

impl Tally {
    /// One more.
    pub(super) fn add(&mut self, word: Word) {
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => self.0.push((word, 1)),
        }
    }

    /// One less.
    pub(super) fn remove(&mut self, word: Word) {
        if let Some(at) = self.0.iter().position(|(known, _)| *known == word) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }

    /// All of another's besides.
    pub(super) fn join(&mut self, other: &Self) {
        for (word, count) in &other.0 {
            match self.0.iter_mut().find(|(known, _)| known == word) {
                Some((_, own)) => *own += count,
                None => self.0.push((*word, *count)),
            }
        }
    }

    /// Whether any is wanted.
    pub(super) fn has(&self, wanted: Wanted) -> bool {
        self.0.iter().any(|(word, _)| wanted.takes(*word))
    }

    /// How many are wanted.
    pub(super) fn count(&self, wanted: Wanted) -> usize {
        self.0.iter().filter(|(word, _)| wanted.takes(*word)).map(|(_, count)| *count as usize).sum()
    }
}
