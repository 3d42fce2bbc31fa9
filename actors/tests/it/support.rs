//! A world for each test: time and randomness under control, a real folder, and a store that is closed at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use passerby_actors::actor::{BeforeOperation, Core, JanitorHandle, Limits};
use passerby_actors::domain::{Clock, Entropy, Policy, UserId};
use passerby_actors::handle::Handle;
use passerby_actors::store::embedded::files::{Disk, Files};
use passerby_actors::store::embedded::{OpenError, Options};
use passerby_actors::store::{EmbeddedStore, Store};

pub(crate) const DAY_S: u64 = 86_400;

/// Time that moves when it is told to.
#[derive(Default)]
pub(crate) struct ManualClock {
    monotonic_us: AtomicU64,
    wall_ms: AtomicU64,
    stood_still_us: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        let clock = Self::default();
        clock.wall_ms.store(1_700_000_000_000, Ordering::SeqCst);
        Arc::new(clock)
    }

    /// Time passes on both clocks.
    pub(crate) fn advance_s(&self, seconds: u64) {
        self.monotonic_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.wall_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Time passes, and nobody could do anything.
    pub(crate) fn stand_still_s(&self, seconds: u64) {
        self.stood_still_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.advance_s(seconds);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump_wall_s(&self, seconds: i64) {
        self.wall_ms.fetch_add((seconds * 1000).cast_unsigned(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn stood_still_us(&self) -> u64 {
        self.stood_still_us.load(Ordering::SeqCst)
    }
}

/// Numbers that look random and are the same in every run with the same seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

pub(crate) struct SeededEntropy(Mutex<Random>);

impl SeededEntropy {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Random(seed))))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut random = self.0.lock();
        out.iter_mut().for_each(|byte| *byte = random.next() as u8);
    }
}

/// Everything a server's core needs, over one folder.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) dir: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) options: Options,
    pub(crate) before_operation: Option<BeforeOperation>,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        Self { _folder: Some(folder), ..Self::over(&dir, seed, Arc::new(Disk)) }
    }

    pub(crate) fn over(dir: &Path, seed: u64, files: Arc<dyn Files>) -> Self {
        Self {
            clock: ManualClock::new(),
            entropy: SeededEntropy::new(seed),
            files,
            dir: dir.to_owned(),
            policy: Policy::default(),
            // a slow disk is not a broken store
            limits: Limits { commit_timeout: std::time::Duration::from_secs(600), ..Limits::default() },
            options: Options { max_users: 1000, ..Options::default() },
            before_operation: None,
            _folder: None,
        }
    }

    pub(crate) fn try_open(&self) -> Result<EmbeddedStore, OpenError> {
        let clock = Arc::clone(&self.clock);
        EmbeddedStore::open(&self.dir, self.options.clone(), Arc::clone(&self.files), clock)
    }

    pub(crate) fn open(&self) -> Running {
        self.run(Arc::new(self.try_open().unwrap()))
    }

    pub(crate) fn run(&self, store: Arc<EmbeddedStore>) -> Running {
        let core = Core::new(
            Arc::clone(&store) as Arc<dyn Store>,
            self.policy,
            self.limits,
            Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            self.before_operation.clone(),
        );
        Running { handle: Handle::new(Arc::clone(&core)), core, store }
    }
}

/// A core at work. Dropping it closes the store.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) core: Arc<Core>,
    pub(crate) store: Arc<EmbeddedStore>,
}

impl Running {
    /// Sweeps every page.
    pub(crate) async fn sweep(&self) -> usize {
        let janitor = JanitorHandle::start(Arc::clone(&self.core)).await.unwrap();
        janitor.sweep(self.store.registry().pages()).await.unwrap().expired
    }

    /// Makes a generation and waits until it is complete.
    pub(crate) async fn new_generation(&self) {
        let before = self.store.stats().generations.load(Ordering::SeqCst);
        self.store.new_generation();
        until("the generation is complete", || self.store.stats().generations.load(Ordering::SeqCst) > before).await;
    }

    pub(crate) fn knows(&self, id: &UserId) -> bool {
        self.store.registry().record(id).is_some()
    }

    pub(crate) fn close(self) {
        drop(self.handle);
        self.store.stop();
    }
}

/// Waits for a condition that another thread brings about; the bound is for a broken program, not for a slow one.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    panic!("it never came about that {what}");
}

/// The real disk.
pub(crate) fn disk() -> Disk {
    Disk
}
