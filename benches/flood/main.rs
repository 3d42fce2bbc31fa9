//! What do readers notice, and what is left behind, when bots create a million users: from one IPv6 /64, and from 10 000 IPv4
//! addresses? `cargo bench --bench flood`.
//!
//! The release server runs with its default budgets, as behind a proxy that says where each request came from. Readers who are
//! known check in at a steady rate, in an open loop: first alone, then during each flood, at its `--rate`, from a thread of
//! the lowest priority. A network's budget and that of all together bound how many users are created and, with them,
//! memory and disk; the readers' latencies may at most double. And what do the budgets of ten million networks take that come
//! once, in this process?
//!
//! And how many right logins with a password get in while one /48 sends a thousand wrong ones a second? What do 400 000 logouts of
//! readers who were never stored leave in a server for a thousand users?
//!
//! `--smoke` is for CI: a small flood in a few seconds. The exit code is 1 if more users are created than the budgets allow, or
//! memory or disk grow beyond their bound, or right passwords are kept out; latency is only printed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has no caller to hand an error to")]

use std::net::Ipv6Addr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use passerby::config::{self, ConfigFile};
use passerby::limits::budget::{Budgets, Spend};
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;
use passerby_actors::testkit::Random;
use passerby_benches::client::{Pace, Span, collect, run, run_in_background, send_all};
use passerby_benches::random::zipf;
use passerby_benches::work::{self, Kind, Prepared, Requests, Template, Work};
use passerby_benches::{Arguments, AtLeast, AtMost, Bench, Process, Report, Weight, mib, progress, resident_bytes};

/// Readers who are known, and come all the time.
const READERS: usize = 20_000;
/// Checks of theirs a second.
const CHECKS: f64 = 2000.0;
const PREFIXES: u64 = 10_000;
/// The default budgets: of a network at once and a second, of all together at once and a second.
const OF_ONE: (u64, f64) = (300, 1.0);
const OF_ALL: (u64, f64) = (20_000, 2000.0);
/// What a user who is created may cost, in memory and on disk, tables that have just doubled and a generation being written
/// included (bytes).
const USER: f64 = 512.0;
/// Networks that come once, and what their budgets may take (MiB).
const STRANGERS: u64 = 10_000_000;
const STRANGERS_MIB: f64 = 64.0;
/// What the server may grow by beside that: budgets of networks, buffers of connections (MiB).
const BESIDE: f64 = 64.0;

/// People with passwords, how many of them log in a second, and how many wrong passwords one /48 sends meanwhile.
const NAMES: usize = 20;
const LOGINS: f64 = 5.0;
const GUESSES: f64 = 1000.0;
/// Logouts of readers who were never stored, and what they may leave in a server for a thousand users (MiB).
const LOGOUTS: usize = 400_000;
const LOGOUTS_MIB: f64 = 1.0;

#[derive(clap::Args)]
struct Own {
    /// How many users each flood tries to create.
    #[arg(long, default_value_t = 1_000_000)]
    flood: u64,
    /// How many of them a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
}

/// Where the bots of a flood are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    One64,
    Many,
}

impl From {
    fn name(self) -> &'static str {
        match self {
            Self::One64 => "from one /64",
            Self::Many => "from 10 000 addresses",
        }
    }
}

/// Requests for users, each from an address of its own.
struct Flood {
    from: From,
    random: Random,
    request: Vec<u8>,
}

impl Work for Flood {
    fn next(&mut self) -> (Kind, &[u8]) {
        let random = self.random.next();
        let address = match self.from {
            From::One64 => {
                format!("2001:db8:0:1:{:x}:{:x}:{:x}:1", random >> 48, random >> 32 & 0xffff, random & 0xffff)
            }
            From::Many => format!("11.0.{}.{}", random % PREFIXES / 256, random % PREFIXES % 256),
        };
        self.request = format!(
            "POST {} HTTP/1.1\r\nhost: bench\r\nx-forwarded-for: {address}\r\ncontent-length: 0\r\n\r\n",
            work::LOGIN_V1
        )
        .into_bytes();
        (Kind::Login, &self.request)
    }
}

/// Logins with a password: right ones of people who are each at home, or guesses from one /48.
struct Passwords {
    right: bool,
    number: usize,
    request: Vec<u8>,
}

impl Passwords {
    fn new(right: bool) -> Self {
        Self { right, number: 0, request: Vec::new() }
    }

    fn request(path: &str, address: &str, body: &str) -> Vec<u8> {
        let head = format!("POST {path} HTTP/1.1\r\nhost: bench\r\nx-forwarded-for: {address}\r\n");
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn home(number: usize) -> String {
        format!("198.51.{}.1", number % NAMES)
    }
}

impl Work for Passwords {
    fn next(&mut self) -> (Kind, &[u8]) {
        self.number += 1;
        let (name, password, address) = if self.right {
            (self.number % NAMES, "the right password", Self::home(self.number))
        } else {
            (self.number + NAMES, "a wrong password", format!("2001:db8:77:{:x}::1", self.number % 65_536))
        };
        let body = format!(r#"{{"provider":"local-userpass","email":"{name}@example.test","password":"{password}"}}"#);
        self.request = Self::request(work::LOGIN_V1, &address, &body);
        (Kind::Login, &self.request)
    }
}

/// Registers the people who log in later.
struct Registrations(usize, Vec<u8>);

impl Work for Registrations {
    fn next(&mut self) -> (Kind, &[u8]) {
        let body = format!(r#"{{"email":"{}@example.test","password":"the right password"}}"#, self.0);
        self.1 = Passwords::request("/v1/registrations", &Passwords::home(self.0), &body);
        self.0 += 1;
        (Kind::Login, &self.1)
    }
}

/// Readers who see one page and leave.
#[derive(Default)]
struct Leaving {
    cookies: Vec<Vec<u8>>,
    request: Vec<u8>,
}

impl Work for Leaving {
    fn next(&mut self) -> (Kind, &[u8]) {
        self.request.clear();
        match self.cookies.pop() {
            Some(cookie) => {
                let head =
                    format!("DELETE {} HTTP/1.1\r\nhost: bench\r\nsec-fetch-site: same-origin\r\n", work::LOGOUT);
                self.request.extend_from_slice(head.as_bytes());
                self.request.extend_from_slice(b"cookie: ");
                self.request.extend_from_slice(&cookie);
                self.request.extend_from_slice(b"\r\n\r\n");
                (Kind::Logout, &self.request)
            }
            None => {
                let head = format!("GET {}?create=auto HTTP/1.1\r\nhost: bench\r\n", work::CHECK);
                self.request.extend_from_slice(head.as_bytes());
                self.request.extend_from_slice(b"user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0)\r\n\r\n");
                (Kind::Login, &self.request)
            }
        }
    }

    fn answered(&mut self, kind: Kind, head: &[u8], _: &[u8]) {
        if kind == Kind::Login {
            self.cookies.push(work::cookie(head).to_owned());
        }
    }
}

/// How many right passwords of a hundred get in while one /48 guesses.
fn passwords(folder: &Path, seconds: u64, report: &mut Report) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("passerby.toml"), "[provider.local_userpass]\nconfig = { autoConfirm = true }\n")
        .unwrap();
    let server = Process::server_with(&folder.join("data"), &["--trusted-proxies", "127.0.0.1"]);
    let clock = SystemClock::default();
    send_all(&clock, &server.address, 1, NAMES, &mut Registrations(0, vec![]));
    let span = Span { warm_us: 0, measured_us: (seconds + 1) * 1_000_000 };
    let pace = Pace::Open { per_s: GUESSES };
    let guesser = run_in_background(&server.address, 256, pace, span, Passwords::new(false));
    let span = Span { warm_us: 500_000, measured_us: seconds * 1_000_000 };
    let pace = Pace::Open { per_s: LOGINS };
    let right = run(&clock, &server.address, 8, pace, span, &mut Passwords::new(true), &[]);
    let guesses = guesser.join().unwrap();
    report.figure("wrong passwords from one /48", guesses.rate(), "/s");
    let part = 100.0 * (right.answers - right.failed) as f64 / right.answers as f64;
    report.targeted("right passwords from elsewhere that get in meanwhile", part, "%", AtLeast(95.0), Weight::Bound);
    report.latency("right password", &right);
}

/// What is left of readers who were never stored and log out.
fn logouts(folder: &Path, count: usize, report: &mut Report) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("passerby.toml"), "max_users = 1000\n").unwrap();
    let server = Process::server_with(&folder.join("data"), &["--limits", "off"]);
    let clock = SystemClock::default();
    let leave = |count: usize| send_all(&clock, &server.address, 32, 2 * count, &mut Leaving::default()).rate() / 2.0;
    // buffers of connections, and tables that grow once
    leave(count / 10);
    let before = resident_bytes(&server.number());
    let rate = leave(count);
    let grown = mib(resident_bytes(&server.number())) - mib(before);
    report.figure("logouts of readers who were never stored", rate, "/s");
    let what = format!("memory after {count} of them, with max_users = 1000");
    report.targeted(what, grown, "MiB more", AtMost(LOGOUTS_MIB), Weight::Bound);
}

fn main() -> ExitCode {
    Arguments::read().measure("flood", env!("CARGO_TARGET_TMPDIR"), measure)
}

fn measure(own: &Own, bench: &Bench) -> bool {
    let (flood, rate) = if bench.smoke { (20_000, 10_000) } else { (own.flood, own.rate) };
    let data = bench.folder().join("data");
    let server = Process::server_with(&data, &["--trusted-proxies", "127.0.0.1"]);
    let clock = &bench.clock;
    let mut report = bench.report();

    let (mut checks, check) = (Requests::default(), Template::cookie(work::CHECK));
    // a proxy that does not say who is behind it has no budget but that of all, which has room for these
    collect(clock, &server.address, READERS, work::login_reader(), |head, _| {
        checks.push(&check, work::cookie(head));
    });
    let order = Rc::new(zipf(checks.len(), 1 << 16));
    let mut readers = Prepared::new(&Rc::new(checks), Some(&order), Kind::Check);

    let seconds = flood / rate;
    let before = resident_bytes(&server.number());
    let disk = disk_bytes(&data);
    let mut check = |flooded: Option<From>| {
        let span = Span { warm_us: 500_000, measured_us: (seconds * 1_000_000).saturating_sub(500_000).max(1_000_000) };
        let bar = progress::seconds(seconds, flooded.map_or("quiet", From::name));
        let bots = flooded.map(|from| {
            let flood = Flood { from, random: Random(1), request: Vec::new() };
            let span = Span { warm_us: 0, measured_us: seconds * 1_000_000 };
            run_in_background(&server.address, 64, Pace::Open { per_s: rate as f64 }, span, flood)
        });
        let pace = Pace::Open { per_s: CHECKS };
        let measured = run(clock, &server.address, 32, pace, span, &mut readers, &[&server]);
        bar.finish_and_clear();
        let bots = bots.map(|bots| bots.join().unwrap());
        assert_eq!(measured.failed, 0, "{:?}", measured.failure);
        (measured, bots)
    };

    let (quiet, _) = check(None);
    report.figure("checks of known readers", quiet.rate(), "/s");
    report.latency("check, quiet", &quiet);
    let mut users = READERS as u64;
    for from in [From::One64, From::Many] {
        let name = from.name();
        let (measured, bots) = check(Some(from));
        let bots = bots.unwrap();
        // what is late comes after the end
        let lasted_s = bots.lasted_us.div_ceil(1_000_000);
        assert!(
            bots.failure.as_ref().is_none_or(|answer| answer.starts_with("HTTP/1.1 429 ")),
            "neither created nor refused: {:?}",
            bots.failure
        );
        let created = bots.answers - bots.failed;
        users += created;
        report.figure(format!("tried, {name}"), bots.rate(), "/s");
        let networks = if from == From::One64 { 1 } else { PREFIXES };
        let allowed = |(burst, rate): (u64, f64)| burst as f64 + rate * (lasted_s + 1) as f64;
        let most = allowed((OF_ONE.0 * networks, OF_ONE.1 * networks as f64)).min(allowed(OF_ALL));
        report.targeted(format!("users created, {name}"), created as f64, "", AtMost(most), Weight::Bound);
        report.latency(&format!("check, {name}"), &measured);
        for part in [0.5, 0.99] {
            let ratio = measured.at(part) as f64 / quiet.at(part).max(1) as f64;
            let what = format!("p{} during the flood {name} ÷ quiet", part * 100.0);
            report.targeted(what, ratio, "", AtMost(2.0), Weight::Speed);
        }
    }
    let most = users as f64 * USER / f64::from(1 << 20);
    let grown = mib(resident_bytes(&server.number())) - mib(before);
    report.targeted("memory after both floods", grown, "MiB more", AtMost(BESIDE + most), Weight::Bound);
    let grown = mib(disk_bytes(&data)) - mib(disk);
    report.targeted("disk after both floods", grown, "MiB more", AtMost(BESIDE + most), Weight::Bound);
    let (grown, per_s) = strangers();
    report.figure("networks that come once", per_s, "/s");
    report.targeted("memory for the budgets of 10 million of them", grown, "MiB", AtMost(STRANGERS_MIB), Weight::Bound);
    passwords(&bench.folder().join("passwords"), if bench.smoke { 3 } else { 20 }, &mut report);
    logouts(&bench.folder().join("logouts"), if bench.smoke { 10_000 } else { LOGOUTS }, &mut report);
    report.finish()
}

/// Takes one from the budget of each of ten million networks: how much more memory that needs (MiB), and how many it were a second.
fn strangers() -> (f64, f64) {
    let rules =
        config::load(&ConfigFile::IfPresent("/nonexistent".into()), &[], &[]).unwrap().settings().budget.clone();
    let clock = Arc::new(SystemClock::default());
    let budgets = Budgets::new(&rules, true, clock.clone());
    let own = std::process::id().to_string();
    let (before, began_us) = (resident_bytes(&own), clock.monotonic_us());
    let mut passed = 0;
    for number in 0..STRANGERS {
        let address = Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(number) << 64) | 1);
        passed += u64::from(budgets.spend(Spend::Create, address.into()).is_ok());
    }
    let took_s = (clock.monotonic_us() - began_us) as f64 / 1e6;
    assert!(passed as f64 <= OF_ALL.0 as f64 + OF_ALL.1 * (took_s + 1.0), "{passed} in {took_s} s");
    (mib(resident_bytes(&own)) - mib(before), STRANGERS as f64 / took_s)
}

/// Everything below a folder.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            // gone meanwhile
            Err(_) => 0,
        })
        .sum()
}
