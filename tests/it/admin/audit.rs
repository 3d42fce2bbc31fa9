//! The audit log: each action once, for as long as it is kept.

use futures_util::future::join_all;
use futures_util::poll;
use passerby::admin::{By, Entry, Filter, Outcome, Role, Who};
use passerby_actors::domain::{Family, Flags, UserId};
use passerby_actors::testkit::until;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{PASSWORD, app, ask, audit, log_in, token};
use crate::world::{TestServer, World};

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

fn did(what: &str, outcome: Outcome) -> Entry {
    By::new(&Who::Local, Role::Owner, None).did(what, None, outcome)
}

/// The outcomes of all actions of this kind, the newest first.
fn outcomes(server: &TestServer, what: &str) -> Vec<Outcome> {
    let filter = Filter { what: Some(what.to_owned()), ..Filter::default() };
    let page = server.server.admins.audit.page(&server.handle(), &filter, None, 10_000).unwrap();
    page.entries.into_iter().map(|(_, entry)| entry.outcome).collect()
}

async fn wrong_key(server: &TestServer, id: &str) -> u16 {
    let body = json!({ "username": id, "apiKey": "wrong" }).to_string();
    let login = "POST /api/admin/v3.0/auth/providers/mongodb-cloud/login";
    ask(server, login).body(body).send().await.status
}

/// S57.
#[actix_web::test]
async fn an_action_has_its_entry_before_it_is_done_and_goes_on_when_its_client_has_gone() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let user = server.log_in().await.user;
            // the entry passes, and the action is held up
            let held_up = server.disk.held_up();
            server.disk.let_pass(Some(1));
            let mut client = TcpStream::connect(server.admin).await.unwrap();
            let head = format!("PUT {}/users/{user}/disable HTTP/1.1\r\nHost: localhost\r\n", app(server));
            let request = format!("{head}Authorization: Bearer {ada}\r\nContent-Length: 0\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            until("the action is held up", || server.disk.held_up() > held_up).await;
            assert_eq!(outcomes(server, "user.disable"), [Outcome::Unknown]);

            client.set_zero_linger().unwrap();
            drop(client);
            for _ in 0..3 {
                // by then it is known that the client has gone: the listener has one thread
                assert_eq!(server.ask_admin("GET /healthz").await.status, 200);
            }
            server.disk.let_pass(None);
            until("it is written down", || outcomes(server, "user.disable") == [Outcome::Done]).await;
            let state = server.handle().load(&UserId::parse(&user).unwrap()).unwrap();
            assert!(state.record.flags.has(Flags::DISABLED));
        })
        .await;
}

#[actix_web::test]
async fn entries_written_at_the_same_time_are_all_kept_when_the_log_is_full() {
    World::new()
        .set("admin.audit_max", "1000")
        .serve(async |server| {
            let (handle, audit) = (server.handle(), &server.server.admins.audit);
            let write = async |what: &str| audit.write(&handle, &did(what, Outcome::Done)).await;
            for written in join_all((0..1000).map(|_| write("old"))).await {
                written.unwrap();
            }
            for written in join_all((0..50).map(|_| write("new"))).await {
                written.unwrap();
            }
            assert_eq!(outcomes(server, "new").len(), 50);
            write("last").await.unwrap();
            let kept = server.metric(r#"passerby_keys{family="audit-entries"}"#).await;
            assert_eq!(kept, 1000, "a later one drops what those left");
            assert_eq!(outcomes(server, "new").len(), 50, "the oldest are dropped");
        })
        .await;
}

/// S57: what was done is not for strangers to push out of the log.
#[actix_web::test]
async fn what_is_refused_pushes_nothing_out_of_the_log_that_was_done() {
    World::new()
        .set("admin.audit_max", "1000")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let (handle, audit) = (server.handle(), &server.server.admins.audit);
            for n in 0..1100 {
                audit.write(&handle, &did(&format!("refused.{n}"), Outcome::Refused)).await.unwrap();
            }
            assert_eq!(server.metric(r#"passerby_keys{family="audit-refusals"}"#).await, 100);
            assert_eq!(outcomes(server, "refused").len(), 100);
            assert_eq!(outcomes(server, "refused.1099").len(), 1);
            assert_eq!((outcomes(server, "admin.create").len(), outcomes(server, "login").len()), (1, 1));

            // nor does what was begun and then refused
            let begins = async || audit.begin(&handle, did("begun", Outcome::Unknown)).await.unwrap();
            for _ in 0..998 {
                audit.write(&handle, &did("done", Outcome::Done)).await.unwrap();
            }
            let kept = || [Family::AUDIT, Family::AUDIT_REFUSED].map(|family| handle.own_count(family));
            assert_eq!(kept(), [1000, 100]);
            for _ in 0..200 {
                audit.end(&handle, begins().await, Outcome::Refused).await;
            }
            assert_eq!(kept(), [1000, 100]);
            assert_eq!(outcomes(server, "begun"), [Outcome::Refused; 100]);
            assert_eq!((outcomes(server, "admin.create").len(), outcomes(server, "login").len()), (1, 1));
            audit.end(&handle, begins().await, Outcome::Done).await;
            assert_eq!(kept(), [1000, 100]);
            assert_eq!((outcomes(server, "admin.create").len(), outcomes(server, "login").len()), (0, 1));
            assert_eq!(outcomes(server, "begun")[0], Outcome::Done);

            // and both are in one order
            server.clock.advance_s(1);
            audit.write(&handle, &did("later", Outcome::Done)).await.unwrap();
            let shown = super::audit(server, &ada, "").await;
            assert_eq!(
                (&shown[0]["what"], &shown[1]["what"], &shown[2]["outcome"]),
                (&json!("later"), &json!("begun"), &json!("refused"))
            );
        })
        .await;
}

#[actix_web::test]
async fn who_is_refused_again_and_again_is_told_to_wait_and_a_right_key_is_never_held_back() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let body = json!({ "name": "k", "role": "read" }).to_string();
            let key = ask(server, "POST /v1/admin/keys").bearer(&ada).body(body).send().await.json();
            let text = |name: &str| key[name].as_str().unwrap().to_owned();
            let refused = async || ask(server, "GET /v1/admin/keys").bearer(&text("token")).send().await;
            for _ in 0..101 {
                refused().await.assert_problem(403, "insufficient-role");
            }
            refused().await.assert_problem(429, "too-many-attempts");
            assert_eq!(outcomes(server, "GET /v1/admin/keys").len(), 101, "that one is not written down");
            assert_eq!(ask(server, "GET /v1/admin/me").bearer(&text("token")).send().await.status, 200);

            // each with an id of its own
            for n in 0..101 {
                assert_eq!(wrong_key(server, &format!("key{n:05}")).await, 401);
            }
            assert_eq!(wrong_key(server, "another").await, 429);
            assert_eq!(wrong_key(server, &text("id")).await, 429, "also where there is such a key");
            let right = json!({ "username": text("id"), "apiKey": text("private_key") }).to_string();
            let login = "POST /api/admin/v3.0/auth/providers/mongodb-cloud/login";
            assert_eq!(ask(server, login).body(right).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn each_refusal_of_a_password_or_a_code_is_written_down_and_each_token_that_is_not_good_is_counted() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let send =
                async |what: &str, body: Value| ask(server, what).bearer(&ada).body(body.to_string()).send().await;
            let wrong = json!({ "current": "wrong", "password": "another long password" });
            send("PUT /v1/admin/me/password", wrong).await.assert_problem(403, "wrong-password");
            let secret = send("POST /v1/admin/me/totp", json!({})).await.json()["secret"].as_str().unwrap().to_owned();
            let shown = |password: &str, code: &str| json!({ "password": password, "secret": secret, "code": code });
            let code = |ahead_s: u64| super::own_account::code(&secret, server.server.wall_s() + ahead_s);
            send("PUT /v1/admin/me/totp", shown("wrong", &code(0))).await.assert_problem(403, "wrong-password");
            send("PUT /v1/admin/me/totp", shown(PASSWORD, "000000")).await.assert_problem(400, "wrong-code");
            assert_eq!(send("PUT /v1/admin/me/totp", shown(PASSWORD, &code(0))).await.status, 204);
            log_in(server, "ada", PASSWORD).await.assert_problem(401, "code-needed");
            let login = json!({ "name": "ada", "password": PASSWORD, "code": "000000" });
            send("POST /v1/admin/login", login).await.assert_problem(401, "invalid-credential");

            let entries = audit(server, &ada, "").await;
            let refused = entries.iter().rev().filter(|entry| entry["outcome"] == "refused");
            let told: Vec<_> = refused.map(|e| (e["what"].as_str().unwrap(), e["reason"].as_str().unwrap())).collect();
            let expected = [
                ("admin.password", "a wrong password"),
                ("admin.totp", "a wrong password"),
                ("admin.totp", "a wrong code"),
                ("login", "a right password without a code"),
                ("login", "a right password with a wrong code"),
            ];
            assert_eq!(told, expected);

            let user = server.log_in().await;
            for token in ["pbs_AAAA", "pbk_AAAA", "x", &user.access] {
                ask(server, "GET /v1/admin/me").bearer(token).send().await.assert_problem(401, "session-ended");
            }
            assert_eq!(server.metric("passerby_admin_tokens_refused_total").await, 4);
        })
        .await;
}

#[actix_web::test]
async fn an_export_lets_others_have_their_turn_before_each_page() {
    World::new()
        .serve(async |server| {
            let (handle, filter) = (server.handle(), Filter::default());
            let mut page = std::pin::pin!(server.server.admins.audit.next_page(&handle, &filter, None, 500));
            assert!(poll!(page.as_mut()).is_pending());
            assert!(page.await.is_ok());
        })
        .await;
}

#[actix_web::test]
async fn entries_that_are_too_old_go_at_a_start_also_when_nothing_is_written() {
    let world = World::new().set("admin.audit_days", "30");
    let server = world.start().await;
    for outcome in [Outcome::Done, Outcome::Refused] {
        for _ in 0..100 {
            server.server.admins.audit.write(&server.handle(), &did("test", outcome)).await.unwrap();
        }
    }
    server.clock.advance_s(30 * 86_400);
    server.stop().await;
    let server = world.start().await;
    let kept = || [Family::AUDIT, Family::AUDIT_REFUSED].map(|family| server.handle().own_count(family));
    until("they are gone", || kept() == [0, 0]).await;
    server.stop().await;
}
