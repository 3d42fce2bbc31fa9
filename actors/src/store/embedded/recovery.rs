//! Recovery: from files to the registry, refusing what is damaged; and salvage, for an operator who accepts the loss.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::{self, FrameKind};
use super::error::OpenError;
use super::files::{AppendFile, Files};
use super::layout::{self, folder};
use super::lock::lock;
use super::options::{Durability, Options};
use super::snapshot::{self, Meta};
use super::{generation, journal};
use crate::domain::clock::FIRST_SERVICE_TIME;
use crate::domain::{Clock, Listing, ServiceTime};
use crate::registry::Registry;
use crate::store::apply::Effect;
use crate::store::stats::Opened;

/// What the log goes on from.
pub(super) struct Recovered {
    pub(super) opened: Opened,
    /// Service and wall time as last written; none at the first start.
    pub(super) last_times: Option<(ServiceTime, u64)>,
    pub(super) journal: Box<dyn AppendFile>,
    pub(super) journal_path: PathBuf,
    pub(super) journal_bytes: u64,
    pub(super) next_seq: u64,
    /// Service time at which the snapshot was begun.
    pub(super) generation_began: ServiceTime,
    pub(super) snapshot_bytes: u64,
    pub(super) highest_generation: u64,
    /// The journal is newer than the snapshot: a generation was under way.
    pub(super) unfinished: bool,
}

/// What has been read so far.
struct Reading<'a> {
    registry: &'a Registry,
    next_seq: u64,
    times: (ServiceTime, u64),
    groups: u64,
    closed: bool,
}

impl<'a> Reading<'a> {
    fn new(registry: &'a Registry, meta: &Meta) -> Self {
        let times = (meta.service, meta.wall_ms);
        Self { registry, next_seq: meta.first_seq, times, groups: 0, closed: false }
    }

    fn apply(&mut self, frame: codec::Frame) {
        self.next_seq = frame.seq + 1;
        self.times = (self.times.0.max(frame.service), frame.wall_ms);
        self.groups += 1;
        self.closed = frame.kind == FrameKind::Closed;
        Effect::apply_all(frame.effects, self.registry);
    }
}

/// What a whole frame at the end of a journal may mean whose checksum is wrong.
pub const SPOILT_END: &str = "either power was lost while it was written, and nobody was told that it was stored, \
                              or the disk gives back something else than was written to it, and a group that was acknowledged is lost";

fn damaged(what: &Path, why: impl Into<String>) -> OpenError {
    OpenError::Damaged { what: what.to_owned(), why: why.into() }
}

/// What a begun folder holds.
struct Whole {
    registry: Registry,
    meta: Meta,
    /// All there are, ascending.
    generations: Vec<u64>,
    current: u64,
    journals: Vec<(u64, PathBuf, Vec<u8>)>,
    /// Which of them was read last, and how many bytes of it are good.
    end: (usize, usize),
    times: (ServiceTime, u64),
    next_seq: u64,
    closed: bool,
    opened: Opened,
}

/// The bytes of some of the server's own values.
pub type Values = Vec<Arc<[u8]>>;

/// Reads the folder as a start does, and changes nothing of ours. Returns what was found, and these of the server's own values.
///
/// # Errors
/// Those of the start.
pub fn look(
    dir: &Path,
    options: &Options,
    files: &dyn Files,
    clock: &dyn Clock,
    own: &Listing<'_>,
) -> Result<(Opened, Values), OpenError> {
    let _lock = lock(dir, files)?;
    let Some(found) = read(dir, options, files, clock)? else {
        return Ok((Opened { fresh: true, ..Opened::default() }, Vec::new()));
    };
    let values = found.registry.own_values(own).into_iter().map(|(_, bytes)| bytes);
    Ok((found.opened, values.collect()))
}

/// `None` if the folder has not been begun.
fn read(dir: &Path, options: &Options, files: &dyn Files, clock: &dyn Clock) -> Result<Option<Whole>, OpenError> {
    let generations = generation::list(files, dir).map_err(OpenError::io(dir))?;
    let Some(current) = generation::current(files, dir)? else {
        return must_be_new(dir, &generations, files).map(|()| None);
    };
    if !generations.contains(&current) {
        return Err(damaged(&folder(dir, current), "CURRENT names it, and it is missing"));
    }
    let snapshot_path = layout::snapshot(dir, current);
    let (meta, registry) = snapshot::load(files, &snapshot_path, options.max_users, Some(clock))?;
    let mut journals = Vec::new();
    for &number in generations.iter().filter(|number| **number >= current) {
        let path = layout::journal(dir, number);
        match files.read(&path) {
            Ok(bytes) => journals.push((number, path, bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && number > current => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(damaged(&path, "it is missing")),
            Err(error) => return Err(OpenError::Io { what: path, error }),
        }
    }
    // newer journals without frames belong to generations that were never begun, or given up
    journals.retain(|(number, _, bytes)| *number == current || journal::holds_frames(bytes));

    let mut reading = Reading::new(&registry, &meta);
    let mut said_us = clock.monotonic_us();
    let mut opened = Opened::default();
    let last = journals.len() - 1;
    let mut end = (0, 0);
    for (i, (number, path, bytes)) in journals.iter().enumerate() {
        if !codec::is_journal_head(bytes, *number) {
            return Err(damaged(path, "it does not begin as a journal of this generation"));
        }
        let extent = journal::read_frames(path, bytes, journal::EMPTY, |frame| {
            if frame.seq != reading.next_seq {
                return Err(damaged(path, format!("group {} is missing", reading.next_seq)));
            }
            reading.apply(frame);
            let now_us = clock.monotonic_us();
            if now_us.saturating_sub(said_us) >= snapshot::SAY_EVERY_US {
                said_us = now_us;
                tracing::info!(groups = reading.groups, "reading the journal");
            }
            Ok(())
        })?;
        end = (i, extent.good_bytes);
        if extent.bad_bytes == 0 {
            continue;
        }
        opened.torn_bytes = extent.bad_bytes as u64;
        opened.spoilt_end = codec::is_whole_frame(&bytes[extent.good_bytes..]);
        if extent.resumes_at.is_some() || i < last {
            let at = extent.good_bytes;
            if options.durability == Durability::Fsync {
                return Err(damaged(path, format!("it is damaged at byte {at}, and groups follow")));
            }
            opened.loss = Some(format!("{} was cut at byte {at}: what was written after it is lost", path.display()));
        }
        break;
    }

    let Reading { next_seq, times, groups, closed, .. } = reading;
    (opened.users, opened.groups) = (registry.len(), groups);
    Ok(Some(Whole { registry, meta, generations, current, journals, end, times, next_seq, closed, opened }))
}

/// The registry that the folder holds, and what the log goes on from.
pub(super) fn recover(
    dir: &Path,
    options: &Options,
    files: &dyn Files,
    clock: &dyn Clock,
) -> Result<(Registry, Recovered), OpenError> {
    let Some(found) = read(dir, options, files, clock)? else { return first_start(dir, files, options, clock) };
    let Whole { registry, meta, generations, current, journals, end, times, next_seq, closed, opened } = found;
    let snapshot_path = layout::snapshot(dir, current);
    snapshot::sync_tree(files, &snapshot_path).map_err(OpenError::io(&snapshot_path))?;
    let (last_journal, good_bytes) = end;
    let (number, path, bytes) = &journals[last_journal];
    // Unless the last process ended in order, what was just read may be in the page cache alone, behind a sync that failed:
    // it is written again before anything follows it.
    if !closed || good_bytes < bytes.len() {
        let new = path.with_extension("new");
        let rewrite = || {
            files.write(&new, &bytes[..good_bytes])?;
            files.sync_file(&new)?;
            files.rename(&new, path)?;
            files.sync_dir(&folder(dir, *number))
        };
        rewrite().map_err(OpenError::io(path))?;
    }
    // what CURRENT names must be durable before what it named earlier goes
    files.sync_dir(dir).map_err(OpenError::io(dir))?;
    for &other in generations.iter().filter(|other| !journals.iter().any(|(kept, ..)| kept == *other)) {
        files.remove(&folder(dir, other)).map_err(OpenError::io(dir))?;
    }
    files.sync_dir(dir).map_err(OpenError::io(dir))?;
    let recovered = Recovered {
        last_times: Some(times),
        journal: files.open_append(path).map_err(OpenError::io(path))?,
        journal_path: path.clone(),
        journal_bytes: good_bytes as u64,
        next_seq,
        generation_began: meta.service,
        snapshot_bytes: u64::from(meta.pages) * 7 * 1024,
        highest_generation: generations.last().copied().unwrap_or(*number),
        unfinished: *number != current,
        opened,
    };
    Ok((registry, recovered))
}

const FIRST: u64 = 1;

/// A folder without `CURRENT` holds nothing but what a first start left that was cut short.
fn must_be_new(dir: &Path, generations: &[u64], files: &dyn Files) -> Result<(), OpenError> {
    for &number in generations {
        let holds_data = match files.read(&layout::journal(dir, number)) {
            Ok(bytes) => journal::holds_frames(&bytes),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        if number != FIRST || holds_data {
            return Err(damaged(&layout::current(dir), "it is missing, and there is data"));
        }
    }
    Ok(())
}

fn first_start(
    dir: &Path,
    files: &dyn Files,
    options: &Options,
    clock: &dyn Clock,
) -> Result<(Registry, Recovered), OpenError> {
    for number in generation::list(files, dir).map_err(OpenError::io(dir))? {
        // of a first start that was cut short
        let path = folder(dir, number);
        files.remove(&path).map_err(OpenError::io(&path))?;
    }
    let meta = Meta { first_seq: 1, service: FIRST_SERVICE_TIME, wall_ms: clock.wall_ms(), pages: 0, users: 0 };
    let path = folder(dir, FIRST);
    let failed = |why: String| OpenError::Io { what: path.clone(), error: std::io::Error::other(why) };
    let registry = Registry::new(options.max_users);
    generation::make_alone(files, dir, FIRST, &registry, meta).map_err(failed)?;
    generation::set_current(files, dir, FIRST).map_err(OpenError::io(dir))?;
    let journal = layout::journal(dir, FIRST);
    let recovered = Recovered {
        opened: Opened { fresh: true, ..Opened::default() },
        last_times: None,
        journal: files.open_append(&journal).map_err(OpenError::io(&journal))?,
        journal_path: journal,
        journal_bytes: journal::EMPTY as u64,
        next_seq: meta.first_seq,
        generation_began: meta.service,
        snapshot_bytes: 0,
        highest_generation: FIRST,
        unfinished: false,
    };
    Ok((registry, recovered))
}

/// What can be read of a data folder, damaged or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// One sentence for each file of interest.
    pub findings: Vec<String>,
    /// How many users all that can be read amounts to.
    pub users: usize,
    /// Whether everything that must be readable is.
    pub intact: bool,
    /// Whether the last group is whole and wrong, which a start leaves out.
    pub spoilt_end: bool,
}

/// Reads what can be read, changing nothing of ours.
///
/// # Errors
/// The folder is in use, or cannot be listed.
pub fn inspect(dir: &Path, options: &Options, files: &dyn Files) -> Result<Inspection, OpenError> {
    let _lock = lock(dir, files)?;
    Ok(read_all(dir, options, files)?.inspection)
}

/// Writes all that can be read as a new generation, and moves the old files to `damaged-NNNN/`. Answers what was found and
/// where the old files are.
///
/// # Errors
/// The folder is in use or cannot be written.
pub fn salvage(
    dir: &Path,
    options: &Options,
    files: &dyn Files,
    clock: &dyn Clock,
) -> Result<(Inspection, PathBuf), OpenError> {
    let _lock = lock(dir, files)?;
    let found = read_all(dir, options, files)?;
    let generations = generation::list(files, dir).map_err(OpenError::io(dir))?;
    let new = generations.last().map_or(1, |last| last + 1);
    let (service, wall_ms) = found.times.unwrap_or((FIRST_SERVICE_TIME, clock.wall_ms()));
    let meta = Meta { first_seq: found.next_seq, service, wall_ms, pages: 0, users: 0 };
    generation::make_alone(files, dir, new, &found.registry, meta)
        .map_err(|why| OpenError::Io { what: folder(dir, new), error: std::io::Error::other(why) })?;
    let kept = dir.join(format!("damaged-{new:010}"));
    files.create_dir(&kept).map_err(OpenError::io(&kept))?;
    for number in generations {
        let from = folder(dir, number);
        let to = kept.join(from.file_name().unwrap_or_default());
        files.rename(&from, &to).map_err(OpenError::io(&from))?;
    }
    // only now: until then the old files are the ones that count
    let name = || {
        files.sync_dir(&kept)?;
        generation::set_current(files, dir, new)
    };
    name().map_err(OpenError::io(dir))?;
    Ok((found.inspection, kept))
}

struct Found {
    registry: Registry,
    inspection: Inspection,
    times: Option<(ServiceTime, u64)>,
    next_seq: u64,
}

/// The newest snapshot that can be read, and every frame that verifies in its journal and all later ones.
fn read_all(dir: &Path, options: &Options, files: &dyn Files) -> Result<Found, OpenError> {
    let generations = generation::list(files, dir).map_err(OpenError::io(dir))?;
    let mut findings = Vec::new();
    let (mut intact, mut spoilt_end) = (true, false);
    let current = match generation::current(files, dir) {
        Ok(current) => current,
        Err(error) => {
            findings.push(error.to_string());
            None
        }
    };
    findings.push(match current {
        Some(number) => format!("CURRENT names generation {number}"),
        None => "CURRENT names no generation".to_owned(),
    });
    intact &= current.is_some_and(|current| generations.contains(&current));

    let mut base = None;
    for &number in generations.iter().rev() {
        // a newer generation than CURRENT names was never complete, unless a salvage was cut short
        if base.is_some() || current.is_some_and(|current| number > current && generations.contains(&current)) {
            continue;
        }
        match snapshot::load(files, &layout::snapshot(dir, number), options.max_users, None) {
            Ok((meta, registry)) => {
                findings.push(format!("snapshot of generation {number}: {} users", meta.users));
                base = Some((number, registry, meta));
            }
            Err(error) => {
                intact &= current != Some(number);
                findings.push(error.to_string());
            }
        }
    }
    let nothing = Meta { first_seq: 1, service: FIRST_SERVICE_TIME, wall_ms: 0, pages: 0, users: 0 };
    let (from, registry, meta) = base.unwrap_or_else(|| (0, Registry::new(options.max_users), nothing));
    let mut reading = Reading::new(&registry, &meta);
    for &number in generations.iter().filter(|number| **number >= from) {
        let path = layout::journal(dir, number);
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                intact &= current.is_some_and(|current| number > current);
                findings.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        if !codec::is_journal_head(&bytes, number) && (journal::holds_frames(&bytes) || current == Some(number)) {
            intact = false;
            findings.push(format!("{}: it does not begin as a journal of this generation", path.display()));
        }
        let (mut at, mut bad) = (journal::EMPTY.min(bytes.len()), 0);
        let before = reading.groups;
        let expected = reading.next_seq;
        let mut gap = false;
        loop {
            let extent = journal::read_frames(&path, &bytes, at, |frame| {
                gap |= frame.seq != reading.next_seq;
                reading.apply(frame);
                Ok(())
            });
            let Ok(extent) = extent else {
                findings.push(format!("{}: written by another version from byte {at} on", path.display()));
                intact = false;
                break;
            };
            let Some(next) = extent.resumes_at else {
                bad += extent.bad_bytes;
                if codec::is_whole_frame(&bytes[extent.good_bytes..]) {
                    spoilt_end = true;
                    findings.push(format!(
                        "{}: the last group, at byte {}, is whole and its checksum is wrong: {SPOILT_END}",
                        path.display(),
                        extent.good_bytes
                    ));
                }
                break;
            };
            bad += next - extent.good_bytes;
            intact = false;
            at = next;
        }
        intact &= !gap;
        findings.push(format!(
            "journal of generation {number}: {} groups from {expected} on, {bad} bytes cannot be read{}",
            reading.groups - before,
            if gap { ", and groups are missing" } else { "" }
        ));
    }
    let (times, next_seq) = ((meta.pages > 0 || reading.groups > 0).then_some(reading.times), reading.next_seq);
    let users = registry.len();
    Ok(Found { inspection: Inspection { findings, users, intact, spoilt_end }, registry, times, next_seq })
}
