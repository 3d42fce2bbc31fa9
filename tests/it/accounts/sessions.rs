//! A user's own sessions, on several screens.

use super::*;

#[actix_web::test]
async fn a_transfer_code_begins_a_second_session_of_the_same_user_once_and_within_two_minutes() {
    let world = world().set("transfer.page", "https://app.example/continue?x=1");
    world
        .serve(async |server| {
            let user = server.log_in_v1().await;
            let ask = async || server.call(TRANSFER).bearer(&user.access).send().await.json();
            let redeem = async |code: &Value| {
                let body = json!({ "provider": "transfer", "code": code });
                server.call(CREATE).body(body.to_string()).send().await
            };
            let issued = ask().await;
            let code = &issued["code"];
            assert_eq!(issued["expires_in"], 120);
            let url = format!("https://app.example/continue?x=1#code={}", code.as_str().unwrap());
            assert_eq!(issued["url"], url);
            let second = redeem(code).await;
            assert_eq!(second.status, 201);
            assert_eq!(second.tokens().user, user.user);
            redeem(code).await.assert_problem(401, "invalid-credential");
            redeem(&Value::from("psbt_x")).await.assert_problem(401, "invalid-credential");
            redeem(&Value::Null).await.assert_problem(400, "bad-field");

            let late = ask().await["code"].clone();
            server.clock.advance_s(120);
            redeem(&late).await.assert_problem(401, "invalid-credential");
            let in_time = ask().await["code"].clone();
            server.clock.advance_s(119);
            server.clock.stand_still_s(600);
            assert_eq!(redeem(&in_time).await.status, 201, "a stall of ours does not count");

            // at most eight, and never the caller's
            for _ in 0..8 {
                assert_eq!(redeem(&ask().await["code"]).await.status, 201);
            }
            let listed = server.call(SESSIONS).bearer(&user.access).send().await.json();
            let sessions = listed["sessions"].as_array().unwrap();
            assert_eq!(sessions.len(), 8);
            assert_eq!(sessions[0]["current"], true, "{listed}");

            // with the session that asked, its code ends
            let orphan = ask().await["code"].clone();
            assert_eq!(server.call(END).bearer(&user.access).send().await.status, 204);
            redeem(&orphan).await.assert_problem(401, "invalid-credential");
            assert!(server.has_record(&user.user), "the other screens go on");
        })
        .await;
}

/// S11.
#[actix_web::test]
async fn a_user_sees_and_ends_its_own_sessions() {
    world()
        .serve(async |server| {
            let guest = server.log_in_v1().await;
            let first = link(server, &guest.access, "a", json!({})).await.tokens();
            server.clock.advance_s(600);
            let second = log_in_as(server, "a").await;
            let third = log_in_as(server, "a").await;
            let list = async |token: &str| server.call(SESSIONS).bearer(token).send().await.json()["sessions"].clone();
            let listed = list(&second.access).await;
            let entries = listed.as_array().unwrap();
            assert_eq!(entries.len(), 3);
            assert_eq!(entries.iter().map(|entry| entry["current"] == true).collect::<Vec<_>>(), [false, true, false]);
            assert!(entries.iter().all(|entry| entry["anonymous"] == false));
            assert_eq!(entries[0]["created"], "2023-11-14T22:13:20Z");
            assert_eq!(entries[1]["created"], "2023-11-14T22:23:20Z");
            assert_eq!(entries[1]["last_seen"], entries[1]["created"]);

            let end = async |token: &str, id: &Value| {
                let what = format!("DELETE /v1/user/sessions/{}", id.as_str().unwrap());
                server.call(&what).bearer(token).send().await
            };
            assert_eq!(end(&second.access, &entries[0]["session_id"]).await.status, 204);
            server.call(VIEW).bearer(&first.access).send().await.assert_problem(401, "session-ended");
            end(&second.access, &entries[0]["session_id"]).await.assert_problem(404, "no-such-session");
            end(&second.access, &Value::from("nonsense")).await.assert_problem(404, "no-such-session");
            let stranger = server.log_in_v1().await;
            let id = list(&stranger.access).await[0]["session_id"].clone();
            end(&second.access, &id).await.assert_problem(404, "no-such-session");

            let code = server.call(TRANSFER).bearer(&second.access).send().await.json()["code"].clone();
            let all = server.call("DELETE /v1/user/sessions").bearer(&second.access).send().await;
            assert_eq!(all.status, 204);
            let body = json!({ "provider": "transfer", "code": code }).to_string();
            let begun = server.call(CREATE).body(body).send().await;
            begun.assert_problem(401, "invalid-credential");
            server.call(VIEW).bearer(&third.access).send().await.assert_problem(401, "session-ended");
            assert_eq!(list(&second.access).await.as_array().unwrap().len(), 1);
            let all = server.call("DELETE /v1/user/sessions").bearer(&second.access).send().await;
            assert_eq!(all.status, 204, "again is done already");

            // the last session of an anonymous user is the user
            let answer = end(&stranger.access, &id).await;
            assert_eq!((answer.status, answer.header("clear-site-data").is_some()), (204, true));
            assert!(!server.has_record(&stranger.user));
        })
        .await;
}

/// S40: a person who finds an old session open does not become the account's owner.
#[actix_web::test]
async fn how_an_account_is_logged_in_to_changes_only_soon_after_a_login() {
    world()
        .serve(async |server| {
            let user = log_in_as(server, "a").await;
            let guest = server.log_in_v1().await;
            server.clock.advance_s(DAY_S);
            let rotate = async |tokens: &Tokens| server.call(ROTATE).bearer(&tokens.refresh).send().await.tokens();
            let (old, guest) = (rotate(&user).await, rotate(&guest).await);
            link(server, &old.access, "b", json!({})).await.assert_problem(403, "fresh-login-needed");
            let unlink = server.call("DELETE /v1/user/identities/custom-token/a").bearer(&old.access).send().await;
            unlink.assert_problem(403, "fresh-login-needed");
            let key = server.call("POST /v1/user/api-keys").bearer(&old.access).body(r#"{"name":"k"}"#).send().await;
            key.assert_problem(403, "fresh-login-needed");
            // what changes nothing of that needs no new login
            assert_eq!(server.call("GET /v1/user/export").bearer(&old.access).send().await.status, 200);
            // neither a second screen nor the other API is a way around
            let code = server.call(TRANSFER).bearer(&old.access).send().await.json()["code"].clone();
            let body = json!({ "provider": "transfer", "code": code }).to_string();
            let screen = server.call(CREATE).body(body).send().await.tokens();
            link(server, &screen.access, "b", json!({})).await.assert_problem(403, "fresh-login-needed");
            let login = LOGIN.replace("anon-user", "custom-token") + "?link=true";
            let body = json!({ "token": jwt("b") }).to_string();
            let answer = server.call(&login).bearer(&old.access).body(body).send().await;
            answer.assert_client_error(403, Some("AuthError"), "this requires a recent login: log in again");
            server.clock.advance_s(59 * DAY_S);
            server.call(ROTATE).bearer(&screen.refresh).send().await.assert_problem(401, "session-ended");
            let new = log_in_as(server, "a").await;
            let linked = link(server, &new.access, "b", json!({})).await;
            assert_eq!(linked.status, 200);
            // an anonymous user has nothing to log in with again
            let guest = rotate(&guest).await;
            assert_eq!(link(server, &guest.access, "c", json!({})).await.status, 200);
            // nor does a user who leaves
            server.clock.advance_s(DAY_S);
            let old = rotate(&linked.tokens()).await;
            assert_eq!(server.call("DELETE /v1/user").bearer(&old.access).send().await.status, 204);
        })
        .await;
}

/// What began each session is said where sessions are listed, also of those that a link or a merge carried on.
#[actix_web::test]
async fn lists_of_sessions_say_what_began_each() {
    world()
        .serve(async |server| {
            let guest = server.log_in_v1().await;
            let methods = async |tokens: &Tokens| {
                sessions(server, tokens).await.into_iter().map(|(method, _)| method).collect::<Vec<_>>()
            };
            assert_eq!(methods(&guest).await, ["anonymous"]);
            let transfer = async |tokens: &Tokens| {
                let code = server.call(TRANSFER).bearer(&tokens.access).send().await.json()["code"].clone();
                let body = json!({ "provider": "transfer", "code": code }).to_string();
                server.call(CREATE).body(body).send().await.tokens()
            };
            transfer(&guest).await;
            assert_eq!(methods(&guest).await, ["anonymous", "transfer"]);
            let account = link(server, &guest.access, "a", json!({})).await.tokens();
            transfer(&account).await;
            log_in_as(server, "a").await;
            let other = server.log_in_v1().await;
            let merged = link(server, &other.access, "a", json!({ "on_conflict": "merge" })).await;
            assert_eq!(merged.status, 200, "{merged:?}");
            assert_eq!(methods(&account).await, ["link", "transfer", "custom-token", "merge"]);
            let body = json!({ "email": "p@example.test", "password": "a password" });
            assert_eq!(server.call("POST /v1/registrations").body(body.to_string()).send().await.status, 202);
            let body = json!({ "provider": "local-userpass", "email": "p@example.test", "password": "a password" });
            let with_password = server.call(CREATE).body(body.to_string()).send().await.tokens();
            assert_eq!(methods(&with_password).await, ["password"]);
        })
        .await;
}
