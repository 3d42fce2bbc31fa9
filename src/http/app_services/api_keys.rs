//! A user's API keys on the App Services path, with the refresh token (docs/protocol.md, "API keys").

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use passerby_actors::domain::{API_KEY, ApiKey as Stored, DeviceId, Refusal};
use passerby_actors::handle::{self, Live};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::{authenticate_refresh, of_owner};
use super::error::{Answer, ClientError, no_content, unsupported};
use crate::http::schemas::AppServicesKeyName;
use crate::http::{Context, at, body, identities, json, within_time};
use crate::provider::api_key::check_name;

/// Adds the routes to the scope of the API.
pub(super) fn routes(scope: actix_web::Scope) -> actix_web::Scope {
    let keys = at("/auth/api_keys").on(Method::GET, fetch_keys).on(Method::POST, create_key);
    let key = at("/auth/api_keys/{id}").on(Method::GET, fetch_key).on(Method::DELETE, delete_key);
    scope
        .service(keys)
        .service(key)
        .service(at("/auth/api_keys/{id}/enable").on(Method::PUT, enable_key))
        .service(at("/auth/api_keys/{id}/disable").on(Method::PUT, disable_key))
}

/// An API key.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesApiKey)]
pub(crate) struct KeyBody {
    /// The key's id.
    #[serde(rename = "_id")]
    #[schema(example = "636aba021728b6c1c03db7f9")]
    id: String,
    /// The key itself, in the answer that creates it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "psb_wxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefwxyz01231YQk2i")]
    key: Option<String>,
    /// The key's name.
    #[schema(example = "nightly-backup")]
    name: String,
    /// Whether it is refused for now.
    disabled: bool,
}

impl KeyBody {
    fn of(key: &Stored) -> Self {
        Self { id: key.id.to_string(), key: None, name: key.name.to_string(), disabled: key.disabled }
    }
}

fn not_found() -> ClientError {
    ClientError::new(StatusCode::NOT_FOUND, "APIKeyNotFound", "API key not found")
}

fn refused(error: handle::Error) -> ClientError {
    match error {
        handle::Error::Refused(Refusal::NoSuchKey) => not_found(),
        handle::Error::Refused(Refusal::KeyNameTaken) => {
            ClientError::new(StatusCode::CONFLICT, "APIKeyAlreadyExists", "API key with name already exists")
        }
        handle::Error::Refused(Refusal::TooManyKeys) => ClientError::bad_request("a user may have at most 20 API keys"),
        handle::Error::Refused(Refusal::Anonymous) => ClientError::bad_request("anonymous users may not have API keys"),
        other => other.into(),
    }
}

/// The refresh token's session, if there are keys here.
async fn asked(request: &HttpRequest, context: &Context, payload: Payload) -> Result<Live, ClientError> {
    body::discard(request, context, payload).await?;
    allowed(request, context)
}

fn allowed(request: &HttpRequest, context: &Context) -> Result<Live, ClientError> {
    let (_, live) = authenticate_refresh(request, context)?;
    of_owner(&live)?;
    if context.server.app().providers.get(API_KEY).is_some() { Ok(live) } else { Err(unsupported(API_KEY)) }
}

fn id(request: &HttpRequest) -> Result<DeviceId, ClientError> {
    DeviceId::parse(request.match_info().get("id").unwrap_or_default()).map_err(|_| not_found())
}

/// Creates an API key.
///
/// The key itself is shown in this answer and never again.
#[utoipa::path(post, path = "/api/client/v2.0/auth/api_keys", tag = "App Services", operation_id = "appServicesCreateApiKey", security(("refresh_token" = [])),
    request_body(content = AppServicesKeyName, description = "The key's name."),
    responses((status = 201, body = KeyBody, description = "The key.")),
    extensions(("x-problems" = json!("apprefresh KeySession CredentialRefused body BadRequest InvalidParameter APIKeyAlreadyExists"))))]
pub(crate) async fn create_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let body = body::read_object(&request, &context, payload).await?;
    let live = allowed(&request, &context)?;
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    check_name(name)
        .map_err(|error| ClientError::new(StatusCode::BAD_REQUEST, "InvalidParameter", error.to_string()))?;
    let (key, secret) = identities::new_key(&context.server, name);
    within_time(&context, context.handle.create_key(&live.user, key.clone())).await.map_err(refused)?;
    let body = KeyBody { key: Some(secret.text().to_owned()), ..KeyBody::of(&key) };
    Ok(json(StatusCode::CREATED, &body))
}

/// Lists the user's API keys.
#[utoipa::path(get, path = "/api/client/v2.0/auth/api_keys", tag = "App Services", operation_id = "appServicesListApiKeys", security(("refresh_token" = [])),
    responses((status = 200, body = [KeyBody], description = "The keys, oldest first, without the keys themselves.")),
    extensions(("x-problems" = json!("apprefresh KeySession CredentialRefused"))))]
pub(crate) async fn fetch_keys(request: HttpRequest, context: Data<Context>) -> Answer {
    let user = context.handle.load(&allowed(&request, &context)?.user);
    let keys: Vec<_> = user.iter().flat_map(|user| user.api_keys()).map(KeyBody::of).collect();
    Ok(json(StatusCode::OK, &keys))
}

/// Shows one of the user's API keys.
#[utoipa::path(get, path = "/api/client/v2.0/auth/api_keys/{id}", tag = "App Services", operation_id = "appServicesGetApiKey", security(("refresh_token" = [])),
    params(("id" = String, Path, description = "The key's `_id`.", example = "636aba021728b6c1c03db7f9")),
    responses((status = 200, body = KeyBody, description = "The key, without the key itself.")),
    extensions(("x-problems" = json!("apprefresh KeySession CredentialRefused APIKeyNotFound"))))]
pub(crate) async fn fetch_key(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = allowed(&request, &context)?;
    let (id, user) = (id(&request)?, context.handle.load(&live.user));
    let key = user.iter().flat_map(|user| user.api_keys()).find(|key| key.id == id);
    key.map(|key| json(StatusCode::OK, &KeyBody::of(key))).ok_or_else(not_found)
}

/// Deletes an API key.
#[utoipa::path(delete, path = "/api/client/v2.0/auth/api_keys/{id}", tag = "App Services", operation_id = "appServicesDeleteApiKey", security(("refresh_token" = [])),
    params(("id" = String, Path, description = "The key's `_id`.", example = "636aba021728b6c1c03db7f9")),
    responses((status = 204, description = "The key is gone, and the sessions that it began have ended.")),
    extensions(("x-problems" = json!("apprefresh KeySession CredentialRefused body APIKeyNotFound"))))]
pub(crate) async fn delete_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let live = asked(&request, &context, payload).await?;
    within_time(&context, context.handle.remove_key(&live.user, id(&request)?)).await.map_err(refused)?;
    Ok(no_content())
}

/// Enables an API key.
#[utoipa::path(put, path = "/api/client/v2.0/auth/api_keys/{id}/enable", tag = "App Services", operation_id = "appServicesEnableApiKey", security(("refresh_token" = [])),
    params(("id" = String, Path, description = "The key's `_id`.", example = "636aba021728b6c1c03db7f9")),
    responses((status = 204, description = "The key logs in again.")),
    extensions(("x-problems" = json!("apprefresh KeySession CredentialRefused body APIKeyNotFound"))))]
pub(crate) async fn enable_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    set_key(&request, &context, payload, false).await
}

/// Disables an API key.
#[utoipa::path(put, path = "/api/client/v2.0/auth/api_keys/{id}/disable", tag = "App Services", operation_id = "appServicesDisableApiKey", security(("refresh_token" = [])),
    params(("id" = String, Path, description = "The key's `_id`.", example = "636aba021728b6c1c03db7f9")),
    responses((status = 204, description = "The key is refused from now on, and the sessions that it began have ended.")),
    extensions(("x-problems" = json!("apprefresh KeySession CredentialRefused body APIKeyNotFound"))))]
pub(crate) async fn disable_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    set_key(&request, &context, payload, true).await
}

async fn set_key(request: &HttpRequest, context: &Context, payload: Payload, disabled: bool) -> Answer {
    let live = asked(request, context, payload).await?;
    within_time(context, context.handle.set_key(&live.user, id(request)?, disabled)).await.map_err(refused)?;
    Ok(no_content())
}
