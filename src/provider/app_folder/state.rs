//! Whether an app folder has changed, without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::document::{OLD_PROVIDERS, PROVIDERS, ROOTS, names};
use super::unserved::CUSTOM_USER_DATA;

/// What the file system tells of the files that are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderState(Vec<(String, FileState)>);

/// When a file was changed (seconds and nanoseconds), how long it is, and which one it is.
type FileState = (i64, i64, u64, u64);

/// That of a folder as it is now; a file that is not there is none of its files.
pub fn state(folder: &Path) -> FolderState {
    let old = names(&folder.join(OLD_PROVIDERS)).into_iter().filter(|name| name.ends_with(".json"));
    let old = old.map(|name| format!("{OLD_PROVIDERS}/{name}"));
    let files = ROOTS.iter().copied().chain([".mdb/meta.json", PROVIDERS, CUSTOM_USER_DATA]).map(str::to_owned);
    let about = |name: String| {
        let about = std::fs::metadata(folder.join(&name)).ok()?;
        Some((name, (about.mtime(), about.mtime_nsec(), about.len(), about.ino())))
    };
    FolderState(files.chain(old).filter_map(about).collect())
}
