//! An app folder beside a server that runs: what is refused at start, and what changes take effect by themselves.

use std::path::PathBuf;

use super::*;

/// An app folder and the log of the server that has it.
struct Beside {
    folder: tempfile::TempDir,
}

impl Beside {
    fn new(providers: &str) -> Self {
        let beside = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(beside.path("app/auth")).unwrap();
        std::fs::write(beside.path("app/realm_config.json"), r#"{"app_id":"passerby"}"#).unwrap();
        beside.providers(providers);
        beside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn providers(&self, text: &str) {
        std::fs::write(self.path("app/auth/providers.json"), text).unwrap();
    }

    fn arguments(&self) -> [String; 2] {
        ["--app-dir".to_owned(), self.path("app").display().to_string()]
    }

    fn start(&self, more: &[&str]) -> Process {
        let own = self.arguments();
        let arguments: Vec<_> = own.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Process::start_with(&self.path("data"), &arguments, &[], logging_to(&self.path("log")))
    }

    fn logs(&self, part: &str) -> String {
        line_of(&self.path("log"), part)
    }

    /// How many lines of the log have this in them.
    fn count(&self, part: &str) -> usize {
        std::fs::read_to_string(self.path("log")).unwrap().lines().filter(|line| line.contains(part)).count()
    }
}

#[test]
fn a_literal_secret_in_a_provider_that_is_off_is_refused_at_start_and_while_the_server_runs_and_is_not_repeated() {
    const LITERAL: &str = "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";
    let literal = format!(
        r#"{{"anon-user":{{"disabled":true}},
            "oauth2-google":{{"disabled":true,"secret_config":{{"clientSecret":"{LITERAL}"}}}}}}"#
    );
    let beside = Beside::new(&literal);
    let [flag, app] = beside.arguments();
    for command in ["serve", "check"] {
        let refused = run(&beside.path("data"), &[[command, &flag, &app].as_slice(), &FREE_PORTS].concat());
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(64), "{said}");
        assert!(
            said.contains("providers.json: oauth2-google.secret_config.clientSecret: expected the name of a secret")
        );
        assert!(!said.contains(LITERAL), "{said}");
    }
    assert!(!beside.path("data").exists(), "and nothing was begun");
    // an app that is off and not complete is as it was exported
    beside.providers(
        r#"{"anon-user":{},"oauth2-google":{"disabled":true,"config":{}},"oauth2-facebook":{"disabled":true}}"#,
    );
    let server = beside.start(&[]);
    beside.providers(&literal);
    server.signal(Signal::HUP);
    beside.logs("SIGHUP: the configuration is wrong, so nothing of it was taken");
    beside.logs("oauth2-google.secret_config.clientSecret: expected the name of a secret");
    assert_eq!(call(&server.public, "POST", "/v1/sessions", None).status, 201);
    let pushed = passerby().args(["push", &app, "--yes", "--data-dir"]).arg(beside.path("data")).output().unwrap();
    assert_eq!(pushed.status.code(), Some(1), "{}", words(&pushed));
    assert!(words(&pushed).contains("expected the name of a secret") && !words(&pushed).contains(LITERAL));
    server.stop();
    assert_eq!(beside.count(LITERAL), 0);
}

#[test]
fn a_changed_folder_is_deployed_by_itself_and_a_broken_one_is_said_once_until_it_is_mended() {
    const REFUSED: &str = "app folder: the app folder is not deployed, and deployment 2 stays in force";
    let beside = Beside::new(r#"{"anon-user":{}}"#);
    let server = beside.start(&[]);
    let create = || call(&server.public, "POST", "/v1/sessions", None).status;
    assert_eq!(create(), 201);
    beside.providers(r#"{"anon-user":{"disabled":true}}"#);
    beside.logs("deployment 2 is in force from now on");
    wait_until("it is in force", || create() == 403);
    beside.providers(r#"{"anon-user":{}"#);
    beside.logs(REFUSED);
    assert!(beside.logs("app folder: ").contains("auth/providers.json:1:15: is not valid JSON"));
    assert_eq!(create(), 403);
    beside.providers(r#"{"anon-user":{}}"#);
    beside.logs("deployment 3 is in force from now on");
    wait_until("it is in force again", || create() == 201);
    server.stop();
    assert_eq!((beside.count(REFUSED), beside.count("SIGHUP")), (1, 0));
}

/// What was wrong is not in the folder, so that it does not change when that is mended.
#[test]
fn a_folder_that_was_refused_is_deployed_when_what_it_needs_is_there() {
    let custom = r#"{"anon-user":{"disabled":true},"custom-token":{"config":{"signingAlgorithm":"HS256"},
        "secret_config":{"signingKeys":["shared"]}}}"#;
    for signal in [None, Some(Signal::HUP)] {
        let beside = Beside::new(r#"{"anon-user":{}}"#);
        let secrets = |text: &str| {
            use std::os::unix::fs::PermissionsExt as _;

            std::fs::write(beside.path("secrets"), text).unwrap();
            std::fs::set_permissions(beside.path("secrets"), std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        secrets("");
        let server = beside.start(&["--secrets-file", beside.path("secrets").to_str().unwrap()]);
        beside.providers(custom);
        signal.into_iter().for_each(|signal| server.signal(signal));
        beside.logs("custom-token.secret_config.signingKeys: there is no secret \"shared\"");
        assert_eq!(call(&server.public, "POST", "/v1/sessions", None).status, 201);
        secrets("shared = \"0123456789abcdef0123456789abcdef\"\n");
        beside.logs("deployment 2 is in force from now on");
        wait_until("it is in force", || call(&server.public, "POST", "/v1/sessions", None).status == 403);
        server.stop();
    }
}
