//! API keys of a lasting account.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::domain::{ApiKey as Stored, DeviceId, Refusal};
use passerby_actors::handle;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Problem, authenticate, fields, fresh, json, respond, rfc3339};
use crate::http::{Context, JSON, other_method, within_time};
use crate::provider::api_key::{ApiKey, check_name};

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let keys = web::resource("/v1/user/api-keys").get(list_keys).post(make_key);
    let key = web::resource("/v1/user/api-keys/{id}").patch(change_key).delete(remove_key);
    config
        .service(keys.default_service(other_method("GET, POST")))
        .service(key.default_service(other_method("PATCH, DELETE")));
}

/// An API key, without the key itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(example = "636aba021728b6c1c03db7f9")]
    id: String,
    name: String,
    /// Whether it is refused for now.
    disabled: bool,
    /// When it was made (RFC 3339).
    #[schema(example = "2026-01-31T12:00:00Z")]
    created: String,
    /// The key itself, in the answer that makes it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A user's API keys, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    api_keys: Vec<KeyView>,
}

fn view(context: &Context, key: &Stored, secret: Option<&ApiKey>) -> KeyView {
    KeyView {
        id: key.id.to_string(),
        name: key.name.to_string(),
        disabled: key.disabled,
        created: rfc3339(context.server.clock().to_wall_s(key.made)),
        key: secret.map(|secret| secret.text().to_owned()),
    }
}

fn enabled(context: &Context) -> Result<(), Problem> {
    if context.server.providers.api_keys { Ok(()) } else { Err(Problem::provider_disabled()) }
}

fn id(request: &HttpRequest) -> Result<DeviceId, Problem> {
    let id = request.match_info().get("id").unwrap_or_default();
    Ok(DeviceId::parse(id).map_err(|_| handle::Error::Refused(Refusal::NoSuchKey))?)
}

/// The access token's user's API keys.
#[utoipa::path(get, path = "/v1/user/api-keys", tag = "Passerby", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = Keys), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list_keys(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let answer = authenticate(&request, &context).and_then(|live| {
        let user = context.handle.load(&live.user).ok_or(handle::Error::Refused(Refusal::Gone))?;
        let api_keys = user.api_keys().iter().map(|key| view(&context, key, None)).collect();
        Ok(json(StatusCode::OK, JSON, &Keys { api_keys }))
    });
    respond(&context, answer)
}

/// Makes a key with which the user's programs log in (`provider` `api-key`, `key`). It is shown here and never again.
#[utoipa::path(post, path = "/v1/user/api-keys", tag = "Passerby", security(("access_token" = []), ("reader_cookie" = [])),
    request_body(content = Object, description = "`name`: 1 to 64 of A-Z a-z 0-9 _ -"),
    responses((status = 201, body = KeyView), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn make_key(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        let body = fields::read(&request, &context, payload, &[&["name"]]).await?;
        enabled(&context)?;
        let live = authenticate(&request, &context)?;
        fresh(&context, &live)?;
        let name = body.get("name").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("name"))?;
        check_name(name)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad-name", format!("a key's name {error}")))?;
        let (key, secret) = crate::http::identities::new_key(&context.server, name);
        within_time(&context, context.handle.make_key(&live.user, key.clone())).await?;
        Ok(json(StatusCode::CREATED, JSON, &view(&context, &key, Some(&secret))))
    };
    respond(&context, answer.await)
}

/// Enables or disables a key. Sessions that it began go on.
#[utoipa::path(patch, path = "/v1/user/api-keys/{id}", tag = "Passerby", security(("access_token" = []), ("reader_cookie" = [])),
    params(("id" = String, Path, description = "as listed")),
    request_body(content = Object, description = "`disabled`: true or false"),
    responses((status = 204), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn change_key(
    request: HttpRequest,
    context: web::Data<Context>,
    payload: web::Payload,
) -> HttpResponse {
    let answer = async {
        let body = fields::read(&request, &context, payload, &[&["disabled"]]).await?;
        let live = authenticate(&request, &context)?;
        let disabled = body.get("disabled").and_then(Value::as_bool);
        let needed = || Problem::bad_field("the body needs \"disabled\", true or false");
        let disabled = disabled.ok_or_else(needed)?;
        if !disabled {
            fresh(&context, &live)?;
        }
        within_time(&context, context.handle.set_key(&live.user, id(&request)?, disabled)).await?;
        Ok(HttpResponse::NoContent().finish())
    };
    respond(&context, answer.await)
}

/// Takes a key away. Sessions that it began go on.
#[utoipa::path(delete, path = "/v1/user/api-keys/{id}", tag = "Passerby", security(("access_token" = []), ("reader_cookie" = [])),
    params(("id" = String, Path, description = "as listed")),
    responses((status = 204), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove_key(
    request: HttpRequest,
    context: web::Data<Context>,
    payload: web::Payload,
) -> HttpResponse {
    let answer = async {
        fields::none(&request, &context, payload).await?;
        let live = authenticate(&request, &context)?;
        within_time(&context, context.handle.remove_key(&live.user, id(&request)?)).await?;
        Ok(HttpResponse::NoContent().finish())
    };
    respond(&context, answer.await)
}
