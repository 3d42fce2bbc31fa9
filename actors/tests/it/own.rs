//! The server's own values: changed together or not at all, read in the order of their keys, and there after a restart.

use std::sync::Arc;

use passerby_actors::domain::{Cause, Family, Listing, Rewrite, UserId, ValueKey};
use passerby_actors::handle::{Changes, Error, Handle, OwnChange};
use passerby_actors::store::{self, Config, Next};
use passerby_actors::testkit::faulty::{Faulty, Mode};
use passerby_actors::testkit::{ManualClock, Running, World, until};

use crate::outside::Outside;

fn put(key: &[u8], seen: Option<Arc<[u8]>>, value: &[u8]) -> OwnChange {
    OwnChange { key: ValueKey::own(Family::AUDIT, key), seen, change: Rewrite::Put(value.into()) }
}

fn keys(handle: &Handle, after: Option<&[u8]>, last_first: bool, most: usize) -> Vec<Box<[u8]>> {
    let listing = Listing { family: Family::AUDIT, after, last_first, most };
    handle.own_values(&listing).into_iter().map(|(key, _)| key.key).collect()
}

async fn holds_for(running: &Running) {
    let handle = &running.handle;
    let mut feed = running.store.feed().follow(10, |change| Some(change.clone()));
    let three = [b"b", b"a", b"c"].map(|key| put(key, None, b"1"));
    assert_eq!(handle.change_own(three.into()).await, Ok(Changes::Done));
    let other = OwnChange { key: ValueKey::own(Family::ADMIN, *b"b"), ..put(b"", None, b"2") };
    assert_eq!(handle.change_own(vec![other]).await, Ok(Changes::Done));

    // in order, from either end, beyond a key that need not be there
    let listed = |after: Option<&[u8]>, last_first, most| {
        keys(handle, after, last_first, most).iter().map(|key| key[0] as char).collect::<String>()
    };
    assert_eq!([listed(None, false, 9), listed(None, true, 9)], ["abc", "cba"]);
    assert_eq!([listed(None, false, 2), listed(None, true, 2)], ["ab", "cb"]);
    assert_eq!([listed(Some(b"a"), false, 9), listed(Some(b"c"), true, 9)], ["bc", "ba"]);
    assert_eq!([listed(Some(b"aa"), false, 9), listed(Some(b"bb"), true, 9)], ["bc", "ba"]);
    assert_eq!([listed(Some(b"c"), false, 9), listed(Some(b"a"), true, 9)], ["", ""]);
    assert_eq!((handle.own_count(Family::AUDIT), handle.own_count(Family::ADMIN)), (3, 1));

    // all or nothing, and only over what the caller saw
    let seen = handle.own_value(Family::AUDIT, b"a");
    assert_eq!(seen.as_deref(), Some(&b"1"[..]));
    let both = vec![put(b"a", seen.clone(), b"3"), put(b"b", None, b"3")];
    assert_eq!(handle.change_own(both).await, Ok(Changes::Moved { change: 1 }));
    assert_eq!(handle.own_value(Family::AUDIT, b"a"), seen);
    let remove = OwnChange { key: ValueKey::own(Family::AUDIT, *b"c"), seen: seen.clone(), change: Rewrite::Remove };
    assert_eq!(handle.change_own(vec![put(b"a", seen, b"3"), remove]).await, Ok(Changes::Done));
    assert_eq!((listed(None, false, 9), handle.own_count(Family::AUDIT)), ("ab".to_owned(), 2));

    // each that was done is told, once, and is about no user
    for _ in 0..3 {
        let Some(Next::Change(change)) = feed.next().await else { panic!("a change is told") };
        assert_eq!((change.cause, change.user, change.changed.len()), (Cause::Administered, None, 0));
    }
}

#[actix_rt::test]
async fn the_servers_own_values_change_together_or_not_at_all_and_are_read_in_order() {
    let world = World::new(1);
    let running = world.open();
    holds_for(&running).await;
    // what a snapshot holds and what a journal holds are there after a restart
    running.new_generation().await;
    assert_eq!(running.handle.change_own(vec![put(b"d", None, b"4")]).await, Ok(Changes::Done));
    running.close();
    let running = world.open();
    let handle = &running.handle;
    assert_eq!(keys(handle, None, false, 9), [b"a", b"b", b"d"].map(|key| Box::from(&key[..])));
    assert_eq!(handle.own_value(Family::AUDIT, b"a").as_deref(), Some(&b"3"[..]));
    assert_eq!((handle.own_count(Family::AUDIT), handle.own_count(Family::ADMIN)), (3, 1));

    holds_for(&world.run(store::open(Config::Memory { max_users: 1 }, ManualClock::new()).unwrap())).await;
    holds_for(&world.run(Outside::open(ManualClock::new()))).await;
}

#[actix_rt::test]
async fn a_snapshot_holds_more_of_the_servers_own_values_than_are_copied_at_once() {
    let world = World::new(1);
    let running = world.open();
    let many = (0..3000u16).map(|n| put(&n.to_be_bytes(), None, b"1")).collect();
    assert_eq!(running.handle.change_own(many).await, Ok(Changes::Done));
    running.new_generation().await;
    running.close();
    let running = world.open();
    assert_eq!(running.handle.own_count(Family::AUDIT), 3000);
    assert!(running.store.opened().groups <= 1, "of the journal, nothing but its end");
    assert!((0..3000u16).all(|n| running.handle.own_value(Family::AUDIT, &n.to_be_bytes()).is_some()));
}

#[actix_rt::test]
async fn the_door_for_the_servers_own_values_changes_no_others_and_promises_nothing_that_is_not_durable() {
    let disk = Faulty::new();
    let mut world = World::new(1);
    world.files = disk.clone();
    let running = world.open();
    let of_a_user = OwnChange { key: ValueKey::meters(&UserId::from_bytes([1; 16])), ..put(b"", None, b"1") };
    assert_eq!(running.handle.change_own(vec![of_a_user]).await, Err(Error::Internal));
    disk.set(Mode::SyncsFail);
    assert_eq!(running.handle.change_own(vec![put(b"a", None, b"1")]).await, Err(Error::OutcomeUnknown));
    assert_eq!(running.handle.own_value(Family::AUDIT, b"a"), None);
    until("the store says that it cannot write", || running.store.health() == store::Health::Failing).await;
    assert_eq!(running.handle.change_own(vec![put(b"a", None, b"1")]).await, Err(Error::NotWritable));
}
