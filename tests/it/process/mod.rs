//! The binary itself, as a process: kills under load, the drain, exit codes and the commands.

mod admins;
mod app_folder;
mod folders;
mod keys;
mod kills;
mod lines;
mod output;
mod pages;
mod pushing;
mod remote;
mod stalls;
mod tls;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
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

/// How long a broken program may keep a test waiting.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for what a process brings about; the bound is for a broken program, not for a slow one.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never came about that {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The first line of a log that has this in it, which a thread of the server's own may be about to write.
fn line_of(log: &Path, part: &str) -> String {
    let line = || {
        let said = std::fs::read_to_string(log).unwrap();
        // its last line may be there in part
        said.split_inclusive('\n').find(|line| line.contains(part) && line.ends_with('\n')).map(str::to_owned)
    };
    wait_until(&format!("{part:?} is logged"), || line().is_some());
    line().unwrap()
}

/// A running server process; killed when dropped, or when it has kept a test waiting for too long: what reads its lines then
/// comes to their end.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) public: String,
    pub(crate) admin: String,
    _life: Sender<()>,
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
        let _life = limit_life(&child);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |prefix: &str| {
            let line = lines.next().expect("a line before the end").unwrap();
            let origin = line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}"));
            origin.split_once("://").unwrap_or_else(|| panic!("{line}")).1.to_owned()
        };
        let (admin, public) = (address("admin on "), address("listening on "));
        Self { child, public, admin, _life }
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

/// Kills a process after a time, unless what is returned was dropped before.
fn limit_life(child: &Child) -> Sender<()> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let (life, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // it may have ended meanwhile
            pidfd_send_signal(process, Signal::KILL).ok();
        }
    });
    life
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

pub(crate) fn call(address: &str, method: &str, path: &str, token: Option<&str>) -> Response {
    Client::connect(address).unwrap().call(method, path, token).unwrap()
}

pub(crate) fn text(body: &Value, key: &str) -> String {
    body[key].as_str().unwrap_or_else(|| panic!("{key} in {body}")).to_owned()
}

/// Free ports.
pub(crate) const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    passerby().args(arguments).arg("--data-dir").arg(data).env("PASSERBY_PASSPHRASE", "correct horse").output().unwrap()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn logging_to(path: &Path) -> Stdio {
    Stdio::from(std::fs::File::create(path).unwrap())
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

/// One keep-alive connection.
struct Client {
    stream: BufReader<TcpStream>,
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
