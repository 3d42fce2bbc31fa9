//! What is done to one user: disabled and enabled, sessions ended, deleted.

use actix_web::http::StatusCode;
use passerby_actors::domain::{Cause, Flags, Session, SessionId, UserState};
use passerby_actors::handle::Handle;
use serde_json::{Value, json};

use super::shown::no_content;
use crate::admin::Role;
use crate::http::Context;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom;
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

/// The sessions that have not ended by their age.
fn live(context: &Context, user: &UserState) -> impl Iterator<Item = Session> {
    let (now, policy) = (context.server.clock().now(), context.server.core.policy());
    user.sessions().into_iter().filter(move |session| user.session(session.number, now, policy).is_some())
}

async fn delete(asked: Asked) -> Answer {
    let user = whom::named(&asked)?;
    let before = json!({ "identities": user.identities().len(), "sessions": live(&asked.context, &user).count() });
    let operation = |handle: Handle, user| async move { handle.delete(&user, Cause::DeletedByAdmin).await };
    whom::done(&asked, "user.delete", user.id, (Some(before), None), operation).await?;
    Ok(no_content())
}

fn is_disabled(user: &UserState) -> Option<Value> {
    Some(json!({ "disabled": user.record.flags.has(Flags::DISABLED) }))
}

async fn disable(asked: Asked) -> Answer {
    asked.fields(&[])?;
    let user = whom::named(&asked)?;
    let told = (is_disabled(&user), Some(json!({ "disabled": true })));
    let operation = |handle: Handle, user| async move { handle.disable(&user).await };
    whom::done(&asked, "user.disable", user.id, told, operation).await?;
    Ok(no_content())
}

async fn enable(asked: Asked) -> Answer {
    asked.fields(&[])?;
    let user = whom::named(&asked)?;
    let told = (is_disabled(&user), Some(json!({ "disabled": false })));
    let operation = |handle: Handle, user| async move { handle.enable(&user).await };
    whom::done(&asked, "user.enable", user.id, told, operation).await?;
    Ok(no_content())
}

/// Ends all sessions, which deletes an anonymous user.
async fn end_sessions(asked: Asked) -> Answer {
    asked.fields(&[])?;
    let user = whom::named(&asked)?;
    let ended = live(&asked.context, &user).count();
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
    let number = live(&asked.context, &user).find(is_it).ok_or_else(no_such)?.number;
    let before = json!({ "session": wanted.to_string() });
    let operation = move |handle: Handle, user| async move { handle.end_session(&user, number).await };
    let done = whom::done(&asked, "user.end-session", user.id, (Some(before), None), operation).await;
    match done {
        // it ended meanwhile
        Err(problem) if problem.code() == "session-ended" => Err(no_such()),
        other => other.map(|()| no_content()),
    }
}
