//! The configuration in force: each setting with where it comes from.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::admin::Role;
use crate::config::SetBy;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::Answer;

pub(super) fn rows() -> Vec<Row> {
    vec![row("GET /v1/admin/configuration", Some(Role::Read), None, configuration)]
}

/// Every setting. Secrets are named, not shown.
async fn configuration(asked: Asked) -> Answer {
    let server = &asked.context.server;
    let mut settings = server.configuration.read().clone();
    // what the app says is in force until a setting says otherwise
    for setting in settings.iter_mut().filter(|setting| setting.name == "allowed_origins") {
        let app = server.app();
        if matches!(setting.origin, SetBy::Default | SetBy::AppFolder) && !app.allowed_origins.is_empty() {
            setting.value = Value::from(app.allowed_origins.as_slice());
            (setting.origin, setting.place) = (SetBy::Deployment, Some(app.number.to_string()));
        }
    }
    Ok(json(StatusCode::OK, &json!({ "settings": settings })))
}
