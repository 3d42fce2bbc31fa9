//! The command line as an operator meets it: what a start and `check` refuse, signals, the demo's ports, `serve --test`.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{FREE_PORTS, Process, call, passerby, run, text, words};

/// A server that is told by its command line alone, and its log.
fn logged(data: &Path, arguments: &[&str]) -> (Process, impl Iterator<Item = String> + use<>) {
    let mut command = passerby();
    command.arg("serve").args(FREE_PORTS).arg("--data-dir").arg(data).args(arguments).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let lines = BufReader::<ChildStderr>::new(process.child.stderr.take().unwrap()).lines();
    (process, lines.map(|line| line.unwrap()))
}

/// A request with a JSON body, and the answer's status and body.
fn post(address: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {content_type}\r\n");
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn check_refuses_what_serve_would_and_says_all_of_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink(path("nowhere"), path("link")).unwrap();
    let mut cases = vec![
        (path("file"), "is no folder"),
        (path("file/data"), "is no folder"),
        (path("link"), "is a link to nothing"),
    ];
    if cfg!(target_os = "linux") {
        cases.push(("/proc/passerby/data".into(), "cannot be created in /proc"));
    }
    for (data, expected) in cases {
        let refused = run(&data, &[["check"].as_slice(), &FREE_PORTS].concat());
        assert_eq!(refused.status.code(), Some(1), "{}: {}", data.display(), words(&refused));
        assert!(words(&refused).contains(expected), "{}: {}", data.display(), words(&refused));
        let started = run(&data, &[["serve"].as_slice(), &FREE_PORTS].concat());
        assert_eq!(started.status.code(), Some(1), "{}: {}", data.display(), words(&started));
    }

    let new = path("new/data");
    let good = run(&new, &[["check"].as_slice(), &FREE_PORTS].concat());
    assert!(good.status.success() && words(&good).contains("data: none yet"), "{}", words(&good));
    assert!(!path("new").exists(), "nothing is left behind");
    std::fs::create_dir_all(&new).unwrap();
    assert!(run(&new, &[["check"].as_slice(), &FREE_PORTS].concat()).status.success());
    assert_eq!(std::fs::read_dir(&new).unwrap().count(), 0, "nor in a folder that is there");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let keys_dir = path("file/keys");
    let arguments = ["check", "--listen", &address, "--admin-listen", "127.0.0.1:0", "--keys-dir"];
    let refused = run(&new, &[arguments.as_slice(), &[keys_dir.to_str().unwrap()]].concat());
    let said = words(&refused);
    assert!(refused.status.code() == Some(1), "{said}");
    assert!(said.contains("the public listener cannot have") && said.contains("keys: "), "{said}");
}

#[test]
fn a_port_in_use_is_named_with_its_listener_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (one, two) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let _taken = (TcpListener::bind(one), TcpListener::bind(two));
    let (one, two) = (one.to_string(), two.to_string());
    let refused = run(&data, &["serve", "--listen", &one, "--admin-listen", &two]);
    let said = words(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for line in [
        format!(
            "passerby: the public listener cannot have {one}: another program has this port; take another one by --listen"
        ),
        format!(
            "passerby: the admin listener cannot have {two}: another program has this port; take another one by --admin-listen"
        ),
    ] {
        assert!(said.contains(&line), "{said}");
    }
    assert!(!data.exists(), "and nothing was begun");
}

#[test]
fn settings_app_folder_and_providers_are_refused_together() {
    let folder = tempfile::tempdir().unwrap();
    let (data, app, file) = (folder.path().join("data"), folder.path().join("app"), folder.path().join("p.toml"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    std::fs::write(app.join("auth/providers.json"), r#"{"oauth2-facebook":{},"custom-token":{"config":{}}}"#).unwrap();
    std::fs::write(
        &file,
        "lisen = 1\n[provider.oidc.a]\nissuer = \"x\"\nscopes = \"openid\"\n[mail]\nsmtp = \"mail\"\n",
    )
    .unwrap();
    let (app, file) = (app.to_str().unwrap(), file.to_str().unwrap());
    for command in ["serve", "check"] {
        let refused = run(&data, &[command, "--config", file, "--app-dir", app, "--workers", "0"]);
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(64), "{said}");
        assert_eq!(said.lines().count(), 10, "{said}");
        assert!(said.lines().all(|line| line.starts_with("passerby: ")), "{said}");
        for part in [
            ":1:1: lisen: there is no such setting: did you mean listen?",
            "flag --workers: workers: 0 is not in 1 to 1024",
            "oauth2-facebook: is enabled",
            "custom-token.",
            ":3:1: provider.oidc.a.issuer: \"x\" is not an issuer",
            ":2:16: provider.oidc.a.client_id: is missing",
            ":4:1: provider.oidc.a.scopes: expected a list of texts, found \"openid\"",
            ":6:1: mail.smtp: expected smtps://host[:port]",
            ":5:2: mail.from: is missing",
            "app: tells no app id",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

#[test]
fn what_an_app_folder_has_and_is_not_served_is_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let (data, app) = (folder.path().join("data"), folder.path().join("app"));
    for (name, text) in [
        ("realm_config.json", r#"{"app_id":"todo-abcde"}"#),
        ("auth/providers.json", r#"{"anon-user":{"disabled":true},"api-key":{}}"#),
        ("auth/custom_user_data.json", r#"{"enabled":true}"#),
        ("triggers/welcome.json", r#"{"type":"AUTHENTICATION"}"#),
    ] {
        std::fs::create_dir_all(app.join(name).parent().unwrap()).unwrap();
        std::fs::write(app.join(name), text).unwrap();
    }
    let app = app.to_str().unwrap();
    let (process, log) = logged(&data, &["--app-dir", app]);
    let warnings: Vec<_> = log.filter(|line| line.contains("WARN")).take(3).collect();
    for (warning, part) in
        warnings.iter().zip(["auth/custom_user_data.json: ", "triggers/welcome.json: ", "no provider is enabled"])
    {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    process.stop();
    let checked = words(&run(&data, &[["check", "--app-dir", app].as_slice(), &FREE_PORTS].concat()));
    assert_eq!(checked.lines().filter(|line| line.starts_with("not served: ")).count(), 2, "{checked}");
}

#[test]
fn a_start_whose_settings_do_not_fit_the_newest_deployment_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text).unwrap();
    };
    write("app/realm_config.json", r#"{"app_id":"passerby"}"#);
    let token = r#"{"config":{"signingAlgorithm":"HS256"},"secret_config":{"signingKeys":["shared"]}}"#;
    write("app/auth/providers.json", &format!(r#"{{"anon-user":{{}},"custom-token":{token}}}"#));
    write("secrets.toml", "shared = \"0123456789abcdef0123456789abcdef\"\n");
    std::fs::set_permissions(path("secrets.toml"), Permissions::from_mode(0o600)).unwrap();
    write("p.toml", &format!("secrets_file = {:?}\n", path("secrets.toml")));
    let (app, file) = (path("app"), path("p.toml"));
    let arguments = ["--app-dir", app.to_str().unwrap(), "--config", file.to_str().unwrap()];
    let (process, _log) = logged(&path("data"), &arguments);
    process.stop();
    for command in ["serve", "check"] {
        let refused = run(&path("data"), &[[command].as_slice(), &FREE_PORTS].concat());
        assert_eq!(refused.status.code(), Some(64));
        let said = words(&refused);
        for part in [
            "deployment 1: custom-token.secret_config.signingKeys: there is no secret \"shared\"",
            "do not go together",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    let checked = run(&path("data"), &[["check", "--config", file.to_str().unwrap()].as_slice(), &FREE_PORTS].concat());
    let said = words(&checked);
    assert!(
        checked.status.success() && said.contains("app: deployment 1\nproviders: anon-user, custom-token\n"),
        "{said}"
    );
}

/// No signal that tools send kills the server without a drain.
#[test]
fn sighup_takes_the_log_filter_and_kills_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("p.toml"));
    std::fs::write(&file, "workers = 1\n").unwrap();
    let app = folder.path().join("app");
    std::fs::create_dir_all(app.join("auth")).unwrap();
    std::fs::write(app.join("realm_config.json"), r#"{"app_id":"passerby"}"#).unwrap();
    let providers = |text: &str| std::fs::write(app.join("auth/providers.json"), text).unwrap();
    providers(r#"{"anon-user":{}}"#);
    let arguments = ["--config", file.to_str().unwrap(), "--app-dir", app.to_str().unwrap()];
    let (mut process, mut log) = logged(&data, &arguments);
    let mut wait_for = |part: &str| log.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}"));

    process.signal(Signal::HUP);
    wait_for("log.filter was taken; keys and everything else are as they were");
    std::fs::write(&file, "workers = 2\nmax_users = 5\n[log]\nfilter = \"info,passerby::events=debug\"\n").unwrap();
    process.signal(Signal::HUP);
    let line = wait_for("log.filter was taken; what else has changed needs a restart");
    assert!(line.contains("workers, max_users"), "{line}");
    call(&process.public, "POST", "/v1/sessions", None);
    wait_for("passerby::events");
    assert!(run(&data, &["keys", "rotate"]).status.success());
    providers(r#"{"anon-user":{"disabled":true},"api-key":{}}"#);
    process.signal(Signal::HUP);
    wait_for("deployment 2 is in force from now on");
    wait_for("anon-user: enabled → disabled");
    let line = wait_for("what else has changed needs a restart");
    assert!(line.contains("workers, max_users, signing keys"), "{line}");
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 403);
    providers(r#"{"anon-user":{}"#);
    process.signal(Signal::HUP);
    wait_for("is not valid JSON");
    wait_for("nothing of it was taken");
    providers(r#"{"anon-user":{}}"#);
    process.signal(Signal::HUP);
    wait_for("deployment 3 is in force from now on");
    wait_for("anon-user: disabled → enabled");
    wait_for("api-key: removed");
    std::fs::write(&file, "wrkers = 2\n").unwrap();
    process.signal(Signal::HUP);
    wait_for("did you mean workers?");
    wait_for("nothing of it was taken");
    process.signal(Signal::USR1);
    wait_for("SIGUSR1 means nothing");
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    process.signal(Signal::QUIT);
    wait_for("draining");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    // a start says the same of a folder that has changed meanwhile
    std::fs::write(&file, "").unwrap();
    providers(r#"{"anon-user":{"disabled":true}}"#);
    let (process, mut log) = logged(&data, &arguments);
    let mut wait_for = |part: &str| log.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}"));
    wait_for("deployment 4 is in force");
    wait_for("anon-user: enabled → disabled");
    process.stop();
}

/// The id that clients are built with stands in the folder.
#[test]
fn a_start_without_the_folder_that_told_the_app_id_has_to_be_told_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, app) = (folder.path().join("data"), folder.path().join("app"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    std::fs::write(app.join("realm_config.json"), r#"{"app_id":"todo-abcde"}"#).unwrap();
    std::fs::write(app.join("auth/providers.json"), r#"{"anon-user":{"disabled":true}}"#).unwrap();
    Process::start(&data, &["--app-dir", app.to_str().unwrap()]).stop();
    let refused = run(&data, &[["serve"].as_slice(), &FREE_PORTS].concat());
    assert_eq!(refused.status.code(), Some(64));
    assert!(words(&refused).contains("belongs to the app id todo-abcde, not passerby"), "{}", words(&refused));
    let process = Process::start(&data, &["--app-id", "todo-abcde"]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 403, "as the folder said");
    process.stop();
}

/// As `--secrets-file <(decrypt secrets.toml)` of a shell is.
#[test]
fn a_start_reads_a_secrets_file_that_can_be_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("app/auth")).unwrap();
    std::fs::write(path("app/realm_config.json"), r#"{"app_id":"passerby"}"#).unwrap();
    let token = r#"{"config":{"signingAlgorithm":"HS256"},"secret_config":{"signingKeys":["shared"]}}"#;
    std::fs::write(path("app/auth/providers.json"), format!(r#"{{"custom-token":{token}}}"#)).unwrap();
    let pipe = path("secrets");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::write(pipe, "shared = \"0123456789abcdef0123456789abcdef\"\n").unwrap())
    };
    let (app, pipe) = (path("app"), pipe);
    let arguments = ["--app-dir", app.to_str().unwrap(), "--secrets-file", pipe.to_str().unwrap()];
    let (process, mut log) = logged(&path("data"), &arguments);
    writer.join().unwrap();
    // and goes on with what it read
    std::fs::write(path("app/auth/providers.json"), format!(r#"{{"anon-user":{{}},"custom-token":{token}}}"#)).unwrap();
    process.signal(Signal::HUP);
    assert!(log.by_ref().any(|line| line.contains("deployment 2 is in force from now on")));
    assert_eq!(process.stop(), Some(0));
}

#[test]
fn an_app_folder_that_is_too_large_to_be_deployed_is_refused_as_any_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (data, app) = (folder.path().join("data"), folder.path().join("app"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    let origins: Vec<_> = (0..10_000).map(|at| format!("https://site-{at}.news.example")).collect();
    let root = json!({ "app_id": "passerby", "allowed_request_origins": origins });
    std::fs::write(app.join("realm_config.json"), root.to_string()).unwrap();
    std::fs::write(app.join("auth/providers.json"), r#"{"anon-user":{}}"#).unwrap();
    for command in ["serve", "check"] {
        let refused = run(&data, &[[command, "--app-dir", app.to_str().unwrap()].as_slice(), &FREE_PORTS].concat());
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(64), "{said}");
        assert!(said.contains("app: the app takes ") && said.contains("262144 are allowed"), "{said}");
    }
    assert!(!data.exists(), "and nothing was begun");
}

#[test]
fn a_demo_runs_beside_a_server_and_a_second_demo() {
    let demo = || {
        let mut command = passerby();
        // an operator has variables for the server
        command.arg("demo").env("PASSERBY_KEYS_DIR", "/nonexistent").env("PASSERBY_DATA_DIR", "/nonexistent");
        Process::spawn(command.stderr(Stdio::null()))
    };
    let (one, two) = (demo(), demo());
    for demo in [one, two] {
        assert_eq!(call(&demo.admin, "GET", "/readyz", None).status, 200);
        assert_eq!(call(&demo.public, "GET", "/", None).status, 200);
        assert_eq!(demo.stop(), Some(0));
    }
}

#[test]
fn a_server_for_tests_moves_its_clock_and_has_data_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let file = folder.path().join("p.toml");
    std::fs::write(&file, "[provider.local_userpass.config]\nautoConfirm = true\n").unwrap();
    let file = file.to_str().unwrap();
    let (process, mut log) = logged(&data, &["--test", "--config", file]);
    assert!(log.next().unwrap().starts_with("passerby: --test: this server is for tests"));
    assert!(log.next().unwrap().contains("WARN"));

    let session = call(&process.public, "POST", "/v1/sessions", None).body;
    let (access, refresh) = (text(&session, "access_token"), text(&session, "refresh_token"));
    let advance = |body: &str| post(&process.admin, "/test/clock", "application/json", body);
    assert_eq!(call(&process.admin, "GET", "/test/clock", None).body["ahead_s"], 0);
    let (status, body) = advance(r#"{"advance":"31m"}"#);
    assert_eq!((status, &body["ahead_s"]), (200, &json!(1860)), "{body}");
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 401, "half an hour is over");
    let response = call(&process.public, "POST", "/v1/session/refresh", Some(&refresh));
    assert_eq!(response.status, 200);
    assert_eq!(advance(r#"{"advance":7776000}"#).0, 200);
    let next = text(&response.body, "refresh_token");
    assert_eq!(call(&process.public, "POST", "/v1/session/refresh", Some(&next)).status, 401, "and 90 days");
    for (body, status) in [
        ("{}", 422),
        (r#"{"advance":-1}"#, 422),
        (r#"{"advance":1,"advance":2}"#, 422),
        (r#"{"advance":"soon"}"#, 422),
        ("", 422),
    ] {
        assert_eq!(advance(body).0, status, "{body}");
    }
    assert_eq!(post(&process.admin, "/test/clock", "text/plain", r#"{"advance":1}"#).0, 415);
    assert_eq!(call(&process.admin, "PUT", "/test/clock", None).status, 405);
    assert_eq!(call(&process.admin, "HEAD", "/test/clock", None).status, 200);
    assert_eq!(call(&process.admin, "OPTIONS", "/test/clock", None).status, 204);
    let registration = r#"{"email":"a@example.com","password":"correct horse"}"#;
    let path = "/api/client/v2.0/app/passerby/auth/providers/local-userpass/register";
    assert_eq!(post(&process.public, path, "application/json", registration).0, 201);
    process.stop();

    let refused = |data: &Path, arguments: &[&str], part: &str| {
        let refused = run(data, arguments);
        assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
        assert!(words(&refused).contains(part), "{part}: {}", words(&refused));
    };
    let serve = |more: &[&'static str]| [["serve"].as_slice(), &FREE_PORTS, more].concat();
    refused(&data, &serve(&[]), "was begun by `serve --test`");
    let real = Process::start(&other, &[]);
    assert_eq!(call(&real.admin, "GET", "/test/clock", None).status, 404);
    real.stop();
    refused(&other, &serve(&["--test"]), "was not begun by `serve --test`");
    for listeners in [
        ["--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"],
    ] {
        refused(&data, &[["serve", "--test"].as_slice(), &listeners].concat(), "for this machine alone");
    }
}

/// `check` tells what `serve` would warn of, and a port that both listeners want is not blamed on a different program.
#[test]
fn check_warns_of_what_serve_warns_of() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let check = |more: &[&str]| run(&data, &[["check"].as_slice(), more].concat());
    let checked = check(&["--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(
        checked.status.success() && words(&checked).contains("\nwarning: without public_url"),
        "{}",
        words(&checked)
    );
    let checked = check(&[FREE_PORTS.as_slice(), &["--public-url", "http://a.example"]].concat());
    assert!(words(&checked).contains("\nwarning: public_url is not https"), "{}", words(&checked));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let address = |host: &str| format!("{host}:{port}");
    for (listen, admin) in [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("[::]", "127.0.0.1"),
        ("[::1]", "[::]"),
    ] {
        for command in ["check", "serve"] {
            let refused = run(&data, &[command, "--listen", &address(listen), "--admin-listen", &address(admin)]);
            assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
            assert!(words(&refused).contains("flag --admin-listen: admin_listen: "), "{}", words(&refused));
        }
    }
}

#[test]
fn completions_and_manual_pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let completions = passerby().args(["completions", "bash"]).output().unwrap();
    assert!(completions.status.success() && words(&completions).contains("complete -F _passerby"));
    let pages = folder.path().join("man");
    assert!(passerby().args(["man", "--dir"]).arg(&pages).status().unwrap().success());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for page in ["passerby.1", "passerby-serve.1", "passerby-keys-rotate.1"] {
        assert!(std::fs::read_to_string(pages.join(page)).unwrap().starts_with(".ie"), "{page}");
        assert_eq!(mode(&pages.join(page)), 0o644, "others are to read it, unlike all else that is created");
    }
    assert_eq!(mode(&pages), 0o755);
}
