//! Where the app is served: what SDKs ask first.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Answer, check_app};
use crate::http::Context;
use crate::http::context::{json, origin};

/// Where the app is served.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesLocation)]
pub(crate) struct Location {
    /// `GLOBAL`.
    #[schema(example = "GLOBAL")]
    deployment_model: &'static str,
    /// `US-VA`.
    #[schema(example = "US-VA")]
    location: &'static str,
    /// Prefix of every other request, without a slash at its end.
    #[schema(example = "http://127.0.0.1:8080")]
    hostname: String,
    /// The same for WebSockets.
    #[schema(example = "ws://127.0.0.1:8080")]
    ws_hostname: String,
}

/// Shows where the app is served.
///
/// SDKs ask this first, and send every other request to `hostname`.
#[utoipa::path(get, path = "/api/client/v2.0/app/{app}/location", tag = "App Services", operation_id = "appServicesGetLocation",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder say otherwise.", example = "passerby")),
    responses((status = 200, body = Location, description = "Where the app is served.")),
    extensions(("x-problems" = json!("AppNotFound"))))]
pub(crate) async fn location(request: HttpRequest, context: Data<Context>) -> Answer {
    check_app(&request, &context)?;
    let location = Location {
        deployment_model: "GLOBAL",
        location: "US-VA",
        hostname: origin(&request, &context, "http"),
        ws_hostname: origin(&request, &context, "ws"),
    };
    let mut response = json(StatusCode::OK, &location);
    if context.server.settings.public_url.is_none() {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Host"));
    }
    Ok(response)
}
