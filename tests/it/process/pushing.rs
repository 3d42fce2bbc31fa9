//! `passerby push`, `pull`, `diff`, `providers` and `deployments` against a server that runs.

use super::*;

#[test]
fn an_app_is_pulled_changed_compared_and_pushed_and_an_older_deployment_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = passerby();
    command.arg("serve").args(FREE_PORTS).current_dir(folder.path()).stderr(Stdio::null());
    let server = Process::spawn(&mut command);
    let output = |line: &str| {
        passerby().args(line.split_whitespace()).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
    };
    let says = |line: &str| {
        let output = output(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let create = || call(&server.public, "POST", "/v1/sessions", None).status;

    assert_eq!(says("pull app"), "the app passerby is written into app\n");
    assert_eq!(says("diff app"), "nothing differs from what is in force\n");
    assert_eq!(says("push app --yes"), "nothing differs from what is in force\n");
    let providers = folder.path().join("app/auth/providers.json");
    let text = std::fs::read_to_string(&providers).unwrap();
    assert!(text.contains("\"disabled\": false"), "{text}");
    std::fs::write(&providers, text.replace("\"disabled\": false", "\"disabled\": true")).unwrap();
    let differs = output("diff app");
    assert_eq!(differs.status.code(), Some(1), "{}", words(&differs));
    let shown = String::from_utf8(differs.stdout).unwrap();
    assert!(shown.starts_with("anon-user: enabled → disabled\n"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("- ") && line.contains("\"disabled\": false")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("+ ") && line.contains("\"disabled\": true")), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours are for terminals");
    assert_eq!(output("push app").status.code(), Some(64), "nobody can be asked");
    assert_eq!(create(), 201);
    assert!(says("push app --yes --name quiet").ends_with("deployment 2 is in force\n"));
    assert_eq!(create(), 403);

    let listed = says("deployments list");
    let row = |number: &str| listed.lines().find(|line| line.starts_with(number)).unwrap().to_owned();
    assert!(row("2").contains("in force") && row("2").contains("quiet") && !row("1").contains("in force"), "{listed}");
    assert!(says("deployments show 1").contains("anon-user: disabled → enabled\n"));
    assert!(says("deployments deploy 1 --yes").ends_with("deployment 3 is in force\n"));
    assert_eq!(create(), 201);

    assert_eq!(says("providers disable anon-user"), "deployment 4 is in force\n");
    assert_eq!(create(), 403);
    assert_eq!(says("providers disable anon-user"), "anon-user is disabled already\n");
    let anon = says("providers list");
    assert!(anon.lines().any(|line| line.starts_with("anon-user") && line.contains("disabled")), "{anon}");
    assert_eq!(says("providers enable anon-user"), "deployment 5 is in force\n");
    assert_eq!(create(), 201);
    assert_eq!(output("providers enable saml").status.code(), Some(64));

    std::fs::write(&providers, r#"{"anon-user": {"disabled": 1}, "saml": {}}"#).unwrap();
    let wrong = output("push app --yes");
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(64));
    assert!(said.contains("anon-user.disabled") && said.contains("saml: there is no such provider"), "{said}");
    says("pull old --deployment 2");
    let old = std::fs::read_to_string(folder.path().join("old/auth/providers.json")).unwrap();
    assert!(old.contains("\"disabled\": true"), "{old}");
    let meta = folder.path().join("old/.mdb/meta.json");
    std::fs::write(&meta, r#"{"client_app_id": "other-abcde"}"#).unwrap();
    assert!(words(&output("diff old")).contains("is of the app other-abcde, and the server has passerby"));
    assert_eq!(output("diff old").status.code(), Some(64), "as any wrong folder");
    drop(server);
    assert_eq!(output("diff app").status.code(), Some(64), "{}", words(&output("diff app")));
    write_a_good_one(&folder.path().join("app"));
    assert_eq!(output("diff app").status.code(), Some(2), "no server runs, so that it is not known");
    assert_eq!(output("push app --yes").status.code(), Some(1));
}

/// A folder in which nothing is wrong.
fn write_a_good_one(app: &Path) {
    std::fs::write(app.join("auth/providers.json"), r#"{"anon-user":{}}"#).unwrap();
}

/// Whoever switches a provider would deploy what somebody else has begun.
#[test]
fn a_provider_is_not_switched_beside_a_draft_and_json_is_what_the_api_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = passerby();
    command.arg("serve").args(FREE_PORTS).current_dir(folder.path()).stderr(Stdio::null());
    let server = Process::spawn(&mut command);
    let output = |line: &str| {
        passerby().args(line.split_whitespace()).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
    };
    let json = |line: &str, code: i32| -> Value {
        let output = output(&format!("{line} --json"));
        assert_eq!(output.status.code(), Some(code), "{line}: {}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {}", words(&output)))
    };
    let listed = json("providers list", 0);
    let listed = &listed["providers"][0];
    assert_eq!((&listed["name"], &listed["enabled"]), (&Value::from("anon-user"), &Value::from(true)));
    assert_eq!(json("pull app", 0)["providers"]["anon-user"]["disabled"], false);
    assert_eq!(json("diff app", 0)["changed"], false);
    assert_eq!(json("push app --yes", 0)["changed"], false);
    std::fs::write(folder.path().join("app/auth/providers.json"), r#"{"anon-user":{"disabled":true}}"#).unwrap();
    assert_eq!(json("diff app", 1)["changes"][0], "anon-user: enabled → disabled");
    assert_eq!(json("push app --yes", 0)["number"], 2);
    assert_eq!(json("deployments list", 0)["deployments"][0]["number"], 2);
    let first = json("deployments show 1", 0);
    assert_eq!((&first["number"], &first["deployment"], &first["changed"]), (&1.into(), &2.into(), &true.into()));
    assert_eq!(json("deployments deploy 1 --yes", 0)["redeploy_of"], 1);
    assert_eq!(json("providers disable anon-user", 0)["number"], 4);
    assert_eq!(json("providers disable anon-user", 0)["number"], 4, "it is already");

    let door = std::fs::read_to_string(folder.path().join("data/admin.token")).unwrap();
    let token = door.lines().nth(1).unwrap();
    let draft = r#"{"revision":0,"app":{"providers":{"api-key":{"disabled":false}}}}"#;
    let (status, _) = send_json(&server.admin, "PATCH", "/v1/admin/draft", token, draft);
    assert_eq!(status, 200);
    for command in ["providers enable anon-user", "providers enable anon-user --json"] {
        let refused = output(command);
        assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(" has a draft: deploy it or discard it first, or change it there"), "{said}");
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(call(&server.public, "POST", "/v1/sessions", None).status, 403);
    assert_eq!(json("deployments list", 0)["deployments"][0]["number"], 4);
}

/// A terminal is what `script` gives to a command.
#[test]
fn whoever_is_asked_sees_what_it_would_change_also_with_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = passerby();
    command.arg("serve").args(FREE_PORTS).current_dir(folder.path()).stderr(Stdio::null());
    let _server = Process::spawn(&mut command);
    let output = |command: &mut Command| command.current_dir(folder.path()).stdin(Stdio::piped()).output().unwrap();
    output(passerby().args(["pull", "app"]));
    std::fs::write(folder.path().join("app/auth/providers.json"), r#"{"anon-user":{"disabled":true}}"#).unwrap();
    output(passerby().args(["push", "app", "--yes"]));
    std::fs::write(folder.path().join("app/auth/providers.json"), r#"{"anon-user":{}}"#).unwrap();
    for (line, asked) in [("push app", true), ("deployments deploy 1", true), ("push app --yes", false)] {
        let typed = format!("{} {line} --json", env!("CARGO_BIN_EXE_passerby"));
        let mut child = Command::new("script")
            .args(["-qec", &typed, "/dev/null"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux");
        child.stdin.take().unwrap().write_all(b"n\n").unwrap();
        let said = words(&child.wait_with_output().unwrap());
        assert_eq!(said.contains("anon-user: disabled → enabled"), asked, "{line}: {said}");
        assert_eq!(said.contains("Go on? [y/N]") && said.contains("nothing was done"), asked, "{line}: {said}");
    }
}

fn send_json(address: &str, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let mut client = Client::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.stream.get_mut().write_all(head.as_bytes()).unwrap();
    let answer = client.read_of(method).unwrap();
    (answer.status, answer.body)
}
