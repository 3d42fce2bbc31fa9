//! Accounts over HTTP: merging with all its conflicts, other screens, a user's own sessions, fresh logins, throttled guesses.

mod keys;
mod merging;
mod passwords;
mod sessions;

use awc::ws::Frame;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use passerby_actors::testkit::{DAY_S, values};
use serde_json::{Value, json};

use crate::world::{Answer, CREATE, END, LOGIN, PROFILE, REFRESH, ROTATE, TestServer, Tokens, VIEW, World};

const IDENTITIES: &str = "POST /v1/user/identities";
const TRANSFER: &str = "POST /v1/session/transfer";
const SESSIONS: &str = "GET /v1/user/sessions";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A world with JWTs of a second system, passwords without confirmation, and API keys.
#[track_caller]
pub(crate) fn world() -> World {
    world_with("")
}

/// The same with more in `passerby.toml`.
pub(crate) fn world_with(more: &str) -> World {
    let file = "[provider.custom_token]\nconfig = { audience = \"test\", signingAlgorithm = \"HS256\" }\n\
                secret_config = { signingKeys = [\"jwt-key\"] }\n\
                [provider.local_userpass]\nconfig = { autoConfirm = true }\n[provider.api_key]\nenabled = true\n";
    World::new().file(&format!("{file}{more}")).secret("JWT_KEY", SECRET)
}

/// The second system's JWT about this person, good for years of a test's time.
pub(crate) fn jwt(subject: &str) -> String {
    jwt_with(json!({ "sub": subject }))
}

/// The same with these claims.
pub(crate) fn jwt_with(mut claims: Value) -> String {
    claims["aud"] = json!("test");
    claims["exp"] = json!(4_000_000_000_u32);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

pub(crate) async fn log_in_as(server: &TestServer, subject: &str) -> Tokens {
    let body = json!({ "provider": "custom-token", "token": jwt(subject) });
    let answer = server.call(CREATE).body(body.to_string()).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.tokens()
}

async fn link(server: &TestServer, token: &str, subject: &str, more: Value) -> Answer {
    let mut body = json!({ "provider": "custom-token", "token": jwt(subject) });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.call(IDENTITIES).bearer(token).body(body.to_string()).send().await
}

async fn view(server: &TestServer, token: &str) -> Value {
    let answer = server.call(VIEW).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Someone's API key, and its id.
async fn key(server: &TestServer, owner: &Tokens, name: &str) -> (String, String) {
    let body = json!({ "name": name }).to_string();
    let answer = server.call("POST /v1/user/api-keys").bearer(&owner.access).body(body).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = |field: &str| answer.json()[field].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

async fn sessions(server: &TestServer, owner: &Tokens) -> Vec<(String, Value)> {
    let listed = server.call(SESSIONS).bearer(&owner.access).send().await.json();
    let entry = |entry: &Value| (entry["method"].as_str().unwrap().to_owned(), entry["api_key_id"].clone());
    listed["sessions"].as_array().unwrap().iter().map(entry).collect()
}
