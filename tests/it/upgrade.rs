//! What an earlier version left behind goes on working: its data folder, its keys, its tokens and cookies.
//!
//! `tests/fixtures/data-0.1` was written by version 0.1: a snapshot with a journal behind it, and in `people.json` what its clients hold.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::Process;
use crate::world::{Answer, CREATE, END, REFRESH, ROTATE, VIEW, call, client};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data-0.1");

/// A copy that may be written, with the modes that a checkout does not keep.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
            let is_key = from.ends_with("keys");
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(if is_key { 0o600 } else { 0o644 })).unwrap();
        }
    }
}

struct Upgraded {
    process: Process,
    client: awc::Client,
    people: Value,
}

impl Upgraded {
    fn start(folder: &Path) -> Self {
        let config = format!("{FIXTURE}/passerby.toml");
        let process = Process::start(&folder.join("data"), &["--config", &config, "--max-users", "10000"]);
        let people = serde_json::from_slice(&std::fs::read(format!("{FIXTURE}/people.json")).unwrap()).unwrap();
        Self { process, client: client(), people }
    }

    fn of(&self, who: &str, what: &str) -> String {
        self.people[who][what].as_str().unwrap_or_else(|| panic!("{who} {what}")).to_owned()
    }

    async fn ask(&self, what: &str, token: &str, body: Value) -> Answer {
        let call = call(&self.client, self.process.public.parse().unwrap(), what).bearer(token);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        call.body(body).send().await
    }

    /// The tokens for a refresh token of before.
    async fn rotated(&self, who: &str, what: &str) -> Value {
        let answer = self.ask(ROTATE, &self.of(who, what), Value::Null).await;
        assert_eq!(answer.status, 200, "{who} {what}: {answer:?}");
        let tokens = answer.json();
        assert_eq!(tokens["user_id"], self.of(who, "user"), "{who} {what}");
        tokens
    }

    async fn data(&self, tokens: &Value) -> Value {
        self.ask("GET /v1/data", tokens["access_token"].as_str().unwrap(), Value::Null).await.json()
    }

    /// The user that the check names for a cookie.
    async fn reader(&self, cookie: &str) -> String {
        let call = call(&self.client, self.process.public.parse().unwrap(), "GET /verify?create=auto");
        let call = call.header("user-agent", "Mozilla/5.0").header("x-forwarded-uri", "/page");
        let answer = call.header("cookie", cookie).send().await;
        assert_eq!(answer.status, 204, "{answer:?}");
        answer.header("x-passerby-user").unwrap().to_owned()
    }
}

#[actix_web::test]
async fn a_data_folder_of_version_0_1_is_served_with_all_that_its_clients_hold() {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(FIXTURE).join("data"), &folder.path().join("data"));
    let upgraded = Upgraded::start(folder.path());

    // an anonymous user of /v1: the grace of the token before, the document, a repeated operation, a second screen
    upgraded.rotated("v1_anonymous", "before").await;
    let tokens = upgraded.rotated("v1_anonymous", "refresh").await;
    assert_eq!(upgraded.data(&tokens).await, json!({"todos": {"a": 1}, "n": 12}));
    let again = call(&upgraded.client, upgraded.process.public.parse().unwrap(), "POST /v1/data/increment")
        .bearer(tokens["access_token"].as_str().unwrap())
        .header("idempotency-key", "twice")
        .body(json!({"path": "/n", "by": 5}).to_string());
    assert_eq!(again.send().await.json()["value"], 12, "the first result");
    upgraded.rotated("v1_anonymous", "other_screen").await;
    upgraded.rotated("young", "refresh").await;

    // an account: its sessions of all beginnings, its ways to log in, the user who became part of it
    for session in ["linked", "by_key", "by_merge"] {
        let tokens = upgraded.rotated("account", session).await;
        let expected = json!({"list": [1, 2], "kept": true, "guest": 1, "later": 2});
        assert_eq!(upgraded.data(&tokens).await, expected, "{session}");
    }
    let key = json!({"provider": "api-key", "key": upgraded.of("account", "key")});
    let password = json!({
        "provider": "local-userpass",
        "email": upgraded.of("account", "email"),
        "password": upgraded.of("account", "password"),
    });
    for credential in [key, password] {
        let call = call(&upgraded.client, upgraded.process.public.parse().unwrap(), CREATE);
        let answer = call.body(credential.to_string()).send().await;
        assert_eq!((answer.status, answer.json()["user_id"].as_str()), (201, Some(&*upgraded.of("account", "user"))));
    }
    let tokens = upgraded.rotated("account", "linked").await;
    let export = upgraded.ask("GET /v1/user/export", tokens["access_token"].as_str().unwrap(), Value::Null).await;
    assert!(export.text().contains(&upgraded.of("account", "merged")), "{export:?}");

    // users of the App Services API keep the refresh token of their first login
    for who in ["sdk_anonymous", "sdk_account"] {
        let answer = upgraded.ask(REFRESH, &upgraded.of(who, "refresh"), Value::Null).await;
        assert_eq!(answer.status, 201, "{who}: {answer:?}");
        let session = upgraded.ask(VIEW, answer.json()["access_token"].as_str().unwrap(), Value::Null).await.json();
        assert_eq!(session["user_id"], upgraded.of(who, "user"));
        assert_eq!(session["anonymous"], who == "sdk_anonymous");
    }

    // readers, also the one who was not stored yet
    assert_eq!(upgraded.reader(&upgraded.of("reader", "cookie")).await, upgraded.of("reader", "user"));
    assert_eq!(upgraded.reader(&upgraded.of("reader", "lazy")).await, upgraded.of("reader", "user"));
    assert_eq!(upgraded.reader(&upgraded.of("lazy_reader", "cookie")).await, upgraded.of("lazy_reader", "user"));

    let gone = upgraded.ask(ROTATE, &upgraded.of("gone", "refresh"), Value::Null).await;
    assert_eq!(gone.status, 401, "who left stays gone");

    // what this version writes behind it is read again
    let tokens = upgraded.rotated("young", "refresh").await;
    let put = upgraded.ask("PUT /v1/data", tokens["access_token"].as_str().unwrap(), json!({"new": 1})).await;
    assert_eq!(put.status, 200, "{put:?}");
    let people = upgraded.people;
    assert_eq!(upgraded.process.stop(), Some(0));
    let upgraded = Upgraded { people, ..Upgraded::start(folder.path()) };
    let again = upgraded.ask(ROTATE, tokens["refresh_token"].as_str().unwrap(), Value::Null).await.json();
    assert_eq!(upgraded.data(&again).await, json!({"new": 1}));
    let ended = upgraded.ask(END, again["access_token"].as_str().unwrap(), Value::Null).await;
    assert_eq!(ended.status, 204, "{ended:?}");
}
