//! App folders as they are exported: what is on, and everything that is refused.

use super::*;

/// A file's name and text.
type Named<'a> = (&'a str, &'a str);
/// A folder's files; whether `anon-user` is on; origins; app id.
type Case<'a> = (&'a [Named<'a>], bool, &'a [&'a str], Option<&'a str>);

fn folder(files: &[Named]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn good(folder: &Path) -> AppFolder {
    let mut wrong = SettingsErrors::default();
    let read = read(folder, &mut wrong);
    wrong.or(read).unwrap().unwrap()
}

fn faults(folder: &Path) -> String {
    let mut wrong = SettingsErrors::default();
    read(folder, &mut wrong);
    wrong.to_string()
}

#[test]
fn without_a_folder_only_anonymous_logins_are_on() {
    let none = AppFolder::default();
    assert!(none.anon_user_enabled && none.identity.is_empty() && none.app_id.is_none());
}

#[test]
fn a_folder_says_what_is_on() {
    const ON: Named =
        ("auth/providers.json", r#"{"anon-user":{"name":"anon-user","type":"anon-user","disabled":false}}"#);
    let off = r#"{"anon-user":{"name":"anon-user","type":"anon-user","disabled":true}}"#;
    let others_off = r#"{"api-key":{"name":"api-key","type":"api-key","disabled":true},
            "local-userpass":{"name":"local-userpass","type":"local-userpass","config":{},"disabled":true}}"#;
    let cases: &[Case] = &[
        (&[ON], true, &[], None),
        (&[("auth/providers.json", off)], false, &[], None),
        (&[("auth/providers.json", r#"{"anon-user":{}}"#)], true, &[], None),
        (&[("auth/providers.json", "{}")], false, &[], None),
        (&[("auth/providers.json", others_off)], false, &[], None),
        (
            &[ON, ("root_config.json", r#"{"name":"x","allowed_request_origins":["https://A.example:443/"]}"#)],
            true,
            &["https://a.example"],
            None,
        ),
        (
            &[ON, ("realm_config.json", r#"{"config_version":20210101,"app_id":"todo-abcde"}"#)],
            true,
            &[],
            Some("todo-abcde"),
        ),
        (
            &[
                ON,
                ("root_config.json", r#"{"name":"x"}"#),
                ("realm_config.json", r#"{"app_id":"old-abcde"}"#),
                (".mdb/meta.json", r#"{"config_version":20230101,"app_id":"0","client_app_id":"new-abcde"}"#),
            ],
            true,
            &[],
            Some("new-abcde"),
        ),
        (
            &[
                ON,
                (
                    "root_config.json",
                    r#"{"allowed_request_origins":["https://a.example"],
                    "security":{"allowed_request_origins":["https://a.example","https://b.example"]}}"#,
                ),
            ],
            true,
            &["https://a.example", "https://b.example"],
            None,
        ),
        (&[ON, ("root_config.json", r#"{"allowed_request_origins":[""],"security":{}}"#)], true, &[], None),
        (
            &[
                (
                    "config.json",
                    r#"{"config_version":20200603,"app_id":"todo-abcde","name":"todo","security":
                        {"allowed_origins":["http://localhost:8080"]},"custom_user_data_config":{"enabled":false},
                        "sync":{"development_mode_enabled":false}}"#,
                ),
                (
                    "auth_providers/anon-user.json",
                    r#"{"id":"5e67ecb046727fcd5a3ad99f","name":"anon-user",
                        "type":"anon-user","disabled":false}"#,
                ),
                ("auth_providers/api-key.json", r#"{"name":"api-key","type":"api-key","disabled":true}"#),
            ],
            true,
            &["http://localhost:8080"],
            Some("todo-abcde"),
        ),
        (
            &[
                ("stitch.json", r#"{"config_version":20180301,"app_id":"old-abcde","security":null}"#),
                ("auth_providers/anon-user.json", r#"{"name":"anon-user","type":"anon-user","disabled":true}"#),
            ],
            false,
            &[],
            Some("old-abcde"),
        ),
    ];
    for (files, enabled, origins, app_id) in cases {
        let providers = good(folder(files).path());
        assert_eq!(providers.anon_user_enabled, *enabled, "{files:?}");
        assert_eq!(providers.content.allowed_request_origins, *origins, "{files:?}");
        assert_eq!(providers.app_id.as_deref(), *app_id, "{files:?}");
    }
}

#[test]
fn providers_that_prove_identities_are_found_if_they_are_enabled() {
    let text = r#"{"custom-token":{"name":"custom-token","type":"custom-token","disabled":false,"config":{}},
            "oauth2-google":{"disabled":true,"config":7},"oauth2-apple":{}}"#;
    let folder = folder(&[("auth/providers.json", text)]);
    let read = good(folder.path());
    assert_eq!(read.identity.keys().collect::<Vec<_>>(), ["custom-token", "oauth2-apple"]);
    assert!(read.identity["custom-token"].contains_key("config"));
    assert_eq!(read.file_of("custom-token"), folder.path().join("auth/providers.json").display().to_string());
}

#[test]
fn a_provider_of_an_older_layout_is_read_from_its_own_file() {
    let folder = folder(&[
        ("stitch.json", r#"{"app_id":"old-abcde"}"#),
        (
            "auth_providers/custom-token.json",
            r#"{"id":"5e67","name":"custom-token","type":"custom-token","config":{}}"#,
        ),
    ]);
    let read = good(folder.path());
    assert_eq!(read.identity["custom-token"].keys().collect::<Vec<_>>(), ["config", "disabled", "name", "type"]);
    let file = folder.path().join("auth_providers/custom-token.json").display().to_string();
    assert_eq!(read.file_of("custom-token"), file);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let folder = folder(&[
        ("realm_config.json", r#"{"app_id":"a b","allowed_request_origins":["*","a"]}"#),
        (".mdb/meta.json", "{"),
        ("auth/providers.json", r#"{"anon-user":{"disabled":1,"name":"x","x":1},"oauth2-facebook":{},"saml":{}}"#),
    ]);
    let faults = faults(folder.path());
    let keys: Vec<_> = faults.lines().map(|line| line.rsplit(".json: ").next().unwrap()).collect();
    assert_eq!(keys.len(), 9, "{faults}");
    assert!(keys[0].ends_with("meta.json:1:1: is not valid JSON: EOF while parsing an object"), "{faults}");
    for (line, part) in keys[1..].iter().zip([
        "app_id",
        "allowed_request_origins: \"*\"",
        "allowed_request_origins: \"a\"",
        "anon-user.name",
        "anon-user.dis",
        "anon-user.x",
        "oauth2-face",
        "saml",
    ]) {
        assert!(line.starts_with(part), "{line}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_with_file_key_and_reason() {
    let cases = [
        (
            r#"{"anon-user":{"name":"anon-user","type":"anon-user","disabled":false,"config":{}}}"#,
            "anon-user.config: there is no such option, anon-user has only name, type and disabled",
        ),
        (
            r#"{"anon-user":{"name":"guest","type":"anon-user","disabled":false}}"#,
            r#"anon-user.name: expected "anon-user" as in the provider's key, found "guest""#,
        ),
        (
            r#"{"anon-user":{"name":"anon-user","type":"api-key","disabled":false}}"#,
            r#"anon-user.type: expected "anon-user" as in the provider's key, found "api-key""#,
        ),
        (r#"{"anon-user":{"disabled":"yes"}}"#, r#"anon-user.disabled: expected true or false, found "yes""#),
        (r#"{"anon-user":true}"#, "anon-user: expected an object, found true"),
        (r#"{"anon_user":{}}"#, "anon_user: there is no such provider (did you mean \"anon-user\"?)"),
        (r#"{"saml":{}}"#, "saml: there is no such provider"),
        (
            r#"{"custom-function":{"name":"custom-function","type":"custom-function","disabled":false}}"#,
            r#"custom-function: is enabled, but this server does not have that provider: set "disabled" to true"#,
        ),
        (
            r#"{"oauth2-facebook":{"name":"oauth2-facebook","type":"oauth2-facebook"}}"#,
            r#"oauth2-facebook: is enabled, but this server does not have that provider: set "disabled" to true"#,
        ),
        (r#"{"anon-user":{"disabled":true}"#, "1:30: is not valid JSON: EOF while parsing an object"),
        ("{\n\"api-key\":{},\n\"api-key\":{\"disabled\":true}}", "3:9: \"api-key\" is there twice"),
        (r#"{"anon-user":{"disabled":true,"disabled":false}}"#, "1:40: \"disabled\" is there twice"),
        ("[]", "expected a JSON object"),
    ];
    for (text, expected) in cases {
        let folder = folder(&[("auth/providers.json", text)]);
        let file = folder.path().join("auth/providers.json");
        let between = if expected.starts_with(|first: char| first.is_ascii_digit()) { ":" } else { ": " };
        assert_eq!(faults(folder.path()), format!("{}{between}{expected}", file.display()));
    }
    for provider in ["custom-function", "oauth2-facebook"] {
        let folder = folder(&[("auth/providers.json", &format!(r#"{{"{provider}":{{"disabled":false}}}}"#))]);
        assert!(faults(folder.path()).contains(&format!(": {provider}: is enabled")));
    }
}

#[test]
fn the_other_files_are_checked_too() {
    const OFF: Named = ("auth/providers.json", "{}");
    let cases = [
        (
            ("stitch.json", r#"{"app_id":"old-abcde","services":[]}"#),
            "the first exports of Stitch (2017) had a whole app in one file, which is not read: export the app anew, or write its \
                 providers into auth/providers.json",
        ),
        (
            ("root_config.json", r#"{"allowed_request_origins":"*"}"#),
            r#"allowed_request_origins: expected a list of origins, found "*""#,
        ),
        (
            ("realm_config.json", r#"{"allowed_request_origins":["https://a.example/path"]}"#),
            "allowed_request_origins: \"https://a.example/path\" is not an origin: expected scheme://host[:port] \
                 and no more",
        ),
        (
            ("realm_config.json", r#"{"allowed_request_origins":[1]}"#),
            "allowed_request_origins: expected a list of origins, found 1 in it",
        ),
        (("realm_config.json", r#"{"app_id":"a b"}"#), "app_id: expected 1 to 64 of A-Z a-z 0-9 _ -, found \"a b\""),
        ((".mdb/meta.json", r#"{"client_app_id":7}"#), "client_app_id: expected 1 to 64 of A-Z a-z 0-9 _ -, found 7"),
    ];
    for (file, expected) in cases {
        let folder = folder(&[OFF, file]);
        let path = folder.path().join(file.0);
        assert_eq!(faults(folder.path()), format!("{}: {expected}", path.display()));
    }
}

#[test]
fn what_a_broken_file_would_tell_is_not_said_to_be_missing() {
    const OFF: Named = ("auth/providers.json", "{}");
    let told = |files: &[Named]| {
        let folder = folder(files);
        let mut wrong = SettingsErrors::default();
        let read = read(folder.path(), &mut wrong).unwrap();
        (format!("{:?}", read.app_id()), wrong.iter().count())
    };
    assert_eq!(told(&[OFF, ("realm_config.json", r#"{"app_id":"a-bcdef"}"#)]), ("Told(\"a-bcdef\")".to_owned(), 0));
    assert_eq!(told(&[OFF, ("realm_config.json", "{}")]), ("Untold".to_owned(), 0));
    assert_eq!(told(&[OFF, ("realm_config.json", "{")]), ("Unreadable".to_owned(), 1));
    assert_eq!(told(&[OFF, ("realm_config.json", r#"{"app_id":"a b"}"#)]), ("Unreadable".to_owned(), 1));
    assert_eq!(told(&[OFF, (".mdb/meta.json", "[]")]), ("Unreadable".to_owned(), 1));
}

#[test]
fn a_folder_without_its_files_is_refused() {
    let empty = folder(&[]);
    let file = empty.path().join("auth/providers.json");
    assert_eq!(faults(empty.path()), format!("{}: is missing", file.display()));
    let nowhere = empty.path().join("nowhere");
    assert_eq!(faults(&nowhere), format!("{}: is not a folder", nowhere.display()));
    std::fs::write(&nowhere, "{}").unwrap();
    assert!(faults(&nowhere).contains("is a file, and not a folder: the first exports of Stitch (2017)"));
}

#[test]
fn what_is_written_is_read_back_and_what_else_is_there_stays() {
    let custom = r#"{"enabled":false,"database_name":"app"}"#;
    let exported = folder(&[
        ("realm_config.json", r#"{"app_id":"todo-abcde","allowed_request_origins":["https://A.example/"]}"#),
        ("auth/providers.json", r#"{"anon-user":{"disabled":true},"custom-token":{"config":{"audience":"x"}}}"#),
        ("auth/custom_user_data.json", custom),
    ]);
    let content = AppContent { refresh_token_expiration_s: Some(3600), ..good(exported.path()).content };
    let new = tempfile::tempdir().unwrap();
    let new = new.path().join("app");
    write(&content, "todo-abcde", &new).unwrap();
    let read = good(&new);
    assert_eq!((&read.content, read.app_id.as_deref()), (&content, Some("todo-abcde")));
    assert!(read.unserved.is_empty(), "{:?}", read.unserved);

    let root = r#"{"name":"Todo","environment":"qa","security":{"allowed_request_origins":["https://b.example"]}}"#;
    let old = folder(&[
        ("root_config.json", root),
        ("functions/f.js", "exports = 1"),
        ("auth/providers.json", "{}"),
        ("auth/custom_user_data.json", r#"{"enabled":true}"#),
    ]);
    write(&AppContent::default(), "todo-abcde", old.path()).unwrap();
    assert_eq!(good(old.path()).content, AppContent::default());
    let text = |name: &str| std::fs::read_to_string(old.path().join(name)).unwrap();
    assert!(text("root_config.json").contains("\"environment\": \"qa\"") && text("root_config.json").contains("Todo"));
    assert_eq!(text("functions/f.js"), "exports = 1");

    let broken = folder(&[("root_config.json", "{")]);
    let error = write(&content, "todo-abcde", broken.path()).unwrap_err();
    assert!(error.to_string().contains("is not valid JSON"), "{error}");
    assert_eq!(std::fs::read_to_string(broken.path().join("root_config.json")).unwrap(), "{");
}
