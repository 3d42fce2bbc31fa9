//! The process that is measured: a store, its actors and its janitor as in the server, obeying what it is asked.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use passerby_actors::actor::{Core, JanitorHandle, Limits, LinkerHandle};
use passerby_actors::domain::{Cause, ChangeSet, Clock, Op, Outcome, Policy, Record, Rewrite, UserId};
use passerby_actors::handle::Handle;
use passerby_actors::store::embedded::files::Disk;
use passerby_actors::store::embedded::{Durability, Options};
use passerby_actors::store::{self, Completions, Config, Outcomes, Store};
use passerby_actors::system::{SystemClock, SystemEntropy};
use passerby_benches::{logins, quantile, resident_bytes};
use serde_json::{Value, json};

use crate::ask::{Ask, Disturbance, Latency, Line, Opened, Opening, Pause, Pauses, Peaks, Swept, disk_use};
use crate::load::{self, KIND};
use crate::{CHANGE_BYTES, ENCODED_BYTES, id};

/// Sets in one commit, and commits under way.
const BATCH: usize = 4096;
const COMMITS: usize = 4;
/// The due are so long inactive that this is left, and then the clock jumps a little further.
const DUE_IN_S: u32 = 3600;
const JUMP_US: u64 = (DUE_IN_S as u64 + 120) * 1_000_000;
const TICKS_PER_ROUND: f64 = 3600.0;
const WATCH_EVERY: Duration = Duration::from_millis(20);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// The machine's clock, and how far it was moved.
#[derive(Default)]
struct JumpingClock {
    clock: SystemClock,
    ahead_us: AtomicU64,
}

impl Clock for JumpingClock {
    fn monotonic_us(&self) -> u64 {
        self.clock.monotonic_us() + self.ahead_us.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms() + self.ahead_us.load(Ordering::Relaxed) / 1000
    }
}

/// What is seen of memory and disk, when it is looked at.
struct Sights {
    store: Arc<dyn Store>,
    folder: PathBuf,
    peaks: Mutex<Peaks>,
}

impl Sights {
    fn look(&self) {
        let (disk, is_generating) = disk_use(&self.folder);
        let users = self.store.users() as u64;
        let ratio = disk as f64 / (users.max(1) * ENCODED_BYTES) as f64;
        let mut peaks = self.peaks.lock();
        (peaks.users, peaks.disk) = (users, disk);
        peaks.memory = peaks.memory.max(resident_bytes("self"));
        let peak = if is_generating { &mut peaks.disk_at_peak } else { &mut peaks.disk_at_rest };
        *peak = peak.max(ratio);
    }

    fn take(&self) -> Peaks {
        self.look();
        std::mem::take(&mut *self.peaks.lock())
    }
}

/// Looks again and again.
struct Watch {
    sights: Arc<Sights>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn over(store: Arc<dyn Store>, folder: PathBuf) -> Self {
        let sights = Arc::new(Sights { store, folder, peaks: Mutex::default() });
        let stop = Arc::<AtomicBool>::default();
        let (to_look, stopped) = (Arc::clone(&sights), Arc::clone(&stop));
        let watch = move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(WATCH_EVERY);
                to_look.look();
            }
        };
        Self { sights, stop, thread: Some(std::thread::spawn(watch)) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

struct Server {
    clock: Arc<JumpingClock>,
    store: Arc<dyn Store>,
    handle: Handle,
    completions: Rc<Completions>,
    janitor: JanitorHandle,
    opened: Opened,
    folder: PathBuf,
    watch: Watch,
}

/// Obeys until nothing more is asked.
pub(crate) fn serve(opening: &str) {
    let opening: Opening = serde_json::from_str(opening).unwrap();
    actix_rt::System::new().block_on(async {
        let server = Server::open(opening).await;
        for ask in std::io::stdin().lines() {
            let answer = server.obey(serde_json::from_str(&ask.unwrap()).unwrap()).await;
            say(&Line::Answer(answer));
        }
        server.store.stop();
        // without the actors' farewells: some were never looked at, because this thread read what it is asked
        std::process::exit(0);
    });
}

fn say(line: &Line) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line).unwrap()).unwrap();
    out.flush().unwrap();
}

impl Server {
    async fn open(opening: Opening) -> Self {
        let clock = Arc::<JumpingClock>::default();
        let options = Options {
            durability: Durability::Fsync,
            max_users: opening.max_users,
            min_journal_bytes: opening.min_journal_bytes,
            min_replay_bytes: u64::MAX,
            // the clock jumps here
            max_generation_age_s: u32::MAX,
            give_back: passerby::allocator::give_back,
        };
        let before_us = clock.monotonic_us();
        let config = Config::Folder { dir: opening.folder.clone(), options, files: Arc::new(Disk) };
        let store = store::open(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let opened = Opened {
            took_ms: (clock.monotonic_us() - before_us) / 1000,
            users: store.opened().users as u64,
            groups: store.opened().groups,
        };
        let for_actors = Arc::clone(&store);
        let core =
            Core::new(for_actors, Policy::default(), Limits::default(), Arc::new(SystemEntropy::default()), None);
        let completions = Rc::<Completions>::default();
        actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
        let janitor = JanitorHandle::start(Arc::clone(&core)).await.unwrap();
        let watch = Watch::over(Arc::clone(&store), opening.folder.clone());
        Self {
            clock,
            store,
            handle: Handle::new(Arc::clone(&core), Arc::new(LinkerHandle::new(core))),
            completions,
            janitor,
            opened,
            folder: opening.folder,
            watch,
        }
    }

    async fn obey(&self, ask: Ask) -> Value {
        match ask {
            Ask::Opened => json!(self.opened),
            Ask::Memory => json!(resident_bytes("self")),
            Ask::Create { numbers, due } => {
                let now = self.store.clock().now();
                let window_s = Policy::default().window_s;
                let record = Record::new(if due { now - window_s + DUE_IN_S } else { now }, KIND);
                let create = |number| Op::Create { id: id(number), record, extension: None };
                json!(self.commit(Cause::Created, numbers.iter().map(create)).await)
            }
            Ask::LogOut(numbers) => {
                let ids = numbers.iter().map(id);
                json!(self.remove(ids).await)
            }
            Ask::FillJournal { users, bytes } => {
                let left = bytes.saturating_sub(self.store.stats().journal_bytes.load(Ordering::Relaxed));
                // frames have heads, and one more is written when the store closes
                let changes = (left / CHANGE_BYTES).saturating_sub(2 * BATCH as u64);
                let refresh = |number| {
                    let user = id(number % users);
                    let record = self.store.record(&user).unwrap();
                    let seen = record.version;
                    let record = Record { refresh_counter: record.refresh_counter.wrapping_add(1), ..record };
                    Op::Update { id: user, seen, record, extension: Rewrite::Keep }
                };
                json!(self.commit(Cause::Refreshed, (0..changes).map(refresh)).await)
            }
            Ask::Generate => {
                let before_us = self.clock.monotonic_us();
                self.generate().await;
                json!((self.clock.monotonic_us() - before_us) / 1000)
            }
            Ask::Rate { call, ms } => {
                let (rate, created) = load::closed_loop(&self.handle, call, ms).await;
                self.remove(created.into_iter()).await;
                json!(rate)
            }
            Ask::Latency { rate, ms, disturbance } => json!(self.latency(rate, ms, disturbance).await),
            Ask::SweepRound => {
                let hold = &self.janitor.stats().hold;
                let before_us = hold.snapshot().sum_us;
                let swept = self.janitor.sweep(self.store.pages()).await.unwrap();
                let per_tick_us = (hold.snapshot().sum_us - before_us) as f64 / TICKS_PER_ROUND;
                json!(Swept { per_tick_us, expired: swept.expired as u64 })
            }
            Ask::Wrong { numbers, present } => {
                let is_wrong = |number: &u64| self.store.record(&id(*number)).is_some() != present;
                json!(numbers.iter().filter(is_wrong).count())
            }
            Ask::Peaks => json!(self.watch.sights.take()),
            Ask::Pauses => {
                let stats = self.store.stats();
                json!(Pauses {
                    snapshot_hold: Pause::of(&stats.snapshot_hold),
                    sweep_hold: Pause::of(&self.janitor.stats().hold),
                    generation_pause: Pause::of(&stats.generation_pause),
                    group: Pause::of(&stats.group),
                })
            }
        }
    }

    /// Commits these operations, a set each, and says how far it is. Answers how many were not done.
    async fn commit(&self, cause: Cause, ops: impl Iterator<Item = Op>) -> u64 {
        let (mut under_way, mut done, mut wrong) = (VecDeque::new(), 0, 0);
        let mut ops = ops.peekable();
        while ops.peek().is_some() || !under_way.is_empty() {
            if under_way.len() == COMMITS || ops.peek().is_none() {
                let outcomes: Outcomes = under_way.pop_front().unwrap().await;
                wrong += outcomes.iter().filter(|outcome| **outcome != Outcome::Done).count() as u64;
                done += outcomes.len() as u64;
                say(&Line::Progress(done));
                continue;
            }
            let at = self.store.clock().now();
            let sets: Vec<_> = ops.by_ref().take(BATCH).map(|op| ChangeSet::new(cause, at, vec![op])).collect();
            let (reply, outcomes) = self.completions.register(sets.len());
            self.store.commit(sets.into(), reply);
            under_way.push_back(outcomes);
        }
        wrong
    }

    async fn remove(&self, users: impl Iterator<Item = UserId>) -> u64 {
        let remove = |id| {
            let seen = self.store.record(&id).map_or(0, |record| record.version);
            Op::Remove { id, seen }
        };
        self.commit(Cause::LoggedOut, users.map(remove)).await
    }

    /// Writes a generation, after any that is under way.
    async fn generate(&self) {
        let stats = self.store.stats();
        while disk_use(&self.folder).1 {
            tokio::time::sleep(POLL_EVERY).await;
        }
        let before = stats.generations.load(Ordering::Relaxed);
        self.store.new_generation();
        while stats.generations.load(Ordering::Relaxed) == before {
            assert_eq!(stats.generation_failures.load(Ordering::Relaxed), 0, "a generation failed");
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    async fn latency(&self, rate: f64, ms: u64, disturbance: Disturbance) -> Latency {
        let expired = || self.janitor.stats().expired.load(Ordering::Relaxed);
        let (expired_before, begin_us) = (expired(), RefCell::new(0));
        let disturb = async {
            *begin_us.borrow_mut() = self.clock.monotonic_us();
            match disturbance {
                Disturbance::None => tokio::time::sleep(Duration::from_millis(ms)).await,
                Disturbance::Expiry => {
                    self.clock.ahead_us.fetch_add(JUMP_US, Ordering::Relaxed);
                    *begin_us.borrow_mut() = self.clock.monotonic_us();
                    self.janitor.sweep(self.store.pages()).await.unwrap();
                }
                Disturbance::Generation => {
                    while self.clock.monotonic_us() - *begin_us.borrow() < ms * 1000 {
                        self.generate().await;
                    }
                }
            }
            (self.clock.monotonic_us() - *begin_us.borrow()) / 1000
        };
        let (mut logins, disturbed_ms) = logins::open_loop(&self.handle, rate, disturb).await;
        Latency {
            logins: logins.took_us.len() as u64,
            shed: logins.shed,
            p50_us: quantile(&mut logins.took_us, 0.5),
            p99_us: quantile(&mut logins.took_us, 0.99),
            longest_us: quantile(&mut logins.took_us, 1.0),
            disturbed_ms,
            expired: expired() - expired_before,
        }
    }
}
