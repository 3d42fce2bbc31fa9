//! What do others notice while a few clients change documents as fast as they can, with the largest requests that there are?
//! `cargo bench --bench documents`.
//!
//! The release server runs with its default settings. Readers who are known check in, and others change small documents, at a
//! steady rate in an open loop: first alone, then while twenty clients send JSON patches of 64 KiB on documents of 16 KiB
//! without a pause. Half of these touch as much as a request may, the other half far more, and are refused. The patches' rate and
//! what each may touch are bounded, so the others' median may at most become three times as long.
//!
//! `--smoke` is for CI: a few seconds. The exit code is 1 if others are refused; latency is only printed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has no caller to hand an error to")]

use std::process::ExitCode;

use passerby_benches::client::{Pace, Span, collect, run, run_in_background, send_all};
use passerby_benches::work::{self, Kind, Work};
use passerby_benches::{Arguments, AtMost, Bench, Process, Weight};

/// Clients that send patches, each as a user of its own.
const CLIENTS: usize = 20;
/// Others, and how many requests they send a second.
const OTHERS: usize = 200;
const RATE: f64 = 300.0;
/// Bytes of a patch, somewhat below `http.max_body`, and of a document, somewhat below `data.max_document`.
const PATCH: usize = 65_000;
const DOCUMENT: usize = 16_000;

#[derive(clap::Args)]
struct Own {
    /// How long each phase takes (seconds).
    #[arg(long, default_value_t = 15)]
    seconds: u64,
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
    Arguments::read().measure("documents", env!("CARGO_TARGET_TMPDIR"), measure)
}

fn measure(own: &Own, bench: &Bench) -> bool {
    let seconds = if bench.smoke { 3 } else { own.seconds };
    let server = Process::server_with(&bench.folder().join("data"), &[]);
    let clock = &bench.clock;
    let mut report = bench.report();

    let mut tokens = Vec::new();
    collect(clock, &server.address, CLIENTS + OTHERS, work::login(work::LOGIN_V1), |_, body| {
        tokens.push(String::from_utf8(work::field(body, "access_token").to_owned()).unwrap());
    });
    let (clients, others) = tokens.split_at(CLIENTS);

    let json = "application/json";
    let list = vec!["0"; DOCUMENT / 2].join(",");
    let document = format!(r#"{{"a":[{list}],"s":{{}}}}"#);
    let mut documents =
        InTurn::new(clients.iter().map(|token| request("PUT", "/v1/data", token, json, &document)).collect());
    send_all(clock, &server.address, 1, CLIENTS, &mut documents);
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
                let span = Span { warm_us: 0, measured_us: span.warm_us + span.measured_us };
                run_in_background(&server.address, CLIENTS, Pace::Closed, span, InTurn::new(patches.clone()))
            });
            let measured = run(clock, &server.address, 16, Pace::Open { per_s: RATE }, span, &mut of_others, &[]);
            (measured, bots.map(|bots| bots.join().unwrap()))
        };
        let (quiet, _) = measure(false);
        let (loaded, bots) = measure(true);
        let bots = bots.unwrap();
        report.latency(&format!("{name}, quiet"), &quiet);
        report.latency(&format!("{name}, beside the patches"), &loaded);
        report.figure(format!("patches answered meanwhile, {name}"), bots.rate(), "/s");
        report.figure(
            format!("patches done meanwhile, {name}"),
            (bots.answers - bots.failed) as f64 / bots.seconds,
            "/s",
        );
        let ratio = loaded.at(0.5) as f64 / quiet.at(0.5).max(1) as f64;
        report.targeted(format!("{name}: p50 beside the patches ÷ quiet"), ratio, "", AtMost(3.0), Weight::Speed);
        let refused = quiet.failed + loaded.failed;
        report.targeted(format!("{name}: others who were refused"), refused as f64, "", AtMost(0.0), Weight::Bound);
        assert_eq!(refused, 0, "{:?}", loaded.failure);
    }
    report.finish()
}
