//! Generations: a new journal, a snapshot of everything before it, and then `CURRENT`. The snapshotter is a plain thread
//! that lives for one generation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::OpenError;
use super::files::{Files, is_same};
use super::journal;
use super::layout::{self, folder};
use super::lock::Lock;
use super::progress::{Gate, Mailbox, Progress};
use super::snapshot::{self, Meta};
use crate::registry::{Item, Registry};
use crate::store::writer::Shared;

/// How long the snapshotter rests after each piece: with pieces of 512 KiB, 10 million users take about seven seconds.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(5);

/// The numbers of the generations in a data folder, ascending.
pub(super) fn list(files: &dyn Files, dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        files.list(dir)?.iter().filter_map(|name| name.strip_prefix("gen-")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes `CURRENT` name this generation, durably and in one step.
pub(super) fn set_current(files: &dyn Files, dir: &Path, generation: u64) -> std::io::Result<()> {
    let (path, new) = (layout::current(dir), dir.join("CURRENT.new"));
    let line = format!("passerby 1 gen-{generation:010}");
    files.write(&new, format!("{line} {:08x}\n", crc32c::crc32c(line.as_bytes())).as_bytes())?;
    files.sync_file(&new)?;
    files.rename(&new, &path)?;
    files.sync_dir(dir)
}

/// The generation that `CURRENT` names; `None` if there is no such file.
pub(super) fn current(files: &dyn Files, dir: &Path) -> Result<Option<u64>, OpenError> {
    let path = layout::current(dir);
    let bytes = match files.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Io { what: path, error }),
    };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let (line, crc) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        let intact = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(line.as_bytes());
        intact.then(|| line.strip_prefix("passerby 1 gen-")?.parse().ok()).flatten()
    });
    let damaged = || OpenError::Damaged { what: path, why: "it names no generation".to_owned() };
    number.map(Some).ok_or_else(damaged)
}

/// What a start reads beside the journals: `CURRENT` and the snapshot that it leads to, each with the file that was there.
pub(super) struct Named(Vec<(PathBuf, std::io::Result<(u64, u64)>)>);

impl Named {
    /// As they are now.
    pub(super) fn look(files: &dyn Files, dir: &Path) -> Self {
        let mut paths = vec![layout::current(dir)];
        if let Ok(Some(number)) = current(files, dir) {
            let snapshot = layout::snapshot(dir, number);
            let inside = files.list(&snapshot).unwrap_or_default();
            paths.extend(inside.iter().map(|name| snapshot.join(name)));
            paths.push(snapshot);
        }
        let with_file = |path: PathBuf| {
            let file = files.identity(&path);
            (path, file)
        };
        Self(paths.into_iter().map(with_file).collect())
    }

    /// One of them that is missing, or is a different file.
    pub(super) fn missing(&self, files: &dyn Files) -> Option<&Path> {
        let is_gone = |(path, file): &&(PathBuf, _)| !is_same(file, &files.identity(path));
        self.0.iter().find(is_gone).map(|(path, _)| path.as_path())
    }
}

/// Creates a generation: prepares its journal, waits until the writer has switched to it, writes the snapshot, and lets
/// `CURRENT` name it. Runs on a thread of its own and always ends with a message.
pub(super) fn make(shared: &Shared, progress: &Mailbox, files: &dyn Files, dir: &Path, generation: u64, lock: &Lock) {
    let end = match try_make(shared, progress, files, dir, generation, lock) {
        Ok(snapshot_bytes) => Progress::Complete { snapshot_bytes },
        Err(why) => Progress::Failed { why },
    };
    progress.put(end, shared);
}

fn try_make(
    shared: &Shared,
    progress: &Mailbox,
    files: &dyn Files,
    dir: &Path,
    generation: u64,
    lock: &Lock,
) -> Result<u64, String> {
    is_ours(lock)?;
    let journal = journal::begin(files, dir, generation).map_err(|error| error.to_string())?;
    let gate = Arc::new(Gate::default());
    progress.put(Progress::Prepared { journal, gate: Arc::clone(&gate) }, shared);
    let meta = gate.wait(&shared.stopped)?;
    write_and_name(shared, files, dir, generation, meta, lock)
}

/// What is at the path of a folder that is gone is not ours to write.
fn is_ours(lock: &Lock) -> Result<(), String> {
    if lock.is_at_its_path() { Ok(()) } else { Err("the data folder is no longer at its path".to_owned()) }
}

fn write_and_name(
    shared: &Shared,
    files: &dyn Files,
    dir: &Path,
    generation: u64,
    meta: Meta,
    lock: &Lock,
) -> Result<u64, String> {
    let path = layout::snapshot(dir, generation);
    let mut held = |page: &mut dyn FnMut() -> Vec<Item>| {
        // with a fresh share of the processor: to be interrupted while the map is held would make others wait
        std::thread::yield_now();
        let before = shared.clock.monotonic_us();
        let items = page();
        shared.stats.snapshot_hold.record(shared.clock.monotonic_us().saturating_sub(before));
        items
    };
    let bytes = snapshot::write(files, &path, &shared.registry, meta, SNAPSHOT_PAUSE, &mut held)?;
    is_ours(lock)?;
    let name = || {
        files.sync_dir(&folder(dir, generation))?;
        // under `os` durability: what the snapshot shows of this journal's groups must not be all that is left of them
        files.sync_file(&layout::journal(dir, generation))?;
        set_current(files, dir, generation)
    };
    name().map_err(|error| error.to_string())?;
    remove_others(files, dir, generation);
    Ok(bytes)
}

/// Removes generations that nothing names any more: older than `kept`.
fn remove_others(files: &dyn Files, dir: &Path, kept: u64) {
    for number in list(files, dir).unwrap_or_default().into_iter().filter(|number| *number < kept) {
        if let Err(error) = files.remove_gently(&folder(dir, number)) {
            tracing::warn!(generation = number, %error, "an old generation could not be removed");
        }
    }
}

/// Writes a generation while nothing else is running: the first one, or one that recovery salvaged. The caller lets
/// `CURRENT` name it.
pub(super) fn make_alone(
    files: &dyn Files,
    dir: &Path,
    generation: u64,
    registry: &Registry,
    meta: Meta,
) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    journal::begin(files, dir, generation).map_err(io)?;
    snapshot::write(files, &layout::snapshot(dir, generation), registry, meta, Duration::ZERO, |page| page())?;
    files.sync_dir(&folder(dir, generation)).map_err(io)
}
