//! The results: a table on the terminal, JSON, a Markdown table and a plot for the README.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;
use passerby_benches::client::Measured;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{CHECK, CHECK_COOKIE, CHECK_MISS, DAY, LOGIN_APP, LOGIN_V1, REFRESH_APP, REFRESH_V1, Row, Subject};

/// What is compared with what. Rates shall be at least the target times the other's, processor time at most.
struct Comparison {
    doing: &'static str,
    algorithm: &'static str,
    against: Subject,
    rate: Option<f64>,
    cpu: Option<f64>,
}

/// With the targets of the design.
fn comparisons() -> Vec<Comparison> {
    let mut all = Vec::new();
    for algorithm in crate::ALGORITHMS {
        let is_ed25519 = algorithm == "EdDSA";
        // a target for one algorithm alone
        let hs256 = |target| (!is_ed25519).then_some(target);
        let mut compare = |doing, against, rate, cpu| all.push(Comparison { doing, algorithm, against, rate, cpu });
        compare(LOGIN_APP, Subject::Bare, hs256(0.70), hs256(1.6));
        compare(LOGIN_APP, Subject::Signing, is_ed25519.then_some(0.80), None);
        compare(LOGIN_APP, Subject::RedisEverysec, hs256(1.3), None);
        compare(LOGIN_APP, Subject::RedisAlways, hs256(2.0), None);
        compare(LOGIN_V1, Subject::Bare, None, None);
        compare(CHECK, Subject::Bare, Some(0.85), None);
        compare(CHECK, Subject::RedisEverysec, Some(1.5), None);
        compare(CHECK_COOKIE, Subject::Bare, Some(0.85), None);
        compare(CHECK_MISS, Subject::Bare, Some(if is_ed25519 { 0.6 } else { 0.8 }), None);
        compare(REFRESH_APP, Subject::Bare, None, None);
        compare(REFRESH_V1, Subject::Bare, None, None);
        compare(DAY, Subject::Bare, None, None);
    }
    all
}

/// A comparison of two rows that were measured.
struct Compared<'a> {
    ours: &'a Row,
    theirs: &'a Row,
    comparison: Comparison,
}

impl Compared<'_> {
    fn rate(&self) -> f64 {
        self.ours.rate() / self.theirs.rate()
    }

    fn cpu(&self) -> f64 {
        self.ours.cpu_us() / self.theirs.cpu_us()
    }

    /// `None` without a target.
    fn is_met(&self) -> Option<bool> {
        let rate = self.comparison.rate.map(|target| self.rate() >= target);
        let cpu = self.comparison.cpu.map(|target| self.cpu() <= target);
        match (rate, cpu) {
            (None, None) => None,
            (rate, cpu) => Some(rate.unwrap_or(true) && cpu.unwrap_or(true)),
        }
    }

    fn is_valid(&self) -> bool {
        self.ours.failed() + self.theirs.failed() == 0
    }
}

fn find<'a>(rows: &'a [Row], doing: &str, algorithm: &str, subject: Subject) -> Option<&'a Row> {
    rows.iter().find(|row| {
        row.doing == doing && row.subject == subject && (row.algorithm == algorithm || row.algorithm.is_empty())
    })
}

/// Prints the table and writes `load.json`, `load.md` and `load.svg` into `folder`.
pub(crate) fn write(rows: &[Row], sync: &Histogram<u64>, now_s: u64, folder: &Path) {
    let compared: Vec<Compared<'_>> = comparisons()
        .into_iter()
        .filter_map(|comparison| {
            let ours = find(rows, comparison.doing, comparison.algorithm, Subject::Passerby)?;
            let theirs = find(rows, comparison.doing, comparison.algorithm, comparison.against)?;
            Some(Compared { ours, theirs, comparison })
        })
        .collect();
    let day = OffsetDateTime::from_unix_timestamp(now_s as i64).unwrap().date();
    let cores = std::thread::available_parallelism().unwrap();
    print!("{}", table(rows, &compared, sync));
    fs::create_dir_all(folder).unwrap();
    for (name, text) in [
        ("load.json", serde_json::to_string_pretty(&as_json(rows, &compared, sync, now_s)).unwrap()),
        ("load.md", markdown(&compared, &format!("{day}, {cores} cores"))),
        ("load.svg", plot(rows, &format!("{day}, {cores} cores shared with the load generator, 256 connections"))),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        println!("{}", path.display());
    }
}

fn quantiles(latency: &Histogram<u64>) -> [u64; 4] {
    [0.5, 0.99, 0.999, 1.0].map(|quantile| latency.value_at_quantile(quantile))
}

fn verdict(compared: &Compared<'_>) -> &'static str {
    match (compared.is_valid(), compared.is_met()) {
        (false, _) => "INVALID",
        (true, Some(true)) => "met",
        (true, Some(false)) => "NOT MET",
        (true, None) => "",
    }
}

fn targets(comparison: &Comparison) -> String {
    let rate = comparison.rate.map(|target| format!("≥ {target:.2}"));
    let cpu = comparison.cpu.map(|target| format!("CPU ≤ {target:.1}"));
    rate.into_iter().chain(cpu).collect::<Vec<_>>().join(", ")
}

fn table(rows: &[Row], compared: &[Compared<'_>], sync: &Histogram<u64>) -> String {
    let [p50, p99, ..] = quantiles(sync);
    let mut out = format!(
        "\nClosed loop, 256 connections: answers a second, in brackets µs of the server's CPU for one; medians of the rounds.\n\
         The disk syncs 4 KiB in {p50} µs (p50), {p99} µs (p99).\n\n"
    );
    let head = ["what", "alg", "Passerby", "against", "", "ratio", "CPU ratio", "target"];
    let line = |out: &mut String, cells: [&str; 8], verdict: &str| {
        let [what, alg, ours, against, theirs, ratio, cpu, target] = cells;
        let line = format!(
            "{what:<25} {alg:<6} {ours:>15} {against:<30} {theirs:>15} {ratio:>6} {cpu:>9}  {target:<18} {verdict}"
        );
        writeln!(out, "{}", line.trim_end()).unwrap();
    };
    line(&mut out, head, "");
    for one in compared {
        let figure = |row: &Row| format!("{:.0} [{:.1}]", row.rate(), row.cpu_us());
        let cells = [
            one.comparison.doing,
            one.comparison.algorithm,
            &figure(one.ours),
            one.comparison.against.name(),
            &figure(one.theirs),
            &format!("{:.2}", one.rate()),
            &format!("{:.2}", one.cpu()),
            &targets(&one.comparison),
        ];
        line(&mut out, cells, verdict(one));
    }
    let redis = rows.iter().filter(|row| row.processes.len() > 1);
    for row in redis {
        let each = |process: usize| {
            let of = |measured: &Measured| measured.cpu[process].seconds() * 1e6 / measured.answers.max(1) as f64;
            crate::median(row.closed.iter().map(of))
        };
        let (peer, redis, name) = (each(0), each(1), row.name());
        writeln!(out, "{name}: of its CPU {peer:.1} µs are the handler's and {redis:.1} µs are Redis's").unwrap();
    }
    let timed: Vec<&Row> = rows.iter().filter(|row| !row.open.is_empty()).collect();
    if !timed.is_empty() {
        out.push_str("\nOpen loop, latency in ms from when a request was to be sent\n\n");
    }
    for row in timed {
        for (share, measured) in &row.open {
            let [p50, p99, p999, max] = quantiles(&measured.latency).map(|us| us as f64 / 1000.0);
            let (name, percent, rate) = (row.name(), share * 100.0, measured.rate());
            let invalid = if measured.failed > 0 { "  INVALID" } else { "" };
            let figures = format!("p50 {p50:>7.2}  p99 {p99:>7.2}  p99.9 {p999:>7.2}  max {max:>7.2}");
            writeln!(out, "{name:<60} at {percent:.0} % {rate:>7.0}/s  {figures}{invalid}").unwrap();
        }
    }
    for (failure, row) in rows.iter().filter_map(|row| Some((first_failure(row)?, row))) {
        writeln!(out, "\nINVALID: {}: {} failed, the first with {failure:?}", row.name(), row.failed()).unwrap();
    }
    out.push('\n');
    out
}

fn first_failure(row: &Row) -> Option<&str> {
    let all = row.closed.iter().chain(row.open.iter().map(|(_, measured)| measured));
    all.into_iter().find_map(|measured| measured.failure.as_deref())
}

fn as_json(rows: &[Row], compared: &[Compared<'_>], sync: &Histogram<u64>, now_s: u64) -> Value {
    let measured = |measured: &Measured| {
        let [p50, p99, p999, max] = quantiles(&measured.latency);
        json!({
            "per_s": measured.rate(),
            "answers": measured.answers,
            "failed": measured.failed,
            "cpu_us": measured.cpu_us_per_answer(),
            "client_cpu_us": measured.client_us_per_answer(),
            "latency_us": { "p50": p50, "p99": p99, "p99.9": p999, "max": max },
        })
    };
    let row = |row: &Row| {
        let open = row.open.iter().map(|(share, one)| json!({ "share": share, "measured": measured(one) }));
        json!({
            "doing": row.doing,
            "access_alg": row.algorithm,
            "subject": row.subject.name(),
            "per_s": row.rate(),
            "cpu_us": row.cpu_us(),
            "closed": row.closed.iter().map(measured).collect::<Vec<_>>(),
            "open": open.collect::<Vec<_>>(),
        })
    };
    let comparison = |one: &Compared<'_>| {
        json!({
            "doing": one.comparison.doing,
            "access_alg": one.comparison.algorithm,
            "against": one.comparison.against.name(),
            "ratio": one.rate(),
            "cpu_ratio": one.cpu(),
            "target": one.comparison.rate,
            "cpu_target": one.comparison.cpu,
            "met": one.is_met(),
            "valid": one.is_valid(),
        })
    };
    let [p50, p99, p999, max] = quantiles(sync);
    json!({
        "unix_s": now_s,
        "cores": std::thread::available_parallelism().unwrap(),
        "disk_sync_us": { "p50": p50, "p99": p99, "p99.9": p999, "max": max },
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "comparisons": compared.iter().map(comparison).collect::<Vec<_>>(),
    })
}

fn markdown(compared: &[Compared<'_>], when: &str) -> String {
    let mut out = format!(
        "| {when} | Passerby, answers/s [µs of CPU] | against | answers/s [µs of CPU] | ratio | target |\n\
         |---|---|---|---|---|---|\n"
    );
    for one in compared.iter().filter(|one| one.is_valid()) {
        let Comparison { doing, algorithm, against, .. } = &one.comparison;
        let figure = |row: &Row| format!("{:.0} k [{:.1}]", row.rate() / 1000.0, row.cpu_us());
        let (ours, theirs, against) = (figure(one.ours), figure(one.theirs), against.name());
        let (ratio, target, verdict) = (one.rate(), targets(&one.comparison), verdict(one));
        let target = format!("{target} {verdict}");
        writeln!(out, "| {doing}, {algorithm} | {ours} | {against} | {theirs} | {ratio:.2} | {} |", target.trim())
            .unwrap();
    }
    out
}

const OURS: &str = "#2563a8";
const THEIRS: &str = "#b0b7bf";
const WIDTH: f64 = 960.0;
/// Where bars and the latency axis begin, and how far they reach.
const LEFT: f64 = 300.0;
const REACH: f64 = 560.0;
const STEP: f64 = 24.0;

/// Rates as bars, then latency at the shares of the open loop.
fn plot(rows: &[Row], when: &str) -> String {
    let mut out = String::new();
    let mut y = 34.0;
    let text = |out: &mut String, x: f64, y: f64, style: &str, text: &str| {
        writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" {style}>{text}</text>"#).unwrap();
    };
    let (heading, small, right) = (r#"font-weight="600""#, r##"fill="#57606a""##, r#"text-anchor="end""#);
    let colour = |row: &Row| if row.subject == Subject::Passerby { OURS } else { THEIRS };
    let name = |row: &Row| match row.algorithm {
        "EdDSA" if row.subject == Subject::Passerby => "Passerby, Ed25519 (default)".to_owned(),
        algorithm if row.subject == Subject::Passerby => format!("Passerby, {algorithm}"),
        algorithm if row.subject == Subject::Signing => format!("{}, {algorithm}", row.subject.name()),
        _ => row.subject.name().to_owned(),
    };
    let is_peer = |row: &&Row| row.subject != Subject::Passerby;
    // a bare handler answers nearly the same bytes under both algorithms
    let is_shown = |row: &&Row| row.subject != Subject::Bare || row.algorithm == crate::ALGORITHMS[0];
    for (doing, title) in [(LOGIN_APP, "Anonymous logins a second, durable"), (CHECK, "Token checks a second")] {
        let mut shown: Vec<&Row> = rows.iter().filter(|row| row.doing == doing).filter(is_shown).collect();
        shown.sort_by_key(is_peer);
        if shown.is_empty() {
            continue;
        }
        let most = shown.iter().map(|row| row.rate()).fold(1.0, f64::max);
        text(&mut out, 20.0, y, heading, title);
        y += STEP;
        for row in shown {
            let width = row.rate() / most * REACH;
            text(&mut out, LEFT - 10.0, y, right, &name(row));
            let (top, fill) = (y - 13.0, colour(row));
            writeln!(out, r#"<rect x="{LEFT}" y="{top:.1}" width="{width:.1}" height="17" fill="{fill}"/>"#).unwrap();
            text(&mut out, LEFT + width + 6.0, y, small, &format!("{:.0} k", row.rate() / 1000.0));
            y += STEP;
        }
        y += 12.0;
    }
    // three decades and a half, from 0.1 ms
    let x = |us: u64| LEFT + ((us.max(100) as f64 / 100.0).log10() / 3.5).min(1.0) * REACH;
    text(&mut out, 20.0, y, heading, "Latency at half and at 80 % of that rate, open loop: p50, p99, p99.9 (ms)");
    y += 20.0;
    let mut timed: Vec<&Row> = rows.iter().filter(|row| [LOGIN_APP, CHECK].contains(&row.doing)).collect();
    timed.sort_by_key(|row| (row.doing == CHECK, is_peer(row)));
    let end = y + STEP * (1 + timed.iter().map(|row| row.open.len()).sum::<usize>()) as f64;
    for us in [100, 1000, 10_000, 100_000] {
        let (at, bottom) = (x(us), end - 12.0);
        let line = r##"stroke="#d8dee4""##;
        writeln!(out, r#"<line x1="{at:.1}" x2="{at:.1}" y1="{y:.1}" y2="{bottom:.1}" {line}/>"#).unwrap();
        text(&mut out, at - 8.0, end + 4.0, small, &format!("{}", us as f64 / 1000.0));
    }
    y += STEP;
    for row in timed {
        for (share, measured) in &row.open {
            let [p50, p99, p999, _] = quantiles(&measured.latency).map(x);
            let what = if row.doing == CHECK { "check" } else { "login" };
            let label = format!("{}, {what}, {:.0} %", name(row), share * 100.0);
            text(&mut out, LEFT - 10.0, y, right, &label);
            let (middle, fill) = (y - 4.0, colour(row));
            let line = format!(r#"stroke="{fill}" stroke-width="3""#);
            writeln!(out, r#"<line x1="{p50:.1}" x2="{p999:.1}" y1="{middle:.1}" y2="{middle:.1}" {line}/>"#).unwrap();
            for (at, radius) in [(p50, 6.0), (p99, 4.5), (p999, 3.0)] {
                writeln!(out, r#"<circle cx="{at:.1}" cy="{middle:.1}" r="{radius}" fill="{fill}"/>"#).unwrap();
            }
            y += STEP;
        }
    }
    y += 30.0;
    text(&mut out, 20.0, y, small, when);
    let height = y + 16.0;
    let font = r#"font-family="system-ui, sans-serif" font-size="13""#;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" {font}>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{out}</svg>\n"
    )
}
