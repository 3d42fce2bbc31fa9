//! How a bench begins and ends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser};
use passerby_actors::system::SystemClock;
use tempfile::TempDir;

use crate::report::Report;

/// What a bench is told: options of its own, and those of every bench.
#[derive(Parser)]
pub struct Arguments<Own: Args> {
    /// Of this bench alone.
    #[command(flatten)]
    pub own: Own,
    /// Everything small and short, for CI: the figures mean nothing.
    #[arg(long)]
    pub smoke: bool,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl<Own: Args> Arguments<Own> {
    /// Reads them; ends the process if they are wrong, or ask for help.
    pub fn read() -> Self {
        Self::parse()
    }

    /// Measures, if it is a bench that was asked for. `temporary` is cargo's `CARGO_TARGET_TMPDIR`: on the disk that cargo
    /// builds on, since `/tmp` may be memory, which syncs in no time. The process fails if `measure` says that a bound
    /// was broken.
    pub fn measure(self, name: &'static str, temporary: &str, measure: impl FnOnce(&Own, &Bench) -> bool) -> ExitCode {
        if !self.bench {
            return ExitCode::SUCCESS;
        }
        let folder = tempfile::tempdir_in(temporary).unwrap();
        let results = Path::new(temporary).with_file_name("bench");
        let bench = Bench { name, smoke: self.smoke, clock: SystemClock::default(), folder, results };
        if measure(&self.own, &bench) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A bench under way.
pub struct Bench {
    name: &'static str,
    /// Whether the figures mean nothing.
    pub smoke: bool,
    /// The machine's clock.
    pub clock: SystemClock,
    folder: TempDir,
    /// `target/bench`, where the results go.
    pub results: PathBuf,
}

impl Bench {
    /// A folder of its own, which goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An empty report.
    pub fn report(&self) -> Report {
        Report::new(self.results.join(self.name).with_extension("json"), self.name)
    }
}
