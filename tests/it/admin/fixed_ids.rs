//! Ids that are given: again after their user is gone, and ids that tell no time.

use passerby::admin::Role;
use passerby_actors::testkit::until;
use serde_json::{Value, json};

use super::one_user::{find, send};
use super::{PASSWORD, log_in, token};
use crate::accounts;
use crate::readers::{AUTO, Jar, NEVER, passed};
use crate::world::{CREATE, DELETE_USER, END, ROTATE, TestServer, Tokens, VIEW, World};

async fn by_hand(server: &TestServer, admin: &str, user: &str) -> Tokens {
    let body = json!({ "user_id": user, "data": { "is": "new" }, "session": true });
    let created = send(server, admin, "POST ", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.tokens()
}

async fn in_a_batch(server: &TestServer, admin: &str, user: &str) -> Tokens {
    let body = json!({ "users": [{ "user_id": user, "data": { "is": "new" } }, {}], "session": true });
    let created = send(server, admin, "POST batch", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let text = |name: &str| created.json()["users"][0][name].as_str().unwrap().to_owned();
    Tokens { user: text("user_id"), access: text("access_token"), refresh: text("refresh_token") }
}

/// No token of these is good for anything.
async fn are_dead(server: &TestServer, old: &[Tokens]) {
    for tokens in old {
        for what in [VIEW, "GET /v1/data", "GET /v1/user/sessions", "POST /v1/session/transfer", DELETE_USER] {
            server.call(what).bearer(&tokens.access).send().await.assert_problem(401, "session-ended");
        }
        server.call(ROTATE).bearer(&tokens.refresh).send().await.assert_problem(401, "session-ended");
    }
}

async fn is_alive(server: &TestServer, tokens: &Tokens) {
    let data = server.call("GET /v1/data").bearer(&tokens.access).send().await;
    assert_eq!((data.status, &data.json()["is"]), (200, &json!("new")));
}

async fn code(server: &TestServer, tokens: &Tokens) -> String {
    let code = server.call("POST /v1/session/transfer").bearer(&tokens.access).send().await;
    json!({ "provider": "transfer", "code": code.json()["code"] }).to_string()
}

/// The tests of an app delete a user and create it again under the same id, within a second.
#[actix_web::test]
async fn no_token_of_an_earlier_user_is_one_of_the_user_who_is_created_under_its_id() {
    let world = World::new();
    let server = world.start().await;
    let ada = token(&server, "ada", Role::Operate).await;
    let first = server.log_in_v1().await;
    let user = first.user.clone();
    assert_eq!(server.call(END).bearer(&first.access).send().await.status, 204);
    let mut old = vec![first];
    for end in ["DELETE", "POST end-sessions", "itself", "its sessions"] {
        let new = by_hand(&server, &ada, &user).await;
        are_dead(&server, &old).await;
        is_alive(&server, &new).await;
        // of a second session, too
        let second = server.call(CREATE).body(code(&server, &new).await).send().await.tokens();
        is_alive(&server, &second).await;
        let pending = code(&server, &new).await;
        match end {
            "itself" => {
                assert_eq!(server.call(DELETE_USER).bearer(&new.access).send().await.status, 204);
            }
            "its sessions" => {
                assert_eq!(server.call(END).bearer(&new.access).send().await.status, 204);
                assert_eq!(server.call(END).bearer(&second.access).send().await.status, 204);
            }
            admins => {
                let (method, path) = admins.split_once(' ').unwrap_or((admins, ""));
                let path = format!("{method} {user}{}{path}", if path.is_empty() { "" } else { "/" });
                let ended = send(&server, &ada, &path, json!({})).await;
                assert!(matches!(ended.status, 200 | 204), "{ended:?}");
            }
        }
        old.extend([new, second]);
        are_dead(&server, &old).await;
        let again = in_a_batch(&server, &ada, &user).await;
        are_dead(&server, &old).await;
        is_alive(&server, &again).await;
        server.call(CREATE).body(pending).send().await.assert_problem(401, "invalid-credential");
        let bulk = json!({ "action": "delete", "filter": {}, "dry_run": false }).to_string();
        let begun = super::ask(&server, "POST /v1/admin/bulk").bearer(&ada).body(bulk).send().await;
        assert_eq!(begun.status, 202, "{begun:?}");
        until("all are gone", || server.server.store.users() == 0).await;
        until("the job has ended", || server.handle().bulk().is_some_and(|bulk| bulk.end.is_some())).await;
        old.push(again);
    }
    // from the journal, from a snapshot, and after inactivity
    let new = by_hand(&server, &ada, &user).await;
    assert_eq!(send(&server, &ada, &format!("DELETE {user}"), json!({})).await.status, 204);
    old.push(new);
    server.stop().await;
    world.clock.advance_us(1000);
    let server = world.start().await;
    old.push(by_hand(&server, &ada, &user).await);
    assert_eq!(send(&server, &ada, &format!("DELETE {user}"), json!({})).await.status, 204);
    let generations = || server.server.store.stats().generations.load(std::sync::atomic::Ordering::Relaxed);
    let before = generations();
    server.server.store.new_generation();
    until("the snapshot is complete", || generations() > before).await;
    server.stop().await;
    world.clock.advance_us(1000);
    let server = world.start().await;
    old.push(by_hand(&server, &ada, &user).await);
    are_dead(&server, &old[..old.len() - 1]).await;
    world.clock.advance_s(91 * 86_400);
    let pages = server.server.store.pages();
    server.server.janitor.sweep(pages).await.unwrap();
    assert_eq!(server.server.store.users(), 0);
    let ada = log_in(&server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
    let new = by_hand(&server, &ada, &user).await;
    // the access tokens have expired
    for tokens in &old {
        server.call(ROTATE).bearer(&tokens.refresh).send().await.assert_problem(401, "session-ended");
    }
    is_alive(&server, &new).await;
    server.stop().await;
}

#[actix_web::test]
async fn neither_a_cookie_nor_an_alias_of_an_earlier_user_leads_to_the_one_who_has_its_id() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            // readers: one who is stored, and one who had a first page
            let (mut lazy, mut jar) = (Jar::default(), Jar::default());
            let never_stored = passed(&lazy.visit(server, AUTO).await);
            let user = passed(&jar.visit(server, AUTO).await);
            let first = jar.0.clone();
            assert_eq!(passed(&jar.visit(server, AUTO).await), user);
            for id in [&never_stored, &user] {
                let deleted = send(server, &ada, &format!("DELETE {id}"), json!({})).await.status;
                assert_eq!(deleted, if id == &user { 204 } else { 404 });
            }
            // a cookie is still good that would bring this reader back
            let refused = send(server, &ada, "POST ", json!({ "user_id": user })).await;
            refused.assert_problem(409, "user-exists");
            assert!(refused.text().contains(&user), "{refused:?}");
            let new = by_hand(server, &ada, &never_stored).await;
            for cookie in [lazy.0, jar.0, first] {
                let mut jar = Jar(cookie);
                assert_eq!(jar.sent(server.call(NEVER)).send().await.status, 401);
                let other = passed(&jar.visit(server, AUTO).await);
                assert!(other != user && other != never_stored);
            }
            is_alive(server, &new).await;

            // an account, whose name is free again with it
            let account = |user: &str| json!({ "user_id": user, "email": "eve@example.com", "password": "a password of ten", "session": true });
            let id = "636aba021728b6c1c03db7f9";
            let mut old = Vec::new();
            for _ in 0..3 {
                let created = send(server, &ada, "POST ", account(id)).await;
                assert_eq!(created.status, 201, "{created:?}");
                are_dead(server, &old).await;
                old.push(created.tokens());
                let login = json!({ "provider": "local-userpass", "email": "eve@example.com", "password": "a password of ten" });
                old.push(server.call(CREATE).body(login.to_string()).send().await.tokens());
                assert_eq!(server.call(VIEW).bearer(&old[old.len() - 1].access).send().await.status, 200);
                assert_eq!(send(server, &ada, &format!("DELETE {id}"), Value::Null).await.status, 204);
            }

            // whoever became part of an account is not given away, and is no more when the account is gone
            let guest = by_hand(server, &ada, id).await;
            let owner = accounts::log_in_as(server, "owner").await;
            let join = json!({ "provider": "custom-token", "token": accounts::jwt("owner"), "on_conflict": "merge" });
            let joined = server.call("POST /v1/user/identities").bearer(&guest.access).body(join.to_string()).send().await;
            assert_eq!((joined.status, joined.tokens().user), (200, owner.user.clone()), "{joined:?}");
            send(server, &ada, "POST ", json!({ "user_id": id })).await.assert_problem(409, "user-exists");
            assert_eq!(send(server, &ada, &format!("DELETE {}", owner.user), Value::Null).await.status, 204);
            let new = by_hand(server, &ada, id).await;
            old.push(guest);
            are_dead(server, &old).await;
            is_alive(server, &new).await;
        })
        .await;
}

/// The ids of users who were elsewhere before: nearly all random UUIDs would tell a time that is to come.
#[actix_web::test]
async fn users_whose_ids_tell_no_time_are_found_and_stand_behind_all_others() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let ids = [
                "00000001-0000-4000-8000-000000000000",
                "550e8400-e29b-41d4-a716-446655440000",
                "ffffffff-ffff-4fff-bfff-ffffffffffff",
            ];
            let mut order = vec![server.log_in_v1().await.user];
            let created = server.call(VIEW).bearer(&server.log_in_v1().await.access).send().await.json();
            order.push(created["user_id"].as_str().unwrap().to_owned());
            order.sort();
            for (n, id) in ids.into_iter().enumerate() {
                let email = format!("{n}@example.com");
                let body = json!({ "user_id": id, "email": email, "password": "a password of ten", "session": true });
                let user = send(server, &ada, "POST ", body).await.json();
                assert_eq!((&user["created"], &user["last_seen"]), (&created["created"], &created["created"]), "{id}");
                for text in [user["session_id"].as_str().unwrap(), &email, id] {
                    let found = find(server, &ada, text).await;
                    assert_eq!((found.len(), &*found[0].0), (1, id), "{text}");
                }
                order.insert(n, id.to_owned());
            }
            let listed = async |query: &str| -> Vec<String> {
                let what = format!("GET /v1/admin/users?{query}");
                let answer = super::ask(server, &what).bearer(&ada).send().await;
                let users = answer.json()["users"].as_array().unwrap().clone();
                users.iter().map(|user| user["user_id"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(listed("order=oldest").await, order);
            assert_eq!(listed(&format!("order=oldest&after={}", ids[1])).await, order[2..]);
            for query in ["created_until=2100-01-01T00:00:00Z", "created_from=1970-01-01T00:00:00Z"] {
                assert_eq!(listed(&format!("order=oldest&{query}")).await, order[3..], "{query}");
            }
        })
        .await;
}
