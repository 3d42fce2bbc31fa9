//! Which providers are enabled by an app folder and `passerby.toml` together.

use serde_json::{Map, Value, json};

use super::kind::Build;
use super::*;
use crate::config::SettingsErrors;
use crate::config::secrets::{Pipes, Secrets};
use crate::outbound::testing::{Script, client};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// An app folder with these objects of providers, and `passerby.toml` with this text.
fn build(folder: Value, toml: &str) -> Result<Configured, String> {
    let temporary = tempfile::tempdir().unwrap();
    let (app, file) = (temporary.path().join("app"), temporary.path().join("passerby.toml"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    std::fs::write(app.join("auth/providers.json"), folder.to_string()).unwrap();
    std::fs::write(&file, toml).unwrap();
    let at = |name: &std::path::Path| format!("{}/", name.display());
    let environment = [
        ("PASSERBY_SECRET_SHARED".to_owned(), "0123456789abcdef0123456789abcdef".to_owned()),
        ("PASSERBY_SECRET_CLIENT".to_owned(), "hidden".to_owned()),
    ];
    let secrets = Secrets::load(&environment, None, None, &Pipes::default()).unwrap();
    let built = (|| {
        let mut wrong = SettingsErrors::default();
        let folder = app_folder::read(&app, &mut wrong).unwrap_or_default();
        wrong.or(())?;
        let loaded = crate::config::load(&crate::config::ConfigFile::Named(file), &environment, &[])?;
        let outbound = client(&["http://127.0.0.1:9"], Script::default());
        Configured::read(&folder, loaded.provider_tables(), "app-abcde", &secrets, &outbound)
    })();
    built.map_err(|error: SettingsErrors| {
        error.to_string().replace(&at(&app), "").replace(&at(temporary.path()), "").replace("auth/", "")
    })
}

fn names(folder: Value, toml: &str) -> Vec<String> {
    build(folder, toml).unwrap_or_else(|error| panic!("{error}")).names().map(str::to_owned).collect()
}

fn custom_token() -> Value {
    json!({ "config": { "signingAlgorithm": "HS256" }, "secret_config": { "signingKeys": ["shared"] } })
}

const CUSTOM_TOKEN_TABLE: &str = "[provider.custom_token]\nmetadata_fields = [{ name = \"email\", required = true }]\n\
    [provider.custom_token.config]\nsigningAlgorithm = \"HS256\"\naudience = [\"a\", \"b\"]\n\
    [provider.custom_token.secret_config]\nsigningKeys = [\"shared\"]\n";
const ISSUER_TABLE: &str = "[provider.oidc.corp]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";

#[test]
fn folder_and_file_enable_providers() {
    let google =
        json!({ "config": { "clientId": "c", "openId": true }, "secret_config": { "clientSecret": "client" } });
    let apple = json!({ "config": { "clientId": "c" }, "secret_config": { "clientSecret": "client" } });
    let folder = json!({ "oauth2-google": google, "oauth2-apple": apple, "custom-token": custom_token() });
    assert_eq!(names(folder, ISSUER_TABLE), ["custom-token", "oauth2-apple", "oauth2-google", "oidc-corp"]);
    assert_eq!(names(json!({}), CUSTOM_TOKEN_TABLE), ["custom-token"]);
    // one that is off in the folder is not configured there
    assert_eq!(names(json!({ "custom-token": { "disabled": true } }), CUSTOM_TOKEN_TABLE), ["custom-token"]);
    assert_eq!(names(json!({ "anon-user": {} }), ""), [""; 0]);
    let local = ISSUER_TABLE.replace("https://idp.example", "http://127.0.0.1:9");
    assert_eq!(names(json!({}), &local), ["oidc-corp"]);
}

#[test]
fn a_provider_is_known_if_sdks_or_the_file_name_it() {
    let providers = build(json!({ "anon-user": {}, "custom-token": custom_token() }), ISSUER_TABLE).unwrap_or_default();
    for (name, known, enabled) in [
        ("anon-user", true, false),
        ("custom-token", true, true),
        ("oidc-corp", true, true),
        ("oauth2-google", true, false),
        ("local-userpass", true, false),
        ("api-key", true, false),
        ("custom-function", true, false),
        ("oauth2-facebook", true, false),
        ("oidc-other", false, false),
        ("oidc", false, false),
        ("", false, false),
    ] {
        let is_enabled = providers.names().any(|enabled| enabled == name);
        assert_eq!((is_of_app_services(name) || is_enabled, is_enabled), (known, enabled), "{name}");
    }
    assert!(providers.anon_user_enabled && !build(json!({}), "").unwrap_or_default().anon_user_enabled);
}

#[tokio::test]
async fn an_enabled_provider_verifies() {
    use super::testing::{Signer, asked};

    let providers = build(json!({ "custom-token": custom_token() }), "").unwrap_or_default();
    let claims = json!({ "sub": "1", "aud": "app-abcde", "exp": 1_800_000_600 });
    let token = Signer::shared("0123456789abcdef0123456789abcdef").token("k", &claims);
    let credentials = object(json!({ "token": token }));
    let Build::Done(provider) = &providers.plans["custom-token"].plan.build else {
        panic!("it needs nothing of the server")
    };
    let identity = provider.verify(&credentials, asked(1_800_000_000)).await.unwrap();
    assert_eq!((identity.provider.as_str(), identity.external.as_str()), ("custom-token", "1"));
}

#[test]
fn what_is_wrong_is_refused_with_file_key_and_reason() {
    let mut no_secret = custom_token();
    no_secret["secret_config"]["signingKeys"] = json!(["other"]);
    let cases = [
        (
            json!({ "custom-token": no_secret }),
            String::new(),
            "providers.json: custom-token.secret_config.signingKeys: there is no secret \"other\": \
             set PASSERBY_SECRET_OTHER or put it into the secrets file",
        ),
        (
            json!({ "custom-token": {} }),
            String::new(),
            "providers.json: custom-token.config.signingAlgorithm: is missing",
        ),
        (
            json!({ "custom-token": { "config": { "useJWKURI": true, "jwkURI": "http://idp.example/keys" } } }),
            String::new(),
            "providers.json: custom-token.config.jwkURI: http://idp.example: is not https",
        ),
        (
            json!({ "custom-token": custom_token() }),
            CUSTOM_TOKEN_TABLE.to_owned(),
            "passerby.toml: provider.custom_token: providers.json configures custom-token too",
        ),
        (
            json!({}),
            CUSTOM_TOKEN_TABLE.replace("\"shared\"", "\"other\""),
            "passerby.toml: provider.custom_token.secret_config.signingKeys: there is no secret \
             \"other\": set PASSERBY_SECRET_OTHER or put it into the secrets file",
        ),
        (
            json!({}),
            CUSTOM_TOKEN_TABLE.replace("signingAlgorithm", "algorithm"),
            "passerby.toml: provider.custom_token.config.algorithm: there is no such option, only audience, \
             requireAnyAudience, signingAlgorithm, useJWKURI, jwkURI",
        ),
        (
            json!({}),
            "[provider.custom_token]\ndisabled = false\n".to_owned(),
            "passerby.toml:2:1: provider.custom_token.disabled: there is no such setting, see `passerby config --explain`",
        ),
        (
            json!({}),
            "[provider.oauth2-google]\nclient_id = \"c\"\n".to_owned(),
            "passerby.toml:1:11: provider.oauth2-google: there is no such setting: logins with Google are \
             [provider.oidc.NAME] with issuer = \"https://accounts.google.com\", client_id and client_secret",
        ),
        (json!({}), "provider = 1\n".to_owned(), "passerby.toml:1:1: provider: expected a table, found 1"),
        (
            json!({}),
            "[provider]\noidc = \"x\"\n".to_owned(),
            "passerby.toml:2:1: provider.oidc: expected a table, found \"x\"",
        ),
        (
            json!({}),
            "[provider.oidc.corp]\nclient_id = \"c\"\n".to_owned(),
            "passerby.toml: provider.oidc.corp.issuer: is missing",
        ),
        (
            json!({}),
            format!("{ISSUER_TABLE}client_secret = \"other\"\n"),
            "passerby.toml: provider.oidc.corp.client_secret: there is no secret \"other\": set PASSERBY_SECRET_OTHER \
             or put it into the secrets file",
        ),
        (
            json!({}),
            ISSUER_TABLE.replace("https://idp.example", "https://10.0.0.1"),
            "passerby.toml: provider.oidc.corp.issuer: https://10.0.0.1: has an address that is not public, and outbound.allow does not name it",
        ),
    ];
    for (folder, toml, expected) in cases {
        assert_eq!(build(folder, &toml).err().as_deref(), Some(expected));
    }
    let unknown = build(json!({}), &format!("{ISSUER_TABLE}secret = \"x\"\n")).err().unwrap();
    let expected = ".secret: there is no such setting, see `passerby config --explain`";
    assert!(unknown.starts_with("passerby.toml:") && unknown.ends_with(expected), "{unknown}");
}

#[test]
fn each_name_is_of_one_kind_and_has_its_rules() {
    for kind in kinds::KINDS {
        let name = if kind.name.ends_with('-') { format!("{}corp", kind.name) } else { kind.name.to_owned() };
        assert_eq!(kinds::KINDS.iter().filter(|kind| kind.has(&name)).count(), 1, "{name}");
    }
    for (name, shown) in
        [("oidc-corp", "7"), ("oauth2-google", "7"), ("oauth2-apple", "7"), ("custom-token", "https://idp.example 7")]
    {
        assert_eq!(rules(name).shown_id("https://idp.example 7"), shown, "{name}");
    }
    assert!(rules("local-userpass").hashes_passwords && rules("api-key").proves_known_user);
    assert_eq!(one_identity_of(), ["local-userpass"]);
    assert!(
        kinds::KINDS.iter().all(|kind| !(kind.is_of_several() && kind.rules.one_identity)),
        "it is named by its whole name"
    );
    assert_eq!([rules("anon-user"), rules("saml"), rules("custom-token")], [Rules::PLAIN; 3]);
}

#[test]
fn each_table_of_the_settings_is_of_one_kind_and_each_kinds_table_is_explained() {
    let explained = crate::config::explain();
    let lines = explained.lines().filter_map(|line| line.strip_prefix("provider.")?.split('.').next());
    let explained: std::collections::BTreeSet<_> = lines.collect();
    let mut tables: Vec<_> = kinds::KINDS.iter().filter_map(|kind| kind.table).collect();
    tables.sort_unstable();
    assert_eq!(tables, explained.into_iter().collect::<Vec<_>>());
}
