//! The sockets of a live user: who is told of what, in which order, and what a socket that comes back has missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use crate::domain::{Cause, Delta, Document, Policy, ServiceTime, Shape, UserId, UserState};

/// How many frames may wait for a socket: one that takes them slower than they come is cut off.
pub const OUTBOX: usize = 512;
/// How many sockets a user may have.
pub const MOST_SOCKETS: usize = 1024;
/// How many changes are kept for sockets that come back, and how large they may be together (bytes).
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 * 1024;

/// What a socket is told by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// The document changed from the version before.
    Changed(Arc<Delta>),
    /// The document is this now.
    Whole {
        /// Its version.
        version: u64,
        /// Its JSON text; none if it is gone.
        json: Option<Arc<str>>,
    },
    /// The socket's session goes on under this number, of a lasting account.
    Linked {
        /// The session's number.
        session: u32,
    },
    /// One user became part of another.
    Merged {
        /// Who is left.
        survivor: UserId,
        /// Who is an alias now.
        merged: UserId,
    },
    /// The socket's session is over; nothing follows.
    Ended(Cause),
}

/// What a socket is told when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The document's version.
    pub version: u64,
    /// What the socket does not know of it yet.
    pub missed: Missed,
    /// Whether the user is anonymous.
    pub anonymous: bool,
}

/// What a socket does not know of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Nothing: it named the current version.
    Nothing,
    /// These changes since the version that it named.
    Changes(Vec<Arc<Delta>>),
    /// All of it; none if there is no document.
    Whole(Option<Arc<str>>),
}

/// A socket's end of its queue.
pub struct Inbox {
    pushes: Receiver<Arc<Push>>,
    overflowed: Arc<AtomicBool>,
}

impl Inbox {
    /// The next thing to tell. `None` when the actor cut the socket off or is gone; after [`Push::Ended`], it ended.
    pub async fn next(&mut self) -> Option<Arc<Push>> {
        self.pushes.recv().await
    }

    /// The same, if there is something already.
    pub fn try_next(&mut self) -> Option<Arc<Push>> {
        self.pushes.try_recv().ok()
    }

    /// Whether the socket was cut off because [`OUTBOX`] frames were waiting for it.
    pub fn overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed)
    }
}

struct Socket {
    id: u64,
    session: u32,
    outbox: Sender<Arc<Push>>,
    overflowed: Arc<AtomicBool>,
}

impl Socket {
    /// Whether it took it.
    fn tell(&self, push: &Arc<Push>) -> bool {
        match self.outbox.try_send(Arc::clone(push)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.overflowed.store(true, Ordering::Relaxed);
                false
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// The sockets of one user.
#[derive(Default)]
pub(super) struct Sockets {
    sockets: Vec<Socket>,
    /// The version that every socket knows.
    told: u64,
    kept: VecDeque<Arc<Delta>>,
    kept_bytes: usize,
}

impl Sockets {
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Adds a socket of this session; `since` is the version that it knows. `None` if there are too many.
    pub(super) fn attach(
        &mut self,
        id: u64,
        session: u32,
        since: Option<u64>,
        user: &UserState,
    ) -> Option<(Hello, Inbox)> {
        self.sockets.retain(|socket| !socket.outbox.is_closed());
        if self.sockets.len() >= MOST_SOCKETS {
            return None;
        }
        // whoever is there already hears of what nobody told them
        self.catch_up(user);
        let (outbox, pushes) = channel(OUTBOX);
        let overflowed = Arc::<AtomicBool>::default();
        self.sockets.push(Socket { id, session, outbox, overflowed: Arc::clone(&overflowed) });
        let hello =
            Hello { version: self.told, missed: self.missed(since, user), anonymous: user.record.is_anonymous() };
        Some((hello, Inbox { pushes, overflowed }))
    }

    fn missed(&self, since: Option<u64>, user: &UserState) -> Missed {
        match since {
            Some(since) if since == self.told => Missed::Nothing,
            Some(since) if self.kept.front().is_some_and(|oldest| (oldest.seen..self.told).contains(&since)) => {
                Missed::Changes(self.kept.iter().filter(|delta| delta.seen >= since).cloned().collect())
            }
            _ => Missed::Whole(json(user)),
        }
    }

    /// Tells everybody but its origin of a change that is durable. Answers whether it was one of the version that they know, or
    /// one that they were told of already.
    pub(super) fn changed(&mut self, delta: &Arc<Delta>, origin: Option<u64>) -> bool {
        if delta.seen != self.told {
            return delta.seen < self.told;
        }
        self.told = delta.seen + 1;
        self.kept.push_back(Arc::clone(delta));
        self.kept_bytes += size(delta);
        while self.kept.len() > KEPT || self.kept_bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= size(&oldest);
        }
        let push = Arc::new(Push::Changed(Arc::clone(delta)));
        self.sockets.retain(|socket| Some(socket.id) == origin || socket.tell(&push));
        true
    }

    /// Tells everybody of the document as it is, if it is not the one that they know: somebody else than the actor changed it.
    pub(super) fn catch_up(&mut self, user: &UserState) {
        let version = user.document().version();
        if version == self.told {
            return;
        }
        self.told = version;
        (self.kept, self.kept_bytes) = (VecDeque::new(), 0);
        if !self.sockets.is_empty() {
            self.tell_all(Push::Whole { version, json: json(user) });
        }
    }

    /// The version that is known when the actor begins.
    pub(super) fn begin_at(&mut self, user: &UserState) {
        self.told = user.document().version();
    }

    pub(super) fn tell_all(&mut self, push: Push) {
        let push = Arc::new(push);
        self.sockets.retain(|socket| socket.tell(&push));
    }

    /// The session of this number goes on under another one.
    pub(super) fn continued(&mut self, old: u32, new: u32) {
        let push = Arc::new(Push::Linked { session: new });
        self.sockets.retain_mut(|socket| {
            if socket.session != old {
                return true;
            }
            socket.session = new;
            socket.tell(&push)
        });
    }

    /// Ends the sockets whose session is over.
    pub(super) fn end_dead(&mut self, user: &UserState, cause: Cause, now: ServiceTime, policy: &Policy) {
        let push = Arc::new(Push::Ended(cause));
        self.sockets.retain(|socket| {
            let lives = user.session(socket.session, now, policy).is_some();
            if !lives {
                // who does not take it any more is cut off all the same
                socket.tell(&push);
            }
            lives
        });
    }

    /// Whether some socket's session is over.
    pub(super) fn has_dead(&self, user: &UserState, now: ServiceTime, policy: &Policy) -> bool {
        self.sockets.iter().any(|socket| user.session(socket.session, now, policy).is_none())
    }

    pub(super) fn end_all(&mut self, cause: Cause) {
        self.tell_all(Push::Ended(cause));
        self.sockets.clear();
    }
}

fn json(user: &UserState) -> Option<Arc<str>> {
    let view = user.document.as_deref().and_then(|bytes| Document::view(bytes).ok())?;
    view.json.map(Arc::from)
}

fn size(delta: &Delta) -> usize {
    match &delta.shape {
        Shape::Whole(None) => 0,
        Shape::Whole(Some(json)) | Shape::Merge(json) => json.len(),
    }
}
