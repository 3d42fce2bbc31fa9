//! The commit rule: each set is checked against what is stored plus the sets before it in the same group.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::Sets;
use super::apply::Effect;
use super::committed::{Committed, Position};
use super::completion::Outcomes;
use super::view::View;
use crate::domain::{
    Cause, ChangeSet, Extension, FIRST_APART, Flags, IdentityKey, Note, Op, Outcome, Record, Rewrite, ServiceTime,
    UserId, ValueKey, ended_sessions,
};

/// The sets of one group that have passed, as what is stored will be when they are applied. Whatever a store keeps users in,
/// it decides by this: nothing may change under `stored` from [`new`](Self::new) until the effects are applied, but for last
/// activities.
pub struct Group<'a, V: ?Sized> {
    stored: &'a V,
    users: Overlay<UserId, Record>,
    identities: Overlay<IdentityKey, UserId>,
    /// what counts of each user's extension record
    owned: Overlay<UserId, Owned>,
    values: Overlay<ValueKey, Arc<[u8]>>,
    effects: Vec<Effect>,
}

/// What a user has that the commit rule has to know.
#[derive(Clone, Default)]
struct Owned {
    /// Identities and keys.
    claims: Vec<IdentityKey>,
    /// The highest number that a session ever had.
    highest: u32,
}

impl Owned {
    fn of(extension: &[u8]) -> Self {
        let extension = Extension::decode(extension).unwrap_or_default();
        Self { claims: extension.claims(), highest: extension.sessions.map_or(0, |sessions| sessions.highest) }
    }
}

/// What differs from what is stored: a value, or its absence.
struct Overlay<K, V> {
    passed: HashMap<K, Option<V>, RandomState>,
    /// of the set being checked, in order
    pending: Vec<(K, Option<V>)>,
}

impl<K: Eq + Hash + Clone, V: Clone> Overlay<K, V> {
    fn with_room(keys: usize) -> Self {
        Self { passed: HashMap::with_capacity_and_hasher(keys, RandomState::default()), pending: Vec::new() }
    }

    fn get(&self, key: &K, below: impl FnOnce() -> Option<V>) -> Option<V> {
        let pending = self.pending.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value);
        pending.or_else(|| self.passed.get(key)).map_or_else(below, Clone::clone)
    }

    fn set(&mut self, key: K, value: Option<V>) {
        self.pending.push((key, value));
    }

    fn keep(&mut self) {
        self.passed.extend(self.pending.drain(..));
    }
}

/// A set that has passed.
pub struct Accepted<'a> {
    /// Why it was proposed.
    pub cause: Cause,
    /// When it was proposed.
    pub at: ServiceTime,
    /// What it does, in order.
    pub effects: &'a [Effect],
    user: Option<UserId>,
    note: Option<Arc<Note>>,
}

impl Accepted<'_> {
    /// What the feed tells of it, with the service time and the wall time (Unix ms) of its group.
    pub fn committed(self, position: Position, (service, wall_ms): (ServiceTime, u64)) -> Committed {
        let changed = self.effects.iter().filter_map(Effect::changed).collect();
        Committed { position, service, wall_ms, cause: self.cause, user: self.user, changed, note: self.note }
    }
}

impl<'a, V: View + ?Sized> Group<'a, V> {
    /// A group over what is stored, in which nothing has passed yet.
    pub fn new(stored: &'a V) -> Self {
        Self::with_room(stored, 0)
    }

    /// The same with room for about so many sets.
    pub(super) fn with_room(stored: &'a V, sets: usize) -> Self {
        Self {
            stored,
            users: Overlay::with_room(sets),
            identities: Overlay::with_room(0),
            owned: Overlay::with_room(0),
            values: Overlay::with_room(0),
            effects: Vec::with_capacity(sets),
        }
    }

    /// What the group does, in order. To be made durable, and to be seen by readers, all together or not at all: no reader
    /// may see the effects of half a set.
    pub fn into_effects(self) -> Vec<Effect> {
        self.effects
    }

    /// Adds a set if every operation finds what it names; otherwise changes nothing and answers the first that does not.
    fn add(&mut self, set: ChangeSet) -> Result<(), usize> {
        let effects_before = self.effects.len();
        for (i, op) in set.ops.into_iter().enumerate() {
            if self.add_op(op, set.at).is_none() {
                self.effects.truncate(effects_before);
                self.users.pending.clear();
                self.identities.pending.clear();
                self.owned.pending.clear();
                self.values.pending.clear();
                return Err(i);
            }
        }
        self.users.keep();
        self.identities.keep();
        self.owned.keep();
        self.values.keep();
        Ok(())
    }

    /// Decides the sets of one commit in order and tells `accepted` of each that is done. After a conflict, later sets on the
    /// same user conflict too: they were proposed on top of one that never was.
    pub fn decide(&mut self, sets: Sets, mut accepted: impl FnMut(Accepted<'_>)) -> Outcomes {
        let mut conflicted: Vec<UserId> = Vec::new();
        let decide = |mut set: ChangeSet| {
            let users: SmallVec<[UserId; 2]> = set.ops.iter().filter_map(Op::user).collect();
            let (cause, at, note, before) = (set.cause, set.at, set.note.take(), self.effects.len());
            let about = note.as_ref().and_then(|note| note.about);
            let rests_on_conflict = !conflicted.is_empty() && users.iter().any(|user| conflicted.contains(user));
            match if rests_on_conflict { Err(0) } else { self.add(set) } {
                Ok(()) => {
                    let user = about.or_else(|| users.first().copied());
                    accepted(Accepted { cause, at, effects: &self.effects[before..], user, note });
                    Outcome::Done
                }
                Err(op) => {
                    conflicted.extend(users);
                    Outcome::Conflict { op }
                }
            }
        };
        sets.into_iter().map(decide).collect()
    }

    fn user(&self, id: &UserId) -> Option<Record> {
        self.users.get(id, || self.stored.record(id))
    }

    fn add_op(&mut self, op: Op, at: ServiceTime) -> Option<()> {
        match op {
            Op::Create { id, record, extension } => {
                if self.user(&id).is_some() {
                    return None;
                }
                self.users.set(id, Some(record));
                self.effects.push(Effect::PutUser(id, record));
                if let Some(bytes) = extension {
                    self.put_extension(id, bytes);
                }
            }
            Op::Update { id, seen, mut record, extension } => {
                let current = self.user(&id).filter(|current| current.version == seen)?;
                record.version = seen.wrapping_add(1);
                record.last_seen = current.last_seen;
                self.users.set(id, Some(record));
                self.effects.push(Effect::PutUser(id, record));
                match extension {
                    Rewrite::Keep => {}
                    Rewrite::Put(bytes) => self.put_extension(id, bytes),
                    Rewrite::Remove => {
                        self.effects.push(Effect::RemoveExtension(id));
                        let highest = self.free_identities(id, &[]);
                        self.note_ended(highest);
                    }
                    // of documents alone
                    Rewrite::Edit { .. } => return None,
                }
            }
            Op::Remove { id, seen } => {
                let current = self.user(&id).filter(|current| current.version == seen)?;
                self.remove(id, &current, Some(at));
            }
            Op::Expire { id, cutoff } => {
                let current = self.user(&id).filter(|current| current.is_anonymous() && current.last_seen <= cutoff)?;
                // a lazy cookie is good for the window at most: a user inactive for all of it has none left
                self.remove(id, &current, None);
            }
            Op::GiveUp { id, made } => {
                let unused = |record: &Record| record.is_unused() && record.session_started == made;
                let current = self.user(&id).filter(unused)?;
                self.remove(id, &current, None);
            }
            Op::Claim { identity, user } => {
                let owner = self.identities.get(&identity, || self.stored.resolve(&identity));
                if owner.is_some_and(|owner| owner != user) {
                    return None;
                }
                self.identities.set(identity, Some(user));
            }
            Op::Demand { id } => drop(self.user(&id)?),
            Op::Unclaimed { identity } => {
                if self.identities.get(&identity, || self.stored.resolve(&identity)).is_some() {
                    return None;
                }
            }
            Op::Value { key, seen, change } => {
                if self.value(&key) != seen {
                    return None;
                }
                match change {
                    Rewrite::Keep => {}
                    Rewrite::Put(bytes) => {
                        let bytes: Arc<[u8]> = bytes.into();
                        self.values.set(key.clone(), Some(Arc::clone(&bytes)));
                        self.effects.push(Effect::PutValue(key, bytes));
                    }
                    Rewrite::Edit { delta, next } => {
                        self.values.set(key.clone(), Some(Arc::clone(&next)));
                        self.effects.push(Effect::EditValue(key, delta, Some(next)));
                    }
                    Rewrite::Remove => {
                        self.values.set(key.clone(), None);
                        self.effects.push(Effect::RemoveValue(key));
                    }
                }
            }
            Op::Touch { id, at } => {
                if let Some(mut record) = self.user(&id) {
                    record.last_seen = record.last_seen.max(at);
                    self.users.set(id, Some(record));
                    self.effects.push(Effect::Touch(id, at));
                }
            }
        }
        Some(())
    }

    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.values.get(key, || self.stored.value(key))
    }

    /// Removes a user. The id of one who was created lazily is remembered while its lazy cookie may still be good.
    fn remove(&mut self, id: UserId, current: &Record, ended: Option<ServiceTime>) {
        self.users.set(id, None);
        self.effects.push(Effect::RemoveUser(id));
        if let Some(at) = ended.filter(|_| current.flags.has(Flags::MADE_LAZILY)) {
            let (key, value): (_, Arc<[u8]>) = (ValueKey::ended_lazy(&id), Arc::new(at.to_be_bytes()));
            self.values.set(key.clone(), Some(Arc::clone(&value)));
            self.effects.push(Effect::PutValue(key, value));
        }
        for key in ValueKey::of_user(&id) {
            if self.value(&key).is_some() {
                self.values.set(key.clone(), None);
                self.effects.push(Effect::RemoveValue(key));
            }
        }
        if current.flags.has(Flags::EXTENDED) {
            let highest = self.free_identities(id, &[]);
            self.note_ended(highest);
        }
    }

    /// Remembers the highest number of a session that has ended with its user, if not every user may have it. Whoever is created
    /// under an id that may have been here begins above it.
    fn note_ended(&mut self, highest: u32) {
        let key = ValueKey::ended_sessions();
        if highest >= FIRST_APART && highest > ended_sessions(self.value(&key).as_deref()) {
            let value: Arc<[u8]> = Arc::new(highest.to_be_bytes());
            self.values.set(key.clone(), Some(Arc::clone(&value)));
            self.effects.push(Effect::PutValue(key, value));
        }
    }

    /// Comes right behind its user's record, and what follows from it comes after: see [`Effect::apply_all`].
    fn put_extension(&mut self, id: UserId, bytes: Box<[u8]>) {
        let owned = Owned::of(&bytes);
        self.effects.push(Effect::PutExtension(id, bytes.into()));
        self.free_identities(id, &owned.claims);
        for claim in &owned.claims {
            self.identities.set(claim.clone(), Some(id));
        }
        self.owned.set(id, Some(owned));
    }

    /// Sets free the identities that this user has so far, stored or by an earlier set of the group, but for those
    /// that are kept. With an identity goes its credential. Answers the highest number that a session had.
    fn free_identities(&mut self, id: UserId, kept: &[IdentityKey]) -> u32 {
        let stored = || {
            let extended = self.stored.record(&id).is_some_and(|record| record.flags.has(Flags::EXTENDED));
            let bytes = if extended { self.stored.extension(&id) } else { None };
            bytes.map(|bytes| Owned::of(&bytes))
        };
        let Owned { claims, highest } = self.owned.get(&id, stored).unwrap_or_default();
        for key in claims {
            if kept.contains(&key) {
                continue;
            }
            let credential = ValueKey::credential(&key);
            if self.value(&credential).is_some() {
                self.values.set(credential.clone(), None);
                self.effects.push(Effect::RemoveValue(credential));
            }
            self.identities.set(key, None);
        }
        self.owned.set(id, None);
        highest
    }
}
