//! The App Services client API, byte for byte (docs/protocol.md).

use passerby_actors::domain::UserId;
use passerby_actors::testkit::DAY_S;
use serde_json::{Value, json};

use crate::world::{
    Answer, CREATE, DELETE, DELETE_USER, END, LINK, LOCATION, LOGIN, LOGOUT, PROFILE, REFRESH, ROTATE, TestServer,
    VIEW, World,
};

const NO_DEVICE: &str = "000000000000000000000000";
const DEAD: &str = "invalid session: failed to find refresh token";
const ENDED: &str = "invalid session: session not found";
const EXPIRED: &str = "invalid session: access token expired";
const NO_TOKEN: &str = "must authenticate first";
const WRONG_ACCESS: &str = "invalid access token: incorrect token type";
const WRONG_REFRESH: &str = "invalid refresh token: incorrect token type";

fn is_hex24(text: &Value) -> bool {
    text.as_str().is_some_and(|t| t.len() == 24 && t.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

fn keys(body: &Value) -> Vec<&str> {
    body.as_object().unwrap().keys().map(String::as_str).collect()
}

#[actix_web::test]
async fn a_login_takes_any_body_that_an_sdk_sends() {
    let empty = ["", " \r\n", "{}", r#"{"provider":"anon-user"}"#, r#"{"options":{}}"#, r#"{"options":{"device":5}}"#];
    let device = r#"{"options":{"device":{"sdkVersion":"2.0.1","platform":"node","platformVersion":"20.20.2"}}}"#;
    let known = r#"{"options":{"device":{"deviceId":{"$oid":"0123456789abcdef01234567"}}}}"#;
    let plain = r#"{"options":{"device":{"deviceId":"0123456789abcdef01234567"}}}"#;
    let types = [None, Some("application/json"), Some("application/json;charset=utf-8"), Some("text/plain")];
    let types = types.into_iter().chain([Some("application/x-www-form-urlencoded")]);
    World::new()
        .serve(async |server| {
            let mut users = std::collections::HashSet::new();
            for content_type in types.clone() {
                for body in empty.iter().chain(&[device, known, plain]) {
                    let mut call = server.call(LOGIN).body(*body);
                    if let Some(content_type) = content_type {
                        call = call.header("content-type", content_type);
                    }
                    let answer = call.send().await;
                    assert_eq!(answer.status, 200, "{body} {content_type:?} {answer:?}");
                    let found = answer.json();
                    assert_eq!(keys(&found), ["access_token", "device_id", "refresh_token", "user_id"]);
                    assert!(is_hex24(&found["user_id"]) && is_hex24(&found["device_id"]), "{found}");
                    match *body {
                        body if body == device => assert_ne!(found["device_id"], NO_DEVICE),
                        body if body == known || body == plain => {
                            assert_eq!(found["device_id"], "0123456789abcdef01234567");
                        }
                        _ => assert_eq!(found["device_id"], NO_DEVICE),
                    }
                    assert!(users.insert(found["user_id"].to_string()), "every login makes a new user");
                }
            }
            assert_eq!(server.server.store.opened().users, 0);
            assert_eq!(server.metric("passerby_users").await, users.len() as u64);
        })
        .await;
}

#[actix_web::test]
async fn a_session_lives_through_profile_refresh_and_logout() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            let profile = server.call(PROFILE).bearer(&tokens.access).send().await;
            assert_eq!(profile.status, 200);
            let id = UserId::parse(&tokens.user).unwrap();
            let (domain, provider) = (server.server.tokens.domain_id(), server.server.tokens.provider_id("anon-user"));
            let identity =
                json!({"id": id.anonymous_identity(), "provider_type": "anon-user", "provider_id": provider});
            let expected = json!({
                "user_id": tokens.user, "domain_id": domain, "identities": [identity], "data": {}, "type": "normal"
            });
            assert_eq!(profile.json(), expected);

            // core sends a content type with an empty body
            let refreshed = server
                .call(REFRESH)
                .bearer(&tokens.refresh)
                .header("content-type", "application/json;charset=utf-8")
                .send()
                .await;
            assert_eq!(refreshed.status, 201);
            let body = refreshed.json();
            assert_eq!(keys(&body), ["access_token"]);
            let access = body["access_token"].as_str().unwrap();
            assert_ne!(access, tokens.access);
            for token in [access, &tokens.access] {
                assert_eq!(server.call(PROFILE).bearer(token).send().await.json(), expected);
            }

            let out = server.call(LOGOUT).bearer(&tokens.refresh).send().await;
            assert_eq!((out.status, out.header("content-type"), out.body.len()), (204, None, 0));
            assert!(!server.has_record(&tokens.user), "logout deletes an anonymous user");
        })
        .await;
}

/// S7, S8: after logout and delete every token of the session is refused at the very next request, with the texts that SDKs wait for.
#[actix_web::test]
async fn what_is_ended_is_dead_at_once_with_the_texts_that_sdks_wait_for() {
    World::new()
        .serve(async |server| {
            for (ending, with_refresh) in [(LOGOUT, true), (DELETE, false)] {
                let tokens = server.log_in().await;
                let warm = server.call(PROFILE).bearer(&tokens.access).send().await;
                assert_eq!(warm.status, 200, "now it is in the cache of verified tokens");
                let token = if with_refresh { &tokens.refresh } else { &tokens.access };
                let ended = server.call(ending).bearer(token).send().await;
                assert_eq!((ended.status, ended.header("content-type"), ended.body.len()), (204, None, 0), "{ending}");
                assert!(!server.has_record(&tokens.user), "{ending}");
                for what in [REFRESH, LOGOUT] {
                    let answer = server.call(what).bearer(&tokens.refresh).send().await;
                    answer.assert_client_error(401, Some("InvalidSession"), DEAD);
                }
                for what in [PROFILE, DELETE, LINK] {
                    let answer = server.call(what).bearer(&tokens.access).send().await;
                    answer.assert_client_error(401, Some("InvalidSession"), ENDED);
                }
                for what in [VIEW, END, DELETE_USER] {
                    server.call(what).bearer(&tokens.access).send().await.assert_problem(401, "session-ended");
                }
            }
        })
        .await;
}

/// S7: whatever a logout races with, its session is dead afterwards.
#[actix_web::test]
async fn a_logout_that_races_with_other_requests_wins() {
    World::new()
        .serve(async |server| {
            for _ in 0..50 {
                let (app, v1) = (server.log_in().await, server.log_in_v1().await);
                let (out, _, _, end, rotated, _) = tokio::join!(
                    server.call(LOGOUT).bearer(&app.refresh).send(),
                    server.call(REFRESH).bearer(&app.refresh).send(),
                    server.call(PROFILE).bearer(&app.access).send(),
                    server.call(END).bearer(&v1.access).send(),
                    server.call(ROTATE).bearer(&v1.refresh).send(),
                    server.call(VIEW).bearer(&v1.access).send(),
                );
                assert_eq!((out.status, end.status), (204, 204), "{out:?} {end:?}");
                assert!(matches!(rotated.status, 200 | 401), "{rotated:?}");
                assert!(!server.has_record(&app.user) && !server.has_record(&v1.user));
                let dead = server.call(REFRESH).bearer(&app.refresh).send().await;
                dead.assert_client_error(401, Some("InvalidSession"), DEAD);
                if rotated.status == 200 {
                    let new = rotated.tokens();
                    server.call(VIEW).bearer(&new.access).send().await.assert_problem(401, "session-ended");
                    server.call(ROTATE).bearer(&new.refresh).send().await.assert_problem(401, "session-ended");
                }
            }
        })
        .await;
}

/// Endpoints, `Authorization`, and the code and text that it gets.
type Case<'a> = (&'a [&'a str], Option<&'a str>, Option<&'a str>, &'a str);

#[actix_web::test]
async fn requests_without_a_good_token_get_the_texts_of_the_protocol() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            let spoiled = |token: &str| format!("{}{}", &token[..token.len() - 3], "AAA");
            let (no_access, no_refresh) = (spoiled(&tokens.access), spoiled(&tokens.refresh));
            let other_alg = tokens.access.replacen(tokens.access.split('.').next().unwrap(), "eyJhbGciOiJub25lIn0", 1);
            let cases: [Case<'_>; 9] = [
                (&[PROFILE, DELETE, REFRESH, LOGOUT, LINK], None, Some("AuthError"), NO_TOKEN),
                (&[PROFILE, DELETE, REFRESH, LOGOUT, LINK], Some("Basic dTpw"), Some("AuthError"), NO_TOKEN),
                (&[PROFILE, DELETE, REFRESH, LOGOUT, LINK], Some("Bearer"), Some("AuthError"), NO_TOKEN),
                (&[PROFILE, DELETE, LINK], Some("Bearer null"), None, "unauthorized"),
                (&[REFRESH, LOGOUT], Some("Bearer null"), Some("InvalidSession"), DEAD),
                (&[PROFILE, DELETE, LINK], Some(&format!("Bearer {no_access}")), None, "unauthorized"),
                (&[PROFILE, DELETE, LINK], Some(&format!("Bearer {other_alg}")), None, "unauthorized"),
                (&[REFRESH, LOGOUT], Some(&format!("Bearer {no_refresh}")), Some("InvalidSession"), DEAD),
                (&[PROFILE, DELETE, LINK], Some("Bearer a.b.c"), None, "unauthorized"),
            ];
            for (endpoints, authorization, code, text) in cases {
                for what in endpoints {
                    let mut call = server.call(what);
                    if let Some(value) = authorization {
                        call = call.header("authorization", value);
                    }
                    let answer = call.send().await;
                    assert!(answer.status == 401, "{what} {authorization:?} {answer:?}");
                    answer.assert_client_error(401, code, text);
                }
            }
            let lower = server.call(PROFILE).header("authorization", &format!("bearer {}", tokens.access)).send().await;
            assert_eq!(lower.status, 200, "the scheme's case does not matter");
        })
        .await;
}

/// S26: an access token is good for 1800 seconds, and the refresh token for as long as the record says.
#[actix_web::test]
async fn an_access_token_expires_after_half_an_hour() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            server.clock.advance_s(1799);
            assert_eq!(server.call(PROFILE).bearer(&tokens.access).send().await.status, 200);
            server.clock.advance_s(2);
            for what in [PROFILE, DELETE, LINK] {
                let answer = server.call(what).bearer(&tokens.access).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), EXPIRED);
            }
            server.call(VIEW).bearer(&tokens.access).send().await.assert_problem(401, "token-expired");
            let refreshed = server.call(REFRESH).bearer(&tokens.refresh).send().await;
            assert_eq!(refreshed.status, 201);
            let access = refreshed.json()["access_token"].as_str().unwrap().to_owned();
            assert_eq!(server.call(PROFILE).bearer(&access).send().await.status, 200);
            // a wall clock that is set back makes tokens come from the future: more than five minutes is not believed
            server.clock.jump_wall_s(-299);
            assert_eq!(server.call(PROFILE).bearer(&access).send().await.status, 200);
            server.clock.jump_wall_s(-2);
            let answer = server.call(PROFILE).bearer(&access).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), EXPIRED);
            assert_eq!(server.call(REFRESH).bearer(&tokens.refresh).send().await.status, 201);
        })
        .await;
}

/// S27: every kind of token is refused by every endpoint that is not for it, and refusing does no harm.
#[actix_web::test]
async fn each_endpoint_takes_its_own_kind_of_token_alone() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Kind {
        AppAccess,
        V1Access,
        AppRefresh,
        V1Refresh,
        CookieRefresh,
    }
    use Kind::*;
    let endpoints: [(&str, &[Kind], u16); 10] = [
        (PROFILE, &[AppAccess, V1Access], 200),
        (DELETE, &[AppAccess, V1Access], 204),
        (LINK, &[AppAccess, V1Access], 400),
        (REFRESH, &[AppRefresh], 201),
        (LOGOUT, &[AppRefresh], 204),
        (VIEW, &[AppAccess, V1Access], 200),
        (END, &[AppAccess, V1Access], 204),
        (DELETE_USER, &[AppAccess, V1Access], 204),
        (ROTATE, &[V1Refresh], 200),
        // a login looks at no token
        (LOGIN, &[AppAccess, V1Access, AppRefresh, V1Refresh, CookieRefresh], 200),
    ];
    World::new()
        .serve(async |server| {
            for (what, taken, status) in endpoints {
                for kind in [AppAccess, V1Access, AppRefresh, V1Refresh, CookieRefresh] {
                    let (app, v1) = (server.log_in().await, server.log_in_v1().await);
                    let (token, owner) = match kind {
                        AppAccess => (app.access.clone(), &app),
                        AppRefresh => (app.refresh.clone(), &app),
                        V1Access => (v1.access.clone(), &v1),
                        V1Refresh => (v1.refresh.clone(), &v1),
                        CookieRefresh => (server.cookie_token(&v1), &v1),
                    };
                    let answer = server.call(what).bearer(&token).send().await;
                    if taken.contains(&kind) {
                        assert_eq!(answer.status, status, "{kind:?} on {what}: {answer:?}");
                        continue;
                    }
                    assert_eq!(answer.status, 401, "{kind:?} on {what}: {answer:?}");
                    match what {
                        VIEW | END | DELETE_USER | ROTATE => answer.assert_problem(401, "wrong-token"),
                        REFRESH | LOGOUT => answer.assert_client_error(401, None, WRONG_REFRESH),
                        _ => answer.assert_client_error(401, None, WRONG_ACCESS),
                    }
                    let profile = server.call(PROFILE).bearer(&owner.access).send().await;
                    assert_eq!(profile.status, 200, "{kind:?} on {what} did harm: {profile:?}");
                }
            }
        })
        .await;
}

#[actix_web::test]
async fn apps_and_providers_that_are_not_served_are_named_in_the_answer() {
    let unknown = "cannot find app using Client App ID 'other-abcde'";
    World::new()
        .serve(async |server| {
            let login = |app: &str, provider: &str| {
                server.call(&format!("POST /api/client/v2.0/app/{app}/auth/providers/{provider}/login"))
            };
            login("other-abcde", "anon-user").send().await.assert_client_error(404, None, unknown);
            let location = server.call("GET /api/client/v2.0/app/other-abcde/location").send().await;
            location.assert_client_error(404, None, unknown);
            let long = "x".repeat(5000);
            let shown = format!("cannot find app using Client App ID '{}'", &long[..64]);
            login(&long, "anon-user").send().await.assert_client_error(404, None, &shown);
            for provider in ["local-userpass", "api-key", "custom-token", "custom-function", "oauth2-google"] {
                let text = format!("authentication via '{provider}' is unsupported");
                login("passerby", provider).send().await.assert_client_error(401, Some("AuthError"), &text);
            }
            let text = "auth provider not found: 'anonymous'";
            let answer = login("passerby", "anonymous").send().await;
            answer.assert_client_error(404, Some("AuthProviderNotFound"), text);
            assert_eq!(server.metric("passerby_users").await, 0);
        })
        .await;
}

/// realm-web 1.0.0 to 2.0.0 refreshes and repeats after every 401, without end; other SDKs drop their user. So a 401 says that the
/// request's own token is no good, and nothing else.
#[actix_web::test]
async fn no_request_with_a_good_token_is_answered_401() {
    const KEYS: &str = "/api/client/v2.0/auth/api_keys";
    let provider = |name: &str, path: &str| format!("POST /api/client/v2.0/app/passerby/auth/providers/{name}/{path}");
    let names =
        ["anon-user", "local-userpass", "api-key", "custom-token", "custom-function", "oauth2-google", "nothing"];
    let bodies = [
        "{}",
        r#"{"username":"a@example.test","email":"a@example.test","password":"a wrong one"}"#,
        r#"{"token":"a.b.c","tokenId":"x","password":"a password"}"#,
        r#"{"key":"wrong","name":"k"}"#,
    ];
    let accounts = "[provider.local_userpass]\nconfig = { autoConfirm = true }\n[provider.api_key]\nenabled = true\n";
    for file in ["", accounts] {
        World::new()
            .file(file)
            .serve(async |server| {
                let access = |what: String| (what, true);
                let paths =
                    ["register", "confirm", "confirm/send", "confirm/call", "reset", "reset/send", "reset/call"];
                let mut requests: Vec<(String, bool)> =
                    paths.iter().map(|path| access(provider("local-userpass", path))).collect();
                for name in names {
                    requests.push(access(provider(name, "login?link=true")));
                    requests.push(access(provider(name, "login")));
                }
                requests.extend([access(PROFILE.to_owned()), access(LOCATION.to_owned())]);
                let key = format!("{KEYS}/0123456789abcdef01234567");
                for what in [
                    format!("GET {KEYS}"),
                    format!("POST {KEYS}"),
                    format!("GET {key}"),
                    format!("DELETE {key}"),
                    format!("PUT {key}/enable"),
                    format!("PUT {key}/disable"),
                    REFRESH.to_owned(),
                ] {
                    requests.push((what, false));
                }
                for (what, by_access) in requests {
                    for body in bodies {
                        // some of it succeeds, and replaces the token
                        let tokens = server.log_in().await;
                        let token = if by_access { &tokens.access } else { &tokens.refresh };
                        let call = server.call(&what).bearer(token);
                        let answer = if what.starts_with("GET") { call } else { call.body(body) }.send().await;
                        assert_ne!(answer.status, 401, "{what} {body} {answer:?}");
                        assert!(answer.status < 500, "{what} {body} {answer:?}");
                    }
                }
                // and without one, or with one that is none, a login is refused as it always was
                for token in ["", "null", "a.b.c"] {
                    let call = server.call(&provider("custom-token", "login")).bearer(token).body("{}");
                    let text = "authentication via 'custom-token' is unsupported";
                    call.send().await.assert_client_error(401, Some("AuthError"), text);
                }
            })
            .await;
    }
}

/// Rule 8: a disabled provider answers logins with an error, and the sessions there are go on.
#[actix_web::test]
async fn a_disabled_provider_takes_no_logins_and_ends_no_session() {
    let world = World::new();
    let before = world.start().await;
    let (app, v1) = (before.log_in().await, before.log_in_v1().await);
    before.stop().await;
    let world = world.without_anonymous_logins();
    world
        .serve(async |server| {
            let text = "authentication via 'anon-user' is unsupported";
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), text);
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn an_anonymous_identity_cannot_be_linked() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            let answer = server.call(LINK).bearer(&tokens.access).body("{}").send().await;
            answer.assert_client_error(400, Some("BadRequest"), "linking an anonymous identity is not allowed");
            assert_eq!(server.metric("passerby_users").await, 1);
            assert_eq!(server.call(PROFILE).bearer(&tokens.access).send().await.status, 200);
        })
        .await;
}

/// S9: a disabled user's tokens are refused everywhere at once, and enabling undoes it.
#[actix_web::test]
async fn a_disabled_user_is_refused_until_enabled_again() {
    World::new()
        .serve(async |server| {
            let (app, v1, handle) = (server.log_in().await, server.log_in_v1().await, server.handle());
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            for tokens in [&app, &v1] {
                handle.disable(&UserId::parse(&tokens.user).unwrap()).await.unwrap();
                for what in [PROFILE, DELETE, LINK] {
                    let answer = server.call(what).bearer(&tokens.access).send().await;
                    answer.assert_client_error(401, Some("InvalidSession"), "invalid session: user disabled");
                }
                for what in [VIEW, END, DELETE_USER] {
                    server.call(what).bearer(&tokens.access).send().await.assert_problem(403, "user-disabled");
                }
            }
            for what in [REFRESH, LOGOUT] {
                let answer = server.call(what).bearer(&app.refresh).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), DEAD);
            }
            server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(403, "user-disabled");
            for tokens in [&app, &v1] {
                handle.enable(&UserId::parse(&tokens.user).unwrap()).await.unwrap();
                assert_eq!(server.call(PROFILE).bearer(&tokens.access).send().await.status, 200);
            }
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
        })
        .await;
}

/// S10: an administrator ends sessions: all of an anonymous user's, and the user is gone.
#[actix_web::test]
async fn a_user_whose_sessions_were_ended_is_gone() {
    World::new()
        .serve(async |server| {
            let (app, handle) = (server.log_in().await, server.handle());
            handle.end_all(&UserId::parse(&app.user).unwrap()).await.unwrap();
            let answer = server.call(PROFILE).bearer(&app.access).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), ENDED);
            let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), DEAD);
        })
        .await;
}

#[actix_web::test]
async fn double_slashes_are_one() {
    World::new()
        .serve(async |server| {
            let doubled = |what: &str| what.replacen(" /api/", " //api///", 1);
            let tokens = server.call(&doubled(LOGIN)).send().await.tokens();
            assert_eq!(server.call(&doubled(LOCATION)).send().await.status, 200);
            assert_eq!(server.call(&doubled(PROFILE)).bearer(&tokens.access).send().await.status, 200);
            assert_eq!(server.call(&doubled(REFRESH)).bearer(&tokens.refresh).send().await.status, 201);
            let linked = server.call(&doubled(LINK)).bearer(&tokens.access).send().await;
            linked.assert_client_error(400, Some("BadRequest"), "linking an anonymous identity is not allowed");
        })
        .await;
}

/// S22: any origin may call, but never with credentials, so nothing is reflected.
#[actix_web::test]
async fn browsers_may_call_from_anywhere_and_can_read_errors() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            for what in [LOGIN, PROFILE, REFRESH, DELETE, CREATE, VIEW, ROTATE, END, "GET /nowhere"] {
                let (method, path) = what.split_once(' ').unwrap();
                let preflight = preflight(server, path, "https://news.example", method).await;
                assert!(matches!(preflight.status, 200 | 204), "{what} {preflight:?}");
                assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
                assert_eq!(preflight.header("access-control-allow-credentials"), None);
                assert_eq!(preflight.header("access-control-max-age"), Some("3600"));
                let list = |name| {
                    let mut list: Vec<_> = preflight.header(name).unwrap().split(',').map(str::trim).collect();
                    list.iter_mut().for_each(|word| *word = word.trim());
                    list.sort_unstable();
                    list.join(" ").to_lowercase()
                };
                assert_eq!(list("access-control-allow-methods"), "delete get options patch post put");
                // whatever a page adds of its own, such as a tracing header
                assert_eq!(list("access-control-allow-headers"), "authorization content-type sentry-trace");
                // it has no token, so it is an error, which a browser must be able to read
                let origin = server.call(what).header("origin", "https://news.example").send().await;
                assert_eq!(origin.header("access-control-allow-origin"), Some("*"), "{what} {origin:?}");
                assert_eq!(origin.header("access-control-allow-credentials"), None);
                let exposed = origin.header("access-control-expose-headers").unwrap();
                assert!(exposed.contains("x-appservices-request-id") && exposed.contains("retry-after"), "{exposed}");
            }
            let profile = server.call(PROFILE).header("origin", "https://news.example").bearer(&tokens.access);
            assert_eq!(profile.send().await.header("access-control-allow-origin"), Some("*"));
        })
        .await;
}

async fn preflight(server: &TestServer, path: &str, origin: &str, method: &str) -> Answer {
    server
        .call(&format!("OPTIONS {path}"))
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type,sentry-trace")
        .send()
        .await
}

/// S22: with an allow-list, what is on it may also send a reader's cookie, and what is not gets no permission.
#[actix_web::test]
async fn with_an_allow_list_other_origins_get_no_permission() {
    World::new()
        .set("allowed_origins", "https://news.example,https://app.example:8443")
        .serve(async |server| {
            let path = PROFILE.split_once(' ').unwrap().1;
            for origin in ["https://news.example", "https://app.example:8443"] {
                let answer = preflight(server, path, origin, "GET").await;
                assert!(matches!(answer.status, 200 | 204), "{answer:?}");
                assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
                let answer = server.call(PROFILE).header("origin", origin).send().await;
                answer.assert_client_error(401, Some("AuthError"), NO_TOKEN);
                assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
                assert!(answer.headers.get_all("vary").any(|v| v.to_str().unwrap().to_lowercase().contains("origin")));
            }
            for origin in ["https://evil.example", "http://news.example", "https://news.example.evil.example", "null"] {
                for answer in [
                    preflight(server, path, origin, "GET").await,
                    server.call(PROFILE).header("origin", origin).send().await,
                    server.call(LOGIN).header("origin", origin).send().await,
                ] {
                    // without it nothing else that is allowed counts
                    assert_eq!(answer.header("access-control-allow-origin"), None, "{origin} {answer:?}");
                }
            }
        })
        .await;
}

/// Errors are JSON wherever a request reaches the router.
#[actix_web::test]
async fn a_refused_preflight_is_answered_in_the_form_of_its_api() {
    World::new()
        .set("allowed_origins", "https://news.example")
        .serve(async |server| {
            for (origin, method) in [("https://evil.example", "GET"), ("https://news.example", "TRACE")] {
                for (what, content_type) in [(PROFILE, "application/json"), (VIEW, "application/problem+json")] {
                    let answer = preflight(server, what.split_once(' ').unwrap().1, origin, method).await;
                    assert!(matches!(answer.status, 400 | 403), "{answer:?}");
                    assert!(answer.json_as(content_type).is_object());
                }
            }
        })
        .await;
}

/// S20: nothing that carries a token may be stored on the way.
#[actix_web::test]
async fn answers_with_tokens_are_not_stored() {
    World::new()
        .serve(async |server| {
            let (login, created) = (server.call(LOGIN).send().await, server.call(CREATE).send().await);
            let (app, v1) = (login.tokens(), created.tokens());
            let answers = [
                login,
                created,
                server.call(REFRESH).bearer(&app.refresh).send().await,
                server.call(ROTATE).bearer(&v1.refresh).send().await,
                server.call(PROFILE).bearer(&app.access).send().await,
                server.call(VIEW).bearer(&v1.access).send().await,
                server.call(PROFILE).send().await,
                server.call(VIEW).send().await,
                server.call(LOCATION).send().await,
                server.call(LOGOUT).bearer(&app.refresh).send().await,
                server.call(END).bearer(&v1.access).send().await,
            ];
            for answer in answers {
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
            }
        })
        .await;
}

type Pairs = &'static [(&'static str, &'static str)];

/// S36: what a proxy says is believed only from those that are trusted.
#[actix_web::test]
async fn location_answers_how_the_client_reached_us() {
    const FORWARDED: Pairs = &[("x-forwarded-host", "app.example"), ("x-forwarded-proto", "https")];
    let cases: [(Pairs, Pairs, &str, bool); 7] = [
        (&[], &[], "http://{own}", true),
        (&[], &[("host", "news.example:9000")], "http://news.example:9000", true),
        (&[], FORWARDED, "http://{own}", true),
        (&[("trusted_proxies", "10.0.0.0/8")], FORWARDED, "http://{own}", true),
        (&[("trusted_proxies", "127.0.0.0/8")], FORWARDED, "https://app.example", true),
        (&[("public_url", "https://news.example")], FORWARDED, "https://news.example", false),
        (&[("public_url", "http://localhost:1234")], &[], "http://localhost:1234", false),
    ];
    for (settings, headers, expected, varies) in cases {
        let world = settings.iter().fold(World::new(), |world, (key, value)| world.set(key, value));
        world
            .serve(async |server| {
                let with = |what: &str| headers.iter().fold(server.call(what), |call, (name, v)| call.header(name, v));
                let expected = expected.replace("{own}", &server.address.to_string());
                let answer = with(LOCATION).send().await;
                assert_eq!(answer.status, 200);
                let ws = expected.replacen("http", "ws", 1);
                let body = json!({
                    "deployment_model": "GLOBAL", "location": "US-VA", "hostname": expected, "ws_hostname": ws
                });
                assert_eq!(answer.json(), body, "{settings:?} {headers:?}");
                let vary = answer.headers.get_all("vary").any(|v| v.to_str().unwrap().to_lowercase().contains("host"));
                assert_eq!(vary, varies, "{answer:?}");
                // the link of an error names the same place
                let error = with(PROFILE).send().await.json();
                assert!(error["link"].as_str().unwrap().starts_with(&format!("{expected}/groups/")), "{error}");
            })
            .await;
    }
}

/// S4: an id that is not one of ours is never taken over: a login ignores whatever session is presented.
#[actix_web::test]
async fn a_login_ignores_what_is_presented() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            for token in [&tokens.access, &tokens.refresh, "null", "garbage"] {
                let other = server.call(LOGIN).bearer(token).send().await.tokens();
                assert_ne!(other.user, tokens.user);
                let other = server.call(CREATE).bearer(token).send().await.tokens();
                assert_ne!(other.user, tokens.user);
            }
        })
        .await;
}

/// S12: inactive for a second less than 90 days is accepted and goes on; 90 days is refused for good, swept or not.
#[actix_web::test]
async fn ninety_days_without_activity_end_a_user_and_a_second_less_does_not() {
    World::new()
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            server.clock.advance_s(90 * DAY_S - 1);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            let v1 = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
            // both slid: 90 days more
            server.clock.advance_s(90 * DAY_S - 1);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            let v1 = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
            server.clock.advance_s(90 * DAY_S);
            for _ in 0..2 {
                let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), DEAD);
                server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(401, "session-ended");
            }
            assert!(server.has_record(&app.user) && server.has_record(&v1.user), "the sweep has not come by");
            // a wall clock that is set back revives no one
            server.clock.jump_wall_s(-(30 * 86_400));
            let answer = server.call(REFRESH).bearer(&app.refresh).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), DEAD);
            server.clock.advance_s(61);
            let pages = server.server.core.store().pages();
            server.server.janitor.sweep(pages).await.unwrap();
            assert!(!server.has_record(&app.user) && !server.has_record(&v1.user));
            let answer = server.call(LOGOUT).bearer(&app.refresh).send().await;
            answer.assert_client_error(401, Some("InvalidSession"), DEAD);
        })
        .await;
}

/// S13: an active anonymous user has no absolute end: three years with the first refresh token, and a restart every year.
#[actix_web::test]
async fn three_years_of_use_keep_a_user_with_its_first_refresh_token() {
    let world = World::new();
    let server = world.start().await;
    let tokens = server.log_in().await;
    server.stop().await;
    for year in 0..3 {
        world
            .serve(async |server| {
                for month in 0..12 {
                    server.clock.advance_s(30 * DAY_S);
                    let answer = server.call(REFRESH).bearer(&tokens.refresh).send().await;
                    assert_eq!(answer.status, 201, "year {year}, month {month}: {answer:?}");
                    let access = answer.json()["access_token"].as_str().unwrap().to_owned();
                    let view = server.call(VIEW).bearer(&access).send().await.json();
                    assert_eq!(view["user_id"], tokens.user);
                    assert_eq!(view["anonymous"], true);
                }
            })
            .await;
    }
}

#[actix_web::test]
async fn a_server_has_the_providers_of_its_file() {
    let file = "[provider.custom_token]\nconfig = { signingAlgorithm = \"HS256\" }\n\
                secret_config = { signingKeys = [\"shared\"] }\n\
                [provider.oidc.corp]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";
    World::new()
        .secret("SHARED", "0123456789abcdef0123456789abcdef")
        .file(file)
        .serve(async |server| {
            let names: Vec<_> = server.server.providers.names().collect();
            assert_eq!(names, ["custom-token", "oidc-corp"]);
        })
        .await;
}
