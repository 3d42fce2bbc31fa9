//! Every endpoint of the admin API with what it does not expect: a body of another kind, a field that it does not know, an id of
//! nobody. Each refusal is one in the form of its face, and the audit log says of each action what became of it, once.

use passerby::admin::{Entry, Filter, Outcome, Role};
use passerby::http::admin::{Rule, rules};
use serde_json::json;

use super::{ask, assert_refused, filled, token};
use crate::accounts;
use crate::world::{Answer, TestServer};

const NOBODY: &str = "636aba021728b6c1c03db7f9";

/// Bodies that no endpoint takes: no JSON, another kind than an object, and a field that nobody knows.
const WRONG: [&str; 5] = ["{", "7", "\"text\"", "[1]", r#"{"nonsense":true}"#];

/// What the audit log has by now, the newest first.
fn log(server: &TestServer) -> Vec<(u64, Entry)> {
    server.server.admins.audit.page(&server.handle(), &Filter::default(), None, 10_000).unwrap().entries
}

/// What one request did, and what the log has of it.
fn assert_told(server: &TestServer, rule: &Rule, what: &str, answer: &Answer, before: &[(u64, Entry)]) {
    let mut after = log(server);
    for entry in before {
        let at = after.iter().position(|kept| kept == entry).unwrap_or_else(|| panic!("{what}: {entry:?} is gone"));
        after.remove(at);
    }
    let told: Vec<_> = after.iter().map(|(_, entry)| (entry.what.as_str(), entry.outcome)).collect();
    let is_done = (200..300).contains(&answer.status);
    match rule.audited {
        // of an app that is so already nothing is changed
        Some("app.import" | "deployment.configure") if is_done && told.is_empty() => {}
        Some(name) if is_done => assert_eq!(told, [(name, Outcome::Done)], "{what}: {answer:?}"),
        Some(name) => assert!(told.is_empty() || told == [(name, Outcome::Refused)], "{what}: {told:?} {answer:?}"),
        None => assert!(told.is_empty(), "{what}: {told:?}"),
    }
    if !is_done {
        // what App Services did and nothing here does
        let is_known = (400..500).contains(&answer.status) || answer.status == 501;
        assert!(is_known, "{what}: {answer:?}");
        assert_refused(answer, what, answer.status);
    }
}

#[actix_web::test]
async fn whatever_an_owner_sends_is_done_or_refused_and_told_once() {
    accounts::world()
        .set("limits", "off")
        .serve(async |server| {
            let owner = token(server, "ada", Role::Owner).await;
            let key = json!({ "name": "walk", "role": "owner" }).to_string();
            let key = ask(server, "POST /v1/admin/keys").bearer(&owner).body(key).send().await.json();
            let key = key["token"].as_str().unwrap();
            let mut asked = 0;
            // they have no end, and take no body
            for rule in rules().iter().filter(|rule| !rule.path.ends_with("/events")) {
                let bodies: Vec<&str> = if rule.method == "GET" { vec![""] } else { WRONG.into() };
                for (body, is_there) in bodies.into_iter().map(|body| (body, true)).chain([("{}", false), ("", false)])
                {
                    let user = if is_there && rule.path.contains("{user}") {
                        server.log_in().await.user
                    } else {
                        NOBODY.to_owned()
                    };
                    let what = filled(server, rule, &user);
                    let before = log(server);
                    let call = ask(server, &what).bearer(key);
                    let answer = if body.is_empty() { call.send().await } else { call.body(body).send().await };
                    let what = format!("{what} {body}");
                    assert_told(server, rule, &what, &answer, &before);
                    // Passerby's own face takes no field that it does not know, where it takes a body at all
                    if matches!(rule.method.as_str(), "POST" | "PUT" | "PATCH")
                        && rule.path.starts_with("/v1/")
                        && is_there
                    {
                        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
                    }
                    // of whom nothing is there, nothing can be done
                    let names_nobody = !is_there
                        && ["{user}", "{id}", "{name}", "{number}", "{provider}", "{draft}", "{deployment}"]
                            .iter()
                            .any(|id| rule.path.contains(id));
                    if names_nobody && !rule.path.contains("/deployments/{number}") {
                        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
                    }
                    asked += 1;
                }
            }
            assert!(asked > 300, "{asked}");
        })
        .await;
}
