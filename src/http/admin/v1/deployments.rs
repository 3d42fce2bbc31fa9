//! Deployments: listed, compared with what is in force, deployed again.

use actix_web::http::StatusCode;
use passerby_actors::handle::Handle;
use serde_json::{Value, json};

use super::deployed::{as_number, deployment, difference};
use crate::admin::Role;
use crate::deployment::{Deployment, Deployments, How};
use crate::http::admin::asked::Asked;
use crate::http::admin::deploying::{change, name};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::Answer;

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /v1/admin/deployments", read, None, list),
        row("GET /v1/admin/deployments/{number}", read, None, one),
        row("POST /v1/admin/deployments/{number}/deploy", owner, "deployment.again", again),
    ]
}

async fn list(asked: Asked) -> Answer {
    let all = asked.context.server.deployments.list(asked.handle())?;
    let all: Vec<_> = all.iter().map(|of| deployment(&asked, of)).collect();
    Ok(json(StatusCode::OK, &json!({ "deployments": all })))
}

/// With what would change if it were deployed again.
async fn one(asked: Asked) -> Answer {
    let found = as_number(&asked, asked.parameter("number"))?;
    let mut shown = deployment(&asked, &found);
    if let Value::Object(shown) = &mut shown {
        shown.extend(difference(&asked.context.server.app().content, &found.app));
    }
    Ok(json(StatusCode::OK, &shown))
}

async fn again(asked: Asked) -> Answer {
    let fields = asked.fields(&["name"])?;
    let (name, Deployment { number, app, .. }) = (name(&fields)?, as_number(&asked, asked.parameter("number"))?);
    let now = asked.context.server.app().content.clone();
    let app = asked.context.server.deployments.check(&app)?;
    let again = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.redeploy(handle, How { name, ..how }, number).await
    };
    let deployed = change(&asked, ("deployment.again", &number.to_string()), (&now, &app), again).await?;
    Ok(json(StatusCode::CREATED, &deployment(&asked, &deployed)))
}
