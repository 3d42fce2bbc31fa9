//! Values, and how wrong ones are refused.

use super::*;

/// An error of the file without line and column.
fn without_place(error: &str) -> String {
    let Some((file, rest)) = error.split_once("passerby.toml:") else { return error.to_owned() };
    let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ':');
    format!("{file}passerby.toml:{rest}")
}

#[test]
fn values_are_brought_into_one_form() {
    let file = "data_dir = \"/srv/p\"\npublic_url = \"https://Auth.Example:443/\"\n\
                allowed_origins = [\"HTTP://a.example:80\", \"capacitor://localhost\", \"http://[::1]:3000\"]\n\
                trusted_proxies = [\"10.1.2.3/8\", \"192.0.2.1\", \"fd00::/8\"]\nlimits = \"off\"\n\
                [refresh]\ngrace = 0\n";
    let settings = settings(file);
    assert_eq!(settings.keys_dir, Path::new("/srv/p/keys"));
    assert_eq!(settings.public_url.as_deref(), Some("https://auth.example"));
    assert_eq!(settings.allowed_origins, ["http://a.example", "capacitor://localhost", "http://[::1]:3000"]);
    let networks: Vec<_> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]);
    assert!(!settings.limits && !settings.refresh.grace);
    let allow = [("PASSERBY_OUTBOUND_ALLOW", "https://IDP.internal:443/, http://127.0.0.1:4000")];
    let loaded = load_all("", &allow, &[]).unwrap();
    assert_eq!(loaded.settings().outbound.allow, ["https://idp.internal", "http://127.0.0.1:4000"]);
    let loaded = load_all("", &[("PASSERBY_TRUSTED_PROXIES", "10.0.0.1, fd00::1,")], &[]).unwrap();
    assert_eq!(loaded.settings().trusted_proxies.len(), 2);
}

#[test]
fn a_wrong_file_is_refused_in_one_line() {
    let cases = [
        (
            "listen = \"localhost\"",
            "listen: expected an address and a port such as 127.0.0.1:8080 or localhost:8080, found \"localhost\"",
        ),
        (
            "listen = 8080",
            "listen: expected an address and a port such as 127.0.0.1:8080 or localhost:8080, found 8080",
        ),
        ("listn = \"127.0.0.1:1\"", "listn: there is no such setting: did you mean listen?"),
        ("[http]\nbody = 1", "http.body: there is no such setting, see `passerby config --explain`"),
        ("[http]\nmaxbody = 1", "http.maxbody: there is no such setting: did you mean http.max_body?"),
        ("max_body = 1", "max_body: there is no such setting: did you mean http.max_body?"),
        ("[htp]\nmax_body = 1", "htp: there is no such setting: did you mean http?"),
        ("[providers.oidc.a]\nissuer = \"x\"", "providers: there is no such setting: did you mean provider?"),
        (
            "[provider.google]\nclient_id = \"x\"",
            "provider.google: there is no such setting: logins with Google are [provider.oidc.NAME] with issuer = \
             \"https://accounts.google.com\", client_id and client_secret",
        ),
        (
            "[provider.custom-token]",
            "provider.custom-token: there is no such setting: did you mean provider.custom_token?",
        ),
        (
            "[provider.oidc.a]\nclient = \"x\"\nclient_ids = \"x\"",
            "provider.oidc.a.client: there is no such setting, see `passerby config --explain`\npasserby.toml:3:1: \
             provider.oidc.a.client_ids: there is no such setting: did you mean provider.oidc.a.client_id?",
        ),
        (
            "[expiry]\nwindow = \"soon\"",
            "expiry.window: expected seconds, or a text such as 90d, 12h, 30m, 45s or 1d12h, found \"soon\"",
        ),
        ("[http]\nkeep_alive = \"2h\"", "http.keep_alive: \"2h\": 7200 is not in 1 to 3600 s"),
        (
            "[http]\nmax_body = \"64 kilos\"",
            "http.max_body: expected bytes, or a text such as 64KiB, 2MiB or 1GiB, found \"64 kilos\"",
        ),
        ("http = 1", "http: expected a table of settings, found 1"),
        ("workers = \"two\"", "workers: expected a whole number, found \"two\""),
        ("workers = 2.5", "workers: expected a whole number, found 2.5"),
        ("workers = 0", "workers: 0 is not in 1 to 1024"),
        ("[workers]\nn = 1", "workers: expected a whole number, found a table"),
        ("access_alg = \"RS256\"", "access_alg: expected EdDSA or ES256 or HS256, found \"RS256\""),
        ("limits = true", "limits: expected on or off, found true"),
        ("clear_site_data = \"yes\"", "clear_site_data: expected true or false, found \"yes\""),
        ("app_id = \"a/b\"", "app_id: expected 1 to 64 of A-Z a-z 0-9 _ -, found \"a/b\""),
        ("data_dir = \"\"", "data_dir: expected a path, found \"\""),
        (
            "public_url = \"ftp://a.example\"",
            "public_url: expected http:// or https://, host, port, found \"ftp://a.example\"",
        ),
        (
            "public_url = \"https://a.example/auth\"",
            "public_url: \"https://a.example/auth\" is not an origin: expected scheme://host[:port] and no more",
        ),
        (
            "allowed_origins = [\"*\"]",
            "allowed_origins[0]: \"*\" is not an origin: expected scheme://host[:port] and no more",
        ),
        (
            "trusted_proxies = [\"10.0.0.0/33\"]",
            "trusted_proxies[0]: \"10.0.0.0/33\" is not a network: expected one like 10.0.0.0/8 or fd00::/8",
        ),
        ("trusted_proxies = \"10.0.0.1\"", "trusted_proxies: expected a list of networks, found \"10.0.0.1\""),
        (
            "[outbound]\nallow = [\"http://idp.example\"]",
            "outbound.allow[0]: \"http://idp.example\" is not https: http may only name loopback",
        ),
        (
            "[outbound]\nallow = \"https://a.example\"",
            "outbound.allow: expected a list of origins, found \"https://a.example\"",
        ),
        ("secrets_file = 1", "secrets_file: expected a path, found 1"),
        ("trusted_proxies = [1]", "trusted_proxies[0]: expected a list of texts, found 1 in it"),
        (
            "[expiry]\nwindow = 43200",
            "expiry.touch_granularity: 3600 s is more than 1/24 of expiry.window (43200 s): at most 1800 s",
        ),
        ("admin_listen = \"127.0.0.1:8080\"", "admin_listen: 127.0.0.1:8080 is the public listener's address"),
        ("[tls]\ncert = \"c.pem\"", "tls.key: is needed with tls.cert"),
        ("[admin.tls]\nkey = \"k.pem\"", "admin.tls.cert: is needed with admin.tls.key"),
        ("tls.cert = \"\"", "tls.cert: expected a path, found \"\""),
        (
            "[log]\nfilter = \"passerby=loud\"",
            "log.filter: \"passerby=loud\" is not a filter: error parsing level filter: expected one of \"off\", \
             \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
        ),
    ];
    for (file, expected) in cases {
        let error = without_place(&load_all(file, &[], &[]).unwrap_err());
        assert_eq!(error, format!("passerby.toml: {expected}"), "{file}");
    }
}

#[test]
fn errors_of_the_file_say_line_and_column_and_all_are_said_at_once() {
    for (file, places) in [
        ("workers = = 1", vec!["passerby.toml:1:11: is not TOML: "]),
        ("\u{feff}a = 1\nb = [1,\n", vec!["passerby.toml:2:8: is not TOML: "]),
        ("a = 1\na = 2\n", vec!["passerby.toml:2:1: is not TOML: "]),
        ("# one\n\n  lisen = 1\n", vec!["passerby.toml:3:3: lisen: "]),
        (
            "workers = 0\napp_id = \"a/b\"\n[http]\nmax_body = 1\n[meter.a]\nlimit = 0\n[provider.api_key]\nenabled = 1\n",
            vec![
                "passerby.toml:8:1: provider.api_key.enabled: ",
                "passerby.toml:6:1: meter.a.limit: ",
                "passerby.toml:2:1: app_id: ",
                "passerby.toml:4:1: http.max_body: ",
                "passerby.toml:1:1: workers: ",
            ],
        ),
    ] {
        let errors = load_all(file, &[], &[]).unwrap_err();
        assert_eq!(errors.lines().count(), places.len(), "{errors}");
        for (error, place) in errors.lines().zip(places) {
            assert!(error.starts_with(place), "{error}: {place}");
        }
    }
    // every item of a list, every option of a table, and numbers that are too large for the parser to say where they are
    for (file, faults) in [
        (
            "trusted_proxies = [\"a\", \"10.0.0.0/8\", 7]\n",
            vec![
                "1:20: trusted_proxies[0]: \"a\" is not a network",
                "1:39: trusted_proxies[2]: expected a list of texts, found 7",
            ],
        ),
        (
            "[meter.a]\nlimit = 0\nwindow = \"year\"\nonce = 1\nmerge = \"min\"\nfree = 1\n",
            vec![
                "6:1: meter.a.free: there is no such",
                "2:1: meter.a.limit: expected 1 to",
                "5:1: meter.a.merge: expected sum or max",
                "4:1: meter.a.once: expected true or false",
                "3:1: meter.a.window: expected day, week",
            ],
        ),
        (
            "max_users = 99999999999999999999\nworkers = 0\n[meter.a]\nlimit = 0xffffffffffffffffff\n",
            vec![
                "2:1: workers: 0 is not in",
                "1:13: max_users: 99999999999999999999 is beyond",
                "4:9: meter.a.limit: 0xffffffffffffffffff is beyond",
            ],
        ),
        (
            "trusted_proxies = [\"10.0.0.1\", -99999999999999999999]",
            vec!["1:32: trusted_proxies[1]: -99999999999999999999 is beyond"],
        ),
        (
            "[admin]\nhosts = [\"*\", \"a.example:8081\", \"https://a.example\", \"Metrics.Example.\", \"a..b\"]\n",
            vec![
                "2:10: admin.hosts[0]: \"*\" is not a host name",
                "2:15: admin.hosts[1]: \"a.example:8081\" is not",
                "2:33: admin.hosts[2]: \"https://a.example\" is not",
                "2:74: admin.hosts[4]: \"a..b\" is not",
            ],
        ),
    ] {
        let errors = load_all(file, &[], &[]).unwrap_err();
        assert_eq!(errors.lines().count(), faults.len(), "{errors}");
        for (error, fault) in errors.lines().zip(faults) {
            assert!(error.starts_with(&format!("passerby.toml:{fault}")), "{error}: {fault}");
        }
    }
    let hosts = settings("[admin]\nhosts = [\"Metrics.Example.\", \"a_b\"]\n").admin.hosts;
    assert_eq!(hosts, ["metrics.example", "a_b"], "in one form");
    let errors = load_all("workers = 0", &[("PASSERBY_APP_ID", "/"), ("PASSERBY_LISEN", "x")], &[("limits", "?")]);
    assert_eq!(errors.unwrap_err().lines().count(), 4, "of every source");
}

#[test]
fn times_and_sizes_may_have_units_and_plain_numbers_keep_their_meaning() {
    let file = "[expiry]\nwindow = \"90d\"\n[session]\nlifetime = \"8w 4d\"\nfresh = \"36h\"\n[http]\nkeep_alive = \"1m15s\"\n\
                max_body = \"128 KiB\"\n[drain]\ntimeout = 30\n[data]\nmax_bytes = \"2GB\"\n\
                [meter.a]\nlimit = 1\nwindow = \"rolling\"\nrolling = \"30 days\"\n";
    let set = settings(file);
    assert_eq!((set.expiry.window_s, set.session.lifetime_s, set.session.fresh_s), (7_776_000, 60 * 86_400, 129_600));
    assert_eq!((set.http.keep_alive, set.drain.timeout), (Duration::from_secs(75), Duration::from_secs(30)));
    assert_eq!((set.http.max_body, set.data.max_bytes), (131_072, Some(2_000_000_000)));
    assert_eq!(set.meters["a"].window, Window::Rolling(30 * 86_400));
    let of_variable = |text: &str| load_all("", &[("PASSERBY_EXPIRY_WINDOW", text)], &[]);
    for (text, seconds) in [("90d", 7_776_000), ("7776000", 7_776_000), ("1D12H", 129_600), (" 100 hours ", 360_000)] {
        assert_eq!(of_variable(text).unwrap().settings().expiry.window_s, seconds, "{text}");
    }
    for text in ["", "d", "1", "1.5d", "-1d", "90 d x", "1y", "99999999999999999999d", "1h30", "500ms"] {
        assert!(of_variable(text).is_err(), "{text}");
    }
    let of_unit = |unit: &'static str| TABLE.iter().filter(move |setting| setting.unit == Some(unit));
    assert!(of_unit("s").all(|setting| matches!(setting.kind, Kind::Time { .. })));
    assert!(of_unit("bytes").all(|setting| matches!(setting.kind, Kind::Size { .. })));
}

#[test]
fn a_listener_may_have_a_host_name() {
    let of_flag = |text: &str| load_all("", &[], &[("listen", text)]);
    for (text, address) in
        [("localhost:8090", "127.0.0.1:8090"), ("[::1]:8090", "[::1]:8090"), ("0.0.0.0:1", "0.0.0.0:1")]
    {
        assert_eq!(of_flag(text).unwrap().settings().listen, address.parse().unwrap(), "{text}");
    }
    for text in ["localhost", ":8080", "localhost:", "localhost:65536", "local host:1", "http://localhost:1", "8080"] {
        let error = of_flag(text).unwrap_err();
        assert!(error.contains("expected an address and a port such as"), "{text}: {error}");
    }
}

#[test]
fn a_wrong_variable_or_flag_is_refused_by_its_name() {
    let no_such = "there is no such setting, see `passerby config --explain`";
    let meant = "there is no such setting: did you mean PASSERBY_WORKERS?";
    let of_variables = [
        (
            ("PASSERBY_WORKERS", "two"),
            "environment variable PASSERBY_WORKERS: workers: expected a whole number, found \"two\"",
        ),
        (("PASSERBY_WORKER", "2"), &format!("environment variable PASSERBY_WORKER: {meant}")),
        (
            ("PASSERBY_APP_ID", ""),
            "environment variable PASSERBY_APP_ID: app_id: expected 1 to 64 of A-Z a-z 0-9 _ -, found \"\"",
        ),
        (
            ("PASSERBY_EXPIRY_TOUCH_GRANULARITY", "324001"),
            "environment variable PASSERBY_EXPIRY_TOUCH_GRANULARITY: expiry.touch_granularity: \
             324001 s is more than 1/24 of expiry.window (7776000 s): at most 324000 s",
        ),
    ];
    for (variable, expected) in of_variables {
        assert_eq!(load_all("", &[variable], &[]).unwrap_err(), expected);
    }
    let of_flags = [
        (("max_users", "-1"), "flag --max-users: max_users: -1 is not in 1 to 4000000000"),
        (("storage", "tape"), "flag --storage: storage: expected disk or memory, found \"tape\""),
        (("durability", "none"), "flag --durability: durability: expected fsync or os, found \"none\""),
        (("log.format", "json"), &format!("flags: log.format: {no_such}")),
    ];
    for (flag, expected) in of_flags {
        assert_eq!(load_all("", &[], &[flag]).unwrap_err(), expected);
    }
    // also where a flag goes before it: an overridden value that is wrong is a mistake all the same
    assert!(load_all("workers = 0", &[], &[("workers", "1")]).is_err());
}

#[test]
fn meters_are_read_from_their_tables_and_wrong_ones_are_refused() {
    let good = "[meter.articles]\nlimit = 5\ntime_zone = \"Europe/Berlin\"\n\
                [meter.trial]\nlimit = 100000\nwindow = \"rolling\"\nrolling = 60\nonce = false\nmerge = \"max\"\n\
                [meter.wall]\nlimit = 3\naccounts = 1000\nentitlement = \"plan:gold\"\npage = \"/subscribe?from=wall\"\n\
                [meter.zone]\nlimit = 3\naccounts = \"free\"\npage = \"https://news.example/more\"\n";
    let loaded = load_all(good, &[], &[]).unwrap();
    let meters = &loaded.settings().meters;
    assert_eq!(meters.keys().collect::<Vec<_>>(), ["articles", "trial", "wall", "zone"]);
    assert_eq!(
        (meters["articles"].accounts, meters["wall"].accounts),
        (super::OfAccounts::Same, super::OfAccounts::Limit(1000))
    );
    assert_eq!((meters["zone"].accounts, &meters["zone"].entitlement), (super::OfAccounts::Free, &None));
    assert_eq!((meters["articles"].window.clone(), meters["articles"].once), (Window::Month, true));
    assert_eq!(meters["trial"].window, Window::Rolling(60));
    let again = load_all(&loaded.effective(), &[], &[]).unwrap();
    assert_eq!(&again.settings().meters, meters, "what is shown can be read back");
    for (text, expected) in [
        ("meter = 1", "meter: expected a table, found 1"),
        ("[meter.A]\nlimit = 1", "meter.A: expected a name of 1 to 32 of a-z 0-9 -"),
        ("[meter.a]", "meter.a.limit: is missing"),
        ("[meter.a]\nlimit = 0", "meter.a.limit: expected 1 to 1000000, found 0"),
        ("[meter.a]\nlimit = 2000", "meter.a.limit: expected 1 to 1000 where an item counts once, found 2000"),
        (
            "[meter.a]\nlimit = 1\nwindow = \"year\"",
            "meter.a.window: expected day, week, month or rolling, found \"year\"",
        ),
        (
            "[meter.a]\nlimit = 1\naccounts = \"all\"",
            "meter.a.accounts: expected \"free\" or 1 to 1000000, found \"all\"",
        ),
        (
            "[meter.a]\nlimit = 1\naccounts = 2000",
            "meter.a.accounts: expected 1 to 1000 where an item counts once, found 2000",
        ),
        (
            "[meter.a]\nlimit = 1\nentitlement = \"a b\"",
            "meter.a.entitlement: expected 1 to 64 characters of A-Z a-z 0-9 . _ : -, found \"a b\"",
        ),
        (
            "[meter.a]\nlimit = 1\npage = \"//evil.example\"",
            "meter.a.page: expected an http(s) URL or a path that begins with /, found \"//evil.example\"",
        ),
        (
            "[meter.a]\nlimit = 1\npage = \"javascript:x\"",
            "meter.a.page: expected an http(s) URL or a path that begins with /, found \"javascript:x\"",
        ),
        ("[meter.a]\nlimit = 1\nwindow = \"rolling\"", "meter.a.rolling: is missing"),
        ("[meter.a]\nlimit = 1\nrolling = 5", "meter.a.rolling: has no effect without window = \"rolling\""),
        (
            "[meter.a]\nlimit = 1\ntime_zone = \"Mars\"",
            "meter.a.time_zone: expected an IANA name such as Europe/Berlin, found \"Mars\"",
        ),
        (
            "[meter.a]\nlimit = 1\nfree = true",
            "meter.a.free: there is no such setting, see `passerby config --explain`",
        ),
    ] {
        let error = load_all(text, &[], &[]).unwrap_err();
        assert!(error.ends_with(expected), "{text}: {error}");
    }
}
