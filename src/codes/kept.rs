//! The codes of one kind that can still be redeemed, in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

use parking_lot::Mutex;
use passerby_actors::domain::{Entropy, ServiceTime};

use super::code::{Code, CodeHash, CodeKind};

/// How many codes there may be, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A code is good for this long (seconds of service).
    pub lifetime_s: u32,
    /// Codes alive at a time.
    pub most: usize,
    /// Of them, of one owner; from then on a new one ends the owner's oldest. At least 1.
    pub most_per_owner: usize,
}

/// There are too many codes already: answer 503 and ask to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many codes are waiting to be used")]
pub struct Full;

/// The living codes of one kind. `P` is what a code is worth, `O` whose it is.
pub struct Codes<O, P> {
    kind: CodeKind,
    limits: Limits,
    inner: Mutex<Inner<O, P>>,
}

struct Inner<O, P> {
    by_hash: HashMap<CodeHash, Entry<O, P>>,
    /// In the order in which they were issued, which is that in which they expire.
    by_number: BTreeMap<u64, CodeHash>,
    /// An owner's codes, oldest first; owners without codes are not in it.
    by_owner: HashMap<O, VecDeque<u64>>,
    next: u64,
}

struct Entry<O, P> {
    number: u64,
    owner: Option<O>,
    expires_at: ServiceTime,
    payload: P,
}

impl<O: Clone + Eq + Hash, P> Codes<O, P> {
    /// None yet.
    pub fn new(kind: CodeKind, limits: Limits) -> Self {
        let inner = Inner { by_hash: HashMap::new(), by_number: BTreeMap::new(), by_owner: HashMap::new(), next: 0 };
        Self { kind, limits, inner: Mutex::new(inner) }
    }

    /// Gives out a code. Without an owner only the total is bounded.
    ///
    /// # Errors
    /// [`Full`]: no code is ended to make room for a different owner's.
    pub fn issue(&self, owner: Option<O>, payload: P, now: ServiceTime, entropy: &dyn Entropy) -> Result<Code, Full> {
        let (code, hash) = Code::new(self.kind, entropy);
        self.put(hash, owner, payload, now)?;
        Ok(code)
    }

    /// Keeps a code of this kind that was issued elsewhere. Answers whether there was room for it.
    pub fn keep(&self, text: &str, owner: O, payload: P, now: ServiceTime) -> bool {
        let hash = CodeHash::parse(self.kind, text);
        hash.is_some_and(|hash| self.put(hash, Some(owner), payload, now).is_ok())
    }

    fn put(&self, hash: CodeHash, owner: Option<O>, payload: P, now: ServiceTime) -> Result<(), Full> {
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        if let Some(owner) = &owner {
            inner.make_room(owner, self.limits.most_per_owner);
        }
        if inner.by_hash.len() >= self.limits.most {
            return Err(Full);
        }
        let number = inner.next;
        inner.next += 1;
        inner.by_number.insert(number, hash);
        if let Some(owner) = owner.clone() {
            inner.by_owner.entry(owner).or_default().push_back(number);
        }
        let expires_at = now.saturating_add(self.limits.lifetime_s);
        inner.by_hash.insert(hash, Entry { number, owner, expires_at, payload });
        Ok(())
    }

    /// What the code is worth, once. `None` for whatever is not a living code.
    pub fn redeem(&self, text: &str, now: ServiceTime) -> Option<P> {
        let hash = CodeHash::parse(self.kind, text)?;
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        inner.remove(&hash).map(|entry| entry.payload)
    }

    /// What the code is worth, without using it up.
    pub fn peek(&self, text: &str, now: ServiceTime) -> Option<P>
    where
        P: Clone,
    {
        let hash = CodeHash::parse(self.kind, text)?;
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        inner.by_hash.get(&hash).map(|entry| entry.payload.clone())
    }

    /// Ends every code of this owner: the user is gone, or has logged out everywhere.
    pub fn end_all_of(&self, owner: &O) {
        self.inner.lock().make_room(owner, 1);
    }

    /// How many are alive.
    pub fn count(&self, now: ServiceTime) -> usize {
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        inner.by_hash.len()
    }
}

impl<O: Eq + Hash, P> Inner<O, P> {
    fn end_expired(&mut self, now: ServiceTime) {
        while let Some(hash) = self.by_number.first_key_value().map(|(_, hash)| *hash) {
            if self.by_hash.get(&hash).is_some_and(|entry| entry.expires_at > now) {
                break;
            }
            self.remove(&hash);
        }
    }

    /// Ends the owner's oldest until there is room for one more of `most`.
    fn make_room(&mut self, owner: &O, most: usize) {
        while let Some(oldest) =
            self.by_owner.get(owner).filter(|codes| codes.len() >= most).and_then(|codes| codes.front())
        {
            let Some(hash) = self.by_number.get(oldest).copied() else { break };
            self.remove(&hash);
        }
    }

    fn remove(&mut self, hash: &CodeHash) -> Option<Entry<O, P>> {
        let entry = self.by_hash.remove(hash)?;
        self.by_number.remove(&entry.number);
        if let Some(owner) = &entry.owner
            && let Some(codes) = self.by_owner.get_mut(owner)
        {
            codes.retain(|number| *number != entry.number);
            if codes.is_empty() {
                self.by_owner.remove(owner);
            }
        }
        Some(entry)
    }
}

impl<O, P> fmt::Debug for Codes<O, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codes").field("kind", &self.kind).field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
