//! What commands write: one JSON object with `--json`, nothing that moves a cursor, and no silence where it could not be written.
//! And as whom they ask.

use std::collections::BTreeSet;

use super::remote::Here;
use super::*;

const PASSWORD: &str = "correct horse battery";

/// A command with a password on its standard input.
fn with_input(here: &Here, line: &str) -> Output {
    let mut command = passerby();
    command.args(line.split_whitespace()).current_dir(here.folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // most commands read none of it
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).ok();
    child.wait_with_output().unwrap()
}

/// All commands below one that have none below themselves, of those that have `--json`.
fn with_json(path: &str, found: &mut BTreeSet<String>) {
    let help = passerby().args(path.split_whitespace()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let Some((_, below)) = help.split_once("\nCommands:\n") else {
        if help.contains("--json") {
            found.insert(path.to_owned());
        }
        return;
    };
    for line in below.lines().take_while(|line| line.starts_with(' ')) {
        match line.split_whitespace().next() {
            Some(name) if line.starts_with("  ") && !line.starts_with("   ") && name != "help" => {
                with_json(format!("{path} {name}").trim(), found);
            }
            _ => {}
        }
    }
}

#[test]
fn each_command_prints_one_json_object() {
    let here = Here::new();
    let mut missing = BTreeSet::new();
    with_json("", &mut missing);
    assert!(missing.len() > 35, "{missing:?}");
    let mut one = |code: i32, line: &str| {
        missing.retain(|command| !format!("{line} ").starts_with(&format!("{command} ")));
        let output = with_input(&here, &format!("{line} --json"));
        assert_eq!(output.status.code(), Some(code), "{line}: {}", words(&output));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.lines().count() == 1 && said.ends_with("}\n"), "{line}: {said}");
        let object: serde_json::Map<String, Value> = serde_json::from_str(&said).unwrap();
        Value::from(object)
    };
    let (ada, bob, eve) = (here.user(), here.user(), here.user());
    let of = |told: &Value, at: usize| (told["users"][at]["user_id"].clone(), told["users"][at]["done"].clone());
    one(0, "users list");
    one(0, "users count");
    assert_eq!(one(0, &format!("users find {ada}"))["users"][0]["user_id"], ada);
    assert_eq!(one(1, "users find nobody")["users"], Value::Array(Vec::new()));
    assert_eq!(one(0, &format!("users show {ada}"))["user_id"], ada);
    one(0, &format!("users history {ada}"));
    assert!(one(0, "users create")["user_id"].is_string());
    assert_eq!(one(0, "users create --count 1001")["users"].as_array().unwrap().len(), 1001);
    let nobody = "01a22edf-1fb8-7b27-a0a4-c37fbfd8f82c";
    let disabled = one(1, &format!("users disable {ada} {nobody}"));
    assert_eq!(of(&disabled, 0), (Value::from(ada.as_str()), Value::from(true)));
    assert_eq!(of(&disabled, 1), (Value::from(nobody), Value::from(false)));
    assert!(disabled["users"][1]["error"].is_string(), "{disabled}");
    assert_eq!(of(&one(0, &format!("users enable {ada}")), 0).1, true);
    assert_eq!(one(0, "users disable --everybody --dry-run")["users"]["changed"], 1005);
    assert_eq!(one(0, "users enable --disabled --yes")["state"], "done");
    one(0, "users job");
    one(1, &format!("users end {nobody} --yes"));
    let session = text(&one(0, &format!("sessions list {bob}"))["sessions"][0], "id");
    assert_eq!(one(0, &format!("sessions end {bob} {session} --yes"))["id"], session);
    assert_eq!(one(0, &format!("users end {eve} --yes"))["users"][0]["deleted"], true);
    assert_eq!(one(0, &format!("meters show {ada}"))["meters"][0]["name"], "articles");
    one(0, "meters list");
    one(0, &format!("meters grant {ada} articles 3"));
    one(0, &format!("meters reset {ada} articles --yes"));
    assert_eq!(of(&one(0, &format!("users delete {ada} --yes")), 0).1, true);
    one(0, "networks list");
    one(0, "networks show 192.0.2.7");
    one(0, "networks block 192.0.2.0/24 --yes");
    assert_eq!(one(1, "networks lift 192.0.2.7")["blocked"]["network"], "192.0.2.0/24");
    one(0, "networks lift 192.0.2.0/24");
    assert_eq!(one(0, "pull app")["providers"]["anon-user"]["disabled"], false);
    one(0, "diff app");
    one(0, "push app --yes");
    assert!(one(0, "providers list")["providers"].is_array());
    one(0, "providers disable anon-user");
    one(0, "providers disable anon-user");
    one(1, "diff app");
    one(0, "providers enable anon-user");
    one(0, "deployments list");
    one(0, "deployments show 1");
    one(0, "deployments deploy 2 --yes");
    one(0, "push app --yes");
    assert_eq!(one(0, "admin create ada --password-stdin")["role"], "owner");
    assert_eq!(one(0, "admin create bob --password-stdin")["name"], "bob");
    assert_eq!(admins::log_in(&here.server, "bob", PASSWORD), 200);
    let session = text(&one(0, "sessions admins")["sessions"][0], "id");
    one(0, &format!("sessions end-admin {session} --yes"));
    one(0, "admin reset-password bob --password-stdin");
    assert_eq!(one(0, "admin disable bob")["disabled"], true);
    assert_eq!(one(0, "admin list")["admins"].as_array().unwrap().len(), 2);
    one(0, "audit list");
    assert!(one(0, "audit export")["entries"].as_array().unwrap().len() > 10);
    one(0, "stats");
    assert!(missing.is_empty(), "these were not tried: {missing:?}");
}

#[test]
fn what_others_wrote_neither_moves_the_cursor_nor_turns_the_text_round() {
    let here = Here::new();
    let ada = here.user();
    let reason = "a\u{202e}b\u{2066}c\u{200f}d";
    let disable = ["users", "disable", &ada, "--reason", reason];
    assert!(passerby().args(disable).current_dir(here.folder.path()).output().unwrap().status.success());
    assert_eq!(here.json(&format!("users show {ada}"))["disabled_reason"], reason);
    for line in [
        format!("users show {ada}"),
        format!("users show {ada} --json"),
        format!("users history {ada}"),
        "audit list".to_owned(),
        "audit list --json".to_owned(),
        "audit export".to_owned(),
    ] {
        let said = here.says(&line);
        assert!(!said.contains(['\u{202e}', '\u{2066}', '\u{200f}']), "{line}: {said:?}");
        assert!(said.contains('\u{fffd}') || said.contains("\\u202e"), "{line}: {said:?}");
    }
}

#[test]
fn what_could_not_be_written_is_a_failure_unless_nobody_reads_on() {
    let here = Here::new();
    here.says("users create --count 3");
    here.says("pull app");
    for (line, failed) in [
        ("audit export", 1),
        ("users list", 1),
        ("users list --json", 1),
        ("--help", 1),
        ("completions bash", 1),
        ("man", 1),
        ("diff app", 2),
    ] {
        let mut command = passerby();
        command.args(line.split_whitespace()).current_dir(here.folder.path());
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(failed), "{line}: {}", words(&output));
        assert!(words(&output).starts_with("passerby: standard output could not be written: "), "{}", words(&output));

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), words(&output).as_str()), (Some(0), ""), "{line}");
    }
}

/// Whoever gives a token acts with it, also where the folder would make an owner of them.
#[test]
fn a_token_that_is_given_counts_on_the_machine_of_the_server_too() {
    let here = Here::new();
    let created = with_input(&here, "admin create reader --role read --password-stdin");
    assert!(created.status.success(), "{}", words(&created));
    let body = serde_json::json!({ "name": "reader", "password": PASSWORD }).to_string();
    let head = format!("POST /v1/admin/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut client = Client::connect(&here.server.admin).unwrap();
    client.stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
    let token = text(&client.read().unwrap().body, "token");
    let file = here.folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let by = |token: &str, line: &str| {
        let mut command = passerby();
        command.args(line.split_whitespace()).current_dir(here.folder.path()).stdin(Stdio::null());
        let output = command.env("PASSERBY_ADMIN_TOKEN", token).output().unwrap();
        (output.status.code(), words(&output))
    };
    assert_eq!(by(&token, "users count").0, Some(0));
    let (code, said) = by(&token, "users create");
    assert!(code == Some(1) && said.contains("read"), "{said}");
    assert_eq!(by(&token, "admin disable reader").0, Some(1));
    assert_eq!(here.fails("users create --token-file token").0, Some(1));
    let (code, said) = by("pbs_wrong", "users count");
    assert!(code == Some(1) && said.contains("the token is not"), "{said}");
    assert_eq!(by("", "users count").0, Some(64));
    assert_eq!(here.json("users count")["users"], 0);
    assert_eq!(here.json("admin list")["admins"][0]["disabled"], false);
}
