//! Mails that carry a token: a bounded queue in memory, tried again for a while, through SMTP or a signed webhook.
//!
//! Whoever asks for a mail does not wait for it and does not learn what became of it, so an answer cannot tell by its
//! time whether a mail was sent. What waits is lost with the process; its token can be asked for again. Neither
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

/// Mails that wait or are being delivered; those beyond are refused.
const MOST_WAITING: usize = 1000;
/// Deliveries at a time.
const MOST_AT_ONCE: usize = 4;
/// One try takes no longer.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between tries. Some receivers turn the first try away for minutes; the last is made while the token (30 min)
/// is still good.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];

/// How a mail leaves the house.
pub trait Transport {
    /// Tries once. What it is given is the same at each try of a mail, but for `now_ms`.
    fn deliver(&self, letter: &Letter, now_ms: u64) -> impl Future<Output = Result<(), Failure>>;
}

/// A mail on its way.
#[derive(Debug)]
pub struct Letter {
    /// What it says.
    pub mail: Mail,
    /// Unique among all mails, so that a receiver can tell a second try: 22 characters of base64url.
    pub id: String,
    /// When it was asked for (Unix time in milliseconds).
    pub asked_at_ms: u64,
}

/// Why a try failed; in words for the log that hold neither address nor token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another try may succeed.
    #[error("{0}")]
    Passing(String),
    /// No other try can.
    #[error("{0}")]
    Lasting(String),
}

/// Too many mails are waiting: answer 503 and ask to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many mails are waiting")]
pub struct QueueFull;

/// What became of the mails since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Taken by the mail server or the webhook.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Refused because too many were waiting.
    pub refused: u64,
}

/// Takes mails. Cheap to clone; when the last one is dropped, what waits is delivered and [`Deliveries::run`] ends.
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

/// The other end of the queue, which somebody has to [`Deliveries::run`].
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
        // unbounded itself: the permits are the bound, because they are held until a mail is delivered or given up
        let (queue, other_end) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MOST_WAITING));
        let deliveries = Deliveries { queue: other_end, transport, shared: Arc::clone(&shared) };
        (Self { queue, room, shared }, deliveries)
    }

    /// Puts a mail into the queue and returns at once.
    ///
    /// # Errors
    /// [`QueueFull`] if 1000 are waiting, or if nobody delivers any more.
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
        // an error would say that nobody delivers any more
        drop(self.room.acquire_many(all).await);
    }

    /// What became of the mails.
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

/// One mail, until it is delivered or given up. A mail that pauses holds its place in the queue, but nobody's turn.
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
                    tracing::info!(kind, reason = %failure, pause_s = pause.as_secs(), "mail will be tried again");
                    shared.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(*pause).await;
                }
                _ => {
                    shared.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(kind, reason = %failure, "mail was given up");
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use parking_lot::Mutex;
    use passerby_actors::system::{SystemClock, SystemEntropy};
    use tokio::time::Instant;

    use super::*;

    type Answers = HashMap<String, Vec<Result<(), Failure>>>;

    /// Answers what the test has written down for an address, in order, then always the last; remembers the tries.
    #[derive(Default, Clone)]
    struct Scripted {
        answers: Arc<Mutex<Answers>>,
        tries: Arc<Mutex<Vec<(String, String, Duration)>>>,
        at_once: Arc<Mutex<(usize, usize)>>,
        hang: bool,
        begin: Option<Instant>,
    }

    impl Transport for Scripted {
        async fn deliver(&self, letter: &Letter, _: u64) -> Result<(), Failure> {
            let to = letter.mail.to().as_str().to_owned();
            self.tries.lock().push((to.clone(), letter.id.clone(), self.begin.unwrap().elapsed()));
            {
                let mut at_once = self.at_once.lock();
                at_once.0 += 1;
                at_once.1 = at_once.1.max(at_once.0);
            }
            if self.hang {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.at_once.lock().0 -= 1;
            let mut answers = self.answers.lock();
            match answers.get_mut(&to) {
                Some(answers) if answers.len() > 1 => answers.remove(0),
                Some(answers) => answers[0].clone(),
                None => Ok(()),
            }
        }
    }

    fn passing() -> Result<(), Failure> {
        Err(Failure::Passing("smtp 451".to_owned()))
    }

    fn mail(to: &str) -> Mail {
        let page = Page::parse("https://app.example/confirm").unwrap();
        let subject = Subject::parse("Confirm").unwrap();
        Mail::new(MailKind::Confirm, MailAddress::parse(to).unwrap(), &subject, &page, "psbc_token", "abc")
    }

    fn mailer(transport: &Scripted) -> (Mailer, Deliveries<Scripted>) {
        let transport = Scripted { begin: Some(Instant::now()), ..transport.clone() };
        Mailer::new(transport, Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn mails_are_delivered_and_the_end_waits_for_them() {
        let transport = Scripted::default();
        let (mailer, deliveries) = mailer(&transport);
        for number in 0..20 {
            mailer.send(mail(&format!("a{number}@example.test"))).unwrap();
        }
        let counting = mailer.shared.clone();
        drop(mailer);
        deliveries.run().await;
        assert_eq!(counting.delivered.load(Ordering::Relaxed), 20);
        let tries = transport.tries.lock();
        assert_eq!(tries.iter().map(|(_, id, _)| id).collect::<HashSet<_>>().len(), 20, "every mail has its own id");
        assert_eq!(transport.at_once.lock().1, MOST_AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_five_times_in_all_with_the_same_id() {
        let transport = Scripted::default();
        transport.answers.lock().insert("a@example.test".to_owned(), vec![passing()]);
        transport.answers.lock().insert("b@example.test".to_owned(), vec![passing(), passing(), Ok(())]);
        let (mailer, deliveries) = mailer(&transport);
        mailer.send(mail("a@example.test")).unwrap();
        mailer.send(mail("b@example.test")).unwrap();
        let watching = mailer.clone();
        tokio::spawn(deliveries.run());
        tokio::time::sleep(Duration::from_secs(1800)).await;
        assert_eq!(watching.counts(), Counts { delivered: 1, failed: 1, retries: 4 + 2, refused: 0 });
        let tries = transport.tries.lock();
        let of = |to: &str| tries.iter().filter(|entry| entry.0 == to).cloned().collect::<Vec<_>>();
        let seconds: Vec<_> = of("a@example.test").iter().map(|(_, _, at)| at.as_secs()).collect();
        assert_eq!(seconds, [0, 5, 35, 155, 755]);
        assert_eq!(of("b@example.test").len(), 3);
        assert!(of("a@example.test").windows(2).all(|pair| pair[0].1 == pair[1].1));
        assert_eq!(mailer.room.available_permits(), MOST_WAITING);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_pass_is_given_up_at_once() {
        let transport = Scripted::default();
        let refused = Err(Failure::Lasting("smtp 550".to_owned()));
        transport.answers.lock().insert("a@example.test".to_owned(), vec![refused]);
        let (mailer, deliveries) = mailer(&transport);
        mailer.send(mail("a@example.test")).unwrap();
        let watching = mailer.shared.clone();
        drop(mailer);
        deliveries.run().await;
        assert_eq!((watching.failed.load(Ordering::Relaxed), transport.tries.lock().len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_says_nothing_is_left_and_those_who_pause_hold_nobody_up() {
        let silent = Scripted { hang: true, ..Scripted::default() };
        let (mailer, deliveries) = mailer(&silent);
        mailer.send(mail("a@example.test")).unwrap();
        tokio::spawn(deliveries.run());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let seconds: Vec<_> = silent.tries.lock().iter().map(|(_, _, at)| at.as_secs()).collect();
        assert_eq!(seconds, [0, 35, 95, 245, 875]);
        assert_eq!(mailer.counts().failed, 1);

        let transport = Scripted::default();
        for number in 0..10 {
            transport.answers.lock().insert(format!("bad{number}@example.test"), vec![passing()]);
        }
        let (mailer, deliveries) = self::mailer(&transport);
        for number in 0..10 {
            mailer.send(mail(&format!("bad{number}@example.test"))).unwrap();
        }
        mailer.send(mail("good@example.test")).unwrap();
        tokio::spawn(deliveries.run());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(mailer.counts().delivered, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_has_room_again_afterwards() {
        let transport = Scripted::default();
        let (mailer, deliveries) = mailer(&transport);
        for _ in 0..MOST_WAITING {
            mailer.send(mail("a@example.test")).unwrap();
        }
        assert_eq!(mailer.send(mail("a@example.test")), Err(QueueFull));
        assert_eq!(mailer.counts().refused, 1);
        tokio::spawn(deliveries.run());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(mailer.counts().delivered, MOST_WAITING as u64);
        assert_eq!(mailer.send(mail("a@example.test")), Ok(()));
    }

    #[tokio::test]
    async fn when_nobody_delivers_mails_are_refused() {
        let (mailer, deliveries) = mailer(&Scripted::default());
        drop(deliveries);
        assert_eq!(mailer.send(mail("a@example.test")), Err(QueueFull));
        assert_eq!(mailer.room.available_permits(), MOST_WAITING);
    }
}
