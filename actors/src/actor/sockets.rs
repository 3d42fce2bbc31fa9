//! The sockets of a live user: what each is told, in which order, and what a socket that reconnects has missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use crate::domain::{Cause, Continued, Delta, Document, Policy, ServiceTime, UserId, UserState};

/// How many frames may wait for a socket: one that takes them slower than they come is cut off.
pub const OUTBOX: usize = 512;
/// How many documents of the largest size they may be together, if there is more than one.
pub const OUTBOX_DOCUMENTS: usize = 16;
/// How many sockets a user may have.
pub const MOST_SOCKETS: usize = 1024;
/// How many changes are kept for sockets that come back, and how large they may be together (bytes).
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 * 1024;

/// What a socket is sent unasked.
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
    /// One user became part of a different one.
    Merged {
        /// The user who goes on.
        survivor: UserId,
        /// The user who is an alias now.
        merged: UserId,
    },
    /// The socket's session is over; nothing follows.
    Ended(Cause),
}

/// What a socket is sent first.
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

/// What both ends of a socket's queue know of it.
#[derive(Default)]
struct Load {
    /// What waits.
    bytes: AtomicUsize,
    overflowed: AtomicBool,
}

/// A socket's end of its queue.
pub struct Inbox {
    pushes: Receiver<Arc<Push>>,
    load: Arc<Load>,
}

impl Inbox {
    /// The next thing to tell. `None` when the actor cut the socket off or is gone; after [`Push::Ended`], it ended.
    pub async fn next(&mut self) -> Option<Arc<Push>> {
        let push = self.pushes.recv().await;
        self.taken(push)
    }

    /// The same, if there is something already.
    pub fn try_next(&mut self) -> Option<Arc<Push>> {
        let push = self.pushes.try_recv().ok();
        self.taken(push)
    }

    fn taken(&self, push: Option<Arc<Push>>) -> Option<Arc<Push>> {
        if let Some(push) = &push {
            self.load.bytes.fetch_sub(size(push), Ordering::Relaxed);
        }
        push
    }

    /// Whether the socket was cut off because as much was waiting for it as may: [`OUTBOX`], [`OUTBOX_DOCUMENTS`].
    pub fn overflowed(&self) -> bool {
        self.load.overflowed.load(Ordering::Relaxed)
    }
}

struct Socket {
    id: u64,
    session: u32,
    outbox: Sender<Arc<Push>>,
    most_bytes: usize,
    load: Arc<Load>,
}

impl Socket {
    /// Whether it took it.
    fn tell(&self, push: &Arc<Push>) -> bool {
        let bytes = size(push);
        let waiting = self.load.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting == 0 || waiting + bytes <= self.most_bytes;
        let sent =
            if fits { self.outbox.try_send(Arc::clone(push)) } else { Err(TrySendError::Full(Arc::clone(push))) };
        if matches!(sent, Err(TrySendError::Full(_))) {
            self.load.overflowed.store(true, Ordering::Relaxed);
        }
        sent.is_ok()
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
    /// The last of those who became part of this user that every socket knows of.
    merged: Option<UserId>,
}

impl Sockets {
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Adds a socket of this session; `since` is the version that it knows. `None` if there are too many.
    pub(super) fn attach(
        &mut self,
        id: u64,
        session: u32,
        since: Option<u64>,
        user: &UserState,
        document_bytes: usize,
    ) -> Option<(Hello, Inbox)> {
        self.sockets.retain(|socket| !socket.outbox.is_closed());
        if self.sockets.len() >= MOST_SOCKETS {
            return None;
        }
        // the sockets that are open already hear of what they were not told
        self.catch_up(user);
        if self.sockets.is_empty() {
            self.merged = user.aliases().last().map(|alias| alias.id);
        }
        let (outbox, pushes) = channel(OUTBOX);
        let load = Arc::<Load>::default();
        let most_bytes = document_bytes.saturating_mul(OUTBOX_DOCUMENTS);
        self.sockets.push(Socket { id, session, outbox, most_bytes, load: Arc::clone(&load) });
        let hello =
            Hello { version: self.told, missed: self.missed(since, user), anonymous: user.record.is_anonymous() };
        Some((hello, Inbox { pushes, load }))
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

    /// Tells all sockets but its origin of a durable change. Returns whether it was one of the version that they know, or
    /// one that they were told of already; if not, they have to catch up.
    pub(super) fn changed(&mut self, delta: &Arc<Delta>, origin: Option<u64>) -> bool {
        if delta.seen != self.told {
            return delta.seen < self.told;
        }
        self.told = delta.seen + 1;
        self.kept.push_back(Arc::clone(delta));
        self.kept_bytes += delta.size();
        while self.kept.len() > KEPT || self.kept_bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.size();
        }
        let push = Arc::new(Push::Changed(Arc::clone(delta)));
        self.sockets.retain(|socket| Some(socket.id) == origin || socket.tell(&push));
        true
    }

    /// Whether every socket was told of this version.
    pub(super) fn know(&self, version: u64) -> bool {
        self.told >= version
    }

    /// Sends all sockets the current document, if it is not the one that they know: the actor did not make the change.
    pub(super) fn catch_up(&mut self, user: &UserState) {
        let version = version(user);
        if version == self.told {
            return;
        }
        self.told = version;
        (self.kept, self.kept_bytes) = (VecDeque::new(), 0);
        if !self.sockets.is_empty() {
            self.tell_all(Push::Whole { version, json: json(user) });
        }
    }

    /// The version that is known when the first one comes.
    pub(super) fn begin_at(&mut self, user: &UserState) {
        self.told = version(user);
    }

    /// Tells all sockets which users became part of theirs since they were last told.
    pub(super) fn tell_merged(&mut self, user: &UserState) {
        // the last one is never forgotten
        let known = user.aliases().iter().position(|alias| Some(alias.id) == self.merged);
        for alias in user.aliases().iter().skip(known.map_or(0, |known| known + 1)) {
            self.tell_all(Push::Merged { survivor: user.id, merged: alias.id });
        }
        self.merged = user.aliases().last().map(|alias| alias.id);
    }

    pub(super) fn tell_all(&mut self, push: Push) {
        let push = Arc::new(push);
        self.sockets.retain(|socket| socket.tell(&push));
    }

    /// A session goes on after a link.
    pub(super) fn continued(&mut self, Continued { old, new }: Continued) {
        let push = Arc::new(Push::Linked { session: new });
        self.sockets.retain_mut(|socket| {
            if socket.session != old {
                return true;
            }
            socket.session = new;
            socket.tell(&push)
        });
    }

    /// Ends the sockets whose session is over. One whose session goes on under a different number is told so by the change that did
    /// it, if not by this one.
    pub(super) fn end_dead(&mut self, user: &UserState, cause: Cause, now: ServiceTime, policy: &Policy) {
        let push = Arc::new(Push::Ended(cause));
        let replaced = user.sessions().into_iter().filter_map(|session| session.replaces);
        let replaced: Vec<u32> = replaced.filter(|was| was.user == user.id).map(|was| was.number).collect();
        self.sockets.retain(|socket| {
            let lives = user.session(socket.session, now, policy).is_some() || replaced.contains(&socket.session);
            if !lives {
                // a socket that no longer reads is closed all the same
                socket.tell(&push);
            }
            lives
        });
    }

    pub(super) fn end_all(&mut self, cause: Cause) {
        self.tell_all(Push::Ended(cause));
        self.sockets.clear();
    }
}

fn version(user: &UserState) -> u64 {
    let view = user.document.as_deref().and_then(|bytes| Document::view(bytes).ok());
    view.map_or(0, |view| view.version)
}

fn json(user: &UserState) -> Option<Arc<str>> {
    let view = user.document.as_deref().and_then(|bytes| Document::view(bytes).ok())?;
    view.json.map(Arc::from)
}

/// What a push takes while it waits, on the whole.
fn size(push: &Push) -> usize {
    let text = match push {
        Push::Changed(delta) => delta.size(),
        Push::Whole { json, .. } => json.as_ref().map_or(0, |json| json.len()),
        Push::Linked { .. } | Push::Merged { .. } | Push::Ended(_) => 0,
    };
    text + size_of::<Push>()
}
