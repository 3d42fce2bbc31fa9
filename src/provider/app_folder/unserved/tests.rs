//! What an app folder asks for and does not get is named.

use super::*;

/// The lines about a folder with these files, without the folder's own path.
fn lines(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = ROOTS.iter().find_map(|name| Document::read(folder.path(), name).unwrap());
    let own = format!("{}/", folder.path().display());
    find(folder.path(), root.as_ref()).into_iter().map(|line| line.replace(&own, "")).collect()
}

#[test]
fn each_thing_that_is_not_served_is_named_with_its_file() {
    for (file, text, expected) in [
        ("auth/custom_user_data.json", r#"{"enabled":true}"#, "custom user data is enabled"),
        ("triggers/welcome.json", r#"{"type":"AUTHENTICATION","disabled":false}"#, "no AUTHENTICATION trigger runs"),
        ("triggers/nightly.json", r#"{"type":"SCHEDULED"}"#, "no SCHEDULED trigger runs here"),
        ("sync/config.json", r#"{"type":"flexible","state":"enabled"}"#, "Device Sync is enabled"),
        ("log_forwarders/s3.json", r#"{"name":"s3"}"#, "logs are not forwarded"),
        ("environments/production.json", r#"{"values":{"a":1}}"#, "values of environments are not read"),
        ("secrets.json", r#"{"services":{"a":"b"}}"#, "is not read: secrets come from"),
        ("hosting/config.json", r#"{"enabled":true}"#, "hosting is enabled"),
        ("auth/other.json", "{}", "is not known here"),
        ("extra.json", "{}", "is not known here"),
        ("triggers/a.json:1:1", "{", "is not valid JSON: EOF while parsing an object; what it configures is not known"),
        ("sync/config.json:1:10", r#"{"a":1,"a":2}"#, "\"a\" is there twice; what it configures is not known"),
    ] {
        let lines = lines(&[(file.split(':').next().unwrap(), text)]);
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("{file}: {expected}")), "{file}: {lines:?}");
    }
    for (file, text, named, expected) in [
        ("functions/hello.js", "", "functions", "functions are not run (1 here)"),
        ("functions/hello/source.js", "", "functions", "functions are not run (1 here)"),
        ("values/a.json", "{}", "values", "values are not read"),
        ("graphql/custom_resolvers/a.json", "{}", "graphql/custom_resolvers", "GraphQL is not served"),
        ("http_endpoints/config.json", r#"[{"route":"/a"}]"#, "http_endpoints", "HTTPS endpoints are not served"),
        ("data_sources/mongodb-atlas/config.json", "{}", "data_sources/mongodb-atlas", "clients do not reach MongoDB"),
        ("services/mail/config.json", r#"{"type":"twilio"}"#, "services/mail", "the service \"twilio\" is not served"),
        ("stitch.json", r#"{"hosting":{"enabled":true}}"#, "stitch.json", "hosting is enabled"),
        ("config.json", r#"{"custom_user_data_config":{"enabled":true}}"#, "config.json", "custom user data"),
        ("config.json", r#"{"sync":{"development_mode_enabled":true}}"#, "config.json", "Device Sync's development"),
    ] {
        let lines = lines(&[(file, text)]);
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("{named}: {expected}")), "{file}: {lines:?}");
    }
    let both = lines(&[
        ("root_config.json", "{}"),
        ("stitch.json", "{}"),
        ("auth/providers.json", "{}"),
        ("auth_providers/anon-user.json", "{}"),
    ]);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both.iter().all(|line| line.contains("is not read, since ")), "{both:?}");
    let atlas = r#"{"type":"mongodb-atlas","config":{"sync":{"state":"enabled"}}}"#;
    let synced = lines(&[("services/mongodb-atlas/config.json", atlas)]);
    assert_eq!(synced.len(), 2, "{synced:?}");
}

#[test]
fn what_is_off_or_empty_or_of_others_is_not() {
    let quiet = lines(&[
        ("root_config.json", r#"{"name":"x","environment":"production","hosting":{"enabled":false}}"#),
        ("auth/providers.json", "{}"),
        ("auth/custom_user_data.json", r#"{"enabled":false}"#),
        ("triggers/welcome.json", r#"{"type":"AUTHENTICATION","disabled":true}"#),
        ("sync/config.json", r#"{"state":"disabled"}"#),
        ("functions/config.json", "[]"),
        ("graphql/config.json", r#"{"use_natural_pluralization":true}"#),
        ("http_endpoints/config.json", "[]"),
        ("environments/production.json", r#"{"values":{}}"#),
        ("log_forwarders/a.json", r#"{"disabled":true}"#),
        ("secrets.json", "{}"),
        ("package.json", "{}"),
        ("README.md", ""),
        (".gitignore", ""),
    ]);
    assert!(quiet.is_empty(), "{quiet:?}");
}
