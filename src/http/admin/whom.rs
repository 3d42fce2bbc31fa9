//! The user whom a request is about, and what is done to one: with an entry in the audit log.

use actix_web::http::StatusCode;
use passerby_actors::domain::{Refusal, Session, Suspension, UserId, UserState};
use passerby_actors::handle::{self, Handle};
use serde_json::{Value, json};

use super::asked::Asked;
use crate::http::problem::Problem;
use crate::http::{Context, rfc3339};

/// There is no such user.
pub(super) fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "user-not-found", "user not found")
}

/// The user that the path names.
///
/// # Errors
/// There is none.
pub(super) fn named(asked: &Asked) -> Result<UserState, Problem> {
    let id = UserId::parse(asked.parameter("user")).map_err(|_| not_found())?;
    asked.handle().load(&id).ok_or_else(not_found)
}

/// A user's sessions, but for those that have ended by their age.
pub(super) fn live_sessions(context: &Context, user: &UserState) -> Vec<Session> {
    user.live_sessions(context.server.clock().now(), &context.server.core.policy())
}

/// Whether a user is disabled, and what was said then: for the audit log.
pub(super) fn suspension_of(context: &Context, user: &UserState) -> Value {
    if !user.is_disabled(context.server.clock().wall_ms()) {
        return json!({ "disabled": false });
    }
    said(user.suspension())
}

/// What is said when a user is disabled: for the audit log.
pub(super) fn said(suspension: Option<&Suspension>) -> Value {
    let mut shown = json!({ "disabled": true });
    if let Some(Suspension { until_ms, reason }) = suspension {
        if let Some(until_ms) = until_ms {
            shown["until"] = Value::from(rfc3339(i64::try_from(until_ms / 1000).unwrap_or(i64::MAX)));
        }
        if !reason.is_empty() {
            shown["reason"] = Value::from(&**reason);
        }
    }
    shown
}

/// Does something to a user who was there when it began. `told`: how it was before, and how it is after it.
///
/// # Errors
/// No entry could be written, and nothing is done; the user is gone; the operation's own.
pub(super) async fn done<T: 'static, Doing: Future<Output = Result<T, handle::Error>> + 'static>(
    asked: &Asked,
    what: &str,
    user: UserId,
    told: (Option<Value>, Option<Value>),
    operation: impl FnOnce(Handle, UserId) -> Doing,
) -> Result<T, Problem> {
    let result = asked.audited(what, &user.to_string(), told, operation(asked.handle().clone(), user)).await?;
    match result {
        Err(handle::Error::Refused(Refusal::Gone)) => Err(not_found()),
        other => Ok(other?),
    }
}
