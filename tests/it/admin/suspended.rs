//! Users who are disabled until a time, for a reason; what happened to a user; and meters that an operator changes.

use passerby::admin::Role;
use passerby_actors::domain::{Flags, UserId};
use passerby_actors::testkit::until;
use serde_json::{Value, json};

use super::one_user::send;
use super::{app, ask, audit, token};
use crate::accounts;
use crate::readers::{AUTO, Jar, NEVER, passed};
use crate::world::{CREATE, LINK, PROFILE, TestServer, VIEW, World};

/// S9. The time at which tests begin is 2023-11-14T22:13:20Z.
#[actix_web::test]
async fn a_user_disabled_until_a_time_is_refused_with_the_reason_in_the_header_and_enabled_by_itself() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let mut jar = Jar::of_reader(server).await;
            let user = passed(&jar.visit(server, NEVER).await);
            let disable = async |body: Value| send(server, &ada, &format!("POST {user}/disable"), body).await;
            let shown = async || send(server, &ada, &format!("GET {user}"), json!({})).await.json();
            for body in [
                json!({ "until": "tomorrow" }),
                json!({ "until": "2023-11-14T22:13:20Z" }),
                json!({ "until": 7 }),
                json!({ "reason": "x".repeat(201) }),
                json!({ "reason": "a\nb" }),
                json!({ "reason": 7 }),
            ] {
                disable(body).await.assert_problem(400, "bad-field");
            }
            assert_eq!(shown().await["disabled"], false);
            let body = json!({ "until": "2023-11-14T23:13:20Z", "reason": " copies everything " });
            assert_eq!(disable(body).await.status, 204);
            let told = shown().await;
            assert_eq!((&told["disabled"], &told["disabled_until"]), (&json!(true), &json!("2023-11-14T23:13:20Z")));
            assert_eq!(told["disabled_reason"], "copies everything");
            for what in [AUTO, NEVER] {
                let refused = jar.sent(server.call(what)).send().await;
                refused.assert_problem(403, "user-disabled");
                assert_eq!(refused.header("x-passerby-reason"), Some("user-disabled"));
                assert!(!refused.text().contains("copies"), "what operators say is theirs");
            }
            let entry = audit(server, &ada, &format!("&whom={user}")).await[0].clone();
            let after = json!({ "disabled": true, "until": "2023-11-14T23:13:20Z", "reason": "copies everything" });
            assert_eq!((&entry["what"], &entry["after"]), (&json!("user.disable"), &after));

            server.clock.advance_s(3599);
            assert_eq!(jar.sent(server.call(NEVER)).send().await.status, 403);
            server.clock.advance_s(1);
            assert_eq!(shown().await["disabled"], false, "before anybody asks for it");
            assert_eq!(passed(&jar.visit(server, NEVER).await), user, "the reader goes on as who it was");
            let id = UserId::parse(&user).unwrap();
            let is_lifted = || !server.server.store.record(&id).unwrap().flags.has(Flags::DISABLED);
            until("it is written", is_lifted).await;
            assert_eq!(
                (&shown().await["disabled_until"], &shown().await["disabled_reason"]),
                (&json!(null), &json!(null))
            );

            // without a time it stays, and the last word counts
            assert_eq!(disable(json!({ "until": "2023-11-15T00:13:20Z" })).await.status, 204);
            assert_eq!(disable(json!({ "reason": "for good" })).await.status, 204);
            server.clock.advance_s(7200);
            assert_eq!(jar.sent(server.call(NEVER)).send().await.status, 403);
            assert_eq!(send(server, &ada, &format!("POST {user}/enable"), json!({})).await.status, 204);
            assert_eq!(passed(&jar.visit(server, NEVER).await), user);
        })
        .await;
}

async fn suspend(server: &TestServer, ada: &str, user: &str, until: &str) {
    let answer = send(server, ada, &format!("POST {user}/disable"), json!({ "until": until })).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// Whatever comes first once the time has passed: a login, a change, a socket, a link.
#[actix_web::test]
async fn the_first_request_after_a_suspension_finds_it_lifted_whatever_it_is() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let account = accounts::log_in_as(server, "carol").await;
            let guest = server.log_in_v1().await;
            for user in [&account.user, &guest.user] {
                suspend(server, &ada, user, "2023-11-14T22:14:20Z").await;
            }
            let log_in = async || {
                let body = json!({ "provider": "custom-token", "token": accounts::jwt("carol") }).to_string();
                server.call(CREATE).body(body).send().await
            };
            log_in().await.assert_problem(403, "user-disabled");
            server.clock.advance_s(60);
            assert_eq!(log_in().await.tokens().user, account.user);
            let put = server.call("PUT /v1/data").bearer(&guest.access).body("{}").send().await;
            assert_eq!(put.status, 200, "{put:?}");

            suspend(server, &ada, &guest.user, "2023-11-14T22:15:20Z").await;
            server.clock.advance_s(60);
            drop(crate::data::open(server, &guest.access).await);
            assert_eq!(server.call(VIEW).bearer(&guest.access).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn a_script_that_disables_replaces_what_was_said() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let user = server.log_in().await;
            suspend(server, &ada, &user.user, "2023-11-14T22:14:20Z").await;
            let path = |method: &str, what: &str| format!("{method} {}/users/{}{what}", app(server), user.user);
            let answer = ask(server, &path("PUT", "/disable")).bearer(&ada).send().await;
            assert_eq!(answer.status, 204, "{answer:?}");
            server.clock.advance_s(60);
            let shown = ask(server, &path("GET", "")).bearer(&ada).send().await.json();
            assert_eq!(shown["disabled"], true, "the script said nothing of an end");
            assert_eq!(ask(server, &path("PUT", "/enable")).bearer(&ada).send().await.status, 204);
            assert_eq!(server.call(PROFILE).bearer(&user.access).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn the_history_of_a_user_tells_what_it_went_through_and_what_admins_did() {
    accounts::world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let guest = server.log_in().await;
            server.clock.advance_s(10);
            let body = json!({ "token": accounts::jwt("dave") }).to_string();
            let link = LINK.replace("anon-user", "custom-token");
            let linked = server.call(&link).bearer(&guest.access).body(body).send().await;
            assert_eq!(linked.status, 200, "{linked:?}");
            server.clock.advance_s(10);
            for what in ["disable", "enable"] {
                let body = if what == "disable" { json!({ "reason": "spam" }) } else { json!({}) };
                let answer = send(server, &ada, &format!("POST {}/{what}", guest.user), body).await;
                assert_eq!(answer.status, 204, "{answer:?}");
                server.clock.advance_s(10);
            }
            let history = send(server, &ada, &format!("GET {}/history", guest.user), json!({})).await;
            assert_eq!(history.status, 200, "{history:?}");
            let history = history.json()["history"].as_array().unwrap().clone();
            let whats: Vec<_> = history.iter().map(|event| event["what"].as_str().unwrap()).collect();
            assert_eq!(whats[..2], ["user.enable", "user.disable"]);
            assert_eq!(whats.last(), Some(&"created"));
            let linked = history.iter().find(|event| event["what"] == "linked").unwrap();
            assert_eq!(linked["detail"], json!({ "provider": "custom-token", "id": "dave" }));
            assert_eq!((&history[1]["by"], &history[1]["detail"]["after"]["reason"]), (&json!("ada"), &json!("spam")));
            assert_eq!(history[1]["detail"]["outcome"], "done");
            assert!(history.iter().any(|event| event["what"] == "session-began"));
            for session in [false, true] {
                let body = json!({ "session": session });
                let created = send(server, &ada, "POST ", body).await.json();
                let what = format!("GET {}/history", created["user_id"].as_str().unwrap());
                let history = send(server, &ada, &what, json!({})).await.json()["history"].clone();
                let whats: Vec<_> = history.as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
                assert_eq!(whats.contains(&json!("session-began")), session, "{whats:?}");
                assert!(whats.contains(&json!("user.create")), "{whats:?}");
            }
            send(server, &ada, "GET 636aba021728b6c1c03db7f9/history", json!({}))
                .await
                .assert_problem(404, "user-not-found");
        })
        .await;
}

#[actix_web::test]
async fn more_of_a_meter_is_granted_and_it_begins_anew() {
    World::new()
        .file(
            "[meter.articles]\nlimit = 1\nwindow = \"day\"\n[meter.plain]\nlimit = 1\nonce = false\nwindow = \"day\"\n",
        )
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let user = server.log_in_v1().await;
            let use_one = async || server.call("POST /v1/meters/plain").bearer(&user.access).send().await.json();
            let change = async |what: &str, body: Value| {
                send(server, &ada, &format!("POST {}/meters/{what}", user.user), body).await
            };
            assert_eq!(use_one().await["allowed"], true);
            assert_eq!(use_one().await["allowed"], false);
            let granted = change("plain/grant", json!({ "amount": 2 })).await;
            let expected = json!({
                "name": "plain", "configured": true, "used": 1, "granted": 2, "limit": 1, "left": 2, "lifted": null,
                "resets": "2023-11-15T00:00:00Z",
            });
            assert_eq!((granted.status, granted.json()), (200, expected.clone()));
            let one = send(server, &ada, &format!("GET {}", user.user), json!({})).await.json();
            assert_eq!(
                one["meters"].as_array().unwrap().iter().find(|meter| meter["name"] == "plain"),
                Some(&expected)
            );
            let used = use_one().await;
            assert_eq!((&used["allowed"], &used["limit"], &used["remaining"]), (&json!(true), &json!(3), &json!(1)));
            assert_eq!(change("plain/reset", json!({})).await.json()["used"], 0);
            let used = use_one().await;
            assert_eq!((&used["used"], &used["limit"]), (&json!(1), &json!(1)));

            for (what, body, status, code) in [
                ("none/grant", json!({ "amount": 1 }), 404, "no-such-meter"),
                ("none/reset", json!({}), 404, "no-such-meter"),
                ("plain/grant", json!({}), 400, "bad-field"),
                ("plain/grant", json!({ "amount": 0 }), 400, "bad-field"),
                ("plain/grant", json!({ "amount": 1.5 }), 400, "bad-field"),
                // it tells items apart, and not so many
                ("articles/grant", json!({ "amount": 1000 }), 400, "bad-field"),
                ("plain/reset", json!({ "amount": 1 }), 422, "unknown-field"),
            ] {
                change(what, body).await.assert_problem(status, code);
            }
            assert_eq!(change("articles/grant", json!({ "amount": 999 })).await.json()["left"], 1000);
            let entries = audit(server, &ada, "&what=meter").await;
            let whats: Vec<_> = entries.iter().map(|entry| (&entry["what"], &entry["after"])).collect();
            assert_eq!(whats[2], (&json!("meter.grant"), &json!({ "meter": "plain", "amount": 2 })));
            assert_eq!(whats.len(), 3, "what was refused changed nothing");
        })
        .await;
}
