//! What a store says of itself: what it found when it was opened, and figures since.

use std::sync::atomic::AtomicU64;

use crate::histogram::Histogram;

/// Figures of the store since it was opened, for metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Groups made durable.
    pub groups: AtomicU64,
    /// Change sets done.
    pub sets_done: AtomicU64,
    /// Change sets that found something else than they named.
    pub sets_conflicted: AtomicU64,
    /// Change sets whose outcome is unknown.
    pub sets_failed: AtomicU64,
    /// Failed writes and syncs of the journal; this and all that concerns generations stays 0 where there is no journal.
    pub write_failures: AtomicU64,
    /// Generations completed.
    pub generations: AtomicU64,
    /// Generations that could not be completed.
    pub generation_failures: AtomicU64,
    /// The number of the generation that a start would read; 0 where there is no such thing.
    pub generation: AtomicU64,
    /// When it was completed, Unix time in milliseconds; 0 if not since the store was opened.
    pub generation_completed_ms: AtomicU64,
    /// Bytes in its snapshot.
    pub snapshot_bytes: AtomicU64,
    /// Bytes in the current journal.
    pub journal_bytes: AtomicU64,
    /// How long a map was held for a page of a snapshot.
    pub snapshot_hold: Histogram,
    /// How long the writer was kept from its next group by a generation.
    pub generation_pause: Histogram,
    /// How long a group took: checked, written, synced, applied and answered.
    pub group: Histogram,
}

/// What was found when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// How many users there are.
    pub users: usize,
    /// Groups read from journals.
    pub groups: u64,
    /// Bytes cut off a journal's torn end.
    pub torn_bytes: u64,
    /// Whether these are a whole frame whose checksum is wrong, rather than one that was cut off.
    pub spoilt_end: bool,
    /// With `os` durability: what was lost, in one sentence.
    pub loss: Option<String>,
    /// Whether there was nothing before.
    pub fresh: bool,
}
