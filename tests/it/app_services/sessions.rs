//! Sessions from login to logout.

use super::*;

#[actix_web::test]
async fn a_login_takes_any_body_that_an_sdk_sends() {
    let empty = ["", " \r\n", "{}", r#"{"provider":"anon-user"}"#, r#"{"options":{}}"#, r#"{"options":{"device":5}}"#];
    let device = r#"{"options":{"device":{"sdkVersion":"2.0.1","platform":"node","platformVersion":"20.20.2"}}}"#;
    let known = r#"{"options":{"device":{"deviceId":{"$oid":"0123456789abcdef01234567"}}}}"#;
    let plain = r#"{"options":{"device":{"deviceId":"0123456789abcdef01234567"}}}"#;
    let types = [None, Some("application/json"), Some("application/json;charset=utf-8"), Some("text/plain")];
    let types = types.into_iter().chain([Some("application/x-www-form-urlencoded")]);
    World::new()
        .serve(async |server| {
            let mut users = std::collections::HashSet::new();
            for content_type in types.clone() {
                for body in empty.iter().chain(&[device, known, plain]) {
                    let mut call = server.call(LOGIN).body(*body);
                    if let Some(content_type) = content_type {
                        call = call.header("content-type", content_type);
                    }
                    let answer = call.send().await;
                    assert_eq!(answer.status, 200, "{body} {content_type:?} {answer:?}");
                    let found = answer.json();
                    assert_eq!(keys(&found), ["access_token", "device_id", "refresh_token", "user_id"]);
                    assert!(is_hex24(&found["user_id"]) && is_hex24(&found["device_id"]), "{found}");
                    match *body {
                        body if body == device => assert_ne!(found["device_id"], NO_DEVICE),
                        body if body == known || body == plain => {
                            assert_eq!(found["device_id"], "0123456789abcdef01234567");
                        }
                        _ => assert_eq!(found["device_id"], NO_DEVICE),
                    }
                    assert!(users.insert(found["user_id"].to_string()), "every login makes a new user");
                }
            }
            assert_eq!(server.server.store.opened().users, 0);
            assert_eq!(server.metric("passerby_users").await, users.len() as u64);
        })
        .await;
}

#[actix_web::test]
async fn a_session_lives_through_profile_refresh_and_logout() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            let profile = server.call(PROFILE).bearer(&tokens.access).send().await;
            assert_eq!(profile.status, 200);
            let id = UserId::parse(&tokens.user).unwrap();
            let (domain, provider) = (server.server.tokens.domain_id(), server.server.tokens.provider_id("anon-user"));
            let identity =
                json!({"id": id.anonymous_identity(), "provider_type": "anon-user", "provider_id": provider});
            let expected = json!({
                "user_id": tokens.user, "domain_id": domain, "identities": [identity], "data": {}, "type": "normal"
            });
            assert_eq!(profile.json(), expected);

            // core sends a content type with an empty body
            let refreshed = server
                .call(REFRESH)
                .bearer(&tokens.refresh)
                .header("content-type", "application/json;charset=utf-8")
                .send()
                .await;
            assert_eq!(refreshed.status, 201);
            let body = refreshed.json();
            assert_eq!(keys(&body), ["access_token"]);
            let access = body["access_token"].as_str().unwrap();
            assert_ne!(access, tokens.access);
            for token in [access, &tokens.access] {
                assert_eq!(server.call(PROFILE).bearer(token).send().await.json(), expected);
            }

            let out = server.call(LOGOUT).bearer(&tokens.refresh).send().await;
            assert_eq!((out.status, out.header("content-type"), out.body.len()), (204, None, 0));
            assert!(!server.has_record(&tokens.user), "logout deletes an anonymous user");
        })
        .await;
}

/// S7, S8: after logout and delete every token of the session is refused at the very next request, with the texts that SDKs wait for.
#[actix_web::test]
async fn what_is_ended_is_dead_at_once_with_the_texts_that_sdks_wait_for() {
    World::new()
        .serve(async |server| {
            for (ending, with_refresh) in [(LOGOUT, true), (DELETE, false)] {
                let tokens = server.log_in().await;
                let warm = server.call(PROFILE).bearer(&tokens.access).send().await;
                assert_eq!(warm.status, 200, "now it is in the cache of verified tokens");
                let token = if with_refresh { &tokens.refresh } else { &tokens.access };
                let ended = server.call(ending).bearer(token).send().await;
                assert_eq!((ended.status, ended.header("content-type"), ended.body.len()), (204, None, 0), "{ending}");
                assert!(!server.has_record(&tokens.user), "{ending}");
                for what in [REFRESH, LOGOUT] {
                    let answer = server.call(what).bearer(&tokens.refresh).send().await;
                    answer.assert_client_error(401, Some("InvalidSession"), DEAD);
                }
                for what in [PROFILE, DELETE, LINK] {
                    let answer = server.call(what).bearer(&tokens.access).send().await;
                    answer.assert_client_error(401, Some("InvalidSession"), ENDED);
                }
                for what in [VIEW, END, DELETE_USER] {
                    server.call(what).bearer(&tokens.access).send().await.assert_problem(401, "session-ended");
                }
            }
        })
        .await;
}

/// S7: whatever a logout races with, its session is dead afterwards.
#[actix_web::test]
async fn a_logout_that_races_with_other_requests_wins() {
    World::new()
        .serve(async |server| {
            for _ in 0..50 {
                let (app, v1) = (server.log_in().await, server.log_in_v1().await);
                let (out, _, _, end, rotated, _) = tokio::join!(
                    server.call(LOGOUT).bearer(&app.refresh).send(),
                    server.call(REFRESH).bearer(&app.refresh).send(),
                    server.call(PROFILE).bearer(&app.access).send(),
                    server.call(END).bearer(&v1.access).send(),
                    server.call(ROTATE).bearer(&v1.refresh).send(),
                    server.call(VIEW).bearer(&v1.access).send(),
                );
                assert_eq!((out.status, end.status), (204, 204), "{out:?} {end:?}");
                assert!(matches!(rotated.status, 200 | 401), "{rotated:?}");
                assert!(!server.has_record(&app.user) && !server.has_record(&v1.user));
                let dead = server.call(REFRESH).bearer(&app.refresh).send().await;
                dead.assert_client_error(401, Some("InvalidSession"), DEAD);
                if rotated.status == 200 {
                    let new = rotated.tokens();
                    server.call(VIEW).bearer(&new.access).send().await.assert_problem(401, "session-ended");
                    server.call(ROTATE).bearer(&new.refresh).send().await.assert_problem(401, "session-ended");
                }
            }
        })
        .await;
}

/// S4: an id that is not one of ours is never taken over: a login ignores whatever session is presented.
#[actix_web::test]
async fn a_login_ignores_what_is_presented() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            for token in [&tokens.access, &tokens.refresh, "null", "garbage"] {
                let other = server.call(LOGIN).bearer(token).send().await.tokens();
                assert_ne!(other.user, tokens.user);
                let other = server.call(CREATE).bearer(token).send().await.tokens();
                assert_ne!(other.user, tokens.user);
            }
        })
        .await;
}
