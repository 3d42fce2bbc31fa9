//! Which token is for what, and the texts of refusals.

use super::*;

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
