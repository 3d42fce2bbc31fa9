//! One user: all that is kept, and what happened so far.

use actix_web::http::StatusCode;
use passerby_actors::domain::{SessionId, UserState};
use serde_json::{Map, Value, json};

use super::shown::time;
use super::users::shown;
use crate::admin::{Entry, Filter, IDS, Outcome, Role};
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom;
use crate::http::meters::of_admin;
use crate::http::problem::Answer;
use crate::http::time::created;
use crate::http::{Context, json, rfc3339, whole_user};

/// Entries of the audit log that are told of one user.
const MOST_ENTRIES: usize = 500;
/// Pages of the log that are read for them.
const MOST_PAGES: usize = 25;
/// What it is called that a session began.
const SESSION_BEGAN: &str = "session-began";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("GET /v1/admin/users/{user}", Some(Role::Read), None, one),
        row("GET /v1/admin/users/{user}/history", Some(Role::Read), None, history),
    ]
}

/// All that is kept about a user.
pub(super) fn whole(context: &Context, user: &UserState) -> Value {
    let wall_ms = context.server.clock().wall_ms();
    let mut one = shown(context, user);
    if let (Value::Object(one), Value::Object(whole)) = (&mut one, whole_user::of(&context.server, user)) {
        one.extend(whole);
    }
    let suspension = user.suspension().filter(|_| user.is_disabled(wall_ms));
    one["disabled_until"] = Value::from(suspension.and_then(|said| said.until_ms).map(time));
    one["disabled_reason"] = Value::from(suspension.map(|said| &*said.reason).filter(|reason| !reason.is_empty()));
    one["meters"] = Value::from(of_admin(context, user));
    one
}

async fn one(asked: Asked) -> Answer {
    let user = whom::named(&asked)?;
    Ok(json(StatusCode::OK, &whole(&asked.context, &user)))
}

fn event(at: String, what: &str, detail: Value) -> Value {
    json!({ "at": at, "what": what, "detail": detail })
}

/// Whether an entry tells that the user was created, and got no session.
fn is_without_session(entry: &Entry) -> bool {
    let said = entry.after.as_ref().map(|after| &after["session"]);
    entry.what == "user.create" && entry.outcome == Outcome::Done && said == Some(&Value::Bool(false))
}

/// What the user's data tells of what happened.
fn of_data(context: &Context, user: &UserState) -> Vec<Value> {
    let clock = context.server.clock();
    let at = |t| rfc3339(clock.to_wall_s(t));
    let mut events = vec![event(created(user), "created", Value::Null)];
    events.extend(user.identities().iter().map(|identity| {
        event(
            at(identity.linked),
            "linked",
            json!({ "provider": &*identity.key.provider, "id": &*identity.key.external }),
        )
    }));
    events.extend(
        user.api_keys()
            .iter()
            .map(|key| event(at(key.created), "key-created", json!({ "id": key.id.to_string(), "name": &*key.name }))),
    );
    events.extend(
        user.aliases()
            .iter()
            .map(|alias| event(at(alias.merged), "merged", json!({ "user_id": alias.id.to_string() }))),
    );
    events.extend(user.sessions().into_iter().map(|session| {
        let id = SessionId::derive(&user.id, session.number).to_string();
        event(at(session.started), SESSION_BEGAN, json!({ "id": id, "method": session.method.name() }))
    }));
    events
}

/// What happened to a user, the newest first: what the user's data still tells, and what admins did.
async fn history(asked: Asked) -> Answer {
    let user = whom::named(&asked)?;
    let mut events = of_data(&asked.context, &user);
    let filter = Filter { whom: Some(user.id.to_string()), ..Filter::default() };
    let (audit, mut cursor, mut left) = (&asked.admins().audit, None, MOST_ENTRIES);
    for _ in 0..MOST_PAGES {
        let page = audit.next_page(asked.handle(), &filter, cursor.as_deref(), left).await?;
        left -= page.entries.len();
        // an anonymous user has the place of a session all the same
        if user.record.is_anonymous() && page.entries.iter().any(|(_, entry)| is_without_session(entry)) {
            events.retain(|event| event["what"] != SESSION_BEGAN);
        }
        events.extend(page.entries.into_iter().map(|(at_ms, mut entry)| {
            // who else was created is no part of it
            if let Some(Value::Object(after)) = &mut entry.after {
                after.remove(IDS);
            }
            let mut detail = Map::from_iter([("outcome".to_owned(), json!(entry.outcome))]);
            let told = [("before", entry.before), ("after", entry.after), ("reason", entry.reason.map(Value::from))];
            detail.extend(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            json!({ "at": time(at_ms), "what": entry.what, "by": entry.who, "detail": detail })
        }));
        cursor = page.next;
        if cursor.is_none() || left == 0 {
            break;
        }
    }
    // the times all have one form; of the same second, what was done stands above what it was done to
    events.sort_by(|one, other| other["at"].as_str().cmp(&one["at"].as_str()));
    Ok(json(StatusCode::OK, &json!({ "history": events })))
}
