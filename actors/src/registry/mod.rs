//! The registry: every user's compact record in memory, and the directory of live users. The only room for dashmap.
//!
//! A slice of a sweep, a page of a snapshot and a page of a listing are one of its maps (`maps.rs`). Access is by closure, and no
//! guard leaves this folder; closures neither call the store nor log. The registry is the durable prefix of the journal, but for
//! `last_seen`.

mod directory;
mod maps;
mod own;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

pub(crate) use self::directory::{Directory, Lease};
use self::maps::{ById, CLASSES, MAX_ENTRIES_PER_MAP, MIN_MAPS, Maps};
use self::own::Own;
use crate::domain::{
    Alias, Extension, Family, Flags, IdentityKey, Listing, Record, ServiceTime, Touched, UserId, ValueKey,
};

/// A record as it lies in the registry: 16 bytes, of which `last_seen` can be raised under a shared lock.
struct Slot {
    last_seen: AtomicU32,
    rest: [u32; 3],
}

impl Slot {
    fn new(record: &Record) -> Self {
        let bytes = record.to_bytes();
        let (words, _) = bytes.as_chunks::<4>();
        let rest = [1, 2, 3].map(|i| u32::from_be_bytes(words[i]));
        Self { last_seen: AtomicU32::new(record.last_seen), rest }
    }

    fn record(&self) -> Record {
        let mut bytes = [0; Record::SIZE];
        let (words, _) = bytes.as_chunks_mut::<4>();
        words[0] = self.last_seen.load(Ordering::Relaxed).to_be_bytes();
        for (word, value) in words[1..].iter_mut().zip(self.rest) {
            *word = value.to_be_bytes();
        }
        Record::from_bytes(&bytes)
    }
}

/// One entry of a page: a user's record, an extension record or something of a later version's family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A user's record.
    User(UserId, Record),
    /// A user's extension record.
    Extension(UserId, Arc<[u8]>),
    /// A key of any other family, perhaps one of a later version.
    Value(ValueKey, Arc<[u8]>),
}

/// How many ids of users who ended are kept in memory.
const KEPT_ENDED: usize = 16_384;

/// The ids of users who ended last. They tell an id that was never here from one that was.
#[derive(Default)]
struct Ended {
    ids: HashSet<UserId, RandomState>,
    order: VecDeque<UserId>,
    /// When the youngest of those that are no longer kept was created: Unix time in milliseconds.
    forgotten_ms: u64,
}

impl Ended {
    fn note(&mut self, id: UserId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > KEPT_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
            self.forgotten_ms = self.forgotten_ms.max(oldest.created_ms());
        }
    }
}

/// Every user, and what hangs on users.
pub(crate) struct Registry {
    users: ById<Slot>,
    extensions: ById<Arc<[u8]>>,
    identities: Maps<IdentityKey, UserId, RandomState>,
    aliases: ById<UserId>,
    ended: Mutex<Ended>,
    values: Maps<ValueKey, Arc<[u8]>, RandomState>,
    own: Own,
    /// How many keys of each known family are among the values, by its number.
    keys: [AtomicUsize; Family::COUNT],
    document_bytes: AtomicUsize,
    accounts: AtomicUsize,
}

impl Registry {
    /// An empty registry whose maps stay small up to `max_users`.
    pub(crate) fn new(max_users: usize) -> Self {
        Self::with_room(max_users, 0)
    }

    /// The same, with room for so many users at once.
    pub(crate) fn with_room(max_users: usize, users: usize) -> Self {
        let maps = max_users.div_ceil(MAX_ENTRIES_PER_MAP).max(MIN_MAPS).next_power_of_two();
        Self {
            users: Maps::with_room(maps, users),
            extensions: Maps::new((maps / 4).max(MIN_MAPS)),
            identities: Maps::new(MIN_MAPS),
            aliases: Maps::new(CLASSES),
            ended: Mutex::default(),
            values: Maps::new(MIN_MAPS),
            own: Own::default(),
            keys: Default::default(),
            document_bytes: AtomicUsize::new(0),
            accounts: AtomicUsize::new(0),
        }
    }

    /// How many users there are.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// How many maps there are: pages are numbered below it.
    pub(crate) fn pages(&self) -> usize {
        self.users.maps.len()
    }

    /// A user's compact record.
    pub(crate) fn record(&self, id: &UserId) -> Option<Record> {
        self.users.with(id, Slot::record)
    }

    /// A user's record and extension record, of the same commit.
    pub(crate) fn records(&self, id: &UserId) -> Option<(Record, Option<Arc<[u8]>>)> {
        self.users.with(id, |slot| {
            // read and written under its user's lock, so that the two belong together; most users have none, and are not looked for
            let (record, of_id) = (slot.record(), || self.extensions.with(id, Arc::clone));
            (record, if record.flags.has(Flags::EXTENDED) { of_id() } else { None })
        })
    }

    /// A user's extension record, as it is stored.
    pub(crate) fn extension(&self, id: &UserId) -> Option<Arc<[u8]>> {
        self.extensions.with(id, Arc::clone)
    }

    /// The user who has this identity.
    pub(crate) fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.identities.with(identity, |id| *id)
    }

    /// Marks activity: under the entry's lock reads the clock, checks the deadline and raises `last_seen`, if it is at least
    /// `granularity_s` old.
    pub(crate) fn touch(
        &self,
        id: &UserId,
        now: impl FnOnce() -> ServiceTime,
        window_s: u32,
        granularity_s: u32,
    ) -> Touched {
        self.users
            .with(id, |slot| {
                let (record, now) = (slot.record(), now());
                if record.is_expired(now, window_s) {
                    Touched::Gone
                } else if now.saturating_sub(record.last_seen) < granularity_s {
                    Touched::Recent
                } else {
                    // of two at once the first has raised it
                    let before = slot.last_seen.fetch_max(now, Ordering::Relaxed);
                    let is_first = now.saturating_sub(before) >= granularity_s.max(1);
                    if is_first { Touched::Raised(now) } else { Touched::Recent }
                }
            })
            .unwrap_or(Touched::Gone)
    }

    /// Calls `see` for each user of one page.
    pub(crate) fn see_users(&self, page: usize, mut see: impl FnMut(&UserId, &Record)) {
        self.users.visit(page, |id, slot| see(id, &slot.record()));
    }

    /// Whether this id was never given out here: its user was created after `since_ms` (Unix time in milliseconds), is not here, and
    /// is not one of those that ended since. False where that is not known.
    pub(crate) fn was_never_here(&self, id: &UserId, since_ms: u64) -> bool {
        if id.created_ms() <= since_ms || self.record(id).is_some() || self.survivor(id).is_some() {
            return false;
        }
        let ended = self.ended.lock();
        id.created_ms() > ended.forgotten_ms && !ended.ids.contains(id)
    }

    /// Whose data the data of this id is now, if its user became part of an account.
    pub(crate) fn survivor(&self, id: &UserId) -> Option<UserId> {
        self.aliases.with(id, |survivor| *survivor)
    }

    /// The value of a key of any other family.
    pub(crate) fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        if key.family.is_own() {
            return self.own.get(key);
        }
        // most users have neither meters nor a document, and on many servers no user has
        let count = self.count_of(key.family);
        if count.is_some_and(|count| count.load(Ordering::Relaxed) == 0) {
            return None;
        }
        self.values.with(key, Arc::clone)
    }

    /// Some of the server's own values.
    pub(crate) fn own_values(&self, listing: &Listing<'_>) -> Vec<(ValueKey, Arc<[u8]>)> {
        self.own.list(listing)
    }

    /// How many keys of a family there are; 0 for one of a later version.
    pub(crate) fn keys(&self, family: Family) -> usize {
        match family {
            Family::USER => self.users.len(),
            Family::EXTENSION => self.extensions.len(),
            other => self.keys.get(usize::from(other.0)).map_or(0, |count| count.load(Ordering::Relaxed)),
        }
    }

    /// How many of the users are accounts.
    pub(crate) fn accounts(&self) -> usize {
        self.accounts.load(Ordering::Relaxed)
    }

    /// How many identities and API keys have an owner.
    pub(crate) fn identities(&self) -> usize {
        self.identities.len()
    }

    /// How many users became part of others that are there.
    pub(crate) fn aliases(&self) -> usize {
        self.aliases.len()
    }

    /// How many bytes all documents take.
    pub(crate) fn document_bytes(&self) -> usize {
        self.document_bytes.load(Ordering::Relaxed)
    }

    /// Calls `see` for each value of one page, but for the server's own.
    pub(crate) fn see_values(&self, page: usize, mut see: impl FnMut(&ValueKey, &Arc<[u8]>)) {
        self.values.visit(page, |key, value| see(key, value));
    }

    /// Copies one page of each kind: some users, some extension records (of other users: the maps differ), some values.
    /// There are at least as many pages as maps of each kind.
    pub(crate) fn page(&self, page: usize) -> Vec<Item> {
        // before the map is held
        let mut items = Vec::with_capacity(self.users.maps.get(page).map_or(0, DashMap::len));
        self.users.visit(page, |id, slot| items.push(Item::User(*id, slot.record())));
        self.extensions.visit(page, |id, bytes| items.push(Item::Extension(*id, Arc::clone(bytes))));
        self.values.visit(page, |key, value| items.push(Item::Value(key.clone(), Arc::clone(value))));
        if page == 0 {
            self.own.visit(|key, value| items.push(Item::Value(key, value)));
        }
        items
    }

    // The rest is for the store's writer and for recovery alone: they make the registry the journal's durable prefix.

    /// Puts a record, with the later of the two last activities; and does `with_it` before anyone can look.
    pub(crate) fn put_user(&self, id: UserId, mut record: Record, with_it: impl FnOnce()) {
        match self.users.map(&id).entry(id) {
            Entry::Occupied(mut entry) => {
                with_it();
                let before = entry.get().record();
                record.last_seen = record.last_seen.max(before.last_seen);
                entry.insert(Slot::new(&record));
                self.count_account(&before, AtomicUsize::fetch_sub);
            }
            Entry::Vacant(entry) => {
                with_it();
                entry.insert(Slot::new(&record));
                self.users.len.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count_account(&record, AtomicUsize::fetch_add);
    }

    fn count_account(&self, record: &Record, change: fn(&AtomicUsize, usize, Ordering) -> usize) {
        if !record.is_anonymous() {
            change(&self.accounts, 1, Ordering::Relaxed);
        }
    }

    /// Takes a user away, with the extension record and the identities in it.
    pub(crate) fn remove_user(&self, id: &UserId) {
        let entry = self.users.map(id).entry(*id);
        // also of an absent user: a snapshot may have copied the extension record before the user went
        self.remove_extension(id);
        if let Entry::Occupied(entry) = entry {
            self.count_account(&entry.remove().record(), AtomicUsize::fetch_sub);
            self.users.len.fetch_sub(1, Ordering::Relaxed);
            self.ended.lock().note(*id);
        }
    }

    /// Puts an extension record and derives the indexes of identities, keys and aliases from it.
    pub(crate) fn put_extension(&self, id: UserId, bytes: Arc<[u8]>) {
        let read = |bytes: &[u8]| Extension::decode(bytes).unwrap_or_default();
        let new = read(&bytes);
        let claims = new.claims();
        if let Some(old) = self.extensions.insert(id, bytes) {
            self.forget(&id, &read(&old), &claims, &new.aliases);
        }
        for claim in claims {
            self.identities.insert(claim, id);
        }
        for alias in &new.aliases {
            self.aliases.insert(alias.id, id);
        }
    }

    /// Removes from the indexes what no longer leads to a user. What a different user has by now stays.
    fn forget(&self, id: &UserId, old: &Extension, kept: &[IdentityKey], kept_aliases: &[Alias]) {
        for claim in old.claims().iter().filter(|claim| !kept.contains(claim)) {
            self.identities.remove_if_is(claim, id);
        }
        for alias in old.aliases.iter().filter(|alias| !kept_aliases.contains(alias)) {
            self.aliases.remove_if_is(&alias.id, id);
        }
    }

    /// Takes an extension record away and its identities out of the index.
    pub(crate) fn remove_extension(&self, id: &UserId) {
        if let Some(old) = self.extensions.remove(id) {
            self.forget(id, &Extension::decode(&old).unwrap_or_default(), &[], &[]);
        }
    }

    /// Raises `last_seen` of an existing user.
    pub(crate) fn raise_last_seen(&self, id: &UserId, at: ServiceTime) {
        self.users.with(id, |slot| slot.last_seen.fetch_max(at, Ordering::Relaxed));
    }

    /// Puts a value of any other family.
    pub(crate) fn put_value(&self, key: ValueKey, value: Arc<[u8]>) {
        let (family, bytes) = (key.family, value.len());
        let old = if family.is_own() { self.own.insert(key, value) } else { self.values.insert(key, value) };
        if family == Family::DOCUMENT {
            self.document_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        match old {
            Some(old) => self.count_fewer_bytes(family, old.len()),
            None => {
                if let Some(count) = self.count_of(family) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Removes a value of any other family.
    pub(crate) fn remove_value(&self, key: &ValueKey) {
        let old = if key.family.is_own() { self.own.remove(key) } else { self.values.remove(key) };
        if let Some(old) = old {
            self.count_fewer_bytes(key.family, old.len());
            if let Some(count) = self.count_of(key.family) {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn count_of(&self, family: Family) -> Option<&AtomicUsize> {
        self.keys.get(usize::from(family.0))
    }

    fn count_fewer_bytes(&self, family: Family, bytes: usize) {
        if family == Family::DOCUMENT {
            self.document_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
