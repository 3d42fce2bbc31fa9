//! Requests on their way while their browser changes sessions.

use super::*;

/// What a link or a merge by this cookie answers.
async fn joins(server: &TestServer, jar: &Jar, subject: &str) -> Answer {
    let body = json!({ "provider": "custom-token", "token": jwt(subject), "on_conflict": "merge" }).to_string();
    jar.sent(server.call("POST /v1/user/identities")).header("sec-fetch-site", "same-origin").body(body).send().await
}

/// S5: requests that a page had on their way when it linked or merged are answered for the right user, for reading, and
/// leave the new cookie alone. So is one with the lazy cookie that came before.
#[actix_web::test]
async fn a_cookie_that_a_link_or_a_merge_replaced_reads_for_two_minutes_and_sets_nothing() {
    accounts::world()
        .serve(async |server| {
            let account = accounts::log_in_as(server, "known").await;
            for subject in ["new", "known"] {
                let mut lazy = Jar::default();
                let id = passed(&lazy.visit(server, AUTO).await);
                let mut jar = Jar(lazy.0.clone());
                assert_eq!(passed(&jar.visit(server, AUTO).await), id);
                let old = Jar(jar.0.clone());
                let joined = joins(server, &jar, subject).await;
                assert_eq!(joined.status, 200, "{joined:?}");
                assert!(jar.keep(&joined));
                let owner = if subject == "new" { id } else { account.user.clone() };
                let reads = async |cookie: &Jar, when: &str| {
                    for what in [AUTO, NEVER] {
                        let answer = cookie.sent(server.call(what)).send().await;
                        assert_eq!(passed(&answer), owner, "{subject} {when} {what}");
                        assert_eq!(answer.header("x-passerby-anonymous"), Some("false"));
                        assert_eq!(answer.header("set-cookie"), None, "{subject} {when} {what}");
                    }
                    let asserted = cookie.sent(server.call("GET /verify?create=auto&assertion=1")).send().await;
                    assert_eq!(passed(&asserted), owner);
                    assert_eq!(asserted.header("x-passerby-assertion"), None, "it vouches for nobody to others");
                    let own = |call: Call| cookie.sent(call).header("sec-fetch-site", "same-origin");
                    let seen = own(server.call("GET /v1/session")).send().await;
                    assert_eq!(seen.json()["user_id"].as_str(), Some(owner.as_str()));
                    let again = own(server.call("POST /v1/sessions").body(r#"{"mode":"cookie"}"#)).send().await;
                    assert_eq!((again.status, again.header("set-cookie")), (200, None), "{again:?}");
                    assert_eq!(again.json()["user_id"].as_str(), Some(owner.as_str()));
                    for method in ["POST", "DELETE"] {
                        let write = cookie.sent(server.call(AUTO)).header("x-forwarded-method", method).send().await;
                        write.assert_problem(401, "no-reader");
                        assert_eq!(write.header("set-cookie"), None);
                    }
                    for what in ["PUT /v1/data", "DELETE /v1/session", "DELETE /v1/user", "POST /v1/session/transfer"] {
                        own(server.call(what)).body("{}").send().await.assert_problem(401, "no-reader");
                    }
                    for what in ["GET /v1/user/export", "GET /v1/user/identities", "GET /v1/user/sessions"] {
                        own(server.call(what)).send().await.assert_problem(401, "no-reader");
                    }
                };
                reads(&old, "at once").await;
                reads(&lazy, "the lazy one").await;
                server.clock.advance_s(119);
                reads(&old, "for two minutes").await;
                server.clock.advance_s(1);
                for cookie in [&old, &lazy] {
                    cookie.sent(server.call(NEVER)).send().await.assert_problem(401, "no-reader");
                    let stranger = cookie.sent(server.call(AUTO)).send().await;
                    assert!(passed(&stranger) != owner && stranger.header("set-cookie").is_some());
                }
                let asserted = jar.visit(server, "GET /verify?assertion=1").await;
                assert_eq!(passed(&asserted), owner);
                assert!(asserted.header("x-passerby-assertion").is_some(), "the new one does");
            }

            // what took its place may be over sooner, and an end is an end
            let mut jar = Jar::of_reader(server).await;
            let old = Jar(jar.0.clone());
            assert!(jar.keep(&joins(server, &jar, "left").await));
            let out = jar.sent(server.call("DELETE /v1/session")).header("sec-fetch-site", "same-origin").send().await;
            assert_eq!(out.status, 204);
            old.sent(server.call(NEVER)).send().await.assert_problem(401, "no-reader");
            // a session that was ended has no successor
            let mut jar = Jar::of_reader(server).await;
            let old = Jar(jar.0.clone());
            let out = jar.sent(server.call("DELETE /v1/session")).header("sec-fetch-site", "same-origin").send().await;
            assert_eq!((out.status, jar.keep(&out)), (204, true));
            old.sent(server.call(NEVER)).send().await.assert_problem(401, "no-reader");
        })
        .await;
}

/// S5: a request that waits for a meter may be overtaken by a link of the same browser: then the old session's cookie is not set.
#[actix_web::test]
async fn no_cookie_is_set_of_a_session_that_a_link_replaced_while_its_page_waited() {
    accounts::world_with("[meter.articles]\nlimit = 2\nwindow = \"day\"\n")
        .serve(async |server| {
            let waiting = async |count: usize| {
                until("commits wait", || server.server.store.waiting() == count).await;
            };
            let another = || actix_web::rt::spawn(server.call("POST /v1/sessions").send());
            let attempt = async |subject: &str, made: bool, alone: usize| {
                let mut lazy = Jar::default();
                let id = passed(&lazy.visit(server, AUTO).await);
                if made {
                    passed(&lazy.sent(server.call(AUTO)).send().await);
                }
                let held_up_before = server.disk.held_up();
                let held_up = async |count: u64| {
                    until("the disk is held up", || server.disk.held_up() == held_up_before + count).await;
                };
                let read = lazy.sent(server.call("GET /verify?create=auto&meter=articles&item=a"));
                let read = || actix_web::rt::spawn(read.send());
                server.disk.let_pass(Some(0));
                let (page, another) = if made {
                    let another = another();
                    held_up(1).await;
                    (read(), another)
                } else {
                    // created in the first group; counted in one behind the second
                    let page = read();
                    held_up(1).await;
                    let another = another();
                    waiting(1).await;
                    server.disk.let_pass(Some(1));
                    held_up(2).await;
                    (page, another)
                };
                if !made && server.disk.held_up_bytes() > alone {
                    // the count came early enough for the second group
                    server.disk.let_pass(None);
                    page.await.unwrap();
                    another.await.unwrap();
                    return None;
                }
                let bytes = server.disk.held_up_bytes();
                waiting(1).await;
                let go_on = async {
                    waiting(2).await;
                    server.disk.let_pass(None);
                };
                let (linked, ()) = join(joins(server, &lazy, subject), go_on).await;
                assert_eq!(linked.status, 200, "{linked:?}");
                let page = page.await.unwrap();
                assert_eq!(page.header("x-passerby-meter-used"), Some("1"));
                assert_eq!((passed(&page), page.header("set-cookie")), (id, None), "{subject}");
                assert_eq!(another.await.unwrap().status, 201);
                Some(bytes)
            };
            let alone = attempt("one", true, 0).await.unwrap();
            for number in 0.. {
                assert!(number < 100, "the count always came too early");
                if attempt(&format!("two-{number}"), false, alone).await.is_some() {
                    break;
                }
            }
        })
        .await;
}

/// The answer to a link by cookie is lost: the same request with the same cookie sets the cookie that was lost.
#[actix_web::test]
async fn a_link_by_cookie_whose_answer_was_lost_can_be_asked_for_again() {
    accounts::world()
        .serve(async |server| {
            let account = accounts::log_in_as(server, "known").await;
            for subject in ["new", "known"] {
                let mut jar = Jar::default();
                let id = passed(&jar.visit(server, AUTO).await);
                assert_eq!(passed(&jar.visit(server, AUTO).await), id);
                let lost = joins(server, &jar, subject).await;
                assert_eq!(lost.status, 200, "{lost:?}");
                server.clock.advance_s(599);
                let stolen = json!({ "provider": "custom-token", "token": jwt(subject), "on_conflict": "merge" });
                let stolen = jar.sent(server.call("POST /v1/user/identities")).body(stolen.to_string()).send().await;
                stolen.assert_problem(401, "no-reader");
                joins(server, &jar, "somebody").await.assert_problem(401, "no-reader");
                let mut late = Jar(jar.0.clone());
                assert!(jar.keep(&joins(server, &jar, subject).await));
                let owner = if subject == "new" { &id } else { &account.user };
                assert_eq!(passed(&jar.visit(server, NEVER).await), *owner);
                server.clock.advance_s(1);
                let answer = joins(server, &late, subject).await;
                answer.assert_problem(401, "no-reader");
                assert!(!late.keep(&answer));
            }
        })
        .await;
}

/// Requests that a page had on their way when its browser went over to an account are answered for the user they came from, and leave the
/// account's cookie alone: also those with a cookie that would be replaced.
#[actix_web::test]
async fn no_answer_on_its_way_sets_a_cookie_over_the_one_of_a_login() {
    accounts::world()
        .serve(async |server| {
            let account = accounts::log_in_as(server, "known").await;
            let own = |jar: &Jar, what: &str, body: serde_json::Value| {
                jar.sent(server.call(what)).header("sec-fetch-site", "same-origin").body(body.to_string()).send()
            };
            let credential = json!({ "provider": "custom-token", "token": jwt("known") });
            let with = |more: serde_json::Value| {
                let mut body = credential.clone();
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                body
            };
            for how in ["login", "switch", "transfer", "a login before the reader is created"] {
                let mut lazy = Jar::default();
                let id = passed(&lazy.visit(server, AUTO).await);
                let mut jar = Jar(lazy.0.clone());
                if how != "a login before the reader is created" {
                    assert_eq!(passed(&jar.visit(server, AUTO).await), id);
                    // from now on each visit with either cookie is answered with a newer one
                    server.clock.advance_s(DAY_S);
                }
                let fresh = accounts::log_in_as(server, "known").await;
                let (what, body) = match how {
                    "switch" => ("POST /v1/user/identities", with(json!({ "on_conflict": "switch" }))),
                    "transfer" => {
                        let code = server.call("POST /v1/session/transfer").bearer(&fresh.access).send().await.json();
                        ("POST /v1/sessions", json!({ "provider": "transfer", "code": code["code"], "mode": "cookie" }))
                    }
                    _ => ("POST /v1/sessions", with(json!({ "mode": "cookie" }))),
                };
                let old = Jar(jar.0.clone());
                let gone_over = own(&jar, what, body).await;
                assert!(matches!(gone_over.status, 200 | 201) && jar.keep(&gone_over), "{how}: {gone_over:?}");
                assert_eq!(passed(&jar.visit(server, NEVER).await), account.user, "{how}");
                let is_set = async |cookie: &Jar| {
                    let page = cookie.sent(server.call(AUTO)).send().await;
                    assert_eq!(passed(&page), id, "{how}");
                    let script = own(cookie, "POST /v1/sessions", json!({ "mode": "cookie" })).await;
                    assert_eq!(script.json()["user_id"].as_str(), Some(id.as_str()), "{how}");
                    [page, script].map(|answer| answer.header("set-cookie").is_some())
                };
                for cookie in [&lazy, &old] {
                    assert_eq!(is_set(cookie).await, [false; 2], "{how}");
                }
                server.clock.advance_s(119);
                assert_eq!(is_set(&old).await, [false; 2], "{how}");
                server.clock.advance_s(1);
                assert_eq!(is_set(&old).await, [true; 2], "{how}: who goes back to the reader stays");
                assert_eq!(passed(&jar.visit(server, NEVER).await), account.user);
            }
        })
        .await;
}

/// Also a cookie whose session is over names the browser that goes over to an account.
#[actix_web::test]
async fn no_answer_to_a_cookie_whose_session_is_over_sets_one_over_that_of_a_login() {
    accounts::world()
        .serve(async |server| {
            accounts::log_in_as(server, "known").await;
            let old = Jar::of_reader(server).await;
            let own = |what: &str, body: serde_json::Value| {
                old.sent(server.call(what)).header("sec-fetch-site", "same-origin").body(body.to_string()).send()
            };
            assert_eq!(own("DELETE /v1/session", json!({})).await.status, 204);
            let credential = json!({ "provider": "custom-token", "token": jwt("known"), "mode": "cookie" });
            assert_eq!(own("POST /v1/sessions", credential).await.status, 201);
            let is_set = async || {
                let page = old.sent(server.call(AUTO)).send().await;
                let script = own("POST /v1/sessions", json!({ "mode": "cookie" })).await;
                assert_eq!((page.status, script.status), (204, 201));
                [page, script].map(|answer| answer.header("set-cookie").is_some())
            };
            assert_eq!(is_set().await, [false; 2]);
            server.clock.advance_s(120);
            assert_eq!(is_set().await, [true; 2]);
        })
        .await;
}

/// A page polls while the same browser signs up or logs in by merging: whatever comes first, the browser ends as the account.
#[actix_web::test]
async fn polling_beside_a_sign_up_never_ends_as_a_stranger() {
    accounts::world()
        .serve(async |server| {
            for round in 0..25 {
                let subject = format!("p{round}");
                let known = if round % 2 == 1 { Some(accounts::log_in_as(server, &subject).await.user) } else { None };
                let jar = Jar::of_reader(server).await;
                let id = passed(&jar.sent(server.call(NEVER)).send().await);
                let jar = RefCell::new(jar);
                let done = Cell::new(false);
                let poll = async || {
                    let mut after = 0;
                    // some are on their way when the link is answered, and some come after it
                    while after < 2 {
                        after += u32::from(done.get());
                        let call = jar.borrow().sent(server.call(AUTO));
                        let answer = call.send().await;
                        assert_eq!(answer.status, 204, "{answer:?}");
                        jar.borrow_mut().keep(&answer);
                    }
                };
                let sign_up = async {
                    let browser = Jar(jar.borrow().0.clone());
                    let joined = joins(server, &browser, &subject).await;
                    assert_eq!(joined.status, 200, "{joined:?}");
                    jar.borrow_mut().keep(&joined);
                    done.set(true);
                };
                join(join_all((0..6).map(|_| poll())), sign_up).await;
                let answer = jar.into_inner().visit(server, NEVER).await;
                assert_eq!(passed(&answer), known.unwrap_or(id), "round {round}");
                assert_eq!(answer.header("x-passerby-anonymous"), Some("false"), "round {round}");
            }
        })
        .await;
}
