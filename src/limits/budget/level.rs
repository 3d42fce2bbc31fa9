//! The budgets of all networks of one width, in bounded memory.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{NotUntil, Quota, RateLimiter};
use passerby_actors::domain::Clock;

use crate::limits::network::Network;

/// Budgets that the rest share.
pub(super) const SHARED: u64 = 1 << 14;

/// The clock that budgets fill up by.
#[derive(Clone)]
pub(super) struct Monotonic(pub(super) Arc<dyn Clock>);

impl GovernorClock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_micros(self.0.monotonic_us())
    }
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Of(Network),
    Shared(u64),
}

impl Key {
    /// Which of the shared budgets a network has.
    fn shared(network: &Network) -> Self {
        // FNV-1a: an attacker who knows which networks fall together gains what they could have with one
        let hash = network
            .as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        Self::Shared(hash % SHARED)
    }
}

/// What was spent by each, kept where it can be looked at, too.
#[derive(Clone, Default)]
struct States(Arc<DashMapStateStore<Key>>);

impl StateStore for States {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

impl ShrinkableKeyedStateStore<Key> for States {
    fn retain_recent(&self, drop_below: Nanos) {
        ShrinkableKeyedStateStore::retain_recent(&*self.0, drop_below);
    }

    fn shrink_to_fit(&self) {
        ShrinkableKeyedStateStore::shrink_to_fit(&*self.0);
    }

    fn len(&self) -> usize {
        ShrinkableKeyedStateStore::len(&*self.0)
    }

    fn is_empty(&self) -> bool {
        ShrinkableKeyedStateStore::is_empty(&*self.0)
    }
}

/// The budgets of all networks of one width.
pub(super) struct Level {
    limiter: RateLimiter<Key, States, Monotonic, StateInformationMiddleware>,
    states: States,
    most: usize,
    /// When those that are full again were last forgotten (microseconds).
    swept_us: AtomicU64,
    quota: Quota,
    clock: Monotonic,
    /// What the states count from.
    start: Duration,
}

impl Level {
    /// Full budgets of a rate and a burst, for so many networks at a time.
    pub(super) fn new(a_minute: NonZeroU32, burst: NonZeroU32, clock: &Monotonic, most: usize) -> Self {
        let quota = Quota::per_minute(a_minute).allow_burst(burst);
        let (states, start) = (States::default(), clock.now());
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Duration>>::new(quota, states.clone(), clock.clone())
            .with_middleware();
        Self { limiter, states, most, swept_us: AtomicU64::new(0), quota, clock: clock.clone(), start }
    }

    /// Takes one, and answers how many are left.
    pub(super) fn spend(&self, network: Network) -> Result<u32, NotUntil<Duration>> {
        Ok(self.limiter.check_key(&self.key(network))?.remaining_burst_capacity())
    }

    /// How many may be at once.
    pub(super) fn burst(&self) -> u32 {
        self.quota.burst_size().get()
    }

    /// How many networks have a budget of their own now.
    pub(super) fn held(&self) -> usize {
        self.limiter.len()
    }

    /// How many of those that may be at once are left to a network; none is taken.
    pub(super) fn left(&self, network: Network) -> u32 {
        let is_full = self.limiter.len() >= self.most;
        let shared = || is_full.then(|| self.state(&Key::shared(&network))).flatten();
        let spent_until = self.state(&Key::Of(network)).or_else(shared).unwrap_or_default().as_u64();
        // as the limiter counts: each that is taken is there again after one interval more
        let (now, interval) = (Nanos::from(self.clock.now().saturating_sub(self.start)), self.interval());
        let all = now.as_u64().saturating_add(interval.saturating_mul(self.burst().into()));
        let left = all.saturating_sub(spent_until.max(now.as_u64())) / interval;
        u32::try_from(left).unwrap_or(u32::MAX).min(self.burst())
    }

    /// The networks that have spent something and have it not back yet, each with how much of a thousand that is.
    pub(super) fn spenders(&self, mut see: impl FnMut(Network, u32)) {
        let networks: Vec<Network> = self.states.0.iter().filter_map(|entry| entry.key().network()).collect();
        for network in networks {
            let spent = u64::from(self.burst() - self.left(network)) * 1000 / u64::from(self.burst());
            if spent > 0 {
                see(network, u32::try_from(spent).unwrap_or(1000));
            }
        }
    }

    /// Gives these networks their whole budget back.
    pub(super) fn give_back(&self, is_meant: impl Fn(Network) -> bool) {
        self.states.0.retain(|key, _| !key.network().is_some_and(&is_meant));
    }

    fn interval(&self) -> u64 {
        Nanos::from(self.quota.replenish_interval()).as_u64().max(1)
    }

    /// Until when what was spent is not there again; none if nothing was.
    fn state(&self, key: &Key) -> Option<Nanos> {
        if !self.states.0.contains_key(key) {
            return None;
        }
        // an error leaves it as it is
        self.states.measure_and_replace(key, Err::<((), Nanos), _>).err().flatten()
    }

    /// Whose budget a network has. Where there are too many, those with their whole budget again are forgotten, at most once a
    /// second; if that does not help, budgets are shared.
    fn key(&self, network: Network) -> Key {
        if self.limiter.len() < self.most {
            return Key::Of(network);
        }
        let now_us = u64::try_from(self.clock.now().as_micros()).unwrap_or(u64::MAX);
        let swept_us = self.swept_us.load(Ordering::Relaxed);
        let due = now_us.saturating_sub(swept_us) >= 1_000_000;
        if due && self.swept_us.compare_exchange(swept_us, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiter.retain_recent();
        }
        if self.limiter.len() < self.most { Key::Of(network) } else { Key::shared(&network) }
    }
}

impl Key {
    fn network(&self) -> Option<Network> {
        match self {
            Self::Of(network) => Some(*network),
            Self::Shared(_) => None,
        }
    }
}
