//! Where everything is in a data folder.

use std::path::{Path, PathBuf};

/// What is locked for as long as a process has the folder.
pub(super) fn lock(dir: &Path) -> PathBuf {
    dir.join("LOCK")
}

/// What names the newest complete generation.
pub(super) fn current(dir: &Path) -> PathBuf {
    dir.join("CURRENT")
}

/// A generation's folder.
pub(super) fn folder(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("gen-{generation:010}"))
}

/// A generation's journal.
pub(super) fn journal(dir: &Path, generation: u64) -> PathBuf {
    folder(dir, generation).join("journal")
}

/// A generation's snapshot.
pub(super) fn snapshot(dir: &Path, generation: u64) -> PathBuf {
    folder(dir, generation).join("snapshot")
}

/// The folder that a path's entry is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
