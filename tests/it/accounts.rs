//! Accounts over HTTP: merging with all its conflicts, other screens, a user's own sessions, fresh logins, throttled guesses.

use awc::ws::Frame;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use passerby_actors::testkit::{DAY_S, values};
use serde_json::{Value, json};

use crate::world::{Answer, CREATE, END, LOGIN, PROFILE, REFRESH, ROTATE, TestServer, Tokens, VIEW, World};

const IDENTITIES: &str = "POST /v1/user/identities";
const TRANSFER: &str = "POST /v1/session/transfer";
const SESSIONS: &str = "GET /v1/user/sessions";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A world with JWTs of a second system, passwords without confirmation, and API keys.
#[track_caller]
pub(crate) fn world() -> World {
    world_with("")
}

/// The same with more in `passerby.toml`.
pub(crate) fn world_with(more: &str) -> World {
    let file = "[provider.custom_token]\nconfig = { audience = \"test\", signingAlgorithm = \"HS256\" }\n\
                secret_config = { signingKeys = [\"jwt-key\"] }\n\
                [provider.local_userpass]\nconfig = { autoConfirm = true }\n[provider.api_key]\nenabled = true\n";
    World::new().file(&format!("{file}{more}")).secret("JWT_KEY", SECRET)
}

/// The second system's JWT about this person, good for years of a test's time.
pub(crate) fn jwt(subject: &str) -> String {
    jwt_with(json!({ "sub": subject }))
}

/// The same with these claims.
pub(crate) fn jwt_with(mut claims: Value) -> String {
    claims["aud"] = json!("test");
    claims["exp"] = json!(4_000_000_000_u32);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

pub(crate) async fn log_in_as(server: &TestServer, subject: &str) -> Tokens {
    let body = json!({ "provider": "custom-token", "token": jwt(subject) });
    let answer = server.call(CREATE).body(body.to_string()).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.tokens()
}

async fn link(server: &TestServer, token: &str, subject: &str, more: Value) -> Answer {
    let mut body = json!({ "provider": "custom-token", "token": jwt(subject) });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.call(IDENTITIES).bearer(token).body(body.to_string()).send().await
}

async fn view(server: &TestServer, token: &str) -> Value {
    let answer = server.call(VIEW).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[actix_web::test]
async fn an_identity_in_use_is_refused_switched_to_or_merged_as_the_caller_says() {
    world()
        .serve(async |server| {
            let account = log_in_as(server, "a").await;
            let guest = server.log_in_v1().await;

            link(server, &guest.access, "a", json!({})).await.assert_problem(409, "identity-in-use");
            let answer = link(server, &guest.access, "a", json!({ "on_conflict": "often" })).await;
            answer.assert_problem(400, "unknown-on-conflict");
            let dry = async |on_conflict: &str| {
                let more = json!({ "on_conflict": on_conflict, "dry_run": true });
                link(server, &guest.access, "a", more).await.json()
            };
            let rejected = dry("reject").await;
            assert_eq!((&rejected["outcome"], &rejected["code"]), (&json!("rejected"), &json!("identity-in-use")));
            assert_eq!(dry("switch").await, json!({ "outcome": "switched", "user_id": account.user }));
            let preview = dry("merge").await;
            assert_eq!(preview["outcome"], "merged");
            assert_eq!(preview["merged_user_id"], guest.user);
            assert_eq!(preview["created"], view(server, &account.access).await["created"]);
            assert_eq!(view(server, &guest.access).await["anonymous"], true, "nothing was done");

            let switched = link(server, &guest.access, "a", json!({ "on_conflict": "switch" })).await.tokens();
            assert_eq!(switched.user, account.user);
            assert_eq!(view(server, &guest.access).await["user_id"], guest.user, "the guest stays");

            let answer = link(server, &guest.access, "a", json!({ "on_conflict": "merge" })).await;
            assert_eq!((answer.status, &answer.json()["merged_user_id"]), (200, &Value::from(guest.user.clone())));
            let merged = answer.tokens();
            assert_eq!(merged.user, account.user);
            assert_eq!(view(server, &merged.access).await["aliases"], json!([guest.user]));
            assert_eq!(view(server, &account.access).await["user_id"], account.user, "its own session goes on");
            assert_eq!(server.metric("passerby_merges_total").await, 1);

            // it is free: a merge is a link, and a repeat changes nothing
            let other = server.log_in_v1().await;
            let linked = link(server, &other.access, "b", json!({ "on_conflict": "merge" })).await;
            assert_eq!(linked.json().get("merged_user_id"), None);
            let linked = linked.tokens();
            assert_eq!(linked.user, other.user);
            let preview = link(server, &linked.access, "b", json!({ "dry_run": true })).await.json();
            assert_eq!(preview["outcome"], "unchanged");
            // an account is not merged away, nor a user into a disabled one
            let answer = link(server, &linked.access, "a", json!({ "on_conflict": "merge" })).await;
            answer.assert_problem(409, "not-anonymous");
            let preview = link(server, &linked.access, "a", json!({ "on_conflict": "merge", "dry_run": true })).await;
            assert_eq!(preview.json()["outcome"], "rejected");
            let id = passerby_actors::domain::UserId::parse(&account.user).unwrap();
            server.handle().disable(&id).await.unwrap();
            let late = server.log_in_v1().await;
            let answer = link(server, &late.access, "a", json!({ "on_conflict": "merge" })).await;
            answer.assert_problem(403, "user-disabled");
            assert_eq!(view(server, &late.access).await["anonymous"], true);
        })
        .await;
}

/// S6: an alias resolves ids that are data, and is the subject of nothing.
#[actix_web::test]
async fn no_token_or_code_from_before_a_merge_is_worth_anything_after_it() {
    world()
        .serve(async |server| {
            let account = log_in_as(server, "a").await;
            let sdk = server.log_in().await;
            let code = server.call(TRANSFER).bearer(&sdk.access).send().await.json()["code"].clone();
            let v1 = server.call(CREATE).body(json!({ "provider": "transfer", "code": code }).to_string()).send().await;
            let v1 = v1.tokens();
            assert_eq!(v1.user, sdk.user);
            let code = server.call(TRANSFER).bearer(&sdk.access).send().await.json()["code"].clone();
            let merged = link(server, &v1.access, "a", json!({ "on_conflict": "merge" })).await.tokens();
            assert_eq!(merged.user, account.user);

            for access in [&sdk.access, &v1.access] {
                server.call(VIEW).bearer(access).send().await.assert_problem(401, "session-ended");
                let answer = server.call(PROFILE).bearer(access).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), "invalid session: session not found");
                server.call(TRANSFER).bearer(access).send().await.assert_problem(401, "session-ended");
                server.call(END).bearer(access).send().await.assert_problem(401, "session-ended");
            }
            server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(401, "session-ended");
            let answer = server.call(REFRESH).bearer(&sdk.refresh).send().await;
            let dead = "invalid session: failed to find refresh token";
            answer.assert_client_error(401, Some("InvalidSession"), dead);
            let cookie = server.cookie_token(&sdk);
            server.call(ROTATE).bearer(&cookie).send().await.assert_problem(401, "wrong-token");
            let used = server.call(CREATE).body(json!({ "provider": "transfer", "code": code }).to_string());
            used.send().await.assert_problem(401, "invalid-credential");
            link(server, &v1.access, "c", json!({})).await.assert_problem(401, "session-ended");
        })
        .await;
}

#[actix_web::test]
async fn a_merge_whose_answer_was_lost_can_be_asked_for_again_for_ten_minutes() {
    world()
        .serve(async |server| {
            let account = log_in_as(server, "a").await;
            log_in_as(server, "b").await;
            let guest = server.log_in_v1().await;
            let merge = json!({ "on_conflict": "merge" });
            server.clock.advance_s(1500);
            let first = link(server, &guest.access, "a", merge.clone()).await.tokens();
            // by now the token's own time is over too: its signature counts
            server.clock.advance_s(599);
            let again = link(server, &guest.access, "a", merge.clone()).await;
            assert_eq!(again.json()["merged_user_id"], guest.user);
            let again = again.tokens();
            assert_eq!(again.user, account.user);
            assert_ne!(again.refresh, first.refresh);
            view(server, &again.access).await;
            // a different person's credential, no credential, no merge
            link(server, &guest.access, "b", merge.clone()).await.assert_problem(401, "token-expired");
            link(server, &guest.access, "a", json!({})).await.assert_problem(401, "token-expired");
            server.clock.advance_s(1);
            link(server, &guest.access, "a", merge).await.assert_problem(401, "token-expired");
        })
        .await;
}

#[actix_web::test]
async fn a_link_whose_answer_was_lost_can_be_asked_for_again_for_ten_minutes() {
    world()
        .serve(async |server| {
            log_in_as(server, "other").await;
            let guest = server.log_in_v1().await;
            server.clock.advance_s(1500);
            let first = link(server, &guest.access, "a", json!({})).await.tokens();
            assert_eq!(first.user, guest.user);
            // by now the token's own time is over too: its signature counts
            server.clock.advance_s(599);
            for on_conflict in ["reject", "switch", "merge"] {
                let again = link(server, &guest.access, "a", json!({ "on_conflict": on_conflict })).await;
                assert_eq!((again.status, again.json().get("merged_user_id")), (200, None), "{again:?}");
                let again = again.tokens();
                assert_eq!(again.user, guest.user);
                let session = view(server, &again.access).await["session_id"].clone();
                assert_eq!(session, view(server, &first.access).await["session_id"], "the same session");
            }
            let named = json!({ "provider": "custom-token", "token": jwt("a") }).to_string();
            let named = server.call(IDENTITIES).bearer(&guest.access).header("idempotency-key", "1").body(named);
            let named = named.send().await.tokens();
            assert_eq!(server.call(ROTATE).bearer(&named.refresh).send().await.status, 200);

            // not without the proof, nor with a different one, nor as a dry run
            for (subject, more) in [
                ("b", json!({})),
                ("other", json!({})),
                ("other", json!({ "on_conflict": "switch" })),
                ("a", json!({ "dry_run": true })),
            ] {
                link(server, &guest.access, subject, more).await.assert_problem(401, "token-expired");
            }
            server.call(VIEW).bearer(&guest.access).send().await.assert_problem(401, "token-expired");
            server.call(ROTATE).bearer(&guest.refresh).send().await.assert_problem(401, "session-ended");
            server.clock.advance_s(1);
            link(server, &guest.access, "a", json!({})).await.assert_problem(401, "token-expired");

            // a session of an SDK goes on under its number; one that has ended since is not begun again
            let sdk = server.log_in().await;
            assert_eq!(link(server, &sdk.access, "c", json!({})).await.status, 200);
            server.call(VIEW).bearer(&sdk.access).send().await.assert_problem(401, "session-ended");
            let again = link(server, &sdk.access, "c", json!({})).await.tokens();
            assert_eq!(again.user, sdk.user);
            assert_eq!(server.call(END).bearer(&again.access).send().await.status, 204);
            link(server, &sdk.access, "c", json!({})).await.assert_problem(401, "session-ended");
        })
        .await;
}

#[actix_web::test]
async fn a_transfer_code_makes_another_session_of_the_same_user_once_and_for_two_minutes() {
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

/// Someone's API key, and its id.
async fn key(server: &TestServer, owner: &Tokens, name: &str) -> (String, String) {
    let body = json!({ "name": name }).to_string();
    let answer = server.call("POST /v1/user/api-keys").bearer(&owner.access).body(body).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = |field: &str| answer.json()[field].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

async fn log_in_by_key(server: &TestServer, key: &str) -> Tokens {
    let body = json!({ "provider": "api-key", "key": key }).to_string();
    let answer = server.call(CREATE).body(body).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.tokens()
}

async fn log_in_by_key_with_an_sdk(server: &TestServer, key: &str) -> Tokens {
    let login = LOGIN.replace("anon-user", "api-key");
    server.call(&login).body(json!({ "key": key }).to_string()).send().await.tokens()
}

async fn sessions(server: &TestServer, owner: &Tokens) -> Vec<(String, Value)> {
    let listed = server.call(SESSIONS).bearer(&owner.access).send().await.json();
    let entry = |entry: &Value| (entry["method"].as_str().unwrap().to_owned(), entry["api_key_id"].clone());
    listed["sessions"].as_array().unwrap().iter().map(entry).collect()
}

/// S49: a person who finds a program's key does not become the account's owner.
#[actix_web::test]
async fn a_session_that_an_api_key_began_uses_the_data_and_changes_nothing_of_the_account() {
    let world = world();
    let server = world.start().await;
    let owner = log_in_as(&server, "a").await;
    let (key, key_id) = key(&server, &owner, "program").await;
    let program = log_in_by_key(&server, &key).await;
    let sdk = log_in_by_key_with_an_sdk(&server, &key).await;
    let own = |call: crate::world::Call| call.header("sec-fetch-site", "same-origin");
    let by_cookie = json!({ "mode": "cookie", "provider": "api-key", "key": key }).to_string();
    let by_cookie = own(server.call(CREATE)).body(by_cookie).send().await;
    let cookie = by_cookie.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();

    let identity = "/v1/user/identities/custom-token/a";
    let one_key = format!("/v1/user/api-keys/{key_id}");
    let listed = server.call(SESSIONS).bearer(&owner.access).send().await.json();
    let owners_session = format!("DELETE /v1/user/sessions/{}", listed["sessions"][0]["session_id"].as_str().unwrap());
    let link = json!({ "provider": "custom-token", "token": jwt("b") });
    let refused = [
        ("GET /v1/user/identities".to_owned(), json!({})),
        (IDENTITIES.to_owned(), link.clone()),
        (IDENTITIES.to_owned(), json!({ "provider": "custom-token", "token": jwt("b"), "dry_run": true })),
        (IDENTITIES.to_owned(), json!({ "provider": "api-key", "key": key })),
        (format!("DELETE {identity}"), json!({})),
        ("GET /v1/user/api-keys".to_owned(), json!({})),
        ("POST /v1/user/api-keys".to_owned(), json!({ "name": "more" })),
        (format!("PATCH {one_key}"), json!({ "disabled": true })),
        (format!("DELETE {one_key}"), json!({})),
        (SESSIONS.to_owned(), json!({})),
        ("DELETE /v1/user/sessions".to_owned(), json!({})),
        (owners_session, json!({})),
        (TRANSFER.to_owned(), json!({})),
        ("GET /v1/user/export".to_owned(), json!({})),
        ("PUT /v1/user/password".to_owned(), json!({ "current_password": "a password", "password": "another" })),
        ("DELETE /v1/user".to_owned(), json!({})),
    ];
    for (what, body) in &refused {
        let call = || {
            let call = server.call(what);
            if what.starts_with("GET") || what.starts_with("DELETE") { call } else { call.body(body.to_string()) }
        };
        for access in [&program.access, &sdk.access] {
            let answer = call().bearer(access).send().await;
            assert_eq!(answer.status, 403, "{what}: {answer:?}");
            answer.assert_problem(403, "insufficient-scope");
        }
        own(call()).header("cookie", &cookie).send().await.assert_problem(403, "insufficient-scope");
    }
    let (keys, login) = ("/api/client/v2.0/auth/api_keys", LOGIN.replace("anon-user", "custom-token") + "?link=true");
    for (what, token) in [
        (login, &sdk.access),
        ("DELETE /api/client/v2.0/auth/delete".to_owned(), &sdk.access),
        (format!("GET {keys}"), &sdk.refresh),
        (format!("POST {keys}"), &sdk.refresh),
        (format!("GET {keys}/{key_id}"), &sdk.refresh),
        (format!("PUT {keys}/{key_id}/disable"), &sdk.refresh),
        (format!("PUT {keys}/{key_id}/enable"), &sdk.refresh),
        (format!("DELETE {keys}/{key_id}"), &sdk.refresh),
    ] {
        let body = json!({ "name": "more", "token": jwt("b") }).to_string();
        let call = server.call(&what).bearer(token);
        let answer = if what.starts_with("POST") { call.body(body) } else { call }.send().await;
        let text = "a session that an API key began may use the account's data and nothing else: log in in another way";
        answer.assert_client_error(403, Some("AuthError"), text);
    }

    // what it is for
    for access in [&program.access, &sdk.access] {
        for (what, status) in [
            (VIEW, 200),
            (PROFILE, 200),
            ("GET /verify", 204),
            ("GET /v1/meters", 200),
            ("POST /v1/socket-ticket", 201),
            ("DELETE /v1/data", 200),
        ] {
            let answer = server.call(what).bearer(access).send().await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
        }
        let put = server.call("PUT /v1/data").bearer(access).body(r#"{"by":"a program"}"#).send().await;
        assert_eq!(put.status, 200, "{put:?}");
    }
    let program = server.call(ROTATE).bearer(&program.refresh).send().await.tokens();
    assert_eq!(server.call(REFRESH).bearer(&sdk.refresh).send().await.status, 201);

    let by_key = || ("api-key".to_owned(), Value::from(key_id.clone()));
    let by_token = || ("custom-token".to_owned(), Value::Null);
    assert_eq!(
        sessions(&server, &owner).await,
        [by_token(), by_key(), by_key(), by_key()],
        "nobody was ended or begun"
    );
    let export = server.call("GET /v1/user/export").bearer(&owner.access).send().await.json();
    assert_eq!(export["identities"].as_array().map(Vec::len), Some(1));
    assert_eq!(export["sessions"][1]["method"], "api-key");
    server.stop().await;

    // a restart gives it no more; and it may end itself, in both ways
    let server = world.start().await;
    server.call(SESSIONS).bearer(&program.access).send().await.assert_problem(403, "insufficient-scope");
    assert_eq!(server.call(END).bearer(&program.access).send().await.status, 204);
    let itself = view(&server, &sdk.access).await["session_id"].as_str().unwrap().to_owned();
    let itself = format!("DELETE /v1/user/sessions/{itself}");
    assert_eq!(server.call(&itself).bearer(&sdk.access).send().await.status, 204);
    assert_eq!(sessions(&server, &owner).await, [by_token(), by_key()]);
    server.stop().await;
}

/// S49.
#[actix_web::test]
async fn with_a_key_end_its_sessions_and_their_sockets_and_no_others() {
    world()
        .serve(async |server| {
            let owner = log_in_as(server, "a").await;
            let (kept, _) = key(server, &owner, "kept").await;
            let kept = log_in_by_key(server, &kept).await;
            for (name, what, body) in
                [("a", "PATCH /v1/user/api-keys/", r#"{"disabled":true}"#), ("b", "DELETE /v1/user/api-keys/", "")]
            {
                let (key, id) = key(server, &owner, name).await;
                let (v1, sdk) = (log_in_by_key(server, &key).await, log_in_by_key_with_an_sdk(server, &key).await);
                let ticket = server.call("POST /v1/socket-ticket").bearer(&v1.access).send().await.json();
                let late = server.call("POST /v1/socket-ticket").bearer(&v1.access).send().await.json();
                let open = async |ticket: &Value| {
                    let offer = format!("ticket.{}", ticket["ticket"].as_str().unwrap());
                    let url = format!("http://{}/v1/socket", server.address);
                    crate::world::client().ws(url).protocols(["passerby.v1", &offer]).connect().await
                };
                let (_, mut socket) = open(&ticket).await.unwrap();
                let answer = server.call(&format!("{what}{id}")).bearer(&owner.access).body(body).send().await;
                assert_eq!(answer.status, 204, "{answer:?}");
                server.call(VIEW).bearer(&v1.access).send().await.assert_problem(401, "session-ended");
                server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(401, "session-ended");
                assert_eq!(server.call(REFRESH).bearer(&sdk.refresh).send().await.status, 401);
                assert!(open(&late).await.is_err(), "nor does a ticket begin anything");
                let mut told = String::new();
                while let Some(Ok(Frame::Text(text))) = socket.next().await {
                    told = String::from_utf8(text.to_vec()).unwrap();
                }
                assert_eq!(told, r#"{"type":"session.ended","reason":"ended"}"#);
            }
            view(server, &kept.access).await;
            view(server, &owner.access).await;
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

async fn with_password(server: &TestServer, password: &str) -> Answer {
    let body = json!({ "provider": "local-userpass", "email": "a@example.test", "password": password });
    server.call(CREATE).body(body.to_string()).send().await
}

/// S35, S37: guesses cost more and more time, an account is never locked, and the right password clears the count.
#[actix_web::test]
async fn guesses_at_a_password_are_throttled_and_a_success_forgives() {
    world()
        .serve(async |server| {
            let body = json!({ "email": "a@example.test", "password": "the right one" }).to_string();
            let registered = server.call("POST /v1/registrations").body(body.clone()).send().await;
            assert_eq!((registered.status, registered.body.len()), (202, 0));
            let again = server.call("POST /v1/registrations").body(body).send().await;
            assert_eq!(again.status, 202, "whoever asks learns nothing");
            assert_eq!(with_password(server, "the right one").await.status, 201);

            for _ in 0..6 {
                with_password(server, "a wrong one").await.assert_problem(401, "invalid-credential");
            }
            let throttled = with_password(server, "the right one").await;
            throttled.assert_problem(429, "too-many-attempts");
            let wait: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
            assert_eq!(wait, 1);
            // the App Services path counts with it
            let login = LOGIN.replace("anon-user", "local-userpass");
            let body = json!({ "username": "a@example.test", "password": "the right one" }).to_string();
            let answer = server.call(&login).body(body.clone()).send().await;
            answer.assert_client_error(429, Some("TooManyRequests"), "too many attempts, the next is possible in 1 s");
            // others are not held back
            let body_of_another = json!({ "username": "b@example.test", "password": "x" }).to_string();
            let answer = server.call(&login).body(body_of_another).send().await;
            answer.assert_client_error(401, Some("InvalidPassword"), "unauthorized");
            server.clock.advance_s(wait);
            let user = with_password(server, "the right one").await;
            assert_eq!(user.status, 201, "{user:?}");
            for _ in 0..5 {
                with_password(server, "a wrong one").await.assert_problem(401, "invalid-credential");
            }
            assert_eq!(with_password(server, "the right one").await.status, 201, "the count began anew");

            let change = async |token: &str, current: &str| {
                let body = json!({ "current_password": current, "password": "another one" });
                server.call("PUT /v1/user/password").bearer(token).body(body.to_string()).send().await
            };
            let (one, two) = (user.tokens(), with_password(server, "the right one").await.tokens());
            change(&one.access, "not it").await.assert_problem(403, "wrong-password");
            assert_eq!(change(&one.access, "the right one").await.status, 204);
            view(server, &one.access).await;
            server.call(VIEW).bearer(&two.access).send().await.assert_problem(401, "session-ended");
            with_password(server, "the right one").await.assert_problem(401, "invalid-credential");
            assert_eq!(with_password(server, "another one").await.status, 201);
            let guest = server.log_in_v1().await;
            change(&guest.access, "x").await.assert_problem(409, "no-password");
            assert_eq!(values(&*server.server.store), 1);
        })
        .await;
}

/// What readers use of their meters leaves the room of accounts alone.
#[actix_web::test]
async fn only_users_and_passwords_take_the_room_of_registrations() {
    World::new()
        .file(
            "[provider.local_userpass]\nconfig = { autoConfirm = true }\n\
             [meter.a]\nlimit = 2\nwindow = \"day\"\n[meter.b]\nlimit = 2\nwindow = \"day\"\n",
        )
        .set("max_users", "11")
        .serve(async |server| {
            for _ in 0..2 {
                let tokens = server.log_in_v1().await;
                for meter in ["a", "b"] {
                    let call = server.call(&format!("POST /v1/meters/{meter}")).bearer(&tokens.access);
                    assert_eq!(call.header("idempotency-key", "1").body("").send().await.status, 200);
                }
            }
            let register = async |name: &str| {
                let body = json!({ "email": name, "password": "a long password" }).to_string();
                server.call(&LOGIN.replace("anon-user/login", "local-userpass/register")).body(body).send().await
            };
            assert_eq!(register("a@example.test").await.status, 201);
            assert_eq!(register("b@example.test").await.status, 201);
            register("c@example.test").await.assert_client_error(503, Some("ServiceUnavailable"), "capacity");
        })
        .await;
}

/// What people type is the same whichever way a keyboard composes its letters, on both paths.
#[actix_web::test]
async fn a_name_and_a_password_are_the_same_however_they_are_composed() {
    let composed = ("j\u{fc}rgen@example.com", "caf\u{e9} au lait");
    let decomposed = ("ju\u{308}rgen@example.com", "cafe\u{301} au lait");
    world()
        .serve(async |server| {
            let login = async |(email, password): (&str, &str)| {
                let body = json!({ "provider": "local-userpass", "email": email, "password": password });
                server.call(CREATE).body(body.to_string()).send().await
            };
            let body = json!({ "email": decomposed.0, "password": decomposed.1 });
            assert_eq!(server.call("POST /v1/registrations").body(body.to_string()).send().await.status, 202);
            let mut users = Vec::new();
            for name in [composed.0, decomposed.0] {
                for password in [composed.1, decomposed.1] {
                    let answer = login((name, password)).await;
                    assert_eq!(answer.status, 201, "{answer:?}");
                    users.push(answer.json()["user_id"].clone());
                }
                let body = json!({ "username": name, "password": composed.1 }).to_string();
                let sdk = LOGIN.replace("anon-user", "local-userpass");
                assert_eq!(server.call(&sdk).body(body).send().await.status, 200);
                login((name, "cafe au lait")).await.assert_problem(401, "invalid-credential");
            }
            assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
            login(("jurgen@example.com", composed.1)).await.assert_problem(401, "invalid-credential");
        })
        .await;
}
