//! Sockets of a live user: each hears of every change once and in order, and a merge does the same whatever is written meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all, join3};
use parking_lot::Mutex;
use passerby_actors::actor::{Joined, MOST_SOCKETS, Missed, OUTBOX, Proof, Push};
use passerby_actors::domain::{
    Cause, Change, DeviceId, Document, DocumentRefusal, Edit, Edited, Expected, IdentityKey, KeyRule, MergePolicy,
    Operation, Patch, Refusal, SessionKind, Shape, UserId,
};
use passerby_actors::handle::{Attachment, Error, IdForm, LoggedIn};

use passerby_actors::testkit::{Random, Running, World, until};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) async fn somebody(running: &Running) -> LoggedIn {
    running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap()
}

fn proof(external: &str) -> Proof {
    Proof::new(IdentityKey { provider: "custom-token".into(), external: external.into() }, "".into())
}

pub(crate) async fn increment(running: &Running, user: &UserId, origin: Option<u64>) -> Result<Edited, Error> {
    let change = Change::Increment { path: "/n".to_owned(), by: 1.into() };
    running.handle.edit(user, change, Expected::Anything, None, origin).await
}

pub(crate) async fn put(running: &Running, user: &UserId, json: &str) {
    let change = Change::Put(serde_json::from_str(json).unwrap());
    running.handle.edit(user, change, Expected::Anything, None, None).await.unwrap();
}

pub(crate) fn json(running: &Running, user: &UserId) -> Option<String> {
    let stored = running.handle.document(user)?;
    Document::view(&stored).unwrap().json.map(str::to_owned)
}

fn version(push: &Push) -> u64 {
    match push {
        Push::Changed(delta) => delta.seen + 1,
        Push::Whole { version, .. } => *version,
        other => panic!("{other:?}"),
    }
}

/// Everything that was told so far.
fn told(attachment: &mut Attachment) -> Vec<Arc<Push>> {
    std::iter::from_fn(|| attachment.inbox.try_next()).collect()
}

#[actix_rt::test]
async fn every_socket_hears_of_each_change_once_in_order_and_its_origin_does_not() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let attach = || running.handle.attach(&user.user, user.number, None);
    let mut sockets: Vec<Attachment> =
        join_all((0..5).map(|_| attach())).await.into_iter().map(Result::unwrap).collect();
    let origins: Vec<Option<u64>> = sockets.iter().map(|socket| Some(socket.socket)).chain([None]).collect();
    let writes = (0..300).map(|n| (n, origins[n % origins.len()]));
    let mut own = vec![Vec::new(); origins.len()];
    for (n, edited) in
        join_all(writes.map(async |(n, origin)| (n, increment(&running, &user.user, origin).await))).await
    {
        match edited {
            Ok(edited) => own[n % origins.len()].push(edited.version),
            Err(error) => assert_eq!(error, Error::TooMany),
        }
    }
    let all: u64 = own.iter().map(|own| own.len() as u64).sum();
    assert!(all >= 128, "as many as may wait: {all}");
    for (socket, own) in sockets.iter_mut().zip(&own) {
        let heard: Vec<u64> = told(socket).iter().map(|push| version(push)).collect();
        assert!(heard.is_sorted());
        let mut versions = [&heard[..], &own[..]].concat();
        versions.sort_unstable();
        assert_eq!(versions, (1..=all).collect::<Vec<_>>());
    }
    assert_eq!(json(&running, &user.user), Some(format!(r#"{{"n":{all}}}"#)));
}

/// Others on the thread have their turn while many changes of one user's large document are refused, which costs no commit to wait
/// for.
#[actix_rt::test]
async fn changes_that_are_refused_let_others_have_their_turn() {
    let mut world = World::new(1);
    world.policy.document_bytes = 256 * 1024;
    let (decided, refusing) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let (log, bell) = (Arc::clone(&decided), Arc::clone(&refusing));
    world.before_operation = Some(Arc::new(move |user, operation| {
        if matches!(operation, Operation::Edit(edit) if edit.expected == Expected::version(99)) {
            bell.notify_one();
        }
        log.lock().push(*user);
    }));
    let running = world.open();
    let (one, other) = (somebody(&running).await, somebody(&running).await);
    let large = |text: &str| format!(r#"{{"text":"{}"}}"#, text.repeat(140 * 1024));
    put(&running, &one.user, &large("x")).await;
    // it has an actor already
    put(&running, &other.user, "{}").await;
    decided.lock().clear();
    let again = large("y");
    // the first is on its way to the disk while the others come
    let first = put(&running, &one.user, &again);
    let refused = (0..100).map(async |_| {
        let change = Change::Put(serde_json::Map::new());
        running.handle.edit(&one.user, change, Expected::version(99), None, None).await
    });
    let others = async {
        refusing.notified().await;
        put(&running, &other.user, "{}").await;
    };
    let (_, refused, ()) = join3(first, join_all(refused), others).await;
    assert!(
        refused.iter().all(|refused| *refused == Err(Error::Refused(Refusal::Document(DocumentRefusal::Version(2)))))
    );
    let decided = decided.lock();
    assert_eq!(decided.len(), 102);
    let turn = decided.iter().position(|user| *user == other.user).unwrap();
    assert!(turn < 100, "it was decided after {turn} of 101 others");
}

#[actix_rt::test]
async fn who_comes_back_is_told_what_it_missed_as_far_as_that_is_kept() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let attach = async |since| running.handle.attach(&user.user, user.number, since).await.unwrap().hello;
    // the user stays live
    let kept = running.handle.attach(&user.user, user.number, None).await.unwrap();
    assert_eq!((kept.hello.version, &kept.hello.missed), (0, &Missed::Whole(None)));
    for _ in 0..70 {
        increment(&running, &user.user, None).await.unwrap();
    }
    let changes = |missed: Missed| match missed {
        Missed::Changes(changes) => changes.iter().map(|delta| delta.seen).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(attach(Some(70)).await.missed, Missed::Nothing);
    assert_eq!(changes(attach(Some(67)).await.missed), [67, 68, 69]);
    assert_eq!(changes(attach(Some(6)).await.missed).len(), 64);
    for unknown in [None, Some(5), Some(0), Some(71), Some(u64::MAX)] {
        assert_eq!(attach(unknown).await.missed, Missed::Whole(Some(r#"{"n":70}"#.into())), "{unknown:?}");
    }
    let large = format!(r#"{{"n":0,"text":"{}"}}"#, "x".repeat(15_000));
    for _ in 0..5 {
        put(&running, &user.user, &large).await;
        put(&running, &user.user, "{}").await;
    }
    assert!(changes(attach(Some(79)).await.missed).len() == 1, "64 KiB are kept");
    assert!(matches!(attach(Some(70)).await.missed, Missed::Whole(_)), "and no more");
}

#[actix_rt::test]
async fn who_does_not_listen_is_cut_off_and_nobody_else_notices() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let attach = || running.handle.attach(&user.user, user.number, None);
    let (mut deaf, mut listening) = (attach().await.unwrap(), attach().await.unwrap());
    let mut heard = 0;
    for _ in 0..=OUTBOX {
        increment(&running, &user.user, None).await.unwrap();
        heard += told(&mut listening).len();
    }
    assert_eq!(heard, OUTBOX + 1);
    assert!(deaf.inbox.overflowed() && !listening.inbox.overflowed());
    assert_eq!(told(&mut deaf).len(), OUTBOX);
    assert_eq!(deaf.inbox.next().await, None);
}

/// A queue of few large frames is as full as one of many small ones.
#[actix_rt::test]
async fn what_waits_for_a_socket_is_bounded_in_bytes() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let mut deaf = running.handle.attach(&user.user, user.number, None).await.unwrap();
    let large = |n: u32| format!(r#"{{"{n}":"{}"}}"#, "x".repeat(15_000));
    for n in 0..16 {
        put(&running, &user.user, &large(n)).await;
    }
    assert_eq!((deaf.inbox.overflowed(), told(&mut deaf).len()), (false, 16));
    for n in 0..20 {
        put(&running, &user.user, &large(n)).await;
    }
    assert_eq!((deaf.inbox.overflowed(), told(&mut deaf).len()), (true, 17));
    assert_eq!(deaf.inbox.next().await, None);
}

/// Sockets that come while changes are on their way, and sessions that open at the same time.
#[actix_rt::test]
async fn nobody_hears_of_a_change_twice_or_of_its_own_whoever_comes_meanwhile() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let mut mine = running.handle.attach(&user.user, user.number, None).await.unwrap();
    for round in 1..=50 {
        let edits = join_all((0..5).map(|_| increment(&running, &user.user, Some(mine.socket))));
        let opens = running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None);
        let comes = running.handle.attach(&user.user, user.number, None);
        let (edits, (opened, came)) = join(edits, join(opens, comes)).await;
        assert!(edits.iter().all(Result::is_ok) && opened.is_ok());
        assert_eq!(told(&mut mine), [], "round {round}");
        let mut came = came.unwrap();
        let known = told(&mut came).iter().fold(came.hello.version, |known, push| {
            assert!(matches!(**push, Push::Changed(_)), "{push:?}");
            assert_eq!(version(push), known + 1, "round {round}");
            known + 1
        });
        assert_eq!(known, 5 * round, "round {round}");
        running.handle.end_others(&user.user, user.number).await.unwrap();
    }
}

#[actix_rt::test]
async fn only_so_many_sockets_and_none_of_a_session_that_is_over() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let attach = |number| running.handle.attach(&user.user, number, None);
    let mut sockets = Vec::new();
    for _ in 0..MOST_SOCKETS {
        sockets.push(attach(user.number).await.unwrap());
    }
    assert_eq!(attach(user.number).await.err(), Some(Error::TooManySockets));
    sockets.pop();
    assert!(attach(user.number).await.is_ok(), "one that is gone makes room");
    assert_eq!(attach(7).await.err(), Some(Error::Refused(Refusal::SessionEnded)));
    running.handle.disable(&user.user).await.unwrap();
    assert_eq!(attach(user.number).await.err(), Some(Error::Refused(Refusal::Disabled)));
    for socket in &mut sockets {
        assert_eq!(socket.inbox.next().await.as_deref(), Some(&Push::Ended(Cause::Disabled)));
        assert_eq!(socket.inbox.next().await, None);
    }
    assert_eq!(attach(7).await.err(), Some(Error::Refused(Refusal::Disabled)));
}

#[actix_rt::test]
async fn an_open_socket_keeps_its_user_live_and_a_closed_one_does_not() {
    let mut world = World::new(1);
    world.limits.idle_ms = 1000;
    let running = world.open();
    let user = somebody(&running).await;
    let socket = running.handle.attach(&user.user, user.number, None).await.unwrap();
    let other = somebody(&running).await;
    increment(&running, &other.user, None).await.unwrap();
    world.clock.advance_s(10);
    until("who has no socket rests", || running.core.live_users() == 1).await;
    drop(socket);
    world.clock.advance_s(10);
    until("who had one rests too", || running.core.live_users() == 0).await;
    running.handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
    assert_eq!(running.handle.attach(&user.user, user.number, None).await.err(), Some(Error::Refused(Refusal::Gone)));
    assert_eq!(running.core.live_users(), 0);
}

#[actix_rt::test]
async fn a_death_of_the_actor_ends_its_sockets_and_they_can_come_back() {
    let mut world = World::new(1);
    let deadly = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&deadly);
    world.before_operation = Some(Arc::new(move |_, _| assert!(!armed.swap(false, Ordering::SeqCst), "injected")));
    let running = world.open();
    let user = somebody(&running).await;
    increment(&running, &user.user, None).await.unwrap();
    let mut socket = running.handle.attach(&user.user, user.number, None).await.unwrap();
    deadly.store(true, Ordering::SeqCst);
    assert_eq!(increment(&running, &user.user, None).await, Err(Error::OutcomeUnknown));
    assert_eq!(socket.inbox.next().await, None);
    assert!(!socket.inbox.overflowed());
    drop(socket);
    let back = running.handle.attach(&user.user, user.number, Some(1)).await.unwrap();
    assert_eq!((back.hello.version, back.hello.missed), (1, Missed::Nothing));
}

/// A link: the session that asked goes on, under whatever number; all others end with their sockets.
#[actix_rt::test]
async fn after_a_link_the_session_that_linked_goes_on_and_others_end() {
    let world = World::new(1);
    let running = world.open();
    let linker = Arc::clone(&running.linker);
    let user = somebody(&running).await;
    let other = running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
    let mut mine = running.handle.attach(&user.user, user.number, None).await.unwrap();
    let mut others = running.handle.attach(&user.user, other.number, None).await.unwrap();
    let linked = linker.link(user.user, user.number, proof("a")).await.unwrap();
    assert_eq!(mine.inbox.next().await.as_deref(), Some(&Push::Linked { session: linked.number }));
    assert_eq!(others.inbox.next().await.as_deref(), Some(&Push::Ended(Cause::Linked)));
    assert_eq!(others.inbox.next().await, None);
    increment(&running, &user.user, None).await.unwrap();
    assert_eq!(mine.inbox.next().await.map(|push| version(&push)), Some(1), "it goes on");
    running.handle.logout(&user.user, linked.number).await.unwrap();
    assert_eq!(mine.inbox.next().await.as_deref(), Some(&Push::Ended(Cause::LoggedOut)));
}

/// Both sides of a merge are told, and whatever was written and acknowledged before, during or after it counts once.
#[actix_rt::test]
async fn a_merge_is_told_to_both_and_loses_nothing_that_is_written_meanwhile() {
    for round in 0..30 {
        let world = World::new(round);
        let running = world.open();
        let linker = Arc::clone(&running.linker);
        let account = somebody(&running).await;
        let account = linker.link(account.user, account.number, proof("a")).await.unwrap();
        let source = somebody(&running).await;
        put(&running, &account.user, r#"{"n":10}"#).await;
        put(&running, &source.user, r#"{"n":100}"#).await;
        let mut of_source = running.handle.attach(&source.user, source.number, None).await.unwrap();
        let mut of_account = running.handle.attach(&account.user, account.number, None).await.unwrap();
        let write = async |user: UserId| {
            let written = join_all((0..20).map(|_| increment(&running, &user, None))).await;
            written.into_iter().filter(|edited| edited.is_ok()).count()
        };
        let merge = async || {
            let policy = MergePolicy { document: KeyRule::Sum, ..MergePolicy::default() };
            let opens = (SessionKind::V1, DeviceId::default());
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            loop {
                match linker.merge(source.user, source.number, proof("a"), opens, policy.clone()).await {
                    Err(Error::Busy) => {}
                    other => return other,
                }
            }
        };
        let (written, joined) = join(join(write(source.user), write(account.user)), merge()).await;
        assert!(matches!(joined, Ok(Joined::Merged(..))), "{joined:?}");
        let sum = 110 + written.0 + written.1;
        assert_eq!(json(&running, &account.user), Some(format!(r#"{{"n":{sum}}}"#)), "round {round}");
        assert_eq!(json(&running, &source.user), None);

        let merged = Push::Merged { survivor: account.user, merged: source.user };
        let end = |pushes: &[Arc<Push>]| pushes.iter().rev().take(2).map(|push| (**push).clone()).collect::<Vec<_>>();
        let mut heard = Vec::new();
        while let Some(push) = of_source.inbox.next().await {
            heard.push(push);
        }
        assert_eq!(end(&heard), [Push::Ended(Cause::MergedInto), merged.clone()]);
        // a request made now is told of all that came before
        increment(&running, &account.user, None).await.unwrap();
        let heard = told(&mut of_account);
        assert!(heard.iter().any(|push| **push == merged), "{heard:?}");
        let known = heard.iter().fold(String::from(r#"{"n":10}"#), |known, push| match &**push {
            Push::Changed(delta) => match &delta.shape {
                Shape::Merge(json) | Shape::Whole(Some(json)) => json.to_string(),
                Shape::Whole(None) => known,
            },
            Push::Whole { json: Some(json), .. } => json.to_string(),
            _ => known,
        });
        assert_eq!(known, format!(r#"{{"n":{}}}"#, sum + 1), "what the socket knows is what is there");
    }
}

/// Of several users who become part of an account at once, each is told, once.
#[actix_rt::test]
async fn everybody_who_becomes_part_of_an_account_is_told() {
    for round in 0..10 {
        let world = World::new(round);
        let running = world.open();
        let linker = Arc::clone(&running.linker);
        let account = somebody(&running).await;
        let account = linker.link(account.user, account.number, proof("a")).await.unwrap();
        let mut socket = running.handle.attach(&account.user, account.number, None).await.unwrap();
        let mut guests = Vec::new();
        for _ in 0..5 {
            guests.push(somebody(&running).await);
        }
        let opens = (SessionKind::V1, DeviceId::default());
        let merges = guests
            .iter()
            .map(|guest| linker.merge(guest.user, guest.number, proof("a"), opens, MergePolicy::default()));
        for merged in join_all(merges).await {
            assert!(matches!(merged, Ok(Joined::Merged(..))), "{merged:?}");
        }
        increment(&running, &account.user, None).await.unwrap();
        let heard = told(&mut socket);
        let heard = heard.iter().filter_map(|push| match **push {
            Push::Merged { survivor, merged } if survivor == account.user => Some(merged),
            _ => None,
        });
        let mut heard: Vec<UserId> = heard.collect();
        heard.sort_unstable();
        let mut expected: Vec<UserId> = guests.iter().map(|guest| guest.user).collect();
        expected.sort_unstable();
        assert_eq!(heard, expected, "round {round}");
    }
}

/// Both write while they become one, in every way and under every rule: the result is that of one of the orders, and the versions that
/// were answered say of which.
#[actix_rt::test]
async fn a_merge_has_its_place_among_all_that_is_written() {
    const MOST: usize = 16 * 1024;
    let rule = |key: &str| match key {
        "sum" => KeyRule::Sum,
        "union" => KeyRule::Union,
        "source" => KeyRule::KeepSource,
        "newest" => KeyRule::Newest,
        "deep" => KeyRule::Deep,
        _ => KeyRule::KeepTarget,
    };
    let keys = ["sum", "union", "source", "newest", "deep", "target"];
    let (mut before, mut after) = (0, 0);
    for round in 0..40 {
        let world = World::new(round);
        let running = world.open();
        let linker = Arc::clone(&running.linker);
        let account = somebody(&running).await;
        let account = linker.link(account.user, account.number, proof("a")).await.unwrap();
        let source = somebody(&running).await;
        let changes = |side: u64| -> Vec<Change> {
            let mut random = Random(round * 2 + side);
            let one = |random: &mut Random| {
                let key = keys[random.below(keys.len())].to_owned();
                let value = match &*key {
                    "union" => json!([random.below(9)]),
                    "deep" => json!({"of": {side.to_string(): random.below(9)}, "both": random.below(9)}),
                    _ => json!(random.below(9)),
                };
                match random.below(8) {
                    0 => Change::Delete,
                    1 | 2 => Change::Put([(key, value)].into_iter().collect()),
                    3 => Change::Merge([(key, Value::Null)].into_iter().collect()),
                    4 | 5 => Change::Merge([(key, value)].into_iter().collect()),
                    6 => Change::Patch(
                        Patch::of(json!([{"op": "add", "path": format!("/{key}"), "value": value}])).unwrap(),
                    ),
                    _ => Change::Increment { path: "/target".to_owned(), by: 1.into() },
                }
            };
            (0..20).map(|_| one(&mut random)).collect()
        };
        let write = async |user: UserId, changes: Vec<Change>| {
            let mut done = Vec::new();
            for change in changes {
                match running.handle.edit(&user, change.clone(), Expected::Anything, None, None).await {
                    Ok(edited) => done.push((change, edited.version)),
                    Err(error) => assert_eq!(error, Error::Refused(Refusal::Gone)),
                }
            }
            done
        };
        let merge = async || {
            let document_keys = keys.iter().map(|key| ((*key).into(), rule(key))).collect();
            let policy = MergePolicy { document_keys, ..MergePolicy::default() };
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            loop {
                let opens = (SessionKind::V1, DeviceId::default());
                match linker.merge(source.user, source.number, proof("a"), opens, policy.clone()).await {
                    Err(Error::Busy) => {}
                    other => return other,
                }
            }
        };
        let writing = join(write(source.user, changes(0)), write(account.user, changes(1)));
        let ((of_source, of_account), joined) = join(writing, merge()).await;
        assert!(matches!(joined, Ok(Joined::Merged(..))), "{joined:?}");

        let now = running.store.clock().now();
        let edited = |document: &Document, change: Change| {
            let edit = Edit { change, expected: Expected::Anything, operation: None, origin: None, may_grow: true };
            document.edited(&edit, now, MOST).unwrap().0.unwrap()
        };
        let guest = of_source.into_iter().fold(Document::default(), |document, (change, _)| edited(&document, change));
        let (mut expected, mut is_merged) = (Document::default(), false);
        for (change, version) in of_account {
            if !is_merged && version != expected.version() + 1 {
                (expected, is_merged) = (expected.merged(&guest, now, MOST, rule).unwrap().0, true);
            }
            expected = edited(&expected, change);
            assert_eq!(expected.version(), version, "round {round}");
            *(if is_merged { &mut after } else { &mut before }) += 1;
        }
        if !is_merged {
            expected = expected.merged(&guest, now, MOST, rule).unwrap().0;
        }
        let stored = running.handle.document(&account.user);
        let stored = stored.map_or_else(Document::default, |bytes| Document::decode(&bytes).unwrap());
        let text = |document: &Document| {
            let bytes = document.encode();
            Document::view(&bytes).unwrap().json.map(str::to_owned)
        };
        assert_eq!((text(&stored), stored.version()), (text(&expected), expected.version()), "round {round}");
    }
    assert!(before > 50 && after > 50, "{before} before, {after} after: otherwise they did not meet");
}
