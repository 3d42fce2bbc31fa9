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
}
