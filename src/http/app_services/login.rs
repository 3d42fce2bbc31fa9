//! Logging in, and linking an identity.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{DeviceId, Refusal, SessionKind};
use passerby_actors::handle::{self, IdForm, LoggedIn};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::{authenticate, of_owner};
use super::error::{Answer, ClientError, check_app, shown, unsupported};
use crate::http::plain::PlainObject;
use crate::http::schemas::AppServicesLoginRequest;
use crate::http::{Context, JSON, body, client, identities, spend, spend_on_password, within_time};
use crate::limits::budget::{OverBudget, Spend};
use crate::provider::identity::IdentityError;
use crate::provider::{ANON_USER, rules};
use crate::server::Server;
use crate::token::Access;

/// A new session, or a linked one.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
#[schema(as = AppServicesTokens)]
pub(crate) struct LoginBody {
    /// Goes with most requests, in `Authorization: Bearer …`. A JWT.
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl")]
    access_token: String,
    /// Gives out new access tokens.
    #[schema(required = false, example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJyZWZyZXNoIn0.c2lnbmF0dXJl")]
    refresh_token: String,
    /// The user's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    user_id: String,
    /// The device's id; zeros for none.
    #[schema(example = "000000000000000000000000")]
    device_id: String,
}

/// Logs in, or links an identity.
///
/// An anonymous login needs no body and always creates a new user. With `?link=true` and an access token, the identity that the
/// credential proves is linked to the token's user.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/{provider}/login", tag = "App Services", operation_id = "appServicesLogin", security((), ("access_token" = [])),
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby"),
        ("provider" = String, Path, description = "`anon-user`, `local-userpass`, `custom-token`, `api-key`, `oauth2-google` or `oauth2-apple`.", example = "anon-user"),
        ("link" = Option<bool>, Query, description = "`true`: link the identity to the user of the access token.")),
    request_body(content = Option<AppServicesLoginRequest>, description = "The provider's credentials and `options.device`. All of it is optional for `anon-user`; fields that are not known are ignored."),
    responses((status = 200, body = LoginBody, description = "The tokens of the session. After a link `refresh_token` may be left out: the old one stays valid.")),
    extensions(("x-problems" = json!("LoginNeeded BadRequest AppNotFound AuthProviderNotFound AuthError KeySession CredentialRefused IdentityInUse InvalidPassword UserDisabled InvalidParameter body InvalidSession Unauthorized NetworkBlocked TooManyRequests ServiceUnavailable"))))]
pub(crate) async fn login(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let (request, context) = (&request, &**context);
    let object = body::read_object(request, context, payload).await?;
    check_app(request, context)?;
    let server = &context.server;
    let name = request.match_info().get("provider").unwrap_or_default();
    let link = request.query_string().split('&').any(|pair| pair == "link=true");
    let app = server.app();
    let providers = &app.providers;
    if name == ANON_USER && providers.anon_user_enabled {
        if link {
            authenticate(request, context)?;
            return Err(ClientError::bad_request("linking an anonymous identity is not allowed"));
        }
        spend(request, context, Spend::Create)?;
        let device = device(&object, || DeviceId(server.random_id()));
        let created = context.handle.login(SessionKind::AppServices, IdForm::Object).await;
        let user = server.budgets.kept_if_stored(client(request, context), 1, created)?;
        return Ok(logged_in(server, &user, device, false));
    }
    let Some(provider) = providers.get(name) else {
        if providers.knows(name) {
            return Err(unsupported(name));
        }
        let text = format!("auth provider not found: '{}'", shown(name));
        return Err(ClientError::new(StatusCode::NOT_FOUND, "AuthProviderNotFound", text));
    };
    if link {
        // the session first: what it may not do need not be verified
        let (access, live) = authenticate(request, context)?;
        of_owner(&live)?;
        // SDKs cannot be asked to log in again; a session of `/v1` can (S40)
        if live.kind != SessionKind::AppServices && !context.server.is_fresh(&live) {
            let text = "this requires a recent login: log in again";
            return Err(ClientError::new(StatusCode::FORBIDDEN, "AuthError", text));
        }
        spend_on_identity(request, context, name)?;
        let proof = identities::prove(server, &**provider, &object, client(request, context)).await;
        let proof = proof.map_err(|error| refused_proof(context, &error, true))?;
        let linked = within_time(context, context.handle.link(access.user, live.number, proof)).await;
        let linked = linked.map_err(|error| match error {
            // a different user's key (docs/protocol.md, "Linking")
            handle::Error::Refused(Refusal::IdentityInUse) if rules(name).proves_known_user => {
                ClientError::new(StatusCode::BAD_REQUEST, "InvalidParameter", "invalid user link request")
            }
            other => refused_link(other),
        })?;
        return Ok(linked_session(server, &linked, &access, live.number));
    }
    spend_on_identity(request, context, name)?;
    let proof = identities::prove(server, &**provider, &object, client(request, context)).await;
    let proof = proof.map_err(|error| refused_proof(context, &error, false))?;
    let device = device(&object, || DeviceId(server.random_id()));
    let log_in = context.handle.log_in(proof, SessionKind::AppServices, device, IdForm::Object);
    let user = within_time(context, log_in).await.map_err(|error| match error {
        handle::Error::Refused(Refusal::Disabled) => ClientError::refused("UserDisabled", "user disabled"),
        handle::Error::Refused(_) => ClientError::refused("AuthError", "unauthorized"),
        other => other.into(),
    })?;
    Ok(logged_in(server, &user, device, true))
}

/// Spends one attempt of the budget for identities; passwords need room for hashing too.
fn spend_on_identity(request: &HttpRequest, context: &Context, provider: &str) -> Result<(), OverBudget> {
    if rules(provider).hashes_passwords {
        spend_on_password(request, context, false)
    } else {
        spend(request, context, Spend::Link)
    }
}

/// Why a credential is not accepted.
fn refused_proof(context: &Context, error: &IdentityError, link: bool) -> ClientError {
    let hides = context.server.settings.auth.hide_accounts;
    let code = match error {
        IdentityError::Unavailable(_) | IdentityError::Passwords(_) => {
            return ClientError::unavailable(error.to_string(), "ServiceUnavailable");
        }
        IdentityError::Throttled(throttled) => return (*throttled).into(),
        _ if error.is_bad_request() => return ClientError::bad_request(error.to_string()),
        IdentityError::Password => "InvalidPassword",
        IdentityError::NotConfirmed if hides => "InvalidPassword",
        _ => "AuthError",
    };
    let text = if link { "unauthorized: the credential is not accepted" } else { "unauthorized" };
    ClientError::refused(code, text)
}

/// Why a link is refused (docs/protocol.md, "Linking").
fn refused_link(error: handle::Error) -> ClientError {
    let conflict = |text: &str| ClientError::new(StatusCode::CONFLICT, "AuthError", text);
    match error {
        handle::Error::Refused(Refusal::IdentityInUse) => {
            conflict("unauthorized: a user already exists with the specified provider")
        }
        handle::Error::Refused(Refusal::TooManyIdentities) => {
            conflict("unauthorized: the user has too many identities")
        }
        handle::Error::Refused(Refusal::ProviderLinked) => {
            ClientError::bad_request("linking a local-userpass identity is not allowed when one is already linked")
        }
        handle::Error::Refused(Refusal::StaleProof | Refusal::NoSuchIdentity) => {
            ClientError::refused("AuthError", "unauthorized: the credential is not accepted")
        }
        handle::Error::Refused(Refusal::Disabled) => ClientError::invalid_session("invalid session: user disabled"),
        handle::Error::Refused(_) => ClientError::invalid_session("invalid session: session not found"),
        other => other.into(),
    }
}

fn logged_in(server: &Server, user: &LoggedIn, device: DeviceId, lasting: bool) -> HttpResponse {
    let (access, refresh) = server.claims(user, SessionKind::AppServices, device, lasting);
    let body = PlainObject::new()
        .with("access_token", |out| server.write_access(&access, out))
        .with("refresh_token", |out| server.tokens.refresh_into(&refresh, out))
        .text("user_id", user.user.encode(&mut [0; 36]))
        .text("device_id", device.encode(&mut [0; 24]));
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// SDKs keep their refresh token, unless its session goes on under a new number (docs/protocol.md, "Linking").
fn linked_session(server: &Server, linked: &LoggedIn, before: &Access, number: u32) -> HttpResponse {
    let (access, refresh) = server.claims(linked, before.kind, before.device, true);
    let mut body = PlainObject::new().with("access_token", |out| server.write_access(&access, out));
    if linked.number != number {
        body = body.with("refresh_token", |out| server.tokens.refresh_into(&refresh, out));
    }
    let body =
        body.text("user_id", linked.user.encode(&mut [0; 36])).text("device_id", before.device.encode(&mut [0; 24]));
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// The device id that was sent (EJSON or plain), a new one for a device without, zeros for none (docs/protocol.md, "Logging in").
fn device(body: &Map<String, Value>, mint: impl FnOnce() -> DeviceId) -> DeviceId {
    let Some(device) = body.get("options").and_then(|options| options.get("device")).filter(|d| d.is_object()) else {
        return DeviceId::default();
    };
    let sent = device.get("deviceId").and_then(|id| id.as_str().or_else(|| id.get("$oid")?.as_str()));
    let known = sent.and_then(|id| DeviceId::parse(id).ok()).filter(|id| *id != DeviceId::default());
    known.unwrap_or_else(mint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_kept_minted_or_none() {
        let minted = DeviceId([7; 12]);
        let sent = DeviceId([0xab; 12]);
        let cases = [
            (serde_json::json!({}), DeviceId::default()),
            (serde_json::json!({"options": {"device": {}}}), minted),
            (serde_json::json!({"options": {"device": "x"}}), DeviceId::default()),
            (serde_json::json!({"options": {"device": {"deviceId": {"$oid": sent.to_string()}}}}), sent),
            (serde_json::json!({"options": {"device": {"deviceId": sent.to_string()}}}), sent),
            (serde_json::json!({"options": {"device": {"deviceId": "000000000000000000000000"}}}), minted),
            (serde_json::json!({"options": {"device": {"deviceId": {"$oid": 5}}}}), minted),
        ];
        for (body, expected) in cases {
            assert_eq!(device(body.as_object().unwrap(), || minted), expected, "{body}");
        }
    }
}
