//! The registry: every user's compact record in memory, and the directory of live users. The only room for dashmap.
//!
//! An array of small maps, chosen by our own bits of a seeded hash: a slice of a sweep, a page of a snapshot and a page of
//! a listing are one of these maps. Some maps are meant to hold up to twice as much as others, so that they do not all
//! double at the same number of users: memory grows with users and not in steps, and no moment rehashes everything. Access is by closure, and no guard leaves this file; closures neither call the store
//! nor log. The registry is the durable prefix of the journal, but for `last_seen`.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::{FixedState, RandomState};
use parking_lot::Mutex;

use crate::domain::{Alias, Extension, Family, IdentityKey, Record, ServiceTime, UserId, UserState, ValueKey};

/// dashmap refuses fewer than two shards.
const SHARDS_PER_MAP: usize = 2;
/// The fewest maps, and how many entries each may hold at `max_users`.
const MIN_MAPS: usize = 512;
const MAX_ENTRIES_PER_MAP: usize = 400_000;
/// dashmap takes the top bits of the hash and the table the lowest: the map is chosen by bits that neither uses.
const MAP_BITS_SHIFT: u32 = 24;
/// Maps of one size class get equally many keys, those of the next 2^(1/16) times as many.
const CLASSES: usize = 16;
/// Hash values are dealt to the classes in this many parts.
const PARTS: usize = 4096;

/// The class of each part.
static CLASS_OF_PART: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    // class c has as large a share of [1, 2) as lies between 2^(c/16) and 2^((c+1)/16)
    let class = |part: usize| ((1.0 + part as f64 / PARTS as f64).log2() * CLASSES as f64) as u8;
    (0..PARTS).map(class).collect()
});

/// Many small concurrent maps behaving as one.
struct Maps<K, V, S> {
    maps: Box<[DashMap<K, V, S>]>,
    hasher: S,
    len: AtomicUsize,
}

/// By user id, with the same hash in every process: a snapshot is written map by map, so that its users come back map by
/// map, which caches like. Ids are random and our own, so nobody can make them collide.
type ById<V> = Maps<UserId, V, FixedState>;

impl<K: Eq + Hash, V, S: BuildHasher + Clone + Default> Maps<K, V, S> {
    fn new(count: usize) -> Self {
        Self::with_room(count, 0)
    }

    /// With room for about so many entries, of which each map gets its class's share.
    fn with_room(count: usize, entries: usize) -> Self {
        let hasher = S::default();
        let bound = |class: usize| (class as f64 / CLASSES as f64).exp2();
        let map = |map: usize| {
            let class = map * CLASSES / count;
            let share = (bound(class + 1) - bound(class)) / (count / CLASSES) as f64;
            // and a little more, since chance deals unevenly
            let room = (entries as f64 * share * 1.01) as usize;
            DashMap::with_capacity_and_hasher_and_shard_amount(room, hasher.clone(), SHARDS_PER_MAP)
        };
        Self { maps: (0..count).map(map).collect(), hasher: hasher.clone(), len: AtomicUsize::new(0) }
    }

    fn map(&self, key: &K) -> &DashMap<K, V, S> {
        let hash = (self.hasher.hash_one(key) >> MAP_BITS_SHIFT) as usize;
        let class = usize::from(CLASS_OF_PART[hash % PARTS]);
        // their number is a power of two, and the bits above it do not matter
        let of_a_class = self.maps.len() / CLASSES;
        &self.maps[class * of_a_class + (hash / PARTS) % of_a_class]
    }

    fn with<R>(&self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.map(key).get(key).map(|entry| read(&entry))
    }

    fn insert(&self, key: K, value: V) -> Option<V> {
        let old = self.map(&key).insert(key, value);
        if old.is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        old
    }

    fn remove(&self, key: &K) -> Option<V> {
        let old = self.map(key).remove(key).map(|(_, value)| value);
        if old.is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        old
    }

    /// Takes an entry away if it still has this value.
    fn remove_if_is(&self, key: &K, value: &V)
    where
        V: PartialEq,
    {
        if self.map(key).remove_if(key, |_, current| current == value).is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Calls `see` for each entry of one map, holding one of its shards at a time.
    fn visit(&self, map: usize, mut see: impl FnMut(&K, &V)) {
        if let Some(map) = self.maps.get(map) {
            map.iter().for_each(|entry| see(entry.key(), entry.value()));
        }
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

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

/// What a touch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// The user is gone, or its deadline has come.
    Gone,
    /// The last activity is recent enough.
    Recent,
    /// The last activity was raised to this time, which the journal should hear of.
    Raised(ServiceTime),
}

/// One entry of a page: a user's record, an extension record or something of a later version's family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A user's record.
    User(UserId, Record),
    /// A user's extension record.
    Extension(UserId, Arc<[u8]>),
    /// A key of another family, perhaps one of a later version.
    Value(ValueKey, Arc<[u8]>),
}

/// How many ids of users who ended are kept in memory.
const KEPT_ENDED: usize = 16_384;

/// The ids of users who ended last. They tell an id that was never here from one that was.
#[derive(Default)]
struct Ended {
    ids: HashSet<UserId, RandomState>,
    order: VecDeque<UserId>,
    /// When the youngest of those was created who are kept no more: Unix time in milliseconds.
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
pub struct Registry {
    users: ById<Slot>,
    extensions: ById<Arc<[u8]>>,
    identities: Maps<IdentityKey, UserId, RandomState>,
    aliases: ById<UserId>,
    ended: Mutex<Ended>,
    values: Maps<ValueKey, Arc<[u8]>, RandomState>,
    /// How many keys of each known family are among the values, by its number.
    keys: [AtomicUsize; Family::COUNT],
    document_bytes: AtomicUsize,
}

impl Registry {
    /// An empty registry whose maps stay small up to `max_users`.
    pub fn new(max_users: usize) -> Self {
        Self::with_room(max_users, 0)
    }

    /// The same, with room for so many users at once.
    pub fn with_room(max_users: usize, users: usize) -> Self {
        let maps = max_users.div_ceil(MAX_ENTRIES_PER_MAP).max(MIN_MAPS).next_power_of_two();
        Self {
            users: Maps::with_room(maps, users),
            extensions: Maps::new((maps / 4).max(MIN_MAPS)),
            identities: Maps::new(MIN_MAPS),
            aliases: Maps::new(CLASSES),
            ended: Mutex::default(),
            values: Maps::new(MIN_MAPS),
            keys: Default::default(),
            document_bytes: AtomicUsize::new(0),
        }
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many maps there are: pages are numbered below it.
    pub fn pages(&self) -> usize {
        self.users.maps.len()
    }

    /// A user's compact record.
    pub fn record(&self, id: &UserId) -> Option<Record> {
        self.users.with(id, Slot::record)
    }

    /// A user with all that is kept about them. (Extension records are read once before they get here: by the codec at
    /// recovery, which refuses what it cannot read, and by whoever wrote them.)
    pub fn load(&self, id: &UserId) -> Option<UserState> {
        // the extension record is read and written under its user's lock, so that the two belong together
        let (record, bytes) = self.users.with(id, |slot| (slot.record(), self.extensions.with(id, Arc::clone)))?;
        let extension = match bytes {
            None => None,
            Some(bytes) => Some(Extension::decode(&bytes).ok()?),
        };
        let [meters, document] = ValueKey::of_user(id).map(|key| self.value(&key));
        Some(UserState { id: *id, record, extension, meters, document })
    }

    /// Who has this identity.
    pub fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.identities.with(identity, |id| *id)
    }

    /// Marks activity: under the entry's lock reads the clock, checks the deadline and raises `last_seen`, if it is at least
    /// `granularity_s` old.
    pub fn touch(&self, id: &UserId, now: impl FnOnce() -> ServiceTime, window_s: u32, granularity_s: u32) -> Touched {
        self.users
            .with(id, |slot| {
                let (now, record) = (now(), slot.record());
                if record.is_expired(now, window_s) {
                    Touched::Gone
                } else if now.saturating_sub(record.last_seen) < granularity_s {
                    Touched::Recent
                } else {
                    slot.last_seen.fetch_max(now, Ordering::Relaxed);
                    Touched::Raised(now)
                }
            })
            .unwrap_or(Touched::Gone)
    }

    /// The users of one page for whom `wanted` holds.
    pub fn select(&self, page: usize, wanted: impl Fn(&Record) -> bool) -> Vec<UserId> {
        let mut found = Vec::new();
        self.see_users(page, |id, record| {
            if wanted(record) {
                found.push(*id);
            }
        });
        found
    }

    /// Calls `see` for each user of one page.
    pub fn see_users(&self, page: usize, mut see: impl FnMut(&UserId, &Record)) {
        self.users.visit(page, |id, slot| see(id, &slot.record()));
    }

    /// Whether this id was given to nobody here: its user was created after `since_ms` (Unix time in milliseconds), is not here, and
    /// is none of those who ended since. False where that is not known.
    pub fn was_never_here(&self, id: &UserId, since_ms: u64) -> bool {
        if id.created_ms() <= since_ms || self.record(id).is_some() || self.survivor(id).is_some() {
            return false;
        }
        let ended = self.ended.lock();
        id.created_ms() > ended.forgotten_ms && !ended.ids.contains(id)
    }

    /// Whose data the data of this id is now, if its user became part of another.
    pub fn survivor(&self, id: &UserId) -> Option<UserId> {
        self.aliases.with(id, |survivor| *survivor)
    }

    /// The value of a key of another family.
    pub fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.values.with(key, Arc::clone)
    }

    /// How many keys of other families there are.
    pub fn values(&self) -> usize {
        self.values.len()
    }

    /// How many keys of a family there are; 0 for one of a later version.
    pub fn keys(&self, family: Family) -> usize {
        match family {
            Family::USER => self.users.len(),
            Family::EXTENSION => self.extensions.len(),
            other => self.keys.get(usize::from(other.0)).map_or(0, |count| count.load(Ordering::Relaxed)),
        }
    }

    /// How many identities and API keys have an owner.
    pub fn identities(&self) -> usize {
        self.identities.len()
    }

    /// How many users became part of others that are there.
    pub fn aliases(&self) -> usize {
        self.aliases.len()
    }

    /// How many bytes all documents take.
    pub fn document_bytes(&self) -> usize {
        self.document_bytes.load(Ordering::Relaxed)
    }

    /// The values of one page for which `wanted` holds.
    pub fn select_values(&self, page: usize, wanted: impl Fn(&ValueKey, &[u8]) -> bool) -> Vec<(ValueKey, Arc<[u8]>)> {
        let mut found = Vec::new();
        self.values.visit(page, |key, value| {
            if wanted(key, value) {
                found.push((key.clone(), Arc::clone(value)));
            }
        });
        found
    }

    /// Copies one page of each kind: some users, some extension records (of other users: the maps differ), some values.
    /// There are at least as many pages as maps of each kind.
    pub fn page(&self, page: usize) -> Vec<Item> {
        // before the map is held
        let mut items = Vec::with_capacity(self.users.maps.get(page).map_or(0, DashMap::len));
        self.users.visit(page, |id, slot| items.push(Item::User(*id, slot.record())));
        self.extensions.visit(page, |id, bytes| items.push(Item::Extension(*id, Arc::clone(bytes))));
        self.values.visit(page, |key, value| items.push(Item::Value(key.clone(), Arc::clone(value))));
        items
    }

    // The rest is for the store's writer and for recovery alone: they make the registry the journal's durable prefix.

    /// Puts a record, of the two last activities the later one; and does `with_it` before anybody can look.
    pub(crate) fn put_user(&self, id: UserId, mut record: Record, with_it: impl FnOnce()) {
        match self.users.map(&id).entry(id) {
            Entry::Occupied(mut entry) => {
                with_it();
                record.last_seen = record.last_seen.max(entry.get().last_seen.load(Ordering::Relaxed));
                entry.insert(Slot::new(&record));
            }
            Entry::Vacant(entry) => {
                with_it();
                entry.insert(Slot::new(&record));
                self.users.len.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes a user away, with the extension record and the identities in it.
    pub(crate) fn remove_user(&self, id: &UserId) {
        let entry = self.users.map(id).entry(*id);
        // also of a user who is not there: a snapshot may have copied the extension record before the user went
        self.remove_extension(id);
        if let Entry::Occupied(entry) = entry {
            entry.remove();
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

    /// Takes out of the indexes what led to a user and does not any more. What somebody else has by now stays.
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

    /// Raises `last_seen` of a user who is there.
    pub(crate) fn raise_last_seen(&self, id: &UserId, at: ServiceTime) {
        self.users.with(id, |slot| slot.last_seen.fetch_max(at, Ordering::Relaxed));
    }

    /// Puts a value of another family.
    pub(crate) fn put_value(&self, key: ValueKey, value: Arc<[u8]>) {
        let (family, bytes) = (key.family, value.len());
        let old = self.values.insert(key, value);
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

    /// Takes a value of another family away.
    pub(crate) fn remove_value(&self, key: &ValueKey) {
        if let Some(old) = self.values.remove(key) {
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

/// Live users: who acts for them, and whether they may be let go. Never journalled.
///
/// An address is handed out with a lease, raised under the entry's lock and lowered by [`Directory::release`]; an entry
/// leaves only without leases. So an address that turns out closed belonged to an actor that died.
pub struct Directory<A> {
    live: ById<Live<A>>,
    deaths: ById<Deaths>,
}

struct Live<A> {
    address: A,
    worker: usize,
    incarnation: u64,
    leases: u32,
    last_used_ms: u64,
}

#[derive(Clone, Copy, Default)]
struct Deaths {
    count: u32,
    first_ms: u64,
    blocked_until_ms: u64,
    blocks: u32,
}

/// An address on loan.
pub struct Lease<A> {
    /// Where to send.
    pub address: A,
    /// Which life of the actor this is.
    pub incarnation: u64,
}

/// When a user's actor dies too often.
const DEATHS: u32 = 3;
const DEATHS_WITHIN_MS: u64 = 60_000;
const FIRST_BLOCK_MS: u64 = 300_000;
const LONGEST_BLOCK_MS: u64 = 3_600_000;

impl<A: Clone> Default for Directory<A> {
    fn default() -> Self {
        Self { live: Maps::new(MIN_MAPS), deaths: Maps::new(MIN_MAPS) }
    }
}

impl<A: Clone> Directory<A> {
    /// How many users are live.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether nobody is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The live user's address, on lease.
    pub fn lease(&self, id: &UserId, now_ms: u64) -> Option<Lease<A>> {
        self.live.map(id).get_mut(id).map(|mut live| live.lend(now_ms))
    }

    /// The live user's address, on lease, activating it with `start` under the entry's lock if the user rests.
    pub fn lease_or_activate(
        &self,
        id: &UserId,
        now_ms: u64,
        worker: usize,
        incarnation: u64,
        start: impl FnOnce() -> A,
    ) -> Lease<A> {
        match self.live.map(id).entry(*id) {
            Entry::Occupied(mut entry) => entry.get_mut().lend(now_ms),
            Entry::Vacant(entry) => {
                self.live.len.fetch_add(1, Ordering::Relaxed);
                entry
                    .insert(Live { address: start(), worker, incarnation, leases: 0, last_used_ms: now_ms })
                    .lend(now_ms)
            }
        }
    }

    /// Gives a lease back.
    pub fn release(&self, id: &UserId, incarnation: u64) {
        if let Some(mut live) = self.live.map(id).get_mut(id)
            && live.incarnation == incarnation
        {
            live.leases = live.leases.saturating_sub(1);
        }
    }

    /// The address and worker of a live user, without a lease: for notices, which may be lost.
    pub fn peek(&self, id: &UserId) -> Option<(A, usize)> {
        self.live.with(id, |live| (live.address.clone(), live.worker))
    }

    /// Takes the entry away if nobody holds a lease and it was last used at `idle_since_ms` or before.
    pub fn retire(&self, id: &UserId, idle_since_ms: u64) -> Option<A> {
        let removed = self.live.map(id).remove_if(id, |_, live| live.leases == 0 && live.last_used_ms <= idle_since_ms);
        removed.map(|(_, live)| {
            self.live.len.fetch_sub(1, Ordering::Relaxed);
            live.address
        })
    }

    /// Takes away the entry of an actor that is known to be dead, leases or not.
    pub fn forget(&self, id: &UserId, incarnation: u64) -> bool {
        let removed = self.live.map(id).remove_if(id, |_, live| live.incarnation == incarnation).is_some();
        if removed {
            self.live.len.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// The users live on this worker who were last used at `idle_since_ms` or before, with the incarnation of each.
    pub fn idle(&self, worker: usize, idle_since_ms: u64) -> Vec<(UserId, u64)> {
        let mut found = Vec::new();
        self.visit(|id, live| {
            if live.worker == worker && live.last_used_ms <= idle_since_ms {
                found.push((*id, live.incarnation));
            }
        });
        found
    }

    /// The `count` users, on whichever worker, who were last used the longest ago.
    pub fn longest_idle(&self, count: usize) -> Vec<UserId> {
        let mut found = Vec::with_capacity(self.len());
        self.visit(|id, live| found.push((live.last_used_ms, *id)));
        if count < found.len() {
            found.select_nth_unstable(count);
            found.truncate(count);
        }
        found.into_iter().map(|(_, id)| id).collect()
    }

    fn visit(&self, mut see: impl FnMut(&UserId, &Live<A>)) {
        if !self.is_empty() {
            (0..self.live.maps.len()).for_each(|map| self.live.visit(map, &mut see));
        }
    }

    /// Counts a death. Answers for how long (ms) the user's stateful calls are refused, if it died too often.
    pub fn count_death(&self, id: &UserId, now_ms: u64) -> Option<u64> {
        let mut entry = self.deaths.map(id).entry(*id).or_default();
        let deaths = entry.value_mut();
        if now_ms.saturating_sub(deaths.first_ms) > DEATHS_WITHIN_MS || deaths.count == 0 {
            (deaths.first_ms, deaths.count) = (now_ms, 0);
        }
        deaths.count += 1;
        if deaths.count < DEATHS {
            return None;
        }
        let block_ms = (FIRST_BLOCK_MS << deaths.blocks.min(4)).min(LONGEST_BLOCK_MS);
        *deaths = Deaths { count: 0, first_ms: 0, blocked_until_ms: now_ms + block_ms, blocks: deaths.blocks + 1 };
        Some(block_ms)
    }

    /// For how many more milliseconds the user's stateful calls are refused.
    pub fn blocked_for_ms(&self, id: &UserId, now_ms: u64) -> Option<u64> {
        let until = self.deaths.with(id, |deaths| deaths.blocked_until_ms)?;
        until.checked_sub(now_ms).filter(|ms| *ms > 0)
    }

    /// Forgets deaths that no longer matter, so that the list stays short.
    pub fn forget_old_deaths(&self, now_ms: u64) {
        for map in &self.deaths.maps {
            map.retain(|_, deaths| {
                now_ms < deaths.blocked_until_ms.max(deaths.first_ms).saturating_add(2 * LONGEST_BLOCK_MS)
            });
        }
    }
}

impl<A: Clone> Live<A> {
    fn lend(&mut self, now_ms: u64) -> Lease<A> {
        self.leases += 1;
        self.last_used_ms = now_ms;
        Lease { address: self.address.clone(), incarnation: self.incarnation }
    }
}

#[cfg(test)]
mod tests;
