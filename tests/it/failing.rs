//! A disk that fails, a server that is full, and one that is busy: errors that say so, and never 401.

use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::until;

use crate::world::{
    CREATE, DELETE, DELETE_USER, END, LINK, LOGIN, LOGOUT, PROFILE, REFRESH, ROTATE, TestServer, VIEW, World,
};

const NOT_WRITABLE: &str = "the server cannot store changes at the moment";
const UNKNOWN: &str = "the change could not be confirmed; outcome unknown";

/// A code that works once has not worked while nothing can be stored, and works afterwards.
#[actix_web::test]
async fn no_code_is_used_up_while_nothing_can_be_stored() {
    World::new()
        .serve(async |server| {
            let user = server.log_in_v1().await;
            let code =
                server.call("POST /v1/session/transfer").bearer(&user.access).send().await.json()["code"].clone();
            let redeem = async || {
                let body = serde_json::json!({ "provider": "transfer", "code": code });
                server.call(CREATE).body(body.to_string()).send().await
            };
            server.disk.set(Mode::SyncsFail);
            assert_eq!(server.call(LOGIN).send().await.status, 503, "it is noticed");
            for _ in 0..2 {
                redeem().await.assert_problem(503, "not-writable");
            }
            server.disk.set(Mode::Works);
            until("it is healed", || {
                server.clock.stand_still_s(1);
                server.server.store.nudge();
                server.server.may_refuse()
            })
            .await;
            assert_eq!(redeem().await.tokens().user, user.user);
        })
        .await;
}

/// S41: when the store cannot write, no user is called dead, not even one who is; what changes nothing goes on.
#[actix_web::test]
async fn a_failing_disk_causes_errors_of_the_server_and_none_of_the_client() {
    for mode in [Mode::SyncsFail, Mode::Full] {
        World::new()
            .serve(async |server| {
                let (app, v1, gone) = (server.log_in().await, server.log_in_v1().await, server.log_in().await);
                assert_eq!(server.call(LOGOUT).bearer(&gone.refresh).send().await.status, 204);
                assert_eq!(server.ask_admin("GET /readyz").await.status, 200);

                server.disk.set(mode);
                let first = server.call(LOGIN).send().await;
                first.assert_client_error(503, Some("ServiceUnavailable"), UNKNOWN);
                first.assert_come_again(1..=3);
                let login = server.call(LOGIN).send().await;
                login.assert_client_error(503, Some("ServiceUnavailable"), NOT_WRITABLE);
                login.assert_come_again(1..=3);
                let create = server.call(CREATE).send().await;
                create.assert_problem(503, "not-writable");
                create.assert_come_again(1..=3);

                let ready = server.ask_admin("GET /readyz").await;
                assert_eq!((ready.status, ready.text().as_str()), (503, r#"{"status":"not-writable"}"#));
                assert_eq!(server.ask_admin("GET /healthz").await.status, 200);
                assert_eq!(server.metric("passerby_writable").await, 0);

                no_user_is_called_dead(server, &gone.access, &gone.refresh).await;
                // what would change something
                for (what, token) in [(LOGOUT, &app.refresh), (DELETE, &app.access)] {
                    let answer = server.call(what).bearer(token).send().await;
                    answer.assert_client_error(503, Some("ServiceUnavailable"), NOT_WRITABLE);
                    answer.assert_come_again(1..=3);
                }
                for (what, token) in [(ROTATE, &v1.refresh), (END, &v1.access), (DELETE_USER, &v1.access)] {
                    let answer = server.call(what).bearer(token).send().await;
                    answer.assert_problem(503, "not-writable");
                    answer.assert_come_again(1..=3);
                }
                // what changes nothing
                assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
                assert_eq!(server.call(PROFILE).bearer(&v1.access).send().await.status, 200);
                assert_eq!(server.call(VIEW).bearer(&v1.access).send().await.status, 200);
                let refreshed = server.call(REFRESH).bearer(&app.refresh).send().await;
                assert_eq!(refreshed.status, 201);

                server.heal().await;
                assert_eq!(server.ask_admin("GET /readyz").await.status, 200);
                assert_eq!(server.metric("passerby_writable").await, 1);
                let refreshed = server.call(REFRESH).bearer(&app.refresh).send().await;
                assert_eq!(refreshed.status, 201);
                let tokens = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
                assert_eq!(server.call(VIEW).bearer(&tokens.access).send().await.status, 200);
                server.log_in().await;
                // and what is dead is called so again
                let answer = server.call(REFRESH).bearer(&gone.refresh).send().await;
                assert_eq!(answer.status, 401, "{answer:?}");
                assert_eq!(server.call(PROFILE).send().await.status, 401);
            })
            .await;
    }
}

/// Every endpoint with every bad token: 503, and never 401.
async fn no_user_is_called_dead(server: &TestServer, dead_access: &str, dead_refresh: &str) {
    let endpoints = [PROFILE, DELETE, LINK, REFRESH, LOGOUT, VIEW, END, DELETE_USER, ROTATE];
    for what in endpoints {
        let tokens = [None, Some("null"), Some("garbage"), Some("a.b.c"), Some(dead_access), Some(dead_refresh)];
        for token in tokens {
            let call = server.call(what);
            let answer = match token {
                None => call,
                Some(token) => call.bearer(token),
            };
            let answer = answer.send().await;
            if what.contains("/v1/") {
                answer.assert_problem(503, "not-writable");
            } else {
                answer.assert_client_error(503, Some("ServiceUnavailable"), NOT_WRITABLE);
            }
            answer.assert_come_again(1..=3);
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
    let other = server.call("POST /api/client/v2.0/app/passerby/auth/providers/api-key/login").send().await;
    other.assert_client_error(503, Some("ServiceUnavailable"), NOT_WRITABLE);
}

/// S41: an access token that expired, and users whose time ran out, are not called dead either.
#[actix_web::test]
async fn time_that_runs_out_while_the_disk_fails_is_no_refusal() {
    World::new()
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            server.disk.set(Mode::SyncsFail);
            assert_eq!(server.call(LOGIN).send().await.status, 503);
            server.clock.advance_s(1801);
            for what in [PROFILE, DELETE] {
                let answer = server.call(what).bearer(&app.access).send().await;
                answer.assert_client_error(503, Some("ServiceUnavailable"), NOT_WRITABLE);
            }
            server.call(VIEW).bearer(&v1.access).send().await.assert_problem(503, "not-writable");
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            server.clock.advance_s(91 * 86_400);
            let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
            answer.assert_client_error(503, Some("ServiceUnavailable"), NOT_WRITABLE);
            server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(503, "not-writable");
            server.heal().await;
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 401);
        })
        .await;
}

#[actix_web::test]
async fn at_capacity_only_new_users_are_refused() {
    World::new()
        .set("max_users", "1")
        .serve(async |server| {
            let only = server.log_in().await;
            for _ in 0..2 {
                let answer = server.call(LOGIN).send().await;
                answer.assert_client_error(503, Some("ServiceUnavailable"), "capacity");
                answer.assert_come_again(60..=60);
                let answer = server.call(CREATE).send().await;
                answer.assert_problem(503, "capacity");
                answer.assert_come_again(60..=60);
            }
            assert_eq!(server.ask_admin("GET /readyz").await.status, 200);
            assert_eq!(server.call(PROFILE).bearer(&only.access).send().await.status, 200, "nobody is evicted");
            assert_eq!(server.call(REFRESH).bearer(&only.refresh).send().await.status, 201);
            assert_eq!(server.call(LOGOUT).bearer(&only.refresh).send().await.status, 204);
            server.log_in_v1().await;
        })
        .await;
}

#[actix_web::test]
async fn without_a_permit_a_request_is_turned_away_and_told_when_to_come_again() {
    World::new()
        .set("admission.permits", "1")
        .set("http.request_timeout", "300")
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            server.disk.let_pass(Some(0));
            let under_way = actix_web::rt::spawn(server.call(LOGIN).send());
            until("the login waits for the disk", || server.disk.held_up() == 1).await;
            let busy = "the server is busy; try again soon";
            for (what, token) in [(LOGIN, None), (LOGOUT, Some(&app.refresh)), (DELETE, Some(&app.access))] {
                let call = server.call(what);
                let answer = match token {
                    None => call,
                    Some(token) => call.bearer(token),
                };
                let answer = answer.send().await;
                answer.assert_client_error(503, Some("ServiceUnavailable"), busy);
                answer.assert_come_again(1..=3);
            }
            for (what, token) in [(CREATE, &v1.access), (ROTATE, &v1.refresh), (END, &v1.access)] {
                let answer = server.call(what).bearer(token).send().await;
                answer.assert_problem(503, "overloaded");
                answer.assert_come_again(1..=3);
            }
            // what needs no permit goes on
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(VIEW).bearer(&v1.access).send().await.status, 200);
            assert_eq!(server.metric("passerby_requests_shed_total").await, 6);
            server.disk.let_pass(None);
            assert_eq!(under_way.await.unwrap().status, 200);
            // the permit is back
            server.log_in().await;
        })
        .await;
}

#[actix_web::test]
async fn a_commit_that_takes_too_long_is_answered_outcome_unknown() {
    World::new()
        .set("http.request_timeout", "1")
        .serve(async |server| {
            let v1 = server.log_in_v1().await;
            server.disk.let_pass(Some(0));
            let login = server.call(LOGIN).send().await;
            login.assert_client_error(503, Some("ServiceUnavailable"), UNKNOWN);
            login.assert_come_again(1..=3);
            let rotated = server.call(ROTATE).bearer(&v1.refresh).send().await;
            rotated.assert_problem(503, "outcome-unknown");
            rotated.assert_come_again(1..=3);
            server.disk.let_pass(None);
            // unknown to the client, and then done all the same: grace gives the lost successor
            let again = server.call(ROTATE).bearer(&v1.refresh).send().await;
            assert_eq!(again.status, 200, "{again:?}");
            until("both users are there", || server.server.core.store().users() == 2).await;
        })
        .await;
}
