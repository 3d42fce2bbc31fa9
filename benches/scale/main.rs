//! What does a user cost, and does anything cost more when there are many? `cargo bench --bench scale -- --users 10000000`.
//!
//! Users are created through the ordinary commit path, on a fresh folder and with `fsync`, in a process of its own, so that its
//! memory is that of a server without HTTP. Then: memory and disk for each user, also while a generation is written; the
//! restart with the longest journal that triggers no generation, from a cold page cache; logins, checks and refreshes a
//! second beside an empty store, round about; what the sweep costs; how long logins take at half the rate
//! that is possible (open loop: from the time at which they were to begin) while users expire and while a generation is
//! written; and disk use through rounds of churn.
//!
//! `--smoke` is for CI: 200 000 users in less than a minute. Below a million users, the journal's least length is scaled
//! down with them, since it would be most of the disk. The exit code is 1 if memory, disk or an answer is not as it
//! must be; speed is only printed.
#![allow(clippy::unwrap_used, reason = "a bench has no caller to hand an error to")]

mod ask;
mod load;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use passerby::config::default_max_users;
use passerby_actors::domain::UserId;
use passerby_actors::store::embedded::Options;
use passerby_actors::testkit::mix;
use passerby_benches::{Arguments, AtLeast, AtMost, Bench, Report, Weight, mib, quantile};

use crate::ask::{Ask, Call, Disturbance, Latency, Numbers, Opened, Opening, Pause, Pauses, Peaks, Server, Swept};

/// A user in a snapshot: family, lengths of key and value, id, record.
const ENCODED_BYTES: u64 = 1 + 2 + 4 + 16 + 16;
/// A change of one user in the journal: cause, time, number of effects, tag, id, record.
const CHANGE_BYTES: u64 = 1 + 4 + 4 + 1 + 16 + 16;
const MILLION: u64 = 1_000_000;
const SMOKE_USERS: u64 = 200_000;
/// Users who are checked and refreshed.
const ACTIVE: u64 = 200_000;
/// Logins in an open loop come at the closed loop's rate by these: half of it, as the target says; and an eighth, since
/// over HTTP the same cores reach about a quarter.
const PARTS_OF_RATE: [f64; 2] = [2.0, 8.0];
const CHURN_ROUNDS: u64 = 10;
/// The design's targets of memory are for this many.
const TARGETED: u64 = 10 * MILLION;
/// What a process with fewer may grow by while it writes a generation.
const GENERATION_MEMORY: u64 = 96 << 20;

#[derive(clap::Args)]
struct Own {
    /// How many users.
    #[arg(long, default_value_t = MILLION)]
    users: u64,
    /// Without the rounds of churn.
    #[arg(long)]
    skip_churn: bool,
    /// Be the measured process.
    #[arg(long, hide = true)]
    serve: Option<String>,
}

/// The id of a user, from its number.
fn id(number: u64) -> UserId {
    UserId::object(1_800_000_000, mix(number).to_be_bytes())
}

fn main() -> ExitCode {
    let arguments = Arguments::<Own>::read();
    if let Some(opening) = &arguments.own.serve {
        server::serve(opening);
        return ExitCode::SUCCESS;
    }
    arguments.measure("scale", env!("CARGO_TARGET_TMPDIR"), measure)
}

fn measure(own: &Own, bench: &Bench) -> bool {
    let mut scenario = Scenario::new(own, bench);
    scenario.grow();
    scenario.restart();
    scenario.rates();
    if !own.skip_churn {
        scenario.churn();
    }
    let wrong = scenario.wrong as f64;
    scenario.report.targeted("answers that were wrong", wrong, "", AtMost(0.0), Weight::Bound);
    scenario.report.finish()
}

struct Scenario {
    users: u64,
    /// As many as are created or expire at a time.
    part: u64,
    rounds: usize,
    round_ms: u64,
    latency_ms: u64,
    opening: Opening,
    /// Without users.
    empty: PathBuf,
    wrong: u64,
    report: Report,
}

impl Scenario {
    fn new(own: &Own, bench: &Bench) -> Self {
        let users = if bench.smoke { SMOKE_USERS } else { own.users };
        let fitting = default_max_users(|path| std::fs::read_to_string(path).ok());
        let ordinary = Options::default().min_journal_bytes;
        let opening = Opening {
            folder: bench.folder().join("full"),
            max_users: usize::try_from(fitting.max(users)).unwrap(),
            min_journal_bytes: ordinary * users.min(MILLION) / MILLION,
        };
        let (rounds, round_ms, latency_ms) = if bench.smoke { (3, 400, 1500) } else { (5, 1000, 5000) };
        let mut report = bench.report();
        report.detail("users", users);
        Self {
            users,
            part: (users / 10).min(MILLION),
            rounds,
            round_ms,
            latency_ms,
            opening,
            empty: bench.folder().join("empty"),
            wrong: 0,
            report,
        }
    }

    /// Opened so that no generation begins unasked.
    fn undisturbed(&self, folder: &Path) -> Server {
        Server::start(&Opening { folder: folder.to_owned(), min_journal_bytes: u64::MAX, ..self.opening.clone() })
    }

    /// Counts answers that were not as they must be.
    fn wrong(&mut self, count: u64, of_what: &str) {
        if count > 0 {
            eprintln!("  wrong: {count} {of_what}");
        }
        self.wrong += count;
    }

    fn create(&mut self, server: &mut Server, numbers: Numbers, due: bool, what: &str) {
        let wrong = server.ask_with_bar(Ask::Create { numbers, due }, what, numbers.count());
        self.wrong(wrong, what);
    }

    fn log_out(&mut self, server: &mut Server, numbers: Numbers, what: &str) {
        let wrong = server.ask_with_bar(Ask::LogOut(numbers), what, numbers.count());
        self.wrong(wrong, what);
    }

    fn check(&mut self, server: &mut Server, numbers: Numbers, present: bool) {
        let wrong = server.ask(Ask::Wrong { numbers, present });
        self.wrong(wrong, if present { "users who are missing" } else { "users who should be gone" });
    }

    /// The longest journal that triggers no generation: half the snapshot, whose pages have a checksum each.
    fn longest_journal(&self) -> u64 {
        let snapshot = self.users * ENCODED_BYTES;
        (snapshot / 2 + snapshot / 2 / (7 << 10) * 4).max(self.opening.min_journal_bytes)
    }

    /// At rest, and while a generation is written. With fewer users than the targets are for, the 10 MB that sled takes for
    /// any snapshot are a good part of it.
    fn disk_bounds(&self) -> (f64, f64) {
        if self.users >= MILLION { (3.0, 5.0) } else { (5.0, 8.0) }
    }

    fn grow(&mut self) {
        eprintln!("{} users", self.users);
        let mut server = Server::start(&self.opening);
        let empty: u64 = server.ask(Ask::Memory);
        self.report.figure("memory without users", mib(empty), "MiB");
        let step = if self.users >= MILLION { MILLION } else { self.users.div_ceil(4) };
        let mut curve = Vec::new();
        let mut peaks = Peaks::default();
        for from in (0..self.users).step_by(usize::try_from(step).unwrap()) {
            let to = (from + step).min(self.users);
            self.create(&mut server, Numbers::each(from, to), false, "creating users");
            let memory: u64 = server.ask(Ask::Memory);
            let per_user = memory.saturating_sub(empty) as f64 / to as f64;
            eprintln!("  {to} users: {per_user:.1} B each, {:.0} MiB", mib(memory));
            curve.push(serde_json::json!({ "users": to, "bytes_per_user": per_user, "resident": memory }));
            let seen: Peaks = server.ask(Ask::Peaks);
            // with few users the journal's least length is most of it
            if from >= MILLION {
                peaks.disk_at_rest = peaks.disk_at_rest.max(seen.disk_at_rest);
                peaks.disk_at_peak = peaks.disk_at_peak.max(seen.disk_at_peak);
            }
        }
        self.report.detail("memory_curve", curve);
        let all = Numbers::each(0, self.users);
        self.check(&mut server, all, true);
        self.check(&mut server, Numbers::each(self.users, self.users + self.part), false);

        let before: u64 = server.ask(Ask::Memory);
        self.report.figure("memory of a user, grown", before.saturating_sub(empty) as f64 / self.users as f64, "B");
        server.ask::<Peaks>(Ask::Peaks);
        let took_ms: u64 = server.ask_with_bar(Ask::Generate, "writing a generation", 0);
        let seen: Peaks = server.ask(Ask::Peaks);
        let after: u64 = server.ask(Ask::Memory);
        self.report.figure("writing a generation", took_ms as f64 / 1000.0, "s");
        let grown = seen.memory.saturating_sub(before);
        self.report.figure("memory while a generation is written", mib(grown), "MiB more");
        let (most, what) = match self.users >= TARGETED {
            true => (before / 10, "the same ÷ what it may be: a tenth"),
            false => (GENERATION_MEMORY, "the same ÷ what it may be: 96 MiB"),
        };
        self.report.targeted(what, grown as f64 / most as f64, "", AtMost(1.0), Weight::Bound);
        let per_user = after.saturating_sub(empty) as f64 / self.users as f64;
        if self.users >= TARGETED {
            self.report.targeted("memory of a user", per_user, "B", AtMost(72.0), Weight::Speed);
        } else {
            // the tables are laid out for as many as the machine holds
            self.report.figure("memory of a user", per_user, "B");
        }
        self.report.figure("memory of a user, all included", after as f64 / self.users as f64, "B");
        self.report.figure("disk of a user after a generation", seen.disk as f64 / self.users as f64, "B");

        let bytes = self.longest_journal();
        let ask = Ask::FillJournal { users: self.users, bytes };
        let wrong = server.ask_with_bar(ask, "filling the journal", bytes / CHANGE_BYTES);
        self.wrong(wrong, "refreshes");
        let full: Peaks = server.ask(Ask::Peaks);
        server.ask::<u64>(Ask::Generate);
        let generated: Peaks = server.ask(Ask::Peaks);
        let at_rest = peaks.disk_at_rest.max(full.disk_at_rest);
        let at_peak = peaks.disk_at_peak.max(generated.disk_at_peak);
        let (most_at_rest, most_at_peak) = self.disk_bounds();
        self.report.targeted("disk ÷ records, at rest", at_rest, "", AtMost(most_at_rest), Weight::Bound);
        self.report.targeted("disk ÷ records, writing a generation", at_peak, "", AtMost(most_at_peak), Weight::Bound);

        let ask = Ask::FillJournal { users: self.users, bytes };
        let wrong = server.ask_with_bar(ask, "filling the journal", bytes / CHANGE_BYTES);
        self.wrong(wrong, "refreshes");
        self.pauses(&mut server, "growing");
        server.stop();
    }

    /// What the server's own histograms say.
    fn pauses(&mut self, server: &mut Server, when: &str) {
        let pauses: Pauses = server.ask(Ask::Pauses);
        let mut say = |what: &str, pause: Pause, most_ms| {
            let (longest, p999) = (pause.longest_us as f64 / 1000.0, pause.p999_us as f64 / 1000.0);
            let most = AtMost(most_ms);
            self.report.targeted(format!("{what}, {when}: longest"), longest, "ms", most, Weight::Speed);
            self.report.figure(format!("{what}, {when}: p99.9"), p999, "ms");
        };
        say("hold of a map by a snapshot", pauses.snapshot_hold, 1.0);
        say("pause between groups by a generation", pauses.generation_pause, 5.0);
        say("hold of a map by the sweep", pauses.sweep_hold, 1.0);
        self.report.figure(format!("a group, {when}: longest"), pauses.group.longest_us as f64 / 1000.0, "ms");
        self.report.figure(format!("a group, {when}: p99.9"), pauses.group.p999_us as f64 / 1000.0, "ms");
    }

    fn restart(&mut self) {
        for (cold, what) in [(true, "restart, longest journal, cold page cache"), (false, "restart, again")] {
            if cold {
                forget_pages(&self.opening.folder);
            }
            let mut server = self.undisturbed(&self.opening.folder);
            let opened: Opened = server.ask_with_bar(Ask::Opened, what, 0);
            self.wrong(opened.users.abs_diff(self.users), "users after the restart");
            self.report.targeted(what, opened.took_ms as f64 / 1000.0, "s", AtMost(5.0), Weight::Speed);
            self.report.detail(what, serde_json::to_value(opened).unwrap());
            self.check(&mut server, Numbers::each(0, self.users), true);
            server.stop();
        }
    }

    fn rates(&mut self) {
        let mut full = self.undisturbed(&self.opening.folder.clone());
        let mut empty = self.undisturbed(&self.empty.clone());
        let memory: u64 = full.ask(Ask::Memory);
        self.report.figure("memory of a user after the restart", memory as f64 / self.users as f64, "B");

        let active = ACTIVE.min(self.users / 10);
        let logins = self.compare("logins", &mut empty, &mut full, |_| Call::Login);
        self.create(&mut empty, Numbers::each(0, active), false, "creating users");
        let users = self.users;
        let of = |is_full| if is_full { users } else { active };
        self.compare("checks", &mut empty, &mut full, |is_full| Call::Check { active, of: of(is_full) });
        self.compare("refreshes", &mut empty, &mut full, |is_full| Call::Refresh { active, of: of(is_full) });
        empty.stop();

        let swept: Swept = full.ask(Ask::SweepRound);
        self.wrong(swept.expired, "users who expired before their time");
        self.report.targeted("sweep, each second", swept.per_tick_us / 1000.0, "ms", AtMost(5.0), Weight::Speed);

        let mut due = Numbers::each(self.users, self.users);
        for part in PARTS_OF_RATE {
            due = Numbers::each(due.to, due.to + self.part);
            self.create(&mut full, due, true, "creating users who will expire");
            self.latencies(&mut full, logins / part, &format!("at 1/{part} of the rate"), due.count());
            self.check(&mut full, due, false);
        }
        self.check(&mut full, Numbers::each(0, self.users), true);
        self.pauses(&mut full, "under load");
        full.stop();
    }

    /// Calls a second in both, turn by turn. Answers that of the full one.
    fn compare(&mut self, what: &str, empty: &mut Server, full: &mut Server, call: impl Fn(bool) -> Call) -> f64 {
        let (mut alone, mut crowded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let ms = self.round_ms;
            let without: f64 = empty.ask_with_bar(Ask::Rate { call: call(false), ms }, what, 0);
            let with: f64 = full.ask_with_bar(Ask::Rate { call: call(true), ms }, what, 0);
            alone.push(without as u64);
            crowded.push(with as u64);
            ratios.push((with / without * 1000.0) as u64);
        }
        let (alone, crowded) = (quantile(&mut alone, 0.5) as f64, quantile(&mut crowded, 0.5) as f64);
        let ratio = quantile(&mut ratios, 0.5) as f64 / 1000.0;
        self.report.figure(format!("{what}, alone"), alone, "/s");
        self.report.figure(format!("{what}, all users"), crowded, "/s");
        self.report.targeted(format!("{what}, all users ÷ alone"), ratio, "", AtLeast(0.9), Weight::Speed);
        crowded
    }

    /// How long logins take: alone, and beside what a server does at times.
    fn latencies(&mut self, server: &mut Server, rate: f64, at: &str, due: u64) {
        let quiet = self.latency(server, rate, Disturbance::None, &format!("{at}, quiet"));
        let expiring = self.latency(server, rate, Disturbance::Expiry, &format!("{at}, while users expire"));
        self.wrong(expiring.expired.abs_diff(due), "users who expired");
        let when = format!("{at}, while a generation is written");
        let generating = self.latency(server, rate, Disturbance::Generation, &when);
        for (latency, when) in [(expiring, "while users expire"), (generating, "while a generation is written")] {
            let (what, ratio) =
                (format!("{at}: p99 {when} ÷ quiet"), latency.p99_us as f64 / quiet.p99_us.max(1) as f64);
            self.report.targeted(what, ratio, "", AtMost(2.0), Weight::Speed);
        }
    }

    fn latency(&mut self, server: &mut Server, rate: f64, disturbance: Disturbance, when: &str) -> Latency {
        let ask = Ask::Latency { rate, ms: self.latency_ms, disturbance };
        let latency: Latency = server.ask_with_bar(ask, &format!("logins {when}"), 0);
        self.report.figure(format!("login p99 {when}"), latency.p99_us as f64 / 1000.0, "ms");
        if latency.shed > 0 {
            let part = latency.shed as f64 / (latency.logins + latency.shed) as f64 * 100.0;
            self.report.figure(format!("logins shed {when}"), part, "%");
        }
        self.report.detail(&format!("logins {when}"), serde_json::to_value(latency).unwrap());
        latency
    }

    fn churn(&mut self) {
        let mut server = Server::start(&self.opening);
        server.ask::<u64>(Ask::Generate);
        let before: Peaks = server.ask(Ask::Peaks);
        let mut peaks = Peaks::default();
        // enough that generations are written
        let parts_made = PARTS_OF_RATE.len() as u64;
        let (first, part) = (self.users + parts_made * self.part, (self.users / 2).min(MILLION));
        for round in 0..CHURN_ROUNDS {
            let all = Numbers::each(first + round * part, first + (round + 1) * part);
            let (half, rest) = (Numbers { step: 2, ..all }, Numbers { from: all.from + 1, step: 2, ..all });
            self.create(&mut server, all, false, "creating users");
            self.log_out(&mut server, half, "logging half of them out");
            self.check(&mut server, half, false);
            self.check(&mut server, rest, true);
            let seen: Peaks = server.ask(Ask::Peaks);
            peaks.disk_at_rest = peaks.disk_at_rest.max(seen.disk_at_rest);
            peaks.disk_at_peak = peaks.disk_at_peak.max(seen.disk_at_peak);
        }
        let after: Peaks = server.ask(Ask::Peaks);
        let memory = after.memory as f64 / after.users.max(1) as f64;
        self.report.figure("memory of a user after the churn", memory, "B");
        let (most_at_rest, most_at_peak) = self.disk_bounds();
        self.report.targeted(
            "disk ÷ records in churn, at rest",
            peaks.disk_at_rest,
            "",
            AtMost(most_at_rest),
            Weight::Bound,
        );
        let what = "disk ÷ records in churn, writing a generation";
        self.report.targeted(what, peaks.disk_at_peak, "", AtMost(most_at_peak), Weight::Bound);
        self.wrong(after.users.abs_diff(before.users + CHURN_ROUNDS * part / 2), "users after the churn");
        server.stop();

        let mut server = self.undisturbed(&self.opening.folder.clone());
        let opened: Opened = server.ask(Ask::Opened);
        self.wrong(opened.users.abs_diff(after.users), "users after the churn and a restart");
        for round in 0..CHURN_ROUNDS {
            let from = first + round * part;
            self.check(&mut server, Numbers { from, to: from + part, step: 2 }, false);
            self.check(&mut server, Numbers { from: from + 1, to: from + part, step: 2 }, true);
        }
        server.stop();
    }
}

/// Lets the system forget what it holds of the files, as after a restart of the machine.
fn forget_pages(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            forget_pages(&path);
        } else {
            let file = std::fs::File::open(path).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}
