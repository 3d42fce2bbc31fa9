//! The apps of a group, of which there is exactly one of each.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

pub(super) fn rows() -> Vec<Row> {
    let read = Some(Role::Read);
    vec![
        row("GET /api/admin/v3.0/groups/{group}/apps", read, None, list),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}", read, None, get),
    ]
}

fn app(asked: &Asked) -> Value {
    let server = &asked.context.server;
    let (tokens, name, opened_s) = (&server.tokens, &server.settings.app_id, server.wall_s());
    let domain = tokens.domain_id();
    json!({
        "_id": app_id(asked),
        "client_app_id": name,
        "name": name,
        "location": "local",
        "deployment_model": "LOCAL",
        "domain_id": domain,
        "group_id": domain,
        "last_used": opened_s,
        "last_modified": opened_s,
        "product": "standard",
        "environment": "",
    })
}

pub(super) fn app_id(asked: &Asked) -> String {
    asked.context.server.tokens.provider_id("app")
}

/// Whether the path names this app.
///
/// # Errors
/// It names another.
pub(super) fn must_be_this(asked: &Asked) -> Result<(), Problem> {
    let group = asked.parameter("group");
    if group != asked.context.server.tokens.domain_id() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "group-not-found", "there is no such group"));
    }
    let app = asked.parameter("app");
    if app.is_empty() || app == app_id(asked) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "app-not-found", "there is no such app: _id is meant, not client_app_id"))
}

async fn list(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Ok(json(StatusCode::OK, &[app(&asked)]))
}

async fn get(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Ok(json(StatusCode::OK, &app(&asked)))
}
