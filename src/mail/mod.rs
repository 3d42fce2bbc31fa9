//! E-mails that carry a token: a bounded queue in memory, tried again for a while, through SMTP or a signed webhook.
//!
//! A client that asks for an e-mail does not wait for it and does not learn what became of it, so the time of an answer
//! cannot tell whether an e-mail was sent. What waits is lost with the process; its token can be asked for again. Neither
//! addresses nor tokens are ever logged.

mod address;
mod message;
mod settings;
mod smtp;
mod webhook;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use passerby_actors::domain::{Clock, Entropy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::outbound::Outbound;

pub use self::address::{AddressError, MailAddress};
pub use self::message::{Mail, MailKind, Page, Subject};
pub use self::settings::{Plan, Security, SmtpLogin, SmtpPlan};
pub use self::smtp::{Smtp, SmtpError};
pub use self::webhook::{Post, PostError, Webhook, WebhookSecretError};

/// E-mails that wait or are being delivered; those beyond are refused.
const MOST_WAITING: usize = 1000;
/// Deliveries at a time.
const MOST_AT_ONCE: usize = 4;
/// One try takes no longer.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between attempts. Some receivers turn the first one away for minutes; the last comes while the token (30 min)
/// is still good.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];

/// How an e-mail leaves the server.
pub trait Transport {
    /// Tries once. Its arguments are the same at each attempt of an e-mail, but for `now_ms`.
    fn deliver(&self, letter: &Letter, now_ms: u64) -> impl Future<Output = Result<(), Failure>>;
}

/// An e-mail on its way.
#[derive(Debug)]
pub struct Letter {
    /// What it says.
    pub mail: Mail,
    /// Unique among all e-mails, so that a receiver can tell a second attempt: 22 characters of base64url.
    pub id: String,
    /// When it was asked for (Unix time in milliseconds).
    pub asked_at_ms: u64,
}

/// Why a try failed; in words for the log that hold neither address nor token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A later attempt may succeed.
    #[error("{0}")]
    Passing(String),
    /// No other try can.
    #[error("{0}")]
    Lasting(String),
}

/// Too many e-mails are waiting: answer 503 and ask to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many e-mails are waiting")]
pub struct QueueFull;

/// What became of the e-mails since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Accepted by the mail server or the webhook.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Refused because too many were waiting.
    pub refused: u64,
}

/// Takes e-mails. Cheap to clone; when the last one is dropped, what waits is delivered and [`Deliveries::run`] ends.
#[derive(Clone)]
pub struct Mailer {
    queue: mpsc::UnboundedSender<(Letter, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    delivered: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
}

/// Whichever transport is configured.
pub enum AnyTransport {
    /// An SMTP server.
    Smtp(Box<Smtp>),
    /// A webhook.
    Webhook(Box<Webhook<Outbound>>),
}

impl Transport for Arc<AnyTransport> {
    async fn deliver(&self, letter: &Letter, now_ms: u64) -> Result<(), Failure> {
        match &**self {
            AnyTransport::Smtp(smtp) => smtp.deliver(letter, now_ms).await,
            AnyTransport::Webhook(webhook) => webhook.deliver(letter, now_ms).await,
        }
    }
}

/// The other end of the queue, which has to be [`Deliveries::run`].
pub struct Deliveries<T> {
    queue: mpsc::UnboundedReceiver<(Letter, OwnedSemaphorePermit)>,
    transport: T,
    shared: Arc<Shared>,
}

impl Mailer {
    /// A queue and its other end.
    pub fn new<T: Transport>(transport: T, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> (Self, Deliveries<T>) {
        let shared = Arc::new(Shared {
            clock,
            entropy,
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        // unbounded itself: the permits are the bound, because they are held until an e-mail is delivered or given up
        let (queue, other_end) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MOST_WAITING));
        let deliveries = Deliveries { queue: other_end, transport, shared: Arc::clone(&shared) };
        (Self { queue, room, shared }, deliveries)
    }

    /// Puts an e-mail into the queue and returns at once.
    ///
    /// # Errors
    /// [`QueueFull`] if 1000 are waiting, or if no task delivers any more.
    pub fn send(&self, mail: Mail) -> Result<(), QueueFull> {
        let mut id = [0; 16];
        self.shared.entropy.fill(&mut id);
        let asked_at_ms = self.shared.clock.wall_ms();
        let letter = Letter { mail, id: URL_SAFE_NO_PAD.encode(id), asked_at_ms };
        let queued = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| QueueFull)
            .and_then(|permit| self.queue.send((letter, permit)).map_err(|_| QueueFull));
        if queued.is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Waits until nothing waits: everything is delivered or given up.
    pub async fn drained(&self) {
        let all = u32::try_from(MOST_WAITING).unwrap_or(u32::MAX);
        // an error would say that no task delivers any more
        drop(self.room.acquire_many(all).await);
    }

    /// What became of the e-mails.
    pub fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shared = &self.shared;
        Counts {
            delivered: load(&shared.delivered),
            failed: load(&shared.failed),
            retries: load(&shared.retries),
            refused: load(&shared.refused),
        }
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl<T: Transport> Deliveries<T> {
    /// Delivers until every [`Mailer`] is gone and nothing waits. Needs tokio's time and, for SMTP, its network.
    /// Dropping it gives up what waits.
    pub async fn run(self) {
        let Self { mut queue, transport, shared } = self;
        let slots = Semaphore::new(MOST_AT_ONCE);
        let mut running = FuturesUnordered::new();
        let mut open = true;
        while open || !running.is_empty() {
            tokio::select! {
                next = queue.recv(), if open => match next {
                    Some((letter, permit)) => running.push(deliver(letter, permit, &transport, &shared, &slots)),
                    None => open = false,
                },
                Some(()) = running.next(), if !running.is_empty() => {}
            }
        }
    }
}

impl<T> fmt::Debug for Deliveries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}

/// One e-mail, until it is delivered or given up. One that pauses holds its place in the queue, but takes no one's turn.
async fn deliver(
    letter: Letter,
    _room: OwnedSemaphorePermit,
    transport: &impl Transport,
    shared: &Shared,
    slots: &Semaphore,
) {
    let mut pauses = PAUSES.iter();
    loop {
        let slot = slots.acquire().await;
        let attempt = tokio::time::timeout(TRY_TIMEOUT, transport.deliver(&letter, shared.clock.wall_ms())).await;
        drop(slot);
        let kind = letter.mail.kind().name();
        match attempt.unwrap_or_else(|_| Err(Failure::Passing("no answer in time".to_owned()))) {
            Ok(()) => {
                shared.delivered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(failure) => match (&failure, pauses.next()) {
                (Failure::Passing(_), Some(pause)) => {
                    tracing::info!(kind, reason = %failure, pause_s = pause.as_secs(), "the e-mail will be tried again");
                    shared.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(*pause).await;
                }
                _ => {
                    shared.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(kind, reason = %failure, "the e-mail was given up");
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
