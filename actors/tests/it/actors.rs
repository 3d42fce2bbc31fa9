//! Session actors: order, leases, rest, death, and what happens when a worker stops.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passerby_actors::actor::Limits;
use passerby_actors::domain::{Cause, ChangeSet, DeviceId, Operation, Outcome, Refusal, SessionId, SessionKind};
use passerby_actors::handle::{Error, Handle, IdForm};
use passerby_actors::store::Completions;
use passerby_actors::testkit::{Running, World, until};

async fn login(running: &Running) -> passerby_actors::handle::LoggedIn {
    running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap()
}

#[actix_rt::test]
async fn a_user_is_live_while_something_stateful_happens_and_rests_after() {
    let mut world = World::new(1);
    world.limits.idle_ms = 4;
    let running = world.open();
    let user = login(&running).await;
    running.handle.rotate(&user.user, user.number, 0).await.unwrap();
    assert_eq!(running.core.live_users(), 0, "a resting user's refresh activates nobody");
    let second = running.handle.open_session(&user.user, SessionKind::Cookie, DeviceId([3; 12]), None).await.unwrap();
    assert_eq!((second.number, running.core.live_users()), (2, 1));
    world.clock.advance_s(1);
    until("the actor rests", || running.core.live_users() == 0).await;
    assert_eq!(running.core.stats().passivations.load(Ordering::SeqCst), 1);
    assert_eq!(running.handle.load(&user.user).unwrap().sessions().len(), 2, "rest loses nothing");
    running.handle.end_session(&user.user, 2).await.unwrap();
    assert_eq!(running.core.stats().activations.load(Ordering::SeqCst), 2);
}

#[actix_rt::test]
async fn operations_of_one_user_happen_in_order_and_are_folded_while_one_is_in_flight() {
    let world = World::new(1);
    let running = world.open();
    let user = login(&running).await;
    let opened = (0..50).map(|_| running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None));
    let numbers: Vec<u32> =
        futures_util::future::join_all(opened).await.into_iter().map(|session| session.unwrap().number).collect();
    assert_eq!(numbers, (2..52).collect::<Vec<_>>());
    let groups = running.store.stats().groups.load(Ordering::SeqCst);
    assert!(groups < 10, "fifty operations took {groups} groups");
}

#[actix_rt::test]
async fn at_most_max_live_users_are_live() {
    let mut world = World::new(1);
    world.limits = Limits { max_live: 16, ..Limits::default() };
    let running = world.open();
    for n in 0..50 {
        let user = login(&running).await;
        running.handle.disable(&user.user).await.unwrap();
        world.clock.advance_s(1);
        assert!(running.core.live_users() <= 16, "after {n}");
    }
}

#[actix_rt::test]
async fn disabling_refuses_every_token_and_enabling_lifts_it() {
    let world = World::new(1);
    let running = world.open();
    let user = login(&running).await;
    let check = || running.handle.check(&user.user, &user.session, Some(user.epoch)).map(drop);
    running.handle.disable(&user.user).await.unwrap();
    assert_eq!(check(), Err(Error::Refused(Refusal::Disabled)));
    let rotated = running.handle.rotate(&user.user, user.number, 0).await;
    assert_eq!(rotated, Err(Error::Refused(Refusal::Disabled)));
    running.handle.enable(&user.user).await.unwrap();
    assert_eq!(check(), Ok(()));
    running.handle.end_all(&user.user).await.unwrap();
    assert_eq!(check(), Err(Error::Refused(Refusal::Gone)));
    assert_eq!(running.core.live_users(), 0, "the actor of a user who is gone ends with it");
}

#[actix_rt::test]
async fn both_workers_use_the_one_actor_and_a_change_past_it_is_seen() {
    let world = World::new(1);
    let running = world.open();
    let other = Handle::new(Arc::clone(&running.core), Arc::clone(&running.linker));
    let user = login(&running).await;
    running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
    other.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
    assert_eq!(running.core.stats().activations.load(Ordering::SeqCst), 1);

    // past the actor, as a second node would
    let commit = async |operation| {
        let state = running.store.load(&user.user).unwrap();
        let decision = state.decide(&operation, running.store.clock().now(), &world.policy).unwrap();
        let (cause, ops) = state.ops(&decision).unwrap();
        let completions = Rc::<Completions>::default();
        let (reply, outcomes) = completions.register(1);
        actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
        running.store.commit(vec![ChangeSet::new(cause, 1, ops)].into(), reply);
        assert_eq!(outcomes.await[..], [Outcome::Done]);
    };
    commit(Operation::EndSession { session: 1, cause: Cause::SessionEnded }).await;
    assert_eq!(running.handle.end_session(&user.user, 1).await, Err(Error::Refused(Refusal::SessionEnded)));
    running.handle.end_session(&user.user, 2).await.unwrap();
    assert_eq!(running.store.stats().sets_conflicted.load(Ordering::SeqCst), 0, "it looked before it proposed");
    commit(Operation::Delete { cause: Cause::DeletedByAdmin }).await;
    until("the notice ends the actor", || running.core.live_users() == 0).await;
}

#[actix_rt::test]
async fn a_panic_in_a_session_actor_takes_nothing_with_it() {
    let mut world = World::new(1);
    let deadly = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&deadly);
    world.before_operation = Some(Arc::new(move |_, operation| {
        assert!(!(armed.load(Ordering::SeqCst) && matches!(operation, Operation::Disable(_))), "injected");
    }));
    let running = world.open();
    let (victim, bystander) = (login(&running).await, login(&running).await);
    running.handle.enable(&bystander.user).await.unwrap();

    deadly.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(running.handle.disable(&victim.user).await, Err(Error::OutcomeUnknown));
        // the next message finds a fresh actor
        running.handle.enable(&victim.user).await.unwrap();
    }
    running.handle.check(&victim.user, &victim.session, None).unwrap();

    // the third death within a minute: stateful calls are refused for five minutes, token checks go on
    assert_eq!(running.handle.disable(&victim.user).await, Err(Error::OutcomeUnknown));
    assert_eq!(running.core.stats().deaths.load(Ordering::SeqCst), 3);
    assert_eq!(running.handle.enable(&victim.user).await, Err(Error::Quarantined));
    running.handle.check(&victim.user, &victim.session, None).unwrap();
    running.handle.enable(&bystander.user).await.unwrap();
    deadly.store(false, Ordering::SeqCst);
    world.clock.advance_s(299);
    assert_eq!(running.handle.disable(&victim.user).await, Err(Error::Quarantined));
    world.clock.advance_s(1);
    running.handle.disable(&victim.user).await.unwrap();
}

#[test]
fn a_worker_that_stops_takes_its_actors_and_they_are_activated_elsewhere() {
    let system = actix_rt::System::new();
    system.block_on(async {
        let world = World::new(1);
        let running = world.open();
        let user = login(&running).await;
        let worker = actix_rt::Arbiter::new();
        let (core, linker, id) = (Arc::clone(&running.core), Arc::clone(&running.linker), user.user);
        let (done, activated) = tokio::sync::oneshot::channel();
        worker.spawn_fn(move || {
            actix_rt::spawn(async move {
                let handle = Handle::new(core, linker);
                handle.open_session(&id, SessionKind::V1, DeviceId::default(), None).await.unwrap();
                done.send(()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        activated.await.unwrap();
        assert_eq!(running.core.live_users(), 1);
        worker.stop();
        worker.join().unwrap();
        let session = running.handle.open_session(&id, SessionKind::V1, DeviceId::default(), None).await.unwrap();
        assert_eq!(session.number, 3, "nothing is lost");
        assert_eq!(running.core.stats().deaths.load(Ordering::SeqCst), 0, "and nobody died");
    });
}

#[actix_rt::test]
async fn without_a_permit_nothing_is_begun() {
    let mut world = World::new(1);
    world.limits.permits = 4;
    let running = world.open();
    let logins = (0..20).map(|_| running.handle.login(SessionKind::V1, IdForm::Object));
    let answers = futures_util::future::join_all(logins).await;
    let refused = answers.iter().filter(|answer| **answer == Err(Error::Overloaded)).count();
    assert_eq!((refused, running.store.users()), (16, 4));
    login(&running).await;
}

#[actix_rt::test]
async fn at_capacity_only_what_would_make_a_user_is_refused() {
    let mut world = World::new(1);
    world.limits.max_users = 2;
    let running = world.open();
    let (first, second) = (login(&running).await, login(&running).await);
    assert_eq!(running.handle.login(SessionKind::V1, IdForm::Object).await, Err(Error::Capacity));
    running.handle.check(&first.user, &first.session, None).unwrap();
    running.handle.delete(&second.user, Cause::DeletedByUser).await.unwrap();
    login(&running).await;
}

/// S7: two workers change the same user at once, directly and through its actor: each change that was answered stays.
#[test]
fn what_ended_stays_ended_while_two_workers_change_the_same_user() {
    let system = actix_rt::System::new();
    system.block_on(async {
        let world = World::new(3);
        let running = world.open();
        for race in 0..300 {
            let user = login(&running).await;
            for _ in 0..5 {
                running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
            }
            // every other user rests, so that some changes go past an actor that others activate meanwhile
            if race % 2 == 0 {
                let elsewhere = Handle::new(Arc::clone(&running.core), Arc::clone(&running.linker));
                elsewhere.disable(&user.user).await.unwrap();
                elsewhere.enable(&user.user).await.unwrap();
            }
            let workers: Vec<_> = (0..2u32)
                .map(|worker| {
                    let (core, linker, id) = (Arc::clone(&running.core), Arc::clone(&running.linker), user.user);
                    std::thread::spawn(move || {
                        actix_rt::System::new().block_on(async {
                            let (handle, mine) = (Handle::new(core, linker), worker * 3 + 1);
                            tokio::join!(
                                handle.logout(&id, mine),
                                handle.end_session(&id, mine + 1),
                                handle.rotate(&id, mine + 2, 0),
                                async {
                                    for _ in 0..50 {
                                        // a live user is never called dead, whatever is written meanwhile
                                        handle.check(&id, &SessionId::derive(&id, mine + 2), None).unwrap();
                                        tokio::task::yield_now().await;
                                    }
                                },
                            )
                        })
                    })
                })
                .collect();
            // this thread's actors go on meanwhile
            until("both are done", || workers.iter().all(std::thread::JoinHandle::is_finished)).await;
            let answers: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            let found = running.handle.load(&user.user).unwrap().sessions();
            for (worker, (out, ended, rotated, ())) in (0..).zip(answers) {
                let mine = worker * 3 + 1;
                let session = |number| found.iter().find(|session| session.number == number);
                for (number, answer) in [(mine, out), (mine + 1, ended)] {
                    match answer {
                        Ok(()) => assert_eq!(session(number), None, "race {race}: {number} was ended and is back"),
                        Err(Error::Busy | Error::OutcomeUnknown) => {}
                        other => panic!("race {race}: {other:?}"),
                    }
                }
                match rotated {
                    Ok(counter) => {
                        assert_eq!(session(mine + 2).map(|s| s.refresh_counter), Some(counter), "race {race}")
                    }
                    Err(Error::Busy | Error::OutcomeUnknown) => {}
                    other => panic!("race {race}: {other:?}"),
                }
            }
        }
    });
}

/// S7: logout races with refreshes, checks and changes in flight; there is no resurrection.
#[actix_rt::test]
async fn a_thousand_logouts_race_with_writes_in_flight_and_nobody_comes_back() {
    let world = World::new(7);
    let running = world.open();
    for race in 0..1000 {
        let user = login(&running).await;
        if race % 2 == 0 {
            running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
        }
        let handle = &running.handle;
        let (_, out, _, _, check) = tokio::join!(
            handle.rotate(&user.user, user.number, 0),
            handle.delete(&user.user, Cause::DeletedByUser),
            handle.rotate(&user.user, user.number, 0),
            handle.disable(&user.user),
            async { handle.check(&user.user, &user.session, None).map(drop) },
        );
        assert!(matches!(out, Ok(()) | Err(Error::Busy)), "race {race}: {out:?}");
        if out.is_err() {
            handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
        }
        assert!(matches!(check, Ok(()) | Err(Error::Refused(_))), "race {race}: {check:?}");
        assert!(!running.knows(&user.user), "race {race}");
        let after = handle.check(&user.user, &user.session, None).map(drop);
        assert_eq!(after, Err(Error::Refused(Refusal::Gone)), "race {race}");
    }
    assert_eq!(running.store.users(), 0);
    running.close();
    assert_eq!(world.open().store.users(), 0, "nor after a restart");
}

#[actix_rt::test]
async fn a_worker_who_is_gone_leaves_nothing_that_runs() {
    let mut world = World::new(1);
    world.limits.idle_ms = 4;
    let running = world.open();
    let held = || Arc::strong_count(&running.core);
    let before = held();
    for _ in 0..20 {
        let worker = Handle::new(Arc::clone(&running.core), Arc::clone(&running.linker));
        let user = worker.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        worker.open_session(&user.user, SessionKind::Cookie, DeviceId::default(), None).await.unwrap();
        assert!(held() > before);
    }
    until("all that ran for the workers has ended", || held() == before).await;
    assert_eq!(running.core.live_users(), 0);
    login(&running).await;
}
