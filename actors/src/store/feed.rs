//! The feed of committed changes: what the store tells of each, once and in order, and who reads it.
//!
//! A change is published when it is durable and readers can see it, and before its proposer is answered: whoever reads an
//! answer can know that everyone else was told already. A reader takes what it wants on the writer's thread and never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};

use super::committed::{Committed, Position};
use super::completion::Wakes;

/// Takes what it wants of the feed.
pub trait Reader: Send + Sync {
    /// Takes what it wants of one group's changes, in order. Called on the writer's thread before the group is answered:
    /// it must not wait. Workers that it adds to `wakes` are woken once, with those that are answered.
    fn take(&self, changes: &[Committed], wakes: &mut Wakes);

    /// No change follows.
    fn close(&self) {}
}

/// The feed of one store.
#[derive(Default)]
pub struct Feed {
    readers: RwLock<Vec<Weak<dyn Reader>>>,
}

impl Feed {
    /// Adds a reader, for as long as it is held elsewhere. It is told of each group that is published from now on.
    pub fn add(&self, reader: Weak<dyn Reader>) {
        let mut readers = self.readers.write();
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(reader);
    }

    /// Follows the changes that `wants` names. Up to `most` wait to be read; beyond that the oldest are dropped, and the
    /// follower is told where it goes on.
    pub fn follow(&self, most: usize, wants: impl Fn(&Committed) -> bool + Send + Sync + 'static) -> Follower {
        let queue =
            Arc::new(Queue { most, wants: Box::new(wants), state: Mutex::default(), waker: AtomicWaker::new() });
        let reader = Arc::downgrade(&queue);
        self.add(reader);
        Follower { queue }
    }

    /// Publishes the changes of one group: they are durable and applied, and no one is answered yet.
    pub fn publish(&self, changes: &[Committed], wakes: &mut Wakes) {
        if changes.is_empty() {
            return;
        }
        for reader in self.readers.read().iter().filter_map(Weak::upgrade) {
            reader.take(changes, wakes);
        }
    }

    /// Tells the readers that no change follows.
    pub fn close(&self) {
        self.readers.read().iter().filter_map(Weak::upgrade).for_each(|reader| reader.close());
    }
}

/// What a follower reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A change.
    Change(Box<Committed>),
    /// This many changes were dropped because they were not read in time; those from this position on follow.
    Dropped {
        /// How many.
        changes: u64,
        /// Where the feed goes on.
        resume: Position,
    },
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Committed>,
    dropped: u64,
    closed: bool,
}

struct Queue {
    most: usize,
    wants: Box<dyn Fn(&Committed) -> bool + Send + Sync>,
    state: Mutex<State>,
    waker: AtomicWaker,
}

impl Reader for Queue {
    fn take(&self, changes: &[Committed], _: &mut Wakes) {
        let mut wanted = changes.iter().filter(|change| (self.wants)(change)).peekable();
        if wanted.peek().is_none() {
            return;
        }
        {
            let state = &mut *self.state.lock();
            for change in wanted {
                if state.waiting.len() >= self.most {
                    state.waiting.pop_front();
                    state.dropped += 1;
                }
                state.waiting.push_back(change.clone());
            }
        }
        self.waker.wake();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.waker.wake();
    }
}

/// A reader at its own pace. Dropping it ends it.
pub struct Follower {
    queue: Arc<Queue>,
}

impl Follower {
    /// What comes next; `None` when the store has ended and all is read.
    pub async fn next(&mut self) -> Option<Next> {
        std::future::poll_fn(|context| {
            self.queue.waker.register(context.waker());
            let state = &mut *self.queue.state.lock();
            let next = match (state.dropped, state.waiting.front()) {
                (changes @ 1.., Some(first)) => {
                    let resume = first.position;
                    state.dropped = 0;
                    Some(Next::Dropped { changes, resume })
                }
                _ => state.waiting.pop_front().map(|change| Next::Change(Box::new(change))),
            };
            match next {
                None if !state.closed => Poll::Pending,
                next => Poll::Ready(next),
            }
        })
        .await
    }
}
