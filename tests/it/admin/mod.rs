//! The admin API: who may ask what, and what is written down of it.

mod app_configuration;
mod app_elsewhere;
mod app_import;
mod audit;
mod by_hand;
mod configuration;
mod deploying;
mod ended_sessions;
mod events;
mod fixed_ids;
mod lists;
mod literal_secrets;
mod networks;
mod one_user;
mod overview;
mod own_account;
mod sessions;
mod signing_keys;
mod suspended;
mod users;
mod walk;

use passerby::admin::{By, Role, Who};
use passerby::http::admin::{Rule, rules};
use passerby::provider::password::Password;
use serde_json::{Value, json};

use crate::world::{Answer, Call, TestServer, World, call, client};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A request to the admin listener.
pub(crate) fn ask(server: &TestServer, what: &str) -> Call {
    call(&client(), server.admin, what)
}

/// Creates an admin, as the command on a stopped server does.
pub(crate) async fn create(server: &TestServer, name: &str, role: Role) {
    let by = By::new(&Who::Local, Role::Owner, None);
    let password = Password::new(PASSWORD.to_owned());
    server.server.admins.create(&server.handle(), name, password, role, &by).await.unwrap();
}

pub(crate) async fn log_in(server: &TestServer, name: &str, password: &str) -> Answer {
    let body = json!({ "name": name, "password": password }).to_string();
    ask(server, "POST /v1/admin/login").body(body).send().await
}

/// The token of a new admin of this role.
pub(crate) async fn token(server: &TestServer, name: &str, role: Role) -> String {
    create(server, name, role).await;
    let answer = log_in(server, name, PASSWORD).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// What the audit log has, the newest first, by someone with this token.
pub(crate) async fn audit(server: &TestServer, token: &str, query: &str) -> Vec<Value> {
    let answer = ask(server, &format!("GET /v1/admin/audit?limit=500{query}")).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["entries"].as_array().unwrap().clone()
}

/// Where the App Services face has the app.
pub(crate) fn app(server: &TestServer) -> String {
    let tokens = &server.server.tokens;
    format!("/api/admin/v3.0/groups/{}/apps/{}", tokens.domain_id(), tokens.provider_id("app"))
}

/// A request that the rule is for.
fn filled(server: &TestServer, rule: &Rule, user: &str) -> String {
    let tokens = &server.server.tokens;
    let path = rule.path.replace("{group}", tokens.domain_id()).replace("{app}", &tokens.provider_id("app"));
    let path =
        path.replace("{user}", user).replace("{name}", "nobody").replace("{id}", "abcdefgh").replace("{number}", "1");
    let path = path
        .replace("{session}", "636aba021728b6c1c03db7f9")
        .replace("{meter}", "articles")
        .replace("{email}", "a@example.com");
    let nothing = "0".repeat(24);
    let path = ["{provider}", "{draft}", "{deployment}", "{function}", "{trigger}", "{secret}", "{key}"]
        .iter()
        .fold(path, |path, name| path.replace(name, &nothing));
    assert!(!path.contains('{'), "{path}");
    format!("{} {path}", rule.method)
}

/// An error in the form of the face that the path is of.
#[track_caller]
fn assert_refused(answer: &Answer, what: &str, status: u16) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
    if what.contains("/api/admin/") {
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
        assert!(["error", "error_code", "link"].iter().all(|key| body[key].is_string()), "{body}");
        let id = answer.header("x-appservices-request-id").unwrap();
        assert!(body["link"].as_str().unwrap().ends_with(&format!("logs?co_id={id}")), "{body}");
    } else {
        let body = answer.json_as("application/problem+json");
        assert_eq!(body["status"], status, "{body}");
    }
}

#[actix_web::test]
async fn every_endpoint_needs_its_role_and_a_key_of_the_role_read_can_change_nothing() {
    World::new()
        .serve(async |server| {
            let of_user = server.log_in().await;
            let user = of_user.user.clone();
            let owner = token(server, "ada", Role::Owner).await;
            let mut keys = Vec::new();
            for role in Role::ALL {
                let body = json!({ "name": "a script", "role": role }).to_string();
                let answer = ask(server, "POST /v1/admin/keys").bearer(&owner).body(body).send().await;
                assert_eq!(answer.status, 201, "{answer:?}");
                keys.push((role, answer.json()["token"].as_str().unwrap().to_owned()));
            }
            let mut refused = 0;
            for rule in rules() {
                let what = filled(server, &rule, &user);
                let Some(needed) = rule.needs else { continue };
                assert!(needed == Role::Read || rule.audited.is_some() || rule.method == "GET", "{what}");
                assert_refused(&ask(server, &what).send().await, &what, 401);
                let unknown = ask(server, &what).bearer("pbs_AAAA").send().await;
                assert_refused(&unknown, &what, 401);
                for of_user in [&of_user.access, &of_user.refresh] {
                    assert_refused(&ask(server, &what).bearer(of_user).send().await, &what, 401);
                }
                for (role, key) in &keys {
                    // what operators and owners may change is changed in the other tests
                    if *role >= needed && needed > Role::Read && rule.audited.is_some() {
                        continue;
                    }
                    // it has no end, and is read in a test of its own
                    if rule.path.ends_with("/events") {
                        continue;
                    }
                    let answer = ask(server, &what).bearer(key).send().await;
                    if *role < needed {
                        assert_refused(&answer, &what, 403);
                        refused += 1;
                    } else if rule.audited.is_some() {
                        // of what everyone may change, nothing is a key's: it has neither a session nor an account
                        assert!(matches!(answer.status, 400 | 401 | 404 | 409), "{what}: {answer:?}");
                    } else {
                        assert!(!matches!(answer.status, 403 | 405 | 500..), "{what}: {answer:?}");
                    }
                }
            }
            assert!(refused > 15);
            let entries = audit(server, &owner, "").await;
            let of_roles = entries.iter().filter(|entry| entry["outcome"] == "refused");
            assert_eq!(of_roles.count(), refused, "each refusal is written down");
            assert!(server.has_record(&user));
        })
        .await;
}

#[actix_web::test]
async fn nothing_of_the_admin_api_is_on_the_public_listener() {
    World::new()
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            for rule in rules() {
                let what = filled(server, &rule, "636aba021728b6c1c03db7f9");
                let answer = call(&client(), server.address, &what).bearer(&owner).body("{}").send().await;
                assert!(matches!(answer.status, 404 | 405), "{what}: {answer:?}");
            }
            for what in ["GET /v1/admin/nowhere", "GET /api/admin/v3.0/nowhere", "GET /v1/admin"] {
                assert_refused(&ask(server, what).bearer(&owner).send().await, what, 404);
            }
            let other = ask(server, "PUT /v1/admin/me").bearer(&owner).send().await;
            assert_refused(&other, "PUT /v1/admin/me", 405);
            assert_eq!(other.header("allow"), Some("GET, HEAD, OPTIONS"));
        })
        .await;
}

#[actix_web::test]
async fn what_an_admin_sends_is_bounded_and_every_field_is_known() {
    World::new()
        .set("http.max_body", "65536")
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            let create = async |body: Value| {
                ask(server, "POST /v1/admin/admins").bearer(&owner).body(body.to_string()).send().await
            };
            let fine = json!({ "name": "bob", "password": PASSWORD, "role": "read" });
            for (field, value, status, code) in [
                ("name", json!("a b"), 400, "bad-field"),
                ("name", json!("local"), 400, "bad-field"),
                ("name", json!("Ada"), 409, "name-taken"),
                ("name", json!(7), 400, "bad-field"),
                ("password", json!("eleven char"), 400, "bad-field"),
                ("role", json!("root"), 400, "bad-field"),
                ("admin", json!(true), 422, "unknown-field"),
                ("name", json!("x".repeat(70_000)), 413, "body-too-large"),
            ] {
                let mut body = fine.clone();
                body[field] = value;
                create(body).await.assert_problem(status, code);
            }
            assert_eq!(create(fine).await.status, 201);
            for what in ["GET /v1/admin/audit?limit=0", "GET /v1/admin/audit?cursor=%21", "GET /v1/admin/audit?page=2"]
            {
                ask(server, what).bearer(&owner).send().await.assert_problem(400, "bad-query");
            }
        })
        .await;
}
