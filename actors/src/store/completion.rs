//! How results come back: one queue per worker thread, woken once per group.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::domain::{Cause, Outcome, UserId};

/// A change that was applied to a live user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Who changed.
    pub id: UserId,
    /// Why.
    pub cause: Cause,
}

enum Completion {
    Outcomes(usize, Vec<Outcome>),
    Applied(Applied),
}

/// What a worker has been sent and has not yet taken. Shared with the writer.
#[derive(Default)]
pub struct CompletionQueue {
    completions: Mutex<Vec<Completion>>,
    waker: AtomicWaker,
}

impl CompletionQueue {
    pub(super) fn push_applied(&self, applied: Applied) {
        self.completions.lock().push(Completion::Applied(applied));
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

/// Where a commit's outcomes go: a worker's queue and a slot there. Dropped unanswered, it answers `Failed`.
pub struct ReplyTo {
    queue: Arc<CompletionQueue>,
    slot: usize,
    sets: usize,
    answered: bool,
}

impl ReplyTo {
    /// Delivers without waking; the writer wakes each queue once per group.
    pub(super) fn deliver(mut self, outcomes: Vec<Outcome>) -> Arc<CompletionQueue> {
        self.answered = true;
        self.queue.completions.lock().push(Completion::Outcomes(self.slot, outcomes));
        Arc::clone(&self.queue)
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if !self.answered {
            let failed = Completion::Outcomes(self.slot, vec![Outcome::Failed; self.sets]);
            self.queue.completions.lock().push(failed);
            self.queue.wake();
        }
    }
}

enum Slot {
    Free(Option<usize>),
    Waiting(Option<Waker>),
    Ready(Vec<Outcome>),
    Abandoned,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Option<usize>,
}

/// A worker's side of its queue: the commits it waits for.
#[derive(Default)]
pub struct Completions {
    queue: Arc<CompletionQueue>,
    slots: RefCell<Slots>,
}

impl Completions {
    /// The queue, to be known by.
    pub fn queue(&self) -> &Arc<CompletionQueue> {
        &self.queue
    }

    /// A place for the outcomes of a commit of `sets` sets, and the future that gives them. Dropping the future cancels
    /// nothing.
    pub fn register(self: &Rc<Self>, sets: usize) -> (ReplyTo, Waiter) {
        let slots = &mut *self.slots.borrow_mut();
        let slot = match slots.free {
            Some(slot) => {
                if let Slot::Free(next) = slots.slots[slot] {
                    slots.free = next;
                }
                slots.slots[slot] = Slot::Waiting(None);
                slot
            }
            None => {
                slots.slots.push(Slot::Waiting(None));
                slots.slots.len() - 1
            }
        };
        let reply = ReplyTo { queue: Arc::clone(&self.queue), slot, sets, answered: false };
        (reply, Waiter { completions: Rc::clone(self), slot, done: false })
    }

    /// Hands results to their waiters for as long as it is polled, and notices to `on_applied`.
    pub async fn run(self: Rc<Self>, on_applied: impl Fn(Applied)) {
        let mut taken = Vec::new();
        std::future::poll_fn(|context| {
            self.queue.waker.register(context.waker());
            std::mem::swap(&mut taken, &mut *self.queue.completions.lock());
            for completion in taken.drain(..) {
                match completion {
                    Completion::Outcomes(slot, outcomes) => self.complete(slot, outcomes),
                    Completion::Applied(applied) => on_applied(applied),
                }
            }
            Poll::<()>::Pending
        })
        .await;
    }

    fn complete(&self, slot: usize, outcomes: Vec<Outcome>) {
        let slots = &mut *self.slots.borrow_mut();
        match std::mem::replace(&mut slots.slots[slot], Slot::Ready(outcomes)) {
            Slot::Waiting(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            _ => slots.release(slot),
        }
    }
}

impl Slots {
    fn release(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free(self.free);
        self.free = Some(slot);
    }
}

/// Gives a commit's outcomes, one for each set.
pub struct Waiter {
    completions: Rc<Completions>,
    slot: usize,
    done: bool,
}

impl Future for Waiter {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let slot = self.slot;
        let outcomes = {
            let slots = &mut *self.completions.slots.borrow_mut();
            match &mut slots.slots[slot] {
                Slot::Ready(outcomes) => {
                    let outcomes = std::mem::take(outcomes);
                    slots.release(slot);
                    outcomes
                }
                Slot::Waiting(waker) => {
                    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                        *waker = Some(context.waker().clone());
                    }
                    return Poll::Pending;
                }
                Slot::Free(_) | Slot::Abandoned => return Poll::Pending,
            }
        };
        self.done = true;
        Poll::Ready(outcomes)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.done {
            let slots = &mut *self.completions.slots.borrow_mut();
            match slots.slots[self.slot] {
                Slot::Ready(_) => slots.release(self.slot),
                _ => slots.slots[self.slot] = Slot::Abandoned,
            }
        }
    }
}
