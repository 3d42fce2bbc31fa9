//! Logging in and out, and who asks.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::shown::no_content;
use crate::admin::Role;
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::provider::password::Password;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("POST /v1/admin/login", None, "login", login),
        row("POST /v1/admin/logout", Some(Role::Read), "logout", logout),
        row("GET /v1/admin/me", Some(Role::Read), None, me),
    ]
}

/// `name` and `password`, and `code` of an admin with a second factor; with `cookie`, the session goes into the browser's cookie and into no answer.
async fn login(asked: Asked) -> Answer {
    let fields = asked.fields(&["name", "password", "code", "cookie"])?;
    let by_cookie = match fields.get("cookie") {
        None => false,
        Some(Value::Bool(wanted)) => *wanted,
        Some(_) => return Err(Problem::bad_field("cookie must be true or false")),
    };
    if by_cookie {
        asked.must_be_own_page()?;
    }
    let (name, password) = (text(&fields, "name")?, Password::new(text(&fields, "password")?.to_owned()));
    let code = fields.get("code").map(|_| text(&fields, "code")).transpose()?;
    let (secret, asker) = asked.admins().log_in(asked.handle(), name, password, code, &asked.source).await?;
    let mut body = json!({ "who": asker.who.to_string(), "role": asker.role });
    if by_cookie {
        let mut response = json(StatusCode::OK, &body);
        return match response.add_cookie(&asked.cookie(Some(secret.text()))) {
            Ok(()) => Ok(response),
            Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no cookie could be set")),
        };
    }
    body["token"] = Value::from(secret.text());
    Ok(json(StatusCode::OK, &body))
}

async fn logout(asked: Asked) -> Answer {
    asked.admins().log_out(asked.handle(), asked.asker()?, &asked.by()?).await?;
    let mut response = no_content();
    if response.add_cookie(&asked.cookie(None)).is_err() {
        tracing::error!("the cookie of a session that ended could not be taken back");
    }
    Ok(response)
}

async fn me(asked: Asked) -> Answer {
    let asker = asked.asker()?;
    let mut body = json!({ "who": asker.who.to_string(), "role": asker.role });
    if let Some(totp) = asked.admins().has_totp(asked.handle(), asker)? {
        body["totp"] = Value::from(totp);
    }
    Ok(json(StatusCode::OK, &body))
}
