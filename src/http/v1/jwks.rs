//! The public keys.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, ServiceConfig};

use crate::http::schemas::Jwks;
use crate::http::{Answer, Context, at, json};

/// Adds the route.
pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(at("/.well-known/jwks.json").on(Method::GET, jwks));
}

/// Lists the public keys that check access tokens.
///
/// A JSON Web Key Set (RFC 7517). Tokens name their key in `kid`.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Sessions", operation_id = "getJwks",
    responses((status = 200, body = Jwks, description = "The public keys.")))]
pub(crate) async fn jwks(context: Data<Context>) -> Answer {
    let mut response = json(StatusCode::OK, &context.server.tokens.jwks());
    let fresh = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    Ok(response)
}
