//! Logging in by a name or by an API key, sessions, and who asks.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::admin::{Asker, Fault, Role, SESSION, SecretText};
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::table::{Row, row};
use crate::http::problem::{Answer, Problem};
use crate::http::{bearer, json};
use crate::provider::password::Password;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("GET /api/admin/v3.0/auth/providers", None, None, providers),
        row("POST /api/admin/v3.0/auth/providers/local-userpass/login", None, "login", log_in),
        row("POST /api/admin/v3.0/auth/providers/mongodb-cloud/login", None, "login", log_in_by_key),
        row("GET /api/admin/v3.0/auth/profile", Some(Role::Read), None, profile),
        row("POST /api/admin/v3.0/auth/session", Some(Role::Read), None, refresh),
        row("DELETE /api/admin/v3.0/auth/session", Some(Role::Read), "logout", end),
    ]
}

async fn providers(asked: Asked) -> Answer {
    let tokens = &asked.context.server.tokens;
    let provider =
        |name: &str| json!({ "_id": tokens.provider_id(name), "name": name, "type": name, "disabled": false });
    Ok(json(StatusCode::OK, &["local-userpass", "mongodb-cloud"].map(provider)))
}

async fn log_in(asked: Asked) -> Answer {
    let fields = asked.loose_fields()?;
    let (name, password) = (text(&fields, "username")?, Password::new(text(&fields, "password")?.to_owned()));
    // App Services had none here
    let code = fields.get("code").and_then(Value::as_str);
    let begun = asked.admins().log_in(asked.handle(), name, password, code, &asked.source).await;
    answer(&asked, begun, "invalid username/password")
}

async fn log_in_by_key(asked: Asked) -> Answer {
    let fields = asked.loose_fields()?;
    let (id, private) = (text(&fields, "username")?, text(&fields, "apiKey")?);
    let begun = asked.admins().log_in_by_key(asked.handle(), id, private, &asked.source).await;
    answer(&asked, begun, "invalid API key")
}

fn answer(asked: &Asked, begun: Result<(SecretText, Asker), Fault>, wrong: &'static str) -> Answer {
    let (secret, asker) = match begun {
        Err(Fault::Credentials) => return Err(Problem::unauthorized("invalid-password", wrong)),
        other => other?,
    };
    let session = asker.session.ok_or(Fault::Ended)?;
    let tokens = &asked.context.server.tokens;
    let body = json!({
        "access_token": asked.admins().access_token(asked.handle(), &session),
        "refresh_token": secret.text(),
        "user_id": tokens.provider_id(&asker.who.to_string()),
        "device_id": tokens.provider_id("admin-device"),
    });
    Ok(json(StatusCode::OK, &body))
}

async fn profile(asked: Asked) -> Answer {
    let asker = asked.asker()?;
    let (tokens, who) = (&asked.context.server.tokens, asker.who.to_string());
    let (domain, id) = (tokens.domain_id(), tokens.provider_id(&who));
    let body = json!({
        "user_id": id,
        "domain_id": domain,
        "identities": [{
            "id": who, "provider_type": "local-userpass", "provider_id": tokens.provider_id("local-userpass"),
        }],
        "data": { "name": who },
        "type": "normal",
        "roles": [{ "role_name": role_name(asker.role), "group_id": domain }],
    });
    Ok(json(StatusCode::OK, &body))
}

/// The names of the roles of a project, as they were there.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "GROUP_OWNER",
        Role::Operate => "GROUP_USER_ADMIN",
        Role::Read => "GROUP_READ_ONLY",
    }
}

/// The session whose refresh token asks.
fn by_refresh_token(asked: &Asked) -> Result<[u8; 32], Problem> {
    let is_one = bearer(&asked.request).is_some_and(|token| token.starts_with(SESSION));
    let session = asked.asker()?.session.filter(|_| is_one);
    session.ok_or_else(|| Problem::unauthorized("auth-error", "invalid refresh token: incorrect token type"))
}

async fn refresh(asked: Asked) -> Answer {
    let session = by_refresh_token(&asked)?;
    let token = asked.admins().access_token(asked.handle(), &session);
    Ok(json(StatusCode::CREATED, &json!({ "access_token": Value::from(token) })))
}

async fn end(asked: Asked) -> Answer {
    by_refresh_token(&asked)?;
    asked.admins().log_out(asked.handle(), asked.asker()?, &asked.by()?).await?;
    Ok(HttpResponse::NoContent().finish())
}
