//! The processes that are measured: the release server, the peers and Redis.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Processor time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    ticks: u64,
}

impl Cpu {
    fn of(pid: &str) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // the name, which may hold anything, ends at the last bracket; proc(5) numbers utime 14 and stime 15
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        Self { ticks: [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum() }
    }

    /// Of this process, up to now.
    pub fn of_this_process() -> Self {
        Self::of("self")
    }

    /// What was taken since it was `before`.
    pub fn since(self, before: Self) -> Self {
        Self { ticks: self.ticks - before.ticks }
    }

    /// In seconds; a tick of the system is the least that there is.
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

/// A running process; ended when dropped.
pub struct Process {
    child: Child,
    /// Open as long as we live: a peer ends with it, however we end.
    _stdin: Option<ChildStdin>,
    /// Whether it is asked to end, and not killed.
    ends_by_itself: bool,
    /// Where it listens.
    pub address: String,
}

impl Process {
    /// Starts it and waits for the line that says where it listens.
    fn start(command: &mut Command, listening: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let found = lines.find_map(|line| line.split_once(listening).map(|(_, address)| address.to_owned()));
        let address = found.unwrap_or_else(|| panic!("{command:?} ended at once"));
        // whatever else it says must have somewhere to go
        std::thread::spawn(move || lines.for_each(drop));
        Self { _stdin: child.stdin.take(), child, ends_by_itself: false, address }
    }

    /// The release server on a data folder of its own, with two workers and without limits.
    pub fn server(data: &Path, algorithm: &str) -> Self {
        Self::server_with(data, &["--limits", "off", "--access-alg", algorithm])
    }

    /// The same with these flags alone.
    pub fn server_with(data: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(server_binary());
        // no setting from the bench's environment reaches the server
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PASSERBY_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "2"]);
        command.args(["--durability", "fsync"]).args(flags);
        command.arg("--data-dir").arg(data).current_dir(data.parent().unwrap()).env("PASSERBY_LOG_FILTER", "warn");
        Self::start(&mut command, "listening on http://")
    }

    /// An nginx in the foreground, by a configuration that listens on this address.
    pub fn nginx(folder: &Path, configuration: &Path, address: String) -> Self {
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(configuration);
        let child = command.stdin(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, _stdin: None, ends_by_itself: true, address }
    }

    /// This program again, as a peer (see `peer`).
    pub fn peer(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::start(command.arg("--peer").args(arguments), "listening on http://")
    }

    /// A Redis that writes every change to its file, and syncs it every second or always.
    pub fn redis(folder: &Path, sync: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        // Redis cannot choose a port on its own
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--appendonly", "yes", "--appendfsync", sync]);
        // no snapshots and no rewrite of the file meanwhile, in its favour
        command.args(["--save", "", "--auto-aof-rewrite-percentage", "0"]).arg("--dir").arg(folder);
        let mut process = Self::start(&mut command, "Ready to accept connections");
        process.address = format!("127.0.0.1:{port}");
        process
    }

    /// As in `/proc`.
    pub fn number(&self) -> String {
        self.child.id().to_string()
    }

    /// What it has taken up to now.
    pub fn cpu(&self) -> Cpu {
        Cpu::of(&self.child.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's workers end with it only if it can tell them
        let asked = Pid::from_raw(self.child.id().cast_signed()).filter(|_| self.ends_by_itself);
        match asked {
            Some(pid) => drop(kill_process(pid, Signal::TERM)),
            None => drop(self.child.kill()),
        }
        drop(self.child.wait());
    }
}

/// The top of the workspace.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The server that is measured: `PASSERBY_BIN`, or the release build of this source.
fn server_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("PASSERBY_BIN") {
        // cargo runs benches in the folder of their package
        Some(binary) => Path::new(TOP).join(binary),
        None => build_server(),
    })
}

/// Built as `cargo build --release` builds it, and so not twice: what the benches depend on would add features to what they
/// share with the server (cookies, HTTP/2, tokio's test clock).
fn build_server() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", "passerby", "--bin", "passerby"]).current_dir(TOP);
    // cargo says on standard error how far it is
    let built = cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "{cargo:?}: {}", built.status);
    let messages = built.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let binary = |message: Value| message["executable"].as_str().map(PathBuf::from);
    messages.filter_map(binary).next_back().expect("cargo names the program that it built")
}

/// Whether there is a Redis to measure against.
pub fn has_redis() -> bool {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}
