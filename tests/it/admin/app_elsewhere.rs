//! What App Services had for an app and is not served here: each is answered by what there is, or by a reason.

use serde_json::{Value, json};

use super::app_configuration::Owner;
use super::{app, ask};
use crate::world::World;

const NOTHING: &str = "0123456789abcdef01234567";

#[actix_web::test]
async fn what_is_not_served_is_listed_as_nothing_and_refused_with_the_reason() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            for (list, body, reason) in [
                ("functions", json!({ "name": "f", "source": "exports = () => 1" }), "functions are not served here"),
                ("triggers", json!({ "name": "t", "type": "AUTHENTICATION" }), "triggers do not run here"),
                ("values", json!({ "name": "v", "value": 1 }), "values are not read here"),
                ("secrets", json!({ "name": "s", "value": "hidden" }), "secrets are set where the server is started"),
                ("api_keys", json!({ "name": "k" }), "there are no users of the type server here"),
            ] {
                assert_eq!(owner.gets(list).await, json!([]), "{list}");
                let told = owner.is_refused(("POST", list), body, (501, "NotImplemented")).await;
                assert!(told.starts_with(reason), "{told}");
            }
            let run = json!({ "name": "f", "arguments": [] });
            owner.is_refused(("POST", "debug/execute_function"), run, (501, "NotImplemented")).await;
            for (method, path, code) in [
                ("GET", format!("functions/{NOTHING}"), "FunctionNotFound"),
                ("PUT", format!("functions/{NOTHING}"), "FunctionNotFound"),
                ("DELETE", format!("functions/{NOTHING}"), "FunctionNotFound"),
                ("GET", format!("triggers/{NOTHING}"), "TriggerNotFound"),
                ("DELETE", format!("triggers/{NOTHING}"), "TriggerNotFound"),
                ("DELETE", format!("secrets/{NOTHING}"), "SecretNotFound"),
                ("GET", format!("api_keys/{NOTHING}"), "APIKeyNotFound"),
                ("PUT", format!("api_keys/{NOTHING}/enable"), "APIKeyNotFound"),
                ("PUT", format!("api_keys/{NOTHING}/disable"), "APIKeyNotFound"),
                ("DELETE", format!("api_keys/{NOTHING}"), "APIKeyNotFound"),
            ] {
                owner.is_refused((method, &path), Value::Null, (404, code)).await;
            }
            let apps = format!("POST /api/admin/v3.0/groups/{}/apps", server.server.tokens.domain_id());
            for what in [format!("DELETE {}", app(server)), apps] {
                let refused = ask(server, &what).bearer(&owner.token).body(r#"{"name":"other"}"#).send().await;
                assert_eq!((refused.status, &refused.json()["error_code"]), (501, &json!("NotImplemented")), "{what}");
            }
            server.log_in().await;
        })
        .await;
}

#[actix_web::test]
async fn secrets_are_listed_by_their_names_and_changed_where_the_server_is_started() {
    World::new()
        .secret("JWT_KEY", "0123456789abcdef0123456789abcdef")
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let all = owner.gets("secrets").await;
            let id = all[0]["_id"].as_str().unwrap();
            assert_eq!(all, json!([{ "_id": id, "name": "jwt_key" }]));
            let path = format!("secrets/{id}");
            let body = json!({ "name": "jwt_key", "value": "other" });
            owner.is_refused(("PUT", &path), body, (501, "NotImplemented")).await;
            owner.is_refused(("DELETE", &path), Value::Null, (501, "NotImplemented")).await;
        })
        .await;
}

#[actix_web::test]
async fn how_the_app_is_deployed_is_shown_and_whoever_asks_for_what_is_already_so_has_it() {
    const CONFIG: &str = "deploy/config";
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let now = json!({ "ui_drafts_disabled": false, "automatic_deployment": { "enabled": false } });
            assert_eq!(owner.gets(CONFIG).await, now);
            owner.does("PATCH", CONFIG, now).await;
            owner.does("PATCH", CONFIG, json!({ "automatic_deployment": { "enabled": false } })).await;
            for other in [
                json!({ "ui_drafts_disabled": true }),
                json!({ "automatic_deployment": { "enabled": true } }),
                json!({ "automatic_deployment": { "enabled": false, "provider": "github" } }),
                json!({ "automatic_deployment": true }),
            ] {
                owner.is_refused(("PATCH", CONFIG), other, (501, "NotImplemented")).await;
            }
        })
        .await;
}
