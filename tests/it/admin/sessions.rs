//! Logins, sessions, keys and their ends.

use passerby::admin::Role;
use passerby_actors::store::Health;
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::until;
use serde_json::json;

use super::{PASSWORD, ask, audit, create, log_in, token};
use crate::world::{Answer, TestServer, World};

async fn me(server: &TestServer, token: &str) -> u16 {
    ask(server, "GET /v1/admin/me").bearer(token).send().await.status
}

async fn with_body(server: &TestServer, what: &str, token: &str, body: serde_json::Value) -> Answer {
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
            let failed = audit(server, &owner, "&what=login&who=eve").await;
            assert_eq!(failed.len(), 6, "{failed:?}");
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
            assert_eq!((seen.status, seen.json()), (200, json!({ "who": "ada", "role": "owner" })));

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
    for _ in 0..14 {
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

#[actix_web::test]
async fn admins_change_their_password_with_the_current_one_and_their_other_sessions_end() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let other = log_in(server, "ada", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            let set = async |token: &str, current: &str, next: &str| {
                let body = json!({ "current": current, "password": next });
                with_body(server, "PUT /v1/admin/me/password", token, body).await
            };
            set(&ada, "wrong", "another long password").await.assert_problem(403, "wrong-password");
            set(&ada, PASSWORD, "short").await.assert_problem(400, "bad-field");
            assert_eq!(set(&ada, PASSWORD, "another long password").await.status, 204);
            assert_eq!((me(server, &ada).await, me(server, &other).await), (200, 401));
            log_in(server, "ada", PASSWORD).await.assert_problem(401, "invalid-credential");
            assert_eq!(log_in(server, "ada", "another long password").await.status, 200);
            create(server, "bob", Role::Owner).await;
            let bob = log_in(server, "bob", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            let key =
                with_body(server, "POST /v1/admin/keys", &bob, json!({ "name": "k", "role": "owner" })).await.json();
            set(key["token"].as_str().unwrap(), PASSWORD, PASSWORD).await.assert_problem(409, "no-account");
        })
        .await;
}

/// The code of a secret at a time, computed as an authenticator app does it.
fn code(secret: &str, unix_s: u64) -> String {
    let digits = secret.bytes().map(|digit| match digit {
        b'A'..=b'Z' => digit - b'A',
        _ => digit - b'2' + 26,
    });
    let bits: Vec<u8> = digits.flat_map(|digit| (0..5).rev().map(move |bit| digit >> bit & 1)).collect();
    let key: Vec<u8> = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = aws_lc_rs::hmac::sign(&key, &(unix_s / 30).to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[actix_web::test]
async fn a_second_factor_is_asked_for_once_it_was_shown_and_its_codes_work_once() {
    let world = World::new();
    let server = world.start().await;
    let owner = token(&server, "ada", Role::Owner).await;
    let bob = token(&server, "bob", Role::Operate).await;
    let begun = ask(&server, "POST /v1/admin/me/totp").bearer(&bob).send().await.json();
    let secret = begun["secret"].as_str().unwrap().to_owned();
    assert_eq!(begun["uri"], format!("otpauth://totp/passerby:bob?secret={secret}&issuer=passerby"));
    let now_code = |server: &TestServer, ahead_s: u64| code(&secret, server.server.wall_s() + ahead_s);
    let set = async |password: &str, code: &str| {
        let body = json!({ "password": password, "secret": secret, "code": code });
        with_body(&server, "PUT /v1/admin/me/totp", &bob, body).await
    };
    set("wrong", &now_code(&server, 0)).await.assert_problem(403, "wrong-password");
    set(PASSWORD, "000000").await.assert_problem(400, "wrong-code");
    assert_eq!(log_in(&server, "bob", PASSWORD).await.status, 200, "not yet");
    assert_eq!(set(PASSWORD, &now_code(&server, 0)).await.status, 204);
    let login = async |server: &TestServer, code: &str| {
        let body = json!({ "name": "bob", "password": PASSWORD, "code": code }).to_string();
        ask(server, "POST /v1/admin/login").body(body).send().await
    };
    log_in(&server, "bob", PASSWORD).await.assert_problem(401, "code-needed");
    log_in(&server, "bob", "wrong").await.assert_problem(401, "invalid-credential");
    login(&server, &now_code(&server, 0)).await.assert_problem(401, "invalid-credential");
    let next = now_code(&server, 30);
    assert_eq!(login(&server, &next).await.status, 200);
    login(&server, &next).await.assert_problem(401, "invalid-credential");
    server.stop().await;
    let stored: Vec<u8> = walk(&world.data_dir());
    assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "it is stored sealed");

    let server = world.start().await;
    server.clock.advance_s(60);
    assert_eq!(login(&server, &now_code(&server, 0)).await.status, 200, "after a restart, too");
    let listed = ask(&server, "GET /v1/admin/admins").bearer(&owner).send().await.json();
    assert_eq!((&listed["admins"][0]["totp"], &listed["admins"][1]["totp"]), (&json!(false), &json!(true)));
    let taken = with_body(&server, "PATCH /v1/admin/admins/bob", &owner, json!({ "totp": false })).await;
    assert_eq!(taken.status, 204);
    assert_eq!(log_in(&server, "bob", PASSWORD).await.status, 200);
    server.stop().await;
}

/// What the files below a folder hold.
fn walk(folder: &std::path::Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { std::fs::read(&path).unwrap() }).collect()
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
    let far = ask(&server, "GET /v1/admin/me").bearer(&door.token).header("x-forwarded-for", "192.0.2.1").send().await;
    far.assert_problem(401, "session-ended");
    server.stop().await;
    assert!(passerby::admin::local::read(&world.data_dir()).is_err());
    let server = world.start().await;
    ask(&server, "GET /v1/admin/me").bearer(&door.token).send().await.assert_problem(401, "session-ended");
    server.stop().await;
}
