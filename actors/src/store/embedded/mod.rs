//! The embedded store: every user in memory, in a journal file, and in generations with sled snapshots.
//!
//! `data/LOCK` is held for the life of the process. `data/CURRENT` names the newest complete generation.
//! `data/gen-NNNN/journal` holds groups, `data/gen-NNNN/snapshot/` every record at the journal's beginning.

mod codec;
mod error;
pub mod files;
mod generation;
mod journal;
mod layout;
mod lock;
mod log;
mod options;
mod progress;
mod recovery;
mod snapshot;

pub use error::OpenError;
pub use options::{Durability, Options};
pub use recovery::{Inspection, SPOILT_END, Values, inspect, look, salvage};

use std::path::Path;
use std::sync::Arc;

use self::files::Files;
use self::log::JournalLog;
use super::local::LocalStore;
use crate::domain::{Clock, ServiceClock};

/// Opens a data folder, making it if need be, and starts its writer.
///
/// # Errors
/// [`OpenError`]; the folder is then as it was.
pub(super) fn open(
    dir: &Path,
    options: Options,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
) -> Result<LocalStore, OpenError> {
    let lock = lock::lock(dir, &*files)?;
    let (registry, recovered) = recovery::recover(dir, &options, &*files, &*clock)?;
    (options.give_back)();
    let (opened, clock) = (recovered.opened.clone(), ServiceClock::resume(clock, recovered.last_times));
    let log = |shared: &Arc<_>| JournalLog::new(Arc::clone(shared), files, dir.to_owned(), options, recovered, lock);
    LocalStore::start(registry, clock, opened, log).map_err(OpenError::Thread)
}
