//! Sessions that have ended by their age, although they are still stored: for admins they are gone, as for everybody else.

use passerby::admin::Role;
use passerby_actors::domain::{SessionId, UserId};
use serde_json::{Value, json};

use super::one_user::send;
use super::{app, ask, audit, token};
use crate::accounts;
use crate::world::{TestServer, Tokens, VIEW};

/// A session of an account on a device.
async fn session(server: &TestServer, device: &str) -> Tokens {
    let body = json!({ "token": accounts::jwt("eve"), "options": { "device": { "deviceId": device } } }).to_string();
    let login = "POST /api/client/v2.0/app/passerby/auth/providers/custom-token/login";
    let answer = server.call(login).body(body).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.tokens()
}

#[actix_web::test]
async fn a_session_that_its_age_has_ended_is_none_for_admins_either() {
    accounts::world()
        .set("session.lifetime", "1000")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let old = session(server, "0123456789abcdef01234567").await;
            server.clock.advance_s(600);
            let new = session(server, "1123456789abcdef01234567").await;
            server.clock.advance_s(500);
            let user = new.user.clone();
            let old_id = SessionId::derive(&UserId::parse(&user).unwrap(), 1).to_string();

            let script = async |what: &str, path: &str, body: Value| {
                let what = format!("{what} {}/users{path}", app(server));
                ask(server, &what).bearer(&ada).body(body.to_string()).send().await
            };
            for (tokens, status) in [(&old, 401), (&new, 200)] {
                let public = server.call("GET /api/client/v2.0/auth/profile").bearer(&tokens.access).send().await;
                let verified = script("POST", "/verify_token", json!({ "token": tokens.access })).await;
                assert_eq!((public.status, verified.status), (status, status), "{verified:?}");
            }
            let refused = script("POST", "/verify_token", json!({ "token": old.access })).await.json();
            assert_eq!(
                (&refused["error_code"], &refused["error"]),
                (&json!("InvalidSession"), &json!("invalid session"))
            );
            let devices = script("GET", &format!("/{user}/devices"), json!({})).await.json();
            let devices: Vec<_> = devices.as_array().unwrap().iter().map(|device| &device["_id"]).collect();
            assert_eq!(devices, ["1123456789abcdef01234567"]);

            let listed = ask(server, "GET /v1/admin/users").bearer(&ada).send().await.json();
            assert_eq!(listed["users"][0]["sessions"], 1, "{listed}");
            let one = send(server, &ada, &format!("GET {user}"), json!({})).await.json();
            assert_eq!(one["sessions"].as_array().unwrap().len(), 1, "{one}");
            send(server, &ada, &format!("DELETE {user}/sessions/{old_id}"), json!({}))
                .await
                .assert_problem(404, "no-such-session");

            // nor are they for the user: not in the export, nor to be ended
            let fresh = json!({ "provider": "custom-token", "token": accounts::jwt("eve") }).to_string();
            let fresh = server.call("POST /v1/sessions").body(fresh).send().await.tokens();
            assert_eq!(server.call(VIEW).bearer(&fresh.access).send().await.status, 200);
            let export = server.call("GET /v1/user/export").bearer(&fresh.access).send().await.json();
            assert_eq!(export["sessions"].as_array().unwrap().len(), 2, "{export}");
            let end = server.call(&format!("DELETE /v1/user/sessions/{old_id}")).bearer(&fresh.access).send().await;
            end.assert_problem(404, "no-such-session");

            // what the audit log says was there
            server.clock.advance_s(600);
            assert_eq!(script("PUT", &format!("/{user}/logout"), json!({})).await.status, 204);
            session(server, "2123456789abcdef01234567").await;
            server.clock.advance_s(1001);
            let bulk = json!({ "action": "end-sessions", "filter": { "anonymous": false }, "dry_run": true });
            let begun = ask(server, "POST /v1/admin/bulk").bearer(&ada).body(bulk.to_string()).send().await;
            assert_eq!(begun.status, 202, "{begun:?}");
            let ended = loop {
                let progress = ask(server, "GET /v1/admin/bulk").bearer(&ada).send().await.json();
                if progress["state"] != "running" {
                    break progress["users"].clone();
                }
            };
            assert_eq!((&ended["unchanged"], &ended["changed"]), (&json!(1), &json!(0)), "{ended}");
            assert_eq!(script("DELETE", &format!("/{user}"), json!({})).await.status, 204);
            let entries = audit(server, &ada, &format!("&whom={user}")).await;
            let before: Vec<_> = entries.iter().map(|entry| (&entry["what"], &entry["before"]["sessions"])).collect();
            assert_eq!(before, [(&json!("user.delete"), &json!(0)), (&json!("user.logout"), &json!(1))]);
        })
        .await;
}
