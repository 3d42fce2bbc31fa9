//! The audit log: each action once, for as long as it is kept.

use passerby::admin::{By, Outcome, Role, Who};
use serde_json::{Value, json};

use super::{PASSWORD, app, ask, audit, log_in, token};
use crate::world::World;

fn told(entries: &[Value]) -> Vec<(String, String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    entries.iter().rev().map(|e| (text(e, "who"), text(e, "what"), text(e, "whom"))).collect()
}

#[actix_web::test]
async fn every_action_is_written_down_with_who_what_whom_when_from_where_before_and_after() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let user = server.log_in().await.user;
            let send = async |what: &str, body: Value| {
                let answer = ask(server, what).bearer(&ada).body(body.to_string()).send().await;
                assert!(matches!(answer.status, 200..=204), "{what}: {answer:?}");
                answer
            };
            send("POST /v1/admin/admins", json!({ "name": "Bob", "password": PASSWORD, "role": "read" })).await;
            send("PATCH /v1/admin/admins/bob", json!({ "role": "operate" })).await;
            send("PATCH /v1/admin/admins/bob", json!({ "password": "another long password" })).await;
            send("DELETE /v1/admin/admins/bob", json!({})).await;
            let key = send("POST /v1/admin/keys", json!({ "name": "k", "role": "operate" })).await.json();
            let id = key["id"].as_str().unwrap();
            let users = format!("{}/users/{user}", app(server));
            let by_key = async |what: String| {
                let answer = ask(server, &what).bearer(key["token"].as_str().unwrap()).send().await;
                assert_eq!(answer.status, 204, "{what}: {answer:?}");
            };
            by_key(format!("PUT {users}/disable")).await;
            by_key(format!("PUT {users}/enable")).await;
            by_key(format!("PUT {users}/logout")).await;
            let other = server.log_in().await.user;
            by_key(format!("DELETE {}/users/{other}", app(server))).await;
            send(&format!("DELETE /v1/admin/keys/{id}"), json!({})).await;
            send("POST /v1/admin/logout", json!({})).await;
            log_in(server, "ada", "wrong").await.assert_problem(401, "invalid-credential");
            let again = log_in(server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();

            let entries = audit(server, &again, "").await;
            let who = format!("key:{id}");
            let expected = [
                ("local", "admin.create", "ada"),
                ("ada", "login", "-"),
                ("ada", "admin.create", "bob"),
                ("ada", "admin.change", "bob"),
                ("ada", "admin.change", "bob"),
                ("ada", "admin.delete", "bob"),
                ("ada", "key.create", id),
                (&who, "user.disable", &user),
                (&who, "user.enable", &user),
                (&who, "user.logout", &user),
                (&who, "user.delete", &other),
                ("ada", "key.delete", id),
                ("ada", "logout", "-"),
                ("ada", "login", "-"),
                ("ada", "login", "-"),
            ];
            let expected = expected.map(|(who, what, whom)| (who.to_owned(), what.to_owned(), whom.to_owned()));
            assert_eq!(told(&entries), expected);
            let disabled = entries.iter().find(|entry| entry["what"] == "user.disable").unwrap();
            let mut rest = disabled.clone();
            let at = rest.as_object_mut().unwrap().remove("at").unwrap();
            assert!(at.as_str().unwrap().ends_with('Z'));
            let (before, after) = (json!({ "disabled": false }), json!({ "disabled": true }));
            assert_eq!(
                rest,
                json!({
                    "who": who, "role": "operate", "what": "user.disable", "whom": user, "address": "127.0.0.1",
                    "outcome": "done", "before": before, "after": after,
                })
            );
            let text = json!(entries).to_string();
            assert!(!text.contains("argon2") && !text.contains(PASSWORD) && !text.contains("another long"), "{text}");

            // by kind, by whom, to whom; a page at a time; all of it as lines
            assert_eq!(audit(server, &again, "&what=user").await.len(), 4);
            assert_eq!(audit(server, &again, &format!("&whom={user}&what=user.enable")).await.len(), 1);
            assert_eq!(audit(server, &again, "&who=nobody").await.len(), 0);
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let page =
                    ask(server, &format!("GET /v1/admin/audit?limit=4{cursor}")).bearer(&again).send().await.json();
                paged.extend(page["entries"].as_array().unwrap().clone());
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(paged, entries);
            let lines = ask(server, "GET /v1/admin/audit/export").bearer(&again).send().await;
            assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
            let lines: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines, entries);
        })
        .await;
}

#[actix_web::test]
async fn entries_are_kept_for_so_long_and_so_many() {
    World::new()
        .set("admin.audit_days", "30")
        .set("admin.audit_max", "1000")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let kept = r#"passerby_keys{family="audit-entries"}"#;
            assert_eq!(server.metric(kept).await, 2);
            let (handle, by) = (server.handle(), By::new(&Who::Local, Role::Owner, None));
            for n in 0..1010 {
                let entry = by.did("test", Some(&n.to_string()), Outcome::Done);
                server.server.admins.audit.write(&handle, &entry).await.unwrap();
            }
            assert_eq!(server.metric(kept).await, 1000);
            assert_eq!(audit(server, &ada, "&what=login").await.len(), 0, "the oldest are gone");
            server.clock.advance_s(30 * 86_400);
            let ada = log_in(server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            assert_eq!(told(&audit(server, &ada, "").await).len(), 1, "what is over is not shown");
            assert!(server.metric(kept).await < 1000, "and goes");
        })
        .await;
}
