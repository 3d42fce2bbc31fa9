//! What is bounded over all users: lazy ids that ended, and which users go when room is short and the operator allows it.

use std::sync::Arc;

use passerby_actors::actor::{Fullness, JanitorHandle, Swept};
use passerby_actors::domain::{Change, Expected, Family, Refusal, SessionKind, UserId};
use passerby_actors::handle::{Error, IdForm, LoggedIn};
use passerby_actors::testkit::{DAY_S, Running, World};

async fn sweep(running: &Running) -> Swept {
    let janitor = JanitorHandle::start(Arc::clone(&running.core)).await.unwrap();
    janitor.sweep(running.store.pages()).await.unwrap()
}

fn ended(running: &Running) -> usize {
    running.store.keys(Family::ENDED_LAZY)
}

/// S35: a client that ends lazy ids again and again fills no memory, and takes no place of other users.
#[actix_rt::test]
async fn lazy_ids_that_ended_are_bounded_and_room_comes_back() {
    let mut world = World::new(3);
    world.limits.max_users = 80;
    let running = world.open();
    let handle = &running.handle;
    let created = handle.new_reader_id();
    handle.create_lazily(&created).await.unwrap();

    let mut kept = Vec::new();
    for _ in 0..1000 {
        let id = handle.new_reader_id();
        match handle.end_lazily(&id).await {
            Ok(()) => kept.push(id),
            Err(error) => assert_eq!(error, Error::Capacity),
        }
    }
    assert_eq!((kept.len(), ended(&running)), (10, 10));
    let [_, _, of_ended, _] = running.core.bounds();
    assert_eq!((of_ended.used, of_ended.most, of_ended.fullness()), (10, 10, Fullness::Full));
    assert_eq!(handle.create_lazily(&kept[0]).await, Err(Error::Capacity), "who ended does not come back");
    assert_eq!(handle.create_lazily(&handle.new_reader_id()).await, Err(Error::Capacity));
    assert!(handle.login(SessionKind::V1, IdForm::TimeOrdered).await.is_ok(), "others are created");
    handle.end_lazily(&created).await.unwrap();
    assert_eq!(ended(&running), 11, "a reader who is there leaves one more");

    running.close();
    let running = world.open();
    assert_eq!(ended(&running), 11, "counted anew after a restart");
    world.clock.advance_s(91 * DAY_S);
    assert!(sweep(&running).await.forgotten >= 11);
    assert_eq!(ended(&running), 0);
    assert!(running.handle.create_lazily(&running.handle.new_reader_id()).await.is_ok());
}

/// A hundred places, of which 95 are taken: by users who were created two hours apart, every sixth of whom came back.
async fn nearly_full(world: &World, running: &Running) -> Vec<(LoggedIn, bool)> {
    let mut users = Vec::new();
    for number in 0..95 {
        let user = if number % 2 == 0 {
            running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap()
        } else {
            running.handle.create_lazily(&running.handle.new_reader_id()).await.unwrap()
        };
        world.clock.advance_s(2 * 3600);
        let back = number % 6 == 0;
        if back {
            running.handle.check(&user.user, &user.session, None).unwrap();
        }
        users.push((user, back));
    }
    users
}

#[actix_rt::test]
async fn who_was_made_and_never_came_back_goes_when_room_is_short_the_oldest_first() {
    let mut world = World::new(4);
    world.limits.max_users = 100;
    world.policy.unused_s = 2 * 86_400;
    let running = world.open();
    let users = nearly_full(&world, &running).await;
    let swept = sweep(&running).await;
    assert_eq!((swept.given_up, swept.expired), (6, 0), "until a tenth is free");
    let gone = |id: &UserId| !running.knows(id);
    let oldest: Vec<_> = users.iter().filter(|(_, back)| !back).take(6).collect();
    assert_eq!(users.iter().filter(|(user, _)| gone(&user.user)).count(), 6);
    for (user, _) in oldest {
        assert!(gone(&user.user));
        let refused = running.handle.check(&user.user, &user.session, None);
        assert_eq!(refused, Err(Error::Refused(Refusal::Gone)));
    }
    assert_eq!(ended(&running), 0, "nothing is kept of them");
    assert_eq!(sweep(&running).await.given_up, 0, "there is room now");
}

#[actix_rt::test]
async fn nobody_is_given_up_whom_the_operator_wants_to_keep() {
    for (unused_s, max_users) in [(0, 100), (10 * 86_400, 100), (2 * 86_400, 200)] {
        let mut world = World::new(5);
        world.limits.max_users = max_users;
        world.policy.unused_s = unused_s;
        let running = world.open();
        nearly_full(&world, &running).await;
        assert_eq!(sweep(&running).await.given_up, 0, "{unused_s} s, {max_users} users");
        assert_eq!(running.store.users(), 95);
    }
}

/// Documents are a bound too: a user who wrote one and never came back goes with it.
#[actix_rt::test]
async fn documents_of_those_who_never_came_back_make_room_too() {
    let mut world = World::new(6);
    world.policy.documents_bytes = 10_000;
    world.policy.unused_s = 86_400;
    let running = world.open();
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(880));
    let mut users = Vec::new();
    for _ in 0..11 {
        let user = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        let change = Change::Put(serde_json::from_str(&text).unwrap());
        let wrote = running.handle.edit(&user.user, change, Expected::Anything, None, None).await;
        users.push((user, wrote.is_ok()));
        world.clock.advance_s(4 * 3600);
    }
    assert!(users.iter().filter(|(_, wrote)| *wrote).count() >= 10);
    world.clock.advance_s(2 * DAY_S);
    // a live user stays, and after a restart no user is live
    assert_eq!(sweep(&running).await.given_up, 0);
    running.close();
    let running = world.open();
    let before = running.store.document_bytes();
    assert!(before >= 9000, "{before}");
    let swept = sweep(&running).await;
    let after = running.store.document_bytes();
    assert!((1..=3).contains(&swept.given_up) && after < 9000, "{swept:?}, {before} to {after} bytes");
    assert!(!running.knows(&users[0].0.user) && running.knows(&users[10].0.user));
}

/// A user without a document makes no room for documents by going, however old.
#[actix_rt::test]
async fn nobody_is_given_up_whose_going_makes_no_room() {
    let mut world = World::new(7);
    world.policy.documents_bytes = 10_000;
    world.policy.unused_s = 86_400;
    let running = world.open();
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(880));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // between users who wrote something come those who did not
    for number in 0..33 {
        let user = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap().user;
        if number % 3 == 2 {
            let change = Change::Put(serde_json::from_str(&text).unwrap());
            let wrote = running.handle.edit(&user, change, Expected::Anything, None, None).await;
            with.extend(wrote.is_ok().then_some(user));
        } else {
            without.push(user);
        }
        world.clock.advance_s(3600);
    }
    assert!(with.len() >= 10);
    world.clock.advance_s(2 * DAY_S);
    running.close();
    let running = world.open();
    let swept = sweep(&running).await;
    let gone = with.iter().filter(|user| !running.knows(user)).count();
    assert!((1..=3).contains(&gone) && running.store.document_bytes() < 9000, "{gone}");
    assert_eq!((swept.given_up, without.iter().all(|user| running.knows(user))), (gone, true));
}
