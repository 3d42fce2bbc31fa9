//! Settings that cannot be honoured.

use super::*;

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
