//! Passwords: how they are read, hashed and checked, on threads of their own so that no check can starve a reader.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, PasswordVerifier as _, Version};
use parking_lot::{Condvar, Mutex};
use passerby_actors::domain::Entropy;
use serde::{Deserialize, Deserializer};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::typed;
use crate::limits::fair_queue::{FairQueue, Pushed};
use crate::limits::network::Network;

/// Characters (Unicode scalar values) that a chosen password has, as App Services demanded (docs/protocol.md, "Limits").
pub const LENGTH: std::ops::RangeInclusive<usize> = 6..=128;

const SALT_BYTES: usize = 16;

/// A stored hash that asks for more than this is not worked on (KiB, passes, lanes): it can only be damage or malice.
const MOST: (u32, u32, u32) = (256 * 1024, 16, 16);

/// The hashing threads step back this far before all others of the process.
const NICENESS: i32 = 5;

/// A password as it was given, in the form in which it is compared: whichever way a keyboard composes a letter, it is the same
/// password. Wiped when dropped; never shown.
#[derive(Clone)]
pub struct Password {
    text: Zeroizing<String>,
    /// As it was typed, if that text differs: old hashes are of this one.
    typed: Option<Zeroizing<String>>,
}

impl Password {
    /// Takes any text. A new password must also pass [`Password::check`].
    pub fn new(text: String) -> Self {
        let typed = Zeroizing::new(text);
        let text = match typed::password(&typed) {
            Cow::Borrowed(text) if text.len() == typed.len() => return Self { text: typed, typed: None },
            other => Zeroizing::new(other.into_owned()),
        };
        Self { typed: (*text != *typed).then_some(typed), text }
    }

    /// Its length in characters.
    pub fn length(&self) -> usize {
        self.text.chars().count()
    }

    /// Whether it may be chosen as a password.
    ///
    /// # Errors
    /// [`PolicyError`] if its length is not in [`LENGTH`].
    pub fn check(&self) -> Result<(), PolicyError> {
        if LENGTH.contains(&self.length()) { Ok(()) } else { Err(PolicyError) }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The password is too short or too long; the text is that of App Services (docs/protocol.md, "Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("password must be between 6 and 128 characters")]
pub struct PolicyError;

/// What a hash costs. It is written into each hash, so that it can be raised later: see [`Verdict::Right`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, 8 × `lanes` to 262 144.
    pub memory_kib: u32,
    /// Passes over that memory, 1 to 16.
    pub passes: u32,
    /// Lanes, 1 to 16.
    pub lanes: u32,
}

impl Cost {
    /// The least that Argon2 takes, for `passerby serve --test`: such a hash protects nothing.
    pub const FOR_TESTS: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
}

impl Default for Cost {
    /// Argon2id with 19 MiB, 2 passes, 1 lane (OWASP Password Storage Cheat Sheet).
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// How much may be hashed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Hashes computed at a time, each on a thread of its own and with [`Cost::memory_kib`] of memory.
    pub threads: NonZeroUsize,
    /// Callers that wait for a thread, whose networks take turns; beyond it the last of the network that has the most waiting is
    /// turned away.
    pub waiting: usize,
}

impl Pool {
    /// For a machine with this many cores: half of them, at least one, and about a second's work waiting.
    pub fn for_cores(cores: usize) -> Self {
        let threads = NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN);
        Self { threads, waiting: 32 * threads.get() }
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Right {
        /// The stored hash has a different cost from today's: hash the password again and store that.
        rehash: bool,
    },
    /// It is not, or there is none.
    Wrong,
}

/// Why there is no hash or verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many are waiting already: answer 503 and ask to come back.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// The stored hash is damaged or of a kind that is not known here.
    #[error("the stored password hash cannot be read")]
    Unreadable,
    /// The cost is not one that Argon2 takes.
    #[error("the password hashing cost is out of range")]
    Cost,
    /// The thread ended in the middle.
    #[error("password hashing stopped")]
    Stopped,
}

/// What becomes of a job when its turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Run,
    /// Its place in the queue was taken.
    Away,
}

type Job = Box<dyn FnOnce(Turn) + Send>;

/// The jobs that wait, and the threads that wait for them.
struct Jobs {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    turned_away: AtomicU64,
}

struct Waiting {
    jobs: FairQueue<Job>,
    ended: bool,
}

/// Hashes and checks passwords with Argon2id. Dropping it ends its threads once they have done what was waiting.
pub struct Passwords {
    argon2: Argon2<'static>,
    /// A random password: what a name without one is checked against.
    decoy: Arc<str>,
    jobs: Arc<Jobs>,
    entropy: Arc<dyn Entropy>,
}

impl Passwords {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`PasswordError::Cost`] if the cost is out of range, [`PasswordError::Stopped`] if a thread cannot be started.
    pub fn start(cost: Cost, pool: Pool, entropy: Arc<dyn Entropy>) -> Result<Self, PasswordError> {
        if !bearable(cost.memory_kib, cost.passes, cost.lanes) {
            return Err(PasswordError::Cost);
        }
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(|_| PasswordError::Cost)?;
        let decoy = decoy(&params, entropy.as_ref())?;
        let jobs = Arc::new(Jobs {
            waiting: Mutex::new(Waiting { jobs: FairQueue::new(pool.waiting), ended: false }),
            arrived: Condvar::new(),
            turned_away: AtomicU64::new(0),
        });
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        // from here on dropped where a thread cannot be started, which ends the others
        let passwords = Self { argon2, decoy, jobs, entropy };
        for number in 0..pool.threads.get() {
            let jobs = Arc::clone(&passwords.jobs);
            thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&jobs))
                .map_err(|_| PasswordError::Stopped)?;
        }
        Ok(passwords)
    }

    /// Whether a client of this network should do a proof of work first: many passwords wait, and its network has its share of
    /// them (S35). `can_work`: whether it can; of those that cannot, one with nothing waiting gets a turn.
    pub fn are_pressed_by(&self, client: Option<Network>, can_work: bool) -> bool {
        self.jobs.waiting.lock().jobs.is_pressed_by(client, can_work)
    }

    /// How many callers wait for a thread.
    pub fn waiting(&self) -> usize {
        self.jobs.waiting.lock().jobs.len()
    }

    /// How many callers were turned away.
    pub fn turned_away(&self) -> u64 {
        self.jobs.turned_away.load(Ordering::Relaxed)
    }

    /// The hash to store, a PHC string. `client` is the network that waits for it, if it is one.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] or [`PasswordError::Stopped`]. It does not ask [`Password::check`].
    pub async fn hash(&self, password: Password, client: Option<Network>) -> Result<String, PasswordError> {
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt);
        let argon2 = self.argon2.clone();
        self.run(client, move || {
            let hash = argon2.hash_password_with_salt(password.text.as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::Stopped)
        })
        .await
    }

    /// Whether it is the password that `stored` is the hash of. `None` (no such name, or a name without a password)
    /// takes as long as a hash at today's cost, so that the time of the answer does not tell which names are
    /// known. `client` is the network that waits for it, if it is one.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`], [`PasswordError::Unreadable`] or [`PasswordError::Stopped`].
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<Arc<str>>,
        client: Option<Network>,
    ) -> Result<Verdict, PasswordError> {
        let argon2 = self.argon2.clone();
        let stored = stored.unwrap_or_else(|| Arc::clone(&self.decoy));
        self.run(client, move || {
            let (hash, rehash) = read(&stored, argon2.params())?;
            let is = |text: &str| match argon2.verify_password(text.as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(_) => Err(PasswordError::Unreadable),
            };
            // at most twice the work, and as much for a name that is not known
            Ok(match &password.typed {
                _ if is(&password.text)? => Verdict::Right { rehash },
                Some(typed) if is(typed)? => Verdict::Right { rehash: true },
                _ => Verdict::Wrong,
            })
        })
        .await
    }

    /// Runs it on one of the threads. If the caller goes away before its turn, it is not run.
    async fn run<T: Send + 'static>(
        &self,
        client: Option<Network>,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |turn| match turn {
            // a caller that went away meanwhile has no use for the answer
            Turn::Run if answer.is_closed() => {}
            Turn::Run => drop(answer.send(work())),
            Turn::Away => drop(answer.send(Err(PasswordError::Overloaded))),
        });
        self.add(client, job);
        answered.await.unwrap_or(Err(PasswordError::Stopped))
    }

    fn add(&self, client: Option<Network>, job: Job) {
        let pushed = self.jobs.waiting.lock().jobs.push(client, job);
        let turned_away = match pushed {
            Pushed::Waits => None,
            Pushed::InPlaceOf(job) | Pushed::Full(job) => Some(job),
        };
        self.jobs.arrived.notify_one();
        if let Some(job) = turned_away {
            self.jobs.turned_away.fetch_add(1, Ordering::Relaxed);
            job(Turn::Away);
        }
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.jobs.waiting.lock().ended = true;
        self.jobs.arrived.notify_all();
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("argon2", &self.argon2).finish_non_exhaustive()
    }
}

/// The life of a hashing thread.
fn work(jobs: &Jobs) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "password threads keep their priority");
    }
    loop {
        let mut waiting = jobs.waiting.lock();
        let job = loop {
            match waiting.jobs.pop() {
                Some(job) => break job,
                None if waiting.ended => return,
                None => jobs.arrived.wait(&mut waiting),
            }
        };
        drop(waiting);
        job(Turn::Run);
    }
}

/// A hash with this cost that no password has: salt and output are random.
fn decoy(params: &Params, entropy: &dyn Entropy) -> Result<Arc<str>, PasswordError> {
    let (mut salt, mut output) = ([0; SALT_BYTES], [0; Params::DEFAULT_OUTPUT_LEN]);
    entropy.fill(&mut salt);
    entropy.fill(&mut output);
    let hash = PasswordHash {
        algorithm: argon2::ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: params.try_into().map_err(|_| PasswordError::Cost)?,
        salt: Some(Salt::new(&salt).map_err(|_| PasswordError::Cost)?),
        hash: Some(Output::new(&output).map_err(|_| PasswordError::Cost)?),
    };
    Ok(hash.to_string().into())
}

/// A stored hash, and whether it was computed otherwise than hashes are today.
fn read(stored: &str, today: &Params) -> Result<(PasswordHash, bool), PasswordError> {
    let hash = PasswordHash::new(stored).map_err(|_| PasswordError::Unreadable)?;
    let params = Params::try_from(&hash).map_err(|_| PasswordError::Unreadable)?;
    let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    let (memory_kib, passes, lanes) = costs(&params);
    if hash.salt.is_none() || hash.hash.is_none() || !bearable(memory_kib, passes, lanes) {
        return Err(PasswordError::Unreadable);
    }
    let same_kind = hash.algorithm == argon2::ARGON2ID_IDENT && hash.version == Some(Version::V0x13.into());
    Ok((hash, !same_kind || costs(&params) != costs(today)))
}

fn bearable(memory_kib: u32, passes: u32, lanes: u32) -> bool {
    memory_kib <= MOST.0 && passes <= MOST.1 && lanes <= MOST.2
}

#[cfg(test)]
mod tests;
