//! Signing keys by the admin API: published, rotated and retired while the server runs.

use passerby::admin::Role;
use passerby::token::{KeyState, KeyStore, KeyUse};
use passerby_actors::testkit::SeededEntropy;
use serde_json::{Value, json};

use super::{ask, audit, token};
use crate::world::{Answer, JWKS, PROFILE, REFRESH, TestServer, World};

async fn post(server: &TestServer, token: &str, path: &str, body: Value) -> Answer {
    let what = format!("POST /v1/admin/signing-keys/{path}");
    ask(server, &what).bearer(token).body(body.to_string()).send().await
}

/// The keys of a use: their ids and states, the oldest first.
async fn keys(server: &TestServer, token: &str, usage: &str) -> Vec<(String, String)> {
    let answer = ask(server, "GET /v1/admin/signing-keys").bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = answer.json()["keys"].clone();
    let of_use = keys.as_array().unwrap().iter().filter(|key| key["use"] == usage);
    of_use.map(|key| (text(&key["id"]), text(&key["state"]))).collect()
}

async fn published_ids(server: &TestServer) -> Vec<String> {
    let keys = server.call(JWKS).send().await.json()["keys"].clone();
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn states(keys: &[(String, String)]) -> Vec<&str> {
    keys.iter().map(|(_, state)| state.as_str()).collect()
}

#[actix_web::test]
async fn a_key_is_published_before_it_signs_and_retired_when_nothing_rests_on_it() {
    let world = World::new();
    world
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            let user = server.log_in().await;
            let first = keys(server, &owner, "access").await;
            assert_eq!(states(&first), ["signing"]);

            let answer = post(server, &owner, "publish", json!({ "use": "access" })).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            let next = answer.json()["key"]["id"].as_str().unwrap().to_owned();
            assert_eq!(states(&keys(server, &owner, "access").await), ["signing", "published"]);
            assert_eq!(published_ids(server).await, [first[0].0.clone(), next.clone()]);
            let again = post(server, &owner, "publish", json!({ "use": "access" })).await;
            again.assert_problem(409, "key-published");
            let signs = post(server, &owner, &format!("{}/retire", first[0].0), json!({})).await;
            signs.assert_problem(409, "key-signs");

            let answer = post(server, &owner, "rotate", json!({ "use": "access" })).await;
            assert_eq!((&answer.json()["key"]["id"], &answer.json()["before"]), (&json!(next), &json!(first[0].0)));
            assert_eq!(states(&keys(server, &owner, "access").await), ["verifying", "signing"]);
            assert_eq!(server.call(PROFILE).bearer(&user.access).send().await.status, 200, "the old key verifies");
            let access = server.call(REFRESH).bearer(&user.refresh).send().await.json()["access_token"].clone();
            assert_eq!(server.call(PROFILE).bearer(access.as_str().unwrap()).send().await.status, 200);

            let retire = format!("{}/retire", first[0].0);
            let dry = post(server, &owner, &retire, json!({ "dry_run": true })).await.json();
            assert_eq!((&dry["retired"], &dry["ends"]["users_at_most"]), (&json!(false), &json!(0)));
            assert_eq!(keys(server, &owner, "access").await.len(), 2);
            assert_eq!(post(server, &owner, &retire, json!({})).await.json()["retired"], true);
            assert_eq!(keys(server, &owner, "access").await, [(next.clone(), "signing".to_owned())]);
            assert_eq!(server.call(PROFILE).bearer(&user.access).send().await.status, 401, "its tokens are refreshed");
            assert_eq!(server.call(PROFILE).bearer(access.as_str().unwrap()).send().await.status, 200);
            post(server, &owner, &retire, json!({})).await.assert_problem(404, "no-such-key");
            post(server, &owner, "rotate", json!({ "use": "acess" })).await.assert_problem(400, "bad-field");
            assert_eq!(server.metric("passerby_keys_missing").await, 0);

            let entries = audit(server, &owner, "&what=signing-key").await;
            let told: Vec<_> = entries.iter().map(|entry| (&entry["what"], &entry["outcome"])).collect();
            let entry = |what: &str, outcome: &str| (json!(format!("signing-key.{what}")), json!(outcome));
            let expected = [
                entry("retire", "done"),
                entry("rotate", "done"),
                entry("publish", "refused"),
                entry("publish", "done"),
            ];
            assert_eq!(told, expected.iter().map(|(what, outcome)| (what, outcome)).collect::<Vec<_>>());
        })
        .await;
    // and the next start finds it so
    world
        .serve(async |server| {
            let owner = token(server, "bob", Role::Owner).await;
            assert_eq!(states(&keys(server, &owner, "access").await), ["signing"]);
        })
        .await;
}

#[actix_web::test]
async fn with_a_refresh_key_its_sessions_end_and_the_answer_says_so() {
    World::new()
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            let old = server.log_in().await;
            let before = keys(server, &owner, "refresh").await[0].0.clone();
            assert_eq!(post(server, &owner, "rotate", json!({ "use": "refresh" })).await.status, 200);
            let new = server.log_in().await;
            let retired = post(server, &owner, &format!("{before}/retire"), json!({})).await.json();
            assert_eq!(retired["ends"]["users_at_most"], 2);
            assert_eq!(server.call(REFRESH).bearer(&old.refresh).send().await.status, 401);
            assert_eq!(server.call(REFRESH).bearer(&new.refresh).send().await.status, 201);
        })
        .await;
}

#[actix_web::test]
async fn what_another_changed_in_the_folder_is_left_to_the_next_start() {
    let world = World::new();
    world
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            let mut folder = KeyStore::load(&server.server.settings.keys_dir).unwrap();
            folder.publish(KeyUse::Cookie, &*SeededEntropy::new(7), server.server.wall_s()).unwrap();
            let answer = post(server, &owner, "rotate", json!({ "use": "cookie" })).await;
            answer.assert_problem(409, "keys-moved");
            assert_eq!(states(&keys(server, &owner, "cookie").await), ["signing"]);
            assert_eq!(KeyStore::load(&server.server.settings.keys_dir).unwrap().list(), folder.list());
        })
        .await;
    world
        .serve(async |server| {
            let cookie = server.server.keys.keys().into_iter().filter(|key| key.purpose == KeyUse::Cookie);
            assert_eq!(cookie.map(|key| key.state).collect::<Vec<_>>(), [KeyState::Signing, KeyState::Published]);
        })
        .await;
}
