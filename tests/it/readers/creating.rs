//! The first visits: the id, the reader who is created at the second, and what bounds that.

use super::*;

/// S39: the first page costs nothing and has the id; the second makes the reader; a crawler is let through without.
#[actix_web::test]
async fn a_reader_has_an_id_from_the_first_page_and_is_created_at_the_second() {
    World::new()
        .serve(async |server| {
            let mut jar = Jar::default();
            let first = jar.visit(server, AUTO).await;
            let id = passed(&first);
            assert_eq!(first.header("x-passerby-anonymous"), Some("true"));
            assert_eq!(first.header("x-passerby-session-age"), Some("0"));
            let set = first.header("set-cookie").unwrap();
            assert!(set.starts_with("passerby=") && set.contains("; HttpOnly; SameSite=Lax; Path=/"), "{set}");
            assert!(set.contains("Max-Age=7776000") && !set.contains("Secure") && !set.contains("Domain"), "{set}");
            assert_eq!(users(server), 0);
            let lazy = Jar(jar.0.clone());

            // machines and guesses of the browser create no user
            for header in [("sec-purpose", "prefetch"), ("x-forwarded-method", "HEAD"), ("user-agent", "Googlebot/2.1")]
            {
                let call = lazy.sent(server.call(AUTO));
                let answer = call.header(header.0, header.1).send().await;
                assert_eq!((passed(&answer), answer.header("set-cookie")), (id.clone(), None));
                let answer = server.call(AUTO).header("user-agent", FIREFOX).header(header.0, header.1).send().await;
                assert_eq!(
                    (answer.status, answer.header("x-passerby-user"), answer.header("set-cookie")),
                    (204, None, None)
                );
            }
            assert_eq!(users(server), 0);
            let answer = lazy.sent(server.call(NEVER)).send().await;
            answer.assert_problem(401, "no-reader");
            assert_eq!(answer.header("x-passerby-reason"), Some("no-reader"));

            // many requests at once make one reader, under the same id
            let calls = (0..50).map(|_| lazy.sent(server.call(AUTO)).send());
            for answer in futures_util::future::join_all(calls).await {
                assert_eq!(passed(&answer), id);
                assert!(answer.header("set-cookie").unwrap().contains("Max-Age=7776000"));
            }
            assert_eq!(users(server), 1);
            assert_eq!(passed(&jar.visit(server, AUTO).await), id);
            server.clock.advance_s(3600);
            let later = jar.visit(server, NEVER).await;
            assert_eq!(passed(&later), id);
            assert_eq!(later.header("x-passerby-session-age"), Some("3600"));
            assert_eq!(later.header("set-cookie"), None);
        })
        .await;
}

/// S39: the first cookie lives as long as every other one, so that a person who reads one page a month stays the same reader.
#[actix_web::test]
async fn a_first_cookie_lives_as_long_as_the_window() {
    const DAY: u32 = DAY_S as u32;
    for (window, age) in [(90 * DAY, 90 * DAY), (10 * DAY, 10 * DAY), (1000 * DAY, 400 * DAY)] {
        World::new()
            .set("expiry.window", &window.to_string())
            .serve(async |server| {
                let (mut comes, mut late, mut leaves) = (Jar::default(), Jar::default(), Jar::default());
                let first = comes.visit(server, AUTO).await;
                let id = passed(&first);
                assert!(first.header("set-cookie").unwrap().ends_with(&format!("; Max-Age={age}")), "{first:?}");
                let never_back = passed(&late.visit(server, AUTO).await);
                let left_id = passed(&leaves.visit(server, AUTO).await);
                server.clock.advance_s(u64::from(window) - 1);
                let second = comes.visit(server, AUTO).await;
                assert_eq!(passed(&second), id, "to the last second");
                assert!(second.header("set-cookie").unwrap().ends_with(&format!("; Max-Age={age}")), "{second:?}");
                // a user who leaves in that second is remembered while a lazy cookie of theirs could be good
                let left = server.call("DELETE /v1/session").header("sec-fetch-site", "same-origin");
                assert_eq!(leaves.sent(left).send().await.status, 204);
                server.server.janitor.sweep(server.server.store.pages()).await.unwrap();
                assert_ne!(passed(&leaves.visit(server, AUTO).await), left_id, "an end is an end");
                server.clock.advance_s(1);
                assert_ne!(passed(&late.visit(server, AUTO).await), never_back, "and not a second longer");
                assert_eq!(passed(&comes.visit(server, AUTO).await), id);
            })
            .await;
    }
}

/// Where anonymous users are switched off, a proxy that asks for `create=auto` makes none.
#[actix_web::test]
async fn without_anonymous_logins_no_page_creates_a_reader() {
    let world = World::new();
    let server = world.start().await;
    let mut made = Jar::of_reader(&server).await;
    let mut lazy = Jar::default();
    passed(&lazy.visit(&server, AUTO).await);
    server.stop().await;

    let world = world.without_anonymous_logins();
    world
        .serve(async |server| {
            for mut jar in [Jar::default(), lazy] {
                for what in [AUTO, AUTO, NEVER] {
                    let refused = jar.visit(server, what).await;
                    refused.assert_problem(401, "no-reader");
                    assert_eq!(refused.header("set-cookie"), None);
                }
                let own = |call: Call| jar.sent(call).header("sec-fetch-site", "same-origin");
                let by_script = own(server.call("POST /v1/sessions").body(r#"{"mode":"cookie"}"#)).send().await;
                by_script.assert_problem(403, "provider-disabled");
                assert_eq!(own(server.call("GET /v1/session")).send().await.status, 401);
            }
            assert_eq!(users(server), 1);
            passed(&made.visit(server, AUTO).await);
        })
        .await;
}

#[actix_web::test]
async fn at_capacity_readers_keep_their_lazy_ids() {
    World::new()
        .set("max_users", "1")
        .serve(async |server| {
            server.log_in_v1().await;
            let mut jar = Jar::default();
            let id = passed(&jar.visit(server, AUTO).await);
            let again = jar.visit(server, AUTO).await;
            assert_eq!((passed(&again), again.header("set-cookie"), users(server)), (id.clone(), None, 1));
            // for as long as they come back
            for _ in 0..3 {
                server.clock.advance_s(89 * DAY_S);
                assert_eq!(passed(&jar.visit(server, AUTO).await), id);
            }
            assert_eq!(users(server), 1);
        })
        .await;
}

/// S35, S36: a network that creates too many is told when to come again; readers of the network keep their ids and others notice nothing.
#[actix_web::test]
async fn a_network_that_creates_too_many_users_is_asked_to_wait_and_its_readers_keep_their_ids() {
    World::new()
        .set("trusted_proxies", "127.0.0.0/8")
        .set("budget.create", "6")
        .set("budget.create_burst", "3")
        .set("budget.bad_tokens_burst", "3")
        .serve(async |server| {
            let create = async |client: &str| from(server.call("POST /v1/sessions"), client).send().await;
            for _ in 0..3 {
                assert_eq!(create("203.0.113.9").await.status, 201);
            }
            let over = create("203.0.113.9").await;
            over.assert_problem(429, "work-needed");
            assert_eq!(over.header("retry-after"), Some("10"));
            let login = "POST /api/client/v2.0/app/passerby/auth/providers/anon-user/login";
            let over = from(server.call(login), "203.0.113.9").send().await;
            let text = "too many of these: come back in 10 s";
            over.assert_client_error(429, Some("TooManyRequests"), text);
            assert_eq!(create("203.0.113.10").await.status, 201);
            assert_eq!(
                create("198.51.100.1, 203.0.113.9").await.status,
                429,
                "what a client claims to be does not count"
            );
            assert_eq!(
                server.call("POST /v1/sessions").send().await.status,
                201,
                "a proxy that does not say who it is"
            );

            let mut jar = Jar::default();
            let first = from(jar.sent(server.call(AUTO)), "203.0.113.9").send().await;
            jar.keep(&first);
            let id = passed(&first);
            let before = users(server);
            let second = from(jar.sent(server.call(AUTO)), "203.0.113.9").send().await;
            assert_eq!((passed(&second), second.header("set-cookie"), users(server)), (id.clone(), None, before));
            server.clock.advance_s(10);
            let third = from(jar.sent(server.call(AUTO)), "203.0.113.9").send().await;
            assert_eq!((passed(&third), users(server)), (id, before + 1));

            // S37
            let guess = async |client: &str| from(server.call(NEVER), client).bearer("a.b.c").send().await;
            for _ in 0..3 {
                guess("203.0.113.9").await.assert_problem(401, "invalid-token");
            }
            guess("203.0.113.9").await.assert_problem(429, "over-budget");
            guess("203.0.113.10").await.assert_problem(401, "invalid-token");
            assert_eq!(server.metric("passerby_over_budget_tokens_total").await, 1);
        })
        .await;
}

/// S35: a page and its pictures come at once with the cookie of a reader who is not stored yet.
#[actix_web::test]
async fn a_reader_is_paid_for_once() {
    World::new()
        .set("trusted_proxies", "127.0.0.0/8")
        .set("budget.create", "1")
        .set("budget.create_burst", "3")
        .serve(async |server| {
            for made in 1..=4 {
                let mut jar = Jar::default();
                let id = passed(&jar.visit(server, AUTO).await);
                let page = (0..30).map(|_| from(jar.sent(server.call(AUTO)), "203.0.113.9").send());
                assert!(join_all(page).await.iter().all(|answer| passed(answer) == id));
                assert_eq!(users(server), made.min(3));
            }
        })
        .await;
}
