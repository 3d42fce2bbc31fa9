//! What strangers may do before they are asked to come back later: create users, try identities, present tokens that are not
//! ours (S35, S37). By IPv4 address or IPv6 /64, by the wider networks that these are part of, each of which has the budget of
//! a few ([`WORTH`]), and for all of them together. This is the soft limit: beyond it `/v1`
//! goes on for proofs of work, which have a budget too, and that is the hard one.
//!
//! Memory is bounded: beyond 262 144 prefixes at a time (half as many wider ones) newcomers share budgets by chance, some thousands of them, so
//! that neither a flood from everywhere takes the memory nor one prefix of it the budget of all others. An address of this
//! machine has no budget of its own: it is a proxy that does not say who is behind it, and its clients must not share one (S36).

mod level;

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use ipnet::IpNet;
use parking_lot::Mutex;
use passerby_actors::domain::{Clock, UserId};
use passerby_actors::handle;

use self::level::{Level, Monotonic};
use super::blocks::Blocks;
use super::network::{Network, WORTH};
use super::proof_of_work::MOST_DOUBLINGS;
use super::share::Share;
use crate::config::BudgetRules;

/// Prefixes with a budget of their own, about 64 bytes each.
const MOST_PREFIXES: usize = 1 << 18;

/// What a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// Creating a user.
    Create,
    /// Logging in with or linking an identity.
    Link,
    /// A token that is not ours.
    BadToken,
}

/// Why not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The network, one that it is part of, or all together have done too many of these.
    TooMany,
    /// Too many passwords wait to be hashed, many of them from this network.
    Busy,
    /// Too many of the users who were created and never came back are the network's.
    Share,
    /// An admin has blocked the network, or one that it is part of.
    Blocked,
}

/// Come back after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", .why.text(), .why.advice(*.retry_after_s))]
pub struct OverBudget {
    /// Why.
    pub why: Why,
    /// Seconds, at least 1; what `Retry-After` says.
    pub retry_after_s: u32,
}

impl Why {
    fn advice(self, retry_after_s: u32) -> String {
        if self == Self::Blocked { String::new() } else { format!(": come back in {retry_after_s} s") }
    }

    fn text(self) -> &'static str {
        match self {
            Self::TooMany => "too many of these",
            Self::Share => "too many users of this network were created and never came back",
            Self::Busy => "too many passwords are waiting to be hashed",
            Self::Blocked => "this network is blocked",
        }
    }
}

impl OverBudget {
    /// Passwords are waiting, of which there is room for about a second's work.
    pub const BUSY: Self = Self { why: Why::Busy, retry_after_s: 1 };
    /// Until the block ends or is lifted, which is told to nobody.
    pub const BLOCKED: Self = Self { why: Why::Blocked, retry_after_s: 3600 };
    /// Some come back, and the others are forgotten in time.
    pub const SHARE: Self = Self { why: Why::Share, retry_after_s: 3600 };
}

type OfAll = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

/// What a network has spent of one of its budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of which: as it is called in the settings.
    pub name: &'static str,
    /// How many may be at once.
    pub burst: u32,
    /// How many of these are left.
    pub left: u32,
}

struct Budget {
    levels: [Level; WORTH.len()],
    all: OfAll,
    clock: Monotonic,
    refused: AtomicU64,
}

impl Budget {
    fn new(a_minute: u32, burst: u32, all_a_second: u32, clock: &Monotonic, most: usize) -> Self {
        let level = |worth: u32| {
            let times = |number: u32| at_least_one(number.saturating_mul(worth));
            let most = if worth == 1 { most } else { most.div_ceil(2) };
            Level::new(times(a_minute), times(burst), clock, most)
        };
        let all_a_second = at_least_one(all_a_second);
        let all = Quota::per_second(all_a_second).allow_burst(at_least_one(all_a_second.get().saturating_mul(10)));
        Self {
            levels: WORTH.map(level),
            all: RateLimiter::direct_with_clock(all, clock.clone()),
            clock: clock.clone(),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes one, and answers how much of those that may be at once had been taken: a number of parts of as many. The
    /// narrowest first, so that one network that is refused takes nothing from its neighbours.
    fn spend(&self, network: Network, parts: u32) -> Result<u32, OverBudget> {
        let mut most_taken = 0;
        for (place, network) in network.and_wider() {
            let level = &self.levels[place];
            let left = level.spend(network).map_err(|not_until| self.refuse(&not_until))?;
            let taken = u64::from(level.burst().saturating_sub(1).saturating_sub(left));
            most_taken = most_taken.max(taken * u64::from(parts) / u64::from(level.burst()));
        }
        self.spend_of_all()?;
        Ok(u32::try_from(most_taken).unwrap_or(parts))
    }

    /// Takes one of those that all together have.
    fn spend_of_all(&self) -> Result<(), OverBudget> {
        self.all.check().map_err(|not_until| self.refuse(&not_until))
    }

    fn refuse(&self, not_until: &NotUntil<Duration>) -> OverBudget {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let wait = not_until.wait_time_from(self.clock.now());
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        OverBudget { why: Why::TooMany, retry_after_s: u32::try_from(seconds).unwrap_or(u32::MAX) }
    }

    /// How many networks have a budget of their own now.
    fn held(&self) -> usize {
        self.levels.iter().map(Level::held).sum()
    }
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// The budgets of all strangers.
pub struct Budgets {
    on: bool,
    create: Budget,
    link: Budget,
    bad_tokens: Budget,
    work: Budget,
    clock: Monotonic,
    /// Users who were created and never came back, and bytes of documents, by the network that created or wrote them.
    shares: Option<(Share, Share)>,
    blocks: Blocks,
    /// How often a password had to wait for a proof of work.
    busy: AtomicU64,
    /// Readers of lazy cookies who are being created: one request of each has paid.
    creating: Mutex<HashSet<UserId>>,
}

/// Held while a reader is being created.
pub struct Paid<'a> {
    budgets: &'a Budgets,
    user: UserId,
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        self.budgets.creating.lock().remove(&self.user);
    }
}

impl Budgets {
    /// Full ones. `on` is the setting `limits`.
    pub fn new(rules: &BudgetRules, on: bool, clock: Arc<dyn Clock>) -> Self {
        Self::with_room(rules, on, clock, MOST_PREFIXES)
    }

    fn with_room(rules: &BudgetRules, on: bool, clock: Arc<dyn Clock>, most: usize) -> Self {
        let clock = Monotonic(clock);
        let budget = |a_minute, burst, all| Budget::new(a_minute, burst, all, &clock, most);
        let (create, link) = (
            budget(rules.create, rules.create_burst, rules.create_all),
            budget(rules.link, rules.link_burst, rules.link_all),
        );
        let bad_tokens = budget(rules.bad_tokens, rules.bad_tokens_burst, rules.bad_tokens_all);
        let work = budget(rules.work, rules.work_burst, rules.work_all);
        Self {
            on,
            create,
            link,
            bad_tokens,
            work,
            clock,
            shares: None,
            blocks: Blocks::default(),
            busy: AtomicU64::new(0),
            creating: Mutex::default(),
        }
    }

    /// Takes one of whatever it is from the budget of where a request came from.
    ///
    /// # Errors
    /// [`OverBudget`] says when there is one again.
    pub fn spend(&self, what: Spend, client: IpAddr) -> Result<(), OverBudget> {
        if what != Spend::BadToken {
            self.admit(client)?;
        }
        if !self.on {
            return Ok(());
        }
        let budget = match what {
            Spend::Create => &self.create,
            Spend::Link => &self.link,
            Spend::BadToken => &self.bad_tokens,
        };
        let Some(network) = Network::of(client) else { return budget.spend_of_all() };
        if what == Spend::Create && !self.has_room_for_users(network, 1) {
            return Err(OverBudget::SHARE);
        }
        budget.spend(network, 1)?;
        if what == Spend::Create {
            self.add_users(network, 1);
        }
        Ok(())
    }

    /// Lets strangers in who come from a network that is not blocked, whether or not budgets are in force.
    ///
    /// # Errors
    /// It is blocked.
    pub fn admit(&self, client: IpAddr) -> Result<(), OverBudget> {
        let is_blocked = self.blocks.refuse(client, || self.clock.0.wall_ms());
        if is_blocked { Err(OverBudget::BLOCKED) } else { Ok(()) }
    }

    /// The networks that are blocked.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    fn all(&self) -> [(&'static str, &Budget); 4] {
        let Self { create, link, bad_tokens, work, .. } = self;
        [("create", create), ("link", link), ("bad_tokens", bad_tokens), ("work", work)]
    }

    /// What a network has spent of each budget.
    pub fn standing(&self, network: Network) -> [Standing; 4] {
        self.all().map(|(name, budget)| {
            let level = &budget.levels[network.place()];
            Standing { name, burst: level.burst(), left: level.left(network) }
        })
    }

    /// The networks that have spent the largest part of one of their budgets, the largest first.
    pub fn spenders(&self, most: usize) -> Vec<Network> {
        let mut found: Vec<(Network, u32)> = Vec::new();
        let keep_largest = |found: &mut Vec<(Network, u32)>| {
            found.sort_by_key(|(_, spent)| std::cmp::Reverse(*spent));
            let mut known = HashSet::new();
            found.retain(|(network, _)| known.insert(*network));
            found.truncate(most);
        };
        for level in self.all().iter().flat_map(|(_, budget)| &budget.levels) {
            level.spenders(|network, spent| {
                found.push((network, spent));
                // so many wait, and not all
                if found.len() >= most.saturating_mul(8).max(4096) {
                    keep_largest(&mut found);
                }
            });
        }
        keep_largest(&mut found);
        found.into_iter().map(|(network, _)| network).collect()
    }

    /// Gives whole budgets back: to this network, to those in it, and to the wider ones that it is part of.
    pub fn give_back(&self, net: &IpNet) {
        let is_meant = |network: Network| {
            let other = network.prefix();
            net.contains(&other) || other.contains(net)
        };
        self.all().iter().flat_map(|(_, budget)| &budget.levels).for_each(|level| level.give_back(is_meant));
    }

    /// Bounds the share of each network in users who never came back and in bytes of documents.
    #[must_use]
    pub fn sharing(self, users: Share, documents: Share) -> Self {
        let shares = self.on.then_some((users, documents));
        Self { shares, ..self }
    }

    fn now_us(&self) -> u64 {
        self.clock.0.monotonic_us()
    }

    fn has_room_for_users(&self, network: Network, count: u64) -> bool {
        self.shares.as_ref().is_none_or(|(users, _)| users.has_room(network, count, self.now_us()))
    }

    fn add_users(&self, network: Network, count: u64) {
        if let Some((users, _)) = &self.shares {
            users.add(network, count, self.now_us());
        }
    }

    /// Takes the room of so many users beside what was spent: for a name or an id that is kept, and for a client that works for it.
    ///
    /// # Errors
    /// The network has had its share.
    pub fn claim_users(&self, client: IpAddr, count: u64) -> Result<(), OverBudget> {
        let Some(network) = Network::of(client) else { return Ok(()) };
        if !self.has_room_for_users(network, count) {
            return Err(OverBudget::SHARE);
        }
        self.add_users(network, count);
        Ok(())
    }

    /// Gives back the room of so many users: that for which it was taken was not stored, came back, or is gone.
    pub fn give_back_users(&self, client: IpAddr, count: u64) {
        if let Some(((users, _), network)) = self.shares.as_ref().zip(Network::of(client)) {
            users.give_back(network, count);
        }
    }

    /// Gives the room of so many users back if what it was taken for was certainly not stored, and hands the outcome on.
    ///
    /// # Errors
    /// The outcome's own.
    pub fn kept_if_stored<T>(
        &self,
        client: IpAddr,
        count: u64,
        outcome: Result<T, handle::Error>,
    ) -> Result<T, handle::Error> {
        outcome.inspect_err(|error| {
            if *error != handle::Error::OutcomeUnknown {
                self.give_back_users(client, count);
            }
        })
    }

    /// Whether documents may grow by what this network writes.
    pub fn may_store(&self, network: Option<Network>) -> bool {
        let documents = self.shares.as_ref().map(|(_, documents)| documents).zip(network);
        documents.is_none_or(|(documents, network)| documents.has_room(network, 1, self.now_us()))
    }

    /// A document takes so many bytes more by what this network wrote, or fewer.
    pub fn stored(&self, network: Option<Network>, grown: i64) {
        let Some(((_, documents), network)) = self.shares.as_ref().zip(network) else { return };
        if grown > 0 {
            documents.add(network, grown.unsigned_abs(), self.now_us());
        } else {
            documents.give_back(network, grown.unsigned_abs());
        }
    }

    /// How often a network had no room left of its share: of users, of documents.
    pub fn over_share(&self) -> [u64; 2] {
        self.shares.as_ref().map_or([0; 2], |(users, documents)| [users.refused(), documents.refused()])
    }

    /// Takes one for creating the reader of a lazy cookie. Of many requests that come with it at once, as a page and its pictures do,
    /// one pays; `exists` says whether that has been done.
    ///
    /// # Errors
    /// [`OverBudget`] says when there is one again.
    pub fn spend_on_reader(
        &self,
        user: &UserId,
        client: IpAddr,
        exists: impl FnOnce() -> bool,
    ) -> Result<Option<Paid<'_>>, OverBudget> {
        let mut creating = self.creating.lock();
        if creating.contains(user) || exists() {
            return Ok(None);
        }
        self.spend(Spend::Create, client)?;
        creating.insert(*user);
        Ok(Some(Paid { budgets: self, user: *user }))
    }

    /// Takes a challenge from the budget of proofs of work, and answers how often its work doubles: the more challenges of
    /// this network are out, the harder (S35). It is spent on the challenge and not on the proof, so that no one can collect
    /// easy ones.
    ///
    /// # Errors
    /// [`OverBudget`]: the hard limit.
    pub fn challenge(&self, client: IpAddr) -> Result<u32, OverBudget> {
        self.admit(client)?;
        if !self.on {
            return Ok(0);
        }
        // each costs some computing here too, so all together are bounded too
        let Some(network) = Network::of(client) else { return self.work.spend_of_all().map(|()| 0) };
        self.work.spend(network, MOST_DOUBLINGS + 1)
    }

    /// Counts a request that has to work first, because too many passwords of its network wait to be hashed.
    pub fn busy(&self) -> OverBudget {
        self.busy.fetch_add(1, Ordering::Relaxed);
        OverBudget::BUSY
    }

    /// How often that was.
    pub fn busy_count(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// How many networks have budgets of their own now.
    pub fn held(&self) -> usize {
        [&self.create, &self.link, &self.bad_tokens, &self.work].iter().map(|budget| budget.held()).sum()
    }

    /// How often each was refused: creating users, trying identities, bad tokens, challenges.
    pub fn refused(&self) -> [u64; 4] {
        [&self.create, &self.link, &self.bad_tokens, &self.work].map(|budget| budget.refused.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
