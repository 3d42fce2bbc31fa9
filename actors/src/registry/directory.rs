//! The directory of live users: who acts for them, and whether they may be let go.

use std::sync::atomic::Ordering;

use dashmap::mapref::entry::Entry;

use super::maps::{ById, MIN_MAPS, Maps};
use crate::domain::UserId;

/// Live users: which actor acts for them, and whether it may be passivated. Never journalled.
///
/// An address is handed out with a lease, raised under the entry's lock and lowered by [`Directory::release`]; an entry
/// leaves only without leases. So an address that turns out closed belonged to an actor that died.
pub(crate) struct Directory<A> {
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
pub(crate) struct Lease<A> {
    /// Where to send.
    pub(crate) address: A,
    /// Which life of the actor this is.
    pub(crate) incarnation: u64,
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
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no user is live.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The live user's address, on lease.
    pub(crate) fn lease(&self, id: &UserId, now_ms: u64) -> Option<Lease<A>> {
        if self.is_empty() {
            return None;
        }
        self.live.map(id).get_mut(id).map(|mut live| live.lend(now_ms))
    }

    /// The live user's address, on lease, activating it with `start` under the entry's lock if the user rests.
    pub(crate) fn lease_or_activate(
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
    pub(crate) fn release(&self, id: &UserId, incarnation: u64) {
        if let Some(mut live) = self.live.map(id).get_mut(id)
            && live.incarnation == incarnation
        {
            live.leases = live.leases.saturating_sub(1);
        }
    }

    /// The address and worker of a live user, without a lease: for notices, which may be lost.
    pub(crate) fn peek(&self, id: &UserId) -> Option<(A, usize)> {
        self.live.with(id, |live| (live.address.clone(), live.worker))
    }

    /// Removes the entry if no lease is out and it was last used at `idle_since_ms` or before.
    pub(crate) fn retire(&self, id: &UserId, idle_since_ms: u64) -> Option<A> {
        let removed = self.live.map(id).remove_if(id, |_, live| live.leases == 0 && live.last_used_ms <= idle_since_ms);
        removed.map(|(_, live)| {
            self.live.len.fetch_sub(1, Ordering::Relaxed);
            live.address
        })
    }

    /// Removes the entry of an actor that is known to be dead, leases or not.
    pub(crate) fn forget(&self, id: &UserId, incarnation: u64) -> bool {
        let removed = self.live.map(id).remove_if(id, |_, live| live.incarnation == incarnation).is_some();
        if removed {
            self.live.len.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// The users live on this worker who were last used at `idle_since_ms` or before, with the incarnation of each.
    pub(crate) fn idle(&self, worker: usize, idle_since_ms: u64) -> Vec<(UserId, u64)> {
        let mut found = Vec::new();
        self.visit(|id, live| {
            if live.worker == worker && live.last_used_ms <= idle_since_ms {
                found.push((*id, live.incarnation));
            }
        });
        found
    }

    /// The `count` users, on whichever worker, who were last used the longest ago.
    pub(crate) fn longest_idle(&self, count: usize) -> Vec<UserId> {
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
    pub(crate) fn count_death(&self, id: &UserId, now_ms: u64) -> Option<u64> {
        let mut entry = self.deaths.map(id).entry(*id).or_insert_with(|| {
            self.deaths.len.fetch_add(1, Ordering::Relaxed);
            Deaths::default()
        });
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
    pub(crate) fn blocked_for_ms(&self, id: &UserId, now_ms: u64) -> Option<u64> {
        // which is as good as always
        if self.deaths.len() == 0 {
            return None;
        }
        let until = self.deaths.with(id, |deaths| deaths.blocked_until_ms)?;
        until.checked_sub(now_ms).filter(|ms| *ms > 0)
    }

    /// Forgets deaths that no longer matter, so that the list stays short.
    pub(crate) fn forget_old_deaths(&self, now_ms: u64) {
        for map in &self.deaths.maps {
            map.retain(|_, deaths| {
                let until_ms = deaths.blocked_until_ms.max(deaths.first_ms).saturating_add(2 * LONGEST_BLOCK_MS);
                let is_kept = now_ms < until_ms;
                self.deaths.len.fetch_sub(usize::from(!is_kept), Ordering::Relaxed);
                is_kept
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
