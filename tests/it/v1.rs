//! Passerby's own API: `/v1` in Bearer mode, and the public keys.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passerby_actors::domain::UserId;
use passerby_actors::testkit::DAY_S;
use serde_json::{Value, json};

use crate::readers::{AUTO, Jar, passed};
use crate::world::{CREATE, DELETE_USER, END, JWKS, PROFILE, REFRESH, ROTATE, VIEW, World};

/// The payload of a token, as anyone can read it.
fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[actix_web::test]
async fn a_session_begins_with_no_body_or_in_the_bearer_mode() {
    World::new()
        .serve(async |server| {
            for body in ["", " ", "{}", "null", r#"{"mode":"bearer"}"#, r#"{"mode":null,"provider":null}"#] {
                let answer = server.call(CREATE).body(body).send().await;
                assert_eq!(answer.status, 201, "{body} {answer:?}");
                let found = answer.json();
                let keys: Vec<_> = found.as_object().unwrap().keys().map(String::as_str).collect();
                let expected = ["access_token", "expires_in", "refresh_token", "session_id", "token_type", "user_id"];
                assert_eq!(keys, expected);
                assert_eq!((&found["token_type"], &found["expires_in"]), (&json!("Bearer"), &json!(1800)));
                let user = found["user_id"].as_str().unwrap();
                assert_eq!((user.len(), &user[14..15]), (36, "7"), "{user}");
                assert!(UserId::parse(user).is_ok());
                let access = payload(found["access_token"].as_str().unwrap());
                assert_eq!(access["sub"], found["user_id"]);
                assert_eq!(access["sid"], found["session_id"]);
                assert_eq!(access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(), 1800);
                assert_eq!((&access["iss"], &access["aud"]), (&json!("urn:passerby:passerby"), &json!("passerby")));
            }
            for body in [r#"{"mode":"often"}"#, r#"{"mode":5}"#] {
                server.call(CREATE).body(body).send().await.assert_problem(400, "unknown-mode");
            }
            for body in ["[]", "5", "nonsense", "{\"mode\":", "\"bearer\""] {
                server.call(CREATE).body(body).send().await.assert_problem(400, "bad-body");
            }
            assert_eq!(server.metric("passerby_users").await, 6);
        })
        .await;
}

#[actix_web::test]
async fn a_session_shows_who_it_is_and_when_it_ends() {
    World::new()
        .serve(async |server| {
            let created = server.call(CREATE).send().await;
            let tokens = created.tokens();
            let view = async |access: &str| server.call(VIEW).bearer(access).send().await.json();
            let mut expected = json!({
                "user_id": tokens.user,
                "session_id": created.json()["session_id"],
                "anonymous": true,
                "created": "2023-11-14T22:13:20Z",
                "last_seen": "2023-11-14T22:13:20Z",
                "expires": "2024-02-12T22:13:20Z",
            });
            assert_eq!(view(&tokens.access).await, expected);
            // a use less than an hour later is not worth a write
            server.clock.advance_s(1799);
            assert_eq!(view(&tokens.access).await, expected);
            server.clock.advance_s(1800);
            let tokens = server.call(ROTATE).bearer(&tokens.refresh).send().await.tokens();
            assert_eq!(view(&tokens.access).await, expected);
            server.clock.advance_s(1);
            expected["last_seen"] = "2023-11-14T23:13:20Z".into();
            expected["expires"] = "2024-02-12T23:13:20Z".into();
            assert_eq!(view(&tokens.access).await, expected);
            // a user of the App Services API is shown just the same
            let app = server.log_in().await;
            let shown = view(&app.access).await;
            assert_eq!((&shown["user_id"], &shown["anonymous"]), (&json!(app.user), &json!(true)));
            assert_eq!(shown["created"], "2023-11-14T23:13:20Z");
        })
        .await;
}

/// S31, S32: the refresh token is replaced at every use; the one before gets the same successor, an older one ends the session.
#[actix_web::test]
async fn refresh_tokens_rotate_with_one_step_of_grace() {
    World::new()
        .serve(async |server| {
            let first = server.log_in_v1().await;
            let rotate = async |token: &str| server.call(ROTATE).bearer(token).send().await;
            let second = rotate(&first.refresh).await;
            assert_eq!(second.status, 200, "{second:?}");
            let second = second.tokens();
            assert_ne!(second.refresh, first.refresh);
            assert_eq!(server.metric("passerby_refresh_grace_uses_total").await, 0);
            // the answer was lost: the same token again gets the same successor, not a second branch
            for uses in 1..=3 {
                let again = rotate(&first.refresh).await.tokens();
                assert_eq!(again.refresh, second.refresh);
                assert_eq!(server.call(VIEW).bearer(&again.access).send().await.status, 200);
                assert_eq!(server.metric("passerby_refresh_grace_uses_total").await, uses);
            }
            let third = rotate(&second.refresh).await.tokens();
            assert_eq!(payload(&third.refresh)["ctr"], 2);
            assert_eq!(server.metric("passerby_refresh_reuses_total").await, 0);
            // two steps behind: a thief has a copy
            rotate(&first.refresh).await.assert_problem(401, "session-ended");
            assert_eq!(server.metric("passerby_refresh_reuses_total").await, 1);
            for token in [&first.refresh, &second.refresh, &third.refresh] {
                rotate(token).await.assert_problem(401, "session-ended");
            }
            server.call(VIEW).bearer(&third.access).send().await.assert_problem(401, "session-ended");
            assert!(!server.has_record(&first.user));
            assert_eq!(server.metric("passerby_refresh_reuses_total").await, 1);
        })
        .await;
}

/// S32: two uses of one token at the same time have one successor.
#[actix_web::test]
async fn uses_at_the_same_time_have_the_same_successor() {
    World::new()
        .serve(async |server| {
            for _ in 0..20 {
                let first = server.log_in_v1().await;
                let uses = (0..4).map(|_| server.call(ROTATE).bearer(&first.refresh).send());
                let answers = futures_util::future::join_all(uses).await;
                let successors: Vec<_> = answers.iter().map(|answer| answer.tokens().refresh).collect();
                assert!(successors.iter().all(|token| *token == successors[0]), "{answers:?}");
                assert_eq!(server.call(ROTATE).bearer(&successors[0]).send().await.status, 200);
            }
        })
        .await;
}

/// S32: grace can be switched off; then any second use ends the session.
#[actix_web::test]
async fn without_grace_a_second_use_ends_the_session() {
    World::new()
        .set("refresh.grace", "0")
        .serve(async |server| {
            let first = server.log_in_v1().await;
            let second = server.call(ROTATE).bearer(&first.refresh).send().await.tokens();
            server.call(ROTATE).bearer(&first.refresh).send().await.assert_problem(401, "session-ended");
            server.call(ROTATE).bearer(&second.refresh).send().await.assert_problem(401, "session-ended");
            server.call(VIEW).bearer(&second.access).send().await.assert_problem(401, "session-ended");
            assert_eq!(server.metric("passerby_refresh_reuses_total").await, 1);
            assert_eq!(server.metric("passerby_refresh_grace_uses_total").await, 0);
        })
        .await;
}

/// S33: `/v1` refresh tokens end with inactivity, and rotation slides their time, across restarts too.
#[actix_web::test]
async fn a_rotated_session_survives_a_restart_with_its_counter() {
    let world = World::new();
    let server = world.start().await;
    let first = server.log_in_v1().await;
    let second = server.call(ROTATE).bearer(&first.refresh).send().await.tokens();
    let third = server.call(ROTATE).bearer(&second.refresh).send().await.tokens();
    server.stop().await;
    world
        .serve(async |server| {
            let again = server.call(ROTATE).bearer(&second.refresh).send().await.tokens();
            assert_eq!(again.refresh, third.refresh);
            server.clock.advance_s(89 * DAY_S);
            let fourth = server.call(ROTATE).bearer(&third.refresh).send().await.tokens();
            server.clock.advance_s(90 * DAY_S);
            server.call(ROTATE).bearer(&fourth.refresh).send().await.assert_problem(401, "session-ended");
        })
        .await;
}

/// S27: a session keeps to the API that it was begun with.
#[actix_web::test]
async fn a_session_of_one_api_is_not_refreshed_by_the_other() {
    World::new()
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            server.call(ROTATE).bearer(&app.refresh).send().await.assert_problem(401, "wrong-token");
            let text = "invalid refresh token: incorrect token type";
            server.call(REFRESH).bearer(&v1.refresh).send().await.assert_client_error(401, None, text);
            // access tokens of both work on both
            assert_eq!(server.call(VIEW).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(PROFILE).bearer(&v1.access).send().await.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn requests_without_a_good_token_get_a_problem_and_a_challenge() {
    World::new()
        .serve(async |server| {
            for what in [VIEW, ROTATE, END, DELETE_USER] {
                server.call(what).send().await.assert_problem(401, "no-token");
                server.call(what).header("authorization", "Basic dTpw").send().await.assert_problem(401, "no-token");
                for token in ["null", "garbage", "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30."] {
                    server.call(what).bearer(token).send().await.assert_problem(401, "invalid-token");
                }
            }
        })
        .await;
}

/// S7, S20, S34: ending a session or a user works at once, and tells a browser to forget, if that is wanted.
#[actix_web::test]
async fn logout_and_delete_end_everything_and_clear_the_site_if_wanted() {
    for (setting, expected) in [("true", Some(r#""cache", "cookies", "storage""#)), ("false", None)] {
        World::new()
            .set("clear_site_data", setting)
            .serve(async |server| {
                for what in [END, DELETE_USER] {
                    let tokens = server.log_in_v1().await;
                    assert_eq!(server.call(VIEW).bearer(&tokens.access).send().await.status, 200);
                    let answer = server.call(what).bearer(&tokens.access).send().await;
                    assert_eq!((answer.status, answer.body.len(), answer.header("content-type")), (204, 0, None));
                    assert_eq!(answer.header("clear-site-data"), expected, "{what}");
                    assert!(!server.has_record(&tokens.user));
                    for again in [VIEW, END, DELETE_USER] {
                        server.call(again).bearer(&tokens.access).send().await.assert_problem(401, "session-ended");
                    }
                    server.call(ROTATE).bearer(&tokens.refresh).send().await.assert_problem(401, "session-ended");
                }
            })
            .await;
    }
}

/// S24: anyone can check an access token with the published keys, and no secret is among them.
#[actix_web::test]
async fn access_tokens_verify_with_the_published_keys() {
    World::new()
        .serve(async |server| {
            let answer = server.call(JWKS).send().await;
            assert_eq!((answer.status, answer.header("cache-control")), (200, Some("public, max-age=60")));
            let keys = answer.json()["keys"].as_array().unwrap().clone();
            assert_eq!(keys.len(), 1);
            let key = keys[0].as_object().unwrap();
            assert_eq!(key.keys().collect::<Vec<_>>(), ["alg", "crv", "kid", "kty", "use", "x"], "no private part");
            let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
            for tokens in [server.log_in().await, server.log_in_v1().await] {
                let (signed, signature) = tokens.access.rsplit_once('.').unwrap();
                let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
                let header: Value = serde_json::from_slice(&header).unwrap();
                assert_eq!(header, json!({"alg": "EdDSA", "kid": key["kid"], "typ": "at+jwt"}));
                let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
                UnparsedPublicKey::new(&ED25519, &public).verify(signed.as_bytes(), &signature).unwrap();
                let (signed, signature) = tokens.refresh.rsplit_once('.').unwrap();
                let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
                assert!(UnparsedPublicKey::new(&ED25519, &public).verify(signed.as_bytes(), &signature).is_err());
            }
        })
        .await;
    World::new()
        .set("access_alg", "HS256")
        .serve(async |server| {
            assert_eq!(server.call(JWKS).send().await.json(), json!({"keys": []}));
            let tokens = server.log_in_v1().await;
            assert_eq!(server.call(VIEW).bearer(&tokens.access).send().await.status, 200);
        })
        .await;
}

/// `new ObjectId(user.id)` in an application's code takes 24 digits and no UUID.
#[actix_web::test]
async fn new_users_have_ids_of_the_form_that_is_set_on_every_path() {
    for (form, of_app, of_v1) in [("auto", 24, 36), ("objectid", 24, 24), ("uuid", 36, 36)] {
        World::new()
            .set("ids.user", form)
            .serve(async |server| {
                let (app, v1) = (server.log_in().await, server.log_in_v1().await);
                let mut jar = Jar::default();
                let lazy = passed(&jar.visit(server, AUTO).await);
                assert_eq!((app.user.len(), v1.user.len(), lazy.len()), (of_app, of_v1, of_v1), "{form}");
                assert_eq!(passed(&jar.visit(server, AUTO).await), lazy, "{form}: made under the same id");
                for tokens in [&app, &v1] {
                    let profile = server.call(PROFILE).bearer(&tokens.access).send().await;
                    assert_eq!((profile.status, &profile.json()["user_id"]), (200, &json!(tokens.user)), "{form}");
                }
            })
            .await;
    }
}

/// S29: a new key signs, the one before goes on verifying, and no one gets a 401 for it.
#[actix_web::test]
async fn tokens_of_the_key_before_are_good_after_a_rotation() {
    use passerby::token::{KeyStore, KeyUse};
    let world = World::new();
    let server = world.start().await;
    let (app, v1) = (server.log_in().await, server.log_in_v1().await);
    server.stop().await;
    let ports = world.ports();
    let mut keys = KeyStore::load(&world.settings().keys_dir).unwrap();
    let new = keys.rotate(KeyUse::Access, &*ports.entropy, 1_700_000_100).unwrap();
    keys.rotate(KeyUse::Refresh, &*ports.entropy, 1_700_000_100).unwrap();
    world
        .serve(async |server| {
            assert_eq!(server.call(JWKS).send().await.json()["keys"].as_array().unwrap().len(), 2);
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(VIEW).bearer(&v1.access).send().await.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            let tokens = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
            let header = URL_SAFE_NO_PAD.decode(tokens.access.split('.').next().unwrap()).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            assert_eq!(header["kid"], new.id.to_string());
        })
        .await;
}
