//! What issuers publish.

use super::*;

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
async fn odd_fields_that_are_not_needed_spoil_no_login() {
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
