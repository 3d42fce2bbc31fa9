//! Life-cycle events as log lines, under the target `passerby::events` (S38). What many readers do all day is at level debug;
//! what an operator wants to hear of is at info and above.

use tracing::{debug, info, warn};

use crate::domain::{Cause, Note, Refusal, UserId};
use crate::store::{Committed, Feed, Next};

const TARGET: &str = "passerby::events";
/// How many events may wait for the log.
const MOST_WAITING: usize = 4096;

/// What readers do all day.
fn is_everyday(cause: Cause) -> bool {
    matches!(
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

/// Logs what the feed tells from now on, until the store ends.
pub(crate) fn log(feed: &Feed) -> impl Future<Output = ()> + use<> {
    let is_wanted = |change: &Committed| match change.cause {
        // names: they may have no user yet
        Cause::Registered | Cause::Confirmed | Cause::MailAsked | Cause::PasswordChanged => true,
        // what was swept, and the end of an id that is not stored, have none
        cause => {
            let is_seen = !is_everyday(cause) || tracing::enabled!(target: TARGET, tracing::Level::DEBUG);
            is_seen && change.user.is_some()
        }
    };
    let mut changes = feed.follow(MOST_WAITING, is_wanted);
    async move {
        while let Some(next) = changes.next().await {
            match next {
                Next::Change(change) => log_change(&change),
                Next::Dropped { changes, .. } => {
                    warn!(target: TARGET, changes, "so many changes came at once that these were not logged");
                }
            }
        }
    }
}

fn log_change(Committed { cause, user, note, .. }: &Committed) {
    let (name, nothing) = (cause.name(), Note::default());
    let Note { into, provider, reason, .. } = note.as_deref().unwrap_or(&nothing);
    let (user, into) = (user.map(tracing::field::display), into.map(tracing::field::display));
    let (provider, reason) = (provider.as_deref(), reason.map(|reason| reason.name()));
    match cause {
        Cause::Registered | Cause::Confirmed | Cause::MailAsked | Cause::PasswordChanged => {
            // of a name, which is not logged, and may have no user yet
            info!(target: TARGET, user, cause = name, provider, "credential changed");
        }
        Cause::ReuseDetected => {
            warn!(target: TARGET, user, cause = name, "a refresh token was used again; its session has ended");
        }
        cause if is_everyday(*cause) => {
            debug!(target: TARGET, user, cause = name, provider, reason, "user changed");
        }
        _ => info!(target: TARGET, user, into, cause = name, provider, reason, "user changed"),
    }
}

/// A token of the user's was refused.
pub(crate) fn denied(user: &UserId, refusal: Refusal) {
    debug!(target: TARGET, %user, cause = "denied", reason = %refusal, "token refused");
}
