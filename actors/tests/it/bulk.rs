//! Bulk jobs: who is changed, what is counted, that there is one at a time, that it can be stopped, and what ends it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passerby_actors::actor::{Bulk, BulkAction, BulkEnd, BulkTally, BulkUnderWay, Push};
use passerby_actors::domain::{Cause, Flags, Operation, SessionKind, UserId};
use passerby_actors::handle::{Error, LoggedIn, UserFilter};
use passerby_actors::testkit::faulty::{Faulty, Mode};
use passerby_actors::testkit::{Running, World, until};

use crate::linking::{anonymous, log_in, proof};

const EVERYBODY: UserFilter = UserFilter {
    anonymous: None,
    disabled: None,
    unused: None,
    document: None,
    provider: None,
    created: None,
    seen: None,
};

async fn done(running: &Running, action: BulkAction, filter: UserFilter, is_dry_run: bool) -> Bulk {
    let job = running.handle.begin_bulk(action, filter, is_dry_run).unwrap();
    let bulk = job.ended().await;
    assert_eq!(running.handle.bulk(), Some(bulk.clone()));
    bulk
}

fn is_disabled(running: &Running, id: &UserId) -> bool {
    running.store.record(id).unwrap().flags.has(Flags::DISABLED)
}

async fn guests(running: &Running, count: usize) -> Vec<LoggedIn> {
    futures_util::future::join_all((0..count).map(|_| anonymous(running, SessionKind::V1))).await
}

#[actix_rt::test]
async fn each_action_is_done_to_those_who_fit_and_a_dry_run_says_so_before() {
    let world = World::new(1);
    let running = world.open();
    let guests = guests(&running, 300).await;
    let account = log_in(&running.linker, "a").await.unwrap();
    running.handle.disable(&guests[0].user).await.unwrap();
    let anonymous = UserFilter { anonymous: Some(true), ..EVERYBODY };

    let tally = BulkTally { matched: 300, changed: 299, unchanged: 1, ..BulkTally::default() };
    let would = done(&running, BulkAction::Disable, anonymous.clone(), true).await;
    assert_eq!((would.tally, would.end, would.about), (tally, Some(BulkEnd::Done), Some(300)));
    assert!(!is_disabled(&running, &guests[1].user), "a dry run changes nothing");
    let bulk = done(&running, BulkAction::Disable, anonymous.clone(), false).await;
    assert_eq!((bulk.tally, bulk.end, bulk.number), (tally, Some(BulkEnd::Done), would.number + 1));
    assert!(guests.iter().all(|guest| is_disabled(&running, &guest.user)) && !is_disabled(&running, &account.user));

    let disabled = UserFilter { disabled: Some(true), ..EVERYBODY };
    let bulk = done(&running, BulkAction::Enable, disabled, false).await;
    assert_eq!(bulk.tally, BulkTally { matched: 300, changed: 300, ..BulkTally::default() });
    assert!(!is_disabled(&running, &guests[0].user));

    // an anonymous user without a session is gone, an account stays; the second time there is nothing to end
    let would = done(&running, BulkAction::EndSessions, EVERYBODY, true).await;
    let bulk = done(&running, BulkAction::EndSessions, EVERYBODY, false).await;
    assert_eq!(bulk.tally, BulkTally { matched: 301, changed: 1, removed: 300, ..BulkTally::default() });
    assert_eq!(would.tally, bulk.tally);
    assert!(running.handle.check(&account.user, &account.session, None).is_err() && running.knows(&account.user));
    let bulk = done(&running, BulkAction::EndSessions, EVERYBODY, false).await;
    assert_eq!(bulk.tally, BulkTally { matched: 1, unchanged: 1, ..BulkTally::default() });

    let bulk = done(&running, BulkAction::Delete, EVERYBODY, false).await;
    assert_eq!(bulk.tally, BulkTally { matched: 1, removed: 1, ..BulkTally::default() });
    assert_eq!(running.store.users(), 0);
    running.close();
}

/// A live user's sockets hear of it as of any other change.
#[actix_rt::test]
async fn live_users_hear_of_it() {
    let world = World::new(2);
    let running = world.open();
    let guest = anonymous(&running, SessionKind::V1).await;
    let mut socket = running.handle.attach(&guest.user, guest.number, None).await.unwrap();
    done(&running, BulkAction::Delete, EVERYBODY, false).await;
    assert_eq!(*socket.inbox.next().await.unwrap(), Push::Ended(Cause::DeletedByAdmin));
    running.close();
}

#[actix_rt::test]
async fn there_is_one_at_a_time_and_it_can_be_stopped() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Faulty::new());
    let world = World::over(&folder.path().join("data"), 3, files.clone());
    let running = world.open();
    guests(&running, 900).await;
    assert_eq!(running.handle.bulk(), None, "after a start there is none");
    files.let_pass(Some(2));
    let first = running.handle.begin_bulk(BulkAction::Disable, EVERYBODY, false).unwrap();
    until("it is at its third group", || files.held_up() == 1).await;
    let number = first.look().number;
    let second = running.handle.begin_bulk(BulkAction::Delete, EVERYBODY, false);
    assert_eq!(second.map(|_| ()), Err(BulkUnderWay(number)));
    assert!(!running.handle.stop_bulk(number + 1), "there is no such job");
    assert!(running.handle.stop_bulk(number));
    files.let_pass(None);
    let bulk = first.ended().await;
    assert_eq!((bulk.end, bulk.about), (Some(BulkEnd::Stopped), Some(900)));
    // what was under way is done
    assert_eq!(bulk.tally, BulkTally { matched: 3 * 64, changed: 3 * 64, ..BulkTally::default() });
    assert!(!running.handle.stop_bulk(number), "it has ended");
    // what is begun later starts anew
    let bulk = done(&running, BulkAction::Disable, EVERYBODY, false).await;
    assert_eq!((bulk.tally.matched, bulk.end), (900, Some(BulkEnd::Done)));
    running.close();
}

/// Whether a user fits is looked at when the user's turn comes, not when the page was read.
#[actix_rt::test]
async fn who_no_longer_fits_when_the_turn_comes_is_left_alone() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Faulty::new());
    let world = World::over(&folder.path().join("data"), 6, files.clone());
    let running = world.open();
    let there = guests(&running, 200).await;
    let last = there.iter().min_by_key(|guest| (guest.user.created_ms(), guest.user)).unwrap();
    files.let_pass(Some(0));
    let anonymous = UserFilter { anonymous: Some(true), ..EVERYBODY };
    let job = running.handle.begin_bulk(BulkAction::Delete, anonymous, false).unwrap();
    until("its first group is held up", || files.held_up() == 1).await;
    let release = async {
        until("the link waits behind it", || running.store.waiting() == 1).await;
        files.let_pass(None);
    };
    let link = running.linker.link(last.user, last.number, proof("stays"));
    let (linked, ()) = futures_util::future::join(link, release).await;
    linked.unwrap();
    let bulk = job.ended().await;
    assert_eq!(bulk.tally, BulkTally { matched: 200, removed: 199, unchanged: 1, ..BulkTally::default() });
    assert!(running.knows(&last.user));
    running.close();
}

/// Users who change while it runs are done all the same.
#[actix_rt::test]
async fn others_change_users_meanwhile() {
    let world = World::new(4);
    let running = world.open();
    let there = guests(&running, 600).await;
    let began = running.handle.begin_bulk(BulkAction::Disable, EVERYBODY, false).unwrap();
    for guest in &there {
        assert_ne!(running.handle.rotate(&guest.user, guest.number, 0).await, Err(Error::Internal));
    }
    let bulk = began.ended().await;
    assert_eq!(bulk.end, Some(BulkEnd::Done));
    let missed = there.iter().filter(|guest| !is_disabled(&running, &guest.user)).count() as u64;
    assert_eq!(missed, bulk.tally.busy, "{bulk:?}");
    running.close();
}

#[actix_rt::test]
async fn a_store_that_cannot_write_ends_it_and_says_so() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Faulty::new());
    let world = World::over(&folder.path().join("data"), 5, files.clone());
    let running = world.open();
    let there = guests(&running, 200).await;
    files.set(Mode::SyncsFail);
    let bulk = done(&running, BulkAction::Disable, EVERYBODY, false).await;
    assert!(matches!(bulk.end, Some(BulkEnd::Failed(Error::NotWritable | Error::OutcomeUnknown))), "{bulk:?}");
    assert_eq!(bulk.tally.changed, 0);
    assert!(!is_disabled(&running, &there[0].user));
    running.close();
}

thread_local! {
    /// Goes with its thread.
    static OF_THREAD: RefCell<Option<Arc<()>>> = const { RefCell::new(None) };
}

#[actix_rt::test]
async fn a_job_that_panics_has_failed_its_thread_ends_and_the_next_one_runs() {
    let (mut world, deadly, of_thread) = (World::new(1), Arc::new(AtomicBool::new(true)), Arc::new(()));
    let (armed, held) = (Arc::clone(&deadly), Arc::clone(&of_thread));
    world.before_operation = Some(Arc::new(move |_, operation| {
        if matches!(operation, Operation::Disable(_)) {
            OF_THREAD.set(Some(Arc::clone(&held)));
            assert!(!armed.load(Ordering::SeqCst), "injected");
        }
    }));
    let running = world.open();
    let guests = guests(&running, 3).await;
    for number in 1..=2 {
        let bulk = done(&running, BulkAction::Disable, EVERYBODY, false).await;
        assert_eq!((bulk.number, bulk.end, bulk.tally.changed), (number, Some(BulkEnd::Failed(Error::Internal)), 0));
        // the test's and the hook's
        until("its thread has ended", || Arc::strong_count(&of_thread) == 2).await;
    }
    deadly.store(false, Ordering::SeqCst);
    let bulk = done(&running, BulkAction::Disable, EVERYBODY, false).await;
    assert_eq!((bulk.end, bulk.tally.changed), (Some(BulkEnd::Done), 3));
    assert!(guests.iter().all(|guest| is_disabled(&running, &guest.user)));
    running.close();
}
