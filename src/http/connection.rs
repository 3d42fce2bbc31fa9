//! What a connection's listener, the application and a socket tell each other about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Of a connection: whether a socket has it, which looks after its own stalls; and whether its first head is there.
#[derive(Clone, Default)]
pub(crate) struct Endless(Arc<Shared>);

/// Stands with a connection that came over TLS of this server's own.
pub(crate) struct OverTls;

#[derive(Default)]
struct Shared {
    is_on: AtomicBool,
    has_request: AtomicBool,
    /// The task that waits on the connection while no timer runs.
    waker: AtomicWaker,
}

impl Endless {
    /// A request was read from it.
    pub(crate) fn has_request(&self) {
        self.0.has_request.store(true, Ordering::Relaxed);
    }

    /// Whether a request was ever read from it.
    pub(crate) fn had_request(&self) -> bool {
        self.0.has_request.load(Ordering::Relaxed)
    }

    /// A socket has it.
    pub(crate) fn begin(&self) {
        self.0.is_on.store(true, Ordering::Relaxed);
    }

    /// The socket is over, and what it left unsent is not waited for.
    pub(crate) fn end(&self) {
        self.0.is_on.store(false, Ordering::Relaxed);
        // a task that waits for a client that reads nothing has to begin to count
        self.0.waker.wake();
    }

    /// Whether nothing is counted now; then the calling task is woken when that ends.
    pub(crate) fn holds(&self, cx: &Context<'_>) -> bool {
        if !self.0.is_on.load(Ordering::Relaxed) {
            return false;
        }
        self.0.waker.register(cx.waker());
        // it may have ended in between
        self.0.is_on.load(Ordering::Relaxed)
    }
}
