//! What the admin API shows of the configuration in force and of the store.

use passerby::admin::Role;
use serde_json::{Value, json};

use super::{ask, token};
use crate::world::{TestServer, World};

async fn get(server: &TestServer, token: &str, path: &str) -> Value {
    let answer = ask(server, &format!("GET /v1/admin/{path}")).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn named<'a>(settings: &'a Value, name: &str) -> &'a Value {
    let found = settings["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not there"))
}

#[actix_web::test]
async fn each_setting_is_shown_with_where_it_comes_from_and_no_secret() {
    let mut world = World::new()
        .file(
            "durability = \"os\"\n[mail]\nwebhook = \"https://mails.example/hook?key=hidden\"\nwebhook_secret = \"hook\"\n\
             [provider.oidc.corp]\nissuer = \"https://issuer.example\"\nclient_id = \"here\"\nclient_secret = \"corp\"\n\
             [meter.articles]\nlimit = 5\n",
        )
        .secret("HOOK", "whsec_aGlkZGVuLWhpZGRlbi1oaWRkZW4taGlkZGVuLWhpZGRlbi1oaWRkZW4=")
        .secret("CORP", "hidden-too")
        .set("budget.create", "7");
    world.app.get_or_insert_default().allowed_request_origins = vec!["https://news.example".to_owned()];
    world
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let settings = get(server, &ada, "configuration").await;
            let shown = |name: &str| {
                let setting = named(&settings, name);
                (setting["value"].clone(), setting["origin"].clone(), setting["place"].clone())
            };
            assert_eq!(shown("expiry.window"), (json!(7_776_000), json!("default"), Value::Null));
            assert_eq!(named(&settings, "expiry.window")["unit"], "s");
            assert_eq!(shown("budget.create"), (json!(7), json!("environment"), json!("PASSERBY_BUDGET_CREATE")));
            assert_eq!(named(&settings, "budget.create")["default"], "60");
            assert_eq!(named(&settings, "budget.create")["range"], "1 to 1000000");
            let (value, origin, place) = shown("durability");
            assert_eq!((value, origin), (json!("os"), json!("file")));
            assert!(place.as_str().unwrap().ends_with("passerby.toml:1"), "{place}");
            assert_eq!(shown("public_url"), (Value::Null, json!("default"), Value::Null));
            assert_eq!(shown("allowed_origins"), (json!(["https://news.example"]), json!("deployment"), json!("1")));
            let (value, origin, place) = shown("provider.oidc.corp.client_secret");
            assert_eq!((value, origin), (json!("corp"), json!("file")), "its name");
            assert!(place.as_str().unwrap().ends_with("passerby.toml:8"), "{place}");
            assert_eq!(shown("meter.articles.limit").0, 5);
            assert_eq!((shown("meter.articles.window").0, shown("mail.webhook").0), (json!("month"), json!("set")));
            assert!(!settings.to_string().contains("hidden"), "{settings}");
            assert!(settings["settings"].as_array().unwrap().iter().all(|setting| setting["help"] != ""), "{settings}");
        })
        .await;
}

#[actix_web::test]
async fn what_a_deployment_sets_is_shown_as_it_is_in_force() {
    let folder = || {
        let mut world = World::new();
        world.app.get_or_insert_default().allowed_request_origins = vec!["https://news.example".to_owned()];
        world
    };
    let shown = async |server: &TestServer, token: &str, name: &str| {
        let settings = get(server, token, "configuration").await;
        let setting = named(&settings, name);
        (setting["value"].clone(), setting["origin"].clone(), setting["place"].clone())
    };
    let deployed = |value: Value, number: &str| (value, json!("deployment"), json!(number));
    folder()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Owner).await;
            let deploy = async |app: Value| {
                let body = json!({ "app": app }).to_string();
                let answer = ask(server, "POST /v1/admin/app/deploy").bearer(&ada).body(body).send().await;
                assert_eq!(answer.status, 201, "{answer:?}");
            };
            let origins = json!(["https://news.example"]);
            assert_eq!(shown(server, &ada, "allowed_origins").await, deployed(origins.clone(), "1"));
            assert_eq!(shown(server, &ada, "session.lifetime").await.1, "default");
            deploy(json!({ "providers": {}, "allowed_request_origins": [], "refresh_token_expiration_s": 7200 })).await;
            assert_eq!(server.server.app().allowed_origins, [] as [&str; 0]);
            assert_eq!(shown(server, &ada, "allowed_origins").await, deployed(json!([]), "2"));
            assert_eq!(shown(server, &ada, "session.lifetime").await, deployed(json!(7200), "2"));
        })
        .await;
    // what the settings say is in force whatever is deployed
    folder()
        .set("allowed_origins", "https://app.example")
        .set("session.lifetime", "9000")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let (value, origin, _) = shown(server, &ada, "allowed_origins").await;
            assert_eq!((value, origin), (json!(["https://app.example"]), json!("environment")));
            let (value, origin, _) = shown(server, &ada, "session.lifetime").await;
            assert_eq!((value, origin), (json!(9000), json!("environment")));
        })
        .await;
}

#[actix_web::test]
async fn the_state_of_the_store_is_shown() {
    let world = World::new();
    world.serve(async |server| drop(server.log_in().await)).await;
    world
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let store = get(server, &ada, "store").await;
            assert_eq!((&store["health"], &store["storage"]), (&json!("writable"), &json!("disk")));
            assert_eq!((&store["keys"]["users"], &store["keys"]["admins"]), (&json!(1), &json!(1)));
            assert_eq!((&store["recovery"]["users"], &store["recovery"]["fresh"]), (&json!(1), &json!(false)));
            assert!(store["journal"]["bytes"].as_u64().unwrap() > 0);
            let users = &store["bounds"][0];
            assert_eq!((&users["name"], &users["used"], &users["limit"]), (&json!("users"), &json!(1), &json!(10000)));
            let before = store["generations"].clone();
            assert_eq!((&before["completed"], &before["last_completed"]), (&json!(0), &Value::Null));
            server.server.store.new_generation();
            let after = loop {
                let generations = get(server, &ada, "store").await["generations"].clone();
                if generations["completed"] == 1 {
                    break generations;
                }
                actix_web::rt::task::yield_now().await;
            };
            assert!(after["current"].as_u64() > before["current"].as_u64(), "{after}");
            assert!(after["last_completed"].is_string() && after["snapshot_bytes"].as_u64().unwrap() > 0, "{after}");
        })
        .await;
}
