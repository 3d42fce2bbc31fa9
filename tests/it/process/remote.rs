//! The commands that ask the admin API: of a server on this machine, and by an address and a token.

use super::*;
use crate::tls::Certificate;

/// A server with a meter, in a folder of its own; commands find it by its data folder.
pub(super) struct Here {
    pub(super) folder: tempfile::TempDir,
    pub(super) server: Process,
}

impl Here {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("passerby.toml"), "[meter.articles]\nlimit = 5\n").unwrap();
        let mut command = passerby();
        command.arg("serve").args(FREE_PORTS).current_dir(folder.path()).stderr(Stdio::null());
        let server = Process::spawn(&mut command);
        Self { folder, server }
    }

    pub(super) fn user(&self) -> String {
        text(&call(&self.server.public, "POST", "/v1/sessions", None).body, "user_id")
    }

    pub(super) fn output(&self, line: &str) -> Output {
        passerby().args(line.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command prints that does well.
    pub(super) fn says(&self, line: &str) -> String {
        let output = self.output(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", words(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{line} --json"))).unwrap()
    }

    /// The code and the words of a command that does not.
    pub(super) fn fails(&self, line: &str) -> (Option<i32>, String) {
        let output = self.output(line);
        assert!(output.stdout.is_empty(), "{line}: {}", words(&output));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn users_are_listed_found_shown_disabled_and_deleted_without_a_password() {
    let here = Here::new();
    let (ada, bob) = (here.user(), here.user());
    let listed = here.says("users list");
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["USER", "KIND", "STATE"]);
    assert_eq!(
        (&lines[1][..3], &lines[2][..3]),
        ([&bob, "anonymous", "enabled"].as_slice(), [&ada, "anonymous", "enabled"].as_slice())
    );
    assert!(!listed.contains('\u{1b}'), "colours are for terminals: {listed:?}");
    let page = here.says("users list --oldest --limit 1");
    assert!(page.contains(&ada) && page.contains(&format!("there are more: --after {ada}")), "{page}");
    assert!(here.says(&format!("users list --oldest --after {ada}")).contains(&bob));
    assert_eq!(here.json("users list --anonymous")["users"].as_array().unwrap().len(), 2);
    assert_eq!(here.json("users list --accounts")["users"], Value::Array(Vec::new()));
    assert!(here.says("users count").lines().any(|line| line.split_whitespace().eq(["anonymous", "2"])));

    assert_eq!(here.json(&format!("users find {ada}"))["users"][0]["found_by"], "user-id");
    assert_eq!(here.fails("users find nobody"), (Some(1), "passerby: no user is found by this\n".to_owned()));
    let cookie = format!("AQ{}", "A".repeat(85));
    let named = format!("__Host-passerby={cookie}");
    for secret in ["eyJhbGciOiJ9", &cookie, &named, "passerby=cut", "pbs_token", "Bearer:eyJhbGciOiJ9"] {
        let (code, said) = here.fails(&format!("users find {secret}"));
        assert!(code == Some(64) && said.contains("on standard input, with -") && !said.contains(secret), "{said}");
    }
    assert_eq!(here.fails("users find eyJack@example.com").0, Some(1), "an address is no token");
    let (code, said) = here.fails("users show 01a22edf-1fb8-7b27-a0a4-c37fbfd8f82c");
    assert!(code == Some(1) && said.starts_with("passerby: ") && said.lines().count() == 1, "{said}");

    assert_eq!(
        here.says(&format!("users disable {ada} --until 2100-01-01T00:00:00Z --reason spam")),
        format!("{ada} is disabled\n")
    );
    let shown = here.says(&format!("users show {ada}"));
    assert!(shown.contains("disabled reason  spam\n") && shown.contains("2100-01-01T00:00:00Z"), "{shown}");
    assert!(here.says(&format!("users history {ada}")).contains("user.disable"));
    here.says(&format!("users enable {ada}"));
    assert_eq!(here.json(&format!("users show {ada}"))["disabled"], false);

    let session = text(&here.json(&format!("sessions list {bob}"))["sessions"][0], "id");
    assert!(here.says(&format!("sessions list {bob}")).contains(&session));
    assert_eq!(here.fails(&format!("sessions end {bob} {session}")).0, Some(64), "nobody can be asked");
    assert_eq!(here.says(&format!("sessions end {bob} {session} --yes")), format!("{session} is ended\n"));
    assert_eq!(here.fails(&format!("users delete {ada}")).0, Some(64));
    // one is gone already, and the other has its turn
    let both = here.output(&format!("users delete {bob} {ada} --yes"));
    let (code, said) = (both.status.code(), words(&both));
    assert!(
        code == Some(1)
            && said.contains(&format!("{ada} is deleted\n"))
            && said.contains(&format!("passerby: {bob}: ")),
        "{said}"
    );
    assert_eq!(here.json("users count")["users"], 0);
    let done = here.says("audit list --what user.delete");
    assert!(done.contains(&ada) && done.contains("local"), "{done}");
    let exported = here.says("audit export");
    assert!(
        exported.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && exported.lines().count() >= 4,
        "{exported}"
    );
}

#[test]
fn many_users_are_acted_on_by_a_filter_and_never_by_mistake() {
    let here = Here::new();
    for _ in 0..3 {
        here.user();
    }
    for wrong in [
        "users delete",
        "users delete .",
        "users delete u --anonymous",
        "users delete u --everybody",
        "users end --anonymous --everybody",
    ] {
        assert_eq!(here.fails(&format!("{wrong} --yes")).0, Some(64), "{wrong}");
    }
    let (code, said) = here.fails("users delete --anonymous");
    assert_eq!((code, said.contains("--yes")), (Some(64), true), "{said}");
    let (code, said) = here.fails("users enable --everybody");
    assert!(code == Some(64) && !said.contains("cannot be taken back"), "it can: {said}");
    let would = |action: &str| here.says(&format!("users {action} --dry-run"));
    assert_eq!(
        would("delete --anonymous"),
        "3 users fit, and nothing is done: this deletes 3 users for good, with all that is held about them\n"
    );
    assert_eq!(
        would("end --everybody"),
        "3 users fit, and nothing is done: this deletes 3 anonymous users for good, who could never come back\n"
    );
    assert_eq!(would("disable --everybody"), "3 users fit, and nothing is done: this disables 3 users\n");
    assert_eq!(would("enable --everybody"), "3 users fit, and nothing is done: this changes none of them\n");
    assert!(here.says("users job").contains("(dry run): done; 3 users fit, 0 would be changed, 0 would be deleted"));
    assert_eq!(here.json("users count")["users"], 3);
    assert_eq!(here.says("users end --accounts --yes").matches("0 users fit").count(), 1);
    assert!(here.says("users disable --everybody --yes").contains("disable: done; 3 users fit, 3 changed"));
    let deleted = here.json("users delete --disabled --yes");
    assert_eq!((&deleted["state"], &deleted["users"]["removed"]), (&Value::from("done"), &Value::from(3)));
    assert!(here.says("users job").contains("3 deleted"));
    assert_eq!(here.fails("users job --stop").0, Some(1), "it is over");
    assert_eq!(here.json("users count")["users"], 0);
}

#[test]
fn users_are_created_by_hand_and_networks_blocked() {
    let here = Here::new();
    let fixed = "01a22edf-1fb8-7b27-a0a4-c37fbfd8f82c";
    assert_eq!(here.says(&format!("users create --id {fixed}")), format!("{fixed}\n"));
    assert_eq!(here.fails(&format!("users create --id {fixed}")).0, Some(1), "it is taken");
    assert_eq!(here.says("users create --count 1001").lines().count(), 1001);
    assert_eq!(here.json("users count")["users"], 1002);
    assert_eq!(here.fails("users create --count 0").0, Some(64));

    assert_eq!(here.fails("networks block 192.0.2.0/24").0, Some(64), "nobody can be asked");
    assert_eq!(here.says("networks block 192.0.2.0/24 --reason flood --yes"), "192.0.2.0/24 is blocked\n");
    assert!(here.says("networks list").contains("flood"));
    assert!(here.says("networks show 192.0.2.7").contains("blocked"));
    let lifted = here.output("networks lift 192.0.2.7");
    assert_eq!(
        (lifted.status.code(), words(&lifted).as_str()),
        (
            Some(1),
            "192.0.2.7/32: there is no block of its own, and it has its budgets back\n\
             passerby: 192.0.2.7 is still blocked, as a part of 192.0.2.0/24: lift that\n"
        )
    );
    assert!(here.says("networks lift 192.0.2.0/24").contains("the block is lifted"));
    assert!(here.says("networks lift 192.0.2.0/24").contains("it was not blocked"));
    assert_eq!(here.json("networks list")["blocked"], Value::Array(Vec::new()));
    assert_eq!(here.fails("networks block nonsense --yes").0, Some(1));
}

#[test]
fn sessions_of_admins_are_listed_and_ended() {
    let here = Here::new();
    let data = here.folder.path().join("data");
    admins::with_password(&data, &["admin", "create", "ada", "--password-stdin"], "correct horse battery");
    assert_eq!(admins::log_in(&here.server, "ada", "correct horse battery"), 200);
    assert!(here.says("sessions admins").contains("ada"));
    let session = text(&here.json("sessions admins")["sessions"][0], "id");
    assert_eq!(here.fails(&format!("sessions end-admin {session}")).0, Some(64), "nobody can be asked");
    assert_eq!(here.says(&format!("sessions end-admin {session} --yes")), format!("{session} is ended\n"));
    assert_eq!(here.json("sessions admins")["sessions"], Value::Array(Vec::new()));
}

#[test]
fn meters_are_shown_granted_and_reset_and_numbers_told() {
    let here = Here::new();
    let ada = here.user();
    assert!(here.says("meters list").contains("articles  5      month"));
    assert_eq!(here.json(&format!("meters grant {ada} articles 3"))["left"], 8);
    assert_eq!(here.json(&format!("meters show {ada}"))["meters"][0]["granted"], 3);
    assert_eq!(here.fails(&format!("meters reset {ada} articles")).0, Some(64));
    assert!(here.says(&format!("meters reset {ada} articles --yes")).contains("articles  0     5      5     0"));
    assert_eq!(here.fails(&format!("meters grant {ada} nothing 3")).0, Some(1));
    let stats = here.says("stats");
    assert!(stats.lines().any(|line| line.split_whitespace().eq(["users", "1"])), "{stats}");
    assert_eq!(here.json("stats")["now"]["users"], 1);
}

#[test]
fn another_machine_is_asked_by_https_with_a_token_from_a_file_or_the_environment() {
    let certificate = Certificate::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut command = passerby();
    command.arg("serve").args(FREE_PORTS).arg("--data-dir").arg(at("data")).stderr(Stdio::null());
    command
        .env("PASSERBY_ADMIN_TLS_CERT", certificate.path("cert.pem"))
        .env("PASSERBY_ADMIN_TLS_KEY", certificate.path("key.pem"));
    let process = Process::spawn(&mut command);
    let port = process.admin.rsplit_once(':').unwrap().1;
    let door = std::fs::read_to_string(at("data/admin.token")).unwrap();
    let token = door.lines().nth(1).unwrap();
    let ask = |server: &str, more: &[&str], token: Option<&str>, trusted: bool| {
        let mut command = passerby();
        command.args(["users", "count", "--json", "--server", server]).args(more).current_dir(folder.path());
        command.envs(token.map(|token| ("PASSERBY_ADMIN_TOKEN", token)));
        command.env("SSL_CERT_FILE", if trusted { certificate.path("cert.pem") } else { "/nonexistent".to_owned() });
        let output = command.env_remove("SSL_CERT_DIR").output().unwrap();
        (output.status.code(), words(&output))
    };
    let server = format!("https://localhost:{port}");
    let (code, said) = ask(&server, &[], Some(token), true);
    assert!(code == Some(0) && said.contains("\"users\":0"), "{said}");
    let (code, said) = ask(&server, &[], Some(token), false);
    assert!(code == Some(1) && said.contains("no certificate that is trusted"), "{said}");
    let (code, said) = ask(&server, &[], Some("pbl_wrong"), true);
    assert!(code == Some(1) && said.contains("the token is not") && !said.contains("pbl_wrong"), "{said}");
    let (code, said) = ask(&server, &[], None, true);
    assert!(code == Some(64) && said.contains("PASSERBY_ADMIN_TOKEN"), "{said}");
    let (code, said) = ask("http://192.0.2.1:8081", &[], Some(token), true);
    assert!(code == Some(64) && said.contains("is not https"), "{said}");

    std::fs::write(at("token"), format!("{token}\n")).unwrap();
    let by_file = ["--token-file", &at("token").display().to_string()].map(str::to_owned);
    let by_file = by_file.each_ref().map(String::as_str);
    let (code, said) = ask(&server, &by_file, None, true);
    assert!(code == Some(64) && said.contains("mode 0644") && said.contains("/token: "), "others may read it: {said}");
    std::fs::set_permissions(at("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(ask(&server, &by_file, None, true).0, Some(0));

    // without an address it is the server of the data folder, and none runs there
    let output = passerby().args(["stats", "--data-dir", "nowhere"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(
        (output.status.code(), words(&output)),
        (Some(1), "passerby: no server runs with the data folder nowhere\n".to_owned())
    );
}
