//! How much work on documents may be asked for: a document is read, changed and written as a whole, so a change of a large one takes a
//! thousand times what a token check takes, and a few clients could keep all others waiting.
//!
//! Work is measured in bytes: those of the request and those of the document. The first few of each request are free, so that small
//! documents are not counted at all. Each network has its rate (without a network, each user), the wider ones that it is part of have that
//! of a few, half of all at most, and all together have one; beyond it a request waits for its turn, and is refused when that would
//! take too long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use passerby_actors::domain::{Clock, UserId};

use super::budget::{OverBudget, Why};
use super::network::{Network, WORTH};
use crate::config::DataRules;

/// Bytes of each request that are not counted: they take no longer than other requests.
const FREE: usize = 4096;
/// How long a request may wait for its turn (microseconds).
const MOST_WAIT_US: u64 = 1_000_000;
/// What all together may do at once: so much of a second.
const BURST_OF_ALL_US: u64 = 125_000;
/// How many networks and users are known at a time; beyond it all newcomers are one.
const MOST_KNOWN: usize = 1 << 16;

/// The party that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A network.
    Network(Network),
    /// A user behind a proxy that does not say where its clients are.
    User(UserId),
    /// All that came when too many were known.
    Crowd,
}

impl Whose {
    /// The party that asks from an address, for a user.
    pub fn of(client: IpAddr, user: UserId) -> Self {
        Network::of(client).map_or(Self::User(user), Self::Network)
    }
}

/// How far ahead work was promised: it is free again at these times (microseconds).
#[derive(Default)]
struct Promised {
    of: HashMap<Whose, u64>,
    all: u64,
}

/// How many bytes a second, and how much at once: what takes so long at this rate.
struct Rate {
    a_second: u64,
    burst_us: u64,
}

/// The rates, and how much of them each has used.
pub struct DataWork {
    on: bool,
    clock: Arc<dyn Clock>,
    /// Of a network or user, and of wider networks, in the order of [`WORTH`].
    rates: [Rate; WORTH.len()],
    all_a_second: u64,
    promised: Mutex<Promised>,
    refused: AtomicU64,
    waited: AtomicU64,
}

impl DataWork {
    /// Nothing used. `on` is the setting `limits`.
    pub fn new(rules: &DataRules, on: bool, clock: Arc<dyn Clock>) -> Self {
        let kib = |kib: u32| u64::from(kib.max(1)) * 1024;
        let (a_second, burst, all_a_second) = (kib(rules.work), kib(rules.work_burst), kib(rules.work_all));
        // a wider network leaves half to others, also of what it does at once
        let of_few = |one: u64, worth: u32| one.max((one * u64::from(worth)).min(all_a_second / 2));
        let rate = |worth: u32| {
            let a_second = of_few(a_second, worth);
            Rate { a_second, burst_us: time_us(of_few(burst, worth), a_second) }
        };
        Self {
            on,
            clock,
            rates: WORTH.map(rate),
            all_a_second,
            promised: Mutex::default(),
            refused: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        }
    }

    /// The rates that count a request: a network's and those of the wider ones that it is part of, or a user's.
    fn counted(&self, whose: Whose) -> impl Iterator<Item = (Whose, &Rate)> {
        let (network, other) = match whose {
            Whose::Network(network) => (Some(network), None),
            other => (None, Some(other)),
        };
        let networks = network.into_iter().flat_map(Network::and_wider);
        let networks = networks.map(|(place, network)| (Whose::Network(network), &self.rates[place]));
        networks.chain(other.map(|other| (other, &self.rates[0])))
    }

    /// Takes this many bytes of work, and answers how long it has to wait.
    ///
    /// # Errors
    /// [`OverBudget`]: it would be too long.
    pub fn spend(&self, whose: Whose, bytes: usize) -> Result<Duration, OverBudget> {
        let bytes = bytes.saturating_sub(FREE) as u64;
        if !self.on || bytes == 0 {
            return Ok(Duration::ZERO);
        }
        let now_us = self.clock.monotonic_us();
        let mut promised = self.promised.lock();
        let counted: Vec<_> = self.counted(whose).map(|(whose, rate)| (promised.known(whose, now_us), rate)).collect();
        let all = promised.all.max(now_us);
        let wait_us = counted
            .iter()
            .map(|(whose, rate)| promised.free_us(*whose, now_us).saturating_sub(now_us + rate.burst_us))
            .fold(all.saturating_sub(now_us + BURST_OF_ALL_US), u64::max);
        if wait_us > MOST_WAIT_US {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let seconds = (wait_us - MOST_WAIT_US).div_ceil(1_000_000);
            return Err(OverBudget { why: Why::TooMany, retry_after_s: u32::try_from(seconds).unwrap_or(u32::MAX) });
        }
        for (whose, rate) in counted {
            promised.add(whose, now_us, time_us(bytes, rate.a_second));
        }
        promised.all = all + time_us(bytes, self.all_a_second);
        self.waited.fetch_add(u64::from(wait_us > 0), Ordering::Relaxed);
        Ok(Duration::from_micros(wait_us))
    }

    /// Takes the work that a change caused for others, as telling many sockets of it does; the next request waits for it.
    pub fn owe(&self, whose: Whose, bytes: usize) {
        if !self.on || bytes <= FREE {
            return;
        }
        let now_us = self.clock.monotonic_us();
        let mut promised = self.promised.lock();
        for (whose, rate) in self.counted(whose) {
            let whose = promised.known(whose, now_us);
            promised.add(whose, now_us, time_us(bytes as u64, rate.a_second));
        }
        promised.all = promised.all.max(now_us).saturating_add(time_us(bytes as u64, self.all_a_second));
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many requests had to wait for their turn.
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }
}

impl Promised {
    /// Forgets those that have used nothing for long enough, when too many are known.
    fn known(&mut self, whose: Whose, now_us: u64) -> Whose {
        if self.of.len() >= MOST_KNOWN && !self.of.contains_key(&whose) {
            self.of.retain(|_, free_us| *free_us > now_us);
            if self.of.len() >= MOST_KNOWN {
                return Whose::Crowd;
            }
        }
        whose
    }

    /// When all that was promised is done.
    fn free_us(&self, whose: Whose, now_us: u64) -> u64 {
        self.of.get(&whose).copied().unwrap_or(0).max(now_us)
    }

    fn add(&mut self, whose: Whose, now_us: u64, time_us: u64) {
        let free_us = self.free_us(whose, now_us).saturating_add(time_us);
        self.of.insert(whose, free_us);
    }
}

fn time_us(bytes: u64, a_second: u64) -> u64 {
    bytes.saturating_mul(1_000_000) / a_second
}

#[cfg(test)]
mod tests;
