//! Life-cycle events as log lines, under the target `passerby::events` (S38). What many readers do all day is at level debug;
//! what an operator wants to hear of is at info and above.

use crate::domain::{Cause, Operation, Refusal, UserId};

const TARGET: &str = "passerby::events";

/// Something happened to a user.
pub(crate) fn changed(user: &UserId, cause: Cause) {
    let name = cause.name();
    match cause {
        Cause::Created
        | Cause::Refreshed
        | Cause::LoggedOut
        | Cause::DeletedByUser
        | Cause::Expired
        | Cause::SessionSeen
        | Cause::Counted
        | Cause::Edited => {
            tracing::debug!(target: TARGET, %user, cause = name, "user changed");
        }
        Cause::ReuseDetected => {
            tracing::warn!(target: TARGET, %user, cause = name, "a refresh token was used again; its session has ended");
        }
        _ => tracing::info!(target: TARGET, %user, cause = name, "user changed"),
    }
}

/// An anonymous user became part of an account.
pub(crate) fn merged(user: &UserId, into: &UserId) {
    tracing::info!(target: TARGET, %user, %into, cause = Cause::MergedInto.name(), "user changed");
}

/// A name's credential changed; the name itself is not logged. It may have no user yet.
pub(crate) fn credential(owner: Option<&UserId>, cause: Cause) {
    match owner {
        Some(user) => tracing::info!(target: TARGET, %user, cause = cause.name(), "credential changed"),
        None => tracing::info!(target: TARGET, cause = cause.name(), "credential changed"),
    }
}

/// A token of the user's was refused.
pub(crate) fn denied(user: &UserId, refusal: Refusal) {
    tracing::debug!(target: TARGET, %user, cause = "denied", reason = %refusal, "token refused");
}

/// The cause that an operation has when it is done.
pub(crate) fn cause_of(operation: &Operation) -> Cause {
    match operation {
        Operation::Rotate { .. } => Cause::Refreshed,
        Operation::EndSession { cause, .. } | Operation::Delete { cause } => *cause,
        Operation::EndAll | Operation::EndOthers { .. } | Operation::Recover => Cause::SessionEnded,
        Operation::Seen { .. } => Cause::SessionSeen,
        Operation::MakeKey { .. } => Cause::KeyMade,
        Operation::SetKey { .. } => Cause::KeyChanged,
        Operation::RemoveKey { .. } => Cause::KeyRemoved,
        Operation::Count(_) => Cause::Counted,
        Operation::Edit(_) => Cause::Edited,
        Operation::Disable => Cause::Disabled,
        Operation::Enable => Cause::Enabled,
        Operation::OpenSession { .. } | Operation::LogIn { .. } => Cause::SessionOpened,
        Operation::Link { .. } => Cause::Linked,
        Operation::Unlink { .. } => Cause::Unlinked,
    }
}
