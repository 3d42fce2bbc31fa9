//! What does it cost a site behind nginx to know its readers? `cargo bench --bench proxy`.
//!
//! nginx serves a static page by the recipe of `deploy/nginx`, without TLS, which would be most of the work: with the check,
//! with the check but without keep-alive to Passerby, and without the check. The release server, both cores, 256 connections and
//! 10 000 readers with their cookies; rounds of the three alternate, and their ratio is what counts.
//!
//! `--seconds S` of a measurement, `--rounds N`, `--smoke` (everything once, with figures that mean nothing).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has no caller to hand an error to")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use passerby_benches::client::{Pace, Span, collect, run};
use passerby_benches::random::zipf;
use passerby_benches::work::{self, Kind, Prepared, Requests, Template};
use passerby_benches::{Arguments, Bench, Process, progress};

const RECIPE: &str = include_str!("../../deploy/nginx/passerby.conf");
const CONNECTIONS: usize = 256;
const READERS: usize = 10_000;
const PAGE: &str = "<!doctype html><title>News</title><p>Nothing has happened yet today.\n";

#[derive(clap::Args)]
struct Own {
    /// How long each measurement takes (seconds).
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often each is done.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// How the recipe is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Checked,
    WithoutKeepAlive,
    Unchecked,
}

impl Variant {
    const ALL: [Self; 3] = [Self::Checked, Self::WithoutKeepAlive, Self::Unchecked];

    fn name(self) -> &'static str {
        match self {
            Self::Checked => "page, with the check",
            Self::WithoutKeepAlive => "page, with the check, a connection for each",
            Self::Unchecked => "page, without the check",
        }
    }

    fn recipe(self, own: &str, site: &str, passerby: &str) -> String {
        let changed = [
            ("listen 443 ssl;", format!("listen {own};")),
            ("ssl_certificate /etc/ssl/news.example.pem;", String::new()),
            ("ssl_certificate_key /etc/ssl/news.example.key;", String::new()),
            ("127.0.0.1:8080", passerby.to_owned()),
            ("127.0.0.1:3000", site.to_owned()),
        ];
        let recipe = changed.iter().fold(RECIPE.to_owned(), |recipe, (from, to)| replaced(&recipe, from, to));
        match self {
            Self::Checked => recipe,
            Self::WithoutKeepAlive => {
                // of the first upstream alone, which is Passerby
                let (upstream, rest) = recipe.split_once("upstream site").expect("the recipe has two upstreams");
                format!(
                    "{}upstream site{rest}",
                    replaced(upstream, "keepalive_requests 100000;", "keepalive_requests 1;")
                )
            }
            Self::Unchecked => replaced(&recipe, "auth_request /_passerby;", "auth_request off;"),
        }
    }
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the recipe has no {from:?} any more");
    text.replace(from, to)
}

/// nginx by the recipe, and the site behind it.
fn start(variant: Variant, folder: &Path, passerby: &str) -> Process {
    fs::create_dir_all(folder.join("site")).unwrap();
    fs::write(folder.join("site/index.html"), PAGE).unwrap();
    // nginx cannot choose a port on its own
    let free = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [own, site] = free.map(|listener| listener.local_addr().unwrap().to_string());
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .collect();
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let configuration = format!(
        "daemon off;\npid {at}/pid;\n{user}\nworker_processes 2;\nevents {{ worker_connections 2048; }}\nhttp {{\naccess_log \
         off;\nkeepalive_requests 1000000000;\n{temporary}server {{ listen {site}; root {at}/site; }}\n{}\n}}\n",
        variant.recipe(&own, &site, passerby)
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let nginx = Process::nginx(folder, &file, own);
    for _ in 0..500 {
        if TcpStream::connect(&nginx.address).is_ok() {
            return nginx;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    panic!("nginx does not listen on {}", nginx.address);
}

fn main() -> ExitCode {
    Arguments::read().measure("proxy", env!("CARGO_TARGET_TMPDIR"), measure)
}

fn measure(own: &Own, bench: &Bench) -> bool {
    let (seconds, rounds) = if bench.smoke { (0.3, 1) } else { (own.seconds, own.rounds) };
    let (folder, clock) = (bench.folder(), &bench.clock);
    let passerby = Process::server_with(&folder.join("data"), &["--trusted-proxies", "127.0.0.1", "--limits", "off"]);
    let fronts =
        Variant::ALL.map(|variant| (variant, start(variant, &folder.join(format!("{variant:?}")), &passerby.address)));

    let (mut pages, page) = (Requests::default(), Template::cookie("/"));
    collect(clock, &fronts[0].1.address, READERS, work::login_reader(), |head, _| {
        pages.push(&page, work::cookie(head));
    });
    let order = Rc::new(zipf(pages.len(), 1 << 16));
    let pages = Rc::new(pages);

    let bar = progress::steps((rounds * fronts.len()) as u64, "nginx");
    let mut measured = Variant::ALL.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((variant, front), measured) in fronts.iter().zip(&mut measured) {
            let measured_us = (seconds * 1e6) as u64;
            let span = Span { warm_us: measured_us / 5, measured_us };
            let mut readers = Prepared::new(&pages, Some(&order), Kind::Check);
            let round = run(clock, &front.address, CONNECTIONS, Pace::Closed, span, &mut readers, &[&passerby]);
            assert_eq!(round.failed, 0, "{variant:?}: {:?}", round.failure);
            measured.push((round.rate(), round.cpu_us_per_answer()));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let median = |values: &mut Vec<(f64, f64)>| {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        values[values.len() / 2]
    };
    let [checked, each, unchecked] = measured.each_mut().map(median);
    let mut report = bench.report();
    for (variant, (rate, _)) in Variant::ALL.into_iter().zip([checked, each, unchecked]) {
        report.figure(variant.name(), rate, "/s");
    }
    report.figure("Passerby's processor time for a check", checked.1, "µs");
    report.figure("the same on a connection for each", each.1, "µs");
    report.figure("with the check ÷ without", checked.0 / unchecked.0, "");
    report.figure("on a connection for each ÷ without", each.0 / unchecked.0, "");
    report.finish()
}
