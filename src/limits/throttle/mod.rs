//! Slows down guessing: attempts are counted per identity and address prefix, in memory that never grows.
//!
//! Three counts are kept, each by the same rule ([`Tier`]): a number of attempts is free, then each failure doubles the
//! wait up to a cap, and one failure is forgiven per `forgive_s`. So in the long run a guesser gets at most one guess
//! per `forgive_s`.
//!
//! - **One identity from one prefix** is where a guesser is slowed first, and it affects no one who comes from
//!   elsewhere.
//! - **One prefix**, whatever identities it tries: spraying one password over many names. So many more from a wider network
//!   that it is part of ([`WORTH`]), so that a guesser does not have a count for each of a thousand prefixes.
//! - **One identity**, from wherever: guessing from many addresses. It begins much later.
//!
//! Why no user can be locked out for ever: an attempt that is refused does not count, so a wait is never prolonged by
//! knocking, and no wait is longer than its cap of 15 minutes. A guesser with many addresses could still always be the
//! next who is let in for an identity, and one with the same address as many people the next who is let in there; therefore
//! neither of these two counts holds back an identity at a prefix from which it has succeeded in the last 30 days. A user at a new place resets the password by e-mail, which is reported as a success
//! from there.
//!
//! What is kept is hashed with a key of this process: neither names nor addresses can be read from memory, and no one
//! can choose names that push others out. It all ends with the process.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use parking_lot::Mutex;
use passerby_actors::domain::{Entropy, ServiceTime};

use self::table::Table;
pub use self::table::Tier;
use super::network::{Network, WORTH};

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

    /// For e-mails that anyone can have sent to any address: no address may be flooded. Never reported as a success.
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
            // a user known there is held back by attempts at the own name there, and by nothing that others do
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

    /// The identity was proved from there in another way (a reset by e-mail, a confirmed address): counts as a success.
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
