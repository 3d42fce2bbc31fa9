//! The lock on a data folder, which one process at a time has.

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::files::{self, Files, is_same};
use super::layout::{self, parent};

/// A data folder that is ours, until this is dropped.
pub(super) struct Lock {
    file: std::fs::File,
    path: PathBuf,
}

impl Lock {
    /// Whether the file that is locked is still the one at the path: not when the folder was removed, moved, or put in the place of
    /// another. Where that cannot be seen now, it is.
    pub(super) fn is_at_its_path(&self) -> bool {
        let open = self.file.metadata().map(|file| (file.dev(), file.ino()));
        let there = std::fs::metadata(&self.path).map(|file| (file.dev(), file.ino()));
        is_same(&open, &there)
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
pub(super) fn lock(dir: &Path, files: &dyn Files) -> Result<Lock, OpenError> {
    let new: Vec<&Path> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    files.create_dir(dir).map_err(OpenError::io(dir))?;
    for path in new {
        files.sync_dir(parent(path)).map_err(OpenError::io(path))?;
    }
    let path = layout::lock(dir);
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
