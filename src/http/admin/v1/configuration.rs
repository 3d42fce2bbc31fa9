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
    let app = server.app();
    for setting in &mut settings {
        let of_app = match setting.name.as_str() {
            // also where the app lists none: the folder of the start may have listed some
            "allowed_origins" if !app.origins_are_fixed => Some(Value::from(app.allowed_origins.as_slice())),
            "session.lifetime" if !app.is_lifetime_fixed => app.content.refresh_token_expiration_s.map(Value::from),
            _ => None,
        };
        if let Some(value) = of_app {
            setting.value = value;
            (setting.origin, setting.place) = (SetBy::Deployment, Some(app.number.to_string()));
        }
    }
    Ok(json(StatusCode::OK, &json!({ "settings": settings })))
}
