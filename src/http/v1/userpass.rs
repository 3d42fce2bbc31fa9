//! Names and passwords: registering, confirming, resetting, changing. What a name is known for is never told.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::LOCAL_USERPASS;
use serde_json::{Map, Value};

use super::challenge::{afford, afford_password};
use crate::http::schemas::{MailAddress, MailToken, PasswordChange, PasswordReset, Registration};
use crate::http::{Answer, Context, Problem, Scope, at, authenticate, client, identities, read};
use crate::limits::budget::Spend;
use crate::provider::local_userpass::{self, LocalUserpass, UserpassError};
use crate::provider::password::Password;

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(at("/v1/registrations").on(Method::POST, register))
        .service(at("/v1/registrations/confirm").on(Method::POST, confirm_registration))
        .service(at("/v1/registrations/resend").on(Method::POST, resend_confirmation))
        .service(at("/v1/password-resets").on(Method::POST, ask_for_reset))
        .service(at("/v1/password-resets/confirm").on(Method::POST, reset_password))
        .service(at("/v1/user/password").on(Method::PUT, change_password));
}

impl From<UserpassError> for Problem {
    fn from(error: UserpassError) -> Self {
        let detail = error.to_string();
        let bad = |code| Self::new(StatusCode::BAD_REQUEST, code, detail.clone());
        match error {
            UserpassError::Name => bad("bad-name"),
            UserpassError::Policy(_) => bad("bad-password"),
            UserpassError::NoConfirmation => bad("no-confirmation"),
            UserpassError::NoReset => bad("no-reset"),
            UserpassError::Password => Self::new(StatusCode::FORBIDDEN, "wrong-password", detail),
            UserpassError::NoPassword => Self::new(StatusCode::CONFLICT, "no-password", detail),
            UserpassError::Throttled(throttled) => throttled.into(),
            UserpassError::Passwords(_) | UserpassError::Mail(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
            }
            UserpassError::Core(error) => error.into(),
        }
    }
}

/// The body, which has these fields, and the provider that it is for, which a client that logs in with the same object names too.
/// Each of these calls costs an e-mail, or hashing if it has a password, so a proof of work may be among the fields.
async fn asked(
    request: &HttpRequest,
    context: &Context,
    payload: Payload,
    known: &[&str],
) -> Result<(Map<String, Value>, Arc<LocalUserpass>), Problem> {
    let body = read::read(request, context, payload, &[known, &["provider", "altcha"]]).await?;
    if body.get("provider").is_some_and(|provider| provider != LOCAL_USERPASS) {
        return Err(Problem::misplaced_fields("\"provider\" is \"local-userpass\" here, or left out"));
    }
    let userpass = context.server.app().providers.userpass().cloned().ok_or_else(Problem::provider_disabled)?;
    if known.contains(&"password") {
        afford_password(request, context, &body)?;
    } else {
        afford(request, context, Spend::Link, &body)?;
    }
    Ok((body, userpass))
}

fn text<'a>(body: &'a Map<String, Value>, field: &'static str) -> Result<&'a str, Problem> {
    body.get(field).and_then(Value::as_str).ok_or_else(|| Problem::missing_field(field))
}

fn password(body: &Map<String, Value>, field: &'static str) -> Result<Password, Problem> {
    text(body, field).map(|text| Password::new(text.to_owned()))
}

/// 202: anything else follows by e-mail.
fn accepted() -> HttpResponse {
    HttpResponse::Accepted().finish()
}

/// Registers an e-mail address with a password.
///
/// Where addresses are confirmed, an e-mail follows; an e-mail to an address that has an account says so. The answer is the same for every
/// address. No user is created: the first login does that.
#[utoipa::path(post, path = "/v1/registrations", tag = "Passwords", operation_id = "register",
    request_body(content = Registration, description = "The address and its password."),
    responses((status = 202, description = "Anything else follows by e-mail.")),
    extensions(("x-problems" = json!("object bad-field provider-disabled network-blocked work-needed challenge-expired over-budget too-many-attempts overloaded write bad-name bad-password"))))]
pub(crate) async fn register(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, &["email", "password"]).await?;
    let credential = (text(&body, "email")?, password(&body, "password")?);
    let client = client(&request, &context);
    identities::register::<Problem>(&context.server, &userpass, credential, client, local_userpass::Answer::Uniform)
        .await?;
    Ok(accepted())
}

/// Confirms an e-mail address.
///
/// `token` and `tokenId` are those of the link in the e-mail.
#[utoipa::path(post, path = "/v1/registrations/confirm", tag = "Passwords", operation_id = "confirmRegistration",
    request_body(content = MailToken, description = "What the link in the e-mail holds."),
    responses((status = 204, description = "The address is confirmed.")),
    extensions(("x-problems" = json!("object bad-field provider-disabled work-needed challenge-expired too-many-attempts overloaded write bad-token expired-token credential-changed"))))]
pub(crate) async fn confirm_registration(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, &["token", "tokenId"]).await?;
    userpass.confirm(text(&body, "tokenId")?, text(&body, "token")?, client(&request, &context)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sends a new link for confirming an address that waits for it.
///
/// The answer is the same for every address.
#[utoipa::path(post, path = "/v1/registrations/resend", tag = "Passwords", operation_id = "resendConfirmation",
    request_body(content = MailAddress, description = "The address."),
    responses((status = 202, description = "Anything else follows by e-mail.")),
    extensions(("x-problems" = json!("object bad-field provider-disabled work-needed challenge-expired too-many-attempts overloaded write bad-name no-confirmation"))))]
pub(crate) async fn resend_confirmation(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, &["email"]).await?;
    let uniform = local_userpass::Answer::Uniform;
    userpass.resend_confirmation(text(&body, "email")?, client(&request, &context), uniform).await?;
    Ok(accepted())
}

/// Sends a link for choosing a new password.
///
/// The answer is the same for every address.
#[utoipa::path(post, path = "/v1/password-resets", tag = "Passwords", operation_id = "requestPasswordReset",
    request_body(content = MailAddress, description = "The address."),
    responses((status = 202, description = "Anything else follows by e-mail.")),
    extensions(("x-problems" = json!("object bad-field provider-disabled work-needed challenge-expired too-many-attempts overloaded write bad-name no-reset"))))]
pub(crate) async fn ask_for_reset(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, &["email"]).await?;
    let uniform = local_userpass::Answer::Uniform;
    userpass.ask_for_reset(text(&body, "email")?, client(&request, &context), uniform).await?;
    Ok(accepted())
}

/// Sets a new password, given what the link in the e-mail holds.
///
/// Every session of the user ends.
#[utoipa::path(post, path = "/v1/password-resets/confirm", tag = "Passwords", operation_id = "resetPassword",
    request_body(content = PasswordReset, description = "What the link in the e-mail holds, and the new password."),
    responses((status = 204, description = "The password is set.")),
    extensions(("x-problems" = json!("object bad-field provider-disabled work-needed challenge-expired too-many-attempts overloaded write bad-password bad-token expired-token credential-changed no-reset"))))]
pub(crate) async fn reset_password(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, &["token", "tokenId", "password"]).await?;
    let (id, token) = (text(&body, "tokenId")?, text(&body, "token")?);
    userpass.reset(id, token, password(&body, "password")?, client(&request, &context)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sets a new password, given the current one.
///
/// Every other session of the user ends.
#[utoipa::path(put, path = "/v1/user/password", tag = "Passwords", operation_id = "changePassword", security(("access_token" = []), ("reader_cookie" = [])),
    request_body(content = PasswordChange, description = "Both passwords."),
    responses((status = 204, description = "The password is set.")),
    extensions(("x-problems" = json!("object bad-field provider-disabled work-needed challenge-expired too-many-attempts overloaded write account bad-password wrong-password no-password credential-changed"))))]
pub(crate) async fn change_password(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, &["current_password", "password"]).await?;
    let live = authenticate(&request, &context, Scope::Account)?;
    let (current, new) = (password(&body, "current_password")?, password(&body, "password")?);
    let session = (live.user, live.number);
    userpass.change_password(session, current, new, client(&request, &context)).await?;
    context.server.codes.transfers.end_all_of(&live.user);
    Ok(HttpResponse::NoContent().finish())
}
