//! What happens when three times as many log in as the disk can take? `cargo bench --bench overload`.
//!
//! A server from the library, in a process of its own, whose journal takes 50 ms for each sync and whose permits are few
//! enough that it sustains a few thousand logins a second. That rate is measured first (closed loop, a connection for
//! each permit); then three times that is offered in an open loop over HTTP, and after its end one login at a time. It
//! should go on at its rate, shed the rest at once with 503 and a `Retry-After` of 1 to 3 s, not grow, and be itself again
//! within a second.
//!
//! `--smoke` is for CI: the same in less than 25 seconds. The exit code is 1 if an answer is not one of the two, lacks
//! its `Retry-After`, or memory grows; speed is only printed.
#![allow(clippy::unwrap_used, reason = "a bench has no caller to hand an error to")]

mod client;
mod server;

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use passerby_actors::domain::Clock;
use passerby_benches::{Arguments, AtLeast, AtMost, Bench, Weight, mib, progress, quantile, resident_bytes};

use crate::client::{Answer, Connection, Offer};
use crate::server::{Addresses, PERMITS, SYNC};

const OFFERED: f64 = 3.0;
/// More than are ever busy: as many as there are permits wait for the disk, and the rest is answered at once.
const CONNECTIONS: usize = PERMITS + 300;
/// What the server may grow by: buffers of connections, and the users who are created.
const GROWTH: f64 = 64.0;
/// Logins, one at a time, from which the normal time is taken.
const SINGLE_LOGINS: usize = 20;
/// A login takes its normal time if it takes less than this many times that.
const NORMAL: f64 = 1.5;

#[derive(clap::Args)]
struct Own {
    /// How long three times too much is offered (seconds).
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Be the server, over this folder.
    #[arg(long, hide = true)]
    serve: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::<Own>::read();
    if let Some(folder) = &arguments.own.serve {
        server::serve(folder);
        return ExitCode::SUCCESS;
    }
    arguments.measure("overload", env!("CARGO_TARGET_TMPDIR"), with_server)
}

/// Measures a server that is started for it.
fn with_server(own: &Own, bench: &Bench) -> bool {
    let (closed_s, open_s) = if bench.smoke { (4, 6) } else { (10, own.seconds) };
    let mut process = Command::new(std::env::current_exe().unwrap())
        .arg("--serve")
        .arg(bench.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addresses: Addresses = serde_json::from_str(&line).unwrap();
    let number = process.id().to_string();
    let is_kept = actix_rt::System::new().block_on(measure(bench, addresses, &number, closed_s, open_s));
    drop(process.stdin.take());
    assert!(process.wait().unwrap().success());
    is_kept
}

async fn measure(bench: &Bench, addresses: Addresses, process: &str, closed_s: u64, open_s: u64) -> bool {
    let (mut report, clock) = (bench.report(), &bench.clock);
    let syncs_ms = SYNC.as_millis() as f64;
    report.figure("a sync of the journal", syncs_ms, "ms");

    let mut single = Connection::open(addresses.public).await;
    let mut took_us = Vec::new();
    for _ in 0..SINGLE_LOGINS {
        let before_us = clock.monotonic_us();
        assert_eq!(single.log_in().await.status, 201);
        took_us.push(clock.monotonic_us() - before_us);
    }
    let normal_us = quantile(&mut took_us, 0.5);
    report.figure("a single login", ms(normal_us), "ms");

    let sustainable = with_bar("closed loop", closed_s, client::closed_loop(addresses.public, PERMITS, closed_s)).await;
    report.figure("logins, closed loop", sustainable, "/s");

    let before = resident_bytes(process);
    let largest = Rc::new(Cell::new(before));
    let watch = {
        let (largest, process) = (Rc::clone(&largest), process.to_owned());
        actix_rt::spawn(async move {
            loop {
                largest.set(largest.get().max(resident_bytes(&process)));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    let offer = Offer { rate: sustainable * OFFERED, seconds: open_s, connections: CONNECTIONS };
    let load = with_bar("three times as many", open_s, client::open_loop(addresses.public, offer)).await;

    // what was offered last is still being answered
    let end_us = clock.monotonic_us();
    let recovered_us = loop {
        let before_us = clock.monotonic_us();
        let status = single.log_in().await.status;
        let now_us = clock.monotonic_us();
        if status == 201 && (now_us - before_us) as f64 <= normal_us as f64 * NORMAL {
            break now_us - end_us;
        }
        assert!(now_us - end_us < 60_000_000, "logins are still slow after a minute");
    };
    let answers = load.answers().await;
    watch.abort();
    let after = resident_bytes(process);

    let (mut made_us, mut shed_us) = (Vec::new(), Vec::new());
    let (mut others, mut without_retry_after) = (0u64, 0u64);
    let mut by_second = vec![[0u64; 2]; usize::try_from(open_s).unwrap() + 1];
    let mut retry_after = [0u64; 3];
    for Answer { status, retry_after_s, due_at_us, took_us } in &answers {
        let second = usize::try_from((due_at_us + took_us) / 1_000_000).unwrap().min(by_second.len() - 1);
        match status {
            201 => {
                by_second[second][0] += 1;
                made_us.push(*took_us);
            }
            503 => {
                by_second[second][1] += 1;
                shed_us.push(*took_us);
                match retry_after_s {
                    Some(seconds @ 1..=3) => retry_after[*seconds as usize - 1] += 1,
                    _ => without_retry_after += 1,
                }
            }
            _ => others += 1,
        }
    }
    // the first second fills the permits
    let whole = &by_second[1..by_second.len() - 1];
    let created = whole.iter().map(|[created, _]| created).sum::<u64>() as f64 / whole.len() as f64;
    let offered = answers.len() as f64 / open_s as f64;
    report.figure("offered, open loop", offered, "/s");
    report.figure("logins under overload", created, "/s");
    let what = "logins under overload ÷ closed loop";
    report.targeted(what, created / sustainable, "", AtLeast(0.9), Weight::Speed);
    report.figure("answered 503", shed_us.len() as f64 / answers.len() as f64 * 100.0, "%");
    let what = "503 without a Retry-After of 1 to 3 s";
    report.targeted(what, without_retry_after as f64, "", AtMost(0.0), Weight::Bound);
    let rarest = retry_after.iter().min().copied().unwrap_or(0) as f64 / shed_us.len().max(1) as f64;
    let what = "the rarest of the three Retry-After, part of all";
    report.targeted(what, rarest, "", AtLeast(0.2), Weight::Bound);
    report.targeted("other answers, broken connections", others as f64, "", AtMost(0.0), Weight::Bound);

    let shed = server::shed_seconds(&client::get(addresses.admin, "/metrics").await);
    report.targeted("503: the slowest, by the server", shed.slowest_s * 1000.0, "ms", AtMost(5.0), Weight::Speed);
    report.figure("503: the mean, by the server", shed.mean_s * 1000.0, "ms");
    for (part, name) in [(0.5, "p50"), (0.99, "p99"), (1.0, "longest")] {
        report.figure(format!("503, from when it was due: {name}"), ms(quantile(&mut shed_us, part)), "ms");
        report.figure(format!("login, from when it was due: {name}"), ms(quantile(&mut made_us, part)), "ms");
    }

    report.figure("memory before", mib(before), "MiB");
    let grown = mib(largest.get()) - mib(before);
    report.targeted("memory at its peak", grown, "MiB more", AtMost(GROWTH), Weight::Bound);
    report.targeted("memory after", mib(after) - mib(before), "MiB more", AtMost(GROWTH), Weight::Bound);
    let what = "from the end until a login took its normal time";
    report.targeted(what, ms(recovered_us), "ms", AtMost(1000.0), Weight::Speed);
    report.detail("made_and_shed_by_second", serde_json::json!(by_second));
    report.finish()
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// Shows the seconds that something takes.
async fn with_bar<T>(what: &str, seconds: u64, work: impl Future<Output = T>) -> T {
    let bar = progress::seconds(seconds, what);
    let done = work.await;
    bar.finish_and_clear();
    done
}
