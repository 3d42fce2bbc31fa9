//! How many readers does one machine serve: what do anonymous logins, token checks and refreshes cost, how long do they take,
//! and how does that compare with a bare actix-web handler, which is the most there can be, and with sessions in Redis?
//!
//! `cargo bench --bench load`, or with `-- --quick` for a first look. The release server runs as its own process on a
//! fresh folder, fsync durability and two workers, with Ed25519 (the default) and with HS256 access tokens. Each peer is
//! a process of its own too. A closed loop gives the rate, in rounds that alternate between the server and its peers; an open
//! loop at half and at 80 % of it the latency. Load and server share the cores, so compare ratios, and the processor
//! time that the server itself takes for an answer.
//!
//! `--seconds S` of a measurement, `--rounds N`, `--only TEXT,…` (parts of the names of what is done), `--quick`, `--smoke`
//! (everything once, with figures that mean nothing). `PASSERBY_BIN` names another server binary to measure. The
//! results are also in `target/bench/load.{json,md,svg}`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has nobody to hand an error to")]
#![allow(clippy::print_stdout, reason = "the results")]

#[allow(dead_code, reason = "shared with the other benches")]
#[path = "../generator/mod.rs"]
mod generator;
mod peer;
mod report;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;

use crate::generator::client::{Kind, Measured, Pace, Span, Work, run};
use crate::generator::process::{self, Process};
use crate::generator::random::zipf;
use crate::generator::work::{self, Day, Prepared, Requests, Rotating, Same, Template, field};
use crate::peer::{Answer, Script, Signatures};

/// The server's: allocation is part of what is measured, and the peers shall have the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 256;
/// Live access tokens: more than the server's cache of verified tokens holds (131 072).
const TOKENS: usize = 200_000;
/// Sessions whose refresh tokens are used.
const REFRESHED: usize = 16_384;
/// Access tokens are good for 30 minutes.
const RENEW_AFTER_US: u64 = 15 * 60 * 1_000_000;
/// Shares of the closed-loop rate at which latency is measured.
const SHARES: [f64; 2] = [0.5, 0.8];

const ALGORITHMS: [&str; 2] = ["HS256", "EdDSA"];

struct Options {
    seconds: f64,
    rounds: usize,
    tokens: usize,
    refreshed: usize,
    only: Vec<String>,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { seconds: 3.0, rounds: 3, tokens: TOKENS, refreshed: REFRESHED, only: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                // cargo says it to every bench
                "--bench" => {}
                "--quick" => (options.seconds, options.rounds) = (1.0, 2),
                "--smoke" => {
                    (options.seconds, options.rounds) = (0.1, 1);
                    (options.tokens, options.refreshed) = (2000, 2 * CONNECTIONS);
                }
                "--seconds" => options.seconds = value()?.parse().map_err(|error| format!("--seconds: {error}"))?,
                "--rounds" => options.rounds = value()?.parse().map_err(|error| format!("--rounds: {error}"))?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                other => return Err(format!("{other}: the options are --seconds, --rounds, --only, --quick, --smoke")),
            }
        }
        if options.seconds > 0.0 && options.rounds > 0 {
            Ok(options)
        } else {
            Err("--seconds and --rounds must be positive".to_owned())
        }
    }

    fn wants(&self, work: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| work.contains(only.as_str()))
    }

    fn span(&self) -> Span {
        let measured_us = (self.seconds * 1e6) as u64;
        Span { warm_us: (measured_us / 5).max(50_000), measured_us }
    }
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Passerby,
    Bare,
    Signing,
    RedisEverysec,
    RedisAlways,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Passerby => "Passerby",
            Self::Bare => "bare handler",
            Self::Signing => "bare, same signatures",
            Self::RedisEverysec => "actix-session, Redis everysec",
            Self::RedisAlways => "actix-session, Redis always",
        }
    }
}

/// One thing that is measured, and what came of it.
struct Row {
    doing: &'static str,
    /// Of access tokens; empty for sessions in Redis.
    algorithm: &'static str,
    subject: Subject,
    /// Whose processor time it takes; the first is whom we talk to.
    processes: Vec<Rc<Process>>,
    work: Box<dyn Work>,
    /// Requests that bring the server's cache of verified tokens into the state that this work keeps it in.
    settling: usize,
    closed: Vec<Measured>,
    open: Vec<(f64, Measured)>,
}

impl Row {
    fn name(&self) -> String {
        format!("{} {} {}", self.doing, self.algorithm, self.subject.name()).replace("  ", " ")
    }

    fn measure(&mut self, clock: &SystemClock, pace: Pace, span: Span) -> Measured {
        let processes: Vec<&Process> = self.processes.iter().map(Rc::as_ref).collect();
        if self.settling > 0 {
            let pace = Pace::Count(self.settling as u64);
            run(clock, &processes[0].address, CONNECTIONS, pace, Span::ENDLESS, &mut *self.work, &[]);
        }
        run(clock, &processes[0].address, CONNECTIONS, pace, span, &mut *self.work, &processes)
    }

    fn rate(&self) -> f64 {
        median(self.closed.iter().map(Measured::rate))
    }

    fn cpu_us(&self) -> f64 {
        median(self.closed.iter().map(Measured::cpu_us_per_answer))
    }

    fn failed(&self) -> u64 {
        self.closed.iter().chain(self.open.iter().map(|(_, measured)| measured)).map(|measured| measured.failed).sum()
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

/// Sends one request so many times and shows every answer.
fn collect(clock: &SystemClock, process: &Process, times: usize, request: Vec<u8>, answered: impl FnMut(&[u8], &[u8])) {
    let mut work = Same { request, kind: Kind::Login, answered };
    let (connections, pace) = (CONNECTIONS.min(times), Pace::Count(times as u64));
    let measured = run(clock, &process.address, connections, pace, Span::ENDLESS, &mut work, &[]);
    assert_eq!(measured.failed, 0, "{:?}", measured.failure);
}

/// One answer, as a peer gives it.
fn sample(clock: &SystemClock, server: &Process, method: &str, path: &str, request: Vec<u8>) -> Answer {
    let mut answer = None;
    collect(clock, server, 1, request, |head, body| {
        let head = std::str::from_utf8(head).unwrap();
        let by_itself = |name: &str| ["content-length", "date", "connection"].contains(&name);
        let headers = head.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| !by_itself(name));
        answer = Some(Answer {
            method: method.to_owned(),
            path: path.to_owned(),
            status: head[9..12].parse().unwrap(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
    });
    answer.expect("an answer")
}

/// A server with one algorithm, its bare peers, and the tokens that its readers hold.
struct Side {
    algorithm: &'static str,
    server: Rc<Process>,
    bare: Rc<Process>,
    signing: Rc<Process>,
    checks: Rc<Requests>,
    cookies: Rc<Requests>,
    made_us: u64,
    refreshes: Rc<Requests>,
    rotating: Vec<Vec<u8>>,
    sample_refresh: Vec<u8>,
}

impl Side {
    fn start(clock: &SystemClock, folder: &Path, algorithm: &'static str, options: &Options) -> Self {
        let server = Process::server(&folder.join(format!("data-{algorithm}")), algorithm);
        let request = |method: &str, path: &str, token: &str| {
            let mut request = Vec::new();
            Template::bearer(method, path).write(token.as_bytes(), &mut request);
            sample(clock, &server, method, path, request)
        };
        let login_app = sample(clock, &server, "POST", work::LOGIN_APP, work::login_app());
        let login_v1 = sample(clock, &server, "POST", work::LOGIN_V1, work::login(work::LOGIN_V1));
        let token = |answer: &Answer, name| String::from_utf8(field(answer.body.as_bytes(), name).to_vec()).unwrap();
        let refresh_v1 = request("POST", work::REFRESH_V1, &token(&login_v1, "refresh_token"));
        let access = token(&refresh_v1, "access_token");
        let sample_refresh = token(&refresh_v1, "refresh_token").into_bytes();
        let refresh_app = request("POST", work::REFRESH_APP, &token(&login_app, "refresh_token"));
        let check = request("GET", work::CHECK, &access);
        let logout = request("DELETE", work::LOGOUT, &access);
        let signed = |name| token(&login_app, name).rfind('.').unwrap();
        let signatures = Signatures {
            is_ed25519: algorithm == "EdDSA",
            access: signed("access_token"),
            refresh: signed("refresh_token"),
        };
        let bare = |name: &str, script: &Script| {
            let path = folder.join(format!("{name}-{algorithm}.json"));
            fs::write(&path, serde_json::to_vec(script).unwrap()).unwrap();
            Rc::new(Process::peer(&["bare", path.to_str().unwrap()]))
        };
        let signing = bare("signing", &Script { answers: vec![login_app.clone()], signatures: Some(signatures) });
        let answers = vec![login_app, login_v1, check, refresh_app, refresh_v1, logout];
        let bare = bare("bare", &Script { answers, signatures: None });

        let (mut refreshes, refresh) = (Requests::default(), Template::bearer("POST", work::REFRESH_APP));
        collect(clock, &server, options.refreshed, work::login_app(), |_, body| {
            refreshes.push(&refresh, field(body, "refresh_token"));
        });
        let mut rotating = Vec::new();
        collect(clock, &server, 2 * options.refreshed, work::login(work::LOGIN_V1), |_, body| {
            rotating.push(field(body, "refresh_token").to_vec());
        });
        let (mut cookies, check) = (Requests::default(), Template::cookie(work::CHECK));
        collect(clock, &server, options.tokens, work::login_reader(), |head, _| {
            cookies.push(&check, work::cookie(head));
        });
        let mut side = Self {
            algorithm,
            server: Rc::new(server),
            bare,
            signing,
            checks: Rc::default(),
            cookies: Rc::new(cookies),
            made_us: 0,
            refreshes: Rc::new(refreshes),
            rotating,
            sample_refresh,
        };
        side.log_in(clock, options.tokens);
        side
    }

    /// Gives every reader whose token is checked a new one.
    fn log_in(&mut self, clock: &SystemClock, tokens: usize) {
        let (mut checks, check) = (Requests::default(), Template::bearer("GET", work::CHECK));
        collect(clock, &self.server, tokens, work::login(work::LOGIN_V1), |_, body| {
            checks.push(&check, field(body, "access_token"));
        });
        self.checks = Rc::new(checks);
        self.made_us = clock.monotonic_us();
    }

    fn row(&self, doing: &'static str, subject: Subject, work: Box<dyn Work>) -> Row {
        let process = match subject {
            Subject::Bare => &self.bare,
            Subject::Signing => &self.signing,
            _ => &self.server,
        };
        let is_cached = subject == Subject::Passerby && [CHECK, DAY].contains(&doing);
        let settling = if is_cached { 2 * self.checks.len() } else { 0 };
        let processes = vec![Rc::clone(process)];
        let (algorithm, closed, open) = (self.algorithm, Vec::new(), Vec::new());
        Row { doing, algorithm, subject, processes, work, settling, closed, open }
    }

    /// Refresh tokens for two of [`Rotating`]; the bare peer knows but one.
    fn rotating(&self, subject: Subject, half: usize) -> Rotating {
        let each = self.rotating.len() / 2;
        match subject {
            Subject::Bare => Rotating::new(std::iter::repeat_n(self.sample_refresh.clone(), each)),
            _ => Rotating::new(self.rotating[half * each..(half + 1) * each].iter().cloned()),
        }
    }

    /// In the order in which they are measured: what is compared stands together.
    fn rows(&self, order: &Rc<Vec<u32>>, sessions: &[Sessions]) -> Vec<Row> {
        let both = [Subject::Passerby, Subject::Bare];
        let same = |request: &[u8]| {
            let (request, kind) = (request.to_vec(), Kind::Login);
            Box::new(Same { request, kind, answered: |_: &[u8], _: &[u8]| {} })
        };
        let mut rows = Vec::new();
        let login = work::login_app();
        for subject in [Subject::Passerby, Subject::Bare, Subject::Signing] {
            rows.push(self.row(LOGIN_APP, subject, same(&login)));
        }
        rows.extend(sessions.iter().map(|sessions| sessions.row(LOGIN_APP, same(&work::login(peer::LOGIN)))));
        for subject in both {
            rows.push(self.row(LOGIN_V1, subject, same(&work::login(work::LOGIN_V1))));
        }
        for subject in both {
            rows.push(self.row(CHECK, subject, Box::new(Prepared::new(&self.checks, Some(order), Kind::Check))));
        }
        for subject in both {
            let work = Prepared::new(&self.cookies, Some(order), Kind::Login);
            rows.push(self.row(CHECK_COOKIE, subject, Box::new(work)));
        }
        if let Some(sessions) = sessions.first() {
            let read = Prepared::new(&sessions.reads, Some(order), Kind::Login);
            rows.push(sessions.row(CHECK, Box::new(read)));
        }
        for subject in both {
            rows.push(self.row(CHECK_MISS, subject, Box::new(Prepared::new(&self.checks, None, Kind::Check))));
        }
        for subject in both {
            rows.push(self.row(REFRESH_APP, subject, Box::new(Prepared::new(&self.refreshes, None, Kind::Refresh))));
        }
        for subject in both {
            rows.push(self.row(REFRESH_V1, subject, Box::new(self.rotating(subject, 0))));
        }
        for subject in both {
            let checks = Prepared::new(&self.checks, Some(order), Kind::Check);
            rows.push(self.row(DAY, subject, Box::new(Day::new(checks, self.rotating(subject, 1)))));
        }
        rows
    }
}

const LOGIN_APP: &str = "login (App Services)";
const LOGIN_V1: &str = "login (/v1)";
const CHECK: &str = "check";
const CHECK_COOKIE: &str = "check by cookie";
const CHECK_MISS: &str = "check, each a cache miss";
const REFRESH_APP: &str = "refresh (App Services)";
const REFRESH_V1: &str = "refresh (/v1, rotating)";
const DAY: &str = "mixed day";

/// actix-session over a Redis.
struct Sessions {
    subject: Subject,
    redis: Rc<Process>,
    peer: Rc<Process>,
    reads: Rc<Requests>,
}

impl Sessions {
    fn start(clock: &SystemClock, folder: &Path, subject: Subject, sync: &str, sessions: usize) -> Self {
        let redis = Process::redis(&folder.join(format!("redis-{sync}")), sync);
        let peer = Process::peer(&["session", &format!("redis://{}", redis.address)]);
        let (mut reads, read) = (Requests::default(), Template::cookie(peer::READ));
        // only the first is read from: reads write nothing, so how Redis syncs makes no difference
        let sessions = if subject == Subject::RedisEverysec { sessions } else { 1 };
        collect(clock, &peer, sessions, work::login(peer::LOGIN), |head, _| {
            reads.push(&read, work::cookie(head));
        });
        Self { subject, redis: Rc::new(redis), peer: Rc::new(peer), reads: Rc::new(reads) }
    }

    fn row(&self, doing: &'static str, work: Box<dyn Work>) -> Row {
        let processes = vec![Rc::clone(&self.peer), Rc::clone(&self.redis)];
        let (algorithm, subject, settling, closed, open) = ("", self.subject, 0, Vec::new(), Vec::new());
        Row { doing, algorithm, subject, processes, work, settling, closed, open }
    }
}

/// How long the disk takes to sync 4 KiB, in microseconds: a durable login waits for it.
fn sync_latency(clock: &SystemClock, folder: &Path) -> Histogram<u64> {
    let mut file = File::create(folder.join("sync")).unwrap();
    let mut latency = Histogram::new(3).unwrap();
    for _ in 0..200 {
        let began_us = clock.monotonic_us();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        latency.saturating_record(clock.monotonic_us() - began_us);
    }
    latency
}

/// Shows how far it is, on a terminal as a bar.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        bar.set_style(ProgressStyle::with_template("{elapsed} {wide_bar} {pos}/{len} {msg}").unwrap());
        Self { bar }
    }

    fn begin(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    fn end(&self, what: &str, measured: &Measured) {
        let (rate, cpu, client) = (measured.rate(), measured.cpu_us_per_answer(), measured.client_us_per_answer());
        let (p50, p99) = (measured.latency.value_at_quantile(0.5), measured.latency.value_at_quantile(0.99));
        let line = format!("{what}: {rate:.0}/s, {cpu:.1} µs of CPU (load: {client:.1}), p50 {p50} µs, p99 {p99} µs");
        let line = match (&measured.failure, measured.failed) {
            (Some(failure), failed) => format!("{line}; INVALID: {failed} failed, the first with {failure:?}"),
            (None, _) => line,
        };
        if self.bar.is_hidden() {
            eprintln!("{line}")
        } else {
            self.bar.println(line)
        }
        self.bar.inc(1);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "--peer") {
        return match peer::main(&arguments[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("peer: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match Options::read(arguments.into_iter()) {
        Ok(options) => bench(&options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(64)
        }
    }
}

fn bench(options: &Options) -> ExitCode {
    let has_redis = process::has_redis();
    if !has_redis {
        eprintln!(
            "\nNO redis-server ON THE PATH: nothing is compared with it. On Debian: apt-get install redis-server\n"
        );
        if std::env::var_os("CI").is_some() {
            return ExitCode::FAILURE;
        }
    }
    let clock = SystemClock::default();
    // on the disk that cargo builds on: `/tmp` may be memory, which syncs in no time
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sync = sync_latency(&clock, folder.path());
    let (p50, p99) = (sync.value_at_quantile(0.5), sync.value_at_quantile(0.99));
    eprintln!(
        "the disk syncs 4 KiB in {p50} µs (p50), {p99} µs (p99); now logging {} readers in, twice",
        options.tokens
    );

    let mut sides = ALGORITHMS.map(|algorithm| Side::start(&clock, folder.path(), algorithm, options));
    let mut sessions = Vec::new();
    if has_redis {
        for (subject, sync) in [(Subject::RedisEverysec, "everysec"), (Subject::RedisAlways, "always")] {
            sessions.push(Sessions::start(&clock, folder.path(), subject, sync, options.tokens));
        }
    }
    let order = Rc::new(zipf(options.tokens, 1 << 20));
    let [first, second] = &sides;
    let mut rows: Vec<Row> = first.rows(&order, &sessions).into_iter().chain(second.rows(&order, &[])).collect();
    rows.retain(|row| options.wants(row.doing));
    // latency is the question about servers that do the work, not about bare handlers
    let is_timed = |row: &Row| !matches!(row.subject, Subject::Bare | Subject::Signing);
    let timed = rows.iter().filter(|row| is_timed(row)).count();
    let progress = Progress::new(rows.len() * options.rounds + timed * SHARES.len());
    for round in 1..=options.rounds {
        for row in &mut rows {
            renew(&clock, &mut sides, row, options.tokens);
            let name = format!("round {round}: {}", row.name());
            progress.begin(&name);
            let measured = row.measure(&clock, Pace::Closed, options.span());
            progress.end(&name, &measured);
            row.closed.push(measured);
        }
    }
    for row in rows.iter_mut().filter(|row| is_timed(row)) {
        for share in SHARES {
            renew(&clock, &mut sides, row, options.tokens);
            let name = format!("at {:.0} %: {}", share * 100.0, row.name());
            progress.begin(&name);
            let measured = row.measure(&clock, Pace::Open { per_s: row.rate() * share }, options.span());
            progress.end(&name, &measured);
            row.open.push((share, measured));
        }
    }
    progress.bar.finish_and_clear();
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    report::write(&rows, &sync, clock.wall_ms() / 1000, &target);
    if rows.iter().any(|row| row.failed() > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Logs the row's readers in again if their tokens get old.
fn renew(clock: &SystemClock, sides: &mut [Side], row: &mut Row, tokens: usize) {
    let Some(side) = sides.iter_mut().find(|side| side.algorithm == row.algorithm) else { return };
    if clock.monotonic_us() > side.made_us + RENEW_AFTER_US {
        side.log_in(clock, tokens);
    }
    row.work.renew(&side.checks);
}
