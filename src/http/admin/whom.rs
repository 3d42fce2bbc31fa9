//! The user whom a request is about, and what is done to one: with an entry in the audit log.

use actix_web::http::StatusCode;
use passerby_actors::domain::{Refusal, UserId, UserState};
use passerby_actors::handle::{self, Handle};
use serde_json::Value;

use super::asked::Asked;
use crate::http::problem::Problem;

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
