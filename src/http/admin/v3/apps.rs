//! The apps of a group, of which there is exactly one of each.

use actix_web::http::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

/// The kind of app that this is; App Services had others for Triggers, the Data API and Device Sync.
const PRODUCT: &str = "standard";

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /api/admin/v3.0/groups/{group}/apps", read, None, list),
        row("POST /api/admin/v3.0/groups/{group}/apps", owner, "app.create", create),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}", read, None, get),
        row("DELETE /api/admin/v3.0/groups/{group}/apps/{app}", owner, "app.delete", delete),
    ]
}

pub(super) fn app(asked: &Asked) -> Value {
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
        "product": PRODUCT,
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

/// What App Services did, and nothing here does.
pub(super) fn not_implemented(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", detail)
}

/// Of the products that are asked for, and of all that are not asked for this one alone: realm-cli asks for each in turn.
async fn list(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    // what else stands in the query means nothing here
    let mut query = form_urlencoded::parse(asked.request.query_string().as_bytes());
    let products = query.find(|(name, _)| name == "product").map(|(_, value)| value);
    let is_asked_for = products.is_none_or(|products| products.split(',').any(|product| product == PRODUCT));
    let apps: Vec<_> = is_asked_for.then(|| app(&asked)).into_iter().collect();
    Ok(json(StatusCode::OK, &apps))
}

async fn create(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Err(not_implemented("one server serves one app, which is there already: start another server for another app"))
}

async fn delete(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Err(not_implemented("the app is deleted by stopping its server and removing the data folder"))
}

async fn get(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Ok(json(StatusCode::OK, &app(&asked)))
}
