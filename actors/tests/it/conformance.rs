//! What any store must do, run on each store there is.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use passerby_actors::domain::{
    Alias, Cause, Change, ChangeSet, Credential, Document, Edit, Expected, Extension, Family, Flags, Identity,
    IdentityKey, Meters, Op, Outcome, Record, Rewrite, SessionKind, Touched, UserId, ValueKey,
};
use passerby_actors::store::{self, Completions, Config, Health, Store};
use passerby_actors::testkit::{self, ManualClock, World};

use crate::outside::Outside;

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

    values(&subject).await;
    what_hangs_on_a_user(&subject).await;
    activity(&subject).await;
    pages(&subject).await;
}

/// A document after this edit, and the difference.
fn edited(document: &Document, json: &str) -> (Document, Arc<[u8]>) {
    let change = Change::Put(serde_json::from_str(json).unwrap());
    let edit = Edit { change, expected: Expected::Anything, operation: None, origin: None, may_grow: true };
    let (next, edited) = document.edited(&edit, 1, 1000).unwrap();
    (next.unwrap(), edited.delta.unwrap().encode().into())
}

/// A value changes if it is what its proposer saw; documents, by a difference, too.
async fn values(subject: &Subject) {
    let (store, key) = (&subject.store, ValueKey::document(&id(5)));
    let (one, _) = edited(&Document::default(), r#"{"a":1}"#);
    let (two, _) = edited(&one, r#"{"a":1,"b":[2]}"#);
    let (three, delta) = edited(&two, r#"{"a":1,"b":[2],"c":3}"#);
    let [one, two, three] = [one, two, three].map(|document| Arc::<[u8]>::from(document.encode()));
    let value = |seen: Option<&Arc<[u8]>>, change| vec![Op::Value { key: key.clone(), seen: seen.cloned(), change }];
    let put = |value: &Arc<[u8]>| Rewrite::Put(value[..].into());
    let is = |value: &Arc<[u8]>| {
        assert_eq!(store.value(&key).as_ref(), Some(value));
        assert_eq!((store.document_bytes(), store.keys(Family::DOCUMENT)), (value.len(), 1));
    };
    assert_eq!(subject.commit(vec![value(Some(&two), put(&one))]).await, [conflict(0)]);
    assert_eq!(subject.commit(vec![value(None, put(&one)), value(None, put(&two))]).await, [DONE, conflict(0)]);
    is(&one);
    // what is seen is what an earlier set of the group has put; and a set that fails later leaves nothing of it
    let mut fails = value(Some(&two), put(&three));
    fails.push(create(5));
    assert_eq!(subject.commit(vec![value(Some(&one), put(&two)), fails]).await, [DONE, conflict(1)]);
    is(&two);
    let edit = || Rewrite::Edit { delta: Arc::clone(&delta), next: Arc::clone(&three) };
    assert_eq!(subject.commit(vec![value(None, edit())]).await, [conflict(0)]);
    assert_eq!(subject.commit(vec![value(Some(&two), edit())]).await, [DONE]);
    is(&three);
    // to keep it is to demand it
    assert_eq!(subject.commit(vec![value(Some(&two), Rewrite::Keep)]).await, [conflict(0)]);
    assert_eq!(subject.commit(vec![value(Some(&three), Rewrite::Keep)]).await, [DONE]);
    assert_eq!(store.load(&id(5)).unwrap().document, Some(Arc::clone(&three)), "and is loaded with its user");
    assert_eq!(subject.commit(vec![value(Some(&three), Rewrite::Remove)]).await, [DONE]);
    assert_eq!((store.value(&key), store.document_bytes(), store.keys(Family::DOCUMENT)), (None, 0, 0));
}

/// With a user goes what hangs on it, and with an identity its credential. The data of a merged id are found by its alias.
async fn what_hangs_on_a_user(subject: &Subject) {
    let store = &subject.store;
    assert_eq!(subject.commit(vec![vec![create(20)], vec![create(21)]]).await, [DONE; 2]);
    let credential = ValueKey::credential(&key("c"));
    let name = |name: &str| Credential {
        name: name.into(),
        password: "hash".into(),
        registered: 1,
        confirmed: true,
        confirm: Vec::new(),
        reset: None,
    };
    let put = |key: ValueKey, bytes: Box<[u8]>| vec![Op::Value { key, seen: None, change: Rewrite::Put(bytes) }];
    let of_user = [
        link(20, 0, &["c"]),
        put(ValueKey::meters(&id(20)), Meters::default().encode()),
        put(ValueKey::document(&id(20)), edited(&Document::default(), "{}").0.encode()),
        put(credential.clone(), name("c").encode()),
    ];
    assert_eq!(subject.commit(of_user.into()).await, [DONE; 4]);
    let unclaimed = |name| vec![Op::Unclaimed { identity: key(name) }];
    assert_eq!(subject.commit(vec![unclaimed("c"), unclaimed("nobody's")]).await, [conflict(0), DONE]);
    let demand = |n| vec![Op::Demand { id: id(n) }];
    assert_eq!(subject.commit(vec![demand(20), demand(22)]).await, [DONE, conflict(0)]);

    let aliases = vec![Alias { id: id(21), merged: 1 }];
    let identities = vec![Identity { key: key("c"), linked: 1, data: "".into() }];
    let extension = Rewrite::Put(Extension { identities, aliases, ..Extension::default() }.encode());
    let record = store.record(&id(20)).unwrap();
    let update = Op::Update { id: id(20), seen: record.version, record, extension };
    assert_eq!(subject.commit(vec![vec![update, Op::Remove { id: id(21), seen: 0 }]]).await, [DONE]);
    assert_eq!((store.survivor(&id(21)), store.survivor(&id(20))), (Some(id(20)), None));
    assert_eq!((store.identities(), store.aliases(), store.keys(Family::EXTENSION)), (1, 1, 1));
    assert!(store.value(&credential).is_some(), "an identity that is kept keeps its credential");

    let seen = store.record(&id(20)).unwrap().version;
    assert_eq!(subject.commit(vec![vec![Op::Remove { id: id(20), seen }]]).await, [DONE]);
    let [meters, document] = ValueKey::of_user(&id(20)).map(|key| store.value(&key));
    assert_eq!((meters, document, store.value(&credential), store.extension(&id(20))), (None, None, None, None));
    assert_eq!((store.survivor(&id(21)), store.resolve(&key("c"))), (None, None));
    assert_eq!((store.identities(), store.aliases(), store.keys(Family::EXTENSION)), (0, 0, 0));

    // the id of a reader who was created lazily is remembered, and cannot be created again where that is demanded
    let lazily = Op::Create { id: id(23), record: Record::created_lazily(1), extension: None };
    let ended = ValueKey::ended_lazy(&id(23));
    assert_eq!(subject.commit(vec![vec![lazily], vec![Op::Remove { id: id(23), seen: 0 }]]).await, [DONE; 2]);
    assert!(store.value(&ended).is_some() && store.keys(Family::ENDED_LAZY) == 1);
    let demanded = Op::Value { key: ended, seen: None, change: Rewrite::Keep };
    assert_eq!(subject.commit(vec![vec![demanded, create(23)]]).await, [conflict(0)]);
}

/// A touch raises what all readers see, up to the deadline and no more often than is asked for; it revives no one.
async fn activity(subject: &Subject) {
    let (store, window_s) = (&subject.store, 1000);
    let now = store.clock().now();
    let with_last_seen =
        |n, last_seen| vec![Op::Create { id: id(n), record: Record::new(last_seen, SessionKind::V1), extension: None }];
    let sets = vec![with_last_seen(30, now - 10), with_last_seen(31, now - window_s)];
    assert_eq!(subject.commit(sets).await, [DONE; 2]);
    assert_eq!(store.touch(&id(30), window_s, 11), Touched::Recent);
    assert_eq!(store.touch(&id(30), window_s, 10), Touched::Raised(now));
    assert_eq!(store.record(&id(30)).unwrap().last_seen, now);
    assert_eq!(store.touch(&id(30), window_s, 10), Touched::Recent);
    assert_eq!(store.touch(&id(31), window_s, 10), Touched::Gone, "the deadline itself is too late");
    assert_eq!(store.touch(&id(32), window_s, 10), Touched::Gone);
    assert_eq!(store.record(&id(32)), None);
    // an update that was proposed before the touch keeps it
    let record = Record::new(1, SessionKind::V1);
    let update = Op::Update { id: id(30), seen: 0, record, extension: Rewrite::Keep };
    assert_eq!(subject.commit(vec![vec![update]]).await, [DONE]);
    assert_eq!(store.record(&id(30)).unwrap().last_seen, now);
    // one who was never used is given up, one who was is not
    let give_up = |n, made| vec![Op::GiveUp { id: id(n), made }];
    assert_eq!(subject.commit(vec![give_up(31, 1)]).await, [conflict(0)]);
    assert_eq!(subject.commit(vec![give_up(31, now - window_s)]).await, [DONE]);
}

/// Over all pages, each user and each value is seen once, as it is.
async fn pages(subject: &Subject) {
    let store = &subject.store;
    let many: Vec<_> = (100..200).map(|n| vec![create(n)]).collect();
    assert!(subject.commit(many).await.iter().all(|outcome| *outcome == DONE));
    let value = |n| {
        vec![Op::Value { key: ValueKey::meters(&id(n)), seen: None, change: Rewrite::Put(Meters::default().encode()) }]
    };
    assert!(subject.commit((100..200).map(value).collect()).await.iter().all(|outcome| *outcome == DONE));
    let (mut users, mut values) = (Vec::new(), Vec::new());
    for page in 0..store.pages() {
        store.see_users(page, &mut |id, record| users.push((*id, *record)));
        store.see_values(page, &mut |key, value| values.push((key.clone(), Arc::clone(value))));
    }
    assert_eq!((users.len(), values.len()), (store.users(), testkit::values(&**store)));
    let ids: HashSet<_> = users.iter().map(|(id, _)| *id).collect();
    let keys: HashSet<_> = values.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!((ids.len(), keys.len()), (users.len(), values.len()), "each once");
    assert!((100..200).all(|n| ids.contains(&id(n)) && keys.contains(&ValueKey::meters(&id(n)))));
    assert!(users.iter().all(|(id, record)| store.record(id) == Some(*record)));
    assert!(values.iter().all(|(key, value)| store.value(key).as_ref() == Some(value)));
}

/// What was proposed before the end is decided and answered. After it nothing is: the outcome is unknown to its proposer, and
/// nobody who reads takes that for an end of anyone.
async fn ends_in_order(store: Arc<dyn Store>) {
    let subject = Subject::new(Arc::clone(&store));
    assert_eq!(store.health(), Health::Writable);
    let before: Vec<_> = (60..80)
        .map(|n| {
            let (reply, outcome) = subject.completions.register(1);
            store.commit(vec![ChangeSet::new(Cause::Created, 1, vec![create(n)])].into(), reply);
            outcome
        })
        .collect();
    store.stop();
    for outcome in before {
        assert_eq!(outcome.await.into_vec(), [DONE]);
    }
    assert_eq!((store.health(), store.waiting()), (Health::Stopped, 0));
    assert_eq!(subject.commit(vec![vec![create(80)], vec![create(81)]]).await, [Outcome::Failed; 2]);
    assert!(store.record(&id(60)).is_some() && store.record(&id(80)).is_none(), "reads go on");
    store.stop();
}

#[actix_rt::test]
async fn the_embedded_store_conforms() {
    let world = World::new(1);
    let store = world.try_open().unwrap();
    conforms(Arc::clone(&store)).await;
    let before: Vec<_> = [5, 6, 8, 30, 31].map(|n| store.load(&id(n))).into();
    ends_in_order(store).await;
    let store = world.try_open().unwrap();
    assert_eq!([5, 6, 8, 30, 31].map(|n| store.load(&id(n))).to_vec(), before, "a restart changes nothing");
    assert!((60..80).all(|n| store.record(&id(n)).is_some()) && store.record(&id(80)).is_none());
}

#[actix_rt::test]
async fn the_memory_store_conforms() {
    let store = store::open(Config::Memory { max_users: 1 }, ManualClock::new()).unwrap();
    conforms(Arc::clone(&store)).await;
    ends_in_order(store).await;
}

#[actix_rt::test]
async fn a_store_from_outside_conforms() {
    let store = Outside::open(ManualClock::new());
    conforms(Arc::clone(&store)).await;
    ends_in_order(store).await;
}
