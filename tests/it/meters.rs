//! Meters, behind a proxy's check and over the API: what counts, once and exactly, and what goes on while nothing can be written.

use futures_util::future::join_all;
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::{DAY_S, until};
use serde_json::{Value, json};

use crate::accounts;
use crate::readers::{AUTO, Jar, NEVER, from, passed, users};
use crate::world::{Answer, Tokens, World};

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
            post("plain", r#"{"amount":2}"#, "1").await.assert_problem(422, "idempotency-key-reused");
            post("plain", r#"{"item":"x"}"#, "1").await.assert_problem(422, "idempotency-key-reused");
            post("plain", "", "").await.assert_problem(400, "bad-idempotency-key");
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

/// What counts is for a proxy to ask. A page anywhere can send a browser to Passerby's own address, with the reader's cookie.
#[actix_web::test]
async fn a_browser_that_asks_directly_counts_nothing() {
    World::new()
        .file(METERS)
        .serve(async |server| {
            let jar = Jar::of_reader(server).await;
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
            let jar = Jar::of_reader(server).await;
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
            let jar = Jar::of_reader(server).await;
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

/// A lazy cookie of a stored reader is no way round budgets and meters.
#[actix_web::test]
async fn a_stored_reader_whose_browser_lost_the_answer_is_counted_as_that_reader() {
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

/// A meter can be lifted: for every account, or for those to whom the operator's own login gives an entitlement.
#[actix_web::test]
async fn a_meter_is_lifted_for_accounts_and_for_those_who_are_entitled() {
    const METERS: &str = "[provider.custom_token]\nconfig = { audience = \"test\", signingAlgorithm = \"HS256\" }\n\
        secret_config = { signingKeys = [\"jwt-key\"] }\n\
        metadata_fields = [{ name = \"plan.has\", field_name = \"entitlements\" }]\n\
        [meter.free]\nlimit = 1\naccounts = \"free\"\n[meter.more]\nlimit = 1\naccounts = 2\n\
        [meter.paid]\nlimit = 1\nentitlement = \"subscriber\"\npage = \"https://news.example/subscribe?from=wall\"\n";
    World::new()
        .file(METERS)
        .secret("JWT_KEY", accounts::SECRET)
        .serve(async |server| {
            let verify = async |tokens: &Tokens, query: &str| {
                server.call(&format!("GET /verify?{query}")).bearer(&tokens.access).send().await
            };
            let log_in = async |has: Value| {
                let token = accounts::jwt_with(json!({ "sub": "a", "plan": { "has": has } }));
                let body = json!({ "provider": "custom-token", "token": token }).to_string();
                let answer = server.call("POST /v1/sessions").body(body).send().await;
                assert_eq!(answer.status, 201, "{answer:?}");
                answer.tokens()
            };
            let guest = server.log_in_v1().await;
            for meter in ["free", "more", "paid"] {
                let query = format!("meter={meter}&item=");
                let within = verify(&guest, &format!("{query}1")).await;
                assert_eq!((within.status, within.header("x-passerby-meter-limit")), (204, Some("1")), "{meter}");
                let over = verify(&guest, &format!("{query}2")).await;
                assert_eq!((over.status, over.header("x-passerby-reason")), (402, Some("meter")), "{meter}");
                let page = over.header("x-passerby-meter-page");
                assert_eq!(page, (meter == "paid").then_some("https://news.example/subscribe?from=wall"));
                assert_eq!(verify(&guest, &format!("{query}2&over=403")).await.status, 403);
                let sent = verify(&guest, &format!("{query}2&over=303")).await;
                let expected = if meter == "paid" { 303 } else { 402 };
                assert_eq!((sent.status, sent.header("location")), (expected, page), "{meter}");
                assert_eq!(sent.header("x-passerby-meter-remaining"), Some("0"));
            }

            let account = log_in(json!([])).await;
            for item in ["1", "2", "3"] {
                let lifted = verify(&account, &format!("meter=free&item={item}")).await;
                assert_eq!((lifted.status, lifted.header("x-passerby-meter-lifted")), (204, Some("accounts")));
                for name in ["used", "limit", "remaining", "resets"] {
                    assert_eq!(lifted.header(&format!("x-passerby-meter-{name}")), None, "nothing is counted");
                }
            }
            for (item, status) in [("1", 204), ("2", 204), ("3", 402)] {
                let answer = verify(&account, &format!("meter=more&item={item}")).await;
                assert_eq!((answer.status, answer.header("x-passerby-meter-limit")), (status, Some("2")));
            }
            assert_eq!(verify(&account, "meter=paid&item=1").await.status, 204);
            let now = server.server.wall_s();
            for (has, status) in [
                (json!(["reader", "subscriber"]), 204),
                (json!(["subscribers"]), 402),
                (json!("reader subscriber"), 204),
                (json!("subscribers"), 402),
                (json!({ "subscriber": now + 1000 }), 204),
                (json!({ "subscriber": now }), 402),
                (json!({ "subscriber": "for ever" }), 402),
                (json!({ "subscriber": true }), 402),
                (json!(7), 402),
                (json!(null), 402),
                (json!(["subscriber"]), 204),
            ] {
                // the login says what holds from now on, for every session of the account
                log_in(has.clone()).await;
                let answer = verify(&account, "meter=paid&item=2").await;
                assert_eq!(answer.status, status, "{has}");
                let lifted = answer.header("x-passerby-meter-lifted");
                assert_eq!(lifted, (status == 204).then_some("subscriber"), "{has}");
            }
            log_in(json!({ "subscriber": now + 1000 })).await;
            server.clock.advance_s(999);
            assert_eq!(verify(&account, "meter=paid&item=2").await.status, 204);
            server.clock.advance_s(1);
            assert_eq!(verify(&account, "meter=paid&item=2").await.status, 402, "its time is over");
            log_in(json!(["subscriber"])).await;
            let listed = server.call("GET /v1/meters").bearer(&account.access).send().await.json();
            let paid = &listed["meters"][2];
            assert_eq!(
                (&paid["lifted"], &paid["allowed"], &paid["used"]),
                (&json!("subscriber"), &json!(true), &json!(1))
            );
            assert_eq!((&paid["limit"], &paid["remaining"]), (&json!(null), &json!(null)), "{listed}");
            let used = server.call("POST /v1/meters/paid").bearer(&account.access).body(r#"{"item":"9"}"#).send().await;
            assert_eq!((used.status, &used.json()["lifted"]), (200, &json!("subscriber")));
            // what a user writes gives nothing
            let body = json!({ "entitlements": ["subscriber"] }).to_string();
            assert_eq!(server.call("PUT /v1/data").bearer(&guest.access).body(body).send().await.status, 200);
            assert_eq!(verify(&guest, "meter=paid&item=3").await.status, 402);
        })
        .await;
}
