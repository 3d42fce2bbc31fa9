//! Readers by cookie: `/verify`, lazy ids, sliding, the site's own calls, and what is never adopted.

use futures_util::future::{join, join_all};
use passerby_actors::store::Store;
use serde_json::json;

use crate::faulty::Mode;
use crate::support::{DAY_S, until};
use crate::world::{Answer, Call, TestServer, World};

const AUTO: &str = "GET /verify?create=auto";
const NEVER: &str = "GET /verify";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// What a browser keeps.
#[derive(Default)]
struct Jar(Option<String>);

impl Jar {
    fn sent(&self, call: Call) -> Call {
        let call = call.header("user-agent", FIREFOX);
        match &self.0 {
            Some(cookie) => call.header("cookie", &format!("other=1; {cookie}; passerbyx=2")),
            None => call,
        }
    }

    /// Keeps what an answer sets; answers whether it did.
    fn keep(&mut self, answer: &Answer) -> bool {
        let Some(set) = answer.header("set-cookie") else { return false };
        let pair = set.split(';').next().unwrap();
        self.0 = (!set.contains("Max-Age=0")).then(|| pair.to_owned());
        true
    }

    async fn visit(&mut self, server: &TestServer, what: &str) -> Answer {
        let answer = self.sent(server.call(what)).send().await;
        self.keep(&answer);
        answer
    }
}

#[track_caller]
fn passed(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.header("x-passerby-user").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn users(server: &TestServer) -> usize {
    server.server.store.registry().len()
}

fn from(call: Call, client: &str) -> Call {
    call.header("x-forwarded-for", client)
}

/// S39: the first page costs nothing and has the id; the second makes the reader; a crawler is let through without.
#[actix_web::test]
async fn a_reader_has_an_id_from_the_first_page_and_is_made_at_the_second() {
    World::new()
        .serve(async |server| {
            let mut jar = Jar::default();
            let first = jar.visit(server, AUTO).await;
            let id = passed(&first);
            assert_eq!(first.header("x-passerby-anonymous"), Some("true"));
            assert_eq!(first.header("x-passerby-session-age"), Some("0"));
            let set = first.header("set-cookie").unwrap();
            assert!(set.starts_with("passerby=") && set.contains("; HttpOnly; SameSite=Lax; Path=/"), "{set}");
            assert!(set.contains("Max-Age=2592000") && !set.contains("Secure") && !set.contains("Domain"), "{set}");
            assert_eq!(users(server), 0);
            let lazy = Jar(jar.0.clone());

            // machines and guesses of the browser make nobody
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

/// S33, design §5: slid once a day, gone after 90 days without a visit, and the browser's cookie with it.
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

/// S4, S27: a cookie that is not ours, or is another kind of text of ours, is never adopted.
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
            // of several cookies of the name the genuine one counts, as when another path set one
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

/// S7: a lazy cookie that is used again after its reader has ended gives a new id, also after a restart, for as long as it is
/// good; and what is remembered of it is forgotten then.
#[actix_web::test]
async fn who_logged_out_does_not_come_back_by_an_old_lazy_cookie() {
    let world = World::new();
    let server = world.start().await;
    let mut jar = Jar::default();
    let id = passed(&jar.visit(&server, AUTO).await);
    let lazy = jar.0.clone();
    assert_eq!(passed(&jar.visit(&server, AUTO).await), id);
    let own = |call: Call| call.header("sec-fetch-site", "same-origin");
    let out = own(jar.sent(server.call("DELETE /v1/session"))).send().await;
    assert_eq!(out.status, 204, "{out:?}");
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert!(out.header("clear-site-data").is_some());
    assert_eq!(users(&server), 0);
    let mut replayed = Jar(lazy.clone());
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id);
    server.stop().await;
    let server = world.start().await;
    let mut replayed = Jar(lazy.clone());
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id);
    assert_eq!(server.server.store.registry().values(), 1);
    world.clock.advance_s(30 * DAY_S);
    let mut replayed = Jar(lazy);
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id, "by now it is too old by itself");
    let pages = server.server.store.registry().pages();
    server.server.janitor.sweep(pages).await.unwrap();
    until("it is forgotten", || server.server.store.registry().values() == 0).await;
    server.stop().await;
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

/// S18, S21: the site's own script logs in, links and logs out by cookie, sees no token, and nobody else's page can.
#[actix_web::test]
async fn the_sites_own_calls_go_by_cookie_and_other_sites_cannot_make_them() {
    let file = "[provider.local_userpass]\nconfig = { autoConfirm = true }\n";
    World::new()
        .file(file)
        .set("session.fresh", "0")
        .serve(async |server| {
            let mut jar = Jar::default();
            let own = |call: Call| call.header("sec-fetch-site", "same-origin");
            let body = r#"{"mode":"cookie"}"#;
            let create = || server.call("POST /v1/sessions").body(body);
            jar.sent(create()).send().await.assert_problem(403, "cross-site");
            jar.sent(create()).header("sec-fetch-site", "cross-site").send().await.assert_problem(403, "cross-site");
            jar.sent(create()).header("origin", "https://evil.example").send().await.assert_problem(403, "cross-site");
            assert_eq!(users(server), 0);
            let made = jar.sent(own(create())).send().await;
            assert_eq!(made.status, 201);
            assert!(jar.keep(&made));
            let id = made.json()["user_id"].as_str().unwrap().to_owned();
            assert_eq!(made.json().as_object().unwrap().len(), 2, "{made:?}");
            let again = jar.sent(own(create())).send().await;
            assert_eq!((again.status, again.json()["user_id"].as_str()), (200, Some(id.as_str())));
            let origin = format!("http://{}", server.address);
            let by_origin = jar.sent(create()).header("origin", &origin).send().await;
            assert_eq!(by_origin.status, 200, "an old browser says so in Origin: {by_origin:?}");

            let seen = jar.visit(server, "GET /v1/session").await;
            assert_eq!(seen.json()["user_id"], id);
            let register = json!({ "email": "a@example.test", "password": "a password" }).to_string();
            assert_eq!(server.call("POST /v1/registrations").body(register).send().await.status, 202);
            let link = json!({ "provider": "local-userpass", "email": "a@example.test", "password": "a password" });
            let link = || server.call("POST /v1/user/identities").body(link.to_string());
            jar.sent(link()).header("sec-fetch-site", "same-site").send().await.assert_problem(403, "cross-site");
            let before = Jar(jar.0.clone());
            let linked = jar.sent(own(link())).send().await;
            assert_eq!((linked.status, linked.json().get("access_token")), (200, None), "{linked:?}");
            assert!(jar.keep(&linked), "the cookie from before the link is worth nothing");
            before.sent(server.call(NEVER)).send().await.assert_problem(401, "no-reader");
            let answer = jar.visit(server, NEVER).await;
            assert_eq!((passed(&answer), answer.header("x-passerby-anonymous")), (id, Some("false")));

            jar.sent(server.call("DELETE /v1/session")).send().await.assert_problem(403, "cross-site");
            let out = jar.sent(own(server.call("DELETE /v1/session"))).send().await;
            assert_eq!(out.status, 204);
            jar.keep(&out);
            assert!(jar.0.is_none());
        })
        .await;
}

/// S41: known readers go on while nothing can be written, and nobody is made or called dead.
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
async fn at_capacity_readers_keep_their_lazy_ids() {
    World::new()
        .set("max_users", "1")
        .serve(async |server| {
            server.log_in_v1().await;
            let mut jar = Jar::default();
            let id = passed(&jar.visit(server, AUTO).await);
            let again = jar.visit(server, AUTO).await;
            assert_eq!((passed(&again), again.header("set-cookie"), users(server)), (id, None, 1));
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

const METERS: &str = "[meter.articles]\nlimit = 2\nwindow = \"day\"\n[meter.plain]\nlimit = 3\nonce = false\nwindow = \"rolling\"\nrolling = 60\n";

/// A first view is not counted; then each article once, until the allowance is used up, until tomorrow.
#[actix_web::test]
async fn a_meter_behind_the_proxys_check_is_a_paywall() {
    World::new()
        .file(METERS)
        .serve(async |server| {
            let read = |item: &str| format!("GET /verify?create=auto&meter=articles&item={item}");
            let facts = |answer: &Answer| {
                let fact = |name: &str| answer.header(&format!("x-passerby-meter-{name}")).unwrap().to_owned();
                (fact("used"), fact("remaining"), fact("resets"))
            };
            let said = |used: &str, remaining: &str| {
                (used.to_owned(), remaining.to_owned(), "2023-11-15T00:00:00Z".to_owned())
            };
            let mut jar = Jar::default();
            let first = jar.visit(server, &read("a")).await;
            assert_eq!((first.status, facts(&first)), (204, said("0", "2")));
            let id = passed(&first);
            for (item, used, remaining) in [("a", "1", "1"), ("a", "1", "1"), ("b%20c", "2", "0"), ("a", "2", "0")] {
                let answer = jar.visit(server, &read(item)).await;
                assert_eq!((passed(&answer), facts(&answer)), (id.clone(), said(used, remaining)));
            }
            let over = jar.visit(server, &read("d")).await;
            assert_eq!((over.status, facts(&over)), (402, said("2", "0")));
            assert_eq!(over.header("x-passerby-reason"), Some("meter"));
            assert_eq!(over.header("x-passerby-user"), Some(id.as_str()));
            let over = jar.visit(server, &format!("{}&over=403", read("d"))).await;
            assert_eq!((over.status, over.header("x-passerby-reason")), (403, Some("meter")));
            assert_eq!(jar.visit(server, NEVER).await.status, 204, "the site itself stays open");
            // 22:13:20 is the time of day at which the test begins
            server.clock.advance_s(6400);
            assert_eq!(jar.visit(server, &read("d")).await.header("x-passerby-meter-used"), Some("1"));
            jar.visit(server, "GET /verify?meter=none").await.assert_problem(400, "no-such-meter");
        })
        .await;
}

#[actix_web::test]
async fn meters_are_used_over_the_api_and_a_repeated_request_counts_once() {
    World::new()
        .file(METERS)
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let post = async |meter: &str, body: &str, key: &str| {
                let call = server.call(&format!("POST /v1/meters/{meter}")).bearer(&tokens.access);
                call.header("idempotency-key", key).body(body).send().await
            };
            let first = post("plain", "", "1").await.json();
            assert_eq!((&first["used"], &first["remaining"], &first["allowed"]), (&json!(1), &json!(2), &json!(true)));
            assert_eq!(post("plain", "", "1").await.json(), first);
            assert_eq!(post("plain", r#"{"amount":2}"#, "2").await.json()["used"], 3);
            let over = post("plain", "{}", "3").await.json();
            assert_eq!((&over["used"], &over["allowed"]), (&json!(3), &json!(false)));
            server.clock.advance_s(60);
            assert_eq!(post("plain", "{}", "4").await.json()["used"], 1);
            assert_eq!(post("articles", r#"{"item":"x"}"#, "5").await.json()["used"], 1);
            let listed = server.call("GET /v1/meters").bearer(&tokens.access).send().await.json();
            let used: Vec<_> = listed["meters"].as_array().unwrap().iter().map(|meter| &meter["used"]).collect();
            assert_eq!(used, [1, 1]);
            post("none", "{}", "6").await.assert_problem(404, "no-such-meter");
            for body in [r#"{"amount":0}"#, r#"{"amount":-1}"#, r#"{"amount":"1"}"#, r#"{"item":1}"#] {
                post("plain", body, "7").await.assert_problem(400, "bad-field");
            }
            server.call("POST /v1/meters/plain").send().await.assert_problem(401, "no-token");
        })
        .await;
}

#[actix_web::test]
async fn uses_of_users_who_become_one_add_up_or_the_larger_counts() {
    World::new()
        .file("[provider.local_userpass.config]\nautoConfirm = true\n[meter.sum]\nlimit = 9\n[meter.max]\nlimit = 9\nmerge = \"max\"\n")
        .serve(async |server| {
            let call = async |what: &str, token: &str, body: serde_json::Value| {
                let answer = server.call(what).bearer(token).body(body.to_string()).send().await;
                assert!(answer.status < 300, "{answer:?}");
                answer
            };
            let account = json!({ "provider": "local-userpass", "email": "a@example.test", "password": "a password" });
            assert_eq!(server.call("POST /v1/registrations").body(account.to_string()).send().await.status, 202);
            let (first, guest) = (server.log_in_v1().await, server.log_in_v1().await);
            let first = call("POST /v1/user/identities", &first.access, account.clone()).await.tokens();
            for (token, uses) in [(&first.access, 2), (&guest.access, 3)] {
                for meter in ["sum", "max"] {
                    call(&format!("POST /v1/meters/{meter}"), token, json!({ "amount": uses })).await;
                }
            }
            let mut merge = account;
            merge["on_conflict"] = json!("merge");
            let merged = call("POST /v1/user/identities", &guest.access, merge).await.tokens();
            let meters = server.call("GET /v1/meters").bearer(&merged.access).send().await.json();
            let used = |name| meters["meters"].as_array().unwrap().iter().find(|meter| meter["name"] == name).unwrap()["used"].clone();
            assert_eq!((used("sum"), used("max")), (json!(5), json!(3)));
        })
        .await;
}

/// S35, S36: who makes too many is told when to come again; readers of the network keep their ids and others notice nothing.
#[actix_web::test]
async fn a_network_that_makes_too_many_users_is_asked_to_wait_and_its_readers_keep_their_ids() {
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

#[actix_web::test]
async fn who_leaves_before_being_made_is_forgotten_by_the_browser() {
    World::new()
        .serve(async |server| {
            for what in ["DELETE /v1/session", "DELETE /v1/user"] {
                let mut jar = Jar::default();
                let id = passed(&jar.visit(server, AUTO).await);
                jar.sent(server.call(what)).send().await.assert_problem(403, "cross-site");
                let out = jar.sent(server.call(what)).header("sec-fetch-site", "same-origin").send().await;
                assert_eq!((out.status, out.header("clear-site-data").is_some()), (204, true), "{out:?}");
                let mut replayed = Jar(jar.0.clone());
                assert!(jar.keep(&out) && jar.0.is_none());
                assert_ne!(passed(&jar.visit(server, AUTO).await), id);
                assert_ne!(passed(&replayed.visit(server, AUTO).await), id, "nor by the cookie that was");
            }
            assert_eq!(users(server), 0);
            // made, but the browser lost the answer that said so
            let mut jar = Jar::default();
            passed(&jar.visit(server, AUTO).await);
            passed(&jar.sent(server.call(AUTO)).send().await);
            assert_eq!(users(server), 1);
            jar.sent(server.call("DELETE /v1/session")).send().await.assert_problem(403, "cross-site");
            let out = jar.sent(server.call("DELETE /v1/session")).header("sec-fetch-site", "same-origin").send().await;
            assert_eq!(out.status, 204, "{out:?}");
            assert_eq!(users(server), 0);
        })
        .await;
}

/// S7: the page's other requests may be making the reader while its script logs out.
#[actix_web::test]
async fn who_leaves_while_being_made_is_gone_all_the_same() {
    World::new()
        .serve(async |server| {
            for round in 0..30 {
                let mut lazy = Jar::default();
                let id = passed(&lazy.visit(server, AUTO).await);
                let leave = lazy.sent(server.call("DELETE /v1/session")).header("sec-fetch-site", "same-origin").send();
                let pictures = join_all((0..4).map(|_| lazy.sent(server.call(AUTO)).send()));
                let (out, made) = if round % 2 == 0 {
                    join(leave, pictures).await
                } else {
                    let (made, out) = join(pictures, leave).await;
                    (out, made)
                };
                assert_eq!(out.status, 204, "{out:?}");
                assert_eq!(users(server), 0, "round {round}");
                for answer in &made {
                    let mut jar = Jar(lazy.0.clone());
                    jar.keep(answer);
                    // what an overtaken request was given is a new id, or a session that is over
                    if passed(answer) == id {
                        jar.sent(server.call(NEVER)).send().await.assert_problem(401, "no-reader");
                    }
                }
                assert_ne!(passed(&lazy.visit(server, AUTO).await), id);
            }
        })
        .await;
}

/// S35: a page and its pictures come at once with the cookie of a reader who is not made yet.
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

/// What counts is for a proxy to ask. A page anywhere can send a browser to Passerby's own address, with the reader's cookie.
#[actix_web::test]
async fn a_browser_that_asks_by_itself_counts_nothing() {
    World::new()
        .file(METERS)
        .serve(async |server| {
            let mut jar = Jar::default();
            for _ in 0..2 {
                passed(&jar.visit(server, AUTO).await);
            }
            for (what, site) in [
                ("GET /verify?meter=articles&item=a", "cross-site"),
                ("GET /verify?meter=articles", "none"),
                (AUTO, "same-site"),
            ] {
                let call = jar.sent(server.call(what)).header("sec-fetch-site", site);
                call.send().await.assert_problem(403, "cross-site");
            }
            let call =
                jar.sent(server.call("GET /verify?meter=articles&item=a")).header("sec-fetch-site", "cross-site");
            let answer = call.header("x-forwarded-uri", "/a").send().await;
            assert_eq!(answer.header("x-passerby-meter-used"), Some("1"), "the first that counts");
            assert_eq!(jar.sent(server.call(NEVER)).header("sec-fetch-site", "none").send().await.status, 204);
        })
        .await;
}

#[actix_web::test]
async fn the_item_is_the_page_that_the_proxy_names() {
    World::new()
        .file(METERS)
        .serve(async |server| {
            let mut jar = Jar::default();
            for _ in 0..2 {
                passed(&jar.visit(server, AUTO).await);
            }
            let read = async |from: &str, uri: &str| {
                let call = jar.sent(server.call(&format!("GET /verify?meter=articles&item_from={from}")));
                let answer = call.header("x-forwarded-uri", uri).send().await;
                (answer.status, answer.header("x-passerby-meter-used").unwrap().to_owned())
            };
            for (uri, status, used) in [
                ("/a?utm_source=x&utm_medium=y", 204, "1"),
                ("/a", 204, "1"),
                ("/b?item=%2Fa&operation=z", 204, "2"),
                ("/c?operation=z", 402, "2"),
                ("/Zürich", 402, "2"),
            ] {
                assert_eq!(read("path", uri).await, (status, used.to_owned()), "{uri}");
            }
            server.clock.advance_s(DAY_S);
            for (uri, status, used) in
                [("/r?id=1", 204, "1"), ("/r?id=2", 204, "2"), ("/r?id=1", 204, "2"), ("/r?id=3", 402, "2")]
            {
                assert_eq!(read("uri", uri).await, (status, used.to_owned()), "{uri}");
            }
            let without = jar.sent(server.call("GET /verify?meter=articles&item_from=path")).send().await;
            without.assert_problem(400, "no-forwarded-uri");
            let both = jar.sent(server.call("GET /verify?meter=articles&item_from=path&item=a")).send().await;
            both.assert_problem(400, "bad-query");
            // one check for all pages, of which the proxy says by a header which are counted
            server.clock.advance_s(DAY_S);
            for (meter, used) in [("", None), ("articles", Some("1")), ("articles", Some("1"))] {
                let call = jar.sent(server.call("GET /verify?item_from=path")).header("x-forwarded-uri", "/a");
                let answer = call.header("x-passerby-meter", meter).send().await;
                assert_eq!((answer.status, answer.header("x-passerby-meter-used")), (204, used));
            }
        })
        .await;
}

/// nginx makes 500 of whatever is not 401 or 403, which is to mean that Passerby is down.
#[actix_web::test]
async fn with_over_403_only_a_passerby_that_is_down_looks_so() {
    World::new()
        .file(METERS)
        .set("trusted_proxies", "127.0.0.0/8")
        .set("budget.bad_tokens_burst", "1")
        .serve(async |server| {
            let check = async |query: &str| {
                let call = from(server.call(&format!("GET /verify?create=auto&over=403{query}")), "203.0.113.9");
                call.bearer("a.b.c").send().await
            };
            check("").await.assert_problem(401, "invalid-token");
            let over = check("").await;
            assert_eq!((over.status, over.header("x-passerby-reason")), (403, Some("over-budget")));
            let itself = from(server.call(NEVER), "203.0.113.9").bearer("a.b.c").send().await;
            itself.assert_problem(429, "over-budget");
            server.disk.set(Mode::SyncsFail);
            let mut jar = Jar::default();
            passed(&jar.visit(server, AUTO).await);
            assert_eq!(jar.visit(server, "GET /verify?create=auto&over=403").await.status, 503);
            server.heal().await;
        })
        .await;
}

/// S41: what counts nothing is answered while nothing can be written.
#[actix_web::test]
async fn a_meter_goes_on_as_far_as_it_can_while_the_disk_fails() {
    World::new()
        .file(METERS)
        .serve(async |server| {
            let (mut jar, mut over) = (Jar::default(), Jar::default());
            let read = |item: &str| format!("GET /verify?create=auto&meter=articles&item={item}");
            for item in ["", "a"] {
                assert_eq!(jar.visit(server, &read(item)).await.status, 204);
            }
            for item in ["", "a", "b"] {
                assert_eq!(over.visit(server, &read(item)).await.status, 204);
            }
            server.disk.set(Mode::SyncsFail);
            assert_eq!(jar.visit(server, &read("b")).await.status, 503);
            until("it is noticed", || !server.server.may_refuse()).await;
            assert_eq!(jar.visit(server, &read("a")).await.status, 204, "it was counted before");
            jar.visit(server, &read("c")).await.assert_come_again(1..=3);
            assert_eq!(over.visit(server, &read("c")).await.status, 402);
            server.heal().await;
            let used = jar.visit(server, &read("a")).await;
            assert_eq!(used.header("x-passerby-meter-used"), Some("1"), "nothing was counted meanwhile");
        })
        .await;
}

/// Ten thousand views at once, over all workers and connections: exactly as many as are allowed.
#[actix_web::test]
async fn concurrent_views_never_count_too_little_or_too_much() {
    World::new()
        .file("[meter.articles]\nlimit = 5\nwindow = \"day\"\n")
        .serve(async |server| {
            let mut jar = Jar::default();
            for _ in 0..2 {
                passed(&jar.visit(server, AUTO).await);
            }
            let jar = &jar;
            let viewer = async |viewer: usize| {
                let mut allowed = 0;
                for view in 0..100 {
                    let what = format!("GET /verify?meter=articles&item={viewer}-{view}");
                    let status = jar.sent(server.call(&what)).send().await.status;
                    assert!(status == 204 || status == 402, "{status}");
                    allowed += usize::from(status == 204);
                }
                allowed
            };
            let allowed: usize = join_all((0..100).map(viewer)).await.into_iter().sum();
            assert_eq!(allowed, 5);
            let answer = jar.sent(server.call("GET /verify?meter=articles&item=one-more")).send().await;
            assert_eq!((answer.status, answer.header("x-passerby-meter-used")), (402, Some("5")));
        })
        .await;
}

/// S21, S22: a page of another origin acts by the reader's cookie only if `allowed_origins` names it, wherever it is.
#[actix_web::test]
async fn pages_of_listed_origins_may_act_by_cookie() {
    World::new()
        .set("allowed_origins", "https://news.example")
        .serve(async |server| {
            let create = |origin: &str, site: &str| {
                let call = server.call("POST /v1/sessions").body(r#"{"mode":"cookie"}"#);
                call.header("origin", origin).header("sec-fetch-site", site)
            };
            let mut jar = Jar::default();
            for site in ["same-site", "cross-site"] {
                create("https://other.example", site).send().await.assert_problem(403, "cross-site");
                let answer = jar.sent(create("https://news.example", site)).send().await;
                assert!(matches!(answer.status, 200 | 201), "{answer:?}");
                assert_eq!(answer.header("access-control-allow-origin"), Some("https://news.example"));
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
                jar.keep(&answer);
            }
            assert_eq!(users(server), 1);
        })
        .await;
}

/// A lazy cookie of a reader who is made is no way round budgets and meters.
#[actix_web::test]
async fn a_made_reader_whose_browser_lost_the_answer_is_counted_as_that_reader() {
    World::new()
        .file(METERS)
        .set("trusted_proxies", "127.0.0.0/8")
        .set("budget.create", "6")
        .set("budget.create_burst", "1")
        .serve(async |server| {
            let read = |item: &str| format!("GET /verify?create=auto&meter=articles&item={item}");
            let mut lazy = Jar::default();
            let id = passed(&lazy.visit(server, AUTO).await);
            let lost = from(lazy.sent(server.call(AUTO)), "203.0.113.9").send().await;
            assert_eq!((passed(&lost), users(server)), (id.clone(), 1));
            from(server.call("POST /v1/sessions"), "203.0.113.9").send().await.assert_problem(429, "work-needed");

            let claims =
                [("x-forwarded-for", "203.0.113.9"), ("user-agent", "Googlebot/2.1"), ("sec-purpose", "prefetch")];
            for (item, (name, value)) in ["a", "b", "c"].into_iter().zip(claims) {
                let answer = lazy.sent(server.call(&read(item))).header(name, value).send().await;
                assert_eq!(answer.status, if item == "c" { 402 } else { 204 }, "{name}: {answer:?}");
                assert_eq!(answer.header("x-passerby-user"), Some(id.as_str()));
                let mut again = Jar::default();
                assert!(again.keep(&answer), "the cookie that was lost");
                assert_eq!(passed(&again.sent(server.call(NEVER)).send().await), id);
            }
            assert_eq!(passed(&lazy.sent(server.call(NEVER)).send().await), id);
            assert_eq!(users(server), 1);
        })
        .await;
}
