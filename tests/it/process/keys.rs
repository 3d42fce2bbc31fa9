//! Signing keys, and secrets of providers.

use super::*;

/// S2: without its keys no start lets users in, and until then no one would notice.
#[test]
fn keys_that_are_removed_are_noticed_and_no_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, keys, log) = (folder.path().join("data"), folder.path().join("keys"), folder.path().join("log"));
    let keys_dir = ["--keys-dir", keys.to_str().unwrap()];
    let process = Process::start_with(&data, &keys_dir, &[], logging_to(&log));
    let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
    let reasons = || {
        let ready = call(&process.admin, "GET", "/readyz", None);
        assert_eq!(ready.status, 200, "{}", ready.body);
        ready.body["reasons"].clone()
    };
    let wait_for = |missing: bool| {
        wait_until("it is noticed", || (reasons() == serde_json::json!(["keys-missing"])) == missing);
        assert_eq!(metric(&process.admin, "passerby_keys_missing"), u64::from(missing));
    };
    // one of access tokens may go, since their clients refresh them
    let of = |parts: &str| {
        let list = words(&run(&data, &[["keys", "list"].as_slice(), &keys_dir].concat()));
        let line = list.lines().find(|line| parts.split(' ').all(|part| line.contains(part)));
        line.unwrap_or_else(|| panic!("{list}")).split(' ').next().unwrap().to_owned()
    };
    assert!(run(&data, &[["keys", "rotate"].as_slice(), &keys_dir].concat()).status.success());
    let retired = of("access verifying");
    let retire = ["keys", "retire", retired.as_str(), "--yes"];
    assert!(run(&data, &[retire.as_slice(), &keys_dir].concat()).status.success());

    let refresh = of("refresh");
    let file = keys.join(format!("{refresh}.json"));
    let away = folder.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    wait_for(true);
    std::fs::rename(&away, &file).unwrap();
    wait_for(false);
    std::fs::rename(&keys, &away).unwrap();
    wait_for(true);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201, "what is in memory goes on");
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
    std::fs::rename(&away, &keys).unwrap();
    wait_for(false);
    process.stop();
    let said = std::fs::read_to_string(&log).unwrap();
    let errors: Vec<_> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 2, "once each time: {said}");
    assert!(errors[0].contains(&format!("the signing key {refresh} (refresh) was removed")), "{said}");
    assert!(errors.iter().all(|line| line.contains("put the key files back")), "{said}");
    assert_eq!(said.matches("the signing keys are in their place again").count(), 2, "{said}");
}

/// S29: a rotated key signs, the one before verifies, and no token is refused; retired, it verifies nothing.
#[test]
fn keys_are_listed_rotated_retired_exported_and_imported() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &[]);
    let session = call(&process.public, "POST", "/v1/sessions", None).body;
    let (access, refresh) = (text(&session, "access_token"), text(&session, "refresh_token"));
    process.stop();

    let before = words(&run(&data, &["keys", "list"]));
    assert_eq!(before.lines().count(), 3, "{before}");
    for line in before.lines() {
        let created = line.rsplit_once(" created ").unwrap().1.parse::<jiff::Timestamp>().unwrap();
        assert!(created.as_second() > 1_700_000_000, "in a form that people and programs read: {line}");
    }
    for id in before.lines().map(|line| line.split(' ').next().unwrap()) {
        let refused = run(&data, &["keys", "retire", id]);
        assert!(words(&refused).contains("is the one that signs: rotate first"), "{}", words(&refused));
        assert_eq!(refused.status.code(), Some(1));
    }
    assert!(words(&run(&data, &["keys", "publish"])).contains("signs after the next `keys rotate`"));
    assert!(words(&run(&data, &["keys", "list"])).contains("published"));
    assert!(words(&run(&data, &["keys", "publish"])).contains("is published already"));
    assert!(run(&data, &["keys", "rotate"]).status.success());
    assert!(run(&data, &["keys", "rotate", "refresh"]).status.success());
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
    assert_eq!(call(&process.public, "GET", "/.well-known/jwks.json", None).body["keys"].as_array().unwrap().len(), 2);
    let response = call(&process.public, "POST", "/v1/session/refresh", Some(&refresh));
    assert_eq!(response.status, 200);
    let newer = text(&response.body, "refresh_token");
    process.stop();

    let export = folder.path().join("keys.export");
    let exported = run(&data, &["keys", "export", export.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", words(&exported));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&export).unwrap().permissions().mode() & 0o777, 0o600);

    let list = words(&run(&data, &["keys", "list"]));
    let old = list.lines().find(|line| line.contains("refresh") && line.contains("verifying")).unwrap();
    let old = old.split(' ').next().unwrap();
    let asked = words(&run(&data, &["keys", "retire", old]));
    assert!(asked.contains("up to 1 users") && asked.contains("--yes"), "{asked}");
    let serving = Process::start(&data, &[]);
    let refused = run(&data, &["keys", "retire", old, "--yes"]);
    assert!(words(&refused).contains("may still sign"), "{}", words(&refused));
    serving.stop();
    assert!(run(&data, &["keys", "retire", old, "--yes"]).status.success());
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/session/refresh", Some(&refresh)).status, 401);
    assert_eq!(call(&process.public, "POST", "/v1/session/refresh", Some(&newer)).status, 200);
    process.stop();

    let imported = words(&run(&data, &["keys", "import", export.to_str().unwrap()]));
    assert!(imported.starts_with("1 new keys"), "{imported}");
    assert_eq!(words(&run(&data, &["keys", "list"])).lines().count(), 5);
    let wrong = passerby()
        .args(["keys", "import", export.to_str().unwrap(), "--data-dir", data.to_str().unwrap()])
        .env("PASSERBY_PASSPHRASE", "wrong")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{}", words(&wrong));
}

/// A provider whose secret is missing stops `serve` and `check` in one line that shows no secret; keys and settings
/// can be looked after without it.
#[test]
fn a_provider_without_its_secret_is_refused_at_start() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (data, app, secrets) =
        (folder.path().join("data"), folder.path().join("app"), folder.path().join("secrets.toml"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    let providers = r#"{"custom-token":{"name":"custom-token","type":"custom-token","disabled":false,
        "config":{"signingAlgorithm":"HS256"},"secret_config":{"signingKeys":["jwt-key"]}}}"#;
    std::fs::write(app.join("auth/providers.json"), providers).unwrap();
    std::fs::write(app.join("realm_config.json"), r#"{"app_id":"todo-abcde"}"#).unwrap();
    let app = app.to_str().unwrap();
    for command in ["serve", "check"] {
        let refused = run(&data, &[command, "--app-dir", app]);
        assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
        let line = words(&refused);
        assert!(
            line.contains("providers.json: custom-token.secret_config.signingKeys: there is no secret \"jwt-key\""),
            "{line}"
        );
        assert_eq!(line.trim().lines().count(), 1, "{line}");
    }
    assert!(run(&data, &["config", "--app-dir", app]).status.success());
    std::fs::write(&secrets, "jwt-key = \"0123456789abcdef0123456789abcdef\"\n").unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600)).unwrap();
    let files = ["check", "--app-dir", app, "--secrets-file", secrets.to_str().unwrap()];
    let good = run(&data, &[files.as_slice(), &FREE_PORTS].concat());
    assert!(words(&good).contains("providers: custom-token\n"), "{}", words(&good));
}
