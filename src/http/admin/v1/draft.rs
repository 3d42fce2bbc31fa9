//! The draft: changed, looked at, deployed, thrown away. Whoever changes it names the revision that they saw.

use std::sync::Arc;

use actix_web::http::StatusCode;
use passerby_actors::domain::merge_patch;
use passerby_actors::handle::Handle;
use serde_json::{Map, Value, json};

use super::deployed::{difference, done, read};
use super::shown::{no_content, time};
use crate::admin::Role;
use crate::deployment::{Deployments, Draft, How, sentences};
use crate::http::admin::asked::Asked;
use crate::http::admin::deploying::{self, name, number, set_by_file};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::provider::app_folder::AppContent;

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /v1/admin/draft", read, None, get),
        row("PATCH /v1/admin/draft", owner, "draft.change", change).with_app(),
        row("DELETE /v1/admin/draft", owner, "draft.discard", discard),
        row("GET /v1/admin/draft/diff", read, None, diff),
        row("POST /v1/admin/draft/deploy", owner, "draft.deploy", deploy),
    ]
}

/// A draft, and what it changes of what is in force.
pub(super) fn shown(now: &AppContent, draft: &Draft) -> Value {
    json!({
        "revision": draft.revision,
        "base": draft.base,
        "by": draft.by,
        "at": time(draft.at_ms),
        "changes": sentences(now, &draft.app),
    })
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "draft-not-found", "there is no draft")
}

fn draft(asked: &Asked) -> Result<Draft, Problem> {
    asked.context.server.deployments.draft(asked.handle())?.ok_or_else(missing)
}

async fn get(asked: Asked) -> Answer {
    let draft = draft(&asked)?;
    let mut shown = shown(&asked.context.server.app().content, &draft);
    shown["app"] = json!(draft.app);
    Ok(json(StatusCode::OK, &shown))
}

/// The revision that the caller saw.
fn revision(fields: &Map<String, Value>) -> Result<u64, Problem> {
    number(fields, "revision")?.ok_or_else(|| Problem::bad_field("the body needs the number \"revision\""))
}

/// What the settings have cannot be changed in a draft.
///
/// # Errors
/// It is.
fn must_leave_settings(asked: &Asked, before: &AppContent, after: &AppContent) -> Result<(), Problem> {
    let app = asked.context.server.app();
    let changed = app.of_the_settings().find(|name| before.providers.get(*name) != after.providers.get(*name));
    if let Some(name) = changed {
        return Err(set_by_file(name));
    }
    if app.origins_are_fixed && before.allowed_request_origins != after.allowed_request_origins {
        return Err(set_by_file("allowed_request_origins"));
    }
    if app.is_lifetime_fixed && before.refresh_token_expiration_s != after.refresh_token_expiration_s {
        return Err(set_by_file("session.lifetime"));
    }
    Ok(())
}

/// `revision` (0: there was none) and `app`, a merge patch (RFC 7396).
async fn change(asked: Asked) -> Answer {
    let fields = asked.fields(&["revision", "app"])?;
    let seen = revision(&fields)?;
    let Some(Value::Object(patch)) = fields.get("app") else {
        return Err(Problem::bad_field("the body needs the object \"app\", a merge patch"));
    };
    let (deployments, app) = (&asked.context.server.deployments, Arc::clone(&asked.context.server.app()));
    let (now, base) = (&app.content, app.number);
    let before = deployments.draft_as_seen(asked.handle(), seen)?.map_or_else(|| now.clone(), |draft| draft.app);
    let Value::Object(mut merged) = json!(before) else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the app is no object"));
    };
    merge_patch(&mut merged, patch);
    let after = deployments.check(&read(Value::Object(merged))?)?;
    must_leave_settings(&asked, now, &after)?;
    let next = after.clone();
    let change = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.change_draft(handle, how.by, (seen, base), next).await
    };
    let draft = deploying::change(&asked, ("draft.change", "draft"), (&before, &after), change).await?;
    Ok(json(StatusCode::OK, &shown(now, &draft)))
}

/// `revision` in the query.
async fn discard(asked: Asked) -> Answer {
    let query = of_query(&asked.request, &["revision"])?;
    let wrong =
        || Problem::new(StatusCode::BAD_REQUEST, "bad-query", "revision must be the number of the draft that you saw");
    let seen = query.get("revision").and_then(Value::as_str).and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
    let draft = asked.context.server.deployments.draft_as_seen(asked.handle(), seen)?.ok_or_else(missing)?;
    let now = asked.context.server.app().content.clone();
    let discard = async move |deployments: &Deployments, handle: &Handle, _: How<'_>| {
        deployments.discard_draft(handle, seen).await
    };
    deploying::change(&asked, ("draft.discard", "draft"), (&draft.app, &now), discard).await?;
    Ok(no_content())
}

async fn diff(asked: Asked) -> Answer {
    let draft = draft(&asked)?;
    let now = asked.context.server.app();
    let mut shown = difference(&now.content, &draft.app);
    shown.insert("revision".to_owned(), json!(draft.revision));
    shown.insert("deployment".to_owned(), json!(now.number));
    Ok(json(StatusCode::OK, &shown))
}

/// `revision`, `name`, and `seen`: the deployment that its difference was looked at from.
async fn deploy(asked: Asked) -> Answer {
    let fields = asked.fields(&["revision", "name", "seen"])?;
    let (seen, name) = ((revision(&fields)?, number(&fields, "seen")?), name(&fields)?);
    let deployments = &asked.context.server.deployments;
    let draft = deployments.draft_as_seen(asked.handle(), seen.0)?;
    let (draft, now) = (draft.ok_or_else(missing)?, Arc::clone(&asked.context.server.app()));
    // what it needs of the settings, or of the secrets, may have gone since
    deployments.check(&draft.app)?;
    let deploy = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.deploy_draft(handle, How { name, ..how }, seen).await
    };
    let deployed = deploying::change(&asked, ("draft.deploy", "draft"), (&now.content, &draft.app), deploy).await?;
    Ok(done(&asked, now.number, &deployed))
}
