//! What is done to one user: disabled and enabled, sessions ended, deleted.

use actix_web::http::StatusCode;
use passerby_actors::domain::{Cause, Session, SessionId, Suspension};
use passerby_actors::handle::Handle;
use serde_json::json;

use super::shown::no_content;
use crate::admin::Role;
use crate::http::admin::asked::{Asked, reason};
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom::{self, live_sessions, said, suspension_of};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

pub(super) fn rows() -> Vec<Row> {
    let operate = Some(Role::Operate);
    vec![
        row("DELETE /v1/admin/users/{user}", operate, "user.delete", delete),
        row("POST /v1/admin/users/{user}/disable", operate, "user.disable", disable),
        row("POST /v1/admin/users/{user}/enable", operate, "user.enable", enable),
        row("POST /v1/admin/users/{user}/end-sessions", operate, "user.end-sessions", end_sessions),
        row("DELETE /v1/admin/users/{user}/sessions/{session}", operate, "user.end-session", end_session),
    ]
}

async fn delete(asked: Asked) -> Answer {
    let user = whom::named(&asked)?;
    let before =
        json!({ "identities": user.identities().len(), "sessions": live_sessions(&asked.context, &user).len() });
    let operation = |handle: Handle, user| async move { handle.delete(&user, Cause::DeletedByAdmin).await };
    whom::done(&asked, "user.delete", user.id, (Some(before), None), operation).await?;
    Ok(no_content())
}

/// `until` (RFC 3339), from when on the user is enabled again, and `reason`. What was said before is replaced.
async fn disable(asked: Asked) -> Answer {
    let fields = asked.fields(&["until", "reason"])?;
    let user = whom::named(&asked)?;
    let until_ms = match fields.get("until") {
        None => None,
        Some(until) => {
            let time = until.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let until_ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
            let is_later = |until_ms: &u64| *until_ms > asked.context.server.clock().wall_ms();
            let bad = || Problem::bad_field("until must be a time to come, such as \"2027-01-31T00:00:00Z\"");
            Some(until_ms.filter(is_later).ok_or_else(bad)?)
        }
    };
    let suspension = Suspension { until_ms, reason: reason(&fields)?.unwrap_or_default().into() };
    let told = (Some(suspension_of(&asked.context, &user)), Some(said(Some(&suspension))));
    let operation = |handle: Handle, user| async move { handle.suspend(&user, suspension).await };
    whom::done(&asked, "user.disable", user.id, told, operation).await?;
    Ok(no_content())
}

async fn enable(asked: Asked) -> Answer {
    asked.fields(&[])?;
    let user = whom::named(&asked)?;
    let told = (Some(suspension_of(&asked.context, &user)), Some(json!({ "disabled": false })));
    let operation = |handle: Handle, user| async move { handle.enable(&user).await };
    whom::done(&asked, "user.enable", user.id, told, operation).await?;
    Ok(no_content())
}

/// Ends all sessions, which deletes an anonymous user.
async fn end_sessions(asked: Asked) -> Answer {
    asked.fields(&[])?;
    let user = whom::named(&asked)?;
    let ended = live_sessions(&asked.context, &user).len();
    let before = json!({ "sessions": ended });
    let operation = |handle: Handle, user| async move { handle.end_all(&user).await };
    whom::done(&asked, "user.end-sessions", user.id, (Some(before), None), operation).await?;
    let deleted = !asked.handle().exists(&user.id);
    Ok(json(StatusCode::OK, &json!({ "ended": ended, "deleted": deleted })))
}

/// Ends one session: of an anonymous user, with its last one the user is gone.
async fn end_session(asked: Asked) -> Answer {
    let user = whom::named(&asked)?;
    let no_such = || Problem::new(StatusCode::NOT_FOUND, "no-such-session", "the user does not have this session");
    let wanted = SessionId::parse(asked.parameter("session")).map_err(|_| no_such())?;
    let is_it = |session: &Session| SessionId::derive(&user.id, session.number) == wanted;
    let number = live_sessions(&asked.context, &user).into_iter().find(is_it).ok_or_else(no_such)?.number;
    let before = json!({ "session": wanted.to_string() });
    let operation = move |handle: Handle, user| async move { handle.end_session(&user, number).await };
    let done = whom::done(&asked, "user.end-session", user.id, (Some(before), None), operation).await;
    match done {
        // it ended meanwhile
        Err(problem) if problem.code() == "session-ended" => Err(no_such()),
        other => other.map(|()| no_content()),
    }
}
