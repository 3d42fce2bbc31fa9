//! Readers by cookie: `/verify`, lazy ids, sliding, the site's own calls, and what is never adopted.

use std::cell::{Cell, RefCell};

use futures_util::future::{join, join_all};
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::{DAY_S, until, values};
use serde_json::json;

use crate::accounts::{self, jwt};
use crate::world::{Answer, Call, TestServer, World};

pub(crate) const AUTO: &str = "GET /verify?create=auto";
pub(crate) const NEVER: &str = "GET /verify";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// What a browser keeps.
#[derive(Default)]
pub(crate) struct Jar(pub(crate) Option<String>);

impl Jar {
    /// Of a stored reader.
    pub(crate) async fn of_reader(server: &TestServer) -> Self {
        let mut jar = Self::default();
        for _ in 0..2 {
            passed(&jar.visit(server, AUTO).await);
        }
        jar
    }

    pub(crate) fn sent(&self, call: Call) -> Call {
        let call = call.header("user-agent", FIREFOX);
        match &self.0 {
            Some(cookie) => call.header("cookie", &format!("other=1; {cookie}; passerbyx=2")),
            None => call,
        }
    }

    /// Keeps what an answer sets; answers whether it did.
    pub(crate) fn keep(&mut self, answer: &Answer) -> bool {
        let Some(set) = answer.header("set-cookie") else { return false };
        let pair = set.split(';').next().unwrap();
        self.0 = (!set.contains("Max-Age=0")).then(|| pair.to_owned());
        true
    }

    pub(crate) async fn visit(&mut self, server: &TestServer, what: &str) -> Answer {
        let answer = self.sent(server.call(what)).send().await;
        self.keep(&answer);
        answer
    }
}

#[track_caller]
pub(crate) fn passed(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.header("x-passerby-user").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

pub(crate) fn users(server: &TestServer) -> usize {
    server.server.store.users()
}

pub(crate) fn from(call: Call, client: &str) -> Call {
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
    assert_eq!(values(&*server.server.store), 1);
    world.clock.advance_s(90 * DAY_S);
    let mut replayed = Jar(lazy);
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id, "by now it is too old by itself");
    let pages = server.server.store.pages();
    server.server.janitor.sweep(pages).await.unwrap();
    until("it is forgotten", || values(&*server.server.store) == 0).await;
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

/// S18, S21: the site's own script logs in, links and logs out by cookie, sees no token, and no other site's page can.
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
            jar.sent(server.call("DELETE /v1/user")).send().await.assert_problem(403, "cross-site");
            own(before.sent(server.call("DELETE /v1/user"))).send().await.assert_problem(401, "no-reader");
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

/// Where anonymous users are switched off, a proxy that asks for `create=auto` makes none.
#[actix_web::test]
async fn without_anonymous_logins_no_page_makes_a_reader() {
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

/// S35, S36: a network that creates too many is told when to come again; readers of the network keep their ids and others notice nothing.
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
            // created, but the browser lost the answer that said so
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

/// S21, S22: a page of a different origin acts by the reader's cookie only if `allowed_origins` names it, wherever it is.
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

/// Two servers with the same keys and a data folder each are two servers: that is logged where a user is called dead for it, and
/// not where a user has ended.
#[actix_web::test]
async fn a_user_of_another_server_with_the_same_keys_is_noticed() {
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
