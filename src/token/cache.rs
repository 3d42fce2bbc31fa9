//! Verified access tokens, so that a token seen before costs a hash and not a signature. Bounded.

use std::collections::HashMap;
use std::mem;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;

use super::claims::Access;
use super::keys::KeyId;

const MAX_SHARDS: usize = 64;

/// Entries for which one more shard is worth its lock.
const SHARD_ENTRIES: usize = 256;

/// SHA-256 of the whole token as received, signature included: two texts never share an entry.
type Fingerprint = [u8; 32];

/// What is known of tokens, by their fingerprint.
pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    /// A generation of a shard holds this many.
    generation: usize,
}

/// Two generations: entries that are used move to the younger one; when that is full, the older one is forgotten.
#[derive(Default)]
struct Shard {
    young: HashMap<Fingerprint, Access>,
    old: HashMap<Fingerprint, Access>,
}

impl Cache {
    /// Holds at most `entries`; fewer than two turn it off.
    pub(super) fn new(entries: usize) -> Self {
        let shards = (entries / SHARD_ENTRIES).clamp(1, MAX_SHARDS);
        Self { shards: (0..shards).map(|_| Mutex::default()).collect(), generation: entries / shards / 2 }
    }

    pub(super) fn fingerprint(token: &str) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        fingerprint
    }

    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<Access> {
        let mut shard = self.shard(fingerprint).lock();
        if let Some(access) = shard.young.get(fingerprint) {
            return Some(*access);
        }
        let access = shard.old.remove(fingerprint)?;
        shard.put(*fingerprint, access, self.generation);
        Some(access)
    }

    pub(super) fn put(&self, fingerprint: Fingerprint, access: Access) {
        if self.generation > 0 {
            self.shard(&fingerprint).lock().put(fingerprint, access, self.generation);
        }
    }

    /// Forgets every token that this key signed.
    pub(super) fn retire(&self, key: KeyId) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.young.retain(|_, access| access.key != key);
            shard.old.retain(|_, access| access.key != key);
        }
    }

    fn shard(&self, fingerprint: &Fingerprint) -> &Mutex<Shard> {
        let bits = usize::from(u16::from_be_bytes([fingerprint[0], fingerprint[1]]));
        &self.shards[bits % self.shards.len()]
    }
}

impl Shard {
    fn put(&mut self, fingerprint: Fingerprint, access: Access, generation: usize) {
        if self.young.len() >= generation {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, access);
    }
}

#[cfg(test)]
mod tests {
    use passerby_actors::domain::{DeviceId, SessionId, SessionKind, UserId};

    use super::*;

    fn access(key: &str) -> Access {
        Access {
            user: UserId::from_bytes([1; 16]),
            session: SessionId([2; 12]),
            epoch: 0,
            kind: SessionKind::V1,
            device: DeviceId::default(),
            issued_at_s: 1,
            expires_at_s: 2,
            key: KeyId::parse(key).unwrap(),
        }
    }

    fn held(cache: &Cache) -> usize {
        cache.shards.iter().map(|shard| shard.lock()).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn name(number: usize) -> Fingerprint {
        Cache::fingerprint(&number.to_string())
    }

    #[test]
    fn it_never_holds_more_than_it_was_given() {
        for entries in [0, 1, 2, 3, 100, 1000, 5000, 40_000] {
            let cache = Cache::new(entries);
            for number in 0..3 * entries + 10 {
                cache.put(name(number), access("00000000000000aa"));
            }
            assert!(held(&cache) <= entries, "{entries}: {}", held(&cache));
            assert!(held(&cache) * 3 >= entries.saturating_sub(2), "{entries}: {}", held(&cache));
        }
    }

    #[test]
    fn what_is_used_stays() {
        let cache = Cache::new(100);
        for number in 0..10_000 {
            cache.put(name(number), access("00000000000000aa"));
            assert!(cache.get(&name(0)).is_some(), "{number}");
        }
        assert!(cache.get(&name(1)).is_none());
        assert!(cache.get(&name(9999)).is_some());
    }

    #[test]
    fn a_retired_keys_tokens_are_forgotten_in_both_generations() {
        let cache = Cache::new(20);
        for number in 0..16 {
            cache.put(name(number), access(if number % 2 == 0 { "00000000000000aa" } else { "00000000000000bb" }));
        }
        cache.retire(KeyId::parse("00000000000000aa").unwrap());
        assert_eq!((0..16).filter(|number| cache.get(&name(*number)).is_some()).count(), 8);
        assert!(cache.get(&name(1)).is_some_and(|access| access.key.to_string() == "00000000000000bb"));
    }
}
