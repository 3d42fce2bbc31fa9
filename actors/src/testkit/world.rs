//! A world for each test: a core over a real folder, with time and randomness under control.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{ManualClock, SeededEntropy};
use crate::actor::{BeforeOperation, Core, JanitorHandle, Limits, LinkerHandle};
use crate::domain::{Clock, Entropy, Family, Policy, UserId};
use crate::handle::Handle;
use crate::store::embedded::files::{Disk, Files};
use crate::store::embedded::{OpenError, Options};
use crate::store::{self, Store};

/// Everything a server's core needs, over one folder.
pub struct World {
    /// Time, which moves when it is told to.
    pub clock: Arc<ManualClock>,
    /// Randomness, from the seed.
    pub entropy: Arc<SeededEntropy>,
    /// What the store touches the disk through.
    pub files: Arc<dyn Files>,
    /// The data folder, which need not be there yet.
    pub dir: PathBuf,
    /// The rules of sessions.
    pub policy: Policy,
    /// The core's bounds.
    pub limits: Limits,
    /// The store's options.
    pub options: Options,
    /// Called before each operation of a session actor.
    pub before_operation: Option<BeforeOperation>,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    /// Over a folder of its own, on the real disk; the folder goes with it.
    pub fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        Self { _folder: Some(folder), ..Self::over(&dir, seed, Arc::new(Disk)) }
    }

    /// Over this folder, through these files.
    pub fn over(dir: &Path, seed: u64, files: Arc<dyn Files>) -> Self {
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

    /// Opens the store.
    ///
    /// # Errors
    /// The store's: it is broken, or open already.
    pub fn try_open(&self) -> Result<Arc<dyn Store>, OpenError> {
        let (dir, options, files) = (self.dir.clone(), self.options.clone(), Arc::clone(&self.files));
        store::open(store::Config::Folder { dir, options, files }, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    /// Opens the store and starts a core over it.
    ///
    /// # Panics
    /// If the store does not open.
    pub fn open(&self) -> Running {
        self.run(self.try_open().unwrap())
    }

    /// Starts a core over a store that is open.
    pub fn run(&self, store: Arc<dyn Store>) -> Running {
        let core = Core::new(
            Arc::clone(&store),
            self.policy,
            self.limits,
            Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            self.before_operation.clone(),
        );
        let linker = Arc::new(LinkerHandle::new(Arc::clone(&core)));
        Running { handle: Handle::new(Arc::clone(&core), Arc::clone(&linker)), linker, core, store }
    }
}

/// A core at work. Dropping it closes the store.
pub struct Running {
    /// The one door.
    pub handle: Handle,
    /// The linker behind it.
    pub linker: Arc<LinkerHandle>,
    /// What its actors share.
    pub core: Arc<Core>,
    /// What it commits to.
    pub store: Arc<dyn Store>,
}

impl Running {
    /// Sweeps every page, and answers how many users expired.
    pub async fn sweep(&self) -> usize {
        let janitor = JanitorHandle::start(Arc::clone(&self.core)).await.unwrap();
        janitor.sweep(self.store.pages()).await.unwrap().expired
    }

    /// Makes a generation and waits until it is complete.
    pub async fn new_generation(&self) {
        let before = self.store.stats().generations.load(Ordering::SeqCst);
        self.store.new_generation();
        until("the generation is complete", || self.store.stats().generations.load(Ordering::SeqCst) > before).await;
    }

    /// Whether there is such a user.
    pub fn knows(&self, id: &UserId) -> bool {
        self.store.record(id).is_some()
    }

    /// Closes the store; returns when nothing of it runs any more.
    pub fn close(self) {
        drop(self.handle);
        self.store.stop();
    }
}

/// How many values there are, of whatever family but the server's own.
pub fn values(store: &dyn Store) -> usize {
    let is_value = |family: Family| ![Family::USER, Family::EXTENSION].contains(&family) && !family.is_own();
    Family::NAMES.iter().filter(|(family, _)| is_value(*family)).map(|(family, _)| store.keys(*family)).sum()
}

/// Waits for a condition that a different thread brings about; the bound is for a broken program, not for a slow one.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    panic!("it never came about that {what}");
}
