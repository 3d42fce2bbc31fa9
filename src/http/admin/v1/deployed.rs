//! What drafts, deployments and what is pushed have in common: how a deployment and a difference are shown, and the fields that
//! name one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use super::shown::time;
use crate::deployment::{Deployment, Line, Origin, Side, lines, sentences};
use crate::http::admin::asked::Asked;
use crate::http::json;
use crate::http::problem::Problem;
use crate::provider::app_folder::AppContent;

/// A deployment as lists show one.
pub(super) fn deployment(asked: &Asked, of: &Deployment) -> Value {
    let (origin, again) = match of.origin {
        Origin::Default => ("default", None),
        Origin::Folder => ("folder", None),
        Origin::Console => ("console", None),
        Origin::Api => ("api", None),
        Origin::Redeploy(number) => ("redeploy", Some(number)),
    };
    let mut shown = json!({
        "number": of.number,
        "at": time(of.at_ms),
        "by": of.by,
        "origin": origin,
        "name": of.name,
        "in_force": of.number == asked.context.server.app().number,
    });
    if let Some(again) = again {
        shown["redeploy_of"] = json!(again);
    }
    shown
}

/// The answer to whoever deployed while `before` was in force: 201, or 200 with `changed` false, where nothing differed.
pub(super) fn done(asked: &Asked, before: u64, deployed: &Deployment) -> HttpResponse {
    let mut shown = deployment(asked, deployed);
    let is_new = deployed.number != before;
    shown["changed"] = Value::Bool(is_new);
    json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &shown)
}

/// The deployment of this number.
///
/// # Errors
/// There is none.
pub(super) fn as_number(asked: &Asked, number: &str) -> Result<Deployment, Problem> {
    let deployments = &asked.context.server.deployments;
    let found = number.parse().map_or(Ok(None), |number| deployments.of_number(asked.handle(), number));
    let missing =
        || Problem::new(StatusCode::NOT_FOUND, "deployment-not-found", "there is no deployment of this number");
    found?.ok_or_else(missing)
}

/// Whether it differs, in which values, and line by line.
pub(super) fn difference(before: &AppContent, after: &AppContent) -> Map<String, Value> {
    let line = |Line { of, text }: Line| {
        let side = match of {
            Side::Before => "before",
            Side::Both => "both",
            Side::After => "after",
        };
        json!({ "side": side, "text": text })
    };
    let lines: Vec<_> = lines(before, after).into_iter().map(line).collect();
    Map::from_iter([
        ("changed".to_owned(), Value::Bool(before != after)),
        ("changes".to_owned(), json!(sentences(before, after))),
        ("lines".to_owned(), Value::from(lines)),
    ])
}

/// An app in the form of an app folder's JSON.
///
/// # Errors
/// It has another form.
pub(super) fn read(app: Value) -> Result<AppContent, Problem> {
    serde_json::from_value(app).map_err(|error| Problem::bad_field(format!("app: {error}")))
}
