//! Meters of the session's user.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::data::operation_name;
use crate::http::meters::{self, MeterView, Use};
use crate::http::schemas::MeterUse;
use crate::http::{Answer, Context, Problem, Scope, at, authenticate, json, read};

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(at("/v1/meters").on(Method::GET, list_meters))
        .service(at("/v1/meters/{name}").on(Method::POST, use_meter));
}

/// The meters of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeterList {
    /// The meters.
    meters: Vec<MeterView>,
}

/// Shows the user's meters.
///
/// Uses nothing.
#[utoipa::path(get, path = "/v1/meters", tag = "Readers", operation_id = "listMeters", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = MeterList, description = "The meters.")),
    extensions(("x-problems" = json!("session"))))]
pub(crate) async fn list_meters(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Data)?;
    Ok(json(StatusCode::OK, &MeterList { meters: meters::all(&context, &live.user) }))
}

/// Uses a meter.
///
/// The answer is 200 also when the allowance is used up, which `allowed` says; then nothing is counted.
#[utoipa::path(post, path = "/v1/meters/{name}", tag = "Readers", operation_id = "useMeter", security(("access_token" = []), ("reader_cookie" = [])),
    params(("name" = String, Path, description = "The meter's name, as configured.", example = "articles"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request that no other request of the user has, such as a UUID. Sent again, the request is done once and answered as the first time, as long as it is one of the user's last 256.", example = "2f1c6f0e-8f44-4f7b-9c63-5a0c8b7a1d2e")),
    request_body(content = Option<MeterUse>, description = "What is used. None at all: one, of nothing in particular."),
    responses((status = 200, body = MeterView, description = "What the meter says now.")),
    extensions(("x-problems" = json!("object session bad-field bad-idempotency-key no-such-meter:404 idempotency-key-reused write"))))]
pub(crate) async fn use_meter(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let body = read::read(&request, &context, payload, &[&["amount", "item"]]).await?;
    let live = authenticate(&request, &context, Scope::Data)?;
    let amount = match body.get("amount") {
        None => 1,
        Some(amount) => amount
            .as_u64()
            .and_then(|amount| u32::try_from(amount).ok())
            .filter(|amount| (1..=1_000_000).contains(amount))
            .ok_or_else(|| Problem::bad_field("amount must be 1 to 1000000"))?,
    };
    let item = match body.get("item") {
        None => None,
        Some(Value::String(item)) => Some(item.as_str()),
        Some(_) => return Err(Problem::bad_field("item must be a text")),
    };
    let operation = operation_name(&request)?;
    let meter = request.match_info().get("name").unwrap_or_default();
    let used = meters::used(&context, &live.user, Use { meter, amount, item, operation }).await?;
    Ok(json(StatusCode::OK, &used.ok_or_else(Problem::no_such_meter)?))
}
