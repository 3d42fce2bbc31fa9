//! Merging: an anonymous user becomes part of an account, whoever races.

use std::collections::BTreeMap;

use passerby_actors::actor::{Joined, Preview, Push};
use passerby_actors::domain::{Cause, Clock as _, MergePolicy, Refusal, SessionKind, Suspension, UserId};
use passerby_actors::handle::Error;
use passerby_actors::testkit::{Random, World};

use crate::linking::{GONE, OPENS, anonymous, article, linker, log_in, merge, proof, swapped};

/// A user who shares a device with many goes on doing so.
#[actix_rt::test]
async fn beyond_256_merges_the_oldest_alias_is_forgotten() {
    let world = World::new(7);
    let running = world.open();
    let linker = linker(&running);
    let account = log_in(&linker, "a").await.unwrap();
    let (mut guests, mut socket) = (Vec::new(), None);
    for n in 0..258 {
        world.clock.advance_s(1);
        let guest = anonymous(&running, SessionKind::V1).await;
        let Ok(Joined::Merged(into, _)) = merge(&linker, &guest, proof("a")).await else { panic!("it is merged") };
        if n == 250 {
            socket = Some(running.handle.attach(&account.user, into.number, None).await.unwrap());
        }
        guests.push(guest.user);
    }
    let state = running.handle.load(&account.user).unwrap();
    assert_eq!(state.aliases().iter().map(|alias| alias.id).collect::<Vec<_>>(), guests[2..]);
    let survivor = |guest: &UserId| running.store.survivor(guest);
    assert_eq!((survivor(&guests[1]), survivor(&guests[2])), (None, Some(account.user)));
    // a socket is told of every user who joins, however many are remembered
    let (mut socket, mut told) = (socket.unwrap(), Vec::new());
    while told.len() < 7 {
        let push = socket.inbox.next().await.unwrap();
        if let Push::Merged { merged, .. } = *push {
            told.push(merged);
        }
    }
    assert_eq!(told, guests[251..]);
    running.store.stop();
}

/// Nothing has lifted it yet, and nothing has to: a look changes nothing.
#[actix_rt::test]
async fn a_look_at_a_merge_takes_suspensions_that_are_over_for_lifted() {
    let world = World::new(7);
    let running = world.open();
    let linker = linker(&running);
    let account = log_in(&linker, "a").await.unwrap();
    let guest = anonymous(&running, SessionKind::V1).await;
    let until_ms = Some(world.clock.wall_ms() + 60_000);
    for user in [account.user, guest.user] {
        running.handle.suspend(&user, Suspension { until_ms, reason: "a flood".into() }).await.unwrap();
    }
    let look = || running.handle.preview(&guest.user, guest.number, &proof("a"), &MergePolicy::default());
    assert!(matches!(look(), Ok(Preview::Owned { merged, .. }) if merged.as_ref().err() == Some(&Refusal::Disabled)));
    world.clock.advance_s(60);
    let first = look();
    assert!(matches!(first, Ok(Preview::Owned { merged: Ok(_), .. })), "{first:?}");
    assert!(!running.handle.load(&account.user).unwrap().is_disabled(world.clock.wall_ms()));
    running.store.stop();
}

/// One set; the id becomes an alias, the sessions end, no one else notices; and the answer can be had again.
#[actix_rt::test]
async fn an_anonymous_user_becomes_part_of_the_account_that_has_the_identity() {
    let world = World::new(7);
    let running = world.open();
    let linker = linker(&running);
    let account = log_in(&linker, "a").await.unwrap();
    let guest = anonymous(&running, SessionKind::AppServices).await;
    let policy = MergePolicy { oldest_created: true, ..MergePolicy::default() };

    let preview = linker.preview(&guest.user, guest.number, &proof("a"), &policy).unwrap();
    let Preview::Owned { owner, merged: Ok(after) } = preview else { panic!("{preview:?}") };
    assert_eq!((owner, after.survivor.aliases()[0].id), (account.user, guest.user));
    assert!(running.knows(&guest.user), "a look changes nothing");

    let Ok(Joined::Merged(into, _)) = merge(&linker, &guest, proof("a")).await else { panic!("it is merged") };
    assert_eq!(into.user, account.user);
    assert!(running.handle.check(&into.user, &into.session, Some(into.epoch)).is_ok());
    assert!(running.handle.check(&account.user, &account.session, Some(account.epoch)).is_ok(), "it goes on");
    assert_eq!(running.handle.check(&guest.user, &guest.session, None).unwrap_err(), GONE);
    assert_eq!(running.handle.rotate(&guest.user, guest.number, 0).await, Err(GONE), "an alias is no subject");
    assert_eq!(running.store.survivor(&guest.user), Some(account.user));

    // the answer was lost: the same again, but only with the right proof and for ten minutes
    let (again, _) = linker.repeat_merge(guest.user, proof("a"), OPENS).await.unwrap();
    assert_eq!((again.user, again.number), (into.user, into.number + 1));
    assert_eq!(linker.repeat_merge(guest.user, proof("b"), OPENS).await, Err(GONE));
    let stranger = log_in(&linker, "b").await.unwrap();
    assert_eq!(linker.repeat_merge(guest.user, proof("b"), OPENS).await, Err(GONE));
    world.clock.advance_s(599);
    assert!(linker.repeat_merge(guest.user, proof("a"), OPENS).await.is_ok());
    world.clock.advance_s(1);
    assert_eq!(linker.repeat_merge(guest.user, proof("a"), OPENS).await, Err(GONE));

    // only an anonymous user can be merged away
    let lasting = merge(&linker, &stranger, proof("a")).await;
    assert_eq!(lasting, Err(Error::Refused(Refusal::NotAnonymous)));
    // a free identity is simply linked, the user's own is linked already
    let other = anonymous(&running, SessionKind::V1).await;
    let Ok(Joined::Linked(linked)) = merge(&linker, &other, proof("c")).await else { panic!("it is linked") };
    assert_eq!(merge(&linker, &linked, proof("c")).await, Ok(Joined::Linked(linked)));

    running.store.stop();
    let running = world.open();
    assert_eq!(running.store.survivor(&guest.user), Some(account.user), "after a restart too");
    running.new_generation().await;
    running.store.stop();
    let running = world.open();
    assert_eq!(running.store.survivor(&guest.user), Some(account.user), "and from a snapshot");
    running.handle.delete(&account.user, Cause::DeletedByUser).await.unwrap();
    assert_eq!(running.store.survivor(&guest.user), None, "an alias goes with its survivor");
}

/// Merge ∥ logout of the source → merged, or gone; merge ∥ delete of the target → merged and then deleted, or
/// refused with the source as it was; two merges into one account → both.
#[actix_rt::test]
async fn merges_race_with_logouts_deletions_and_each_other() {
    let mut world = World::new(8);
    world.options.max_users = 10_000;
    let running = world.open();
    let linker = linker(&running);
    let mut random = Random(8);
    let mut seen = BTreeMap::new();
    for round in 0..300 {
        let external = format!("m{round}");
        let account = log_in(&linker, &external).await.unwrap();
        let (guest, other) =
            (anonymous(&running, SessionKind::V1).await, anonymous(&running, SessionKind::AppServices).await);
        let merging = merge(&linker, &guest, proof(&external));
        let against = async {
            match round % 3 {
                0 => running.handle.logout(&guest.user, guest.number).await,
                1 => running.handle.delete(&account.user, Cause::DeletedByUser).await,
                _ => merge(&linker, &other, proof(&external)).await.map(drop),
            }
        };
        // the first of each kind one after the other, in both orders; the rest at once
        let (merged, against) = match round / 3 {
            0 => (merging.await, against.await),
            1 => {
                let against = against.await;
                (merging.await, against)
            }
            _ if random.one_in(2) => tokio::join!(merging, against),
            _ => swapped(against, merging).await,
        };
        let survivor = running.store.survivor(&guest.user);
        let (guest_lives, account_lives) = (running.knows(&guest.user), running.knows(&account.user));
        let what = match (round % 3, &merged, &against) {
            (0, Ok(Joined::Merged(..)), Err(_)) => {
                assert!(!guest_lives && survivor == Some(account.user), "{round}");
                "merged before the logout"
            }
            (0, Err(Error::Refused(_)), Ok(())) => {
                assert!(!guest_lives && survivor.is_none(), "{round}");
                "logged out before the merge"
            }
            (1, Ok(Joined::Merged(..)), Ok(())) => {
                assert!(!guest_lives && !account_lives && survivor.is_none(), "{round}");
                "merged before the deletion"
            }
            (1, Err(Error::Busy), Ok(())) => {
                assert!(guest_lives && !account_lives, "{round}");
                assert!(running.handle.check(&guest.user, &guest.session, Some(guest.epoch)).is_ok(), "{round}");
                "refused, the target being deleted"
            }
            // the deletion was over before the merge began: there was no user to merge with
            (1, Ok(Joined::Linked(_)), Ok(())) => "linked after the deletion",
            (2, Ok(Joined::Merged(..)), Ok(())) => {
                let aliases = running.handle.load(&account.user).unwrap().aliases().len();
                assert!(!guest_lives && !running.knows(&other.user) && aliases == 2, "{round}");
                "both merged"
            }
            other => panic!("{round}: {other:?}"),
        };
        *seen.entry(what).or_insert(0) += 1;
    }
    assert!(seen.len() >= 5, "{seen:?}");
}

/// What is counted while a merge is under way is in the account afterwards, or was refused.
#[actix_rt::test]
async fn counts_that_race_with_a_merge_are_not_lost() {
    let world = World::new(15);
    let running = world.open();
    let linker = linker(&running);
    for round in 0..100u64 {
        let external = format!("c{round}");
        let account = log_in(&linker, &external).await.unwrap();
        let guest = anonymous(&running, SessionKind::V1).await;
        running.handle.count(&account.user, article(100)).await.unwrap();
        running.handle.count(&guest.user, article(1)).await.unwrap();
        let merging = merge(&linker, &guest, proof(&external));
        let counting = running.handle.count(&guest.user, article(2));
        let (merged, counted) =
            if round % 2 == 0 { tokio::join!(merging, counting) } else { swapped(counting, merging).await };
        assert!(matches!(merged, Ok(Joined::Merged(..))), "{merged:?}");
        let look = passerby_actors::domain::Count { amount: 0, item: None, ..article(0) };
        let used = running.handle.count(&account.user, look).await.unwrap().used;
        assert_eq!(used, 2 + u32::from(counted.is_ok()), "{round}: {counted:?}");
    }
}
