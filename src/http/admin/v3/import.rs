//! A whole app as `realm-cli push` sends one: compared with what is in force or drafted, or put in its place.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::Value;

use super::configuration::{change, shown};
use crate::admin::Role;
use crate::deployment::{DeployError, sentences};
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::provider::app_folder::imported;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("POST /api/admin/v3.0/groups/{group}/apps/{app}/import", Some(Role::Owner), "app.import", import)
            .with_app(),
    ]
}

/// `strategy` (`replace-by-name`, as it is without one) and `diff` (`true`: nothing is changed, and the answer is what would be).
async fn import(asked: Asked) -> Answer {
    let before = shown(&asked)?;
    let query = of_query(&asked.request, &["strategy", "diff"])?;
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail);
    if query.get("strategy").is_some_and(|strategy| strategy != "replace-by-name") {
        return Err(bad("strategy must be replace-by-name"));
    }
    let only_compares = match query.get("diff").and_then(Value::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(bad("diff must be true or false")),
    };
    let (next, unserved) = imported(&asked.loose_fields()?, &before).map_err(DeployError::Wrong)?;
    let next = asked.context.server.deployments.check(&next)?;
    if only_compares {
        let told: Vec<String> = sentences(&before, &next).into_iter().chain(unserved).collect();
        return Ok(json(StatusCode::OK, &told));
    }
    if next == before {
        return Ok(HttpResponse::NoContent().finish());
    }
    change(&asked, ("app.import", "app"), |app| {
        *app = next;
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}
