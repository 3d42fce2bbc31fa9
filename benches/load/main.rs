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
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has no caller to hand an error to")]
#![allow(clippy::print_stdout, reason = "the results")]

mod peer;
mod report;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;
use passerby_benches::client::{Measured, Pace, Span, collect, run};
use passerby_benches::random::zipf;
use passerby_benches::work::{self, Day, Kind, Prepared, Requests, Rotating, Same, Template, Work, field};
use passerby_benches::{Arguments, Bench, Process, has_redis, progress};

use crate::peer::{Answer, Script, Signatures};

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

#[derive(clap::Args)]
struct Own {
    /// How long each measurement takes (seconds).
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often each is done.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Parts of the names of what is done; all if there are none.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Two rounds of a second each, for a first look.
    #[arg(long)]
    quick: bool,
    /// Be a peer.
    #[arg(long, hide = true, num_args = 1..)]
    peer: Vec<String>,
}

/// What is measured, and for how long.
struct Options {
    seconds: f64,
    rounds: u32,
    tokens: usize,
    refreshed: usize,
    only: Vec<String>,
}

impl Options {
    fn new(own: &Own, is_smoke: bool) -> Self {
        let (seconds, rounds) = match (is_smoke, own.quick) {
            (true, _) => (0.1, 1),
            (false, true) => (1.0, 2),
            (false, false) => (own.seconds, own.rounds),
        };
        let (tokens, refreshed) = if is_smoke { (2000, 2 * CONNECTIONS) } else { (TOKENS, REFRESHED) };
        Self { seconds, rounds, tokens, refreshed, only: own.only.clone() }
    }

    fn wants(&self, work: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| work.contains(only.as_str()))
    }

    fn span(&self) -> Span {
        let measured_us = (self.seconds * 1e6) as u64;
        Span { warm_us: (measured_us / 5).max(50_000), measured_us }
    }
}

/// Which server does the work.
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

/// One answer, as a peer gives it.
fn sample(clock: &SystemClock, server: &Process, method: &str, path: &str, request: Vec<u8>) -> Answer {
    let mut answer = None;
    collect(clock, &server.address, 1, request, |head, body| {
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
        collect(clock, &server.address, options.refreshed, work::login_app(), |_, body| {
            refreshes.push(&refresh, field(body, "refresh_token"));
        });
        let mut rotating = Vec::new();
        collect(clock, &server.address, 2 * options.refreshed, work::login(work::LOGIN_V1), |_, body| {
            rotating.push(field(body, "refresh_token").to_vec());
        });
        let (mut cookies, check) = (Requests::default(), Template::cookie(work::CHECK));
        collect(clock, &server.address, options.tokens, work::login_reader(), |head, _| {
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
        collect(clock, &self.server.address, tokens, work::login(work::LOGIN_V1), |_, body| {
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
        collect(clock, &peer.address, sessions, work::login(peer::LOGIN), |head, _| {
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
        Self { bar: progress::bar("{elapsed} {wide_bar} {pos}/{len} {msg}", steps as u64, "") }
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
    let arguments = Arguments::<Own>::read();
    if !arguments.own.peer.is_empty() {
        return match peer::main(&arguments.own.peer) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("peer: {error}");
                ExitCode::FAILURE
            }
        };
    }
    arguments.measure("load", env!("CARGO_TARGET_TMPDIR"), measure)
}

fn measure(own: &Own, bench: &Bench) -> bool {
    let has_redis = has_redis();
    if !has_redis {
        eprintln!(
            "\nNO redis-server ON THE PATH: nothing is compared with it. On Debian: apt-get install redis-server\n"
        );
        if std::env::var_os("CI").is_some() {
            return false;
        }
    }
    let options = &Options::new(own, bench.smoke);
    let (clock, folder) = (&bench.clock, bench.folder());
    let sync = sync_latency(clock, folder);
    let (p50, p99) = (sync.value_at_quantile(0.5), sync.value_at_quantile(0.99));
    eprintln!(
        "the disk syncs 4 KiB in {p50} µs (p50), {p99} µs (p99); now logging {} readers in, twice",
        options.tokens
    );

    let mut sides = ALGORITHMS.map(|algorithm| Side::start(clock, folder, algorithm, options));
    let mut sessions = Vec::new();
    if has_redis {
        for (subject, sync) in [(Subject::RedisEverysec, "everysec"), (Subject::RedisAlways, "always")] {
            sessions.push(Sessions::start(clock, folder, subject, sync, options.tokens));
        }
    }
    let order = Rc::new(zipf(options.tokens, 1 << 20));
    let [first, second] = &sides;
    let mut rows: Vec<Row> = first.rows(&order, &sessions).into_iter().chain(second.rows(&order, &[])).collect();
    rows.retain(|row| options.wants(row.doing));
    // latency is the question about servers that do the work, not about bare handlers
    let is_timed = |row: &Row| !matches!(row.subject, Subject::Bare | Subject::Signing);
    let timed = rows.iter().filter(|row| is_timed(row)).count();
    let progress = Progress::new(rows.len() * options.rounds as usize + timed * SHARES.len());
    for round in 1..=options.rounds {
        for row in &mut rows {
            renew(clock, &mut sides, row, options.tokens);
            let name = format!("round {round}: {}", row.name());
            progress.begin(&name);
            let measured = row.measure(clock, Pace::Closed, options.span());
            progress.end(&name, &measured);
            row.closed.push(measured);
        }
    }
    for row in rows.iter_mut().filter(|row| is_timed(row)) {
        for share in SHARES {
            renew(clock, &mut sides, row, options.tokens);
            let name = format!("at {:.0} %: {}", share * 100.0, row.name());
            progress.begin(&name);
            let measured = row.measure(clock, Pace::Open { per_s: row.rate() * share }, options.span());
            progress.end(&name, &measured);
            row.open.push((share, measured));
        }
    }
    progress.bar.finish_and_clear();
    report::write(&rows, &sync, clock.wall_ms() / 1000, &bench.results);
    rows.iter().all(|row| row.failed() == 0)
}

/// Logs the row's readers in again if their tokens get old.
fn renew(clock: &SystemClock, sides: &mut [Side], row: &mut Row, tokens: usize) {
    let Some(side) = sides.iter_mut().find(|side| side.algorithm == row.algorithm) else { return };
    if clock.monotonic_us() > side.made_us + RENEW_AFTER_US {
        side.log_in(clock, tokens);
    }
    row.work.renew(&side.checks);
}
