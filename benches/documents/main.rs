//! What do others notice while a few clients change documents as fast as they can, with the largest requests that there are?
//! `cargo bench --bench documents`.
//!
//! The release server runs with its default settings. Readers who are known check in, and others change small documents, at a
//! steady rate in an open loop: first alone, then while twenty clients send JSON patches of 64 KiB on documents of 16 KiB
//! without a pause. Half of these touch as much as a request may, the other half far more, and are refused. The patches' rate and
//! what each may touch are bounded, so the others' median may at most become three times as long.
//!
//! `--smoke` is for CI: a few seconds. The exit code is 1 if others are refused; latency is only printed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has nobody to hand an error to")]

#[allow(dead_code, reason = "shared with the other benches")]
#[path = "../generator/mod.rs"]
mod generator;
#[allow(dead_code, unused_imports, reason = "shared with the other benches")]
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;
use std::thread;

use clap::Parser;
use passerby_actors::system::SystemClock;

use crate::generator::client::{Kind, Measured, Pace, Span, Work, run};
use crate::generator::process::Process;
use crate::generator::work::{self, Same};
use crate::shared::{AtMost, Report, Weight};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that send patches, each as a user of its own.
const CLIENTS: usize = 20;
/// Others, and how many requests they send a second.
const OTHERS: u64 = 200;
const RATE: f64 = 300.0;
/// Bytes of a patch, somewhat below `http.max_body`, and of a document, somewhat below `data.max_document`.
const PATCH: usize = 65_000;
const DOCUMENT: usize = 16_000;

#[derive(Parser)]
struct Arguments {
    /// How long each phase takes (seconds).
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Shorter, for CI.
    #[arg(long)]
    smoke: bool,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Prepared requests, one after another.
struct InTurn {
    requests: Vec<Vec<u8>>,
    turn: usize,
}

impl InTurn {
    fn new(requests: Vec<Vec<u8>>) -> Self {
        Self { requests, turn: 0 }
    }
}

impl Work for InTurn {
    fn next(&mut self) -> (Kind, &[u8]) {
        self.turn = (self.turn + 1) % self.requests.len();
        (Kind::Check, &self.requests[self.turn])
    }
}

fn request(method: &str, path: &str, token: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// As many operations as a request has room for: there and back again.
fn patch(one: &str, other: &str) -> String {
    let there = format!(r#"{{"op":"move","from":"{one}","path":"{other}"}}"#);
    let back = format!(r#"{{"op":"move","from":"{other}","path":"{one}"}}"#);
    let pairs = PATCH / (there.len() + back.len() + 2);
    format!("[{}]", vec![format!("{there},{back}"); pairs].join(","))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        return ExitCode::SUCCESS;
    }
    let seconds = if arguments.smoke { 3 } else { arguments.seconds };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Process::server_with(&folder.path().join("data"), &[]);
    let clock = SystemClock::default();
    let mut report = Report::new("documents");

    let mut tokens = Vec::new();
    let answered = |_: &[u8], body: &[u8]| {
        tokens.push(String::from_utf8(work::field(body, "access_token").to_owned()).unwrap());
    };
    let mut log_in = Same { request: work::login(work::LOGIN_V1), kind: Kind::Login, answered };
    run(&clock, &server.address, 8, Pace::Count(CLIENTS as u64 + OTHERS), Span::ENDLESS, &mut log_in, &[]);
    let (clients, others) = tokens.split_at(CLIENTS);

    let json = "application/json";
    let list = vec!["0"; DOCUMENT / 2].join(",");
    let document = format!(r#"{{"a":[{list}],"s":{{}}}}"#);
    let mut documents =
        InTurn::new(clients.iter().map(|token| request("PUT", "/v1/data", token, json, &document)).collect());
    let put = run(&clock, &server.address, 1, Pace::Count(CLIENTS as u64), Span::ENDLESS, &mut documents, &[]);
    assert_eq!(put.failed, 0, "{:?}", put.failure);
    // where it is no deeper than before, a move costs what it takes; one deeper, all of it is looked at
    let patches = [patch("/a", "/b"), patch("/a", "/s/a")];
    let of_clients = |token: &String| {
        patches.each_ref().map(|patch| request("PATCH", "/v1/data", token, "application/json-patch+json", patch))
    };
    let patches: Vec<_> = clients.iter().flat_map(of_clients).collect();

    let checks = others.iter().map(|token| request("GET", "/v1/session", token, json, "")).collect();
    let changes = others.iter().map(|token| request("PATCH", "/v1/data", token, json, r#"{"seen":1}"#)).collect();
    for (name, mut of_others) in [("check", InTurn::new(checks)), ("small change", InTurn::new(changes))] {
        let mut measure = |under_load: bool| {
            let span = Span { warm_us: 500_000, measured_us: seconds * 1_000_000 };
            let bots = under_load.then(|| {
                let (address, mut patches) = (server.address.clone(), InTurn::new(patches.clone()));
                // their computing is not the server's
                let span = Span { warm_us: 0, measured_us: span.warm_us + span.measured_us };
                thread::spawn(move || {
                    rustix::process::setpriority_process(None, 19).unwrap();
                    run(&SystemClock::default(), &address, CLIENTS, Pace::Closed, span, &mut patches, &[])
                })
            });
            let measured = run(&clock, &server.address, 16, Pace::Open { per_s: RATE }, span, &mut of_others, &[]);
            (measured, bots.map(|bots| bots.join().unwrap()))
        };
        let (quiet, _) = measure(false);
        let (loaded, bots) = measure(true);
        let bots = bots.unwrap();
        latency(&mut report, &format!("{name}, quiet"), &quiet);
        latency(&mut report, &format!("{name}, beside the patches"), &loaded);
        report.figure(format!("patches answered meanwhile, {name}"), bots.rate(), "/s");
        report.figure(
            format!("patches done meanwhile, {name}"),
            (bots.answers - bots.failed) as f64 / bots.seconds,
            "/s",
        );
        let ratio = at(&loaded, 0.5) as f64 / at(&quiet, 0.5).max(1) as f64;
        report.targeted(format!("{name}: p50 beside the patches ÷ quiet"), ratio, "", AtMost(3.0), Weight::Speed);
        let refused = quiet.failed + loaded.failed;
        report.targeted(format!("{name}: others who were refused"), refused as f64, "", AtMost(0.0), Weight::Bound);
        assert_eq!(refused, 0, "{:?}", loaded.failure);
    }
    if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
