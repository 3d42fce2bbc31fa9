//! Many small concurrent maps behaving as one.
//!
//! Keys are dealt to the maps by our own bits of a hash. Some maps are meant to hold up to twice as much as others, so that they
//! do not all double at the same number of entries: memory grows with them and not in steps, and no moment rehashes everything.

use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use foldhash::fast::FixedState;

use crate::domain::UserId;

/// dashmap refuses fewer than two shards.
const SHARDS_PER_MAP: usize = 2;
/// The fewest maps, and how many entries each may hold at `max_users`.
pub(super) const MIN_MAPS: usize = 512;
pub(super) const MAX_ENTRIES_PER_MAP: usize = 400_000;
/// dashmap takes the top bits of the hash and the table the lowest: the map is chosen by bits that neither uses.
const MAP_BITS_SHIFT: u32 = 24;
/// Maps of one size class get equally many keys, those of the next 2^(1/16) times as many.
pub(super) const CLASSES: usize = 16;
/// Hash values are dealt to the classes in this many parts.
const PARTS: usize = 4096;

/// The class of each part.
static CLASS_OF_PART: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    // class c has as large a share of [1, 2) as lies between 2^(c/16) and 2^((c+1)/16)
    let class = |part: usize| ((1.0 + part as f64 / PARTS as f64).log2() * CLASSES as f64) as u8;
    (0..PARTS).map(class).collect()
});

/// Many small concurrent maps behaving as one.
pub(super) struct Maps<K, V, S> {
    pub(super) maps: Box<[DashMap<K, V, S>]>,
    hasher: S,
    pub(super) len: AtomicUsize,
}

/// By user id, with the same hash in every process: a snapshot is written map by map, so that its users come back map by
/// map, which caches like. Ids are random and our own, so no one can make them collide.
pub(super) type ById<V> = Maps<UserId, V, FixedState>;

impl<K: Eq + Hash, V, S: BuildHasher + Clone + Default> Maps<K, V, S> {
    pub(super) fn new(count: usize) -> Self {
        Self::with_room(count, 0)
    }

    /// With room for about so many entries, of which each map gets its class's share.
    pub(super) fn with_room(count: usize, entries: usize) -> Self {
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

    pub(super) fn map(&self, key: &K) -> &DashMap<K, V, S> {
        let hash = (self.hasher.hash_one(key) >> MAP_BITS_SHIFT) as usize;
        let class = usize::from(CLASS_OF_PART[hash % PARTS]);
        // their number is a power of two, and the bits above it do not matter
        let of_a_class = self.maps.len() / CLASSES;
        &self.maps[class * of_a_class + (hash / PARTS) % of_a_class]
    }

    pub(super) fn with<R>(&self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.map(key).get(key).map(|entry| read(&entry))
    }

    pub(super) fn insert(&self, key: K, value: V) -> Option<V> {
        let old = self.map(&key).insert(key, value);
        if old.is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        old
    }

    pub(super) fn remove(&self, key: &K) -> Option<V> {
        let old = self.map(key).remove(key).map(|(_, value)| value);
        if old.is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        old
    }

    /// Takes an entry away if it still has this value.
    pub(super) fn remove_if_is(&self, key: &K, value: &V)
    where
        V: PartialEq,
    {
        if self.map(key).remove_if(key, |_, current| current == value).is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Calls `see` for each entry of one map, holding one of its shards at a time.
    pub(super) fn visit(&self, map: usize, mut see: impl FnMut(&K, &V)) {
        if let Some(map) = self.maps.get(map) {
            map.iter().for_each(|entry| see(entry.key(), entry.value()));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}
