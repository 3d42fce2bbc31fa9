//! ID tokens that clients hand over.

use super::*;

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
