//! The public keys.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, web};

use crate::http::schemas::Jwks;
use crate::http::{Context, JSON, json, other_method, respond};

/// Adds the route.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/.well-known/jwks.json").get(jwks).default_service(other_method("GET")));
}

/// Lists the public keys that check access tokens.
///
/// A JSON Web Key Set (RFC 7517). Tokens name their key in `kid`.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Sessions", operation_id = "getJwks",
    responses((status = 200, body = Jwks, description = "The public keys.")))]
pub(crate) async fn jwks(context: web::Data<Context>) -> HttpResponse {
    let mut response = json(StatusCode::OK, JSON, &context.server.tokens.jwks());
    let fresh = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    respond(&context, Ok(response))
}
