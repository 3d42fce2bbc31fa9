//! The own account: password and second factor.

use std::net::Ipv4Addr;
use std::pin::{Pin, pin};

use futures_util::future::poll_immediate;
use passerby::admin::{By, Change, Fault, Role, Source, Who};
use passerby::provider::password::Password;
use serde_json::json;

use super::sessions::{me, with_body};
use super::{PASSWORD, ask, audit, create, log_in, token};
use crate::world::{TestServer, World};

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

/// A change of the account between its check and what was to follow is told, and is no reason to come again.
#[actix_web::test]
async fn an_account_that_is_changed_meanwhile_is_told_and_nothing_is_done() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            create(server, "bob", Role::Read).await;
            let bob = log_in(server, "bob", PASSWORD).await.json()["token"].as_str().unwrap().to_owned();
            let (admins, handle) = (&server.server.admins, server.handle());
            let source = Source { address: Ipv4Addr::LOCALHOST.into() };
            let bob = admins.asker(&handle, &bob, &source, true).await.unwrap();
            let by = By::new(&bob.who, bob.role, None);
            let password = |text: &str| Password::new(text.to_owned());
            // one password is hashed at a time: those before it hold it up until the role is another one
            let meanwhile = async |role| {
                let change = Change { role: Some(role), ..Change::default() };
                admins.change(&handle, "bob", change, &By::new(&Who::Local, Role::Owner, None)).await.unwrap();
            };
            let login = async |name: &'static str| {
                let begun = admins.log_in(&handle, name, password(PASSWORD), None, &source).await;
                begun.map(|_| ())
            };
            let held_up = async |asked: &mut Pin<&mut dyn Future<Output = Result<(), Fault>>>, role| {
                let mut before: Vec<_> = (0..3).map(|_| Box::pin(login("ada"))).collect();
                for other in &mut before {
                    assert!(poll_immediate(other).await.is_none());
                }
                assert!(poll_immediate(&mut *asked).await.is_none());
                meanwhile(role).await;
                for other in before {
                    assert_eq!(other.await, Ok(()));
                }
            };
            let mut begun = pin!(login("bob"));
            held_up(&mut (begun.as_mut() as _), Role::Operate).await;
            assert_eq!(begun.await, Err(Fault::Credentials));
            let both = (password(PASSWORD), password("another long password"));
            let mut set = pin!(admins.set_own_password(&handle, &bob, both, &source, &by));
            held_up(&mut (set.as_mut() as _), Role::Read).await;
            assert_eq!(set.await, Err(Fault::Changed));
            let mut removed = pin!(admins.remove_totp(&handle, &bob, password(PASSWORD), &source, &by));
            held_up(&mut (removed.as_mut() as _), Role::Operate).await;
            assert_eq!(removed.await, Err(Fault::Changed));
            assert_eq!(log_in(server, "bob", PASSWORD).await.status, 200, "nothing of it was done");
            let refused = audit(server, &ada, "&what=login&who=bob").await;
            assert_eq!(refused.iter().filter(|entry| entry["outcome"] == "refused").count(), 1);
        })
        .await;
}

/// S58: who has an owner's session, and not the password, does not get to have it for good.
#[actix_web::test]
async fn owners_change_their_own_password_and_second_factor_with_the_current_password_alone() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let bob = token(server, "bob", Role::Owner).await;
            for body in [json!({ "totp": false, "role": "owner" }), json!({ "password": "another long password" })] {
                let own = with_body(server, "PATCH /v1/admin/admins/Ada", &ada, body.clone()).await;
                own.assert_problem(409, "own-account");
                let of_another = with_body(server, "PATCH /v1/admin/admins/ada", &bob, body).await;
                assert_eq!(of_another.status, 204);
            }
            assert_eq!(log_in(server, "ada", "another long password").await.status, 200);
            let role = with_body(server, "PATCH /v1/admin/admins/bob", &bob, json!({ "role": "operate" })).await;
            assert_eq!(role.status, 204, "a role is no proof of who somebody is");
        })
        .await;
}

/// The code of a secret at a time, computed as an authenticator app does it.
pub(super) fn code(secret: &str, unix_s: u64) -> String {
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
    let set_on = async |server: &TestServer, password: &str, code: &str| {
        let body = json!({ "password": password, "secret": secret, "code": code });
        with_body(server, "PUT /v1/admin/me/totp", &bob, body).await
    };
    let set = async |password: &str, code: &str| set_on(&server, password, code).await;
    let is_on = async || ask(&server, "GET /v1/admin/me").bearer(&bob).send().await.json()["totp"].clone();
    set("wrong", &now_code(&server, 0)).await.assert_problem(403, "wrong-password");
    set(PASSWORD, "000000").await.assert_problem(400, "wrong-code");
    assert_eq!(log_in(&server, "bob", PASSWORD).await.status, 200, "not yet");
    assert_eq!(is_on().await, json!(false));
    assert_eq!(set(PASSWORD, &now_code(&server, 0)).await.status, 204);
    assert_eq!(is_on().await, json!(true));
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
    let remove = async |password: &str| {
        with_body(&server, "DELETE /v1/admin/me/totp", &bob, json!({ "password": password })).await
    };
    remove("wrong").await.assert_problem(403, "wrong-password");
    log_in(&server, "bob", PASSWORD).await.assert_problem(401, "code-needed");
    assert_eq!(remove(PASSWORD).await.status, 204);
    assert_eq!(log_in(&server, "bob", PASSWORD).await.status, 200);
    server.clock.advance_s(60);
    assert_eq!(set_on(&server, PASSWORD, &now_code(&server, 0)).await.status, 204);
    let mut guesses = Vec::new();
    for _ in 0..7 {
        guesses.push(login(&server, "000000").await.status);
    }
    assert_eq!(guesses, [401, 401, 401, 401, 401, 401, 429], "guesses at a code are throttled");
    let taken = with_body(&server, "PATCH /v1/admin/admins/bob", &owner, json!({ "totp": false })).await;
    assert_eq!(taken.status, 204);
    server.clock.advance_s(3600);
    assert_eq!(log_in(&server, "bob", PASSWORD).await.status, 200);
    server.stop().await;
}

/// What the files below a folder hold.
fn walk(folder: &std::path::Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { std::fs::read(&path).unwrap() }).collect()
}
