//! `passerby admin`, on a server that is stopped and on one that runs.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

pub(super) fn with_password(data: &Path, arguments: &[&str], password: &str) -> Output {
    let mut command = passerby();
    command.args(arguments).arg("--data-dir").arg(data);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(super) fn log_in(process: &Process, name: &str, password: &str) -> u16 {
    let body = serde_json::json!({ "name": name, "password": password }).to_string();
    let mut client = Client::connect(&process.admin).unwrap();
    let head =
        format!("POST /v1/admin/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    client.stream.get_mut().write_all(head.as_bytes()).unwrap();
    client.read().unwrap().status
}

#[test]
fn a_command_creates_no_folder_to_look_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("dta");
    let reset = with_password(&data, &["admin", "reset-password", "ada", "--password-stdin"], "correct horse battery");
    for refused in [run(&data, &["admin", "list"]), run(&data, &["admin", "disable", "ada"]), reset] {
        assert_eq!(
            (refused.status.code(), words(&refused)),
            (Some(1), format!("passerby: there is no folder {}\n", data.display()))
        );
    }
    assert!(!data.exists());
}

#[test]
fn the_first_admin_is_created_in_the_folder_and_the_next_on_a_server_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create = ["admin", "create", "Ada", "--password-stdin"];
    let weak = with_password(&data, &create, "too short\n");
    assert_eq!(weak.status.code(), Some(1));
    assert_eq!(words(&weak), "passerby: a password has 12 to 128 characters\n");
    let created = with_password(&data, &create, "correct horse battery\n");
    assert_eq!(words(&created), "ada is created with the role owner\n");
    assert!(
        words(&with_password(&data, &create, "correct horse battery\n")).contains("there is an admin of this name")
    );

    let process = Process::start(&data, &[]);
    assert_eq!(log_in(&process, "ada", "correct horse battery"), 200);
    let token = data.join("admin.token");
    assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let bob = with_password(
        &data,
        &["admin", "create", "bob", "--role", "read", "--password-stdin"],
        "another long password",
    );
    assert_eq!(words(&bob), "bob is created with the role read\n");
    let listed = words(&run(&data, &["admin", "list"]));
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            ["NAME", "ROLE", "STATE", "SECOND", "FACTOR"].as_slice(),
            &["ada", "owner", "enabled", "no"],
            &["bob", "read", "enabled", "no"]
        ]
    );
    let reset =
        with_password(&data, &["admin", "reset-password", "bob", "--password-stdin"], "yet another password\r\n");
    assert_eq!(words(&reset), "bob has a new password, and neither a session nor a second factor any more\n");
    assert_eq!(
        (log_in(&process, "bob", "another long password"), log_in(&process, "bob", "yet another password")),
        (401, 200)
    );
    assert!(run(&data, &["admin", "disable", "bob"]).status.success());
    assert_eq!(log_in(&process, "bob", "yet another password"), 401);
    let last = run(&data, &["admin", "disable", "ada"]);
    assert_eq!(
        (last.status.code(), words(&last)),
        (Some(1), "passerby: the last owner who is enabled stays an owner\n".to_owned())
    );
    assert_eq!(process.stop(), Some(0));
    assert!(!token.exists(), "it goes with the server");

    let listed = words(&run(&data, &["admin", "list"]));
    assert!(listed.lines().nth(2).unwrap().contains("disabled"), "{listed}");
    let listed: Value = serde_json::from_slice(&run(&data, &["admin", "list", "--json"]).stdout).unwrap();
    assert_eq!(
        listed["admins"][1],
        serde_json::json!({ "name": "bob", "role": "read", "disabled": true, "totp": false })
    );
    let none = run(&data, &["admin", "create", "eve"]);
    assert_eq!(none.status.code(), Some(64));
    assert!(words(&none).contains("--password-stdin"), "{}", words(&none));
    let process = Process::start(&data, &[]);
    assert_eq!(log_in(&process, "ada", "correct horse battery"), 200);
}

#[test]
fn admins_of_a_server_for_tests_are_created_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &["--test"]);
    let create = |name: &str| {
        let arguments = ["admin", "create", name, "--password-stdin"];
        words(&with_password(&data, &arguments, "correct horse battery\n"))
    };
    assert_eq!(create("ada"), "ada is created with the role owner\n");
    assert_eq!(log_in(&process, "ada", "correct horse battery"), 200);
    assert_eq!(process.stop(), Some(0));
    let refused = create("bob");
    assert!(refused.contains("was begun by `serve --test`"), "{refused}");
}
