//! What the snapshotter and the log tell each other of a generation that is being made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::files::AppendFile;
use super::snapshot::Meta;
use crate::store::writer::Shared;

/// What the snapshotter tells the writer.
pub(super) enum Progress {
    /// The new journal is durable. The writer goes over to it (or, while the old one is broken, keeps it for later) and
    /// answers through the gate.
    Prepared { journal: Box<dyn AppendFile>, gate: Arc<Gate> },
    /// `CURRENT` names the new generation.
    Complete { snapshot_bytes: u64 },
    /// The new generation cannot be completed.
    Failed { why: String },
}

/// What the snapshotter has told and the log has not yet heard.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Vec<Progress>>);

impl Mailbox {
    pub(super) fn put(&self, progress: Progress, shared: &Shared) {
        self.0.lock().push(progress);
        shared.wake();
    }

    pub(super) fn take(&self) -> Vec<Progress> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Where the snapshotter waits for the writer to be between two groups.
#[derive(Default)]
pub(super) struct Gate {
    meta: Mutex<Option<Meta>>,
    opened: Condvar,
}

impl Gate {
    pub(super) fn open(&self, meta: Meta) {
        *self.meta.lock() = Some(meta);
        self.opened.notify_all();
    }

    /// Waits for what the writer says; in vain once the store is stopped.
    pub(super) fn wait(&self, stopped: &AtomicBool) -> Result<Meta, String> {
        let mut meta = self.meta.lock();
        loop {
            if let Some(meta) = *meta {
                return Ok(meta);
            }
            if stopped.load(Ordering::Acquire) {
                return Err("the store is closing".to_owned());
            }
            self.opened.wait_for(&mut meta, Duration::from_millis(100));
        }
    }
}
