//! API keys of a lasting account.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{API_KEY, ApiKey as Stored, DeviceId, Refusal};
use passerby_actors::handle;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::auth::fresh;
use crate::http::schemas::{ApiKeyChange, NewApiKey};
use crate::http::{Answer, Context, Problem, Scope, at, authenticate, json, read, rfc3339, user_of, within_time};
use crate::provider::api_key::{ApiKey, check_name};

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    let keys = at("/v1/user/api-keys").on(Method::GET, list_keys).on(Method::POST, create_key);
    let key = at("/v1/user/api-keys/{id}").on(Method::PATCH, change_key).on(Method::DELETE, remove_key);
    config.service(keys).service(key);
}

/// An API key, without the key itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// The key's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    id: String,
    /// The key's name.
    #[schema(example = "nightly-backup")]
    name: String,
    /// Whether it is refused for now.
    disabled: bool,
    /// When it was created (RFC 3339).
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    created: String,
    /// The key itself, in the answer that creates it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "psb_wxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefwxyz01231YQk2i")]
    key: Option<String>,
}

/// A user's API keys, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    /// The keys.
    api_keys: Vec<KeyView>,
}

fn view(context: &Context, key: &Stored, secret: Option<&ApiKey>) -> KeyView {
    KeyView {
        id: key.id.to_string(),
        name: key.name.to_string(),
        disabled: key.disabled,
        created: rfc3339(context.server.clock().to_wall_s(key.created)),
        key: secret.map(|secret| secret.text().to_owned()),
    }
}

fn enabled(context: &Context) -> Result<(), Problem> {
    if context.server.app().providers.get(API_KEY).is_some() { Ok(()) } else { Err(Problem::provider_disabled()) }
}

fn id(request: &HttpRequest) -> Result<DeviceId, Problem> {
    let id = request.match_info().get("id").unwrap_or_default();
    Ok(DeviceId::parse(id).map_err(|_| handle::Error::Refused(Refusal::NoSuchKey))?)
}

/// Lists the API keys of the user.
#[utoipa::path(get, path = "/v1/user/api-keys", tag = "API keys", operation_id = "listApiKeys", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = Keys, description = "The keys, oldest first, without the keys themselves.")),
    extensions(("x-problems" = json!("account"))))]
pub(crate) async fn list_keys(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Account)?;
    let user = user_of(&context, &live)?;
    let api_keys = user.api_keys().iter().map(|key| view(&context, key, None)).collect();
    Ok(json(StatusCode::OK, &Keys { api_keys }))
}

/// Creates an API key.
///
/// The user's programs log in with it (`provider` `api-key`, `key`). The key itself is shown in this answer and never again.
#[utoipa::path(post, path = "/v1/user/api-keys", tag = "API keys", operation_id = "createApiKey", security(("access_token" = []), ("reader_cookie" = [])),
    request_body(content = NewApiKey, description = "The key's name."),
    responses((status = 201, body = KeyView, description = "The key.")),
    extensions(("x-problems" = json!("object bad-field account provider-disabled fresh-login-needed bad-name anonymous key-name-taken too-many-keys write"))))]
pub(crate) async fn create_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let body = read::read(&request, &context, payload, &[&["name"]]).await?;
    enabled(&context)?;
    let live = authenticate(&request, &context, Scope::Account)?;
    fresh(&context, &live)?;
    let name = body.get("name").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("name"))?;
    check_name(name)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad-name", format!("a key's name {error}")))?;
    let (key, secret) = crate::http::identities::new_key(&context.server, name);
    within_time(&context, context.handle.create_key(&live.user, key.clone())).await?;
    Ok(json(StatusCode::CREATED, &view(&context, &key, Some(&secret))))
}

/// Enables or disables an API key.
///
/// Disabling it ends the sessions that it began.
#[utoipa::path(patch, path = "/v1/user/api-keys/{id}", tag = "API keys", operation_id = "changeApiKey", security(("access_token" = []), ("reader_cookie" = [])),
    params(("id" = String, Path, description = "The key's id, as listed.", example = "636aba021728b6c1c03db7f9")),
    request_body(content = ApiKeyChange, description = "What the key is to be."),
    responses((status = 204, description = "It is as asked.")),
    extensions(("x-problems" = json!("object bad-field account fresh-login-needed no-such-key write"))))]
pub(crate) async fn change_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let body = read::read(&request, &context, payload, &[&["disabled"]]).await?;
    let live = authenticate(&request, &context, Scope::Account)?;
    let disabled = body.get("disabled").and_then(Value::as_bool);
    let needed = || Problem::bad_field("the body needs \"disabled\", true or false");
    let disabled = disabled.ok_or_else(needed)?;
    if !disabled {
        fresh(&context, &live)?;
    }
    within_time(&context, context.handle.set_key(&live.user, id(&request)?, disabled)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes an API key.
///
/// The sessions that it began end.
#[utoipa::path(delete, path = "/v1/user/api-keys/{id}", tag = "API keys", operation_id = "deleteApiKey", security(("access_token" = []), ("reader_cookie" = [])),
    params(("id" = String, Path, description = "The key's id, as listed.", example = "636aba021728b6c1c03db7f9")),
    responses((status = 204, description = "The key is gone.")),
    extensions(("x-problems" = json!("object account no-such-key write"))))]
pub(crate) async fn remove_key(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    let live = authenticate(&request, &context, Scope::Account)?;
    within_time(&context, context.handle.remove_key(&live.user, id(&request)?)).await?;
    Ok(HttpResponse::NoContent().finish())
}
