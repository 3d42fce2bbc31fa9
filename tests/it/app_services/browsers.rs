//! Paths, origins and headers.

use super::*;

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
