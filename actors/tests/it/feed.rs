//! The feed of committed changes: each once and in order, before it is answered, and never at the writer's expense.

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::poll_immediate;
use parking_lot::Mutex;
use passerby_actors::actor::{Ends, Joined, Limits, Proof, Push};
use passerby_actors::domain::{
    Cause, ChangeSet, CredentialChange, DeviceId, IdentityKey, MergePolicy, Note, Op, Outcome, Reason, Record, Rewrite,
    SessionKind, UserId,
};
use passerby_actors::handle::{Error, IdForm};
use passerby_actors::store::{
    self, Changed, Committed, Completions, Config, Follower, Next, Position, Reader, Store, Wakes,
};
use passerby_actors::testkit::faulty::{Faulty, Mode};
use passerby_actors::testkit::{DAY_S, ManualClock, Running, World, until};

use crate::outside::Outside;
use crate::sockets::{increment, somebody};

const PROVIDER: &str = "custom-token";

fn proof(external: &str) -> Proof {
    Proof::new(IdentityKey { provider: PROVIDER.into(), external: external.into() }, "".into())
}

fn all(store: &dyn Store) -> Follower<Committed> {
    store.feed().follow(1000, |change| Some(change.clone()))
}

async fn next<T: Debug>(follower: &mut Follower<T>) -> T {
    match follower.next().await {
        Some(Next::Change(change)) => change,
        other => panic!("{other:?}"),
    }
}

fn is(id: UserId) -> Changed {
    Changed { id, gone: false }
}

fn gone(id: UserId) -> Changed {
    Changed { id, gone: true }
}

/// What each change is about, as its readers are told.
fn told(change: &Committed) -> (Cause, Option<UserId>, Vec<Changed>) {
    (change.cause, change.user, change.changed.to_vec())
}

fn note(change: &Committed) -> Note {
    change.note.as_deref().cloned().unwrap_or_default()
}

#[actix_rt::test]
async fn each_change_is_told_once_in_order_with_its_cause_its_users_and_what_its_readers_need() {
    let world = World::new(1);
    let running = world.open();
    let (handle, linker) = (&running.handle, &running.linker);
    let mut feed = all(&*running.store);
    let opens = (SessionKind::V1, DeviceId::default());

    let user = somebody(&running).await;
    increment(&running, &user.user, Some(7)).await.unwrap();
    let linked = linker.link(user.user, user.number, proof("ada")).await.unwrap();
    let guest = somebody(&running).await;
    let merged = linker.merge(guest.user, guest.number, proof("ada"), opens, MergePolicy::default()).await.unwrap();
    let Joined::Merged(merged, _) = merged else { panic!("{merged:?}") };
    let second = linker.log_in(proof("ada"), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered).await.unwrap();
    handle.end_others(&user.user, second.number).await.unwrap();
    handle.delete(&user.user, Cause::DeletedByAdmin).await.unwrap();
    let idle = somebody(&running).await;
    world.clock.advance_s(90 * DAY_S + 61);
    assert_eq!(running.sweep().await, 1);
    let name = IdentityKey { provider: "local-userpass".into(), external: "bob".into() };
    let register =
        CredentialChange::Register { name: "bob".into(), password: "hash".into(), confirm: None, over_pending: false };
    linker.change_credential(name, register, Ends::Nothing).await.unwrap();

    let mut changes = Vec::new();
    for _ in 0..10 {
        changes.push(next(&mut feed).await);
    }
    let (id, guest, idle) = (user.user, guest.user, idle.user);
    let expected = [
        (Cause::Created, Some(id), vec![is(id)]),
        (Cause::Edited, Some(id), vec![]),
        (Cause::Linked, Some(id), vec![is(id)]),
        (Cause::Created, Some(guest), vec![is(guest)]),
        (Cause::MergedInto, Some(guest), vec![is(id), gone(guest)]),
        (Cause::SessionOpened, Some(id), vec![is(id)]),
        (Cause::SessionEnded, Some(id), vec![is(id)]),
        (Cause::DeletedByAdmin, Some(id), vec![gone(id)]),
        (Cause::Created, Some(idle), vec![is(idle)]),
        (Cause::Expired, Some(idle), vec![gone(idle)]),
    ];
    assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), expected);
    let registered = next(&mut feed).await;
    assert_eq!(told(&registered), (Cause::Registered, None, vec![]), "a name without a user");
    assert_eq!(note(&registered).provider.as_deref(), Some("local-userpass"));

    let edit = note(&changes[1]).edit.unwrap();
    assert_eq!((edit.delta.seen, edit.origin), (0, Some(7)));
    let (link, merge) = (note(&changes[2]), note(&changes[4]));
    let continued = link.continued.unwrap();
    assert_eq!((link.provider.as_deref(), continued.old), (Some(PROVIDER), user.number));
    assert_eq!(continued.new, linked.number);
    assert_eq!((merge.provider.as_deref(), merge.into), (Some(PROVIDER), Some(id)));
    assert_eq!(note(&changes[5]).provider.as_deref(), Some(PROVIDER));
    assert_eq!(note(&changes[6]).reason, Some(Reason::OtherSession));
    assert_eq!(merged.user, id);

    assert!(changes.is_sorted_by(|one, next| one.position < next.position && one.service <= next.service));
    let (first, last) = (&changes[0], &changes[9]);
    assert!(last.service >= first.service + 90 * 86_400 && last.wall_ms > first.wall_ms, "{first:?} {last:?}");

    // positions go on after a restart
    let before = registered.position;
    let store = Arc::clone(&running.store);
    running.close();
    assert_eq!(feed.next().await, None, "no change follows");
    assert_eq!(all(&*store).next().await, None, "nor for one that comes later");
    drop(store);
    let running = world.open();
    let mut feed = all(&*running.store);
    somebody(&running).await;
    assert!(next(&mut feed).await.position > before);
}

/// Whom the feed told of.
#[derive(Default)]
struct Heard(Mutex<Vec<(Position, Option<UserId>)>>);

impl Reader for Heard {
    fn take(&self, changes: &[Committed], _: &mut Wakes) {
        self.0.lock().extend(changes.iter().map(|change| (change.position, change.user)));
    }
}

/// Holds for every store: the positions of `sets` sets that are committed, and of none that conflicts.
async fn tells_before_it_answers(store: Arc<dyn Store>) {
    let completions = Rc::<Completions>::default();
    actix_rt::spawn(Rc::clone(&completions).run(drop));
    let heard = Arc::new(Heard::default());
    let reader: Weak<Heard> = Arc::downgrade(&heard);
    store.feed().add(reader);
    let create = |n: u8| {
        let op =
            Op::Create { id: UserId::from_bytes([n; 16]), record: Record::new(1, SessionKind::V1), extension: None };
        ChangeSet::new(Cause::Created, 1, vec![op])
    };
    for n in 0..50 {
        let (reply, outcomes) = completions.register(3);
        // the third conflicts, and is not told
        store.commit([create(2 * n), create(2 * n + 1), create(2 * n)].into_iter().collect(), reply);
        outcomes.await;
        let told = heard.0.lock().len();
        assert_eq!(told, 2 * usize::from(n) + 2, "told when it is answered");
    }
    let heard = std::mem::take(&mut *heard.0.lock());
    assert!(heard.is_sorted_by(|one, next| one.0 < next.0), "{heard:?}");
    let users = (0..100).map(|n| Some(UserId::from_bytes([n; 16])));
    assert!(heard.iter().map(|(_, user)| *user).eq(users), "each once, in order");
}

#[actix_rt::test]
async fn every_store_tells_each_committed_change_once_in_order_before_it_answers() {
    let world = World::new(1);
    tells_before_it_answers(world.try_open().unwrap()).await;
    tells_before_it_answers(store::open(Config::Memory { max_users: 1 }, ManualClock::new()).unwrap()).await;
    tells_before_it_answers(Outside::open(ManualClock::new())).await;
}

/// A reader that holds the writer while it is told: what none may do.
#[derive(Default)]
struct Holding {
    is_told: AtomicBool,
    lets_go: AtomicBool,
}

impl Reader for Holding {
    fn take(&self, _: &[Committed], _: &mut Wakes) {
        self.is_told.store(true, Ordering::SeqCst);
        while !self.lets_go.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }
}

#[actix_rt::test]
async fn no_one_is_answered_while_a_reader_is_being_told() {
    let world = World::new(1);
    let store = world.try_open().unwrap();
    let reader = Arc::new(Holding::default());
    let weak: Weak<Holding> = Arc::downgrade(&reader);
    store.feed().add(weak);
    let completions = Rc::<Completions>::default();
    let (reply, mut outcomes) = completions.register(1);
    let op = Op::Create { id: UserId::from_bytes([1; 16]), record: Record::new(1, SessionKind::V1), extension: None };
    store.commit([ChangeSet::new(Cause::Created, 1, vec![op])].into_iter().collect(), reply);
    until("the reader is told", || reader.is_told.load(Ordering::SeqCst)).await;
    let is_there = store.record(&UserId::from_bytes([1; 16])).is_some();
    // the first look takes all that was delivered so far
    actix_rt::spawn(Rc::clone(&completions).run(drop));
    tokio::task::yield_now().await;
    let answered = poll_immediate(&mut outcomes).await;
    reader.lets_go.store(true, Ordering::SeqCst);
    assert!(is_there, "it is applied before it is told");
    assert_eq!(answered, None);
    assert_eq!(outcomes.await.to_vec(), [Outcome::Done]);
}

#[actix_rt::test]
async fn a_change_whose_waiter_gave_up_is_told_when_it_is_durable_and_one_that_failed_is_not() {
    let disk = Faulty::new();
    let mut world = World::new(1);
    world.files = disk.clone();
    world.limits = Limits { commit_timeout: Duration::from_millis(1), ..world.limits };
    let running = world.open();
    let mut feed = all(&*running.store);
    disk.let_pass(Some(0));
    let given_up = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await;
    assert_eq!(given_up, Err(Error::OutcomeUnknown));
    disk.let_pass(None);
    let change = next(&mut feed).await;
    assert_eq!(change.cause, Cause::Created);
    assert!(running.knows(&change.user.unwrap()), "it is there");

    disk.set(Mode::SyncsFail);
    let failed = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await;
    assert_eq!(failed, Err(Error::OutcomeUnknown));
    running.close();
    assert_eq!(feed.next().await, None, "nothing else was told");
}

#[actix_rt::test]
async fn a_follower_that_falls_behind_is_told_where_it_goes_on_and_holds_no_one_up() {
    let world = World::new(1);
    let running = world.open();
    let mut slow = running
        .store
        .feed()
        .follow(4, |change| (change.cause == Cause::Created).then_some((change.position, change.user)));
    let mut reads_all = all(&*running.store);
    let mut positions = Vec::new();
    for _ in 0..20 {
        let user = somebody(&running).await;
        let created = next(&mut reads_all).await;
        positions.push(created.position);
        // of no concern to the slow one
        running.handle.logout(&user.user, user.number).await.unwrap();
        assert_eq!(next(&mut reads_all).await.cause, Cause::LoggedOut);
    }
    assert_eq!(slow.next().await, Some(Next::Dropped { changes: 16, resume: positions[16] }));
    for position in &positions[16..] {
        assert_eq!(next(&mut slow).await.0, *position);
    }
    let user = somebody(&running).await;
    assert_eq!(next(&mut slow).await.1, Some(user.user), "and it goes on");
}

#[actix_rt::test]
async fn a_follower_that_is_dropped_is_told_nothing_more() {
    let world = World::new(1);
    let running = world.open();
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let follower = running.store.feed().follow(4, move |_| {
        *count.lock() += 1;
        Some(())
    });
    somebody(&running).await;
    drop(follower);
    somebody(&running).await;
    until("its filter is let go", || Arc::strong_count(&asked) == 1).await;
    assert_eq!(*asked.lock(), 1);
}

#[actix_rt::test]
async fn two_cores_over_one_store_are_told_alike_and_at_once() {
    let world = World::new(1);
    let store = world.try_open().unwrap();
    let running: [Running; 2] = [world.run(Arc::clone(&store)), world.run(store)];
    let user = somebody(&running[0]).await;
    let mut sockets = Vec::new();
    for core in &running {
        sockets.push(core.handle.attach(&user.user, user.number, None).await.unwrap());
    }
    let origin = Some(sockets[0].socket);
    increment(&running[0], &user.user, origin).await.unwrap();
    let told = sockets[1].inbox.next().await.unwrap();
    assert!(matches!(&*told, Push::Changed(delta) if delta.seen == 0), "{told:?}");
    running[0].handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
    for socket in &mut sockets {
        assert_eq!(*socket.inbox.next().await.unwrap(), Push::Ended(Cause::DeletedByUser));
    }
}

#[actix_rt::test]
async fn why_sessions_ended_is_told() {
    let world = World::new(1);
    let running = world.open();
    let (handle, linker) = (&running.handle, &running.linker);
    let user = somebody(&running).await;
    linker.link(user.user, user.number, proof("ada")).await.unwrap();
    let open = async || handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
    let mut feed =
        running.store.feed().follow(100, |change| (change.cause == Cause::SessionEnded).then(|| note(change).reason));
    let [first, second] = [open().await, open().await];
    handle.end_session(&user.user, first.number).await.unwrap();
    handle.end_others(&user.user, second.number).await.unwrap();
    handle.end_all(&user.user).await.unwrap();
    for reason in [Reason::Administrator, Reason::OtherSession, Reason::EndedAll] {
        assert_eq!(next(&mut feed).await, Some(reason));
    }
}

/// The change before a link is told when the link has been applied already: the session that it shows no more goes on.
#[actix_rt::test]
async fn a_socket_whose_session_goes_on_is_not_ended_by_what_came_before() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let mut socket = running.handle.attach(&user.user, user.number, None).await.unwrap();
    let completions = Rc::<Completions>::default();
    actix_rt::spawn(Rc::clone(&completions).run(drop));
    let record = running.store.record(&user.user).unwrap();
    let update = Op::Update { id: user.user, seen: record.version, record, extension: Rewrite::Keep };
    let (reply, outcomes) = completions.register(1);
    running.store.commit([ChangeSet::new(Cause::Refreshed, 1, vec![update])].into_iter().collect(), reply);
    let mut linking = std::pin::pin!(running.linker.link(user.user, user.number, proof("ada")));
    assert!(poll_immediate(&mut linking).await.is_none());
    // the actor is on this thread, and hears of neither before both are done
    while running.store.record(&user.user).unwrap().is_anonymous() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let linked = linking.await.unwrap();
    assert_eq!(outcomes.await.to_vec(), [Outcome::Done]);
    assert_eq!(*socket.inbox.next().await.unwrap(), Push::Linked { session: linked.number });
}
