//! Names and passwords on the App Services path (docs/protocol.md, "Names and passwords"). An `Authorization` header is ignored:
//! realm-web sends whatever token it has.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{CredentialRefusal, LOCAL_USERPASS, Refusal};
use passerby_actors::handle;
use serde_json::{Map, Value};

use super::error::{Answer, ClientError, check_app, no_content, unsupported};
use crate::http::schemas::{
    AppServicesAddress, AppServicesCredentials, AppServicesMailToken, AppServicesReset, AppServicesResetCall,
};
use crate::http::{Context, at, body, client, identities, spend, spend_on_password};
use crate::limits::budget::Spend;
use crate::provider::local_userpass::{self, LocalUserpass, UserpassError};
use crate::provider::password::Password;

/// Adds the routes to the scope of the API.
pub(super) fn routes(scope: actix_web::Scope) -> actix_web::Scope {
    scope
        .service(at("/app/{app}/auth/providers/local-userpass/register").on(Method::POST, register_user))
        .service(at("/app/{app}/auth/providers/local-userpass/confirm").on(Method::POST, confirm))
        .service(at("/app/{app}/auth/providers/local-userpass/confirm/send").on(Method::POST, send_confirmation))
        .service(at("/app/{app}/auth/providers/local-userpass/confirm/call").on(Method::POST, call_confirmation))
        .service(at("/app/{app}/auth/providers/local-userpass/reset").on(Method::POST, reset))
        .service(at("/app/{app}/auth/providers/local-userpass/reset/send").on(Method::POST, send_reset))
        .service(at("/app/{app}/auth/providers/local-userpass/reset/call").on(Method::POST, call_reset))
}

impl From<UserpassError> for ClientError {
    fn from(error: UserpassError) -> Self {
        let credential = match error {
            UserpassError::Core(handle::Error::Refused(Refusal::Credential(refusal))) => Some(refusal),
            _ => None,
        };
        let text = error.to_string();
        match (error, credential) {
            (_, Some(CredentialRefusal::Taken)) => {
                Self::new(StatusCode::CONFLICT, "AccountNameInUse", "name already in use")
            }
            (_, Some(CredentialRefusal::Unknown)) => Self::new(StatusCode::NOT_FOUND, "UserNotFound", "user not found"),
            (_, Some(CredentialRefusal::AlreadyConfirmed)) => {
                Self::new(StatusCode::BAD_REQUEST, "UserAlreadyConfirmed", "already confirmed")
            }
            (_, Some(CredentialRefusal::BadToken | CredentialRefusal::Changed)) => {
                Self::bad_request("invalid token data")
            }
            (_, Some(CredentialRefusal::ExpiredToken)) => {
                let text = "userpass token is expired or invalid";
                Self::new(StatusCode::BAD_REQUEST, "UserpassTokenInvalid", text)
            }
            (UserpassError::Throttled(throttled), _) => throttled.into(),
            (UserpassError::Passwords(_) | UserpassError::Mail(_), _) => Self::unavailable(text, "ServiceUnavailable"),
            (UserpassError::Core(error), _) => error.into(),
            _ => Self::bad_request(text),
        }
    }
}

/// What a call costs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Costs {
    Hashing,
    Mail,
}

/// The body, and the provider that it is for.
async fn asked(
    request: &HttpRequest,
    context: &Context,
    payload: Payload,
    costs: Costs,
) -> Result<(Map<String, Value>, Arc<LocalUserpass>), ClientError> {
    let body = body::read_object(request, context, payload).await?;
    check_app(request, context)?;
    let userpass = context.server.app().providers.userpass().cloned().ok_or_else(|| unsupported(LOCAL_USERPASS))?;
    match costs {
        Costs::Hashing => spend_on_password(request, context, false)?,
        Costs::Mail => spend(request, context, Spend::Link)?,
    }
    Ok((body, userpass))
}

fn text<'a>(body: &'a Map<String, Value>, field: &str) -> Result<&'a str, ClientError> {
    let missing = || ClientError::bad_request(format!("the body needs the text {field:?}"));
    body.get(field).and_then(Value::as_str).ok_or_else(missing)
}

fn password(body: &Map<String, Value>) -> Result<Password, ClientError> {
    text(body, "password").map(|text| Password::new(text.to_owned()))
}

fn tells(context: &Context) -> local_userpass::Answer {
    let hides = context.server.settings.auth.hide_accounts;
    if hides { local_userpass::Answer::Uniform } else { local_userpass::Answer::Documented }
}

/// Registers a name with a password.
///
/// The user is created at the first login.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/register", tag = "App Services", operation_id = "appServicesRegister",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesCredentials, description = "The name and its password."),
    responses((status = 201, description = "The name is registered.")),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable AccountNameInUse"))))]
pub(crate) async fn register_user(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, Costs::Hashing).await?;
    let credential = (text(&body, "email")?, password(&body)?);
    let client = client(&request, &context);
    identities::register::<ClientError>(&context.server, &userpass, credential, client, tells(&context)).await?;
    // without a body there is no content type (docs/protocol.md, "Bodies and content types")
    Ok(HttpResponse::Created().finish())
}

/// Confirms an e-mail address.
///
/// `token` and `tokenId` are those of the link in the e-mail.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/confirm", tag = "App Services", operation_id = "appServicesConfirm",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesMailToken, description = "What the link in the e-mail holds."),
    responses((status = 204, description = "The address is confirmed.")),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable UserpassTokenInvalid"))))]
pub(crate) async fn confirm(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, Costs::Mail).await?;
    userpass.confirm(text(&body, "tokenId")?, text(&body, "token")?, client(&request, &context)).await?;
    Ok(no_content())
}

/// Sends a new link for confirming an address.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/confirm/send", tag = "App Services", operation_id = "appServicesSendConfirmation",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesAddress, description = "The address."),
    responses((status = 204, description = "The e-mail is being sent.")),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable UserNotFound UserAlreadyConfirmed"))))]
pub(crate) async fn send_confirmation(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, Costs::Mail).await?;
    resend_confirmation(&request, &context, &userpass, text(&body, "email")?).await
}

async fn resend_confirmation(
    request: &HttpRequest,
    context: &Context,
    userpass: &Arc<LocalUserpass>,
    email: &str,
) -> Answer {
    match userpass.resend_confirmation(email, client(request, context), tells(context)).await {
        Err(UserpassError::NoConfirmation) => Err(automatic(email)),
        other => Ok(other.map(|()| no_content())?),
    }
}

fn automatic(email: &str) -> ClientError {
    let email = address(email);
    ClientError::bad_request(format!("cannot run confirmation for {email}: automatic confirmation is enabled"))
}

/// An address in an error: whole, as the vendor's own tests of clients expect it, if it can be one (RFC 5321 §4.5.3.1).
fn address(email: &str) -> String {
    email.chars().take(254).collect()
}

/// Does the same as `confirm/send`, where addresses are confirmed by e-mail.
///
/// App Services would run a function of the app here. There are none.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/confirm/call", tag = "App Services", operation_id = "appServicesCallConfirmation",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesAddress, description = "The address."),
    responses((status = 204, description = "The e-mail is being sent.")),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable UserNotFound UserAlreadyConfirmed"))))]
pub(crate) async fn call_confirmation(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, Costs::Mail).await?;
    let email = text(&body, "email")?;
    if userpass.confirms_automatically() {
        Err(automatic(email))
    } else {
        resend_confirmation(&request, &context, &userpass, email).await
    }
}

/// Sets a new password, given what the link in the e-mail holds.
///
/// Every session of the user ends.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/reset", tag = "App Services", operation_id = "appServicesResetPassword",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesReset, description = "What the link in the e-mail holds, and the new password."),
    responses((status = 204, description = "The password is set.")),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable UserpassTokenInvalid"))))]
pub(crate) async fn reset(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, Costs::Hashing).await?;
    let (id, token) = (text(&body, "tokenId")?, text(&body, "token")?);
    userpass.reset(id, token, password(&body)?, client(&request, &context)).await?;
    Ok(no_content())
}

/// Sends a link for choosing a new password.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/reset/send", tag = "App Services", operation_id = "appServicesSendReset",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesAddress, description = "The address."),
    responses((status = 204, description = "The e-mail is being sent.")),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable UserNotFound"))))]
pub(crate) async fn send_reset(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, userpass) = asked(&request, &context, payload, Costs::Mail).await?;
    match userpass.ask_for_reset(text(&body, "email")?, client(&request, &context), tells(&context)).await {
        Err(UserpassError::NoReset) => Err(ClientError::bad_request("please use reset password via function")),
        other => Ok(other.map(|()| no_content())?),
    }
}

/// Refuses to reset a password by a function.
///
/// App Services would run a function of the app here. There are none: the answer is always an error.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/local-userpass/reset/call", tag = "App Services", operation_id = "appServicesCallReset",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    request_body(content = AppServicesResetCall, description = "The name."),
    extensions(("x-problems" = json!("BadRequest body AppNotFound Unsupported NetworkBlocked TooManyRequests ServiceUnavailable UserNotFound"))))]
pub(crate) async fn call_reset(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (body, _) = asked(&request, &context, payload, Costs::Mail).await?;
    let email = address(text(&body, "email")?);
    Err(ClientError::bad_request(format!("failed to reset password for user \"{email}\"")))
}
