//! Drafts and deployments: what is to be deployed next, what it changes, what was deployed, and deploying that again.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use passerby_actors::handle::Handle;
use serde_json::{Value, json};

use super::apps::{app, app_id, must_be_this};
use crate::admin::Role;
use crate::deployment::{Deployment, Deployments, Draft, How, Line, Side, lines, sentences};
use crate::http::admin::asked::Asked;
use crate::http::admin::deploying::{change, name, number};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/drafts", read, None, list),
        row("POST /api/admin/v3.0/groups/{group}/apps/{app}/drafts", owner, "draft.create", create),
        row("DELETE /api/admin/v3.0/groups/{group}/apps/{app}/drafts/{draft}", owner, "draft.discard", discard),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/drafts/{draft}/diff", read, None, diff),
        row("POST /api/admin/v3.0/groups/{group}/apps/{app}/drafts/{draft}/deployment", owner, "draft.deploy", deploy),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/deployments", read, None, deployments),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/deployments/{deployment}", read, None, deployment),
        row(
            "POST /api/admin/v3.0/groups/{group}/apps/{app}/deployments/{deployment}/redeploy",
            owner,
            "deployment.again",
            redeploy,
        ),
    ]
}

/// The same from its beginning to its end.
fn draft_id(asked: &Asked, draft: &Draft) -> String {
    asked.context.server.tokens.provider_id(&format!("draft {}", draft.begun_ms))
}

fn deployment_id(asked: &Asked, number: u64) -> String {
    asked.context.server.tokens.provider_id(&format!("deployment {number}"))
}

fn draft_shown(asked: &Asked, draft: &Draft) -> Value {
    json!({
        "_id": draft_id(asked, draft),
        "app": app(asked),
        "app_id": app_id(asked),
        "user_id": asked.context.server.tokens.provider_id(&draft.by),
        "user": draft.by,
        "revision": draft.revision,
        "last_modified": draft.at_ms / 1000,
    })
}

fn deployment_shown(asked: &Asked, deployment: &Deployment) -> Value {
    json!({
        "_id": deployment_id(asked, deployment.number),
        "name": deployment.name.clone().unwrap_or_else(|| deployment_id(asked, deployment.number)),
        "app_id": app_id(asked),
        "number": deployment.number,
        "user_id": asked.context.server.tokens.provider_id(&deployment.by),
        "user": deployment.by,
        "deployed_at": deployment.at_ms / 1000,
        "origin": deployment.origin.name(),
        "status": "successful",
        "status_error_message": "",
        "is_in_force": deployment.number == asked.context.server.app().number,
    })
}

async fn list(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let draft = asked.context.server.deployments.draft(asked.handle())?;
    let drafts: Vec<_> = draft.iter().map(|draft| draft_shown(&asked, draft)).collect();
    Ok(json(StatusCode::OK, &drafts))
}

async fn create(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let now = Arc::clone(&asked.context.server.app());
    let (app, base) = (now.content.clone(), now.number);
    let exists = || {
        let detail = "there is a draft already: deploy it, or discard it";
        Problem::new(StatusCode::CONFLICT, "draft-already-exists", detail)
    };
    if asked.context.server.deployments.draft(asked.handle())?.is_some() {
        return Err(exists());
    }
    let next = app.clone();
    let create = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.change_draft(handle, how.by, (0, base), next).await
    };
    let created = change(&asked, ("draft.create", "draft"), (&app, &app), create).await;
    // of two at once
    let draft = created.map_err(|problem| if problem.code() == "draft-moved" { exists() } else { problem })?;
    Ok(json(StatusCode::CREATED, &draft_shown(&asked, &draft)))
}

/// The draft that the path names.
fn named(asked: &Asked) -> Result<Draft, Problem> {
    must_be_this(asked)?;
    let draft = asked.context.server.deployments.draft(asked.handle())?;
    let draft = draft.filter(|draft| draft_id(asked, draft) == asked.parameter("draft"));
    draft.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "draft-not-found", "draft not found"))
}

async fn discard(asked: Asked) -> Answer {
    let Draft { app, revision, .. } = named(&asked)?;
    let now = asked.context.server.app().content.clone();
    let discard = async move |deployments: &Deployments, handle: &Handle, _: How<'_>| {
        deployments.discard_draft(handle, revision).await
    };
    change(&asked, ("draft.discard", "draft"), (&app, &now), discard).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn diff(asked: Asked) -> Answer {
    let draft = named(&asked)?;
    let now = asked.context.server.app();
    let line = |Line { of, text }: Line| match of {
        Side::Before => format!("- {text}"),
        Side::Both => format!("  {text}"),
        Side::After => format!("+ {text}"),
    };
    let lines: Vec<_> = lines(&now.content, &draft.app).into_iter().map(line).collect();
    let sentences = sentences(&now.content, &draft.app);
    let diffs = if now.content == draft.app { vec![] } else { vec![lines.join("\n")] };
    let hosted = json!({ "added": [], "deleted": [], "modified": [] });
    Ok(json(StatusCode::OK, &json!({ "diffs": diffs, "hosting_files_diff": hosted, "sentences": sentences })))
}

async fn deploy(asked: Asked) -> Answer {
    let (Draft { app, revision, .. }, fields) = (named(&asked)?, asked.loose_fields()?);
    let (name, seen) = (name(&fields)?, number(&fields, "seen")?);
    let now = asked.context.server.app().content.clone();
    let deploy = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.deploy_draft(handle, How { name, ..how }, (revision, seen)).await
    };
    let deployed = change(&asked, ("draft.deploy", "draft"), (&now, &app), deploy).await?;
    Ok(json(StatusCode::CREATED, &deployment_shown(&asked, &deployed)))
}

async fn deployments(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let all = asked.context.server.deployments.list(asked.handle())?;
    let shown: Vec<_> = all.iter().map(|deployment| deployment_shown(&asked, deployment)).collect();
    Ok(json(StatusCode::OK, &shown))
}

/// The deployment that the path names.
fn kept(asked: &Asked) -> Result<Deployment, Problem> {
    must_be_this(asked)?;
    let wanted = asked.parameter("deployment");
    let all = asked.context.server.deployments.list(asked.handle())?;
    let found = all.into_iter().find(|deployment| deployment_id(asked, deployment.number) == wanted);
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "deployment-not-found", "deployment not found"))
}

async fn deployment(asked: Asked) -> Answer {
    Ok(json(StatusCode::OK, &deployment_shown(&asked, &kept(&asked)?)))
}

async fn redeploy(asked: Asked) -> Answer {
    let Deployment { number, app, .. } = kept(&asked)?;
    let now = asked.context.server.app().content.clone();
    let again = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.redeploy(handle, how, 0, number).await
    };
    change(&asked, ("deployment.again", &number.to_string()), (&now, &app), again).await?;
    Ok(HttpResponse::NoContent().finish())
}
