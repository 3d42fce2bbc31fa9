//! One count: its rule, and a table of a fixed size.

use passerby_actors::domain::ServiceTime;

/// Entries of a bucket; a key can be in one bucket only.
const WAYS: usize = 8;

/// How long a success from a prefix is remembered (seconds of service).
pub(super) const TRUST_S: u32 = 30 * 86_400;

/// The rule of one count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Failures outstanding that cost nothing.
    pub free: u16,
    /// One failure is forgiven per this many seconds, at least 1.
    pub forgive_s: u32,
    /// No wait is longer (seconds). At least `forgive_s`, or the count would only ever rise.
    pub longest_wait_s: u32,
}

/// One count of many keys, in a fixed number of places. A newcomer to a full bucket takes the place of the entry that is least
/// missed.
pub(super) struct Table {
    tier: Tier,
    pub(super) buckets: Box<[[Entry; WAYS]]>,
}

/// An empty place has `failures` and `trusted_until` zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    key: u64,
    /// Failures that are not forgiven, as of `forgiven_at`.
    pub(super) failures: u16,
    forgiven_at: ServiceTime,
    blocked_until: ServiceTime,
    trusted_until: ServiceTime,
}

impl Table {
    pub(super) fn new(tier: Tier, capacity: usize) -> Self {
        Self { tier, buckets: vec![[Entry::default(); WAYS]; capacity.div_ceil(WAYS).max(1)].into() }
    }

    pub(super) fn blocked_until(&self, key: u64) -> ServiceTime {
        self.get(key).map_or(0, |entry| entry.blocked_until)
    }

    pub(super) fn is_trusted(&self, key: u64, now: ServiceTime) -> bool {
        self.get(key).is_some_and(|entry| entry.trusted_until > now)
    }

    pub(super) fn count(&mut self, key: u64, now: ServiceTime) {
        let tier = self.tier;
        let entry = self.place(key, now);
        entry.forgive(tier, now);
        let doublings = entry.failures.saturating_sub(tier.free);
        entry.failures = entry.failures.saturating_add(1).min(tier.most());
        if entry.failures > tier.free {
            let wait_s = 1_u32.checked_shl(doublings.into()).unwrap_or(u32::MAX).min(tier.longest_wait_s);
            entry.blocked_until = entry.blocked_until.max(now.saturating_add(wait_s));
        }
    }

    pub(super) fn uncount(&mut self, key: u64) {
        let tier = self.tier;
        if let Some(entry) = self.get_mut(key) {
            entry.failures = entry.failures.saturating_sub(1);
            // it was let in, so nothing blocked it before; others that failed meanwhile keep their count
            if entry.failures <= tier.free {
                entry.blocked_until = 0;
            }
        }
    }

    pub(super) fn forget(&mut self, key: u64) {
        if let Some(entry) = self.get_mut(key) {
            *entry = Entry::default();
        }
    }

    pub(super) fn trust(&mut self, key: u64, now: ServiceTime) {
        *self.place(key, now) =
            Entry { key, forgiven_at: now, trusted_until: now.saturating_add(TRUST_S), ..Entry::default() };
    }

    fn bucket(&self, key: u64) -> usize {
        // keys are evenly spread, whatever is left over by the division
        usize::try_from(key % self.buckets.len() as u64).unwrap_or_default()
    }

    fn get(&self, key: u64) -> Option<&Entry> {
        self.buckets[self.bucket(key)].iter().find(|entry| entry.is_of(key))
    }

    fn get_mut(&mut self, key: u64) -> Option<&mut Entry> {
        let bucket = self.bucket(key);
        self.buckets[bucket].iter_mut().find(|entry| entry.is_of(key))
    }

    /// The key's place; if it has none, that of the entry with the least to lose, which is forgotten.
    fn place(&mut self, key: u64, now: ServiceTime) -> &mut Entry {
        let (tier, bucket) = (self.tier, self.bucket(key));
        let bucket = &mut self.buckets[bucket];
        let place = bucket.iter().position(|entry| entry.is_of(key)).unwrap_or_else(|| {
            let mut least = 0;
            for place in 1..WAYS {
                if bucket[place].worth(tier, now) < bucket[least].worth(tier, now) {
                    least = place;
                }
            }
            bucket[least] = Entry { key, forgiven_at: now, ..Entry::default() };
            least
        });
        &mut bucket[place]
    }
}

impl Entry {
    fn is_of(&self, key: u64) -> bool {
        self.key == key && (self.failures > 0 || self.trusted_until > 0)
    }

    fn forgive(&mut self, tier: Tier, now: ServiceTime) {
        let forgiven = now.saturating_sub(self.forgiven_at) / tier.forgive_s;
        self.failures = self.failures.saturating_sub(u16::try_from(forgiven).unwrap_or(u16::MAX));
        self.forgiven_at =
            if self.failures == 0 { now } else { self.forgiven_at.saturating_add(forgiven * tier.forgive_s) };
    }

    /// By this the least missed is found: entries that are held back stay before known ones, and both before the rest.
    fn worth(&self, tier: Tier, now: ServiceTime) -> (bool, bool, u16, ServiceTime) {
        let mut entry = *self;
        entry.forgive(tier, now);
        (entry.failures > tier.free, entry.trusted_until > now, entry.failures, self.forgiven_at)
    }
}

impl Tier {
    /// The rule of a network that is worth so many of those whom this one is for: as many more attempts, and as much shorter
    /// waits, for many people share it.
    pub(super) fn times(self, worth: u32) -> Self {
        let Self { free, forgive_s, longest_wait_s } = self;
        let forgive_s = (forgive_s / worth).max(1);
        Self {
            free: u16::try_from(u32::from(free) * worth).unwrap_or(u16::MAX),
            forgive_s,
            longest_wait_s: (longest_wait_s / worth).max(forgive_s),
        }
    }

    /// The count stops here, where the wait has reached its longest: what came before is forgotten as fast for
    /// everyone.
    pub(super) fn most(self) -> u16 {
        let doublings = u32::BITS - self.longest_wait_s.leading_zeros();
        self.free.saturating_add(1).saturating_add(u16::try_from(doublings).unwrap_or(u16::MAX))
    }
}
