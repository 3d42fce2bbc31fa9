//! One user: all that is kept.

use actix_web::http::StatusCode;
use serde_json::Value;

use super::users::shown;
use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom;
use crate::http::problem::Answer;
use crate::http::{json, whole_user};

pub(super) fn rows() -> Vec<Row> {
    vec![row("GET /v1/admin/users/{user}", Some(Role::Read), None, one)]
}

/// All that is kept about a user.
async fn one(asked: Asked) -> Answer {
    let user = whom::named(&asked)?;
    let mut one = shown(&asked.context, &user);
    let whole = whole_user::of(&asked.context.server, &user);
    if let (Value::Object(one), Value::Object(whole)) = (&mut one, whole) {
        one.extend(whole);
    }
    Ok(json(StatusCode::OK, &one))
}
