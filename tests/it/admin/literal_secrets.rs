//! A secret that is written where its name belongs, in a provider that is off: refused everywhere, and shown to nobody.

use passerby::admin::Role;
use passerby::deployment::{Deployment, Origin};
use passerby::provider::app_folder::AppContent;
use passerby_actors::domain::{Family, Rewrite, ValueKey};
use passerby_actors::handle::OwnChange;
use serde_json::{Value, json};

use super::deploying::Admin;
use super::{app, ask, audit, token};
use crate::world::{TestServer, World};

/// Has the form of a name, so that only its being none gives it away.
const LITERAL: &str = "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";

fn google(disabled: bool, secret: &str) -> Value {
    json!({ "disabled": disabled, "config": { "clientId": "c" }, "secret_config": { "clientSecret": secret } })
}

fn with(google: Value) -> AppContent {
    let mut app = AppContent::default();
    app.providers.insert("oauth2-google".to_owned(), google);
    app
}

/// What an earlier version stored.
async fn store(server: &TestServer, key: ValueKey, value: Value) {
    let bytes = [&[1], value.to_string().as_bytes()].concat();
    let change = Rewrite::Put(bytes.into());
    server.handle().change_own(vec![OwnChange { key, seen: None, change }]).await.unwrap();
}

#[actix_web::test]
async fn a_literal_secret_is_refused_in_a_provider_that_is_off_and_is_neither_stored_nor_repeated() {
    World::new()
        .secret("GOOGLE", "hidden")
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let owner = token(server, "bob", Role::Owner).await;
            let misplaced = json!({ "disabled": true, "config": { "clientSecret": LITERAL } });
            let keys = json!({ "disabled": true, "secret_config": { "signingKeys": ["google", LITERAL] } });
            let facebook = json!({ "disabled": true, "secret_config": { "clientSecret": LITERAL } });
            for (name, provider, path) in [
                ("oauth2-google", google(true, LITERAL), "secret_config.clientSecret"),
                ("oauth2-google", misplaced, "config.clientSecret"),
                ("custom-token", keys, "secret_config.signingKeys[1]"),
                ("oauth2-facebook", facebook, "secret_config.clientSecret"),
                ("oauth2-google", google(false, LITERAL), "secret_config.clientSecret"),
            ] {
                let whole = json!({ "providers": { name: provider }, "allowed_request_origins": [] });
                for (what, body) in [
                    ("PATCH draft", json!({ "revision": 0, "app": { "providers": { name: provider } } })),
                    ("POST app/deploy", json!({ "app": whole })),
                    ("POST app/diff", json!({ "app": whole })),
                ] {
                    let refused = ada.asks(what, body).await;
                    refused.assert_problem_with(400, "invalid-parameter", &["faults"]);
                    let said = refused.text();
                    assert!(said.contains(&format!("{name}.{path}: ")) && said.contains("secret"), "{what}: {said}");
                    assert!(!said.contains(LITERAL), "{what}: {said}");
                }
                let mut created = provider.clone();
                created["type"] = json!(name);
                let call = ask(server, &format!("POST {}/auth_providers", app(server))).bearer(&owner);
                let refused = call.body(created.to_string()).send().await;
                assert_eq!((refused.status, refused.json()["error_code"].as_str()), (400, Some("InvalidParameter")));
                assert!(!refused.text().contains(LITERAL), "{refused:?}");
            }
            assert_eq!(ada.gets("app").await["draft"], Value::Null);
            assert!(!json!(audit(server, &owner, "").await).to_string().contains(LITERAL));

            // what is incomplete is there as it was exported, and so is what names a secret
            for provider in [json!({ "disabled": true, "config": 7 }), google(true, ""), google(true, "google")] {
                let app = json!({ "providers": { "oauth2-google": provider }, "allowed_request_origins": [] });
                ada.does("POST app/deploy", json!({ "app": app }), 201).await;
            }
            let all = ask(server, &format!("GET {}/auth_providers", app(server))).bearer(&owner).send().await.json();
            let google = all.as_array().unwrap().iter().find(|one| one["name"] == "oauth2-google").unwrap();
            let path = format!("{}/auth_providers/{}", app(server), google["_id"].as_str().unwrap());
            let patch = json!({ "secret_config": { "clientSecret": LITERAL } });
            let refused = ask(server, &format!("PATCH {path}")).bearer(&owner).body(patch.to_string()).send().await;
            assert_eq!(refused.status, 400, "{refused:?}");
            let shown = ask(server, &format!("GET {path}")).bearer(&owner).send().await.json();
            assert_eq!(shown["secret_config"], json!({ "clientSecret": "google" }));
        })
        .await;
}

#[actix_web::test]
async fn one_that_an_earlier_version_stored_is_shown_to_nobody_and_stops_nothing() {
    let world = World::new().secret("GOOGLE", "hidden");
    world
        .serve(async |server| {
            let deployment = |number: u64, app: AppContent| Deployment {
                number,
                at_ms: 0,
                by: "ada".to_owned(),
                origin: Origin::Api,
                name: None,
                folder: None,
                app,
            };
            for (number, app) in [(2, with(google(true, LITERAL))), (3, with(google(true, LITERAL)))] {
                let key = ValueKey::own(Family::DEPLOYMENT, u64::to_be_bytes(number));
                store(server, key, json!(deployment(number, app))).await;
            }
            let draft = json!({
                "revision": 1, "base": 3, "begun_ms": 0, "at_ms": 0, "by": "ada", "app": with(google(true, LITERAL)),
            });
            store(server, ValueKey::own(Family::DRAFT, []), draft).await;
        })
        .await;
    world
        .serve(async |server| {
            assert_eq!(server.server.app().number, 3);
            let (ada, eve) =
                (Admin::named(server, "ada", Role::Owner).await, Admin::named(server, "eve", Role::Read).await);
            let paths = ["app", "app/content", "app/content?deployment=2", "draft", "draft/diff", "deployments"];
            for path in paths.into_iter().chain(["deployments/2", "deployments/3"]) {
                let shown = eve.gets(path).await.to_string();
                assert!(!shown.contains(LITERAL), "{path}: {shown}");
            }
            assert_eq!(
                eve.gets("app/content").await,
                json!(with(json!({
                    "name": "oauth2-google", "type": "oauth2-google", "disabled": true,
                    "config": { "clientId": "c" }, "secret_config": {},
                })))
            );
            let reader = token(server, "rob", Role::Read).await;
            let all = ask(server, &format!("GET {}/auth_providers", app(server))).bearer(&reader).send().await.json();
            for one in all.as_array().unwrap() {
                let path = format!("GET {}/auth_providers/{}", app(server), one["_id"].as_str().unwrap());
                assert!(!ask(server, &path).bearer(&reader).send().await.text().contains(LITERAL));
            }
            // it can be changed, deployed, and deployed again, and the copy in the store is without it
            ada.does(
                "PATCH draft",
                json!({ "revision": 1, "app": { "allowed_request_origins": ["https://a.example"] } }),
                200,
            )
            .await;
            ada.does("POST draft/deploy", json!({ "revision": 2 }), 201).await;
            ada.does("POST deployments/2/deploy", json!({}), 201).await;
            for number in [4_u64, 5] {
                let bytes = server.handle().own_value(Family::DEPLOYMENT, &number.to_be_bytes()).unwrap();
                assert!(!String::from_utf8_lossy(&bytes).contains(LITERAL));
            }
            assert!(!json!(audit(server, &reader, "").await).to_string().contains(LITERAL));
        })
        .await;
}
