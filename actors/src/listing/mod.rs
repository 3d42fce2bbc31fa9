//! Users in the order of their creation, filtered and counted: an index that is built when somebody asks, kept up to date by the feed,
//! and let go when nobody has asked for a while. At rest it takes nothing.
//!
//! A thread of its own builds it, keeps it, and does what takes long. A short question is answered on the thread of whoever asks if
//! the index is free, since to wake a thread takes longer than to read a page. Neither a worker nor the writer waits for it.

mod filter;
mod inbox;
mod index;
mod names;
mod order;
mod word;

pub use self::filter::UserFilter;
pub use self::index::{MOST_LOOKED_AT, MOST_READ, UserCounts, UserPage, UserQuery};

pub(crate) use self::inbox::Unanswered;
pub(crate) use self::index::Index;
pub(crate) use self::names::Held;

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::inbox::{Ask, Inbox, Work};
use crate::domain::UserId;
use crate::store::Store;

/// The way to the index of one store.
pub(crate) struct Lists {
    store: Arc<dyn Store>,
    window_s: u32,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    running: Option<Running>,
    /// Those that were closed and are not known to have ended: each has a part in the store.
    ending: Vec<JoinHandle<()>>,
}

/// A thread that keeps the index.
struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What the thread shares with those who ask.
struct Shared {
    inbox: Arc<Inbox>,
    /// Once it is built, but for when it is used.
    index: Mutex<Option<Index>>,
}

impl Running {
    fn start(store: &Arc<dyn Store>, window_s: u32) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::new(store.clock().now()));
        // before anything is read: whoever changes from now on is read again
        let reader: Weak<Inbox> = Arc::downgrade(&inbox);
        store.feed().add(reader);
        let shared = Arc::new(Shared { inbox, index: Mutex::default() });
        let (for_index, work) = (Arc::clone(store), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("listing".to_owned());
        let thread = thread.spawn(move || serve(for_index, window_s, &work))?;
        Ok(Self { shared, thread })
    }
}

impl Threads {
    /// Lets the index go, without waiting for that.
    fn close(&mut self) {
        if let Some(Running { shared, thread }) = self.running.take() {
            shared.inbox.close();
            self.ending.push(thread);
        }
        let ended = self.ending.extract_if(.., |thread| thread.is_finished());
        ended.for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the index of users died");
    }
}

impl Lists {
    /// Of a store, in which anonymous users expire after so many seconds.
    pub(crate) fn new(store: Arc<dyn Store>, window_s: u32) -> Self {
        Self { store, window_s, threads: Mutex::default() }
    }

    /// Asks the index, which is built first if it is not there. Where `is_short`, it is asked on this thread if that can be done at once.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        is_short: impl FnOnce(&Index) -> bool,
        question: impl FnOnce(&mut Index) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let question = match self.at_once(is_short, question) {
            Ok(answer) => return Ok(answer),
            Err(question) => question,
        };
        let (answer, answered) = oneshot::channel();
        // whoever asked may have gone away
        self.send(Box::new(move |index| drop(answer.send(question(index)))))?;
        answered.await.map_err(|_| Unanswered::Ended)
    }

    /// Asks on this thread; gives the question back if that cannot be done at once.
    fn at_once<T, Q: FnOnce(&mut Index) -> T>(
        &self,
        is_short: impl FnOnce(&Index) -> bool,
        question: Q,
    ) -> Result<T, Q> {
        let running = self.threads.lock().running.as_ref().map(|running| Arc::clone(&running.shared));
        let Some(shared) = running else { return Err(question) };
        let Some(mut place) = shared.index.try_lock() else { return Err(question) };
        if !place.as_ref().is_some_and(is_short) {
            return Err(question);
        }
        let Some(changed) = shared.inbox.take_few(self.store.clock().now()) else { return Err(question) };
        // out of its place, so that it goes if this thread dies, and is built again
        let Some(mut index) = place.take() else { return Err(question) };
        index.read_again(changed);
        let answer = question(&mut index);
        *place = Some(index);
        Ok(answer)
    }

    fn send(&self, ask: Ask) -> Result<(), Unanswered> {
        let now = self.store.clock().now();
        let mut threads = self.threads.lock();
        let ask = match &threads.running {
            Some(there) => match there.shared.inbox.ask(ask, now) {
                Ok(()) => return Ok(()),
                Err((_, Unanswered::Busy)) => return Err(Unanswered::Busy),
                Err((ask, Unanswered::Ended)) => ask,
            },
            None => ask,
        };
        threads.close();
        let started = Running::start(&self.store, self.window_s).map_err(|error| {
            tracing::error!(%error, "there is no thread for the index of users");
            Unanswered::Ended
        })?;
        let sent = started.shared.inbox.ask(ask, now).map_err(|(_, why)| why);
        threads.running = Some(started);
        sent
    }

    /// A user was seen again, of which the feed does not tell.
    pub(crate) fn note_seen(&self, user: UserId) {
        if let Some(running) = &self.threads.lock().running {
            running.shared.inbox.note(&[user]);
        }
    }

    /// Whether there is an index now, or what is left of one.
    pub(crate) fn is_there(&self) -> bool {
        let threads = self.threads.lock();
        let running = threads.running.as_ref().map(|running| &running.thread);
        running.into_iter().chain(&threads.ending).any(|thread| !thread.is_finished())
    }
}

impl Drop for Lists {
    /// Waits for the threads, so that none of them is the last to let go of the store.
    fn drop(&mut self) {
        let mut threads = self.threads.lock();
        threads.close();
        threads.ending.drain(..).for_each(join);
    }
}

/// Also a thread that dies takes nothing any more, and nothing is left of the index.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.inbox.close();
        *self.0.index.lock() = None;
    }
}

/// The thread's life: builds the index for the first who asks, and ends when nobody has asked for a while.
fn serve(store: Arc<dyn Store>, window_s: u32, shared: &Shared) {
    let (_closing, inbox) = (Closing(shared), &*shared.inbox);
    while inbox.wait(|| store.clock().now()) {
        let mut place = shared.index.lock();
        let Work { asks, changed, is_behind } = inbox.take();
        if is_behind {
            tracing::warn!("the index of users fell behind, and is built again when somebody asks");
            *place = None;
        }
        if let Some(mut index) = place.take() {
            index.read_again(changed);
            asks.into_iter().for_each(|ask| ask(&mut index));
            *place = Some(index);
        } else if !asks.is_empty() {
            let began_us = store.clock().monotonic_us();
            *place = Index::build(Arc::clone(&store), window_s, &|| inbox.is_closed());
            let took_ms = store.clock().monotonic_us().saturating_sub(began_us) / 1000;
            if place.is_some() {
                tracing::info!(users = store.users(), took_ms, "the index of users is built");
            }
            // who changed while it was built is read again first
            inbox.put_back(asks);
        }
    }
}
