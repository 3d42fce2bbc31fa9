//! Exit codes and log lines.

use super::*;

#[test]
fn exit_codes_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let bad = run(&data, &["serve", "--access-alg", "none"]);
    assert_eq!(bad.status.code(), Some(64));
    assert_eq!(words(&bad).lines().count(), 1, "one clear line: {}", words(&bad));
    assert_eq!(run(&data, &["serve", "--nonsense"]).status.code(), Some(64));

    let process = Process::start(&data, &[]);
    let second = run(&data, &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(words(&second).contains("in use by a different process"), "{}", words(&second));
    assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 200);
    for _ in 0..20 {
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    }
    let busy = ["check", "--listen", &process.public, "--admin-listen", &process.admin];
    let beside = run(&data, &busy);
    assert!(beside.status.success() && words(&beside).contains("in use by a running server"), "{}", words(&beside));
    assert_eq!(process.stop(), Some(0));
    let other = run(&data, &["serve", "--app-id", "typo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(other.status.code(), Some(64));
    assert!(words(&other).contains("belongs to the app id passerby, not typo"), "{}", words(&other));
    let check = |more: &[&str]| run(&data, &[["check"].as_slice(), &FREE_PORTS, more].concat());
    let without_keys = check(&["--keys-dir", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(without_keys.status.code(), Some(1), "{}", words(&without_keys));
    let good = check(&[]);
    assert!(good.status.success() && words(&good).contains("data: good, 20 users"), "{}", words(&good));

    let journal = data.join("gen-0000000001/journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    for command in ["serve", "check"] {
        let refused = run(&data, &[command, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        assert_eq!(refused.status.code(), Some(65), "{}", words(&refused));
        assert!(words(&refused).contains("passerby recover"), "{}", words(&refused));
    }
    let looked = run(&data, &["recover"]);
    assert!(words(&looked).contains("19 users can be read"));
    assert_eq!(looked.status.code(), Some(65), "it only looked, and what must be readable is not");
    assert!(run(&data, &["recover", "--accept-loss"]).status.success());
    assert!(words(&check(&[])).contains("data: good, 19 users"));
    Process::start(&data, &[]).stop();
}

/// What is nearly full, and what is, is said once.
#[test]
fn a_bound_that_is_reached_is_an_error_line_and_room_is_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--max-users", "10"];
    let mut process = Process::start_with(
        &folder.path().join("data"),
        &arguments,
        &[("PASSERBY_BUDGET_SHARE", "100")],
        Stdio::piped(),
    );
    let mut lines = BufReader::new(process.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut wait_for = |part: &str| {
        let line = lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}"));
        assert!(line.contains("bound=\"users\"") && line.contains("most=10"), "{line}");
        line
    };
    let log_in = || call(&process.public, "POST", "/v1/sessions", None);
    let tokens: Vec<_> = (0..9).map(|_| text(&log_in().body, "access_token")).collect();
    let nearly = wait_for("a bound is nearly reached");
    assert!(nearly.contains("ERROR") && nearly.contains("percent=90"), "{nearly}");
    assert_eq!(log_in().status, 201);
    assert!(wait_for("a bound is reached: nobody is created").contains("ERROR"));
    assert_eq!(log_in().status, 503);
    assert_eq!(call(&process.admin, "GET", "/readyz", None).body["reasons"][0], "users-full");
    for token in &tokens[..5] {
        assert_eq!(call(&process.public, "DELETE", "/v1/user", Some(token)).status, 204);
    }
    assert!(wait_for("there is room again").contains("INFO"));
}

/// Two servers with the same keys and a folder each are not one service: the log of the one that is asked says so.
#[test]
fn a_user_of_a_second_server_with_the_same_keys_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let keys = path("keys");
    let keys_dir = ["--keys-dir", keys.to_str().unwrap()];
    let (here, log) = (Process::start(&path("here"), &keys_dir), path("log"));
    let there = Process::start_with(&path("there"), &keys_dir, &[], logging_to(&log));
    let session = call(&here.public, "POST", "/v1/sessions", None).body;
    let access = text(&session, "access_token");
    for _ in 0..3 {
        assert_eq!(call(&there.public, "GET", "/v1/session", Some(&access)).status, 401);
    }
    there.stop();
    let said = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("names a user who was never here")).collect();
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains(&text(&session, "user_id")), "{said}");
}

/// The reader of the log lines may stop reading: no request waits for it.
#[test]
fn log_lines_that_are_not_read_delay_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start_unread(&folder.path().join("data"));
    let mut client = Client::connect(&process.public).unwrap();
    // a pipe holds 64 KiB, and the queue some thousands of lines
    while metric(&process.admin, "passerby_log_lines_dropped_total") == 0 {
        for _ in 0..100 {
            assert_eq!(client.call("GET", "/v1/challenge", None).unwrap().status, 200);
        }
    }
    for _ in 0..16 {
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    }
    assert_eq!(process.stop(), Some(0), "nor the end");
}
