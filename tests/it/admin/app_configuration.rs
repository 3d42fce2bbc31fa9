//! The app's configuration over the App Services face: at once, or by a draft.

use futures_util::future::join3;
use passerby::admin::Role;
use passerby_actors::testkit::until;
use serde_json::{Value, json};

use super::{app, ask, audit, token};
use crate::accounts;
use crate::world::{Answer, LOGIN, ROTATE, TestServer, Tokens, World};

const UNSUPPORTED: &str = "authentication via 'anon-user' is unsupported";

/// Someone who may change it.
pub(super) struct Owner<'a> {
    pub(super) server: &'a TestServer,
    pub(super) token: String,
}

impl<'a> Owner<'a> {
    pub(super) async fn of(server: &'a TestServer) -> Self {
        Self { server, token: token(server, "ada", Role::Owner).await }
    }

    pub(super) async fn asks(&self, method: &str, path: &str, body: Value) -> Answer {
        let what = format!("{method} {}/{path}", app(self.server));
        let call = ask(self.server, &what).bearer(&self.token);
        let call = if body.is_null() { call } else { call.body(body.to_string()) };
        call.send().await
    }

    pub(super) async fn gets(&self, path: &str) -> Value {
        let answer = self.asks("GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Asks for something that is done.
    pub(super) async fn does(&self, method: &str, path: &str, body: Value) {
        let answer = self.asks(method, path, body).await;
        assert_eq!(answer.status, 204, "{method} {path}: {answer:?}");
    }

    pub(super) async fn is_refused(&self, (method, path): (&str, &str), body: Value, expected: (u16, &str)) -> String {
        let answer = self.asks(method, path, body).await;
        let found = answer.json();
        assert_eq!((answer.status, found["error_code"].as_str().unwrap()), expected, "{found}");
        found["error"].as_str().unwrap().to_owned()
    }

    /// The path of a provider.
    pub(super) async fn provider(&self, name: &str) -> String {
        let all = self.gets("auth_providers").await;
        let found = all.as_array().unwrap().iter().find(|provider| provider["name"] == name);
        format!("auth_providers/{}", found.unwrap_or_else(|| panic!("no {name} in {all}"))["_id"].as_str().unwrap())
    }
}

#[actix_web::test]
async fn without_a_draft_a_change_is_in_force_at_once_and_is_written_down() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let path = owner.provider("anon-user").await;
            owner.does("PUT", &format!("{path}/disable"), Value::Null).await;
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), UNSUPPORTED);
            assert_eq!(owner.gets(&path).await["disabled"], true);
            let entries = audit(server, &owner.token, "").await;
            let entry = entries.iter().find(|entry| entry["what"] == "provider.disable").unwrap();
            assert_eq!((&entry["who"], &entry["whom"]), (&json!("ada"), &json!("anon-user")));
            assert_eq!(entry["after"], json!({ "changes": ["anon-user: enabled → disabled"] }));
            owner.does("PUT", &format!("{path}/enable"), Value::Null).await;
            server.log_in().await;
        })
        .await;
}

#[actix_web::test]
async fn with_a_draft_changes_wait_until_it_is_deployed_and_an_older_deployment_can_be_deployed_again() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let draft = owner.asks("POST", "drafts", json!({})).await;
            assert_eq!(draft.status, 201, "{draft:?}");
            assert_eq!(draft.json()["app"]["client_app_id"], "passerby");
            let draft = format!("drafts/{}", draft.json()["_id"].as_str().unwrap());
            owner.is_refused(("POST", "drafts"), json!({}), (409, "DraftAlreadyExists")).await;
            let nothing = json!({ "added": [], "deleted": [], "modified": [] });
            let nothing = json!({ "diffs": [], "hosting_files_diff": nothing, "sentences": [] });
            assert_eq!(owner.gets(&format!("{draft}/diff")).await, nothing);
            let path = owner.provider("anon-user").await;
            owner.does("PUT", &format!("{path}/disable"), Value::Null).await;
            assert_eq!(owner.gets(&path).await["disabled"], true, "in the draft");
            server.log_in().await;
            let diff = owner.gets(&format!("{draft}/diff")).await;
            assert_eq!(diff["sentences"], json!(["anon-user: enabled → disabled"]));
            let lines = diff["diffs"][0].as_str().unwrap();
            let of = |sign: &str| {
                lines.lines().filter_map(|line| line.strip_prefix(sign)).map(str::trim).collect::<Vec<_>>()
            };
            assert_eq!((of("- "), of("+ ")), (vec!["\"disabled\": false,"], vec!["\"disabled\": true,"]));

            let deployed = owner.asks("POST", &format!("{draft}/deployment"), json!({ "name": "closed" })).await;
            assert_eq!(deployed.status, 201, "{deployed:?}");
            assert_eq!(
                (&deployed.json()["status"], &deployed.json()["name"]),
                (&json!("successful"), &json!("closed"))
            );
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), UNSUPPORTED);
            assert_eq!(owner.gets("drafts").await, json!([]));
            owner.is_refused(("DELETE", &draft), Value::Null, (404, "DraftNotFound")).await;

            let all = owner.gets("deployments").await;
            let numbers: Vec<_> = all.as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
            assert_eq!((numbers, &all[0]["is_in_force"]), (vec![2, 1], &json!(true)));
            assert_eq!((&all[0]["name"], &all[1]["name"]), (&json!("closed"), &all[1]["_id"]));
            let first = format!("deployments/{}", all[1]["_id"].as_str().unwrap());
            assert_eq!(owner.gets(&first).await["number"], 1);
            owner.does("POST", &format!("{first}/redeploy"), json!({})).await;
            server.log_in().await;
            assert_eq!(owner.gets("deployments").await[0]["origin"], "deployment 1");
        })
        .await;
}

#[actix_web::test]
async fn a_draft_that_is_thrown_away_changes_nothing() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let draft = owner.asks("POST", "drafts", json!({})).await.json();
            let path = owner.provider("anon-user").await;
            owner.does("PUT", &format!("{path}/disable"), Value::Null).await;
            owner.does("DELETE", &format!("drafts/{}", draft["_id"].as_str().unwrap()), Value::Null).await;
            assert_eq!(owner.gets(&path).await["disabled"], false);
            server.log_in().await;
        })
        .await;
}

#[actix_web::test]
async fn providers_are_created_changed_and_deleted_and_what_is_wrong_is_said() {
    let file = "[provider.oidc.corp]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";
    World::new()
        .file(file)
        .secret("SHARED", "0123456789abcdef0123456789abcdef")
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let all = owner.gets("auth_providers").await;
            let names: Vec<_> = all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["anon-user", "api-key", "oidc-corp"]);
            assert_eq!((&all[1]["disabled"], &all[2]["origin"]), (&json!(true), &json!("passerby.toml")));

            let create = ("POST", "auth_providers");
            owner.is_refused(create, json!({ "type": "anon-user" }), (409, "AuthProviderAlreadyExists")).await;
            owner.is_refused(create, json!({ "type": "oidc-corp" }), (409, "SetByFile")).await;
            let unknown = owner.is_refused(create, json!({ "type": "saml" }), (400, "InvalidParameter")).await;
            assert!(unknown.contains("saml: there is no such provider"), "{unknown}");
            let config = json!({ "signingAlgorithm": "HS256" });
            let body =
                json!({ "type": "custom-token", "config": config, "secret_config": { "signingKeys": ["other"] } });
            let wrong = owner.is_refused(create, body, (400, "InvalidParameter")).await;
            assert!(wrong.contains("there is no secret \"other\""), "{wrong}");

            let body =
                json!({ "type": "custom-token", "config": config, "secret_config": { "signingKeys": ["shared"] } });
            let created = owner.asks("POST", "auth_providers", body).await;
            assert_eq!(created.status, 201, "{created:?}");
            let path = format!("auth_providers/{}", created.json()["_id"].as_str().unwrap());
            assert!(server.server.app().providers.get("custom-token").is_some());
            owner.does("PATCH", &path, json!({ "config": { "signingAlgorithm": "HS256", "audience": "x" } })).await;
            assert_eq!(owner.gets(&path).await["config"]["audience"], "x");
            owner.does("DELETE", &path, Value::Null).await;
            owner.is_refused(("GET", &path), Value::Null, (404, "AuthProviderNotFound")).await;
            let keys = owner.provider("api-key").await;
            owner.does("PUT", &format!("{keys}/enable"), Value::Null).await;
            assert!(server.server.app().providers.get("api-key").is_some());
            let corp = owner.provider("oidc-corp").await;
            owner.is_refused(("PUT", &format!("{corp}/disable")), Value::Null, (409, "SetByFile")).await;
        })
        .await;
}

#[actix_web::test]
async fn of_two_drafts_begun_at_the_same_time_the_second_is_there_already() {
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            let begin = || owner.asks("POST", "drafts", json!({}));
            // both have looked when the first one is stored
            server.disk.let_pass(Some(0));
            let held_up = server.disk.held_up();
            let release = async {
                until("both are on their way", || server.disk.held_up() > held_up).await;
                for _ in 0..3 {
                    assert_eq!(owner.asks("GET", "drafts", Value::Null).await.json(), json!([]));
                }
                server.disk.let_pass(None);
            };
            let (one, two, ()) = join3(begin(), begin(), release).await;
            let (created, refused) = if one.status == 201 { (one, two) } else { (two, one) };
            assert_eq!((created.status, refused.status), (201, 409), "{refused:?}");
            assert_eq!(refused.json()["error_code"], "DraftAlreadyExists");
            let entries = audit(server, &owner.token, "&what=draft.create").await;
            let outcomes: Vec<_> = entries.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
            assert!(outcomes == ["done", "refused"] || outcomes == ["refused", "done"], "{outcomes:?}");
        })
        .await;
}

#[actix_web::test]
async fn origins_and_custom_user_data_are_changed_as_well() {
    const ORIGINS: &str = "security/allowed_request_origins";
    World::new()
        .serve(async |server| {
            let owner = Owner::of(server).await;
            assert_eq!(owner.gets(ORIGINS).await, json!([]));
            owner.does("POST", ORIGINS, json!(["https://News.example:443"])).await;
            assert_eq!(owner.gets(ORIGINS).await, json!(["https://news.example"]));
            assert_eq!(server.server.app().allowed_origins, ["https://news.example"]);
            owner.is_refused(("POST", ORIGINS), json!({ "a": 1 }), (400, "BadRequest")).await;
            owner.is_refused(("POST", ORIGINS), json!(["news"]), (400, "InvalidParameter")).await;
            assert_eq!(owner.gets("custom_user_data").await, json!({ "enabled": false }));
            owner.does("PATCH", "custom_user_data", json!({ "database_name": "app" })).await;
            assert_eq!(owner.gets("custom_user_data").await, json!({ "database_name": "app" }));
        })
        .await;
    World::new()
        .set("allowed_origins", "https://app.example")
        .serve(async |server| {
            let owner = Owner::of(server).await;
            owner.is_refused(("POST", ORIGINS), json!([]), (409, "SetByFile")).await;
            assert_eq!(owner.gets(ORIGINS).await, json!(["https://app.example"]), "what is in force");
        })
        .await;
}

#[actix_web::test]
async fn the_refresh_token_expiration_is_in_force_at_once_for_sessions_that_are_there() {
    const EXPIRATION: &str = "security/refresh_token_expiration";
    let world = accounts::world();
    world
        .serve(async |server| {
            let owner = Owner::of(server).await;
            assert_eq!(owner.gets(EXPIRATION).await, json!({ "expiration_time_seconds": 5_184_000 }));
            let [one, two] = [accounts::log_in_as(server, "one").await, accounts::log_in_as(server, "two").await];
            let stranger = server.log_in_v1().await;
            let refreshes = async |of: &Tokens| server.call(ROTATE).bearer(&of.refresh).send().await.status;
            server.clock.advance_s(3601);
            assert_eq!(refreshes(&one).await, 200);
            for wrong in [json!({}), json!({ "expiration_time_seconds": "1" })] {
                owner.is_refused(("PUT", EXPIRATION), wrong, (400, "BadRequest")).await;
            }
            let short = json!({ "expiration_time_seconds": 60 });
            owner.is_refused(("PUT", EXPIRATION), short, (400, "InvalidParameter")).await;
            owner.does("PUT", EXPIRATION, json!({ "expiration_time_seconds": 3600 })).await;
            assert_eq!(owner.gets(EXPIRATION).await, json!({ "expiration_time_seconds": 3600 }));
            assert_eq!(refreshes(&two).await, 401);
            assert_eq!(refreshes(&stranger).await, 200, "anonymous users go by their last use");
        })
        .await;
    world.serve(async |server| assert_eq!(server.server.core.policy().session_lifetime_s, 3600)).await;
    World::new()
        .set("session.lifetime", "7200")
        .serve(async |server| {
            let owner = Owner::of(server).await;
            assert_eq!(owner.gets(EXPIRATION).await, json!({ "expiration_time_seconds": 7200 }));
            let other = json!({ "expiration_time_seconds": 3600 });
            owner.is_refused(("PUT", EXPIRATION), other, (409, "SetByFile")).await;
        })
        .await;
}
