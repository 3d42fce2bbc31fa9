//! What a check says, and of which cookies.

use super::*;

/// S33: slid once a day, gone after 90 days without a visit, and the browser's cookie with it.
#[actix_web::test]
async fn a_readers_cookie_slides_once_a_day_and_ends_with_inactivity() {
    World::new()
        .serve(async |server| {
            let mut jar = Jar::default();
            let id = passed(&jar.visit(server, AUTO).await);
            assert_eq!(passed(&jar.visit(server, AUTO).await), id);
            let mut set = 0;
            for _ in 0..24 {
                server.clock.advance_s(DAY_S / 4);
                set += usize::from(jar.visit(server, NEVER).await.header("set-cookie").is_some());
                assert_eq!(passed(&jar.visit(server, NEVER).await), id);
            }
            assert_eq!(set, 6);
            server.clock.advance_s(89 * DAY_S);
            assert_eq!(passed(&jar.visit(server, NEVER).await), id);
            server.clock.advance_s(90 * DAY_S);
            jar.visit(server, NEVER).await.assert_problem(401, "no-reader");
            let new = passed(&jar.visit(server, AUTO).await);
            assert_ne!(new, id, "nobody is revived");
        })
        .await;
}

/// S4, S27: a cookie that is not ours, or is a different kind of text of ours, is never adopted.
#[actix_web::test]
async fn unknown_and_forged_cookies_are_never_adopted() {
    World::new()
        .serve(async |server| {
            let mut jar = Jar::default();
            let id = passed(&jar.visit(server, AUTO).await);
            let lazy = jar.0.clone().unwrap();
            passed(&jar.visit(server, AUTO).await);
            let session = jar.0.clone().unwrap();
            let tokens = server.log_in_v1().await;
            let mut forged: Vec<String> = vec![
                "passerby=".to_owned(),
                format!("passerby={id}"),
                format!("passerby={}", tokens.refresh),
                format!("passerby={}", tokens.access),
                session.replace("passerby=", "__Host-passerby="),
                session.replace("passerby=", "__Secure-passerby="),
            ];
            for good in [&lazy, &session] {
                for at in "passerby=".len()..good.len() {
                    let mut bytes = good.clone().into_bytes();
                    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                    forged.push(String::from_utf8(bytes).unwrap());
                }
            }
            for cookie in &forged {
                let answer = server.call(NEVER).header("user-agent", FIREFOX).header("cookie", cookie).send().await;
                answer.assert_problem(401, "no-reader");
            }
            let mut other = Jar(Some(forged[forged.len() / 2].clone()));
            assert_ne!(passed(&other.visit(server, AUTO).await), id);
            // of several cookies of the name the genuine one counts, as when a different path set one
            for several in [
                format!("passerby=nonsense; {session}"),
                format!("city=Zürich; {session}; name=Zoë"),
                format!("passerby=Zürich;{session} ;x"),
            ] {
                let answer = server.call(NEVER).header("user-agent", FIREFOX).header("cookie", &several).send().await;
                assert_eq!(passed(&answer), id, "{several}");
            }
            let agent = "Mozilla/5.0 (a browser of Zürich)";
            let answer = server.call(AUTO).header("user-agent", agent).send().await;
            assert!(answer.header("set-cookie").is_some(), "a person's: {answer:?}");
            // a token goes before the cookie, also a bad one
            let call = jar.sent(server.call(NEVER));
            assert_eq!(passed(&call.bearer(&tokens.access).send().await), tokens.user);
            jar.sent(server.call(NEVER)).bearer("nonsense").send().await.assert_problem(401, "invalid-token");
        })
        .await;
}

/// S15, S16, S17.
#[actix_web::test]
async fn the_cookie_has_the_prefix_that_its_place_allows() {
    type Settings<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Settings, &str, &str); 5] = [
        (
            &[("public_url", "https://site.example")],
            "__Host-passerby=",
            "; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=",
        ),
        (
            &[("public_url", "https://www.site.example"), ("cookie.domain", "site.example")],
            "__Secure-passerby=",
            "; HttpOnly; SameSite=Lax; Secure; Path=/; Domain=site.example; Max-Age=",
        ),
        (
            &[("public_url", "https://site.example"), ("cookie.partitioned", "true")],
            "__Host-passerby=",
            "; HttpOnly; SameSite=None; Secure; Path=/; Max-Age=",
        ),
        (
            &[("public_url", "http://site.example")],
            "__Host-passerby=",
            "; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=",
        ),
        (&[("public_url", "http://127.0.0.1:8080")], "passerby=", "; HttpOnly; SameSite=Lax; Path=/; Max-Age="),
    ];
    for (settings, name, attributes) in cases {
        let world = settings.iter().fold(World::new(), |world, (key, value)| world.set(key, value));
        world
            .serve(async |server| {
                let mut jar = Jar::default();
                for _ in 0..2 {
                    let answer = jar.visit(server, AUTO).await;
                    let set = answer.header("set-cookie").unwrap();
                    assert!(set.starts_with(name) && set.contains(attributes), "{set}");
                    assert_eq!(
                        set.ends_with("; Partitioned"),
                        settings.iter().any(|(key, _)| *key == "cookie.partitioned")
                    );
                    let pair = set.split(';').next().unwrap();
                    assert!(pair.len() < 200 && !set.contains("Expires"), "{set}");
                }
            })
            .await;
    }
    // without a public URL it goes by the host that the browser named
    World::new()
        .serve(async |server| {
            let call = server.call(AUTO).header("user-agent", FIREFOX).header("host", "site.example");
            assert!(call.send().await.header("set-cookie").unwrap().starts_with("__Host-passerby="));
        })
        .await;
}

/// S41: known readers go on while nothing can be written, and no user is created or called dead.
#[actix_web::test]
async fn checks_of_known_readers_go_on_while_the_disk_fails() {
    World::new()
        .serve(async |server| {
            let (mut known, mut lazy) = (Jar::default(), Jar::default());
            let id = passed(&known.visit(server, AUTO).await);
            passed(&known.visit(server, AUTO).await);
            passed(&lazy.visit(server, AUTO).await);
            server.disk.set(Mode::SyncsFail);
            let failed = lazy.visit(server, AUTO).await;
            assert_eq!(failed.status, 503, "{failed:?}");
            until("it is noticed", || !server.server.may_refuse()).await;
            assert_eq!(passed(&known.visit(server, NEVER).await), id);
            let refused = lazy.visit(server, AUTO).await;
            refused.assert_come_again(1..=3);
            Jar::default().visit(server, NEVER).await.assert_come_again(1..=3);
            assert!(Jar::default().visit(server, AUTO).await.header("x-passerby-user").is_some(), "it costs nothing");
            server.heal().await;
            passed(&lazy.visit(server, AUTO).await);
        })
        .await;
}

#[actix_web::test]
async fn an_assertion_names_the_reader_for_a_minute_and_is_no_token_here() {
    World::new()
        .serve(async |server| {
            let mut jar = Jar::default();
            let answer = jar.visit(server, "GET /verify?create=auto&assertion=1").await;
            let id = passed(&answer);
            let assertion = answer.header("x-passerby-assertion").unwrap().to_owned();
            let claims = assertion.split('.').nth(1).unwrap();
            use base64::Engine as _;
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!((claims["sub"].as_str(), &claims["anonymous"]), (Some(id.as_str()), &json!(true)));
            assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
            assert_eq!((claims["aud"].as_str(), claims["typ"].as_str()), (Some("passerby"), Some("assertion")));
            server.call(NEVER).bearer(&assertion).send().await.assert_problem(401, "wrong-token");
            let refresh = server.call("POST /v1/session/refresh").bearer(&assertion).send().await;
            refresh.assert_problem(401, "wrong-token");
            for query in ["create=sometimes", "create=auto&create=never", "meter=a&meter=a", "x=1"] {
                server.call(&format!("GET /verify?{query}")).send().await.assert_problem(400, "bad-query");
            }
            for path in ["/verify/", "/verify/x", "/verify/..%2fv1/session"] {
                server.call(&format!("GET {path}?create=auto")).send().await.assert_problem(404, "not-found");
            }
            // proxies ask as they like
            for what in ["POST /verify", "HEAD /verify", "DELETE /verify?create=never"] {
                assert_eq!(server.call(what).body("").send().await.status, 401, "{what}");
            }
        })
        .await;
}

/// Two servers with the same keys and a data folder each are two servers: that is logged where a user is called dead for it, and
/// not where a user has ended.
#[actix_web::test]
async fn a_user_of_a_second_server_with_the_same_keys_is_noticed() {
    let keys = tempfile::tempdir().unwrap();
    let keys = keys.path().join("keys").display().to_string();
    let (one, two) = (World::new().set("keys_dir", &keys), World::new().set("keys_dir", &keys));
    let (here, there) = (one.start().await, two.start().await);
    let strangers = async |server: &TestServer| server.metric("passerby_strangers_total").await;
    let before = there.log_in_v1().await;
    for clock in [&one.clock, &two.clock] {
        clock.advance_s(5);
    }
    // may have been here once, as far as this server knows
    here.call("GET /v1/session").bearer(&before.access).send().await.assert_problem(401, "session-ended");
    assert_eq!(strangers(&here).await, 0);
    let token = there.log_in_v1().await;
    here.call("GET /v1/session").bearer(&token.access).send().await.assert_problem(401, "session-ended");
    here.call("POST /v1/session/refresh").bearer(&token.refresh).send().await.assert_problem(401, "session-ended");
    let reader = Jar::of_reader(&there).await;
    reader.sent(here.call(NEVER)).send().await.assert_problem(401, "no-reader");
    assert_eq!((strangers(&here).await, strangers(&there).await), (3, 0));

    // a user who ended here is no stranger
    let gone = here.log_in_v1().await;
    assert_eq!(here.call("DELETE /v1/user").bearer(&gone.access).send().await.status, 204);
    here.call("GET /v1/session").bearer(&gone.access).send().await.assert_problem(401, "session-ended");
    assert_eq!(strangers(&here).await, 3);
    here.stop().await;
    there.stop().await;
}
