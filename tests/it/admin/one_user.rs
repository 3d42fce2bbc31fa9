//! One user: seen, disabled and enabled, sessions ended, deleted.

use awc::ws;
use futures_util::StreamExt as _;
use passerby::admin::Role;
use passerby_actors::domain::{SessionId, UserId};
use serde_json::{Value, json};

use super::{ask, audit, token};
use crate::data::hears;
use crate::readers::{AUTO, Jar, NEVER, passed};
use crate::world::{Answer, CREATE, PROFILE, TestServer, VIEW, World, client};

/// A request about a user, by someone with this token.
pub(crate) async fn send(server: &TestServer, token: &str, what: &str, body: Value) -> Answer {
    let (method, path) = what.split_once(' ').unwrap();
    ask(
        server,
        &format!("{method} /v1/admin/users{}{path}", if path.is_empty() || path.starts_with('/') { "" } else { "/" }),
    )
    .bearer(token)
    .body(body.to_string())
    .send()
    .await
}

/// The users found by a text.
pub(crate) async fn find(server: &TestServer, token: &str, text: &str) -> Vec<(String, String)> {
    let answer = send(server, token, "POST find", json!({ "text": text })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let users = answer.json()["users"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    users.as_array().unwrap().iter().map(|user| (text(&user["user_id"]), text(&user["found_by"]))).collect()
}

/// S9, S10.
#[actix_web::test]
async fn a_reader_is_found_by_the_pasted_cookie_and_a_stranger_once_its_session_is_ended() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let mut jar = Jar::of_reader(server).await;
            let user = passed(&jar.visit(server, NEVER).await);
            let cookie = jar.0.clone().unwrap();
            let value = cookie.split_once('=').unwrap().1;
            for pasted in [&cookie, value] {
                assert_eq!(find(server, &ada, pasted).await, [(user.clone(), "cookie".to_owned())]);
            }

            let (url, origin) = (format!("http://{}/v1/socket", server.address), format!("http://{}", server.address));
            let socket = client().ws(url).protocols(["passerby.v1"]).header("origin", origin).header("cookie", cookie);
            let (_, mut socket) = socket.connect().await.unwrap();
            assert_eq!(hears(&mut socket).await["type"], "hello");

            let ended = send(server, &ada, &format!("POST {user}/end-sessions"), json!({})).await;
            assert_eq!((ended.status, ended.json()), (200, json!({ "ended": 1, "deleted": true })));
            assert_eq!(hears(&mut socket).await["type"], "session.ended");
            while let Some(frame) = socket.next().await {
                assert!(matches!(frame, Ok(ws::Frame::Close(_) | ws::Frame::Ping(_)) | Err(_)), "{frame:?}");
            }
            assert_eq!(jar.sent(server.call(NEVER)).send().await.status, 401);
            let stranger = passed(&jar.visit(server, AUTO).await);
            assert_ne!(stranger, user);
            assert!(!server.has_record(&user));
            send(server, &ada, &format!("POST {user}/end-sessions"), json!({}))
                .await
                .assert_problem(404, "user-not-found");
        })
        .await;
}

#[actix_web::test]
async fn of_several_sessions_one_is_ended_and_the_user_goes_with_the_last() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let first = server.log_in_v1().await;
            let code = server.call("POST /v1/session/transfer").bearer(&first.access).send().await.json();
            let code = json!({ "provider": "transfer", "code": code["code"] }).to_string();
            let second = server.call(CREATE).body(code).send().await.tokens();
            let user = first.user.clone();
            let shown = send(server, &ada, &format!("GET {user}"), json!({})).await.json();
            let sessions: Vec<_> = shown["sessions"].as_array().unwrap().iter().collect();
            assert_eq!(
                sessions.iter().map(|session| &session["method"]).collect::<Vec<_>>(),
                ["anonymous", "transfer"]
            );
            let ids: Vec<_> = sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(ids[0], SessionId::derive(&UserId::parse(&user).unwrap(), 1).to_string());

            let end = async |id: &str| send(server, &ada, &format!("DELETE {user}/sessions/{id}"), json!({})).await;
            assert_eq!(end(&ids[0]).await.status, 204);
            server.call(VIEW).bearer(&first.access).send().await.assert_problem(401, "session-ended");
            assert_eq!(server.call(VIEW).bearer(&second.access).send().await.status, 200);
            for gone in [ids[0].as_str(), "636aba021728b6c1c03db7f9", "x"] {
                end(gone).await.assert_problem(404, "no-such-session");
            }
            assert_eq!(end(&ids[1]).await.status, 204);
            assert!(!server.has_record(&user));
            let entries = audit(server, &ada, &format!("&whom={user}")).await;
            let whats: Vec<_> = entries.iter().map(|entry| (&entry["what"], &entry["outcome"])).collect();
            assert_eq!(whats, [(&json!("user.end-session"), &json!("done")); 2]);
            assert_eq!(entries[1]["before"], json!({ "session": ids[0] }));
        })
        .await;
}

#[actix_web::test]
async fn a_user_is_disabled_enabled_and_deleted() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let (user, of_v1) = (server.log_in().await, server.log_in_v1().await);
            let change =
                async |what: &str, of: &str| send(server, &ada, &what.replace("{}", of), json!({})).await.status;
            let profile = async || server.call(PROFILE).bearer(&user.access).send().await;
            assert_eq!(change("POST {}/disable", &user.user).await, 204);
            profile().await.assert_client_error(401, Some("InvalidSession"), "invalid session: user disabled");
            assert_eq!(change("POST {}/disable", &of_v1.user).await, 204);
            server.call(VIEW).bearer(&of_v1.access).send().await.assert_problem(403, "user-disabled");
            assert_eq!(change("POST {}/enable", &user.user).await, 204);
            assert_eq!(profile().await.status, 200);
            assert_eq!(change("DELETE {}", &user.user).await, 204);
            assert!(!server.has_record(&user.user));
            for what in ["DELETE {}", "POST {}/disable", "POST {}/enable", "POST {}/end-sessions", "GET {}"] {
                for gone in [user.user.as_str(), "x"] {
                    send(server, &ada, &what.replace("{}", gone), json!({}))
                        .await
                        .assert_problem(404, "user-not-found");
                }
            }
            let what = format!("POST {}/disable", of_v1.user);
            send(server, &ada, &what, json!({ "untill": "x" })).await.assert_problem(422, "unknown-field");
        })
        .await;
}
