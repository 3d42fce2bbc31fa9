//! The binary itself, as a process: kills under load, the drain, exit codes and the commands.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) fn passerby() -> Command {
    // with the umask of most shells, whatever that of the tests is
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_passerby")]);
    // no setting from the environment of the tests reaches the server
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PASSERBY_")) {
        command.env_remove(name);
    }
    command
}

/// A running server process; killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) public: String,
    pub(crate) admin: String,
}

impl Process {
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_with(data, arguments, &[], Stdio::null())
    }

    fn start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)], stderr: Stdio) -> Self {
        let mut command = passerby();
        command.arg("serve").args(FREE_PORTS).args(["--workers", "2", "--data-dir"]).arg(data).args(arguments);
        Self::spawn(command.envs(environment.iter().copied()).stderr(stderr))
    }

    /// Runs a command that serves, until it says where.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |prefix: &str| {
            let line = lines.next().expect("a line before the end").unwrap();
            line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let admin = address("admin on http://");
        let public = address("listening on http://");
        Self { child, public, admin }
    }

    /// With all log lines, which no one reads.
    fn start_unread(data: &Path) -> Self {
        Self::start_with(data, &[], &[("PASSERBY_LOG_FILTER", "trace")], Stdio::piped())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One keep-alive connection.
struct Client {
    stream: BufReader<TcpStream>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(address)?) })
    }

    /// `None` if the connection ended before a whole response.
    fn call(&mut self, method: &str, path: &str, token: Option<&str>) -> Option<Response> {
        let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n{authorization}\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).ok()?;
        self.read_of(method)
    }

    fn read(&mut self) -> Option<Response> {
        self.read_of("POST")
    }

    /// The answer to a request of this method: that to a HEAD has the length of a body and no body.
    fn read_of(&mut self, method: &str) -> Option<Response> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
                Some(_) => {}
                None if line == "\r\n" => break,
                None => return None,
            }
        }
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.stream.read_exact(&mut body).ok()?;
        Some(Response { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}

pub(crate) fn call(address: &str, method: &str, path: &str, token: Option<&str>) -> Response {
    Client::connect(address).unwrap().call(method, path, token).unwrap()
}

pub(crate) fn text(body: &Value, key: &str) -> String {
    body[key].as_str().unwrap_or_else(|| panic!("{key} in {body}")).to_owned()
}

/// What is known of a user: its newest tokens, and whether its end was begun or answered.
#[derive(Clone)]
struct Known {
    access: String,
    refresh: String,
    end_begun: bool,
    ended: bool,
}

type Book = Arc<Mutex<BTreeMap<String, Known>>>;

/// Logs in, refreshes, logs out and deletes until the server goes away.
fn live(address: &str, seed: usize, book: &Book, done: &AtomicUsize, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect(address) else { return };
    let mut mine: Vec<String> = Vec::new();
    let mut turn = seed;
    while !stop.load(Ordering::SeqCst) {
        turn += 1;
        if mine.len() < 3 || turn.is_multiple_of(3) {
            let Some(response) = client.call("POST", "/v1/sessions", None) else { return };
            assert_eq!(response.status, 201);
            let (id, access) = (text(&response.body, "user_id"), text(&response.body, "access_token"));
            let refresh = text(&response.body, "refresh_token");
            book.lock().unwrap().insert(id.clone(), Known { access, refresh, end_begun: false, ended: false });
            mine.push(id);
        } else if turn % 3 == 1 {
            let id = &mine[turn % mine.len()];
            let token = book.lock().unwrap()[id].refresh.clone();
            let Some(response) = client.call("POST", "/v1/session/refresh", Some(&token)) else { return };
            assert_eq!(response.status, 200, "{}", response.body);
            let mut book = book.lock().unwrap();
            let known = book.get_mut(id).unwrap();
            known.access = text(&response.body, "access_token");
            known.refresh = text(&response.body, "refresh_token");
        } else {
            let id = mine.remove(turn % mine.len());
            let token = {
                let mut book = book.lock().unwrap();
                let known = book.get_mut(&id).unwrap();
                known.end_begun = true;
                known.access.clone()
            };
            let path = if turn.is_multiple_of(2) { "/v1/session" } else { "/v1/user" };
            let Some(response) = client.call("DELETE", path, Some(&token)) else { return };
            assert_eq!(response.status, 204);
            book.lock().unwrap().get_mut(&id).unwrap().ended = true;
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Everything that was answered holds; what was under way is settled from now on.
fn settle(address: &str, book: &Book, context: &str) {
    let mut client = Client::connect(address).unwrap();
    for (id, known) in book.lock().unwrap().iter_mut() {
        let status = client.call("GET", "/v1/session", Some(&known.access)).unwrap().status;
        if known.ended {
            assert_eq!(status, 401, "{context}: {id} was ended and is back");
        } else if known.end_begun {
            known.ended = status == 401;
            known.end_begun = known.ended;
        } else {
            assert_eq!(status, 200, "{context}: {id} was acknowledged and is lost");
            // the refresh token that was answered last is the current one, or the one before
            let response = client.call("POST", "/v1/session/refresh", Some(&known.refresh)).unwrap();
            assert_eq!(response.status, 200, "{context}: {id} {}", response.body);
            known.refresh = text(&response.body, "refresh_token");
        }
    }
}

#[test]
fn what_was_answered_over_http_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let book = Book::default();
    for round in 0..8 {
        let mut process = Process::start(&data, &[]);
        let address = process.public.clone();
        settle(&process.public, &book, &format!("round {round}"));
        let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (address, book, done, stop) = (&address, &book, &done, &stop);
                scope.spawn(move || live(address, n * 31 + round, book, done, stop));
            }
            while done.load(Ordering::SeqCst) < 300 + round * 50 {
                std::thread::yield_now();
            }
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        });
    }
    let process = Process::start(&data, &[]);
    settle(&process.public, &book, "at the end");
    assert!(book.lock().unwrap().len() > 500);
}

#[test]
fn sigterm_under_load_answers_every_request_that_was_read() {
    for round in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut process = Process::start(&data, &[]);
        let address = process.public.clone();
        let book = Book::default();
        let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        // with one connection, one of the two workers is idle
        let clients = if round % 2 == 0 { 1 } else { 16 };
        let code = std::thread::scope(|scope| {
            for n in 0..clients {
                let (address, book, done, stop) = (&address, &book, &done, &stop);
                // `live` asserts each status that it gets
                scope.spawn(move || live(address, n * 31, book, done, stop));
            }
            while done.load(Ordering::SeqCst) < 200 {
                std::thread::yield_now();
            }
            process.signal(Signal::TERM);
            // clients go on until the server closes on them
            let code = process.child.wait().unwrap().code();
            stop.store(true, Ordering::SeqCst);
            code
        });
        assert_eq!(code, Some(0));
        let process = Process::start(&data, &[]);
        settle(&process.public, &book, &format!("round {round}"));
    }
}

/// Free ports.
pub(crate) const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    passerby().args(arguments).arg("--data-dir").arg(data).env("PASSERBY_PASSPHRASE", "correct horse").output().unwrap()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

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

fn logging_to(path: &Path) -> Stdio {
    Stdio::from(std::fs::File::create(path).unwrap())
}

/// S51: addresses and hashes are in it.
#[test]
fn what_is_created_is_its_owners_alone_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    process.stop();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = walk(&data);
    for name in ["LOCK", "CURRENT", "APP_ID", "journal"] {
        assert!(files.iter().any(|path| path.ends_with(name)), "{name} in {files:?}");
    }
    assert!(files.iter().any(|path| path.to_string_lossy().contains("/snapshot/")), "{files:?}");
    for path in &files {
        assert_eq!(mode(path) & 0o077, 0, "{} has mode {:o}", path.display(), mode(path));
        for folder in path.ancestors().take_while(|path| path.starts_with(&data)).skip(1) {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
    }

    let start = || Process::start_with(&data, &[], &[], logging_to(&log)).stop();
    start();
    assert!(!std::fs::read_to_string(&log).unwrap().contains("others than the owner"));
    std::fs::set_permissions(data.join("CURRENT"), std::fs::Permissions::from_mode(0o644)).unwrap();
    start();
    let said = std::fs::read_to_string(&log).unwrap();
    let line = said.lines().find(|line| line.contains("others than the owner")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("WARN") && line.contains("CURRENT") && line.contains("chmod"), "{line}");
    let checked = words(&run(&data, &[["check"].as_slice(), &FREE_PORTS].concat()));
    let line = checked.lines().find(|line| line.contains("others than the owner"));
    assert!(line.is_some_and(|line| line.starts_with("warning: ") && line.contains("CURRENT")), "{checked}");
}

/// What the running server holds is in no folder any more: nothing may be acknowledged, no user be called dead, and a
/// different server may have the path.
#[test]
fn a_data_folder_that_is_taken_away_is_noticed_and_nothing_is_promised_any_more() {
    for moved in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (data, away, log) = (folder.path().join("data"), folder.path().join("away"), folder.path().join("log"));
        let process = Process::start_with(&data, &[], &[], logging_to(&log));
        let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
        if moved {
            std::fs::rename(&data, &away).unwrap();
        } else {
            std::fs::remove_dir_all(&data).unwrap();
        }
        // a login before it is noticed is not acknowledged either
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 503);
        assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 503);
        assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
        assert_eq!(call(&process.public, "GET", "/v1/session", Some("a.b.c")).status, 503, "nobody is called dead");
        let said = std::fs::read_to_string(&log).unwrap();
        let line = said.lines().find(|line| line.contains("removed, moved or replaced"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("ERROR") && line.contains(data.to_str().unwrap()), "{line}");

        // a different server on the path has it for itself
        let other = Process::start(&data, &[]);
        let theirs = text(&call(&other.public, "POST", "/v1/sessions", None).body, "access_token");
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 503);
        assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 503);
        process.stop();
        assert_eq!(other.stop(), Some(0));
        let other = Process::start(&data, &[]);
        assert_eq!(call(&other.public, "GET", "/v1/session", Some(&theirs)).status, 200);
        other.stop();
        if moved {
            let back = Process::start(&away, &[]);
            assert_eq!(call(&back.public, "GET", "/v1/session", Some(&access)).status, 200);
        }
    }
}

/// With nothing to write it is noticed all the same.
#[test]
fn a_data_folder_that_is_taken_away_is_noticed_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 200);
    std::fs::remove_file(data.join("LOCK")).unwrap();
    while call(&process.admin, "GET", "/readyz", None).status != 503 {
        std::thread::yield_now();
    }
}

/// Beside the journal a start needs `CURRENT` and the snapshot, which are written again from memory.
#[test]
fn what_a_start_needs_is_written_anew_when_it_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let process = Process::start_with(&data, &[], &[], logging_to(&log));
    let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
    std::fs::remove_file(data.join("CURRENT")).unwrap();
    while !data.join("CURRENT").exists() || call(&process.admin, "GET", "/readyz", None).status != 200 {
        std::thread::yield_now();
    }
    let said = std::fs::read_to_string(&log).unwrap();
    let line = said.lines().find(|line| line.contains("removed or replaced under the running server"));
    assert!(line.is_some_and(|line| line.contains("ERROR") && line.contains("CURRENT")), "{said}");
    drop(process);
    let again = Process::start(&data, &[]);
    assert_eq!(call(&again.public, "GET", "/v1/session", Some(&access)).status, 200);
}

/// S2: without its keys no start lets users in, and until then no one would notice.
#[test]
fn keys_that_are_taken_away_are_noticed_and_nobody_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, keys, log) = (folder.path().join("data"), folder.path().join("keys"), folder.path().join("log"));
    let keys_dir = ["--keys-dir", keys.to_str().unwrap()];
    let process = Process::start_with(&data, &keys_dir, &[], logging_to(&log));
    let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
    let reasons = || {
        let ready = call(&process.admin, "GET", "/readyz", None);
        assert_eq!(ready.status, 200, "{}", ready.body);
        ready.body["reasons"].clone()
    };
    let wait_for = |missing: bool| {
        while (reasons() == serde_json::json!(["keys-missing"])) != missing {
            std::thread::yield_now();
        }
        assert_eq!(metric(&process.admin, "passerby_keys_missing"), u64::from(missing));
    };
    // one of access tokens may go, since their clients refresh them
    let of = |parts: &str| {
        let list = words(&run(&data, &[["keys", "list"].as_slice(), &keys_dir].concat()));
        let line = list.lines().find(|line| parts.split(' ').all(|part| line.contains(part)));
        line.unwrap_or_else(|| panic!("{list}")).split(' ').next().unwrap().to_owned()
    };
    assert!(run(&data, &[["keys", "rotate"].as_slice(), &keys_dir].concat()).status.success());
    let retired = of("access verifying");
    let retire = ["keys", "retire", retired.as_str(), "--yes"];
    assert!(run(&data, &[retire.as_slice(), &keys_dir].concat()).status.success());

    let refresh = of("refresh");
    let file = keys.join(format!("{refresh}.json"));
    let away = folder.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    wait_for(true);
    std::fs::rename(&away, &file).unwrap();
    wait_for(false);
    std::fs::rename(&keys, &away).unwrap();
    wait_for(true);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201, "what is in memory goes on");
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
    std::fs::rename(&away, &keys).unwrap();
    wait_for(false);
    process.stop();
    let said = std::fs::read_to_string(&log).unwrap();
    let errors: Vec<_> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 2, "once each time: {said}");
    assert!(errors[0].contains(&format!("the signing key {refresh} (refresh) was removed")), "{said}");
    assert!(errors.iter().all(|line| line.contains("put the key files back")), "{said}");
    assert_eq!(said.matches("the signing keys are in their place again").count(), 2, "{said}");
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
fn a_user_of_another_server_with_the_same_keys_is_named_once() {
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

/// A folder no longer says whose it is: under a different app id all its users would be refused.
#[test]
fn a_data_folder_with_users_and_without_its_app_id_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    process.stop();
    let file = data.join("APP_ID");
    for (content, what) in [
        (None, "is missing"),
        (Some("\n"), "is empty"),
        (Some("a b\n"), "holds no app id"),
        (Some("other\n"), "belongs to"),
    ] {
        match content {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        for command in ["serve", "check"] {
            let refused = run(&data, &[[command].as_slice(), &FREE_PORTS].concat());
            assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
            assert!(words(&refused).contains(what), "{}", words(&refused));
        }
    }
    std::fs::write(&file, "passerby\n").unwrap();
    Process::start(&data, &[]).stop();

    // a first start that was cut short has no users, and is gone on with
    let cut = folder.path().join("cut");
    Process::start(&cut, &[]).stop();
    std::fs::remove_file(cut.join("APP_ID")).unwrap();
    Process::start(&cut, &[]).stop();
    assert!(cut.join("APP_ID").exists());
}

/// One wrong bit in the last group looks like a power loss and need not be one.
#[test]
fn a_last_group_that_is_whole_and_wrong_is_told_from_one_that_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    drop(process);
    let journal = walk(&data).into_iter().find(|path| path.ends_with("journal")).unwrap();
    let whole = std::fs::read(&journal).unwrap();
    let length = |at: usize| u32::from_be_bytes(whole[at + 4..at + 8].try_into().unwrap()) as usize;
    let mut last = 20;
    while last + 12 + length(last) < whole.len() {
        last += 12 + length(last);
    }
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let (mark, of_length) = (flipped(last), flipped(last + 7));
    let cut = whole[..whole.len() - 1].to_vec();
    for (bytes, warned) in [(flipped(whole.len() - 1), true), (mark, true), (of_length, true), (cut, false)] {
        std::fs::write(&journal, bytes).unwrap();
        // it is not damage that stops a start, so neither of them fails
        let looked = run(&data, &["recover"]);
        assert_eq!(words(&looked).contains("its checksum is wrong"), warned, "{}", words(&looked));
        assert_eq!(words(&looked).contains("the next start leaves the last group out"), warned, "{}", words(&looked));
        assert_eq!(looked.status.code(), Some(0));
        let checked = run(&data, &[["check"].as_slice(), &FREE_PORTS].concat());
        assert!(checked.status.success() && words(&checked).contains("data: good, "), "{}", words(&checked));
        let said = words(&checked);
        let line = said.lines().find(|line| line.contains("its checksum is wrong"));
        assert_eq!(line.is_some_and(|line| line.starts_with("warning: ")), warned, "{said}");
        Process::start_with(&data, &[], &[], logging_to(&log)).stop();
        let said = std::fs::read_to_string(&log).unwrap();
        let line = said.lines().find(|line| line.contains("its checksum is wrong"));
        assert_eq!(line.is_some_and(|line| line.contains("WARN") && line.contains("acknowledged")), warned, "{said}");
        // the start cut it off, so the next round begins from the whole
    }
}

/// S2: the store is no credential. Without its keys the server does not start, and with others no one is logged in.
#[test]
fn a_copy_of_the_store_without_the_keys_logs_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
    let keys_dir = ["--keys-dir", keys.to_str().unwrap()];
    let process = Process::start(&data, &keys_dir);
    let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
    process.stop();
    assert!(!data.join("keys").exists());
    let bytes: Vec<u8> = walk(&data).into_iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let signature = access.rsplit('.').next().unwrap().as_bytes();
    assert!(!bytes.windows(signature.len()).any(|window| window == signature), "no token is stored");

    let other = folder.path().join("other-keys");
    let refused = run(&data, &[["serve", "--keys-dir", other.to_str().unwrap()].as_slice(), &FREE_PORTS].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    let strangers = folder.path().join("strangers");
    Process::start(&strangers, &["--keys-dir", other.to_str().unwrap()]).stop();
    let process = Process::start(&data, &["--keys-dir", other.to_str().unwrap()]);
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 401);
    process.stop();
    let process = Process::start(&data, &keys_dir);
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// S29: a rotated key signs, the one before verifies, and no token is refused; retired, it verifies nothing.
#[test]
fn keys_are_listed_rotated_retired_exported_and_imported() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &[]);
    let session = call(&process.public, "POST", "/v1/sessions", None).body;
    let (access, refresh) = (text(&session, "access_token"), text(&session, "refresh_token"));
    process.stop();

    let before = words(&run(&data, &["keys", "list"]));
    assert_eq!(before.lines().count(), 3, "{before}");
    for line in before.lines() {
        let created = line.rsplit_once(" created ").unwrap().1.parse::<jiff::Timestamp>().unwrap();
        assert!(created.as_second() > 1_700_000_000, "in a form that people and programs read: {line}");
    }
    for id in before.lines().map(|line| line.split(' ').next().unwrap()) {
        let refused = run(&data, &["keys", "retire", id]);
        assert!(words(&refused).contains("is the one that signs: rotate first"), "{}", words(&refused));
        assert_eq!(refused.status.code(), Some(1));
    }
    assert!(run(&data, &["keys", "rotate"]).status.success());
    assert!(run(&data, &["keys", "rotate", "refresh"]).status.success());
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
    assert_eq!(call(&process.public, "GET", "/.well-known/jwks.json", None).body["keys"].as_array().unwrap().len(), 2);
    let response = call(&process.public, "POST", "/v1/session/refresh", Some(&refresh));
    assert_eq!(response.status, 200);
    let newer = text(&response.body, "refresh_token");
    process.stop();

    let export = folder.path().join("keys.export");
    let exported = run(&data, &["keys", "export", export.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", words(&exported));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&export).unwrap().permissions().mode() & 0o777, 0o600);

    let list = words(&run(&data, &["keys", "list"]));
    let old = list.lines().find(|line| line.contains("refresh") && line.contains("verifying")).unwrap();
    let old = old.split(' ').next().unwrap();
    let asked = words(&run(&data, &["keys", "retire", old]));
    assert!(asked.contains("up to 1 users") && asked.contains("--yes"), "{asked}");
    let serving = Process::start(&data, &[]);
    let refused = run(&data, &["keys", "retire", old, "--yes"]);
    assert!(words(&refused).contains("may still sign"), "{}", words(&refused));
    serving.stop();
    assert!(run(&data, &["keys", "retire", old, "--yes"]).status.success());
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/session/refresh", Some(&refresh)).status, 401);
    assert_eq!(call(&process.public, "POST", "/v1/session/refresh", Some(&newer)).status, 200);
    process.stop();

    let imported = words(&run(&data, &["keys", "import", export.to_str().unwrap()]));
    assert!(imported.starts_with("1 new keys"), "{imported}");
    assert_eq!(words(&run(&data, &["keys", "list"])).lines().count(), 5);
    let wrong = passerby()
        .args(["keys", "import", export.to_str().unwrap(), "--data-dir", data.to_str().unwrap()])
        .env("PASSERBY_PASSPHRASE", "wrong")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{}", words(&wrong));
}

/// A provider whose secret is missing stops `serve` and `check` in one line that shows no secret; keys and settings
/// can be looked after without it.
#[test]
fn a_provider_without_its_secret_is_refused_at_start() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (data, app, secrets) =
        (folder.path().join("data"), folder.path().join("app"), folder.path().join("secrets.toml"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    let providers = r#"{"custom-token":{"name":"custom-token","type":"custom-token","disabled":false,
        "config":{"signingAlgorithm":"HS256"},"secret_config":{"signingKeys":["jwt-key"]}}}"#;
    std::fs::write(app.join("auth/providers.json"), providers).unwrap();
    std::fs::write(app.join("realm_config.json"), r#"{"app_id":"todo-abcde"}"#).unwrap();
    let app = app.to_str().unwrap();
    for command in ["serve", "check"] {
        let refused = run(&data, &[command, "--app-dir", app]);
        assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
        let line = words(&refused);
        assert!(
            line.contains("providers.json: custom-token.secret_config.signingKeys: there is no secret \"jwt-key\""),
            "{line}"
        );
        assert_eq!(line.trim().lines().count(), 1, "{line}");
    }
    assert!(run(&data, &["config", "--app-dir", app]).status.success());
    std::fs::write(&secrets, "jwt-key = \"0123456789abcdef0123456789abcdef\"\n").unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600)).unwrap();
    let files = ["check", "--app-dir", app, "--secrets-file", secrets.to_str().unwrap()];
    let good = run(&data, &[files.as_slice(), &FREE_PORTS].concat());
    assert!(words(&good).contains("providers: custom-token\n"), "{}", words(&good));
}

/// The reader of the log lines may stop reading: no request waits for it.
#[test]
fn log_lines_that_nobody_reads_hold_no_request_up() {
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

/// The value of a metric.
fn metric(admin: &str, name: &str) -> u64 {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {name} in {text}")).parse().unwrap()
}

/// Time passes while the process does not run.
fn stop_for(process: &Process, span: Duration, meanwhile: impl FnOnce()) {
    process.signal(Signal::STOP);
    let begin = Instant::now();
    meanwhile();
    while begin.elapsed() < span {
        std::thread::park_timeout(span.saturating_sub(begin.elapsed()));
    }
    process.signal(Signal::CONT);
}

/// A stall of the server counts against no client: one that sent what was due meanwhile is answered as if the server had run.
#[test]
fn who_waits_for_a_server_that_is_stopped_is_answered_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let short = [("PASSERBY_HTTP_CLIENT_TIMEOUT", "2"), ("PASSERBY_HTTP_KEEP_ALIVE", "2")];
    let process = Process::start_with(&folder.path().join("data"), &[], &short, Stdio::null());
    let mut resting = Client::connect(&process.public).unwrap();
    let access = resting.call("POST", "/v1/sessions", None).unwrap().body["access_token"].as_str().unwrap().to_owned();
    let begun = |bytes: &str| {
        let mut client = Client::connect(&process.public).unwrap();
        client.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        client
    };
    let mut in_its_head = begun("POST /v1/sessions HTTP/1.1\r\nhost: te");
    let mut in_its_body = begun("POST /v1/sessions HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{");
    let mut not_begun = Client::connect(&process.public).unwrap();
    stop_for(&process, Duration::from_secs(5), || {
        // each may come late: the server is not there to see when
        in_its_head.stream.get_mut().write_all(b"st\r\ncontent-length: 0\r\n\r\n").unwrap();
        in_its_body.stream.get_mut().write_all(b"}").unwrap();
    });
    assert_eq!(in_its_head.read().unwrap().status, 201);
    assert_eq!(in_its_body.read().unwrap().status, 201);
    assert_eq!(resting.call("GET", "/v1/session", Some(&access)).unwrap().status, 200);
    assert_eq!(not_begun.call("GET", "/v1/challenge", None).unwrap().status, 200);

    // and a client that really is slow is told so
    let mut slow = begun("POST /v1/sessions HTTP/1.1\r\nhost: te");
    assert_eq!(slow.read().unwrap().status, 408);
    let mut slow = begun("POST /v1/sessions HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{");
    assert_eq!(slow.read().unwrap().status, 408);
    assert!(resting.read().is_none(), "whose time to rest is over");
}

/// Connections take no file that the store or the admin listener needs.
#[test]
fn connections_leave_files_for_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let limited = format!("ulimit -n 192; exec {} \"$@\"", env!("CARGO_BIN_EXE_passerby"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited, "sh"]);
    shell.args(["serve", "--workers", "1", "--data-dir"]).arg(&data).args(FREE_PORTS).stderr(Stdio::null());
    let process = Process::spawn(&mut shell);
    assert_eq!(metric(&process.admin, "passerby_connections_limit"), 128);
    assert_eq!(metric(&process.admin, "passerby_sockets_limit"), 96, "checks and logins have the rest");
    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(&process.public).unwrap()).collect();
    let made = clients.iter_mut().filter_map(|client| client.call("POST", "/v1/sessions", None));
    assert_eq!(made.filter(|answer| answer.status == 201).count(), 128);
    assert_eq!(metric(&process.admin, "passerby_connections_refused_total"), 172);
    assert_eq!(metric(&process.admin, "passerby_connections"), 128);
    drop(clients);
    while metric(&process.admin, "passerby_connections") > 0 {}
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    assert_eq!(process.stop(), Some(0));
}
