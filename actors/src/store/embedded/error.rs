//! Why a store could not be opened.

use std::path::{Path, PathBuf};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A different process has it open.
    #[error("the data folder {} is in use by a different process", .0.display())]
    InUse(PathBuf),
    /// Something that must be readable is not. The folder was left as it is.
    #[error("{}: {why}; `passerby recover` shows what can be read", what.display())]
    Damaged {
        /// The file or folder.
        what: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The machine gives no thread for the writer.
    #[error("there is no thread for the store: {0}")]
    Thread(std::io::Error),
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
    /// What the file system said of this file or folder.
    pub(super) fn io(what: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_owned();
        move |error| Self::Io { what, error }
    }
}
