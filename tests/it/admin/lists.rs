//! Lists of users, searches and bulk jobs of the admin API.

use passerby::admin::Role;
use passerby_actors::actor::Proof;
use passerby_actors::domain::{DeviceId, IdForm, IdentityKey, SessionId, SessionKind, UserId};
use serde_json::{Value, json};

use super::{app, ask, audit, token};
use crate::world::{Answer, PROFILE, TestServer, World};

async fn get(server: &TestServer, token: &str, path: &str) -> Answer {
    ask(server, &format!("GET /v1/admin{path}")).bearer(token).send().await
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let users = answer.json()["users"].clone();
    users.as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn users_are_listed_page_by_page_with_filters_and_counts() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let mut users = Vec::new();
            for _ in 0..5 {
                users.push(server.log_in().await.user);
                server.clock.advance_s(60);
            }
            server.handle().disable(&UserId::parse(&users[1]).unwrap()).await.unwrap();

            let first = get(server, &ada, "/users?limit=3&order=oldest").await;
            assert_eq!(ids(&first), users[..3]);
            let next = first.json()["next"].as_str().unwrap().to_owned();
            let second = get(server, &ada, &format!("/users?limit=3&order=oldest&after={next}")).await;
            assert_eq!((ids(&second), &second.json()["next"]), (users[3..].to_vec(), &Value::Null));
            assert_eq!(ids(&get(server, &ada, "/users?limit=1").await), users[4..], "the newest comes first");
            assert_eq!(ids(&get(server, &ada, "/users?disabled=true").await), users[1..2]);
            assert_eq!(ids(&get(server, &ada, "/users?anonymous=false").await).len(), 0);
            let created = first.json()["users"][2]["created"].as_str().unwrap().to_owned();
            for (field, expected) in [("created", 2), ("seen", 2)] {
                let until = get(server, &ada, &format!("/users?{field}_until={created}")).await;
                assert_eq!(ids(&until).len(), expected, "{field}");
                let from = get(server, &ada, &format!("/users?{field}_from={created}")).await;
                assert_eq!(ids(&from).len(), 5 - expected, "{field}");
            }
            for (filter, expected) in [("", 5), ("disabled=true&", 1), ("anonymous=false&", 0)] {
                let page = get(server, &ada, &format!("/users?{filter}limit=1&count=true")).await.json();
                assert_eq!(page["count"], expected, "{filter}");
            }
            assert_eq!(first.json().get("count"), None);
            let counts = get(server, &ada, "/users/counts").await.json();
            let some = ["users", "anonymous", "accounts", "disabled"].map(|name| counts[name].as_u64().unwrap());
            assert_eq!(some, [5, 5, 0, 1]);

            let one = get(server, &ada, &format!("/users/{}", users[1])).await.json();
            assert_eq!((&one["disabled"], &one["anonymous"]), (&json!(true), &json!(true)));
            assert_eq!(one["sessions"].as_array().unwrap().len(), 1);
            get(server, &ada, "/users/636aba021728b6c1c03db7f9").await.assert_problem(404, "user-not-found");
            for bad in ["order=best", "after=x", "limit=0", "limit=501", "never=true", "count=1"] {
                get(server, &ada, &format!("/users?{bad}")).await.assert_problem(400, "bad-query");
            }
            for bad in ["disabled=1", "created_from=yesterday"] {
                get(server, &ada, &format!("/users?{bad}")).await.assert_problem(400, "bad-field");
            }

            // and as the scripts of App Services ask
            let of_scripts = async |query: &str| {
                let what = format!("GET {}/users{query}", app(server));
                let answer = ask(server, &what).bearer(&ada).send().await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let users = answer.json();
                users
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|user| user["_id"].as_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(of_scripts("").await, users);
            assert_eq!(of_scripts(&format!("?after={}&sort=_id", users[2])).await, users[3..]);
            assert_eq!(of_scripts("?sort=_id&desc=true").await, users.iter().rev().cloned().collect::<Vec<_>>());
            assert_eq!(of_scripts("?status=disabled").await, users[1..2]);
            assert_eq!(of_scripts("?provider_types=anon-user").await, users);
            assert_eq!(of_scripts("?provider_types=local-userpass,custom-token").await.len(), 0);
        })
        .await;
}

#[actix_web::test]
async fn a_user_is_found_by_whatever_is_pasted() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let (user, other) = (server.log_in().await, server.log_in_v1().await);
            let find = async |text: &str| {
                let body = json!({ "text": text }).to_string();
                let answer = ask(server, "POST /v1/admin/users/find").bearer(&ada).body(body).send().await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let users = answer.json()["users"].clone();
                let users = users.as_array().unwrap().iter();
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                users.map(|user| (text(&user["user_id"]), text(&user["found_by"]))).collect::<Vec<_>>()
            };
            let id = UserId::parse(&user.user).unwrap();
            for (text, by) in [
                (user.user.clone(), "user-id"),
                (format!("  {}\n", user.user), "user-id"),
                (user.access.clone(), "access-token"),
                (user.refresh.clone(), "refresh-token"),
                (id.anonymous_identity(), "identity"),
                (SessionId::derive(&id, 1).to_string(), "session-or-key"),
            ] {
                assert_eq!(find(&text).await, [(user.user.clone(), by.to_owned())], "{by}");
            }
            assert_eq!(find(&other.access).await, [(other.user.clone(), "access-token".to_owned())]);
            // a token whose time is over still says whose it was
            server.clock.advance_s(1801);
            assert_eq!(find(&user.access).await.len(), 1);
            for text in ["nobody", "nobody@example.com", "636aba021728b6c1c03db7f9", "a.b.c"] {
                assert_eq!(find(text).await, [], "{text}");
            }
        })
        .await;
}

#[actix_web::test]
async fn a_bulk_job_says_what_it_would_do_does_it_and_is_written_down() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let user = server.log_in().await;
            server.log_in().await;
            get(server, &ada, "/bulk").await.assert_problem(404, "no-bulk-job");
            let begin =
                async |body: Value| ask(server, "POST /v1/admin/bulk").bearer(&ada).body(body.to_string()).send().await;
            let done = async |body: Value| {
                let begun = begin(body).await;
                assert_eq!(begun.status, 202, "{begun:?}");
                loop {
                    let progress = get(server, &ada, "/bulk").await.json();
                    if progress["state"] != "running" {
                        assert_eq!((&progress["state"], &progress["error"]), (&json!("done"), &Value::Null));
                        break progress["users"].clone();
                    }
                }
            };
            let filter = json!({ "anonymous": true });
            let users = json!({ "matched": 2, "changed": 2, "removed": 0, "unchanged": 0, "busy": 0 });
            assert_eq!(done(json!({ "action": "disable", "filter": filter, "dry_run": true })).await, users);
            assert_eq!(server.call(PROFILE).bearer(&user.access).send().await.status, 200, "a dry run");
            assert_eq!(done(json!({ "action": "disable", "filter": filter })).await, users);
            assert_eq!(server.call(PROFILE).bearer(&user.access).send().await.status, 401);
            let users = json!({ "matched": 2, "changed": 0, "removed": 2, "unchanged": 0, "busy": 0 });
            assert_eq!(done(json!({ "action": "delete", "filter": {} })).await, users);
            assert!(!server.has_record(&user.user));

            for (body, code) in [
                (json!({ "action": "delete" }), "bad-field"),
                (json!({ "action": "delete", "filter": [] }), "bad-field"),
                (json!({ "action": "delete", "filter": { "disable": true } }), "bad-field"),
                (json!({ "action": "explode", "filter": {} }), "bad-field"),
                (json!({ "action": "delete", "filter": {}, "dry_run": 1 }), "bad-field"),
            ] {
                begin(body).await.assert_problem(400, code);
            }
            let stop = ask(server, "POST /v1/admin/bulk/1/stop").bearer(&ada).send().await;
            stop.assert_problem(404, "no-bulk-job");

            // who began it stands in the log before anything is done, and how it ended after it
            let ends = async || audit(server, &ada, "&what=bulk.end").await;
            while ends().await.len() < 3 {}
            let last = &ends().await[0];
            assert_eq!((&last["who"], &last["whom"]), (&json!("ada"), &json!("3")));
            assert_eq!(last["after"]["users"]["removed"], 2);
            let begun = audit(server, &ada, "&what=bulk.begin").await;
            assert_eq!(begun.len(), 3);
            assert!(begun.iter().all(|entry| entry["outcome"] == "done"), "{begun:?}");
            let after = json!({ "action": "delete", "filter": {}, "dry_run": false, "number": 3 });
            assert_eq!(begun[0]["after"], after);
        })
        .await;
}

/// Users of providers that App Services did not know are shown to its scripts as of `custom-token`, and found as such.
#[actix_web::test]
async fn scripts_find_users_by_the_provider_that_they_are_shown() {
    crate::accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let of_token = crate::accounts::log_in_as(server, "carol").await.user;
            let identity = IdentityKey { provider: "accounts.example".into(), external: "x".into() };
            let proof = Proof::new(identity, "{}".into());
            let kind = (SessionKind::V1, DeviceId::default(), IdForm::Object);
            let of_issuer = server.handle().log_in(proof, kind.0, kind.1, kind.2).await.unwrap().user.to_string();
            server.log_in().await;
            let what = format!("GET {}/users?provider_types=custom-token", app(server));
            let users = ask(server, &what).bearer(&ada).send().await.json();
            let users: Vec<_> = users.as_array().unwrap().iter().map(|user| user["_id"].as_str().unwrap()).collect();
            assert_eq!(users.len(), 2, "{users:?}");
            assert!(users.contains(&&*of_token) && users.contains(&&*of_issuer));
            get(server, &ada, "/users?provider=anon-user").await.assert_problem(400, "bad-field");
        })
        .await;
}

#[actix_web::test]
async fn a_second_bulk_job_is_refused_while_one_is_under_way_and_that_one_can_be_stopped() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let post = async |path: &str, body: Value| {
                ask(server, &format!("POST /v1/admin/{path}")).bearer(&ada).body(body.to_string()).send().await
            };
            for _ in 0..3 {
                assert_eq!(post("users/batch", json!({ "count": 1000 })).await.status, 201);
            }
            let mut stops_done = 0;
            // one that ends before it is stopped is begun again
            for action in ["disable", "enable"].into_iter().cycle().take(20) {
                let begun = post("bulk", json!({ "action": action, "filter": {} })).await;
                assert_eq!(begun.status, 202, "{begun:?}");
                let number = begun.json()["number"].as_u64().unwrap();
                // nothing more is written until the second one is refused
                server.disk.let_pass(Some(0));
                let progress = get(server, &ada, "/bulk").await.json();
                // and what is under way is not the last of it
                let running = progress["state"] == "running" && progress["users"]["matched"].as_u64() < Some(2000);
                let second = post("bulk", json!({ "action": "delete", "filter": {}, "dry_run": true }));
                if running {
                    second.await.assert_problem(409, "bulk-under-way");
                }
                server.disk.let_pass(None);
                let stopped = post(&format!("bulk/{number}/stop"), json!({})).await;
                let end = loop {
                    let state = get(server, &ada, "/bulk").await.json()["state"].as_str().unwrap().to_owned();
                    if state != "running" {
                        break state;
                    }
                };
                stops_done += usize::from(stopped.status == 204);
                let done = audit(server, &ada, "&what=bulk.stop").await;
                assert_eq!(done.iter().filter(|entry| entry["outcome"] == "done").count(), stops_done, "{done:?}");
                if running && stopped.status == 204 && end == "stopped" {
                    let entries = audit(server, &ada, "&what=bulk.stop").await;
                    assert_eq!(
                        (&entries[0]["outcome"], &entries[0]["whom"]),
                        (&json!("done"), &json!(number.to_string()))
                    );
                    return;
                }
            }
            panic!("no job was met while it ran");
        })
        .await;
}
