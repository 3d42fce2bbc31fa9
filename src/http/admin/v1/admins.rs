//! Admins: list, create, change, delete.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::shown::{no_content, time};
use crate::admin::{Account, Change, Role};
use crate::http::admin::asked::{Asked, role, text};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::provider::password::Password;

pub(super) fn rows() -> Vec<Row> {
    let owner = Some(Role::Owner);
    vec![
        row("GET /v1/admin/admins", owner, None, list),
        row("POST /v1/admin/admins", owner, "admin.create", create),
        row("PATCH /v1/admin/admins/{name}", owner, "admin.change", change),
        row("DELETE /v1/admin/admins/{name}", owner, "admin.delete", delete),
    ]
}

async fn list(asked: Asked) -> Answer {
    let admins = asked.admins().list(asked.handle())?;
    let of = |(name, account): &(String, Account)| {
        json!({
            "name": name,
            "role": account.role,
            "disabled": account.disabled,
            "totp": account.totp.is_some(),
            "created": time(account.created_ms),
            "password_set": time(account.password_ms),
        })
    };
    Ok(json(StatusCode::OK, &json!({ "admins": admins.iter().map(of).collect::<Vec<_>>() })))
}

async fn create(asked: Asked) -> Answer {
    let fields = asked.fields(&["name", "password", "role"])?;
    let role = fields.get("role").map_or_else(|| Err(Problem::missing_field("role")), role)?;
    let (name, password) = (text(&fields, "name")?, Password::new(text(&fields, "password")?.to_owned()));
    let name = asked.admins().create(asked.handle(), name, password, role, &asked.by()?).await?;
    Ok(json(StatusCode::CREATED, &json!({ "name": name, "role": role })))
}

async fn change(asked: Asked) -> Answer {
    let fields = asked.fields(&["role", "disabled", "password", "totp"])?;
    let disabled = match fields.get("disabled") {
        None => None,
        Some(Value::Bool(disabled)) => Some(*disabled),
        Some(_) => return Err(Problem::bad_field("disabled must be true or false")),
    };
    let password = match fields.get("password") {
        None => None,
        Some(_) => Some(Password::new(text(&fields, "password")?.to_owned())),
    };
    let without_totp = match fields.get("totp") {
        None => false,
        Some(Value::Bool(false)) => true,
        Some(_) => return Err(Problem::bad_field("totp can be false: only admins themselves begin with one")),
    };
    let change = Change { role: fields.get("role").map(role).transpose()?, disabled, password, without_totp };
    asked.admins().change(asked.handle(), asked.parameter("name"), change, &asked.by()?).await?;
    Ok(no_content())
}

async fn delete(asked: Asked) -> Answer {
    asked.admins().delete(asked.handle(), asked.parameter("name"), &asked.by()?).await?;
    Ok(no_content())
}
