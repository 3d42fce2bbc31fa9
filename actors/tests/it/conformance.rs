//! What any store must do, run on each store there is.

use std::rc::Rc;
use std::sync::Arc;

use passerby_actors::domain::{
    Cause, ChangeSet, Extension, Flags, Identity, IdentityKey, Op, Outcome, Record, Rewrite, SessionKind, UserId,
};
use passerby_actors::store::{Completions, Store, View, memory};
use passerby_actors::testkit::{ManualClock, World};

struct Subject {
    store: Arc<dyn Store>,
    completions: Rc<Completions>,
}

impl Subject {
    fn new(store: Arc<dyn Store>) -> Self {
        let completions = Rc::<Completions>::default();
        actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
        Self { store, completions }
    }

    async fn commit(&self, sets: Vec<Vec<Op>>) -> Vec<Outcome> {
        let (reply, outcomes) = self.completions.register(sets.len());
        let set = |ops| ChangeSet::new(Cause::Linked, 1, ops);
        self.store.commit(sets.into_iter().map(set).collect(), reply);
        outcomes.await.into_vec()
    }
}

fn id(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

fn create(n: u8) -> Op {
    Op::Create { id: id(n), record: Record::new(100, SessionKind::V1), extension: None }
}

fn key(name: &str) -> IdentityKey {
    IdentityKey { provider: "local-userpass".into(), external: name.into() }
}

fn with_identities(names: &[&str]) -> Box<[u8]> {
    let identities = names.iter().map(|name| Identity { key: key(name), linked: 1, data: "".into() }).collect();
    Extension { identities, ..Extension::default() }.encode()
}

fn link(n: u8, seen: u16, names: &[&str]) -> Vec<Op> {
    let mut record = Record::new(0, SessionKind::V1);
    record.flags = record.flags.with(Flags::LASTING, true).with(Flags::EXTENDED, true);
    let claims = names.iter().map(|name| Op::Claim { identity: key(name), user: id(n) });
    let update = Op::Update { id: id(n), seen, record, extension: Rewrite::Put(with_identities(names)) };
    claims.chain([update]).collect()
}

const DONE: Outcome = Outcome::Done;

fn conflict(op: usize) -> Outcome {
    Outcome::Conflict { op }
}

async fn conforms(store: Arc<dyn Store>) {
    let subject = Subject::new(Arc::clone(&store));
    let record = |n| store.record(&id(n));

    // create: absent, also within one group
    assert_eq!(subject.commit(vec![vec![create(1)], vec![create(1)]]).await, [DONE, conflict(0)]);
    assert_eq!(subject.commit(vec![vec![create(1)]]).await, [conflict(0)]);
    assert_eq!(record(1).map(|r| r.version), Some(0));

    // update: the version seen; it keeps last_seen and raises the version; two in a row chain
    let update = |seen| {
        vec![Op::Update {
            id: id(1),
            seen,
            record: Record { refresh_counter: 7, ..Record::new(5, SessionKind::V1) },
            extension: Rewrite::Keep,
        }]
    };
    assert_eq!(subject.commit(vec![update(0), update(1), update(1)]).await, [DONE, DONE, conflict(0)]);
    let after = record(1).unwrap();
    assert_eq!((after.version, after.refresh_counter, after.last_seen), (2, 7, 100));

    // a set is all or nothing, and says which operation failed
    assert_eq!(subject.commit(vec![vec![create(2), create(3), create(1)]]).await, [conflict(2)]);
    assert_eq!((record(2), record(3)), (None, None));

    // an update never brings a user back, and a removed id may be created again
    let remove = |seen| vec![Op::Remove { id: id(1), seen }];
    assert_eq!(subject.commit(vec![remove(1)]).await, [conflict(0)]);
    assert_eq!(subject.commit(vec![remove(2), vec![create(1)]]).await, [DONE, DONE]);
    assert_eq!(subject.commit(vec![update(2)]).await, [conflict(0)]);
    assert_eq!(record(1).map(|r| r.version), Some(0));

    // touch names no version, takes the maximum, and never creates a user
    let touch = |n, at| vec![Op::Touch { id: id(n), at }];
    assert_eq!(subject.commit(vec![touch(1, 150), touch(1, 120), touch(9, 150)]).await, [DONE, DONE, DONE]);
    assert_eq!((record(1).map(|r| r.last_seen), record(9)), (Some(150), None));

    // a touch before it in the same commit counts for an expire
    let expire = |n, cutoff| vec![Op::Expire { id: id(n), cutoff }];
    assert_eq!(subject.commit(vec![touch(1, 151), expire(1, 150)]).await, [DONE, conflict(0)]);
    // what was proposed on top of a set that conflicted conflicts too, even where its version fits by chance
    assert_eq!(subject.commit(vec![update(5), update(0), vec![create(7)]]).await, [conflict(0), conflict(0), DONE]);
    assert_eq!(subject.commit(vec![vec![Op::Remove { id: id(7), seen: 0 }]]).await, [DONE]);

    // expire: anonymous, and last seen at the cutoff or before
    assert_eq!(subject.commit(vec![expire(1, 150)]).await, [conflict(0)]);
    assert_eq!(subject.commit(vec![expire(1, 151), expire(1, 151)]).await, [DONE, conflict(0)]);

    // identities are unique, also within a group, and a claim of one's own holds
    assert_eq!(subject.commit(vec![vec![create(4)], vec![create(5)], vec![create(6)]]).await, [DONE; 3]);
    assert_eq!(subject.commit(vec![link(4, 0, &["a", "b"]), link(5, 0, &["b"])]).await, [DONE, conflict(0)]);
    assert_eq!(store.resolve(&key("a")), Some(id(4)));
    assert_eq!(subject.commit(vec![link(4, 1, &["a"])]).await, [DONE]);
    assert_eq!(store.resolve(&key("b")), None, "an identity that is let go is free");
    assert_eq!(subject.commit(vec![expire(4, u32::MAX)]).await, [conflict(0)], "a lasting account does not expire");
    assert_eq!(store.load(&id(4)).unwrap().extension.unwrap().identities.len(), 1);

    // freed and taken over within one group
    let gone = vec![Op::Remove { id: id(4), seen: 2 }];
    assert_eq!(subject.commit(vec![link(5, 0, &["a"]), gone, link(6, 0, &["a"])]).await, [conflict(0), DONE, DONE]);
    assert_eq!(store.resolve(&key("a")), Some(id(6)));
    let bare =
        vec![Op::Update { id: id(6), seen: 1, record: Record::new(0, SessionKind::V1), extension: Rewrite::Remove }];
    assert_eq!(subject.commit(vec![bare]).await, [DONE]);
    assert_eq!((store.resolve(&key("a")), store.load(&id(6)).unwrap().extension), (None, None));

    // a waiter that goes away cancels nothing
    let (reply, outcome) = subject.completions.register(1);
    drop(outcome);
    store.commit(vec![ChangeSet::new(Cause::Created, 1, vec![create(8)])].into(), reply);
    assert_eq!(subject.commit(vec![vec![create(8)]]).await, [conflict(0)]);
    assert_eq!(store.users(), 3);
}

#[actix_rt::test]
async fn the_embedded_store_conforms() {
    let world = World::new(1);
    let store = Arc::new(world.try_open().unwrap());
    conforms(Arc::clone(&store) as Arc<dyn Store>).await;
    let before: Vec<_> = [5, 6, 8].map(|n| store.load(&id(n))).into();
    store.stop();
    drop(store);
    let store = world.try_open().unwrap();
    assert_eq!([5, 6, 8].map(|n| store.load(&id(n))).to_vec(), before, "a restart changes nothing");
}

#[actix_rt::test]
async fn the_memory_store_conforms() {
    conforms(Arc::new(memory::open(1, ManualClock::new()).unwrap())).await;
}
