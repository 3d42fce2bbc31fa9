//! A user inactive for the whole window is gone, to the second; one who keeps coming never is; the wall clock decides nothing.

use passerby_actors::domain::{Refusal, SessionKind};
use passerby_actors::handle::{Error, IdForm};
use passerby_actors::testkit::{DAY_S, Running, World};

const GONE: Error = Error::Refused(Refusal::Gone);

async fn login(running: &Running) -> passerby_actors::handle::LoggedIn {
    running.handle.login(SessionKind::AppServices, IdForm::Object).await.unwrap()
}

#[actix_rt::test]
async fn who_comes_every_thirty_days_for_three_years_is_still_there() {
    let world = World::new(1);
    let mut running = world.open();
    let user = login(&running).await;
    for month in 0..36 {
        world.clock.advance_s(30 * DAY_S);
        running.handle.check(&user.user, &user.session, None).unwrap();
        assert_eq!(running.sweep().await, 0, "month {month}");
        if month % 9 == 0 {
            running.close();
            running = world.open();
        }
    }
    running.handle.check(&user.user, &user.session, Some(user.epoch)).unwrap();
}

/// S12, S13: refused at the deadline itself, whether or not the sweep has come, and never revived.
#[actix_rt::test]
async fn who_stops_coming_is_refused_at_ninety_days_and_not_a_second_sooner() {
    for swept in [false, true] {
        let world = World::new(1);
        let running = world.open();
        let user = login(&running).await;
        // within the granularity a use does not move the deadline
        world.clock.advance_s(3599);
        running.handle.check(&user.user, &user.session, None).unwrap();
        world.clock.advance_s(90 * DAY_S - 3600);
        if swept {
            assert_eq!(running.sweep().await, 0, "one second is left");
        }
        assert!(running.handle.load(&user.user).is_some());
        world.clock.advance_s(1);
        if swept {
            world.clock.advance_s(60);
            assert_eq!(running.sweep().await, 1);
            assert!(!running.knows(&user.user));
        }
        for _ in 0..2 {
            assert_eq!(running.handle.check(&user.user, &user.session, None), Err(GONE));
            assert_eq!(running.handle.logout(&user.user, user.number).await, Err(GONE));
            assert_eq!(running.handle.enable(&user.user).await, Err(GONE));
            assert!(running.handle.load(&user.user).is_none());
        }
    }
}

#[actix_rt::test]
async fn a_use_in_the_last_second_gives_another_ninety_days() {
    let world = World::new(1);
    let running = world.open();
    let user = login(&running).await;
    for _ in 0..3 {
        world.clock.advance_s(90 * DAY_S - 1);
        running.handle.check(&user.user, &user.session, None).unwrap();
    }
}

#[actix_rt::test]
async fn the_wall_clock_may_jump_by_a_year_either_way_and_nobody_ends() {
    for jump_s in [DAY_S as i64, -(DAY_S as i64), 365 * DAY_S as i64, -365 * DAY_S as i64] {
        let world = World::new(1);
        let running = world.open();
        let user = login(&running).await;
        world.clock.jump_wall_s(jump_s);
        assert_eq!(running.sweep().await, 0, "jump of {jump_s} s while running");
        running.handle.check(&user.user, &user.session, None).unwrap();
        running.close();

        world.clock.jump_wall_s(jump_s);
        let running = world.open();
        assert_eq!(running.sweep().await, 0, "jump of {jump_s} s while down");
        running.handle.check(&user.user, &user.session, None).unwrap();
        // and time is still time
        world.clock.advance_s(90 * DAY_S);
        assert_eq!(running.handle.check(&user.user, &user.session, None), Err(GONE));
    }
}

#[actix_rt::test]
async fn of_the_time_a_server_was_down_an_hour_counts() {
    let world = World::new(1);
    let running = world.open();
    let user = login(&running).await;
    let before = running.store.clock().now();
    running.close();
    world.clock.advance_s(80 * DAY_S);
    let running = world.open();
    assert_eq!(running.store.clock().now() - before, 3600);
    running.handle.check(&user.user, &user.session, None).unwrap();
}

#[actix_rt::test]
async fn a_round_of_the_sweep_finds_all_who_are_due_and_nobody_else() {
    let world = World::new(1);
    let running = world.open();
    let mut early = Vec::new();
    for _ in 0..2500 {
        early.push(login(&running).await.user);
    }
    world.clock.advance_s(40 * DAY_S);
    let late = login(&running).await;
    world.clock.advance_s(50 * DAY_S + 60);
    assert_eq!(running.sweep().await, 2500);
    assert_eq!(running.store.users(), 1);
    assert!(running.knows(&late.user));
    running.close();
    assert_eq!(world.open().store.users(), 1, "what expired stays gone");
}

#[actix_rt::test]
async fn touches_race_with_sweeps_logouts_and_logins_and_nobody_comes_back_or_ends_early() {
    for round in 0..100u64 {
        let world = World::new(round);
        let running = world.open();
        let user = login(&running).await;
        world.clock.advance_s(90 * DAY_S - 1 + round % 2);
        let due = round % 2 == 1;
        let (sweep, check, logout, other) = tokio::join!(
            running.sweep(),
            async { running.handle.check(&user.user, &user.session, None) },
            async { if round % 3 == 0 { Some(running.handle.logout(&user.user, user.number).await) } else { None } },
            login(&running),
        );
        assert_eq!(sweep, 0, "the sweep leaves a minute to whoever is on the way");
        assert_eq!(check.is_err(), due, "round {round}");
        let left = running.handle.check(&user.user, &user.session, None).is_ok();
        assert_eq!(left, !due && logout.is_none(), "round {round}: {logout:?}");
        assert!(running.handle.check(&other.user, &other.session, None).is_ok());
    }
}
