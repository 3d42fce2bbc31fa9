//! How results come back: one queue per worker thread, which is filled and woken once per group.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::committed::Committed;
use crate::domain::{Outcome, UserId};

/// A change that a live user's actor is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The live user.
    pub user: UserId,
    /// What changed.
    pub change: Committed,
}

/// One outcome for each set of a commit. Most commits are one set.
pub type Outcomes = SmallVec<[Outcome; 1]>;

/// How often waiters look whether their time is over: one timer for a worker instead of one for each request.
const TICK: Duration = Duration::from_millis(250);

enum Completion {
    Outcomes(usize, Outcomes),
    Told(Box<Told>),
}

/// What a worker has been sent and has not yet taken. Shared with the writer.
#[derive(Default)]
pub struct CompletionQueue {
    completions: Mutex<Vec<Completion>>,
    waker: AtomicWaker,
}

/// What workers are sent when a group is answered. When it is dropped, each gets all of it in order, and is woken once.
#[derive(Default)]
pub struct Wakes {
    workers: SmallVec<[(Arc<CompletionQueue>, Vec<Completion>); 8]>,
    /// Of those that are answered, as one permit for each core: giving them back one by one would be dear.
    permits: SmallVec<[OwnedSemaphorePermit; 1]>,
}

impl Wakes {
    /// Tells a worker's live user of a change.
    pub fn tell(&mut self, queue: &Arc<CompletionQueue>, told: Told) {
        self.send(queue, Completion::Told(Box::new(told)));
    }

    fn send(&mut self, queue: &Arc<CompletionQueue>, completion: Completion) {
        match self.workers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, queue)) {
            Some((_, completions)) => completions.push(completion),
            None => self.workers.push((Arc::clone(queue), vec![completion])),
        }
    }

    fn give_back(&mut self, permit: OwnedSemaphorePermit) {
        match self.permits.iter_mut().find(|known| Arc::ptr_eq(known.semaphore(), permit.semaphore())) {
            Some(known) => known.merge(permit),
            None => self.permits.push(permit),
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        // before anyone who is woken asks for one
        self.permits.clear();
        for (queue, completions) in &mut self.workers {
            queue.completions.lock().append(completions);
            queue.waker.wake();
        }
    }
}

/// Where a commit's outcomes go: a worker's queue and a slot there. Dropped unanswered, it answers `Failed`.
pub struct ReplyTo {
    queue: Arc<CompletionQueue>,
    slot: usize,
    sets: usize,
    answered: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl ReplyTo {
    /// Keeps a permit until the outcomes are known, also when no caller waits for them any more: the permits then bound what
    /// is queued at a store that stalls.
    pub fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Delivers the outcomes, once they are durable, readers can see them and the feed has published them. They come to the worker
    /// with the others of the group, when `wakes` is dropped.
    pub fn deliver(mut self, outcomes: Outcomes, wakes: &mut Wakes) {
        self.answered = true;
        wakes.send(&self.queue, Completion::Outcomes(self.slot, outcomes));
        if let Some(permit) = self.permit.take() {
            wakes.give_back(permit);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if !self.answered {
            let failed = Completion::Outcomes(self.slot, smallvec![Outcome::Failed; self.sets]);
            self.queue.completions.lock().push(failed);
            self.queue.waker.wake();
        }
    }
}

enum Slot {
    Free(Option<usize>),
    /// Until the outcomes are there, or until this tick.
    Waiting(Option<Waker>, u64),
    /// The time is over and the outcomes are not there.
    Late,
    Ready(Outcomes),
    Abandoned,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Option<usize>,
    ticks: u64,
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
                slots.slots[slot] = Slot::Waiting(None, u64::MAX);
                slot
            }
            None => {
                slots.slots.push(Slot::Waiting(None, u64::MAX));
                slots.slots.len() - 1
            }
        };
        let reply = ReplyTo { queue: Arc::clone(&self.queue), slot, sets, answered: false, permit: None };
        (reply, Waiter { completions: Rc::clone(self), slot, sets, done: false })
    }

    /// Hands results to their waiters, and what live users are told to `tell`. Ends when nobody holds this any more.
    pub fn run(self: Rc<Self>, tell: impl Fn(Told)) -> impl Future<Output = ()> {
        let this = Rc::downgrade(&self);
        drop(self);
        let mut taken = Vec::new();
        let mut ticks = None;
        std::future::poll_fn(move |context| {
            // the next tick finds that out
            let Some(this) = this.upgrade() else { return Poll::Ready(()) };
            let ticks = ticks.get_or_insert_with(|| {
                let mut ticks = interval(TICK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            });
            this.tick(ticks, context);
            this.queue.waker.register(context.waker());
            std::mem::swap(&mut taken, &mut *this.queue.completions.lock());
            for completion in taken.drain(..) {
                match completion {
                    Completion::Outcomes(slot, outcomes) => this.complete(slot, outcomes),
                    Completion::Told(told) => tell(*told),
                }
            }
            Poll::Pending
        })
    }

    fn tick(&self, ticks: &mut Interval, context: &mut Context<'_>) {
        while ticks.poll_tick(context).is_ready() {
            let slots = &mut *self.slots.borrow_mut();
            slots.ticks += 1;
            for slot in &mut slots.slots {
                if let Slot::Waiting(waker, until) = slot
                    && *until <= slots.ticks
                {
                    if let Some(waker) = waker.take() {
                        waker.wake();
                    }
                    *slot = Slot::Late;
                }
            }
        }
    }

    fn complete(&self, slot: usize, outcomes: Outcomes) {
        let slots = &mut *self.slots.borrow_mut();
        match std::mem::replace(&mut slots.slots[slot], Slot::Ready(outcomes)) {
            Slot::Waiting(waker, _) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Late => {}
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
    sets: usize,
    done: bool,
}

impl Waiter {
    /// Gives `Failed`, the outcome being unknown, if the outcomes are not there after this time (half a second more at
    /// most).
    pub fn within(self, limit: Duration) -> Self {
        let ticks = limit.as_millis().div_ceil(TICK.as_millis());
        {
            let slots = &mut *self.completions.slots.borrow_mut();
            if let Slot::Waiting(_, until) = &mut slots.slots[self.slot] {
                // the first tick may come at once
                *until = slots.ticks.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)).saturating_add(1);
            }
        }
        self
    }
}

impl Future for Waiter {
    type Output = Outcomes;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcomes> {
        let slot = self.slot;
        let outcomes = {
            let slots = &mut *self.completions.slots.borrow_mut();
            match &mut slots.slots[slot] {
                Slot::Ready(outcomes) => {
                    let outcomes = std::mem::take(outcomes);
                    slots.release(slot);
                    outcomes
                }
                Slot::Late => {
                    slots.slots[slot] = Slot::Abandoned;
                    smallvec![Outcome::Failed; self.sets]
                }
                Slot::Waiting(waker, _) => {
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
