//! API keys, and what a session of one may do.

use super::*;

async fn log_in_by_key(server: &TestServer, key: &str) -> Tokens {
    let body = json!({ "provider": "api-key", "key": key }).to_string();
    let answer = server.call(CREATE).body(body).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.tokens()
}

async fn log_in_by_key_with_an_sdk(server: &TestServer, key: &str) -> Tokens {
    let login = LOGIN.replace("anon-user", "api-key");
    server.call(&login).body(json!({ "key": key }).to_string()).send().await.tokens()
}

/// S49: a person who finds a program's key does not become the account's owner.
#[actix_web::test]
async fn a_session_that_an_api_key_began_uses_the_data_and_changes_nothing_of_the_account() {
    let world = world();
    let server = world.start().await;
    let owner = log_in_as(&server, "a").await;
    let (key, key_id) = key(&server, &owner, "program").await;
    let program = log_in_by_key(&server, &key).await;
    let sdk = log_in_by_key_with_an_sdk(&server, &key).await;
    let own = |call: crate::world::Call| call.header("sec-fetch-site", "same-origin");
    let by_cookie = json!({ "mode": "cookie", "provider": "api-key", "key": key }).to_string();
    let by_cookie = own(server.call(CREATE)).body(by_cookie).send().await;
    let cookie = by_cookie.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();

    let identity = "/v1/user/identities/custom-token/a";
    let one_key = format!("/v1/user/api-keys/{key_id}");
    let listed = server.call(SESSIONS).bearer(&owner.access).send().await.json();
    let owners_session = format!("DELETE /v1/user/sessions/{}", listed["sessions"][0]["session_id"].as_str().unwrap());
    let link = json!({ "provider": "custom-token", "token": jwt("b") });
    let refused = [
        ("GET /v1/user/identities".to_owned(), json!({})),
        (IDENTITIES.to_owned(), link.clone()),
        (IDENTITIES.to_owned(), json!({ "provider": "custom-token", "token": jwt("b"), "dry_run": true })),
        (IDENTITIES.to_owned(), json!({ "provider": "api-key", "key": key })),
        (format!("DELETE {identity}"), json!({})),
        ("GET /v1/user/api-keys".to_owned(), json!({})),
        ("POST /v1/user/api-keys".to_owned(), json!({ "name": "more" })),
        (format!("PATCH {one_key}"), json!({ "disabled": true })),
        (format!("DELETE {one_key}"), json!({})),
        (SESSIONS.to_owned(), json!({})),
        ("DELETE /v1/user/sessions".to_owned(), json!({})),
        (owners_session, json!({})),
        (TRANSFER.to_owned(), json!({})),
        ("GET /v1/user/export".to_owned(), json!({})),
        ("PUT /v1/user/password".to_owned(), json!({ "current_password": "a password", "password": "another" })),
        ("DELETE /v1/user".to_owned(), json!({})),
    ];
    for (what, body) in &refused {
        let call = || {
            let call = server.call(what);
            if what.starts_with("GET") || what.starts_with("DELETE") { call } else { call.body(body.to_string()) }
        };
        for access in [&program.access, &sdk.access] {
            let answer = call().bearer(access).send().await;
            assert_eq!(answer.status, 403, "{what}: {answer:?}");
            answer.assert_problem(403, "insufficient-scope");
        }
        own(call()).header("cookie", &cookie).send().await.assert_problem(403, "insufficient-scope");
    }
    let (keys, login) = ("/api/client/v2.0/auth/api_keys", LOGIN.replace("anon-user", "custom-token") + "?link=true");
    for (what, token) in [
        (login, &sdk.access),
        ("DELETE /api/client/v2.0/auth/delete".to_owned(), &sdk.access),
        (format!("GET {keys}"), &sdk.refresh),
        (format!("POST {keys}"), &sdk.refresh),
        (format!("GET {keys}/{key_id}"), &sdk.refresh),
        (format!("PUT {keys}/{key_id}/disable"), &sdk.refresh),
        (format!("PUT {keys}/{key_id}/enable"), &sdk.refresh),
        (format!("DELETE {keys}/{key_id}"), &sdk.refresh),
    ] {
        let body = json!({ "name": "more", "token": jwt("b") }).to_string();
        let call = server.call(&what).bearer(token);
        let answer = if what.starts_with("POST") { call.body(body) } else { call }.send().await;
        let text = "a session that an API key began may use the account's data and nothing else: log in in another way";
        answer.assert_client_error(403, Some("AuthError"), text);
    }

    // what it is for
    for access in [&program.access, &sdk.access] {
        for (what, status) in [
            (VIEW, 200),
            (PROFILE, 200),
            ("GET /verify", 204),
            ("GET /v1/meters", 200),
            ("POST /v1/socket-ticket", 201),
            ("DELETE /v1/data", 200),
        ] {
            let answer = server.call(what).bearer(access).send().await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
        }
        let put = server.call("PUT /v1/data").bearer(access).body(r#"{"by":"a program"}"#).send().await;
        assert_eq!(put.status, 200, "{put:?}");
    }
    let program = server.call(ROTATE).bearer(&program.refresh).send().await.tokens();
    assert_eq!(server.call(REFRESH).bearer(&sdk.refresh).send().await.status, 201);

    let by_key = || ("api-key".to_owned(), Value::from(key_id.clone()));
    let by_token = || ("custom-token".to_owned(), Value::Null);
    assert_eq!(
        sessions(&server, &owner).await,
        [by_token(), by_key(), by_key(), by_key()],
        "nobody was ended or begun"
    );
    let export = server.call("GET /v1/user/export").bearer(&owner.access).send().await.json();
    assert_eq!(export["identities"].as_array().map(Vec::len), Some(1));
    assert_eq!(export["sessions"][1]["method"], "api-key");
    server.stop().await;

    // a restart gives it no more; and it may end itself, in both ways
    let server = world.start().await;
    server.call(SESSIONS).bearer(&program.access).send().await.assert_problem(403, "insufficient-scope");
    assert_eq!(server.call(END).bearer(&program.access).send().await.status, 204);
    let itself = view(&server, &sdk.access).await["session_id"].as_str().unwrap().to_owned();
    let itself = format!("DELETE /v1/user/sessions/{itself}");
    assert_eq!(server.call(&itself).bearer(&sdk.access).send().await.status, 204);
    assert_eq!(sessions(&server, &owner).await, [by_token(), by_key()]);
    server.stop().await;
}

/// S49.
#[actix_web::test]
async fn with_a_key_end_its_sessions_and_their_sockets_and_no_others() {
    world()
        .serve(async |server| {
            let owner = log_in_as(server, "a").await;
            let (kept, _) = key(server, &owner, "kept").await;
            let kept = log_in_by_key(server, &kept).await;
            for (name, what, body) in
                [("a", "PATCH /v1/user/api-keys/", r#"{"disabled":true}"#), ("b", "DELETE /v1/user/api-keys/", "")]
            {
                let (key, id) = key(server, &owner, name).await;
                let (v1, sdk) = (log_in_by_key(server, &key).await, log_in_by_key_with_an_sdk(server, &key).await);
                let ticket = server.call("POST /v1/socket-ticket").bearer(&v1.access).send().await.json();
                let late = server.call("POST /v1/socket-ticket").bearer(&v1.access).send().await.json();
                let open = async |ticket: &Value| {
                    let offer = format!("ticket.{}", ticket["ticket"].as_str().unwrap());
                    let url = format!("http://{}/v1/socket", server.address);
                    crate::world::client().ws(url).protocols(["passerby.v1", &offer]).connect().await
                };
                let (_, mut socket) = open(&ticket).await.unwrap();
                let answer = server.call(&format!("{what}{id}")).bearer(&owner.access).body(body).send().await;
                assert_eq!(answer.status, 204, "{answer:?}");
                server.call(VIEW).bearer(&v1.access).send().await.assert_problem(401, "session-ended");
                server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(401, "session-ended");
                assert_eq!(server.call(REFRESH).bearer(&sdk.refresh).send().await.status, 401);
                assert!(open(&late).await.is_err(), "nor does a ticket begin anything");
                let mut told = String::new();
                while let Some(Ok(Frame::Text(text))) = socket.next().await {
                    told = String::from_utf8(text.to_vec()).unwrap();
                }
                assert_eq!(told, r#"{"type":"session.ended","reason":"ended"}"#);
            }
            view(server, &kept.access).await;
            view(server, &owner.access).await;
        })
        .await;
}
