//! API keys of the admin API: list, create, delete.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::shown::{no_content, time};
use crate::admin::{AdminKey, Role};
use crate::http::admin::asked::{Asked, role, text};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

pub(super) fn rows() -> Vec<Row> {
    let owner = Some(Role::Owner);
    vec![
        row("GET /v1/admin/keys", owner, None, list),
        row("POST /v1/admin/keys", owner, "key.create", create),
        row("DELETE /v1/admin/keys/{id}", owner, "key.delete", delete),
    ]
}

fn of(id: &str, key: &AdminKey) -> Value {
    json!({
        "id": id,
        "name": key.name,
        "role": key.role,
        "created": time(key.created_ms),
        "created_by": key.created_by,
        "ends": key.ends_ms.map(time),
    })
}

async fn list(asked: Asked) -> Answer {
    let keys = asked.admins().keys(asked.handle())?;
    let keys: Vec<_> = keys.iter().map(|(id, key)| of(id, key)).collect();
    Ok(json(StatusCode::OK, &json!({ "keys": keys })))
}

/// `name`, `role`, and `ends` (RFC 3339) unless it is good until it is deleted.
async fn create(asked: Asked) -> Answer {
    let fields = asked.fields(&["name", "role", "ends"])?;
    let role = fields.get("role").map_or_else(|| Err(Problem::missing_field("role")), role)?;
    let ends_ms = match fields.get("ends") {
        None => None,
        Some(ends) => {
            let ends = ends.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let ends_ms = ends.and_then(|ends| u64::try_from(ends.as_millisecond()).ok());
            Some(ends_ms.ok_or_else(|| Problem::bad_field("ends must be a time such as \"2027-01-31T00:00:00Z\""))?)
        }
    };
    let name = text(&fields, "name")?;
    let key = asked.admins().create_key(asked.handle(), name, role, ends_ms, &asked.by()?).await?;
    let body = json!({
        "id": key.id,
        "name": name,
        "role": role,
        "ends": ends_ms.map(time),
        "private_key": key.private.text(),
        "token": key.token(),
    });
    Ok(json(StatusCode::CREATED, &body))
}

async fn delete(asked: Asked) -> Answer {
    asked.admins().delete_key(asked.handle(), asked.parameter("id"), &asked.by()?).await?;
    Ok(no_content())
}
