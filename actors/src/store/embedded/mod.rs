//! The embedded store: one writer thread, a journal file, and generations with sled snapshots.
//!
//! `data/LOCK` is held for the life of the process. `data/CURRENT` names the newest complete generation.
//! `data/gen-NNNN/journal` holds groups, `data/gen-NNNN/snapshot/` every record at the journal's beginning.

mod codec;
pub mod files;
mod generation;
mod journal;
mod recovery;
mod snapshot;
mod writer;

pub use recovery::{Inspection, SPOILT_END, inspect, look, salvage};

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use self::files::Files;
use super::completion::ReplyTo;
use super::{Health, Sets, Store, Watcher};
use crate::domain::{Clock, ServiceClock, ServiceTime, UserId};
use crate::histogram::Histogram;
use crate::registry::Registry;

/// What an acknowledged change survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: every group is synced to the disk before it is answered.
    Fsync,
    /// The end of the process, but not of the machine.
    Os,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What an acknowledged change survives.
    pub durability: Durability,
    /// How many users the registry's maps are laid out for.
    pub max_users: usize,
    /// A new generation begins when the journal is longer than this (bytes) and than half the snapshot.
    pub min_journal_bytes: u64,
    /// A new generation begins also when a replay of the journal would read and write more of documents than this (bytes) and than
    /// eight snapshots: a small change of a large document is a small frame, and takes a start as long as the document is large.
    pub min_replay_bytes: u64,
    /// A new generation begins at the latest this many seconds of service after the one before began, so that erased data
    /// leaves the disk. Default 23 hours: what is erased is gone within 24 (S44), with an hour for writing the generation.
    pub max_generation_age_s: u32,
    /// Called after much memory was needed for a moment, so that the allocator can give it back to the system.
    pub give_back: fn(),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            max_users: 1_000_000,
            min_journal_bytes: 32 << 20,
            min_replay_bytes: 2 << 30,
            max_generation_age_s: 23 * 3600,
            give_back: || {},
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Something that must be readable is not. The folder was left as it is.
    #[error("{}: {why}; `passerby recover` shows what can be read", what.display())]
    Damaged {
        /// The file or folder.
        what: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system refused.
    #[error("{}: {error}", what.display())]
    Io {
        /// The file or folder.
        what: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
}

impl OpenError {
    fn io(what: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_owned();
        move |error| Self::Io { what, error }
    }
}

/// Figures of the store since it was opened, for metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Groups made durable.
    pub groups: AtomicU64,
    /// Change sets done.
    pub sets_done: AtomicU64,
    /// Change sets that found something else than they named.
    pub sets_conflicted: AtomicU64,
    /// Change sets whose outcome is unknown.
    pub sets_failed: AtomicU64,
    /// Failed writes and syncs of the journal.
    pub write_failures: AtomicU64,
    /// Generations completed.
    pub generations: AtomicU64,
    /// Generations that could not be completed.
    pub generation_failures: AtomicU64,
    /// Bytes in the current journal.
    pub journal_bytes: AtomicU64,
    /// How long a map was held for a page of a snapshot.
    pub snapshot_hold: Histogram,
    /// How long the writer was kept from its next group by a generation.
    pub generation_pause: Histogram,
    /// How long a group took: checked, written, synced, applied and answered.
    pub group: Histogram,
}

/// What handles and threads of one store share.
struct Shared {
    registry: Registry,
    clock: ServiceClock,
    stats: Stats,
    queue: Mutex<Queue>,
    arrived: Condvar,
    failing: AtomicBool,
    stopped: AtomicBool,
    /// The folder is no longer the one that was opened: nothing is written to its path any more.
    lost: AtomicBool,
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
}

/// What the writer is sent.
enum Message {
    Commit(Sets, ReplyTo),
    Touch(UserId, ServiceTime),
    /// Begin a new generation now.
    NewGeneration,
    /// From the snapshotter.
    Generation(generation::Progress),
    Stop,
}

/// What the writer has been sent and has not yet taken.
#[derive(Default)]
struct Queue {
    messages: Vec<Message>,
    /// How many messages the writer sleeps for.
    wanted: usize,
}

impl Shared {
    fn send(&self, message: Message) {
        let mut queue = self.queue.lock();
        // dropping a commit's reply answers `Failed`
        if !self.stopped.load(Ordering::Acquire) {
            queue.messages.push(message);
            if queue.messages.len() >= queue.wanted {
                self.arrived.notify_one();
            }
        }
    }

    /// From now on nothing is taken; what has come in since the last group is answered `Failed`.
    fn stop(&self) {
        let left = {
            let mut queue = self.queue.lock();
            self.stopped.store(true, Ordering::Release);
            std::mem::take(&mut queue.messages)
        };
        drop(left);
    }
}

/// The store of one data folder.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    opened: Opened,
}

/// What was found when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// Users in the registry.
    pub users: usize,
    /// Groups read from journals.
    pub groups: u64,
    /// Bytes cut off a journal's torn end.
    pub torn_bytes: u64,
    /// Whether these are a whole frame whose checksum is wrong, rather than one that was cut off.
    pub spoilt_end: bool,
    /// With [`Durability::Os`]: what was lost, in one sentence.
    pub loss: Option<String>,
    /// Whether the folder was empty.
    pub fresh: bool,
}

impl EmbeddedStore {
    /// Opens a data folder, making it if need be, and starts its writer.
    ///
    /// # Errors
    /// [`OpenError`]; the folder is then as it was.
    pub fn open(dir: &Path, options: Options, files: Arc<dyn Files>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let lock = lock(dir, &*files)?;
        let (registry, recovered) = recovery::recover(dir, &options, &*files, &*clock)?;
        (options.give_back)();
        let opened = recovered.opened.clone();
        let shared = Arc::new(Shared {
            registry,
            clock: ServiceClock::resume(clock, recovered.last_times),
            stats: Stats::default(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            failing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            watcher: Mutex::default(),
        });
        let writer = writer::Writer::new(Arc::clone(&shared), files, dir.to_owned(), options, recovered, lock);
        let spawned = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        let writer = Mutex::new(Some(spawned.map_err(OpenError::io(dir))?));
        Ok(Self { shared, writer, opened })
    }

    /// What was found when it was opened.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Figures since it was opened.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// How many commits wait for the group before theirs.
    pub fn waiting(&self) -> usize {
        let queue = self.shared.queue.lock();
        queue.messages.iter().filter(|message| matches!(message, Message::Commit(..))).count()
    }

    /// Begins a new generation, unless one is under way. [`Stats::generations`] tells when it is complete.
    pub fn new_generation(&self) {
        self.shared.send(Message::NewGeneration);
    }

    /// Makes the writer look at the clock now; it does so by itself once a second.
    pub fn nudge(&self) {
        let _queue = self.shared.queue.lock();
        self.shared.arrived.notify_one();
    }

    /// Answers what is waiting, ends the journal in order and waits for the threads.
    pub fn stop(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        self.shared.send(Message::Stop);
        if writer.thread().id() == std::thread::current().id() {
            return; // the writer itself let go of the last handle: it ends by itself
        }
        if writer.join().is_err() {
            tracing::error!("the store's writer died");
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Store for EmbeddedStore {
    fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    fn clock(&self) -> &ServiceClock {
        &self.shared.clock
    }

    fn commit(&self, sets: Sets, reply: ReplyTo) {
        self.shared.send(Message::Commit(sets, reply));
    }

    fn note_touch(&self, id: UserId, at: ServiceTime) {
        let mut queue = self.shared.queue.lock();
        if !self.shared.stopped.load(Ordering::Acquire) {
            queue.messages.push(Message::Touch(id, at));
        }
    }

    fn health(&self) -> Health {
        if self.shared.stopped.load(Ordering::Acquire) {
            Health::Stopped
        } else if self.shared.failing.load(Ordering::Acquire) {
            Health::Failing
        } else {
            Health::Writable
        }
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        *self.shared.watcher.lock() = Some(watcher);
    }
}

/// The folder that a path's entry is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A data folder that is ours, until this is dropped.
struct Lock {
    file: std::fs::File,
    path: PathBuf,
}

impl Lock {
    /// Whether the file that is locked is still the one at the path: not when the folder was removed, moved, or put in the place of
    /// another. Where that cannot be seen now, it is.
    fn is_at_its_path(&self) -> bool {
        let open = self.file.metadata().map(|file| (file.dev(), file.ino()));
        let there = std::fs::metadata(&self.path).map(|file| (file.dev(), file.ino()));
        is_same(&open, &there)
    }
}

/// Whether two looks at files saw the same one. A file system that does not answer has not said no.
fn is_same(one: &std::io::Result<(u64, u64)>, other: &std::io::Result<(u64, u64)>) -> bool {
    let is_gone = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
    };
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(error), _) | (_, Err(error)) => !is_gone(error),
    }
}

impl Drop for Lock {
    /// A child process that another thread is just starting has the file open as well, and would keep the folder for a moment.
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock) {
            tracing::warn!(%error, "the data folder could not be given back before the end of the process");
        }
    }
}

/// Takes the data folder for this process.
fn lock(dir: &Path, files: &dyn Files) -> Result<Lock, OpenError> {
    let new: Vec<&Path> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    files.create_dir(dir).map_err(OpenError::io(dir))?;
    for path in new {
        files.sync_dir(parent(path)).map_err(OpenError::io(path))?;
    }
    let path = dir.join("LOCK");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(files::OWNERS_FILE)
        .open(&path)
        .map_err(OpenError::io(&path))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| OpenError::InUse(dir.to_owned()))?;
    Ok(Lock { file, path })
}
