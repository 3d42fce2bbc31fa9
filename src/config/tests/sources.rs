//! Where settings come from, and which goes before which.

use super::*;

#[test]
fn the_tables_of_providers_are_shown_and_can_be_read_back() {
    let file = "[provider.custom_token]\nmetadata_fields = [{ name = \"a.b\", required = true }]\n\
                [provider.custom_token.config]\nsigningAlgorithm = \"EdDSA\"\n\
                [provider.oidc.corp]\nissuer = \"https://a.example\"\nscopes = [\"email\", \"x\"]\n\
                [provider.oidc.\"a b\"]\nissuer = \"\"\n";
    let loaded = load_all(file, &[], &[]).unwrap();
    let lines = loaded.effective();
    for line in [
        "provider.custom_token.config.signingAlgorithm = \"EdDSA\" # ",
        "provider.custom_token.metadata_fields = [{ name = \"a.b\", required = true }] # ",
        "provider.oidc.corp.scopes = [\"email\", \"x\"] # ",
        "provider.oidc.\"a b\".issuer = \"\" # ",
    ] {
        assert!(lines.contains(line), "{line} in {lines}");
    }
    let (tables, again) = (loaded.provider_tables(), load_all(&lines, &[], &[]).unwrap());
    assert_eq!(again.provider_tables().single("custom_token"), tables.single("custom_token"));
    assert!(again.provider_tables().several("oidc").eq(tables.several("oidc")));
    assert_eq!(tables.several("oidc").map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a b", "corp"]);
    assert!(load_all("", &[("PASSERBY_PROVIDER_OIDC_CORP_ISSUER", "https://a.example")], &[]).is_err());
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = "workers = 1\napp_id = \"file\"\ndurability = \"os\"\n[http]\nmax_body = 2000\nkeep_alive = 7\n";
    let variables = [("PASSERBY_WORKERS", "2"), ("PASSERBY_APP_ID", "env"), ("PASSERBY_HTTP_MAX_BODY", "3000")];
    let loaded = load_all(file, &variables, &[("workers", "3")]).unwrap();
    let settings = loaded.settings();
    assert_eq!(settings.workers, Some(3));
    assert_eq!(settings.app_id, "env");
    assert_eq!(settings.durability, Durability::Os);
    assert_eq!((settings.http.max_body, settings.http.keep_alive), (3000, Duration::from_secs(7)));
    let lines = loaded.effective();
    for line in [
        "workers = 3 # flag --workers\n",
        "app_id = \"env\" # environment variable PASSERBY_APP_ID\n",
        "trusted_proxies = [] # default\n",
        "# max_users is not set: 60 % of",
    ] {
        assert!(lines.contains(line), "{line} in {lines}");
    }
}

#[test]
fn the_effective_settings_can_be_read_back() {
    let file = "allowed_origins = [\"https://a.example\"]\ntrusted_proxies = [\"10.0.0.0/8\"]\nlimits = \"off\"\n";
    let loaded = load_all(file, &[], &[]).unwrap();
    let again = load_all(&loaded.effective(), &[], &[]).unwrap();
    assert_eq!(again.settings(), loaded.settings());
}

#[test]
fn variables_of_others_are_let_be() {
    let variables = [
        ("PATH", "/bin"),
        ("PASSERBY_PASSPHRASE", "secret"),
        ("PASSERBY_CONFIG", "p.toml"),
        ("PASSERBY_SECRET_JWT_KEY", "secret"),
        ("PASSERBY_SERVICE_HOST", "10.0.0.1"),
        ("PASSERBY_SERVICE_PORT_HTTP", "80"),
        ("PASSERBY_PORT", "tcp://10.0.0.1:80"),
        ("PASSERBY_ADMIN_PORT_8081_TCP_ADDR", "10.0.0.2"),
    ];
    assert!(load_all("", &variables, &[]).is_ok());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_refused_only_if_it_is_ours() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let odd = || OsString::from_vec(vec![0xff]);
    assert_eq!(environment([("OTHER", odd())]), Ok(vec![]));
    let error = environment([("PASSERBY_APP_ID", odd())]).unwrap_err().to_string();
    assert_eq!(error, "environment variable PASSERBY_APP_ID: is not valid UTF-8");
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let error = load(&ConfigFile::Named("/nonexistent/p.toml".into()), &[], &[]).unwrap_err().to_string();
    assert_eq!(error, "/nonexistent/p.toml: cannot be read: No such file or directory (os error 2)");
    assert!(load(&ConfigFile::IfPresent("/nonexistent/p.toml".into()), &[], &[]).is_ok());
}

#[test]
fn an_app_folder_goes_before_the_defaults_and_behind_all_else() {
    let origins = ["https://a.example".to_owned()];
    let adopt = |file: &str| {
        let loaded = load_all(file, &[], &[]).unwrap();
        let mut wrong = SettingsErrors::default();
        loaded.adopt("app", FolderAppId::Told("todo-abcde"), &origins, &mut wrong).filter(|_| wrong.is_empty()).unwrap()
    };
    let loaded = adopt("");
    assert_eq!(
        (loaded.settings().app_id.as_str(), &loaded.settings().allowed_origins[..]),
        ("todo-abcde", &origins[..])
    );
    assert!(loaded.effective().contains("app_id = \"todo-abcde\" # app\n"));
    let loaded = adopt("app_id = \"passerby\"\nallowed_origins = [\"https://b.example\"]");
    assert_eq!(loaded.settings().app_id, "passerby");
    assert_eq!(loaded.settings().allowed_origins, ["https://b.example"]);
    let without = |file: &str, app_id: FolderAppId<'_>| {
        let mut wrong = SettingsErrors::default();
        load_all(file, &[], &[]).unwrap().adopt("app", app_id, &[], &mut wrong);
        wrong.to_string()
    };
    let untold = without("", FolderAppId::Untold);
    assert!(untold.starts_with("app: tells no app id, "), "clients would not find the default one");
    assert_eq!(without("app_id = \"passerby\"", FolderAppId::Untold), "");
    assert_eq!(without("", FolderAppId::Unreadable), "", "its fault is said already");
}
