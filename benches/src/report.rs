//! Figures beside their targets, as a table and as a file; and the memory of a process.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::Measured;

/// Resident bytes of a process: its number, or `self`.
pub fn resident_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// Whether a missed target fails the run: speed is the machine's too, the rest is ours alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Printed.
    Speed,
    /// Fails the run.
    Bound,
}

struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    target: Option<(Target, Weight)>,
}

/// Figures in the order in which they were measured.
pub struct Report {
    path: PathBuf,
    bench: &'static str,
    figures: Vec<Figure>,
    details: serde_json::Map<String, Value>,
}

impl Report {
    pub(crate) fn new(path: PathBuf, bench: &'static str) -> Self {
        Self { path, bench, figures: Vec::new(), details: serde_json::Map::new() }
    }

    /// A figure without a target.
    pub fn figure(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.push(what.into(), value, unit, None);
    }

    /// A figure with a target.
    pub fn targeted(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Target,
        weight: Weight,
    ) {
        self.push(what.into(), value, unit, Some((target, weight)));
    }

    /// The median of a latency, and what one in a hundred exceeds.
    pub fn latency(&mut self, what: &str, measured: &Measured) {
        for part in [0.5, 0.99] {
            self.figure(format!("{what}: p{}", part * 100.0), measured.at(part) as f64 / 1000.0, "ms");
        }
    }

    fn push(&mut self, what: String, value: f64, unit: &'static str, target: Option<(Target, Weight)>) {
        let figure = Figure { what, value, unit, target };
        eprintln!("  {}: {} {}", figure.what, number(value), unit);
        self.figures.push(figure);
    }

    /// Something for the file alone.
    pub fn detail(&mut self, key: &str, value: impl Into<Value>) {
        self.details.insert(key.to_owned(), value.into());
    }

    /// Prints the table, writes the file, and says whether every bound was kept.
    pub fn finish(self) -> bool {
        eprint!("\n{}", self.table());
        let rows = |figure: &Figure| {
            let target = figure.target.map(|(target, _)| target.text());
            json!({ "what": figure.what, "value": figure.value, "unit": figure.unit, "target": target, "met": figure.met() })
        };
        let mut file = self.details.clone();
        file.insert("bench".to_owned(), self.bench.into());
        file.insert("cores".to_owned(), std::thread::available_parallelism().map_or(0, usize::from).into());
        file.insert("figures".to_owned(), self.figures.iter().map(rows).collect());
        std::fs::create_dir_all(self.path.parent().unwrap()).unwrap();
        std::fs::write(&self.path, serde_json::to_vec_pretty(&file).unwrap()).unwrap();
        eprintln!("\nwritten to {}", self.path.display());
        let broken =
            |figure: &&Figure| matches!(figure.target, Some((_, Weight::Bound))) && figure.met() == Some(false);
        self.figures.iter().filter(broken).map(|figure| eprintln!("bound broken: {}", figure.what)).count() == 0
    }

    fn table(&self) -> String {
        let width = self.figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for figure in &self.figures {
            let value = format!("{} {}", number(figure.value), figure.unit);
            let target = figure.target.map(|(target, _)| target.text()).unwrap_or_default();
            let met = figure.met().map_or("", |met| if met { "met" } else { "NOT MET" });
            writeln!(out, "{:width$}  {value:>18}  {target:>8}  {met}", figure.what).unwrap();
        }
        out
    }
}

impl Figure {
    fn met(&self) -> Option<bool> {
        self.target.map(|(target, _)| match target {
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        })
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", number(most)),
            Self::AtLeast(least) => format!("≥ {}", number(least)),
        }
    }
}

/// Three digits or so: what is beyond them is noise.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// The value below which this part of them lies, of values in any order; 0 of none.
pub fn quantile(values: &mut [u64], part: f64) -> u64 {
    values.sort_unstable();
    let at = (values.len() as f64 * part) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
