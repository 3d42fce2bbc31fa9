//! The table: its defaults, its explanations and the settings' fields agree.

use super::*;

#[test]
fn nothing_set_gives_the_defaults() {
    let nowhere = ConfigFile::IfPresent("/nonexistent/passerby.toml".into());
    let settings = load(&nowhere, &[], &[]).unwrap().settings().clone();
    let expected = Settings {
        listen: "127.0.0.1:8080".parse().unwrap(),
        admin_listen: "127.0.0.1:8081".parse().unwrap(),
        admin: AdminRules { hosts: vec![], audit_days: 400, audit_max: 100_000, tls: TlsFiles::default() },
        tls: TlsFiles::default(),
        admin_insecure: false,
        data_dir: "./data".into(),
        storage: Storage::Disk,
        keys_dir: "./data/keys".into(),
        app_id: "passerby".into(),
        app_dir: None,
        secrets_file: None,
        access_alg: AccessAlg::EdDsa,
        durability: Durability::Fsync,
        public_url: None,
        trusted_proxies: vec![],
        allowed_origins: vec![],
        workers: None,
        max_users: None,
        limits: true,
        clear_site_data: true,
        expiry: Expiry { window_s: 90 * 86_400, unused_s: 0, touch_granularity_s: 3600 },
        ids: IdRules { user: UserIds::Auto },
        session: SessionRules { lifetime_s: 60 * 86_400, max_per_user: 50, fresh_s: 86_400 },
        merge: MergeRules { oldest_created: false },
        data: DataRules {
            max_document: 16_384,
            max_bytes: None,
            merge: KeyRule::Deep,
            merge_keys: BTreeMap::new(),
            token_fields: vec![],
            work: 1024,
            work_burst: 4096,
            work_all: 8192,
        },
        transfer: TransferRules::default(),
        auth: AuthRules { hide_accounts: false, shared_callback: None },
        budget: BudgetRules {
            create: 60,
            create_burst: 300,
            create_all: 2000,
            link: 60,
            link_burst: 120,
            link_all: 500,
            bad_tokens: 60,
            bad_tokens_burst: 300,
            bad_tokens_all: 5000,
            work: 60,
            work_burst: 600,
            work_all: 500,
            sockets: 2000,
            connections: None,
            share: 5,
        },
        demo: None,
        test: false,
        meters: BTreeMap::new(),
        cookie: CookieRules { domain: None, partitioned: false },
        mail: MailSettings::default(),
        refresh: Refresh { grace: true },
        link: LinkRules { end_session: false },
        outbound: OutboundRules { allow: vec![] },
        actors: Actors { idle: Duration::from_secs(60), max_live: 100_000 },
        admission: Admission { permits: 4096 },
        http: Http {
            index: true,
            max_body: 65_536,
            max_connections: 25_000,
            max_sockets: 20_000,
            client_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(75),
            request_timeout: Duration::from_secs(10),
        },
        drain: Drain { notice: Duration::ZERO, timeout: Duration::from_secs(30) },
        log: Log { format: LogFormat::Human, filter: "info,actix_server=warn,actix_http=off".into() },
    };
    assert_eq!(settings, expected);
    assert_eq!(settings.policy(), Policy::default());
}

/// The names of a struct's fields, which serde lists when it meets one that is not there.
fn fields<T: serde::de::DeserializeOwned + std::fmt::Debug>(section: &str) -> Vec<String> {
    let error = serde_json::from_value::<T>(json!({ "-": 0 })).unwrap_err().to_string();
    let (_, known) = error.split_once("expected ").unwrap();
    known.split('`').skip(1).step_by(2).map(|field| format!("{section}{field}")).collect()
}

#[test]
fn table_and_settings_agree() {
    let mut of_struct: BTreeSet<String> = fields::<Settings>("").into_iter().collect();
    for (section, inside) in [
        ("expiry", fields::<Expiry>("expiry.")),
        ("ids", fields::<IdRules>("ids.")),
        ("session", fields::<SessionRules>("session.")),
        ("refresh", fields::<Refresh>("refresh.")),
        ("link", fields::<LinkRules>("link.")),
        ("merge", fields::<MergeRules>("merge.")),
        ("data", fields::<DataRules>("data.")),
        ("transfer", fields::<TransferRules>("transfer.")),
        ("auth", fields::<AuthRules>("auth.")),
        ("cookie", fields::<CookieRules>("cookie.")),
        ("budget", fields::<BudgetRules>("budget.")),
        ("mail", fields::<MailSettings>("mail.")),
        ("outbound", fields::<OutboundRules>("outbound.")),
        ("actors", fields::<Actors>("actors.")),
        ("admission", fields::<Admission>("admission.")),
        ("http", fields::<Http>("http.")),
        ("drain", fields::<Drain>("drain.")),
        ("admin", fields::<AdminRules>("admin.")),
        ("admin.tls", fields::<TlsFiles>("admin.tls.")),
        ("tls", fields::<TlsFiles>("tls.")),
        ("log", fields::<Log>("log.")),
    ] {
        assert!(of_struct.remove(section), "{section}");
        of_struct.extend(inside);
    }
    let of_table: BTreeSet<String> = TABLE.iter().map(|setting| setting.key.to_owned()).collect();
    assert_eq!(of_struct, of_table);
    assert_eq!(of_table.len(), TABLE.len(), "no key twice");
    let variables: BTreeSet<String> = TABLE.iter().map(Setting::env).collect();
    assert_eq!(variables.len(), TABLE.len(), "no variable twice");
}

#[test]
fn every_key_is_accepted_from_the_environment_and_explained_with_its_actual_default() {
    let text = explain();
    for setting in TABLE {
        let sample = match setting.default {
            Fallback::Value(value) => {
                let accepted = setting.kind.accept(&setting.kind.typed(value));
                assert_eq!(accepted, Ok(setting.kind.typed(value)), "{}: the default is in its one form", setting.key);
                value
            }
            Fallback::Unset(_) if matches!(setting.key, "public_url" | "transfer.page") => "https://a.example",
            Fallback::Unset(_) if setting.key == "cookie.domain" => "a.example",
            Fallback::Unset(_) => "7",
        };
        let env = setting.env();
        // a certificate and its key go together
        let beside = TABLE.iter().map(Setting::env).filter(|other| {
            let section = setting.key.strip_suffix("tls.cert").or(setting.key.strip_suffix("tls.key"));
            let begin = |section: &str| format!("PASSERBY_{}TLS_", section.replace('.', "_").to_uppercase());
            section.is_some_and(|section| other.starts_with(&begin(section)))
        });
        let beside: Vec<_> = beside.collect();
        let variables: Vec<_> = beside.iter().map(String::as_str).chain([&*env]).map(|env| (env, sample)).collect();
        let loaded = load_all("", &variables, &[]).unwrap();
        let line = format!("# environment variable {env}\n");
        assert!(loaded.effective().contains(&line), "{}", setting.key);
        assert!(text.contains(&format!("\n{}\n    {}\n", setting.key, setting.about)), "{}", setting.key);
        assert!(setting.about.ends_with('.') && !setting.about.contains(". "), "{}: one sentence", setting.key);
    }
    let block = "\nhttp.max_body\n    The longest request body.\n    range: 1024 to 16777216 bytes\n    \
                 default: 65536 bytes\n    environment PASSERBY_HTTP_MAX_BODY\n";
    assert!(text.contains(block), "{text}");
    let block = "default: 127.0.0.1:8080\n    environment PASSERBY_LISTEN, flag --listen\n";
    assert!(text.contains(block), "{text}");
}

#[test]
fn the_tables_of_providers_are_explained() {
    let of_issuers = fields::<crate::provider::oidc::OidcSettings>("provider.oidc.NAME.");
    let explained: Vec<_> = tables::EXPLAINED.iter().map(|explained| explained.key).collect();
    assert_eq!(of_issuers, explained.iter().filter(|key| key.contains(".oidc.")).copied().collect::<Vec<_>>());
    let text = explain();
    for key in explained {
        assert!(text.contains(&format!("\n{key}\n    ")), "{key}");
    }
    let block = "\nprovider.oidc.NAME.scopes\n    What is asked for beside openid.\n    range: a list of scopes\n    \
                 default: empty\n    in passerby.toml only\n";
    assert!(text.contains(block), "{text}");
}

/// They stand in the table alone, from which `passerby config --explain`, the flags and the checks come.
#[test]
fn comments_of_settings_repeat_neither_default_nor_range() {
    let comments = include_str!("../mod.rs").lines().filter(|line| line.trim_start().starts_with("///"));
    let told: Vec<_> = comments.filter(|line| line.contains("Default ") || line.contains(" 1 to ")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
