//! Deployments: listed, compared with what is in force, deployed again.

use std::sync::Arc;

use actix_web::http::StatusCode;
use passerby_actors::handle::Handle;
use serde_json::{Value, json};

use super::deployed::{as_number, deployment, difference, done};
use crate::admin::Role;
use crate::deployment::{Deployment, Deployments, How};
use crate::http::admin::asked::Asked;
use crate::http::admin::deploying::{change, name, number as of_fields};
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
    let (mut shown, now) = (deployment(&asked, &found), asked.context.server.app());
    if let Value::Object(shown) = &mut shown {
        shown.extend(difference(&now.content, &found.app));
        shown.insert("deployment".to_owned(), json!(now.number));
    }
    Ok(json(StatusCode::OK, &shown))
}

/// `seen`: the deployment that its difference was looked at from.
async fn again(asked: Asked) -> Answer {
    let fields = asked.fields(&["name", "seen"])?;
    let seen = of_fields(&fields, "seen")?.unwrap_or(0);
    let (name, Deployment { number, app, .. }) = (name(&fields)?, as_number(&asked, asked.parameter("number"))?);
    let now = Arc::clone(&asked.context.server.app());
    let app = asked.context.server.deployments.check(&app)?;
    let again = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
        deployments.redeploy(handle, How { name, ..how }, seen, number).await
    };
    let deployed = change(&asked, ("deployment.again", &number.to_string()), (&now.content, &app), again).await?;
    Ok(done(&asked, now.number, &deployed))
}
