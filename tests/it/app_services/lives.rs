//! How long users live.

use super::*;

/// S9: a disabled user's tokens are refused everywhere at once, and enabling undoes it.
#[actix_web::test]
async fn a_disabled_user_is_refused_until_enabled_again() {
    World::new()
        .serve(async |server| {
            let (app, v1, handle) = (server.log_in().await, server.log_in_v1().await, server.handle());
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            for tokens in [&app, &v1] {
                handle.disable(&UserId::parse(&tokens.user).unwrap()).await.unwrap();
                for what in [PROFILE, DELETE, LINK] {
                    let answer = server.call(what).bearer(&tokens.access).send().await;
                    answer.assert_client_error(401, Some("InvalidSession"), "invalid session: user disabled");
                }
                for what in [VIEW, END, DELETE_USER] {
                    server.call(what).bearer(&tokens.access).send().await.assert_problem(403, "user-disabled");
                }
            }
            for what in [REFRESH, LOGOUT] {
                let answer = server.call(what).bearer(&app.refresh).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), DEAD);
            }
            server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(403, "user-disabled");
            for tokens in [&app, &v1] {
                handle.enable(&UserId::parse(&tokens.user).unwrap()).await.unwrap();
                assert_eq!(server.call(PROFILE).bearer(&tokens.access).send().await.status, 200);
            }
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
        })
        .await;
}

/// S10: an administrator ends sessions: all of an anonymous user's, and the user is gone.
#[actix_web::test]
async fn a_user_whose_sessions_were_ended_is_gone() {
    World::new()
        .serve(async |server| {
            let (app, handle) = (server.log_in().await, server.handle());
            handle.end_all(&UserId::parse(&app.user).unwrap()).await.unwrap();
            let answer = server.call(PROFILE).bearer(&app.access).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), ENDED);
            let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), DEAD);
        })
        .await;
}

/// S12: inactive for a second less than 90 days is accepted and goes on; 90 days is refused for good, swept or not.
#[actix_web::test]
async fn ninety_days_without_activity_end_a_user_and_a_second_less_does_not() {
    World::new()
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            server.clock.advance_s(90 * DAY_S - 1);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            let v1 = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
            // both slid: 90 days more
            server.clock.advance_s(90 * DAY_S - 1);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            let v1 = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
            server.clock.advance_s(90 * DAY_S);
            for _ in 0..2 {
                let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), DEAD);
                server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(401, "session-ended");
            }
            assert!(server.has_record(&app.user) && server.has_record(&v1.user), "the sweep has not come by");
            // a wall clock that is set back revives no one
            server.clock.jump_wall_s(-(30 * 86_400));
            let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), DEAD);
            server.clock.advance_s(61);
            let pages = server.server.core.store().pages();
            server.server.janitor.sweep(pages).await.unwrap();
            assert!(!server.has_record(&app.user) && !server.has_record(&v1.user));
            let answer = server.call(LOGOUT).bearer(&app.refresh).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), DEAD);
        })
        .await;
}

/// S13: an active anonymous user has no absolute end: three years with the first refresh token, and a restart every year.
#[actix_web::test]
async fn three_years_of_use_keep_a_user_with_its_first_refresh_token() {
    let world = World::new();
    let server = world.start().await;
    let tokens = server.log_in().await;
    server.stop().await;
    for year in 0..3 {
        world
            .serve(async |server| {
                for month in 0..12 {
                    server.clock.advance_s(30 * DAY_S);
                    let answer = server.call(REFRESH).bearer(&tokens.refresh).send().await;
                    assert_eq!(answer.status, 201, "year {year}, month {month}: {answer:?}");
                    let access = answer.json()["access_token"].as_str().unwrap().to_owned();
                    let view = server.call(VIEW).bearer(&access).send().await.json();
                    assert_eq!(view["user_id"], tokens.user);
                    assert_eq!(view["anonymous"], true);
                }
            })
            .await;
    }
}
