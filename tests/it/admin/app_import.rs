//! A whole app over the App Services face, as `realm-cli push` sends it: compared, and put in place at once or in the draft.

use serde_json::{Value, json};

use super::app_configuration::Owner;
use super::audit;
use crate::world::{LOGIN, World};

const IMPORT: &str = "import?strategy=replace-by-name";
const DIFF: &str = "import?strategy=replace-by-name&diff=true";
const UNSUPPORTED: &str = "authentication via 'anon-user' is unsupported";

fn provider(name: &str, disabled: bool) -> Value {
    json!({ "name": name, "type": name, "disabled": disabled })
}

/// The layout of 2021, with what realm-cli adds of an app folder.
fn pushed(anonymous: bool) -> Value {
    json!({
        "config_version": 20_210_101,
        "app_id": "passerby",
        "name": "passerby",
        "allowed_request_origins": ["https://News.example:443"],
        "auth": {
            "custom_user_data": { "enabled": true, "database_name": "app" },
            "providers": { "anon-user": provider("anon-user", !anonymous), "api-key": provider("api-key", false) },
        },
        "functions": { "config": [{ "name": "f", "private": false }], "sources": { "f.js": "exports = () => 1" } },
        "triggers": [{ "name": "off", "type": "AUTHENTICATION", "disabled": true }],
        "graphql": { "config": {} },
        "endpoints": {},
        "sync": {},
    })
}

#[actix_web::test]
async fn an_app_that_is_imported_is_in_force_at_once_and_what_is_not_served_of_it_is_said_before() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let told = owner.asks("POST", DIFF, pushed(false)).await;
            assert_eq!(told.status, 200, "{told:?}");
            let expected = json!([
                "anon-user: enabled → disabled",
                "api-key: added, enabled",
                "allowed_request_origins: https://news.example added",
                "custom_user_data.database_name: none → \"app\"",
                "custom_user_data.enabled: none → true",
                "auth.custom_user_data.enabled: custom user data is not read from MongoDB: user.customData is what \
                 data.token_fields shows of the user's document",
                "functions: functions are not run: move what they do to a server of yours",
            ]);
            assert_eq!(told.json(), expected);
            server.log_in().await;

            owner.does("POST", IMPORT, pushed(false)).await;
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), UNSUPPORTED);
            let again = owner.asks("POST", DIFF, pushed(false)).await.json();
            assert_eq!(again.as_array().unwrap().len(), 2, "{again}");
            owner.does("POST", IMPORT, pushed(false)).await;
            assert_eq!(
                owner.gets("deployments").await.as_array().unwrap().len(),
                2,
                "the same app is not deployed twice"
            );
            let entries = audit(server, &owner.token, "&what=app.import").await;
            assert_eq!(
                (entries.len(), &entries[0]["after"]["changes"][0]),
                (1, &json!("anon-user: enabled → disabled"))
            );

            // a folder says nothing of it, and does not take it back
            owner.does("PUT", "security/refresh_token_expiration", json!({ "expiration_time_seconds": 3600 })).await;
            owner.does("POST", IMPORT, pushed(true)).await;
            assert_eq!(owner.gets("security/refresh_token_expiration").await["expiration_time_seconds"], 3600);
            server.log_in().await;
        })
        .await;
}

#[actix_web::test]
async fn with_a_draft_an_import_waits_until_it_is_deployed() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let draft = owner.asks("POST", "drafts", Value::Null).await.json();
            let draft = format!("drafts/{}", draft["_id"].as_str().unwrap());
            owner.does("POST", IMPORT, pushed(false)).await;
            server.log_in().await;
            assert_eq!(owner.gets(&format!("{draft}/diff")).await["sentences"][0], "anon-user: enabled → disabled");
            let deployed = owner.asks("POST", &format!("{draft}/deployment"), Value::Null).await;
            assert_eq!(deployed.status, 201, "{deployed:?}");
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), UNSUPPORTED);
        })
        .await;
}

#[actix_web::test]
async fn the_older_layout_is_imported_as_well_and_what_is_wrong_is_said() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let old = json!({
                "config_version": 20_200_603,
                "name": "passerby",
                "security": { "allowed_request_origins": ["https://news.example"] },
                "custom_user_data_config": null,
                "auth_providers": [{ "id": "5f", "name": "anon-user", "type": "anon-user", "disabled": true }],
                "functions": [{ "name": "f" }],
                "sync": { "development_mode_enabled": false },
            });
            let told = owner.asks("POST", DIFF, old.clone()).await.json();
            assert_eq!(told[0], "anon-user: enabled → disabled");
            assert_eq!(told[2], "functions: functions are not run: move what they do to a server of yours");
            owner.does("POST", IMPORT, old).await;
            assert_eq!(server.server.app().allowed_origins, ["https://news.example"]);

            for (path, body, expected, reason) in [
                (IMPORT, json!({ "name": "x" }), "InvalidParameter", "app: auth.providers: is missing"),
                (
                    IMPORT,
                    json!({ "auth": { "providers": [1] } }),
                    "InvalidParameter",
                    "expected the providers by their",
                ),
                (IMPORT, json!({ "auth_providers": [{}] }), "InvalidParameter", "each provider needs its name"),
                (
                    IMPORT,
                    json!({ "auth": { "providers": { "saml": {} } } }),
                    "InvalidParameter",
                    "saml: there is no such",
                ),
                (
                    DIFF,
                    json!({ "auth": { "providers": { "saml": {} } } }),
                    "InvalidParameter",
                    "saml: there is no such",
                ),
                ("import?strategy=merge", pushed(true), "BadRequest", "strategy must be replace-by-name"),
                ("import?diff=yes", pushed(true), "BadRequest", "diff must be true or false"),
                ("import?dif=true", pushed(true), "BadRequest", "\"dif\" is no parameter"),
            ] {
                let told = owner.is_refused(("POST", path), body, (400, expected)).await;
                assert!(told.contains(reason), "{told}");
            }
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), UNSUPPORTED);
        })
        .await;
}
