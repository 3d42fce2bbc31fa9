//! Life-cycle events as log lines, under the target `passerby::events` (S38). What many readers do all day is at level debug;
//! what an operator wants to hear of is at info and above.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;
use tracing::field::display;
use tracing::{Level, debug, info, warn};

use crate::domain::{Cause, Note, Reason, Refusal, UserId};
use crate::store::{Committed, Feed, Next};

const TARGET: &str = "passerby::events";
/// How many events may wait for the log: those of the largest group.
const MOST_WAITING: usize = 16_384;

/// What a line says.
struct Event {
    seq: u64,
    cause: Cause,
    user: Option<UserId>,
    /// Only ever true: the user is no more.
    gone: Option<bool>,
    into: Option<UserId>,
    provider: Option<Box<str>>,
    reason: Option<Reason>,
}

impl Event {
    /// The lines for a change, unless no one would see them.
    fn of(change: &Committed) -> SmallVec<[Self; 2]> {
        let Committed { position, cause, user, changed, note, .. } = change;
        let nothing = Note::default();
        let note = note.as_deref().unwrap_or(&nothing);
        let is_seen = if is_of_a_name(*cause) {
            true
        } else if is_quiet(*cause, note.reason) {
            user.is_some() && tracing::enabled!(target: TARGET, Level::DEBUG)
        } else {
            // what was swept has none, and is logged in sum
            user.is_some()
        };
        if !is_seen {
            return SmallVec::new();
        }
        let of_user = |user: Option<UserId>| {
            let Note { into, provider, reason, .. } = note.clone();
            let gone = changed.iter().any(|changed| changed.gone && Some(changed.id) == user).then_some(true);
            Self { seq: position.seq, cause: *cause, user, gone, into, provider, reason }
        };
        change.told_of().into_iter().map(of_user).collect()
    }

    fn log(self) {
        let Self { seq, cause, user, gone, into, provider, reason } = self;
        let is_quiet = is_quiet(cause, reason);
        let (user, into, name) = (user.map(display), into.map(display), cause.name());
        let (provider, reason) = (provider.as_deref(), reason.map(Reason::name));
        match cause {
            // the name itself is not logged, and may have no user yet
            cause if is_of_a_name(cause) => {
                info!(target: TARGET, user, cause = name, provider, seq, "credential changed")
            }
            _ if is_quiet => {
                debug!(target: TARGET, user, cause = name, gone, provider, reason, seq, "user changed");
            }
            Cause::ReuseDetected => {
                warn!(target: TARGET, user, cause = name, seq, "a refresh token was used again; its session has ended");
            }
            _ => info!(target: TARGET, user, into, cause = name, gone, provider, reason, seq, "user changed"),
        }
    }
}

/// What readers do all day, and what is logged in sum because it happens to many at once.
fn is_quiet(cause: Cause, reason: Option<Reason>) -> bool {
    reason == Some(Reason::Bulk)
        || matches!(
            cause,
            Cause::Created
                | Cause::Refreshed
                | Cause::LoggedOut
                | Cause::DeletedByUser
                | Cause::Expired
                | Cause::SessionSeen
                | Cause::Counted
                | Cause::Edited
        )
}

/// What happens to a name and its password.
fn is_of_a_name(cause: Cause) -> bool {
    matches!(cause, Cause::Registered | Cause::Confirmed | Cause::MailAsked | Cause::PasswordChanged)
}

/// Logs what the feed tells from now on, until the store ends, and counts what came faster than it could be logged.
pub(crate) fn log(feed: &Feed, unlogged: Arc<AtomicU64>) -> impl Future<Output = ()> + use<> {
    let mut events = feed.follow(MOST_WAITING, Event::of);
    async move {
        while let Some(next) = events.next().await {
            match next {
                Next::Change(event) => event.log(),
                Next::Dropped { changes, .. } => {
                    unlogged.fetch_add(changes, Ordering::Relaxed);
                    warn!(target: TARGET, changes, "so many changes came at once that these were not logged");
                }
            }
        }
    }
}

/// A token of the user's was refused.
pub(crate) fn denied(user: &UserId, refusal: Refusal) {
    debug!(target: TARGET, %user, cause = "denied", reason = %refusal, "token refused");
}
