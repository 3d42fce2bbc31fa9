//! The janitor: sweeps the store, page by page, and proposes that users whose deadline has passed expire.
//!
//! It only proposes: the store checks each again. A user is proposed a minute after the deadline, when no touch can still
//! be under way; reads have refused it since the deadline itself.
//!
//! It also says when a bound over all is nearly reached, and when it is. If the operator wants it (`Policy::unused_s`), it then
//! removes users who were created and never came back, the oldest first, until a tenth of the bound is free: a first round
//! finds how old those are that have to go, a second one proposes them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;

use super::bounds::{Bound, Fullness};
use super::core::Core;
use super::error::Error;
use super::propose::Proposer;
use crate::domain::{
    Cause, ChangeSet, Credential, Family, Op, Outcome, Record, Rewrite, ServiceTime, UserId, ValueKey,
};
use crate::histogram::Histogram;
use crate::store::{Completions, Health, Sets};

const TICK: Duration = Duration::from_secs(1);
/// A whole round takes this many ticks, if a tick's work allows it.
const TICKS_PER_ROUND: usize = 3600;
/// A tick looks at pages for at most this long (microseconds); then the round takes longer.
const MAX_TICK_US: u64 = 5000;
/// How long after its deadline a user is proposed (seconds).
const GRACE_S: u32 = 60;
/// Users proposed at once: what waits behind them waits for one group.
const BATCH: usize = 1024;
/// The search for the oldest tells ages apart by this part of the window.
const AGES: usize = 2048;

/// Figures of the sweep, for metrics.
#[derive(Debug, Default)]
pub struct SweepStats {
    /// Pages looked at.
    pub pages: AtomicU64,
    /// Users that expired.
    pub expired: AtomicU64,
    /// Users who were created, never came back and were given up.
    pub given_up: AtomicU64,
    /// How long the last whole round took (seconds); 0 before the first.
    pub round_s: AtomicU64,
    /// How long a map was held.
    pub hold: Histogram,
    /// How long the pages of one tick were looked at.
    pub tick: Histogram,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Pages looked at.
    pub pages: usize,
    /// Users that expired.
    pub expired: usize,
    /// Users who were created, never came back and were given up to make room.
    pub given_up: usize,
    /// Unconfirmed registrations, and ends of readers whose lazy cookies have expired.
    pub forgotten: usize,
}

struct Janitor {
    sweep: Rc<Sweep>,
}

/// A value as it was looked at.
type Seen = (ValueKey, Arc<[u8]>);

/// A sweep's place in its round.
struct Sweep {
    core: Arc<Core>,
    proposer: Proposer,
    stats: Arc<SweepStats>,
    place: std::cell::Cell<Place>,
    relief: std::cell::RefCell<Relief>,
    /// How full each bound was when it was last said.
    said: std::cell::Cell<[Fullness; 4]>,
}

/// How far giving up has come.
enum Relief {
    /// No user has to go.
    Idle,
    /// Of those who may go: how many were created at which time, and the size of their documents.
    Counts { next_page: usize, ages: Vec<(usize, usize)> },
    /// Users created at this time or before go, as long as room is short.
    Proposes { next_page: usize, made_until: ServiceTime },
}

#[derive(Clone, Copy)]
struct Place {
    next_page: usize,
    /// pages owed, in 1/`TICKS_PER_ROUND`
    owed: usize,
    round_began_ms: u64,
}

impl Sweep {
    /// One tick's share: as many pages as fill a round in an hour, within the bound on a tick's work.
    async fn tick(&self) -> Swept {
        let pages = self.core.store.pages();
        let mut place = self.place.get();
        place.owed = (place.owed + pages).min(pages * TICKS_PER_ROUND);
        self.place.set(place);
        self.say_how_full();
        let mut swept = self.pages(place.owed / TICKS_PER_ROUND, MAX_TICK_US).await;
        swept.given_up = self.relieve(MAX_TICK_US).await;
        swept
    }

    /// Says once that a bound is nearly reached or is, and once that there is room again, some of it.
    fn say_how_full(&self) {
        let mut said = self.said.get();
        for (said, bound) in said.iter_mut().zip(self.core.bounds()) {
            let Bound { name, used, most, then } = bound;
            let percent = bound.percent();
            match bound.fullness() {
                Fullness::Full if *said < Fullness::Full => {
                    tracing::error!(bound = name, used, most, "a bound is reached: {then}");
                }
                Fullness::Nearly if *said < Fullness::Nearly => {
                    tracing::error!(bound = name, used, most, percent, "a bound is nearly reached; beyond it {then}");
                }
                Fullness::Room if *said > Fullness::Room && percent < 85 => {
                    tracing::info!(bound = name, used, most, percent, "there is room again");
                }
                // near the edge it would be said again and again
                _ if bound.fullness() < *said && percent >= 85 => continue,
                _ => {}
            }
            *said = bound.fullness();
        }
        self.said.set(said);
    }

    /// How many users have to go, and how many bytes of documents, until both bounds have room again.
    fn excess(&self) -> (usize, usize) {
        let [users, _, _, documents] = self.core.bounds();
        (users.excess(), documents.excess())
    }

    /// Gives up users who were created and never came back, if room is short and the operator allows it. Returns how many.
    async fn relieve(&self, max_us: u64) -> usize {
        let policy = &self.core.policy();
        if policy.unused_s == 0 {
            return 0;
        }
        let (store, mut given_up, mut worked_us) = (&self.core.store, 0, 0);
        let clock = store.clock();
        while worked_us < max_us && store.health() == Health::Writable {
            let before_us = clock.monotonic_us();
            let (users, bytes) = self.excess();
            if (users, bytes) == (0, 0) {
                *self.relief.borrow_mut() = Relief::Idle;
                return given_up;
            }
            // younger ones may be in use although nothing shows it yet
            let youngest = clock.now().saturating_sub(policy.unused_s.max(policy.touch_granularity_s) + GRACE_S);
            let proposed = self.relieve_of_a_page(users, bytes, youngest);
            worked_us += clock.monotonic_us().saturating_sub(before_us);
            let Some(proposed) = proposed else { return given_up };
            for batch in proposed.chunks(BATCH) {
                given_up += self.propose_to_give_up(batch).await;
            }
        }
        given_up
    }

    /// Looks at one page. None: the round of counting found that no user can go now, or nothing more can be done in this one.
    fn relieve_of_a_page(
        &self,
        users: usize,
        bytes: usize,
        youngest: ServiceTime,
    ) -> Option<Vec<(UserId, ServiceTime)>> {
        let store = &self.core.store;
        let width = (self.core.policy().window_s / u32::try_from(AGES).unwrap_or(u32::MAX)).max(1);
        let oldest = youngest.saturating_sub(self.core.policy().window_s);
        // users who are older than possible count in the first
        let age = |made: ServiceTime| (made.saturating_sub(oldest) / width) as usize;
        let may_go = |record: &Record| record.is_unused() && record.session_started <= youngest;
        let is_live = |id: &UserId| self.core.directory.peek(id).is_some();
        let mut relief = self.relief.borrow_mut();
        match &mut *relief {
            Relief::Idle => {
                *relief = Relief::Counts { next_page: 0, ages: vec![(0, 0); AGES + 2] };
                Some(Vec::new())
            }
            Relief::Counts { next_page, ages } if *next_page < store.pages() => {
                let mut with_documents = Vec::new();
                store.see_users(*next_page, &mut |id, record| {
                    if may_go(record) {
                        let at = age(record.session_started).min(AGES + 1);
                        ages[at].0 += 1;
                        if bytes > 0 {
                            with_documents.push((at, *id));
                        }
                    }
                });
                for (at, id) in with_documents {
                    ages[at].1 += store.value(&ValueKey::document(&id)).map_or(0, |document| document.len());
                }
                *next_page += 1;
                Some(Vec::new())
            }
            Relief::Counts { ages, .. } => {
                let (mut found, mut last) = ((0, 0), None);
                for (at, (count, size)) in ages.iter().enumerate() {
                    if found.0 >= users && found.1 >= bytes {
                        break;
                    }
                    if *count > 0 && (users > 0 || *size > 0) {
                        last = Some(at);
                    }
                    found = (found.0 + count, found.1 + size);
                }
                let begin = last.map(|at| Relief::Proposes {
                    next_page: 0,
                    made_until: oldest
                        .saturating_add(width.saturating_mul(u32::try_from(at + 1).unwrap_or(u32::MAX)))
                        .min(youngest),
                });
                let found_somebody = begin.is_some();
                *relief = begin.unwrap_or(Relief::Idle);
                found_somebody.then(Vec::new)
            }
            Relief::Proposes { next_page, made_until } if *next_page < store.pages() => {
                let mut found = Vec::new();
                store.see_users(*next_page, &mut |id, record| {
                    if may_go(record) && record.session_started <= *made_until {
                        found.push((*id, record.session_started));
                    }
                });
                *next_page += 1;
                // a user without a document makes no room for documents
                let makes_room = |id: &UserId| users > 0 || store.value(&ValueKey::document(id)).is_some();
                found.retain(|(id, _)| !is_live(id) && makes_room(id));
                if bytes == 0 {
                    found.truncate(users);
                }
                Some(found)
            }
            Relief::Proposes { .. } => {
                *relief = Relief::Idle;
                None
            }
        }
    }

    async fn propose_to_give_up(&self, users: &[(UserId, ServiceTime)]) -> usize {
        let at = self.core.store.clock().now();
        let give_up = |&(id, made): &_| ChangeSet::new(Cause::GivenUp, at, vec![Op::GiveUp { id, made }]);
        let given_up = self.done(users.iter().map(give_up).collect()).await;
        self.stats.given_up.fetch_add(given_up as u64, Ordering::Relaxed);
        if given_up > 0 {
            tracing::warn!(
                given_up,
                cause = Cause::GivenUp.name(),
                "users who were created and never came back are gone"
            );
        }
        given_up
    }

    async fn pages(&self, count: usize, max_us: u64) -> Swept {
        let mut swept = Swept::default();
        let mut worked_us = 0;
        while swept.pages < count && worked_us < max_us && self.core.store.health() == Health::Writable {
            let (expired, given_up, us) = self.look_at_next_page();
            worked_us += us;
            swept.pages += 1;
            if !given_up.is_empty() {
                swept.forgotten += self.propose_removal(given_up).await;
            }
            for batch in expired.chunks(BATCH) {
                swept.expired += self.propose(batch).await;
            }
        }
        if swept.pages > 0 {
            self.stats.tick.record(worked_us);
        }
        swept
    }

    fn look_at_next_page(&self) -> (Vec<UserId>, Vec<Seen>, u64) {
        let (store, mut place) = (&self.core.store, self.place.get());
        let clock = store.clock();
        let (before_us, now, window_s) = (clock.monotonic_us(), clock.now(), self.core.policy().window_s);
        let (mut expired, mut given_up) = (Vec::new(), Vec::new());
        store.see_users(place.next_page, &mut |id, record| {
            if record.deadline(window_s).is_some_and(|deadline| now >= deadline.saturating_add(GRACE_S)) {
                expired.push(*id);
            }
        });
        store.see_values(place.next_page, &mut |key, bytes| {
            let may_go = match key.family {
                Family::CREDENTIAL => Credential::decode(bytes).is_ok_and(|known| known.is_given_up(false, now)),
                Family::ENDED_LAZY => {
                    let ended = (**bytes).try_into().map_or(0, ServiceTime::from_be_bytes);
                    now >= ended.saturating_add(window_s)
                }
                _ => false,
            };
            if may_go {
                given_up.push((key.clone(), Arc::clone(bytes)));
            }
        });
        // whether a name has a user is another question to the store, which is not asked while it is looked at
        given_up.retain(|(key, bytes)| {
            key.family != Family::CREDENTIAL
                || Credential::decode(bytes).is_ok_and(|known| {
                    let has_user = store.resolve(&Credential::identity(&known.name)).is_some();
                    known.is_given_up(has_user, now)
                })
        });
        let us = clock.monotonic_us().saturating_sub(before_us);
        self.stats.pages.fetch_add(1, Ordering::Relaxed);
        self.stats.hold.record(us);
        place.owed = place.owed.saturating_sub(TICKS_PER_ROUND);
        place.next_page += 1;
        if place.next_page == store.pages() {
            place.next_page = 0;
            let now_ms = clock.monotonic_ms();
            self.stats.round_s.store(now_ms.saturating_sub(place.round_began_ms) / 1000, Ordering::Relaxed);
            place.round_began_ms = now_ms;
        }
        self.place.set(place);
        (expired, given_up, us)
    }

    /// Obsolete values, as they were seen: unconfirmed registrations, ends of readers.
    async fn propose_removal(&self, given_up: Vec<Seen>) -> usize {
        let (at, cause) = (self.core.store.clock().now(), Cause::Forgotten);
        let remove = |(key, seen)| Op::Value { key, seen: Some(seen), change: Rewrite::Remove };
        let sets = given_up.into_iter().map(|value| ChangeSet::new(cause, at, vec![remove(value)]));
        let removed = self.done(sets.collect()).await;
        if removed > 0 {
            tracing::info!(
                removed,
                cause = cause.name(),
                "registrations that nobody confirmed and ends of readers are forgotten"
            );
        }
        removed
    }

    /// Proposes sets, and returns how many are done.
    async fn done(&self, sets: Sets) -> usize {
        self.proposer.all(sets).await.iter().filter(|outcome| **outcome == Outcome::Done).count()
    }

    async fn propose(&self, users: &[UserId]) -> usize {
        let now = self.core.store.clock().now();
        let cutoff = now.saturating_sub(self.core.policy().window_s).saturating_sub(GRACE_S);
        let expire = |&id: &UserId| ChangeSet::new(Cause::Expired, now, vec![Op::Expire { id, cutoff }]);
        let expired = self.done(users.iter().map(expire).collect()).await;
        self.stats.expired.fetch_add(expired as u64, Ordering::Relaxed);
        if expired > 0 {
            tracing::info!(expired, cause = Cause::Expired.name(), "inactive users are gone");
        }
        expired
    }
}

impl Janitor {
    fn wait_for_next_tick(context: &mut Context<Self>) {
        context.run_later(TICK, |janitor, context| {
            let sweep = Rc::clone(&janitor.sweep);
            let swept = async move { sweep.tick().await }.into_actor(janitor);
            // not `run_interval`: after a slow tick it would make up for the missed ones in a burst
            context.wait(swept.map(|_, _, context| Self::wait_for_next_tick(context)));
        });
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        Self::wait_for_next_tick(context);
    }
}

#[derive(Message)]
#[rtype(result = "Swept")]
struct SweepPages(usize);

impl Handler<SweepPages> for Janitor {
    type Result = ResponseFuture<Swept>;

    fn handle(&mut self, SweepPages(pages): SweepPages, _: &mut Self::Context) -> Self::Result {
        let sweep = Rc::clone(&self.sweep);
        Box::pin(async move {
            sweep.say_how_full();
            let mut swept = sweep.pages(pages, u64::MAX).await;
            swept.given_up = sweep.relieve(u64::MAX).await;
            swept
        })
    }
}

/// The janitor of a core, on a thread of its own. Ends when dropped.
pub struct JanitorHandle {
    arbiter: Arbiter,
    address: Addr<Janitor>,
    stats: Arc<SweepStats>,
}

impl JanitorHandle {
    /// Starts the janitor. Needs a running actix system.
    pub async fn start(core: Arc<Core>) -> Result<Self, Error> {
        let (arbiter, stats) = (Arbiter::new(), Arc::new(SweepStats::default()));
        let (started, address) = tokio::sync::oneshot::channel();
        let for_sweep = Arc::clone(&stats);
        arbiter.spawn_fn(move || {
            let completions = Rc::<Completions>::default();
            actix_rt::spawn(Rc::clone(&completions).run(drop));
            let round_began_ms = core.store.clock().monotonic_ms();
            let place = std::cell::Cell::new(Place { next_page: 0, owed: 0, round_began_ms });
            let (relief, said) = (std::cell::RefCell::new(Relief::Idle), std::cell::Cell::default());
            let proposer = Proposer::new(Arc::clone(&core), completions);
            let sweep = Rc::new(Sweep { core, proposer, stats: for_sweep, place, relief, said });
            drop(started.send(Janitor { sweep }.start()));
        });
        let address = address.await.map_err(|_| Error::Stopping)?;
        Ok(Self { arbiter, address, stats })
    }

    /// Figures.
    pub fn stats(&self) -> &Arc<SweepStats> {
        &self.stats
    }

    /// Sweeps this many pages now, whatever the time.
    ///
    /// # Errors
    /// The janitor has ended.
    pub async fn sweep(&self, pages: usize) -> Result<Swept, Error> {
        self.address.send(SweepPages(pages)).await.map_err(|_| Error::Stopping)
    }
}

impl Drop for JanitorHandle {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}
