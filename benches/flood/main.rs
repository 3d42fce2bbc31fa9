//! What do readers notice, and what is left behind, when bots make a million users: from one IPv6 /64, and from 10 000 IPv4
//! addresses? `cargo bench --bench flood`.
//!
//! The release server runs with its default budgets, as behind a proxy that says where each request came from. Readers who are
//! known check in at a steady rate, in an open loop: first alone, then during each flood, at its `--rate`, from a thread of
//! the lowest priority. A network's budget and that of all together bound how many users are made and, with them,
//! memory and disk; the readers' latencies may at most double. And what do the budgets of ten million networks take that come
//! once, in this process?
//!
//! `--smoke` is for CI: a small flood in a few seconds. The exit code is 1 if more users are made than the budgets allow, or
//! memory or disk grow beyond their bound; latency is only printed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has nobody to hand an error to")]

#[allow(dead_code, reason = "shared with the other benches")]
#[path = "../generator/mod.rs"]
mod generator;
#[allow(dead_code, unused_imports, reason = "shared with the other benches")]
#[path = "../shared/mod.rs"]
mod shared;

use std::net::Ipv6Addr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use passerby::budget::{Budgets, Spend};
use passerby::config::{self, ConfigFile};
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;

use crate::generator::client::{Kind, Measured, Pace, Span, Work, run};
use crate::generator::process::Process;
use crate::generator::random::{Random, zipf};
use crate::generator::work::{self, Prepared, Requests, Same, Template};
use crate::shared::{AtMost, Report, Weight, mib, resident_bytes};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Readers who are known, and come all the time.
const READERS: u64 = 20_000;
/// Checks of theirs a second.
const CHECKS: f64 = 2000.0;
const PREFIXES: u64 = 10_000;
/// The default budgets: of a network at once and a second, of all together at once and a second.
const OF_ONE: (u64, f64) = (300, 1.0);
const OF_ALL: (u64, f64) = (20_000, 2000.0);
/// What a user who is made may cost, in memory and on disk, tables that have just doubled and a generation being written
/// included (bytes).
const USER: f64 = 512.0;
/// Networks that come once, and what their budgets may take (MiB).
const STRANGERS: u64 = 10_000_000;
const STRANGERS_MIB: f64 = 64.0;
/// What the server may grow by beside that: budgets of networks, buffers of connections (MiB).
const BESIDE: f64 = 64.0;

#[derive(Parser)]
struct Arguments {
    /// How many users each flood tries to make.
    #[arg(long, default_value_t = 1_000_000)]
    flood: u64,
    /// How many of them a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Shorter, for CI.
    #[arg(long)]
    smoke: bool,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Where the bots of a flood are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    One64,
    Many,
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        return ExitCode::SUCCESS;
    }
    let (flood, rate) = if arguments.smoke { (20_000, 10_000) } else { (arguments.flood, arguments.rate) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = folder.path().join("data");
    let server = Process::server_with(&data, &["--trusted-proxies", "127.0.0.1"]);
    let clock = SystemClock::default();
    let mut report = Report::new("flood");

    let (mut checks, check) = (Requests::default(), Template::cookie(work::CHECK));
    let answered = |head: &[u8], _: &[u8]| checks.push(&check, work::cookie(head));
    let mut log_in = Same { request: work::login_reader(), kind: Kind::Login, answered };
    // a proxy that does not say who is behind it has no budget but that of all, which has room for these
    run(&clock, &server.address, 64, Pace::Count(READERS), Span::ENDLESS, &mut log_in, &[]);
    let order = Rc::new(zipf(checks.len(), 1 << 16));
    let mut readers = Prepared::new(&Rc::new(checks), Some(&order), Kind::Check);

    let seconds = flood / rate;
    let before = resident_bytes(&server.number());
    let disk = disk_bytes(&data);
    let mut check = |flooded: Option<From>| {
        let span = Span { warm_us: 500_000, measured_us: (seconds * 1_000_000).saturating_sub(500_000).max(1_000_000) };
        let bar = bar(seconds, flooded);
        let address = server.address.clone();
        let bots = flooded.map(|from| {
            thread::spawn(move || {
                // bots compute on machines of their own: theirs gets what the server and the readers leave
                rustix::process::setpriority_process(None, 19).unwrap();
                let mut flood = Flood { from, random: Random::new(1), request: Vec::new() };
                let span = Span { warm_us: 0, measured_us: seconds * 1_000_000 };
                let pace = Pace::Open { per_s: rate as f64 };
                let clock = SystemClock::default();
                let began_us = clock.monotonic_us();
                let measured = run(&clock, &address, 64, pace, span, &mut flood, &[]);
                // what is late comes after the end
                (measured, (clock.monotonic_us() - began_us).div_ceil(1_000_000))
            })
        });
        let pace = Pace::Open { per_s: CHECKS };
        let measured = run(&clock, &server.address, 32, pace, span, &mut readers, &[&server]);
        bar.finish_and_clear();
        let bots = bots.map(|bots| bots.join().unwrap());
        assert_eq!(measured.failed, 0, "{:?}", measured.failure);
        (measured, bots)
    };

    let (quiet, _) = check(None);
    report.figure("checks of known readers", quiet.rate(), "/s");
    latency(&mut report, "check, quiet", &quiet);
    let mut users = READERS;
    for (from, name) in [(From::One64, "from one /64"), (From::Many, "from 10 000 addresses")] {
        let (measured, bots) = check(Some(from));
        let (bots, lasted_s) = bots.unwrap();
        assert!(
            bots.failure.as_ref().is_none_or(|answer| answer.starts_with("HTTP/1.1 429 ")),
            "neither made nor refused: {:?}",
            bots.failure
        );
        let made = bots.answers - bots.failed;
        users += made;
        report.figure(format!("tried, {name}"), bots.rate(), "/s");
        let networks = if from == From::One64 { 1 } else { PREFIXES };
        let allowed = |(burst, rate): (u64, f64)| burst as f64 + rate * (lasted_s + 1) as f64;
        let most = allowed((OF_ONE.0 * networks, OF_ONE.1 * networks as f64)).min(allowed(OF_ALL));
        report.targeted(format!("users made, {name}"), made as f64, "", AtMost(most), Weight::Bound);
        latency(&mut report, &format!("check, {name}"), &measured);
        for part in [0.5, 0.99] {
            let ratio = at(&measured, part) as f64 / at(&quiet, part).max(1) as f64;
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
    if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn latency(report: &mut Report, what: &str, measured: &Measured) {
    for part in [0.5, 0.99] {
        report.figure(format!("{what}: p{}", part * 100.0), at(measured, part) as f64 / 1000.0, "ms");
    }
}

/// Microseconds.
fn at(measured: &Measured, part: f64) -> u64 {
    measured.latency.value_at_quantile(part)
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

fn bar(seconds: u64, flooded: Option<From>) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {elapsed} of {len} s").unwrap();
    let name = match flooded {
        None => "quiet",
        Some(From::One64) => "from one /64",
        Some(From::Many) => "from 10 000 addresses",
    };
    let bar = ProgressBar::new(seconds).with_style(style).with_message(name);
    let ticking = bar.clone();
    thread::spawn(move || {
        while !ticking.is_finished() {
            thread::park_timeout(std::time::Duration::from_secs(1));
            ticking.set_position(ticking.elapsed().as_secs());
        }
    });
    bar
}
