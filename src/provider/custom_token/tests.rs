//! Logins with tokens of the app's own system, good ones and bad ones.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::super::fetched::{MAX_AGE_S, REFRESH_INTERVAL_S};
use super::super::jwt::LEEWAY_S;
use super::super::testing::{Signer, asked};
use super::*;
use crate::config::secrets::Pipes;
use crate::outbound::testing::{Script, Server, client, json as json_answer};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secrets(pairs: &[(&str, &str)]) -> Secrets {
    let environment: Vec<_> =
        pairs.iter().map(|(name, text)| (format!("PASSERBY_SECRET_{name}"), (*text).to_owned())).collect();
    Secrets::load(&environment, None, None, &Pipes::default()).unwrap()
}

fn read(content: &Value, secrets: &Secrets) -> Result<CustomTokenConfig, SettingsErrors> {
    CustomTokenConfig::read("providers.json", CUSTOM_TOKEN, content.as_object().unwrap(), "app-abcde", secrets)
}

fn provider(content: &Value, secrets: &Secrets) -> CustomToken {
    CustomToken::new(read(content, secrets).unwrap(), client(&[], Script::default()), "providers.json").unwrap()
}

/// A provider with the one signing key of `signer`.
fn signing(signer: &Signer) -> CustomToken {
    let text = match signer {
        Signer::Hs256(_) => SECRET.to_owned(),
        _ => signer.public_pem(),
    };
    let content = json!({
        "name": "custom-token", "type": "custom-token", "disabled": false,
        "config": { "signingAlgorithm": signer.algorithm(), "useJWKURI": false, "jwkURI": "" },
        "secret_config": { "signingKeys": ["K"] },
    });
    provider(&content, &secrets(&[("K", &text)]))
}

fn signers() -> [Signer; 4] {
    [Signer::shared(SECRET), Signer::rsa(), Signer::ec(), Signer::ed()]
}

fn claims() -> Value {
    json!({ "sub": "24601", "aud": "app-abcde", "exp": NOW + 600, "nbf": NOW - 5 })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

#[tokio::test]
async fn a_token_of_each_algorithm_proves_its_subject() {
    for signer in signers() {
        let identity = signing(&signer).verify_token(&signer.token("any", &claims()), NOW).await.unwrap();
        assert_eq!((identity.provider.as_str(), identity.external.as_str()), ("custom-token", "24601"));
        assert!(identity.data.is_empty());
    }
}

#[tokio::test]
async fn any_of_three_keys_may_have_signed() {
    let keys = [Signer::ed(), Signer::ed(), Signer::ed()];
    let secrets = secrets(&[("A", &keys[0].public_pem()), ("B", &keys[1].public_pem()), ("C", &keys[2].public_pem())]);
    let content =
        json!({ "config": { "signingAlgorithm": "EdDSA" }, "secret_config": { "signingKeys": ["a", "b", "c"] } });
    let provider = provider(&content, &secrets);
    for key in &keys {
        provider.verify_token(&key.token("any", &claims()), NOW).await.unwrap();
    }
    let other = Signer::ed().token("any", &claims());
    assert_eq!(provider.verify_token(&other, NOW).await, Err(IdentityError::BadSignature));
}

/// S24: the configured algorithm alone counts, whatever the token says, and a public key is never a shared secret.
#[tokio::test]
async fn a_different_algorithm_is_refused() {
    let signers = signers();
    for configured in &signers {
        let provider = signing(configured);
        for other in signers.iter().filter(|other| other.algorithm() != configured.algorithm()) {
            let foreign = other.token("any", &claims());
            let named = IdentityError::Algorithm(other.algorithm().to_owned());
            assert_eq!(provider.verify_token(&foreign, NOW).await, Err(named));
            let lying = other.token_with(&json!({ "alg": configured.algorithm() }), &claims());
            assert_eq!(provider.verify_token(&lying, NOW).await, Err(IdentityError::BadSignature));
        }
        for alg in ["none", "None", "", "RS384", "PS256", "HS512"] {
            let token = configured.token_with(&json!({ "alg": alg }), &claims());
            assert!(provider.verify_token(&token, NOW).await.is_err(), "{alg}");
        }
        let unsigned = configured.token("any", &claims());
        let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
        assert_eq!(provider.verify_token(unsigned, NOW).await, Err(IdentityError::BadSignature));
    }
    // the classic: the public key's text as an HMAC secret
    for configured in &signers[1..] {
        let confused = Signer::shared(&configured.public_pem()).token("any", &claims());
        let named = IdentityError::Algorithm("HS256".to_owned());
        assert_eq!(signing(configured).verify_token(&confused, NOW).await, Err(named));
    }
}

/// S25: keys that a token brings along are not used.
#[tokio::test]
async fn keys_in_the_header_are_ignored() {
    let (configured, attacker) = (Signer::rsa(), Signer::rsa());
    let header = json!({
        "alg": "RS256", "jwk": attacker.jwk("k"), "jku": "https://attacker.example/jwks", "x5u": "https://attacker.example/x",
    });
    let token = attacker.token_with(&header, &claims());
    assert_eq!(signing(&configured).verify_token(&token, NOW).await, Err(IdentityError::BadSignature));
}

#[tokio::test]
async fn a_header_that_asks_for_more_is_refused() {
    let signer = Signer::shared(SECRET);
    let provider = signing(&signer);
    for (header, holds) in [
        (json!({ "alg": "HS256" }), true),
        (json!({ "alg": "HS256", "typ": "jwt" }), true),
        (json!({ "alg": "HS256", "typ": "at+jwt" }), false),
        (json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), false),
        (json!({ "typ": "JWT" }), false),
        (json!([]), false),
    ] {
        let outcome = provider.verify_token(&signer.token_with(&header, &claims()), NOW).await;
        assert_eq!(outcome.is_ok(), holds, "{header}");
    }
    for token in ["", ".", "..", "a.b.c", "a.b", "null", &"x".repeat(MAX_TOKEN + 1)] {
        assert_eq!(provider.verify_token(token, NOW).await, Err(IdentityError::Malformed));
    }
    let list = signer.token("any", &json!(["sub"]));
    assert_eq!(provider.verify_token(&list, NOW).await, Err(IdentityError::Malformed));
}

/// S26.
#[tokio::test]
async fn the_claims_are_checked() {
    use IdentityError::{Audience, Claim, Expired, NotYetValid};
    let signer = Signer::shared(SECRET);
    let provider = signing(&signer);
    let long = "x".repeat(MAX_EXTERNAL + 1);
    for (claims, expected) in [
        (with("exp", json!(NOW - LEEWAY_S + 1)), Ok(())),
        (with("exp", json!(NOW as f64 + 0.5)), Ok(())),
        (with("exp", json!(NOW - LEEWAY_S)), Err(Expired)),
        (with("exp", json!(0)), Err(Expired)),
        (with("exp", json!("later")), Err(Claim("exp"))),
        (with("exp", Value::Null), Err(Claim("exp"))),
        (without("exp"), Err(Claim("exp"))),
        (without("nbf"), Ok(())),
        (with("nbf", json!(NOW + LEEWAY_S)), Ok(())),
        (with("nbf", json!(NOW + LEEWAY_S + 1)), Err(NotYetValid)),
        (with("nbf", json!("now")), Err(Claim("nbf"))),
        (without("sub"), Err(Claim("sub"))),
        (with("sub", json!("")), Err(Claim("sub"))),
        (with("sub", json!(7)), Err(Claim("sub"))),
        (with("sub", json!(long[1..])), Ok(())),
        (with("sub", json!(long)), Err(Claim("sub"))),
        (without("aud"), Err(Claim("aud"))),
        (with("aud", json!(7)), Err(Claim("aud"))),
        (with("aud", json!("app-other")), Err(Audience)),
        (with("aud", json!("APP-ABCDE")), Err(Audience)),
        (with("aud", json!([])), Err(Audience)),
        (with("aud", json!(["app-other", 7])), Err(Audience)),
        (with("aud", json!(["app-other", "app-abcde"])), Ok(())),
    ] {
        let outcome = provider.verify_token(&signer.token("any", &claims), NOW).await;
        assert_eq!(outcome.map(|_| ()), expected, "{claims}");
    }
}

#[tokio::test]
async fn all_audiences_or_any_of_them_are_needed() {
    let signer = Signer::shared(SECRET);
    let secrets = secrets(&[("K", SECRET)]);
    for (audience, any, found, holds) in [
        (json!("one"), false, json!("one"), true),
        (json!("one"), false, json!("app-abcde"), false),
        (json!(["one", "two"]), false, json!(["two", "three", "one"]), true),
        (json!(["one", "two"]), false, json!(["one"]), false),
        (json!(["one", "two"]), true, json!("two"), true),
        (json!(["one", "two"]), true, json!("three"), false),
        (json!([]), true, json!("app-abcde"), true),
        (json!([]), true, json!("three"), false),
        (json!(""), false, json!("app-abcde"), true),
    ] {
        let content = json!({
            "config": { "audience": audience, "requireAnyAudience": any, "signingAlgorithm": "HS256" },
            "secret_config": { "signingKeys": ["K"] },
        });
        let outcome =
            provider(&content, &secrets).verify_token(&signer.token("k", &with("aud", found.clone())), NOW).await;
        assert_eq!(outcome.is_ok(), holds, "{content} {found}");
    }
}

#[tokio::test]
async fn claims_become_data() {
    let signer = Signer::shared(SECRET);
    let content = json!({
        "config": { "signingAlgorithm": "HS256" },
        "secret_config": { "signingKeys": ["K"] },
        "metadata_fields": [
            { "required": true, "name": "user_data.name", "field_name": "name" },
            { "required": false, "name": "user_data.aliases" },
            { "name": "email" },
        ],
    });
    let provider = provider(&content, &secrets(&[("K", SECRET)]));
    let told = with("user_data", json!({ "name": "Jean Valjean", "aliases": ["a", "b"], "other": 1 }));
    let identity = provider.verify_token(&signer.token("k", &told), NOW).await.unwrap();
    assert_eq!(Value::Object(identity.data), json!({ "name": "Jean Valjean", "aliases": ["a", "b"] }));
    let missing = provider.verify_token(&signer.token("k", &claims()), NOW).await;
    assert_eq!(missing, Err(IdentityError::MissingField("name".to_owned())));
}

/// RFC 9864 gives EdDSA with Ed25519 a name of its own: in settings, tokens and keys both are one.
#[tokio::test]
async fn ed25519_is_eddsa() {
    let signer = Signer::ed();
    let secrets = secrets(&[("K", &signer.public_pem())]);
    for configured in ["EdDSA", "Ed25519"] {
        let content =
            json!({ "config": { "signingAlgorithm": configured }, "secret_config": { "signingKeys": ["K"] } });
        let provider = provider(&content, &secrets);
        for named in ["EdDSA", "Ed25519"] {
            let token = signer.token_with(&json!({ "alg": named, "typ": "JWT" }), &claims());
            provider.verify_token(&token, NOW).await.unwrap();
            let (_, _server, published) = {
                let mut jwk = signer.jwk("k");
                jwk["alg"] = json!(named);
                published(vec![jwk], configured).await
            };
            for of_token in ["EdDSA", "Ed25519"] {
                let token = signer.token_with(&json!({ "alg": of_token, "kid": "k" }), &claims());
                published.verify_token(&token, NOW).await.unwrap();
            }
        }
        // it differs from the other names of Ed25519's family
        let token = signer.token_with(&json!({ "alg": "Ed448" }), &claims());
        let refused = provider.verify_token(&token, NOW).await;
        assert_eq!(refused, Err(IdentityError::Algorithm("Ed448".to_owned())));
    }
}

/// Unneeded fields of a published key may be blank or of a wrong type.
#[tokio::test]
async fn a_published_key_may_have_odd_fields_that_are_not_needed() {
    let signer = Signer::rsa();
    let mut jwk = signer.jwk("k");
    for (field, value) in [
        ("alg", json!("")),
        ("use", json!("")),
        ("key_ops", json!([])),
        ("x5u", json!("")),
        ("x5c", json!("")),
        ("x5t", json!(7)),
        ("exp", json!("never")),
    ] {
        jwk[field] = value;
    }
    let (_, _server, provider) = published(vec![jwk], "").await;
    provider.verify_token(&signer.token("k", &claims()), NOW).await.unwrap();
}

/// An issuer whose key set can be changed, and the provider that trusts it.
async fn published(keys: Vec<Value>, algorithm: &str) -> (Arc<Mutex<Vec<Value>>>, Server, CustomToken) {
    let keys = Arc::new(Mutex::new(keys));
    let of_server = Arc::clone(&keys);
    let server = Server::start(move |_| json_answer(&json!({ "keys": *of_server.lock() }).to_string())).await;
    let url = server.url("/jwks");
    let content = json!({ "config": { "useJWKURI": true, "jwkURI": url, "signingAlgorithm": algorithm } });
    let config = read(&content, &Secrets::default()).unwrap();
    let provider = CustomToken::new(config, server.client(), "providers.json").unwrap();
    (keys, server, provider)
}

/// S30.
#[tokio::test]
async fn a_published_key_is_found_by_its_id() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let keys = signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect();
    let (_, server, provider) = published(keys, "").await;
    for signer in &signers {
        provider.verify_token(&signer.token(signer.algorithm(), &claims()), NOW).await.unwrap();
    }
    let [rsa, ec, _] = &signers;
    let named = IdentityError::Algorithm("RS256".to_owned());
    assert_eq!(provider.verify_token(&rsa.token("ES256", &claims()), NOW).await, Err(named));
    let lying = ec.token_with(&json!({ "alg": "RS256", "kid": "RS256" }), &claims());
    assert_eq!(provider.verify_token(&lying, NOW).await, Err(IdentityError::BadSignature));
    let unnamed = rsa.token_with(&json!({ "alg": "RS256" }), &claims());
    assert_eq!(provider.verify_token(&unnamed, NOW).await, Err(IdentityError::UnknownKey));
    assert_eq!(server.received().len(), 1, "the set is fetched once");
    let [request] = server.received().try_into().unwrap();
    assert!(request.head.starts_with("GET /jwks "));
}

/// S24: neither a shared secret nor a key for something else is taken from a published set.
#[tokio::test]
async fn a_published_key_is_used_for_its_purpose_alone() {
    let (rsa, ec, shared) = (Signer::rsa(), Signer::ec(), Signer::shared(SECRET));
    let changed = |kid: &str, key: &str, value: Value| {
        let mut jwk = rsa.jwk(kid);
        jwk[key] = value;
        jwk
    };
    let keys = vec![
        json!("no key"),
        json!({ "kty": "new" }),
        shared.jwk("shared"),
        changed("enc", "use", json!("enc")),
        changed("alg", "alg", json!("RS512")),
        changed("ops", "key_ops", json!(["encrypt"])),
        ec.jwk("ec"),
        rsa.jwk("good"),
    ];
    let (_, _server, provider) = published(keys.clone(), "").await;
    for kid in ["enc", "alg", "ops"] {
        let outcome = provider.verify_token(&rsa.token(kid, &claims()), NOW).await;
        assert_eq!(outcome, Err(IdentityError::UnknownKey), "{kid}");
    }
    for kid in ["shared", "good", "ec"] {
        assert!(provider.verify_token(&shared.token(kid, &claims()), NOW).await.is_err(), "{kid}");
    }
    provider.verify_token(&rsa.token("good", &claims()), NOW).await.unwrap();
    provider.verify_token(&ec.token("ec", &claims()), NOW).await.unwrap();
    // a configured algorithm narrows it down
    let (_, _server, provider) = published(keys, "ES256").await;
    let named = IdentityError::Algorithm("RS256".to_owned());
    assert_eq!(provider.verify_token(&rsa.token("good", &claims()), NOW).await, Err(named));
    provider.verify_token(&ec.token("ec", &claims()), NOW).await.unwrap();
}

/// S29, S30: a new key is found within a minute, a withdrawn one goes within an hour.
#[tokio::test]
async fn keys_may_be_rotated() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let (keys, server, provider) = published(vec![old.jwk("old")], "").await;
    let (of_old, of_new) =
        (|at| old.token("old", &with("exp", json!(at + 600))), |at| new.token("new", &with("exp", json!(at + 600))));
    provider.verify_token(&of_old(NOW), NOW).await.unwrap();
    for second in 0..REFRESH_INTERVAL_S {
        let at = NOW + second;
        assert_eq!(provider.verify_token(&of_new(at), at).await, Err(IdentityError::UnknownKey));
    }
    assert_eq!(server.received().len(), 1, "a flood of unknown keys makes no fetch");
    *keys.lock() = vec![new.jwk("new")];
    let at = NOW + REFRESH_INTERVAL_S;
    provider.verify_token(&of_new(at), at).await.unwrap();
    assert_eq!(server.received().len(), 2);
    assert_eq!(provider.verify_token(&of_old(at), at).await, Err(IdentityError::UnknownKey));

    // an answer without a usable key does not count: the old keys stay
    *keys.lock() = vec![];
    let at = at + MAX_AGE_S;
    provider.verify_token(&of_new(at), at).await.unwrap();
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_single_jwk_is_a_set_of_one() {
    let signer = Signer::rsa();
    let jwk = signer.jwk("k").to_string();
    let server = Server::start(move |_| json_answer(&jwk)).await;
    let content = json!({ "config": { "useJWKURI": true, "jwkURI": server.url("/jwk") } });
    let config = read(&content, &Secrets::default()).unwrap();
    let provider = CustomToken::new(config, server.client(), "providers.json").unwrap();
    provider.verify_token(&signer.token("k", &claims()), NOW).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_no_refusal() {
    let server = Server::start(|_| crate::outbound::testing::answer("500 Oops", "", "secret")).await;
    let content = json!({ "config": { "useJWKURI": true, "jwkURI": server.url("/jwks?secret") } });
    let config = read(&content, &Secrets::default()).unwrap();
    let provider = CustomToken::new(config, server.client(), "providers.json").unwrap();
    let error = provider.verify_token(&Signer::ed().token("k", &claims()), NOW).await.unwrap_err();
    // the log says where, the answer does not
    assert_eq!(error.to_string(), "the provider cannot be asked now");
    let IdentityError::Unavailable(why) = error else { panic!("{error:?}") };
    assert_eq!(why.to_string(), format!("{}: answers with status 500", server.origin));
}

#[test]
fn what_cannot_be_honoured_is_refused_with_file_key_and_reason() {
    let rsa = Signer::rsa();
    let secrets =
        secrets(&[("K", SECRET), ("SHORT", &SECRET[1..]), ("LONG", &"x".repeat(513)), ("PEM", &rsa.public_pem())]);
    let hs =
        |keys: Value| json!({ "config": { "signingAlgorithm": "HS256" }, "secret_config": { "signingKeys": keys } });
    let rs =
        |key: &str| json!({ "config": { "signingAlgorithm": "RS256" }, "secret_config": { "signingKeys": [key] } });
    let es =
        |key: &str| json!({ "config": { "signingAlgorithm": "ES256" }, "secret_config": { "signingKeys": [key] } });
    let cases = [
        (
            json!({ "configs": {} }),
            "configs: there is no such option, only name, type, disabled, config, secret_config, metadata_fields (did you mean \"config\"?)",
        ),
        (json!({ "config": 7 }), "config: expected an object, found 7"),
        (
            json!({ "config": { "x": 1 } }),
            "config.x: there is no such option, only audience, requireAnyAudience, signingAlgorithm, useJWKURI, jwkURI",
        ),
        (json!({ "config": { "audience": 7 } }), "config.audience: expected a list, found 7"),
        (json!({ "config": { "audience": [7] } }), "config.audience: expected a list of texts, found 7 in it"),
        (
            json!({ "config": { "requireAnyAudience": "yes" } }),
            "config.requireAnyAudience: expected true or false, found \"yes\"",
        ),
        (json!({}), "config.signingAlgorithm: is missing"),
        (
            json!({ "config": { "signingAlgorithm": "none" } }),
            "config.signingAlgorithm: expected HS256, RS256, ES256 or EdDSA, found \"none\"",
        ),
        (hs(json!([])), "secret_config.signingKeys: expected the names of 1 to 3 secrets, found 0"),
        (hs(json!(["K", "K", "K", "K"])), "secret_config.signingKeys: expected the names of 1 to 3 secrets, found 4"),
        (hs(json!("K")), "secret_config.signingKeys: expected a list, found something else"),
        (
            hs(json!(["none"])),
            "secret_config.signingKeys: there is no secret \"none\": set PASSERBY_SECRET_NONE or put it into the secrets file",
        ),
        (hs(json!(["short"])), "secret_config.signingKeys: secret \"short\": expected 32 to 512 bytes"),
        (hs(json!(["long"])), "secret_config.signingKeys: secret \"long\": expected 32 to 512 bytes"),
        (hs(json!(["pem"])), "secret_config.signingKeys: secret \"pem\": is a PEM, and HS256 needs a shared secret"),
        (rs("k"), "secret_config.signingKeys: secret \"k\": expected a public key for RS256 in PEM"),
        (es("pem"), "secret_config.signingKeys: secret \"pem\": expected a public key for ES256 in PEM"),
        (json!({ "config": { "useJWKURI": true } }), "config.jwkURI: is missing"),
        (
            json!({ "config": { "jwkURI": "https://idp.example/jwks" } }),
            "config.jwkURI: has no effect without useJWKURI",
        ),
        (
            json!({ "config": { "useJWKURI": true, "jwkURI": "https://idp.example" }, "secret_config": { "signingKeys": ["k"] } }),
            "secret_config.signingKeys: has no effect with useJWKURI",
        ),
        (
            json!({ "config": { "useJWKURI": true, "jwkURI": "https://idp.example", "signingAlgorithm": "HS256" } }),
            "config.signingAlgorithm: HS256 needs a shared secret, which is never published",
        ),
    ];
    for (content, expected) in cases {
        // where it is not all that is wrong, it is what is said first
        let error = read(&content, &secrets).err().map(|error| error.to_string());
        let first = error.as_deref().and_then(|error| error.lines().next());
        assert_eq!(first, Some(format!("providers.json: custom-token.{expected}").as_str()), "{content}");
    }
    let several = json!({
        "config": { "audience": 7, "requireAnyAudience": 1, "signingAlgorithm": "HS256" },
        "secret_config": { "signingKeys": ["none", "short"] },
        "metadata_fields": [{ "required": 1 }, 5, { "name": "a..b" }],
    });
    let error = read(&several, &secrets).err().unwrap().to_string();
    assert_eq!(error.lines().count(), 7, "all at once: {error}");
    for url in ["http://idp.example/jwks", "https://127.0.0.1/jwks", "https://user@idp.example/jwks", "jwks"] {
        let config = read(&json!({ "config": { "useJWKURI": true, "jwkURI": url } }), &secrets).unwrap();
        let error = CustomToken::new(config, client(&[], Script::default()), "providers.json").err().unwrap();
        assert_eq!(error.key.as_deref(), Some("custom-token.config.jwkURI"), "{error}");
    }
}

#[tokio::test]
async fn the_token_is_a_text_in_the_field_token() {
    let signer = Signer::ed();
    let provider = signing(&signer);
    assert_eq!(provider.name(), "custom-token");
    let verify = async |credentials: Value| provider.verify(credentials.as_object().unwrap(), asked(NOW)).await;
    let token = signer.token("any", &claims());
    let identity = verify(json!({ "token": token, "options": { "device": {} } })).await.unwrap();
    assert_eq!(identity.external, "24601");
    for credentials in [json!({}), json!({ "token": null }), json!({ "token": [token] }), json!({ "id_token": token })]
    {
        let error = verify(credentials).await.unwrap_err();
        assert_eq!(error, IdentityError::Field("token"));
        assert!(error.is_bad_request());
    }
    assert!(!verify(json!({ "token": "" })).await.unwrap_err().is_bad_request());
}
