//! What the index's thread is sent: questions from workers, and from the feed the users who changed.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::index::Index;
use crate::domain::{Cause, ServiceTime, UserId};
use crate::store::{Committed, Reader, Wakes};

/// Asked of the index.
pub(super) type Ask = Box<dyn FnOnce(&mut Index) + Send>;

/// So many may wait for an answer.
const MOST_ASKS: usize = 256;
/// So many users are noted before the thread reads them again, unless somebody asks first. Logins share the cores with that: more would
/// take milliseconds in a row.
const READ_AT: usize = 512;
/// So few are read again on the thread of whoever asks.
const FEW: usize = 64;
/// If so many wait to be read, the index is behind, and is built anew.
const MOST_CHANGED: usize = 1 << 20;
/// The index is let go when nobody has asked for so long (seconds of service).
pub(super) const UNUSED_S: u32 = 15 * 60;
/// The thread looks at the clock at least this often.
const TICK: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Too many ask.
    Busy,
    /// The store has ended, or the system has no thread to spare.
    Ended,
}

/// What there is to do.
pub(super) struct Work {
    pub(super) asks: Vec<Ask>,
    /// Users who changed, before anything was asked.
    pub(super) changed: Vec<UserId>,
    /// So many changed that they are not known any more.
    pub(super) is_behind: bool,
}

struct State {
    asks: Vec<Ask>,
    changed: Vec<UserId>,
    is_behind: bool,
    is_closed: bool,
    asked: ServiceTime,
}

/// What the thread is sent.
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Inbox {
    pub(super) fn new(now: ServiceTime) -> Self {
        let state = State { asks: Vec::new(), changed: Vec::new(), is_behind: false, is_closed: false, asked: now };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Sends a question; gives it back if it is not taken.
    pub(super) fn ask(&self, ask: Ask, now: ServiceTime) -> Result<(), (Ask, Unanswered)> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err((ask, Unanswered::Ended));
        }
        if state.asks.len() >= MOST_ASKS {
            return Err((ask, Unanswered::Busy));
        }
        state.asks.push(ask);
        state.asked = now;
        self.arrived.notify_one();
        Ok(())
    }

    /// The users who are to be read again before somebody is answered who asks past the queue; `None` if they are many, or others wait.
    /// Whoever calls this has the index, as for [`take`](Self::take).
    pub(super) fn take_few(&self, now: ServiceTime) -> Option<Vec<UserId>> {
        let mut state = self.state.lock();
        if state.is_closed || state.is_behind || !state.asks.is_empty() || state.changed.len() > FEW {
            return None;
        }
        state.asked = now;
        Some(std::mem::take(&mut state.changed))
    }

    /// Questions that were taken too early.
    pub(super) fn put_back(&self, mut asks: Vec<Ask>) {
        let mut state = self.state.lock();
        // dropped, they are answered that it has ended
        if !state.is_closed {
            asks.append(&mut state.asks);
            state.asks = asks;
        }
    }

    /// Notes users who are to be read again.
    pub(super) fn note(&self, users: &[UserId]) {
        let mut state = self.state.lock();
        if state.is_behind || state.is_closed {
            return;
        }
        if state.changed.len() + users.len() > MOST_CHANGED {
            (state.is_behind, state.changed) = (true, Vec::new());
        } else {
            state.changed.extend_from_slice(users);
        }
        if state.changed.len() >= READ_AT || state.is_behind {
            self.arrived.notify_one();
        }
    }

    /// No more is taken.
    pub(super) fn close(&self) {
        let left = {
            let mut state = self.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.asks)
        };
        self.arrived.notify_one();
        drop(left);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Waits for something to do. Answers whether it is not closed: by others, or now, because nobody has asked for a while.
    pub(super) fn wait(&self, now: impl Fn() -> ServiceTime) -> bool {
        let mut state = self.state.lock();
        while !state.is_closed {
            if !state.asks.is_empty() {
                return true;
            }
            if now().saturating_sub(state.asked) >= UNUSED_S {
                state.is_closed = true;
            } else if state.changed.len() >= READ_AT || state.is_behind {
                return true;
            } else {
                self.arrived.wait_for(&mut state, TICK);
            }
        }
        false
    }

    /// Takes what there is to do. Whoever calls this has the index, so that no one asks it who knows of a change that was taken and is
    /// not read yet.
    pub(super) fn take(&self) -> Work {
        let mut state = self.state.lock();
        let (asks, changed) = (std::mem::take(&mut state.asks), std::mem::take(&mut state.changed));
        Work { asks, changed, is_behind: std::mem::take(&mut state.is_behind) }
    }
}

impl Reader for Inbox {
    fn take(&self, changes: &[Committed], _: &mut Wakes) {
        let mut users = Vec::with_capacity(changes.len());
        for change in changes {
            match change.cause {
                // of what the index tells, these change nothing
                Cause::SessionSeen | Cause::Counted | Cause::MeterAdjusted => {}
                // the document's user, whose record stays as it is
                Cause::Edited => users.extend(change.user),
                _ => users.extend(change.changed.iter().map(|changed| changed.id)),
            }
        }
        if !users.is_empty() {
            self.note(&users);
        }
    }

    fn close(&self) {
        self.close();
    }
}
