//! Slows down guessing: attempts are counted per identity and address prefix, in memory that never grows.
//!
//! Three counts are kept, each by the same rule ([`Tier`]): a number of attempts is free, then each failure doubles the
//! wait up to a cap, and one failure is forgiven per `forgive_s`. So in the long run nobody gets more than one guess
//! per `forgive_s`.
//!
//! - **One identity from one prefix** is where a guesser is slowed first, and it concerns nobody who comes from
//!   elsewhere.
//! - **One prefix**, whatever identities it tries: spraying one password over many names. So many more from a wider network
//!   that it is part of ([`WORTH`]), so that nobody has a count for each of a thousand prefixes.
//! - **One identity**, from wherever: guessing from many addresses. It begins much later.
//!
//! Why nobody can be locked out for ever: an attempt that is refused does not count, so a wait is never prolonged by
//! knocking, and no wait is longer than its cap of 15 minutes. A guesser with many addresses could still always be the
//! next who is let in for an identity, and one with the same address as many people the next who is let in there; therefore
//! neither of these two counts holds back an identity at a prefix from which it has succeeded in the last 30 days. Whoever is at a new place resets the password by mail, which is reported as a success
//! from there.
//!
//! What is kept is hashed with a key of this process: neither names nor addresses can be read from memory, and nobody
//! can choose names that push others out. It all ends with the process.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use parking_lot::Mutex;
use passerby_actors::domain::{Entropy, ServiceTime};

use crate::network::{Network, WORTH};

/// Entries of a bucket; a key can be in one bucket only.
const WAYS: usize = 8;

/// How long a success from a prefix is remembered (seconds of service).
const TRUST_S: u32 = 30 * 86_400;

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

/// The rules of the three counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiers {
    /// Of one identity from one prefix.
    pub pair: Tier,
    /// Of one prefix.
    pub prefix: Tier,
    /// Of one identity.
    pub identity: Tier,
}

impl Tiers {
    /// For passwords. The steady rate of guesses at one identity is 96 a day from one prefix (NIST SP 800-63B allows
    /// 100 failures in a row) and 288 a day from all of them; many people can share an IPv4 address, hence the wide
    /// prefix.
    pub const LOGIN: Self = Self {
        pair: Tier { free: 5, forgive_s: 900, longest_wait_s: 900 },
        prefix: Tier { free: 100, forgive_s: 20, longest_wait_s: 300 },
        identity: Tier { free: 100, forgive_s: 300, longest_wait_s: 300 },
    };

    /// For mails that anyone can have sent to any address: none may be flooded. Never reported as a success.
    pub const MAIL: Self = Self {
        pair: Tier { free: 3, forgive_s: 900, longest_wait_s: 900 },
        prefix: Tier { free: 30, forgive_s: 60, longest_wait_s: 300 },
        identity: Tier { free: 5, forgive_s: 900, longest_wait_s: 900 },
    };
}

/// Come back after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts, the next is possible in {retry_after_s} s")]
pub struct Throttled {
    /// Seconds, at least 1; what `Retry-After` says.
    pub retry_after_s: u32,
}

/// An attempt that was let in. It counts as failed unless it is handed back: also when the client has gone away, and
/// while it is running, so that a thousand attempts at once do not all pass before the first has failed.
#[must_use = "an attempt that is neither a success nor withdrawn stays counted as failed"]
#[derive(Debug)]
pub struct Attempt {
    pair: Option<u64>,
    /// Of the prefix and the wider networks that it is part of, in the order of [`WORTH`]; none for an address of this
    /// machine: see [`Throttle::admit`].
    prefixes: [Option<u64>; WORTH.len()],
    identity: Option<u64>,
}

/// The counts. One for each purpose.
pub struct Throttle {
    key: hmac::Key,
    tiers: Tiers,
    counts: Mutex<Counts>,
}

struct Counts {
    pair: Table,
    /// In the order of [`WORTH`].
    prefixes: [Table; WORTH.len()],
    identity: Table,
}

impl Throttle {
    /// `capacity`: entries of each count, rounded up to a multiple of 8; 24 bytes each, taken at once and never more.
    pub fn new(tiers: Tiers, capacity: usize, entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        let counts = Counts {
            pair: Table::new(tiers.pair, capacity),
            prefixes: WORTH.map(|worth| Table::new(tiers.prefix.times(worth), capacity)),
            identity: Table::new(tiers.identity, capacity),
        };
        Self { key: hmac::Key::new(HMAC_SHA256, &key), tiers, counts: Mutex::new(counts) }
    }

    /// Lets an attempt in, or says how long to wait. `identity` is what the client claims, known or not (so that the
    /// answer does not tell), preceded by the provider's name; `None` where the credential itself is guessed at (keys,
    /// codes, S37). An address of this machine is a proxy that does not say who is behind it (S36): its clients share no
    /// count but that of the identity they try.
    ///
    /// # Errors
    /// [`Throttled`]; such an attempt is not counted.
    pub fn admit(
        &self,
        identity: Option<(&str, &str)>,
        address: IpAddr,
        now: ServiceTime,
    ) -> Result<Attempt, Throttled> {
        let attempt = self.attempt(identity, address);
        let mut counts = self.counts.lock();
        let until = match (attempt.pair, attempt.identity) {
            // who is known there is held back by what is tried with the own name there, and by nothing that others do
            (Some(pair), Some(_)) if counts.pair.is_trusted(pair, now) => counts.pair.blocked_until(pair),
            (Some(pair), Some(identity)) => {
                let own = counts.pair.blocked_until(pair).max(counts.identity.blocked_until(identity));
                own.max(counts.prefix_blocked_until(&attempt))
            }
            _ => counts.prefix_blocked_until(&attempt),
        };
        if until > now {
            return Err(Throttled { retry_after_s: until - now });
        }
        for (table, prefix) in counts.prefixes.iter_mut().zip(attempt.prefixes) {
            if let Some(prefix) = prefix {
                table.count(prefix, now);
            }
        }
        if let (Some(pair), Some(identity)) = (attempt.pair, attempt.identity) {
            counts.pair.count(pair, now);
            counts.identity.count(identity, now);
        }
        Ok(attempt)
    }

    /// It was the right secret: what the identity has against it is forgotten, also from this prefix, which counts as
    /// known from now on. What the prefix has against it stays, or an account of one's own would pay for guessing at
    /// others.
    pub fn succeeded(&self, attempt: Attempt, now: ServiceTime) {
        let mut counts = self.counts.lock();
        counts.uncount_prefix(&attempt);
        counts.welcome(&attempt, now);
    }

    /// The identity was proved from there in another way (a reset by mail, a confirmed address): the same as a success.
    pub fn vouch(&self, identity: (&str, &str), address: IpAddr, now: ServiceTime) {
        let proof = self.attempt(Some(identity), address);
        self.counts.lock().welcome(&proof, now);
    }

    /// Nothing was found out about the secret, because the server could not check it: as if it had not been tried.
    pub fn withdraw(&self, attempt: Attempt) {
        let mut counts = self.counts.lock();
        counts.uncount_prefix(&attempt);
        if let (Some(pair), Some(identity)) = (attempt.pair, attempt.identity) {
            counts.pair.uncount(pair);
            counts.identity.uncount(identity);
        }
    }

    /// Bytes that the counts take, now and always.
    pub fn bytes(&self) -> usize {
        let counts = self.counts.lock();
        let others = [&counts.pair, &counts.identity];
        others.into_iter().chain(&counts.prefixes).map(|table| size_of_val(&*table.buckets)).sum()
    }

    fn attempt(&self, identity: Option<(&str, &str)>, address: IpAddr) -> Attempt {
        let network = Network::of(address);
        let prefix = network.as_ref().map_or(&[][..], |network| network.as_bytes());
        let mut prefixes = [None; WORTH.len()];
        for (place, network) in network.into_iter().flat_map(Network::and_wider) {
            prefixes[place] = Some(self.fingerprint(&[network.as_bytes()]));
        }
        Attempt {
            pair: identity.map(|(provider, name)| self.fingerprint(&[prefix, provider.as_bytes(), name.as_bytes()])),
            prefixes,
            identity: identity.map(|(provider, name)| self.fingerprint(&[provider.as_bytes(), name.as_bytes()])),
        }
    }

    fn fingerprint(&self, parts: &[&[u8]]) -> u64 {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl Counts {
    fn prefix_blocked_until(&self, attempt: &Attempt) -> ServiceTime {
        let counts = self.prefixes.iter().zip(attempt.prefixes);
        counts.filter_map(|(table, prefix)| prefix.map(|prefix| table.blocked_until(prefix))).max().unwrap_or(0)
    }

    fn uncount_prefix(&mut self, attempt: &Attempt) {
        for (table, prefix) in self.prefixes.iter_mut().zip(attempt.prefixes) {
            if let Some(prefix) = prefix {
                table.uncount(prefix);
            }
        }
    }

    fn welcome(&mut self, attempt: &Attempt, now: ServiceTime) {
        if let (Some(pair), Some(identity)) = (attempt.pair, attempt.identity) {
            self.pair.trust(pair, now);
            self.identity.forget(identity);
        }
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("tiers", &self.tiers).finish_non_exhaustive()
    }
}

/// One count of many keys, in a fixed number of places. A newcomer to a full bucket takes the place of whoever is least
/// missed.
struct Table {
    tier: Tier,
    buckets: Box<[[Entry; WAYS]]>,
}

/// An empty place has `failures` and `trusted_until` zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    key: u64,
    /// Failures that are not forgiven, as of `forgiven_at`.
    failures: u16,
    forgiven_at: ServiceTime,
    blocked_until: ServiceTime,
    trusted_until: ServiceTime,
}

impl Table {
    fn new(tier: Tier, capacity: usize) -> Self {
        Self { tier, buckets: vec![[Entry::default(); WAYS]; capacity.div_ceil(WAYS).max(1)].into() }
    }

    fn blocked_until(&self, key: u64) -> ServiceTime {
        self.get(key).map_or(0, |entry| entry.blocked_until)
    }

    fn is_trusted(&self, key: u64, now: ServiceTime) -> bool {
        self.get(key).is_some_and(|entry| entry.trusted_until > now)
    }

    fn count(&mut self, key: u64, now: ServiceTime) {
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

    fn uncount(&mut self, key: u64) {
        let tier = self.tier;
        if let Some(entry) = self.get_mut(key) {
            entry.failures = entry.failures.saturating_sub(1);
            // it was let in, so nothing blocked it before; others that failed meanwhile keep their count
            if entry.failures <= tier.free {
                entry.blocked_until = 0;
            }
        }
    }

    fn forget(&mut self, key: u64) {
        if let Some(entry) = self.get_mut(key) {
            *entry = Entry::default();
        }
    }

    fn trust(&mut self, key: u64, now: ServiceTime) {
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

    /// By this the least missed is found: who is held back stays before who is known, and both before the rest.
    fn worth(&self, tier: Tier, now: ServiceTime) -> (bool, bool, u16, ServiceTime) {
        let mut entry = *self;
        entry.forgive(tier, now);
        (entry.failures > tier.free, entry.trusted_until > now, entry.failures, self.forgiven_at)
    }
}

impl Tier {
    /// The rule of a network that is worth so many of those whom this one is for: as many more attempts, and as much shorter
    /// waits, for many people share it.
    fn times(self, worth: u32) -> Self {
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
    fn most(self) -> u16 {
        let doublings = u32::BITS - self.longest_wait_s.leading_zeros();
        self.free.saturating_add(1).saturating_add(u16::try_from(doublings).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    use passerby_actors::system::SystemEntropy;
    use proptest::prelude::*;

    use super::*;

    const NOW: ServiceTime = 315_360_000;
    const VICTIM: Option<(&str, &str)> = Some(("local-userpass", "victim@example.test"));

    fn throttle(tiers: Tiers, capacity: usize) -> Throttle {
        Throttle::new(tiers, capacity, &SystemEntropy::default())
    }

    fn host(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    /// A failure at the first moment at which it is let in; answers that moment.
    fn fail(throttle: &Throttle, identity: Option<(&str, &str)>, from: IpAddr, now: ServiceTime) -> ServiceTime {
        match throttle.admit(identity, from, now) {
            Ok(_) => now,
            Err(Throttled { retry_after_s }) => {
                let then = now + retry_after_s;
                let _failed = throttle.admit(identity, from, then).unwrap();
                then
            }
        }
    }

    #[test]
    fn five_failures_are_free_then_each_doubles_the_wait_up_to_15_minutes() {
        let throttle = throttle(Tiers::LOGIN, 1000);
        let (mut now, mut waits) = (NOW, vec![]);
        for _ in 0..18 {
            let then = fail(&throttle, VICTIM, host(1), now);
            waits.push(then - now);
            now = then;
        }
        // one failure is forgiven every 15 minutes, so the wait before the last doubling is seen once more
        assert_eq!(waits[..16], [0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert!(waits[16..].iter().all(|wait| (512..=900).contains(wait)), "{waits:?}");
    }

    #[test]
    fn knocking_while_waiting_does_not_prolong_the_wait() {
        let throttle = throttle(Tiers::LOGIN, 1000);
        let mut now = NOW;
        for _ in 0..12 {
            now = fail(&throttle, VICTIM, host(1), now);
        }
        let Throttled { retry_after_s } = throttle.admit(VICTIM, host(1), now).unwrap_err();
        for waited in 1..retry_after_s {
            let left = throttle.admit(VICTIM, host(1), now + waited).unwrap_err().retry_after_s;
            assert_eq!(left, retry_after_s - waited);
        }
        assert!(throttle.admit(VICTIM, host(1), now + retry_after_s).is_ok());
    }

    #[test]
    fn a_guesser_elsewhere_does_not_hold_the_victim_back() {
        let throttle = throttle(Tiers::LOGIN, 1000);
        let mut now = NOW;
        for _ in 0..30 {
            now = fail(&throttle, VICTIM, host(1), now);
        }
        assert!(throttle.admit(VICTIM, host(1), now).is_err());
        assert!(throttle.admit(VICTIM, host(2), now).is_ok());
        assert!(throttle.admit(Some(("local-userpass", "other@example.test")), host(1), now).is_ok());
    }

    #[test]
    fn a_success_forgets_the_failures_of_the_identity_but_not_those_of_the_prefix() {
        let throttle = throttle(Tiers::LOGIN, 1000);
        let mut now = NOW;
        for _ in 0..10 {
            now = fail(&throttle, VICTIM, host(1), now);
        }
        now += throttle.admit(VICTIM, host(1), now).unwrap_err().retry_after_s;
        let right = throttle.admit(VICTIM, host(1), now).unwrap();
        throttle.succeeded(right, now);
        for _ in 0..5 {
            assert_eq!(fail(&throttle, VICTIM, host(1), now), now);
        }

        let own = Some(("local-userpass", "guesser@example.test"));
        let mut refused = 0;
        for number in 0..300 {
            let name = format!("{number}@example.test");
            refused += usize::from(throttle.admit(Some(("local-userpass", &name)), host(7), now).is_err());
            if let Ok(attempt) = throttle.admit(own, host(7), now) {
                throttle.succeeded(attempt, now);
            }
        }
        assert_eq!(refused, 300 - 101, "an account of one's own pays for nothing");
    }

    #[test]
    fn many_addresses_are_slowed_too_but_never_where_the_identity_is_at_home() {
        let throttle = throttle(Tiers::LOGIN, 10_000);
        let home = host(1);
        throttle.succeeded(throttle.admit(VICTIM, home, NOW).unwrap(), NOW);
        let mut now = NOW;
        let mut last = 0;
        for number in 0..200 {
            let then = fail(&throttle, VICTIM, host(1000 + number), now);
            (last, now) = (then - now, then);
        }
        assert!((200..=300).contains(&last), "the guesser waits {last} s");
        let elsewhere = throttle.admit(VICTIM, host(2), now).unwrap_err();
        assert!(elsewhere.retry_after_s <= 300);
        throttle.succeeded(throttle.admit(VICTIM, home, now).unwrap(), now);

        // a password reset by mail from a new place opens that place
        let new_place = host(2);
        throttle.vouch(("local-userpass", "victim@example.test"), new_place, now);
        for number in 0..200 {
            now = fail(&throttle, VICTIM, host(1000 + number), now);
        }
        for place in [home, new_place] {
            assert!(throttle.admit(VICTIM, place, now).is_ok());
        }
        assert!(throttle.admit(VICTIM, host(3), now).is_err());
    }

    #[test]
    fn a_place_is_no_longer_known_30_days_after_the_last_success() {
        for (age_s, known) in [(TRUST_S - 1, true), (TRUST_S, false)] {
            let throttle = throttle(Tiers::LOGIN, 10_000);
            throttle.succeeded(throttle.admit(VICTIM, host(1), NOW).unwrap(), NOW);
            let now = NOW + age_s;
            for number in 0..101 {
                assert_eq!(fail(&throttle, VICTIM, host(1000 + number), now), now);
            }
            assert_eq!(throttle.admit(VICTIM, host(1), now).is_ok(), known);
        }
    }

    #[test]
    fn a_thousand_attempts_at_once_do_not_slip_through_together() {
        let throttle = throttle(Tiers::LOGIN, 1000);
        let running: Vec<_> = (0..1000).filter_map(|_| throttle.admit(VICTIM, host(1), NOW).ok()).collect();
        assert_eq!(running.len(), 6);
        for attempt in running {
            throttle.withdraw(attempt);
        }
        assert_eq!((0..1000).filter(|_| throttle.admit(VICTIM, host(1), NOW).is_ok()).count(), 6);
    }

    /// S36.
    #[test]
    fn clients_of_a_proxy_that_does_not_say_who_they_are_share_no_prefix() {
        let throttle = throttle(Tiers::LOGIN, 1 << 12);
        for number in 0..1000 {
            let name = format!("{number}@example.test");
            let admitted = throttle.admit(Some(("local-userpass", &name)), Ipv4Addr::LOCALHOST.into(), NOW);
            assert!(admitted.is_ok(), "{number}");
        }
        assert!((0..1000).all(|_| throttle.admit(None, Ipv4Addr::LOCALHOST.into(), NOW).is_ok()));
        let guesses = (0..10).filter(|_| throttle.admit(VICTIM, Ipv4Addr::LOCALHOST.into(), NOW).is_ok()).count();
        assert_eq!(guesses, 6, "one name is still guarded");
    }

    /// The memory of the limiter is bounded.
    #[test]
    fn it_never_grows_and_keeps_who_is_held_back() {
        let throttle = throttle(Tiers::LOGIN, 4096);
        let bytes = throttle.bytes();
        assert_eq!(bytes, 5 * 4096 * 24);
        let mut now = NOW;
        for _ in 0..14 {
            now = fail(&throttle, VICTIM, host(0), now);
        }
        for number in 0..100_000_u32 {
            let name = format!("{number}@example.test");
            let _failed = throttle.admit(Some(("local-userpass", &name)), host(1 + number), now);
        }
        assert_eq!(throttle.bytes(), bytes);
        let counts = throttle.counts.lock();
        let held = counts.identity.buckets.iter().flatten().filter(|entry| entry.failures > 0).count();
        assert!((4000..=4096).contains(&held), "{held}");
        drop(counts);
        assert!(throttle.admit(VICTIM, host(0), now).is_err(), "pushed out by the flood");
    }

    /// The rule in its plainest form, without bounds on memory.
    #[derive(Default)]
    struct Model {
        failures: HashMap<String, (u16, ServiceTime, ServiceTime)>,
        trusted_until: HashMap<String, ServiceTime>,
    }

    impl Model {
        fn until(&self, key: &str) -> ServiceTime {
            self.failures.get(key).map_or(0, |(_, _, until)| *until)
        }

        fn count(&mut self, key: &str, tier: Tier, now: ServiceTime) {
            let (failures, since, until) = self.failures.entry(key.to_owned()).or_insert((0, now, 0));
            while *failures > 0 && *since + tier.forgive_s <= now {
                *failures -= 1;
                *since += tier.forgive_s;
            }
            if *failures == 0 {
                *since = now;
            }
            if *failures >= tier.free {
                let wait_s = 2_u64.pow(u32::from(*failures - tier.free)).min(tier.longest_wait_s.into());
                *until = (*until).max(now + u32::try_from(wait_s).unwrap());
            }
            *failures = (*failures + 1).min(tier.most());
        }

        fn uncount(&mut self, key: &str, tier: Tier) {
            let (failures, _, until) = self.failures.get_mut(key).unwrap();
            *failures -= 1;
            if *failures <= tier.free {
                *until = 0;
            }
        }
    }

    const TIGHT: Tiers = Tiers {
        pair: Tier { free: 2, forgive_s: 30, longest_wait_s: 50 },
        prefix: Tier { free: 6, forgive_s: 5, longest_wait_s: 20 },
        identity: Tier { free: 4, forgive_s: 10, longest_wait_s: 40 },
    };

    proptest! {
        #[test]
        fn it_does_what_the_model_does(
            steps in prop::collection::vec((0..4_u32, 0..4_u32, 0..3_u8, prop_oneof![0..2_u32, 0..60_u32]), 1..300)
        ) {
            let (throttle, mut model, mut now) = (throttle(TIGHT, 4096), Model::default(), NOW);
            for (name, from, end, passed_s) in steps {
                now += passed_s;
                let (name, address) = (format!("n{name}"), host(from));
                let (pair, prefix) = (format!("{name} {from}"), format!("p{from}"));
                // all of these addresses are in one /24
                let (block, of_block) = ("block", TIGHT.prefix.times(16));
                let trusted = model.trusted_until.get(&pair).is_some_and(|until| *until > now);
                let identity_until = if trusted { 0 } else { model.until(&name) };
                let of_prefixes = model.until(&prefix).max(model.until(block));
                let until = model.until(&pair).max(of_prefixes).max(identity_until);
                let admitted = throttle.admit(Some(("local-userpass", &name)), address, now);
                let longest = [TIGHT.pair, TIGHT.prefix, TIGHT.identity].map(|tier| tier.longest_wait_s);
                match admitted {
                    Err(Throttled { retry_after_s }) => {
                        prop_assert_eq!(retry_after_s, until.saturating_sub(now));
                        prop_assert!((1..=*longest.iter().max().unwrap()).contains(&retry_after_s));
                    }
                    Ok(attempt) => {
                        prop_assert!(until <= now, "let in {} s early", until - now);
                        model.count(&pair, TIGHT.pair, now);
                        model.count(&prefix, TIGHT.prefix, now);
                        model.count(block, of_block, now);
                        model.count(&name, TIGHT.identity, now);
                        match end {
                            0 => {}
                            1 => {
                                throttle.succeeded(attempt, now);
                                model.failures.remove(&pair);
                                model.failures.remove(&name);
                                model.trusted_until.insert(pair, now + TRUST_S);
                                model.uncount(&prefix, TIGHT.prefix);
                                model.uncount(block, of_block);
                            }
                            _ => {
                                throttle.withdraw(attempt);
                                model.uncount(&pair, TIGHT.pair);
                                model.uncount(&prefix, TIGHT.prefix);
                                model.uncount(block, of_block);
                                model.uncount(&name, TIGHT.identity);
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn in_the_long_run_nobody_guesses_faster_than_is_forgiven(pauses in prop::collection::vec(0..40_u32, 1..600)) {
            let (throttle, mut now, mut guesses) = (throttle(TIGHT, 64), NOW, 0_u32);
            for pause_s in pauses {
                now += pause_s;
                guesses += u32::from(throttle.admit(VICTIM, host(1), now).is_ok());
            }
            let Tier { forgive_s, .. } = TIGHT.pair;
            prop_assert!(guesses <= u32::from(TIGHT.pair.most()) + 1 + (now - NOW) / forgive_s, "{guesses}");
        }
    }
}
