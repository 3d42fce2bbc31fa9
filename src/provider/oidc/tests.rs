//! Logins by OpenID Connect, against an issuer that plays its part on loopback.

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
use crate::config::secrets::Secrets;
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
    Secrets::load(&[("PASSERBY_SECRET_OIDC".to_owned(), "s3cret:/".to_owned())], None, None).unwrap()
}

fn query(url: &str) -> HashMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn an_id_token_proves_issuer_and_subject() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let world = World::new(signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect()).await;
    let provider = world.provider();
    for signer in &signers {
        let token = signer.token(signer.algorithm(), &world.claims());
        let identity = provider.verify_id_token(&token, None, NOW).await.unwrap();
        assert_eq!(identity.provider, "oidc-local");
        assert_eq!(identity.external, format!("{} 248289761001", world.server.origin));
        assert!(identity.data.is_empty());
    }
    assert_eq!(world.server.received().len(), 2, "configuration and keys are fetched once");
}

/// S24, S26, S30.
#[tokio::test]
async fn a_token_that_is_not_for_us_is_refused() {
    use IdentityError::{Audience, Claim, Expired, IssuedInFuture, Issuer, Malformed, NotYetValid};
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.provider();
    let long = "x".repeat(MAX_EXTERNAL);
    for (more, expected) in [
        (json!({ "exp": NOW - LEEWAY_S + 1 }), Ok(())),
        (json!({ "exp": NOW - LEEWAY_S }), Err(Expired)),
        (json!({ "exp": null }), Err(Claim("exp"))),
        (json!({ "nbf": NOW + LEEWAY_S }), Ok(())),
        (json!({ "nbf": NOW + LEEWAY_S + 1 }), Err(NotYetValid)),
        (json!({ "iat": NOW + LEEWAY_S }), Ok(())),
        (json!({ "iat": NOW + LEEWAY_S + 1 }), Err(IssuedInFuture)),
        (json!({ "iat": null }), Err(Claim("iat"))),
        (json!({ "iss": "https://accounts.example" }), Err(Issuer)),
        (json!({ "iss": format!("{}/", world.server.origin) }), Err(Issuer)),
        (json!({ "aud": "other" }), Err(Audience)),
        (json!({ "aud": [] }), Err(Audience)),
        (json!({ "aud": ["client", "other"], "azp": "client" }), Ok(())),
        (json!({ "aud": ["client", "other"], "azp": "other" }), Err(Audience)),
        (json!({ "aud": ["client", "other"] }), Err(Audience)),
        (json!({ "aud": ["other", "third"], "azp": "client" }), Err(Audience)),
        (json!({ "aud": ["client"], "azp": ["client"] }), Err(Audience)),
        (json!({ "aud": ["client"], "azp": "client" }), Ok(())),
        (json!({ "azp": "other" }), Err(Audience)),
        (json!({ "sub": "" }), Err(Claim("sub"))),
        (json!({ "sub": long }), Err(Claim("sub"))),
        (json!({ "sub": 7 }), Err(Claim("sub"))),
    ] {
        let outcome = provider.verify_id_token(&signer.token("k", &world.claims_with(more.clone())), None, NOW).await;
        assert_eq!(outcome.map(|_| ()), expected, "{more}");
    }
    for text in ["", "a.b.c", "..", &"x".repeat(MAX_ID_TOKEN + 1)] {
        assert_eq!(provider.verify_id_token(text, None, NOW).await, Err(Malformed));
    }
}

/// S24, S25.
#[tokio::test]
async fn only_the_issuers_public_keys_verify() {
    let (signer, attacker, shared) = (Signer::rsa(), Signer::rsa(), Signer::shared("s3cret:/"));
    let world = World::new(vec![signer.jwk("k"), shared.jwk("shared")]).await;
    let provider = world.provider();
    let claims = world.claims();
    let confused = Signer::shared(&signer.public_pem());
    let algorithm = |name: &str| IdentityError::Algorithm(name.to_owned());
    let cases = [
        (attacker.token("k", &claims), IdentityError::BadSignature),
        (
            attacker.token_with(&json!({ "alg": "RS256", "kid": "k", "jwk": attacker.jwk("k") }), &claims),
            IdentityError::BadSignature,
        ),
        (shared.token("shared", &claims), algorithm("HS256")),
        (shared.token("k", &claims), algorithm("HS256")),
        (confused.token("k", &claims), algorithm("HS256")),
        (signer.token_with(&json!({ "alg": "none" }), &claims), algorithm("none")),
        (signer.token_with(&json!({ "alg": "RS512", "kid": "k" }), &claims), algorithm("RS512")),
        (signer.token_with(&json!({ "alg": "RS256", "kid": "k", "typ": "at+jwt" }), &claims), IdentityError::Malformed),
        (signer.token_with(&json!({ "alg": "RS256", "kid": "k", "crit": ["b64"] }), &claims), IdentityError::Malformed),
    ];
    for (token, expected) in cases {
        assert_eq!(provider.verify_id_token(&token, None, NOW).await, Err(expected), "{token}");
    }
}

#[tokio::test]
async fn a_nonce_that_the_client_names_must_be_there() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.provider();
    let with = signer.token("k", &world.claims_with(json!({ "nonce": "n-1" })));
    let without = signer.token("k", &world.claims());
    for (token, nonce, expected) in [
        (&with, Some("n-1"), Ok(())),
        (&with, None, Ok(())),
        (&with, Some("n-2"), Err(IdentityError::Nonce)),
        (&without, Some("n-1"), Err(IdentityError::Nonce)),
    ] {
        assert_eq!(provider.verify_id_token(token, nonce, NOW).await.map(|_| ()), expected);
    }
}

/// S29, S30.
#[tokio::test]
async fn a_new_key_is_found_within_a_minute() {
    let (old, new) = (Signer::rsa(), Signer::rsa());
    let world = World::new(vec![old.jwk("old")]).await;
    let provider = world.provider();
    provider.verify_id_token(&old.token("old", &world.claims()), None, NOW).await.unwrap();
    world.issuer.lock().keys = vec![old.jwk("old"), new.jwk("new")];
    let token = new.token("new", &world.claims());
    for second in 0..REFRESH_INTERVAL_S {
        let outcome = provider.verify_id_token(&token, None, NOW + second).await;
        assert_eq!(outcome, Err(IdentityError::UnknownKey));
    }
    assert_eq!(world.requests("/jwks").len(), 1);
    provider.verify_id_token(&token, None, NOW + REFRESH_INTERVAL_S).await.unwrap();
    assert_eq!(world.requests("/jwks").len(), 2);
}

/// Why the issuer cannot be asked, as the log has it.
fn unavailable(outcome: Result<impl fmt::Debug, IdentityError>) -> String {
    match outcome {
        Err(IdentityError::Unavailable(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What is needed and wrong is named; the answer says nothing of it.
#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_named() {
    let signer = Signer::rsa();
    for (key, value, expected) in [
        (
            "issuer",
            json!("https://accounts.example"),
            "issuer is \"https://accounts.example\", not \"http://127.0.0.1:",
        ),
        ("issuer", json!("MISSING"), "in which issuer is missing"),
        ("issuer", json!(5), "in which issuer is no text but 5"),
        ("issuer", json!(""), "issuer is \"\", not"),
        ("jwks_uri", json!("https://10.0.0.1/jwks"), "https://10.0.0.1: has an address that is not public"),
        ("jwks_uri", json!("http://keys.example/jwks"), "http://keys.example: is not https"),
        ("jwks_uri", json!("/jwks"), "in which jwks_uri is no absolute URL but \"/jwks\""),
        ("jwks_uri", json!(""), "in which jwks_uri is no absolute URL but \"\""),
        ("jwks_uri", json!(["x"]), "in which jwks_uri is no text but [\"x\"]"),
        ("jwks_uri", json!("MISSING"), "in which jwks_uri is missing"),
    ] {
        let world = World::new(vec![signer.jwk("k")]).await;
        world.issuer.lock().configuration = json!({ key: value });
        let outcome = world.provider().verify_id_token(&signer.token("k", &world.claims()), None, NOW).await;
        assert_eq!(outcome.as_ref().unwrap_err().to_string(), "the provider cannot be asked now");
        let why = unavailable(outcome);
        assert!(why.contains(expected), "{key}: {why}");
    }
    for (key, value, expected) in [
        ("authorization_endpoint", json!("authorize"), "authorization_endpoint is no absolute URL but \"authorize\""),
        ("authorization_endpoint", json!(null), "authorization_endpoint is missing"),
        // before a browser is sent to the issuer
        ("token_endpoint", json!("MISSING"), "in which token_endpoint is missing"),
        ("token_endpoint", json!("/token"), "in which token_endpoint is no absolute URL but \"/token\""),
        ("token_endpoint", json!("https://10.0.0.1/token"), "https://10.0.0.1: has an address that is not public"),
        ("token_endpoint", json!("http://tokens.example/token"), "http://tokens.example: is not https"),
        (
            "authorization_response_iss_parameter_supported",
            json!(1),
            "authorization_response_iss_parameter_supported is neither true nor false but 1",
        ),
    ] {
        let world = World::new(vec![signer.jwk("k")]).await;
        world.issuer.lock().configuration = json!({ key: value });
        let provider = world.provider();
        let why = unavailable(provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await);
        assert!(why.contains(expected), "{key}: {why}");
        // a client that hands over a token needs none of it
        provider.verify_id_token(&signer.token("k", &world.claims()), None, NOW).await.unwrap();
    }
    let world = World::new(vec![]).await;
    let why = unavailable(world.provider().verify_id_token(&signer.token("k", &world.claims()), None, NOW).await);
    assert!(why.contains("no key at its jwks_uri that can be used"), "{why}");
}

/// Unneeded fields may be blank, relative, of a wrong type or missing.
#[tokio::test]
async fn odd_fields_that_nobody_needs_spoil_no_login() {
    let signer = Signer::rsa();
    let nonce = BASE64.encode([2; 32]);
    for configuration in [
        json!({ "userinfo_endpoint": "", "registration_endpoint": "", "service_documentation": "", "op_tos_uri": "" }),
        json!({ "userinfo_endpoint": "/me", "end_session_endpoint": "logout", "op_policy_uri": "policy.html" }),
        json!({ "claims_parameter_supported": "true", "request_parameter_supported": "False", "require_request_uri_registration": "" }),
        json!({ "response_types_supported": "MISSING", "subject_types_supported": 7, "id_token_signing_alg_values_supported": "RS256" }),
        json!({ "scopes_supported": [7], "claims_supported": {}, "grant_types_supported": null, "acr_values_supported": "" }),
        json!({ "token_endpoint_auth_methods_supported": "", "token_endpoint_auth_signing_alg_values_supported": 1 }),
        json!({ "authorization_response_iss_parameter_supported": "" }),
        json!({ "authorization_response_iss_parameter_supported": "false" }),
        json!({ "authorization_response_iss_parameter_supported": null }),
    ] {
        let world = World::new(vec![signer.jwk("k"), json!({ "kty": "RSA", "x5u": "", "n": 7 })]).await;
        world.issuer.lock().configuration = configuration.clone();
        let provider = world.provider();
        provider.verify_id_token(&signer.token("k", &world.claims()), None, NOW).await.unwrap();
        let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
        let token = signer.token("k", &world.claims_with(json!({ "nonce": nonce })));
        world.issuer.lock().token_answer = ("200 OK", json!({ "id_token": token }));
        let outcome = provider.finish(pending, "code", None, NOW).await;
        assert!(outcome.is_ok(), "{configuration}: {outcome:?}");
    }
}

/// RFC 9207: what an issuer promises to say is demanded.
#[tokio::test]
async fn an_answer_names_its_issuer_where_that_is_promised() {
    let signer = Signer::rsa();
    let nonce = BASE64.encode([2; 32]);
    for (promise, promised) in [(json!(true), true), (json!("True"), true), (json!(false), false)] {
        let world = World::new(vec![signer.jwk("k")]).await;
        world.issuer.lock().configuration = json!({ "authorization_response_iss_parameter_supported": promise });
        let provider = world.provider();
        let origin = world.server.origin.clone();
        for (issuer, expected) in [
            (Some(origin.as_str()), Ok(())),
            (Some("https://accounts.example"), Err(IdentityError::Issuer)),
            (None, if promised { Err(IdentityError::NoIssuer) } else { Ok(()) }),
        ] {
            let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
            assert_eq!(provider.check_answer(&pending, issuer, NOW).await, expected, "{promise} {issuer:?}");
            let token = signer.token("k", &world.claims_with(json!({ "nonce": nonce })));
            world.issuer.lock().token_answer = ("200 OK", json!({ "id_token": token }));
            let asked_before = world.requests("/token").len();
            let outcome = provider.finish(pending, "code", issuer, NOW).await;
            assert_eq!(outcome.map(drop), expected, "{promise} {issuer:?}");
            // a code that may be a different issuer's is shown to no issuer
            let asked = world.requests("/token").len() - asked_before;
            assert_eq!(asked, usize::from(expected.is_ok()), "{promise} {issuer:?}");
        }
    }
}

/// A setting names other clients of the issuer whose tokens are taken; a code's token is for us all the same.
#[tokio::test]
async fn tokens_for_other_clients_are_taken_if_they_are_named() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let settings = OidcSettings { audiences: vec!["ios".to_owned(), "android".to_owned()], ..world.settings() };
    let provider = world.with(OidcConfig::issuer("passerby.toml", "local", settings, &secrets()).unwrap());
    for (more, taken) in [
        (json!({}), true),
        (json!({ "aud": "ios" }), true),
        (json!({ "aud": "ios", "azp": "ios" }), true),
        (json!({ "aud": ["ios", "android"] }), true),
        (json!({ "aud": ["ios", "project"], "azp": "ios" }), true),
        (json!({ "aud": ["client", "project"], "azp": "android" }), true),
        (json!({ "aud": ["ios", "project"] }), false),
        (json!({ "aud": ["ios", "project"], "azp": "project" }), false),
        (json!({ "aud": "project", "azp": "ios" }), false),
        (json!({ "aud": "web" }), false),
    ] {
        let outcome = provider.verify_id_token(&signer.token("k", &world.claims_with(more.clone())), None, NOW).await;
        assert_eq!(outcome.map(drop), if taken { Ok(()) } else { Err(IdentityError::Audience) }, "{more}");
    }
    for (more, taken) in [
        (json!({ "aud": "client" }), true),
        (json!({ "aud": ["client", "ios"] }), true),
        (json!({ "aud": ["client", "project"], "azp": "client" }), true),
        (json!({ "aud": "ios" }), false),
        (json!({ "aud": ["client", "ios"], "azp": "ios" }), false),
    ] {
        let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
        let mut claims = world.claims_with(more.clone());
        claims["nonce"] = json!(BASE64.encode([2; 32]));
        world.issuer.lock().token_answer = ("200 OK", json!({ "id_token": signer.token("k", &claims) }));
        let outcome = provider.finish(pending, "code", None, NOW).await;
        assert_eq!(outcome.map(drop), if taken { Ok(()) } else { Err(IdentityError::Audience) }, "{more}");
    }
    let empty = OidcSettings { audiences: vec![String::new()], ..world.settings() };
    let error = OidcConfig::issuer("passerby.toml", "local", empty, &secrets()).unwrap_err().to_string();
    assert_eq!(error, "passerby.toml: provider.oidc.local.audiences: has an empty text in it");
}

/// Microsoft's issuers for several tenants publish a name with a place for the tenant, whose tokens fill it in.
#[tokio::test]
async fn an_issuer_of_several_tenants_is_checked_by_its_template() {
    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const OTHER: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let origin = world.server.origin.clone();
    let of = |tenant: &str| format!("{origin}/{tenant}/v2.0");
    world.issuer.lock().configuration = json!({ "issuer": of("{tenantid}") });
    let configured = |issuer: String| {
        let settings = OidcSettings { issuer, ..world.settings() };
        world.with(OidcConfig::issuer("passerby.toml", "local", settings, &secrets()).unwrap())
    };
    for issuer in [of("common"), of("{tenantid}")] {
        let provider = configured(issuer.clone());
        for (iss, tid, expected) in [
            (of(TENANT), json!(TENANT), Ok(format!("{} 248289761001", of(TENANT)))),
            (of(OTHER), json!(OTHER), Ok(format!("{} 248289761001", of(OTHER)))),
            (of(TENANT), json!(OTHER), Err(IdentityError::Issuer)),
            (of(TENANT), json!(null), Err(IdentityError::Issuer)),
            (of("common"), json!("common"), Err(IdentityError::Issuer)),
            (of("{tenantid}"), json!("{tenantid}"), Err(IdentityError::Issuer)),
            (of(&format!("{TENANT}/x")), json!(format!("{TENANT}/x")), Err(IdentityError::Issuer)),
            (format!("https://accounts.example/{TENANT}/v2.0"), json!(TENANT), Err(IdentityError::Issuer)),
        ] {
            let token = signer.token("k", &world.claims_with(json!({ "iss": iss, "tid": tid })));
            let outcome = provider.verify_id_token(&token, None, NOW).await;
            assert_eq!(outcome.map(|identity| identity.external), expected, "{issuer} {iss} {tid}");
        }
    }
    // a name with a placeholder belongs only to addresses that have one of the words there
    let why = unavailable(world.provider().verify_id_token(&signer.token("k", &world.claims()), None, NOW).await);
    assert!(why.contains("of another issuer"), "{why}");
}

#[tokio::test]
async fn a_login_goes_to_the_issuer_and_comes_back() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.provider();
    let (url, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
    assert!(url.starts_with(&world.server.url("/authorize?tenant=1&")), "{url}");
    let sent = query(&url);
    let state = BASE64.encode([1; 32]);
    let (nonce, verifier) = (BASE64.encode([2; 32]), BASE64.encode([3; 32]));
    let challenge = BASE64.encode(digest(&SHA256, verifier.as_bytes()));
    for (key, value) in [
        ("response_type", "code"),
        ("client_id", "client"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid email"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(sent.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(pending.state(), state);
    assert!(!url.contains(&verifier) && !url.contains("s3cret") && !format!("{pending:?}").contains(&state));

    let token = signer.token("k", &world.claims_with(json!({ "nonce": nonce })));
    let body = json!({ "access_token": "a", "token_type": "Bearer", "id_token": token });
    world.issuer.lock().token_answer = ("200 OK", body);
    let identity = provider.finish(pending, "the code", Some(&world.server.origin), NOW).await.unwrap();
    assert_eq!(identity.external, format!("{} 248289761001", world.server.origin));
    let [request] = world.requests("/token").try_into().unwrap();
    let form = query(&format!("https://x/?{}", request.body));
    for (key, value) in [
        ("grant_type", "authorization_code"),
        ("code", "the code"),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &verifier),
    ] {
        assert_eq!(form.get(key).map(String::as_str), Some(value), "{key}");
    }
    // RFC 6749 §2.3.1: both are form-encoded first
    let basic = base64::engine::general_purpose::STANDARD.encode("client:s3cret%3A%2F");
    assert_eq!(request.header("authorization"), Some(format!("Basic {basic}").as_str()));
    assert!(!request.body.contains("s3cret"));
}

#[tokio::test]
async fn the_client_authenticates_as_the_issuer_takes_it() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    world.issuer.lock().configuration = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let provider = world.provider();
    let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
    assert!(provider.finish(pending, "code", None, NOW).await.is_err());
    let [request] = world.requests("/token").try_into().unwrap();
    let form = query(&format!("https://x/?{}", request.body));
    assert_eq!(form.get("client_secret").map(String::as_str), Some("s3cret:/"));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn a_return_that_is_not_of_this_login_is_refused() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.provider();
    let body = |more: Value| {
        let token = signer.token("k", &world.claims_with(more));
        ("200 OK", json!({ "access_token": "a", "token_type": "Bearer", "id_token": token }))
    };
    let nonce = BASE64.encode([2; 32]);
    let cases = [
        (body(json!({ "nonce": nonce, "azp": "client" })), None, Ok(())),
        (
            body(json!({ "nonce": nonce, "iat": NOW + 3600 })),
            None,
            Err("issued in the future: the clocks of its issuer and of this server differ"),
        ),
        (body(json!({ "nonce": nonce })), Some("https://accounts.example"), Err("the token's issuer is not accepted")),
        (body(json!({ "nonce": "another" })), None, Err("the token's nonce is not the one of this login")),
        (body(json!({})), None, Err("the token's nonce is not the one of this login")),
        (body(json!({ "nonce": nonce, "azp": "other" })), None, Err("the token's audience is not accepted")),
        (
            ("400 Bad Request", json!({ "error": "invalid_grant" })),
            None,
            Err("the issuer refuses the authorization code"),
        ),
        (
            ("401 Unauthorized", json!({ "error": "invalid_client" })),
            None,
            Err("the token endpoint refuses the client id or its secret"),
        ),
        (
            (
                "401 Unauthorized",
                json!({ "error": "invalid_client", "error_description": "the\nsecret\u{1b} expired" }),
            ),
            None,
            Err("refuses the client id or its secret: the?secret? expired"),
        ),
        (
            ("400 Bad Request", json!({ "error": "invalid_scope" })),
            None,
            Err("refuses the token request with \"invalid_scope\""),
        ),
        (("500 Oops", json!({})), None, Err("the token endpoint gives an answer of status 500 that is not understood")),
        (
            ("200 OK", json!({ "access_token": "a", "token_type": "Bearer" })),
            None,
            Err("the token endpoint gives no ID token"),
        ),
        (("200 OK", json!([])), None, Err("that is not understood")),
        (("302 Found", json!({})), None, Err("answers with a redirect, which is not followed")),
    ];
    for (answer, issuer, expected) in cases {
        world.issuer.lock().token_answer = answer;
        let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
        match (provider.finish(pending, "the-code", issuer, NOW).await, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(expected)) => {
                let text = match error {
                    IdentityError::Unavailable(why) => why.to_string(),
                    error => error.to_string(),
                };
                assert!(text.ends_with(expected), "{text}");
                assert!(!text.contains("the-code"), "{text}");
            }
            (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
        }
    }
}

/// A different server may issue the tokens: it is named, where it is the one that is wrong.
#[tokio::test]
async fn a_token_endpoint_that_does_not_answer_as_one_is_named() {
    let signer = Signer::rsa();
    let (world, elsewhere) = (World::new(vec![signer.jwk("k")]).await, World::new(vec![]).await);
    let origin = &elsewhere.server.origin;
    world.issuer.lock().configuration = json!({ "token_endpoint": format!("{origin}/nowhere") });
    let config = OidcConfig::issuer("passerby.toml", "local", world.settings(), &secrets()).unwrap();
    let outbound = client(&[&world.server.origin, origin], Script::default());
    let provider = Oidc::new(config, outbound, "passerby.toml").unwrap();
    let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
    let why = unavailable(provider.finish(pending, "the-code", None, NOW).await);
    assert_eq!(why, format!("{origin}: the token endpoint gives an answer of status 404 that is not understood"));
}

/// A claim that the user's data would keep is kept as it is written, or refused.
#[tokio::test]
async fn a_claim_with_a_number_that_would_be_rounded_is_refused_where_it_is_kept() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let field = |name: &str| FieldSettings { name: name.to_owned(), field_name: None, required: false };
    let settings = OidcSettings { metadata_fields: vec![field("org.id"), field("plan")], ..world.settings() };
    let provider = world.with(OidcConfig::issuer("passerby.toml", "local", settings, &secrets()).unwrap());
    for (written, expected) in [
        (r#""org":{"id":18446744073709551615}"#, Ok(())),
        (r#""org":{"id":18446744073709551616}"#, Err(IdentityError::FieldInexact("id".to_owned()))),
        (r#""plan":[0.12345678901234567891]"#, Err(IdentityError::FieldInexact("plan".to_owned()))),
        (r#""org":{"id":1,"other":18446744073709551616}"#, Ok(())),
    ] {
        let claims = world.claims().to_string().replacen('{', &format!("{{{written},"), 1);
        let token = signer.token_of(&json!({ "alg": "RS256", "kid": "k" }), &claims);
        assert_eq!(provider.verify_id_token(&token, None, NOW).await.map(drop), expected, "{written}");
    }
}

/// A token that was issued to an app is accepted from that app, and not as the answer to a code of ours.
#[tokio::test]
async fn a_google_login_in_the_browser_is_for_the_client_alone() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.google(json!({}));
    for (party, expected) in [("client", Ok(())), ("android-app", Err(IdentityError::Audience))] {
        let (_, pending) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
        let token = signer.token("k", &world.claims_with(json!({ "nonce": BASE64.encode([2; 32]), "azp": party })));
        let body = json!({ "access_token": "a", "token_type": "Bearer", "id_token": token });
        world.issuer.lock().token_answer = ("200 OK", body);
        assert_eq!(provider.finish(pending, "code", None, NOW).await.map(|_| ()), expected, "{party}");
        provider.verify_id_token(&token, None, NOW).await.unwrap();
    }
}

/// Apple answers by a form as soon as it is asked for a scope, and says so when it is not told.
#[tokio::test]
async fn an_issuer_is_asked_for_an_answer_by_a_form() {
    let world = World::new(vec![]).await;
    let asked = async |settings: OidcSettings, issuer: Option<&str>| {
        let mut config = OidcConfig::issuer("passerby.toml", "local", settings, &secrets()).unwrap();
        if issuer.is_some() {
            config.issuer = world.server.origin.clone();
        }
        let (url, _) = world.with(config).begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
        query(&url).remove("response_mode")
    };
    let apple = |scopes: &[&str]| OidcSettings {
        issuer: "https://appleid.apple.com".to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..world.settings()
    };
    assert_eq!(asked(world.settings(), None).await, None);
    let by_form = OidcSettings { response_mode: Some(ResponseMode::FormPost), ..world.settings() };
    assert_eq!(asked(by_form, None).await.as_deref(), Some("form_post"));
    assert_eq!(asked(apple(&["name", "email"]), Some("apple")).await.as_deref(), Some("form_post"));
    assert_eq!(asked(apple(&[]), Some("apple")).await, None);
    let by_address = OidcSettings { response_mode: Some(ResponseMode::Query), ..apple(&["email"]) };
    assert_eq!(asked(by_address, Some("apple")).await.as_deref(), Some("query"));
}

#[tokio::test]
async fn a_redirect_uri_is_compared_byte_for_byte() {
    let world = World::new(vec![]).await;
    let provider = world.provider();
    assert_eq!(provider.redirect_uri(Some("https://app.example/done")), Ok("https://app.example/done"));
    assert_eq!(provider.redirect_uri(None), Ok("https://app.example/done"));
    for other in [
        "https://app.example/done/",
        "https://APP.example/done",
        "https://app.example:443/done",
        "https://app.example/%64one",
        "https://app.example/done?x",
        "",
    ] {
        assert_eq!(provider.redirect_uri(Some(other)), Err(IdentityError::RedirectUri), "{other}");
    }
    let two = OidcSettings {
        redirect_uris: vec!["https://a.example".to_owned(), "http://localhost:3000/b".to_owned()],
        ..world.settings()
    };
    let two = world.with(OidcConfig::issuer("passerby.toml", "local", two, &secrets()).unwrap());
    assert_eq!(two.redirect_uri(None), Err(IdentityError::RedirectUri));
    assert_eq!(two.redirect_uri(Some("https://a.example")), Ok("https://a.example"));
    // what is sent is what was given: no slash is added
    let (url, _) = two.begin("https://a.example", &Counting(Mutex::new(0)), NOW).await.unwrap();
    assert_eq!(query(&url)["redirect_uri"], "https://a.example");
}

#[tokio::test]
async fn a_google_account_has_its_fields_and_domains() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.google(json!({
        "metadata_fields": [{ "required": true, "name": "email" }, { "required": false, "name": "first_name" }],
        "domain_restrictions": ["Example.com", "gmail.com"],
    }));
    let account =
        |email: &str, verified: Value, hosted: Value| {
            signer.token("k", &world.claims_with(json!({
            "email": email, "email_verified": verified, "hd": hosted, "given_name": "Jean", "azp": "android-app",
        })))
        };
    let good = provider
        .verify_id_token(&account("jean@example.com", json!(true), json!("example.com")), None, NOW)
        .await
        .unwrap();
    assert_eq!(good.provider, "oauth2-google");
    assert_eq!(Value::Object(good.data), json!({ "email": "jean@example.com", "first_name": "Jean" }));
    for (email, verified, hosted, expected) in [
        ("jean@EXAMPLE.com", json!(true), json!("example.com"), true),
        ("jean@gmail.com", json!("true"), Value::Null, true),
        ("jean@example.com", json!(false), json!("example.com"), false),
        ("jean@example.com", json!(true), Value::Null, false),
        ("jean@sub.example.com", json!(true), json!("example.com"), false),
        ("jean@other.example", json!(true), json!("other.example"), false),
        ("example.com", json!(true), json!("example.com"), false),
    ] {
        let outcome = provider.verify_id_token(&account(email, verified, hosted), None, NOW).await;
        assert_eq!(outcome.is_ok(), expected, "{email} {outcome:?}");
    }
    let (url, _) = provider.begin(CALLBACK, &Counting(Mutex::new(0)), NOW).await.unwrap();
    assert_eq!(query(&url)["scope"], "openid email profile");
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

#[test]
fn what_cannot_be_honoured_is_refused_with_file_key_and_reason() {
    let google = |more: Value| {
        let mut content =
            json!({ "config": { "clientId": "c", "openId": true }, "secret_config": { "clientSecret": "oidc" } });
        content.as_object_mut().unwrap().extend(object(&more).clone());
        OidcConfig::google("providers.json", object(&content), &secrets()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(google(json!({ "name": "oauth2-google", "type": "oauth2-google", "disabled": false })), Ok(()));
    for (more, expected) in [
        (
            json!({ "config": { "clientId": "c" } }),
            "config.openId: must be true: Google accounts log in by OpenID Connect alone",
        ),
        (json!({ "config": { "openId": true } }), "config.clientId: is missing"),
        (
            json!({ "config": { "openId": true, "issuer": "x" } }),
            "config.issuer: there is no such option, only clientId, openId",
        ),
        (json!({ "secret_config": {} }), "secret_config.clientSecret: is missing"),
        (
            json!({ "secret_config": { "clientSecret": "x" } }),
            "secret_config.clientSecret: there is no secret \"x\": set PASSERBY_SECRET_X or put it into the secrets file",
        ),
        (
            json!({ "metadata_fields": [{ "name": "birthday" }] }),
            "metadata_fields[0].name: \"birthday\" is not one of name, first_name, last_name, picture, email",
        ),
        (
            json!({ "metadata_fields": [{ "name": "email" }, { "name": "email" }] }),
            "metadata_fields[1].name: two fields are called \"email\"",
        ),
        (
            json!({ "redirect_uris": ["http://app.example"] }),
            "redirect_uris: \"http://app.example\" is not a redirect URI: expected https, or http on loopback, and no fragment",
        ),
        (
            json!({ "redirect_uris": ["https://app.example/#x"] }),
            "redirect_uris: \"https://app.example/#x\" is not a redirect URI: expected https, or http on loopback, and no fragment",
        ),
        (json!({ "domain_restrictions": ["@example.com"] }), "domain_restrictions: \"@example.com\" is not a domain"),
        (
            json!({ "other": 1 }),
            "other: there is no such option, only name, type, disabled, config, secret_config, metadata_fields, redirect_uris, domain_restrictions",
        ),
    ] {
        assert_eq!(google(more), Err(format!("providers.json: oauth2-google.{expected}")));
    }
    let apple = |content: Value| {
        OidcConfig::apple("providers.json", object(&content), &secrets()).map_err(|error| error.to_string())
    };
    let good = apple(json!({ "config": { "clientId": "c" }, "secret_config": { "clientSecret": "oidc" } })).unwrap();
    assert_eq!((good.issuer.as_str(), good.scopes.len()), ("https://appleid.apple.com", 0));
    let expected = "providers.json: oauth2-apple.metadata_fields: there is no such option, only name, type, disabled, config, secret_config, redirect_uris";
    assert_eq!(apple(json!({ "metadata_fields": [] })).unwrap_err(), expected);
    // S19
    assert!(!format!("{good:?}").contains("s3cret"));
}

#[test]
fn an_issuer_of_ones_own_is_checked() {
    let text = r#"{"issuer":"https://idp.example/realms/a","client_id":"c"}"#;
    let settings: OidcSettings = serde_json::from_str(text).unwrap();
    let config = OidcConfig::issuer("passerby.toml", "own", settings.clone(), &secrets()).unwrap();
    assert_eq!((config.provider.as_str(), config.client_secret), ("oidc-own", None));
    assert!(serde_json::from_str::<OidcSettings>(r#"{"issuer":"https://idp.example","client_id":"c","x":1}"#).is_err());
    let refused = |name: &str, settings: OidcSettings| {
        OidcConfig::issuer("passerby.toml", name, settings, &secrets()).unwrap_err().to_string()
    };
    assert_eq!(refused("", settings.clone()), "passerby.toml: provider.oidc.: expected a name of 1 to 32 of a-z 0-9 -");
    assert!(refused("A", settings.clone()).contains("provider.oidc.A: expected a name"));
    let cases = [
        (OidcSettings { client_id: String::new(), ..settings.clone() }, "client_id: is empty"),
        (OidcSettings { client_secret: Some("x".to_owned()), ..settings.clone() }, "client_secret: there is no secret"),
        (OidcSettings { scopes: vec!["a b".to_owned()], ..settings.clone() }, "scopes[0]: \"a b\" is not a scope"),
        (
            OidcSettings { issuer: "idp.example".to_owned(), ..settings.clone() },
            "issuer: \"idp.example\" is not an issuer",
        ),
        (
            OidcSettings { issuer: "https://idp.example/?x".to_owned(), ..settings.clone() },
            "issuer: \"https://idp.example/?x\" is not an issuer",
        ),
        (
            OidcSettings { issuer: "https://idp.example/ x".to_owned(), ..settings.clone() },
            "issuer: \"https://idp.example/ x\" is not an issuer",
        ),
    ];
    for (settings, expected) in cases {
        let error = refused("own", settings);
        assert!(error.starts_with(&format!("passerby.toml: provider.oidc.own.{expected}")), "{error}");
    }
    let several = json!({
        "issuer": 5, "client_id": "c", "scopes": "openid", "redirect_uris": ["http://a.example", "https://a.example", "x"],
        "response_mode": "fragment", "metadata_fields": [{ "field_name": 5 }, 7],
    });
    let mut wrong = SettingsErrors::default();
    let settings_of = OidcSettings::read("passerby.toml", "own", object(&several), &mut wrong);
    wrong.take(OidcConfig::issuer("passerby.toml", "own", settings_of, &secrets()));
    let told = wrong.to_string();
    let keys: Vec<_> =
        told.lines().map(|line| line.split(": ").nth(1).unwrap().rsplit("own.").next().unwrap()).collect();
    let expected = [
        "metadata_fields[0].name",
        "metadata_fields[0].field_name",
        "issuer",
        "scopes",
        "response_mode",
        "redirect_uris[0]",
        "redirect_uris[2]",
    ];
    assert!(expected.iter().all(|key| keys.contains(key)), "{told}");
    assert!(told.contains("scopes: expected a list of texts, found \"openid\""), "{told}");
    assert!(!told.contains("issuer.invalid"), "{told}");
    for issuer in ["http://idp.example", "https://10.0.0.1", "https://[::1]"] {
        let settings = OidcSettings { issuer: issuer.to_owned(), ..settings.clone() };
        let config = OidcConfig::issuer("passerby.toml", "own", settings, &secrets()).unwrap();
        let error = Oidc::new(config, client(&[], Script::default()), "passerby.toml").err().unwrap();
        assert_eq!(error.key.as_deref(), Some("provider.oidc.own.issuer"), "{error}");
    }
}

#[tokio::test]
async fn a_client_hands_over_an_id_token_and_nothing_else() {
    let signer = Signer::rsa();
    let world = World::new(vec![signer.jwk("k")]).await;
    let provider = world.provider();
    assert_eq!(provider.name(), "oidc-local");
    let verify = async |credentials: Value| provider.verify(object(&credentials), asked(NOW)).await;
    let token = signer.token("k", &world.claims_with(json!({ "nonce": "n" })));
    verify(json!({ "id_token": token, "options": {} })).await.unwrap();
    verify(json!({ "id_token": token, "nonce": "n" })).await.unwrap();
    assert_eq!(verify(json!({ "id_token": token, "nonce": "other" })).await, Err(IdentityError::Nonce));
    for (credentials, expected) in [
        (json!({}), IdentityError::Field("id_token")),
        (json!({ "id_token": 7 }), IdentityError::Field("id_token")),
        (json!({ "token": token }), IdentityError::Field("id_token")),
        (json!({ "id_token": token, "nonce": null }), IdentityError::Field("nonce")),
        (json!({ "authCode": "c" }), IdentityError::OtherKind("authCode")),
        (json!({ "authCode": "c", "id_token": token }), IdentityError::OtherKind("authCode")),
        (json!({ "redirectUrl": "https://app.example" }), IdentityError::OtherKind("redirectUrl")),
    ] {
        let error = verify(credentials).await.unwrap_err();
        assert_eq!(error, expected);
        assert!(error.is_bad_request());
    }
}
