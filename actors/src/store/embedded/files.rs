//! The file layer: the few operations by which the store touches the disk, so that tests can fail, record and tear them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the store asks of a file system. Nothing is durable before its `sync`.
pub trait Files: Send + Sync + 'static {
    /// Creates a folder; one that exists already is fine.
    ///
    /// # Errors
    /// The file system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's entries durable.
    ///
    /// # Errors
    /// The file system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in any order.
    ///
    /// # Errors
    /// The file system's.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// A whole file.
    ///
    /// # Errors
    /// The file system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a whole file again, not yet durable.
    ///
    /// # Errors
    /// The file system's.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's content durable.
    ///
    /// # Errors
    /// The file system's.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Moves a file or folder, replacing its target.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or a folder with all in it.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The same in small steps with pauses between them, for what is large and does not hurry: removing 400 MB at once
    /// keeps a journal on the same file system from its sync for a tenth of a second.
    ///
    /// # Errors
    /// The file system's.
    fn remove_gently(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }
    /// Which file is at a path: device and number. A replacement has a different number.
    ///
    /// # Errors
    /// The file system's; `NotFound` if there is none.
    fn identity(&self, path: &Path) -> io::Result<(u64, u64)> {
        let found = fs::metadata(path)?;
        Ok((found.dev(), found.ino()))
    }
    /// Opens a file to write at its end.
    ///
    /// # Errors
    /// The file system's.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
}

/// A file that only grows.
pub trait AppendFile: Send {
    /// Writes all of it at the end, not yet durable.
    ///
    /// # Errors
    /// The file system's; a part may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The file system's; what is durable is then unknown.
    fn sync(&mut self) -> io::Result<()>;
}

/// Steps of [`Files::remove_gently`].
const STEP_BYTES: u64 = 2 << 20;
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// The real file system.
#[derive(Default)]
pub struct Disk;

impl Files for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(OWNERS_FOLDER).create(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNERS_FILE).open(path)?.write_all(bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    fn remove_gently(&self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        if found.is_dir() {
            for entry in fs::read_dir(path)? {
                self.remove_gently(&entry?.path())?;
            }
            return fs::remove_dir(path);
        }
        let file = OpenOptions::new().write(true).open(path)?;
        let mut bytes = found.len();
        while bytes > STEP_BYTES {
            bytes -= STEP_BYTES;
            file.set_len(bytes)?;
            std::thread::park_timeout(STEP_PAUSE);
        }
        fs::remove_file(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().create(true).append(true).mode(OWNERS_FILE).open(path)?))
    }
}

/// The modes of what is created: names, addresses and hashes are in it, which are the owner's business alone.
pub(super) const OWNERS_FILE: u32 = 0o600;
const OWNERS_FOLDER: u32 = 0o700;

/// Files and folders below `dir`, and itself, that others than their owner may read or write; in any order.
///
/// # Errors
/// The file system's.
pub fn open_to_others(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        if fs::metadata(&folder)?.mode() & 0o077 != 0 {
            found.push(folder.clone());
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                folders.push(entry.path());
            } else if about.is_file() && about.mode() & 0o077 != 0 {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether two looks at files saw the same one. A file system that does not answer has not said no.
pub(super) fn is_same(one: &std::io::Result<(u64, u64)>, other: &std::io::Result<(u64, u64)>) -> bool {
    let is_gone = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
    };
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(error), _) | (_, Err(error)) => !is_gone(error),
    }
}
