//! Sessions of admins and keys: one's own, and everybody's for owners.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::shown::{no_content, time};
use crate::admin::{Listed, Role};
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::Answer;

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /v1/admin/sessions", owner, None, list),
        row("DELETE /v1/admin/sessions/{id}", owner, "admin.end-session", end),
        row("GET /v1/admin/me/sessions", read, None, list_own),
        row("DELETE /v1/admin/me/sessions/{id}", read, "admin.end-session", end_own),
    ]
}

fn shown(listed: &Listed) -> Value {
    let Listed { id, session, ends_ms, is_own, is_asking } = listed;
    json!({
        "id": id,
        "who": session.of.to_string(),
        "began": time(session.began.wall_ms),
        "last_used": time(session.used.wall_ms),
        "ends": time(*ends_ms),
        "address": session.address,
        "mine": is_own,
        "current": is_asking,
    })
}

fn answer(sessions: &[Listed]) -> Answer {
    Ok(json(StatusCode::OK, &json!({ "sessions": sessions.iter().map(shown).collect::<Vec<_>>() })))
}

async fn list(asked: Asked) -> Answer {
    answer(&asked.admins().sessions(asked.handle(), asked.asker()?, None)?)
}

async fn list_own(asked: Asked) -> Answer {
    let asker = asked.asker()?;
    answer(&asked.admins().sessions(asked.handle(), asker, Some(&asker.who))?)
}

async fn end(asked: Asked) -> Answer {
    asked.admins().end_session(asked.handle(), asked.parameter("id"), None, &asked.by()?).await?;
    Ok(no_content())
}

async fn end_own(asked: Asked) -> Answer {
    let own = Some(&asked.asker()?.who);
    asked.admins().end_session(asked.handle(), asked.parameter("id"), own, &asked.by()?).await?;
    Ok(no_content())
}
