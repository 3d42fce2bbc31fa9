//! A store that somebody outside the crate could write: plain maps behind one lock, over the public port alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use passerby_actors::domain::{
    Clock, Extension, Family, IdentityKey, Listing, Outcome, Record, ServiceClock, Touched, UserId, ValueKey,
};
use passerby_actors::handle::IdForm;
use passerby_actors::store::{Effect, Feed, Group, Health, Opened, Position, ReplyTo, Sets, Stats, Store, View, Wakes};
use passerby_actors::testkit::{ManualClock, World};

use crate::sockets::somebody;

/// What is kept. Indexes are for stores that are to be fast: this one looks through everybody.
#[derive(Default)]
struct Kept {
    users: HashMap<UserId, Record>,
    extensions: HashMap<UserId, Arc<[u8]>>,
    values: HashMap<ValueKey, Arc<[u8]>>,
    groups: u64,
}

impl Kept {
    fn extensions(&self) -> impl Iterator<Item = (UserId, Extension)> {
        self.extensions.iter().map(|(id, bytes)| (*id, Extension::decode(bytes).unwrap()))
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::PutUser(id, record) => drop(self.users.insert(id, record)),
            Effect::RemoveUser(id) => {
                self.users.remove(&id);
                self.extensions.remove(&id);
            }
            Effect::PutExtension(id, bytes) => drop(self.extensions.insert(id, bytes)),
            Effect::RemoveExtension(id) => drop(self.extensions.remove(&id)),
            Effect::Touch(id, at) => {
                if let Some(record) = self.users.get_mut(&id) {
                    record.last_seen = record.last_seen.max(at);
                }
            }
            Effect::PutValue(key, value) => drop(self.values.insert(key, value)),
            Effect::EditValue(key, _, next) => drop(self.values.insert(key, next.expect("of a group, it is known"))),
            Effect::RemoveValue(key) => drop(self.values.remove(&key)),
        }
    }
}

impl View for Kept {
    fn record(&self, id: &UserId) -> Option<Record> {
        self.users.get(id).copied()
    }

    fn extension(&self, id: &UserId) -> Option<Arc<[u8]>> {
        self.extensions.get(id).cloned()
    }

    fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.extensions().find(|(_, extension)| extension.claims().contains(identity)).map(|(id, _)| id)
    }

    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.values.get(key).cloned()
    }
}

pub(crate) struct Outside {
    kept: Mutex<Kept>,
    clock: ServiceClock,
    feed: Feed,
    stats: Stats,
    opened: Opened,
    stopped: AtomicBool,
}

impl Outside {
    pub(crate) fn open(clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        Arc::new(Self {
            kept: Mutex::default(),
            clock: ServiceClock::resume(clock, None),
            feed: Feed::default(),
            stats: Stats::default(),
            opened: Opened { fresh: true, ..Opened::default() },
            stopped: AtomicBool::new(false),
        })
    }
}

impl View for Outside {
    fn record(&self, id: &UserId) -> Option<Record> {
        self.kept.lock().record(id)
    }

    fn extension(&self, id: &UserId) -> Option<Arc<[u8]>> {
        self.kept.lock().extension(id)
    }

    fn resolve(&self, identity: &IdentityKey) -> Option<UserId> {
        self.kept.lock().resolve(identity)
    }

    fn value(&self, key: &ValueKey) -> Option<Arc<[u8]>> {
        self.kept.lock().value(key)
    }

    fn records(&self, id: &UserId) -> Option<(Record, Option<Arc<[u8]>>)> {
        self.kept.lock().records(id)
    }
}

impl Store for Outside {
    fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    fn commit(&self, sets: Sets, reply: ReplyTo) {
        let mut kept = self.kept.lock();
        if self.stopped.load(Ordering::SeqCst) {
            return; // the reply answers `Failed` as it goes
        }
        kept.groups += 1;
        let (seq, times) = (kept.groups, (self.clock.now(), self.clock.wall_ms()));
        let (mut committed, mut wakes) = (Vec::new(), Wakes::default());
        let mut group = Group::new(&*kept);
        let outcomes = group.decide(sets, |accepted| {
            let position = Position::of(seq, &committed);
            committed.push(accepted.committed(position, times));
        });
        group.into_effects().into_iter().for_each(|effect| kept.apply(effect));
        for outcome in &outcomes {
            let counter = if *outcome == Outcome::Done { &self.stats.sets_done } else { &self.stats.sets_conflicted };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.feed.publish(&committed, &mut wakes);
        reply.deliver(outcomes, &mut wakes);
        // before the lock is, so that changes are told in the order in which they were made
        drop(wakes);
    }

    fn touch(&self, id: &UserId, window_s: u32, granularity_s: u32) -> Touched {
        let (mut kept, now) = (self.kept.lock(), self.clock.now());
        match kept.users.get_mut(id).filter(|record| !record.is_expired(now, window_s)) {
            None => Touched::Gone,
            Some(record) if now.saturating_sub(record.last_seen) < granularity_s => Touched::Recent,
            Some(record) => {
                record.last_seen = now;
                Touched::Raised(now)
            }
        }
    }

    fn health(&self) -> Health {
        if self.stopped.load(Ordering::SeqCst) { Health::Stopped } else { Health::Writable }
    }

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn survivor(&self, id: &UserId) -> Option<UserId> {
        let is_its = |extension: &Extension| extension.aliases.iter().any(|alias| alias.id == *id);
        self.kept.lock().extensions().find(|(_, extension)| is_its(extension)).map(|(user, _)| user)
    }

    fn keys(&self, family: Family) -> usize {
        let kept = self.kept.lock();
        match family {
            Family::USER => kept.users.len(),
            Family::EXTENSION => kept.extensions.len(),
            other => kept.values.keys().filter(|key| key.family == other).count(),
        }
    }

    fn own_values(&self, listing: &Listing<'_>) -> Vec<(ValueKey, Arc<[u8]>)> {
        let Listing { family, after, last_first, most } = *listing;
        let kept = self.kept.lock();
        let mut values: Vec<_> = kept.values.iter().filter(|(key, _)| key.family == family).collect();
        values.sort();
        if last_first {
            values.reverse();
        }
        let is_beyond = |key: &[u8]| after.is_none_or(|after| if last_first { key < after } else { key > after });
        let listed = values.into_iter().filter(|(key, _)| is_beyond(&key.key)).take(most);
        listed.map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
    }

    fn accounts(&self) -> usize {
        self.kept.lock().users.values().filter(|record| !record.is_anonymous()).count()
    }

    fn identities(&self) -> usize {
        self.kept.lock().extensions().map(|(_, extension)| extension.claims().len()).sum()
    }

    fn aliases(&self) -> usize {
        self.kept.lock().extensions().map(|(_, extension)| extension.aliases.len()).sum()
    }

    fn document_bytes(&self) -> usize {
        let kept = self.kept.lock();
        kept.values.iter().filter(|(key, _)| key.family == Family::DOCUMENT).map(|(_, value)| value.len()).sum()
    }

    /// The users on the first, the values on the second.
    fn pages(&self) -> usize {
        2
    }

    fn see_users(&self, page: usize, see: &mut dyn FnMut(&UserId, &Record)) {
        if page == 0 {
            self.kept.lock().users.iter().for_each(|(id, record)| see(id, record));
        }
    }

    fn see_values(&self, page: usize, see: &mut dyn FnMut(&ValueKey, &Arc<[u8]>)) {
        if page == 1 {
            self.kept.lock().values.iter().for_each(|(key, value)| see(key, value));
        }
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn waiting(&self) -> usize {
        0
    }

    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn stop(&self) {
        let _kept = self.kept.lock();
        self.stopped.store(true, Ordering::SeqCst);
        self.feed.close();
    }
}

#[actix_rt::test]
async fn a_whole_core_runs_over_a_store_from_outside() {
    let world = World::new(1);
    let running = world.run(Outside::open(ManualClock::new()));
    let user = somebody(&running).await;
    let other = running.handle.login(passerby_actors::domain::SessionKind::V1, IdForm::Object).await.unwrap();
    assert!(running.handle.check(&user.user, &user.session, Some(user.epoch)).is_ok());
    let mut socket = running.handle.attach(&user.user, user.number, None).await.unwrap();
    running.handle.logout(&user.user, user.number).await.unwrap();
    let ended = passerby_actors::actor::Push::Ended(passerby_actors::domain::Cause::LoggedOut);
    assert_eq!(*socket.inbox.next().await.unwrap(), ended);
    assert!(running.handle.check(&user.user, &user.session, Some(user.epoch)).is_err());
    assert!(running.knows(&other.user) && !running.knows(&user.user));
    assert_eq!(running.sweep().await, 0);
}
