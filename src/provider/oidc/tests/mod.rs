//! Logins by OpenID Connect, against an issuer that plays its part on loopback.

mod browser;
mod id_tokens;
mod issuers;
mod settings;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use serde_json::json;
use url::Url;

use super::super::fetched::REFRESH_INTERVAL_S;
use super::super::metadata::FieldSettings;
use super::super::testing::{Signer, asked};
use super::*;
use crate::config::SettingsErrors;
use crate::config::secrets::{Pipes, Secrets};
use crate::outbound::testing::{Answer, Received, Script, Server, answer, client, json as json_answer};

const NOW: u64 = 1_800_000_000;
const CALLBACK: &str = "https://auth.example/v1/callback";

/// Bytes that are all different from one call to the next.
struct Counting(Mutex<u8>);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        let mut next = self.0.lock();
        *next += 1;
        out.fill(*next);
    }
}

/// What the issuer says; tests change it.
struct Issuer {
    keys: Vec<Value>,
    /// Replaces what is in the configuration.
    configuration: Value,
    token_answer: (&'static str, Value),
}

struct World {
    issuer: Arc<Mutex<Issuer>>,
    server: Server,
}

fn serve(issuer: &Mutex<Issuer>, request: &Received) -> Answer {
    let origin = format!("http://{}", request.header("host").unwrap());
    let issuer = issuer.lock();
    match request.path() {
        "/.well-known/openid-configuration" | "/common/v2.0/.well-known/openid-configuration" => {
            let mut configuration = json!({
                "issuer": origin,
                "authorization_endpoint": format!("{origin}/authorize?tenant=1"),
                "token_endpoint": format!("{origin}/token"),
                "jwks_uri": format!("{origin}/jwks"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            });
            for (key, value) in issuer.configuration.as_object().unwrap() {
                if value == "MISSING" {
                    configuration.as_object_mut().unwrap().remove(key);
                } else {
                    configuration[key] = value.clone();
                }
            }
            json_answer(&configuration.to_string())
        }
        "/jwks" => json_answer(&json!({ "keys": issuer.keys }).to_string()),
        "/token" => {
            let (status, body) = &issuer.token_answer;
            answer(status, "Content-Type: application/json\r\n", &body.to_string())
        }
        _ => answer("404 Not Found", "", ""),
    }
}

impl World {
    async fn new(keys: Vec<Value>) -> Self {
        let issuer = Issuer { keys, configuration: json!({}), token_answer: ("500 Oops", json!({})) };
        let issuer = Arc::new(Mutex::new(issuer));
        let of_server = Arc::clone(&issuer);
        let server = Server::start(move |request| serve(&of_server, request)).await;
        Self { issuer, server }
    }

    fn settings(&self) -> OidcSettings {
        OidcSettings {
            issuer: self.server.origin.clone(),
            client_id: "client".to_owned(),
            audiences: vec![],
            client_secret: Some("oidc".to_owned()),
            redirect_uris: vec!["https://app.example/done".to_owned()],
            scopes: vec!["email".to_owned()],
            response_mode: None,
            domain_restrictions: vec![],
            metadata_fields: vec![],
        }
    }

    fn provider(&self) -> Oidc {
        self.with(OidcConfig::issuer("passerby.toml", "local", self.settings(), &secrets()).unwrap())
    }

    fn with(&self, config: OidcConfig) -> Oidc {
        Oidc::new(config, self.server.client(), "passerby.toml").unwrap()
    }

    /// Google's provider, with this issuer in Google's place.
    fn google(&self, more: Value) -> Oidc {
        let mut content =
            json!({ "config": { "clientId": "client", "openId": true }, "secret_config": { "clientSecret": "oidc" } });
        content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = OidcConfig::google("providers.json", content.as_object().unwrap(), &secrets()).unwrap();
        self.with(OidcConfig { issuer: self.server.origin.clone(), ..config })
    }

    fn claims(&self) -> Value {
        json!({ "iss": self.server.origin, "sub": "248289761001", "aud": "client", "exp": NOW + 600, "iat": NOW })
    }

    fn claims_with(&self, more: Value) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    }

    fn requests(&self, path: &str) -> Vec<Received> {
        self.server.received().into_iter().filter(|request| request.path() == path).collect()
    }
}

fn secrets() -> Secrets {
    Secrets::load(&[("PASSERBY_SECRET_OIDC".to_owned(), "s3cret:/".to_owned())], None, None, &Pipes::default()).unwrap()
}

fn query(url: &str) -> HashMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// Why the issuer cannot be asked, as the log has it.
fn unavailable(outcome: Result<impl fmt::Debug, IdentityError>) -> String {
    match outcome {
        Err(IdentityError::Unavailable(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}
