//! Which store runs: the one place that names them all.

use std::path::PathBuf;
use std::sync::Arc;

use super::embedded::files::Files;
use super::embedded::{self, OpenError, Options};
use super::{Store, memory};
use crate::domain::Clock;

/// Which store, and what it needs.
pub enum Config {
    /// The embedded one, in a data folder.
    Folder {
        /// The folder, which is created if need be.
        dir: PathBuf,
        /// How it is opened.
        options: Options,
        /// What it touches the disk through.
        files: Arc<dyn Files>,
    },
    /// Memory alone: everything is gone when the store ends.
    Memory {
        /// How many users its maps are laid out for.
        max_users: usize,
    },
}

/// Opens the store.
///
/// # Errors
/// [`OpenError`]; a folder is then as it was.
pub fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match config {
        Config::Folder { dir, options, files } => Arc::new(embedded::open(&dir, options, files, clock)?),
        Config::Memory { max_users } => Arc::new(memory::open(max_users, clock).map_err(OpenError::Thread)?),
    })
}
