//! What the scenario asks of a process with a store, and the answers: a line of JSON each, over a pipe.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use indicatif::ProgressBar;
use passerby_actors::histogram::Histogram;
use passerby_benches::progress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Users are numbered; their ids follow from the numbers, so that no process needs memory for a list of them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Every how many-th.
    pub(crate) step: u64,
}

impl Numbers {
    pub(crate) fn each(from: u64, to: u64) -> Self {
        Self { from, to, step: 1 }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u64> {
        (self.from..self.to).step_by(usize::try_from(self.step).unwrap())
    }

    pub(crate) fn count(self) -> u64 {
        (self.to - self.from).div_ceil(self.step)
    }
}

/// How the folder is opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) folder: std::path::PathBuf,
    /// Users to lay the registry out for.
    pub(crate) max_users: usize,
    /// The journal's length below which no generation begins unasked.
    pub(crate) min_journal_bytes: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Call {
    Login,
    /// Of users drawn by Zipf's law from this many, spread over all.
    Check {
        active: u64,
        of: u64,
    },
    /// Of this many users, spread over all.
    Refresh {
        active: u64,
        of: u64,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Disturbance {
    None,
    /// Lets those expire who are due in an hour, all at once.
    Expiry,
    Generation,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// What opening was like.
    Opened,
    /// The process's memory.
    Memory,
    /// Creates these users. `due`: so long inactive that they expire in an hour.
    Create { numbers: Numbers, due: bool },
    /// Lets these users log out.
    LogOut(Numbers),
    /// Refreshes users, one after the other, until the journal is nearly this long.
    FillJournal { users: u64, bytes: u64 },
    /// Writes a generation.
    Generate,
    /// Calls over and over, 256 in flight, and undoes what it did.
    Rate { call: Call, ms: u64 },
    /// Logs in at this rate (1/s) for at least this long, and as long as the disturbance goes on.
    Latency { rate: f64, ms: u64, disturbance: Disturbance },
    /// Lets the janitor look at every page.
    SweepRound,
    /// How many of these users are not as they should be.
    Wrong { numbers: Numbers, present: bool },
    /// What was seen of memory and disk since this was last asked.
    Peaks,
    /// The server's own histograms.
    Pauses,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) took_ms: u64,
    pub(crate) users: u64,
    pub(crate) groups: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) logins: u64,
    pub(crate) shed: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) longest_us: u64,
    pub(crate) disturbed_ms: u64,
    pub(crate) expired: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Peaks {
    pub(crate) users: u64,
    pub(crate) memory: u64,
    /// Bytes on the disk now.
    pub(crate) disk: u64,
    pub(crate) disk_at_rest: f64,
    pub(crate) disk_at_peak: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Swept {
    pub(crate) per_tick_us: f64,
    pub(crate) expired: u64,
}

/// What a histogram of the server's says (microseconds).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pause {
    pub(crate) longest_us: u64,
    /// The bound of the bucket with all but one in a thousand.
    pub(crate) p999_us: u64,
}

impl Pause {
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let snapshot = histogram.snapshot();
        let all: u64 = snapshot.buckets.iter().map(|(_, count)| count).sum();
        let mut below = 0;
        let reached = snapshot.buckets.iter().find(|(_, count)| {
            below += count;
            below as f64 >= all as f64 * 0.999
        });
        let bound = reached.and_then(|(bound, _)| *bound).unwrap_or(u64::MAX);
        Self { longest_us: snapshot.longest_us, p999_us: bound.min(snapshot.longest_us) }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pauses {
    pub(crate) snapshot_hold: Pause,
    pub(crate) sweep_hold: Pause,
    pub(crate) generation_pause: Pause,
    pub(crate) group: Pause,
}

/// What a process says.
#[derive(Serialize, Deserialize)]
pub(crate) enum Line {
    Progress(u64),
    Answer(serde_json::Value),
}

/// A process with a store.
pub(crate) struct Server {
    process: Child,
    asks: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    pub(crate) fn start(opening: &Opening) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .arg(serde_json::to_string(opening).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asks, lines) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()).lines());
        Self { process, asks, lines }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, ask: Ask) -> T {
        self.ask_watching(ask, |_| {})
    }

    /// Asks, and shows how far it is of `total`; if that is 0, for how long it has been at it.
    pub(crate) fn ask_with_bar<T: DeserializeOwned>(&mut self, ask: Ask, what: &str, total: u64) -> T {
        let bar = bar(what, total);
        let answer = self.ask_watching(ask, |done| bar.set_position(done));
        bar.finish_and_clear();
        answer
    }

    fn ask_watching<T: DeserializeOwned>(&mut self, ask: Ask, progress: impl Fn(u64)) -> T {
        writeln!(self.asks.as_mut().unwrap(), "{}", serde_json::to_string(&ask).unwrap()).unwrap();
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("the process ended at {ask:?}")).unwrap();
            match serde_json::from_str(&line).unwrap() {
                Line::Progress(done) => progress(done),
                Line::Answer(answer) => return serde_json::from_value(answer).unwrap(),
            }
        }
    }

    /// Lets the process close its store and end.
    pub(crate) fn stop(mut self) {
        drop(self.asks.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Server {
    /// Also when the scenario panics: no process is left behind.
    fn drop(&mut self) {
        if self.asks.take().is_some() {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// Progress towards a total, or, if that is 0, the time that has gone by.
pub(crate) fn bar(what: &str, total: u64) -> ProgressBar {
    let template =
        if total == 0 { "{msg}, {elapsed}" } else { "{msg} {bar:30} {human_pos} of {human_len}, {eta} left" };
    let bar = progress::bar(template, total, what);
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// Bytes that a folder's files take on the disk, and whether a generation is being written in it.
pub(crate) fn disk_use(folder: &Path) -> (u64, bool) {
    use std::os::unix::fs::MetadataExt;
    // what is removed while it is looked at takes no room
    let Ok(entries) = std::fs::read_dir(folder) else { return (0, false) };
    let (mut bytes, mut generations) = (0, 0);
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            generations += u32::from(entry.file_name().to_string_lossy().starts_with("gen-"));
            bytes += disk_use(&entry.path()).0;
        }
        bytes += metadata.blocks() * 512;
    }
    (bytes, generations > 1)
}
