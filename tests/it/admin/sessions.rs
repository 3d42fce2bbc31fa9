//! Logins, sessions, keys and their ends.

use futures_util::future::join;
use passerby::admin::{By, Change, Fault, Role, Who};
use passerby_actors::domain::{Family, Listing, Rewrite};
use passerby_actors::handle::{Changes, OwnChange};
use passerby_actors::store::Health;
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::until;
use serde_json::json;

use super::{PASSWORD, ask, audit, create, log_in, token};
use crate::world::{Answer, TestServer, World};

pub(super) async fn me(server: &TestServer, token: &str) -> u16 {
    ask(server, "GET /v1/admin/me").bearer(token).send().await.status
}

pub(super) async fn with_body(server: &TestServer, what: &str, token: &str, body: serde_json::Value) -> Answer {
    ask(server, what).bearer(token).body(body.to_string()).send().await
}

#[actix_web::test]
async fn guesses_at_an_admins_password_are_throttled_and_the_answer_does_not_tell_who_is_known() {
    World::new()
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            create(server, "off", Role::Owner).await;
            let off = with_body(server, "PATCH /v1/admin/admins/off", &owner, json!({ "disabled": true })).await;
            assert_eq!(off.status, 204);
            let mut answers = Vec::new();
            for (name, password) in [("bob", PASSWORD), ("ada", "wrong"), ("off", PASSWORD)] {
                let answer = log_in(server, name, password).await;
                answer.assert_problem(401, "invalid-credential");
                answers.push(answer.text());
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
            for name in ["eve"; 6] {
                log_in(server, name, "wrong").await.assert_problem(401, "invalid-credential");
            }
            let throttled = log_in(server, "EVE", "wrong").await;
            throttled.assert_problem(429, "too-many-attempts");
            assert!(throttled.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
            assert_eq!(log_in(server, "ADA", PASSWORD).await.status, 200, "others are not held back");
            let failed = audit(server, &owner, "&what=login&who=(unknown)").await;
            assert_eq!(failed.len(), 7, "{failed:?}");
            assert!(failed.iter().all(|entry| entry["outcome"] == "refused" && entry["address"] == "127.0.0.1"));
        })
        .await;
}

#[actix_web::test]
async fn a_cookie_is_taken_for_a_change_from_a_page_that_was_served_from_here_and_from_no_other() {
    World::new()
        .serve(async |server| {
            create(server, "ada", Role::Owner).await;
            let body = json!({ "name": "ada", "password": PASSWORD, "cookie": true }).to_string();
            let from = |site: &str, says: &str, what: &str| {
                let call = ask(server, what).header("x-passerby-admin", says);
                if site.starts_with("http") { call.header("origin", site) } else { call.header("sec-fetch-site", site) }
            };
            let own = format!("http://{}", server.admin);
            for (site, says) in [("cross-site", "1"), ("same-site", "1"), ("none", "1"), ("same-origin", "0")] {
                let refused = from(site, says, "POST /v1/admin/login").body(body.clone()).send().await;
                refused.assert_problem(403, "cross-site");
            }
            let answer = from("same-origin", "1", "POST /v1/admin/login").body(body.clone()).send().await;
            assert_eq!((answer.status, answer.json()["token"].as_str()), (200, None), "{answer:?}");
            let cookie = answer.header("set-cookie").unwrap().to_owned();
            assert!(cookie.starts_with("passerby-admin=pbs_"), "{cookie}");
            for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=604800"] {
                assert!(cookie.contains(part), "{cookie}");
            }
            let pair = cookie.split(';').next().unwrap().to_owned();
            let seen = ask(server, "GET /v1/admin/me").header("cookie", &pair).send().await;
            assert_eq!((seen.status, seen.json()), (200, json!({ "who": "ada", "role": "owner", "totp": false })));

            let create = json!({ "name": "bob", "password": PASSWORD, "role": "read" }).to_string();
            let what = "POST /v1/admin/admins";
            ask(server, what)
                .header("cookie", &pair)
                .body(create.clone())
                .send()
                .await
                .assert_problem(403, "cross-site");
            for (site, says) in [("cross-site", "1"), ("same-origin", "yes"), ("http://evil.example", "1")] {
                let refused = from(site, says, what).header("cookie", &pair).body(create.clone()).send().await;
                refused.assert_problem(403, "cross-site");
            }
            let done = from(&own, "1", what).header("cookie", &pair).body(create).send().await;
            assert_eq!(done.status, 201, "{done:?}");

            let left = from("same-origin", "1", "POST /v1/admin/logout").header("cookie", &pair).send().await;
            assert_eq!(left.status, 204);
            assert!(left.header("set-cookie").unwrap().starts_with("passerby-admin=; "), "{left:?}");
            ask(server, "GET /v1/admin/me").header("cookie", &pair).send().await.assert_problem(401, "session-ended");
        })
        .await;
}

#[actix_web::test]
async fn over_tls_the_cookie_is_bound_to_its_host_and_the_browser_comes_by_tls_again() {
    World::new()
        .set("trusted_proxies", "127.0.0.0/8")
        .serve(async |server| {
            create(server, "ada", Role::Owner).await;
            let body = json!({ "name": "ada", "password": PASSWORD, "cookie": true }).to_string();
            let call = ask(server, "POST /v1/admin/login").header("x-forwarded-proto", "https");
            let call = call.header("sec-fetch-site", "same-origin").header("x-passerby-admin", "1");
            let answer = call.body(body).send().await;
            let cookie = answer.header("set-cookie").unwrap();
            assert!(cookie.starts_with("__Host-passerby-admin=pbs_") && cookie.contains("; Secure"), "{cookie}");
            assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
            assert_eq!(log_in(server, "ada", PASSWORD).await.header("strict-transport-security"), None);
        })
        .await;
}

/// S42: a proxy on this machine makes no client near.
#[actix_web::test]
async fn a_far_client_of_a_proxy_on_this_machine_is_answered_over_tls_alone() {
    for trusted in ["127.0.0.0/8,10.0.0.0/8", ""] {
        let world = World::new();
        let world = if trusted.is_empty() { world } else { world.set("trusted_proxies", trusted) };
        world
            .serve(async |server| {
                create(server, "ada", Role::Owner).await;
                let body = json!({ "name": "ada", "password": PASSWORD }).to_string();
                let log_in = async |hops: &str, scheme: &str| {
                    let call = ask(server, "POST /v1/admin/login").header("x-forwarded-for", hops);
                    call.header("x-forwarded-proto", scheme).body(body.clone()).send().await
                };
                for hops in ["192.0.2.1", "10.0.0.9", "127.0.0.1, 192.0.2.1", "192.0.2.1, 127.0.0.1", "unknown"] {
                    log_in(hops, "http").await.assert_problem(403, "insecure-listener");
                    let over_tls = log_in(hops, "https").await;
                    assert_eq!(over_tls.status, if trusted.is_empty() { 403 } else { 200 }, "{hops}");
                }
                assert_eq!(log_in("127.0.0.1", "http").await.status, 200);
            })
            .await;
    }
}

#[actix_web::test]
async fn sessions_end_when_they_are_idle_old_or_their_admin_is_refused_and_admins_outlive_a_restart() {
    let world = World::new();
    let (ada, bob);
    {
        let server = world.start().await;
        ada = token(&server, "ada", Role::Owner).await;
        bob = token(&server, "bob", Role::Operate).await;
        server.stop().await;
    }
    let server = world.start().await;
    assert_eq!((me(&server, &ada).await, me(&server, &bob).await), (200, 200), "a restart ends no session");

    // a use is written down once it is older than ten minutes
    for _ in 0..2 {
        server.clock.advance_s(11 * 3600);
        assert_eq!(me(&server, &ada).await, 200);
    }
    assert_eq!(me(&server, &bob).await, 401, "idle for 12 hours");
    // a page that looks by itself keeps no session
    let left = log_in(&server, "bob", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
    let look = || ask(&server, "GET /v1/admin/me").bearer(&left).header("x-passerby-unattended", "1").send();
    for expected in [200, 401] {
        server.clock.advance_s(7 * 3600);
        assert_eq!((look().await.status, me(&server, &ada).await), (expected, 200));
    }
    for _ in 0..13 {
        server.clock.advance_s(11 * 3600);
        me(&server, &ada).await;
    }
    assert_eq!(me(&server, &ada).await, 401, "after seven days");

    let ada = log_in(&server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
    for change in [json!({ "disabled": true }), json!({ "password": "another long password" })] {
        let bob = log_in(&server, "bob", PASSWORD).await;
        let bob = bob.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(me(&server, &bob).await, 200);
        assert_eq!(with_body(&server, "PATCH /v1/admin/admins/bob", &ada, change).await.status, 204);
        assert_eq!(me(&server, &bob).await, 401);
        let back = with_body(&server, "PATCH /v1/admin/admins/bob", &ada, json!({ "disabled": false })).await;
        assert_eq!(back.status, 204);
        assert_eq!(me(&server, &bob).await, 401, "what has ended stays so");
    }
    log_in(&server, "bob", PASSWORD).await.assert_problem(401, "invalid-credential");
    // a role is looked up with each request
    let bob = log_in(&server, "bob", "another long password").await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(ask(&server, "GET /v1/admin/keys").bearer(&bob).send().await.status, 403);
    let raised = with_body(&server, "PATCH /v1/admin/admins/bob", &ada, json!({ "role": "owner" })).await;
    assert_eq!(raised.status, 204);
    assert_eq!(ask(&server, "GET /v1/admin/keys").bearer(&bob).send().await.status, 200);
    server.stop().await;
}

/// While a server is stopped, its own time stands nearly still.
#[actix_web::test]
async fn sessions_end_also_by_the_time_in_which_the_server_was_stopped() {
    let world = World::new();
    let server = world.start().await;
    let ada = token(&server, "ada", Role::Owner).await;
    server.stop().await;
    world.clock.jump_wall_s(11 * 3600);
    let server = world.start().await;
    assert_eq!(me(&server, &ada).await, 200);
    server.stop().await;
    world.clock.jump_wall_s(30 * 86_400);
    let server = world.start().await;
    assert_eq!(me(&server, &ada).await, 401);
    // and by its own when the wall clock was set back
    let ada = log_in(&server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
    server.clock.jump_wall_s(-86_400);
    assert_eq!(me(&server, &ada).await, 200);
    server.clock.advance_s(12 * 3600);
    assert_eq!(me(&server, &ada).await, 401);
    server.stop().await;
}

#[actix_web::test]
async fn an_admin_has_so_many_sessions_and_the_oldest_ends() {
    World::new()
        .serve(async |server| {
            let first = token(server, "ada", Role::Owner).await;
            let mut last = first.clone();
            for _ in 0..50 {
                server.clock.advance_s(1);
                last = log_in(server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            }
            assert_eq!((me(server, &first).await, me(server, &last).await), (401, 200));
            assert_eq!(server.metric(r#"passerby_keys{family="admin-sessions"}"#).await, 50);
        })
        .await;
}

#[actix_web::test]
async fn the_last_owner_stays_one() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            create(server, "bob", Role::Operate).await;
            for body in [json!({ "disabled": true }), json!({ "role": "operate" })] {
                let refused = with_body(server, "PATCH /v1/admin/admins/ada", &ada, body).await;
                refused.assert_problem(409, "last-owner");
            }
            let delete =
                async |name: &str| ask(server, &format!("DELETE /v1/admin/admins/{name}")).bearer(&ada).send().await;
            delete("ada").await.assert_problem(409, "last-owner");
            delete("nobody").await.assert_problem(404, "no-such-admin");
            let raised = with_body(server, "PATCH /v1/admin/admins/bob", &ada, json!({ "role": "owner" })).await;
            assert_eq!(raised.status, 204);
            assert_eq!(delete("ada").await.status, 204);
            assert_eq!(me(server, &ada).await, 401);
        })
        .await;
}

#[actix_web::test]
async fn a_key_is_good_until_its_end_or_until_it_is_deleted_and_its_sessions_with_it() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let ends = jiff_in(server, 3600);
            let make = async |body: serde_json::Value| with_body(server, "POST /v1/admin/keys", &ada, body).await;
            let short = make(json!({ "name": "backup", "role": "operate", "ends": ends })).await;
            assert_eq!(short.status, 201, "{short:?}");
            let (short, long) = (short.json(), make(json!({ "name": "metrics", "role": "read" })).await.json());
            let text = |key: &serde_json::Value, name: &str| key[name].as_str().unwrap().to_owned();
            assert_eq!(text(&short, "token"), format!("pbk_{}_{}", text(&short, "id"), text(&short, "private_key")));
            for (body, code) in [
                (json!({ "name": "x", "role": "read", "ends": jiff_in(server, -1) }), "bad-field"),
                (json!({ "name": "", "role": "read" }), "bad-field"),
                (json!({ "name": "x", "role": "read", "ends": "tomorrow" }), "bad-field"),
            ] {
                make(body).await.assert_problem(400, code);
            }
            let listed = ask(server, "GET /v1/admin/keys").bearer(&ada).send().await;
            let (listed, said) = (listed.json(), listed.text());
            assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
            assert!(!said.contains(&text(&short, "private_key")), "a secret is shown once");

            let login = async |key: &serde_json::Value| {
                let body = json!({ "username": text(key, "id"), "apiKey": text(key, "private_key") }).to_string();
                ask(server, "POST /api/admin/v3.0/auth/providers/mongodb-cloud/login").body(body).send().await
            };
            let (short_session, long_session) = (login(&short).await.json(), login(&long).await.json());
            let access = |session: &serde_json::Value| text(session, "access_token");
            let shown = ask(server, "GET /v1/admin/me").bearer(&text(&short, "token")).send().await.json();
            assert_eq!(shown, json!({ "who": format!("key:{}", text(&short, "id")), "role": "operate" }));
            assert_eq!(
                (me(server, &access(&short_session)).await, me(server, &access(&long_session)).await),
                (200, 200)
            );
            server.clock.advance_s(3600);
            // the access token is over by then, and the session with the key
            assert_eq!(me(server, &text(&short_session, "refresh_token")).await, 401);
            assert_eq!((me(server, &text(&short, "token")).await, me(server, &text(&long, "token")).await), (401, 200));
            assert_eq!(login(&short).await.status, 401);
            let delete = format!("DELETE /v1/admin/keys/{}", text(&long, "id"));
            assert_eq!(ask(server, &delete).bearer(&ada).send().await.status, 204);
            ask(server, &delete).bearer(&ada).send().await.assert_problem(404, "no-such-key");
            assert_eq!(me(server, &text(&long_session, "refresh_token")).await, 401);
            assert_eq!(me(server, &text(&long, "token")).await, 401);
        })
        .await;
}

/// A time so many seconds from now, as RFC 3339 has it.
fn jiff_in(server: &TestServer, seconds: i64) -> String {
    let at = i64::try_from(server.server.wall_s()).unwrap() + seconds;
    jiff::Timestamp::from_second(at).unwrap().to_string()
}

/// S41: a 401 is a fact also for admins, and nothing is done that could not be written down.
#[actix_web::test]
async fn while_the_store_cannot_write_no_admin_is_refused_and_nothing_is_promised() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            server.disk.set(Mode::SyncsFail);
            log_in(server, "ada", PASSWORD).await.assert_come_again(1..=3);
            until("it is known that it cannot", || server.server.store.health() != Health::Writable).await;
            log_in(server, "ada", "wrong").await.assert_come_again(1..=3);
            ask(server, "GET /v1/admin/me").bearer("pbs_AAAA").send().await.assert_come_again(1..=3);
            assert_eq!(me(server, &ada).await, 200, "who is known is known");
            let create = json!({ "name": "bob", "password": PASSWORD, "role": "read" });
            with_body(server, "POST /v1/admin/admins", &ada, create.clone()).await.assert_come_again(1..=3);
            server.heal().await;
            assert_eq!(with_body(server, "POST /v1/admin/admins", &ada, create).await.status, 201);
        })
        .await;
}

/// S57: a password that was typed as a name would be there for everyone to read.
#[actix_web::test]
async fn what_was_typed_as_a_name_is_written_down_if_it_is_one_and_else_it_is_not() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            log_in(server, "my own long password", "ada").await.assert_problem(401, "invalid-credential");
            log_in(server, "Ada", "wrong").await.assert_problem(401, "invalid-credential");
            let key = json!({ "name": "k", "role": "read" });
            let key =
                with_body(server, "POST /v1/admin/keys", &ada, key).await.json()["id"].as_str().unwrap().to_owned();
            for id in [&key, "my own long password"] {
                let body = json!({ "username": id, "apiKey": "wrong" }).to_string();
                let login = ask(server, "POST /api/admin/v3.0/auth/providers/mongodb-cloud/login").body(body).send();
                assert_eq!(login.await.status, 401);
            }
            let entries = audit(server, &ada, "&what=login").await;
            let refused = entries.iter().rev().filter(|entry| entry["outcome"] == "refused");
            let who: Vec<_> = refused.map(|entry| entry["who"].as_str().unwrap().to_owned()).collect();
            assert_eq!(who, ["(unknown)", "ada", &format!("key:{key}"), "(unknown)"]);
            assert!(!json!(audit(server, &ada, "").await).to_string().contains("my own long"));
        })
        .await;
}

/// S58: as a login stores it that began before the change and ends after it.
#[actix_web::test]
async fn a_session_that_was_beginning_while_its_admin_was_changed_has_ended() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let handle = server.handle();
            let sessions = || {
                let all = Listing { family: Family::ADMIN_SESSION, after: None, last_first: false, most: 100 };
                handle.own_values(&all)
            };
            let others = sessions().len();
            let anew = "another long password";
            for round in 0..4 {
                create(server, "bob", Role::Owner).await;
                let bob = log_in(server, "bob", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
                let own = log_in(server, "bob", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
                let begun = sessions();
                assert_eq!(begun.len(), others + 2);
                let of_bob = "/v1/admin/admins/bob";
                let patch = async |body| {
                    let done = with_body(server, &format!("PATCH {of_bob}"), &ada, body).await;
                    assert_eq!(done.status, 204, "{done:?}");
                };
                match round {
                    0 => patch(json!({ "password": anew })).await,
                    1 => {
                        patch(json!({ "disabled": true })).await;
                        patch(json!({ "disabled": false })).await;
                    }
                    2 => {
                        assert_eq!(ask(server, &format!("DELETE {of_bob}")).bearer(&ada).send().await.status, 204);
                        create(server, "bob", Role::Owner).await;
                    }
                    _ => {
                        let body = json!({ "current": PASSWORD, "password": anew });
                        let done = with_body(server, "PUT /v1/admin/me/password", &own, body).await;
                        assert_eq!(done.status, 204, "{done:?}");
                        assert_eq!(me(server, &own).await, 200, "the session that asks goes on");
                    }
                }
                let left = sessions();
                let back = begun.into_iter().filter(|(key, _)| left.iter().all(|(other, _)| other != key));
                let back =
                    back.map(|(key, bytes)| OwnChange { key, seen: None, change: Rewrite::Put((*bytes).into()) });
                let back: Vec<_> = back.collect();
                assert!(!back.is_empty());
                assert_eq!(handle.change_own(back).await, Ok(Changes::Done));
                assert_eq!(me(server, &bob).await, 401, "round {round}");
                assert_eq!(ask(server, &format!("DELETE {of_bob}")).bearer(&ada).send().await.status, 204);
            }
        })
        .await;
}

#[actix_web::test]
async fn of_two_owners_who_take_the_role_from_each_other_one_stays() {
    World::new()
        .serve(async |server| {
            for (one, other) in [("ada", "bob"), ("bob", "ada")] {
                let (admins, handle) = (&server.server.admins, server.handle());
                let by = By::new(&Who::Local, Role::Owner, None);
                let take = async |name: &str, role| {
                    let change = Change { role: Some(role), ..Change::default() };
                    admins.change(&handle, name, change, &by).await
                };
                for name in [one, other] {
                    if take(name, Role::Owner).await == Err(Fault::NoAdmin) {
                        create(server, name, Role::Owner).await;
                    }
                }
                let both = join(take(one, Role::Read), take(other, Role::Read)).await;
                assert!(matches!(both, (Ok(()), Err(Fault::LastOwner)) | (Err(Fault::LastOwner), Ok(()))), "{both:?}");
            }
        })
        .await;
}

/// S56: commands of the folder's owner are let in beside a trusted proxy on the same machine, and nobody else by it.
#[actix_web::test]
async fn the_token_in_the_data_folder_is_good_from_this_machine_alone_and_ends_with_the_server() {
    let world = World::new().set("trusted_proxies", "127.0.0.0/8");
    let server = world.start().await;
    let door = passerby::admin::local::read(&world.data_dir()).unwrap();
    assert_eq!(door.address, server.admin);
    let near = ask(&server, "GET /v1/admin/me").bearer(&door.token).send().await;
    assert_eq!((near.status, near.json()), (200, json!({ "who": "local", "role": "owner" })));
    for hop in ["192.0.2.1", "unknown"] {
        let far = ask(&server, "GET /v1/admin/me").bearer(&door.token).header("x-forwarded-for", hop);
        far.header("x-forwarded-proto", "https").send().await.assert_problem(401, "session-ended");
    }
    server.stop().await;
    assert!(passerby::admin::local::read(&world.data_dir()).is_err());
    let server = world.start().await;
    ask(&server, "GET /v1/admin/me").bearer(&door.token).send().await.assert_problem(401, "session-ended");
    server.stop().await;
}

/// S11, of admins.
#[actix_web::test]
async fn admins_see_and_end_their_own_sessions_and_owners_everybodys() {
    World::new()
        .serve(async |server| {
            let (ada, bob) = (token(server, "ada", Role::Owner).await, token(server, "bob", Role::Read).await);
            server.clock.advance_s(60);
            let other = log_in(server, "bob", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            let list = async |token: &str, path: &str| {
                let answer = ask(server, &format!("GET /v1/admin/{path}")).bearer(token).send().await;
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.json()["sessions"].as_array().unwrap().clone()
            };
            let end = async |token: &str, path: &str, id: &serde_json::Value| {
                let what = format!("DELETE /v1/admin/{path}/{}", id.as_str().unwrap());
                ask(server, &what).bearer(token).send().await
            };
            let own = list(&bob, "me/sessions").await;
            let facts: Vec<_> = own.iter().map(|one| (&one["who"], &one["mine"], &one["current"])).collect();
            let (who, yes, no) = (json!("bob"), json!(true), json!(false));
            assert_eq!(facts, [(&who, &yes, &no), (&who, &yes, &yes)], "the one that was used last comes first");
            assert_eq!((&own[0]["address"], &own[0]["ends"]), (&json!("127.0.0.1"), &json!("2023-11-15T10:14:20Z")));
            let all = list(&ada, "sessions").await;
            assert_eq!((all.len(), all.iter().filter(|one| one["mine"] == true).count()), (3, 1));
            let of_ada = &all.iter().find(|one| one["who"] == "ada").unwrap()["id"];
            end(&bob, "me/sessions", of_ada).await.assert_problem(404, "no-such-session");

            assert_eq!(end(&bob, "me/sessions", &own[0]["id"]).await.status, 204);
            ask(server, "GET /v1/admin/me").bearer(&other).send().await.assert_problem(401, "session-ended");
            end(&bob, "me/sessions", &own[0]["id"]).await.assert_problem(404, "no-such-session");
            assert_eq!(end(&ada, "sessions", &own[1]["id"]).await.status, 204);
            ask(server, "GET /v1/admin/me").bearer(&bob).send().await.assert_problem(401, "session-ended");
            let entries = audit(server, &ada, "&what=admin.end-session").await;
            let told: Vec<_> =
                entries.iter().map(|entry| (&entry["who"], &entry["whom"], &entry["before"]["session"])).collect();
            assert_eq!(told, [(&json!("ada"), &who, &own[1]["id"]), (&who, &who, &own[0]["id"])]);
        })
        .await;
}
