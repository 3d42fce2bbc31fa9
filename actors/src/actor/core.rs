//! What all workers of a server share.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use super::event;
use super::job::LastJob;
use super::messages::Address;
use crate::domain::{Entropy, IdForm, Operation, Policy, Refusal, UserId, ValueKey};
use crate::listing::Lists;
use crate::registry::Directory;
use crate::store::{Committed, CompletionQueue, Health, Reader, Store, Told, Wakes};

/// Bounds of the actors.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A session actor rests after this long without a message (milliseconds).
    pub idle_ms: u64,
    /// At most this many users are live; beyond it the longest idle rest.
    pub max_live: usize,
    /// At most this many users exist; beyond it no user is created and none is removed to make room.
    pub max_users: usize,
    /// At most this many stateful operations are under way.
    pub permits: usize,
    /// How long an operation waits for its commit.
    pub commit_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle_ms: 60_000,
            max_live: 100_000,
            max_users: usize::MAX,
            permits: 4096,
            commit_timeout: Duration::from_secs(10),
        }
    }
}

/// Figures of the actors, for metrics.
#[derive(Debug, Default)]
pub struct ActorStats {
    /// Users created.
    pub logins: AtomicU64,
    /// Session actors begun.
    pub activations: AtomicU64,
    /// Session actors put to rest.
    pub passivations: AtomicU64,
    /// Session actors that died.
    pub deaths: AtomicU64,
    /// Operations refused without a permit.
    pub shed: AtomicU64,
    /// Uses of the refresh token before the current one (S32).
    pub grace_uses: AtomicU64,
    /// Sessions ended because a refresh token was used again (S31).
    pub reuses: AtomicU64,
    /// Life-cycle events that came faster than they could be logged.
    pub unlogged: Arc<AtomicU64>,
    /// Genuine tokens and cookies of users who were never here.
    pub strangers: AtomicU64,
    /// Checks of sessions.
    pub checks: AtomicU64,
    /// Uses after which a user was last active less than `touch_granularity` ago, and was not before: all, and of anonymous users.
    pub returned: [AtomicU64; 2],
    /// Those of them that were the first of their user on a day (UTC).
    pub returned_that_day: [AtomicU64; 2],
    /// Users who were created, and came back for the first time.
    pub came_back: AtomicU64,
}

/// How often the log says that users of a different server come here (milliseconds).
const STRANGERS_MS: u64 = 3_600_000;

/// Called before each operation of a session actor: where a test lets one die.
pub type BeforeOperation = Arc<dyn Fn(&UserId, &Operation) + Send + Sync>;

/// What all workers of a server share.
pub struct Core {
    // before the store: the last of its threads' parts in the store goes here, and not on such a thread
    pub(crate) listing: Lists,
    pub(crate) store: Arc<dyn Store>,
    policy: Policy,
    /// That of the policy, until another one is set.
    session_lifetime_s: AtomicU32,
    pub(crate) limits: Limits,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) directory: Directory<Address>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) stats: ActorStats,
    pub(crate) before_operation: Option<BeforeOperation>,
    pub(crate) last_job: LastJob,
    queues: RwLock<Vec<Option<Arc<CompletionQueue>>>>,
    incarnations: AtomicU64,
    /// When the server started, Unix time in milliseconds.
    started_ms: u64,
    /// When a stranger was last spoken of, by the monotonic clock in milliseconds; 0 for never.
    spoken_ms: AtomicU64,
}

impl Core {
    /// A core over a store. Its users' actors hear of every change from now on.
    pub fn new(
        store: Arc<dyn Store>,
        policy: Policy,
        limits: Limits,
        entropy: Arc<dyn Entropy>,
        before_operation: Option<BeforeOperation>,
    ) -> Arc<Self> {
        let started_ms = store.clock().wall_ms();
        let core = Arc::new(Self {
            listing: Lists::new(Arc::clone(&store), policy.window_s),
            store,
            session_lifetime_s: AtomicU32::new(policy.session_lifetime_s),
            policy,
            limits,
            entropy,
            directory: Directory::default(),
            permits: Arc::new(Semaphore::new(limits.permits)),
            stats: ActorStats::default(),
            before_operation,
            last_job: LastJob::default(),
            queues: RwLock::default(),
            incarnations: AtomicU64::new(0),
            started_ms,
            spoken_ms: AtomicU64::new(0),
        });
        // weak, so that the store does not keep the core alive
        let reader: Weak<Self> = Arc::downgrade(&core);
        core.store.feed().add(reader);
        core
    }

    /// Logs, once an hour, that a genuine token names a user who was never here: a second server has the same keys and a
    /// data folder of its own, and each calls the other's users dead.
    pub(crate) fn note_stranger(&self, user: &UserId) {
        if !self.store.was_never_here(user, self.started_ms) {
            return;
        }
        self.stats.strangers.fetch_add(1, Ordering::Relaxed);
        let (now_ms, spoken_ms) = (self.store.clock().monotonic_ms().max(1), self.spoken_ms.load(Ordering::Relaxed));
        let is_due = spoken_ms == 0 || now_ms.saturating_sub(spoken_ms) >= STRANGERS_MS;
        let claim = || self.spoken_ms.compare_exchange(spoken_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_due && claim() {
            tracing::warn!(
                %user,
                "a token under a key of this server names a user who was never here: is there another server with the same \
                 keys and a data folder of its own? Each of them refuses the users of the other"
            );
        }
    }

    /// Logs what happens to users from now on, until the store ends.
    pub fn log_events(&self) -> impl Future<Output = ()> + use<> {
        event::log(self.store.feed(), Arc::clone(&self.stats.unlogged))
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The rules as they are now.
    pub fn policy(&self) -> Policy {
        Policy { session_lifetime_s: self.session_lifetime_s.load(Ordering::Relaxed), ..self.policy }
    }

    /// From now on sessions of lasting accounts live so long (seconds, from their beginning), also those that are there.
    pub fn set_session_lifetime(&self, seconds: u32) {
        self.session_lifetime_s.store(seconds, Ordering::Relaxed);
    }

    /// Figures.
    pub fn stats(&self) -> &ActorStats {
        &self.stats
    }

    /// When the server started, Unix time in milliseconds.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// How many users are live.
    pub fn live_users(&self) -> usize {
        self.directory.len()
    }

    /// Whether there is an index of users now: somebody has asked for users a while ago.
    pub fn has_user_index(&self) -> bool {
        self.listing.is_there()
    }

    /// A permit for one stateful operation.
    ///
    /// # Errors
    /// `Overloaded`: as many are under way as are allowed.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            self.stats.shed.fetch_add(1, Ordering::Relaxed);
            Error::Overloaded
        })
    }

    /// Whether changes can be stored.
    ///
    /// # Errors
    /// `NotWritable` or `Stopping`.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        match self.store.health() {
            Health::Writable => Ok(()),
            Health::Failing => Err(Error::NotWritable),
            Health::Stopped => Err(Error::Stopping),
        }
    }

    /// A refusal as the caller may pass it on: while the store cannot write, nobody is called dead.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Error {
        self.writable().err().unwrap_or(Error::Refused(refusal))
    }

    /// A user's document as it is stored, to be read by [`Document::view`](crate::domain::Document::view).
    pub fn document(&self, user: &UserId) -> Option<Arc<[u8]>> {
        self.store.value(&ValueKey::document(user))
    }

    /// A new id, in this form unless the policy has one for all.
    pub(crate) fn new_id(&self, form: IdForm) -> UserId {
        let clock = self.store.clock();
        match self.policy.ids.unwrap_or(form) {
            IdForm::Object => {
                let mut random = [0; 8];
                self.entropy.fill(&mut random);
                // an ObjectId's time is 32 bits of seconds, which last until 2106
                UserId::object(u32::try_from(clock.wall_ms() / 1000).unwrap_or(u32::MAX), random)
            }
            IdForm::TimeOrdered => {
                let mut random = [0; 10];
                self.entropy.fill(&mut random);
                UserId::time_ordered(clock.wall_ms(), random)
            }
        }
    }

    /// A number for a socket, which no other in this process has: those of every core over one store are told of each other's changes.
    pub(crate) fn next_socket() -> u64 {
        static SOCKETS: AtomicU64 = AtomicU64::new(0);
        SOCKETS.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a worker by its queue and answers its number, which may be that of a worker who is gone.
    pub(crate) fn add_worker(&self, queue: Arc<CompletionQueue>) -> usize {
        let mut queues = self.queues.write();
        match queues.iter().position(Option::is_none) {
            Some(free) => {
                queues[free] = Some(queue);
                free
            }
            None => {
                queues.push(Some(queue));
                queues.len() - 1
            }
        }
    }

    /// Forgets a worker and the actors that went with it: they are activated again elsewhere.
    pub(crate) fn remove_worker(&self, worker: usize) {
        for (id, incarnation) in self.directory.idle(worker, u64::MAX) {
            self.directory.forget(&id, incarnation);
        }
        // from here on the number may be another one's
        if let Some(queue) = self.queues.write().get_mut(worker) {
            *queue = None;
        }
    }

    /// Counts the death of a live user's actor and says so. Called by the actor itself as it falls.
    pub(crate) fn bury(&self, id: &UserId, incarnation: u64) {
        self.directory.forget(id, incarnation);
        self.stats.deaths.fetch_add(1, Ordering::Relaxed);
        match self.directory.count_death(id, self.store.clock().monotonic_ms()) {
            None => tracing::error!(user = %id, "a session actor died and will be activated afresh"),
            Some(blocked_ms) => {
                tracing::error!(user = %id, blocked_ms, "a session actor died too often; the user's changes are refused for a while");
            }
        }
    }
}

impl Reader for Core {
    /// Tells each live user of what changed of them, by the worker that has them.
    fn take(&self, changes: &[Committed], wakes: &mut Wakes) {
        if self.directory.is_empty() {
            return;
        }
        let queues = self.queues.read();
        for change in changes {
            // what changes a document leaves the record as it is
            let edited = change.user.filter(|_| change.edit().is_some() && change.changed.is_empty());
            for user in change.changed.iter().map(|changed| changed.id).chain(edited) {
                let worker = self.directory.peek(&user).map(|(_, worker)| worker);
                if let Some(Some(queue)) = worker.and_then(|worker| queues.get(worker)) {
                    wakes.tell(queue, Told { user, change: change.clone() });
                }
            }
        }
    }
}
