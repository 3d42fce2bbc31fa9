//! Fields that no request has: refused by name on `/v1`, before anything is done. The App Services path goes on ignoring what
//! SDKs send.

use serde_json::{Value, json};

use crate::world::{Answer, CREATE, DELETE_USER, END, LOGIN, PROFILE, ROTATE, TestServer, VIEW, World};

const REGISTER: &str = "POST /v1/registrations";
const LINK: &str = "POST /v1/user/identities";

fn world() -> World {
    World::new().file(
        "[provider.local_userpass]\nconfig = { autoConfirm = true }\n[provider.api_key]\nenabled = true\n[meter.plain]\nlimit = 3\n",
    )
}

/// Refused with this code, and all of `names` are named.
#[track_caller]
fn assert_refused(answer: &Answer, code: &str, names: &[&str]) {
    answer.assert_problem(422, code);
    let body = answer.json_as("application/problem+json");
    let detail = body["detail"].as_str().unwrap();
    let told = detail.split(": it has").next().unwrap();
    for name in names {
        assert!(told.contains(&format!("\"{name}\"")), "{name} in {detail}");
    }
    assert!(!detail.contains("WRONG"), "a value may be a secret: {detail}");
}

async fn post(server: &TestServer, what: &str, token: &str, body: impl ToString) -> Answer {
    let call = server.call(what).body(body.to_string());
    if token.is_empty() { call.send().await } else { call.bearer(token).send().await }
}

/// A login form that forgot the provider would accept every password, and turn every user into a stranger.
#[actix_web::test]
async fn a_login_takes_the_fields_of_its_provider_and_mode_alone() {
    world()
        .serve(async |server| {
            let account = json!({ "email": "a@example.test", "password": "a password" });
            assert_eq!(post(server, REGISTER, "", &account).await.status, 202);
            let with = |more: Value| {
                let mut body = json!({ "email": "a@example.test", "password": "WRONG" });
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                body
            };
            for (body, names) in [
                (with(json!({})), &["email", "password"][..]),
                (with(json!({ "provider": "anon-user" })), &["email", "password"]),
                (with(json!({ "provider": null })), &["email", "password"]),
                (with(json!({ "mode": "bearer" })), &["email", "password"]),
                (json!({ "password": "WRONG" }), &["password"]),
                (json!({ "username": "a@example.test" }), &["username"]),
                (json!({ "token": "WRONG" }), &["token"]),
                (json!({ "id_token": "WRONG", "nonce": "x" }), &["id_token", "nonce"]),
                (json!({ "key": "WRONG" }), &["key"]),
                (json!({ "code": "WRONG" }), &["code"]),
                // a form that is not filled in
                (json!({ "provider": null, "email": null, "password": null }), &["email", "password"]),
                (json!({ "username": null }), &["username"]),
                (json!({ "provider": null, "mode": "bearer", "token": null }), &["token"]),
                (json!({ "provider": "transfer", "code": "WRONG", "code_verifier": "x" }), &["code_verifier"]),
                (with(json!({ "provider": "transfer", "code": "WRONG" })), &["email", "password"]),
                (with(json!({ "provider": "local-userpass", "username": "b" })), &["username"]),
                (with(json!({ "provider": "local-userpass", "token": "WRONG" })), &["token"]),
                (json!({ "provider": "api-key", "key": "WRONG", "password": "WRONG" }), &["password"]),
            ] {
                assert_refused(&post(server, CREATE, "", &body).await, "misplaced-field", names);
                // nor with a cookie
                let mut body = body;
                body["mode"] = json!("cookie");
                let call = server.call(CREATE).header("sec-fetch-site", "same-origin").body(body.to_string());
                let answer = call.send().await;
                assert_refused(&answer, "misplaced-field", names);
                assert_eq!(answer.header("set-cookie"), None);
            }
            for body in [
                json!({ "Provider": "local-userpass" }),
                json!({ "user": "a", "pass": "WRONG" }),
                json!({ "provider": "local-userpass", "email": "a@example.test", "password": "WRONG", "remember": true }),
                json!({ "on_conflict": "merge" }),
                json!({ "nothing": null }),
            ] {
                let known = ["provider", "email", "password"];
                let names: Vec<_> =
                    body.as_object().unwrap().keys().map(String::as_str).filter(|name| !known.contains(name)).collect();
                assert_refused(&post(server, CREATE, "", &body).await, "unknown-field", &names);
            }
            assert_eq!(server.metric("passerby_users").await, 0);
            // what a typed client leaves out by writing null
            let body = json!({ "provider": "local-userpass", "email": "a@example.test", "password": "a password",
                "mode": null, "username": null, "token": null, "altcha": null });
            assert_eq!(post(server, CREATE, "", body).await.status, 201);
            let body = json!({ "provider": "anon-user", "email": null, "password": null });
            assert_eq!(post(server, CREATE, "", body).await.status, 201, "it says that it wants no account");
            assert_eq!(post(server, CREATE, "", json!({ "provider": null, "mode": null })).await.status, 201);
        })
        .await;
}

/// A proof of work is looked at only where a budget is used up; one that is none is refused all the same, since it would be wrong then.
#[actix_web::test]
async fn a_field_of_the_wrong_type_is_refused_also_where_it_is_not_needed() {
    world()
        .serve(async |server| {
            let guest = server.log_in_v1().await;
            for wrong in [json!(5), json!(true), json!({ "challenge": {} }), json!(["x"])] {
                for (what, mut body) in [
                    (CREATE, json!({})),
                    (CREATE, json!({ "provider": "anon-user", "mode": "bearer" })),
                    (CREATE, json!({ "provider": "transfer", "code": "x" })),
                    (CREATE, json!({ "provider": "api-key", "key": "x" })),
                    (
                        LINK,
                        json!({ "provider": "local-userpass", "email": "a@example.test", "password": "a password" }),
                    ),
                    (REGISTER, json!({ "email": "a@example.test", "password": "a password" })),
                    ("POST /v1/registrations/confirm", json!({ "token": "a", "tokenId": "b" })),
                    ("POST /v1/registrations/resend", json!({ "email": "a@example.test" })),
                    ("POST /v1/password-resets", json!({ "email": "a@example.test" })),
                    (
                        "POST /v1/password-resets/confirm",
                        json!({ "token": "a", "tokenId": "b", "password": "a password" }),
                    ),
                    ("PUT /v1/user/password", json!({ "current_password": "a", "password": "a password" })),
                ] {
                    body["altcha"] = wrong.clone();
                    let answer = post(server, what, &guest.access, &body).await;
                    answer.assert_problem(400, "bad-field");
                    let detail = answer.json_as("application/problem+json")["detail"].clone();
                    assert_eq!(detail, "altcha must be a text", "{what}");
                }
            }
            for (what, body, status, code) in [
                (CREATE, json!({ "mode": 5 }), 400, "unknown-mode"),
                (CREATE, json!({ "provider": 5 }), 400, "unknown-provider"),
                (CREATE, json!({ "provider": false }), 400, "unknown-provider"),
                (CREATE, json!({ "provider": "local-userpass", "email": 5, "password": "x" }), 400, "bad-credential"),
                (CREATE, json!({ "provider": "local-userpass", "email": "a", "password": 5 }), 400, "bad-credential"),
                (LINK, json!({ "provider": "api-key", "key": "x", "dry_run": "false" }), 400, "bad-field"),
                (LINK, json!({ "provider": "api-key", "key": "x", "on_conflict": true }), 400, "unknown-on-conflict"),
                (
                    REGISTER,
                    json!({ "email": "a@example.test", "password": "a password", "provider": 5 }),
                    422,
                    "misplaced-field",
                ),
                ("POST /v1/meters/plain", json!({ "item": 5 }), 400, "bad-field"),
                ("POST /v1/meters/plain", json!({ "amount": "5" }), 400, "bad-field"),
                ("POST /v1/meters/plain", json!({ "amount": 1e300 }), 400, "bad-field"),
            ] {
                post(server, what, &guest.access, &body).await.assert_problem(status, code);
            }
            let huge = post(server, "POST /v1/meters/plain", &guest.access, r#"{"amount":1e400}"#).await;
            huge.assert_problem(422, "inexact-number");
            assert!(huge.json_as("application/problem+json")["detail"].as_str().unwrap().contains("\"/amount\""));
            assert_eq!(server.metric("passerby_users").await, 1, "the guest");
        })
        .await;
}

/// A misspelled or doubled parameter would be passed by, and the browser sent on without it.
#[actix_web::test]
async fn a_login_in_the_browser_takes_its_parameters_alone_and_each_once() {
    let oidc = "[provider.oidc.corp]\nissuer = \"https://idp.invalid\"\nclient_id = \"c\"\nclient_secret = \"corp\"\n\
                redirect_uris = [\"https://news.example/back\"]\n";
    World::new()
        .file(oidc)
        .set("public_url", "https://id.news.example")
        .secret("CORP", "a secret")
        .serve(async |server| {
            let ask =
                async |query: &str| server.call(&format!("GET /v1/providers/oidc-corp/login{query}")).send().await;
            let challenge = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
            for (more, named) in [
                ("&redirect_url=https://news.example/back", "redirect_url"),
                ("&provider=x", "provider"),
                ("&link=true", "link"),
                ("&code_challenge=x", "code_challenge"),
                ("&redirect_uri=a&redirect_uri=b", "redirect_uri"),
                ("&redirect%5Furi=a&redirect_uri=b", "redirect_uri"),
            ] {
                let answer = ask(&format!("?{challenge}{more}")).await;
                answer.assert_problem(400, "bad-query");
                let detail = answer.json_as("application/problem+json")["detail"].clone();
                assert!(detail.as_str().unwrap().starts_with(&format!("\"{named}\" ")), "{detail}");
            }
            ask("").await.assert_problem(400, "bad-code-challenge");
            // a correct request gets as far as the issuer, which cannot be reached
            ask(&format!("?{challenge}&redirect_uri=https://news.example/back"))
                .await
                .assert_problem(503, "provider-unavailable");
            for back in ["GET", "POST"] {
                let twice = "state=a&code=b&state=c";
                let path = "/v1/providers/oidc-corp/callback";
                let answer = match back {
                    "GET" => server.call(&format!("GET {path}?{twice}")).send().await,
                    _ => server.call(&format!("POST {path}")).body(twice).send().await,
                };
                answer.assert_problem(400, "bad-answer");
            }
        })
        .await;
}

/// `dryrun` would link for real.
#[actix_web::test]
async fn unknown_fields_are_refused_by_name_and_nothing_is_done() {
    world()
        .serve(async |server| {
            let account = json!({ "email": "a@example.test", "password": "a password" });
            assert_eq!(post(server, REGISTER, "", &account).await.status, 202);
            let mut elsewhere = account.clone();
            elsewhere["provider"] = json!("api-key");
            assert_refused(&post(server, REGISTER, "", &elsewhere).await, "misplaced-field", &["provider"]);
            elsewhere["provider"] = json!("local-userpass");
            assert_eq!(post(server, REGISTER, "", &elsewhere).await.status, 202, "the same object as for a login");
            let guest = server.log_in_v1().await;
            let identity = json!({ "provider": "local-userpass", "email": "a@example.test", "password": "a password" });
            for wrong in ["dryrun", "dry-run", "dryRun", "onConflict", "mode", "x", "__proto__", "", "dry_run "] {
                let mut body = identity.clone();
                body[wrong] = json!(true);
                assert_refused(&post(server, LINK, &guest.access, &body).await, "unknown-field", &[wrong]);
            }
            let mut body = identity.clone();
            body["token"] = json!("WRONG");
            assert_refused(&post(server, LINK, &guest.access, &body).await, "misplaced-field", &["token"]);
            let in_query = post(server, "POST /v1/user/identities?dry_run=true", &guest.access, &identity).await;
            assert_refused(&in_query, "misplaced-field", &["dry_run"]);
            let view = server.call(VIEW).bearer(&guest.access).send().await.json();
            assert_eq!(view["anonymous"], true, "nothing was linked");

            let linked = post(server, LINK, &guest.access, &identity).await.tokens();
            let made = post(server, "POST /v1/user/api-keys", &linked.access, json!({ "name": "k" })).await.json();
            let key = format!("/v1/user/api-keys/{}", made["id"].as_str().unwrap());
            let cases = [
                (
                    REGISTER.to_owned(),
                    json!({ "email": "b@example.test", "password": "a password", "name": "B" }),
                    "name",
                ),
                ("POST /v1/registrations/confirm".to_owned(), json!({ "token": "a", "token_id": "b" }), "token_id"),
                (
                    "POST /v1/registrations/resend".to_owned(),
                    json!({ "email": "b@example.test", "lang": "de" }),
                    "lang",
                ),
                (
                    "POST /v1/password-resets".to_owned(),
                    json!({ "email": "b@example.test", "password": "WRONG" }),
                    "password",
                ),
                (
                    "POST /v1/password-resets/confirm".to_owned(),
                    json!({ "token": "a", "tokenId": "b", "password": "a password", "email": "b@example.test" }),
                    "email",
                ),
                (
                    "PUT /v1/user/password".to_owned(),
                    json!({ "current_password": "a password", "new_password": "another one" }),
                    "new_password",
                ),
                ("POST /v1/user/api-keys".to_owned(), json!({ "name": "k2", "disabled": true }), "disabled"),
                (format!("PATCH {key}"), json!({ "disabled": true, "name": "new" }), "name"),
                (format!("DELETE {key}"), json!({ "dry_run": true }), "dry_run"),
                ("POST /v1/meters/plain".to_owned(), json!({ "by": 2 }), "by"),
                ("POST /v1/data/increment".to_owned(), json!({ "path": "/n", "amount": 2 }), "amount"),
                ("DELETE /v1/data".to_owned(), json!({ "if_version": 3 }), "if_version"),
                (DELETE_USER.to_owned(), json!({ "dry_run": true }), "dry_run"),
                (END.to_owned(), json!({ "all": true }), "all"),
                ("DELETE /v1/user/sessions".to_owned(), json!({ "except": "x" }), "except"),
                ("POST /v1/session/transfer".to_owned(), json!({ "expires_in": 10 }), "expires_in"),
                ("POST /v1/socket-ticket".to_owned(), json!({ "since": 10 }), "since"),
                (ROTATE.to_owned(), json!({ "refresh_token": "WRONG" }), "refresh_token"),
            ];
            for (what, body, wrong) in &cases {
                assert_refused(&post(server, what, &linked.access, body).await, "unknown-field", &[wrong]);
            }
            let listed = server.call("GET /v1/user/api-keys").bearer(&linked.access).send().await.json();
            let keys: Vec<_> = listed["api_keys"].as_array().unwrap().iter().map(|key| &key["disabled"]).collect();
            assert_eq!(keys, [false], "the session lives, and its key is what it was");
            let meters = server.call("GET /v1/meters").bearer(&linked.access).send().await.json();
            assert_eq!(meters["meters"][0]["used"], 0);
        })
        .await;
}

/// Parsers differ in which of two fields of one name counts (RFC 8259 §4).
#[actix_web::test]
async fn a_field_that_is_there_twice_is_refused() {
    world()
        .serve(async |server| {
            let guest = server.log_in_v1().await;
            for (what, body, name) in [
                (LINK, r#"{"provider":"local-userpass","dry_run":true,"dry_run":false}"#, "/dry_run"),
                (CREATE, r#"{"mode":"bearer","mode":"cookie"}"#, "/mode"),
                (CREATE, r#"{"provider":"local-userpass","\u0070rovider":"anon-user"}"#, "/provider"),
                (CREATE, r#"{"provider":{"a":[{"b":1,"b":1}]}}"#, "/provider/a/0/b"),
                (REGISTER, r#"{"email":"a@example.test","password":"a password","password":"WRONG"}"#, "/password"),
                ("POST /v1/registrations/confirm", r#"{"token":"a","tokenId":"b","token":"WRONG"}"#, "/token"),
                ("POST /v1/password-resets", r#"{"email":"a@example.test","email":"b@example.test"}"#, "/email"),
                ("PUT /v1/user/password", r#"{"current_password":"a","password":"b","password":"WRONG"}"#, "/password"),
                ("POST /v1/user/api-keys", r#"{"name":"a","name":"b"}"#, "/name"),
                (
                    "PATCH /v1/user/api-keys/636aba021728b6c1c03db7f9",
                    r#"{"disabled":true,"disabled":false}"#,
                    "/disabled",
                ),
                ("POST /v1/meters/plain", r#"{"amount":1,"amount":2}"#, "/amount"),
                ("POST /v1/data/increment", r#"{"path":"/a","path":"/b"}"#, "/path"),
                (END, r#"{"a":1,"a":1}"#, "/a"),
            ] {
                assert_refused(&post(server, what, &guest.access, body).await, "duplicate-field", &[name]);
            }
            assert_eq!(server.call(VIEW).bearer(&guest.access).send().await.status, 200);
            // nor does the other path lose a value
            for (path, body, pointer) in [
                ("anon-user/login", r#"{"a":1,"a":2}"#, "/a"),
                (
                    "anon-user/login",
                    r#"{"options":{"device":{"deviceId":"a","deviceId":"b"}}}"#,
                    "/options/device/deviceId",
                ),
                ("local-userpass/login", r#"{"username":"a","password":"b","password":"c"}"#, "/password"),
                ("local-userpass/register", r#"{"email":"a","email":"b","password":"c"}"#, "/email"),
                ("local-userpass/reset/send", r#"{"email":"a","email":"b"}"#, "/email"),
            ] {
                let what = format!("POST /api/client/v2.0/app/passerby/auth/providers/{path}");
                let detail = format!("the member at {pointer:?} is there twice, and only one of them could be kept");
                post(server, &what, "", body).await.assert_client_error(400, Some("BadRequest"), &detail);
            }
            assert_eq!(server.metric("passerby_users").await, 1, "the guest");
        })
        .await;
}

#[actix_web::test]
async fn what_sdks_send_besides_is_ignored_on_their_path() {
    world()
        .serve(async |server| {
            let body = json!({ "provider": "anon-user", "options": { "device": { "sdk": "x" } }, "unknown": 1, "password": "x" });
            let answer = post(server, LOGIN, "", body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            // numbers that are not used may be rounded
            let answer = post(server, LOGIN, "", r#"{"a":0.1234567890123456789,"b":18446744073709551616}"#).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let answer = post(server, LOGIN, "", r#"{"a":1e400}"#).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.json()["error"].as_str().unwrap().starts_with("the number at \"/a\" cannot be kept"));
        })
        .await;
}

/// HTTP clients write `null` for no body at all.
#[actix_web::test]
async fn a_body_that_is_null_is_none() {
    world()
        .serve(async |server| {
            for body in ["null", " null\n"] {
                assert_eq!(post(server, CREATE, "", body).await.status, 201);
                let tokens = post(server, LOGIN, "", body).await.tokens();
                let app = |what: &str| what.replace(' ', " /api/client/v2.0/auth/");
                let refreshed = post(server, &app("POST session"), &tokens.refresh, body).await;
                assert_eq!(refreshed.status, 201);
                assert_eq!(post(server, &app("DELETE session"), &tokens.refresh, body).await.status, 204);
                let tokens = server.log_in().await;
                assert_eq!(post(server, &app("DELETE delete"), &tokens.access, body).await.status, 204);
                assert_eq!(server.call(PROFILE).bearer(&tokens.access).send().await.status, 401);

                let tokens = server.log_in_v1().await;
                let tokens = post(server, ROTATE, &tokens.refresh, body).await.tokens();
                for (what, status) in [
                    ("POST /v1/meters/plain", 200),
                    ("POST /v1/session/transfer", 201),
                    ("POST /v1/socket-ticket", 201),
                    ("DELETE /v1/data", 200),
                    ("DELETE /v1/user/sessions", 204),
                    (END, 204),
                ] {
                    assert_eq!(post(server, what, &tokens.access, body).await.status, status, "{what}");
                }
                // where a body is needed it has no fields
                post(server, REGISTER, "", body).await.assert_problem(400, "bad-field");
                let tokens = server.log_in_v1().await;
                post(server, "PUT /v1/data", &tokens.access, body).await.assert_problem(400, "not-an-object");
            }
        })
        .await;
}

/// What stands in the query or in a body that cannot be read would be left undone, and the rest done.
#[actix_web::test]
async fn a_request_without_fields_takes_none_from_its_query_or_from_half_an_object() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let put = "PUT /v1/data?if_version=9";
            server
                .call(put)
                .bearer(&tokens.access)
                .body(r#"{"a":1}"#)
                .send()
                .await
                .assert_problem(422, "unknown-field");
            for what in [DELETE_USER, END, "DELETE /v1/user/sessions", "DELETE /v1/data"] {
                let call = server.call(&format!("{what}?dry-run=true"));
                call.bearer(&tokens.access).send().await.assert_problem(422, "unknown-field");
                for body in [r#"{"dry_run": true"#, r#"[{"dry_run":true}]"#, "dry_run=true", r#"{"dry_run":true}{}"#] {
                    let answer = server.call(what).bearer(&tokens.access).body(body).send().await;
                    answer.assert_problem(400, "bad-body");
                }
            }
            let view = server.call(VIEW).bearer(&tokens.access).send().await;
            assert_eq!(view.status, 200, "nothing was done: {view:?}");
        })
        .await;
}
