//! What the handle and the threads of one store share: the registry, the queue of the writer, figures.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::progress::Progress;
use crate::domain::{ServiceClock, ServiceTime, UserId};
use crate::histogram::Histogram;
use crate::registry::Registry;
use crate::store::Sets;
use crate::store::completion::ReplyTo;
use crate::store::feed::Feed;

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
    /// Failed writes and syncs of the journal.
    pub write_failures: AtomicU64,
    /// Generations completed.
    pub generations: AtomicU64,
    /// Generations that could not be completed.
    pub generation_failures: AtomicU64,
    /// Bytes in the current journal.
    pub journal_bytes: AtomicU64,
    /// How long a map was held for a page of a snapshot.
    pub snapshot_hold: Histogram,
    /// How long the writer was kept from its next group by a generation.
    pub generation_pause: Histogram,
    /// How long a group took: checked, written, synced, applied and answered.
    pub group: Histogram,
}

/// What handles and threads of one store share.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) clock: ServiceClock,
    pub(super) stats: Stats,
    pub(super) queue: Mutex<Queue>,
    pub(super) arrived: Condvar,
    pub(super) failing: AtomicBool,
    pub(super) stopped: AtomicBool,
    /// The folder is no longer the one that was opened: nothing is written to its path any more.
    pub(super) lost: AtomicBool,
    pub(super) feed: Feed,
}

/// What the writer is sent.
pub(super) enum Message {
    Commit(Sets, ReplyTo),
    Touch(UserId, ServiceTime),
    /// Begin a new generation now.
    NewGeneration,
    /// From the snapshotter.
    Generation(Progress),
    Stop,
}

/// What the writer has been sent and has not yet taken.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) messages: Vec<Message>,
    /// How many messages the writer sleeps for.
    pub(super) wanted: usize,
}

impl Shared {
    pub(super) fn new(registry: Registry, clock: ServiceClock) -> Self {
        Self {
            registry,
            clock,
            stats: Stats::default(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            failing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            feed: Feed::default(),
        }
    }

    pub(super) fn send(&self, message: Message) {
        let mut queue = self.queue.lock();
        // dropping a commit's reply answers `Failed`
        if !self.stopped.load(Ordering::Acquire) {
            queue.messages.push(message);
            if queue.messages.len() >= queue.wanted {
                self.arrived.notify_one();
            }
        }
    }

    /// From now on nothing is taken; what has come in since the last group is answered `Failed`.
    pub(super) fn stop(&self) {
        let left = {
            let mut queue = self.queue.lock();
            self.stopped.store(true, Ordering::Release);
            std::mem::take(&mut queue.messages)
        };
        drop(left);
        self.feed.close();
    }
}
