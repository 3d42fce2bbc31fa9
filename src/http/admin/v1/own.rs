//! The own account of the admin who asks: another password, a second factor.

use actix_web::http::StatusCode;
use serde_json::json;

use super::shown::no_content;
use crate::admin::Role;
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::Answer;
use crate::provider::password::Password;

pub(super) fn rows() -> Vec<Row> {
    let read = Some(Role::Read);
    vec![
        row("PUT /v1/admin/me/password", read, "admin.password", set_password),
        row("POST /v1/admin/me/totp", read, None, new_totp),
        row("PUT /v1/admin/me/totp", read, "admin.totp", set_totp),
        row("DELETE /v1/admin/me/totp", read, "admin.totp", remove_totp),
    ]
}

/// `current` and `password`.
async fn set_password(asked: Asked) -> Answer {
    let fields = asked.fields(&["current", "password"])?;
    let password = |name: &str| text(&fields, name).map(|text| Password::new(text.to_owned()));
    let both = (password("current")?, password("password")?);
    asked.admins().set_own_password(asked.handle(), asked.asker()?, both, &asked.source, &asked.by()?).await?;
    Ok(no_content())
}

/// A secret, and the same as authenticator apps read it from a QR code. Nothing is stored yet.
async fn new_totp(asked: Asked) -> Answer {
    let asker = asked.asker()?;
    let secret = asked.admins().new_totp(asker)?.text();
    let app = &asked.context.server.settings.app_id;
    // the names of apps and admins need no escape
    let uri = format!("otpauth://totp/{app}:{}?secret={}&issuer={app}", asker.who, *secret);
    Ok(json(StatusCode::OK, &json!({ "secret": *secret, "uri": uri })))
}

/// `password`, `secret`, and a `code` of it.
async fn set_totp(asked: Asked) -> Answer {
    let fields = asked.fields(&["password", "secret", "code"])?;
    let password = Password::new(text(&fields, "password")?.to_owned());
    let shown = (text(&fields, "secret")?, text(&fields, "code")?);
    asked.admins().set_totp(asked.handle(), asked.asker()?, password, shown, &asked.source, &asked.by()?).await?;
    Ok(no_content())
}

/// `password`.
async fn remove_totp(asked: Asked) -> Answer {
    let fields = asked.fields(&["password"])?;
    let password = Password::new(text(&fields, "password")?.to_owned());
    asked.admins().remove_totp(asked.handle(), asked.asker()?, password, &asked.source, &asked.by()?).await?;
    Ok(no_content())
}
