//! The app: what is in force with its providers and its draft, its content, and an app that is pushed.

use std::sync::Arc;

use actix_web::http::StatusCode;
use passerby_actors::handle::Handle;
use serde_json::{Map, Value, json};

use super::deployed::{as_number, deployment, difference, done, read};
use super::{draft, providers};
use crate::admin::Role;
use crate::deployment::{Deployments, How};
use crate::http::admin::asked::Asked;
use crate::http::admin::deploying::{SET_BY_FILE, change, name, number};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::provider::app_folder::AppContent;

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /v1/admin/app", read, None, app),
        row("GET /v1/admin/app/content", read, None, content),
        row("POST /v1/admin/app/diff", read, None, diff).with_app(),
        row("POST /v1/admin/app/deploy", owner, "app.deploy", deploy).with_app(),
    ]
}

async fn app(asked: Asked) -> Answer {
    let server = &asked.context.server;
    let (app, drafted) = (server.app(), server.deployments.draft(asked.handle())?);
    let in_force = server.deployments.of_number(asked.handle(), app.number)?;
    let mut shown = json!({
        "deployment": in_force.map(|of| deployment(&asked, &of)),
        "client_app_id": server.settings.app_id,
        "providers": providers::shown(&app, drafted.as_ref()),
        "allowed_request_origins": app.allowed_origins,
        "origins_editable": !app.origins_are_fixed,
        "refresh_token_expiration_s": app.content.refresh_token_expiration_s,
        "session_lifetime_s": app.session_lifetime_s,
        "session_lifetime_editable": !app.is_lifetime_fixed,
        "custom_user_data": app.content.custom_user_data,
        "draft": drafted.as_ref().map(|of| draft::shown(&app.content, of)),
    });
    if app.origins_are_fixed {
        shown["origins_locked_because"] = json!(format!("allowed_request_origins {SET_BY_FILE}"));
    }
    Ok(json(StatusCode::OK, &shown))
}

/// As it is deployed; with `deployment` that of a number.
async fn content(asked: Asked) -> Answer {
    let query = of_query(&asked.request, &["deployment"])?;
    match query.get("deployment").and_then(Value::as_str) {
        None => Ok(json(StatusCode::OK, &asked.context.server.app().content)),
        Some(number) => Ok(json(StatusCode::OK, &as_number(&asked, number)?.app)),
    }
}

/// The app of the body, in the form in which it would be deployed.
fn of_body(asked: &Asked, fields: &Map<String, Value>) -> Result<AppContent, Problem> {
    let app = fields.get("app").cloned().ok_or_else(|| Problem::bad_field("the body needs the object \"app\""))?;
    Ok(asked.context.server.deployments.check(&read(app)?)?)
}

/// What an app would change.
async fn diff(asked: Asked) -> Answer {
    let fields = asked.fields(&["app"])?;
    let (after, now) = (of_body(&asked, &fields)?, asked.context.server.app());
    let mut shown = difference(&now.content, &after);
    shown.insert("deployment".to_owned(), json!(now.number));
    Ok(json(StatusCode::OK, &shown))
}

/// Deploys an app, unless it is in force already. `seen`: the deployment that its difference was looked at from.
async fn deploy(asked: Asked) -> Answer {
    let fields = asked.fields(&["app", "name", "seen"])?;
    let (name, seen) = (name(&fields)?, number(&fields, "seen")?.unwrap_or(0));
    let (after, now) = (of_body(&asked, &fields)?, Arc::clone(&asked.context.server.app()));
    let next = after.clone();
    let deploy = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.deploy_app(handle, How { name, ..how }, seen, next).await
    };
    let deployed = change(&asked, ("app.deploy", "app"), (&now.content, &after), deploy).await?;
    Ok(done(&asked, now.number, &deployed))
}
