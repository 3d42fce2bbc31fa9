//! The real disk, but for what a test does at the appends and syncs of a journal.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Clock;
use crate::store::embedded::files::{AppendFile, Disk, Files};
use crate::system::SystemClock;

/// What becomes of appends and syncs; both are passed on if nothing is said of them.
pub trait Appends: Send + Sync + 'static {
    /// In place of an append to `file`.
    ///
    /// # Errors
    /// The file system's, or the test's.
    fn append(&self, file: &mut dyn AppendFile, bytes: &[u8]) -> io::Result<()> {
        file.append(bytes)
    }

    /// In place of a sync of `file`.
    ///
    /// # Errors
    /// The file system's, or the test's.
    fn sync(&self, file: &mut dyn AppendFile) -> io::Result<()> {
        file.sync()
    }
}

/// The real disk with other appends and syncs.
pub struct Altered<A>(pub Arc<A>);

struct AlteredFile<A>(Arc<A>, Box<dyn AppendFile>);

impl<A: Appends> AppendFile for AlteredFile<A> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(&mut *self.1, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync(&mut *self.1)
    }
}

impl<A: Appends> Files for Altered<A> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Disk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Disk.list(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        Disk.write(path, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        Disk.sync_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn remove_gently(&self, path: &Path) -> io::Result<()> {
        Disk.remove_gently(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(AlteredFile(Arc::clone(&self.0), Disk.open_append(path)?)))
    }
}

/// Syncs take at least this long.
pub struct Slow {
    sync: Duration,
    clock: SystemClock,
}

impl Slow {
    /// A disk whose syncs of a journal take `sync`.
    pub fn disk(sync: Duration) -> Altered<Self> {
        Altered(Arc::new(Self { sync, clock: SystemClock::default() }))
    }
}

impl Appends for Slow {
    fn sync(&self, file: &mut dyn AppendFile) -> io::Result<()> {
        let end_us = self.clock.monotonic_us() + self.sync.as_micros() as u64;
        file.sync()?;
        // a parked thread may wake up early
        loop {
            let left_us = end_us.saturating_sub(self.clock.monotonic_us());
            if left_us == 0 {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_micros(left_us));
        }
    }
}
