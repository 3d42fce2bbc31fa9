//! Users whom an operator creates, one by one and many at once.

use passerby::admin::Role;
use passerby_actors::actor::Ends;
use passerby_actors::domain::{Credential, CredentialChange, MailToken, SessionId, UserId};
use serde_json::{Value, json};

use super::one_user::send;
use super::{app, ask, audit, log_in, token};
use crate::accounts;
use crate::world::{CREATE, ROTATE, TestServer, VIEW, World};

const ID: &str = "0180a5b0-0000-7000-8000-000000000001";

#[actix_web::test]
async fn users_are_created_by_hand_with_fixed_ids_all_of_a_batch_or_none() {
    World::new()
        .set("max_users", "1002")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let post = async |what: &str, body: Value| send(server, &ada, &format!("POST {what}"), body).await;
            let body = json!({ "user_id": ID, "data": { "theme": "dark" }, "session": true });
            let created = post("", body.clone()).await;
            assert_eq!(created.status, 201, "{created:?}");
            let tokens = created.tokens();
            let user = created.json();
            assert_eq!(
                (&user["user_id"], &user["anonymous"], &user["data"]["theme"]),
                (&json!(ID), &json!(true), &json!("dark"))
            );
            assert_eq!(server.call(VIEW).bearer(&tokens.access).send().await.json()["user_id"], ID);
            assert_eq!(server.call(ROTATE).bearer(&tokens.refresh).send().await.status, 200);
            assert_eq!(server.call("GET /v1/data").bearer(&tokens.access).send().await.json()["theme"], "dark");
            post("", body).await.assert_problem(409, "user-exists");

            // one id that is taken: nobody of the batch
            let other = "636aba021728b6c1c03db7f9";
            let both = json!({ "users": [{ "user_id": other }, { "user_id": ID }] });
            let refused = post("/batch", both).await;
            refused.assert_problem(409, "user-exists");
            assert!(refused.text().contains(ID) && !server.has_record(other));
            let batch =
                post("/batch", json!({ "users": [{ "user_id": other, "data": {} }, {}], "session": true })).await;
            assert_eq!(batch.status, 201, "{batch:?}");
            let users = batch.json()["users"].as_array().unwrap().clone();
            assert_eq!((users.len(), &users[0]["user_id"]), (2, &json!(other)));
            let access = users[1]["access_token"].as_str().unwrap();
            assert_eq!(server.call(VIEW).bearer(access).send().await.json()["user_id"], users[1]["user_id"]);

            post("/batch", json!({ "count": 1000 })).await.assert_come_again(60..=60);
            let many = post("/batch", json!({ "count": 900 })).await;
            assert_eq!((many.status, many.json()["users"].as_array().unwrap().len()), (201, 900));
            assert_eq!(server.server.store.users(), 903);

            for (what, body, status, code) in [
                ("", json!({ "user_id": "x" }), 400, "bad-field"),
                ("", json!({ "user_id": "ffffffffffffffffffffffff" }), 400, "bad-field"),
                ("", json!({ "user_id": "02553f10-0000-7000-8000-000000000001" }), 400, "bad-field"),
                ("", json!({ "data": [] }), 400, "bad-field"),
                ("", json!({ "session": 1 }), 400, "bad-field"),
                ("", json!({ "name": "x" }), 422, "unknown-field"),
                ("", json!({ "email": "a@example.com", "password": PASSWORD }), 409, "provider-disabled"),
                ("/batch", json!({}), 400, "bad-field"),
                ("/batch", json!({ "count": 0 }), 400, "bad-field"),
                ("/batch", json!({ "count": 1001 }), 400, "bad-field"),
                ("/batch", json!({ "count": 1, "users": [{}] }), 400, "bad-field"),
                ("/batch", json!({ "users": [{ "email": "x" }] }), 400, "bad-field"),
                ("/batch", json!({ "users": [7] }), 400, "bad-field"),
                (
                    "/batch",
                    json!({ "users": [{ "user_id": ID.replace("001", "002") }, { "user_id": ID.replace("001", "002") }] }),
                    400,
                    "bad-field",
                ),
            ] {
                post(what, body).await.assert_problem(status, code);
            }
            let entries = audit(server, &ada, "&what=user.create").await;
            let done: Vec<_> = entries.iter().filter(|entry| entry["outcome"] == "done").collect();
            assert_eq!((done.len(), &done[0]["after"]["users"], &done[0]["after"]["session"]), (3, &json!(900), &json!(false)));
            assert_eq!(done[0]["after"]["user_ids"].as_array().unwrap().len(), 900);
            // whoever was created with others finds by whom
            let last = many.json()["users"][899]["user_id"].as_str().unwrap().to_owned();
            assert_eq!(audit(server, &ada, &format!("&whom={last}")).await, [done[0].clone()]);
            let history = send(server, &ada, &format!("GET {last}/history"), Value::Null).await.json();
            let created = history["history"].as_array().unwrap().iter().find(|event| event["what"] == "user.create");
            assert_eq!(created.unwrap()["by"], done[0]["who"]);
            assert_eq!(created.unwrap()["detail"], json!({ "outcome": "done", "after": { "users": 900, "session": false } }));
        })
        .await;
}

#[actix_web::test]
async fn a_thousand_users_with_some_data_each_are_one_batch() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let user = |n: u32| json!({ "user_id": format!("636aba02{n:016x}"), "data": { "text": "x".repeat(400) } });
            let batch = json!({ "users": (0..1000).map(user).collect::<Vec<_>>(), "session": true });
            assert_eq!(send(server, &ada, "POST batch", batch).await.status, 201);
            assert_eq!(server.server.store.users(), 1000);
            let longer = json!({ "users": [{ "data": { "text": "x".repeat(1 << 20) } }] });
            assert_eq!(send(server, &ada, "POST batch", longer).await.status, 413);
        })
        .await;
}

/// The next document of a batch counts those before it.
#[actix_web::test]
async fn the_documents_of_a_batch_have_one_bound_together() {
    World::new()
        .set("data.max_bytes", "20000")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let data = json!({ "data": { "text": "x".repeat(1000) } });
            let batch = json!({ "users": vec![data.clone(); 40] });
            send(server, &ada, "POST batch", batch).await.assert_problem(507, "data-full");
            assert_eq!((server.server.store.users(), server.server.store.document_bytes()), (0, 0));
            assert_eq!(send(server, &ada, "POST batch", json!({ "users": vec![data; 10] })).await.status, 201);
        })
        .await;
}

/// Nobody's share of the users, and no step of the funnel.
#[actix_web::test]
async fn users_created_by_hand_are_no_visitors_and_give_no_network_room() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let some = json!({ "users": [{}, { "user_id": ID }, {}], "session": true });
            let some = send(server, &ada, "POST batch", some).await.json()["users"].clone();
            let account = json!({ "email": "eve@example.com", "password": PASSWORD, "session": true });
            let account = send(server, &ada, "POST ", account).await.json();
            let (visitor, other) = (server.log_in_v1().await, server.log_in_v1().await);
            let view = server.call(VIEW).bearer(&visitor.access).send().await.json();
            for (access, subject) in [(some[2]["access_token"].as_str().unwrap(), "a"), (&*other.access, "b")] {
                let body = json!({ "provider": "custom-token", "token": accounts::jwt(subject) }).to_string();
                let linked = server.call("POST /v1/user/identities").bearer(access).body(body).send().await;
                assert!(matches!(linked.status, 200 | 201), "{linked:?}");
            }
            server.clock.advance_s(3600);
            let returned = [&some[0], &some[1], &account, &view].map(|shown| {
                let user = UserId::parse(shown["user_id"].as_str().unwrap()).unwrap();
                let session = SessionId::parse(shown["session_id"].as_str().unwrap()).unwrap();
                server.handle().check(&user, &session, None).unwrap().returned
            });
            assert_eq!(returned, [0, 0, 0, 1]);
            let ada = log_in(server, "ada", super::PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            let overview = ask(server, "GET /v1/admin/overview").bearer(&ada).send().await.json();
            assert_eq!(overview["funnel"]["month"], json!({ "visitors": 2, "came_back": 1, "converted": 1 }));
            let logins = overview["month"]["series"]["logins"].as_array().unwrap();
            assert_eq!(logins.last(), Some(&json!(2)));
        })
        .await;
}

const PASSWORD: &str = "a password of ten";

#[actix_web::test]
async fn an_account_is_created_by_hand_and_by_scripts_and_logs_in_with_its_password() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let log_in = async |email: &str| {
                let body = json!({ "provider": "local-userpass", "email": email, "password": PASSWORD });
                server.call(CREATE).body(body.to_string()).send().await
            };
            let body = json!({ "email": "eve@example.com", "password": PASSWORD, "user_id": ID });
            let created = send(server, &ada, "POST ", body.clone()).await;
            assert_eq!(created.status, 201, "{created:?}");
            let user = created.json();
            assert_eq!(
                (&user["anonymous"], &user["sessions"], &user["user_id"]),
                (&json!(false), &json!([]), &json!(ID))
            );
            assert!(user.get("access_token").is_none() && !created.text().contains(PASSWORD));
            assert_eq!(log_in("eve@example.com").await.tokens().user, ID);
            send(server, &ada, "POST ", body).await.assert_problem(409, "account-name-in-use");
            for (field, value, code) in [
                ("password", json!("short"), "bad-password"),
                ("email", json!(" x"), "bad-name"),
                ("password", json!(null), "bad-field"),
            ] {
                let mut body = json!({ "email": "new@example.com", "password": PASSWORD });
                body[field] = value;
                send(server, &ada, "POST ", body).await.assert_problem(400, code);
            }

            let what = format!("POST {}/users", app(server));
            let by_script = async |email: &str| {
                let body = json!({ "email": email, "password": PASSWORD }).to_string();
                ask(server, &what).bearer(&ada).body(body).send().await
            };
            let created = by_script("frank@example.com").await;
            assert_eq!(created.status, 201, "{created:?}");
            let user = created.json();
            assert_eq!((&user["type"], &user["data"]["email"]), (&json!("normal"), &json!("frank@example.com")));
            assert_eq!(user["identities"][0]["provider_type"], "local-userpass");
            assert_eq!(log_in("frank@example.com").await.tokens().user, user["_id"].as_str().unwrap());
            let again = by_script("frank@example.com").await;
            assert_eq!((again.status, &again.json()["error_code"]), (409, &json!("AccountNameInUse")));
            assert!(!audit(server, &ada, "").await.iter().any(|entry| entry.to_string().contains(PASSWORD)));
        })
        .await;
}

/// A name that waits for its confirmation.
async fn register(server: &TestServer, name: &str) {
    let confirm = Some(MailToken { hash: [7; 32], expires: u32::MAX });
    let change =
        CredentialChange::Register { name: name.into(), password: "$argon2id$".into(), confirm, over_pending: false };
    server.server.linker.change_credential(Credential::identity(name), change, Ends::Nothing).await.unwrap();
}

#[actix_web::test]
async fn scripts_list_confirm_and_forget_registrations() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let registrations = format!("{}/user_registrations", app(server));
            let call = async |what: &str, path: &str| {
                ask(server, &format!("{what} {registrations}/{path}")).bearer(&ada).send().await
            };
            let waiting = async |query: &str| {
                let answer = call("GET", &format!("pending_users{query}")).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.json().as_array().unwrap().clone()
            };
            assert_eq!(waiting("").await, [] as [Value; 0]);
            for n in 0..60 {
                register(server, &format!("{n}+x@example.com")).await;
            }
            let first = waiting("").await;
            let rest = waiting(&format!("?after={}", first[49]["_id"].as_str().unwrap())).await;
            assert_eq!((first.len(), rest.len()), (50, 10));
            let names: std::collections::BTreeSet<_> =
                first.iter().chain(&rest).map(|one| one["login_ids"][0]["id"].as_str().unwrap()).collect();
            assert_eq!(names.len(), 60, "each once");
            assert_eq!(first[0].as_object().unwrap().len(), 4);

            assert_eq!(call("POST", "by_email/1%2Bx%40example.com/confirm").await.status, 204);
            let known =
                |name: &str| server.server.linker.credential(&Credential::identity(name)).map(|(known, _)| known);
            assert!(known("1+x@example.com").unwrap().confirmed);
            assert_eq!(call("DELETE", "by_email/2%2Bx@example.com").await.status, 204);
            assert!(known("2+x@example.com").is_none());
            let first = waiting("").await;
            let rest = waiting(&format!("?after={}", first[49]["_id"].as_str().unwrap())).await;
            assert_eq!((first.len(), rest.len()), (50, 8));
            for (what, path, status, code) in [
                ("POST", "by_email/1%2Bx%40example.com/confirm", 400, "UserAlreadyConfirmed"),
                ("DELETE", "by_email/1%2Bx%40example.com", 400, "UserAlreadyConfirmed"),
                ("POST", "by_email/nobody/confirm", 404, "UserNotFound"),
                ("DELETE", "by_email/nobody", 404, "UserNotFound"),
                ("POST", "by_email/nobody/send_confirm", 404, "UserNotFound"),
                ("POST", "by_email/1%2Bx%40example.com/run_confirm", 501, "NotImplemented"),
            ] {
                let answer = call(what, path).await;
                assert_eq!((answer.status, &answer.json()["error_code"]), (status, &json!(code)), "{what} {path}");
            }
            // as realm-cli deletes one: by its id, at the users
            let of_user = async |id: &str| {
                let what = format!("DELETE {}/users/{id}", app(server));
                ask(server, &what).bearer(&ada).send().await.status
            };
            let id = |name: &str| Credential::identity(name).external;
            assert_eq!(of_user(&id("3+x@example.com")).await, 204);
            assert!(known("3+x@example.com").is_none());
            assert_eq!(of_user(&id("1+x@example.com")).await, 404, "it is confirmed");
            let entries = audit(server, &ada, "&what=registration").await;
            let told = |outcome: &str| {
                let of_outcome = entries.iter().rev().filter(|entry| entry["outcome"] == outcome);
                of_outcome.map(|entry| entry["what"].as_str().unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(told("done"), ["registration.confirm", "registration.delete", "registration.delete"]);
            let (confirm, delete, mail) = ("registration.confirm", "registration.delete", "registration.mail");
            assert_eq!(told("refused"), [confirm, delete, confirm, delete, mail]);
        })
        .await;
}

#[actix_web::test]
async fn a_script_gives_a_user_another_address_and_password_sessions_and_identities_stay() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let users = format!("{}/users", app(server));
            let by_script = async |what: &str, path: &str, body: Value| {
                ask(server, &format!("{what} {users}{path}")).bearer(&ada).body(body.to_string()).send().await
            };
            let log_in = async |email: &str| {
                let body = json!({ "provider": "local-userpass", "email": email, "password": PASSWORD });
                server.call(CREATE).body(body.to_string()).send().await
            };
            let create = async |email: &str| {
                let created = by_script("POST", "", json!({ "email": email, "password": PASSWORD })).await;
                created.json()["_id"].as_str().unwrap().to_owned()
            };
            let (user, _) = (create("old@example.com").await, create("taken@example.com").await);
            let session = log_in("old@example.com").await.tokens();
            let reset = CredentialChange::BeginReset(MailToken { hash: [7; 32], expires: u32::MAX });
            let old = Credential::identity("old@example.com");
            server.server.linker.change_credential(old, reset, Ends::Nothing).await.unwrap();
            register(server, "waits@example.com").await;

            let path = format!("/{user}/reset_email");
            let guest = format!("/{}/reset_email", server.log_in().await.user);
            for (path, body, status, code) in [
                (&*path, json!({ "email": "taken@example.com" }), 409, "AccountNameInUse"),
                (&*path, json!({ "email": "waits@example.com" }), 409, "AccountNameInUse"),
                (&*path, json!({ "email": "" }), 400, "BadRequest"),
                (&*path, json!({ "email": "x".repeat(129) }), 400, "BadRequest"),
                (&*path, json!({ "email": 7 }), 400, "BadRequest"),
                (&*path, json!({}), 400, "BadRequest"),
                (&*guest, json!({ "email": "new@example.com" }), 400, "InvalidParameter"),
                ("/636aba021728b6c1c03db7f9/reset_email", json!({ "email": "new@example.com" }), 404, "UserNotFound"),
            ] {
                let answer = by_script("PATCH", path, body).await;
                assert_eq!((answer.status, &answer.json()["error_code"]), (status, &json!(code)), "{answer:?}");
            }
            assert_eq!(log_in("old@example.com").await.tokens().user, user);

            for _ in 0..2 {
                let renamed = by_script("PATCH", &path, json!({ "email": "new@example.com" })).await;
                assert_eq!(renamed.status, 204, "{renamed:?}");
            }
            assert_eq!(log_in("new@example.com").await.tokens().user, user);
            assert_eq!(log_in("old@example.com").await.status, 401);
            assert_eq!(server.call(ROTATE).bearer(&session.refresh).send().await.status, 200, "sessions stay");
            let shown = by_script("GET", &path.replace("/reset_email", ""), Value::Null).await.json();
            assert_eq!(
                (&shown["data"]["email"], shown["identities"].as_array().unwrap().len()),
                (&json!("new@example.com"), 1)
            );
            let credential = |name: &str| server.server.linker.credential(&Credential::identity(name));
            assert!(credential("old@example.com").is_none());
            assert!(
                credential("new@example.com").unwrap().0.reset.is_none(),
                "an e-mail to the old address resets nothing"
            );
            create("old@example.com").await;
            let entries = audit(server, &ada, "&what=user.rename").await;
            let entry = entries.iter().rfind(|entry| entry["outcome"] == "done").unwrap();
            let (before, after) = (json!({ "email": "old@example.com" }), json!({ "email": "new@example.com" }));
            assert_eq!((&entry["whom"], &entry["before"], &entry["after"]), (&json!(user), &before, &after));
        })
        .await;
}
