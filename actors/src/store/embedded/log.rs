//! The log of a data folder: a journal that each group is appended to and synced in, and the generations that replace it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::codec::{FrameKind, FrameWriter};
use super::files::{AppendFile, Files, is_same};
use super::generation::{self, Named};
use super::journal;
use super::layout;
use super::lock::Lock;
use super::options::{Durability, Options};
use super::progress::{Mailbox, Progress};
use super::recovery::Recovered;
use super::snapshot::Meta;
use crate::domain::{ServiceTime, UserId};
use crate::store::apply::Effect;
use crate::store::check::Accepted;
use crate::store::log::Log;
use crate::store::writer::Shared;

/// With nothing to write, the times are written this often (milliseconds).
const IDLE_FRAME_MS: u64 = 60_000;
/// What a start would read is looked for this often (milliseconds).
const LOOK_MS: u64 = 1000;
/// After a failure, a new generation is tried this often (milliseconds).
const RETRY_MS: u64 = 1000;
/// For a frame that is yet to be filled, no more memory than this is kept (bytes).
const FRAME_ROOM: usize = 64 * 1024;
/// How many times as much as the snapshot a replay may read and write of documents.
const REPLAYED_SNAPSHOTS: u64 = 8;

pub(super) struct JournalLog {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    dir: PathBuf,
    options: Options,
    /// None after a failed write: that journal is never written or synced again, since a sync that is tried again can lie.
    journal: Option<Box<dyn AppendFile>>,
    /// Where it is, and which file was there when it was opened.
    journal_at: (PathBuf, std::io::Result<(u64, u64)>),
    /// What else a start reads.
    named: Named,
    looked_ms: u64,
    journal_bytes: u64,
    /// Bytes of documents that a replay of this journal would read and write since the process began.
    replay_bytes: u64,
    next_seq: u64,
    snapshot_bytes: u64,
    highest_generation: u64,
    generation_began: u32,
    snapshotter: Option<JoinHandle<()>>,
    /// A durable, empty journal that waits for `CURRENT` to name it before it takes a group.
    journal_in_waiting: Option<Box<dyn AppendFile>>,
    last_write_ms: u64,
    last_try_ms: u64,
    /// Whether the newest generation's journal has taken the place of the one before.
    went_over: bool,
    /// When a generation that failed although the journal works may be tried again.
    not_before_ms: u64,
    /// The group that is appended next.
    frame: FrameWriter,
    touches: Vec<Effect>,
    generation_wanted: bool,
    stopping: bool,
    /// The folder is no longer the one that was opened: nothing is written to its path any more.
    lost: bool,
    /// It was looked for after the last group.
    has_looked: bool,
    /// What the snapshotter says.
    progress: Arc<Mailbox>,
    /// Held for as long as the log lives.
    lock: Arc<Lock>,
}

impl JournalLog {
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        dir: PathBuf,
        options: Options,
        recovered: Recovered,
        lock: Lock,
    ) -> Self {
        let now_ms = shared.clock.monotonic_ms();
        let named = Named::look(&*files, &dir);
        let journal_at = (recovered.journal_path.clone(), files.identity(&recovered.journal_path));
        shared.stats.journal_bytes.store(recovered.journal_bytes, Ordering::Relaxed);
        shared.stats.snapshot_bytes.store(recovered.snapshot_bytes, Ordering::Relaxed);
        if let Ok(Some(named)) = generation::current(&*files, &dir) {
            shared.stats.generation.store(named, Ordering::Relaxed);
        }
        Self {
            files,
            dir,
            options,
            journal: Some(recovered.journal),
            journal_at,
            named,
            looked_ms: now_ms,
            journal_bytes: recovered.journal_bytes,
            replay_bytes: 0,
            next_seq: recovered.next_seq,
            snapshot_bytes: recovered.snapshot_bytes,
            highest_generation: recovered.highest_generation,
            generation_began: recovered.generation_began,
            snapshotter: None,
            journal_in_waiting: None,
            last_write_ms: now_ms,
            last_try_ms: now_ms,
            went_over: false,
            not_before_ms: 0,
            frame: FrameWriter::new(),
            touches: Vec::new(),
            generation_wanted: recovered.unfinished,
            stopping: false,
            lost: false,
            has_looked: false,
            progress: Arc::default(),
            shared,
            lock: Arc::new(lock),
        }
    }

    /// Appends and syncs one frame. A failure ends the journal, and is logged here.
    fn append_frame(&mut self, frame: FrameWriter, kind: FrameKind, (service, wall_ms): (ServiceTime, u64)) -> bool {
        let bytes = frame.finish(self.next_seq, service, wall_ms, kind);
        let Some(journal) = &mut self.journal else { return false };
        let sync = self.options.durability == Durability::Fsync || kind == FrameKind::Closed;
        let written = journal.append(&bytes).and_then(|()| if sync { journal.sync() } else { Ok(()) });
        if written.is_ok() {
            if !self.keep_folder() {
                return false;
            }
            self.has_looked = true;
        }
        match written {
            Ok(()) => {
                self.next_seq += 1;
                self.journal_bytes += bytes.len() as u64;
                self.last_write_ms = self.shared.clock.monotonic_ms();
                self.shared.stats.journal_bytes.store(self.journal_bytes, Ordering::Relaxed);
                self.shared.stats.groups.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(error) => {
                if kind == FrameKind::Closed
                    && let Some(journal) = &mut self.journal
                {
                    // It may be readable and yet not on the disk: a torn end behind it makes the next start write it again.
                    drop(journal.append(&[0]));
                }
                self.on_failed_write(&error);
                false
            }
        }
    }

    /// Checks that the folder is still the one that was opened, before acknowledging what could not be found again. Once
    /// it is not, this process writes nothing more: its path may belong to a different server by now.
    fn keep_folder(&mut self) -> bool {
        if self.lost {
            return false;
        }
        let (path, opened) = &self.journal_at;
        let is_there = self.journal.is_none() || is_same(opened, &self.files.identity(path));
        if is_there && self.lock.is_at_its_path() {
            return true;
        }
        tracing::error!(
            folder = %self.dir.display(),
            "the data folder was removed, moved or replaced under the running server: nothing can be stored any more; \
             put the folder back and start the server anew, which loses what was not in it"
        );
        self.lost = true;
        self.shared.failing.store(true, Ordering::Release);
        self.shared.stats.write_failures.fetch_add(1, Ordering::Relaxed);
        (self.journal, self.journal_in_waiting) = (None, None);
        self.touches.clear();
        false
    }

    /// Looks whether a start would find what the journal goes on from. What is in memory makes it again, so that nothing is lost
    /// unless the server ends before.
    fn keep_generation(&mut self) {
        let now_ms = self.shared.clock.monotonic_ms();
        // while a generation is written, a different one is named
        let is_settled = self.journal.is_some() && self.snapshotter.is_none();
        if !is_settled || now_ms.saturating_sub(self.looked_ms) < LOOK_MS {
            return;
        }
        self.looked_ms = now_ms;
        if let Some(missing) = self.named.missing(&*self.files) {
            tracing::error!(
                missing = %missing.display(),
                "a file that a start needs was removed or replaced under the running server; changes are refused until a new \
                 generation is complete, which has everything"
            );
            self.end_journal();
        }
    }

    fn on_failed_write(&mut self, error: &std::io::Error) {
        tracing::error!(%error, "the journal could not be written; changes are refused until a new generation is complete");
        self.end_journal();
    }

    /// A sync that is tried again can lie, so nothing follows in this journal. A new generation is tried in a moment.
    fn end_journal(&mut self) {
        self.shared.stats.write_failures.fetch_add(1, Ordering::Relaxed);
        self.shared.failing.store(true, Ordering::Release);
        self.journal = None;
        self.touches.clear();
        self.last_try_ms = self.shared.clock.monotonic_ms();
    }

    fn begin_generation_if_due(&mut self) {
        if self.snapshotter.is_some() || self.stopping || self.lost {
            return;
        }
        let now_ms = self.shared.clock.monotonic_ms();
        let age_s = self.shared.clock.now().saturating_sub(self.generation_began);
        let due = if self.journal.is_none() {
            now_ms.saturating_sub(self.last_try_ms) >= RETRY_MS
        } else {
            now_ms >= self.not_before_ms
                && (self.generation_wanted
                    || self.journal_bytes > self.options.min_journal_bytes.max(self.snapshot_bytes / 2)
                    || self.replay_bytes > self.options.min_replay_bytes.max(self.snapshot_bytes * REPLAYED_SNAPSHOTS)
                    || age_s >= self.options.max_generation_age_s)
        };
        if !due {
            return;
        }
        self.highest_generation += 1;
        self.last_try_ms = now_ms;
        self.generation_wanted = false;
        self.went_over = false;
        let (shared, files, dir) = (Arc::clone(&self.shared), Arc::clone(&self.files), self.dir.clone());
        let progress = Arc::clone(&self.progress);
        let (generation, lock) = (self.highest_generation, Arc::clone(&self.lock));
        let give_back = self.options.give_back;
        let make = move || {
            generation::make(&shared, &progress, &*files, &dir, generation, &lock);
            give_back();
        };
        match std::thread::Builder::new().name("store-snapshotter".to_owned()).spawn(make) {
            Ok(thread) => self.snapshotter = Some(thread),
            Err(error) => tracing::error!(%error, "no thread for a new generation"),
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Prepared { journal, gate } => {
                let (service, wall_ms) = self.shared.times();
                // what is erased from now on may be in this generation, however long it takes
                self.generation_began = service;
                gate.open(Meta { first_seq: self.next_seq, service, wall_ms, pages: 0, users: 0 });
                // what is behind it is never synced again
                if self.options.durability == Durability::Os
                    && let Some(old) = &mut self.journal
                    && let Err(error) = old.sync()
                {
                    self.on_failed_write(&error);
                }
                if self.journal.is_some() {
                    self.went_over = true;
                    self.go_over_to(journal);
                } else if !self.lost {
                    self.journal_in_waiting = Some(journal);
                }
            }
            Progress::Complete { snapshot_bytes } => {
                self.end_snapshotter();
                self.named = Named::look(&*self.files, &self.dir);
                self.snapshot_bytes = snapshot_bytes;
                let stats = &self.shared.stats;
                stats.snapshot_bytes.store(snapshot_bytes, Ordering::Relaxed);
                stats.generation.store(self.highest_generation, Ordering::Relaxed);
                stats.generation_completed_ms.store(self.shared.clock.wall_ms(), Ordering::Relaxed);
                stats.generations.fetch_add(1, Ordering::Release);
                if let Some(journal) = self.journal_in_waiting.take() {
                    self.go_over_to(journal);
                    self.shared.failing.store(false, Ordering::Release);
                    tracing::info!("a new generation is complete; changes are accepted again");
                }
            }
            Progress::Failed { why } => {
                self.end_snapshotter();
                self.named = Named::look(&*self.files, &self.dir);
                self.journal_in_waiting = None;
                self.touches.retain(|_| self.journal.is_some());
                self.shared.stats.generation_failures.fetch_add(1, Ordering::Relaxed);
                self.last_try_ms = self.shared.clock.monotonic_ms();
                self.generation_wanted = true;
                self.not_before_ms = self.last_try_ms + IDLE_FRAME_MS;
                if !self.keep_folder() {
                    return;
                }
                self.remove_unfinished();
                if !self.stopping {
                    tracing::error!(why, "a new generation could not be completed");
                }
            }
        }
    }

    /// What a failed generation left behind would stand in the way of the next one when the disk is full. It stays if
    /// `CURRENT` may name it, as after a rename that could not be synced; and a journal that has taken groups always stays.
    fn remove_unfinished(&self) {
        let unfinished = self.highest_generation;
        let folder = layout::folder(&self.dir, unfinished);
        let left_behind = if self.went_over { layout::snapshot(&self.dir, unfinished) } else { folder };
        if matches!(generation::current(&*self.files, &self.dir), Ok(Some(named)) if named != unfinished)
            && let Err(error) = self.files.remove(&left_behind)
        {
            tracing::debug!(%error, "an unfinished generation could not be removed");
        }
    }

    fn go_over_to(&mut self, journal: Box<dyn AppendFile>) {
        self.journal = Some(journal);
        let path = layout::journal(&self.dir, self.highest_generation);
        let opened = self.files.identity(&path);
        self.journal_at = (path, opened);
        self.journal_bytes = journal::EMPTY as u64;
        self.replay_bytes = 0;
        self.shared.stats.journal_bytes.store(self.journal_bytes, Ordering::Relaxed);
    }

    fn end_snapshotter(&mut self) {
        if let Some(thread) = self.snapshotter.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshotter died");
        }
    }
}

impl Log for JournalLog {
    const LINGER: Duration = Duration::from_micros(500);
    const WRITES_TOUCHES: bool = true;

    fn is_open(&self) -> bool {
        self.journal.is_some()
    }

    fn touch(&mut self, id: UserId, at: ServiceTime) {
        // with neither, the snapshot that is yet to be begun will show it
        if self.journal.is_some() || self.journal_in_waiting.is_some() {
            self.touches.push(Effect::Touch(id, at));
        }
    }

    fn has_touches(&self) -> bool {
        !self.touches.is_empty()
    }

    fn add(&mut self, set: &Accepted<'_>) {
        self.frame.set(set.cause, set.at, set.effects);
        self.replay_bytes += set.effects.iter().map(Effect::replay_bytes).sum::<u64>();
    }

    fn next_seq(&self) -> u64 {
        self.next_seq
    }

    fn append(&mut self, times: (ServiceTime, u64)) -> bool {
        if !self.touches.is_empty() {
            let touches = std::mem::take(&mut self.touches);
            // only for the journal: the registry has shown them all along
            self.frame.touches(self.shared.clock.now(), &touches);
        }
        if !self.frame.has_sets() {
            return true;
        }
        // the next one is as long, most likely
        let next = FrameWriter::with_room(self.frame.len().min(FRAME_ROOM));
        let frame = std::mem::replace(&mut self.frame, next);
        self.append_frame(frame, FrameKind::Group, times)
    }

    fn new_generation(&mut self) {
        self.generation_wanted = true;
    }

    fn keep(&mut self, stopping: bool) {
        self.stopping = stopping;
        for progress in self.progress.take() {
            let before_us = self.shared.clock.monotonic_us();
            self.on_progress(progress);
            let took_us = self.shared.clock.monotonic_us().saturating_sub(before_us);
            self.shared.stats.generation_pause.record(took_us);
        }
        if !std::mem::take(&mut self.has_looked) {
            self.keep_folder();
        }
        self.keep_generation();
        // the times, so that a restart knows how far service had come
        let idle_ms = self.shared.clock.monotonic_ms().saturating_sub(self.last_write_ms);
        if self.journal.is_some() && idle_ms >= IDLE_FRAME_MS {
            self.append_frame(FrameWriter::new(), FrameKind::Group, self.shared.times());
        }
        self.begin_generation_if_due();
    }

    fn close(&mut self) {
        self.append_frame(FrameWriter::new(), FrameKind::Closed, self.shared.times());
        self.end_snapshotter();
    }
}
