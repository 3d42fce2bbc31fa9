//! Names and passwords.

use super::*;

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
