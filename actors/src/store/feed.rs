//! The feed of committed changes: what the store tells of each, once and in order, and who reads it.
//!
//! A change is published when it is durable and readers can see it, and before its proposer is answered: whoever reads an
//! answer can know that everyone else was told already. A reader takes what it wants on the writer's thread and never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use super::committed::{Committed, Position};
use super::completion::Wakes;

/// Takes what it wants of the feed.
pub trait Reader: Send + Sync {
    /// Takes what it wants of one group's changes, in order. Called on the writer's thread before the group is answered:
    /// it must not wait, nor ask the store, which may be locked. What it tells workers by `wakes` comes to them before the outcomes of the group.
    fn take(&self, changes: &[Committed], wakes: &mut Wakes);

    /// No change follows.
    fn close(&self) {}
}

/// The feed of one store.
#[derive(Default)]
pub struct Feed {
    readers: RwLock<Readers>,
}

#[derive(Default)]
struct Readers {
    readers: SmallVec<[Weak<dyn Reader>; 4]>,
    closed: bool,
}

impl Feed {
    /// Adds a reader, for as long as it is held elsewhere. It is told of each group that is published from now on.
    pub fn add(&self, reader: Weak<dyn Reader>) {
        let closed = {
            let readers = &mut *self.readers.write();
            readers.readers.retain(|reader| reader.strong_count() > 0);
            readers.readers.push(Weak::clone(&reader));
            readers.closed
        };
        if closed && let Some(reader) = reader.upgrade() {
            reader.close();
        }
    }

    /// Follows what `pick` returns of each change, called as [`Reader::take`] is. Up to `most` of these wait to be read;
    /// beyond that the oldest are dropped, and the follower is told where it goes on.
    pub fn follow<T: Send + 'static, Picked: IntoIterator<Item = T> + 'static>(
        &self,
        most: usize,
        pick: impl Fn(&Committed) -> Picked + Send + Sync + 'static,
    ) -> Follower<T> {
        let pick = move |change: &Committed, put: &mut dyn FnMut(T)| pick(change).into_iter().for_each(put);
        let (most, state) = (most.max(1), Mutex::new(State { waiting: VecDeque::new(), dropped: 0, closed: false }));
        let queue = Arc::new(Queue { most, pick: Box::new(pick), state, waker: AtomicWaker::new() });
        let reader: Weak<Queue<T>> = Arc::downgrade(&queue);
        self.add(reader);
        Follower { queue }
    }

    fn readers(&self) -> SmallVec<[Arc<dyn Reader>; 4]> {
        self.readers.read().readers.iter().filter_map(Weak::upgrade).collect()
    }

    /// For the store alone: publishes the changes of one group, which are durable and applied, and of which no one is answered yet.
    pub fn publish(&self, changes: &[Committed], wakes: &mut Wakes) {
        if !changes.is_empty() {
            self.readers().iter().for_each(|reader| reader.take(changes, wakes));
        }
    }

    /// For the store alone: tells the readers that no change follows.
    pub fn close(&self) {
        self.readers.write().closed = true;
        self.readers().iter().for_each(|reader| reader.close());
    }
}

/// What a follower reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<T> {
    /// What was picked of a change.
    Change(T),
    /// This many changes were dropped because they were not read in time; those from this position on follow.
    Dropped {
        /// How many.
        changes: u64,
        /// Where the feed goes on.
        resume: Position,
    },
}

/// What a follower takes of a change, if anything, one by one.
type Pick<T> = Box<dyn Fn(&Committed, &mut dyn FnMut(T)) + Send + Sync>;

struct State<T> {
    waiting: VecDeque<(Position, T)>,
    dropped: u64,
    closed: bool,
}

struct Queue<T> {
    most: usize,
    pick: Pick<T>,
    state: Mutex<State<T>>,
    waker: AtomicWaker,
}

impl<T: Send> Reader for Queue<T> {
    fn take(&self, changes: &[Committed], _: &mut Wakes) {
        let mut picked: SmallVec<[(Position, T); 4]> = SmallVec::new();
        changes
            .iter()
            .for_each(|change| (self.pick)(change, &mut |of_change| picked.push((change.position, of_change))));
        if picked.is_empty() {
            return;
        }
        {
            let state = &mut *self.state.lock();
            for change in picked {
                if state.waiting.len() >= self.most {
                    state.waiting.pop_front();
                    state.dropped += 1;
                }
                state.waiting.push_back(change);
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
pub struct Follower<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Follower<T> {
    /// What comes next; `None` when the store has ended and all is read.
    pub async fn next(&mut self) -> Option<Next<T>> {
        // others on this thread, too, while there is always something to read
        tokio::task::consume_budget().await;
        std::future::poll_fn(|context| {
            self.queue.waker.register(context.waker());
            let state = &mut *self.queue.state.lock();
            let next = match (state.dropped, state.waiting.front()) {
                (changes @ 1.., Some((resume, _))) => {
                    let resume = *resume;
                    state.dropped = 0;
                    Some(Next::Dropped { changes, resume })
                }
                _ => state.waiting.pop_front().map(|(_, change)| Next::Change(change)),
            };
            match next {
                None if !state.closed => Poll::Pending,
                next => Poll::Ready(next),
            }
        })
        .await
    }
}
