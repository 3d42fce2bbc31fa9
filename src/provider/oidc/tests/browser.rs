//! Logins in the browser.

use super::*;

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
